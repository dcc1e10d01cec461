"""`decide` as a table: what is remembered and seen on the left, one step on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jobs.product.settings import LagLimit
from replay.controller.decide import EXPIRY_SECONDS, decide
from replay.controller.job_rules import LOST_ANSWER_SECONDS, MISSING_SECONDS, ORPHANED_SECONDS
from replay.controller.publish_rules import STILL_PUBLISHED_SECONDS
from replay.core import partitions
from replay.core.lag import is_near, lag_seconds
from replay.core.log_identity import Topic
from replay.core.model import (
    Attempt,
    Checkpoint,
    CheckpointPosition,
    Committed,
    Move,
    Position,
    ProductState,
    Publication,
    Release,
    State,
)
from replay.core.observed import Job, Observation, ObservedAttempt, Policy, SubmissionStatus
from replay.core.partitions import with_told
from replay.core.steps import (
    Blocked,
    Cancel,
    Clean,
    Confirm,
    End,
    Examine,
    Expire,
    FinishPublish,
    GiveUp,
    NoteForeignOffsets,
    NoteLateDropped,
    NoteMissing,
    NotePartitions,
    NoteRefused,
    NoteSubmitting,
    Prioritize,
    Publish,
    Recheck,
    Record,
    Resume,
    StartCluster,
    StartOver,
    Step,
    Submit,
    Wait,
)
from replay.offsets import latest

NOW = 1_000_000.0
ENDS = {"flights": {0: 100, 1: 100}}
REFERENCE = {"airlines": {0: 16}}
WHOLE = {**ENDS, **REFERENCE}
HALF = {"flights": {0: 50, 1: 100}, **REFERENCE}
MAIN = {"rows": 5}
POLICY = Policy(LagLimit(records=10, seconds=60, checkpoints=2), max_restarts=3)


def attempt(**fields: Any) -> Attempt:
    base = Attempt(
        product="flights", release=1, number=1, created=0.0, parallelism=2, job_ids=("a",)
    )
    return replace(base, **fields)


def running(**fields: Any) -> Attempt:
    """Submitted, confirmed, replaying."""
    return attempt(
        **{"state": State.replaying, "submitted_at": NOW - 100, "confirmed": True, **fields}
    )


def seen(
    checkpoint: int = 0,
    status: str = "RUNNING",
    *,
    reached: Mapping[str, Mapping[int, int]] | None = None,
    **fields: Any,
) -> ObservedAttempt:
    """`reached`: the sources stood there at this checkpoint, and have said so."""
    position = None if reached is None else CheckpointPosition(checkpoint, reached, reached)
    job = Job("a", status, checkpoint=checkpoint, error="boom" if status == "FAILED" else "")
    return ObservedAttempt(
        **{
            "position": position,
            "job": job,
            "ends": ENDS,
            "reference": REFERENCE,
            "policy": POLICY,
            **fields,
        }
    )


def snapshot(checkpoint: int) -> Checkpoint:
    return Checkpoint(checkpoint, {"rows": 100 + checkpoint})


def positions(
    *checkpoints: int, offsets: Mapping[str, Mapping[int, int]] = WHOLE
) -> tuple[Position, ...]:
    return tuple(Position(c, offsets, at=NOW - 1, read=offsets) for c in checkpoints)


def publication(
    checkpoint: int, finished: float | None = 1.0, attempt: int = 1, **fields: Any
) -> Publication:
    return Publication(
        **{
            "id": 1,
            "product": "flights",
            "release": 1,
            "attempt": attempt,
            "checkpoint": checkpoint,
            "before": MAIN,
            "after": {"rows": 100 + checkpoint},
            "covered": WHOLE,
            "started": 0.0,
            "finished": finished,
            **fields,
        }
    )


def step(
    a: Attempt,
    s: ObservedAttempt,
    *publications: Publication,
    main: Mapping[str, int] = MAIN,
    genesis: bool = True,
) -> Step:
    state = ProductState(
        "flights", (Release("flights", 1, "f", 0.0, REFERENCE),), (a,), publications
    )
    return decide(state, Observation({a.name: s}, main, genesis), NOW)


GONE = ObservedAttempt(job=None)
NEVER = attempt()
SENT = attempt(submitted_at=NOW - 10)
SENT_LONG_AGO = attempt(submitted_at=NOW - LOST_ANSWER_SECONDS - 1)
SENT_JUST_LONG_ENOUGH_AGO = attempt(submitted_at=NOW - LOST_ANSWER_SECONDS)
SENT_A_THIRD_AGO = attempt(submitted_at=NOW - LOST_ANSWER_SECONDS / 3)
SUBMITTING = ObservedAttempt(client=SubmissionStatus(under_way=True))
REFUSED = ObservedAttempt(client=SubmissionStatus(refused="no column x"))
MISSING = running(missing_since=NOW - MISSING_SECONDS - 1, positions=positions(6, 7))
JUST_MISSING = replace(MISSING, missing_since=NOW - MISSING_SECONDS)
RESUMED_LONG_AGO = replace(SENT_LONG_AGO, state=State.replaying, job_ids=("a", "b"), restore="c7")
LIVE = running(state=State.active, positions=positions(6, 7))
STANDBY = replace(LIVE, state=State.standby)
WEARY = replace(LIVE, resumes=3, submitted_at=NOW - 59)
NOT_WEARY = replace(LIVE, resumes=2, submitted_at=NOW)
RESTED = replace(WEARY, submitted_at=NOW - 60)
WEARIER = replace(WEARY, resumes=5, submitted_at=NOW - 239)
WEARIEST = replace(WEARY, resumes=5000, submitted_at=NOW - 3600)
IN_VAIN = (
    "r1-a1: {}; {} resumptions in a row reached no checkpoint, the next one follows {} s after the last; "
    "readers keep what they see"
)
BACK = attempt(state=State.active, job_ids=("a", "b"), restore="c7", submitted_at=NOW - 119)
BACK_STANDBY = replace(BACK, state=State.standby)
TOLD = replace(BACK, refused="no column x")
TOLD_OTHERWISE = replace(BACK, refused="no disk")
TOLD_NOW = replace(TOLD, submitted_at=NOW - 1)
TOLD_LONG_AGO = replace(TOLD, submitted_at=NOW - 120)
SENT_BY_ANOTHER_CLOCK = attempt(submitted_at=NOW + LOST_ANSWER_SECONDS + 1)
SENT_BY_A_CLOCK_AHEAD = attempt(submitted_at=NOW + LOST_ANSWER_SECONDS)
MISSED_BY_ANOTHER_CLOCK = running(
    missing_since=NOW + LOST_ANSWER_SECONDS + 1, positions=positions(6, 7)
)
FIRST_BY_ANOTHER_CLOCK = replace(LIVE, resumes=0, submitted_at=NOW + 3600)
WEARY_BY_ANOTHER_CLOCK = replace(WEARY, submitted_at=NOW + 60)
REFUSED_AGAIN = "r1-a1: its resumption was refused, and readers keep what they see: no column x; {}"
EVERY = REFUSED_AGAIN.format("it is tried again every 120 s")
FAILED = "its job became FAILED, and not by this controller: boom"
CANCELED = "its job became CANCELED, and not by this controller"
LOST = "the cluster lost its job"
LOST_AFTER = LOST + " after checkpoint {}, and of its checkpoints {}"


@pytest.mark.parametrize(
    ("a", "s", "expected"),
    [
        pytest.param(NEVER, GONE, Submit(NEVER), id="never submitted"),
        pytest.param(
            SENT_BY_ANOTHER_CLOCK,
            GONE,
            NoteSubmitting(SENT_BY_ANOTHER_CLOCK),
            id="submitted, by a clock that was set back since",
        ),
        pytest.param(
            SENT_BY_A_CLOCK_AHEAD,
            GONE,
            Wait("r1-a1: asking Flink whether the submission arrived"),
            id="submitted, by a clock that is ahead of this one",
        ),
        pytest.param(
            MISSED_BY_ANOTHER_CLOCK,
            ObservedAttempt(job=None, retained={7: "c7"}),
            NoteMissing(MISSED_BY_ANOTHER_CLOCK, missing=True),
            id="missing, by a clock that was set back since",
        ),
        pytest.param(
            FIRST_BY_ANOTHER_CLOCK,
            seen(0, "CANCELED", retained={7: "c7"}),
            Resume(FIRST_BY_ANOTHER_CLOCK, 7, "c7", CANCELED),
            id="ended, submitted by a clock that was set back since",
        ),
        pytest.param(
            WEARY_BY_ANOTHER_CLOCK,
            seen(0, "CANCELED", retained={7: "c7"}),
            Resume(WEARY_BY_ANOTHER_CLOCK, 7, "c7", CANCELED),
            id="ended again, submitted by a clock that was set back since",
        ),
        pytest.param(
            NEVER, seen(), Confirm(NEVER), id="submitted by a process that died before it said so"
        ),
        pytest.param(SENT, seen(), Confirm(SENT), id="arrived"),
        pytest.param(
            SENT,
            GONE,
            Wait("r1-a1: asking Flink whether the submission arrived"),
            id="answer lost, may arrive",
        ),
        pytest.param(
            SENT, SUBMITTING, Wait("r1-a1: flink run is running"), id="the client is at work"
        ),
        pytest.param(
            SENT,
            replace(SUBMITTING, unreachable="down"),
            Wait("r1-a1: flink run is running"),
            id="the client is at work, and Flink silent",
        ),
        pytest.param(
            SENT_LONG_AGO,
            SUBMITTING,
            NoteSubmitting(SENT_LONG_AGO),
            id="others must know that it still is",
        ),
        pytest.param(
            SENT_A_THIRD_AGO,
            SUBMITTING,
            Wait("r1-a1: flink run is running"),
            id="others know for a while",
        ),
        pytest.param(
            SENT,
            ObservedAttempt(client=SubmissionStatus(trouble="killed")),
            Wait("r1-a1: asking Flink whether the submission arrived: killed", notable=True),
            id="client killed",
        ),
        pytest.param(SENT, REFUSED, GiveUp(SENT, State.failed, "no column x"), id="refused"),
        pytest.param(
            BACK, REFUSED, NoteRefused(BACK, "no column x"), id="what readers see is not given up"
        ),
        pytest.param(
            BACK_STANDBY,
            REFUSED,
            NoteRefused(BACK_STANDBY, "no column x"),
            id="nor what they can be taken back to",
        ),
        pytest.param(
            TOLD_OTHERWISE,
            REFUSED,
            NoteRefused(TOLD_OTHERWISE, "no column x"),
            id="refused for another reason",
        ),
        pytest.param(TOLD, REFUSED, Wait(EVERY, notable=True), id="refused a moment ago"),
        pytest.param(
            TOLD, GONE, Wait(EVERY, notable=True), id="refused, says another controller's client"
        ),
        pytest.param(TOLD_LONG_AGO, REFUSED, Submit(TOLD_LONG_AGO), id="refused, and tried again"),
        pytest.param(
            TOLD_NOW,
            SUBMITTING,
            Wait(REFUSED_AGAIN.format("flink run is running again"), notable=True),
            id="refused, and being tried again",
        ),
        pytest.param(
            TOLD_LONG_AGO,
            replace(REFUSED, retained={7: "c7", 8: "c8"}),
            Resume(TOLD_LONG_AGO, 8, "c8", LOST),
            id="refused, but it ran: never the same id",
        ),
        pytest.param(TOLD, seen(), Confirm(TOLD), id="refused, but it runs"),
        pytest.param(
            SENT,
            replace(seen(), client=SubmissionStatus(refused="said the second client")),
            Confirm(SENT),
            id="what runs was not refused",
        ),
        pytest.param(SENT_LONG_AGO, GONE, Submit(SENT_LONG_AGO), id="never arrived: same id again"),
        pytest.param(
            SENT_JUST_LONG_ENOUGH_AGO,
            GONE,
            Submit(SENT_JUST_LONG_ENOUGH_AGO),
            id="never arrived in the time that it has",
        ),
        pytest.param(
            SENT_LONG_AGO,
            ObservedAttempt(retained={3: "c3"}),
            Resume(SENT_LONG_AGO, 3, "c3", LOST),
            id="ran unseen and was lost: never the same id",
        ),
        pytest.param(
            SENT_LONG_AGO,
            ObservedAttempt(publishable=(snapshot(1),)),
            StartOver(SENT_LONG_AGO, LOST_AFTER.format(1, "none was kept")),
            id="ran unseen, committed, kept nothing",
        ),
        pytest.param(
            RESUMED_LONG_AGO,
            ObservedAttempt(retained={6: "c6", 7: "c7"}, publishable=(snapshot(7),)),
            Submit(RESUMED_LONG_AGO),
            id="resumption never arrived: same id again",
        ),
        pytest.param(
            RESUMED_LONG_AGO,
            ObservedAttempt(retained={7: "c7", 8: "c8"}),
            Resume(RESUMED_LONG_AGO, 8, "c8", LOST),
            id="resumption ran unseen and was lost",
        ),
    ],
)
def test_submission(a: Attempt, s: ObservedAttempt, expected: Step) -> None:
    assert step(a, s) == expected


@pytest.mark.parametrize(
    ("a", "s", "expected"),
    [
        pytest.param(running(), GONE, NoteMissing(running(), missing=True), id="just vanished"),
        pytest.param(
            running(missing_since=NOW - 1),
            GONE,
            Wait("r1-a1: Flink does not know its job"),
            id="not for long",
        ),
        pytest.param(
            running(missing_since=NOW - 1),
            seen(),
            NoteMissing(running(missing_since=NOW - 1), missing=False),
            id="there again",
        ),
        pytest.param(
            MISSING,
            ObservedAttempt(retained={6: "c6", 7: "c7"}),
            Resume(MISSING, 7, "c7", LOST),
            id="newest checkpoint",
        ),
        pytest.param(
            JUST_MISSING,
            ObservedAttempt(retained={7: "c7"}),
            Resume(JUST_MISSING, 7, "c7", LOST),
            id="for long enough",
        ),
        pytest.param(
            MISSING,
            ObservedAttempt(retained={7: "c7"}, publishable=(snapshot(7),)),
            Resume(MISSING, 7, "c7", LOST),
            id="checkpoint as new as the tables",
        ),
        pytest.param(
            MISSING,
            ObservedAttempt(retained={8: "c8"}),
            Resume(MISSING, 8, "c8", LOST),
            id="completed as the cluster died",
        ),
        pytest.param(
            MISSING,
            ObservedAttempt(retained={6: "c6"}),
            StartOver(MISSING, LOST_AFTER.format(7, "the newest one kept is 6")),
            id="only an older one: the tables would get rows twice",
        ),
        pytest.param(
            MISSING, GONE, StartOver(MISSING, LOST_AFTER.format(7, "none was kept")), id="none"
        ),
        pytest.param(
            running(),
            seen(status="FAILED"),
            GiveUp(running(), State.failed, FAILED),
            id="a candidate failed",
        ),
        pytest.param(
            running(),
            seen(status="CANCELED"),
            GiveUp(running(), State.failed, CANCELED),
            id="a candidate was cancelled by somebody",
        ),
        pytest.param(
            LIVE,
            seen(status="FAILED", retained={7: "c7"}),
            Resume(LIVE, 7, "c7", FAILED),
            id="the live one failed",
        ),
        pytest.param(
            LIVE,
            seen(status="CANCELED", retained={7: "c7"}),
            Resume(LIVE, 7, "c7", CANCELED),
            id="the live one was cancelled by somebody",
        ),
        pytest.param(
            LIVE,
            seen(status="CANCELED"),
            StartOver(LIVE, f"{CANCELED} after checkpoint 7, and of its checkpoints none was kept"),
            id="the live one cannot be resumed",
        ),
        pytest.param(
            WEARY,
            seen(status="FAILED", retained={7: "c7"}),
            Wait(IN_VAIN.format(FAILED, 3, 60), notable=True),
            id="resumed in vain: not at once again",
        ),
        pytest.param(
            NOT_WEARY,
            seen(status="FAILED", retained={7: "c7"}),
            Resume(NOT_WEARY, 7, "c7", FAILED),
            id="resumed in vain, not too often yet: at once",
        ),
        pytest.param(
            WEARY,
            seen(job=Job("a", "FAILED", restarts=2, error="boom"), retained={7: "c7"}),
            Wait(IN_VAIN.format(FAILED, 3, 60), notable=True),
            id="what has ended is not being restarted",
        ),
        pytest.param(
            replace(WEARIER, positions=(Position(7, WHOLE, NOW - 999),)),
            seen(status="FAILED", retained={7: "c7"}),
            Wait(IN_VAIN.format(FAILED, 5, 240), notable=True),
            id="nor does it stand still",
        ),
        pytest.param(
            replace(WEARY, state=State.standby),
            seen(status="FAILED", retained={7: "c7"}),
            Wait(IN_VAIN.format(FAILED, 3, 60), notable=True),
            id="a standby neither",
        ),
        pytest.param(
            RESTED,
            seen(status="FAILED", retained={7: "c7"}),
            Resume(RESTED, 7, "c7", FAILED),
            id="resumed in vain: again after a minute",
        ),
        pytest.param(
            WEARIER,
            seen(status="FAILED", retained={7: "c7"}),
            Wait(IN_VAIN.format(FAILED, 5, 240), notable=True),
            id="resumed in vain: ever less often",
        ),
        pytest.param(
            WEARIEST,
            seen(status="FAILED", retained={7: "c7"}),
            Resume(WEARIEST, 7, "c7", FAILED),
            id="resumed in vain: once an hour for ever",
        ),
        pytest.param(
            STANDBY,
            seen(status="FAILED"),
            GiveUp(
                STANDBY,
                State.failed,
                f"{FAILED} after checkpoint 7, and of its checkpoints none was kept",
            ),
            id="nobody replays a standby",
        ),
        pytest.param(
            running(),
            seen(job=Job("a", "RUNNING", restarts=4, error="boom")),
            GiveUp(
                running(),
                State.failed,
                "its job restarted 4 times without a checkpoint in between: boom",
            ),
            id="restarts again and again",
        ),
        pytest.param(
            running(),
            seen(job=Job("a", "RUNNING", restarts=4, error="gone"), exit_reason="out of memory"),
            GiveUp(
                running(),
                State.failed,
                "its job restarted 4 times without a checkpoint in between: gone (out of memory)",
            ),
            id="restarts again and again, and its cluster knows why",
        ),
        pytest.param(
            running(restarts=2),
            seen(job=Job("a", "RUNNING", restarts=6, error="boom")),
            GiveUp(
                running(restarts=2),
                State.failed,
                "its job restarted 4 times without a checkpoint in between: boom",
            ),
            id="restarts since its last checkpoint count",
        ),
        pytest.param(
            running(),
            seen(job=Job("a", "RUNNING", restarts=3, error="boom")),
            Wait(
                "r1-a1: replaying; its job was restarted 3 times since its newest checkpoint: boom",
                True,
            ),
            id="restarts as often as it may",
        ),
        pytest.param(
            running(restarts=4),
            seen(job=Job("a", "RUNNING", restarts=4)),
            Wait("r1-a1: replaying"),
            id="restarts before its last checkpoint are forgiven",
        ),
        pytest.param(
            LIVE,
            seen(job=Job("a", "RUNNING", restarts=9, checkpoint=7), publishable=()),
            Wait(
                "r1-a1: waiting for the next checkpoint in every table; its job was restarted 9 times since its "
                "newest checkpoint: Flink does not say why",
                notable=True,
            ),
            id="readers depend on it",
        ),
        pytest.param(
            running(),
            seen(job=Job("a", "RUNNING", restarts=1, error="disk full")),
            Wait(
                "r1-a1: replaying; its job was restarted once since its newest checkpoint: disk full",
                True,
            ),
            id="runs again",
        ),
        pytest.param(
            running(),
            seen(job=Job("a", "RESTARTING", error="disk full")),
            Wait("r1-a1: replaying; its job is RESTARTING: disk full", True),
            id="Flink restarts it itself",
        ),
        pytest.param(
            running(submitted_at=NOW - 191),
            seen(),
            Wait(
                "r1-a1: replaying; its job has completed no checkpoint for 3 min 11 s, and should every 1 min: "
                "kappa logs jobmanager says why",
                True,
            ),
            id="a replay without a checkpoint",
        ),
        pytest.param(
            running(submitted_at=NOW - 190),
            seen(),
            Wait("r1-a1: replaying"),
            id="a replay that is to have one",
        ),
        pytest.param(
            running(submitted_at=None),
            seen(),
            Wait("r1-a1: replaying"),
            id="nobody knows since when",
        ),
        pytest.param(
            replace(LIVE, positions=(Position(6, WHOLE, NOW + 3600), Position(7, WHOLE, NOW - 41))),
            seen(7, publishable=()),
            Wait(
                "r1-a1: waiting for the next checkpoint in every table; its job has completed no checkpoint for "
                "41 s, and should every 10 s: kappa logs jobmanager says why",
                True,
            ),
            id="the live one stands, and the clock was set back before",
        ),
        pytest.param(
            replace(LIVE, positions=(Position(7, WHOLE, NOW - 41),)),
            seen(7, publishable=()),
            Wait(
                "r1-a1: waiting for the next checkpoint in every table; its job has completed no checkpoint for "
                "41 s, and should every 10 s: kappa logs jobmanager says why",
                True,
            ),
            id="the live one stands",
        ),
        pytest.param(
            replace(LIVE, positions=(Position(7, WHOLE, NOW - 40),)),
            seen(7, publishable=()),
            Wait("r1-a1: waiting for the next checkpoint in every table"),
            id="the live one is to have one",
        ),
        pytest.param(
            replace(LIVE, submitted_at=NOW - 40, positions=(Position(7, WHOLE, NOW - 999),)),
            seen(publishable=()),
            Wait("r1-a1: waiting for the next checkpoint in every table"),
            id="one that was resumed is to have one",
        ),
        pytest.param(
            running(),
            seen(held_back="results wait for rates"),
            Wait("r1-a1: replaying; results wait for rates", True),
            id="results wait for a partition",
        ),
        pytest.param(
            SENT,
            replace(SUBMITTING, held_back="results wait for rates"),
            Wait("r1-a1: flink run is running; results wait for rates", True),
            id="and will, once it is there",
        ),
        pytest.param(
            replace(LIVE, stop=State.retired),
            seen(status="CANCELLING", held_back="results wait for rates"),
            Wait("r1-a1: its job is being cancelled"),
            id="nobody waits for one that ends",
        ),
    ],
)
def test_a_job_in_trouble(a: Attempt, s: ObservedAttempt, expected: Step) -> None:
    assert step(a, s) == expected


FRESH = running()
EARLIER = {**REFERENCE, "flights": {0: 9, 1: 9}}
ONCE_NEAR = running(positions=(Position(1, EARLIER, NOW - 5, EARLIER),), near=1)


@pytest.mark.parametrize(
    ("a", "s", "near", "caught_up"),
    [
        pytest.param(FRESH, seen(1, reached=WHOLE), 1, False, id="near once"),
        pytest.param(ONCE_NEAR, seen(2, reached=WHOLE), 2, True, id="near for long enough"),
        pytest.param(
            ONCE_NEAR, seen(2, reached=HALF), 0, False, id="one partition behind: from the start"
        ),
        pytest.param(
            ONCE_NEAR,
            seen(2, reached={"flights": {0: 90, 1: 90}, **REFERENCE}),
            2,
            True,
            id="at the limit",
        ),
        pytest.param(
            ONCE_NEAR,
            seen(2, reached={"flights": {0: 89, 1: 100}, **REFERENCE}),
            0,
            False,
            id="over it",
        ),
        pytest.param(
            running(near=1),
            seen(2, reached={**ENDS, "airlines": {0: 15}}),
            0,
            False,
            id="reference data not whole",
        ),
        pytest.param(ONCE_NEAR, seen(2, reached={}), 0, False, id="nothing read"),
    ],
)
def test_positions(a: Attempt, s: ObservedAttempt, near: int, caught_up: bool) -> None:
    assert s.position is not None
    covered = latest(s.position.covered, a.positions[-1].offsets if a.positions else {})
    got = step(a, s)
    assert isinstance(got, Record)
    position = Position(s.position.checkpoint, covered, NOW, ENDS, s.position.read)
    assert (got.position, got.near, got.caught_up) == (position, near, caught_up)


def test_a_position_comes_with_what_else_is_remembered_of_its_job() -> None:
    look = seen(
        2,
        job=Job("a", "RUNNING", checkpoint=2, restarts=3),
        position=CheckpointPosition(2, WHOLE, WHOLE),
        publishable=(snapshot(2), snapshot(1)),
        committed=committed("kappa job a checkpoint 2", 0, 1),
    )
    got = step(ONCE_NEAR, look)
    assert isinstance(got, Record)
    assert (got.restarts, got.tip, got.committed) == (3, snapshot(2), True)
    known = replace(ONCE_NEAR, tip=snapshot(1))
    got = step(known, seen(2, reached=WHOLE))
    assert isinstance(got, Record)
    assert (got.restarts, got.tip, got.committed) == (0, snapshot(1), False), (
        "what was not looked for stays"
    )


def test_an_old_checkpoint_is_no_new_position() -> None:
    assert step(ONCE_NEAR, seen(1, reached=WHOLE)) == Wait("r1-a1: replaying")


def test_a_position_is_that_of_its_checkpoint_whatever_completed_since() -> None:
    got = step(ONCE_NEAR, seen(3, position=CheckpointPosition(2, WHOLE, WHOLE)))
    assert isinstance(got, Record)
    assert got.position.checkpoint == 2


def test_a_checkpoint_without_a_position_is_waited_for_and_then_told_of() -> None:
    assert step(ONCE_NEAR, seen(3)) == Wait("r1-a1: replaying")
    told = (
        "r1-a1: checkpoint 4 is complete, and its sources have not written their positions, {}: the JobManager's "
        "log says why, unless its connector is of an earlier version"
    )
    assert step(ONCE_NEAR, seen(4)) == Wait(told.format("since checkpoint 1"), notable=True)
    assert step(FRESH, seen(4)) == Wait(told.format("so far"), notable=True)


def test_no_position_is_claimed_while_the_logs_has_no_watermark_still() -> None:
    got = step(ONCE_NEAR, seen(2, reached=WHOLE, stalled_watermarks=("TemporalJoin[112]",)))
    assert got == Wait(
        "r1-a1: no watermark has reached 1 operators since the job was (re)started: results wait "
        "until every partition of every unbounded topic has a record",
        notable=True,
    )
    got = step(
        ONCE_NEAR,
        seen(2, reached=WHOLE, stalled_watermarks=("a", "b"), held_back="results wait for rates"),
    )
    assert got == Wait(
        "r1-a1: no watermark has reached 2 operators since the job was (re)started: results wait "
        "for rates",
        notable=True,
    ), "and what they wait for is told once"


def test_records_that_operators_dropped_are_remembered_before_the_position() -> None:
    """A restart starts their count again: what was seen once is never forgotten."""
    dropped = {"WindowJoin[9]": 1, "GlobalWindowAggregate[8]": 3}
    assert step(ONCE_NEAR, seen(2, reached=WHOLE, late_dropped=dropped)) == NoteLateDropped(
        ONCE_NEAR, dropped
    )
    known = replace(ONCE_NEAR, late_dropped=dropped)
    assert isinstance(step(known, seen(2, reached=WHOLE)), Record)
    more = seen(2, reached=WHOLE, late_dropped={"WindowJoin[9]": 2, "GlobalWindowAggregate[8]": 1})
    assert step(known, more) == NoteLateDropped(
        known, {"WindowJoin[9]": 2, "GlobalWindowAggregate[8]": 3}
    )


def test_partitions_that_a_topic_gained_are_told_of_before_anything_is_published() -> None:
    """As long as the attempt is of before, wherever what product.yaml says rests on their number."""
    grown = {topic: dict.fromkeys(range(9), 0) for topic in WHOLE}
    topic = next(iter(WHOLE))
    known = replace(ONCE_NEAR, log={topic: Topic("id", {}, 2, 2)})
    news = replace(seen(1), ends=grown)
    told = step(known, news)
    assert isinstance(told, NotePartitions)
    assert (told.attempt, told.counts) == (known, {topic: 9})
    assert told.note == partitions.news(known.log, grown, {})
    after = replace(known, log=with_told(known.log, told.counts))
    assert step(after, news) == Wait("r1-a1: replaying")
    policy = replace(news.policy, together={topic: "keyed_by: [shop]"})
    waits = step(after, replace(news, policy=policy))
    assert isinstance(waits, Wait)
    assert waits.notable
    assert "and keyed_by: [shop] in product.yaml does not hold; kappa audit counts" in waits.reason


CAUGHT_UP = running(state=State.caught_up, positions=positions(4, 5), near=2)
AUDITED = replace(CAUGHT_UP, state=State.audited, audited_checkpoint=5)
AUDITED_LONG_AGO = replace(AUDITED, audited_checkpoint=3)
ACTIVE = replace(CAUGHT_UP, state=State.active)
SHOWN = {"rows": 104}


@pytest.mark.parametrize(
    ("a", "publishable", "expected"),
    [
        pytest.param(CAUGHT_UP, (), "wait", id="no table has committed"),
        pytest.param(CAUGHT_UP, (3,), "wait", id="only a checkpoint whose position nobody saw"),
        pytest.param(
            CAUGHT_UP,
            (4,),
            Examine(CAUGHT_UP, snapshot(4)),
            id="a checkpoint at whose position it was near",
        ),
        pytest.param(
            replace(CAUGHT_UP, positions=positions(1)),
            (1,),
            Examine(replace(CAUGHT_UP, positions=positions(1)), snapshot(1)),
            id="its first one",
        ),
        pytest.param(
            CAUGHT_UP, (5, 4), Examine(CAUGHT_UP, snapshot(5)), id="checked before readers see it"
        ),
        pytest.param(
            AUDITED,
            (6, 5, 4),
            Publish(AUDITED, snapshot(5), WHOLE, MAIN, Move.switch),
            id="exactly what was checked",
        ),
        pytest.param(
            AUDITED_LONG_AGO,
            (6, 5, 4),
            Examine(AUDITED_LONG_AGO, snapshot(6)),
            id="what was checked is gone",
        ),
    ],
)
def test_first_publication(a: Attempt, publishable: tuple[int, ...], expected: Step | str) -> None:
    got = step(a, seen(5, publishable=tuple(snapshot(c) for c in publishable)))
    assert got == (
        Wait("r1-a1: waiting for the next checkpoint in every table")
        if expected == "wait"
        else expected
    )


@pytest.mark.parametrize(
    ("shown", "publishable", "expected"),
    [
        pytest.param(4, (5, 4), 5, id="the next"),
        pytest.param(4, (9, 8, 5, 4), 9, id="the newest"),
        pytest.param(5, (5, 4), None, id="never the same again"),
        pytest.param(7, (6, 5), None, id="never an older one"),
    ],
)
def test_an_active_attempt_publishes_each_new_checkpoint(
    shown: int, publishable: tuple[int, ...], expected: int | None
) -> None:
    main = {"rows": 100 + shown}
    got = step(
        ACTIVE,
        seen(5, publishable=tuple(snapshot(c) for c in publishable)),
        publication(shown),
        main=main,
        genesis=False,
    )
    if expected is None:
        assert isinstance(got, Wait)
    else:
        assert got == Publish(ACTIVE, snapshot(expected), WHOLE, main)


@pytest.mark.parametrize(
    ("look", "shown", "publishes"),
    [
        pytest.param({}, {}, False, id="nothing"),
        pytest.param(
            {},
            {"covered": {**WHOLE, "flights": {0: 99, 1: 99}}},
            True,
            id="records of which no row came",
        ),
        pytest.param(
            {}, {"finished": NOW - STILL_PUBLISHED_SECONDS + 1}, False, id="nothing for a while"
        ),
        pytest.param({}, {"finished": NOW - STILL_PUBLISHED_SECONDS}, True, id="nothing for long"),
        pytest.param(
            {}, {"finished": NOW + 1}, True, id="published by a clock that was set back since"
        ),
        pytest.param({}, {"finished": NOW}, False, id="published right now"),
        pytest.param({"nothing_new": False}, {}, True, id="rows"),
    ],
)
def test_a_checkpoint_that_has_nothing_new_is_published_now_and_then(
    look: dict[str, Any], shown: dict[str, Any], publishes: bool
) -> None:
    looked = seen(5, publishable=(snapshot(5), snapshot(4)), **{"nothing_new": True, **look})
    before = publication(4, **{"finished": NOW - 10, **shown})
    got = step(ACTIVE, looked, before, main=SHOWN, genesis=False)
    assert got == (
        Publish(ACTIVE, snapshot(5), WHOLE, SHOWN)
        if publishes
        else Wait("r1-a1: readers see all rows of its newest checkpoint")
    )
    assert isinstance(step(ACTIVE, looked, before, main={"rows": 7}, genesis=False), Blocked), (
        "main was moved"
    )


def test_a_successor_waits_until_it_covers_what_readers_see() -> None:
    ahead = publication(9, attempt=7, covered={**WHOLE, "flights": {0: 101, 1: 100}}, after=SHOWN)
    got = step(AUDITED, seen(5, publishable=(snapshot(5),)), ahead, main=SHOWN, genesis=False)
    assert isinstance(got, Wait)


SUCCESSOR = replace(CAUGHT_UP, release=2, job_ids=("b",))


def beside_a_successor(
    successor: Attempt, look: ObservedAttempt, last: Sequence[str] = (), finished: float = NOW - 10
) -> Step:
    """What is decided while the active attempt, shown 10 s ago, has something to publish."""
    releases = tuple(Release("flights", n, "f", 0.0, REFERENCE) for n in (1, 2))
    state = ProductState(
        "flights", releases, (ACTIVE, successor), (publication(4, finished=finished),)
    )
    looked = Observation(
        {"r1-a1": seen(5, publishable=(snapshot(5), snapshot(4))), "r2-a1": look}, SHOWN, False
    )
    return decide(state, looked, NOW, last)


@pytest.mark.parametrize(
    ("before", "since", "at", "publishes"),
    [
        pytest.param((), (4, 5), NOW - 1, False, id="it has had two checkpoints since"),
        pytest.param((2, 3), (4, 5), NOW - 1, False, id="earlier ones do not count"),
        pytest.param(
            (), (4,), NOW - POLICY.lag_limit.seconds, False, id="its newest is as old as one may be"
        ),
        pytest.param(
            (), (4,), NOW - POLICY.lag_limit.seconds - 1, True, id="its newest is too old"
        ),
        pytest.param((), (4, 5, 6), NOW - 1, True, id="none of three could be checked"),
        pytest.param(
            (), (4, 5), NOW + 3600, True, id="its checkpoints ceased before the clock was set back"
        ),
    ],
)
def test_the_active_attempt_waits_for_one_that_is_to_be_checked_but_not_for_ever(
    before: tuple[int, ...], since: tuple[int, ...], at: float, publishes: bool
) -> None:
    older = tuple(replace(p, at=NOW - 10) for p in positions(*before))
    newer = tuple(replace(p, at=at) for p in positions(*since))
    got = beside_a_successor(replace(SUCCESSOR, positions=(*older, *newer)), seen(since[-1]))
    if publishes:
        assert got == Publish(ACTIVE, snapshot(5), WHOLE, SHOWN)
    else:
        assert isinstance(got, Wait)
        assert "r1-a1: publishes nothing until r2-a1 is checked" in got.reason


def test_the_active_attempt_does_not_wait_behind_a_publication_by_a_clock_that_was_set_back_since() -> (
    None
):
    """No checkpoint would come after it, for as long as the clock was set back."""
    got = beside_a_successor(SUCCESSOR, seen(5), finished=NOW + 3600)
    assert got == Publish(ACTIVE, snapshot(5), WHOLE, SHOWN)


def test_a_successors_newest_checkpoint_tells_whether_it_has_any() -> None:
    old = tuple(replace(p, at=NOW - 100) for p in positions(2, 3))
    got = beside_a_successor(replace(SUCCESSOR, positions=(*old, *positions(4))), seen(4))
    assert isinstance(got, Wait)


@pytest.mark.parametrize(
    "successor",
    [
        pytest.param(SUCCESSOR, id="to be checked"),
        pytest.param(replace(SUCCESSOR, state=State.audited), id="checked"),
        pytest.param(
            replace(SUCCESSOR, state=State.standby, promote=Move.switch, near=0),
            id="on standby, and wanted",
        ),
    ],
)
def test_the_active_attempt_waits_for_one_that_is_to_be_shown(successor: Attempt) -> None:
    got = beside_a_successor(successor, seen(5))
    assert isinstance(got, Wait)
    assert "r1-a1: publishes nothing until r2-a1 is checked" in got.reason


@pytest.mark.parametrize(
    ("successor", "look"),
    [
        pytest.param(replace(SUCCESSOR, stop=State.aborted), seen(5), id="it is to end"),
        pytest.param(replace(SUCCESSOR, shadow=True), seen(5), id="it is only compared"),
        pytest.param(
            replace(SUCCESSOR, state=State.standby), seen(5), id="on standby, and nobody wants it"
        ),
        pytest.param(
            replace(SUCCESSOR, state=State.audited, auto_switch=False),
            seen(5),
            id="a person decides",
        ),
        pytest.param(SUCCESSOR, GONE, id="its job is gone"),
        pytest.param(SUCCESSOR, seen(5, "FAILED"), id="its job has ended"),
        pytest.param(replace(SUCCESSOR, near=1), seen(5), id="it fell behind"),
        pytest.param(replace(SUCCESSOR, positions=()), seen(), id="its checkpoints are not known"),
        pytest.param(
            SUCCESSOR, seen(5, log_problems=("retention.ms=1000",)), id="the log is not whole"
        ),
        pytest.param(
            SUCCESSOR,
            seen(5, log_changes=("flights was deleted and created again",)),
            id="the log is another one",
        ),
        pytest.param(
            SUCCESSOR, seen(5, publishable=(), tampered="snapshot 9"), id="its branch was changed"
        ),
        pytest.param(
            replace(SUCCESSOR, late_dropped={"WindowJoin[9]": 1}),
            seen(5),
            id="its rows are not whole",
        ),
    ],
)
def test_the_active_attempt_waits_for_none_that_cannot_be_shown(
    successor: Attempt, look: ObservedAttempt
) -> None:
    assert beside_a_successor(successor, look) == Publish(ACTIVE, snapshot(5), WHOLE, SHOWN)


def test_the_active_attempt_waits_for_none_whose_last_step_failed() -> None:
    assert beside_a_successor(SUCCESSOR, seen(5), ["r2-a1"]) == Publish(
        ACTIVE, snapshot(5), WHOLE, SHOWN
    )


@pytest.mark.parametrize(
    ("publications", "expected"),
    [
        pytest.param(
            (publication(4),), "r1-a1, checkpoint 4: rows=104", id="away from what was published"
        ),
        pytest.param(
            (),
            "the empty first snapshots, as the journal has no publication",
            id="before anything was published",
        ),
    ],
)
def test_main_moved_by_somebody_blocks(
    publications: tuple[Publication, ...], expected: str
) -> None:
    got = step(
        ACTIVE,
        seen(5, publishable=(snapshot(5),)),
        *publications,
        main={"rows": 7, "hours": 8},
        genesis=False,
    )
    assert isinstance(got, Blocked)
    assert (got.expected, got.found) == (expected, "hours=8, rows=7")


DROPPED = {"WindowJoin[9]": 1, "GlobalWindowAggregate[8]": 3}


@pytest.mark.parametrize(
    ("a", "undo"),
    [
        pytest.param(running(positions=positions(5)), "kappa abort flights; ", id="replaying"),
        pytest.param(CAUGHT_UP, "kappa abort flights; ", id="caught up"),
        pytest.param(AUDITED, "kappa abort flights; ", id="checked"),
        pytest.param(ACTIVE, "", id="readers see it"),
        pytest.param(
            replace(ACTIVE, state=State.standby, promote=Move.switch), "", id="a person wants it"
        ),
    ],
)
def test_nothing_is_published_of_an_attempt_whose_operators_dropped_records(
    a: Attempt, undo: str
) -> None:
    got = step(replace(a, late_dropped=DROPPED), seen(5, publishable=(snapshot(5),)))
    assert got == Blocked(
        "operators of flights-r1-a1 dropped records as late: rows are missing from its tables, and none of its further "
        "checkpoints is published",
        expected="numLateRecordsDropped 0 in every operator: the late ones are rejects before any operator sees them",
        found="GlobalWindowAggregate[8]: 3, WindowJoin[9]: 1",
        next=f"{undo}let the SQL in front of these operators keep only records within the allowed lateness, then: "
        "kappa deploy flights",
    )


@pytest.mark.parametrize(
    "a",
    [
        pytest.param(replace(ACTIVE, state=State.standby), id="standby"),
        pytest.param(running(positions=positions(5), shadow=True), id="only compared"),
    ],
)
def test_dropped_records_block_nothing_that_nobody_is_to_see(a: Attempt) -> None:
    assert isinstance(
        step(replace(a, late_dropped=DROPPED), seen(5, publishable=(snapshot(5),))), Wait
    )


def test_a_person_may_take_readers_back_to_an_attempt_that_dropped_records() -> None:
    standby = replace(ACTIVE, state=State.standby, promote=Move.rollback, late_dropped=DROPPED)
    assert isinstance(step(standby, seen(5, publishable=(snapshot(5),))), Publish)


OTHER_LOG = ("flights was deleted and created again", "airlines is gone")


def test_nothing_of_another_log_is_published_beside_what_readers_see() -> None:
    assert step(ACTIVE, seen(5, publishable=(snapshot(5),), log_changes=OTHER_LOG)) == Blocked(
        "the log is not the one that flights-r1-a1 has read, and none of its further checkpoints is published",
        expected="the topics, and the records in them, that its rows are of",
        found="flights was deleted and created again; airlines is gone",
        next="bring the topic back, its id with it, from a backup of the broker; or, to start over with the log as it "
        "is: kappa remove flights, which drops its tables, then kappa deploy flights",
    )


@pytest.mark.parametrize(
    ("look", "error"),
    [
        pytest.param(
            seen(5, log_changes=OTHER_LOG),
            "the log is not the one that it has read: flights was deleted and created again; airlines is gone",
            id="another log",
        ),
        pytest.param(
            seen(5, log_problems=("flights begins at 9", "airlines at 1"), log_lost=True),
            "records of the log are gone: flights begins at 9; airlines at 1",
            id="records are gone",
        ),
    ],
)
def test_a_candidate_is_given_up_when_its_log_is_gone(look: ObservedAttempt, error: str) -> None:
    assert step(CAUGHT_UP, look) == GiveUp(CAUGHT_UP, State.failed, error)


def test_an_unfinished_publication_comes_before_everything() -> None:
    intent = publication(4, finished=None)
    assert step(running(), seen(status="FAILED"), intent) == FinishPublish(intent)


@pytest.mark.parametrize(
    ("main", "blocked"),
    [
        pytest.param({"rows": 5}, False, id="not begun"),
        pytest.param({"rows": 104}, False, id="done but not noted"),
        pytest.param({"rows": 7}, True, id="somebody moved it since"),
    ],
)
def test_an_unfinished_publication_stands_until_main_is_where_the_journal_says(
    main: Mapping[str, int], blocked: bool
) -> None:
    intent = publication(4, finished=None)
    got = step(LIVE, seen(), intent, main=main, genesis=False)
    if not blocked:
        assert got == FinishPublish(intent)
        return
    assert got == Blocked(
        "somebody else moved main of flights while r1-a1 was being published",
        "checkpoint 4: rows=104; or as before: rows=5",
        "rows=7",
        "put main back to either; publishing then continues",
    )


def test_flink_out_of_reach_is_waited_for() -> None:
    state = ProductState("flights", (), (running(),))
    look = Observation({"r1-a1": ObservedAttempt(unreachable="no answer")})
    assert decide(state, look, NOW) == Wait("r1-a1: no answer", notable=True)


def test_why_flink_is_out_of_reach_is_said_if_it_is_known() -> None:
    state = ProductState("flights", (), (running(),))
    look = Observation(
        {"r1-a1": ObservedAttempt(unreachable="no answer", exit_reason="pod a: Unschedulable")}
    )
    assert decide(state, look, NOW) == Wait("r1-a1: no answer (pod a: Unschedulable)", notable=True)


def test_what_was_not_looked_at_waits() -> None:
    assert decide(ProductState("flights", (), (running(),)), Observation(), NOW) == Wait(
        "r1-a1: not observed yet"
    )


def test_a_job_that_a_resumption_replaced_is_cancelled() -> None:
    assert step(LIVE, seen(7, superseded=("old",))) == Cancel(LIVE, ("old",))


@pytest.mark.parametrize(
    ("looks", "reason", "notable", "about", "news"),
    [
        pytest.param(
            [seen(), seen()],
            "r1-a1: replaying; r1-a2: replaying",
            False,
            None,
            "",
            id="nothing of note",
        ),
        pytest.param(
            [seen(), seen(held_back="slow")],
            "r1-a2: replaying; slow; r1-a1: replaying",
            True,
            "r1-a2",
            "r1-a2: slow",
            id="one first, of which there is news",
        ),
        pytest.param(
            [seen(held_back="slow", status="RESTARTING"), seen(held_back="quiet")],
            "r1-a1: replaying; its job is RESTARTING: Flink does not say why; slow; r1-a2: replaying; quiet",
            True,
            None,
            "r1-a1: its job is RESTARTING: Flink does not say why; slow; r1-a2: quiet",
            id="both",
        ),
        pytest.param(
            [seen(), ObservedAttempt(unreachable="no answer", held_back="slow")],
            "r1-a2: no answer; r1-a1: replaying",
            True,
            "r1-a2",
            "r1-a2: no answer",
            id="one cannot be asked",
        ),
        pytest.param([seen()], "r1-a1: replaying", False, "r1-a1", "", id="there is only one"),
    ],
)
def test_what_is_waited_for_is_told_with_what_is_new_of_it(
    looks: Sequence[ObservedAttempt], reason: str, notable: bool, about: str | None, news: str
) -> None:
    attempts = tuple(running(number=n) for n, _ in enumerate(looks, 1))
    seen_all = Observation({a.name: look for a, look in zip(attempts, looks, strict=True)})
    got = decide(ProductState("flights", (), attempts), seen_all, NOW)
    assert isinstance(got, Wait)
    assert (got.reason, got.notable, got.news) == (reason, notable, news)
    assert (got.attempt.name if got.attempt else None) == about


def test_ended_attempts_need_nothing() -> None:
    state = ProductState(
        "flights",
        (),
        (
            attempt(state=State.failed, cleaned=True),
            attempt(number=2, state=State.retired, cleaned=True),
        ),
    )
    assert decide(state, Observation(), NOW) == Wait("no attempt is running")


UNWANTED = running(stop=State.aborted)
UNWANTED_APART = replace(UNWANTED, cluster="c", rest="http://there")


@pytest.mark.parametrize(
    ("a", "s", "expected"),
    [
        pytest.param(UNWANTED, seen(), Cancel(UNWANTED, (UNWANTED.job_id,)), id="cancel its job"),
        pytest.param(
            UNWANTED,
            seen(status="CANCELLING"),
            Wait("r1-a1: its job is being cancelled"),
            id="wait for it",
        ),
        pytest.param(UNWANTED, seen(status="CANCELED"), End(UNWANTED), id="its job is gone"),
        pytest.param(UNWANTED, GONE, End(UNWANTED), id="its job was lost"),
        pytest.param(
            UNWANTED,
            ObservedAttempt(unreachable="down"),
            Wait("r1-a1: down", notable=True),
            id="Flink is out of reach",
        ),
        pytest.param(
            UNWANTED_APART,
            seen(),
            Cancel(UNWANTED_APART, (UNWANTED.job_id,)),
            id="its own cluster answers",
        ),
        pytest.param(
            replace(UNWANTED_APART, rest=""),
            seen(),
            End(replace(UNWANTED_APART, rest="")),
            id="its own cluster was not started by anybody who said so",
        ),
        pytest.param(
            attempt(stop=State.aborted),
            GONE,
            End(attempt(stop=State.aborted)),
            id="never submitted",
        ),
        pytest.param(
            replace(SENT, stop=State.aborted),
            GONE,
            Wait("r1-a1: its submission may still arrive; it is stopped then"),
            id="may still arrive",
        ),
        pytest.param(
            replace(SENT, stop=State.aborted, submitted_at=NOW - ORPHANED_SECONDS + 1),
            GONE,
            Wait("r1-a1: its submission may still arrive; it is stopped then"),
            id="whose client nobody knows",
        ),
        pytest.param(
            replace(SENT, stop=State.aborted, submitted_at=NOW - ORPHANED_SECONDS),
            GONE,
            End(replace(SENT, stop=State.aborted, submitted_at=NOW - ORPHANED_SECONDS)),
            id="too long ago",
        ),
        pytest.param(
            replace(SENT_BY_ANOTHER_CLOCK, stop=State.aborted),
            GONE,
            NoteSubmitting(replace(SENT_BY_ANOTHER_CLOCK, stop=State.aborted)),
            id="may still arrive, submitted by a clock that was set back since",
        ),
        pytest.param(
            replace(SENT_BY_ANOTHER_CLOCK, stop=State.aborted),
            SUBMITTING,
            NoteSubmitting(replace(SENT_BY_ANOTHER_CLOCK, stop=State.aborted)),
            id="its client is at work, and the clock was set back",
        ),
        pytest.param(
            replace(SENT, stop=State.aborted, cluster="c"),
            replace(GONE, unreachable="down"),
            Wait("r1-a1: its submission may still arrive; it is stopped then"),
            id="may still arrive, at whoever has the ports of its cluster by then",
        ),
        pytest.param(
            replace(SENT_LONG_AGO, stop=State.aborted),
            SUBMITTING,
            NoteSubmitting(replace(SENT_LONG_AGO, stop=State.aborted)),
            id="its client is at work",
        ),
        pytest.param(
            replace(SENT, stop=State.failed),
            REFUSED,
            End(replace(SENT, stop=State.failed)),
            id="refused",
        ),
    ],
)
def test_stopping(a: Attempt, s: ObservedAttempt, expected: Step) -> None:
    assert step(a, s) == expected


@pytest.mark.parametrize("active_first", [True, False])
def test_the_attempt_that_readers_depend_on_comes_first(active_first: bool) -> None:
    candidate, active = running(number=2), running(state=State.active)
    releases = (Release("flights", 1, "f", 0.0, REFERENCE),)
    attempts = (active, candidate) if active_first else (candidate, active)
    state = ProductState("flights", releases, attempts, (publication(4),))
    looks = Observation(
        {"r1-a1": seen(3, reached=WHOLE), "r1-a2": seen(3, reached=WHOLE)}, {"rows": 104}, False
    )
    got = decide(state, looks, NOW)
    assert isinstance(got, Record)
    assert got.attempt == active


# Beside a live release


SHOWN_R1 = publication(4)
SHOWS_R1 = {"rows": 104}


def beside(
    candidate: Attempt,
    look: ObservedAttempt,
    active: Attempt = LIVE,
    active_look: ObservedAttempt | None = None,
) -> Step:
    """What is decided with r1-a1 active at checkpoint 7 and r2-a1 beside it."""
    releases = (
        Release("flights", 1, "f", 0.0, REFERENCE),
        Release("flights", 2, "g", 0.0, REFERENCE),
    )
    state = ProductState("flights", releases, (active, candidate), (SHOWN_R1,))
    looks = {active.name: active_look or seen(7, publishable=(snapshot(4),)), candidate.name: look}
    return decide(state, Observation(looks, SHOWS_R1, main_is_genesis=False), NOW)


def second(base: Attempt, **fields: Any) -> Attempt:
    return replace(base, release=2, **fields)


MANUAL = second(AUDITED, auto_switch=False)
WANTED = replace(MANUAL, promote=Move.switch)
BACK = second(STANDBY, promote=Move.rollback, positions=positions(2, 3, offsets=HALF))
FRESH_CHECKPOINT = seen(8, reached=WHOLE, publishable=(snapshot(8),))
READY = seen(5, publishable=(snapshot(5),))


def test_what_passed_its_checks_goes_before_the_live_one_publishes_again() -> None:
    got = beside(second(AUDITED), READY, active_look=FRESH_CHECKPOINT)
    assert got == Publish(second(AUDITED), snapshot(5), WHOLE, SHOWS_R1, Move.switch)


def test_a_person_decides_when_the_policy_says_so() -> None:
    got = beside(MANUAL, READY)
    assert isinstance(got, Wait)
    assert "r2-a1: its checks passed; readers see it after: kappa switch flights" in got.reason
    assert beside(WANTED, READY) == Publish(WANTED, snapshot(5), WHOLE, SHOWS_R1, Move.switch)


def test_a_switch_checks_anew_what_readers_are_to_see() -> None:
    look = seen(5, publishable=(snapshot(6),))
    late = replace(WANTED, positions=positions(4, 5), audited_checkpoint=3)
    assert beside(late, look) == Examine(late, snapshot(6))


def test_a_switch_wanted_early_waits_for_the_replay() -> None:
    early = second(running(), promote=Move.switch)
    got = beside(early, seen(0))
    assert isinstance(got, Wait)
    assert "r2-a1: replaying" in got.reason


def test_a_candidate_that_fell_behind_again_is_not_shown() -> None:
    got = beside(replace(second(AUDITED), near=1), READY)
    assert isinstance(got, Wait)
    assert "r2-a1: it fell behind again" in got.reason


def test_a_rollback_takes_the_newest_checkpoint_and_says_what_it_covers() -> None:
    got = beside(BACK, ObservedAttempt(POLICY, publishable=(snapshot(3), snapshot(2))))
    assert got == Publish(BACK, snapshot(3), HALF, SHOWS_R1, Move.rollback)


def test_a_rollback_comes_before_what_passed_its_checks() -> None:
    checked = second(AUDITED)
    back = replace(BACK, release=3)
    state = ProductState(
        "flights",
        tuple(Release("flights", n, "f", 0.0, REFERENCE) for n in (1, 2, 3)),
        (LIVE, checked, back),
        (SHOWN_R1,),
    )
    looks = {"r2-a1": READY, "r3-a1": ObservedAttempt(POLICY, publishable=(snapshot(3),))}
    got = decide(state, Observation(looks, SHOWS_R1, main_is_genesis=False), NOW)
    assert got == Publish(back, snapshot(3), HALF, SHOWS_R1, Move.rollback)


def test_a_rollback_needs_no_look_at_a_candidate() -> None:
    state = ProductState(
        "flights",
        tuple(Release("flights", n, "f", 0.0, REFERENCE) for n in (1, 2, 3)),
        (LIVE, BACK, replace(CAUGHT_UP, release=3)),
        (SHOWN_R1,),
    )
    looks = {"r2-a1": ObservedAttempt(POLICY, publishable=(snapshot(3),))}
    got = decide(state, Observation(looks, SHOWS_R1, main_is_genesis=False), NOW)
    assert got == Publish(BACK, snapshot(3), HALF, SHOWS_R1, Move.rollback)


def test_a_rollback_to_nothing_is_given_up() -> None:
    assert beside(BACK, ObservedAttempt(POLICY, publishable=())) == GiveUp(
        BACK, State.failed, "it has no checkpoint in every table to roll back to"
    )


def test_a_standby_waits_until_somebody_wants_it() -> None:
    assert step(STANDBY, seen(7, publishable=(snapshot(7),))) == Wait("r1-a1: on standby")


def test_a_switch_back_to_a_standby_never_shows_an_older_position() -> None:
    forward = replace(BACK, promote=Move.switch)
    got = beside(forward, seen(3, publishable=(snapshot(3),)))
    assert isinstance(got, Wait)
    assert "r2-a1: waiting for the next checkpoint in every table" in got.reason


@pytest.mark.parametrize(
    ("at", "live", "finished", "fits"),
    [
        pytest.param(
            60, {4: 60}, NOW - 40, True, id="all that the sources had read at its checkpoint"
        ),
        pytest.param(59, {4: 60}, NOW - 40, False, id="a record fewer"),
        pytest.param(
            60,
            {3: 50, 5: 60},
            NOW - 40,
            True,
            id="nobody saw that one: what they had read at a later one",
        ),
        pytest.param(59, {3: 50, 5: 60}, NOW - 40, False, id="a record fewer than that"),
        pytest.param(
            69,
            {3: 50},
            NOW - 40,
            False,
            id="it was lost before anybody saw one: what the log held soon after",
        ),
        pytest.param(70, {3: 50}, NOW - 40, True, id="that is covered"),
        pytest.param(70, {3: 50}, NOW - 10, True, id="what the log held right then"),
        pytest.param(70, {3: 50}, NOW - 9, False, id="nobody has looked since"),
    ],
)
def test_a_successor_holds_at_least_what_the_shown_one_may_hold(
    at: int, live: Mapping[int, int], finished: float, fits: bool
) -> None:
    """What is shown may hold more than it covers: records whose watermark had not come yet."""

    def log(offset: int) -> Mapping[str, Mapping[int, int]]:
        return {**REFERENCE, "flights": {0: offset, 1: 100}}

    shown = replace(
        LIVE,
        positions=tuple(
            Position(c, log(20), NOW - 50 + c, log(90), log(read)) for c, read in live.items()
        ),
    )
    mine = (
        Position(4, log(50), NOW - 100, log(90), log(50)),
        Position(5, log(at), NOW - 10, log(70), log(at)),
    )
    candidate = second(AUDITED, positions=mine)
    releases = (
        Release("flights", 1, "f", 0.0, REFERENCE),
        Release("flights", 2, "g", 0.0, REFERENCE),
    )
    state = ProductState(
        "flights",
        releases,
        (shown, candidate),
        (publication(4, covered=log(20), finished=finished),),
    )
    looks = {"r1-a1": seen(5, publishable=(snapshot(4),)), "r2-a1": READY}
    got = decide(state, Observation(looks, SHOWS_R1, main_is_genesis=False), NOW)
    assert isinstance(got, Publish if fits else Wait)


def test_a_position_by_committed_offsets_is_covered_by_later_checkpoints_only() -> None:
    """As earlier versions remember them: the offsets were read before the checkpoint, the watermark may follow it."""
    old = replace(CAUGHT_UP, positions=(Position(4, WHOLE), Position(5, WHOLE)))
    assert old.position_of(4) is None
    assert old.position_of(5) == Position(4, WHOLE)
    assert CAUGHT_UP.position_of(5) == positions(5)[0]
    assert CAUGHT_UP.position_of(9) == positions(5)[0]


def test_a_log_that_is_not_whole_any_more_keeps_the_candidate_from_readers() -> None:
    problems = ("topic flights: retention.ms=1000", "topic airlines: cleanup.policy=compact")
    got = beside(second(AUDITED), replace(READY, log_problems=problems))
    assert isinstance(got, Wait)
    assert got.notable
    assert (
        "r2-a1: the log must be whole before readers see a replay of it: topic flights: retention.ms=1000; topic "
        "airlines: cleanup.policy=compact"
    ) in got.reason
    lost = replace(READY, log_problems=("topic flights: begins at offset 9",), log_lost=True)
    assert isinstance(beside(second(AUDITED), lost), GiveUp)


def test_a_deadline_aborts_only_what_has_not_caught_up() -> None:
    assert isinstance(beside(second(running(), deadline=NOW), seen(0)), Wait)
    late = second(running(), deadline=NOW - 1, created=NOW - 61)
    assert beside(late, seen(0)) == GiveUp(
        late, State.aborted, "it had not caught up 60 s after its deploy"
    )
    assert isinstance(beside(second(MANUAL, deadline=NOW - 1, caught_up_at=NOW - 2), READY), Wait)


def test_a_branch_that_lost_a_checkpoint_was_tampered_with() -> None:
    gone = second(running(), positions=positions(5), tip=snapshot(5))
    look = seen(6, reached=WHOLE, publishable=(snapshot(6),))
    error = "somebody else dropped or moved branch {}: checkpoint 5 was in every table (rows=105) and no longer is"
    assert beside(gone, look) == GiveUp(gone, State.failed, error.format("r2-a1"))
    live = replace(LIVE, tip=snapshot(5))
    assert beside(second(running()), seen(0), live, look) == StartOver(live, error.format("r1-a1"))


def test_nobody_is_rolled_back_to_a_branch_that_was_tampered_with() -> None:
    back = replace(BACK, tip=snapshot(3))
    error = "branch r2-a1 is not what its job wrote: it has commits of other jobs: snapshot 9"
    assert beside(
        back,
        ObservedAttempt(
            POLICY, publishable=(), tampered="it has commits of other jobs: snapshot 9"
        ),
    ) == GiveUp(back, State.failed, error)
    assert isinstance(beside(back, ObservedAttempt(POLICY, publishable=(snapshot(4),))), GiveUp)


def test_a_moved_main_stops_publishing_and_nothing_else() -> None:
    fresh = second(attempt())
    look = seen(7, publishable=(snapshot(8),))
    live = replace(LIVE, positions=positions(6, 7))
    releases = (
        Release("flights", 1, "f", 0.0, REFERENCE),
        Release("flights", 2, "g", 0.0, REFERENCE),
    )
    state = ProductState("flights", releases, (live, fresh), (SHOWN_R1,))
    seen_both = Observation({live.name: look, fresh.name: GONE}, {"rows": 7}, main_is_genesis=False)
    assert decide(state, seen_both, NOW) == Submit(fresh)
    state = replace(state, attempts=(live, second(replace(SENT))))
    assert isinstance(decide(state, seen_both, NOW), Blocked)


def test_what_failed_just_now_comes_last() -> None:
    mine, other = attempt(), attempt(number=2, created=1.0)
    state = ProductState("flights", (Release("flights", 1, "f", 0.0, REFERENCE),), (mine, other))
    looks = Observation({mine.name: GONE, other.name: GONE})
    assert [
        decide(state, looks, NOW, last)
        for last in ((), ("r1-a1",), ("r1-a2", "r1-a1"), ("r1-a1", "r1-a2"))
    ] == [Submit(mine), Submit(other), Submit(other), Submit(mine)]
    over = ProductState(
        "flights", (), (replace(mine, state=State.failed), replace(other, state=State.failed))
    )
    assert decide(over, Observation(), NOW, ("r1-a1",)) == Clean(replace(other, state=State.failed))


def test_offsets_that_a_source_has_yet_to_commit_are_not_taken_for_deleted() -> None:
    """Each source commits by itself, its first offsets some seconds after the checkpoint."""
    a = running(
        positions=(
            replace(positions(4, offsets={"flights": {0: 100}})[0], at=NOW - 31),
            replace(positions(5)[0], at=NOW),
        ),
        committed=True,
    )
    assert step(a, seen(5, committed=committed("kappa job a checkpoint 4", 0))) == Wait(
        "r1-a1: replaying"
    )


def committed(by: str, *partitions: int) -> Mapping[str, Mapping[int, Committed]]:
    return {"flights": {p: Committed(100, by) for p in partitions}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param(
            committed("kappa job a checkpoint 4", 0, 1), "", id="its own, of an earlier checkpoint"
        ),
        pytest.param(
            {
                **committed("kappa job a checkpoint 4", 0),
                "flights": {0: Committed(100, "kappa job a checkpoint 4"), 1: Committed(7, "")},
            },
            "set flights-1 to 7",
            id="one was set",
        ),
        pytest.param(
            committed("", 0, 1), "set flights-0 to 100, flights-1 to 100", id="all were set"
        ),
        pytest.param(
            committed("kappa job other checkpoint 4", 0, 1),
            "set flights-0 to 100, flights-1 to 100",
            id="by another job",
        ),
        pytest.param(
            committed("kappa job a checkpoint 4", 1),
            "deleted those of flights-0",
            id="one was deleted",
        ),
        pytest.param({}, "deleted those of flights-0, flights-1", id="all were deleted"),
        pytest.param(
            committed("", 0), "set flights-0 to 100; deleted those of flights-1", id="both"
        ),
    ],
)
def test_who_changes_committed_offsets_is_named_and_nothing_else_changes(
    found: Mapping[str, Mapping[int, Committed]], said: str
) -> None:
    """Reference topics are read to an end, which may never be committed."""
    long_ago = replace(positions(4)[0], at=NOW - 31)
    a = running(positions=(long_ago, replace(positions(5)[0], at=NOW)), committed=True)
    look = seen(5, committed=found)
    note = (
        f"somebody changed the committed offsets of group kappa-flights-r1-a1: {said}. Nothing depends on them, "
        "and the job commits its own at its next checkpoint"
    )
    assert step(a, look) == (NoteForeignOffsets(a, note) if said else Wait("r1-a1: replaying"))
    if said:
        told = replace(a, foreign_offsets=note)
        assert step(told, look) == Wait("r1-a1: replaying")
        ours = seen(5, committed=committed("kappa job a checkpoint 5", 0, 1))
        assert step(told, ours) == NoteForeignOffsets(told, "")
    got = step(
        a,
        replace(
            look,
            position=CheckpointPosition(6, WHOLE, WHOLE),
            job=Job("a", "RUNNING", checkpoint=6),
        ),
    )
    assert isinstance(got, Record)
    assert got.position.offsets == WHOLE


@pytest.mark.parametrize(
    "a",
    [
        pytest.param(running(positions=positions(5)), id="nothing was committed yet"),
        pytest.param(
            running(positions=(Position(5, WHOLE, NOW - 1),), committed=True),
            id="by a connector that does not sign",
        ),
    ],
)
def test_nobody_is_blamed_without_cause(a: Attempt) -> None:
    assert step(a, seen(5, committed=committed("", 0))) == Wait("r1-a1: replaying")


@pytest.mark.parametrize(
    ("before", "seconds", "near"),
    [
        pytest.param(((NOW - 30, 40), (NOW - 5, 60)), 30, 1, id="ended here half a minute ago"),
        pytest.param(((NOW - 60, 40), (NOW - 5, 60)), 60, 1, id="as long ago as it may"),
        pytest.param(((NOW - 90, 40), (NOW - 5, 60)), 90, 0, id="too long ago"),
        pytest.param(((NOW - 9, 60),), None, 0, id="longer than is remembered"),
    ],
)
def test_the_lag_in_seconds_is_how_long_ago_the_log_ended_here(
    before: tuple[tuple[float, int], ...], seconds: float | None, near: int
) -> None:
    past = tuple(
        Position(i, {"flights": {0: 1}}, at, {"flights": {0: end}})
        for i, (at, end) in enumerate(before)
    )
    a = running(positions=past)
    look = seen(9, reached={"flights": {0: 50}}, ends={"flights": {0: 55}}, reference={})
    got = step(a, look)
    assert isinstance(got, Record)
    assert lag_seconds((*past, got.position)) == seconds
    assert got.near == near


def test_of_more_standbys_than_wanted_those_are_retired_that_readers_left_first() -> None:
    old, newer = (
        replace(STANDBY, created=2.0, left_at=3.0),
        second(STANDBY, created=1.0, left_at=4.0),
    )
    releases = (
        Release("flights", 1, "f", 0.0, REFERENCE),
        Release("flights", 2, "g", 0.0, REFERENCE),
    )
    looks = {a.name: seen(7, publishable=()) for a in (old, newer)}
    got = decide(ProductState("flights", releases, (old, newer)), Observation(looks), NOW)
    assert got == GiveUp(old, State.retired, "")


def test_what_is_over_is_cleaned_up_unless_readers_see_it() -> None:
    shown, other = replace(LIVE, state=State.failed), second(running(), state=State.aborted)
    state = ProductState("flights", (), (shown, other), (SHOWN_R1,))
    assert decide(state, Observation(main=SHOWN_R1.after, main_is_genesis=False), NOW) == Clean(
        other
    )
    state = replace(state, attempts=(shown, replace(other, cleaned=True)))
    assert decide(state, Observation(), NOW) == Wait("no attempt is running")


def test_nothing_is_cleaned_up_while_main_is_not_where_it_should_be() -> None:
    """What readers are to see again may be on no other ref than a branch that is to go."""
    shown, other = replace(LIVE, state=State.failed), second(running(), state=State.aborted)
    state = ProductState("flights", (), (shown, other), (SHOWN_R1,))
    assert decide(state, Observation(main={"rows": 7}, main_is_genesis=False), NOW) == Blocked(
        "somebody else moved main of flights: publishing stops here",
        expected="r1-a1, checkpoint 4: rows=104",
        found="rows=7",
        next="put main back to the expected snapshots; publishing then continues",
    )
    old = replace(LIVE, state=State.standby, release=3, tip=snapshot(4))
    state = replace(state, attempts=(shown, other, old))
    looks = Observation({"r3-a1": seen(7)}, main={"rows": 7}, main_is_genesis=False)
    assert decide(state, looks, NOW) == Expire(old), "other chores go on"


@pytest.mark.parametrize("shown", [4, None])
def test_checks_of_a_later_release_run_on_what_readers_see_of_the_active_attempt(
    shown: int | None,
) -> None:
    """None: they see another attempt's tables still."""
    active = replace(LIVE, recheck=True)
    published = publication(4, attempt=1 if shown else 7)
    got = step(active, seen(7, publishable=()), published, main=SHOWS_R1, genesis=False)
    waits = Wait("r1-a1: waiting for the next checkpoint in every table")
    assert got == (Recheck(active, published) if shown else waits)


