"""What the controller refuses, told by its passes: rows are kept from readers, or a job from Flink."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from replay.controller.watching import Pass
from replay.core.model import Attempt, ProductState, State
from replay.core.observed import Observation
from replay.core.steps import Blocked, Examine, GiveUp, StartCluster, Step, Submit
from replay.errors import RefusedError


class Refusal(StrEnum):
    """Why something was refused."""

    blocked = "blocked"
    """Publishing stopped until a person looks: counted when it begins."""
    checks = "checks"
    """A check found offending rows on the checkpoint that readers were to see."""
    submission = "submission"
    """Flink, or its client, did not take the job."""
    start = "start"
    """There was no room for the attempt, or its release was changed: it ended before its job began."""
    error = "error"
    """A pass raised RefusedError: counted each time."""


class Refusals:
    """Remembers of each product what is needed to count a refusal once."""

    def __init__(self) -> None:
        self._blocked: dict[str, str] = {}
        self._outcome: dict[str, Step] = {}
        """Product → the step whose outcome the state before the next pass tells."""

    def performed(self, product: str, step: Step, seen: Observation) -> Iterator[Refusal]:
        """Refusals that a step is."""
        if isinstance(step, GiveUp) and _refused_by_flink(seen, step.attempt):
            yield Refusal.submission
        if isinstance(step, Examine | StartCluster | Submit):
            self._outcome[product] = step

    def passed(self, product: str, done: Pass) -> Iterator[Refusal]:
        """Refusals that a pass shows: what became of the step before it, and that it was stopped."""
        before = self._outcome.get(product)
        if before is not done.step and (
            why := _outcome(self._outcome.pop(product, None), done.state)
        ):
            yield why
        blocked = done.step.message if isinstance(done.step, Blocked) else ""
        if blocked and blocked != self._blocked.get(product):
            yield Refusal.blocked
        self._blocked[product] = blocked

    def raised(self, error: Exception) -> Iterator[Refusal]:
        """Refusals that an error is."""
        if isinstance(error, RefusedError):
            yield Refusal.error

    def forget(self, product: str) -> None:
        """The product is gone."""
        self._blocked.pop(product, None)
        self._outcome.pop(product, None)


def _outcome(step: Step | None, state: ProductState) -> Refusal | None:
    """What became of a step that may have been refused."""
    if not isinstance(step, Examine | StartCluster | Submit):
        return None
    now = next((a for a in state.attempts if a.name == step.attempt.name), None)
    if now is None:
        return None
    if isinstance(step, Examine):
        return (
            Refusal.checks
            if now.found_fault and now.audited_checkpoint != step.checkpoint.id
            else None
        )
    return Refusal.start if State.failed in (now.stop, now.state) else None


def _refused_by_flink(seen: Observation, attempt: Attempt) -> bool:
    found = seen.attempts.get(attempt.name)
    return bool(found and found.client.refused)
