"""JSON as Avro: what people write arrives as what they mean, or is an error that says what to write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.avro.json_scalars import bytes_of, text_or_hex
from replay.avro.json_values import AvroValues, JsonValueError, parse, to_json
from replay.avro.reader import record_reader

ENUM = {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}
ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int", "default": 1}],
}
REF = {"type": "record", "name": "Ref", "fields": [{"name": "url", "type": "string"}]}


def logical(base: str, name: str, **more: int) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


DECIMAL = logical("bytes", "decimal", precision=6, scale=2)
FIXED_DECIMAL = {
    "type": "fixed",
    "name": "F",
    "size": 2,
    "logicalType": "decimal",
    "precision": 4,
    "scale": 2,
}


def record_of(schema: Any, **field: Any) -> AvroValues:
    return AvroValues(
        json.dumps(
            {
                "type": "record",
                "name": "R",
                "namespace": "a.b",
                "fields": [{"name": "f", "type": schema, **field}],
            }
        )
    )


def there_and_back(schema: Any, text: str, **field: Any) -> Any:
    """A line written as Avro and read as the audit reads it."""
    values = record_of(schema, **field)
    message = values.encode(parse(text))
    return to_json(record_reader(values.schema, values.schema, "schema id 1")(message, 0))["f"]


@pytest.mark.parametrize(
    ("schema", "written", "read"),
    [
        ("int", "-2147483648", -2147483648),
        ("long", "9223372036854775807", 9223372036854775807),
        ("long", "3.0", 3),
        ("double", "0.1", 0.1),
        ("double", '"NaN"', "NaN"),
        ("float", '"-Infinity"', "-Infinity"),
        ("string", '"ü🙂"', "ü🙂"),
        ("bytes", '"hex:00ff"', "hex:00ff"),
        ("bytes", '"base64:AP8="', "hex:00ff"),
        ({"type": "fixed", "name": "X", "size": 2}, '"hex:00ff"', "hex:00ff"),
        (ENUM, '"PAID"', "PAID"),
        (DECIMAL, "12.3", "12.30"),
        (DECIMAL, '"-9999.99"', "-9999.99"),
        (DECIMAL, "1e3", "1000.00"),
        (DECIMAL, "12.3000", "12.30"),
        (DECIMAL, "0", "0.00"),
        (FIXED_DECIMAL, "-99.99", "-99.99"),
        (
            logical("long", "timestamp-millis"),
            '"2024-06-03T01:02:03.456Z"',
            "2024-06-03T01:02:03.456Z",
        ),
        (logical("long", "timestamp-millis"), '"2024-06-03 03:02+02:00"', "2024-06-03T01:02:00Z"),
        (logical("long", "timestamp-millis"), "1717376523456", "2024-06-03T01:02:03.456Z"),
        (
            logical("long", "timestamp-millis"),
            '"1969-12-31T23:59:59.999Z"',
            "1969-12-31T23:59:59.999Z",
        ),
        (
            logical("long", "timestamp-micros"),
            '"2024-06-03T01:02:03.456789Z"',
            "2024-06-03T01:02:03.456789Z",
        ),
        (logical("long", "timestamp-micros"), '"0001-01-01T00:00:00Z"', "0001-01-01T00:00:00Z"),
        (
            logical("long", "timestamp-micros"),
            '"9999-12-31T23:59:59.999999Z"',
            "9999-12-31T23:59:59.999999Z",
        ),
        (logical("long", "local-timestamp-millis"), '"2024-06-03T01:02:03"', "2024-06-03T01:02:03"),
        (logical("int", "date"), '"2024-02-29"', "2024-02-29"),
        (logical("int", "date"), "-1", "1969-12-31"),
        (logical("int", "time-millis"), '"23:59:59.999"', "23:59:59.999"),
        (
            logical("string", "uuid"),
            '"123e4567-e89b-12d3-a456-426614174000"',
            "123e4567-e89b-12d3-a456-426614174000",
        ),
        (
            {"type": "array", "items": ITEM},
            '[{"sku": "a"}, {"sku": "b", "n": 2}]',
            [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
        ),
        ({"type": "map", "values": "long"}, '{"a": 1}', {"a": 1}),
        (["null", "string"], "null", None),
        (["null", "string"], '"x"', "x"),
        (["null", ITEM], '{"sku": "a"}', {"sku": "a", "n": 1}),
        (["int", "double"], "5", {"int": 5, "double": None}),
        (["int", "double"], "5.5", {"int": None, "double": 5.5}),
        (["null", "string", "long"], "5", {"string": None, "long": 5}),
        (["null", "string", "long"], '{"string": null, "long": 5}', {"string": None, "long": 5}),
        ([ENUM, "string"], '{"string": "PAID"}', {"State": None, "string": "PAID"}),
        ([ENUM, "string"], '{"a.b.State": "PAID"}', {"State": "PAID", "string": None}),
        ([ITEM, REF], '{"url": "u"}', {"Item": None, "Ref": {"url": "u"}}),
    ],
)
def test_a_value_is_written_as_it_is_meant(schema: Any, written: str, read: Any) -> None:
    assert there_and_back(schema, f'{{"f": {written}}}') == read


@pytest.mark.parametrize(
    ("schema", "written", "expected", "found"),
    [
        ("int", "2147483648", "int: a whole number of 32 bits", "2147483648"),
        ("int", "1.5", "int: a whole number of 32 bits", "1.5"),
        ("int", "true", "int: a whole number of 32 bits", "true"),
        ("long", '"5"', "long: a whole number of 64 bits", '"5"'),
        (
            "float",
            "1e39",
            'float: a number within ±3.4e38, "NaN", "Infinity" or "-Infinity"',
            "1E+39",
        ),
        ("double", "1e999", 'double: a number, "NaN", "Infinity" or "-Infinity"', "1E+999"),
        ("string", "5", "string", "5"),
        (
            "string",
            '"\\ud800"',
            "string: text that UTF-8 can hold, with no half of a surrogate pair",
            '"\ud800"',
        ),
        ("bytes", '"abcd"', 'bytes: "hex:00ff" or "base64:AP8="', '"abcd"'),
        ("boolean", "1", "true or false", "1"),
        (ENUM, '"PAYED"', "a symbol of State (NEW, PAID); did you mean PAID?", '"PAYED"'),
        (
            DECIMAL,
            "1.234",
            "decimal(6, 2): a number of at most 4 digits before and 2 after the point",
            "1.234",
        ),
        (
            DECIMAL,
            "10000",
            "decimal(6, 2): a number of at most 4 digits before and 2 after the point",
            "10000",
        ),
        (
            DECIMAL,
            '"1,5"',
            "decimal(6, 2): a number of at most 4 digits before and 2 after the point",
            '"1,5"',
        ),
        (
            DECIMAL,
            "1e999999999",
            "decimal(6, 2): a number of at most 4 digits before and 2 after the point",
            "1E+999999999",
        ),
        (
            logical("long", "timestamp-millis"),
            '"2024-06-03T01:02:03"',
            'timestamp-millis: ISO 8601 with a zone, "2024-06-03T01:02:03.456Z", or milliseconds since 1970',
            '"2024-06-03T01:02:03"',
        ),
        (
            logical("long", "timestamp-millis"),
            '"2024-06-03T01:02:03.456789Z"',
            'timestamp-millis: ISO 8601 with a zone, "2024-06-03T01:02:03.456Z", or milliseconds since 1970',
            '"2024-06-03T01:02:03.456789Z"',
        ),
        (
            logical("long", "timestamp-millis"),
            '"2023-02-29T00:00:00Z"',
            'timestamp-millis: ISO 8601 with a zone, "2024-06-03T01:02:03.456Z", or milliseconds since 1970',
            '"2023-02-29T00:00:00Z"',
        ),
        (
            logical("long", "local-timestamp-micros"),
            '"2024-06-03T01:02:03Z"',
            'local-timestamp-micros: ISO 8601 without a zone, "2024-06-03T01:02:03.456789", or microseconds since 1970',
            '"2024-06-03T01:02:03Z"',
        ),
        (
            logical("int", "date"),
            '"2024-13-01"',
            'date: "2024-06-03" or days since 1970',
            '"2024-13-01"',
        ),
        (
            logical("int", "time-millis"),
            '"24:00"',
            'time-millis: "01:02:03.456", or milliseconds since midnight',
            '"24:00"',
        ),
        (
            logical("string", "uuid"),
            '"x"',
            "uuid: such as 123e4567-e89b-12d3-a456-426614174000",
            '"x"',
        ),
        (["null", "string"], "5", "string or null", "5"),
        (["null", "string", "long"], "1.5", "one of: null, string, long", "1.5"),
        (
            [ENUM, "string"],
            '"PAID"',
            'one branch of the union by name, such as {"a.b.State": …}: it fits a.b.State and string',
            '"PAID"',
        ),
        ({"type": "array", "items": "int"}, "{}", "a list", "{}"),
        ({"type": "map", "values": "int"}, "[]", "an object", "[]"),
    ],
)
def test_what_the_schema_cannot_hold_is_an_error(
    schema: Any, written: str, expected: str, found: str
) -> None:
    with pytest.raises(JsonValueError) as e:
        record_of(schema).encode(parse(f'{{"f": {written}}}'))
    assert (e.value.path, e.value.expected, e.value.found) == ("f", expected, found)


@pytest.mark.parametrize(
    ("schema", "line", "path", "found"),
    [
        ({"type": "array", "items": ITEM}, '{"f": [{"sku": "a"}, {"sku": 5}]}', "f[1].sku", "5"),
        (["null", ITEM], '{"f": {"sku": "a", "n": "x"}}', "f.n", '"x"'),
        ([ITEM, REF], '{"f": {"sku": "a", "n": "x"}}', "f.n", '"x"'),
        ({"type": "map", "values": "int"}, '{"f": {"k": "v"}}', "f['k']", '"v"'),
        (ITEM, '{"f": {"n": 1}}', "f.sku", "no such field; the schema has no default for it"),
        (ITEM, '{"f": {"sku": "a", "number": 1}}', "f.number", "'number'"),
        ("int", '{"f": 1, "g": 2}', "g", "'g'"),
        ("int", '{"f": 1, "f": 2}', "f", "'f' twice in one object"),
        ("int", '{"f": 1', "", 'Expecting \',\' delimiter at column 8: "{\\"f\\": 1"'),
        ("int", "[1]", "", "[1]"),
    ],
)
def test_an_error_names_the_field(schema: Any, line: str, path: str, found: str) -> None:
    with pytest.raises(JsonValueError) as e:
        record_of(schema).encode(parse(line))
    assert (e.value.path, e.value.found) == (path, found)


@pytest.mark.parametrize(
    ("schema", "default", "read"),
    [
        ("string", "EUR", "EUR"),
        (["null", "string"], None, None),
        (["string", "null"], "x", "x"),
        ("bytes", "\u00ff", "hex:ff"),
        (DECIMAL, "\u0004\u00d2", "12.34"),
        (ENUM, "NEW", "NEW"),
        ("double", 1, 1.0),
        (ITEM, {"sku": "a"}, {"sku": "a", "n": 1}),
        ({"type": "array", "items": ENUM}, ["NEW"], ["NEW"]),
        (logical("long", "timestamp-micros"), 0, "1970-01-01T00:00:00Z"),
    ],
)
def test_a_field_left_out_takes_its_default(schema: Any, default: Any, read: Any) -> None:
    assert there_and_back(schema, "{}", default=default) == read


def test_a_field_left_out_is_null_where_that_is_allowed() -> None:
    assert there_and_back(["null", "string"], "{}") is None


scalars = st.fixed_dictionaries(
    {
        "i": st.integers(-(2**31), 2**31 - 1),
        "s": st.text(st.characters(codec="utf-8")),
        "b": st.binary(),
        "d": st.decimals(-9999, 9999, places=2),
        "x": st.floats(),
        "t": st.datetimes(timezones=st.just(None)),
        "u": st.none() | st.booleans(),
    }
)


@given(scalars)
def test_what_peek_prints_can_be_produced_again(drawn: dict[str, Any]) -> None:
    values = AvroValues(
        json.dumps(
            {
                "type": "record",
                "name": "R",
                "fields": [
                    {"name": "i", "type": "int"},
                    {"name": "s", "type": "string"},
                    {"name": "b", "type": "bytes"},
                    {"name": "d", "type": DECIMAL},
                    {"name": "x", "type": "double"},
                    {"name": "t", "type": logical("long", "local-timestamp-micros")},
                    {"name": "u", "type": ["null", "boolean"]},
                ],
            }
        )
    )
    shown = json.dumps(to_json(drawn), sort_keys=True)
    read = record_reader(values.schema, values.schema, "schema id 1")(
        values.encode(parse(shown)), 0
    )
    assert json.dumps(to_json(read), sort_keys=True) == shown


@given(st.binary())
def test_a_key_survives_its_text(key: bytes) -> None:
    text = text_or_hex(key)
    assert text is not None
    assert bytes_of(text) == key


def test_a_text_that_looks_like_bytes_is_told_in_hex() -> None:
    assert text_or_hex(b"hex:00") == "hex:6865783a3030"
    assert text_or_hex(b"order 7") == "order 7"
    assert text_or_hex(b"\x1b[31m") == "hex:1b5b33316d"
