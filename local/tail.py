"""The end of a log file, and its growth across rotations."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from replay.errors import ConfigError
from replay.output import out

_LINE = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)Z (\w+) +(.*)")
"""As replay/controller/service_log.py writes them."""
_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}


def tail(folder: Path, name: str, lines: int, follow: bool) -> None:
    """Print the last lines of a log; with `follow`, go on until interrupted."""
    file = folder / f"{name}.log"
    if not file.is_file() or file.parent != folder:
        found = sorted(path.stem for path in folder.glob("*.log"))
        raise ConfigError(
            f"there is no log of '{name}'",
            found=name,
            expected=f"one of: {', '.join(found)}" if found else str(file),
            next=f"kappa logs {found[0]}" if found else "kappa up",
        )
    write = TerminalLines() if name == "controller" and out.is_terminal else _write
    with file.open(errors="replace") as stream:
        for line in deque(stream, lines):
            write(line)
        sys.stdout.flush()
        position = stream.tell()
    if follow:
        try:
            _follow(file, position, write)
        except KeyboardInterrupt:
            pass


class TerminalLines:
    """Lines of the controller on a terminal: each day once, long texts wrapped behind time and level."""

    def __init__(self, console: Console = out) -> None:
        self._console = console
        self._day = ""

    def __call__(self, line: str) -> None:
        """Print one line of the log."""
        match = _LINE.match(line.rstrip("\n"))
        if match is None:  # of a traceback, or JSON
            self._console.print(
                Text(line.rstrip("\n"), style="dim" if line.startswith(" ") else ""), soft_wrap=True
            )
            return
        day, at, level, text = match.groups()
        if day != self._day:
            self._console.print(Text(day, style="bold"))
            self._day = day
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(no_wrap=True, width=len("warning"), style=_STYLES.get(level, ""))
        grid.add_column(overflow="fold")
        grid.add_row(at, level, Text(text))
        self._console.print(grid, soft_wrap=False)


def _write(line: str) -> None:
    sys.stdout.write(line)


def _follow(file: Path, position: int, write: Callable[[str], None]) -> None:
    stream = file.open(errors="replace")
    stream.seek(position)
    begun = ""
    while True:
        if text := stream.read():
            *whole, begun = (begun + text).split("\n")
            for line in whole:
                write(line + "\n")
            sys.stdout.flush()
        elif _rotated(file, stream):
            stream.close()
            stream = file.open(errors="replace")
        else:
            time.sleep(0.2)


def _rotated(file: Path, stream: TextIO) -> bool:
    try:
        return file.stat().st_ino != os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:  # between the rename and the new file
        return False
