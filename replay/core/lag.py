"""How far an attempt is behind the log's end, in records and in seconds. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from replay import offsets
from replay.core.model import KEPT_POSITIONS, Attempt, Position
from replay.core.observed import ObservedAttempt
from replay.offsets import Offsets


def is_near(attempt: Attempt, position: Position, seen: ObservedAttempt) -> bool:
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


def records_behind(covered: Offsets, ends: Offsets, reference: Offsets) -> int:
    """The lag in records, wherever one is shown. Reference data is read once, to a fixed end: none of it is lag."""
    growing = {topic: partitions for topic, partitions in ends.items() if topic not in reference}
    return offsets.lag(covered, growing)
