"""Restrictions that a Linux process which runs SQL of people cannot undo: memory, files, the network."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls of Landlock, the same on every architecture."""
_READ = 1 << 2 | 1 << 3
"""Reading files and folders."""
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Version of Landlock from which on → every access to files that it knows."""
_ON_FILES = 0b111 | 1 << 14 | 1 << 15
"""Of these, what a rule for a single file may have: with the others the kernel refuses it."""
_NETWORK_VERSION, _NETWORK = 4, 0b11
"""Binding and connecting TCP sockets."""
_CONNECT = 1 << 1
_BELOW_FOLDER, _AT_PORT = 1, 2
"""Kinds of rules."""
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def end_with_parent() -> None:
    """Be killed when the process that started this one ends, however it does."""
    parent = os.getppid()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def limit(what: int, most: int) -> None:
    """Lower a limit of resources; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def landlock_version() -> int:
    """What the kernel knows of Landlock; 0 where it has none."""
    version: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, 1)
    return max(0, version)


def to_folders(*, read: Iterable[str], write: Iterable[str], connect: Iterable[int] = ()) -> bool:
    """Let this thread, and those that it starts, read and write these files and folders alone, and connect to these
    ports.

    Python's own modules stay readable. False where the kernel has no Landlock (Linux 5.13): DuckDB's settings and the
    list of what a statement may name are all there is then.
    """
    version = landlock_version()
    if version < 1:
        return False
    libc = ctypes.CDLL(None)
    files = _FILES[max(known for known in _FILES if known <= version)]
    attributes = struct.pack("=QQ", files, _NETWORK if version >= _NETWORK_VERSION else 0)
    size = 16 if version >= _NETWORK_VERSION else 8
    rules = libc.syscall(_CREATE_RULESET, attributes, size, 0)
    if rules < 0:
        return False
    code = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for folders, access in ((code | set(read), files & _READ), (set(write), files)):
        for folder in folders:
            _allow(libc, rules, folder, access)
    if version >= _NETWORK_VERSION:
        for port in connect:
            libc.syscall(_ADD_RULE, rules, _AT_PORT, struct.pack("=QQ", _CONNECT, port), 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    restricted: bool = libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return restricted


def _allow(libc: ctypes.CDLL, rules: int, folder: str, access: int) -> None:
    try:
        below = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what is not there needs no permission
        return
    if not os.path.isdir(folder):
        access &= _ON_FILES
    libc.syscall(_ADD_RULE, rules, _BELOW_FOLDER, struct.pack("=Qi", access, below), 0)
    os.close(below)
