"""What a controller tells of itself: passes, steps, rounds. Its log, metrics and health are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from replay.controller.service_log import logger
from replay.core.model import ProductState
from replay.core.observed import Observation
from replay.core.steps import Blocked, Cancel, Step, Wait

_log = logger("watching")


@dataclass(frozen=True)
class Pass:
    """What one pass saw and did."""

    state: ProductState
    """As it was when the last step was decided."""
    seen: Observation
    step: Step
    """The last one."""
    lease_missed: bool = False
    """Another controller had the lease."""

    @property
    def notable(self) -> str:
        """What a person would want to know of, if anything."""
        return self.step.reason if isinstance(self.step, Wait) and self.step.notable else ""

    @property
    def idle(self) -> bool:
        """Nothing more to do for the moment; cancelling takes Flink a moment."""
        return isinstance(self.step, Wait | Blocked | Cancel)


class Watcher:
    """Is informed of what a controller does; it raises nothing and queries nothing."""

    def listed(self, products: Sequence[str]) -> None:
        """A round begins over these products."""

    def unlisted(self, error: Exception) -> None:
        """The store did not say which products there are."""

    def begins(self, product: str) -> None:
        """A pass over a product begins."""

    def begins_step(self, product: str, step: Step) -> None:
        """A step is about to be performed: some take minutes."""

    def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
        """A step has been performed, as it followed from this observation."""

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        """A pass came to its end."""

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        """A pass raised an error."""

    def rounded(self, seconds: float) -> None:
        """A round is over."""


class Watchers(Watcher):
    """Several watchers, informed in this order by one thread at a time. An error in one of them is logged once, and
    stops nothing else."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers
        self._telling = Lock()
        self._failed: set[tuple[type, str]] = set()

    def listed(self, products: Sequence[str]) -> None:
        self._tell("listed", products)

    def unlisted(self, error: Exception) -> None:
        self._tell("unlisted", error)

    def begins(self, product: str) -> None:
        self._tell("begins", product)

    def begins_step(self, product: str, step: Step) -> None:
        self._tell("begins_step", product, step)

    def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
        self._tell("performed", product, step, seen, seconds)

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        self._tell("passed", product, done, seconds)

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        self._tell("failed", product, error, seconds)

    def rounded(self, seconds: float) -> None:
        self._tell("rounded", seconds)

    def _tell(self, what: str, *of: Any) -> None:
        with self._telling:
            for watcher in self._watchers:
                try:
                    getattr(watcher, what)(*of)
                except Exception:  # noqa: BLE001  whatever it is, publishing goes on
                    self._note(type(watcher), what)

    def _note(self, of: type, what: str) -> None:
        if (of, what) not in self._failed:
            self._failed.add((of, what))
            _log.exception("what tells of the controller failed", watcher=of.__name__, of=what)