OWN = second(attempt(), cluster="flights-r2-a1")
STARTED = replace(OWN, rest="http://there")


@pytest.mark.parametrize(
    ("a", "look", "expected"),
    [
        pytest.param(
            OWN,
            ObservedAttempt(POLICY, unreachable="x", cluster_gone=True),
            StartCluster(OWN),
            id="not started",
        ),
        pytest.param(
            STARTED,
            ObservedAttempt(POLICY, unreachable="x", cluster_gone=True),
            StartCluster(STARTED),
            id="gone",
        ),
        pytest.param(STARTED, ObservedAttempt(POLICY), Submit(STARTED), id="it answers"),
        pytest.param(
            replace(STARTED, stop=State.aborted),
            ObservedAttempt(POLICY, unreachable="x"),
            End(replace(STARTED, stop=State.aborted)),
            id="its job goes with it",
        ),
    ],
)
def test_a_cluster_of_its_own(a: Attempt, look: ObservedAttempt, expected: Step) -> None:
    assert beside(a, look) == expected


def test_the_cluster_that_readers_depend_on_gets_its_share_of_the_machine_once() -> None:
    live = replace(LIVE, cluster="flights-r1-a1", rest="http://here")
    assert beside(second(running()), seen(0), live) == Prioritize(live)
    assert isinstance(beside(second(running()), seen(0), replace(live, normal_priority=True)), Wait)


