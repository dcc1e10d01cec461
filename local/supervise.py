"""supervisord below a home: its configuration, and talking to it over its Unix socket."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.layout import Layout, python
from replay.errors import KappaError


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: Sequence[str]
    priority: int
    """Started in this order, stopped in the opposite one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 20
    """After these, SIGKILL."""


PLANNER = "planner"
"""The warm planner of `replay.flink.planner`: it has no supervisor, and ends with the stack."""
DEAD = frozenset({"STOPPED", "EXITED", "FATAL"})
"""States from which a program does not come back by itself."""


@dataclass(frozen=True)
class State:
    """What supervisord says of a program."""

    name: str
    group: str
    """Of a further Flink cluster its name, else the program's."""
    state: str
    """STARTING, RUNNING, BACKOFF, STOPPING, STOPPED, EXITED or FATAL"""
    pid: int
    up_seconds: int
    problem: str


def configuration(layout: Layout, programs: Sequence[Program]) -> str:
    """supervisord.conf"""
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    minfds = 65_536 if hard_limit == resource.RLIM_INFINITY else min(65_536, hard_limit)
    sections = [
        _section(
            "supervisord",
            {
                "logfile": layout.logs / "supervisor.log",
                "logfile_maxbytes": "5MB",
                "logfile_backups": 2,
                "pidfile": layout.supervisor_pid,
                "childlogdir": layout.logs,
                "directory": layout.home,
                "minfds": minfds,
                "identifier": "kappa",
                "umask": "077",
            },
        ),
        _section("unix_http_server", {"file": layout.socket, "chmod": "0600"}),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        _section("include", {"files": layout.cluster_programs / "*.conf"}),
    ]
    return "\n".join([*sections, *(_program(layout, program) for program in programs)])


def group_configuration(layout: Layout, name: str, programs: Sequence[Program]) -> str:
    """Programs that are added to a running supervisord, and removed from it, together."""
    members = ",".join(program.name for program in programs)
    group = _section(
        f"group:{name}", {"programs": members, "priority": min(p.priority for p in programs)}
    )
    return "\n".join([group, *(_program(layout, program) for program in programs)])


def _program(layout: Layout, program: Program) -> str:
    environment = {
        **program.environment,
        "KAPPA_HOME": str(layout.home),
        "KAPPA_PROGRAM": program.name,
    }
    return _section(
        f"program:{program.name}",
        {
            "command": shlex.join(program.command),
            "directory": layout.home,
            "priority": program.priority,
            "environment": ",".join(f'{key}="{value}"' for key, value in environment.items()),
            "autostart": "true",
            "autorestart": "true",
            "startsecs": 2,
            "startretries": 20,
            "stopwaitsecs": program.stop_seconds,
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": layout.logs / f"{program.name}.log",
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": 3,
        },
    )


def _section(name: str, options: Mapping[str, object]) -> str:
    # supervisord expands %(…)s in values
    return f"[{name}]\n" + "".join(
        f"{key}={str(value).replace('%', '%%')}\n" for key, value in options.items()
    )


class Supervisor:
    """The running supervisord of a home, if there is one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def start(self) -> None:
        """Start it as a daemon; it starts the programs."""
        done = subprocess.run(
            [
                python(),
                "-W",
                "ignore",
                "-m",
                "supervisor.supervisord",
                "-c",
                self._layout.supervisor_conf,
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._layout.home,
        )
        if done.returncode:
            raise KappaError(
                "supervisord did not start",
                expected="exit code 0",
                found=(done.stdout + done.stderr).strip()[-1000:],
                next="kappa doctor",
            )

    def pid(self) -> int:
        """Its process."""
        return int(self._call("getPID"))

    def states(self) -> list[State]:
        """All programs in the order of their start; none when supervisord does not run."""
        try:
            answer = self._call("getAllProcessInfo")
        except (OSError, xmlrpc.client.Error):
            return []
        return [
            State(
                name=p["name"],
                group=p["group"],
                state=p["statename"],
                pid=p["pid"],
                up_seconds=max(0, p["now"] - p["start"]) if p["pid"] else 0,
                problem=p["spawnerr"],
            )
            for p in answer
        ]

    def start_program(self, group: str, name: str) -> None:
        """Start a program that was stopped or given up."""
        self._call("startProcess", f"{group}:{name}", False, known="ALREADY_STARTED")

    def add_group(self, name: str) -> None:
        """Read the configuration again and start a new group of it; nothing when it is there already."""
        self._call("reloadConfig")
        self._call("addProcessGroup", name, known="ALREADY_ADDED")

    def remove_group(self, name: str) -> None:
        """Stop a group's programs and forget it; nothing when there is none."""
        self._call("stopProcessGroup", name, known="BAD_NAME")
        self._call("removeProcessGroup", name, known="BAD_NAME")

    def stop(self, seconds: float = 60) -> None:
        """Stop the programs, then supervisord; returns once it is gone."""
        pid = self.pid()
        self._call("shutdown")
        deadline = time.monotonic() + seconds
        while _alive(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.1)

    def _call(self, method: str, *args: Any, known: str = "") -> Any:
        """A method of supervisord's XML-RPC; the fault `known` is as good as an answer."""
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._layout.socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*args)
            except xmlrpc.client.Fault as e:
                if not known or known not in e.faultString:
                    raise
                return None


def resident_mb(pid: int) -> int | None:
    """Resident memory of a process group in MB: each program leads one, with its children."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[2]) == pid:
                pages += int((stat.parent / "statm").read_text().split()[1])
        except (OSError, IndexError):  # gone meanwhile
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000 or None


def orphans(layout: Layout) -> dict[int, str]:
    """Processes that a supervisord of this home started and that outlived it: pid → program."""
    found = {}
    marks = (f"KAPPA_HOME={layout.home}".encode(), b"KAPPA_PROGRAM=")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or another user's
            continue
        program = next((v[len(marks[1]) :] for v in variables if v.startswith(marks[1])), None)
        if program and marks[0] in variables and int(folder.name) != os.getpid():
            found[int(folder.name)] = program.decode()
    return found


def end_orphans(layout: Layout, seconds: float = 20, program: str | None = None) -> dict[int, str]:
    """Stop what outlived its supervisord (of one program, or all), gently, then by force; returns what there was."""
    found = {pid: name for pid, name in orphans(layout).items() if program in (None, name)}
    for pid in found:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(_alive(pid) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in found:
        if _alive(pid):
            _signal(pid, signal.SIGKILL)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child of a supervisord that is gone may stay a zombie until init collects it.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return Path("/proc").is_dir() is False
