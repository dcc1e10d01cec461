"""What the fields of a schema probably mean: when it happened, what it is, what to count by. Pure, and only guesses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.product.avro_schema import Schema
from jobs.product.avro_types import Field
from replay.cli.reserved_words import RESERVED

_TIME_NAMES = re.compile(
    r"(^|_)(ts|time|timestamp|at|date|datetime|when|happened|occurred|instant)(_(ms|millis|us|"
    r"micros|ns|utc))?$"
)
_OF_THE_EVENT = re.compile(
    r"happened|occurred|event|created|ordered|placed|recorded|observed|measured|paid|sent|"
    r"started|^(ts|time|timestamp|at)$"
)
_OF_SOMETHING_ELSE = re.compile(
    r"updated|modified|deleted|expire|valid|until|due|birth|end|ingest|processed|loaded|"
    r"received|arrival|estimated|deadline|renew|last_|next_"
)
_CATEGORIES = re.compile(
    r"(^|_)(status|state|type|kind|category|class|country|region|zone|shop|store|channel|currency|"
    r"origin|carrier|source|platform|level|city|brand|department|segment|method|op|reason|tier|"
    r"severity|sensor|site|device|action)(_(code|name|id))?$"
)
_AMOUNTS = re.compile(
    r"(^|_)(amount|cents|price|total|quantity|qty|count|value|cost|fee|tax|revenue|bytes|size|points|"
    r"units|items|minutes|seconds|distance|weight)(_(cents|minor))?$"
)
_KEY_TYPES = ("STRING", "INT", "BIGINT")
_MICROS, _NANOS = re.compile(r"_(us|micros)$"), re.compile(r"_(ns|nanos)$")


@dataclass(frozen=True)
class Time:
    """A topic's time: a column, perhaps computed, and why."""

    column: str
    why: str
    computed: Mapping[str, str] = field(default_factory=dict)
    shown: bool = False
    """Whether rows should have it: no column of the schema is that time as an instant."""


def time(schema: Schema, columns: Sequence[Field], wanted: str | None = None) -> Time:
    """When it happened: timestamps first, then whole numbers that are called like a time, else the record's timestamp.

    ValueError when `wanted` is no column, or of a type that is no time.
    """
    by_name = {c.name: c for c in columns}
    if wanted is not None:
        if wanted not in by_name:
            raise ValueError(f"one of {', '.join(by_name)}")
        found = by_name[wanted]
        if not (found.type.startswith(("TIMESTAMP", "BIGINT")) or found.type == "DATE"):
            raise ValueError(f"a timestamp, a date or a long, and {wanted} is {found.type}")
        return _as_time(found, by_name, "as you said")
    for prefix in ("TIMESTAMP_LTZ", "TIMESTAMP(", "BIGINT"):
        candidates = [
            c
            for c in columns
            if c.type.startswith(prefix)
            and (prefix != "BIGINT" or _TIME_NAMES.search(_snake(c.name)))
        ]
        if candidates:
            others = ", ".join(c.name for c in candidates if c is not _best(candidates))
            return _as_time(
                _best(candidates), by_name, f"guessed{'; not ' + others if others else ''}"
            )
    name = _free("happened", by_name)
    return Time(
        name,
        f"no field says when an event happened: its record's timestamp is taken as {name}",
        {name: "log_appended"},
        shown=True,
    )


def _best(candidates: Sequence[Field]) -> Field:
    """The first that is called like the event's own time, and not like another's."""

    def rank(candidate: Field) -> int:
        name = _snake(candidate.name)
        return 2 if _OF_SOMETHING_ELSE.search(name) else 0 if _OF_THE_EVENT.search(name) else 1

    return min(candidates, key=rank)


