"""What to do next: a pure function of what is remembered, what was seen and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replay import offsets
from replay.lake import Checkpoint
from replay.model import Attempt, Position, ProductState, Publication, State
from replay.observe import Observation, Seen

LOST_ANSWER_SECONDS = 60.0
"""How long a submitted job id may be unknown to Flink before the submission counts as never arrived."""
MISSING_SECONDS = 5.0
"""How long a job that ran may be unknown to Flink before it counts as lost with its JobManager."""


@dataclass(frozen=True)
class Wait:
    """Nothing to do now."""

    reason: str
    notable: bool = False
    """Something that a person would want to know of."""


@dataclass(frozen=True)
class Blocked:
    """A person has to look: the product stops here and says so."""

    message: str
    expected: str
    found: str
    next: str


@dataclass(frozen=True)
class Submit:
    """Hand the current job id of an attempt to Flink: for the first time, or again after a lost answer."""

    attempt: Attempt


@dataclass(frozen=True)
class Confirm:
    """Flink knows the current job id."""

    attempt: Attempt


@dataclass(frozen=True)
class NoteMissing:
    """Flink does not know a job that ran: since now, or no longer."""

    attempt: Attempt
    missing: bool


@dataclass(frozen=True)
class Resume:
    """Give the attempt a new job id that starts from a retained checkpoint."""

    attempt: Attempt
    checkpoint: int
    path: str


@dataclass(frozen=True)
class StartOver:
    """End the attempt and begin another one of the same release from offset zero; readers keep what they see."""

    attempt: Attempt
    error: str


@dataclass(frozen=True)
class Fail:
    """The attempt's job ended by itself."""

    attempt: Attempt
    error: str


@dataclass(frozen=True)
class Cancel:
    """Ask Flink to end the job of an attempt that is wanted no more."""

    attempt: Attempt


@dataclass(frozen=True)
class End:
    """The job of an attempt that is wanted no more is gone: the attempt is over."""

    attempt: Attempt


@dataclass(frozen=True)
class Record:
    """A new position, and with it perhaps the state `caught_up`."""

    attempt: Attempt
    position: Position
    near: int
    caught_up: bool


@dataclass(frozen=True)
class Examine:
    """Run the product's checks on the snapshots of one checkpoint before readers may see them."""

    attempt: Attempt
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Publish:
    """Move `main` to one checkpoint of an attempt."""

    attempt: Attempt
    checkpoint: Checkpoint
    covered: offsets.Offsets
    before: Mapping[str, int]
    """What readers see until then."""


@dataclass(frozen=True)
class FinishPublish:
    """Roll an intent of the journal forward."""

    publication: Publication


Step = (Wait | Blocked | Submit | Confirm | NoteMissing | Resume | StartOver | Fail | Cancel | End | Record | Examine
        | Publish | FinishPublish)


def decide(state: ProductState, seen: Observation, now: float) -> Step:
    """One step. An intent that was begun comes first; then each attempt, the one that readers depend on first."""
    if state.unfinished:
        return FinishPublish(state.unfinished)
    if not state.live:
        return Wait("no attempt is running")
    if seen.unreachable:
        return Wait(seen.unreachable)
    waits = []
    for attempt in sorted(state.live, key=lambda a: a.state is not State.active):
        step = _attempt(state, attempt, seen, now)
        if not isinstance(step, Wait):
            return step
        waits.append(Wait(f"{attempt.name}: {step.reason}", step.notable))
    return Wait("; ".join(w.reason for w in waits), any(w.notable for w in waits))


def _attempt(state: ProductState, attempt: Attempt, observation: Observation, now: float) -> Step:
    seen = observation.attempts.get(attempt.name)
    if seen is None:
        return Wait("not observed yet")
    if attempt.stop:
        return _stop(attempt, seen, now)
    if seen.job is None:
        return _lost(attempt, seen, now) if attempt.confirmed else _unconfirmed(attempt, seen, now)
    if not attempt.confirmed:
        return Confirm(attempt)
    if seen.job.ended:
        return Fail(attempt, seen.job.error or f"its job became {seen.job.status}, and not by this controller")
    if attempt.missing_since is not None:
        return NoteMissing(attempt, missing=False)
    if position := _new_position(attempt, seen):
        if seen.standing_clocks:
            return _clock_stands(seen)
        near = attempt.near + 1 if is_near(position.offsets, seen) else 0
        return Record(attempt, position, near, caught_up=near >= seen.lag_limit.checkpoints)
    return _publish(state, attempt, observation, seen)


