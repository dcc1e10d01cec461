"""Flink SQL types as people and Flink write them, and what a table makes of them."""

from __future__ import annotations

import pytest

from jobs.product.column_types import (
    Array,
    Atomic,
    ColumnTypeError,
    Field,
    Map,
    Row,
    column_type,
    has_array_of_bytes,
    is_as_stored,
    is_json,
    parse,
    resolved_column_type,
)

STORED = {
    "INT": "INT",
    "integer": "INT",
    "TINYINT": "INT",
    "SMALLINT NOT NULL": "INT",
    "BIGINT": "BIGINT",
    "STRING": "STRING",
    "VARCHAR(2147483647)": "STRING",
    "CHAR(3) NOT NULL": "STRING",
    "VARCHAR": "STRING",
    "CHAR VARYING(3)": "STRING",
    "BYTES": "BYTES",
    "BINARY(16)": "BYTES",
    "VARBINARY(2147483647)": "BYTES",
    "BOOLEAN": "BOOLEAN",
    "FLOAT": "FLOAT",
    "DOUBLE PRECISION": "DOUBLE",
    "DATE": "DATE",
    "TIME(0)": "TIME",
    "TIME(3) WITHOUT TIME ZONE": "TIME",
    "DECIMAL(10, 4)": "DECIMAL(10, 4)",
    "DECIMAL(10,4)": "DECIMAL(10, 4)",
    "NUMERIC": "DECIMAL(10, 0)",
    "DEC(5)": "DECIMAL(5, 0)",
    "TIMESTAMP": "TIMESTAMP(6)",
    "TIMESTAMP(3)": "TIMESTAMP(6)",
    "TIMESTAMP(3) WITHOUT TIME ZONE": "TIMESTAMP(6)",
    "TIMESTAMP(3) *ROWTIME*": "TIMESTAMP(6)",
    "TIMESTAMP_LTZ(3) *PROCTIME* NOT NULL": "TIMESTAMP_LTZ(6)",
    "TIMESTAMP_LTZ(3) NOT NULL *ROWTIME*": "TIMESTAMP_LTZ(6)",
    "TIMESTAMP(3) WITH LOCAL TIME ZONE NOT NULL": "TIMESTAMP_LTZ(6)",
    "TIMESTAMP_WITH_LOCAL_TIME_ZONE(3)": "TIMESTAMP_LTZ(6)",
    "timestamp_ltz": "TIMESTAMP_LTZ(6)",
    "ARRAY<INT NOT NULL> NOT NULL": "ARRAY<INT>",
    "INT ARRAY": "ARRAY<INT>",
    "INT NOT NULL ARRAY": "ARRAY<INT>",
    "MAP<VARCHAR(2147483647) NOT NULL, BIGINT>": "MAP<STRING, BIGINT>",
    "ROW<`a` INT, `b` ARRAY<STRING NOT NULL>>": "ROW<`a` INT, `b` ARRAY<STRING>>",
    "ROW<`a` INT 'it''s, > one', `b` TIMESTAMP(3)> NOT NULL": "ROW<`a` INT, `b` TIMESTAMP(6)>",
    "row(a int, B string)": "ROW<`a` INT, `B` STRING>",
    "ROW<`order` ROW<`a``b` CHAR(1)>, `größe` INT>": "ROW<`order` ROW<`a``b` STRING>, `größe` INT>",
    "ROW<NOT STRING NOT NULL, `NULL` INT>": "ROW<`NOT` STRING, `NULL` INT>",
    "ARRAY<MAP<STRING, ROW<`m` MAP<INT, BYTES>>>>": "ARRAY<MAP<STRING, ROW<`m` MAP<INT, BYTES>>>>",
}


@pytest.mark.parametrize(("resolved", "column"), STORED.items(), ids=STORED)
def test_a_column_has_the_type_that_a_table_can_hold(resolved: str, column: str) -> None:
    assert column_type(resolved) == column
    assert column_type(column) == column


def test_a_type_is_read_with_its_nullability() -> None:
    assert parse("ROW<`a` MAP<STRING NOT NULL, DECIMAL(4, 2)> NOT NULL, b ARRAY<TIME(3)>>") == Row(
        (
            Field(
                "a",
                Map(Atomic("STRING", nullable=False), Atomic("DECIMAL", (4, 2)), nullable=False),
            ),
            Field("b", Array(Atomic("TIME", (3,)))),
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "TIMESTAMP_LTZ(3) NOT NULL",
        "ROW<`a` CHAR(3) NOT NULL, `b` DECIMAL(10, 2)> NOT NULL",
        "ARRAY<MAP<INT NOT NULL, BINARY(4)>> NOT NULL",
        "MAP<STRING, INT> NOT NULL",
    ],
)
def test_a_type_is_printed_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


