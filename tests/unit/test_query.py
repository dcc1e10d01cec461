"""Queries with DuckDB, on real Iceberg tables."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.types import LongType, NestedField, StringType, StructType

from jobs.product.folder import Product
from replay.errors import ConfigError, RefusedError
from replay.iceberg import lake, table_changes
from replay.query.query import open_schemas, open_tables, query, sorting_mb, with_more_memory
from replay.query.sandbox import TableVersion
from replay.settings import Settings
from tests.unit.lake_tables import make_product, publish, sink, sink_all


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    made = make_product(tmp_path)
    table_changes.ensure(catalog, made)
    lake.create_branch(catalog, made, "r1-a1")
    return made


@pytest.fixture
def snapshots(catalog: Catalog, product: Product) -> dict[str, int]:
    """Checkpoint 1 on the branch, with two orders."""
    orders = [{"id": 1, "amount": 2.0, "log_offset": 0}, {"id": 2, "amount": -3.0, "log_offset": 1}]
    return {
        **sink_all(catalog, product, "r1-a1", 1),
        "orders": sink(catalog, "orders", "r1-a1", 1, orders),
    }


def test_readers_see_what_is_published(
    settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]
) -> None:
    sql = "SELECT count(*) AS n, sum(id) AS ids FROM orders"
    assert query(settings, "shop", sql).rows == [{"n": 0, "ids": None}]
    publish(catalog, product, snapshots)
    assert query(settings, "shop", sql).rows == [{"n": 2, "ids": 3}]


def test_a_candidates_snapshots(
    settings: Settings, catalog: Catalog, snapshots: dict[str, int]
) -> None:
    sink(catalog, "orders", "r1-a1", 2, [{"id": 3}])
    assert query(
        settings, "shop", "SELECT id FROM shop.orders ORDER BY id", snapshots=snapshots
    ).rows == [{"id": 1}, {"id": 2}]


def test_columns_keep_their_order_and_are_known_without_rows(
    settings: Settings, product: Product
) -> None:
    result = query(settings, "shop", "SELECT id, 1 AS a, id FROM orders")
    assert (result.columns, result.rows) == (["id", "a", "id_2"], [])


def test_an_unknown_column_lists_the_columns(settings: Settings, product: Product) -> None:
    with pytest.raises(ConfigError) as e:
        query(settings, "shop", "SELECT idd FROM orders")
    assert str(e.value).splitlines() == [
        "the query names something that does not exist",
        "  expected: orders(id, day, amount, log_partition, log_offset); did you mean id?",
        '  found:    Binder Error: Referenced column "idd" not found in FROM clause!',
        '  next:     kappa query shop "DESCRIBE orders"',
    ]


def test_an_unknown_table_lists_the_tables(settings: Settings, product: Product) -> None:
    with pytest.raises(ConfigError) as e:
        query(settings, "shop", "SELECT 1 FROM ordres")
    assert (e.value.expected, e.value.found, e.value.next) == (
        "tables orders, rejects, totals; did you mean orders?",
        "Catalog Error: Table with name ordres does not exist!",
        'kappa query shop "DESCRIBE orders"',
    )
    with pytest.raises(ConfigError) as e:
        query(settings, "shop", "SELECT 1 FROM total")
    assert e.value.next == 'kappa query shop "DESCRIBE totals"'


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT id::DATE FROM (SELECT 'x' AS id)"])
def test_sql_that_cannot_run(settings: Settings, product: Product, sql: str) -> None:
    with pytest.raises(ConfigError, match="the query cannot run"):
        query(settings, "shop", sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "COPY orders TO 'x.csv'",
        "ATTACH 'x.db'",
        "DELETE FROM orders",
        "SELECT 1; DROP VIEW orders",
        "INSTALL httpfs",
        "SELECT * FROM read_csv('/etc/passwd')",
    ],
)
def test_queries_only_read(settings: Settings, product: Product, sql: str) -> None:
    with pytest.raises(RefusedError, match="queries only read"):
        query(settings, "shop", sql)


def test_an_unknown_product(settings: Settings) -> None:
    with pytest.raises(ConfigError) as e:
        query(settings, "shoop", "SELECT 1")
    assert e.value.next == "kappa deploy shoop"


@pytest.mark.parametrize("prefix", ["file://", "file:", ""])
def test_a_table_is_in_its_own_folder_whoever_wrote_its_metadata(prefix: str) -> None:
    """PyIceberg writes file:///x, Flink file:/x: a process that may read another folder would be denied this one."""
    assert (
        TableVersion(f"{prefix}/lake/orders/rows/metadata/00001-a.metadata.json").folder
        == "/lake/orders/rows"
    )
    assert (
        TableVersion("s3://lake/orders/rows/metadata/00001-a.metadata.json").folder
        == "s3://lake/orders/rows"
    )


