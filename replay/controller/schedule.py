"""`verify: weekly` in product.yaml: when what readers see is replayed by itself, and how that replay comes to its end.

Pure, as replay/controller/decide.py is, which asks it.
"""

from __future__ import annotations

from jobs.product.settings import Verify as Period
from replay.core.model import CANDIDATE, Attempt, ProductState, State
from replay.core.observed import Observation, ObservedAttempt
from replay.core.steps import Compare, Conclude, GiveUp, NoteComparing, Step, Verify, Wait

DAY = 86_400.0
FIRST_SECONDS = 2 * DAY
"""So long a release is active before its first verification: what was live is then more than what was replayed."""
RETRY_SECONDS = DAY
"""After a verification that came to nothing, whatever the period."""
SECONDS = {Period.daily: DAY, Period.weekly: 7 * DAY, Period.monthly: 30 * DAY}
LOST_SECONDS = 60.0
"""A comparison without a sign of life for so long has ended with its process."""


def due_at(state: ProductState, period: Period) -> float | None:
    """When what readers see is to be verified next; None: never."""
    active = state.active
    if active is None or period is Period.off:
        return None
    begun = [a for a in state.attempts if a.shadow and a.release == active.release]
    since = active.shown_at if active.shown_at is not None else active.created
    if not begun or begun[-1].created < since:
        return since + FIRST_SECONDS
    in_vain = {begun[-1].state, begun[-1].stop} & {State.failed, State.aborted}
    return begun[-1].created + (min(RETRY_SECONDS, SECONDS[period]) if in_vain else SECONDS[period])


def begin(state: ProductState, seen: Observation, now: float) -> Verify | None:
    """The verification that is due, if nothing else is under way."""
    active = state.active
    sight = seen.attempts.get(active.name) if active else None
    if active is None or sight is None or active.stop or not sight.job or sight.job.ended:
        return None
    due = due_at(state, sight.policy.verify)
    busy = any(a.state in CANDIDATE or a.promote for a in state.live)
    return Verify(active) if due is not None and now >= due and not busy else None


def follow(state: ProductState, shadow: Attempt, seen: ObservedAttempt, now: float) -> Step:
    """What becomes of a scheduled shadow whose job runs."""
    published = state.published
    if published is None or published.release != shadow.release:
        return GiveUp(
            shadow, State.aborted, "readers were switched over while it was being verified"
        )
    if (
        shadow.state is not State.caught_up
        or shadow.tip is None
        or shadow.position_of(shadow.tip.id) is None
    ):
        return Wait("replaying, to be compared")
    comparing = seen.comparison
    said = shadow.comparing_at if shadow.comparing_at is not None else float("-inf")
    since = abs(now - said)  # either way: the clock may have been set back
    if comparing is None:
        return Compare(shadow) if since > LOST_SECONDS else Wait("another controller compares it")
    if comparing.under_way:
        return (
            NoteComparing(shadow)
            if since > LOST_SECONDS / 3
            else Wait("comparing it with what readers see")
        )
    if comparing.finding:
        return Conclude(shadow, comparing.finding)
    return GiveUp(shadow, State.failed, f"it could not be compared: {comparing.trouble}")
