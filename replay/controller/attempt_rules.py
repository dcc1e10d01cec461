"""What is asked of one attempt: rules in their order, of which the first that has something to say decides. Pure.

`RULES`, at the end, is the order. What to do about a job is in job_rules.py, when readers see a checkpoint in
publish_rules.py, when a shadow verifies in schedule.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from replay import offsets
from replay.controller import job_rules, schedule
from replay.controller.publish_rules import moved_by_somebody, publish, snapshots
from replay.core import partitions
from replay.core.committed import foreign_offsets
from replay.core.lag import is_near
from replay.core.model import (
    CANDIDATE,
    Attempt,
    CheckpointPosition,
    Move,
    Position,
    ProductState,
    State,
)
from replay.core.observed import Case, Observation, ObservedAttempt
from replay.core.steps import (
    Cancel,
    Confirm,
    GiveUp,
    NoteForeignOffsets,
    NoteLateDropped,
    NoteMissing,
    NotePartitions,
    Publish,
    Record,
    StartCluster,
    StartOver,
    Step,
    Wait,
)

UNKNOWN_CHECKPOINTS = 3
"""A source writes its position a moment after a checkpoint; so many without one are odd."""


def of_attempt(state: ProductState, attempt: Attempt, observation: Observation, now: float) -> Step:
    """What the first of `RULES` says that has something to say."""
    seen = observation.attempts.get(attempt.name)
    if seen is None:
        return Wait("not observed yet")
    case = Case(state, attempt, observation, seen, now)
    return next(step for rule in RULES if (step := rule(case)))


def _stops(case: Case) -> Step | None:
    """A person, or this controller, has put an end to it."""
    return job_rules.stop(case.attempt, case.seen, case.now) if case.attempt.stop else None


def _rolls_back(case: Case) -> Step | None:
    """Its tables are enough: its job need not even run."""
    return _roll_back(case) if case.attempt.promote is Move.rollback else None


def _given_up(case: Case) -> Step | None:
    """Reasons to end an attempt that readers do not see."""
    attempt, seen = case.attempt, case.seen
    if attempt.state is State.standby:
        return GiveUp(attempt, State.retired, "") if _is_surplus(case) else None
    if attempt.state not in CANDIDATE:
        return None
    deadline = attempt.deadline
    if deadline is not None and case.now > deadline and attempt.caught_up_at is None:
        allowed = deadline - attempt.created
        return GiveUp(
            attempt, State.aborted, f"it had not caught up {allowed:,.0f} s after its deploy"
        )
    failure = _failure(attempt, seen)
    return GiveUp(attempt, State.failed, failure) if failure else None


def _is_surplus(case: Case) -> bool:
    """Whether there are newer standbys, as many as are kept, and nobody asks for this one."""
    standbys = case.state.standbys
    surplus = standbys[: max(0, len(standbys) - case.seen.policy.standbys)]
    return case.attempt in surplus and not case.attempt.promote


def _failure(attempt: Attempt, seen: ObservedAttempt) -> str:
    """Why a candidate cannot go on; empty: it can."""
    if seen.job and (restarts := seen.job.restarts - attempt.restarts) > seen.policy.max_restarts:
        error = job_rules.with_exit_reason(seen.job.error, seen.exit_reason)
        return f"its job restarted {restarts} times without a checkpoint in between: {error}"
    if seen.log_changes:
        return f"the log is not the one that it has read: {'; '.join(seen.log_changes)}"
    if seen.log_lost:
        return f"records of the log are gone: {'; '.join(seen.log_problems)}"
    return ""


def _needs_cluster(case: Case) -> Step | None:
    """Of its own, where it has none yet, or where that is gone."""
    attempt = case.attempt
    if not attempt.cluster or (attempt.rest and not case.seen.cluster_gone):
        return None
    if leaving := _leaving(case.state, attempt):
        return Wait(f"the Flink cluster of {leaving.name} ends first")
    return StartCluster(attempt)


def _leaving(state: ProductState, candidate: Attempt) -> Attempt | None:
    """A shadow that was stopped for this candidate and still has its Flink cluster."""
    if candidate.shadow:
        return None
    return next((a for a in state.live if a.shadow and a.scheduled and a.stop and a.cluster), None)


def _is_being_submitted(case: Case) -> Step | None:
    """Its client is at work, and Flink does not know the job yet."""
    attempt, seen = case.attempt, case.seen
    if seen.client.under_way and seen.job is None and not attempt.confirmed:
        return job_rules.submitting(attempt, case.now)
    return None


def _is_out_of_reach(case: Case) -> Step | None:
    """Nothing is known of a job whose cluster does not answer."""
    seen = case.seen
    if not seen.unreachable:
        return None
    return Wait(
        job_rules.with_exit_reason(seen.unreachable, seen.exit_reason),
        notable=case.attempt.confirmed,
    )


def _tampered(case: Case) -> Step | None:
    """A checkpoint that was in every table must stay there: Iceberg recreates a dropped branch, from other rows."""
    attempt, seen = case.attempt, case.seen
    if seen.tampered:
        error = f"branch {attempt.name} is not what its job wrote: {seen.tampered}"
    elif seen.publishable is None or attempt.tip is None or attempt.tip in seen.publishable:
        return None
    else:
        error = (
            f"somebody else dropped or moved branch {attempt.name}: checkpoint {attempt.tip.id} was in every "
            f"table ({snapshots(attempt.tip.snapshots)}) and no longer is"
        )
    if attempt.state is State.active:
        return StartOver(attempt, error)
    return GiveUp(attempt, State.failed, error)


def _has_rivals(case: Case) -> Step | None:
    """Earlier jobs of its own still run: two writers on one branch."""
    return Cancel(case.attempt, case.seen.superseded) if case.seen.superseded else None


def _has_no_job(case: Case) -> Step | None:
    """Flink answers, and does not know its job."""
    if case.seen.job is not None:
        return None
    find = job_rules.lost if case.attempt.confirmed else job_rules.unconfirmed
    return find(case.attempt, case.seen, case.now)


def _has_arrived(case: Case) -> Step | None:
    """Its job is there for the first time since it was submitted."""
    return None if case.attempt.confirmed else Confirm(case.attempt)


def _has_ended(case: Case) -> Step | None:
    job = case.seen.job
    return job_rules.ended(case.attempt, case.seen, case.now) if job and job.ended else None


def _is_there_again(case: Case) -> Step | None:
    """After a while in which Flink did not know it."""
    missing = case.attempt.missing_since is not None
    return NoteMissing(case.attempt, missing=False) if missing else None


def _dropped_records(case: Case) -> Step | None:
    """As late, in an operator: its tables lack rows."""
    dropped = _most_dropped(case.attempt, case.seen)
    if dropped == case.attempt.late_dropped:
        return None
    return NoteLateDropped(case.attempt, dropped)


def _most_dropped(attempt: Attempt, seen: ObservedAttempt) -> Mapping[str, int]:
    """Operator → late records dropped, the most that was ever seen."""
    known = attempt.late_dropped
    return {**known, **{o: max(count, known.get(o, 0)) for o, count in seen.late_dropped.items()}}


def _gained_partitions(case: Case) -> Step | None:
    """One of its topics has more partitions than were told."""
    log, seen = case.attempt.log, case.seen
    if not (grown := partitions.grown(log, seen.ends)):
        return None
    return NotePartitions(
        case.attempt, grown, partitions.news(log, seen.ends, seen.policy.together)
    )


def _has_a_position(case: Case) -> Step | None:
    """Of a checkpoint that is not recorded yet."""
    position = case.seen.position
    if position is None or position.checkpoint <= case.attempt.checkpoint:
        return None
    if case.seen.stalled_watermarks:
        return _has_no_watermark(case.seen)
    return _record(case.attempt, case.seen, position, case.now)


def _has_no_watermark(seen: ObservedAttempt) -> Wait:
    """No claim about what a checkpoint covers: while a partition has not told the log's time, windows and joins hold
    back even rows of records below its position."""
    waits = (
        seen.held_back or "results wait until every partition of every unbounded topic has a record"
    )
    return Wait(
        f"no watermark has reached {len(seen.stalled_watermarks)} operators since the job was (re)started: "
        f"{waits}",
        notable=True,
    )


def _record(
    attempt: Attempt, seen: ObservedAttempt, reached: CheckpointPosition, now: float
) -> Record:
    assert seen.job is not None
    # What an earlier checkpoint covers, a later one does too: a source that was just restored claims less.
    before = attempt.positions[-1].offsets if attempt.positions else {}
    position = Position(
        reached.checkpoint, offsets.latest(reached.covered, before), now, seen.ends, reached.read
    )
    near = attempt.near + 1 if is_near(attempt, position, seen) else 0
    tip = seen.commits[0] if seen.commits else attempt.tip
    return Record(
        attempt,
        position,
        near,
        seen.job.restarts,
        tip,
        caught_up=near >= seen.policy.lag_limit.checkpoints,
        committed=any(seen.committed.values()),
    )


def _has_foreign_offsets(case: Case) -> Step | None:
    """Offsets of its consumer group were committed or removed from outside."""
    attempt, seen = case.attempt, case.seen
    note = foreign_offsets(attempt, seen.committed, seen.ends)
    return None if note == attempt.foreign_offsets else NoteForeignOffsets(attempt, note)


def _goes_on(case: Case) -> Step:
    """Its job runs, and everything that was observed is recorded: publish, or follow the verification."""
    attempt, seen = case.attempt, case.seen
    if attempt.shadow and attempt.scheduled:
        step = schedule.follow(case.state, attempt, seen, case.now)
    else:
        step = publish(case)
    newest = seen.job.checkpoint if seen.job else 0
    if isinstance(step, Wait) and newest - attempt.checkpoint >= UNKNOWN_CHECKPOINTS:
        return _position_unknown(attempt, newest)
    return step


def _position_unknown(attempt: Attempt, checkpoint: int) -> Wait:
    since = f"since checkpoint {attempt.checkpoint}" if attempt.checkpoint else "so far"
    return Wait(
        f"checkpoint {checkpoint} is complete, and its sources have not written their positions, {since}: the "
        "JobManager's log says why, unless its connector is of an earlier version",
        notable=True,
    )


def _roll_back(case: Case) -> Step:
    """The newest checkpoint it has, older than what readers see or not; its job need not even run."""
    attempt, observation = case.attempt, case.observation
    if moved := moved_by_somebody(case.state, observation):
        return moved
    if tampered := _tampered(case):
        return tampered
    for checkpoint in case.seen.commits:
        if position := attempt.position_of(checkpoint.id):
            return Publish(attempt, checkpoint, position.offsets, observation.main, Move.rollback)
    return GiveUp(attempt, State.failed, "it has no checkpoint in every table to roll back to")


RULES: tuple[Callable[[Case], Step | None], ...] = (
    _stops,
    _rolls_back,
    _given_up,
    _needs_cluster,
    _is_being_submitted,
    _is_out_of_reach,
    _tampered,
    _has_rivals,
    _has_no_job,
    _has_arrived,
    _has_ended,
    _is_there_again,
    _dropped_records,
    _gained_partitions,
    _has_a_position,
    _has_foreign_offsets,
    _goes_on,
)
"""What is asked of one attempt, in this order: each rule may rely on all before it having had nothing to say, and the
last one always answers. What people decided comes first, then whether there is a job, then what it has done."""
