"""Processes that outlive what started them are found by their environment, and ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.layout import Layout
from local.supervise import end_orphans, orphans

Start = Callable[[Path, str], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def sleep(home: Path, program: str) -> subprocess.Popen[bytes]:
        environment = {"KAPPA_HOME": str(home), "KAPPA_PROGRAM": program}
        started.append(subprocess.Popen(["/bin/sleep", "60"], env=environment))
        # Popen returns while the kernel is still about to replace the process: for an instant it has no environment.
        deadline = time.monotonic() + 10
        while (
            not Path(f"/proc/{started[-1].pid}/environ").read_bytes()
            and time.monotonic() < deadline
        ):
            os.sched_yield()
        return started[-1]

    yield sleep
    for process in started:
        process.kill()
        process.wait()


def test_only_processes_of_this_home_are_left_over(tmp_path: Path, start: Start) -> None:
    ours, _ = start(tmp_path / "a", "kafka"), start(tmp_path / "b", "kafka")
    assert orphans(Layout(tmp_path / "a")) == {ours.pid: "kafka"}


def test_workers_of_the_last_taskmanager_are_ended_and_nothing_else(
    tmp_path: Path, start: Start
) -> None:
    worker, broker = start(tmp_path, "taskmanager"), start(tmp_path, "kafka")
    assert end_orphans(Layout(tmp_path), seconds=2, program="taskmanager") == {
        worker.pid: "taskmanager"
    }
    assert worker.wait(timeout=5) != 0
    assert broker.poll() is None
