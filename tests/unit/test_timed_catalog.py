"""Catalogs under a time-out, asked by many threads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import duckdb
import pytest
import sqlalchemy as sa
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog

from jobs.product.folder import Product
from replay.controller.platform import Platform
from replay.errors import RetryableError
from replay.iceberg import branch_checkpoints, lake, table_changes, timed_rest
from replay.iceberg.timed_catalog import timed
from replay.iceberg.timed_rest import TimedRestCatalog
from replay.kafka import log as kafka
from replay.query import duck
from replay.settings import Settings
from tests.unit.lake_tables import JOB, make_product, make_settings, sink_all

BRANCHES = 8


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", [{"type": "rest"}, {}], ids=["by type", "by address"])
def test_a_rest_catalog_that_hangs_is_given_up(
    kind: dict[str, str], silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the question for its configuration, which pyiceberg asks first."""
    monkeypatch.setattr(timed_rest, "ANSWER_SECONDS", 0.05)
    properties = timed({**kind, "uri": silent})
    assert properties["py-catalog-impl"].endswith(".TimedRestCatalog")
    settings = make_settings(tmp_path)
    catalog = settings.catalog.model_validate({"flink": {}, "pyiceberg": {**kind, "uri": silent}})
    with pytest.raises(RetryableError, match="the Iceberg catalog does not answer") as e:
        lake.open_catalog(settings.model_copy(update={"catalog": catalog}))
    assert "Read timed out" in e.value.found


def test_a_time_out_that_somebody_chose_is_kept() -> None:
    assert "timeout=5" in timed({"type": "sql", "uri": "sqlite:////c.db?timeout=5"})["uri"]
    assert (
        timed({"py-catalog-impl": "mine.Catalog", "uri": "http://c"})["py-catalog-impl"]
        == "mine.Catalog"
    )


@pytest.mark.parametrize(
    "driver", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"]
)
def test_postgresql_gives_up_a_statement_a_lock_and_who_is_gone(driver: str) -> None:
    uri = sa.make_url(
        timed({"type": "sql", "uri": f"{driver}://me:secret@db/lake?connect_timeout=3"})["uri"]
    )
    assert uri.password == "secret"
    assert uri.drivername == (
        "postgresql+psycopg2" if driver.endswith("2") else "postgresql+psycopg"
    )
    assert uri.query["connect_timeout"] == "3"
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert f"-c {limit}=30000" in str(uri.query["options"])


def test_another_driver_gets_no_parameters_that_it_may_not_know() -> None:
    assert timed({"uri": "postgresql+pg8000://db/lake"})["uri"] == "postgresql+pg8000://db/lake"


def test_a_query_in_this_process_is_interrupted_when_it_takes_too_long() -> None:
    with (
        duck.connect() as connection,
        pytest.raises(RetryableError, match="counting takes too long"),
        duck.interrupted(connection, 0.05, "counting"),
    ):
        connection.execute(
            "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
        ).fetchall()


def test_what_interrupts_a_query_is_gone_with_it() -> None:
    with duck.connect() as connection, duck.interrupted(connection, 1000, "counting"):
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    with (
        duck.connect() as connection,
        pytest.raises(duckdb.CatalogException),
        duck.interrupted(connection, 1000, "counting"),
    ):
        connection.execute("SELECT * FROM missing")


# Many threads


def test_threads_share_one_catalog_and_one_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def open_catalog(_: Settings) -> object:
        Event().wait(0.01)  # lets other threads come here too, if they can
        opened.append(catalog := SimpleNamespace())
        return catalog

    monkeypatch.setattr(lake, "open_catalog", open_catalog)
    settings = make_settings(tmp_path)
    platform = Platform(settings)
    with ThreadPoolExecutor(16) as pool:
        catalogs = list(pool.map(lambda _: platform.catalog, range(64)))
        flinks = list(pool.map(lambda _: platform.flink(), range(64)))
        admins = list(pool.map(lambda _: kafka.admin(settings), range(64)))
    assert len(opened) == 1
    assert all(c is catalogs[0] for c in catalogs)
    assert all(f is flinks[0] for f in flinks)
    assert all(a is admins[0] for a in admins)


def test_many_threads_make_branches_and_look_while_a_job_commits(tmp_path: Path) -> None:
    product: Product = make_product(tmp_path / "product")
    catalog = lake.open_catalog(make_settings(tmp_path))
    assert isinstance(catalog, SqlCatalog)
    table_changes.ensure(catalog, product)

    def look(n: int) -> list[int]:
        looks = [
            branch_checkpoints.publishable(catalog, product, "r1-a0", [JOB]) for _ in range(10)
        ]
        return [found[0].id if found else 0 for found in looks]

    with ThreadPoolExecutor(BRANCHES) as pool:
        list(pool.map(lambda n: lake.create_branch(catalog, product, f"r1-a{n}"), range(BRANCHES)))
        seen = pool.map(look, range(BRANCHES))
        written = {
            checkpoint: sink_all(catalog, product, "r1-a0", checkpoint) for checkpoint in (1, 2, 3)
        }
        assert all(ids == sorted(ids) for ids in seen), "nobody looks back"
    assert {
        c.id: dict(c.snapshots)
        for c in branch_checkpoints.publishable(catalog, product, "r1-a0", [JOB])
    } == written
    refs = lake.current_metadata(catalog, product)["orders"].refs
    assert {f"r1-a{n}" for n in range(BRANCHES)} <= set(refs)


def test_it_is_pyicebergs_rest_catalog_in_all_else() -> None:
    assert TimedRestCatalog.commit_table is RestCatalog.commit_table
