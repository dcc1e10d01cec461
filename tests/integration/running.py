"""An embedded stack for tests: commands against it, its processes, and waiting for what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from local import preflight, readiness, remembered
from local import stack as local_stack
from local.layout import Layout, Ports
from replay.settings import Settings, load_settings

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float, message: str | Callable[[], str]) -> T:
    """The condition's first true value; AssertionError with the message when there is none within so many seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout:g} s: {message() if callable(message) else message}"
            )
        time.sleep(0.2)
    return value


def free_port_base(start: int = 23_000) -> int:
    """A port base none of whose ports is in use."""
    return next(
        base
        for base in range(start, 60_000, 100)
        if all(preflight.port_free(port) for ports in Ports(base).of.values() for port in ports)
    )


@dataclass(frozen=True)
class Kappa:
    """The command line with a home of its own."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KAPPA_HOME": str(self.home), "COLUMNS": "200"}

    def __call__(
        self, *args: str, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with `check`, AssertionError with its output unless it succeeds."""
        done = subprocess.run(
            [sys.executable, "-m", "replay", *args],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        said = f"kappa {' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command and leave it running; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "replay", *args],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def json(self, *args: str) -> Any:
        """What a command prints with --output json."""
        return json.loads(self(*args, "--output", "json").stdout)


@dataclass(frozen=True)
class RunningStack:
    """A home whose stack is up."""

    home: Path

    @property
    def kappa(self) -> Kappa:
        return Kappa(self.home)

    @property
    def layout(self) -> Layout:
        return remembered.layout_of(self.home)

    @property
    def settings(self) -> Settings:
        return load_settings(self.home)

    def pid(self, program: str) -> int:
        """The process of a program; 0 when it does not run."""
        return next(s.pid or 0 for s in local_stack.status(self.layout) if s.program == program)

    def ready(self, program: str) -> bool:
        """Whether a program answers."""
        return readiness.checks(self.layout)[program]()

    def free_slots(self) -> int:
        """Of the session cluster."""
        return int(
            httpx.get(f"{self.settings.flink.rest}/overview", timeout=60, trust_env=False).json()[
                "slots-available"
            ]
        )

    def kill(self, program: str) -> int:
        """kill -9; returns the pid that was killed."""
        pid = self.pid(program)
        assert pid, f"{program} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ready(self, program: str, timeout: float = 150) -> None:
        """Wait until a program answers; a TaskManager that no JobManager hears ends first, and is started again."""
        wait_until(
            lambda: self.ready(program),
            timeout,
            lambda: f"{program} answers\n{self.log_end(program)}",
        )

    def wait_restarted(self, program: str, killed: int, timeout: float = 150) -> None:
        """Wait until another process of the program answers."""
        wait_until(
            lambda: self.pid(program) not in (0, killed), timeout, f"{program} is started again"
        )
        self.wait_ready(program, timeout)

    def log_end(self, program: str) -> str:
        """The last lines of its log, and of its JobManager's."""
        programs = dict.fromkeys((program, program.replace("taskmanager", "jobmanager")))
        return "\n".join(
            self.kappa("logs", name, "-n", "40", check=False).stdout for name in programs
        )
