"""The JSON Schema of product.yaml, for editors: `python -m jobs.product.json_schema > sql/product.schema.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from jobs.product.settings import ProductSettings


def text() -> str:
    """The schema, generated from the model; the docstrings of its fields are the descriptions."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """What the model takes, its short forms too."""
    found = ProductSettings.model_json_schema()
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    outputs, of = (
        found["properties"]["outputs"],
        found["$defs"]["OutputSettings"]["properties"]["of"],
    )
    outputs["anyOf"] = [
        {"type": "array", "items": {"type": "string"}},
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [outputs.pop("additionalProperties"), {"type": "null"}]
            },
        },
    ]
    del outputs["type"]
    of["anyOf"] = [{"type": "string"}, {"type": of.pop("type"), "items": of.pop("items")}]
    untitled: dict[str, Any] = _untitled(found)
    return untitled


def _untitled(schema: Any) -> Any:
    """Without the titles that only repeat the names of fields."""
    if isinstance(schema, dict):
        return {
            k: _untitled(v) for k, v in schema.items() if k != "title" or not isinstance(v, str)
        }
    return [_untitled(s) for s in schema] if isinstance(schema, list) else schema


if __name__ == "__main__":
    sys.stdout.write(text())
