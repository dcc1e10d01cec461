"""`python -m bench.peers.expected REPEATS FILE`: the rows that everybody must write, reckoned by tests/oracle.py.

In a process of its own, as it takes gigabytes for a moment; the file is kept for the next time.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demo.flights import plan
from replay.errors import KappaError

ROOT = Path(__file__).parent.parent.parent


def repeats_of(records: int) -> int:
    """How many repeats of the year a log of flights with so many records holds."""
    each = records_of_a_year()
    if not records or records % each:
        raise KappaError(
            "the log does not end with a year",
            expected=f"a multiple of {each:,} records of flights",
            found=f"{records:,}",
            next="kappa load flights --scale N, to its end",
        )
    return records // each


def records_of_a_year() -> int:
    """In the topic flights, as the loader plans them: every repeat has as many."""
    return sum(r.topic == "flights" for r in plan(0))


def expected(repeats: int, folder: Path) -> pa.Table:
    """hourly_departures of so many repeats."""
    file = folder / f"hourly_departures-{repeats}.parquet"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "bench.peers.expected", str(repeats), str(file)],
            cwd=ROOT,
            check=True,
        )
    return pq.read_table(file)


def main() -> None:
    """Reckon one repeat after the other."""
    repeats, file = int(sys.argv[1]), Path(sys.argv[2])
    oracle = import_module("tests.oracle")
    partial = file.with_suffix(".part")
    pq.write_table(
        pa.concat_tables(oracle.hourly_departures(repeat) for repeat in range(repeats)), partial
    )
    partial.replace(file)


if __name__ == "__main__":
    main()
