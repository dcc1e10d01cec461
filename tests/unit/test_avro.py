"""The columns that follow from a topic's Avro schema, and the schemas that no table can be made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.product.avro_types import ENVELOPE, Field, SchemaError, fields


def record(*types: Any, name: str = "R") -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{i}", "type": t} for i, t in enumerate(types)],
    }


def logical(base: Any, name: str, **more: Any) -> dict[str, Any]:
    return {**({"type": base} if isinstance(base, str) else base), "logicalType": name, **more}


def fixed(size: int, name: str = "F") -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


ENUM = {"type": "enum", "name": "E", "symbols": ["NEW", "PAID"]}
POINT = {
    "type": "record",
    "name": "geo.Point",
    "fields": [{"name": "select", "type": "int"}, {"name": "y", "type": ["null", "double"]}],
}


@pytest.mark.parametrize(
    ("avro", "flink"),
    [
        ("null", "STRING"),
        ("boolean", "BOOLEAN"),
        ("int", "INT"),
        ("long", "BIGINT"),
        ("float", "FLOAT"),
        ("double", "DOUBLE"),
        ("bytes", "BYTES"),
        ("string", "STRING"),
        (fixed(3), "BYTES"),
        (ENUM, "STRING"),
        ({"type": "array", "items": ["null", "int"]}, "ARRAY<INT>"),
        ({"type": "array", "items": "null"}, "ARRAY<STRING>"),
        (
            {"type": "map", "values": {"type": "array", "items": "long"}},
            "MAP<STRING NOT NULL, ARRAY<BIGINT>>",
        ),
        (POINT, "ROW<`select` INT, `y` DOUBLE>"),
        (logical("int", "date"), "DATE"),
        (logical("int", "time-millis"), "TIME(0)"),
        (logical("long", "time-micros"), "BIGINT"),
        (logical("long", "timestamp-millis"), "TIMESTAMP_LTZ(3)"),
        (logical("long", "timestamp-micros"), "TIMESTAMP_LTZ(6)"),
        (logical("long", "timestamp-nanos"), "TIMESTAMP_LTZ(9)"),
        (logical("long", "local-timestamp-millis"), "TIMESTAMP(3)"),
        (logical("long", "local-timestamp-micros"), "TIMESTAMP(6)"),
        (logical("long", "local-timestamp-nanos"), "TIMESTAMP(9)"),
        (logical("bytes", "decimal", precision=10, scale=4), "DECIMAL(10, 4)"),
        (logical("bytes", "decimal", precision=38), "DECIMAL(38, 0)"),
        (logical(fixed(8), "decimal", precision=18, scale=18), "DECIMAL(18, 18)"),
        (logical("string", "uuid"), "STRING"),
        (logical(fixed(16), "uuid"), "STRING"),
        (logical(fixed(12), "duration"), "BYTES"),
        (["null", "int"], "INT"),
        (["int", "null"], "INT"),
        (["int"], "INT"),
        (["null"], "STRING"),
        (["null", "string", "long"], "ROW<`string` STRING, `long` BIGINT>"),
        (
            [POINT, ENUM, "null", {"type": "array", "items": "int"}],
            "ROW<`Point` ROW<`select` INT, `y` DOUBLE>, `E` STRING, `array` ARRAY<INT>>",
        ),
    ],
    ids=str,
)
def test_the_type_of_a_column(avro: Any, flink: str) -> None:
    assert fields(json.dumps(record(avro))) == (Field("f0", flink),)


@pytest.mark.parametrize(
    ("avro", "flink"),
    [
        (logical("int", "timestamp-millis"), "INT"),
        (logical("long", "date"), "BIGINT"),
        (logical("string", "json"), "STRING"),
        (logical("string", "decimal", precision=4), "STRING"),
        (logical("bytes", "decimal"), "BYTES"),
        (logical("bytes", "decimal", precision=2, scale=3), "BYTES"),
        (logical("bytes", "decimal", precision=2, scale=-1), "BYTES"),
        (logical("bytes", "decimal", precision="2"), "BYTES"),
        (logical(fixed(4), "decimal", precision=10), "BYTES"),
        (logical(fixed(8), "uuid"), "BYTES"),
        (logical(fixed(8), "duration"), "BYTES"),
    ],
    ids=str,
)
def test_a_logical_type_that_is_unknown_or_invalid_here_means_nothing(
    avro: Any, flink: str
) -> None:
    assert fields(json.dumps(record(avro))) == (Field("f0", flink),)


def test_a_named_type_is_used_twice_and_docs_are_kept() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "namespace": "shop",
        "fields": [
            {
                "name": "a",
                "type": {
                    "type": "record",
                    "name": "Money",
                    "fields": [{"name": "cents", "type": "long"}],
                },
            },
            {"name": "b", "type": ["null", "Money"], "doc": "what was refunded"},
            {"name": "c", "type": "shop.Money"},
        ],
    }
    money = "ROW<`cents` BIGINT>"
    assert fields(json.dumps(schema)) == (
        Field("a", money),
        Field("b", money, "what was refunded"),
        Field("c", money),
    )


@pytest.mark.parametrize(
    ("schema", "expected", "found"),
    [
        (
            "{",
            "an Avro schema in JSON",
            "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ('"int"', "a record at the top of the schema", "int"),
        ("[]", "a union of types that differ, no union among them", "none"),
        (record("Nothing"), "an Avro type in field f0", "'Nothing', which nothing defines"),
        (record({"type": "array"}), "items of the array in field f0", "none"),
        (record({"type": "list"}), "an Avro type in field f0", "'list', which nothing defines"),
        (
            record(["int", "int"]),
            "a union of types that differ, no union among them in field f0",
            "int, int",
        ),
        (
            record({**ENUM, "default": "LOST"}),
            "a default of the enum 'E' that is one of NEW, PAID",
            '"LOST"',
        ),
        (
            record(logical("bytes", "decimal", precision=39, scale=2)),
            "decimals of at most 38 digits",
            "decimal(39, 2) in field f0",
        ),
        (
            record({"type": "array", "items": ["null", "R"]}),
            "types that do not contain themselves: a column has a fixed depth",
            "'R' contains itself in field f0[]",
        ),
        (
            {"type": "record", "name": "R", "fields": [{"name": "r", "type": "R", "default": {}}]},
            "types that do not contain themselves: a column has a fixed depth",
            "'R' contains itself in field r",
        ),
        (
            record("int", ["int", {"type": "map", "values": "R"}]),
            "types that do not contain themselves: a column has a fixed depth",
            "'R' contains itself in field f1<map>{}",
        ),
        (
            record(record(name="Empty")),
            "records with at least one field: a table cannot hold an empty one",
            "'Empty' of field f0",
        ),
        (
            record(
                [
                    {"type": "fixed", "name": "a.X", "size": 1},
                    {"type": "fixed", "name": "b.x", "size": 1},
                ]
            ),
            "branches of the union in field f0 whose names differ by more than case",
            "X and x",
        ),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "id", "type": "int"}, {"name": "ID", "type": "int"}],
            },
            "fields whose names differ by more than case",
            "id and ID",
        ),
        (
            record(
                {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "I",
                        "fields": [{"name": "id", "type": "int"}, {"name": "Id", "type": "int"}],
                    },
                }
            ),
            "fields of field f0[] whose names differ by more than case",
            "id and Id",
        ),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "id", "type": "int", "default": "1"}],
            },
            "a default of type int in field id",
            '"1"',
        ),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "f", "type": "float", "default": 1e300}],
            },
            "a default of type float in field f",
            "1e+300",
        ),
        (
            '{"type": "record", "name": "R", "fields": [{"name": "f", "type": "double", "default": NaN}]}',
            "an Avro schema in JSON",
            "ValueError: NaN is no JSON",
        ),
        (
            {"type": "record", "name": "R", "fields": [{"name": "LOG_Offset", "type": "int"}]},
            f"fields that are not called {', '.join(ENVELOPE)}: every topic has such columns",
            "field LOG_Offset",
        ),
        (
            {"type": "record", "name": "R", "fields": [{"name": "log__first", "type": "int"}]},
            f"fields that are not called {', '.join(ENVELOPE)}: every topic has such columns",
            "field log__first",
        ),
    ],
    ids=lambda case: None if isinstance(case, str) and len(case) > 60 else str(case)[:60],
)
def test_a_schema_that_no_table_can_be_made_of(schema: Any, expected: str, found: str) -> None:
    with pytest.raises(SchemaError) as caught:
        fields(schema if isinstance(schema, str) else json.dumps(schema))
    assert (caught.value.expected, caught.value.found) == (expected, found)


def test_types_nested_too_deep_or_multiplied_are_refused_at_once() -> None:
    with pytest.raises(SchemaError, match="JSON"):
        fields("[" * 100_000)
    with pytest.raises(SchemaError, match="nested at most 64 deep"):
        fields(
            '{"type": "record", "name": "R", "fields": [{"name": "a", "type": '
            + '{"type": "array", "items": ' * 200
            + '"int"'
            + "}" * 200
            + "}]}"
        )
    doubled: Any = "int"
    for level in range(40):
        name = f"T{level}"
        doubled = {
            "type": "record",
            "name": name,
            "fields": [
                {"name": "a", "type": doubled},
                {"name": "b", "type": f"T{level - 1}" if level else "int"},
            ],
        }
    with pytest.raises(SchemaError, match="at most 10000 types"):
        fields(json.dumps(doubled))
