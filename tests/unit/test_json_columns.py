"""A JSON Schema as columns: the table of docs/json.md, what else says the same, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jobs.product.avro_types import SchemaError, fields
from jobs.product.json_columns import avro_text

DOC = Path(__file__).parents[2] / "docs" / "json.md"
ROWS = re.findall(r"^\| `(\{.*?\})` \| (.+?) \| .* \|$", DOC.read_text(), re.MULTILINE)


def columns(properties: dict[str, Any], **more: Any) -> dict[str, str]:
    schema = {"type": "object", "properties": properties, **more}
    return {f.name: f.type for f in fields(avro_text(json.dumps(schema)))}


@pytest.mark.parametrize(("spec", "flink"), ROWS)
def test_a_type_is_what_the_page_says(spec: str, flink: str) -> None:
    assert columns({"f": json.loads(spec)}) == {"f": flink.replace("\\`", "`")}


def test_the_page_has_a_row_of_every_type() -> None:
    assert len(ROWS) == 21


@pytest.mark.parametrize(
    "spec",
    [
        {"type": ["integer", "null"]},
        {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        {"oneOf": [{"$ref": "#/$defs/count"}, {"type": "null"}]},
        {"$ref": "#/$defs/count"},
        {"allOf": [{"$ref": "#/$defs/count"}]},
        {"$ref": "#/$defs/a~1b"},
        {"type": "integer", "minimum": 0, "default": 1, "format": "int64"},
    ],
)
def test_ways_of_saying_an_integer(spec: dict[str, Any]) -> None:
    definitions = {"count": {"type": "integer"}, "a/b": {"type": "integer"}}
    assert columns({"f": spec}, **{"$defs": definitions}) == {"f": "BIGINT"}


def test_a_list_of_texts_is_a_text_and_properties_make_an_object() -> None:
    assert columns(
        {"f": {"enum": ["a", None]}, "g": {"properties": {"h": {"type": "string"}}}}
    ) == {
        "f": "STRING",
        "g": "ROW<`h` STRING>",
    }


def test_a_description_is_that_of_the_column() -> None:
    schema = {"type": "object", "properties": {"f": {"type": "string", "description": "Why"}}}
    assert fields(avro_text(json.dumps(schema)))[0].doc == "Why"


@pytest.mark.parametrize(
    ("spec", "expected", "found"),
    [
        ({}, "a type of object, array", "none"),
        (True, "a type in field f", "true"),
        ({"type": ["string", "integer"]}, "a type of object", '["string", "integer"]'),
        ({"type": "text"}, "a type of object", '"text"'),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "one type, and null in field f", "2 types"),
        ({"allOf": [{"type": "string"}, {"maxLength": 1}]}, "one type in field f", "allOf of several"),
        ({"type": "object"}, "an object with properties, or a map", '{"type": "object"}'),
        ({"type": "array"}, "items of one type in field f", '{"type": "array"}'),
        ({"type": "array", "items": {"type": "any"}}, "a type of object", '"any"'),
        ({"type": "array", "items": {}, "prefixItems": []}, "items of one type", "prefixItems"),
        ({"$ref": "https://example.org/a.json"}, "a $ref within the file", "https://example.org/a.json"),
        ({"$ref": "#/$defs/none"}, "a definition of #/$defs/none in field f", "none"),
        ({"$ref": "#/$defs/node"}, "types that do not contain themselves", "'#/$defs/node' contains itself"),
        ({"type": "string", "contentEncoding": "base32"}, "contentEncoding base64 in field f", '"base32"'),
        ({"type": "number", "format": "decimal"}, "of a decimal, x-precision", "null"),
        ({"type": "number", "format": "decimal", "x-precision": 39}, "x-precision up to 38", "39"),
        ({"type": "number", "format": "decimal", "x-precision": 2, "x-scale": 3}, "x-scale up to that", "3"),
        ({"type": "string", "format": "date-time", "x-precision": 4}, "x-precision 3, 6 or 9", "4"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}, "required", "b"),
        ({"type": "object", "properties": {"a-b": {"type": "string"}}}, '"x-column" of property \'a-b\'', "a-b"),
    ],
)  # fmt: skip
def test_what_no_column_can_be_is_refused(spec: Any, expected: str, found: str) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    with pytest.raises(SchemaError) as refused:
        columns({"f": spec}, **{"$defs": {"node": node}})
    assert expected in refused.value.expected
    assert found in refused.value.found


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", '{"type": "string"}', '{"type": "array", "items": {"type": "string"}}',
     '{"type": "object", "additionalProperties": {"type": "string"}}',
     '{"type": "object", "properties": {"a": {"type": "string"}, "a": {"type": "integer"}}}',
     "{\"a\": " * 3000],
)  # fmt: skip
def test_a_file_that_is_no_schema_of_documents_is_refused(text: str) -> None:
    with pytest.raises(SchemaError):
        avro_text(text)


def test_two_properties_cannot_be_one_column() -> None:
    with pytest.raises(SchemaError, match="a twice"):
        columns({"a": {"type": "string"}, "b": {"type": "string", "x-column": "a"}})
