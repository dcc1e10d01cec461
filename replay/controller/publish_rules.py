"""When readers see which checkpoint of an attempt: rules in their order, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from replay import offsets
from replay.core.model import (
    CANDIDATE,
    Attempt,
    Checkpoint,
    Move,
    Position,
    ProductState,
    Publication,
    State,
)
from replay.core.observed import Case, Observation
from replay.core.steps import Blocked, Examine, Publish, Step, Wait, by_operator

STILL_PUBLISHED_SECONDS = 60.0
"""How often a checkpoint is published that has nothing new: each publication writes the metadata of every table, and a
product at which nothing arrives would have one every few seconds."""


def publish(case: Case) -> Step:
    """What readers are shown of an attempt whose job runs, or why they are not."""
    return _in_the_way(case) or _newest(case)


def _in_the_way(case: Case) -> Step | None:
    """The first reason why no checkpoint of it is published: what is wrong comes before what is to come."""
    attempt, seen = case.attempt, case.seen
    if attempt.state is State.standby and not attempt.promote:
        return Wait("on standby")
    if attempt.late_dropped and not attempt.shadow:
        return _rows_missing(attempt)
    if seen.log_changes:
        return _another_log(attempt, seen.log_changes)
    if attempt.shadow or attempt.state in (State.built, State.replaying):
        return Wait("replaying")
    if seen.log_problems:
        problems = "; ".join(seen.log_problems)
        return Wait(f"the log must be whole before readers see a replay of it: {problems}", True)
    if attempt.state is State.audited and not (attempt.auto_switch or attempt.promote):
        return Wait(f"its checks passed; readers see it after: kappa switch {attempt.product}")
    if attempt.state in CANDIDATE and attempt.near < seen.policy.lag_limit.checkpoints:
        return Wait("it fell behind again")
    return None


def _newest(case: Case) -> Step:
    """Publish the newest checkpoint that may be, once its checks have passed if readers see another attempt."""
    state, attempt, observation = case.state, case.attempt, case.observation
    fit = _fit(case)
    if not fit:
        return Wait("waiting for the next checkpoint in every table")
    if moved := moved_by_somebody(state, observation):
        return moved
    active = attempt.state is State.active
    chosen = fit[0] if active else _checked(attempt, fit)
    if chosen is None:
        return Examine(attempt, fit[0])
    position = attempt.position_of(chosen.id)
    assert position is not None
    if active and case.seen.nothing_new and _just_published(state.published, position, case.now):
        return Wait("readers see all rows of its newest checkpoint")
    move = Move.publish if active else Move.switch
    return Publish(attempt, chosen, position.offsets, observation.main, move)


def _fit(case: Case) -> list[Checkpoint]:
    """Checkpoints after the one that readers see, newest first, that take back nothing of what they see."""
    state, attempt, published = case.state, case.attempt, case.state.published
    shown = published.checkpoint if published and published.attempt_name == attempt.name else 0
    floor = published.covered if published else {}
    active = attempt.state is State.active
    return [
        c
        for c in case.seen.commits
        if c.id > shown
        and _covers(attempt, c.id, floor)
        and (active or _surpasses(state, attempt, c.id))
    ]


def _checked(attempt: Attempt, fit: list[Checkpoint]) -> Checkpoint | None:
    return next((c for c in fit if c.id == attempt.audited_checkpoint), None)


def _just_published(published: Publication | None, position: Position, now: float) -> bool:
    """Whether what readers see covers all that the position does, and is not to be renewed yet."""
    return (
        published is not None
        and published.finished is not None
        and 0 <= now - published.finished < STILL_PUBLISHED_SECONDS
        and offsets.covers(published.covered, position.offsets)
    )


def _another_log(attempt: Attempt, changes: Sequence[str]) -> Blocked:
    """Rows of two logs would stand side by side, and no replay could give them again."""
    return Blocked(
        f"the log is not the one that {attempt.full_name} has read, and none of its further checkpoints is published",
        expected="the topics, and the records in them, that its rows are of",
        found="; ".join(changes),
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
    if that was not observed, because the job was lost before, what the log held at the next observation.
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
        expected = f"{published.attempt_name}, checkpoint {published.checkpoint}: {snapshots(published.after)}"
    return Blocked(
        f"somebody else moved main of {state.product}: publishing stops here",
        expected=expected,
        found=snapshots(observation.main),
        next="put main back to the expected snapshots; publishing then continues",
    )


def moved_meanwhile(intent: Publication, observation: Observation) -> Blocked | None:
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
        expected=f"checkpoint {intent.checkpoint}: {snapshots(intent.after)}; or as before: "
        f"{snapshots(intent.before)}",
        found=snapshots(main),
        next="put main back to either; publishing then continues",
    )


def snapshots(of: Mapping[str, int]) -> str:
    return ", ".join(f"{table}={snapshot}" for table, snapshot in sorted(of.items()))