REFUSED = {
    "TIMESTAMP_LTZ(9)": "expected at most 6 digits of a second, found TIMESTAMP_LTZ(9); "
    "write instead: CAST(x AS TIMESTAMP_LTZ(6))",
    "ROW<`a` ARRAY<TIMESTAMP(7) NOT NULL>>": "expected at most 6 digits of a second, "
    "found TIMESTAMP(7) NOT NULL in a[]; "
    "write instead: CAST(x AS TIMESTAMP(6))",
    "TIMESTAMP(3) WITH TIME ZONE": "expected a type that an Iceberg table can hold, found TIMESTAMP(3) WITH TIME ZONE; "
    "write instead: CAST(x AS TIMESTAMP_LTZ(6)), and the zone in a column of its own",
    "INTERVAL DAY(2) TO SECOND(3) NOT NULL": "expected a type that an Iceberg table can hold, "
    "found INTERVAL DAY(2) TO SECOND(3) NOT NULL; "
    "write instead: TIMESTAMPDIFF(SECOND, a, b), a number",
    "ROW<`a` INTERVAL YEAR(4)>": "expected a type that an Iceberg table can hold, found ROW<`a` INTERVAL YEAR(4)>; "
    "write instead: TIMESTAMPDIFF(SECOND, a, b), a number",
    "MULTISET<STRING>": "expected a type that an Iceberg table can hold, found MULTISET<STRING>; write instead: "
    "an aggregate of each element in rows of its own, such as COUNT(*) … GROUP BY element",
    "INT MULTISET": "expected a type that an Iceberg table can hold, found INT MULTISET; write instead: "
    "an aggregate of each element in rows of its own, such as COUNT(*) … GROUP BY element",
    "NULL": "expected a type that an Iceberg table can hold, found NULL; "
    "write instead: CAST(NULL AS STRING), or the type that is meant",
    "RAW('java.lang.Object', 'AAA=')": "expected a type that an Iceberg table can hold, "
    "found RAW('java.lang.Object', 'AAA='); "
    "write instead: CAST(x AS ROW<…>) with names and types of its fields, or a STRING",
    "`default_catalog`.`default_database`.`Point`": "expected a type that an Iceberg table can hold, "
    "found `default_catalog`.`default_database`.`Point`; "
    "write instead: CAST(x AS ROW<…>) with names and types of its fields, or a STRING",
    "*com.shop.Point<`x` INT>*": "expected a type that an Iceberg table can hold, found *com.shop.Point<`x` INT>*; "
    "write instead: CAST(x AS ROW<…>) with names and types of its fields, or a STRING",
    "STRUCTURED<'com.shop.Point', `x` INT>": "expected a type that an Iceberg table can hold, "
    "found STRUCTURED<'com.shop.Point', `x` INT>; "
    "write instead: CAST(x AS ROW<…>) with names and types of its fields, or a STRING",
    "MAP<ROW<`a` INT>, STRING>": "expected a MAP whose key has no parts, found MAP<ROW<`a` INT>, STRING>; "
    "write instead: an ARRAY of ROWs with fields for the parts of the key",
    "ROW<`id` INT, `Id` INT>": "expected field names that differ by more than case, found id and Id; "
    "write instead: another name for one of them",
    "ROW<`a` ROW<`id` INT, `id` INT>>": "expected each field name once, found id, id in a; "
    "write instead: CAST(x AS ROW<…>) with a name for each field",
}


@pytest.mark.parametrize(("resolved", "text"), REFUSED.items(), ids=REFUSED)
def test_what_no_table_can_hold_is_refused_with_what_to_write(resolved: str, text: str) -> None:
    with pytest.raises(ColumnTypeError) as e:
        column_type(resolved)
    assert str(e.value) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INT INT",
        "ROW<>",
        "ROW<a>",
        "ROW INT",
        "ARRAY<INT",
        "MAP<INT>",
        "DECIMAL(1,2,3)",
        "DECIMAL(x)",
        "INT>",
        "DECIMAL(",
        "ROW<a INT,>",
    ],
)
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(ColumnTypeError, match="a Flink SQL type such as STRING"):
        parse(text)


def test_a_key_that_may_be_null_is_refused() -> None:
    """No Parquet file can hold one: a record with such a key would stop the job again and again."""
    assert resolved_column_type("MAP<STRING NOT NULL, INT> NOT NULL") == "MAP<STRING, INT>"
    with pytest.raises(ColumnTypeError) as e:
        resolved_column_type("ROW<`a` ARRAY<MAP<INT NOT NULL, MAP<CHAR(1), INT>>>>")
    assert str(e.value) == (
        "expected a MAP whose keys are never NULL, found ROW<`a` ARRAY<MAP<INT NOT NULL, MAP<CHAR(1), INT>>>> in "
        "a[].value; write instead: MAP[COALESCE(k, …), v], with a key for what has none"
    )


@pytest.mark.parametrize(
    ("found", "as_stored"),
    [
        ("STRING NOT NULL", True),
        ("MAP<STRING NOT NULL, ARRAY<BYTES NOT NULL>> NOT NULL", True),
        ("TIMESTAMP(6)", True),
        ("TIME(0)", True),
        ("TIMESTAMP_LTZ(3)", False),
        ("ROW<`a` ARRAY<TIMESTAMP(3)>>", False),
        ("CHAR(3)", False),
        ("SMALLINT", False),
    ],
)
def test_what_is_written_as_it_is(found: str, as_stored: bool) -> None:
    assert is_as_stored(found) is as_stored


@pytest.mark.parametrize(
    ("found", "has"),
    [
        ("ARRAY<BYTES>", True),
        ("ROW<`a` MAP<STRING, ARRAY<ARRAY<BYTES>>>>", True),
        ("ROW<`a` BYTES, `b` ARRAY<INT>>", False),
        ("MAP<STRING, BYTES>", False),
    ],
)
def test_arrays_of_bytes_are_found_wherever_they_are(found: str, has: bool) -> None:
    assert has_array_of_bytes(found) is has


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("MAP<STRING NOT NULL, BYTES>", True),
        ("ARRAY<ROW<a INT, b MAP<STRING, INT>>>", True),
        ("MAP<INT NOT NULL, INT>", False),
        ("ROW<a ARRAY<MAP<STRING, MAP<DATE, INT>>>>", False),
    ],
)
def test_json_has_maps_of_texts_alone(text: str, can: bool) -> None:
    assert is_json(parse(text)) is can
