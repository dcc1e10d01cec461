"""SQL of people runs in a process of its own, with limits: `open_sandbox`, `Sandbox.ask`."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.query import object_access, wire
from replay.settings import QuerySettings
from replay.storage import authorities, is_local

COMMAND = (sys.executable, "-I", "-m", "replay.query.query_process")
_START_SECONDS = 60.0
"""For the process to open the tables: it reads their metadata."""
_STALE_SECONDS = 2 * 3600.0
_PASSED_ON = ("LD_LIBRARY_PATH",)
"""All that the process gets of this one's environment."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class TableVersion:
    """Where a table is: its metadata, and one snapshot of it; None: the current one."""

    location: str
    snapshot: int | None = None
    storage: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What reads its files in an object store, by PyIceberg's names."""

    @property
    def folder(self) -> str:
        """The table's own folder; Flink writes file:/x where PyIceberg writes file:///x."""
        return re.sub(r"^file:(//)?(?=/)", "", self.location).rpartition("/metadata/")[0]


def stores(places: Iterable[TableVersion]) -> dict[str, dict[str, str]]:
    """Folder of a table in an object store → what DuckDB needs to read it: see `duck.reach`."""
    return {
        at.folder: object_access.options(at.folder, at.storage)
        for at in places
        if not is_local(at.location)
    }


@dataclass(frozen=True)
class Answer:
    """Rows, in the order of the columns."""

    columns: list[str]
    rows: list[list[Any]]
    count: int
    """Of all rows, also those that were not asked for."""


@dataclass(eq=False)
class SandboxError(Exception):
    """Why there is no answer; the caller adds what to do about it."""

    kind: str
    """refused, name (nothing has it), column (DuckDB found no such name), sql, file, memory, answer, time, ended"""
    found: str
    expected: str = ""
    name: str = ""
    """Of what does not exist."""
    table: bool = False
    """Whether that is a table."""
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    """Of the tables that the statement mentions."""

    def __str__(self) -> str:
        return self.found


class Sandbox:
    """The process. It is started at once and can be opened later: it takes a moment to be ready."""

    def __init__(
        self,
        limits: QuerySettings,
        folder: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder`: below which it gets one for what does not fit into memory; by default the machine's for such."""
        self._limits, self._now = limits, now
        self._spill, self._lock = _own_folder(folder)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._unread = b""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            self._process = subprocess.Popen(
                COMMAND,
                cwd=self._spill,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except BaseException:
            self._leave()
            raise

    def open(
        self,
        schemas: Mapping[str, Mapping[str, TableVersion]],
        arrow: Mapping[str, Any] | None = None,
        empty: Mapping[str, Mapping[str, str]] | None = None,
        zone: str = "UTC",
    ) -> None:
        """Show it these tables and no others; the first schema is in use.

        In each schema there are more: `arrow`, tables of Arrow; `empty`, by their columns' types in DuckDB. `zone`: by
        whose clocks a time without a zone, or a date, is compared with an instant.
        """
        folders = sorted({at.folder for tables in schemas.values() for at in tables.values()})
        self._send(
            {
                "schemas": {
                    schema: {
                        t: {"location": at.location, "snapshot": at.snapshot}
                        for t, at in tables.items()
                    }
                    for schema, tables in schemas.items()
                },
                "stores": stores(at for tables in schemas.values() for at in tables.values()),
                "authorities": authorities(),
                "arrow": {name: _stream(table) for name, table in (arrow or {}).items()},
                "empty": empty or {},
                "zone": zone,
                "folders": folders,
                "spill": self._spill,
                "threads": os.cpu_count() or 1,
                "memory": self._limits.memory_bytes,
                "disk": self._limits.disk_bytes,
            }
        )
        _raise_fault(json.loads(self._line(self._now() + _START_SECONDS)))

    def replace(self, arrow: Mapping[str, Any]) -> None:
        """Other rows for tables of Arrow."""
        self._send({"arrow": {name: _stream(table) for name, table in arrow.items()}})
        _raise_fault(json.loads(self._line(self._now() + _START_SECONDS)))

    def ask(self, sql: str, keep: int | None = None) -> Answer:
        """The answer to one statement; of its rows the first `keep`. SandboxError when there is none."""
        until = self._now() + self._limits.seconds
        self._send({"sql": sql, "keep": keep})
        first = json.loads(self._line(until))
        _raise_fault(first)
        rows: list[list[Any]] = []
        while (line := self._line(until))[:1] == b"[":
            rows.append(wire.load(line))
        last = json.loads(line)
        _raise_fault(last)
        return Answer(first["columns"], rows, last["rows"])

    def close(self) -> None:
        """End the process, whatever it is at, and leave nothing of it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):  # of what it did not read any more
                    stream.close()
        self._leave()

    def _leave(self) -> None:
        self._said.close()
        shutil.rmtree(self._spill, ignore_errors=True)
        os.close(self._lock)

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _line(self, until: float) -> bytes:
        """The next line that it writes."""
        assert self._process.stdout
        parts = [self._unread]
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                left = until - self._now()
                if left <= 0 or not selector.select(left):
                    self._process.kill()
                    raise SandboxError("time", f"none after {self._limits.seconds:g} s")
                chunk = os.read(self._process.stdout.fileno(), _CHUNK)
                if not chunk:
                    raise self._ended()
                parts.append(chunk)
        line, _, self._unread = b"".join(parts).partition(b"\n")
        return line

    def _ended(self) -> SandboxError:
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
        if "MemoryError" in said or "bad_alloc" in said:
            return SandboxError("memory", "more")
        return SandboxError(
            "ended", f"its process ended with exit code {code}{f': {said}' if said else ''}"[:400]
        )


@contextmanager
def open_sandbox(
    limits: QuerySettings,
    schemas: Mapping[str, Mapping[str, TableVersion]],
    arrow: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    empty: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Sandbox]:
    """A process that reads these tables, until the end of the block."""
    sandbox = Sandbox(limits, folder)
    try:
        sandbox.open(schemas, arrow, empty)
        yield sandbox
    finally:
        sandbox.close()


def _raise_fault(answer: Mapping[str, Any]) -> None:
    if fault := answer.get("fault"):
        raise SandboxError(**fault)


def _stream(table: Any) -> str:
    import pyarrow as pa  # here: a query of published tables does without

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def _own_folder(folder: Path | None) -> tuple[str, int]:
    """A fresh folder, locked for as long as this process uses it; what killed processes left is removed."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob("query-*"):
            with contextlib.suppress(OSError):
                _remove_stale(left)
    own = tempfile.mkdtemp(prefix="query-", dir=folder)
    lock = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return own, lock


def _remove_stale(folder: Path) -> None:
    """A folder that no process has locked, and that is older than the time between creating and locking one."""
    if time.time() - folder.stat().st_mtime < _STALE_SECONDS:
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
