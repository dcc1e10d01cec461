"""The end of a log file, and its growth across rotations."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from replay.errors import ConfigError


def tail(folder: Path, name: str, lines: int, follow: bool) -> None:
    """Print the last lines of a log; with `follow`, go on until interrupted."""
    file = folder / f"{name}.log"
    if not file.is_file() or file.parent != folder:
        found = sorted(path.stem for path in folder.glob("*.log"))
        raise ConfigError(f"there is no log of '{name}'", found=name,
                          expected=f"one of: {', '.join(found)}" if found else str(file),
                          next=f"kappa logs {found[0]}" if found else "kappa up")
    with file.open(errors="replace") as stream:
        sys.stdout.writelines(deque(stream, lines))
        sys.stdout.flush()
        position = stream.tell()
    if follow:
        try:
            _follow(file, position)
        except KeyboardInterrupt:
            pass


def _follow(file: Path, position: int) -> None:
    stream = file.open(errors="replace")
    stream.seek(position)
    while True:
        if text := stream.read():
            sys.stdout.write(text)
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
