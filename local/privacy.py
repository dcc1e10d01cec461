"""A home is its owner's alone: it holds a secret, the log, the tables, and what the controller and Flink run."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from local.preflight import Problem

PRIVATE = 0o700
_OTHERS = 0o077


def problems(home: Path) -> Iterator[Problem]:
    """Whether others may look into the home; none where there is no home yet."""
    try:
        found = home.stat()
    except FileNotFoundError:
        return
    if found.st_mode & _OTHERS:
        if _is_ours(found):
            next_ = f"chmod 700 {home}; kappa up does so too"
        else:
            next_ = "KAPPA_HOME=/a/folder/of/yours kappa up; or ask its owner to: chmod 700"
        yield Problem(
            "other users of this machine can look into KAPPA_HOME",
            f"mode 700 of {home}",
            f"mode {stat.S_IMODE(found.st_mode):o}",
            next_,
        )


def make_private(home: Path, say: Callable[[str], None]) -> None:
    """Make the home, closed to others; close one that is ours, and tell of one that is not."""
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        home.mkdir(mode=PRIVATE)
    except FileExistsError:
        pass
    for problem in problems(home):
        found = home.stat()
        if _is_ours(found):
            home.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
            say(f"other users could look into {home} ({problem.found}): closed it to them")
        else:
            say(str(problem.error()))


def _is_ours(found: os.stat_result) -> bool:
    """Whether this user may close the folder: it is theirs, and not shared by all users, as /tmp is."""
    return found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX
