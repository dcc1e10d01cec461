"""What a change of a data contract means to those who rely on it, by the rules of datacontract-cli's `breaking`. Pure.

Nothing inside of a table, a column or a quality rule that is new can break anybody: it was not there before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobs.product.column_types import ColumnTypeError, column_type

Document = Mapping[str, Any]


class Level(StrEnum):
    """What it means."""

    error = "error"
    """Breaking."""
    warning = "warning"
    info = "info"


@dataclass(frozen=True)
class ContractChange:
    """One thing that changed."""

    level: Level
    rule: str
    """datacontract-cli's name of the rule."""
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def changes(old: Document, new: Document) -> list[ContractChange]:
    """What changed, worst first."""
    order = list(Level)
    return sorted(_contract(old, new), key=lambda c: order.index(c.level))


def breaking(found: list[ContractChange]) -> bool:
    """Whether readers of the tables may not be able to go on."""
    return any(c.level is Level.error for c in found)


def _contract(old: Document, new: Document) -> Iterator[ContractChange]:
    yield from _others("", old, new, {"schema"})
    before, after = (_keyed(c.get("schema")) for c in (old, new))
    for name in before:
        if name not in after:
            yield ContractChange(Level.error, "schema-removed", name, "removed")
        else:
            yield from _others(name, before[name], after[name], {"properties", "quality", "name"})
            yield from _quality(name, before[name].get("quality"), after[name].get("quality"))
            yield from _properties(
                name, before[name].get("properties"), after[name].get("properties")
            )
    for name in after:
        if name not in before:
            yield ContractChange(Level.info, "schema-added", name, "new")


def _properties(where: str, old: Any, new: Any) -> Iterator[ContractChange]:
    before, after = _keyed(old), _keyed(new)
    for name in before:
        if name not in after:
            yield ContractChange(Level.error, "field-removed", f"{where}.{name}", "removed")
        else:
            yield from _property(f"{where}.{name}", before[name], after[name])
    for name in after:
        if name not in before:
            yield ContractChange(Level.info, "field-added", f"{where}.{name}", "new")


_RULED = {
    "name",
    "properties",
    "items",
    "quality",
    "required",
    "unique",
    "primaryKey",
    "logicalType",
    "physicalType",
    "logicalTypeOptions",
    "enum",
}


def _property(where: str, old: Document, new: Document) -> Iterator[ContractChange]:
    yield from _flag(where, "required-changed", "required", old, new)
    yield from _flag(where, "unique-constraint-changed", "unique", old, new)
    if bool(old.get("primaryKey")) != bool(new.get("primaryKey")):
        yield _changed(Level.warning, "key-constraint-changed", where, "primaryKey", old, new)
    for key in ("logicalType", "physicalType"):
        yield from _type(where, key, old, new)
    yield from _limits(
        where, old.get("logicalTypeOptions") or {}, new.get("logicalTypeOptions") or {}
    )
    yield from _enum(where, old.get("enum"), new.get("enum"))
    yield from _quality(where, old.get("quality"), new.get("quality"))
    yield from _properties(where, old.get("properties"), new.get("properties"))
    if old.get("items") and new.get("items"):
        yield from _property(f"{where}[]", old["items"], new["items"])
    yield from _others(where, old, new, _RULED)


def _flag(
    where: str, rule: str, key: str, old: Document, new: Document
) -> Iterator[ContractChange]:
    """A constraint that is on or off: to set it is breaking, to take it back is not."""
    was, is_ = bool(old.get(key)), bool(new.get(key))
    if was != is_:
        yield _changed(Level.error if is_ else Level.info, rule, where, key, old, new)


def _type(where: str, key: str, old: Document, new: Document) -> Iterator[ContractChange]:
    was, is_ = old.get(key), new.get(key)
    if was == is_:
        return
    level = Level.info if was is None else Level.warning if is_ is None else Level.error
    if key == "physicalType" and level is Level.error and _canonical(was) == _canonical(is_):
        level = Level.info  # the same type, spelt otherwise
    yield _changed(level, "type-changed", where, key, old, new)


def _canonical(physical: Any) -> str:
    try:
        return column_type(str(physical))
    except ColumnTypeError:
        return str(physical)


_LOWER = ("minLength", "minimum", "exclusiveMinimum", "mustBeGreaterThan", "mustBeGreaterOrEqualTo")
_UPPER = ("maxLength", "maximum", "exclusiveMaximum", "mustBeLessThan", "mustBeLessOrEqualTo")


