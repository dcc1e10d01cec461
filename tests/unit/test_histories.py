"""Some hundred random histories, always the same; KAPPA_HISTORIES=10000 looks at so many (`make soak` does)."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from replay.core.model import Move, Publication
from tests.unit import histories
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.fake_lake import TABLES
from tests.unit.histories import BrokenError, Checker, History
from tests.unit.memory_store import MemoryStore

HISTORIES = int(os.environ.get("KAPPA_HISTORIES", "160"))
PARTS = 8
FOUND = {
    5112: "a submission arrived when its attempt was over, and wrote to the branch that was being cleaned",
    7177: "a job arrived after its attempt was cleaned, and ran for ever",
    8311: "a cluster was started by a controller that was overtaken, and ran for ever",
    16968: "what showed that a branch had been dropped was expired while Flink did not answer",
    1168: "what an aborted attempt had submitted was waited for until the clock, set back, came to its time again",
}
"""Histories that found a fault, which was fixed."""

pytestmark = pytest.mark.timeout(60 + HISTORIES)


@pytest.mark.parametrize("part", range(PARTS))
def test_readers_see_nothing_that_must_not_be(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(part, HISTORIES, PARTS):
        seen += histories.run(seed)
    for what in (
        "killed",
        "frozen",
        "no answer after",
        "disk full before",
        "moves of kind switch",
        "clock jumps",
    ):
        assert seen[what], f"no history had: {what}"
    if HISTORIES >= 1000:
        print(dict(seen.most_common()))  # noqa: T201  with pytest -s: what the histories were made of


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_before(seed: int) -> None:
    histories.run(seed)


def test_a_history_is_the_same_again() -> None:
    assert History(3).run() == History(3).run()


class Shown:
    """A lake with one publication under way, and the checker of what readers see of it."""

    def __init__(self, *, atomic: bool = True, kind: Move = Move.switch) -> None:
        self.platform, self.store = FakePlatform(clock=Clock()), MemoryStore()
        self.platform.lake.atomic = atomic
        self.lake = self.platform.lake
        self.lake.ensure_tables()
        self.checker = Checker(self.platform, self.store, Counter())
        self.kind = kind
        self.before = self.platform.main_now

    def commit(
        self, checkpoint: int, upto: int, *, attempt: str = "r1-a1", passed: bool = True
    ) -> dict[str, int]:
        for table in TABLES:
            if (table, attempt) not in self.lake.refs:
                self.lake.create_branch(table, attempt, resume=False)
            since = self.lake.snapshots[self.lake.refs[table, attempt]].content
            self.lake.commit(table, attempt, "job", checkpoint, since, {0: upto})
        found = {table: self.lake.refs[table, attempt] for table in TABLES}
        self.platform.passed += [found] if passed else []
        return found

    def intend(self, after: dict[str, int], *, kind: Move | None = None) -> None:
        self.store.journal.clear()
        self.store.journal[1] = Publication(
            id=1,
            product="flights",
            release=1,
            attempt=1,
            checkpoint=1,
            before=self.before,
            after=after,
            covered={},
            started=0.0,
            kind=kind or self.kind,
        )

    def move(self, after: dict[str, int]) -> None:
        self.checker.moved(self.before, after)
        for table, snapshot in after.items():
            self.lake.refs[table, "main"] = snapshot
        self.before = after


def test_the_checker_knows_a_step_back() -> None:
    shown = Shown()
    old, new = shown.commit(1, 10), shown.commit(2, 20)
    shown.intend(new)
    shown.move(new)
    shown.intend(old, kind=Move.publish)
    with pytest.raises(BrokenError, match="go back"):
        shown.move(old)
    shown.intend(old, kind=Move.rollback)
    shown.move(old)


def test_the_checker_knows_two_checkpoints_at_once() -> None:
    shown = Shown()
    new = shown.commit(1, 10)
    shown.intend(new)
    half = {**shown.before, TABLES[0]: new[TABLES[0]]}
    with pytest.raises(BrokenError, match="two checkpoints"):
        shown.move(half)
    shown.lake.atomic = False
    shown.move(half)
    shown.move(new)


def test_the_checker_knows_what_was_not_checked() -> None:
    shown = Shown()
    new = shown.commit(1, 10, passed=False)
    shown.intend(new)
    with pytest.raises(BrokenError, match="no check has passed"):
        shown.move(new)
    shown.intend(new, kind=Move.publish)
    with pytest.raises(BrokenError, match="unchecked"):
        shown.move(new)


def test_the_checker_knows_rows_that_are_there_twice() -> None:
    shown = Shown()
    shown.commit(1, 10)
    shown.lake.commit(TABLES[0], "r1-a1", "job", 2, {}, {0: 20})
    shown.lake.commit(TABLES[1], "r1-a1", "job", 2, {0: 10}, {0: 20})
    twice = {table: shown.lake.refs[table, "r1-a1"] for table in TABLES}
    shown.platform.passed.append(twice)
    shown.intend(twice)
    with pytest.raises(BrokenError, match="not each of its rows once"):
        shown.move(twice)


def test_the_checker_knows_a_move_without_an_intent_and_one_by_nobody() -> None:
    shown = Shown()
    new = shown.commit(1, 10)
    with pytest.raises(BrokenError, match="nobody's intent"):
        shown.move(new)
    shown.intend(new)
    shown.move(new)
    shown.lake.refs[TABLES[0], "main"] = 1
    with pytest.raises(BrokenError, match="the last move left"):
        shown.checker.look()
