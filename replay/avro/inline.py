"""A schema that refers to types of other subjects of the registry, as one text with all of them in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jobs.product.avro_schema import PRIMITIVES

_NAMED = ("record", "error", "enum", "fixed")
Definitions = dict[str, tuple[dict[str, Any], str]]
"""Full name → a named type's definition, and the namespace that it stands in."""


def inlined(text: str, referenced: Sequence[str]) -> str:
    """The schema of a text, in JSON; each type of the others is where it is first used. ValueError for no JSON."""
    definitions: Definitions = {}
    for other in referenced:
        _collect(json.loads(other), "", definitions)
    return json.dumps(_placed(json.loads(text), "", definitions, set()), ensure_ascii=False)


def _collect(spec: Any, namespace: str, definitions: Definitions) -> None:
    if isinstance(spec, list):
        for branch in spec:
            _collect(branch, namespace, definitions)
    elif isinstance(spec, dict):
        if spec.get("type") in _NAMED:
            full = _full_name(spec, namespace)
            definitions[full] = (spec, namespace)
            namespace = full.rpartition(".")[0]
        for inner in _within(spec):
            _collect(inner, namespace, definitions)


def _within(spec: dict[str, Any]) -> list[Any]:
    return [spec.get("items"), spec.get("values"), *(f["type"] for f in spec.get("fields") or ())]


def _placed(spec: Any, namespace: str, definitions: Definitions, placed: set[str]) -> Any:
    """A type with the definitions that it needs and that do not stand ahead of it."""
    if isinstance(spec, str):
        return _reference(spec, namespace, definitions, placed)
    if isinstance(spec, list):
        return [_placed(branch, namespace, definitions, placed) for branch in spec]
    kind = spec["type"]
    if kind in _NAMED:
        full = _full_name(spec, namespace)
        placed.add(full)
        space, _, name = full.rpartition(".")
        fields = [
            {**f, "type": _placed(f["type"], space, definitions, placed)}
            for f in spec.get("fields") or ()
        ]
        return {
            **spec,
            "name": name,
            "namespace": space,
            **({"fields": fields} if "fields" in spec else {}),
        }
    for inner in ("items", "values"):
        if inner in spec:
            return {**spec, inner: _placed(spec[inner], namespace, definitions, placed)}
    return spec if kind in PRIMITIVES else _placed(kind, namespace, definitions, placed)


def _reference(name: str, namespace: str, definitions: Definitions, placed: set[str]) -> Any:
    if name in PRIMITIVES:
        return name
    full = next(
        (n for n in (_full(name, namespace), name) if n in placed or n in definitions), name
    )
    if full in placed or full not in definitions:
        return full
    definition, around = definitions[full]
    return _placed(definition, around, definitions, placed)


def _full_name(spec: dict[str, Any], namespace: str) -> str:
    given = spec.get("namespace")
    return _full(str(spec["name"]), given if isinstance(given, str) else namespace)


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
