"""What a person would want to know of an attempt that waits: restarts, missing checkpoints, doubts. Pure."""

from __future__ import annotations

from replay.core import partitions
from replay.core.model import Attempt, State
from replay.core.observed import ObservedAttempt
from replay.core.steps import Wait
from replay.values import duration

RESTARTING = frozenset({"RESTARTING", "FAILING"})
"""What Flink calls a job that has just failed, and is to run again."""
STILL_CHECKPOINTS = 3
STILL_SECONDS = 10.0
"""A job without a checkpoint for the time of so many, and so many seconds, stands still."""


def told(step: Wait, attempt: Attempt, seen: ObservedAttempt | None, now: float) -> Wait:
    """With what a person would want to know of an attempt besides why nothing is done for it."""
    if seen is None or seen.unreachable or attempt.stop:
        return step
    found = (
        _restarting(attempt, seen),
        _standing_still(attempt, seen, now),
        seen.held_back,
        *partitions.in_doubt(attempt.log, seen.ends, seen.policy.together),
    )
    news = [text for text in found if text and text not in step.reason]
    return Wait(
        "; ".join([step.reason, *news]),
        step.notable or bool(news),
        news="; ".join([step.reason] * step.notable + news),
    )


def _restarting(attempt: Attempt, seen: ObservedAttempt) -> str:
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


def _standing_still(attempt: Attempt, seen: ObservedAttempt, now: float) -> str:
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
