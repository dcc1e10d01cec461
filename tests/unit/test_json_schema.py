"""Editors know product.yaml by a schema that says what the model says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.product import json_schema
from jobs.product.settings import ProductSettings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "sql" / "product.schema.json"
PRODUCTS = sorted([*ROOT.glob("sql/*/product.yaml"), *ROOT.glob("tests/products/*/product.yaml")])


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == json_schema.text(), (
        "python -m jobs.product.json_schema > sql/product.schema.json"
    )


@pytest.mark.parametrize("file", PRODUCTS, ids=lambda f: f.parent.name)
def test_every_folder_names_the_schema(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match, first
    assert (file.parent / match[1]).resolve() == FILE


def test_docstrings_are_descriptions() -> None:
    schema = json_schema.schema()
    assert schema["properties"]["time_zone"]["description"].startswith(
        "What a TIMESTAMP without zone means"
    )
    assert set(schema["properties"]) == set(ProductSettings.model_fields)


def problems(
    schema: dict[str, Any], value: Any, root: dict[str, Any], path: str = ""
) -> Iterator[str]:
    """The part of JSON Schema that the file uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        if not any(not list(problems(s, value, root, path)) for s in schema["anyOf"]):
            yield f"{path}: {value!r} is none of {schema['anyOf']}"
        return
    types: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if value not in schema.get("enum", [value]):
        yield f"{path}: {value!r} is none of {schema['enum']}"
    for item in value if isinstance(value, list) else ():
        yield from problems(schema.get("items", {}), item, root, path)
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, inner in value.items():
            if name in known or isinstance(others, dict):
                yield from problems(known.get(name, others), inner, root, f"{path}.{name}")
            elif others is False:
                yield f"{path}: no {name}"
        yield from (
            f"{path}: {name} is missing" for name in schema.get("required", ()) if name not in value
        )


@pytest.mark.parametrize("file", PRODUCTS, ids=lambda f: f.parent.name)
def test_what_the_model_takes_the_schema_takes(file: Path) -> None:
    schema = json_schema.schema()
    assert list(problems(schema, yaml.safe_load(file.read_text()), schema)) == []


@pytest.mark.parametrize(
    "yaml_text",
    [
        "{name: x, topics: {t: {rol: events}}, outputs: [a]}",
        "{name: x, topics: {t: {}}, outputs: {a: {kind: row}}}",
        "{name: x, topics: {t: {}}, outputs: a}",
        "{topics: {t: {}}, outputs: [a]}",
    ],
)
def test_what_the_model_refuses_the_schema_points_out(yaml_text: str) -> None:
    schema = json_schema.schema()
    assert list(problems(schema, yaml.safe_load(yaml_text), schema)) != []


def test_short_forms_are_known() -> None:
    schema = json_schema.schema()
    text = "{name: x, topics: {t: {time: a, allowed_lateness: 1h}}, outputs: {a: null, b: {of: t}, c: {of: [t]}}}"
    assert list(problems(schema, yaml.safe_load(text), schema)) == []
