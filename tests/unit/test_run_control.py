"""What a person is told while `kappa switch` and its like are at work."""

from __future__ import annotations

from typing import Any

import pytest

from replay.cli.control import PART_SECONDS, WAIT_SECONDS, StepReporter, carry_on
from replay.controller import intents
from replay.controller.loop import Loop
from replay.core.model import Check, State, Tables
from replay.errors import RefusedError
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.control_steps import begin, turn, want


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def telling(said: list[str], clock: Clock) -> StepReporter:
    return StepReporter(said.append, clock)


def test_a_switch_says_that_it_checks_and_what_it_waits_for(
    loop: Loop,
    platform: FakePlatform,
    clock: Clock,
    telling: StepReporter,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2, auto_switch=False)
    turn(loop, platform, clock, 30)
    wanted = want(loop, lambda s: intents.switch(s, None))
    loop.watcher = telling
    check = platform.checks

    def slow(tables: Tables, shown: Tables | None) -> tuple[Check, ...]:
        for n in range(1, 8):
            telling.part(f"check {n} of 7")
            clock.time += 1
        return check(tables, shown)

    monkeypatch.setattr(platform, "checks", slow)

    def wait(_: Any) -> None:
        clock.time += 1
        if clock.time % 5 == 0:
            platform.complete_checkpoint()

    state = carry_on(loop, "flights", intents.is_shown(wanted), wait, telling.waits)
    assert state.attempt("r2-a1").state is State.active
    assert said == ["  r2-a1 checking", "  check 4 of 7", "  check 7 of 7"]


def test_what_takes_longer_than_a_moment_is_told_once(
    telling: StepReporter, said: list[str], clock: Clock
) -> None:
    for second in range(12):
        clock.time += 1
        telling.waits(
            f"r2-a1: replaying; its clock is {second} min behind"
            if second < 8
            else "another reason"
        )
    assert said == ["  r2-a1: replaying; its clock is 3 min behind", "  another reason"]
    assert WAIT_SECONDS == PART_SECONDS == 3


def test_what_is_waited_for_no_longer_than_a_moment_is_not_told(
    telling: StepReporter, said: list[str], clock: Clock
) -> None:
    for second in range(12):
        clock.time += 1
        telling.waits(
            ("another controller holds the lease", "waiting for the next checkpoint")[second % 2]
        )
    assert said == []


def test_a_release_that_ended_is_deployed_again_by_a_command_of_any_shell(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    """`KAPPA_HOME` need not be set: kappa takes `.kappa` then, and so does the command."""
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    turn(loop, platform, clock, 30)
    want(loop, lambda s: intents.retire(s, "r1"))
    state = turn(loop, platform, clock, 30)
    with pytest.raises(RefusedError) as e:
        intents.rollback(state, None)
    folder = f"${{KAPPA_HOME:-.kappa}}/releases/flights/{state.release(1).fingerprint}/product"
    assert e.value.next == f"kappa deploy flights --from {folder}  (replays r1-a1's release)"
