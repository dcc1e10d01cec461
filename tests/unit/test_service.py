"""The controller as a service: products at the same time, none twice, none kept out by another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from threading import Barrier, Event, Lock
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy.exc import OperationalError

from replay.controller.loop import LEASE_SECONDS, Loop, heartbeat
from replay.controller.service import MOST_PASSES, Service, serve
from replay.controller.watching import Pass, Watcher
from replay.core.model import Attempt, Check, Checkpoint, ProductState, Tables
from replay.core.observed import Observation
from replay.core.steps import Examine, Step, Submit, Wait, describe
from replay.errors import KappaError
from replay.store.leases import StaleLeaseError
from replay.store.store import Store
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.control_steps import begin, turn

ATTEMPT = Attempt("flights", 1, 1, 0.0, 2, ("job",))
LONG = 60.0
"""Longer than any of this takes, should it work."""


@pytest.fixture
def store(clock: Clock, tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}", clock)
    yield opened
    opened.close()


@pytest.fixture
def loop(platform: FakePlatform, store: Store, clock: Clock) -> Loop:
    return Loop(platform, store, clock, holder="me")


class Written(Watcher):
    """Steps, and complaints that are new."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._wrong: dict[str, str] = {}
        self._telling = Lock()

    def listed(self, products: Sequence[str]) -> None:
        self._say("store", "")

    def unlisted(self, error: Exception) -> None:
        self._say("store", str(error))

    def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
        self.lines.append(f"{product}: {describe(step)}")

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        self._say(product, done.notable)

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        self._say(
            product,
            str(error) if isinstance(error, KappaError) else f"{type(error).__name__}: {error}",
        )

    def _say(self, of: str, wrong: str) -> None:
        with self._telling:
            if wrong != self._wrong.get(of, ""):
                self.lines.append(f"{of}: {wrong or 'recovered'}")
                self._wrong[of] = wrong


class Passes:
    """In the place of the loop: what a pass over a product is, says the test."""

    def __init__(
        self, products: Iterable[str], a_pass: Callable[[str], bool], step_seconds: float = 1000.0
    ) -> None:
        names = list(products)
        self.store = SimpleNamespace(products=lambda: names)
        self.step_seconds = step_seconds
        self.at_work: dict[str, str] = {}
        self.watcher = Written()
        self.made: list[str] = []
        self.now: Counter[str] = Counter()
        self._pass, self._lock = a_pass, Lock()

    def run_once(self, product: str) -> Pass:
        """One pass, which is the product's only one at the moment."""
        with self._lock:
            self.made.append(product)
            self.now[product] += 1
            assert self.now[product] == 1, f"two workers at {product}"
        rests = self._pass(product)
        with self._lock:
            self.now[product] -= 1
        return Pass(ProductState(product), Observation(), Wait("") if rests else Submit(ATTEMPT))


def rounds(number: int) -> Callable[[], bool]:
    """A pause that ends the service after so many rounds."""
    passed = count(1)
    return lambda: next(passed) >= number


def run(
    passes: Passes,
    pause: Callable[[], bool],
    *,
    workers: int = 4,
    round_seconds: float | None = LONG,
    now: Callable[[], float] = lambda: 0.0,
) -> list[str]:
    """What the service writes."""
    Service(
        cast(Loop, passes),
        workers=workers,
        round_seconds=round_seconds,
        ending_seconds=LONG,
        now=now,
    ).serve(pause)
    return passes.watcher.lines