def _stop(attempt: Attempt, seen: Seen, now: float) -> Step:
    if seen.job is not None:
        return End(attempt) if seen.job.ended else Cancel(attempt)
    in_flight = attempt.submitted_at is not None and now - attempt.submitted_at < LOST_ANSWER_SECONDS
    if not attempt.confirmed and in_flight:
        return Wait("its submission may still arrive; it is stopped then")
    return End(attempt)


def _unconfirmed(attempt: Attempt, seen: Seen, now: float) -> Step:
    if attempt.submitted_at is None:
        return Submit(attempt)
    if now - attempt.submitted_at < LOST_ANSWER_SECONDS:
        return Wait("asking Flink whether the submission arrived")
    # Absent for long enough. If the job id did run for a while before the cluster forgot it, it must not run again:
    # a sink that meets its own job id without its state commits nothing. With no trace of it the same id is safest,
    # as Flink refuses it should the first submission still be on its way.
    return _lost(attempt, seen, now) if _left_a_trace(attempt, seen) else Submit(attempt)


def _left_a_trace(attempt: Attempt, seen: Seen) -> bool:
    resumed_from = max((c for c, path in seen.retained.items() if path == attempt.restore), default=0)
    newest = max([*seen.retained, *(c.id for c in seen.publishable)], default=0)
    return newest > resumed_from


def _lost(attempt: Attempt, seen: Seen, now: float) -> Step:
    if attempt.confirmed and attempt.missing_since is None:
        return NoteMissing(attempt, missing=True)
    if attempt.missing_since is not None and now - attempt.missing_since < MISSING_SECONDS:
        return Wait("Flink does not know its job")
    newest = max(seen.retained, default=0)
    committed = max([attempt.checkpoint, *(c.id for c in seen.publishable)], default=0)
    if newest and newest >= committed:
        return Resume(attempt, newest, seen.retained[newest])
    # From an older checkpoint the sink would write again what the tables already have.
    kept = f"the newest one kept is {newest}" if newest else "none was kept"
    return StartOver(attempt, f"the cluster lost its job after checkpoint {committed}, and of its checkpoints {kept}")


def _clock_stands(seen: Seen) -> Wait:
    """No claim about what a checkpoint covers: Flink keeps no watermark in its state, so after a restart windows and
    joins hold back even rows of records below the committed offsets, until every partition has one more record."""
    return Wait(f"the log's clock has not come to {len(seen.standing_clocks)} operators since the job was (re)started: "
                "results wait until every partition of every topic that grows has a further record", notable=True)


def _new_position(attempt: Attempt, seen: Seen) -> Position | None:
    assert seen.job is not None
    if seen.job.checkpoint <= attempt.checkpoint:
        return None
    return Position(seen.job.checkpoint, seen.committed)


def is_near(position: offsets.Offsets, seen: Seen) -> bool:
    """Within the lag limit in every partition of every topic, and whole on reference data."""
    return (offsets.covers(position, seen.ends, slack=seen.lag_limit.records)
            and offsets.covers(position, seen.reference))


def _publish(state: ProductState, attempt: Attempt, observation: Observation, seen: Seen) -> Step:
    if attempt.state not in (State.caught_up, State.audited, State.active):
        return Wait("replaying")
    if attempt.state is not State.active and attempt != state.candidate:
        return Wait("a newer attempt is on its way")
    published = state.published
    shown = published.checkpoint if published and published.attempt_name == attempt.name else 0
    floor = published.covered if published else {}
    fit = [c for c in seen.publishable if c.id > shown and _covers(attempt, c.id, floor)]  # newest first
    if not fit:
        return Wait("waiting for the next checkpoint in every table")
    if moved := _moved_by_somebody(state, observation):
        return moved
    chosen: Checkpoint | None = fit[0]
    if attempt.state is not State.active:
        chosen = next((c for c in fit if c.id == attempt.audited_checkpoint), None)
    if chosen is None:
        return Examine(attempt, fit[0])
    below = attempt.position_below(chosen.id)
    assert below is not None
    return Publish(attempt, chosen, below.offsets, observation.main)


def _covers(attempt: Attempt, checkpoint: int, floor: offsets.Offsets) -> bool:
    """Whether a checkpoint surely covers what readers already see."""
    below = attempt.position_below(checkpoint)
    return below is not None and offsets.covers(below.offsets, floor)


def _moved_by_somebody(state: ProductState, observation: Observation) -> Blocked | None:
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
        expected=expected, found=_snapshots(observation.main),
        next="put main back to the expected snapshots, and it goes on by itself",
    )


def _snapshots(of: Mapping[str, int]) -> str:
    return ", ".join(f"{table}={snapshot}" for table, snapshot in sorted(of.items()))
