"""What to do next: a pure function of what is remembered, what was seen and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from replay import offsets
from replay.controller import schedule
from replay.controller.news import told
from replay.controller.publish_rules import moved_by_somebody, moved_meanwhile, publish, snapshots
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
    Blocked,
    Cancel,
    Clean,
    Confirm,
    End,
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
    Reclean,
    Record,
    Resume,
    StartCluster,
    StartOver,
    Step,
    Submit,
    Verify,
    Wait,
)

CANCELLING = "CANCELLING"
"""What Flink calls a job that was cancelled and has tasks left."""
EXPIRY_SECONDS = 600.0
"""How often old snapshots of a live branch are removed: each checkpoint makes one in every table."""
HELD_CHECKPOINTS = 3
"""For so many checkpoints of an attempt that is about to be shown the active one publishes nothing: the first may have
been under way before the last publication, the second covers it, and its tables may commit with the third."""
LOST_ANSWER_SECONDS = 60.0
"""How long a submitted job id may be unknown to Flink before the submission counts as never arrived."""
UNKNOWN_CHECKPOINTS = 3
"""A source writes its position a moment after a checkpoint; so many without one are odd."""
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


def decide(state: ProductState, seen: Observation, now: float, last: Sequence[str] = ()) -> Step:
    """The next step. An unfinished intent comes first, then each attempt, beginning with those that readers depend on.

    Attempts named in `last` come after the others, in this order, because something that they needed has just failed.
    """
    if state.unfinished:
        return moved_meanwhile(state.unfinished, seen) or FinishPublish(state.unfinished)
    waits: list[Wait] = []
    blocked = None
    for step in _of_attempts(state, seen, now, last):
        if isinstance(step, Wait):
            waits.append(step)
        elif isinstance(step, Blocked):  # only publishing stops: what runs goes on
            blocked = blocked or step
        else:
            return step
    return blocked or _chore(state, seen, now, last) or _joined(waits)


def _of_attempts(
    state: ProductState, seen: Observation, now: float, last: Sequence[str]
) -> Iterator[Step]:
    """What is to be done for each live attempt, the most urgent first."""
    successor = _about_to_be_shown(state, seen, now, last)
    for attempt in sorted(state.live, key=lambda a: (_place(a, last), _urgency(a))):
        step = _attempt(state, attempt, seen, now)
        if successor and isinstance(step, Publish) and step.kind is Move.publish:
            step = Wait(f"publishes nothing until {successor.name} is checked")
        if isinstance(step, Wait):
            step = told(step, attempt, seen.attempts.get(attempt.name), now)
            reason = f"{attempt.name}: {step.reason}"
            news = f"{attempt.name}: {step.news or step.reason}"
            step = Wait(reason, step.notable, attempt, news)
        yield step


def _chore(state: ProductState, seen: Observation, now: float, last: Sequence[str]) -> Step | None:
    """The first thing that could wait until no attempt needed anything."""
    chores = _chores(state, seen, now)
    moved = moved_by_somebody(state, seen)
    # What readers are to see again once main is put back may be on no other ref than a branch that is to go.
    kept = [c for c in chores if not (moved and isinstance(c, Clean))]
    if kept:
        return min(
            kept, key=lambda c: _place(c.shown if isinstance(c, Verify) else c.attempt, last)
        )
    return moved if chores else None


def _joined(waits: Sequence[Wait]) -> Wait:
    """What all attempts wait for, in one step; what a person should notice is named first."""
    if not waits:
        return Wait("no attempt is running")
    notable = [w for w in waits if w.notable]
    about = notable or waits
    return Wait(
        "; ".join(w.reason for w in (*notable, *(w for w in waits if w not in notable))),
        bool(notable),
        about[0].attempt if len(about) == 1 else None,
        "; ".join(w.news for w in notable),
    )


def _urgency(attempt: Attempt) -> int:
    """Operator commands come first, then what readers are about to see.

    If the active attempt published before that, the checkpoint that has just passed its checks might no longer cover
    what readers see, and the checks would have to be repeated.
    """
    if attempt.promote:
        return 0
    if attempt.state is State.audited and attempt.auto_switch:
        return 1
    return 2 if attempt.state is State.active else 3


def _about_to_be_shown(
    state: ProductState, observation: Observation, now: float, last: Sequence[str]
) -> Attempt | None:
    """The attempt of which a checkpoint is to be checked, and then shown.

    Such a checkpoint must cover all that readers see. While records keep arriving, each publication of the active
    attempt asks for more than the checkpoint on hand covers, and would put the switch off for ever. So it waits; not
    for one that fails, or whose checkpoints do not come.
    """
    shown = state.published.finished if state.published else None
    if shown is None or shown > now:
        # by a clock that was set back since: what has come after it cannot be told
        return None
    for attempt in state.live:
        seen = observation.attempts.get(attempt.name)
        if seen is None or attempt.name in last or not _wanted(attempt) or not _able(attempt, seen):
            continue
        since = sum(p.at > shown for p in attempt.positions)
        if (
            since < HELD_CHECKPOINTS
            and abs(now - attempt.positions[-1].at) <= seen.policy.lag_limit.seconds
        ):
            return attempt
    return None


def _wanted(attempt: Attempt) -> bool:
    """Whether it is to be checked, or shown, as soon as possible."""
    if (
        attempt.stop
        or attempt.shadow
        or attempt.state not in (State.caught_up, State.audited, State.standby)
    ):
        return False
    shown_next = attempt.promote is Move.switch or (
        attempt.auto_switch and attempt.state is State.audited
    )
    return shown_next or attempt.state is State.caught_up


def _able(attempt: Attempt, seen: ObservedAttempt) -> bool:
    """Whether nothing but the right checkpoint is missing."""
    runs = seen.job is not None and not seen.job.ended
    near = attempt.state is State.standby or attempt.near >= seen.policy.lag_limit.checkpoints
    in_the_way = seen.log_problems or seen.log_changes or seen.tampered or attempt.late_dropped
    return runs and near and bool(attempt.positions) and not in_the_way


def _place(attempt: Attempt, last: Sequence[str]) -> int:
    return last.index(attempt.name) + 1 if attempt.name in last else 0


def _chores(
    state: ProductState, seen: Observation, now: float
) -> list[Recheck | Prioritize | Reclean | Clean | Expire | Verify]:
    """What can wait. Of an ended attempt nothing is kept, unless readers still see its tables."""
    published, active = state.published, state.active
    shown = published.attempt_name if published else None
    at_ease = (
        active and active.cluster and active.rest and not active.normal_priority and not active.stop
    )
    return [
        *(
            [Recheck(active, published)]
            if active and published and active.recheck and active.name == shown
            else []
        ),
        *([Prioritize(active)] if active and at_ease else []),
        *(Reclean(a) for a in state.attempts if a.cleaned and a.name in seen.strays),
        *(Clean(a) for a in state.attempts if a.ended and not a.cleaned and a.name != shown),
        *(
            Expire(a)
            for a in state.live
            if a.tip and not a.stop and abs(now - (a.expired_at or a.created)) > EXPIRY_SECONDS
        ),
        *([verify] if (verify := schedule.begin(state, seen, now)) else []),
    ]


def _attempt(state: ProductState, attempt: Attempt, observation: Observation, now: float) -> Step:
    """What the first of `RULES` says that has something to say."""
    seen = observation.attempts.get(attempt.name)
    if seen is None:
        return Wait("not observed yet")
    case = Case(state, attempt, observation, seen, now)
    return next(step for rule in RULES if (step := rule(case)))


def _stops(case: Case) -> Step | None:
    """A person, or this controller, has put an end to it."""
    return _stop(case.attempt, case.seen, case.now) if case.attempt.stop else None


def _rolls_back(case: Case) -> Step | None:
    """Its tables are enough: its job need not even run."""
    return _roll_back(case) if case.attempt.promote is Move.rollback else None


def _needs_cluster(case: Case) -> Step | None:
    """Of its own, where it has none yet, or where that is gone."""
    attempt = case.attempt
    if not attempt.cluster or (attempt.rest and not case.seen.cluster_gone):
        return None
    if leaving := _leaving(case.state, attempt):
        return Wait(f"the Flink cluster of {leaving.name} ends first")
    return StartCluster(attempt)


def _is_being_submitted(case: Case) -> Step | None:
    """Its client is at work, and Flink does not know the job yet."""
    attempt, seen = case.attempt, case.seen
    if seen.client.under_way and seen.job is None and not attempt.confirmed:
        return _submitting(attempt, case.now)
    return None


def _is_out_of_reach(case: Case) -> Step | None:
    """Nothing is known of a job whose cluster does not answer."""
    seen = case.seen
    if not seen.unreachable:
        return None
    return Wait(_with(seen.unreachable, seen.exit_reason), notable=case.attempt.confirmed)


def _has_rivals(case: Case) -> Step | None:
    """Earlier jobs of its own still run: two writers on one branch."""
    return Cancel(case.attempt, case.seen.superseded) if case.seen.superseded else None


def _has_no_job(case: Case) -> Step | None:
    """Flink answers, and does not know its job."""
    if case.seen.job is not None:
        return None
    find = _lost if case.attempt.confirmed else _unconfirmed
    return find(case.attempt, case.seen, case.now)


def _has_arrived(case: Case) -> Step | None:
    """Its job is there for the first time since it was submitted."""
    return None if case.attempt.confirmed else Confirm(case.attempt)


def _has_ended(case: Case) -> Step | None:
    job = case.seen.job
    return _ended(case.attempt, case.seen, case.now) if job and job.ended else None


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


def _leaving(state: ProductState, candidate: Attempt) -> Attempt | None:
    """A shadow that was stopped for this candidate and still has its Flink cluster."""
    if candidate.shadow:
        return None
    return next((a for a in state.live if a.shadow and a.scheduled and a.stop and a.cluster), None)


def _stop(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    # Not before its client has ended: it would submit the job to the next cluster that has these ports.
    if (
        seen.job is None
        and not attempt.confirmed
        and attempt.submitted_at is not None
        and not seen.client.refused
    ):
        if seen.client.under_way:
            return _submitting(attempt, now)
        if _is_to_come(attempt.submitted_at, now):
            return NoteSubmitting(attempt)
        if now - attempt.submitted_at < ORPHANED_SECONDS:
            return Wait("its submission may still arrive; it is stopped then")
    if attempt.cluster and (not attempt.rest or seen.unreachable):
        return End(attempt)  # its job goes with its cluster
    if seen.unreachable:
        return Wait(_with(seen.unreachable, seen.exit_reason), notable=True)
    job = None if seen.job is None or seen.job.ended else seen.job
    if job and job.status == CANCELLING and not seen.superseded:
        return Wait("its job is being cancelled")
    left = (*seen.superseded, *([job.id] if job else []))
    return Cancel(attempt, left) if left else End(attempt)


def _given_up(case: Case) -> Step | None:
    """Reasons to end an attempt that readers do not see."""
    state, attempt, seen, now = case.state, case.attempt, case.seen, case.now
    if attempt.state is State.standby:
        surplus = state.standbys[: max(0, len(state.standbys) - seen.policy.standbys)]
        return (
            GiveUp(attempt, State.retired, "")
            if attempt in surplus and not attempt.promote
            else None
        )
    if attempt.state not in CANDIDATE:
        return None
    if attempt.deadline is not None and now > attempt.deadline and attempt.caught_up_at is None:
        return GiveUp(
            attempt,
            State.aborted,
            f"it had not caught up {attempt.deadline - attempt.created:,.0f} s after its deploy",
        )
    if seen.job and seen.job.restarts - attempt.restarts > seen.policy.max_restarts:
        return GiveUp(
            attempt,
            State.failed,
            f"its job restarted {seen.job.restarts - attempt.restarts} times without "
            f"a checkpoint in between: {_with(seen.job.error, seen.exit_reason)}",
        )
    if seen.log_changes:
        return GiveUp(
            attempt,
            State.failed,
            f"the log is not the one that it has read: {'; '.join(seen.log_changes)}",
        )
    if seen.log_lost:
        return GiveUp(
            attempt, State.failed, f"records of the log are gone: {'; '.join(seen.log_problems)}"
        )
    return None


def _with(error: str, exit_reason: str) -> str:
    return f"{error} ({exit_reason})" if exit_reason else error


def _unconfirmed(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    if attempt.submitted_at is None:
        return Submit(attempt)
    if seen.client.refused and attempt.state in CANDIDATE:
        return GiveUp(attempt, State.failed, seen.client.refused)
    if seen.client.refused and seen.client.refused != attempt.refused:
        return NoteRefused(attempt, seen.client.refused)
    if _is_to_come(attempt.submitted_at, now):
        return NoteSubmitting(attempt)
    waited = now - attempt.submitted_at
    if attempt.refused and waited < REFUSED_SECONDS:
        return Wait(
            f"{_refused(attempt)}; it is tried again every {REFUSED_SECONDS:.0f} s", notable=True
        )
    if not attempt.refused and waited < LOST_ANSWER_SECONDS:
        trouble = f": {seen.client.trouble}" if seen.client.trouble else ""
        return Wait(f"asking Flink whether the submission arrived{trouble}", notable=bool(trouble))
    # Absent for long enough. If the job id did run for a while before the cluster forgot it, it must not run again:
    # a sink that meets its own job id without its state commits nothing. With no trace of it the same id is safest,
    # as Flink refuses it should the first submission still be on its way.
    return _lost(attempt, seen, now) if _left_a_trace(attempt, seen) else Submit(attempt)


def _is_to_come(noted: float, now: float) -> bool:
    """Whether the clock was set back since: what is to follow a while after a time would wait for as long besides."""
    return noted - now > LOST_ANSWER_SECONDS


def _submitting(attempt: Attempt, now: float) -> NoteSubmitting | Wait:
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


def _left_a_trace(attempt: Attempt, seen: ObservedAttempt) -> bool:
    resumed_from = max(
        (c for c, path in seen.retained.items() if path == attempt.restore), default=0
    )
    newest = max([*seen.retained, *(c.id for c in seen.commits)], default=0)
    return newest > resumed_from


def _lost(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
    if attempt.confirmed and (
        attempt.missing_since is None or _is_to_come(attempt.missing_since, now)
    ):
        return NoteMissing(attempt, missing=True)
    if attempt.missing_since is not None and now - attempt.missing_since < MISSING_SECONDS:
        return Wait("Flink does not know its job")
    return _resume(attempt, seen, "the cluster lost its job")


def _ended(attempt: Attempt, seen: ObservedAttempt, now: float) -> Step:
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


def _position_unknown(attempt: Attempt, checkpoint: int) -> Wait:
    since = f"since checkpoint {attempt.checkpoint}" if attempt.checkpoint else "so far"
    return Wait(
        f"checkpoint {checkpoint} is complete, and its sources have not written their positions, {since}: the "
        "JobManager's log says why, unless its connector is of an earlier version",
        notable=True,
    )


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


def _most_dropped(attempt: Attempt, seen: ObservedAttempt) -> Mapping[str, int]:
    """Operator → late records dropped, the most that was ever seen."""
    known = attempt.late_dropped
    return {**known, **{o: max(count, known.get(o, 0)) for o, count in seen.late_dropped.items()}}


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
