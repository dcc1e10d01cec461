"""A comparison in a process of its own, as the controller's loop sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from replay.core.model import Attempt, Comparing, Finding

COMPARE_SECONDS = 3600.0
"""When a comparison that does not come to an end is killed."""


def command(attempt: Attempt) -> list[str]:
    """What is run."""
    return [sys.executable, "-m", "replay.controller.compare", attempt.product, attempt.name]


class CompareProcess:
    """Begun, and asked from time to time what it has found."""

    def __init__(
        self,
        command: Sequence[str],
        seconds: float = COMPARE_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._until, self._seconds = now, now() + seconds, seconds
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the answer
        self._answer: Comparing | None = None
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answer(self) -> Comparing:
        """What it has come to, without waiting."""
        if self._answer is None:
            code = self._process.poll()
            if code is None and self._now() < self._until:
                return Comparing(under_way=True)
            self._answer = self._ended(code)
            self._output.close()
        return self._answer

    def kill(self) -> None:
        """End it: its answer is not needed any more."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _ended(self, code: int | None) -> Comparing:
        if code is None:
            self.kill()
            return Comparing(trouble=f"it was not done after {self._seconds:,.0f} s")
        self._output.seek(0)
        text = self._output.read().decode(errors="replace").strip()
        last = text.rpartition("\n")[2]
        try:
            said = json.loads(last)
            return (
                Comparing(finding=Finding(**said["finding"]))
                if "finding" in said
                else Comparing(trouble=str(said["trouble"]))
            )
        except (ValueError, TypeError, KeyError):
            return Comparing(trouble=f"its process ended with exit code {code}: {text[-500:]}")
