"""The result of a comparison: what one attempt has and another has not, table by table."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from typing import Any

from replay import offsets
from replay.offsets import Offsets

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One row that differs: on both sides (changed), or only on one; then the other is None."""

    key: Row
    old: Row | None
    """Of a changed row the columns that changed, else all columns but the key."""
    new: Row | None


@dataclass(frozen=True)
class TableDiff:
    """What differs in one table. A row is compared if it is final on both sides; see replay/compare/diff.py."""

    table: str
    kind: str
    key: tuple[str, ...] = ()
    compared_old: int = 0
    """Rows of this side that were compared."""
    compared_new: int = 0
    same: int = 0
    only_old: int = 0
    only_new: int = 0
    changed: int = 0
    """Rows of one key on both sides that are not equal."""
    columns: Mapping[str, int] = field(default_factory=dict)
    """Column → changed rows in which it differs."""
    columns_only_old: tuple[str, ...] = ()
    """Columns that only this release has: not compared."""
    columns_only_new: tuple[str, ...] = ()
    samples: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    """Some of `only_old`, `only_new` and `changed`, in order of the key."""
    sums: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Of an aggregate: numeric column → its sum over the compared rows of either side."""
    measure: str = ""
    """Of an aggregate: the first numeric column, by which `largest` is ordered."""
    largest: tuple[Change, ...] = ()
    """Of an aggregate: the rows whose `measure` changed most (a row on one side only: from or to nothing)."""
    left_out: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Reason → rows of either side that were not compared."""
    not_compared: str = ""
    """Why the whole table was not compared."""

    @property
    def rows(self) -> int:
        """Rows compared, those of one key on both sides counted once."""
        return self.same + self.changed + self.only_old + self.only_new

    @property
    def equal(self) -> bool:
        """No compared row differs, and the columns are the same."""
        return not (
            self.only_old
            or self.only_new
            or self.changed
            or self.columns_only_old
            or self.columns_only_new
        )


@dataclass(frozen=True)
class DiffReport:
    """All tables of two attempts at one position of the log."""

    product: str
    old: str
    new: str
    position: Offsets
    """Topic → partition → first offset that was not compared."""
    clock: dt.datetime | None
    """Event time up to which both sides are final; None: nothing is yet."""
    tables: tuple[TableDiff, ...]

    @property
    def equal(self) -> bool:
        """Nothing that was compared differs. What was not compared is in `not_compared`."""
        return all(t.equal for t in self.tables)

    @property
    def not_compared(self) -> dict[str, str]:
        """Table → why it was left out."""
        return {t.table: t.not_compared for t in self.tables if t.not_compared}

    def as_dict(self) -> dict[str, Any]:
        """For --output json."""
        return {
            "product": self.product,
            "old": self.old,
            "new": self.new,
            "equal": self.equal,
            "not_compared": self.not_compared,
            "position": offsets.to_json(self.position),
            "clock": plain(self.clock),
            "tables": [plain(t) for t in self.tables],
        }


def plain(value: Any) -> Any:
    """The value as JSON has it: bytes in hex, times in ISO 8601, decimals and numbers beyond JSON's as text."""
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case tuple() | list():
            return [plain(v) for v in value]
        case bytes():
            return value.hex()
        case dt.date() | dt.time():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return str(value)
        case Decimal():
            return str(value)
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return value
