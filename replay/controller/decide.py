"""What to do next: a pure function of what is remembered, what was seen and the time.

What is asked of one attempt, and in which order, is in attempt_rules.py. Here is which attempt comes first, and what
can wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from replay.controller import attempt_rules, schedule
from replay.controller.news import told
from replay.controller.publish_rules import moved_by_somebody, moved_meanwhile
from replay.core.model import Attempt, Move, ProductState, State
from replay.core.observed import Observation, ObservedAttempt
from replay.core.steps import (
    Blocked,
    Clean,
    Expire,
    FinishPublish,
    Prioritize,
    Publish,
    Recheck,
    Reclean,
    Step,
    Verify,
    Wait,
)

EXPIRY_SECONDS = 600.0
"""How often old snapshots of a live branch are removed: each checkpoint makes one in every table."""
HELD_CHECKPOINTS = 3
"""For so many checkpoints of an attempt that is about to be shown the active one publishes nothing: the first may have
been under way before the last publication, the second covers it, and its tables may commit with the third."""

Chore = Recheck | Prioritize | Reclean | Clean | Expire | Verify


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
        step = attempt_rules.of_attempt(state, attempt, seen, now)
        if successor and isinstance(step, Publish) and step.kind is Move.publish:
            step = Wait(f"publishes nothing until {successor.name} is checked")
        if isinstance(step, Wait):
            step = _named(told(step, attempt, seen.attempts.get(attempt.name), now), attempt)
        yield step


def _named(wait: Wait, attempt: Attempt) -> Wait:
    """What an attempt waits for, said of it by its name."""
    reason = f"{attempt.name}: {wait.reason}"
    news = f"{attempt.name}: {wait.news or wait.reason}"
    return Wait(reason, wait.notable, attempt, news)


def _chore(state: ProductState, seen: Observation, now: float, last: Sequence[str]) -> Step | None:
    """The first thing that could wait until no attempt needed anything."""
    chores = list(_chores(state, seen, now))
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
        keep_coming = abs(now - attempt.positions[-1].at) <= seen.policy.lag_limit.seconds
        if since < HELD_CHECKPOINTS and keep_coming:
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


def _chores(state: ProductState, seen: Observation, now: float) -> Iterator[Chore]:
    """What can wait. Of an ended attempt nothing is kept, unless readers still see its tables."""
    published, active = state.published, state.active
    shown = published.attempt_name if published else None
    if active and published and active.recheck and active.name == shown:
        yield Recheck(active, published)
    if active and _is_at_ease(active):
        yield Prioritize(active)
    yield from (Reclean(a) for a in state.attempts if a.cleaned and a.name in seen.strays)
    gone = (a for a in state.attempts if a.ended and not a.cleaned)
    yield from (Clean(a) for a in gone if a.name != shown)
    yield from (Expire(a) for a in state.live if _has_old_snapshots(a, now))
    if verify := schedule.begin(state, seen, now):
        yield verify


def _is_at_ease(active: Attempt) -> bool:
    """Whether its own cluster, which caught up at a lower CPU priority, is to have the normal one."""
    return bool(active.cluster and active.rest) and not (active.normal_priority or active.stop)


def _has_old_snapshots(attempt: Attempt, now: float) -> bool:
    """Whether it has written for a while since snapshots of its branch were last removed."""
    since = attempt.expired_at or attempt.created
    return attempt.tip is not None and not attempt.stop and abs(now - since) > EXPIRY_SECONDS
