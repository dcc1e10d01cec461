"""A planner that stays warm, one a home: `jobs/check_server.py`, started when it is first asked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import jobs
import udfs
from jobs.processes import PYTHON_ENVIRONMENT
from replay.flink.submit import planner_env
from replay.settings import Settings

SWITCH = "KAPPA_PLANNER"
"""A variable of the environment: `cold` for a process of its own at each question."""
PROGRAM = "planner"
"""Its name among the programs of a home."""
START_SECONDS = 120.0
"""In which it must listen: it starts a JVM, on a machine that others keep busy."""
CONNECT_SECONDS = 10.0
"""In which a planner that listens takes a connection, unless it stands still."""
TAKEN_SECONDS = 60.0
"""In which it says that it has taken a request; others may be before it."""
SUBMIT_SECONDS = 2.0
"""In which it takes a submission: the controller waits for it."""
LOG_BYTES = 1_000_000
"""Of its log, which is begun again when a planner starts and finds more: it may say why the one before has ended."""
TAKEN, GO = b"taken\n", b"go\n"
"""See `jobs/check_server.py`, which this package does not import: it imports PyFlink."""
_PATH_LIMIT = 100
"""Bytes of a Unix socket's path, less what its server puts behind it for a moment."""

_started_here: list[subprocess.Popen[bytes]] = []
"""They outlive this process; a `Popen` that is collected before complains of it."""


def ask_warm(settings: Settings, folder: Path, seconds: float) -> str | None:
    """The answer about a product's folder, as a line of JSON: see `answer`."""
    return answer(settings, {"check": str(folder), "cwd": os.getcwd()}, seconds)


def answer(settings: Settings, request: Mapping[str, Any], seconds: float) -> str | None:
    """The answer to a request, as a line of JSON; None when this home has no warm planner to be had, or it fails or
    stands still. TimeoutError when the answer does not come within so many seconds."""
    if is_cold(settings):
        return None
    try:
        try:
            connection = _taken(settings, request)
        except ConnectionError:  # it was ending, and has not begun: the next one is asked
            connection = _taken(settings, request)
    except OSError:  # it stands still; a full disk; a home that cannot be written
        return None
    if connection is None:
        return None
    with connection, connection.makefile("rb") as answers:
        connection.settimeout(seconds)
        try:
            line = answers.readline()
        except ConnectionResetError:
            return None
    return line.decode() if line.endswith(b"\n") else None


def _taken(settings: Settings, request: Mapping[str, Any]) -> socket.socket | None:
    """A connection on which the answer to a request will come, once it is taken; None when no planner can be had.
    ConnectionError when the planner ends before it takes the request, another OSError when it stands still."""
    if (connection := _connection(settings)) is None:
        return None
    try:
        connection.settimeout(TAKEN_SECONDS)
        connection.sendall(json.dumps(request).encode() + b"\n")
        if connection.recv(len(TAKEN), socket.MSG_WAITALL) == TAKEN:
            return connection
    except OSError:
        connection.close()
        raise
    connection.close()
    raise ConnectionResetError("the planner has ended")


def hand_over(settings: Settings, request: Mapping[str, Any]) -> socket.socket | None:
    """Have a planner that runs already begin with a submission, which goes on whatever becomes of this process; the
    connection on which its answer will come. None when there is no planner, or it is busy: nothing has begun."""
    if is_cold(settings):
        return None
    try:
        connection = _connected(_socket(settings, environment(settings)))
    except OSError:
        return None
    if connection is None:
        return None
    try:
        connection.settimeout(SUBMIT_SECONDS)
        connection.sendall(json.dumps({"submit": request}).encode() + b"\n")
        if connection.recv(len(TAKEN)) == TAKEN:
            connection.sendall(GO)
            connection.setblocking(False)
            return connection
    except OSError:
        pass
    connection.close()
    return None


def is_cold(settings: Settings) -> bool:
    """Whether this home is to have no warm planner, or cannot have one."""
    return os.environ.get(SWITCH) == "cold" or not (settings.flink.home / "lib").is_dir()


def _socket(settings: Settings, env: Mapping[str, str]) -> Path:
    return settings.home / "run" / f"{PROGRAM}-{_version(settings, env)}.sock"


def _connection(settings: Settings) -> socket.socket | None:
    """To the planner of this version, which is started if there is none."""
    env = environment(settings)
    path = _socket(settings, env)
    if len(os.fsencode(path)) > _PATH_LIMIT:
        return None
    if found := _connected(path):
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{PROGRAM}.lock").open("a") as lock:
        deadline = time.monotonic() + START_SECONDS
        while not _locked(lock):
            # Somebody else starts it, or has stopped in the middle.
            time.sleep(0.1)
            if found := _connected(path):
                return found
            if time.monotonic() > deadline:
                return None
        return _connected(path) or _started(settings, path, env)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connected(path: Path) -> socket.socket | None:
    """TimeoutError when it does not even take connections: it stands still."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_SECONDS)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


def _started(settings: Settings, path: Path, env: Mapping[str, str]) -> socket.socket | None:
    for other in path.parent.glob(f"{PROGRAM}-*.sock"):
        other.unlink(missing_ok=True)  # its server ends: it is of another version, or dead
    (settings.home / "logs").mkdir(parents=True, exist_ok=True)
    file = settings.home / "logs" / f"{PROGRAM}.log"
    with suppress(FileNotFoundError):
        if file.stat().st_size > LOG_BYTES:
            file.unlink()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "jobs.check_server", str(path)],
            env={**os.environ, **env},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it outlives this command, and its Ctrl-C
        )
    _started_here.append(process)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if found := _connected(path):
            return found
        time.sleep(0.05)
    return None


def environment(settings: Settings) -> dict[str, str]:
    """What the planner has in its environment besides what is there: its Flink, its modules, and whose it is."""
    return {
        **planner_env(settings),
        **PYTHON_ENVIRONMENT,
        "PYTHONPATH": modules_path(),
        "KAPPA_HOME": str(settings.home),
        "KAPPA_PROGRAM": PROGRAM,
    }


def modules_path() -> str:
    """Where modules come from: those of udfs/ first, which may be of a commit that is not checked out."""
    roots = [str(Path(p.__file__ or "").parent.parent) for p in (udfs, jobs)]
    return os.pathsep.join(dict.fromkeys(roots))


def _version(settings: Settings, env: Mapping[str, str]) -> str:
    """Of everything that a warm process has read already: another one needs another process."""
    digest = hashlib.sha256(json.dumps([sys.executable, sorted(env.items())]).encode())
    files = [
        Path(sysconfig.get_path("purelib")),  # changes with the packages that are installed
        *sorted(Path(jobs.__file__ or "").parent.rglob("*.py")),
        *sorted((settings.flink.home / "lib").glob("*.jar")),
        *sorted((settings.flink.home / "conf").glob("*")),
    ]
    for file in files:
        stat = file.stat()
        digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]
