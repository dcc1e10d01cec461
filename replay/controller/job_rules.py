"""What to do about an attempt's job that is not known to run, or is not to run any more. Pure.

It is submitted, and may be on its way; it is lost, or it ended, and is resumed from a checkpoint, or started over; it
is stopped with everything that may still arrive of it.
"""

from __future__ import annotations

from replay.core.model import CANDIDATE, Attempt, State
from replay.core.observed import ObservedAttempt
from replay.core.steps import (
    Cancel,
    End,
    GiveUp,
    NoteMissing,
    NoteRefused,
    NoteSubmitting,
    Resume,
    StartOver,
    Step,
    Submit,
    Wait,
)

CANCELLING = "CANCELLING"
"""What Flink calls a job that was cancelled and has tasks left."""
LOST_ANSWER_SECONDS = 60.0
"""How long a submitted job id may be unknown to Flink before the submission counts as never arrived."""
ORPHANED_SECONDS = 300.0
"""How long a client may take to hand a job to Flink, and the job to arrive there, whether or not the client's end was
seen: a controller kills its own clients after three minutes."""
MISSING_SECONDS = 5.0
"""How long a job that ran may be unknown to Flink before it counts as lost with its JobManager."""
REFUSED_SECONDS = 120.0
"""How long after a refused resumption of what readers depend on the next one follows: a client costs the machine 10 s,
and what refused it (an archive, a jar, a disk) is put right by people."""
LONGEST_PAUSE_SECONDS = 3600.0
"""The longest pause between two resumptions of a job that fails each time before its first checkpoint."""


