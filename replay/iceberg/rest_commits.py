"""Several tables in one request to a REST catalog, `transactions/commit`: all of them change, or none does."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol
from weakref import WeakSet

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import API_PREFIX, DEFAULT_ENDPOINTS, Endpoint, HttpMethod, RestCatalog
from pyiceberg.catalog.rest.response import _handle_non_200_response
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import CommitTableRequest, Table, TableIdentifier
from pyiceberg.table.update import TableRequirement, TableUpdate
from requests import HTTPError

_PATH = "transactions/commit"
_ENDPOINT = Endpoint(http_method=HttpMethod.POST, path=f"{API_PREFIX}/{_PATH}")
_UNKNOWN_REQUEST = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
_without: WeakSet[Catalog] = WeakSet()
"""Those that did not know the request."""


class Change(Protocol):
    """See commits.Change."""

    @property
    def table(self) -> Table: ...
    @property
    def requirements(self) -> tuple[TableRequirement, ...]: ...
    @property
    def updates(self) -> tuple[TableUpdate, ...]: ...


def may_offer(catalog: Catalog) -> bool:
    """Whether a catalog says that it knows the request, or does not say what it knows and has not refused it yet."""
    if not isinstance(catalog, RestCatalog) or catalog in _without:
        return False
    known: set[Endpoint] = catalog._supported_endpoints
    return _ENDPOINT in known or known >= DEFAULT_ENDPOINTS


def commit(catalog: RestCatalog, changes: Sequence[Change]) -> bool:
    """Commit all changes, or none; False when the catalog does not know the request, and nothing was changed.

    CommitFailedException: a table is not what a change requires. CommitStateUnknownException: the answer tells nothing.
    """
    requests = [
        CommitTableRequest(
            identifier=_identifier(c.table), requirements=c.requirements, updates=c.updates
        )
        for c in changes
    ]
    body = f'{{"table-changes": [{", ".join(r.model_dump_json() for r in requests)}]}}'
    answer = catalog._session.post(catalog.url(_PATH, prefixed=True), data=body.encode())
    if answer.status_code in _UNKNOWN_REQUEST and _ENDPOINT not in catalog._supported_endpoints:
        _without.add(catalog)
        return False
    try:
        answer.raise_for_status()
    except HTTPError as e:
        unknown = dict.fromkeys((500, 502, 503, 504), CommitStateUnknownException)
        _handle_non_200_response(e, {409: CommitFailedException, **unknown})
    return True


def _identifier(table: Table) -> TableIdentifier:
    *namespace, name = table.name()
    return TableIdentifier(namespace=namespace, name=name)
