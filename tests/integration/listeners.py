"""Who listens where: the sockets of every process that was started for a home, as /proc tells of them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType

_LISTEN = "0A"
_EVERY_SECONDS = 0.05
_LASTS_SECONDS = 0.5
"""Flink's client binds a socket for a moment to learn of a free port, and takes no connection there."""


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket, and the command that has it."""

    command: str
    address: IPv4Address | IPv6Address
    port: int

    @property
    def is_loopback(self) -> bool:
        mapped = self.address.ipv4_mapped if isinstance(self.address, IPv6Address) else None
        return (mapped or self.address).is_loopback


def of_process(process: Path) -> set[Listener]:
    """Those of one folder of /proc; none when the process is gone."""
    try:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        inodes = {
            link
            for file in (process / "fd").iterdir()
            if (link := _target(file)).startswith("socket:[")
        }
        rows = [
            row.split()
            for table in ("tcp", "tcp6")
            for row in (process / "net" / table).read_text().splitlines()[1:]
        ]
    except OSError:
        return set()
    return {
        Listener(command, *_place(row[1]))
        for row in rows
        if row[3] == _LISTEN and f"socket:[{row[9]}]" in inodes
    }


def of_pid(pid: int) -> set[Listener]:
    """Those of one process."""
    return of_process(Path(f"/proc/{pid}"))


def of_home(home: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Processes that have KAPPA_HOME of their parents, from the supervisor to Python workers, and their environment."""
    mark = f"KAPPA_HOME={home}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in variables and int(process.name) != os.getpid():
            yield (
                process,
                dict(v.decode(errors="replace").split("=", 1) for v in variables if b"=" in v),
            )


def _target(file: Path) -> str:
    try:
        return os.readlink(file)
    except OSError:
        return ""


def _place(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """'0100007F:1F90' → 127.0.0.1, 8080: words of four bytes, each in the order of this machine."""
    digits, _, port = text.rpartition(":")
    raw = bytes.fromhex(digits)
    address = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    return (IPv4Address(address) if len(address) == 4 else IPv6Address(address)), int(port, 16)


@dataclass
class Watch:
    """Looks at all processes of a home again and again, also at those that live for a second."""

    home: Path
    _seen: dict[Listener, tuple[float, float]] = field(default_factory=dict)
    """When first, and when last."""
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Command → environment."""

    @property
    def listeners(self) -> set[Listener]:
        """All that there were for longer than a moment."""
        return {
            found for found, (first, last) in self._seen.items() if last - first >= _LASTS_SECONDS
        }

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            for process, environment in of_home(self.home):
                now = time.monotonic()
                for found in of_process(process):
                    self._seen[found] = (self._seen.get(found, (now, now))[0], now)
                try:
                    command = (
                        (process / "cmdline")
                        .read_bytes()
                        .replace(b"\0", b" ")
                        .decode(errors="replace")
                    )
                except OSError:
                    continue
                self.environments[command] = environment
