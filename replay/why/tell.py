"""Which of the accepted records are behind a row: the release's SQL over some of them says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jobs.product.model import Output
from replay.values import same
from replay.why import rows
from replay.why.records import Became, Candidate, Evidence, Place
from replay.why.rows import Row
from replay.why.search import Answer, Told, search

MOST = 200
"""Groups of records that are run to tell which of them count."""
_Groups = Sequence[Sequence[Candidate]]


class Runs(Protocol):
    """The release's SQL over records."""

    def of(self, groups: Sequence[Collection[Place]]) -> Sequence[Sequence[Row]]: ...


@dataclass(frozen=True)
class How:
    """What is known of the row before anything is run."""

    output: Output
    key: Mapping[str, Any]
    """Columns that rows of some of its records have, too."""
    known: Row
    """The row, or one with its key."""
    is_session: bool = False
    """Its window follows from its records."""
    window: frozenset[str] = frozenset()
    """Columns that say which window it is."""
    count: str = ""
    """The column with the number of its records."""
    keeps_all: bool = False
    """The plan shows nothing that would leave a record out."""
    overlaps: bool = False
    """A record is of several windows."""
    alone: bool = True
    """A record that gives a row by itself is behind that row among others, too."""

    def pick(self, found: Sequence[Row]) -> Row | None:
        """The row of that key among those of a run; where columns tell no rows apart, the very row."""
        mine = [row for row in found if all(same(row[c], v) for c, v in self.key.items())]
        if not self.is_session:
            mine = self.of_window(mine)
        other = mine[0] if mine and rows.key_of(self.output) else None
        return next((row for row in mine if self.equal(row, self.known)), other)

    def of_window(self, found: Sequence[Row]) -> list[Row]:
        """The rows of its window, of all keys."""
        return [row for row in found if all(same(row[c], self.known[c]) for c in self.window)]

    def equal(self, one: Row | None, other: Row | None) -> bool:
        """Whether two rows are the same in every column."""
        if one is None or other is None:
            return one is other
        return not rows.differing(self.output, one, other)


@dataclass(frozen=True)
class Verdict:
    """What was found of the accepted records."""

    evidence: tuple[Evidence, ...]
    row: Row | None
    """What the SQL gives over those that count."""


def tell(runs: Runs, how: How, units: Sequence[Candidate], target: Row | None) -> Verdict:
    """Tell the records of a row from others; `target`: what the SQL gives over all of the slice."""
    if not units:
        return Verdict((), None)
    [found] = _run(runs, [units])
    row = how.pick(found)
    whole = how.equal(row, target)
    if whole and row is not None and _all_count(how, units, found, row):
        return Verdict(_evidence(Told(tuple(units), ())), row)
    if row is None and not how.alone:
        untold = (Evidence(c, Became.not_told, "they give no such row") for c in units)
        return Verdict(tuple(untold), None)
    if how.alone:
        alone = search(units, _alone(runs, how), MOST)
        again = _over(runs, how, alone, units, row)
        if how.equal(again, row) or row is None:
            return Verdict(_evidence(alone), again)
    # by themselves they give another row, or none: HAVING, sessions, joins of events
    without = search(units, _left_out(runs, how, units, row), MOST)
    evidence = _evidence(without, Became.no_effect)
    return Verdict(evidence, _over(runs, how, without, units, row))


def _all_count(how: How, units: Sequence[Candidate], found: Sequence[Row], row: Row) -> bool:
    """Whether all are in the row; `found`: all rows that they give."""
    if len(units) == 1:
        return True
    if how.count:
        return bool(row[how.count] == len(units))
    # records without a field for each column of the key may be of other rows
    beside = how.of_window(found) if how.overlaps else found
    return how.keeps_all and len(beside) == 1


def _alone(runs: Runs, how: How) -> Callable[[_Groups], list[Answer]]:
    def ask(groups: _Groups) -> list[Answer]:
        return [
            _answer(how, group, found)
            for group, found in zip(groups, _run(runs, groups), strict=True)
        ]

    return ask


def _answer(how: How, group: Sequence[Candidate], found: Sequence[Row]) -> Answer:
    row = how.pick(found)
    if row is None:
        return Answer.elsewhere if found else Answer.none
    counted = row[how.count] if how.count else None
    return Answer.all if counted == len(group) else Answer.some


def _left_out(
    runs: Runs, how: How, units: Sequence[Candidate], row: Row | None
) -> Callable[[_Groups], list[Answer]]:
    def ask(groups: _Groups) -> list[Answer]:
        left_out = [frozenset(unit.place for unit in group) for group in groups]
        others = [[u for u in units if u.place not in places] for places in left_out]
        return [
            Answer.none if how.equal(how.pick(found), row) else Answer.some
            for found in _run(runs, others)
        ]

    return ask


def _over(
    runs: Runs, how: How, told: Told[Candidate], units: Sequence[Candidate], row: Row | None
) -> Row | None:
    """The row over those that count, and those of which it is not told."""
    chosen = [*told.counted, *told.untold]
    if not chosen:
        return None
    return row if len(chosen) == len(units) else how.pick(_run(runs, [chosen])[0])


def _run(runs: Runs, groups: _Groups) -> Sequence[Sequence[Row]]:
    return runs.of([frozenset(unit.place for unit in group) for group in groups])


def _evidence(told: Told[Candidate], others: Became = Became.filtered) -> tuple[Evidence, ...]:
    return (
        *(Evidence(c, Became.counted) for c in told.counted),
        *(Evidence(c, others) for c in told.others),
        *(Evidence(c, Became.not_told) for c in told.untold),
    )
