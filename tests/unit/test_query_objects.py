"""Queries over tables in an object store: with keys that only read, of these tables' folders and of nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from replay.checks import gate
from replay.core.model import Tables
from replay.errors import ConfigError, RetryableError
from replay.iceberg import lake, table_changes
from replay.query import object_access, query, sandbox
from replay.query.sandbox import SandboxError, open_sandbox
from replay.settings import QuerySettings, Settings
from tests.object_store import BUCKET, READER_SECRET, SECRET, ObjectStore
from tests.unit.lake_tables import make_product, publish, sink, sink_all

LIMITS = QuerySettings(seconds=60, memory_mb=256, disk_mb=64)


@pytest.fixture
def reading(on_objects: Settings, object_store: ObjectStore) -> Settings:
    """Queries have keys of their own, which only read."""
    queries = QuerySettings.model_validate({"storage": object_store.reading})
    return on_objects.model_copy(update={"queries": queries})


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def catalog(on_objects: Settings, product: Product) -> Catalog:
    """With two published orders."""
    made = lake.open_catalog(on_objects)
    table_changes.ensure(made, product)
    lake.create_branch(made, product, "r1-a1")
    orders = [{"id": 1, "amount": 2.0, "log_offset": 0}, {"id": 2, "amount": -3.0, "log_offset": 1}]
    publish(
        made,
        product,
        {**sink_all(made, product, "r1-a1", 1), "orders": sink(made, "orders", "r1-a1", 1, orders)},
    )
    return made


def test_readers_see_what_is_published(reading: Settings, catalog: Catalog) -> None:
    assert query.query(
        reading, "shop", "SELECT count(*) AS n, sum(id) AS ids FROM orders"
    ).rows == [{"n": 2, "ids": 3}]


def test_checks_and_our_own_sql_read_it_too(
    reading: Settings, catalog: Catalog, product: Product
) -> None:
    (product.folder / "checks").mkdir()
    (product.folder / "checks" / "negative.sql").write_text(
        "SELECT id FROM orders WHERE amount < 0"
    )
    shown = Tables(product, lake.published(catalog, product).snapshots, {})
    offending = {check.name: check.offending for check in gate.run(reading, shown)}
    assert offending["checks/negative.sql"] == 1
    with query.open_tables(reading, "shop") as connection:
        assert connection.execute("SELECT max(id) FROM orders").fetchone() == (2,)


def test_a_process_of_a_query_reads_these_folders_alone(
    reading: Settings,
    catalog: Catalog,
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Should the list of what a statement may do have a hole, it still does not read more or write, or see a key."""
    unchecked = (
        "import sys; from replay.query import query_process as p; p.readable = lambda c, sql, names: sql; "
        "p.main(sys.stdin.buffer, sys.stdout.buffer)"
    )
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-I", "-c", unchecked))
    files = object_store.filesystem()
    with files.open_output_stream(f"{BUCKET}/canary/a.csv") as stream:
        stream.write(b"a\nc4nary\n")
    places = query.places(reading, "shop")
    (folder,) = {f"{p.folder}/data" for name, p in places.items() if name == "orders"}
    before = object_store.objects("")
    with open_sandbox(LIMITS, {"shop": places}) as asked:
        for statement in (
            f"FROM read_csv('s3://{BUCKET}/canary/a.csv')",
            f"FROM glob('s3://{BUCKET}/*')",
            f"FROM read_csv('{folder}/../../../../../../canary/a.csv')",
            f"FROM glob('s3://{BUCKET}/canary/*')",
            f"FROM read_csv('{object_store.endpoint}/{BUCKET}/canary/a.csv')",
            f"FROM read_text('http://127.0.0.1:{object_store.ports['filer.port']}/buckets/{BUCKET}/canary/a.csv')",
            f"COPY (SELECT 1) TO '{folder}/new.csv'",
            f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
        ):
            with pytest.raises(SandboxError) as e:
                asked.ask(statement)
            assert "c4nary" not in str(e.value), statement
        assert {row[0] for row in asked.ask("SELECT secret_string FROM duckdb_secrets()").rows}
        for statement in ("FROM duckdb_secrets()", "FROM duckdb_settings()"):
            shown = str(asked.ask(statement).rows)
            assert READER_SECRET not in shown and SECRET not in shown
        with pytest.raises(SandboxError):
            asked.ask("FROM duckdb_secrets(redact=false)")
        assert asked.ask("SELECT count(*) FROM orders").rows == [[2]]
    assert object_store.objects("") == before


