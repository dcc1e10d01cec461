"""Whether the controller's loop goes round, and if not, what keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from replay.controller.watching import Pass, Watcher
from replay.core.steps import Step, describe


@dataclass(frozen=True)
class Verdict:
    """What /healthz answers."""

    ok: bool
    text: str


class Health(Watcher):
    """Healthy while something was finished within so many seconds of a monotonic clock: a round, a pass, a step, a
    check."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._bound, self._now = seconds, now
        self._since, self._phase = now(), "starting"
        self._at_work: dict[str, str] = {}
        """Product → what is being done for it."""

    def verdict(self) -> Verdict:
        """As it is now, asked from any thread."""
        seconds = self._now() - self._since
        if seconds <= self._bound:
            return Verdict(True, "ok")
        of_products = "; ".join(
            f"{product}: {what}" for product, what in sorted(self._at_work.copy().items())
        )
        at_work = of_products or self._phase
        return Verdict(
            False,
            f"nothing was finished for {seconds:,.0f} s, more than controller.stalled_seconds "
            f"({self._bound:,.0f} s); at work on: {at_work}; see: kappa logs controller",
        )

    def waits(self, what: str) -> None:
        """The service has not come to its loop, and why."""
        self._phase = what

    def part(self, text: str) -> None:
        """A part of a step begins: the one before is done."""
        self._finished()

    def begins(self, product: str) -> None:
        self._at_work[product] = "a look"

    def begins_step(self, product: str, step: Step) -> None:
        """The one before is done."""
        self._at_work[product] = describe(step)
        self._finished()

    def listed(self, products: Sequence[str]) -> None:
        self._phase = "a round"
        self._rounds()

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        self._at_work.pop(product, None)
        self._finished()

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        self._at_work.pop(product, None)
        self._finished()

    def rounded(self, seconds: float) -> None:
        self._phase = "the pause between rounds"
        self._rounds()

    def _rounds(self) -> None:
        """Count a finished round, unless a pass is running: rounds continue while a pass hangs."""
        if not self._at_work:
            self._finished()

    def _finished(self) -> None:
        self._since = self._now()
