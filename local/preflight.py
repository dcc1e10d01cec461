"""What must hold before the stack starts: Python, disk, memory, ports, the length of a path."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.layout import SOCKET_PATH_LIMIT, Layout
from replay.errors import KappaError

PYTHON = (3, 11)
DISK_MB = 2_000
"""For jars' links, logs, a first log and first tables; the loader's own need comes on top."""
MEMORY_MB = 5_000
"""What may be used at full load: TaskManager 4.1 GB, the others 1.5 GB, less what starts small."""
TASKMANAGER_MB = 4_300
"""Of a further TaskManager."""


@dataclass(frozen=True)
class Problem:
    """One thing in the way."""

    message: str
    expected: str
    found: str
    next: str

    def error(self) -> KappaError:
        """The same, to raise."""
        return KappaError(self.message, expected=self.expected, found=self.found, next=self.next)


def problems(layout: Layout, ports: Mapping[str, Sequence[int]]) -> Iterator[Problem]:
    """Everything in the way of a start, cheapest first; `ports` are those of each program."""
    yield from python_problems(sys.version_info[:2])
    yield from path_problems(layout)
    yield from disk_problems(layout.home, free_mb(layout.home))
    yield from memory_problems(available_mb(), needed_mb(layout))
    yield from port_problems(ports)


def python_problems(version: tuple[int, int]) -> Iterator[Problem]:
    """PyFlink 2.1 and the lock file are for one version."""
    if version != PYTHON:
        yield Problem(
            "this is the wrong Python",
            "Python {}.{}".format(*PYTHON),
            "Python {}.{}".format(*version),
            "uv sync --python 3.11",
        )


def path_problems(layout: Layout) -> Iterator[Problem]:
    """A Unix socket's path must be short, and Flink's scripts and Java's class path cannot quote everything."""
    length = len(os.fsencode(layout.socket))
    if length > SOCKET_PATH_LIMIT:
        yield Problem(
            "the path of KAPPA_HOME is too long for the supervisor's Unix socket",
            f"at most {SOCKET_PATH_LIMIT} bytes",
            f"{length} bytes: {layout.socket}",
            "KAPPA_HOME=/a/shorter/path kappa up",
        )
    if bad := sorted({c for c in str(layout.home) if c.isspace() or c in ":;,\"'%#$\\"}):
        yield Problem(
            "the path of KAPPA_HOME has characters that Flink's scripts or Java's class path split at",
            "no white space and none of : ; , \" ' % # $ \\",
            f"{bad} in {layout.home}",
            "KAPPA_HOME=/a/plain/path kappa up",
        )


def disk_problems(home: Path, free: int) -> Iterator[Problem]:
    """A full disk stops Kafka and fails every checkpoint."""
    if free < DISK_MB:
        yield Problem(
            "too little disk",
            f"{DISK_MB:,} MB free for {home}",
            f"{free:,} MB",
            "free some space, or put the home elsewhere: KAPPA_HOME=/a/bigger/disk kappa up",
        )


def needed_mb(layout: Layout) -> int:
    """Of memory, for the stack."""
    return MEMORY_MB + (layout.taskmanagers - 1) * TASKMANAGER_MB


def memory_problems(available: int | None, needed: int = MEMORY_MB) -> Iterator[Problem]:
    """Without this much the kernel would kill processes under load."""
    if available is not None and available < needed:
        yield Problem(
            "too little memory",
            f"{needed:,} MB available",
            f"{available:,} MB",
            "stop something else (another home? KAPPA_HOME=… kappa down), then: kappa up",
        )


def port_problems(ports: Mapping[str, Sequence[int]]) -> Iterator[Problem]:
    """Every port must be free on loopback."""
    for program, needed in ports.items():
        for port in needed:
            if not port_free(port):
                yield Problem(
                    f"port {port} is in use",
                    f"127.0.0.1:{port} free for {program}",
                    f"something listens there{_owner(port)}",
                    "kappa up --port-base 29000, or another number; or stop what listens there",
                )


def port_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be bound."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_mb(home: Path) -> int:
    """Free disk space for a folder that may not exist yet."""
    folder = home
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 1_000_000


def available_mb() -> int | None:
    """Memory that a new process could get; None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    kilobytes = next(
        int(line.split()[1]) for line in text.splitlines() if line.startswith("MemAvailable:")
    )
    return kilobytes * 1024 // 1_000_000


def _owner(port: int) -> str:
    """' (pid 123: what it is)' when /proc says who listens."""
    inode = _inode(port)
    if inode is None:
        return ""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == f"socket:[{inode}]":
                return f" (pid {link.parents[1].name}: {_describe(link.parents[1])})"
        except OSError:
            continue
    return ""


def _describe(process: Path) -> str:
    """'kafka of the home /…' for a program of an embedded stack, else its command line."""
    variables = dict(v.split("=", 1) for v in _strings(process / "environ") if "=" in v)
    if "KAPPA_PROGRAM" in variables:
        return f"{variables['KAPPA_PROGRAM']} of the home {variables.get('KAPPA_HOME')}"
    return " ".join(_strings(process / "cmdline"))[:80]


def _strings(file: Path) -> list[str]:
    return [text for text in file.read_bytes().decode(errors="replace").split("\0") if text]


def _inode(port: int) -> str | None:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                return fields[9]
    return None
