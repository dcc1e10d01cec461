"""Expressions of the plan: what holds where they are evaluated, their types, and constants. Pure."""

from __future__ import annotations

import re
from typing import Any

from jobs.plan.compiled import (
    conjuncts,
    function_name,
)

Known = tuple[tuple[dict[str, Any], bool], ...]
"""Conditions known where an expression is evaluated, each with True if it holds and False if it does not."""
TEXT = frozenset({"CHAR", "VARCHAR"})
INTEGERS = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
APPROXIMATE = frozenset({"FLOAT", "DOUBLE"})
NUMBERS = INTEGERS | APPROXIMATE | {"DECIMAL"}
_PART = re.compile(
    r"(?<![\w`])(CHAR|VARCHAR|BINARY|VARBINARY|BOOLEAN|TINYINT|SMALLINT|INT|BIGINT|FLOAT|DOUBLE|DECIMAL|DATE|TIME|"
    r"TIMESTAMP\w*|INTERVAL\w*|NULL|RAW|VARIANT)(?![\w`])(?! NULL)"
)


def branches_of(value: dict[str, Any], known: Known) -> list[tuple[dict[str, Any], Known]] | None:
    """The conditions and results of CASE and IF in order, each with what is known there; None for anything else."""
    if function_name(value) not in ("CASE", "IF"):
        return None
    *pairs, last = value["operands"]
    found = []
    for condition, result in zip(pairs[::2], pairs[1::2], strict=True):
        found += [(condition, known), (result, (*known, *where_true(condition)))]
        known = (*known, (condition, False))
    return [*found, (last, known)]


def results(value: dict[str, Any], known: Known) -> list[tuple[dict[str, Any], Known]]:
    """The possible results of CASE or IF, each with what is known there; for any other expression, itself."""
    branches = branches_of(value, known)
    return [(value, known)] if branches is None else [*branches[1::2], branches[-1]]


def where_true(condition: dict[str, Any] | None) -> Known:
    return tuple((c, True) for c in conjuncts(condition)) if condition else ()


def nullable(type_: Any) -> str:
    return str(type_).removesuffix(" NOT NULL")


def parts(type_: Any) -> list[str]:
    """The plain types that a type of the plan is made of, in their order."""
    if isinstance(type_, dict):
        inner = [f["fieldType"] for f in type_.get("fields") or ()]
        inner += [type_[key] for key in ("keyType", "valueType", "elementType") if key in type_]
        return [part for each in inner or [type_.get("type")] for part in parts(each)]
    return _PART.findall(re.sub(r"`[^`]*`|NOT NULL", "", str(type_ or "")))


def is_approximate(type_: Any) -> bool:
    """Whether a type of the plan is FLOAT or DOUBLE, or has one inside."""
    return bool(APPROXIMATE.intersection(parts(type_)))


def is_null(value: dict[str, Any]) -> bool:
    return value.get("kind") == "LITERAL" and value.get("value") is None


def literal(value: dict[str, Any]) -> float | None:
    """The value of a numeric literal; None for any other expression."""
    if value.get("kind") != "LITERAL":
        return None
    try:
        return float(value.get("value"))  # type: ignore[arg-type]  # None and texts are what it is asked about
    except (TypeError, ValueError):
        return None
