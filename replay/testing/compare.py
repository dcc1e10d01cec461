"""Expected rows and those that came, matched one to one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.product.column_types import Type, parse
from jobs.product.model import REJECTS, Output
from replay.testing import values

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Missing:
    """A row that was expected and did not come."""

    row: Row
    nearest: Row | None
    """Of the rows that were not expected, the one that differs least from it; None when none is like it."""
    changed: tuple[str, ...] = ()
    """Columns in which the nearest differs."""


@dataclass(frozen=True)
class Difference:
    """What is wrong with one output."""

    output: str
    missing: tuple[Missing, ...]
    unexpected: tuple[Row, ...]
    right: int
    """So many rows are as expected."""


def compare(
    name: str, output: Output, expected: Sequence[Row], came: Sequence[Row], partial: bool
) -> Difference | None:
    """None when every expected row came, and, unless partial, nothing else."""
    types = {c.name: parse(c.type) for c in output.columns}
    matched = _matching(
        [[j for j, c in enumerate(came) if not changed(name, types, e, c)] for e in expected],
        len(came),
    )
    taken = set(matched.values())
    rest = [row for j, row in enumerate(came) if j not in taken]
    missing = []
    for i, row in enumerate(expected):
        if i in matched:
            continue
        nearest = min(rest, key=lambda c: len(changed(name, types, row, c)), default=None)
        different = changed(name, types, row, nearest) if nearest is not None else ()
        if nearest is not None and len(different) < len(row):
            rest.remove(nearest)
            missing.append(Missing(row, nearest, different))
        else:
            missing.append(Missing(row, None))
    unexpected = () if partial else tuple(rest)
    if not missing and not unexpected:
        return None
    return Difference(name, tuple(missing), unexpected, len(matched))


def changed(output: str, types: Mapping[str, Type], expected: Row, came: Row) -> tuple[str, ...]:
    """The columns that are said and are otherwise."""
    return tuple(
        c
        for c, wanted in expected.items()
        if not values.same(types[c], wanted, came[c])
        and not (output == REJECTS and c == "reason" and _is_reason(wanted, came[c]))
    )


def _is_reason(wanted: str | None, came: str | None) -> bool:
    """Of a reject the kind of its reason is enough: `late` for `late: happened 2013-01-01 … is more than …`."""
    return bool(wanted and came) and ":" not in str(wanted) and str(came).startswith(f"{wanted}:")


def _matching(candidates: Sequence[Sequence[int]], size: int) -> dict[int, int]:
    """A largest set of pairs (expected, came), by augmenting paths: a row that leaves columns out may fit many."""
    of: list[int | None] = [None] * size

    def place(i: int, seen: set[int]) -> bool:
        free = next((j for j in candidates[i] if of[j] is None), None)
        if free is not None:
            of[free] = i
            return True
        for j in candidates[i]:
            if j in seen:
                continue
            seen.add(j)
            other = of[j]
            if other is not None and place(other, seen):
                of[j] = i
                return True
        return False

    for i in range(len(candidates)):
        place(i, set())
    return {i: j for j, i in enumerate(of) if i is not None}
