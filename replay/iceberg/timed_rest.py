"""A REST catalog that gives up on an answer that does not come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import proxy

from pyiceberg.catalog.rest import RestCatalog, TableResponse
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.typedef import EMPTY_DICT
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from replay import database
from replay.iceberg.durable import DurableFileIO
from replay.storage import with_keys

CONNECT_SECONDS = float(database.CONNECT_SECONDS)
ANSWER_SECONDS = float(database.ANSWER_SECONDS)
"""Between any two bytes of an answer."""
CONNECTIONS = 128
"""Kept open: products are served at the same time."""


class TimedRestCatalog(RestCatalog):
    """pyiceberg's, which would wait for ever, mix lent keys with its own, and use expired ones."""

    def _config_headers(self, session: Session) -> None:
        # The first that is done with a new session: even the catalog's configuration is asked for under a time-out.
        super()._config_headers(session)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _TimedAdapter(pool_connections=8, pool_maxsize=CONNECTIONS))

    def _load_file_io(
        self, properties: Mapping[str, str] = EMPTY_DICT, location: str | None = None
    ) -> FileIO:
        found = super()._load_file_io(dict(properties), location)
        replaced = self.properties.keys() - with_keys(self.properties, properties).keys()
        found.properties = {k: v for k, v in found.properties.items() if k not in replaced}
        return found

    def _response_to_table(
        self, identifier_tuple: tuple[str, ...], table_response: TableResponse
    ) -> Table:
        table = super()._response_to_table(identifier_tuple, table_response)
        catalog = proxy(self)  # what is remembered of a catalog must not keep it
        if isinstance(table.io, DurableFileIO):
            table.io.renew_by(lambda: catalog.load_table(identifier_tuple).io.properties)
        return table


class _TimedAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """With a time-out, unless one is set."""
        if options.get("timeout") is None:
            options["timeout"] = CONNECT_SECONDS, ANSWER_SECONDS
        return super().send(request, *args, **options)