def test_steps_and_complaints_are_written_once(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    loop.watcher = written = Written()
    passes = count(1)

    def pause() -> bool:
        n = next(passes)
        clock.time += 1
        platform.down = 4 <= n <= 6
        return n == 8

    serve(loop, pause, round_seconds=None)
    assert written.lines == [
        "flights: submit r1-a1",
        "flights: confirm r1-a1",
        "flights: r1-a1: Flink's JobManager does not answer",
        "flights: recovered",
    ]


def test_a_product_with_a_new_checkpoint_at_every_look_does_not_keep_another_waiting() -> None:
    """B has three steps to take while A, which comes first, is never at rest."""
    passes = Passes(["a", "b"], lambda product: product == "b" and passes.made.count("b") >= 3)
    run(passes, rounds(2), workers=1)
    assert passes.made[:6] == ["a", "b", "a", "b", "a", "b"]
    assert passes.made.count("a") == 2 * MOST_PASSES, "and the list of products is read again"


def test_products_are_served_at_the_same_time() -> None:
    """Each pass waits until the others have begun theirs."""
    together = Barrier(4)
    passes = Passes("abcd", lambda _: together.wait(LONG) >= 0)
    run(passes, rounds(1))
    assert sorted(passes.made) == list("abcd")


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_no_more_at_the_same_time_than_there_are_workers_and_no_product_twice(workers: int) -> None:
    most = 0

    def a_pass(product: str) -> bool:
        nonlocal most
        most = max(most, sum(passes.now.values()))
        return passes.made.count(product) % 3 == 0

    passes = Passes("abcdefghijkl", a_pass)
    run(passes, rounds(10), workers=workers, round_seconds=0.001)
    assert 1 <= most <= workers
    assert set(passes.made) == set("abcdefghijkl")


def test_a_pass_that_hangs_keeps_no_other_product_waiting() -> None:
    hangs, served = Event(), Event()

    def a_pass(product: str) -> bool:
        if product == "a":
            return hangs.wait(LONG)
        if passes.made.count("b") == 5:
            served.set()
        return True

    passes = Passes("ab", a_pass)

    def pause() -> bool:
        if served.is_set():
            hangs.set()
        return served.is_set()

    run(passes, pause, workers=2, round_seconds=0.001)
    assert passes.made.count("a") == 1


def test_a_pass_that_takes_too_long_is_told_of_and_gets_a_worker_in_its_place() -> None:
    """With one worker only, and that one hangs."""
    hangs, served = Event(), Event()

    def a_pass(product: str) -> bool:
        if product == "a":
            passes.at_work["a"] = "examine r1-a1"
            return hangs.wait(LONG)
        served.set()
        return True

    passes = Passes("ab", a_pass, step_seconds=10)
    now = count()

    def pause() -> bool:
        if served.is_set():
            hangs.set()
        return served.is_set()

    written = run(passes, pause, workers=1, round_seconds=0.001, now=lambda: 20.0 * next(now))
    assert written[0] == (
        "a: examine r1-a1 does not finish\n"
        "  expected: an end within 10 s\n"
        "  found:    its lease is not renewed any more\n"
        "  next:     nothing where another controller runs: it takes over; else restart this one, or raise "
        "controller.step_seconds"
    )
    assert passes.made.count("a") == 1


def test_of_passes_that_hang_no_more_are_replaced_than_there_are_workers() -> None:
    hangs = Event()
    passes = Passes("abcdefgh", lambda _: hangs.wait(LONG), step_seconds=10)
    now, turns = count(), count(1)

    def pause() -> bool:
        over = next(turns) == 20
        if over:
            assert len(passes.made) <= 4
            hangs.set()
        return over

    run(passes, pause, workers=2, round_seconds=0.001, now=lambda: 20.0 * next(now))


def test_a_pass_that_hangs_does_not_keep_the_service_from_ending() -> None:
    hangs = Event()
    passes = Passes("a", lambda _: hangs.wait(LONG))
    Service(cast(Loop, passes), round_seconds=0.001, ending_seconds=0.001).serve(rounds(3))
    assert passes.made == ["a"]
    hangs.set()


def test_an_error_of_one_product_is_its_own_and_is_told_until_it_is_over() -> None:
    def a_pass(product: str) -> bool:
        if product == "a" and passes.made.count("a") < 3:
            passes.now["a"] -= 1
            raise ValueError("surprise")
        return True

    passes = Passes("ab", a_pass)
    assert run(passes, rounds(4)) == ["a: ValueError: surprise", "a: recovered"]
    assert passes.made.count("b") == 4


def test_a_store_that_is_down_comes_back() -> None:
    answers: Iterator[list[str] | None] = iter([["a"], None, None, ["a"]])

    def products() -> list[str]:
        found = next(answers)
        if found is None:
            raise OperationalError("SELECT", {}, Exception("gone"))
        return found

    passes = Passes("a", lambda _: True)
    passes.store = SimpleNamespace(products=products)
    written = run(passes, rounds(4))
    assert [line.split(":")[0] for line in written] == ["store", "store"]
    assert passes.made == ["a", "a"]


# The lease of a step that takes long


def test_a_step_that_takes_too_long_does_not_keep_its_lease() -> None:
    now, beats = count(), []
    with heartbeat(lambda: beats.append(1), 10, period=0.0001, now=lambda: float(next(now))):
        for beating in [t for t in threading.enumerate() if t.name == "lease"]:
            # none: it has ended by now
            beating.join(LONG)
        assert not [t for t in threading.enumerate() if t.name == "lease"]
    assert len(beats) == 9


def test_another_controller_takes_over_from_a_check_that_hangs(
    loop: Loop,
    platform: FakePlatform,
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the first one finds at last changes nothing any more."""
    other = Loop(platform, store, clock, holder="other")
    begin(loop, platform)
    turn(loop, platform, clock, 4)
    look = platform.checks

    def hangs(tables: Tables, shown: Tables | None) -> tuple[Check, ...]:
        monkeypatch.setattr(platform, "checks", look)
        clock.time += LEASE_SECONDS + 1
        turn(other, platform, clock, 12)
        return (Check("late", True, 1, "1 offending row"),)

    monkeypatch.setattr(platform, "checks", hangs)
    for _ in range(40):
        platform.complete_checkpoint()
        clock.time += 1
        loop.run_once("flights")
        if platform.checks == look:
            break
    state = store.load("flights")
    assert state.active and state.active.name == "r1-a1"
    assert state.published
    assert not state.attempts[0].found_fault


def test_checks_of_one_product_wait_for_those_of_another_without_its_lease(
    platform: FakePlatform, store: Store, clock: Clock
) -> None:
    loop = Loop(platform, store, clock, checks=1)
    begin(loop, platform)
    turn(loop, platform, clock, 2)
    with loop._turn(Examine(ATTEMPT, Checkpoint(1, {}))) as free:
        assert free
        turn(loop, platform, clock, 40)
        assert platform.passed == []
        assert store.acquire("flights", "somebody", 1), "nobody holds it meanwhile"
        clock.time += 2
    turn(loop, platform, clock, 6)
    assert platform.passed


def test_a_stale_lease_ends_the_beat() -> None:
    ended = Event()

    def beat() -> None:
        ended.set()
        raise StaleLeaseError("taken")

    with heartbeat(beat, 1000, period=0.0001):
        assert ended.wait(LONG)