def test_a_cluster_that_does_not_answer_yet_is_waited_for() -> None:
    assert isinstance(beside(STARTED, ObservedAttempt(POLICY, unreachable="x")), Wait)


LEAVING = running(
    release=3,
    job_ids=("c",),
    cluster="flights-r3-a1",
    rest="http://room",
    shadow=True,
    scheduled=True,
    stop=State.aborted,
)


@pytest.mark.parametrize(
    ("other", "waits"),
    [
        pytest.param(LEAVING, True, id="a verification makes room"),
        pytest.param(replace(LEAVING, stop=None), False, id="one that was not told to"),
        pytest.param(replace(LEAVING, scheduled=False), False, id="a shadow of somebody's own"),
        pytest.param(
            replace(LEAVING, shadow=False, scheduled=False), False, id="another candidate that ends"
        ),
        pytest.param(replace(LEAVING, cluster="", rest=""), False, id="one that has no cluster"),
    ],
)
def test_a_cluster_is_started_when_a_verification_has_left_its_room(
    other: Attempt, waits: bool
) -> None:
    state = ProductState(
        "flights", tuple(Release("flights", n, "f", 0.0, REFERENCE) for n in (2, 3)), (OWN, other)
    )
    looks = {
        "r2-a1": ObservedAttempt(POLICY, unreachable="x", cluster_gone=True),
        "r3-a1": seen(status="CANCELLING"),
    }
    got = decide(state, Observation(looks), NOW)
    assert got == (
        Wait("r2-a1: the Flink cluster of r3-a1 ends first; r3-a1: its job is being cancelled")
        if waits
        else StartCluster(OWN)
    )


