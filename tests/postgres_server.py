"""A PostgreSQL server for tests, of Debian's package: one for all processes of a run, which ends with the last of them.

Who uses it holds a shared lock on a file. A small program waits for all of those to be gone, however they went, and
then ends the server and removes its data.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from replay.database import with_driver

MISSING = "PostgreSQL is not installed: apt-get install --no-install-recommends postgresql"
_QUICK = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
_ENDS = """
import fcntl, os, shutil, signal, sys, time
if os.fork():
    os._exit(0)
os.setsid()
users, folder = open(sys.argv[1], "a"), sys.argv[2]
fcntl.flock(users, fcntl.LOCK_EX)  # nobody uses it any more, and nobody begins to until this is over
os.unlink(sys.argv[3])
pid = int(open(folder + "/data/postmaster.pid").readline())
os.kill(pid, signal.SIGQUIT)
while os.path.exists(folder + "/data/postmaster.pid"):
    time.sleep(0.02)
shutil.rmtree(folder)
"""


def binaries() -> Path | None:
    """The folder with `initdb`, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


def _as_user() -> dict[str, Any]:
    """initdb and the server refuse to run as root: the package's own user does it."""
    return (
        {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    )


@dataclass(frozen=True)
class Server:
    """On loopback, with data of its own. The role `kappa` may do everything."""

    folder: Path
    port: int
    password: str

    def url(self, database: str = "postgres", user: str = "kappa") -> str:
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def engine(self, database: str = "postgres") -> sa.Engine:
        """Each statement is committed by itself; no connection is kept."""
        return sa.create_engine(
            with_driver(self.url(database)), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )

    def database(self) -> str:
        """The URL of a fresh database."""
        name = f"t{secrets.token_hex(6)}"
        with self.engine().connect() as c:
            c.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def cut(self, url: str) -> None:
        """End every connection to the database of this URL."""
        with self.engine().connect() as c:
            c.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = :of"
                ),
                {"of": sa.make_url(url).database},
            )

    def control(self, *arguments: str) -> None:
        """pg_ctl."""
        tool = binaries()
        assert tool
        subprocess.run(
            [tool / "pg_ctl", "-D", self.folder / "data", "-w", "-s", *arguments],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=120,
            **_as_user(),
        )

    def start(self, *options: str) -> None:
        listen = [
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-k",
            "",
            "-c",
            "max_connections=300",
            *options,
        ]
        quoted = " ".join(f"'{o}'" for o in listen)
        self.control("-l", str(self.folder / "log"), "-o", quoted, "start")

    def stop(self, mode: str = "fast") -> None:
        self.control("-m", mode, "stop")


def make(*options: str) -> Server:
    """A server that runs, with fresh data."""
    tool = binaries()
    assert tool, MISSING
    folder = Path(tempfile.mkdtemp(prefix="kappa-postgresql-"))
    password, secret = secrets.token_hex(16), folder / "password"
    secret.write_text(password)
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        for path in (folder, secret):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    subprocess.run(
        [
            tool / "initdb",
            "-D",
            folder / "data",
            "-U",
            "kappa",
            "-A",
            "scram-sha-256",
            "--pwfile",
            secret,
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-instructions",
        ],
        check=True,
        cwd="/",
        timeout=120,
        stdout=subprocess.DEVNULL,
        **_as_user(),
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(folder, port, password)
    server.start(*options)
    return server


@contextmanager
def own(*options: str) -> Iterator[Server]:
    """One for a single test, which may stop it."""
    server = make(*options)
    try:
        yield server
    finally:
        if (server.folder / "data" / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(server.folder)


@contextmanager
def shared(run: Path) -> Iterator[Server]:
    """The one of all processes that know the folder `run`."""
    known, users = run / "postgresql.txt", run / "postgresql.users"
    with users.open("a") as using, (run / "postgresql.making").open("a") as making:
        fcntl.flock(using, fcntl.LOCK_SH)
        fcntl.flock(making, fcntl.LOCK_EX)
        if not known.exists():
            server = make(*_QUICK)
            known.write_text("\n".join([str(server.folder), str(server.port), server.password]))
            subprocess.run(
                [sys.executable, "-c", _ENDS, users, server.folder, known],
                check=True,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        fcntl.flock(making, fcntl.LOCK_UN)
        folder, port, password = known.read_text().splitlines()
        yield Server(Path(folder), int(port), password)


def wait_for(server: Server, seconds: float = 60) -> None:
    """Until it answers again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with server.engine().connect():
                return
        except sa.exc.OperationalError:
            assert time.monotonic() < deadline, (
                f"{server.folder}/log: no answer within {seconds:g} s"
            )
            time.sleep(0.05)
