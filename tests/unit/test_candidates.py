"""Comparing more rows than memory holds: candidates in pieces, digests instead of rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime

import duckdb
import pytest

from jobs.product.model import Kind
from replay.compare import candidates
from replay.compare.changes import TableDiff
from replay.compare.comparison import Comparison
from replay.compare.matching import BEFORE, NEW, OLD, OPEN, TableMatch, set_bounds

ROWS = 200_000
TEXTS = 24


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SET preserve_insertion_order = false")
        yield connection


def compared(connection: duckdb.DuckDBPyConnection, old: str, new: str, *columns: str) -> TableDiff:
    """What two statements give, both of the columns id, log_partition, log_offset, and these."""
    for side, sql in ((OLD, old), (NEW, new)):
        connection.execute(f'CREATE SCHEMA "{side}"')
        connection.execute(f'CREATE VIEW "{side}".t AS {sql}')
    set_bounds(connection, {"orders": {0: 10 * ROWS}}, {"orders": {0: 10 * ROWS}})
    how = Comparison(
        "t",
        Kind.rows,
        columns=("id", "log_partition", "log_offset", *columns),
        key=("id",),
        topic="orders",
    )
    return TableMatch(connection, how, None, samples=3, zones={}).result()


def rows(count: int, amount: str, source: str = "range") -> str:
    return (
        f"SELECT {source} AS id, 0 AS log_partition, {source} AS log_offset, {amount} AS amount"
        f" FROM range({count})"
    )


@pytest.mark.parametrize("most", [0.0, 1.0], ids=["all are candidates", "those that differ"])
@pytest.mark.parametrize("piece_bytes", [1_000, 1 << 24], ids=["in pieces", "in one"])
def test_the_same_in_any_number_of_pieces(
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    most: float,
    piece_bytes: int,
) -> None:
    monkeypatch.setattr(candidates, "_MOST", most)
    monkeypatch.setattr(candidates, "_PIECE_BYTES", piece_bytes)
    # Key 3 has a row more, key 5 has its row twice, keys 990 and on are new, and every seventh has another amount.
    more = "SELECT 3, 0, 2000, 9 UNION ALL SELECT 5, 0, 5, 5"
    found = compared(
        connection,
        rows(990, "range"),
        f"{rows(1000, 'range + (range % 7 = 1)::INT')} UNION ALL {more}",
        "amount",
    )
    assert (found.same, found.only_old, found.only_new, found.changed) == (848, 0, 12, 142)
    assert found.columns == {"amount": 142}
    assert [change.key for change in found.samples["only_new"]] == [
        {"id": 3},
        {"id": 5},
        {"id": 990},
    ]
    assert [change.key for change in found.samples["changed"]] == [{"id": 1}, {"id": 8}, {"id": 15}]
    assert not connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE table_name = 'candidates'"
    ).fetchall()


def test_values_that_are_equal_have_one_digest(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_MOST", 1.0)
    place = "SELECT 1 AS id, 0 AS log_partition, 1 AS log_offset"
    old = (
        f"{place}, 0.0::DOUBLE AS a, 'nan'::FLOAT AS b, 1.50::DECIMAL(9, 2) AS c,"
        " {'x': [1, NULL], 'y': NULL} AS d, NULL::INT AS e"
    )
    new = (
        f"{place}, -0.0::DOUBLE AS a, '-nan'::DOUBLE AS b, 1.5::DECIMAL(12, 4) AS c,"
        " {'x': [1::BIGINT, NULL], 'y': NULL} AS d, NULL::BIGINT AS e"
    )
    found = compared(connection, old, new, "a", "b", "c", "d", "e")
    assert (found.same, found.changed) == (1, 0)
    assert connection.execute("SELECT count(*) FROM changes").fetchone() == (0,)


ALIKE = {
    "INT[]": ("NULL", "[]", "[NULL]"),
    "VARCHAR[]": ("[NULL]", "['NULL']", "['a, b']", "['a', 'b']"),
    "INT[][]": ("NULL", "[]", "[[]]", "[NULL]", "[[NULL]]"),
    "BIGINT[][]": ("[[1], [2]]", "[[1, 2]]"),
    "MAP(VARCHAR, INT)": ("NULL", "MAP {}"),
    "STRUCT(a INT, b INT[])": ("NULL", "{'a': NULL, 'b': NULL}", "{'a': NULL, 'b': []}"),
}
"""Values for which DuckDB's hash() gives the same, mostly."""


