"""Ctrl-C ends a command within a second, with a sentence and exit code 130; a closed pipe ends it silently."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from replay.cli import interrupt
from replay.cli.app import App
from tests.unit import folders

STUCK = """
import ctypes, sys, threading, time
from replay.cli import interrupt
interrupt.limit(["{command}"])
{wait}
"""
IN_C = """
mutex = ctypes.create_string_buffer(64)
lock = ctypes.CDLL(None).pthread_mutex_lock
lock(mutex)
while True:
    try:
        print("ready", flush=True)
        lock(mutex)
    except KeyboardInterrupt:  # it came just before
        pass
"""
"""As a client of Kafka waits: no signal ends it."""
JOINING = """
other = threading.Thread(target=time.sleep, args=(60,))
other.start()
try:
    print("ready", flush=True)
    threading.Event().wait()
except KeyboardInterrupt:
    interrupt.say("detached: said by the command")
    sys.exit(130)
"""


def interrupted(program: list[str]) -> tuple[float, int, str]:
    """Seconds, exit code and what was said, once a program has printed a line and got the signal."""
    process = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    return time.monotonic() - began, process.returncode, said.strip()


@pytest.mark.parametrize(
    ("command", "wait", "said"),
    [
        ("up", IN_C, interrupt.sentence("up")),
        ("audit", IN_C, "interrupted"),
        ("deploy", JOINING, "detached: said by the command"),
    ],
    ids=["in C", "in C, and it only looks", "joining a thread"],
)
def test_whatever_a_command_waits_for(command: str, wait: str, said: str) -> None:
    program = STUCK.format(command=command, wait=wait)
    seconds, code, found = interrupted([sys.executable, "-c", program])
    assert (code, found) == (130, said)
    assert seconds < 10  # 0.9 s, on a machine that does nothing else


def test_the_limit_is_below_a_second_and_counts_from_the_signal() -> None:
    left: list[int] = []
    slept: list[float] = []
    before = signal.set_wakeup_fd(-1)
    try:
        interrupt.limit(["status", "--watch"], left.append, slept.append)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while not left and time.monotonic() < deadline:
            os.sched_yield()
    finally:
        signal.set_wakeup_fd(before)
    assert (left, slept) == ([130], [interrupt.SECONDS])
    assert interrupt.SECONDS < 1


@pytest.mark.parametrize("command", interrupt.STAY)
def test_commands_that_go_on_after_it_have_no_limit(command: str) -> None:
    before = signal.set_wakeup_fd(-1)
    try:
        interrupt.limit(command.split())
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)


def test_a_command_that_says_nothing_of_it_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupt, "_said", False)
    app = App()

    @app.callback()
    def group() -> None:
        """A group."""

    @app.command()
    def down() -> None:
        """Wait."""
        raise KeyboardInterrupt

    shown = CliRunner().invoke(app, ["down"])
    assert shown.exit_code == 130
    assert shown.output.strip().replace("\n", " ") == interrupt.sentence("down")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["deploy", "--help"], ["acls", "tiny", "--output", "json"]],
    ids=" ".join,
)
def test_a_closed_pipe_ends_a_command_silently(tmp_path: Path, arguments: list[str]) -> None:
    folders.write(tmp_path / "sql" / "tiny")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "replay", *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "KAPPA_HOME": str(tmp_path)},
        check=False,
    )
    os.close(writer)
    assert (done.stderr, done.returncode) == ("", 1)
