"""What lies in a folder, looked at without following a link and without opening anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BYTE_CODE = "__pycache__"
"""Folders of what Python makes by itself of the sources beside them."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Entry:
    """Something in a folder that is no folder."""

    path: Path
    odd: str = ""
    """What it is, if it is no file of its own with a printable name: it must not be opened, or not be trusted."""


def entries(folder: Path) -> Iterator[Entry]:
    """All below the folder, sorted; links are named, and nothing behind them is."""
    unreadable: list[Entry] = []

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            # gone meanwhile, or never there
            unreadable.append(Entry(Path(error.filename), "a folder that cannot be read"))

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(parent, name)
            try:
                mode = path.lstat().st_mode
                odd = _odd(path, mode)
            except FileNotFoundError:  # an editor's, gone meanwhile
                continue
            if odd or not stat.S_ISDIR(mode):
                yield Entry(path, odd)
    yield from unreadable


def odd(path: Path) -> str:
    """What something is, if it is no file of its own with a printable name."""
    return _odd(path, path.lstat().st_mode)


def shown(path: Path) -> str:
    """A path for people: on one line, whatever its name is."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _odd(path: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return f"a symbolic link to {shown(path.readlink())}"
    if not path.name.isprintable():
        return "a name that cannot be printed"
    return (
        "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")
    )
