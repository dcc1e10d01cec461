"""What a job cost: wall time by Flink's own account, CPU time of Flink's processes by the kernel's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from replay.core.observed import ENDED
from replay.errors import KappaError

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
_FORKNOEXEC = (
    0x40  # of the flags in /proc/PID/stat (the kernel's PF_FORKNOEXEC): runs its parent's program
)


@dataclass(frozen=True)
class Process:
    """One line of /proc."""

    pid: int
    parent: int
    cpu_seconds: float
    """Its own."""
    memory: int
    """Resident bytes; none for a child on its way to a program of its own: its parent's are shown as its."""


def process(pid: int, stat: str, uptime: float) -> Process:
    """What /proc/PID/stat says, at so many seconds after the machine's start."""
    # The name, in parentheses, may hold anything: fields are counted from behind it.
    fields = stat.rpartition(")")[2].split()
    # Longer than a second it means to stay a fork, as workers of multiprocessing do.
    just_forked = int(fields[6]) & _FORKNOEXEC and uptime - int(fields[19]) / _TICKS < 1
    memory = 0 if just_forked else int(fields[21]) * _PAGE
    return Process(pid, int(fields[1]), sum(map(int, fields[11:13])) / _TICKS, memory)


def processes() -> dict[int, Process]:
    """Every process of this machine."""
    found = {}
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            pid = int(folder.name)
            found[pid] = process(pid, stat, uptime)
    return found


def tree(root: int, of: dict[int, Process]) -> list[Process]:
    """A process and all that it started, Python workers among them."""
    below = [p for p in of.values() if p.parent == root]
    return [of[root], *(d for child in below for d in tree(child.pid, of))] if root in of else []


class Meter:
    """CPU time since it was made, and peak memory, of some processes and all below them, as samples show them.

    The last sample of a child counts: Python workers end with their job, and Flink kills them without waiting for them.
    """

    def __init__(self, roots: tuple[int, ...]) -> None:
        self.roots, self.peak, self._before = roots, 0, 0.0
        self._seen: dict[int, float] = {}
        self._before = self.sample()

    def sample(self) -> float:
        """Look again; seconds of CPU until now."""
        of = processes()
        found = [p for root in self.roots for p in tree(root, of)]
        self.peak = max(self.peak, sum(p.memory for p in found))
        self._seen.update((p.pid, p.cpu_seconds) for p in found)
        return sum(self._seen.values()) - self._before


def wait_finished(rest: str, job_id: str, meter: Meter, timeout: float) -> float:
    """Seconds from RUNNING to FINISHED: without the client's work, with the start of tasks and Python workers.

    Samples the memory meanwhile. KappaError when the job fails, or takes longer than the timeout.
    """
    deadline = time.monotonic() + timeout
    with httpx.Client(base_url=rest, trust_env=False, timeout=10) as client:
        while True:
            job = client.get(f"/jobs/{job_id}").json()
            meter.sample()
            if job["state"] in ENDED:
                break
            if time.monotonic() > deadline:
                client.patch(f"/jobs/{job_id}", params={"mode": "cancel"})
                raise KappaError(
                    f"job {job_id} takes too long",
                    expected=f"its end within {timeout:.0f} s",
                    found=job["state"],
                )
            time.sleep(1)  # looking costs CPU time as well; how long it took, Flink says
    if job["state"] != "FINISHED":
        raise KappaError(
            f"job {job_id} did not finish",
            expected="FINISHED",
            found=job["state"],
            next="kappa logs taskmanager",
        )
    began, ended = (int(job["timestamps"][state]) for state in ("RUNNING", "FINISHED"))
    return (ended - began) / 1000


def largest_state(rest: str, job_id: str) -> int:
    """Bytes of the largest checkpoint of a job: how much state it held at most, as far as checkpoints tell."""
    answer = (
        httpx.get(f"{rest}/jobs/{job_id}/checkpoints", trust_env=False, timeout=10)
        .raise_for_status()
        .json()
    )
    return int(answer["summary"]["state_size"]["max"])


def turns(
    run: Callable[[str], dict[str, Any]], names: Sequence[str], repeat: int, warm_up: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the turn and row of each run that counts; with `warm_up` every name has run once before."""
    if warm_up:
        for name in names:
            run(name)
    for turn in range(repeat):
        for name in names:
            yield turn, run(name)
