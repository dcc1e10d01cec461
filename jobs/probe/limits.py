"""One pass over all rows: its time is limited, and what it asks of the machine is recorded."""

from __future__ import annotations

import decimal
import random
import select
import signal
import sys
from dataclasses import dataclass
from typing import Any

from jobs.probe import outside
from jobs.probe.arguments import Values
from jobs.probe.trial import FoundError, LimitError, Trial


class Run:
    """One pass over all rows in limited time. Each seeds the shared random numbers differently, to detect their use."""

    def __init__(self, trial: Trial, watch: outside.Watch, number: int) -> None:
        self.values: Values | None = None
        """The arguments of the call in progress."""
        self._trial, self._watch, self._number = trial, watch, number
        self._before: dict[str, Any] = {}
        self._of_thread = OfThread()

    def __enter__(self) -> Run:
        if (
            self._number
            and "numpy" in sys.modules
            and {"now", "today"} & {*map(str, self._trial.mentioned)}
        ):
            # numpy's 'now' is of whole seconds, and of a clock that cannot be set
            select.select([], [], [], 1.01)
        seed = self._number * 2 + self._trial.backwards
        random.seed(seed)
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed(seed)
        self._before = _shared_random()
        self._of_thread = OfThread()
        limits.begin()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Report what was asked of the machine before anything else: it is why answers differ."""
        limits.end()
        seen = self._watch.take()
        if any(
            self._before[name] != state
            for name, state in _shared_random().items()
            if name in self._before
        ):
            seen.append("draws from the random numbers that all code shares")
        changed = self._of_thread.restore()
        if seen:
            raise FoundError("outside", "; ".join(seen[:3])) from error
        if changed:
            raise FoundError("thread", changed) from error
        if isinstance(error, LimitError):
            words = self._trial.shown(self.values) if self.values is not None else self._trial.name
            raise FoundError("limit", f"{words} does not end: {error}") from error


def _shared_random() -> dict[str, Any]:
    """The states of the random number generators that are loaded so far."""
    numpy = sys.modules.get("numpy")
    found: dict[str, Any] = {"random": random.getstate()}
    if numpy is not None:
        found["numpy"] = [*map(str, numpy.random.get_state()[1:])]
    return found


class OfThread:
    """Settings of which each thread has its own: those of decimal and of numpy, as they are now.

    Flink's worker calls a function in one of several threads, and imports its module in one of them.
    """

    def __init__(self) -> None:
        self._contexts = [c.copy() for c in _decimal_contexts()]
        numpy = sys.modules.get("numpy")
        self._of_numpy = numpy.geterr() if numpy else _NUMPYS_OWN

    def restore(self) -> str:
        """Set them as they were; what was changed, in words."""
        changed = []
        for context, before in zip(_decimal_contexts(), self._contexts, strict=True):
            if _settings(context) != _settings(before):
                changed.append("decimal's context")
                _set(context, before)
        numpy = sys.modules.get("numpy")
        if numpy and numpy.geterr() != self._of_numpy:
            changed.append("numpy's errors (seterr)")
            numpy.seterr(**self._of_numpy)
        return f"changes {' and '.join(dict.fromkeys(changed))} and leaves it so" * bool(changed)


_NUMPYS_OWN = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""As numpy is when it is imported."""


def _decimal_contexts() -> list[decimal.Context]:
    """That of this thread, and that of which threads to come get a copy."""
    return [decimal.getcontext(), decimal.DefaultContext]


_SETTINGS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")


def _settings(context: decimal.Context) -> list[Any]:
    """Without its flags, which say what has happened."""
    return [getattr(context, name) for name in _SETTINGS]


def _set(context: decimal.Context, to: decimal.Context) -> None:
    for name in _SETTINGS:
        setattr(context, name, getattr(to, name))


@dataclass
class _Limits:
    """Seconds in which the calls of a function, or an import, must end; 0 while neither is in progress."""

    cpu: float = 0
    wall: float = 0

    def begin(self) -> None:
        """Start the timers. They fire again after each further second, in case a function catches every exception."""
        signal.setitimer(signal.ITIMER_PROF, self.cpu, min(self.cpu, 1))
        signal.setitimer(signal.ITIMER_REAL, self.wall, min(self.wall, 1))

    def end(self) -> None:
        """Stop the timers."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def over(self, number: int, frame: Any) -> None:
        """Handle the signal of either timer."""
        cpu = number == signal.SIGPROF
        raise LimitError(
            f"stopped after {self.cpu:g} s of CPU" if cpu else f"stopped after {self.wall:g} s"
        )


limits = _Limits()
