"""What turns one type of a table's columns into another, part by part. Pure: types in, differences out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from jobs.product.column_types import Array, Atomic, Map, Row, Type

Path = tuple[str, ...]
"""Of a part of a table, as Iceberg names it: ('items', 'element', 'price'), ('tags', 'value')."""


class Change(StrEnum):
    """What happens to one part of a type."""

    added = "added"
    removed = "removed"
    widened = "widened"
    narrowed = "narrowed"
    other = "other"
    """No change that Iceberg knows."""


@dataclass(frozen=True)
class Difference:
    """One part that differs."""

    change: Change
    path: Path
    old: Type | None
    """None: added."""
    new: Type | None
    """None: removed."""

    @property
    def breaks(self) -> bool:
        """Whether no table can hold both."""
        return self.change is Change.other


_WIDER = {("INT", "BIGINT"), ("FLOAT", "DOUBLE")}


def differences(old: Type, new: Type, path: Path = ()) -> Iterator[Difference]:
    """The parts in which two types of `column_types.stored` differ, in the order of the old one, then new fields."""
    match old, new:
        case Row(), Row():
            yield from _of_fields(old, new, path)
        case Array(one), Array(other):
            yield from differences(one, other, (*path, "element"))
        case Map(key, one), Map(other_key, other) if key == other_key:
            # Iceberg never changes a key
            yield from differences(one, other, (*path, "value"))
        case _ if old == new:
            return
        case Atomic(), Atomic() if _widens(old, new):
            yield Difference(Change.widened, path, old, new)
        case Atomic(), Atomic() if _widens(new, old):
            yield Difference(Change.narrowed, path, old, new)
        case _:
            yield Difference(Change.other, path, old, new)


def _of_fields(old: Row, new: Row, path: Path) -> Iterator[Difference]:
    before, after = ({f.name: f.type for f in row.fields} for row in (old, new))
    folded = {name.lower(): name for name in before}
    for name, type_ in before.items():
        if name in after:
            yield from differences(type_, after[name], (*path, name))
        else:
            yield Difference(Change.removed, (*path, name), type_, None)
    for name, type_ in after.items():
        if name in before:
            continue
        if (other := folded.get(name.lower())) is not None:
            # a reader that folds case could not tell them apart
            yield Difference(Change.other, (*path, name), before[other], type_)
        else:
            yield Difference(Change.added, (*path, name), None, type_)


def _widens(old: Atomic, new: Atomic) -> bool:
    if old.name == new.name == "DECIMAL":
        return old.arguments[1] == new.arguments[1] and new.arguments[0] > old.arguments[0]
    return (old.name, new.name) in _WIDER


def parts(found: Type, path: Path = ()) -> Iterator[Path]:
    """The paths of all fields, those of a ROW after the ROW itself."""
    match found:
        case Row(fields):
            for field in fields:
                yield (*path, field.name)
                yield from parts(field.type, (*path, field.name))
        case Array(element):
            yield from parts(element, (*path, "element"))
        case Map(_, value):
            yield from parts(value, (*path, "value"))


def words(path: Path) -> str:
    """A path for people: items[].price, tags.value."""
    return "".join("[]" if step == "element" else f".{step}" for step in path).removeprefix(".")


def described(difference: Difference) -> str:
    """One difference for people."""
    part = f"{words(difference.path)} " if difference.path else ""
    match difference.change:
        case Change.added:
            return f"{part}{difference.new}: new"
        case Change.removed:
            return f"{part}{difference.old}: removed"
    return f"{part}{difference.old} → {difference.new}"