def test_old_snapshots_of_a_live_branch_are_removed_now_and_then() -> None:
    live = replace(LIVE, tip=snapshot(4), created=NOW - EXPIRY_SECONDS)
    assert isinstance(beside(second(running()), seen(0), live), Wait)
    live = replace(live, created=NOW - EXPIRY_SECONDS - 1)
    assert beside(second(running()), seen(0), live) == Expire(live)
    assert isinstance(beside(second(running()), seen(0), replace(live, expired_at=NOW - 1)), Wait)
    ahead = replace(live, expired_at=NOW + 86_400)
    assert beside(second(running()), seen(0), ahead) == Expire(ahead), (
        "by a clock that was set back since"
    )
    now = replace(live, created=NOW + 86_400, expired_at=NOW - 1)
    assert isinstance(beside(second(running()), seen(0), now), Wait), (
        "once, also where it was made by such a clock"
    )


@pytest.mark.parametrize(
    ("caught_up_at", "reached", "expected"),
    [
        pytest.param(None, 100, False, id="a replay has to come near the end as it is now"),
        pytest.param(None, 170, True, id="within the limit of it"),
        pytest.param(
            NOW - 20,
            100,
            True,
            id="one that has caught up: all that was there at the checkpoint before",
        ),
        pytest.param(NOW - 20, 90, True, id="less the limit"),
        pytest.param(NOW - 20, 89, False, id="it fell behind"),
    ],
)
def test_what_arrives_between_two_checkpoints_is_no_lag_of_one_that_has_caught_up(
    caught_up_at: float | None, reached: int, expected: bool
) -> None:
    """180 records are there now, 100 were there when the checkpoint before was seen; 10 may be missing."""
    first = Position(0, {"flights": {0: 80}, **REFERENCE}, NOW - 15, {"flights": {0: 80}})
    before = Position(1, {"flights": {0: 89}, **REFERENCE}, NOW - 10, {"flights": {0: 89}})
    last = Position(2, {"flights": {0: 89}, **REFERENCE}, NOW - 5, {"flights": {0: 100}})
    now = Position(3, {"flights": {0: reached}, **REFERENCE}, NOW, {"flights": {0: 180}})
    attempt = Attempt(
        "flights", 2, 1, 0.0, 2, ("j",), positions=(first, before, last), caught_up_at=caught_up_at
    )
    assert is_near(attempt, now, ObservedAttempt(POLICY, reference=REFERENCE)) is expected
