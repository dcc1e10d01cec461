"""What of two attempts' tables is compared, and by which columns: decided from the models of their releases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobs.plan.compiled import parse_plan
from jobs.plan.windows import held
from jobs.product.column_types import Atomic, Type
from jobs.product.folder import Product
from jobs.product.model import Column, Kind, Output, seconds
from replay.compare.shapes import common as common_shape
from replay.iceberg.product_types import product_type
from replay.iceberg.type_changes import Change, differences, words
from replay.offsets import Offsets

PLACE = ("log_partition", "log_offset")
_NUMERIC = re.compile(r"^(TINYINT|SMALLINT|INT|INTEGER|BIGINT|FLOAT|DOUBLE|DECIMAL|NUMERIC)\b")


@dataclass(frozen=True)
class Comparison:
    """How one table is compared."""

    table: str
    kind: Kind
    columns: tuple[str, ...] = ()
    """Those that both releases have; what is not compared is named in the next two."""
    columns_only_old: tuple[str, ...] = ()
    columns_only_new: tuple[str, ...] = ()
    shapes: Mapping[str, Type] = field(default_factory=dict)
    """Of columns with parts: what of them is compared, which is what both releases have."""
    key: tuple[str, ...] = ()
    """Columns that make two rows the same row. With all columns, rows are equal or they are not; none is changed."""
    topic: str | None = None
    """Of a table of kind rows: where its rows' records stand."""
    window_column: str = ""
    """Of an aggregate: where the window begins."""
    window_seconds: float = 0
    """From there until the row is written at the latest: the window, and what holds its rows back behind it."""
    numeric: tuple[str, ...] = ()
    """Of an aggregate: columns that can be summed."""
    not_compared: str = ""
    """Why the table is left out."""


def comparisons(old: Product, new: Product) -> tuple[Comparison, ...]:
    """One per table of either release, in the order of the new one.

    Where both releases say what identifies a row, or which window it stands for, the new one is followed; the older may
    have been built before anybody said so.
    """
    tables = dict.fromkeys((*new.outputs, *old.outputs))
    return tuple(_comparison(table, old, new) for table in tables)


def common_position(old: Offsets, new: Offsets) -> dict[str, dict[int, int]]:
    """Per partition the smaller of both offsets; a partition that only one knows is at 0."""
    return {
        topic: {
            p: min(partitions.get(p, 0), old[topic].get(p, 0))
            for p in sorted({*partitions, *old[topic]})
        }
        for topic, partitions in new.items()
        if topic in old
    }


def _comparison(table: str, old: Product, new: Product) -> Comparison:
    one, other = (p.outputs.get(table) for p in (old, new))
    if one is None or other is None:
        columns = [tuple(c.name for c in p.columns.get(table, ())) for p in (old, new)]
        [kind] = [o.kind for o in (one, other) if o]
        return Comparison(
            table,
            kind,
            columns_only_old=columns[0],
            columns_only_new=columns[1],
            not_compared=f"only the {'old' if one else 'new'} release has it",
        )
    columns_of_old = [c.name for c in old.columns[table]]
    both = [c for c in new.columns[table] if c.name in columns_of_old]
    names = tuple(c.name for c in both)
    parts = list(differences(product_type(old, table), product_type(new, table)))
    common = Comparison(
        table,
        other.kind,
        columns=names,
        key=names,
        shapes=_shapes(old, new, table),
        columns_only_old=tuple(words(d.path) for d in parts if d.change is Change.removed),
        columns_only_new=tuple(words(d.path) for d in parts if d.change is Change.added),
    )
    if one.kind is not other.kind:
        return replace(
            common,
            not_compared=f"it was of kind {one.kind.value} and is of kind {other.kind.value}",
        )
    named = next((o.key for o in (other, one) if o.key and set(o.key) <= set(names)), ())
    match other.kind:
        case Kind.rows:
            return _rows(common, named, one, other, new)
        case Kind.rejects:
            return _placed(replace(common, key=named or ("log_topic", *PLACE)), "log_topic", *PLACE)
        case Kind.aggregate:
            found = _aggregate(common, named, one, other, both)
            return replace(
                found,
                window_seconds=found.window_seconds
                + max(_held(p, table, found.window_column) for p in (old, new)),
            )


def _held(product: Product, table: str, column: str) -> float:
    """Seconds that rows of a window come behind its end; 0 where nobody kept the plan."""
    plan = product.resolved.plan if product.resolved else ""
    sinks = [s for s in parse_plan(plan) if s.table == table] if plan and column else []
    return max((held(s, column) for s in sinks if column in s.columns), default=0.0)


def _shapes(old: Product, new: Product, table: str) -> dict[str, Type]:
    before = {f.name: f.type for f in product_type(old, table).fields}
    return {
        f.name: common_shape(before[f.name], f.type)
        for f in product_type(new, table).fields
        if f.name in before and not isinstance(f.type, Atomic)
    }


def _rows(
    common: Comparison, named: tuple[str, ...], old: Output, new: Output, product: Product
) -> Comparison:
    if old.of != new.of:
        return replace(
            common,
            not_compared=f"its rows were of {', '.join(old.of)} and are of {', '.join(new.of)}",
        )
    several = len(new.of) > 1
    place = ("log_topic", *PLACE) if several else PLACE
    identity = product.identity(new)
    key = named or (identity if identity and set(identity) <= set(common.columns) else place)
    return _placed(replace(common, key=key, topic=None if several else new.of[0]), *place)


def _placed(common: Comparison, *place: str) -> Comparison:
    if set(place) <= set(common.columns):
        return common
    return replace(
        common, not_compared=f"without {', '.join(place)} its rows have no place in the log"
    )


def _aggregate(
    common: Comparison, named: tuple[str, ...], old: Output, new: Output, columns: Sequence[Column]
) -> Comparison:
    windows = [o.window for o in (new, old) if o.window]
    if not windows:
        return replace(
            common, not_compared="its SELECT shows no window: which of its rows are final?"
        )
    if len({w.column for w in windows}) > 1 or windows[0].column not in common.columns:
        return replace(
            common,
            not_compared=f"its window does not begin in column {windows[0].column} of both releases",
        )
    return replace(
        common,
        key=named or common.key,
        window_column=windows[0].column,
        window_seconds=max(seconds(w.size) for w in windows),
        numeric=tuple(c.name for c in columns if c.name not in named and _NUMERIC.match(c.type)),
    )
