"""`decide` as a table: what is remembered and seen on the left, one step on the right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from jobs.product import LagLimit
from replay.decide import (
    LOST_ANSWER_SECONDS,
    MISSING_SECONDS,
    Blocked,
    Cancel,
    Confirm,
    End,
    Examine,
    Fail,
    FinishPublish,
    NoteMissing,
    Publish,
    Record,
    Resume,
    StartOver,
    Step,
    Submit,
    Wait,
    decide,
)
from replay.flink import Job
from replay.lake import Checkpoint
from replay.model import Attempt, Position, ProductState, Publication, Release, State
from replay.observe import Observation, Seen

NOW = 1_000_000.0
ENDS = {"flights": {0: 100, 1: 100}}
REFERENCE = {"airlines": {0: 16}}
WHOLE = {**ENDS, **REFERENCE}
HALF = {"flights": {0: 50, 1: 100}, **REFERENCE}
MAIN = {"rows": 5}


def attempt(**fields: Any) -> Attempt:
    base = Attempt(product="flights", release=1, number=1, created=0.0, parallelism=2, job_ids=("a",))
    return replace(base, **fields)


def running(**fields: Any) -> Attempt:
    """Submitted, confirmed, replaying."""
    return attempt(**{"state": State.replaying, "submitted_at": NOW - 100, "confirmed": True, **fields})


def seen(checkpoint: int = 0, status: str = "RUNNING", **fields: Any) -> Seen:
    return Seen(**{"job": Job("a", status, checkpoint=checkpoint, error="boom" if status == "FAILED" else ""),
                   "ends": ENDS, "reference": REFERENCE, "lag_limit": LagLimit(records=10, checkpoints=2), **fields})


def snapshot(checkpoint: int) -> Checkpoint:
    return Checkpoint(checkpoint, {"rows": 100 + checkpoint})


def positions(*checkpoints: int, offsets: Mapping[str, Mapping[int, int]] = WHOLE) -> tuple[Position, ...]:
    return tuple(Position(c, offsets) for c in checkpoints)


def publication(checkpoint: int, finished: float | None = 1.0, attempt: int = 1, **fields: Any) -> Publication:
    return Publication(**{"id": 1, "product": "flights", "release": 1, "attempt": attempt, "checkpoint": checkpoint,
                          "before": MAIN, "after": {"rows": 100 + checkpoint}, "covered": WHOLE, "started": 0.0,
                          "finished": finished, **fields})


def step(a: Attempt, s: Seen, *publications: Publication, main: Mapping[str, int] = MAIN, genesis: bool = True) -> Step:
    state = ProductState("flights", (Release("flights", 1, "f", 0.0, REFERENCE),), (a,), publications)
    return decide(state, Observation({a.name: s}, main, genesis), NOW)


GONE = Seen(job=None)
NEVER = attempt()
SENT = attempt(submitted_at=NOW - 10)
SENT_LONG_AGO = attempt(submitted_at=NOW - LOST_ANSWER_SECONDS - 1)
MISSING = running(missing_since=NOW - MISSING_SECONDS - 1, positions=positions(6, 7))
RESUMED_LONG_AGO = replace(SENT_LONG_AGO, state=State.replaying, job_ids=("a", "b"), restore="c7")
LOST_AFTER = "the cluster lost its job after checkpoint {}, and of its checkpoints {}"


@pytest.mark.parametrize(("a", "s", "expected"), [
    pytest.param(NEVER, GONE, Submit(NEVER), id="never submitted"),
    pytest.param(NEVER, seen(), Confirm(NEVER), id="submitted by a process that died before it said so"),
    pytest.param(SENT, seen(), Confirm(SENT), id="arrived"),
    pytest.param(SENT, GONE, Wait("r1-a1: asking Flink whether the submission arrived"), id="answer lost, may arrive"),
    pytest.param(SENT_LONG_AGO, GONE, Submit(SENT_LONG_AGO), id="never arrived: same id again"),
    pytest.param(SENT_LONG_AGO, Seen(retained={3: "c3"}), Resume(SENT_LONG_AGO, 3, "c3"),
                 id="ran unseen and was lost: never the same id"),
    pytest.param(SENT_LONG_AGO, Seen(publishable=(snapshot(1),)),
                 StartOver(SENT_LONG_AGO, LOST_AFTER.format(1, "none was kept")),
                 id="ran unseen, committed, kept nothing"),
    pytest.param(RESUMED_LONG_AGO, Seen(retained={6: "c6", 7: "c7"}, publishable=(snapshot(7),)),
                 Submit(RESUMED_LONG_AGO), id="resumption never arrived: same id again"),
    pytest.param(RESUMED_LONG_AGO, Seen(retained={7: "c7", 8: "c8"}), Resume(RESUMED_LONG_AGO, 8, "c8"),
                 id="resumption ran unseen and was lost"),
])
def test_submission(a: Attempt, s: Seen, expected: Step) -> None:
    assert step(a, s) == expected


@pytest.mark.parametrize(("a", "s", "expected"), [
    pytest.param(running(), GONE, NoteMissing(running(), missing=True), id="just vanished"),
    pytest.param(running(missing_since=NOW - 1), GONE, Wait("r1-a1: Flink does not know its job"), id="not for long"),
    pytest.param(running(missing_since=NOW - 1), seen(), NoteMissing(running(missing_since=NOW - 1), missing=False),
                 id="there again"),
    pytest.param(MISSING, Seen(retained={6: "c6", 7: "c7"}), Resume(MISSING, 7, "c7"), id="newest checkpoint"),
    pytest.param(MISSING, Seen(retained={7: "c7"}, publishable=(snapshot(7),)), Resume(MISSING, 7, "c7"),
                 id="checkpoint as new as the tables"),
    pytest.param(MISSING, Seen(retained={8: "c8"}), Resume(MISSING, 8, "c8"), id="completed as the cluster died"),
    pytest.param(MISSING, Seen(retained={6: "c6"}),
                 StartOver(MISSING, LOST_AFTER.format(7, "the newest one kept is 6")),
                 id="only an older one: the tables would get rows twice"),
    pytest.param(MISSING, GONE,
                 StartOver(MISSING, LOST_AFTER.format(7, "none was kept")),
                 id="none"),
    pytest.param(running(), seen(status="FAILED"), Fail(running(), "boom"), id="failed"),
    pytest.param(running(), seen(status="CANCELED"),
                 Fail(running(), "its job became CANCELED, and not by this controller"), id="cancelled by somebody"),
    pytest.param(running(), seen(status="RESTARTING"), Wait("r1-a1: replaying"), id="Flink restarts it itself"),
])
def test_a_job_in_trouble(a: Attempt, s: Seen, expected: Step) -> None:
    assert step(a, s) == expected


FRESH = running()
ONCE_NEAR = running(positions=positions(1), near=1)


@pytest.mark.parametrize(("a", "s", "near", "caught_up"), [
    pytest.param(FRESH, seen(1, committed=WHOLE), 1, False, id="near once"),
    pytest.param(ONCE_NEAR, seen(2, committed=WHOLE), 2, True, id="near for long enough"),
    pytest.param(ONCE_NEAR, seen(2, committed=HALF), 0, False, id="one partition behind: from the start"),
    pytest.param(ONCE_NEAR, seen(2, committed={"flights": {0: 90, 1: 90}, **REFERENCE}), 2, True, id="at the limit"),
    pytest.param(ONCE_NEAR, seen(2, committed={"flights": {0: 89, 1: 100}, **REFERENCE}), 0, False, id="over it"),
    pytest.param(ONCE_NEAR, seen(2, committed={**ENDS, "airlines": {0: 15}}), 0, False, id="reference data not whole"),
    pytest.param(ONCE_NEAR, seen(2, committed={}), 0, False, id="nothing committed"),
])
def test_positions(a: Attempt, s: Seen, near: int, caught_up: bool) -> None:
    assert s.job is not None
    assert step(a, s) == Record(a, Position(s.job.checkpoint, s.committed), near, caught_up)


def test_an_old_checkpoint_is_no_new_position() -> None:
    assert step(ONCE_NEAR, seen(1, committed=WHOLE)) == Wait("r1-a1: replaying")


def test_no_position_is_claimed_while_the_logs_clock_stands_still() -> None:
    got = step(ONCE_NEAR, seen(2, committed=WHOLE, standing_clocks=("TemporalJoin[112]",)))
    assert got == Wait("r1-a1: the log's clock has not come to 1 operators since the job was (re)started: results wait "
                       "until every partition of every topic that grows has a further record", notable=True)


CAUGHT_UP = running(state=State.caught_up, positions=positions(4, 5), near=2)
AUDITED = replace(CAUGHT_UP, state=State.audited, audited_checkpoint=5)
AUDITED_LONG_AGO = replace(AUDITED, audited_checkpoint=3)
ACTIVE = replace(CAUGHT_UP, state=State.active)
SHOWN = {"rows": 104}


@pytest.mark.parametrize(("a", "publishable", "expected"), [
    pytest.param(CAUGHT_UP, (), "wait", id="no table has committed"),
    pytest.param(CAUGHT_UP, (4,), "wait", id="only a checkpoint of which no offsets are sure"),
    pytest.param(CAUGHT_UP, (5, 4), Examine(CAUGHT_UP, snapshot(5)), id="checked before readers see it"),
    pytest.param(AUDITED, (6, 5, 4), Publish(AUDITED, snapshot(5), WHOLE, MAIN), id="exactly what was checked"),
    pytest.param(AUDITED_LONG_AGO, (6, 5, 4), Examine(AUDITED_LONG_AGO, snapshot(6)), id="what was checked is gone"),
])
def test_first_publication(a: Attempt, publishable: tuple[int, ...], expected: Step | str) -> None:
    got = step(a, seen(5, publishable=tuple(snapshot(c) for c in publishable)))
    assert got == (Wait("r1-a1: waiting for the next checkpoint in every table") if expected == "wait" else expected)


@pytest.mark.parametrize(("shown", "publishable", "expected"), [
    pytest.param(4, (5, 4), 5, id="the next"),
    pytest.param(4, (9, 8, 5, 4), 9, id="the newest"),
    pytest.param(5, (5, 4), None, id="never the same again"),
    pytest.param(7, (6, 5), None, id="never an older one"),
])
def test_an_active_attempt_publishes_each_new_checkpoint(shown: int, publishable: tuple[int, ...],
                                                         expected: int | None) -> None:
    main = {"rows": 100 + shown}
    got = step(ACTIVE, seen(5, publishable=tuple(snapshot(c) for c in publishable)), publication(shown), main=main,
               genesis=False)
    if expected is None:
        assert isinstance(got, Wait)
    else:
        assert got == Publish(ACTIVE, snapshot(expected), WHOLE, main)


def test_a_successor_waits_until_it_covers_what_readers_see() -> None:
    ahead = publication(9, attempt=7, covered={**WHOLE, "flights": {0: 101, 1: 100}}, after=SHOWN)
    got = step(AUDITED, seen(5, publishable=(snapshot(5),)), ahead, main=SHOWN, genesis=False)
    assert isinstance(got, Wait)


@pytest.mark.parametrize(("publications", "main", "genesis"), [
    pytest.param((publication(4),), {"rows": 7}, False, id="away from what was published"),
    pytest.param((), {"rows": 7}, False, id="before anything was published"),
])
def test_main_moved_by_somebody_blocks(publications: tuple[Publication, ...], main: dict[str, int],
                                       genesis: bool) -> None:
    got = step(ACTIVE, seen(5, publishable=(snapshot(5),)), *publications, main=main, genesis=genesis)
    assert isinstance(got, Blocked)
    assert got.found == "rows=7"


def test_an_unfinished_publication_comes_before_everything() -> None:
    intent = publication(4, finished=None)
    assert step(running(), seen(status="FAILED"), intent) == FinishPublish(intent)


def test_flink_out_of_reach_is_waited_for() -> None:
    state = ProductState("flights", (), (running(),))
    assert decide(state, Observation(unreachable="no answer"), NOW) == Wait("no answer")


def test_ended_attempts_need_nothing() -> None:
    state = ProductState("flights", (), (attempt(state=State.failed), attempt(number=2, state=State.retired)))
    assert decide(state, Observation(), NOW) == Wait("no attempt is running")


UNWANTED = running(stop=State.aborted)


@pytest.mark.parametrize(("a", "s", "expected"), [
    pytest.param(UNWANTED, seen(), Cancel(UNWANTED), id="cancel its job"),
    pytest.param(UNWANTED, seen(status="CANCELED"), End(UNWANTED), id="its job is gone"),
    pytest.param(UNWANTED, GONE, End(UNWANTED), id="its job was lost"),
    pytest.param(attempt(stop=State.aborted), GONE, End(attempt(stop=State.aborted)), id="never submitted"),
    pytest.param(replace(SENT, stop=State.aborted), GONE,
                 Wait("r1-a1: its submission may still arrive; it is stopped then"), id="may still arrive"),
])
def test_stopping(a: Attempt, s: Seen, expected: Step) -> None:
    assert step(a, s) == expected


def test_the_attempt_that_readers_depend_on_comes_first() -> None:
    candidate, active = running(number=2), running(state=State.active)
    releases = (Release("flights", 1, "f", 0.0, REFERENCE),)
    state = ProductState("flights", releases, (active, candidate), (publication(4),))
    looks = Observation({"r1-a1": seen(3, committed=WHOLE), "r1-a2": seen(3, committed=WHOLE)}, {"rows": 104}, False)
    got = decide(state, looks, NOW)
    assert isinstance(got, Record)
    assert got.attempt == active