def unconfirmed(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    """Flink does not know a job that it has not been seen to run."""
    if attempt.submitted_at is None:
        return Submit(attempt)
    if refusal := _new_refusal(attempt, seen.client.refused):
        return refusal
    if _is_to_come(attempt.submitted_at, now):
        return NoteSubmitting(attempt)
    if wait := _before_next_submission(attempt, seen, now - attempt.submitted_at):
        return wait
    # Absent for long enough. If the job id did run for a while before the cluster forgot it, it must not run again:
    # a sink that meets its own job id without its state commits nothing. With no trace of it the same id is safest,
    # as Flink refuses it should the first submission still be on its way.
    return lost(attempt, seen, now) if _left_a_trace(attempt, seen) else Submit(attempt)


def _new_refusal(attempt: Attempt, refused: str) -> GiveUp | NoteRefused | None:
    """What follows from the refusal of its client, unless it is known: a candidate ends by it."""
    if not refused:
        return None
    if attempt.state in CANDIDATE:
        return GiveUp(attempt, State.failed, refused)
    return None if refused == attempt.refused else NoteRefused(attempt, refused)


def _before_next_submission(attempt: Attempt, seen: ObservedAttempt, waited: float) -> Wait | None:
    """Why it is not submitted again yet, so many seconds after it was."""
    if attempt.refused:
        if waited >= REFUSED_SECONDS:
            return None
        return Wait(
            f"{_refused(attempt)}; it is tried again every {REFUSED_SECONDS:.0f} s", notable=True
        )
    if waited >= LOST_ANSWER_SECONDS:
        return None
    trouble = f": {seen.client.trouble}" if seen.client.trouble else ""
    return Wait(f"asking Flink whether the submission arrived{trouble}", notable=bool(trouble))


def _left_a_trace(attempt: Attempt, seen: ObservedAttempt) -> bool:
    resumed_from = max(
        (c for c, path in seen.retained.items() if path == attempt.restore), default=0
    )
    newest = max([*seen.retained, *(c.id for c in seen.commits)], default=0)
    return newest > resumed_from


def lost(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    """Flink does not know a job that has run."""
    if attempt.confirmed and (
        attempt.missing_since is None or _is_to_come(attempt.missing_since, now)
    ):
        return NoteMissing(attempt, missing=True)
    if attempt.missing_since is not None and now - attempt.missing_since < MISSING_SECONDS:
        return Wait("Flink does not know its job")
    return _resume(attempt, seen, "the cluster lost its job")


def ended(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    """Its job ended, and not by this controller: what readers depend on goes on from its last checkpoint.

    It is never given up, however often it fails: an attempt that has ended cannot be resumed once the cause is found.
    """
    assert seen.job is not None
    why = f"its job became {seen.job.status}, and not by this controller"
    if seen.job.error:
        why += f": {seen.job.error}"
    if attempt.state not in (State.active, State.standby):
        return GiveUp(attempt, State.failed, why)
    pause = _pause(attempt.resumes - seen.policy.max_restarts)
    if pause and attempt.submitted_at is not None and abs(now - attempt.submitted_at) < pause:
        return Wait(
            f"{why}; {attempt.resumes} resumptions in a row reached no checkpoint, the next one follows "
            f"{pause:,.0f} s after the last; readers keep what they see",
            notable=True,
        )
    return _resume(attempt, seen, why)


def _pause(failures: int) -> float:
    """Seconds between two resumptions, after so many failures beyond those allowed at once: 60, doubled each time."""
    return min(60.0 * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS) if failures >= 0 else 0.0


def _resume(attempt: Attempt, seen: ObservedAttempt, why: str) -> Step:
    newest = max(seen.retained, default=0)
    committed = max([attempt.checkpoint, *(c.id for c in seen.commits)], default=0)
    if newest and newest >= committed:
        return Resume(attempt, newest, seen.retained[newest], why)
    # From an older checkpoint the sink would write again what the tables already have.
    kept = f"the newest one kept is {newest}" if newest else "none was kept"
    return _start_over(
        attempt, f"{why} after checkpoint {committed}, and of its checkpoints {kept}"
    )


def _start_over(attempt: Attempt, error: str) -> Step:
    """Start over from offset zero. A standby or a shadow is given up instead."""
    if attempt.state is State.standby or attempt.shadow:
        return GiveUp(attempt, State.failed, error)
    return StartOver(attempt, error)


def submitting(attempt: Attempt, now: float) -> NoteSubmitting | Wait:
    """Its client is at work; the time is noted again and again, as it counts from the client's end."""
    assert attempt.submitted_at is not None
    if now - attempt.submitted_at > LOST_ANSWER_SECONDS / 3 or _is_to_come(
        attempt.submitted_at, now
    ):
        return NoteSubmitting(attempt)
    if attempt.refused:
        return Wait(f"{_refused(attempt)}; flink run is running again", notable=True)
    return Wait("flink run is running")


def _refused(attempt: Attempt) -> str:
    return f"its resumption was refused, and readers keep what they see: {attempt.refused}"


def _is_to_come(noted: float, now: float) -> bool:
    """Whether the clock was set back since: what is to follow a while after a time would wait for as long besides."""
    return noted - now > LOST_ANSWER_SECONDS


def stop(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    """End its job, or the cluster that it has to itself, and leave no submission on its way."""
    if arriving := _may_arrive(attempt, seen, now):
        return arriving
    if attempt.cluster and (not attempt.rest or seen.unreachable):
        return End(attempt)  # its job goes with its cluster
    if seen.unreachable:
        return Wait(with_exit_reason(seen.unreachable, seen.exit_reason), notable=True)
    job = None if seen.job is None or seen.job.ended else seen.job
    if job and job.status == CANCELLING and not seen.superseded:
        return Wait("its job is being cancelled")
    left = (*seen.superseded, *([job.id] if job else []))
    return Cancel(attempt, left) if left else End(attempt)


def _may_arrive(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step | None:
    """Not before its client has ended: it would submit the job to the next cluster that has these ports."""
    submitted = attempt.submitted_at
    if seen.job is not None or attempt.confirmed or submitted is None or seen.client.refused:
        return None
    if seen.client.under_way:
        return submitting(attempt, now)
    if _is_to_come(submitted, now):
        return NoteSubmitting(attempt)
    if now - submitted < ORPHANED_SECONDS:
        return Wait("its submission may still arrive; it is stopped then")
    return None


def with_exit_reason(error: str, exit_reason: str) -> str:
    return f"{error} ({exit_reason})" if exit_reason else error
