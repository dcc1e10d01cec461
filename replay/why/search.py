"""Which of several records count, told by asking about few groups of them. Pure, apart from whoever is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

TOGETHER = 10
"""Groups that are made of one: so many runs make one job."""


class Answer(Enum):
    """How many of a group count."""

    all = "all"
    none = "none"
    elsewhere = "elsewhere"
    """None, and they are in other rows."""
    some = "some"
    """One at least, of several."""


Ask = Callable[[Sequence[Sequence[T]]], Sequence[Answer]]


@dataclass(frozen=True)
class Told(Generic[T]):
    """What was found."""

    counted: tuple[T, ...]
    others: tuple[T, ...]
    """These do not; those that are in other rows are neither here nor there."""
    untold: tuple[T, ...] = ()
    """Some of these count: to tell them apart would have taken more questions."""


def search(units: Sequence[T], ask: Ask[T], most: int) -> Told[T]:
    """Ask about at most `most` groups: those of which some count are split and asked about again."""
    counted: list[T] = []
    others: list[T] = []
    untold: list[T] = []
    waiting = list(_split(units))
    while waiting:
        asked, left = waiting[:most], waiting[most:]
        untold += [unit for group in left for unit in group]
        most -= len(asked)
        waiting = []
        for group, answer in zip(asked, ask(asked) if asked else (), strict=True):
            if answer is Answer.none:
                others += group
            elif answer is Answer.all or (answer is Answer.some and len(group) == 1):
                counted += group
            elif answer is Answer.some:
                waiting += _split(group)
    return Told(tuple(counted), tuple(others), tuple(untold))


def _split(units: Sequence[T]) -> Iterator[Sequence[T]]:
    size = max(1, -(-len(units) // TOGETHER))
    for start in range(0, len(units), size):
        yield units[start : start + size]
