"""Flink's types as Iceberg has them, and back; and what turns one into another."""

from __future__ import annotations

from itertools import count

import duckdb
import pytest
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.types import (
    BinaryType,
    DecimalType,
    FixedType,
    IcebergType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampNanoType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from jobs.product.column_types import Row, parse, stored
from replay.errors import ConfigError
from replay.iceberg.product_types import column_type
from replay.iceberg.table_types import from_iceberg, iceberg_type, schema_of, to_iceberg
from replay.iceberg.type_changes import described, differences
from replay.query.table_types import columns, quoted


@pytest.mark.parametrize(
    ("flink", "iceberg"),
    [
        ("DECIMAL(12, 2)", DecimalType(12, 2)),
        ("TIMESTAMP_LTZ(3)", TimestamptzType()),
        ("BIGINT NOT NULL", LongType()),
        ("TIME(3)", TimeType()),
        ("BINARY(4)", BinaryType()),
        (
            "ROW<`a` BIGINT, `b` ROW<`c` STRING>>",
            StructType(
                NestedField(1, "a", LongType(), required=False),
                NestedField(
                    2,
                    "b",
                    StructType(NestedField(3, "c", StringType(), required=False)),
                    required=False,
                ),
            ),
        ),
        ("ARRAY<BIGINT NOT NULL>", ListType(1, LongType(), element_required=False)),
        ("MAP<STRING, BIGINT>", MapType(1, StringType(), 2, LongType(), value_required=False)),
    ],
)
def test_types(flink: str, iceberg: IcebergType) -> None:
    assert iceberg_type(flink) == iceberg
    assert from_iceberg(iceberg) == column_type(flink)


EVERY_TYPE = (
    "ROW<a STRING, b BOOLEAN, c TINYINT, d INT, e BIGINT, f FLOAT, g DOUBLE, h DATE, i TIME(3), j TIMESTAMP(3),"
    ' k TIMESTAMP_LTZ(3), l BYTES, m DECIMAL(9, 2), `n "n` ARRAY<ROW<`x y` INT>>, o MAP<STRING, ARRAY<BIGINT>>>'
)


def test_empty_tables_of_duckdb_have_the_types_with_which_it_reads_those_of_iceberg() -> None:
    row = stored(parse(EVERY_TYPE))
    assert isinstance(row, Row)
    read = schema_to_pyarrow(schema_of(row), include_field_ids=False).empty_table()
    typed = ", ".join(f"{quoted(name)} {of}" for name, of in columns(row).items())
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE made ({typed})")
        connection.register("read_by_it", read)
        made, wanted = (
            connection.execute(f"DESCRIBE {table}").fetchall() for table in ("made", "read_by_it")
        )
    assert made == wanted


@pytest.mark.parametrize(
    ("flink", "found", "follow"),
    [
        ("TIMESTAMP(9)", "TIMESTAMP(9)", "write instead: CAST(x AS TIMESTAMP(6))"),
        (
            "MONEY",
            "MONEY",
            "write instead: CAST(x AS ROW<…>) with names and types of its fields, or a STRING",
        ),
    ],
)
def test_types_that_no_table_can_hold(flink: str, found: str, follow: str) -> None:
    with pytest.raises(ConfigError) as e:
        iceberg_type(flink, "orders.x")
    assert (e.value.message, e.value.found, e.value.next) == (
        "orders.x has a type that the tables cannot hold",
        found,
        follow,
    )


def test_columns_that_others_added_to_a_table() -> None:
    assert [str(from_iceberg(t)) for t in (UUIDType(), FixedType(3))] == ["BINARY(16)", "BINARY(3)"]
    with pytest.raises(ConfigError, match="a table has a column that Flink cannot write"):
        from_iceberg(TimestampNanoType())


def test_ids_of_fields_are_given_once() -> None:
    found = to_iceberg(
        column_type("ROW<`a` ARRAY<ROW<`b` MAP<STRING, INT>>>, `c` INT>"), ids := count(1)
    )
    assert next(ids) == 7
    assert isinstance(found, StructType)
    assert [f.field_id for f in found.fields] == [1, 2]


CHANGES = [
    ("INT", "BIGINT", ["INT → BIGINT"], False),
    ("ROW<`a` INT, `b` FLOAT>", "ROW<`b` FLOAT, `a` INT>", [], False),
    ("ROW<`a` INT>", "ROW<`b` INT>", ["a INT: removed", "b INT: new"], False),
    (
        "ARRAY<ROW<`a` MAP<INT, FLOAT>>>",
        "ARRAY<ROW<`a` MAP<INT, DOUBLE>>>",
        ["[].a.value FLOAT → DOUBLE"],
        False,
    ),
    ("DECIMAL(9, 2)", "DECIMAL(7, 2)", ["DECIMAL(9, 2) → DECIMAL(7, 2)"], False),
    ("DECIMAL(9, 2)", "DECIMAL(9, 3)", ["DECIMAL(9, 2) → DECIMAL(9, 3)"], True),
    ("MAP<INT, INT>", "MAP<BIGINT, INT>", ["MAP<INT, INT> → MAP<BIGINT, INT>"], True),
    ("ROW<`a` INT>", "ROW<`A` INT>", ["a INT: removed", "A INT → INT"], True),
    ("INT", "ARRAY<INT>", ["INT → ARRAY<INT>"], True),
    ("DATE", "TIMESTAMP(6)", ["DATE → TIMESTAMP(6)"], True),
]


@pytest.mark.parametrize(
    ("old", "new", "words", "breaks"), CHANGES, ids=[f"{c[0]} to {c[1]}" for c in CHANGES]
)
def test_what_differs(old: str, new: str, words: list[str], breaks: bool) -> None:
    found = list(differences(stored(parse(old)), stored(parse(new))))
    assert [described(d) for d in found] == words
    assert any(d.breaks for d in found) == breaks
