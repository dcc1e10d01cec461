"""Submissions by the warm planner, which has Flink's client loaded already."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import jobs
from replay.core.observed import SubmissionStatus
from replay.flink import planner
from replay.flink.submit import CLIENT_SECONDS, Client, Submission, judge
from replay.settings import Settings

_BLOCK = 65_536


class WarmClient:
    """A submission that the planner makes, and goes on with beyond its caller's end."""

    def __init__(
        self,
        connection: socket.socket,
        flink_run: Callable[[], Client],
        seconds: float = CLIENT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connection`: from `planner.hand_over`. `flink_run`: begins the same submission in the other way."""
        self._connection, self._until, self._seconds, self._now = (
            connection,
            now() + seconds,
            seconds,
            now,
        )
        self._flink_run = flink_run
        self._client: Client | None = None
        self._said = b""
        self._answer: SubmissionStatus | None = None

    def answer(self) -> SubmissionStatus:
        """What it has said, without waiting for more.

        Only `flink run` refuses: a planner may have been started with another environment than the controller has.
        """
        if self._client:
            return self._client.answer()
        if self._answer is None:
            self._answer = self._ended()
            if self._answer is None:
                return SubmissionStatus(under_way=True)
            self._connection.close()
            if self._answer.refused:
                self._client = self._flink_run()
                return SubmissionStatus(under_way=True)
        return self._answer

    def _ended(self) -> SubmissionStatus | None:
        """None while nothing is known of its end."""
        try:
            while said := self._connection.recv(_BLOCK):
                self._said += said
        except BlockingIOError:
            if self._now() < self._until:
                return None
            return SubmissionStatus(trouble=f"the planner gave no answer in {self._seconds:.0f} s")
        except OSError:  # the connection is as good as closed
            pass
        if not self._said.endswith(b"\n"):
            return SubmissionStatus(trouble="the planner ended while it submitted the job")
        answer = json.loads(self._said)
        return judge(answer["code"], answer["text"])


def start(settings: Settings, submission: Submission, *, own_jars: bool) -> Client | WarmClient:
    """Begin a submission: by `flink run`, or by the warm planner where that runs, and has the code of the release.

    `own_jars`: the release was built with other jars than Flink's `lib` has now.
    """

    def flink_run() -> Client:
        return Client(settings, submission)

    if own_jars or not _is_for_planner(settings, submission):
        return flink_run()
    connection = planner.hand_over(settings, _request(settings, submission))
    return WarmClient(connection, flink_run) if connection else flink_run()


def _is_for_planner(settings: Settings, s: Submission) -> bool:
    """Whether the release's job is the code that a planner of this version has loaded; `flink run` alone knows TLS."""
    loaded, archived = Path(jobs.__file__ or "").parent, s.release / jobs.__name__
    return (
        urlsplit(s.rest or settings.flink.rest).scheme == "http"
        and s.launch.interpreter == sys.executable
        and s.release / s.launch.entry == archived / "run.py"
        and all(
            (loaded / file.relative_to(archived)).is_file()
            and file.read_bytes() == (loaded / file.relative_to(archived)).read_bytes()
            for file in archived.rglob("*.py")
        )
    )


def _python_jars(settings: Settings) -> list[Path]:
    return sorted((settings.flink.home / "opt").absolute().glob("flink-python-*.jar"))


def _request(settings: Settings, s: Submission) -> Mapping[str, object]:
    to = urlsplit(s.rest or settings.flink.rest)
    return {
        "release": str(s.release),
        "bindings": str(s.bindings),
        "options": {
            "rest.address": to.hostname,
            "rest.port": str(to.port or 80),
            "security.ssl.rest.enabled": "false",
            "$internal.pipeline.job-id": s.job_id,
            "pipeline.name": s.name,
            "python.files": str(s.release),
            "python.client.executable": s.launch.interpreter,
            "python.executable": s.launch.interpreter,
            # as `flink run` has it, for a cluster without this jar in its `lib`
            "pipeline.jars": ";".join(jar.as_uri() for jar in _python_jars(settings)),
            **({"execution.state-recovery.path": s.restore} if s.restore else {}),
        },
    }
