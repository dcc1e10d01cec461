"""Looking at the world: in the right order, and no more than needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from control_world import Clock, FakeJob, FakeWorld

from replay.model import Attempt, Position, ProductState, Publication, Reached, Release, State
from replay.observe import observe

ATTEMPT = Attempt("flights", 1, 1, 0.0, 2, ("j",), State.replaying, submitted_at=1.0, confirmed=True)
RELEASE = Release("flights", 1, "f", 0.0, {"airlines": {0: 16}})


class RecordingWorld(FakeWorld):
    """Remembers the order of questions."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("position", "committed", "job", "publishable", "retained", "ends"):
            object.__getattribute__(self, "__dict__").setdefault("asked", []).append(name)
        return object.__getattribute__(self, name)


def state(attempt: Attempt, *publications: Publication) -> ProductState:
    return ProductState("flights", (RELEASE,), (attempt,), publications)


@pytest.mark.parametrize(("attempt", "job", "asked"), [
    pytest.param(replace(ATTEMPT, positions=(Position(3, {}),)), FakeJob("r1-a1", checkpoint=3),
                 ["job", "committed", "ends"], id="replaying"),
    pytest.param(ATTEMPT, FakeJob("r1-a1", checkpoint=3), ["job", "position", "committed", "ends", "publishable"],
                 id="a new checkpoint"),
    pytest.param(replace(ATTEMPT, state=State.active), FakeJob("r1-a1", checkpoint=3),
                 ["job", "position", "committed", "ends", "publishable"], id="may be published"),
    pytest.param(ATTEMPT, None, ["job", "publishable", "retained"], id="lost"),
    pytest.param(ATTEMPT, FakeJob("r1-a1", status="FAILED", checkpoint=3), ["job", "publishable", "retained"],
                 id="ended"),
    pytest.param(replace(ATTEMPT, confirmed=False), FakeJob("r1-a1"), ["job", "ends"], id="not confirmed"),
])
def test_no_more_is_asked_than_what_flink_says_makes_worth_it(
        attempt: Attempt, job: FakeJob | None, asked: list[str]) -> None:
    world = RecordingWorld(Clock(), jobs={"j": job} if job else {})
    observe(world, state(attempt), 0.0)
    assert world.__dict__["asked"] == asked


def test_the_position_is_that_of_the_job_that_runs_now() -> None:
    reached = Reached(4, {"flights": {0: 5}}, {"flights": {0: 6}})
    jobs = {"i": FakeJob("r1-a1", checkpoint=9, position=replace(reached, checkpoint=9)),
            "j": FakeJob("r1-a1", checkpoint=4, position=reached)}
    seen = observe(FakeWorld(Clock(), jobs=jobs), state(replace(ATTEMPT, job_ids=("i", "j"))), 0.0)
    assert seen.attempts["r1-a1"].position == reached


def test_nothing_is_read_from_the_lake_when_there_is_no_newer_checkpoint() -> None:
    world = RecordingWorld(Clock(), jobs={"j": FakeJob("r1-a1", checkpoint=3)})
    shown = Publication(1, "flights", 1, 1, 3, {}, {}, {}, 0.0, 1.0)
    observe(world, state(replace(ATTEMPT, state=State.active, positions=(Position(3, {}),)), shown), 0.0)
    assert "publishable" not in world.__dict__["asked"]


@pytest.mark.parametrize(("known", "expected"), [((), {"WindowJoin[9]": 1}), ((Position(3, {}),), {})],
                         ids=["a new checkpoint", "no new checkpoint"])
def test_operators_that_drop_records_are_looked_for_at_each_checkpoint(
        known: tuple[Position, ...], expected: dict[str, int]) -> None:
    job = FakeJob("r1-a1", checkpoint=3, position=Reached(3, {}, {}))
    world = FakeWorld(Clock(), jobs={"j": job}, dropped={"WindowJoin[9]": 1})
    assert observe(world, state(replace(ATTEMPT, positions=known)), 0.0).attempts["r1-a1"].late_dropped == expected


def test_the_logs_ends_are_asked_for_once_behind_every_jobs_checkpoint() -> None:
    """A checkpoint holds no more than its ends say: of an attempt that is to overtake another, this is the proof."""
    world = RecordingWorld(Clock(), jobs={"j": FakeJob("r1-a1", checkpoint=3), "k": FakeJob("r1-a2", checkpoint=4)})
    second = replace(ATTEMPT, number=2, job_ids=("k",))
    seen = observe(world, ProductState("flights", (RELEASE,), (ATTEMPT, second)), 0.0).attempts
    assert world.__dict__["asked"] == [
        "job", "position", "committed", "job", "position", "committed", "ends", "publishable", "publishable"]
    assert seen["r1-a1"].ends == seen["r1-a2"].ends == world.ends_now


QUIET = {"flights": {0: 10**12, 1: 10**12 - 7 * 3_600_000}}


@pytest.mark.parametrize(("attempt", "now", "thorough", "told"), [
    pytest.param(ATTEMPT, 0.0, False, True, id="a replay is waited for"),
    pytest.param(replace(ATTEMPT, state=State.active, positions=(Position(3, {}, 100.0),)), 160.0, False, False,
                 id="readers get checkpoints"),
    pytest.param(replace(ATTEMPT, state=State.active, positions=(Position(3, {}, 100.0),)), 161.0, False, True,
                 id="the live job stands still"),
    pytest.param(replace(ATTEMPT, state=State.active, positions=(Position(3, {}, 100.0),)), 160.0, True, True,
                 id="a person asks"),
])
def test_what_results_wait_for_is_looked_for_where_somebody_waits(
        attempt: Attempt, now: float, thorough: bool, told: bool) -> None:
    world = FakeWorld(Clock(), jobs={"j": FakeJob("r1-a1", checkpoint=3)}, clocks_now=QUIET)
    seen = observe(world, state(attempt), now, thorough=thorough).attempts["r1-a1"]
    assert bool(seen.held_back) is told


def test_a_cluster_out_of_reach_is_not_a_cluster_without_jobs() -> None:
    world = FakeWorld(Clock(), down=True)
    seen = observe(world, state(ATTEMPT), 0.0)
    assert seen.attempts["r1-a1"].unreachable == "Flink's JobManager does not answer"


def test_a_product_without_attempts_needs_no_look() -> None:
    assert observe(FakeWorld(Clock(), down=True), ProductState("flights"), 0.0).attempts == {}