def test_a_store_that_refuses_or_has_lost_a_file(
    reading: Settings, catalog: Catalog, object_store: ObjectStore
) -> None:
    refused = reading.model_copy(
        update={
            "queries": QuerySettings.model_validate(
                {"storage": {"s3.access-key-id": "nobody", "s3.secret-access-key": "n0thing"}}
            )
        }
    )
    with pytest.raises(RetryableError, match="a file of the tables cannot be read") as e:
        query.query(refused, "shop", "SELECT * FROM orders")
    assert "403" in e.value.found and "n0thing" not in str(e.value)
    (data,) = [
        f
        for f in object_store.objects("")
        if "/orders/data/" in f and f.startswith(reading.flink.checkpoints.rpartition("/")[0])
    ]
    object_store.filesystem().delete_file(data.removeprefix("s3://"))
    with pytest.raises(RetryableError, match="a file of the tables cannot be read") as e:
        query.query(reading, "shop", "SELECT * FROM orders")
    assert data.removeprefix("s3://") in e.value.found
    with (
        pytest.raises(RetryableError, match="a file of the tables cannot be read"),
        query.open_tables(reading, "shop") as connection,
    ):
        connection.execute("SELECT sum(id) FROM orders").fetchall()


# The options of DuckDB's secret

KEYS = {"s3.access-key-id": "k", "s3.secret-access-key": "s"}
OPTIONS = {"KEY_ID": "k", "SECRET": "s"}


@pytest.mark.parametrize(
    ("properties", "options"),
    [
        pytest.param(KEYS, {"REGION": "us-east-1"}, id="AWS"),
        pytest.param({**KEYS, "s3.region": "eu-west-1"}, {"REGION": "eu-west-1"}, id="a region"),
        pytest.param(
            {**KEYS, "s3.endpoint": "http://127.0.0.1:9000"},
            {
                "REGION": "us-east-1",
                "ENDPOINT": "127.0.0.1:9000",
                "USE_SSL": "false",
                "URL_STYLE": "path",
            },
            id="an address",
        ),
        pytest.param(
            {
                **KEYS,
                "s3.endpoint": "https://s3.example.org",
                "s3.force-virtual-addressing": "true",
            },
            {
                "REGION": "us-east-1",
                "ENDPOINT": "s3.example.org",
                "USE_SSL": "true",
                "URL_STYLE": "vhost",
            },
            id="buckets as hosts",
        ),
        pytest.param(
            {**KEYS, "s3.session-token": "t"},
            {"REGION": "us-east-1", "SESSION_TOKEN": "t"},
            id="keys on loan",
        ),
    ],
)
def test_what_duckdb_is_told(properties: dict[str, str], options: dict[str, str]) -> None:
    assert object_access.options("s3://lake/a", properties) == {**OPTIONS, **options}


def test_without_keys_those_of_the_environment_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "from",
        "AWS_SECRET_ACCESS_KEY": "environment",
    }.items():
        monkeypatch.setenv(name, value)
    object_access._session.cache_clear()
    assert object_access.options("s3://lake/a", {}) == {
        "REGION": "us-east-1",
        "KEY_ID": "from",
        "SECRET": "environment",
    }
    object_access._session.cache_clear()


def test_another_kind_of_store_is_named() -> None:
    with pytest.raises(ConfigError) as e:
        object_access.options("gs://lake/a", KEYS)
    assert e.value.found == "gs://lake/a"
