"""The whole controller over a fake platform: deploy, continuous publishing, losses, and death at every boundary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import NoReturn, cast

import pytest

from jobs.product.folder import Product
from jobs.product.settings import LagLimit
from replay.controller import intents
from replay.controller.deploy import Terms, plan
from replay.controller.job_rules import LOST_ANSWER_SECONDS, ORPHANED_SECONDS
from replay.controller.look_cache import STRAYS_SECONDS
from replay.controller.loop import LEASE_SECONDS, ControlledPlatform, Loop, heartbeat
from replay.controller.watching import Watcher
from replay.core.events import Reason
from replay.core.model import Attempt, Check, Committed, State
from replay.core.observed import Observation, SubmissionStatus
from replay.core.steps import Blocked, Step, Submit, Wait, describe
from replay.errors import ConflictError, RefusedError, RetryableError
from replay.store.store import Store
from tests.unit.control_platform import (
    NO_ANSWER,
    Clock,
    DiedError,
    FakeJob,
    FakePlatform,
    MortalStore,
    OneProcess,
    leftovers,
)
from tests.unit.control_steps import begin, change, published_to_the_end, turn, want
from tests.unit.fake_lake import TABLES

ATTEMPT = Attempt("flights", 1, 1, 0.0, 2, ("job",))


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    opened = Store("sqlite://", clock)
    yield opened
    opened.close()


@pytest.fixture
def loop(platform: FakePlatform, store: Store, clock: Clock) -> Loop:
    return Loop(platform, store, clock, holder="me")


def test_deploy_publishes_once_caught_up_and_then_every_checkpoint(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.arriving = 3
    begin(loop, platform)
    state = turn(loop, platform, clock, 40)
    assert state.attempts[0].state is State.active
    assert platform.submitted == ["job-1-0"]
    assert published_to_the_end(platform, state)
    assert len(platform.published) > 5
    assert platform.published == sorted(platform.published, key=lambda p: p[TABLES[0]]), (
        "readers never go back"
    )


def test_nothing_is_shown_while_replaying(loop: Loop, platform: FakePlatform, clock: Clock) -> None:
    platform.speed = 1
    begin(loop, platform)
    state = turn(loop, platform, clock, 60)
    assert state.attempts[0].state is State.replaying
    assert platform.genesis


def test_a_lost_answer_is_resolved_by_asking_flink(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.late_submissions = [(1.0, 2.0)]
    begin(loop, platform)
    state = turn(loop, platform, clock, 30)
    assert state.attempts[0].state is State.active
    assert platform.submitted == ["job-1-0"]
    assert not platform.refused_duplicates


def test_a_submission_that_never_arrived_is_repeated_with_the_same_id(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.submit_fails = [NO_ANSWER]
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    assert platform.submitted == []
    clock.time += 60
    state = turn(loop, platform, clock, 30)
    assert platform.submitted == ["job-1-0"]
    assert state.attempts[0].state is State.active


def test_a_refused_submission_fails_the_attempt_with_its_cause(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.submit_fails = [SubmissionStatus(refused="ValidationException: no column x")]
    begin(loop, platform)
    state = turn(loop, platform, clock, 9)
    assert (state.attempts[0].state, state.attempts[0].error) == (
        State.failed,
        "ValidationException: no column x",
    )


REFUSALS: dict[str, Callable[[FakePlatform], object]] = {
    "by its archive": lambda w: w.changed_archives.add("r1-a1"),
    "by the client": lambda w: w.submit_fails.extend(
        [SubmissionStatus(refused="ValidationException: no column x")] * 3
    ),
}


@pytest.mark.parametrize("state", [State.active, State.standby])
@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_resumption_of_what_readers_depend_on_is_tried_again_until_it_is_taken(
    loop: Loop,
    platform: FakePlatform,
    clock: Clock,
    refuse: Callable[[FakePlatform], object],
    state: State,
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    if state is State.standby:
        begin(loop, platform, release=2)
        turn(loop, platform, clock, 60)
    assert loop.store.load("flights").attempt("r1-a1").state is state
    shown, taken = dict(platform.main_now), len(platform.submitted)
    refuse(platform)
    del platform.jobs["job-1-0"]
    assert turn(loop, platform, clock, 300).attempt("r1-a1").state is state
    assert (platform.main_now == shown) == (state is State.active), (
        "whatever else readers see goes on"
    )
    assert len(platform.submitted) == taken
    assert loop.store.load("flights").attempt("r1-a1").refused
    assert [e.attempt for e in loop.store.events("flights") if e.reason == "refused"] == [
        "r1-a1"
    ], "noted once"
    platform.changed_archives.clear()
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    found = turn(loop, platform, clock, 300)
    assert found.attempt("r1-a1").state is state
    assert len(platform.submitted) == taken + 1
    assert platform.jobs[found.attempt("r1-a1").job_id].status == "RUNNING"
    assert not found.attempt("r1-a1").refused
    assert published_to_the_end(platform, found)


def test_a_cluster_that_there_is_no_room_for_is_started_once_there_is(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform, own_cluster=True)
    turn(loop, platform, clock, 30)
    platform.lose_cluster("flights-r1-a1")
    platform.no_room = True
    attempt = turn(loop, platform, clock, 60).attempt("r1-a1")
    assert (attempt.state, attempt.refused) == (
        State.active,
        "no room for another Flink cluster: expected 4 GB, found 1 GB",
    )
    assert [e.detail for e in loop.store.events("flights") if e.reason == "refused"] == [
        attempt.refused
    ]
    platform.no_room = False
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, platform, clock, 60)
    assert not state.attempt("r1-a1").refused
    assert published_to_the_end(platform, state)


def test_a_refused_resumption_does_not_keep_a_successor_from_readers(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.changed_archives.add("r1-a1")
    del platform.jobs["job-1-0"]
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    state = turn(loop, platform, clock, 60)
    assert [(a.name, a.state) for a in state.attempts] == [
        ("r1-a1", State.standby),
        ("r2-a1", State.active),
    ]


def test_a_candidate_whose_job_failed_is_over_and_readers_keep_what_they_see(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    turn(loop, platform, clock, 3)
    shown = dict(platform.main_now)
    platform.jobs["job-2-1"].status = "FAILED"
    state = turn(loop, platform, clock, 2)
    assert [(a.name, a.state) for a in state.attempts] == [
        ("r1-a1", State.active),
        ("r2-a1", State.failed),
    ]
    assert state.attempts[1].error == "its job became FAILED, and not by this controller: boom"
    assert platform.main_now == shown
    assert platform.cleaned == ["r2-a1"]


def test_the_live_job_that_somebody_cancelled_goes_on_from_its_last_checkpoint(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.jobs["job-1-0"].status = "CANCELED"
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, platform, clock, 40)
    assert [len(a.job_ids) for a in state.attempts] == [2]
    assert published_to_the_end(platform, state)
    lost = next(e for e in loop.store.events("flights") if e.reason == "lost")
    assert (lost.attempt, lost.detail) == (
        "r1-a1",
        "its job became CANCELED, and not by this controller",
    )


def test_offsets_that_somebody_sets_to_the_end_change_nothing_and_are_told_of_once(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    """The group of a source that assigns partitions has no members: anybody may set its offsets at any time."""
    platform.speed = 1
    attempt = begin(loop, platform)
    group, state = attempt.group, turn(loop, platform, clock, 12)
    for _ in range(5):
        platform.checkpoint_of("job-1-0")
        platform.groups[group] = {"flights": {0: Committed(100, ""), 1: Committed(90, "")}}
        clock.time += 1
        loop.run_once("flights")
        state = loop.store.load("flights")
        assert state.attempts[0].positions[-1].offsets["flights"] == platform.jobs["job-1-0"].read
    assert state.published is None
    assert state.attempts[0].state is State.replaying
    told = [e.detail for e in loop.store.events("flights") if e.reason == "disturbed"]
    assert told == [
        f"somebody changed the committed offsets of group {group}: set flights-0 to 100, flights-1 to 90. "
        "Nothing depends on them, and the job commits its own at its next checkpoint"
    ]
    state = turn(loop, platform, clock, 3)  # its own offsets are there again
    assert state.attempts[0].foreign_offsets == ""


def test_a_lost_job_is_resumed_from_its_newest_checkpoint_under_a_new_id(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.down = True
    turn(loop, platform, clock, 5)
    platform.down = False
    platform.lose_jobs()
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, platform, clock, 60)
    attempt = state.attempts[0]
    assert len(state.attempts) == 1
    assert len(attempt.job_ids) == 2
    assert attempt.restore is not None
    assert attempt.restore.startswith("file:///ck/r1-a1/job-1-0/chk-")
    assert published_to_the_end(platform, state)


def test_a_job_of_another_runtime_than_its_release_is_told_of(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.runtime_differs = "kappa-connector.jar 1 → 2"
    platform.lose_jobs()
    turn(loop, platform, clock, 30)
    assert [
        (e.attempt, e.detail)
        for e in loop.store.events("flights")
        if e.reason is Reason.other_runtime
    ] == [("r1-a1", "kappa-connector.jar 1 → 2")]


def test_a_job_whose_session_cluster_got_other_jars_goes_on_with_its_own(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.runtime_differs = platform.jars_differ = "kappa-connector.jar 1 → 2"
    turn(loop, platform, clock, 5)
    assert loop.store.load("flights").attempts[0].cluster == "", "a running job is not touched"
    platform.lose_jobs()
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, platform, clock, 60)
    [attempt] = state.attempts
    assert (attempt.cluster, attempt.rest, attempt.own_jars) == (
        "flights-r1-a1",
        "http://flights-r1-a1",
        True,
    )
    assert attempt.on_session == attempt.job_ids[:-1]
    assert attempt.restore is not None
    assert published_to_the_end(platform, state)
    events = [(e.reason, e.detail) for e in loop.store.events("flights")]
    assert (Reason.own_cluster, "kappa-connector.jar 1 → 2") in events
    assert Reason.other_runtime not in [reason for reason, _ in events]


def test_a_job_on_the_session_cluster_that_was_taken_for_lost_ends_though_its_successor_is_elsewhere(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    lost = lost_and_resumed(loop, platform, clock)
    platform.jars_differ = "kappa-connector.jar 1 → 2"
    while not loop.store.load("flights").attempts[0].cluster:
        clock.time += 1
        loop.run_once("flights")
    platform.jobs["job-1-0"] = lost  # the JobManager has recovered it
    state = turn(loop, platform, clock, 60)
    assert lost.status == "CANCELED"
    assert state.attempts[0].state is State.active
    assert published_to_the_end(platform, state)


def test_no_room_for_a_cluster_of_its_own_is_waited_for(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.jars_differ, platform.no_room = "kappa-connector.jar 1 → 2", True
    platform.lose_jobs()
    shown = turn(loop, platform, clock, 60)
    assert "no room" in shown.attempts[0].refused
    assert (shown.attempts[0].state, len(shown.attempts)) == (State.active, 1)
    platform.no_room = False
    assert published_to_the_end(platform, turn(loop, platform, clock, 30))


def lost_and_resumed(loop: Loop, platform: FakePlatform, clock: Clock) -> FakeJob:
    """The job that Flink no longer knew, and that is about to get a successor."""
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    [lost] = platform.jobs.values()
    platform.lose_jobs()
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    while len(loop.store.load("flights").attempts[0].job_ids) == 1:
        clock.time += 1
        loop.run_once("flights")
    return lost


def test_a_job_that_was_taken_for_lost_ends_before_its_successor_begins(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    lost = lost_and_resumed(loop, platform, clock)
    platform.jobs["job-1-0"] = lost
    state = turn(loop, platform, clock, 60)
    assert lost.status == "CANCELED"
    assert len(state.attempts) == 1
    assert published_to_the_end(platform, state)


def test_a_job_that_comes_back_beside_its_successor_is_ended(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    lost = lost_and_resumed(loop, platform, clock)
    turn(loop, platform, clock, 8)
    platform.jobs["job-1-0"] = lost
    lost.status = "RESTARTING"  # it completes no checkpoint yet
    state = turn(loop, platform, clock, 20)
    assert lost.status == "CANCELED"
    assert len(state.attempts) == 1
    assert published_to_the_end(platform, state)


def test_rows_of_a_job_beside_its_successor_are_never_shown(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    lost = lost_and_resumed(loop, platform, clock)
    turn(loop, platform, clock, 4)
    platform.jobs["job-1-0"] = lost
    platform.checkpoint_of("job-1-0")
    shown = dict(platform.main_now)
    state = turn(loop, platform, clock, 3)
    assert state.attempts[0].stop is State.failed or state.attempts[0].state is State.failed
    assert "beside its successor" in state.attempts[0].error
    assert platform.main_now == shown
    state = turn(loop, platform, clock, 40)
    assert state.attempts[-1].name == "r1-a2"
    assert published_to_the_end(platform, state)
    assert all(platform.lake.snapshots[s].whole for s in platform.main_now.values())


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda w: w.topic_ids.update(flights="2"), id="a topic made again"),
        pytest.param(lambda w: w.topic_ids.pop("flights"), id="a topic that is gone"),
        pytest.param(
            lambda w: w.other_records.append("partition 0 lost records"),
            id="records lost to others",
        ),
    ],
)
def test_nothing_is_published_of_another_log_than_readers_rows_are_of(
    loop: Loop, platform: FakePlatform, clock: Clock, happens: Callable[[FakePlatform], object]
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    shown = dict(platform.main_now)
    happens(platform)
    platform.ends_now = {"flights": {0: 200, 1: 190}}
    state = turn(loop, platform, clock, 20)
    assert platform.main_now == shown
    assert state.active is not None and not state.active.stop
    step = loop.run_once("flights").step
    assert isinstance(step, Blocked)
    assert step.message == (
        "the log is not the one that flights-r1-a1 has read, and none of its further checkpoints "
        "is published"
    )


def test_a_candidate_that_has_read_another_log_is_over(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    platform.speed = 1
    turn(loop, platform, clock, 12)
    platform.topic_ids["airlines"] = "2"
    state = turn(loop, platform, clock, 6)
    assert state.attempts[0].state is State.failed
    assert state.attempts[0].error == (
        "the log is not the one that it has read: topic airlines was deleted and made "
        "again: its id was 1 and is 2"
    )
    assert not platform.published


def test_without_a_checkpoint_a_new_attempt_starts_over_while_readers_keep_what_they_see(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    shown = dict(platform.main_now)
    platform.lose_jobs()
    platform.kept.clear()
    state = turn(loop, platform, clock, 12)
    assert [a.name for a in state.attempts] == ["r1-a1", "r1-a2"]
    assert state.attempts[0].state is State.failed
    assert "lost its job" in state.attempts[0].error
    assert platform.cleaned == [], "readers still see it"
    assert platform.main_now == shown
    state = turn(loop, platform, clock, 40)
    assert state.attempts[1].state is State.active
    assert published_to_the_end(platform, state)


def test_a_second_attempt_takes_over_and_the_first_stands_by(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform)
    state = turn(loop, platform, clock, 60)
    assert [a.state for a in state.attempts] == [State.standby, State.active]
    assert platform.jobs["job-1-0"].status == "RUNNING"
    assert published_to_the_end(platform, state)


def test_failed_checks_keep_the_candidate_from_readers(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.complaints = [Check("checks/no_negative_delay.sql", True, 3)]
    begin(loop, platform)
    state = turn(loop, platform, clock, 30)
    assert state.attempts[0].state is State.failed
    assert state.attempts[0].error == "checks failed: checks/no_negative_delay.sql: 3 rows"
    assert platform.jobs["job-1-0"].status == "CANCELED"
    assert platform.genesis


def test_somebody_else_moving_main_stops_publishing_and_says_so(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    ours = dict(platform.main_now)
    platform.main_now = dict.fromkeys(TABLES, 7)
    platform.complete_checkpoint()
    turn(loop, platform, clock, 1)
    platform.complete_checkpoint()
    steps = [loop.run_once("flights").step for _ in range(3)]
    assert isinstance(steps[-1], Blocked)
    assert steps[-1].message == "somebody else moved main of flights: publishing stops here"
    assert steps[-1].found == "flights_hourly=7, flights_rows=7"
    platform.main_now = ours
    assert published_to_the_end(platform, turn(loop, platform, clock, 10))


def test_another_controllers_publication_is_not_taken_for_a_strangers(
    loop: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.arriving = 3
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.complete_checkpoint()
    died_there = MortalStore(loop.store, lambda where: where == "before begin_publication")
    with pytest.raises(DiedError):
        Loop(platform, cast(Store, died_there), clock, holder="dead").run_once("flights")
    clock.time += LEASE_SECONDS + 1
    other, look = Loop(platform, loop.store, clock, holder="other"), platform.main

    def late(product: Product) -> tuple[Mapping[str, int], bool]:
        monkeypatch.undo()
        before = len(platform.published)
        other.run_once("flights")
        assert len(platform.published) == before + 1
        return look(product)

    monkeypatch.setattr(platform, "main", late)
    assert loop.run_once("flights").step == Wait("the state changed meanwhile; retrying")


def test_main_moved_between_look_and_publish_drops_the_intent(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)

    def thief(where: str) -> bool:
        if where == "before publish":
            platform.main_now = dict.fromkeys(TABLES, 7)
        return False

    platform.die_at = thief
    with pytest.raises(ConflictError):
        turn(loop, platform, clock, 30)
    assert loop.store.load("flights").unfinished is None


def test_two_controllers_submit_once(platform: FakePlatform, store: Store, clock: Clock) -> None:
    one, two = (
        Loop(platform, store, clock, holder="one"),
        Loop(platform, store, clock, holder="two"),
    )
    begin(one, platform)
    with two.leased("flights"):
        done = one.run_once("flights")
        assert done.step == Wait("another controller holds the lease")
    for _ in range(40):
        clock.time += 1
        platform.complete_checkpoint()
        one.run_once("flights")
        two.run_once("flights")
    assert platform.submitted == ["job-1-0"]
    assert published_to_the_end(platform, store.load("flights"))


def test_a_controller_that_slept_through_its_lease_changes_nothing(
    platform: FakePlatform, store: Store, clock: Clock
) -> None:
    one, two = (
        Loop(platform, store, clock, holder="one"),
        Loop(platform, store, clock, holder="two"),
    )
    begin(one, platform)

    def sleep(where: str) -> bool:
        if where == "after prepare":
            platform.die_at = lambda _: False
            clock.time += LEASE_SECONDS + 1
            two.run_once("flights")
        return False

    platform.die_at = sleep
    assert one.run_once("flights").step == Wait("another controller took over")
    assert store.load("flights").attempts[0].submitted_at == clock.time
    turn(two, platform, clock, 3)
    assert platform.submitted == ["job-1-0"]
    assert not platform.refused_duplicates


def test_nothing_is_published_while_results_wait_for_the_logs_clock(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    shown = dict(platform.main_now)
    platform.lose_jobs()
    platform.clocks_standing = ("TemporalJoin[112]",)
    platform.ends_now = {"flights": {0: 300, 1: 290}}
    turn(loop, platform, clock, 30)
    behind = loop.store.load("flights").published
    assert behind
    assert behind.covered["flights"] == {0: 100, 1: 90}, "no claim beyond what was sure before"
    assert dict(platform.main_now)[TABLES[0]] >= shown[TABLES[0]]
    platform.clocks_standing = ()
    assert published_to_the_end(platform, turn(loop, platform, clock, 30))


def test_what_operators_dropped_stays_in_the_way_of_readers_after_a_restart(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    shown = dict(platform.main_now)
    platform.dropped = {"WindowJoin[9]": 2}
    platform.ends_now = {"flights": {0: 300, 1: 290}}
    turn(loop, platform, clock, 5)
    platform.dropped = {}  # its job was restarted
    turn(loop, platform, clock, 30)
    assert dict(platform.main_now) == shown
    assert loop.store.load("flights").attempts[0].late_dropped == {"WindowJoin[9]": 2}
    noted = [e.detail for e in loop.store.events("flights") if e.reason == "disturbed"]
    assert noted == ["operators dropped records as late: WindowJoin[9]: 2"]


def test_partitions_that_a_topic_gains_are_told_of_once_and_read_on(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.ends_now = {"flights": {0: 100, 1: 90, 2: 10}}
    assert published_to_the_end(platform, turn(loop, platform, clock, 60))
    known = loop.store.load("flights").attempts[0].log["flights"]
    assert (known.partitions, known.told) == (2, 3)
    assert [e.detail for e in loop.store.events("flights") if e.reason == "repartitioned"] == [
        "topic flights has 3 partitions and had 2 when the job began to read it: new ones are read from their offset "
        "zero"
    ]


def test_a_lag_that_comes_and_goes_does_not_count_as_caught_up(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.lag = LagLimit(records=0, checkpoints=3)
    begin(loop, platform)
    for _ in range(30):
        clock.time += 1
        platform.complete_checkpoint()
        loop.run_once("flights")
        platform.ends_now = {
            "flights": {0: platform.ends_now["flights"][0] + (60 if _ % 2 else 0), 1: 90}
        }
    assert loop.store.load("flights").attempts[0].state is State.replaying


def test_a_new_checkpoint_is_recorded_and_shown_from_one_look(
    loop: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.arriving = 3
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.complete_checkpoint()
    looks, look = count(1), platform.main
    monkeypatch.setattr(platform, "main", lambda product: (next(looks), look(product))[1])
    performed: list[str] = []

    class Steps(Watcher):
        def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
            performed.append(f"{product}: {describe(step)}")

    loop.watcher = Steps()
    done = loop.run_once("flights")
    assert done.idle
    newest = platform.jobs["job-1-0"].checkpoint
    assert performed == [
        f"flights: record r1-a1 checkpoint {newest}",
        f"flights: publish r1-a1 checkpoint {newest}",
    ]
    assert done.state.published
    assert done.state.published.checkpoint == newest, "what a pass tells of is what it came to"
    assert next(looks) == 2


HOUR = 3_600_000
RESULTS_WAIT = (
    "results wait for flights: the clock of its partition 1 is at 2001-09-08 18:46:40Z, "
    "7 h behind flights; append a record to it"
)


def test_a_replay_that_is_to_wait_for_a_quiet_topic_says_so_before_flink_has_its_job(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    """A look-up waits for the topic's clock, and no checkpoint completes: nothing else tells."""
    platform.clocks_now = {"flights": {0: 10**12, 1: 10**12 - 7 * HOUR}}
    begin(loop, platform)
    told = []
    for _ in range(10):
        clock.time += 1
        told.append(loop.run_once("flights").notable)
    assert platform.jobs["job-1-0"].checkpoint == 0
    assert told[0] == "", "its submission"
    assert told[1].startswith(f"r1-a1: flink run is running; {RESULTS_WAIT}")
    assert told[-1].startswith(f"r1-a1: replaying; {RESULTS_WAIT}")


