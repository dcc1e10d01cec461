"""A Flink cluster for one attempt: `python -m local.clusters HOME start|stop|live|why NAME`, or `… HOME list`.

A job that exhausts its heap takes its TaskManager with it, and one that reads as fast as it can takes the CPU. So an
attempt gets a JobManager and a TaskManager of its own under the stack's supervisor, and while it catches up the
TaskManager has a lower CPU priority. The JobManager does not: it costs little, and one that is late with its heartbeats
restarts the job.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import xmlrpc.client
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from local import preflight
from local.cluster_files import (
    JOBMANAGER_MB,
    TASKMANAGER_MB,
    Memory,
    cluster_of,
    known,
    memory_file,
    names,
    programs_file,
    prune_logs,
    recall,
    remember,
    write,
)
from local.flink import Cluster
from local.layout import FlinkPorts, Layout
from local.remembered import layout_of
from local.supervise import DEAD, State, Supervisor, end_orphans, resident_mb
from replay.errors import KappaError, RefusedError, RetryableError
from replay.flink.clusters import LIB, refuse_other_names

CATCHING_UP_NICE = 10
"""Added to the TaskManager's nice value: on a busy core, a tenth of what one of the same need gets without it."""
NEEDED_MB = (JOBMANAGER_MB + TASKMANAGER_MB) * 2**20 // 1_000_000
_TERMINATING = "Terminating due to"
"""What a JVM says with -XX:+ExitOnOutOfMemoryError."""
_NOWHERE = Memory(0)
"""Of a cluster of which only the names are asked."""


def free_block(
    layout: Layout, taken: list[FlinkPorts], port_free: Callable[[int], bool]
) -> FlinkPorts:
    """The first block of ports that no other cluster of this home uses and no process listens on."""
    used = {block.first for block in taken}
    for first in layout.ports.for_clusters:
        if first not in used and all(port_free(port) for port in FlinkPorts(first).all):
            return FlinkPorts(first)
    first, last = layout.ports.for_clusters[0], layout.ports.for_clusters[-1] + FlinkPorts.COUNT - 1
    raise RefusedError(
        "no ports are left for another Flink cluster",
        expected=f"{FlinkPorts.COUNT} free ports in a row on 127.0.0.1, from {first} to {last}",
        found=f"{len(taken)} clusters of this home, and perhaps others that listen there",
        next="kappa status; retire or abort an attempt that is not needed",
    )


