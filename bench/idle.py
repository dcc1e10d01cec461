"""`python -m bench.idle [--minutes M]`: the CPU time that each process of a stack takes while nothing arrives.

On the stack of $KAPPA_HOME, with its products deployed and no candidate under way. By the kernel's account of the
processes and all below them: what others do on the machine lengthens nothing but the waiting.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Process, processes, tree
from bench.results import keep
from local import remembered, stack
from replay.errors import RefusedError
from replay.home import kappa_home
from replay.output import Output, out, print_rows
from replay.settings import load_settings
from replay.store.store import Store

RESULTS = Path(__file__).parent / "results" / "idle.json"
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Look:
    """CPU seconds of each program so far."""

    at: float
    """Seconds of the machine's own time."""
    seconds: Mapping[str, float]
    pids: Mapping[str, int]


def look(pids: Mapping[str, int], of: dict[int, Process], at: float) -> Look:
    """The supervisor's own, and those of each program with all below it."""
    seconds = {
        name: of[pid].cpu_seconds
        if name == SUPERVISOR
        else sum(p.cpu_seconds for p in tree(pid, of))
        for name, pid in pids.items()
        if pid in of
    }
    return Look(at, seconds, pids)


def rows(before: Look, after: Look) -> list[dict[str, Any]]:
    """Per program the share of a core in between; RefusedError when one was restarted meanwhile."""
    if other := sorted(
        name
        for name in {*before.pids, *after.pids}
        if before.pids.get(name) != after.pids.get(name)
    ):
        raise RefusedError(
            "the stack was not left alone",
            expected="the same processes before and after",
            found=f"others of {', '.join(other)}",
            next="wait until kappa status is calm, and repeat",
        )
    return [
        {
            "program": name,
            "percent": round(
                100 * (after.seconds[name] - before.seconds[name]) / (after.at - before.at), 2
            ),
        }
        for name in before.seconds
    ]


def _pids(home: Path) -> dict[str, int]:
    layout = remembered.layout_of(home)
    pids = {s.program: s.pid for s in stack.status(layout) if s.pid}
    return {SUPERVISOR: int(layout.supervisor_pid.read_text()), **pids}


def _look(home: Path) -> Look:
    pids = _pids(home)
    return look(pids, processes(), time.clock_gettime(time.CLOCK_BOOTTIME))


def main() -> None:
    """Measure, show a table, keep the results."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.idle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    home = kappa_home()
    store = Store(load_settings(home).store)
    began, load = {p: store.load(p) for p in store.products()}, os.getloadavg()[0]
    before = _look(home)
    time.sleep(60 * args.minutes)
    found = rows(before, _look(home))
    products = {p: _checkpoints(began[p], store.load(p)) for p in began}
    print_rows(found, Output.text)
    out.print(
        f"checkpoints meanwhile: {products}; load {load:.1f} to {os.getloadavg()[0]:.1f}",
    )
    keep(
        args.results,
        found,
        minutes=args.minutes,
        products=products,
        load=[load, os.getloadavg()[0]],
    )


def _checkpoints(before: Any, after: Any) -> int:
    """So many readers went on by."""
    shown = [state.published.checkpoint if state.published else 0 for state in (before, after)]
    return shown[1] - shown[0]


if __name__ == "__main__":
    main()
