"""Ctrl-C: a command ends within a second, says what goes on without it, and its exit code is 130."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence

from replay.output import err

SECONDS = 0.9
"""From the signal until the process ends, whatever it waits for: a client of Kafka waits up to 15 s in C, and threads
are joined. Commands may be killed at any time, so this loses nothing."""
EXIT_CODE = 130
SHOW_CURSOR = b"\x1b[?25h"
GOES_ON = {
    "up": "what was started keeps running; kappa up waits for the rest, and kappa down stops it",
    "down": "programs that were told to stop still do; kappa down waits for them",
    "load": "what was appended stays in the log, and the same command continues behind it",
    "maintain": "Flink may still be compacting, which changes no row; the same command looks again",
    "remove": "jobs may still be ending; the same command continues",
}
"""What becomes of a command's work. Those that are not here only look, or say it themselves."""
STAY = ("controller", "shell", "topic produce")
"""They go on after Ctrl-C, or end by themselves in their own time: once it is known which lines are in the log."""

_said = False


def sentence(command: str) -> str:
    """What is said of a command that has not said it by itself."""
    goes_on = GOES_ON.get(command, "")
    return f"interrupted: {goes_on}" if goes_on else "interrupted"


def say(text: str) -> None:
    """Say what goes on; nothing else is said then."""
    global _said
    _said = True
    err.print(f"\n{text}")


def end(command: str) -> int:
    """The command was interrupted, and has perhaps said so; the exit code."""
    if not _said:
        say(sentence(command))
    return EXIT_CODE


def _show_cursor() -> None:
    """What is redrawn, such as `status --watch`, had hidden it."""
    if os.environ.get("TERM") not in (None, "dumb", "unknown"):
        for stream in filter(os.isatty, (1, 2)):
            os.write(stream, SHOW_CURSOR)


def limit(
    arguments: Sequence[str],
    leave: Callable[[int], None] = os._exit,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """From now on, end this process soon after Ctrl-C, also while its main thread is in C or waits for others."""
    words = [word for word in arguments if not word.startswith("-")][:2]
    command = words[0] if words else ""
    if command in STAY or " ".join(words) in STAY:
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        with reader, writer:
            while signal.SIGINT not in reader.recv(16):
                pass
            sleep(SECONDS)
            if not _said:
                os.write(2, f"\n{sentence(command)}\n".encode())
            _show_cursor()
            leave(EXIT_CODE)

    threading.Thread(target=wait, daemon=True, name="interrupt").start()
