"""How much memory `kappa audit` and `kappa diff` take for a log of so many offsets: `python -m bench.memory 1000000 …`.

Each is a process of its own, with what the command imports and what it starts, looked at twice a second. The table
goes to `bench/results/memory.json`, or to `$KAPPA_BENCH_OUT`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measure import Meter
from bench.results import keep
from replay.output import print_json
from replay.query.lean import without

RESULTS = Path(__file__).parent / "results" / "memory.json"


def work(
    what: str, home: Path, offsets: int, wide: bool, snapshots: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """One audit or diff in this process, which has imported what the command does."""
    with without("pandas"):
        from bench import memory_tables
        from replay.cli import diff as run_diff  # noqa: F401

        before = _resident("VmRSS")
        found = memory_tables.work(what, home, offsets, wide, snapshots)
    return {**found, "before_mb": before, "peak_mb": _resident("VmHWM")}


def _resident(which: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{which}:"))


def measure(
    what: str, home: Path, offsets: int, wide: bool, snapshots: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """The same in a process of its own, with all that it starts."""
    begun = time.monotonic()
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.memory",
            "--work",
            what,
            "--home",
            str(home),
            str(offsets),
            *(["--wide"] if wide else []),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin and child.stdout
    child.stdin.write(json.dumps(snapshots))
    child.stdin.close()
    meter = Meter((child.pid,))
    while child.poll() is None:
        cpu = meter.sample()
        time.sleep(0.5)
    if child.returncode:
        raise SystemExit(f"{what} of {offsets:,} offsets ended with exit code {child.returncode}")
    answer = json.loads(child.stdout.read())
    return {
        "what": what,
        "offsets": offsets,
        "wide": wide,
        "seconds": round(time.monotonic() - begun),
        "cpu_seconds": round(cpu),
        "with_children_mb": meter.peak >> 20,
        **answer,
    }


def rows(numbers: Sequence[int], folder: Path | None, wide: bool) -> Iterator[dict[str, Any]]:
    """An audit and a diff of so many offsets each."""
    from bench import memory_tables

    for offsets in numbers:
        with tempfile.TemporaryDirectory(dir=folder, prefix="kappa-memory-") as home:
            snapshots = memory_tables.build(Path(home), offsets, wide)
            for what in ("audit", "diff"):
                yield measure(what, Path(home), offsets, wide, snapshots)


def main() -> None:
    """Print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("offsets", type=int, nargs="+", help="how many, over all partitions")
    parser.add_argument(
        "--wide", action="store_true", help="rows of 300 bytes more, in 20 columns of text"
    )
    parser.add_argument(
        "--folder", type=Path, help="below which the tables are made for as long as it takes"
    )
    parser.add_argument("--work", choices=["audit", "diff"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print_json(work(args.work, args.home, args.offsets[0], args.wide, json.load(sys.stdin)))
        return
    load, found = os.getloadavg()[:2], []
    for row in rows(args.offsets, args.folder, args.wide):
        print_json(row)
        found.append(row)
    keep(Path(os.environ.get("KAPPA_BENCH_OUT", RESULTS)), found, load=[load, os.getloadavg()[:2]])


if __name__ == "__main__":
    main()
