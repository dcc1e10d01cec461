"""The whole controller over a fake world: deploy, continuous publishing, losses, and death at every boundary."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from control_world import TABLES, Clock, DiedError, DyingStore, FakeWorld

from jobs.product import LagLimit
from replay.act import new_attempt
from replay.decide import Blocked, Submit, Wait
from replay.errors import ConflictError
from replay.flink import SubmissionRefusedError
from replay.loop import LEASE_SECONDS, Diary, Loop, describe, serve
from replay.model import Attempt, Check, ProductState, Release, State
from replay.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def world(clock: Clock) -> FakeWorld:
    return FakeWorld(clock)


@pytest.fixture
def loop(world: FakeWorld, store: Store, clock: Clock) -> Loop:
    return Loop(world, store, clock, holder="me")


def begin(loop: Loop, world: FakeWorld, *, release: int = 1, **terms: Any) -> Attempt:
    """What `kappa deploy` records."""
    with loop.leased("flights") as lease:
        assert lease
        state = loop.store.load("flights")
        if release not in [r.number for r in state.releases]:
            loop.store.add_release(lease, Release("flights", release, f"f{release}", loop.now(), world.reference))
        state = loop.store.load("flights")
        attempt = new_attempt(state, release, 2, loop.now(), f"job-{release}-{len(state.attempts)}",
                              **{"own_cluster": False, **terms})
        loop.store.save(lease, attempt)
    return attempt


def turn(loop: Loop, world: FakeWorld, clock: Clock, times: int) -> ProductState:
    """Passes, a second and a checkpoint every third."""
    for i in range(times):
        clock.time += 1
        if i % 3 == 2:
            world.complete_checkpoint()
        for _ in range(5):
            if isinstance(loop.run_once("flights").step, Wait):
                break
    return loop.store.load("flights")


def published_to_the_end(world: FakeWorld, state: ProductState) -> bool:
    p = state.published
    return p is not None and dict(p.after) == world.main_now and p.covered["flights"] == world.ends_now["flights"]


def test_deploy_publishes_once_caught_up_and_then_every_checkpoint(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    state = turn(loop, world, clock, 40)
    assert state.attempts[0].state is State.active
    assert world.submitted == ["job-1-0"]
    assert published_to_the_end(world, state)
    assert len(world.published) > 5
    assert world.published == sorted(world.published, key=lambda p: p[TABLES[0]]), "readers never go back"


def test_nothing_is_shown_while_replaying(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    world.speed = 1
    begin(loop, world)
    state = turn(loop, world, clock, 60)
    assert state.attempts[0].state is State.replaying
    assert world.genesis


def test_a_lost_answer_is_resolved_by_asking_flink(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    world.lost_answers = 1
    begin(loop, world)
    state = turn(loop, world, clock, 30)
    assert state.attempts[0].state is State.active
    assert world.submitted == ["job-1-0"]
    assert not world.refused_duplicates


def test_a_submission_that_never_arrived_is_repeated_with_the_same_id(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    from replay.errors import OutcomeUnknownError

    world.submit_fails = [OutcomeUnknownError("no answer")]
    begin(loop, world)
    turn(loop, world, clock, 30)
    assert world.submitted == []
    clock.time += 60
    state = turn(loop, world, clock, 30)
    assert world.submitted == ["job-1-0"]
    assert state.attempts[0].state is State.active


def test_a_refused_submission_fails_the_attempt_with_its_cause(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    world.submit_fails = [SubmissionRefusedError("Flink refused", found="ValidationException: no column x")]
    begin(loop, world)
    state = turn(loop, world, clock, 3)
    assert (state.attempts[0].state, state.attempts[0].error) == (State.failed, "ValidationException: no column x")


def test_a_candidate_whose_job_failed_is_over_and_readers_keep_what_they_see(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    begin(loop, world, release=2)
    turn(loop, world, clock, 2)
    shown = dict(world.main_now)
    world.jobs["job-2-1"].status = "FAILED"
    state = turn(loop, world, clock, 2)
    assert [(a.name, a.state) for a in state.attempts] == [("r1-a1", State.active), ("r2-a1", State.failed)]
    assert state.attempts[1].error == "its job became FAILED, and not by this controller: boom"
    assert world.main_now == shown
    assert world.cleaned == ["r2-a1"]


def test_the_live_job_that_somebody_cancelled_goes_on_from_its_last_checkpoint(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    world.jobs["job-1-0"].status = "CANCELED"
    world.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, world, clock, 40)
    assert [len(a.job_ids) for a in state.attempts] == [2]
    assert published_to_the_end(world, state)


def test_a_lost_job_is_resumed_from_its_newest_checkpoint_under_a_new_id(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    world.down = True
    turn(loop, world, clock, 5)
    world.down = False
    world.lose_jobs()
    world.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, world, clock, 60)
    attempt = state.attempts[0]
    assert len(state.attempts) == 1
    assert len(attempt.job_ids) == 2
    assert attempt.restore is not None
    assert attempt.restore.startswith("file:///ck/r1-a1/job-1-0/chk-")
    assert published_to_the_end(world, state)


def test_without_a_checkpoint_a_new_attempt_starts_over_while_readers_keep_what_they_see(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    shown = dict(world.main_now)
    world.lose_jobs()
    world.kept.clear()
    state = turn(loop, world, clock, 12)
    assert [a.name for a in state.attempts] == ["r1-a1", "r1-a2"]
    assert state.attempts[0].state is State.failed
    assert "lost its job" in state.attempts[0].error
    assert world.cleaned == [], "readers still see it"
    assert world.main_now == shown
    state = turn(loop, world, clock, 40)
    assert state.attempts[1].state is State.active
    assert published_to_the_end(world, state)


def test_a_second_attempt_takes_over_and_the_first_stands_by(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    begin(loop, world)
    state = turn(loop, world, clock, 60)
    assert [a.state for a in state.attempts] == [State.standby, State.active]
    assert world.jobs["job-1-0"].status == "RUNNING"
    assert published_to_the_end(world, state)


def test_failed_checks_keep_the_candidate_from_readers(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    world.complaints = [Check("checks/no_negative_delay.sql", True, 3)]
    begin(loop, world)
    state = turn(loop, world, clock, 30)
    assert state.attempts[0].state is State.failed
    assert state.attempts[0].error == "checks failed: checks/no_negative_delay.sql: 3 rows"
    assert world.jobs["job-1-0"].status == "CANCELED"
    assert world.genesis


def test_somebody_else_moving_main_stops_publishing_and_says_so(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    ours = dict(world.main_now)
    world.main_now = dict.fromkeys(TABLES, 7)
    world.complete_checkpoint()
    turn(loop, world, clock, 1)
    world.complete_checkpoint()
    steps = [loop.run_once("flights").step for _ in range(3)]
    assert isinstance(steps[-1], Blocked)
    assert steps[-1].message == "somebody else moved main of flights: publishing stops here"
    assert steps[-1].found == "flights_hourly=7, flights_rows=7"
    world.main_now = ours
    assert published_to_the_end(world, turn(loop, world, clock, 10))


def test_main_moved_between_look_and_publish_drops_the_intent(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)

    def thief(where: str) -> bool:
        if where == "before publish":
            world.main_now = dict.fromkeys(TABLES, 7)
        return False

    world.die_at = thief
    with pytest.raises(ConflictError):
        turn(loop, world, clock, 30)
    assert loop.store.load("flights").unfinished is None


def test_two_controllers_submit_once(world: FakeWorld, store: Store, clock: Clock) -> None:
    one, two = Loop(world, store, clock, holder="one"), Loop(world, store, clock, holder="two")
    begin(one, world)
    with two.leased("flights"):
        done = one.run_once("flights")
        assert done.step == Wait("another controller is at work")
    for _ in range(40):
        clock.time += 1
        world.complete_checkpoint()
        one.run_once("flights")
        two.run_once("flights")
    assert world.submitted == ["job-1-0"]
    assert published_to_the_end(world, store.load("flights"))


def test_a_controller_that_slept_through_its_lease_changes_nothing(
        world: FakeWorld, store: Store, clock: Clock) -> None:
    one, two = Loop(world, store, clock, holder="one"), Loop(world, store, clock, holder="two")
    begin(one, world)

    def sleep(where: str) -> bool:
        if where == "after prepare":
            world.die_at = lambda _: False
            clock.time += LEASE_SECONDS + 1
            two.run_once("flights")
        return False

    world.die_at = sleep
    assert one.run_once("flights").step == Wait("another controller took over")
    assert world.submitted == ["job-1-0"]
    assert store.load("flights").attempts[0].submitted_at == clock.time


def test_nothing_is_published_while_results_wait_for_the_logs_clock(
        loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    turn(loop, world, clock, 30)
    shown = dict(world.main_now)
    world.lose_jobs()
    world.clocks_standing = ("TemporalJoin[112]",)
    world.ends_now = {"flights": {0: 300, 1: 290}}
    turn(loop, world, clock, 30)
    behind = loop.store.load("flights").published
    assert behind
    assert behind.covered["flights"] == {0: 100, 1: 90}, "no claim beyond what was sure before"
    assert dict(world.main_now)[TABLES[0]] >= shown[TABLES[0]]
    world.clocks_standing = ()
    assert published_to_the_end(world, turn(loop, world, clock, 30))


BOUNDARIES = ["before save", "after save", "before begin_publication", "after begin_publication",
              "before finish_publication", "after finish_publication", "before prepare", "after prepare",
              "before submit", "after submit", "before publish", "after publish"]


@pytest.mark.parametrize("occurrence", [1, 2, 4])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_killed_anywhere_it_converges(world: FakeWorld, store: Store, clock: Clock, boundary: str,
                                      occurrence: int) -> None:
    """Dies at the nth passing of a boundary; a new process carries on from the store and the world alone."""
    passed = count(1)

    def die_at(where: str) -> bool:
        return where == boundary and next(passed) == occurrence

    begin(Loop(world, store, clock, holder="deploy"), world)
    world.die_at = die_at
    dying = DyingStore(store, die_at)
    process, deaths = Loop(world, dying, clock, holder="p0"), 0  # type: ignore[arg-type]
    for i in range(60):
        clock.time += 4
        if i % 3 == 2:
            world.complete_checkpoint()
        try:
            process.run_once("flights")
        except DiedError:
            deaths += 1
            # A killed process gives no lease back: its successor waits until it expires.
            process = Loop(world, dying, clock, holder=f"p{deaths}")  # type: ignore[arg-type]
    state = store.load("flights")
    assert deaths <= 1
    assert [a.state for a in state.attempts] == [State.active]
    assert world.submitted == ["job-1-0"]
    assert published_to_the_end(world, state)
    assert world.published == sorted(world.published, key=lambda p: p[TABLES[0]])


@pytest.mark.parametrize("boundary", ["before save", "after save", "before submit", "after submit"])
def test_killed_while_resuming_it_resumes_once(world: FakeWorld, store: Store, clock: Clock, boundary: str) -> None:
    begin(Loop(world, store, clock, holder="deploy"), world)
    turn(Loop(world, store, clock, holder="deploy"), world, clock, 30)
    world.lose_jobs()
    alive = [True]

    def die_at(where: str) -> bool:
        if where == boundary and alive[0]:
            alive[0] = False
            return True
        return False

    world.die_at = die_at
    process = Loop(world, DyingStore(store, die_at), clock, holder="p0")  # type: ignore[arg-type]
    for _ in range(40):
        clock.time += 4
        try:
            process.run_once("flights")
        except DiedError:
            process = Loop(world, store, clock, holder="p1")
    world.complete_checkpoint()
    state = turn(process, world, clock, 10)
    assert len(world.submitted) == 2
    assert len(state.attempts[0].job_ids) == 2
    assert published_to_the_end(world, state)


def test_a_lag_that_comes_and_goes_does_not_count_as_caught_up(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    world.lag = LagLimit(records=0, checkpoints=3)
    begin(loop, world)
    for _ in range(30):
        clock.time += 1
        world.complete_checkpoint()
        loop.run_once("flights")
        world.ends_now = {"flights": {0: world.ends_now["flights"][0] + (60 if _ % 2 else 0), 1: 90}}
    assert loop.store.load("flights").attempts[0].state is State.replaying


def test_the_service_writes_steps_and_complaints_once(loop: Loop, world: FakeWorld, clock: Clock) -> None:
    begin(loop, world)
    written: list[str] = []
    passes = count(1)

    def pause() -> bool:
        n = next(passes)
        clock.time += 1
        world.down = 2 <= n <= 4
        return n == 6

    serve(loop, Diary(written.append), pause)
    assert written == [
        "flights: submit r1-a1",
        "flights: confirm r1-a1",
        "flights: r1-a1: Flink's JobManager does not answer",
        "flights: well again",
    ]


def test_describe_names_attempt_and_checkpoint(loop: Loop, world: FakeWorld) -> None:
    assert describe(Submit(begin(loop, world))) == "submit r1-a1"