@pytest.mark.parametrize("most", [0.0, 1.0], ids=["all are candidates", "those that differ"])
@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        (type_, one, other)
        for type_, values in ALIKE.items()
        for one, other in itertools.combinations(values, 2)
    ],
)
def test_values_with_parts_that_differ_are_never_taken_for_equal(
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    one: str,
    other: str,
    most: float,
) -> None:
    monkeypatch.setattr(candidates, "_MOST", most)
    old, new = (
        f"SELECT range AS id, 0 AS log_partition, range AS log_offset,"
        f" CASE WHEN range = 1 THEN CAST({value} AS {type_}) END AS a FROM range(10)"
        for value in (one, other)
    )
    found = compared(connection, old, new, "a")
    assert (found.same, found.changed, found.columns) == (9, 1, {"a": 1})


def test_numbers_in_lists_that_are_equal_are_told_apart_by_no_text(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_MOST", 1.0)
    place = "SELECT 1 AS id, 0 AS log_partition, 1 AS log_offset"
    found = compared(
        connection,
        f"{place}, [0.0, 1.0]::DOUBLE[] AS a",
        f"{place}, [-0.0, 1.0]::DOUBLE[] AS a",
        "a",
    )
    assert (found.same, found.changed) == (1, 0)


def test_values_of_every_type_are_shown_as_they_are(connection: duckdb.DuckDBPyConnection) -> None:
    values = {
        "a": "TRUE",
        "b": "1::TINYINT",
        "c": "1.5::FLOAT",
        "d": "12.3456::DECIMAL(38, 4)",
        "e": "DATE '2013-07-01'",
        "f": "TIME '12:00:00.000001'",
        "g": "TIMESTAMP '2013-07-01 12:00:00.000001'",
        "h": "TIMESTAMPTZ '2013-07-01 12:00:00.000001+02'",
        "i": "'\\x00\\xFF'::BLOB",
        "j": "[1, NULL]",
        "k": "MAP {'a': 1}",
        "l": "{'x': 'ü', 'y': [{'z': NULL::INT}]}",
    }
    columns = ", ".join(f"{sql} AS {name}" for name, sql in values.items())
    row = f"SELECT 1 AS id, 0 AS log_partition, 1 AS log_offset, {columns}"
    found = compared(connection, row, f"{row} WHERE FALSE", *values)
    [change] = found.samples["only_old"]
    cursor = connection.execute(row)
    shown = dict(
        zip([name for name, *_ in cursor.description or ()], cursor.fetchone() or (), strict=True)
    )
    assert change.old == {name: value for name, value in shown.items() if name != "id"}
    assert change.key == {"id": 1}


@pytest.mark.parametrize("every", [100, 1], ids=["few differ", "all differ"])
def test_wide_rows_do_not_have_to_fit_into_memory(
    connection: duckdb.DuckDBPyConnection, every: int
) -> None:
    connection.execute("SET memory_limit = '96MiB'")
    names = [f"text_{i}" for i in range(TEXTS)]
    texts = ", ".join(
        f"lpad((range * {i + 1})::VARCHAR, 15, 'x') AS {name}" for i, name in enumerate(names)
    )
    sides = (
        rows(ROWS, amount).replace(" FROM", f", {texts} FROM")
        for amount in ("range", f"range + (range % {every} = 0)::INT")
    )
    found = compared(connection, *sides, "amount", *names)
    assert (found.changed, found.same) == (ROWS // every, ROWS - ROWS // every)
    assert found.columns == {"amount": ROWS // every}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (
            "TIMESTAMPTZ",
            (
                "2024-01-01 14:59:00Z",
                "2024-01-01 15:00:00Z",
                "2024-01-01 16:00:00Z",
                "2024-01-01 16:01:00Z",
            ),
        ),
        (
            "TIMESTAMP",
            (
                "2024-01-01 09:59:00",
                "2024-01-01 10:00:00",
                "2024-01-01 11:00:00",
                "2024-01-01 11:01:00",
            ),
        ),
    ],
)
def test_windows_begin_by_the_clocks_of_the_product_whatever_their_column_holds(
    connection: duckdb.DuckDBPyConnection, column: str, values: tuple[str, ...]
) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    for side in (OLD, NEW):
        rows = ", ".join(f"('{value}'::{column})" for value in values)
        connection.execute(f'CREATE SCHEMA "{side}"')
        connection.execute(f'CREATE VIEW "{side}".t AS SELECT * FROM (VALUES {rows}) AS v(hour)')
    how = Comparison("t", Kind.aggregate, columns=("hour",), key=("hour",), window_column="hour")
    first, last = datetime(2024, 1, 1, 10), datetime(2024, 1, 1, 11)
    zones = dict.fromkeys((OLD, NEW), "America/New_York")
    found = TableMatch(connection, how, last, 3, zones, first).result()
    assert found.same == 2
    assert found.left_out == {BEFORE: (1, 1), OPEN: (1, 1)}
