"""`python -m bench.loop [--repeat N]`: how long somebody who edits SQL waits, and what each command costs.

On the stack of $KAPPA_HOME, with the log of flights loaded and flights deployed. Each command once to warm up, then N
times; seconds are medians. CPU seconds are the command's own and its children's: the planner, which stays, is not one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.results import keep
from replay.output import Output, print_rows

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "loop.json"
COLD = {"KAPPA_PLANNER": "cold"}
SLICE = "--since", "2013-08-15T00:00:00Z", "--until", "2013-11-20T00:00:00Z"
"""About 100,000 records of flights and all of the references, at scale 1."""
COMMANDS: Mapping[str, tuple[Sequence[str], Mapping[str, str]]] = {
    "help": (("--help",), {}),
    "status": (("status",), {}),
    "attempts": (("attempts", "flights"), {}),
    "query": (("query", "flights", "SELECT count(*) FROM departures"), {}),
    "check orders": (("check", "tests/products/orders"), {}),
    "check flights": (("check", "sql/flights"), {}),
    "check flights, cold": (("check", "sql/flights"), COLD),
    "test orders": (("test", "tests/products/orders"), {}),
    "test flights": (("test", "sql/flights"), {}),
    "preview flights": (("preview", "sql/flights", *SLICE), {}),
    "preview flights, compared": (("preview", "sql/flights", *SLICE, "--diff"), {}),
}


def main() -> None:
    """A row per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMMANDS))
    given = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [
        _row(name, [_run(*COMMANDS[name]) for _ in range(given.repeat + 1)][1:])
        for name in given.names or COMMANDS
    ]
    keep(RESULTS, rows, load_before=round(load, 1), load_after=round(os.getloadavg()[0], 1))
    print_rows(rows, Output.text)


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds, and CPU seconds, of one command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "replay", *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"kappa {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


def _row(name: str, turns: Sequence[tuple[float, float]]) -> dict[str, Any]:
    seconds = [s for s, _ in turns]
    return {
        "command": name,
        "seconds": round(median(seconds), 2),
        "spread_seconds": round(max(seconds) - min(seconds), 2),
        "cpu_seconds": round(median(cpu for _, cpu in turns), 2),
    }


if __name__ == "__main__":
    main()
