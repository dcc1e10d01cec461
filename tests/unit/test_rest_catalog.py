"""A REST catalog on loopback: several tables in one request, what it forgets, and what it says when it fails."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.rest import DEFAULT_ENDPOINTS, RestCatalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitStateUnknownException,
    ForbiddenError,
    OAuthError,
    ServerError,
    ServiceUnavailableError,
    UnauthorizedError,
)
from requests import ConnectionError as LostConnectionError
from requests import PreparedRequest, Response

from jobs.product.folder import Product
from replay.controller import cleaning
from replay.errors import (
    ConflictError,
    KappaError,
    OutcomeUnknownError,
    RefusedError,
    RetryableError,
)
from replay.iceberg import branch_checkpoints, lake, publish, rest_commits, table_changes
from replay.iceberg.commits import no_fence
from replay.iceberg.timed_rest import _TimedAdapter
from replay.query.query import query
from replay.settings import Settings
from tests.object_store import ObjectStore
from tests.unit.lake_tables import COLUMNS, make_product, make_rest_settings, sink, sink_all

TOGETHER = "transactions/commit"


@pytest.fixture
def settings(tmp_path: Path, rest_store: ObjectStore) -> Settings:
    return make_rest_settings(tmp_path, rest_store)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Of a name of its own: the catalog is shared."""
    made = make_product(tmp_path, columns={t: COLUMNS[t] for t in ("orders", "totals")})
    return made.model_copy(
        update={"settings": made.settings.model_copy(update={"name": f"shop_{uuid.uuid4().hex}"})}
    )


