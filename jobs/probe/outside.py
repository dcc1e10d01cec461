"""What a product's function asks of the machine while it is tried: files, network, processes, clock, environment.

It counts when done on behalf of the product's own code, at its import too; what Python does to import a module and
what `logging` reads for its records do not. A function may read the modules of `udfs`, the files of Python and its
packages, time-zone data, the files in `KAPPA_SECRETS` and the release's names of them: a release is bound to all of
these. Everything else is refused and, where it would change something, prevented.
"""

from __future__ import annotations

import locale
import logging
import os
import platform
import random
import sys
import sysconfig
import threading
import time
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

NAMED = "keys.json"
"""As udfs/keys.py calls it: not imported, as the functions that are tried have a package `udfs` of their own."""
SECRETS = "KAPPA_SECRETS"
_STAND_IN = "31415926535897932384626433832795" * 2
"""Of a secret that is not on this machine: text, hexadecimal, base64 and a number, as long as a 256-bit key."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READS = ("open", "os.listdir", "os.scandir")
_PREVENTED = {
    "socket": "uses the network",
    "subprocess": "starts a process",
    "os": "asks the operating system",
    "ctypes": "calls native code",
    "mmap": "maps memory",
    "fcntl": "asks the operating system",
    "signal": "sets signals",
    "resource": "sets limits of the process",
    "sqlite3": "opens a database",
    "syslog": "writes to the system's log",
    "pty": "starts a process",
    "shutil": "changes files",
    "tempfile": "makes a temporary file",
    "sys": "watches other code",
}
"""By the first word of an audit event."""
_HARMLESS = frozenset(
    {"sys._getframe", "sys.unraisablehook", "sys.excepthook", "sys._current_frames"}
)
_PROCESS = frozenset({"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.kill",
                      "os.killpg", "os.startfile"})  # fmt: skip
_OF_THE_RUN = (
    "getcwd", "getcwdb", "getpid", "getppid", "getpgid", "getpgrp", "getsid", "getuid", "geteuid", "getgid", "getegid",
    "getlogin", "getgroups", "uname", "cpu_count", "getloadavg", "times", "urandom", "getrandom", "umask",
    "sched_getaffinity", "get_terminal_size",
)  # fmt: skip
_OF_A_PATH = ("stat", "lstat", "access", "readlink", "statvfs")
_ENDS = ("_exit", "abort")
_CLOCKS = ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns",
           "thread_time", "thread_time_ns")  # fmt: skip


class OutsideError(PermissionError):
    """A function tried to do something that is not allowed, and was prevented."""


@dataclass
class Watch:
    """What was recorded since it was last taken."""

    udfs: str
    """The folder of the product's modules."""
    call: CodeType
    """What calls a product's function."""
    secrets: str = ""
    real_secrets: str = ""
    seen: dict[str, None] = field(default_factory=dict)
    _inside: bool = False

    def take(self) -> list[str]:
        """Return what was recorded, each once, and clear it."""
        found, self.seen = list(self.seen), {}
        return found

    def touch(self, what: str) -> bool:
        """Record it if the product's code asks for it."""
        if self._inside or (where := self._by_product(sys._getframe(1))) is None:
            return False
        self.seen[f"{what}{where}"] = None
        return True

    def refuse(self, what: str) -> None:
        """Record it and prevent it."""
        if self.touch(what):
            raise OutsideError(what)

    def _by_product(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            code = frame.f_code
            file = code.co_filename
            if file == _IMPORTS or file.startswith(_LOGGING):
                return None
            if file.startswith(self.udfs):
                return f" ({os.path.basename(os.path.dirname(file))}/{os.path.basename(file)}:{frame.f_lineno})"
            if code is self.call:
                return ""
            frame = frame.f_back
        return None

    def file(self, path: Any, *, writes: bool, looks: bool = False) -> None:
        """Handle a file or folder that is opened or examined."""
        if self._inside or isinstance(path, int):  # opened already, which was seen
            return
        with self._own():
            text = os.fsdecode(path)
            may = not writes and self._may_read(os.path.abspath(text), looks)
        if not may:
            self.refuse(f"{'writes' if writes else 'reads'} the file {text}")

    @contextmanager
    def _own(self) -> Iterator[None]:
        """While this code itself examines files, nothing is recorded."""
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    def _may_read(self, path: str, looks: bool) -> bool:
        if self.secrets and (path + os.sep).startswith(self.secrets + os.sep):
            self._provide(path)
            return True
        if path == os.path.join(os.path.dirname(self.udfs.rstrip(os.sep)), NAMED):
            # the release's names of its keys
            return True
        if path.startswith(self.udfs):
            return looks or path.endswith((".py", ".pyc", os.sep)) or os.path.isdir(path)
        if any((path + os.sep).startswith(r + os.sep) for r in _READABLE):
            return True
        return looks and any(
            r.startswith(path.rstrip(os.sep) + os.sep)
            for r in (*_READABLE, self.udfs, self.secrets)
        )

    def _provide(self, path: str) -> None:
        """Provide a secret at the path where the function looks for it: the machine's own, or a stand-in."""
        name = os.path.relpath(path, self.secrets)
        real = os.path.join(self.real_secrets, name)
        if name == "." or os.path.lexists(path) or os.path.dirname(name):
            return
        if self.real_secrets and os.path.isfile(real):
            os.symlink(os.path.abspath(real), path)
        else:
            Path(path).write_text(_STAND_IN + "\n")

    def environment(self, name: Any) -> None:
        """Handle an environment variable that is read."""
        text = os.fsdecode(name) if isinstance(name, str | bytes) else str(name)
        if text != SECRETS:
            self.touch(f"reads the environment variable {text}")


def _readable() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(
        dict.fromkeys(
            [*(paths[p] for p in ("stdlib", "platstdlib", "purelib", "platlib")), *zoneinfo.TZPATH]
        )
    )


_READABLE = _readable()
_IMPORTS = "<frozen importlib._bootstrap>"
"""Not _bootstrap_external: that one reads data files too, for pkgutil."""
_LOGGING = os.path.dirname(logging.__file__)


def install(watch: Watch, ahead: timedelta) -> None:
    """Record everything from now on, with a clock that is ahead by this much."""
    _install_clock(watch, ahead)
    _install_environment(watch)
    for name in _OF_THE_RUN:
        _replace(
            os,
            name,
            lambda *_, what=f"asks the operating system (os.{name})", **__: watch.touch(what),
        )
    _replace(
        random, "_urandom", lambda *_, **__: watch.touch("asks the operating system (os.urandom)")
    )
    _replace(
        platform,
        "uname",
        lambda *_, **__: watch.touch("asks the operating system (platform.uname)"),
    )
    _replace(
        locale,
        "setlocale",
        lambda _, to=None: to is None or watch.touch("changes the process (setlocale)"),
    )
    for name in _ENDS:
        _replace(
            os, name, lambda *_, what=f"ends the process (os.{name})", **__: watch.refuse(what)
        )
    for name in _OF_A_PATH:
        _replace(os, name, lambda path=".", *_, **__: watch.file(path, writes=False, looks=True))
    for name in _CLOCKS:
        _replace(time, name, lambda *_, **__: watch.touch("reads the clock"))
    for name in ("ctime", "asctime"):
        _replace(time, name, lambda *given, **_: given or watch.touch("reads the clock"))
    _replace(time, "sleep", lambda *_, **__: watch.refuse("waits (time.sleep)"))
    _replace(threading, "_start_new_thread", lambda *_, **__: watch.refuse("starts a thread"))
    sys.addaudithook(lambda event, args: _audit(watch, event, args))


def _audit(watch: Watch, event: str, args: tuple[Any, ...]) -> None:
    kind = event.partition(".")[0]
    if event in _READS:
        flags = args[2] if event == "open" else 0
        watch.file("." if args[0] is None else args[0], writes=bool(flags and int(flags) & _WRITES))
    elif kind in _PREVENTED and event not in _HARMLESS and not watch._inside:
        what = "starts a process" if event in _PROCESS else _PREVENTED[kind]
        watch.refuse(f"{what} ({event})")
    elif event == "builtins.input":
        watch.refuse("reads its standard input")


def _replace(module: Any, name: str, before: Callable[..., Any]) -> None:
    """Replace a function of a module by one that calls `before` first."""
    original = getattr(module, name, None)
    if original is None:
        return

    def watched(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        return original(*args, **kwargs)

    watched.__name__, watched.__doc__ = name, original.__doc__
    setattr(module, name, watched)
    for able in (
        os.supports_fd,
        os.supports_dir_fd,
        os.supports_effective_ids,
        os.supports_follow_symlinks,
    ):
        if original in able:
            able.add(watched)


def _install_environment(watch: Watch) -> None:
    kind: Any = type(os.environ)
    get, each = kind.__getitem__, kind.__iter__

    def getitem(self: Any, key: Any) -> Any:
        watch.environment(key)
        return get(self, key)

    def iterate(self: Any) -> Any:
        watch.touch("reads all environment variables")
        return each(self)

    kind.__getitem__, kind.__iter__ = getitem, iterate


def _install_clock(watch: Watch, ahead: timedelta) -> None:
    """Set another date and time, for C code too. The library looks for pytest and dateutil, which it does not need."""
    without = [name for name in ("pytest", "dateutil.parser") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(without))  # type: ignore[arg-type] # None: importing it fails
    import time_machine

    for name in without:
        del sys.modules[name]
    traveller: Any = time_machine.travel(ahead).start()
    ticking = traveller.time_ns

    def time_ns() -> int:
        watch.touch("reads the clock")
        return int(ticking())

    traveller.time_ns = time_ns
