"""What is particular to PostgreSQL: lost connections, hosts that are lost within a transaction, missing privileges."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

from replay import database
from replay.errors import OutcomeUnknownError, RefusedError, RetryableError
from replay.iceberg import commits, lake, table_changes
from replay.settings import Settings
from replay.store.store import Store
from tests.postgres_server import Server
from tests.unit.lake_tables import make_product, make_settings, publish, sink_all
from tests.unit.test_store import ATTEMPT, RELEASE, lease


@pytest.fixture
def url(postgresql: Server) -> str:
    return postgresql.database()


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    (tmp_path / "database").write_text(url)
    return make_settings(tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as opened:
        yield opened


# Lost connections


def test_a_connection_that_was_lost_meanwhile_is_replaced(
    store: Store, postgresql: Server, url: str
) -> None:
    mine = lease(store)
    store.save(mine, ATTEMPT)
    postgresql.cut(url)
    store.save(mine, replace(ATTEMPT, near=9))
    postgresql.cut(url)
    assert store.load("flights").attempts == (replace(ATTEMPT, near=9),)


def test_a_connection_that_is_lost_within_a_write_has_changed_nothing(
    store: Store, postgresql: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = lease(store)
    store.save(mine, ATTEMPT)
    put = store._put

    def cut_off(*arguments: Any) -> None:
        put(*arguments)
        postgresql.cut(url)
        arguments[0].exec_driver_sql("SELECT 1")

    with monkeypatch.context() as m:
        m.setattr(store, "_put", cut_off)
        with pytest.raises(RetryableError) as e:
            store.save(mine, replace(ATTEMPT, near=9))
    assert e.value.message == "the controller's store does not answer"
    assert (
        e.value.expected.startswith("an answer from postgresql")
        and "terminating connection" in e.value.found
    )
    assert store.load("flights").attempts == (ATTEMPT,)
    store.save(mine, replace(ATTEMPT, near=10))


@pytest.mark.parametrize("written", [True, False], ids=["behind it", "before it"])
def test_a_connection_that_is_lost_at_a_commit_leaves_the_outcome_unknown(
    store: Store, postgresql: Server, url: str, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    mine = lease(store)
    store.save(mine, ATTEMPT)
    commit = sa.Connection._commit_impl

    def lost(c: sa.Connection) -> None:
        if written:
            commit(c)
        postgresql.cut(url)
        commit(c) if not written else c.exec_driver_sql("COMMIT")

    with monkeypatch.context() as m:
        m.setattr(sa.Connection, "_commit_impl", lost)
        with pytest.raises(OutcomeUnknownError) as e:
            store.save(mine, replace(ATTEMPT, near=9))
    assert e.value.message == "it is not known whether the controller's store was written"
    assert store.load("flights").attempts == (replace(ATTEMPT, near=9) if written else ATTEMPT,)


def test_a_lost_answer_about_a_lease_may_be_asked_for_again(
    store: Store, postgresql: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = sa.Connection._commit_impl

    def lost(c: sa.Connection) -> None:
        commit(c)
        postgresql.cut(url)
        c.exec_driver_sql("COMMIT")

    with monkeypatch.context() as m:
        m.setattr(sa.Connection, "_commit_impl", lost)
        with pytest.raises(RetryableError):
            lease(store)
    store.add_release(lease(store), RELEASE)


def test_a_server_that_is_away_is_named_without_the_password(postgresql: Server) -> None:
    with pytest.raises(RetryableError) as e:
        Store(postgresql.url().replace(f":{postgresql.port}/", ":1/"))
    assert postgresql.password not in str(e.value)


# The catalog


def test_many_that_open_a_catalog_at_once_do_not_fail(settings: Settings) -> None:
    many = 8
    together = Barrier(many)

    def one(_: int) -> int:
        together.wait()
        with closing(lake.open_catalog(settings)) as catalog:
            return len(catalog.list_namespaces())

    with ThreadPoolExecutor(many) as pool:
        assert list(pool.map(one, range(many))) == [0] * many


def test_who_is_lost_while_others_wait_holds_no_lock_for_ever(
    settings: Settings, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen process and a lost host look the same: a transaction that was begun and is not gone on with."""
    product = make_product(tmp_path)
    monkeypatch.setattr(database, "ANSWER_SECONDS", 1)
    with (
        closing(lake.open_catalog(settings)) as frozen,
        closing(lake.open_catalog(settings)) as other,
    ):
        assert isinstance(frozen, SqlCatalog)
        with frozen.engine.connect():  # its limits are those of this moment
            pass
        table_changes.ensure(other, product)
        lake.create_branch(other, product, "r1-a1")
        monkeypatch.undo()
        with pytest.raises(database.LOST), commits._alone(frozen, product.name) as held:  # noqa: PT012
            target = _publish_beside(settings, product)
            held.exec_driver_sql("SELECT 1")
        assert lake.published(other, product).snapshots == target


def _publish_beside(settings: Settings, product: Any) -> dict[str, int]:
    with closing(lake.open_catalog(settings)) as catalog:
        target = sink_all(catalog, product, "r1-a1", 7)
        publish(catalog, product, target)
        return target


# Privileges


def test_a_role_without_privileges_is_told_so(
    catalog: Catalog, url: str, postgresql: Server, tmp_path: Path
) -> None:
    Store(url).close()
    nobody = f"nobody_{sa.make_url(url).database}"
    with postgresql.engine().connect() as c:
        c.exec_driver_sql(f"CREATE ROLE {nobody} LOGIN PASSWORD '{postgresql.password}'")
    theirs = url.replace("//kappa:", f"//{nobody}:")
    with pytest.raises(RefusedError) as e:
        Store(theirs)
    assert e.value.message == "the controller's store does not permit this"
    assert e.value.found.startswith("permission denied for table")
    (tmp_path / "database").write_text(theirs)
    with (
        closing(lake.open_catalog(make_settings(tmp_path))) as opened,
        pytest.raises(RefusedError, match="the Iceberg catalog does not permit this"),
    ):
        lake.pointers(opened, "shop")