def _limits(where: str, old: Document, new: Document) -> Iterator[ContractChange]:
    where = f"{where}.logicalTypeOptions"
    ruled = {*_LOWER, *_UPPER, "pattern"}
    for key in sorted(ruled & {*old, *new}):
        if old.get(key) != new.get(key):
            level = _tightened(key, old.get(key), new.get(key))
            yield _changed(level, "validation-constraint-changed", where, key, old, new)
    yield from _others(where, old, new, ruled)


def _tightened(key: str, old: Any, new: Any) -> Level:
    was, is_ = _number(old), _number(new)
    if was is None or is_ is None:
        return Level.warning
    return Level.error if (is_ > was if key in _LOWER else is_ < was) else Level.info


def _number(value: Any) -> float | None:
    if isinstance(value, dt.date):
        return float(value.toordinal())
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return float(dt.date.fromisoformat(str(value)).toordinal())
    except ValueError:
        return None


def _enum(where: str, old: Any, new: Any) -> Iterator[ContractChange]:
    rule = "enum-constraint-changed"
    before, after = (
        [e.get("value") if isinstance(e, Mapping) else e for e in values or ()]
        for values in (old, new)
    )
    if not before or not after:
        if before or after:
            level = Level.error if after else Level.info
            yield ContractChange(level, rule, f"{where}.enum", "new" if after else "removed")
        return
    yield from _values(f"{where}.enum", rule, before, after, allowed=True)


def _values(
    where: str, rule: str, old: Any, new: Any, *, allowed: bool
) -> Iterator[ContractChange]:
    """A list of values: to allow fewer is breaking."""
    before, after = list(old or ()), list(new or ())
    for value in before:
        if value not in after:
            yield ContractChange(
                Level.error if allowed else Level.info, rule, where, f"{value} removed"
            )
    for value in after:
        if value not in before:
            yield ContractChange(
                Level.info if allowed else Level.error, rule, where, f"{value} added"
            )


_PROSE = {
    "name",
    "id",
    "description",
    "dimension",
    "businessImpact",
    "severity",
    "tags",
    "customProperties",
    "authoritativeDefinitions",
}


def _quality(where: str, old: Any, new: Any) -> Iterator[ContractChange]:
    rule = "quality-constraint-changed"
    before, after = ({_rule_key(q): q for q in rules or ()} for rules in (old, new))
    for key in before:
        if key not in after:
            yield ContractChange(Level.info, rule, f"{where}.quality", f"{key} removed")
            continue
        was, is_ = before[key], after[key]
        at = f"{where}.quality.{key}"
        for name in sorted({*was, *is_} - {"arguments"}):
            if was.get(name) != is_.get(name):
                yield _changed(
                    _quality_level(name, was.get(name), is_.get(name)), rule, at, name, was, is_
                )
        yield from _arguments(at, rule, was.get("arguments") or {}, is_.get("arguments") or {})
    for key in after:
        if key not in before:  # a promise that rows of today may not keep
            yield ContractChange(Level.error, rule, f"{where}.quality", f"{key} new")


def _quality_level(key: str, old: Any, new: Any) -> Level:
    if key in _PROSE:
        return Level.info
    if key in (*_LOWER, *_UPPER):
        return Level.info if new is None else _tightened(key, old, new)
    return Level.warning


def _arguments(where: str, rule: str, old: Document, new: Document) -> Iterator[ContractChange]:
    for key in sorted({*old, *new}):
        if key in ("validValues", "invalidValues"):
            yield from _values(
                f"{where}.{key}", rule, old.get(key), new.get(key), allowed=key == "validValues"
            )
        elif old.get(key) != new.get(key):
            yield _changed(Level.warning, rule, where, key, old, new)


def _rule_key(rule: Document) -> str:
    """What makes it the same rule in both contracts."""
    return str(
        rule.get("id")
        or rule.get("name")
        or rule.get("metric")
        or rule.get("query")
        or rule.get("type")
    )


def _others(where: str, old: Document, new: Document, but: set[str]) -> Iterator[ContractChange]:
    for key in sorted({*old, *new} - but):
        if old.get(key) != new.get(key):
            said = "removed" if key not in new else "new" if key not in old else "changed"
            yield ContractChange(
                Level.info, "metadata-or-unknown-change", f"{where}.{key}".lstrip("."), said
            )


def _changed(
    level: Level, rule: str, where: str, key: str, old: Document, new: Document
) -> ContractChange:
    return ContractChange(
        level, rule, f"{where}.{key}", f"{_word(old.get(key))} → {_word(new.get(key))}"
    )


def _word(value: Any) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _keyed(entries: Any) -> dict[str, Document]:
    return {str(e.get("name")): e for e in entries or ()}