def test_our_own_work_has_a_limit_of_memory_and_names_it(
    settings: Settings, product: Product
) -> None:
    with open_tables(settings, "shop") as connection:
        limits = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('threads')"
        ).fetchone()
    assert limits == ("128.0 MiB", 1)
    with pytest.raises(RefusedError) as e, open_tables(settings, "shop"):
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block\nmore")
    assert e.value.expected == f"128 MB, and room in {settings.spill}"
    assert e.value.found == "Out of Memory Error: failed to pin block"
    assert e.value.next == "set queries.audit_memory_mb to 256 in config.yaml, then repeat it"


@pytest.mark.parametrize(
    ("given", "tried"), [(None, [128, 256, 512]), (100, [100])], ids=["by itself", "as it says"]
)
def test_memory_that_is_too_little_is_raised_unless_it_was_given(
    settings: Settings, product: Product, given: int | None, tried: list[int]
) -> None:
    limited = settings.model_copy(
        update={"queries": settings.queries.model_copy(update={"audit_memory_mb": given})}
    )
    found = []

    def work(times: int) -> None:
        with open_schemas(limited, "shop", {"old": None}, times=times) as connection:
            found.append(connection.execute("SELECT current_setting('memory_limit')").fetchone())
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block")

    with pytest.raises(RefusedError) as e:
        with_more_memory(limited, work)
    assert found == [(f"{mb}.0 MiB",) for mb in tried]
    assert (
        e.value.next
        == f"set queries.audit_memory_mb to {2 * tried[-1]} in config.yaml, then repeat it"
    )


def test_no_other_error_begins_anything_again(settings: Settings) -> None:
    tried = []

    def work(times: int) -> None:
        tried.append(times)
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        with_more_memory(settings, work)
    assert tried == [1]


def test_the_limit_grows_with_the_columns_that_are_read_unless_it_is_given(
    settings: Settings, catalog: Catalog, product: Product
) -> None:
    with catalog.load_table(("shop", "orders")).update_schema() as update:
        for number in range(20):
            update.add_column(f"text_{number}", StringType())
        update.add_column(
            "nested",
            StructType(NestedField(100, "a", LongType()), NestedField(101, "b", LongType())),
        )
    columns = len(catalog.load_table(("shop", "orders")).schema().fields) + 1  # a struct of two
    given = settings.model_copy(
        update={"queries": settings.queries.model_copy(update={"audit_memory_mb": 100})}
    )
    for of, asked_for, expected in (
        (settings, None, f"{48 + 4 * columns}.0 MiB"),
        (settings, 96, "96.0 MiB"),
        (given, None, "100.0 MiB"),
        (given, 96, "100.0 MiB"),
    ):
        with open_tables(of, "shop", memory_mb=asked_for) as connection:
            assert connection.execute("SELECT current_setting('memory_limit')").fetchone() == (
                expected,
            )


@pytest.mark.parametrize(
    ("offsets", "expected"), [(0, 96), (100_000_000, 96), (1_000_000_000, 253)]
)
def test_an_audits_memory_grows_with_the_root_of_the_log(offsets: int, expected: int) -> None:
    assert sorting_mb(offsets) == expected
