"""docs/product-yaml.md, from sql/product.schema.json: `python -m tests.product_yaml_doc > docs/product-yaml.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from tests.pages import ROOT, cell

DOC = ROOT / "docs" / "product-yaml.md"
SCHEMA = ROOT / "sql" / "product.schema.json"
SECTIONS = (
    (
        "topics.T",
        "Topic",
        "One input topic. [SQL](sql.md#what-a-topic-is-in-sql) says what it is in a SELECT, "
        "[concepts](concepts.md#the-logs-clock) what late, ahead and once mean.",
    ),
    (
        "topics.T.record_key",
        "RecordKey",
        "Columns that are read from the [keys](json.md#keys) of a topic's records.",
    ),
    (
        "outputs.O",
        "OutputSettings",
        "One output table. It may be empty: kind, key and window follow from the SELECT. "
        "[SQL](sql.md#the-tables) says how tables are partitioned.",
    ),
    ("outputs.O.window", "Window", "The window behind a row of an aggregate."),
    ("functions.F", "Function", "A [Python function](sql.md#python-functions)."),
    (
        "lag_limit",
        "LagLimit",
        "How far behind the log's end a release may be and count as caught up.",
    ),
)
"""Of each section: its heading, which its fields begin with, its definition in the schema, and an introduction."""
_INTRODUCTION = """# product.yaml

Every setting of a product. [SQL](sql.md) describes the rest of its folder. A name that is not listed here is refused.
Durations are written like `500ms`, `10s`, `5min`, `6h` or `2d`. In the tables, `T` stands for the name of a topic, `O`
for that of an output table, `F` for that of a function.

Editors complete and check the file by `sql/product.schema.json`, if its first line names it as `kappa new` writes it:
`# yaml-language-server: $schema=../product.schema.json`. Which changes need a replay is listed under
[What a change needs](how-a-replay-works.md#what-a-change-needs).

This page is written by `python -m tests.product_yaml_doc`, from that schema.
"""
_HEAD = "| Field | Type | Default | Meaning |\n|---|---|---|---|"


def text() -> str:
    """The whole page."""
    return "\n".join(_parts(json.loads(SCHEMA.read_text()))).rstrip() + "\n"


def _parts(schema: dict[str, Any]) -> Iterator[str]:
    definitions = schema["$defs"]
    yield _INTRODUCTION
    yield f"## The product\n\n{_HEAD}"
    yield from _rows(schema, "", definitions)
    for heading, name, introduction in SECTIONS:
        yield f"\n## {heading}\n\n{introduction}\n\n{_HEAD}"
        yield from _rows(definitions[name], f"{heading}.", definitions)


def _rows(model: dict[str, Any], prefix: str, definitions: dict[str, Any]) -> Iterator[str]:
    required = model.get("required", ())
    for name, field in model["properties"].items():
        default = "required" if name in required else _default(field.get("default"))
        meaning = cell(
            field.get("description") or _definition(field, definitions).get("description", "")
        )
        yield f"| `{prefix}{name}` | {_type(field, definitions)} | {default} | {meaning} |"


def _default(value: Any) -> str:
    if isinstance(value, dict):
        return "see below"
    if value is None or value in ("", []):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a person may write, in a few words."""
    if "$ref" in field:
        found = _definition(field, definitions)
        return ", ".join(f"`{value}`" for value in found["enum"]) if "enum" in found else "mapping"
    if "anyOf" in field:
        kinds = [_type(each, definitions) for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    match field["type"]:
        case "array":
            return "list"
        case "object":
            return "mapping"
        case "string":
            return "text"
        case "boolean":
            return "`true`, `false`"
        case _:
            return "number"


def _definition(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What the field refers to; empty if it says all by itself."""
    found: dict[str, Any] = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
    return found


if __name__ == "__main__":
    sys.stdout.write(text())