def test_a_topic_that_goes_quiet_while_readers_are_served_is_told_of_within_ten_seconds(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    """Checkpoints go on, and rows are published: but those of windows wait."""
    platform.arriving = 3
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.clocks_now = {"flights": {0: 10**12, 1: 10**12 - 7 * HOUR}}
    since = clock.time
    while not (told := loop.run_once("flights").notable):
        clock.time += 2
        platform.complete_checkpoint()
    assert clock.time - since <= 10
    assert told.startswith(f"r1-a1: waiting for the next checkpoint in every table; {RESULTS_WAIT}")
    platform.clocks_now = {}
    clock.time += 10
    assert loop.run_once("flights").notable == ""


def test_what_a_person_would_want_to_know_comes_first(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    turn(loop, platform, clock, 4)
    platform.jobs["job-2-1"].status = "RESTARTING"
    assert loop.run_once("flights").notable == (
        "r2-a1: replaying; its job is RESTARTING: Flink does not say why; "
        "r1-a1: readers see all rows of its newest checkpoint"
    )


# Checks that come later


def adopt(loop: Loop) -> None:
    """What `kappa deploy` records of a release that changes no row."""
    with loop.leased("flights") as lease:
        assert lease
        state = loop.store.load("flights")
        release = replace(state.releases[0], number=2, fingerprint="f2")
        todo = plan(state, release, Terms(2), loop.now(), "none")
        loop.store.add_release(lease, release)
        loop.store.save(lease, *todo.changed)


@pytest.mark.parametrize("complaint", [None, Check("checks/x.sql", True, 2, "2 offending rows")])
def test_checks_of_a_release_that_changes_no_row_run_on_what_readers_see(
    loop: Loop, platform: FakePlatform, clock: Clock, complaint: Check | None
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    adopt(loop)
    platform.complaints = [complaint] if complaint else []
    shown, passed = dict(platform.main_now), len(platform.passed)
    loop.run_once("flights")
    attempt = loop.store.load("flights").attempts[0]
    assert (attempt.recheck, attempt.state, attempt.stop) == (False, State.active, None)
    assert attempt.checks == tuple(platform.complaints)
    assert platform.main_now == shown
    assert platform.passed[passed:] == ([] if complaint else [shown])
    event = loop.store.events("flights")[-1]
    about = f"the checks of r2 on checkpoint {attempt.audited_checkpoint}, as published"
    found = ("checks_failed", f"{about}: checks/x.sql: 2 offending rows")
    assert (event.reason, event.detail) == (
        found if complaint else ("checked", f"{about}: 0 passed")
    )
    state = turn(loop, platform, clock, 9)
    assert published_to_the_end(platform, state), "readers go on"
    assert state.attempts[0].checks == tuple(platform.complaints), "and what was found is kept"


def test_checks_that_cannot_run_now_do_not_keep_readers_from_newer_rows(
    loop: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    adopt(loop)

    def fail(*_: object) -> NoReturn:
        raise RetryableError("a file of the tables cannot be read")

    with monkeypatch.context() as broken:
        broken.setattr(platform, "checks", fail)
        platform.ends_now = {"flights": {0: 110, 1: 95}}
        assert published_to_the_end(platform, turn(loop, platform, clock, 9))
    assert not turn(loop, platform, clock, 3).attempts[0].recheck


# Steady traffic


def steady(loop: Loop, platform: FakePlatform, clock: Clock, looks: int) -> list[State]:
    """At every look each job has a new checkpoint, and records have arrived since; the newest attempt's states."""
    seen = []
    for _ in range(looks):
        clock.time += 2
        platform.complete_checkpoint()
        platform.ends_now = {
            "flights": {p: end + 80 for p, end in platform.ends_now["flights"].items()}
        }
        loop.run_once("flights")
        seen.append(loop.store.load("flights").attempts[-1].state)
    return seen


@pytest.fixture
def busy(loop: Loop, platform: FakePlatform, clock: Clock) -> Loop:
    """Readers see r1-a1, of a log that never stands still."""
    platform.speed, platform.lag = 1_000, LagLimit(records=1_000, checkpoints=2)
    begin(loop, platform)
    steady(loop, platform, clock, 12)
    assert states(loop) == {"r1-a1": State.active}
    return loop


def test_a_candidate_is_switched_to_within_two_checkpoints_of_being_caught_up_whatever_arrives(
    busy: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(busy, platform, release=2)
    seen = steady(busy, platform, clock, 12)
    assert states(busy) == {"r1-a1": State.standby, "r2-a1": State.active}
    assert sum(s in (State.caught_up, State.audited) for s in seen) <= 2


def test_a_standby_is_switched_to_whatever_arrives(
    busy: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(busy, platform, release=2)
    steady(busy, platform, clock, 12)
    want(busy, lambda s: intents.switch(s, "r1"))
    steady(busy, platform, clock, 4)
    assert states(busy) == {"r1-a1": State.active, "r2-a1": State.standby}


def test_readers_get_newer_rows_in_the_meantime_when_a_candidate_cannot_be_shown(
    busy: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables have no whole checkpoint: what waits for it must not wait for long."""
    begin(busy, platform, release=2)
    look = platform.publishable
    monkeypatch.setattr(platform, "publishable", lambda p, a: look(p, a) if a.release == 1 else ())
    steady(busy, platform, clock, 6)
    assert states(busy)["r2-a1"] is State.caught_up
    before, lags = len(platform.published), []
    for _ in range(100):
        steady(busy, platform, clock, 1)
        shown = busy.store.load("flights").published
        assert shown
        assert shown.finished
        lags.append(clock.time - shown.finished)
    assert len(platform.published) > before + 10
    assert max(lags) <= 8, "four of its checkpoints"


def test_a_candidate_that_waits_for_a_person_is_checked_and_holds_nothing_up(
    busy: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(busy, platform, release=2, auto_switch=False)
    steady(busy, platform, clock, 12)
    assert states(busy) == {"r1-a1": State.active, "r2-a1": State.audited}
    before = len(platform.published)
    steady(busy, platform, clock, 10)
    assert len(platform.published) == before + 10


def test_a_candidate_that_must_not_be_shown_holds_nothing_up(
    busy: Loop, platform: FakePlatform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its windows dropped rows: readers of the active release are not to wait for it."""
    monkeypatch.setattr(
        platform, "late_dropped", lambda attempt: {"Window[7]": 2} if attempt.release == 2 else {}
    )
    begin(busy, platform, release=2)
    steady(busy, platform, clock, 6)
    assert states(busy)["r2-a1"] is State.caught_up
    before = len(platform.published)
    steady(busy, platform, clock, 10)
    assert len(platform.published) == before + 10


def test_cleaning_is_not_put_off_while_checkpoints_keep_coming(
    busy: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(busy, platform, release=2)
    steady(busy, platform, clock, 3)
    want(busy, lambda s: intents.abort(s, "me"))
    steady(busy, platform, clock, 8)
    assert platform.cleaned == ["r2-a1"]


def test_describe_names_attempt_and_checkpoint(loop: Loop, platform: FakePlatform) -> None:
    assert describe(Submit(begin(loop, platform))) == "submit r1-a1"


# Two releases


@pytest.fixture
def switched(loop: Loop, platform: FakePlatform, clock: Clock) -> Loop:
    """Readers see r2-a1, r1-a1 stands by."""
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    turn(loop, platform, clock, 30)
    assert states(loop) == {"r1-a1": State.standby, "r2-a1": State.active}
    return loop


def states(loop: Loop) -> dict[str, State]:
    return {a.name: a.state for a in loop.store.load("flights").attempts}


def test_a_rollback_and_a_switch_forward_may_be_repeated(
    switched: Loop, platform: FakePlatform, clock: Clock
) -> None:
    for _ in range(2):
        want(switched, lambda s: intents.rollback(s, None))
        turn(switched, platform, clock, 6)
        assert states(switched) == {"r1-a1": State.active, "r2-a1": State.standby}
    for _ in range(2):
        want(switched, lambda s: intents.switch(s, None))
        turn(switched, platform, clock, 6)
        assert states(switched) == {"r1-a1": State.standby, "r2-a1": State.active}


def test_what_the_store_knows_of_its_own_writes_is_what_another_process_reads(
    platform: FakePlatform, clock: Clock, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store, other = Store(url), Store(url)
    loop = Loop(platform, store, clock, holder="me")
    begin(loop, platform)
    for i in range(40):
        if i == 10:
            begin(loop, platform, release=2)
        if i == 20:
            platform.complaints = [Check("checks/x.sql", False, 2, "2 rows", ({"a": 1},))]
            begin(loop, platform, release=3, own_cluster=True)
        if i == 30:
            want(loop, lambda s: intents.rollback(s, None))
        assert turn(loop, platform, clock, 3) == other.load("flights")
    assert states(loop) == {"r1-a1": State.retired, "r2-a1": State.active, "r3-a1": State.standby}
    store.close()
    other.close()


def test_nothing_goes_back_by_itself_to_a_release_that_was_lost_as_its_successor_came(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    turn(loop, platform, clock, 3)
    platform.kept = [k for k in platform.kept if k.branch != "r1-a1"]
    platform.jobs["job-1-0"].status = "FAILED"
    turn(loop, platform, clock, 3)
    assert states(loop) == {
        "r1-a1": State.failed,
        "r2-a1": State.replaying,
        "r1-a2": State.replaying,
    }
    assert (candidate := loop.store.load("flights").candidate)
    assert candidate.name == "r2-a1", (
        "what a person asked for, before what only takes the place of the lost one"
    )
    platform.jobs[
        loop.store.load("flights").attempt("r1-a2").job_id
    ].status = "RESTARTING"  # it comes later
    turn(loop, platform, clock, 30)
    assert states(loop) == {"r1-a1": State.failed, "r2-a1": State.active, "r1-a2": State.aborted}
    assert loop.store.load("flights").attempt("r1-a2").error == "readers were switched to r2-a1"


def test_a_candidate_that_starts_over_still_waits_for_a_person(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2, auto_switch=False, deadline=clock.time + 999)
    turn(loop, platform, clock, 3)
    platform.lose_jobs()
    platform.kept = [k for k in platform.kept if k.branch != "r2-a1"]
    turn(loop, platform, clock, 30)
    first, second = (loop.store.load("flights").attempt(n) for n in ("r2-a1", "r2-a2"))
    assert (first.state, second.state) == (State.failed, State.audited)
    assert (second.auto_switch, second.deadline) == (False, first.deadline)


def test_readers_do_not_wait_for_a_submission(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    platform.arriving = 3
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.late_submissions = [(120.0, 0.0)]
    begin(loop, platform, release=2)
    shown = len(platform.published)
    for _ in range(30):
        turn(loop, platform, clock, 3)  # with one checkpoint
    assert len(platform.published) == shown + 30
    assert platform.submitted == ["job-1-0"], "flink run is running"
    turn(loop, platform, clock, 60)
    assert states(loop) == {"r1-a1": State.standby, "r2-a1": State.active}
    assert not platform.refused_duplicates


def test_another_controller_does_not_take_a_slow_client_for_lost(
    platform: FakePlatform, store: Store, clock: Clock
) -> None:
    one, two = (
        Loop(cast(ControlledPlatform, OneProcess(platform)), store, clock, holder=name)
        for name in ("one", "two")
    )
    platform.late_submissions = [(5 * LOST_ANSWER_SECONDS, 0.0)]
    begin(one, platform)
    for _ in range(10):
        turn(one, platform, clock, 20)
        turn(two, platform, clock, 20)
    assert platform.submitted == ["job-1-0"]
    assert not platform.refused_duplicates
    assert states(one) == {"r1-a1": State.active}


def test_a_job_that_arrives_after_its_attempt_was_cleaned_is_ended_and_cleaned_up_after(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    """The clock was set forward meanwhile: no time would have been long enough to wait."""
    platform.late_submissions = [(0.0, 2 * STRAYS_SECONDS)]
    begin(loop, platform)
    turn(loop, platform, clock, 1)
    want(loop, lambda s: intents.abort(s, "me"))
    change(loop, "r1-a1", submitted_at=clock.time - ORPHANED_SECONDS)
    turn(loop, platform, clock, 10)
    assert loop.store.load("flights").attempts[0].cleaned
    turn(loop, platform, clock, int(3 * STRAYS_SECONDS))
    assert platform.submitted == ["job-1-0"]
    assert platform.jobs["job-1-0"].status == "CANCELED"
    gone = loop.store.load("flights").attempts[0]
    assert gone.cleaned
    assert leftovers(platform, gone, adrift=False) == []


def test_a_cluster_that_was_started_by_somebody_who_was_overtaken_is_stopped(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform, own_cluster=True)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2, own_cluster=True)
    turn(loop, platform, clock, 1)
    late = loop.store.load("flights").attempts[1]
    want(loop, lambda s: intents.abort(s, "me"))
    turn(loop, platform, clock, 10)
    assert loop.store.load("flights").attempts[1].cleaned
    platform.start_cluster(late, loop.store.load("flights").release(2))
    turn(loop, platform, clock, int(STRAYS_SECONDS) + 10)
    assert platform.clusters == {"flights-r1-a1"}
    assert loop.store.load("flights").attempts[1].cleaned


def test_a_step_that_fails_does_not_hold_up_the_other_attempts(
    loop: Loop, platform: FakePlatform, clock: Clock
) -> None:
    begin(loop, platform, own_cluster=True)
    turn(loop, platform, clock, 30)
    begin(loop, platform, release=2)
    platform.lose_cluster("flights-r1-a1")
    platform.no_room = True
    with pytest.raises(RefusedError):
        loop.run_once("flights")
    clock.time += 1
    turn(loop, platform, clock, 3)
    assert platform.submitted == ["job-1-0", "job-2-1"]


def test_somebody_moving_main_after_an_unfinished_publication_does_not_make_the_journal_forget_it(
    loop: Loop, platform: FakePlatform, store: Store, clock: Clock
) -> None:
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    platform.die_at = lambda where: where == "after publish"
    platform.ends_now = {"flights": {0: 110, 1: 90}}
    with pytest.raises(DiedError):
        turn(loop, platform, clock, 9)
    platform.die_at = lambda _: False
    done = dict(platform.main_now)
    platform.main_now = dict.fromkeys(TABLES, 1)
    step = loop.run_once("flights").step
    assert isinstance(step, Blocked)
    assert step.message == "somebody else moved main of flights while r1-a1 was being published"
    platform.main_now = done
    assert published_to_the_end(platform, turn(loop, platform, clock, 9))


def test_the_lease_beats_while_a_step_takes_long() -> None:
    beaten = Event()
    with heartbeat(beaten.set, 1000, period=0.001):
        assert beaten.wait(10)


def test_a_controller_frozen_before_it_publishes_does_not_undo_a_rollback(
    switched: Loop, platform: FakePlatform, store: Store, clock: Clock
) -> None:
    """Back and forth between the same two snapshots: comparing main with what was expected would not be enough."""
    other = Loop(platform, store, clock, holder="other")
    turn(switched, platform, clock, 6)
    want(switched, lambda s: intents.rollback(s, None))
    turn(switched, platform, clock, 1)
    at_rest = dict(platform.main_now)
    want(switched, lambda s: intents.switch(s, None))

    def frozen(where: str) -> bool:
        if where == "during publish":
            platform.die_at = lambda _: False
            clock.time += LEASE_SECONDS + 1
            other.run_once("flights")
            want(other, lambda s: intents.rollback(s, None))
            other.run_once("flights")
            assert platform.main_now == at_rest
        return False

    platform.die_at = frozen
    for _ in range(4):
        switched.run_once("flights")
    assert platform.main_now == at_rest
    assert states(other) == {"r1-a1": State.active, "r2-a1": State.standby}
