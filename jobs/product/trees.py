"""What a folder contains, listed without following a link and without opening a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BYTE_CODE = "__pycache__"
"""The folders in which Python stores byte code beside the sources."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Entry:
    """An entry of a folder that is not itself a folder."""

    path: Path
    odd: str = ""
    """What it is, if it is not a regular file with a printable name: then it must not be opened or trusted."""


def entries(folder: Path) -> Iterator[Entry]:
    """All entries below the folder, sorted. Links are listed but not followed."""
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
    """What an entry is, if it is not a regular file with a printable name; else an empty text."""
    return _odd(path, path.lstat().st_mode)


def shown(path: Path) -> str:
    """A path for people, on one line."""
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
