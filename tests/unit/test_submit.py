"""`flink run` with a shell script in the place of Flink's client."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from replay.core.observed import SubmissionStatus
from replay.flink.submit import Client, Submission, flink_run, judge, submit_command, submit_env
from replay.settings import CatalogSettings, FlinkSettings, Settings

SUBMISSION = Submission("a" * 32, "flights-r1-a1", Path("/rel"), Path("/b.json"))
REFUSAL = """\
java.lang.Exception: Job failed
\tat org.apache.flink.X.y(X.java:1)
Caused by: java.io.IOException: the disk is full
\tat a.B.d(B.java:3)
"""


def settings(home: Path) -> Settings:
    return Settings(
        home=home,
        kafka={},
        registry="http://registry",
        store="sqlite://",
        secrets=home / "secrets",
        flink=FlinkSettings(
            rest="http://127.0.0.1:23082", home=home / "flink", checkpoints="file:///ck"
        ),
        catalog=CatalogSettings(flink={}, pyiceberg={}),
    )


def test_the_command_names_job_release_and_checkpoint() -> None:
    resumed = Submission(
        "ab" * 16, "flights-r1-a1", Path("/rel"), Path("/b.json"), restore="file:///ck/chk-7"
    )
    assert submit_command(settings(Path("/home")), resumed) == [
        "/home/flink/bin/flink",
        "run",
        "-m",
        "127.0.0.1:23082",
        "-d",
        f"-D$internal.pipeline.job-id={'ab' * 16}",
        "-Dpipeline.name=flights-r1-a1",
        "-s",
        "file:///ck/chk-7",
        "-pyclientexec",
        sys.executable,
        "-pyexec",
        sys.executable,
        "-pyfs",
        "/rel",
        "-py",
        "/rel/jobs/run.py",
        "--product",
        "/rel/product",
        "--bindings",
        "/b.json",
    ]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("http://flink", "flink:80"),
        ("http://flink:8081", "flink:8081"),
        ("https://flink", "https://flink:443"),
        ("https://flink:8081", "https://flink:8081"),
    ],
)
def test_the_client_is_told_of_tls_by_the_address(rest: str, expected: str) -> None:
    assert flink_run(settings(Path("/home")), rest)[1:] == ["run", "-m", expected]


def test_the_client_has_the_jars_of_its_cluster(tmp_path: Path) -> None:
    assert submit_env(settings(tmp_path), Path("/of/r1"))["FLINK_LIB_DIR"] == "/of/r1"
    assert "FLINK_LIB_DIR" not in submit_env(settings(tmp_path))


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        pytest.param(0, "Job has been submitted", SubmissionStatus(), id="submitted"),
        pytest.param(
            1,
            "…DuplicateJobSubmissionException: Job has already been submitted",
            SubmissionStatus(),
            id="already there",
        ),
        pytest.param(
            1,
            "Caused by: java.net.ConnectException: Connection refused",
            SubmissionStatus(
                trouble="flink run did not reach the cluster, or lost its answer: java.net.ConnectException: "
                "Connection refused"
            ),
            id="not reached",
        ),
        pytest.param(
            1,
            "java.util.concurrent.TimeoutException: no answer",
            SubmissionStatus(
                trouble="flink run did not reach the cluster, or lost its answer: "
                "java.util.concurrent.TimeoutException: no answer"
            ),
            id="answer lost",
        ),
        pytest.param(
            -9, "", SubmissionStatus(trouble="flink run was killed: exit code -9"), id="killed"
        ),
        pytest.param(
            137,
            "Killed",
            SubmissionStatus(trouble="flink run was killed: exit code 137"),
            id="killed below its shell",
        ),
        pytest.param(
            1,
            REFUSAL,
            SubmissionStatus(refused="java.io.IOException: the disk is full"),
            id="refused",
        ),
        pytest.param(
            3,
            "",
            SubmissionStatus(refused="flink run ended with exit code 3 and said nothing"),
            id="silent",
        ),
    ],
)
def test_what_the_end_of_the_client_means(code: int, text: str, expected: SubmissionStatus) -> None:
    assert judge(code, text) == expected


def fake_client(home: Path, script: str) -> None:
    client = home / "flink" / "bin" / "flink"
    client.parent.mkdir(parents=True)
    client.write_text(f"#!/bin/sh\n{script}\n")
    client.chmod(0o755)


def last_word(client: Client) -> SubmissionStatus:
    deadline = time.monotonic() + 30
    while (answer := client.answer()).under_way:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer


def test_nobody_waits_for_a_client_and_it_keeps_its_last_word(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    fake_client(tmp_path, f"read x < {tmp_path}/go; cat <<'EOF'\n{REFUSAL}EOF\nexit 1")
    client = Client(settings(tmp_path), SUBMISSION)
    assert client.answer() == SubmissionStatus(under_way=True)
    (tmp_path / "go").write_text("now\n")
    assert (
        last_word(client)
        == client.answer()
        == SubmissionStatus(refused="java.io.IOException: the disk is full")
    )


def test_a_client_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    fake_client(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    moments = iter([0.0, 1.0, 11.0])
    client = Client(settings(tmp_path), SUBMISSION, seconds=10, now=lambda: next(moments))
    assert client.answer() == SubmissionStatus(under_way=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = int((tmp_path / "child").read_text())
    assert client.answer() == SubmissionStatus(trouble="flink run gave no answer in 10 s")
    assert _gone(child, deadline)


def _gone(pid: int, deadline: float) -> bool:
    """A killed process whose parent died before it may be a zombie for a while: nobody's any more."""
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_the_client_gets_java_and_the_secrets_folder_and_not_the_working_copy(
    tmp_path: Path,
) -> None:
    out = tmp_path / "env.json"
    python = f'import json,os; json.dump(dict(os.environ), open("{out}", "w"))'
    fake_client(tmp_path, f"exec {sys.executable} -c '{python}'")
    assert last_word(Client(settings(tmp_path), SUBMISSION)) == SubmissionStatus()
    env = json.loads(out.read_text())
    assert env["KAPPA_SECRETS"] == str(tmp_path / "secrets")
    assert Path(env["JAVA_HOME"], "bin", "java").exists()
    assert env["PYTHONPATH"] == ""
