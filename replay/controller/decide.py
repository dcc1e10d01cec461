"""What to do next: a pure function of what is remembered, what was seen and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from replay import offsets
from replay.controller import schedule
from replay.controller.quiet import duration
from replay.core import partitions
from replay.core.committed import foreign_offsets
from replay.core.model import (
    CANDIDATE,
    KEPT_POSITIONS,
    Attempt,
    Checkpoint,
    Move,
    Position,
    ProductState,
    Publication,
    Reached,
    State,
)
from replay.core.observed import Observation, Seen
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
    Reclean,
    Record,
    Resume,
    StartCluster,
    StartOver,
    Step,
    Submit,
    Verify,
    Wait,
    by_operator,
)

CANCELLING = "CANCELLING"
"""What Flink calls a job that was cancelled and has tasks left."""
RESTARTING = frozenset({"RESTARTING", "FAILING"})
"""What Flink calls a job that has just failed, and is to run again."""
STILL_CHECKPOINTS = 3
STILL_SECONDS = 10.0
"""A job without a checkpoint for the time of so many, and so many seconds, stands still."""
EXPIRY_SECONDS = 600.0
"""How often old snapshots of a live branch are removed: each checkpoint makes one in every table."""
STILL_PUBLISHED_SECONDS = 60.0
"""How often a checkpoint is published that has nothing new: each publication writes the metadata of every table, and a
product at which nothing arrives would have one every few seconds."""
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
    """One step. An intent that was begun comes first; then each attempt, the one that readers depend on first.

    Attempts named in `last` come after the others, in this order: what they needed failed just now.
    """
    if state.unfinished:
        return _moved_meanwhile(state.unfinished, seen) or FinishPublish(state.unfinished)
    waits, blocked = [], None
    successor = _about_to_be_shown(state, seen, now, last)
    for attempt in sorted(state.live, key=lambda a: (_place(a, last), _urgency(a))):
        step = _attempt(state, attempt, seen, now)
        if successor and isinstance(step, Publish) and step.kind is Move.publish:
            step = Wait(f"publishes nothing until {successor.name} is checked")
        if isinstance(step, Wait):
            step = _told(step, attempt, seen.attempts.get(attempt.name), now)
            waits.append(
                Wait(
                    f"{attempt.name}: {step.reason}",
                    step.notable,
                    attempt,
                    f"{attempt.name}: {step.news or step.reason}",
                )
            )
        elif isinstance(step, Blocked):  # only publishing stops: what runs goes on
            blocked = blocked or step
        else:
            return step
    if blocked:
        return blocked
    chores = _chores(state, seen, now)
    moved = moved_by_somebody(state, seen)
    if moved and any(isinstance(c, Clean) for c in chores):
        # What readers are to see again once main is put back may be on no other ref than a branch that is to go.
        chores = [c for c in chores if not isinstance(c, Clean)]
        blocked = moved
    if chores:
        return min(
            chores, key=lambda c: _place(c.shown if isinstance(c, Verify) else c.attempt, last)
        )
    if blocked:
        return blocked
    if not waits:
        return Wait("no attempt is running")
    notable = [w for w in waits if w.notable]
    about = notable or waits
    others = [w for w in waits if w not in notable]
    return Wait(
        "; ".join(w.reason for w in (*notable, *others)),
        bool(notable),
        about[0].attempt if len(about) == 1 else None,
        "; ".join(w.news for w in notable),
    )


def _urgency(attempt: Attempt) -> int:
    """A person's word first. Then what readers are about to see: were the active attempt to publish in between, the
    checkpoint that just passed its checks might no longer cover what readers see, and would be examined in vain."""
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
    if (
        shown is None or shown > now
    ):  # by a clock that was set back since: what has come after it cannot be told
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


def _able(attempt: Attempt, seen: Seen) -> bool:
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
    at_ease = active and active.cluster and active.rest and not active.favoured and not active.stop
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
    seen = observation.attempts.get(attempt.name)
    if seen is None:
        return Wait("not observed yet")
    if attempt.stop:
        return _stop(attempt, seen, now)
    if attempt.promote is Move.rollback:
        return _roll_back(state, attempt, observation, seen)
    if reason := _given_up(state, attempt, seen, now):
        return reason
    if attempt.cluster and (not attempt.rest or seen.cluster_gone):
        if leaving := _leaving(state, attempt):
            return Wait(f"the Flink cluster of {leaving.name} ends first")
        return StartCluster(attempt)
    if seen.client.under_way and seen.job is None and not attempt.confirmed:
        return _submitting(attempt, now)
    if seen.unreachable:
        return Wait(seen.unreachable, notable=attempt.confirmed)
    if tampered := _tampered(attempt, seen):
        return tampered
    if seen.superseded:
        return Cancel(attempt, seen.superseded)
    if seen.job is None:
        return _lost(attempt, seen, now) if attempt.confirmed else _unconfirmed(attempt, seen, now)
    if not attempt.confirmed:
        return Confirm(attempt)
    if seen.job.ended:
        return _ended(attempt, seen, now)
    if attempt.missing_since is not None:
        return NoteMissing(attempt, missing=False)
    if (late_dropped := _most_dropped(attempt, seen)) != attempt.late_dropped:
        return NoteLateDropped(attempt, late_dropped)
    if grown := partitions.grown(attempt.log, seen.ends):
        return NotePartitions(
            attempt, grown, partitions.news(attempt.log, seen.ends, seen.policy.together)
        )
    if seen.position and seen.position.checkpoint > attempt.checkpoint:
        return (
            _clock_stands(seen)
            if seen.standing_clocks
            else _record(attempt, seen, seen.position, now)
        )
    if (note := foreign_offsets(attempt, seen.committed, seen.ends)) != attempt.foreign_offsets:
        return NoteForeignOffsets(attempt, note)
    if attempt.shadow and attempt.scheduled:
        step = schedule.follow(state, attempt, seen, now)
    else:
        step = _publish(state, attempt, observation, seen, now)
    if isinstance(step, Wait) and seen.job.checkpoint - attempt.checkpoint >= UNKNOWN_CHECKPOINTS:
        return _position_unknown(attempt, seen.job.checkpoint)
    return step


def _told(step: Wait, attempt: Attempt, seen: Seen | None, now: float) -> Wait:
    """With what a person would want to know of an attempt besides why nothing is done for it."""
    if seen is None or seen.unreachable or attempt.stop:
        return step
    told = (
        _restarting(attempt, seen),
        _standing_still(attempt, seen, now),
        seen.held_back,
        *partitions.in_doubt(attempt.log, seen.ends, seen.policy.together),
    )
    news = [text for text in told if text and text not in step.reason]
    return Wait(
        "; ".join([step.reason, *news]),
        step.notable or bool(news),
        news="; ".join([step.reason] * step.notable + news),
    )


def _restarting(attempt: Attempt, seen: Seen) -> str:
    job = seen.job
    if job is None or job.ended or not attempt.confirmed:
        return ""
    restarts = job.restarts - attempt.restarts
    if restarts <= 0 and job.status not in RESTARTING:
        return ""
    count = "once" if restarts == 1 else f"{restarts} times"
    times = (
        f"was restarted {count} since its newest checkpoint" if restarts > 0 else f"is {job.status}"
    )
    return f"its job {times}: {job.error or 'Flink does not say why'}"


def _standing_still(attempt: Attempt, seen: Seen, now: float) -> str:
    """No checkpoint for so long is odd: nothing is published without one."""
    if seen.job is None or seen.job.ended or not attempt.confirmed or attempt.submitted_at is None:
        return ""
    behind = attempt.state in (State.built, State.replaying)
    every = seen.policy.backlog_checkpoint_seconds if behind else seen.policy.checkpoint_seconds
    since = max([attempt.submitted_at, *(p.at for p in attempt.positions[-1:])])
    if (
        seen.job.checkpoint > attempt.checkpoint
        or now - since <= STILL_CHECKPOINTS * every + STILL_SECONDS
    ):
        return ""
    return (
        f"its job has completed no checkpoint for {duration(now - since)}, and should every {duration(every)}: "
        "kappa logs jobmanager says why"
    )


def _leaving(state: ProductState, candidate: Attempt) -> Attempt | None:
    """A shadow that a deploy has put an end to, and that has not left its room to it yet."""
    if candidate.shadow:
        return None
    return next((a for a in state.live if a.shadow and a.scheduled and a.stop and a.cluster), None)


def _stop(attempt: Attempt, seen: Seen, now: float) -> Step:
    # Not before its client is done: that would hand the job to whoever has this cluster's ports next.
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
        return Wait(seen.unreachable, notable=True)
    job = None if seen.job is None or seen.job.ended else seen.job
    if job and job.status == CANCELLING and not seen.superseded:
        return Wait("its job is being cancelled")
    left = (*seen.superseded, *([job.id] if job else []))
    return Cancel(attempt, left) if left else End(attempt)


def _given_up(state: ProductState, attempt: Attempt, seen: Seen, now: float) -> Step | None:
    """Reasons to end an attempt that readers do not see."""
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
            f"a checkpoint in between: {_with(seen.job.error, seen.death)}",
        )
    if seen.log_changes:
        return GiveUp(
            attempt,
            State.failed,
            f"the log is another one than it has read: {'; '.join(seen.log_changes)}",
        )
    if seen.log_lost:
        return GiveUp(
            attempt, State.failed, f"records of the log are gone: {'; '.join(seen.log_problems)}"
        )
    return None


def _with(error: str, death: str) -> str:
    return f"{error} ({death})" if death else error


def _unconfirmed(attempt: Attempt, seen: Seen, now: float) -> Step:
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
        return Wait(f"{_refused(attempt)}; flink run is at work again", notable=True)
    return Wait("flink run is at work")


def _refused(attempt: Attempt) -> str:
    return f"its resumption was refused, and readers keep what they see: {attempt.refused}"


def _left_a_trace(attempt: Attempt, seen: Seen) -> bool:
    resumed_from = max(
        (c for c, path in seen.retained.items() if path == attempt.restore), default=0
    )
    newest = max([*seen.retained, *(c.id for c in seen.commits)], default=0)
    return newest > resumed_from


def _lost(attempt: Attempt, seen: Seen, now: float) -> Step:
    if attempt.confirmed and (
        attempt.missing_since is None or _is_to_come(attempt.missing_since, now)
    ):
        return NoteMissing(attempt, missing=True)
    if attempt.missing_since is not None and now - attempt.missing_since < MISSING_SECONDS:
        return Wait("Flink does not know its job")
    return _resume(attempt, seen, "the cluster lost its job")


def _ended(attempt: Attempt, seen: Seen, now: float) -> Step:
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
            f"{why}; {attempt.resumes} resumptions in a row came to no checkpoint, the next one follows "
            f"{pause:,.0f} s after the last; readers keep what they see",
            notable=True,
        )
    return _resume(attempt, seen, why)


def _pause(failures: int) -> float:
    """Between two resumptions, after so many more in vain than are allowed at once: 1 minute, then twice as long."""
    return min(60.0 * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS) if failures >= 0 else 0.0


def _resume(attempt: Attempt, seen: Seen, why: str) -> Step:
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
    """From offset zero; nobody waits for a standby."""
    if attempt.state is State.standby or attempt.shadow:
        return GiveUp(attempt, State.failed, error)
    return StartOver(attempt, error)


def _tampered(attempt: Attempt, seen: Seen) -> Step | None:
    """A checkpoint that was in every table must stay there: Iceberg recreates a dropped branch, from other rows."""
    if seen.tampered:
        error = f"branch {attempt.name} is not what its job wrote: {seen.tampered}"
    elif seen.publishable is None or attempt.tip is None or attempt.tip in seen.publishable:
        return None
    else:
        error = (
            f"somebody else dropped or moved branch {attempt.name}: checkpoint {attempt.tip.id} was in every "
            f"table ({_snapshots(attempt.tip.snapshots)}) and no longer is"
        )
    if attempt.state is State.active:
        return StartOver(attempt, error)
    return GiveUp(attempt, State.failed, error)


def _position_unknown(attempt: Attempt, checkpoint: int) -> Wait:
    since = f"since checkpoint {attempt.checkpoint}" if attempt.checkpoint else "so far"
    return Wait(
        f"checkpoint {checkpoint} is complete, and its sources have not written where they stood, {since}: the "
        "JobManager's log says why, unless its connector is of an earlier version",
        notable=True,
    )


def _clock_stands(seen: Seen) -> Wait:
    """No claim about what a checkpoint covers: while a partition has not told the log's time, windows and joins hold
    back even rows of records below its position."""
    waits = (
        seen.held_back
        or "results wait until every partition of every topic that grows has a record"
    )
    return Wait(
        f"the log's clock has not come to {len(seen.standing_clocks)} operators since the job was (re)started: "
        f"{waits}",
        notable=True,
    )


def _record(attempt: Attempt, seen: Seen, reached: Reached, now: float) -> Record:
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


def is_near(attempt: Attempt, position: Position, seen: Seen) -> bool:
    """Within both lag limits in every partition of every topic, and whole on reference data.

    What arrived since the checkpoint before was seen is no lag of one that has caught up: steady traffic between two
    checkpoints may be more than the limit, and none of it is in either.
    """
    limit = seen.policy.lag_limit
    seconds = lag_seconds((*attempt.positions, position)[-KEPT_POSITIONS:])
    ends = (
        attempt.positions[-1].ends
        if attempt.caught_up_at is not None and attempt.positions
        else position.ends
    )
    return (
        offsets.covers(position.offsets, ends, slack=limit.records)
        and seconds is not None
        and seconds <= limit.seconds
        and offsets.covers(position.offsets, seen.reference)
    )


def lag_seconds(positions: Sequence[Position]) -> float | None:
    """For how long the newest position has not been the log's end; None: longer than the positions go back.

    On the wall's clock, whatever the records' own: how long ago the log ended where the job is now.
    """
    newest = positions[-1]
    reached = [p.at for p in positions if offsets.covers(newest.offsets, p.ends)]
    return newest.at - max(reached) if reached else None


def _roll_back(state: ProductState, attempt: Attempt, observation: Observation, seen: Seen) -> Step:
    """The newest checkpoint it has, older than what readers see or not; its job need not even run."""
    if moved := moved_by_somebody(state, observation):
        return moved
    if tampered := _tampered(attempt, seen):
        return tampered
    for checkpoint in seen.commits:
        if position := attempt.position_of(checkpoint.id):
            return Publish(attempt, checkpoint, position.offsets, observation.main, Move.rollback)
    return GiveUp(attempt, State.failed, "it has no checkpoint in every table to roll back to")


def _publish(
    state: ProductState, attempt: Attempt, observation: Observation, seen: Seen, now: float
) -> Step:
    active, standby = attempt.state is State.active, attempt.state is State.standby
    if standby and not attempt.promote:
        return Wait("on standby")
    if attempt.late_dropped and not attempt.shadow:
        return _rows_missing(attempt)
    if seen.log_changes:
        return _another_log(attempt, seen)
    if attempt.shadow or attempt.state in (State.built, State.replaying):
        return Wait("replaying")
    if seen.log_problems:
        return Wait(
            f"the log must be whole before readers see a replay of it: {'; '.join(seen.log_problems)}",
            True,
        )
    if attempt.state is State.audited and not (attempt.auto_switch or attempt.promote):
        return Wait(f"its checks passed; readers see it after: kappa switch {attempt.product}")
    if not (active or standby) and attempt.near < seen.policy.lag_limit.checkpoints:
        return Wait("it fell behind again")
    published = state.published
    shown = published.checkpoint if published and published.attempt_name == attempt.name else 0
    floor = published.covered if published else {}
    fit = [
        c
        for c in seen.commits  # newest first
        if c.id > shown
        and _covers(attempt, c.id, floor)
        and (active or _surpasses(state, attempt, c.id))
    ]
    if not fit:
        return Wait("waiting for the next checkpoint in every table")
    if moved := moved_by_somebody(state, observation):
        return moved
    chosen: Checkpoint | None = fit[0]
    if not active:
        chosen = next((c for c in fit if c.id == attempt.audited_checkpoint), None)
    if chosen is None:
        return Examine(attempt, fit[0])
    position = attempt.position_of(chosen.id)
    assert position is not None
    if active and published and seen.nothing_new and _just_published(published, position, now):
        return Wait("readers see all rows of its newest checkpoint")
    return Publish(
        attempt, chosen, position.offsets, observation.main, Move.publish if active else Move.switch
    )


def _just_published(published: Publication, position: Position, now: float) -> bool:
    """Whether what readers see covers all that the position does, and is not to be renewed yet."""
    return (
        published.finished is not None
        and 0 <= now - published.finished < STILL_PUBLISHED_SECONDS
        and offsets.covers(published.covered, position.offsets)
    )


def _most_dropped(attempt: Attempt, seen: Seen) -> Mapping[str, int]:
    """Operator → late records dropped, the most that was ever seen."""
    known = attempt.late_dropped
    return {**known, **{o: max(count, known.get(o, 0)) for o, count in seen.late_dropped.items()}}


def _another_log(attempt: Attempt, seen: Seen) -> Blocked:
    """Rows of two logs would stand side by side, and no replay could give them again."""
    return Blocked(
        f"the log is another one than {attempt.full_name} has read, and none of its further checkpoints is published",
        expected="the topics, and the records in them, that its rows are of",
        found="; ".join(seen.log_changes),
        next="bring the topic back, its id with it, from a backup of the broker; or, to start over with the log as it "
        f"is: kappa remove {attempt.product}, which drops its tables, then kappa deploy {attempt.product}",
    )


def _rows_missing(attempt: Attempt) -> Blocked:
    """Which records are behind the watermark depends on the run: a replay would show other rows."""
    undo = f"kappa abort {attempt.product}; " if attempt.state in CANDIDATE else ""
    return Blocked(
        f"operators of {attempt.full_name} dropped records as late: rows are missing from its tables, and none of its "
        "further checkpoints is published",
        expected="numLateRecordsDropped 0 in every operator: the late ones are rejects before any operator sees them",
        found=by_operator(attempt.late_dropped),
        next=f"{undo}let the SQL in front of these operators keep only records within the allowed lateness, then: "
        f"kappa deploy {attempt.product}",
    )


def _covers(attempt: Attempt, checkpoint: int, floor: offsets.Offsets) -> bool:
    """Whether a checkpoint surely covers what readers already see."""
    position = attempt.position_of(checkpoint)
    return position is not None and offsets.covers(position.offsets, floor)


def _surpasses(state: ProductState, attempt: Attempt, checkpoint: int) -> bool:
    """Whether a checkpoint surely holds every record that readers see of another attempt.

    What a publication covers is what it holds at least. At most it holds what the sources had read at its checkpoint;
    if nobody saw that, as the job was lost before, what the log held when somebody looked next.
    """
    published = state.published
    if published is None or published.attempt_name == attempt.name:
        return True
    position = attempt.position_of(checkpoint)
    later = [p.ends for p in attempt.positions if p.at >= (published.finished or 0.0)]
    shown = state.attempt(published.attempt_name).held_at_most(published.checkpoint) or next(
        iter(later), None
    )
    return position is not None and shown is not None and offsets.covers(position.offsets, shown)


def moved_by_somebody(state: ProductState, observation: Observation) -> Blocked | None:
    """Whether `main` is not where the journal's last publication, which is not half done, has put it."""
    published = state.published
    if published is None:
        if observation.main_is_genesis:
            return None
        expected = "the empty first snapshots, as the journal has no publication"
    elif dict(published.after) == dict(observation.main):
        return None
    else:
        expected = f"{published.attempt_name}, checkpoint {published.checkpoint}: {_snapshots(published.after)}"
    return Blocked(
        f"somebody else moved main of {state.product}: publishing stops here",
        expected=expected,
        found=_snapshots(observation.main),
        next="put main back to the expected snapshots, and it goes on by itself",
    )


def _moved_meanwhile(intent: Publication, observation: Observation) -> Blocked | None:
    """Whether `main` of a table is neither where the intent found it nor where it is to be."""
    main = observation.main
    if all(
        main[table] in (intent.before.get(table), snapshot)
        for table, snapshot in intent.after.items()
        if table in main
    ):
        return None
    return Blocked(
        f"somebody else moved main of {intent.product} while {intent.attempt_name} was being published",
        expected=f"checkpoint {intent.checkpoint}: {_snapshots(intent.after)}; or as before: "
        f"{_snapshots(intent.before)}",
        found=_snapshots(main),
        next="put main back to either, and it goes on by itself",
    )


def _snapshots(of: Mapping[str, int]) -> str:
    return ", ".join(f"{table}={snapshot}" for table, snapshot in sorted(of.items()))
