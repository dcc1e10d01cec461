"""A first JSON Schema of a topic, from some of its records, and what was guessed on the way. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.avro.json_numbers import Number, whole
from replay.avro.json_records import JsonObject

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,9}))?"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LOCAL = re.compile(_DATE.pattern + r"[Tt ]" + _CLOCK)
_ZONED = re.compile(_LOCAL.pattern + r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})")


@dataclass
class Guess:
    """A schema, and what a person should look at."""

    schema: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def guess(documents: Sequence[JsonObject]) -> Guess:
    """The schema of documents, of which there is at least one."""
    found = Guess()
    of_all = _object(documents, "", found.said)
    found.schema = {"$schema": DRAFT, **(of_all or {"type": "object", "properties": {}})}
    return found


def _object(objects: Sequence[JsonObject], path: str, said: list[str]) -> dict[str, Any] | None:
    values: dict[str, list[Any]] = {}
    for each in objects:
        for name, value in dict(each).items():
            values.setdefault(name, []).append(value)
    columns: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for name, given in values.items():
        if (found := _type(given, f"{path}{name}", said)) is not None:
            column = _column(name, taken)
            taken.add(column.lower())
            columns[name] = found | ({} if column == name else {"x-column": column})
    if not columns:
        return None
    required = [name for name in columns if len(values[name]) == len(objects)]
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": columns,
    }


def _column(name: str, taken: set[str]) -> str:
    """What a property can be called in SQL."""
    plain = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", name)).strip("_") or "field"
    good = name if _NAME.fullmatch(name) else plain if plain[0].isalpha() else f"f_{plain}"
    if good.lower().startswith("log_"):  # as the columns of the log are
        good = f"the_{good}"
    return next(
        n for n in (good, *(f"{good}_{i}" for i in range(2, 10_000))) if n.lower() not in taken
    )


def _type(values: Sequence[Any], path: str, said: list[str]) -> dict[str, Any] | None:
    """None of a field that no column can be made of; what is said names it."""
    known = [v for v in values if v is not None]
    kinds = {_kind(v) for v in known}
    if len(kinds) != 1:
        what = f"is {' or '.join(sorted(kinds))}" if kinds else "is always null"
        said.append(f"field {path} {what}, so it has no column")
        return None
    found = _KINDS[kinds.pop()](known, path, said)
    if found is None:
        if not any(s.startswith((f"field {path}.", f"field {path}[")) for s in said):
            said.append(f"field {path} is always empty, so it has no column")
    elif len(known) < len(values):
        found["type"] = [found["type"], "null"]
    return found


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case Number():
            return "number"
        case str():
            return "string"
        case JsonObject():
            return "object"
        case _:
            return "array"


def _array(values: Sequence[Any], path: str, said: list[str]) -> dict[str, Any] | None:
    items = [item for value in values for item in value]
    found = _type(items, f"{path}[]", said) if items else None
    return None if found is None else {"type": "array", "items": found}


def _fields(values: Sequence[Any], path: str, said: list[str]) -> dict[str, Any] | None:
    return _object(values, f"{path}.", said)


def _number(values: Sequence[Any], path: str, said: list[str]) -> dict[str, Any]:
    try:
        for value in values:
            whole(value, 64)
    except ValueError:
        said.append(
            f"field {path} is a number with fractions, a double: if sums of it must be exact, "
            '"format": "decimal" with x-precision and x-scale'
        )
        return {"type": "number"}
    return {"type": "integer"}


def _string(values: Sequence[Any], path: str, said: list[str]) -> dict[str, Any]:
    for form, pattern in (("date-time", _ZONED), ("date-time-local", _LOCAL)):
        if matches := _all(pattern, values):
            digits = max(len(m[1] or "") for m in matches)
            precision = 3 if digits <= 3 else 6 if digits <= 6 else 9
            return {"type": "string", "format": form, "x-precision": precision}
    return {"type": "string", **({"format": "date"} if _all(_DATE, values) else {})}


def _all(pattern: re.Pattern[str], values: Sequence[str]) -> list[re.Match[str]]:
    """A match of every value, or none."""
    matches = [m for value in values if (m := pattern.fullmatch(value))]
    return matches if len(matches) == len(values) else []


_KINDS: dict[str, Callable[[Sequence[Any], str, list[str]], dict[str, Any] | None]] = {
    "boolean": lambda values, path, said: {"type": "boolean"},
    "number": _number,
    "string": _string,
    "object": _fields,
    "array": _array,
}
