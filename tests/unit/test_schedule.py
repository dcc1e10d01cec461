"""`verify: weekly`: when what readers see is replayed by itself, and what comes of it; over the fake platform."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from jobs.product.settings import ProductSettings
from jobs.product.settings import Verify as Period
from replay.controller import intents
from replay.controller.compare_process import CompareProcess, command
from replay.controller.loop import ControlledPlatform, Loop
from replay.controller.schedule import DAY, FIRST_SECONDS, LOST_SECONDS, due_at
from replay.core.model import Attempt, Comparing, Finding, ProductState, Release, State
from replay.store.store import Store
from tests.unit.control_platform import Clock, FakePlatform, OneProcess
from tests.unit.control_steps import begin, change, deploy, turn, want

RELEASE = Release("flights", 1, "f1", 0.0, {})
ACTIVE = Attempt("flights", 1, 1, 0.0, 2, ("j",), State.active, shown_at=100.0)
SHADOW = Attempt("flights", 1, 2, 300_000.0, 2, ("k",), State.retired, shadow=True)
"""Begun 3.5 days after readers were switched."""


@pytest.mark.parametrize(
    ("attempts", "period", "expected"),
    [
        pytest.param((ACTIVE,), Period.off, None, id="off"),
        pytest.param(
            (replace(ACTIVE, state=State.standby),), Period.daily, None, id="nothing is active"
        ),
        pytest.param(
            (ACTIVE,),
            Period.monthly,
            100 + 2 * DAY,
            id="two days after the switch, whatever the period",
        ),
        pytest.param(
            (replace(ACTIVE, shown_at=None),),
            Period.daily,
            2 * DAY,
            id="an active release of an older version",
        ),
        pytest.param((ACTIVE, SHADOW), Period.daily, 300_000 + DAY, id="daily"),
        pytest.param((ACTIVE, SHADOW), Period.weekly, 300_000 + 7 * DAY, id="weekly"),
        pytest.param((ACTIVE, SHADOW), Period.monthly, 300_000 + 30 * DAY, id="monthly"),
        pytest.param(
            (ACTIVE, replace(SHADOW, state=State.failed)),
            Period.monthly,
            300_000 + DAY,
            id="again after a failure",
        ),
        pytest.param(
            (ACTIVE, replace(SHADOW, state=State.replaying, stop=State.aborted)),
            Period.weekly,
            300_000 + DAY,
            id="again when somebody ended it",
        ),
        pytest.param(
            (replace(ACTIVE, shown_at=400_000.0), SHADOW),
            Period.daily,
            400_000 + 2 * DAY,
            id="that was before readers were taken back",
        ),
        pytest.param(
            (ACTIVE, replace(SHADOW, release=2)),
            Period.daily,
            100 + 2 * DAY,
            id="of another release",
        ),
    ],
)
def test_when_it_is_due(
    attempts: tuple[Attempt, ...], period: Period, expected: float | None
) -> None:
    assert due_at(ProductState("flights", (RELEASE,), attempts), period) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [(False, Period.off), ("off", Period.off), ("weekly", Period.weekly), (None, Period.off)],
)
def test_off_is_a_word_of_yaml_too(said: object, expected: Period) -> None:
    fields = {} if said is None else {"verify": said}
    settings = ProductSettings.model_validate(
        {"name": "x", "topics": {"t": {"role": "reference"}}, "outputs": {}, **fields}
    )
    assert settings.verify is expected


# Over the fake platform


@pytest.fixture
def platform(clock: Clock) -> FakePlatform:
    return FakePlatform(clock, verify="weekly")


@pytest.fixture
def loop(platform: FakePlatform, clock: Clock) -> Iterator[Loop]:
    """Readers see r1-a1."""
    store = Store("sqlite://", clock)
    opened = Loop(platform, store, clock, holder="me")
    begin(opened, platform)
    turn(opened, platform, clock, 30)
    yield opened
    store.close()


def shadows(loop: Loop) -> list[tuple[str, State, bool]]:
    return [(a.name, a.state, a.cleaned) for a in loop.store.load("flights").attempts if a.shadow]


def told(loop: Loop) -> list[tuple[str, str, str]]:
    return [
        (e.attempt, e.reason, e.detail)
        for e in loop.store.events("flights")
        if e.reason in ("verified", "differs", "not_verified")
    ]


def test_it_runs_by_itself_and_again_after_the_period(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    turn(loop, platform, clock, 9)
    assert shadows(loop) == []
    clock.time += FIRST_SECONDS
    turn(loop, platform, clock, 60)
    assert shadows(loop) == [("r1-a2", State.retired, True)]
    assert told(loop) == [("r1-a2", "verified", "equal")]
    assert "r1-a2" not in {b for _, b in platform.lake.refs}
    clock.time += 6.9 * DAY
    turn(loop, platform, clock, 60)
    assert len(shadows(loop)) == 1
    clock.time += 0.2 * DAY
    turn(loop, platform, clock, 60)
    assert shadows(loop)[1:] == [("r1-a3", State.retired, True)]
    assert platform.compared == ["r1-a2", "r1-a3"]


@pytest.mark.parametrize(
    ("found", "state", "event"),
    [
        pytest.param(
            Comparing(finding=Finding(False, 9, "NOT equal", "t: 1 changed")),
            State.retired,
            [("r1-a2", "differs", "NOT equal")],
            id="other rows",
        ),
        pytest.param(
            Comparing(finding=Finding(True, 0, "no row")),
            State.retired,
            [("r1-a2", "not_verified", "no row")],
            id="nothing final",
        ),
        pytest.param(Comparing(trouble="Kafka is down"), State.failed, [], id="in vain"),
    ],
)
def test_what_comes_of_it_is_remembered_and_nothing_is_left(
    loop: Loop,
    platform: FakePlatform,
    clock: Clock,
    found: Comparing,
    state: State,
    event: list[tuple[str, str, str]],
) -> None:
    platform.found = found
    clock.time += FIRST_SECONDS
    turn(loop, platform, clock, 60)
    assert shadows(loop) == [("r1-a2", state, True)]
    assert told(loop) == event
    shadow = loop.store.load("flights").attempt("r1-a2")
    assert shadow.error == (
        found.finding.differences if found.finding else "it could not be compared: Kafka is down"
    )
    assert loop.store.load("flights").active


def test_without_room_it_says_so_and_tries_again_a_day_later(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.no_room = True
    clock.time += FIRST_SECONDS
    turn(loop, platform, clock, 9)
    assert shadows(loop) == [("r1-a2", State.failed, True)]
    assert loop.store.load("flights").attempt("r1-a2").error.startswith("the disk is too small")
    assert platform.submitted == ["job-1-0"]
    platform.no_room = False
    turn(loop, platform, clock, 9)
    assert len(shadows(loop)) == 1
    clock.time += DAY
    turn(loop, platform, clock, 60)
    assert told(loop) == [("r1-a3", "verified", "equal")]


def test_never_beside_a_candidate(loop: Loop, platform: FakePlatform, clock: Clock) -> None:
    platform.speed = 0
    deploy(loop, platform, release=2)
    clock.time += FIRST_SECONDS
    turn(loop, platform, clock, 9)
    assert shadows(loop) == []


def test_a_deploy_comes_first(loop: Loop, platform: FakePlatform, clock: Clock) -> None:
    """What the schedule began ends, its room is free, and the deploy needs no second word."""
    platform.clusters.add("some")
    clock.time += FIRST_SECONDS
    while "flights-r1-a2" not in platform.clusters:
        loop.run_once("flights")
    assert shadows(loop) == [("r1-a2", State.built, False)]
    deploy(loop, platform, release=2, own=True)
    seen = []
    for _ in range(20):
        turn(loop, platform, clock, 3)
        seen.append(platform.clusters & {"flights-r1-a2", "flights-r2-a1"})
    assert {"flights-r1-a2", "flights-r2-a1"} not in seen
    state = loop.store.load("flights")
    assert (state.attempt("r1-a2").state, state.attempt("r1-a2").error) == (
        State.aborted,
        "a deploy came first",
    )
    assert state.attempt("r2-a1").state is State.active


def test_readers_that_are_switched_over_end_it(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform, release=2)
    turn(loop, platform, clock, 30)
    clock.time += FIRST_SECONDS
    platform.speed = 0
    turn(loop, platform, clock, 9)
    assert shadows(loop) == [("r2-a2", State.replaying, False)]
    want(loop, lambda s: intents.rollback(s, None))
    turn(loop, platform, clock, 9)
    assert shadows(loop) == [("r2-a2", State.aborted, True)]


def caught_up(loop: Loop, platform: FakePlatform, clock: Clock) -> None:
    """Passes until the shadow is being compared."""
    clock.time += FIRST_SECONDS
    for _ in range(20):
        turn(loop, platform, clock, 3)
        if platform.compared:
            return
    raise AssertionError("never compared")


def test_readers_get_newer_rows_while_it_is_compared(
    loop: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.control_platform.COMPARE_SECONDS", 1_000.0)
    caught_up(loop, platform, clock)
    platform.arriving = 1
    before = len(platform.published)
    turn(loop, platform, clock, 300)
    assert len(platform.published) == before + 100
    assert platform.compared == ["r1-a2"], "one comparison goes on, however long it takes"
    turn(loop, platform, clock, 720)
    assert told(loop) == [("r1-a2", "verified", "equal")]


def test_another_controller_compares_it_when_the_first_is_gone_and_not_before(
    loop: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.control_platform.COMPARE_SECONDS", 300.0)
    one, two = (
        Loop(cast(ControlledPlatform, OneProcess(platform)), loop.store, clock, holder=n)
        for n in ("one", "two")
    )
    caught_up(one, platform, clock)
    for _ in range(int(LOST_SECONDS) // 3):
        turn(one, platform, clock, 3)
        turn(two, platform, clock, 3)
    assert platform.compared == ["r1-a2"]
    monkeypatch.setattr("tests.unit.control_platform.COMPARE_SECONDS", 5.0)
    turn(two, platform, clock, int(LOST_SECONDS) + 30)
    assert platform.compared == ["r1-a2", "r1-a2"]
    assert told(loop) == [("r1-a2", "verified", "equal")]


def test_another_controller_compares_it_though_the_clock_was_set_back(
    loop: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.control_platform.COMPARE_SECONDS", 300.0)
    one, two = (
        Loop(cast(ControlledPlatform, OneProcess(platform)), loop.store, clock, holder=n)
        for n in ("one", "two")
    )
    caught_up(one, platform, clock)
    clock.time -= 3600
    turn(two, platform, clock, 3)
    assert platform.compared == ["r1-a2", "r1-a2"]


def test_a_person_takes_over_what_the_schedule_began(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    """Then it is compared by their command, and by nobody else."""
    clock.time += FIRST_SECONDS
    turn(loop, platform, clock, 1)
    change(loop, "r1-a2", scheduled=False)
    turn(loop, platform, clock, 60)
    assert shadows(loop) == [("r1-a2", State.caught_up, False)]
    assert platform.compared == []


# The process


def answer(code: str, seconds: float = 60.0, **options: Any) -> Comparing:
    process = CompareProcess([sys.executable, "-c", code], seconds, **options)
    deadline = time.monotonic() + 30
    while (found := process.answer()).under_way:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_comparison_tells_what_it_found_in_its_last_line() -> None:
    said = """print('warming up'); print('{"finding": {"equal": true, "rows": 3, "detail": "d", "differences": ""}}')"""
    assert answer(said) == Comparing(finding=Finding(True, 3, "d"))


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        pytest.param(
            """print('{"trouble": "Kafka does not answer"}')""",
            "Kafka does not answer",
            id="it says so",
        ),
        pytest.param(
            "raise SystemExit('no memory')",
            "its process ended with exit code 1: no memory",
            id="it dies",
        ),
        pytest.param(
            "import os; os.kill(os.getpid(), 9)",
            "its process ended with exit code -9: ",
            id="it is killed",
        ),
        pytest.param(
            "print('[]')", "its process ended with exit code 0: []", id="it says something else"
        ),
    ],
)
def test_a_comparison_that_found_nothing_says_why(code: str, trouble: str) -> None:
    assert answer(code) == Comparing(trouble=trouble)


def test_a_comparison_that_does_not_come_to_an_end_is_killed() -> None:
    times = iter([0.0, 9.0, 11.0])
    process = CompareProcess(
        [sys.executable, "-c", "import time; time.sleep(60)"], 10.0, now=lambda: next(times)
    )
    assert process.answer() == Comparing(under_way=True)
    assert process.answer() == Comparing(trouble="it was not done after 10 s")
    assert process._process.poll() is not None


def test_what_the_controller_runs_answers_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a stack it has nothing to compare, and says so as the controller reads it."""
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    process = CompareProcess(command(ACTIVE))
    deadline = time.monotonic() + 50
    while (found := process.answer()).under_way and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found.trouble.startswith("there are no settings yet")
