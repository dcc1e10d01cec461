"""The controller's time: of one store, whatever becomes of the clocks of machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

SLEWED = 0.05
"""Of the time that passes, how much a clock is brought nearer to one that was set: an hour takes twenty."""


def uptime() -> float:
    """Seconds of a clock that cannot be set and that also counts while the machine sleeps, where there is one."""
    return (
        time.clock_gettime(time.CLOCK_BOOTTIME)
        if hasattr(time, "CLOCK_BOOTTIME")
        else time.monotonic()
    )


class SteadyClock:
    """A time in seconds since the epoch, given once, plus the seconds that have passed since.

    So deadlines, and all that is measured from one look to another, survive a clock that is set forward or back; and
    controllers that ask the same store agree, whose machines do not.
    """

    def __init__(self, told: float, passing: Callable[[], float] = uptime) -> None:
        self._passing = passing
        self._followed = passing()
        self._offset = told - self._followed
        self._lock = Lock()

    def __call__(self) -> float:
        return self._offset + self._passing()

    def follow(self, told: float) -> None:
        """Come nearer to what the same clock tells by now, that processes which begin later agree some day."""
        with self._lock:
            now = self._passing()
            most = SLEWED * (now - self._followed)
            self._followed = now
            self._offset += max(-most, min(most, told - now - self._offset))