def _as_time(column: Field, by_name: Mapping[str, Field], how: str) -> Time:
    """The column, or one computed from it with the three digits of a second that Flink's time attributes have."""
    if column.type == "TIMESTAMP_LTZ(3)":
        return Time(column.name, f"{column.name} says when it happened ({how})")
    name, text = (
        _free("happened", by_name),
        f"`{column.name}`" if column.name.lower() in RESERVED else column.name,
    )
    if column.type.startswith("TIMESTAMP"):
        zone = "" if "LTZ" in column.type else ", which is taken as of the product's time_zone"
        expression, unit = f"CAST({text} AS TIMESTAMP_LTZ(3))", zone or " to the millisecond"
    elif column.type == "DATE":
        expression, unit = f"CAST(CAST({text} AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3))", " at midnight"
    else:
        expression, unit = _from_number(text, _snake(column.name))
    return Time(
        name,
        f"{name}, which is {column.name}{unit}, says when it happened ({how})",
        {name: expression},
        shown="LTZ" not in column.type,
    )


def _from_number(text: str, name: str) -> tuple[str, str]:
    if _NANOS.search(name):
        return f"TO_TIMESTAMP_LTZ({text} / 1000000, 3)", " in nanoseconds since 1970"
    if _MICROS.search(name):
        return f"TO_TIMESTAMP_LTZ({text} / 1000, 3)", " in microseconds since 1970"
    return f"TO_TIMESTAMP_LTZ({text}, 3)", " in milliseconds since 1970"


def identity(schema: Schema, topic: str) -> tuple[str, str]:
    """(the field that is the event's own id, or nothing; else a field that may be)."""
    kinds = {f.name: f.schema for f in schema.fields}
    keys = [n for n, s in kinds.items() if _is_key(s)]
    own = {f"{singular(_snake(t))}_id" for t in (topic, schema.short_name)}
    strong = ("event_id", "id", "uuid", "message_id", *sorted(own))
    for wanted in strong:
        if found := next((n for n in keys if _snake(n) == wanted), None):
            return found, ""
    if found := next((n for n in keys if kinds[n].logical == "uuid"), None):
        return found, ""
    return "", next(
        (n for n in keys if _snake(n).endswith(("_id", "_key", "_no", "_number", "_code"))), ""
    )


def _is_key(schema: Schema) -> bool:
    return schema.type in ("string", "int", "long") and schema.logical in ("", "uuid")


def category(schema: Schema, columns: Sequence[Field]) -> str:
    """A column of few values: an enum first, then what is called like a category, then a boolean."""
    kinds = {f.name: _not_null(f.schema) for f in schema.fields}
    enums = [n for n, s in kinds.items() if s.type == "enum"]
    called = [
        n
        for n, s in kinds.items()
        if s.type == "string" and not s.logical and _CATEGORIES.search(_snake(n))
    ]
    booleans = [n for n, s in kinds.items() if s.type == "boolean"]
    known = {c.name for c in columns}
    return next((n for n in (*enums, *called, *booleans) if n in known), "")


def amounts(schema: Schema, columns: Sequence[Field], most: int = 2) -> dict[str, str]:
    """Column → what to sum up: whole numbers and decimals that are called like an amount. Floats do not add up."""
    found: dict[str, str] = {}
    for column in columns:
        name = f"`{column.name}`" if column.name.lower() in RESERVED else column.name
        if not _AMOUNTS.search(_snake(column.name)):
            continue
        if column.type == "INT":
            found[column.name] = (
                f"CAST({name} AS BIGINT)"  # a sum of INT is an INT in Flink, and would overflow
            )
        elif column.type == "BIGINT" or column.type.startswith("DECIMAL"):
            found[column.name] = name
    return dict(list(found.items())[:most])


def _not_null(schema: Schema) -> Schema:
    others = [b for b in schema.branches if b.type != "null"]
    return others[0] if len(others) == 1 else schema


def _free(name: str, by_name: Mapping[str, Field]) -> str:
    taken = {n.lower() for n in by_name}
    return next(
        n for n in (name, f"{name}_at", *(f"{name}_{i}" for i in range(2, 100))) if n not in taken
    )


def _snake(name: str) -> str:
    """orderedAt → ordered_at."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def singular(name: str) -> str:
    """orders → order, deliveries → delivery."""
    lower = name.lower()
    if lower.endswith("ies"):
        return f"{lower[:-3]}y"
    return lower[:-1] if lower.endswith("s") and not lower.endswith("ss") else lower
