"""The first test of a product's folder: an event is a row and counted, and once if it comes twice. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jobs.product.avro_schema import Schema

FILE = "tests/first.yaml"
_DEEPEST = 8
_TEXT = re.compile(r"[A-Za-z_][\w.-]*|\d{4}-\d\d-\d\d(T[\d:]+Z?)?", re.ASCII)
_NO_TEXT = ("true", "false", "null")
_SAMPLES: Mapping[str, Any] = {
    "boolean": True,
    "int": 1,
    "long": 1,
    "float": 1,
    "double": 1,
    "string": "a",
    "bytes": "hex:61",
    "array": [],
    "map": {},
}
_OF_LOGICAL: Mapping[str, Any] = {
    "date": "2024-01-01",
    "time-millis": "00:05:00",
    "time-micros": "00:05:00",
    "decimal": 0,
    "uuid": "00000000-0000-0000-0000-000000000001",
}
_INSTANT = "2024-01-01T00:05:00"


class _NoExampleError(ValueError):
    """Of a type whose values no line of JSON shows well."""


def first_test(
    topic: str, schema: Schema, rows: str, identity: str, hourly: str, count: str
) -> str | None:
    """The text of the file; None where the schema has a type of which no example is made.

    `rows` and `hourly` are the outputs; `count` is the column of `hourly` that counts events.
    """
    try:
        event = _sample(schema, 0)
    except _NoExampleError:
        return None
    row = {identity: event[identity]} if identity else {"log_offset": 0}
    # with such a field the event would look like one that says more than its value
    said = {"value": event} if event.keys() & {"value", "payload"} else event
    tests = {"an event is a row, and counted in its hour": said}
    if identity:
        tests["an event that comes twice counts once"] = {"value": event, "times": 2}
    lines = ["# What becomes of events. What a test may say is in docs/testing.md of Kappa."]
    for name, given in tests.items():
        lines += [
            "",
            f"{name}:",
            "  given:",
            f"    {_text(topic)}:",
            f"      - {_flow(given)}",
            "  expect:",
            f"    {_text(rows)}:",
            f"      - {_flow(row)}",
            f"    {_text(hourly)}:",
            f"      - {_flow({count: 1})}",
        ]
    return "\n".join(lines) + "\n"


def _sample(schema: Schema, depth: int) -> Any:
    """A value of the type, in the JSON of `kappa topic produce`; of what may be null one that is not."""
    others = [b for b in schema.branches if b.type != "null"]
    if depth > _DEEPEST or len(others) > 1:
        raise _NoExampleError
    if others:
        return _sample(others[0], depth + 1)
    if schema.type == "record":
        return {f.name: _sample(f.schema, depth + 1) for f in schema.fields}
    return _simple(schema)


def _simple(schema: Schema) -> Any:
    if "timestamp" in schema.logical:
        return _INSTANT + ("" if schema.logical.startswith("local") else "Z")
    if schema.type == "enum":
        return schema.symbols[0]
    found = _OF_LOGICAL.get(schema.logical, _SAMPLES.get(schema.type))
    if found is None:
        raise _NoExampleError
    return found


def _flow(value: Any) -> str:
    """YAML in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(k)}: {_flow(v)}' for k, v in value.items())}}}"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    if _TEXT.fullmatch(text) and text not in _NO_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)
