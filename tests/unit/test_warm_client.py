"""Submissions by the warm planner, with a Unix socket of the test in its place."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import jobs
from replay.core.observed import SubmissionStatus
from replay.flink import planner, warm_client
from replay.flink.submit import Client, Submission
from replay.flink.warm_client import WarmClient
from replay.releases.launch import Launch
from replay.settings import Settings
from tests.unit.warm_homes import warm_home


class Planner:
    """Takes one connection, and keeps what it was asked."""

    def __init__(self, path: Path, *, takes: bool = True) -> None:
        self.said: list[bytes] = []
        self._takes = takes
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._answered = threading.Event()
        self._answer = b""
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):  # its client is gone, or nobody has come
            self._serve_one(*self._listening.accept())

    def _serve_one(self, connection: socket.socket, _: object) -> None:
        with connection, connection.makefile("rb") as asked:
            self.said.append(asked.readline())
            if self._takes:
                connection.sendall(planner.TAKEN)
            self.said.append(asked.readline())
            if self.said[-1] == planner.GO:
                self._answered.wait(30)
                connection.sendall(self._answer)

    def answers(self, answer: bytes) -> None:
        self._answer = answer
        self._answered.set()

    def ends(self) -> None:
        self._answered.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listening.close()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return warm_home(tmp_path, monkeypatch)


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    """Of a release whose job is the code of this checkout."""
    release = tmp_path / "release"
    (release / "jobs").mkdir(parents=True)
    for name in ("run.py", "wiring.py"):
        shutil.copy(Path(jobs.__file__ or "").parent / name, release / "jobs" / name)
    return Submission(
        "ab" * 16,
        "orders-r1-a1",
        release,
        tmp_path / "b.json",
        launch=Launch(python=sys.executable),
    )


def socket_of(settings: Settings) -> Path:
    return planner._socket(settings, planner.environment(settings))


@pytest.fixture
def warm(settings: Settings) -> Iterator[Planner]:
    running = Planner(socket_of(settings))
    yield running
    running.ends()


def last_word(client: WarmClient | Client) -> SubmissionStatus:
    deadline = time.monotonic() + 30
    while (answer := client.answer()).under_way:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer


def answer(code: int, text: str = "") -> bytes:
    return json.dumps({"code": code, "text": text}).encode() + b"\n"


def test_the_planner_gets_what_flink_run_would_have_as_arguments(
    settings: Settings, submission: Submission, warm: Planner
) -> None:
    resumed = replace(submission, restore="file:///ck/chk-7", rest="http://127.0.0.1:9000")
    client = warm_client.start(settings, resumed, own_jars=False)
    assert isinstance(client, WarmClient)
    assert client.answer() == SubmissionStatus(under_way=True)
    warm.answers(answer(0))
    assert last_word(client) == client.answer() == SubmissionStatus()
    assert json.loads(warm.said[0]) == {
        "submit": {
            "release": str(submission.release),
            "bindings": str(submission.bindings),
            "options": {
                "rest.address": "127.0.0.1",
                "rest.port": "9000",
                "security.ssl.rest.enabled": "false",
                "$internal.pipeline.job-id": "ab" * 16,
                "pipeline.name": "orders-r1-a1",
                "python.files": str(submission.release),
                "python.client.executable": sys.executable,
                "python.executable": sys.executable,
                "pipeline.jars": f"file://{settings.flink.home}/opt/flink-python-2.1.3.jar",
                "execution.state-recovery.path": "file:///ck/chk-7",
            },
        }
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            answer(1, "DuplicateJobSubmissionException: it was submitted"),
            SubmissionStatus(),
            id="already there",
        ),
        pytest.param(
            b"",
            SubmissionStatus(trouble="the planner ended while it submitted the job"),
            id="killed",
        ),
        pytest.param(
            answer(0)[:-4],
            SubmissionStatus(trouble="the planner ended while it submitted the job"),
            id="killed while it answered",
        ),
    ],
)
def test_what_the_end_of_the_planner_means(
    settings: Settings,
    submission: Submission,
    warm: Planner,
    said: bytes,
    expected: SubmissionStatus,
) -> None:
    client = warm_client.start(settings, submission, own_jars=False)
    assert isinstance(client, WarmClient)
    warm.answers(said)
    assert last_word(client) == expected


def test_what_the_planner_refuses_flink_run_tries(
    settings: Settings, submission: Submission, warm: Planner
) -> None:
    (settings.flink.home / "bin" / "flink").write_text(
        "#!/bin/sh\necho 'Caused by: java.io.IOException: no such table'\nexit 1\n"
    )
    client = warm_client.start(settings, submission, own_jars=False)
    warm.answers(answer(1, "Caused by: java.io.IOException: the disk is full"))
    assert last_word(client) == SubmissionStatus(refused="java.io.IOException: no such table")


def _no_client() -> Client:
    raise AssertionError("nothing was refused")


def test_a_planner_that_does_not_answer_is_not_waited_for(
    settings: Settings, submission: Submission, warm: Planner
) -> None:
    connection = planner.hand_over(settings, warm_client._request(settings, submission))
    assert connection
    moments = iter([0.0, 1.0, 11.0])
    client = WarmClient(connection, _no_client, seconds=10, now=lambda: next(moments))
    assert client.answer() == SubmissionStatus(under_way=True)
    assert client.answer() == SubmissionStatus(trouble="the planner gave no answer in 10 s")


def test_a_planner_that_is_busy_never_begins(
    settings: Settings, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "SUBMIT_SECONDS", 0.1)
    busy = Planner(socket_of(settings), takes=False)
    client = warm_client.start(settings, submission, own_jars=False)
    assert isinstance(client, Client)
    busy.ends()
    assert busy.said[1] == b""
    assert last_word(client) == SubmissionStatus()


def other_code(submission: Submission) -> Submission:
    (submission.release / "jobs" / "wiring.py").write_text("# of an earlier version\n")
    return submission


def more_code(submission: Submission) -> Submission:
    (submission.release / "jobs" / "was_removed.py").write_text("")
    return submission


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(other_code, id="other code"),
        pytest.param(more_code, id="a module that is gone"),
        pytest.param(lambda s: replace(s, rest="https://flink:8081"), id="TLS"),
        pytest.param(
            lambda s: replace(s, launch=Launch(entry="jobs/pipeline.py", python=sys.executable)),
            id="another entry",
        ),
    ],
)
def test_flink_run_submits_what_the_planner_has_not_loaded(
    settings: Settings,
    submission: Submission,
    warm: Planner,
    of: Callable[[Submission], Submission],
) -> None:
    client = warm_client.start(settings, of(submission), own_jars=False)
    assert isinstance(client, Client)
    last_word(client)
    assert not warm.said


def test_flink_run_submits_a_release_with_other_jars(
    settings: Settings, submission: Submission, warm: Planner
) -> None:
    client = warm_client.start(settings, submission, own_jars=True)
    assert isinstance(client, Client)
    last_word(client)
    assert not warm.said


def test_without_a_planner_flink_run_submits(settings: Settings, submission: Submission) -> None:
    client = warm_client.start(settings, submission, own_jars=False)
    assert isinstance(client, Client)
    assert last_word(client) == SubmissionStatus()