class LocalClusters:
    """The clusters of a home whose stack is up."""

    def __init__(
        self,
        layout: Layout,
        supervisor: Supervisor | None = None,
        available_mb: Callable[[], int | None] = preflight.available_mb,
    ) -> None:
        self._layout = layout
        self._supervisor = supervisor or Supervisor(layout)
        self._available_mb = available_mb

    def names(self) -> frozenset[str]:
        """All of which something is left."""
        return frozenset(names(self._layout))

    def start(self, name: str, lib: str = "") -> Cluster:
        """Have a cluster supervised, with the jars of a folder if one is named. What runs already is not restarted."""
        refuse_other_names(name)
        with self._locked():
            states = self._states()
            memory = recall(self._layout, name)
            if memory is None:
                self._supervisor.remove_group(name)  # its folder was deleted
            if memory is None or not any(state.group == name and state.pid for state in states):
                self._refuse_too_little_memory(name, states)
                if memory and memory.lib != lib:
                    # it would start the processes with the jars of before
                    self._supervisor.remove_group(name)
                memory = replace(memory or Memory(self._free_block().first), lib=lib)
                cluster = cluster_of(self._layout, name, memory)
                for problem in preflight.port_problems(cluster.port_map):
                    raise problem.error()
                remember(self._layout, name, memory)
                write(self._layout, cluster)
            cluster = cluster_of(self._layout, name, memory)
            self._supervise(cluster)
        return cluster

    def supervise_all(self) -> None:
        """Have all run that are to run, also one whose start was cut short."""
        with self._locked():
            for cluster in known(self._layout):
                write(self._layout, cluster)
                self._supervise(cluster)

    def _supervise(self, cluster: Cluster) -> None:
        self._supervisor.add_group(cluster.name)
        for state in self._supervisor.states():
            if state.group == cluster.name and state.state in DEAD:
                self._supervisor.start_program(state.group, state.name)

    def stop(self, name: str) -> None:
        """Leave no process, port or file of a cluster but its logs."""
        refuse_other_names(name)
        with self._locked():
            # first: half stopped, it must not come back with `up`
            memory_file(self._layout, name).unlink(missing_ok=True)
            if self._supervisor.running():
                self._supervisor.remove_group(name)
            for program in cluster_of(self._layout, name, _NOWHERE).port_map:
                end_orphans(self._layout, program=program)
            programs_file(self._layout, name).unlink(missing_ok=True)
            if (folder := self._layout.clusters / name).is_dir():
                shutil.rmtree(folder)
            prune_logs(self._layout)

    def live(self, name: str) -> bool:
        """Give a cluster full CPU priority, now and whenever it starts; False if only the latter is permitted."""
        refuse_other_names(name)
        with self._locked():
            memory = recall(self._layout, name)
            if memory is None:
                raise RefusedError(
                    f"there is no cluster {name}",
                    expected="one that was started",
                    found="none",
                    next="kappa status",
                )
            remember(self._layout, name, replace(memory, live=True))
            return all(
                _set_priority(pid, _nice(self._supervisor.pid())) for pid in self._slow_pids(name)
            )

    def why(self, name: str) -> str:
        """What a TaskManager of it last said when it ended for want of memory: Flink only sees that it is gone."""
        refuse_other_names(name)
        program = cluster_of(self._layout, name, _NOWHERE).taskmanager
        try:
            with (self._layout.logs / f"{program}.log").open(errors="replace") as stream:
                last = deque((line.strip() for line in stream if line.startswith(_TERMINATING)), 1)
        except FileNotFoundError:
            return ""
        return f"{program}: {last[0]}" if last else ""

    def slow(self) -> dict[str, int]:
        """TaskManagers that serve readers at a lower CPU priority than the supervisor's: program → pid."""
        return {
            f"taskmanager-{name}": pid
            for name in names(self._layout)
            if (memory := recall(self._layout, name)) and memory.live
            for pid in self._slow_pids(name)
        }

    def _slow_pids(self, name: str) -> list[int]:
        program = cluster_of(self._layout, name, _NOWHERE).taskmanager
        pids = [
            state.pid for state in self._supervisor.states() if state.name == program and state.pid
        ]
        return [pid for pid in pids if _nice(pid) > _nice(self._supervisor.pid())]

    def _free_block(self) -> FlinkPorts:
        return free_block(
            self._layout, [cluster.ports for cluster in known(self._layout)], preflight.port_free
        )

    def _states(self) -> list[State]:
        if states := self._supervisor.states():
            return states
        raise RetryableError(
            "the stack is not up: nothing would supervise a Flink cluster",
            expected=f"a supervisor at {self._layout.socket}",
            found="none",
            next="kappa up",
        )

    def _refuse_too_little_memory(self, name: str, states: list[State]) -> None:
        available = self._available_mb()
        if available is None:
            return
        promised = sum(_to_grow_mb(other, states) for other in names(self._layout) if other != name)
        if available - promised < NEEDED_MB:
            others = (
                f", {promised:,} MB of it promised to other attempts' clusters" if promised else ""
            )
            raise RefusedError(
                f"too little memory for a Flink cluster of its own for {name}",
                expected=f"{NEEDED_MB:,} MB available",
                found=f"{available:,} MB{others}",
                next="kappa status; retire or abort an attempt, or stop something else",
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time per home."""
        self._layout.run.mkdir(parents=True, exist_ok=True)
        with self._layout.clusters_lock.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _to_grow_mb(cluster: str, states: list[State]) -> int:
    """What runs already may grow to its full size: clusters that were started a moment ago are still small."""
    of_cluster = (state.pid for state in states if state.group == cluster and state.pid)
    return max(0, NEEDED_MB - sum(resident_mb(pid) or 0 for pid in of_cluster))


def _nice(pid: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return 0


def _set_priority(group: int, nice: int) -> bool:
    """Of a process group: of a single process Linux would take the first thread only. False if it is not permitted."""
    try:
        os.setpriority(os.PRIO_PGRP, group, nice)
    except ProcessLookupError:  # restarted meanwhile, at full priority
        return True
    except PermissionError:
        return False
    return True


def main() -> None:
    """One JSON line and exit code 0, or a KappaError as JSON and exit code 1."""
    try:
        answer = _answer(sys.argv[1:])
    except KappaError as e:
        _end(e)
    except (OSError, xmlrpc.client.Error) as e:  # the supervisor is going down, or the disk is full
        _end(
            RetryableError(
                "the supervisor did not do what it was asked for",
                expected="an answer of its supervisor",
                found=f"{type(e).__name__}: {e}",
                next="kappa status, then: kappa up",
            )
        )
    sys.stdout.write(json.dumps(answer) + "\n")


def _of(home: str) -> LocalClusters:
    return LocalClusters(layout_of(Path(home).absolute()))


def _answer(arguments: list[str]) -> object:
    match arguments:
        case [home, "start", name]:
            started = _of(home).start(name, os.environ.get(LIB, ""))
            return {"name": name, "rest": started.rest, "lib": str(started.lib or "")}
        case [home, "stop", name]:
            _of(home).stop(name)
            return {"name": name}
        case [home, "live", name]:
            raised = _of(home).live(name)
            return {
                "name": name,
                "priority": "full" if raised else "low until it is restarted: not permitted",
            }
        case [home, "why", name]:
            return {"name": name, "why": _of(home).why(name)}
        case [home, "list"]:
            return sorted(_of(home).names())
        case _:
            sys.exit("usage: python -m local.clusters HOME start|stop|live|why NAME, or HOME list")


def _end(error: KappaError) -> NoReturn:
    sys.stdout.write(json.dumps(error.as_dict()) + "\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