@pytest.fixture
def catalog(settings: Settings, product: Product) -> RestCatalog:
    made = lake.open_catalog(settings)
    assert isinstance(made, RestCatalog)
    table_changes.ensure(made, product)
    lake.create_branch(made, product, "r1-a1")
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of requests, in their order."""
    found: list[str] = []
    send = _TimedAdapter.send

    def noted(
        self: _TimedAdapter, request: PreparedRequest, *args: Any, **options: Any
    ) -> Response:
        found.append(f"{request.method} {(request.url or '').rpartition('/v1/')[2]}")
        return send(self, request, *args, **options)

    monkeypatch.setattr(_TimedAdapter, "send", noted)
    return found


def commit(catalog: RestCatalog, product: Product, checkpoint: int) -> dict[str, int]:
    return sink_all(catalog, product, "r1-a1", checkpoint)


def moving(
    catalog: RestCatalog,
    product: Product,
    target: dict[str, int],
    before: dict[str, int] | None = None,
) -> Callable[[], None]:
    at = before or dict(lake.published(catalog, product).snapshots)
    return lambda: publish.publish(
        catalog, product, target, at, fence=no_fence, sleep=lambda _: None
    )


def test_all_tables_are_published_by_one_request(
    settings: Settings, catalog: RestCatalog, product: Product, asked: list[str]
) -> None:
    target = commit(catalog, product, 1)
    publishing = moving(catalog, product, target)
    asked.clear()
    publishing()
    assert [a for a in asked if a.startswith("POST")] == [f"POST tables/{TOGETHER}"]
    assert lake.published(catalog, product).snapshots == target
    assert query(settings, product.name, "SELECT count(*) AS n FROM orders").rows == [{"n": 0}]
    publishing()  # is done already
    assert (
        branch_checkpoints.publishable(catalog, product, "r1-a1", ["a" * 32])[0].snapshots == target
    )
    found = cleaning.garbage(catalog, product.name, product.outputs, "r1-a1")
    assert found == ()


def test_somebody_elses_move_is_a_conflict_and_no_table_is_moved(
    catalog: RestCatalog, product: Product
) -> None:
    before = dict(lake.published(catalog, product).snapshots)
    first, second = commit(catalog, product, 1), commit(catalog, product, 2)
    catalog.load_table((product.name, "totals")).manage_snapshots().set_current_snapshot(
        first["totals"]
    ).commit()
    with pytest.raises(ConflictError):
        moving(catalog, product, second, before)()
    shown = lake.published(catalog, product).snapshots
    assert shown == {"orders": before["orders"], "totals": first["totals"]}


def test_where_the_request_is_not_known_tables_are_published_one_by_one(
    catalog: RestCatalog, product: Product, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_commits, "_PATH", "transactions/no-such-request")
    target = commit(catalog, product, 1)
    publishing = moving(catalog, product, target)
    asked.clear()
    publishing()
    assert [a.rpartition("/")[2] for a in asked if a.startswith("POST")] == [
        "no-such-request",
        "orders",
        "totals",
    ]
    assert lake.published(catalog, product).snapshots == target
    assert not rest_commits.may_offer(catalog)


def test_a_query_sees_one_checkpoint_while_tables_are_published_one_by_one(
    settings: Settings, tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_product(tmp_path).model_copy(update={"settings": product.settings})
    catalog = lake.open_catalog(settings)
    assert isinstance(catalog, RestCatalog) and not lake.reads_at_once(catalog)
    table_changes.ensure(catalog, whole)
    lake.create_branch(catalog, whole, "r1-a1")
    monkeypatch.setattr(rest_commits, "_PATH", "transactions/no-such-request")

    def rows() -> dict[str, Any]:
        counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in whole.outputs)
        return query(settings, whole.name, f"SELECT {counts}").rows[0]

    def with_a_row(checkpoint: int) -> dict[str, int]:
        some: dict[str, dict[str, Any]] = {
            "orders": {"id": 1},
            "totals": {"amount": 1.0},
            "rejects": {"reason": "none"},
        }
        return {
            table: sink(catalog, table, "r1-a1", checkpoint, [row], namespace=whole.name)
            for table, row in some.items()
        }

    moving(catalog, whole, with_a_row(1))()
    publishing = moving(catalog, whole, with_a_row(2))
    commit_table = RestCatalog.commit_table

    def dies(self: RestCatalog, table: Any, *arguments: Any) -> Any:
        if table.name()[-1] == "rejects":
            raise KeyboardInterrupt
        return commit_table(self, table, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RestCatalog, "commit_table", dies)
        with pytest.raises(KeyboardInterrupt):
            publishing()
    assert rows() == dict.fromkeys(whole.outputs, 1)
    publishing()
    assert rows() == dict.fromkeys(whole.outputs, 2)


def test_a_role_that_may_not_create_namespaces_uses_one_that_is_there(
    catalog: RestCatalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ForbiddenError("no")

    monkeypatch.setattr(RestCatalog, "create_namespace", refuse)
    table_changes.ensure(catalog, product)


def test_a_catalog_that_lists_what_it_knows_is_believed(catalog: RestCatalog) -> None:
    assert rest_commits.may_offer(catalog)
    catalog._supported_endpoints = set(DEFAULT_ENDPOINTS) - {next(iter(DEFAULT_ENDPOINTS))}
    assert not rest_commits.may_offer(catalog)
    catalog._supported_endpoints.add(rest_commits._ENDPOINT)
    assert rest_commits.may_offer(catalog)


def answering(
    monkeypatch: pytest.MonkeyPatch, path: str, status: int | None, *, done: bool
) -> None:
    """Requests to this path get another answer, or none; `done`: once the catalog did what it was asked."""
    send = _TimedAdapter.send

    def other(
        self: _TimedAdapter, request: PreparedRequest, *args: Any, **options: Any
    ) -> Response:
        if path not in (request.url or ""):
            return send(self, request, *args, **options)
        if done:
            send(self, request, *args, **options)
        if status is None:
            raise LostConnectionError("Connection aborted.")
        answer = Response()
        answer.status_code, answer.request = status, request
        answer._content = json.dumps(
            {"error": {"message": "no", "type": "X", "code": status}}
        ).encode()
        return answer

    monkeypatch.setattr(_TimedAdapter, "send", other)


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("status", [None, 500, 503, 504])
def test_a_lost_answer_is_resolved_by_looking(
    catalog: RestCatalog,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    done: bool,
) -> None:
    target = commit(catalog, product, 1)
    publishing = moving(catalog, product, target)
    with monkeypatch.context() as patched:
        answering(patched, TOGETHER, status, done=done)
        if done:
            publishing()
        else:
            with pytest.raises(OutcomeUnknownError, match="it is not known whether main"):
                publishing()
    publishing()
    assert lake.published(catalog, product).snapshots == target


def test_an_answer_that_refuses_is_told_at_once(
    catalog: RestCatalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = commit(catalog, product, 1)
    publishing = moving(catalog, product, target)
    with monkeypatch.context() as patched:
        answering(patched, TOGETHER, 403, done=False)
        with pytest.raises(RetryableError) as e:
            publishing()
    assert (e.value.message, e.value.found) == ("the Iceberg catalog refuses access", "X: no")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (UnauthorizedError("no"), RetryableError, "the Iceberg catalog refuses access"),
        (ForbiddenError("no"), RetryableError, "the Iceberg catalog refuses access"),
        (OAuthError("no"), RetryableError, "the Iceberg catalog refuses access"),
        (ServerError("oh"), RetryableError, "the Iceberg catalog does not answer"),
        (ServiceUnavailableError(""), RetryableError, "the Iceberg catalog does not answer"),
        (BadRequestError("what?"), RetryableError, "the Iceberg catalog does not answer"),
        (
            LostConnectionError("Connection aborted."),
            RetryableError,
            "the Iceberg catalog does not answer",
        ),
        (
            CommitStateUnknownException("504"),
            OutcomeUnknownError,
            "it is not known whether the Iceberg catalog did what it was asked",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_client_says_is_put_into_words(
    error: Exception, kind: type[KappaError], message: str
) -> None:
    with pytest.raises(kind) as e, lake.catalog_errors():
        raise error
    assert e.value.message == message


def test_a_catalog_that_forgets_tags_is_refused(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some do: the tag 'succeeds' and is gone."""
    catalog = lake.open_catalog(settings)
    load = RestCatalog.load_table

    def forgetful(self: RestCatalog, identifier: Any) -> Any:
        table = load(self, identifier)
        refs = {name: ref for name, ref in table.metadata.refs.items() if name == lake.MAIN}
        table.metadata = table.metadata.model_copy(update={"refs": refs})
        return table

    monkeypatch.setattr(RestCatalog, "load_table", forgetful)
    monkeypatch.setattr(table_changes, "begin", lambda table: None)
    with pytest.raises(RefusedError, match="does not keep tags and branches"):
        table_changes.ensure(catalog, product)
