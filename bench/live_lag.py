"""`python -m bench.live_lag NAME [--rate R] [--before SECONDS]`: what a replay costs the release that is live.

On the stack of $KAPPA_HOME with the product deployed and events left to load: loads at a steady rate, samples how far
readers are behind the log's end and how long each publication takes from its intent in the journal to its end there,
first with the live release alone, then during `kappa deploy NAME --again`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import keep
from jobs.product.model import Role
from replay import offsets
from replay.controller.platform import Platform
from replay.kafka import log
from replay.output import Output, print_rows
from replay.settings import load_settings
from replay.store.store import Store

RESULTS = Path(__file__).parent / "results" / "live_lag.json"
SECONDS = 0.5
"""Between samples."""


@dataclass
class Samples:
    """What was seen over some time."""

    lags: list[int] = field(default_factory=list)
    """Records between what readers see and the log's end, at every sample."""
    publications: dict[int, float] = field(default_factory=dict)
    """Milliseconds that each publication took."""

    def row(self, name: str) -> dict[str, Any]:
        """Percentiles of both."""
        lags, took = percentiles(self.lags), percentiles(list(self.publications.values()))
        return {
            "readers": name,
            "samples": len(self.lags),
            **{f"{k}_records_behind": v for k, v in lags.items()},
            "publications": len(self.publications),
            **{f"{k}_publication_ms": v for k, v in took.items()},
        }


def main() -> None:
    """Sample before and during a replay; a row for each, and the ratio of their p99."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.live_lag",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name")
    parser.add_argument("--rate", type=int, default=500, help="events a second")
    parser.add_argument(
        "--before", type=float, default=60, help="seconds to sample before the replay"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    with running("load", args.name, "--rate", str(args.rate)) as load:
        time.sleep(10)  # the first of them are on their way
        with sampling(args.name) as alone:
            time.sleep(args.before)
        with (
            sampling(args.name) as beside,
            running(
                "deploy", args.name, "--again", "--no-auto-switch", "--output", "json"
            ) as deploy,
        ):
            deploy.wait()
        if deploy.returncode or load.poll() is not None:
            raise SystemExit(
                f"deploy ended with {deploy.returncode}; load "
                + (
                    "came to its end before: no lag to measure"
                    if load.poll() is not None
                    else "runs"
                )
            )
    before, during = rows = [alone.row("alone"), beside.row("beside a replay")]
    keep(args.results, rows, events_per_second=args.rate)
    print_rows(rows, Output.text)
    ratio = during["p99_records_behind"] / max(1, before["p99_records_behind"])
    sys.stdout.write(f"p99 beside a replay is {ratio:.2f} of p99 alone\n")


def percentiles(values: Sequence[float]) -> dict[str, int]:
    """The middle one, the 99th percentile and the greatest, rounded; nothing of no values."""
    found = np.percentile(values, (50, 99, 100)) if values else ()
    return {name: round(value) for name, value in zip(("p50", "p99", "max"), found, strict=False)}


@contextmanager
def sampling(name: str) -> Iterator[Samples]:
    """Look again and again until the block ends."""
    settings = load_settings()
    store, platform, over = Store(settings.store), Platform(settings), threading.Event()
    found = Samples()
    state = store.load(name)
    assert state.published, f"kappa deploy {name} first"
    product = platform.product(state.attempt(state.published.attempt_name), state)
    growing = [t for t, topic in product.topics.items() if topic.role is not Role.reference]

    def sample() -> None:
        while not over.wait(SECONDS):
            ends, shown = log.end_offsets(settings, growing), store.load(name).published
            assert shown
            found.lags.append(offsets.lag(shown.covered, ends))
            if shown.finished:
                found.publications[shown.id] = 1000 * (shown.finished - shown.started)

    thread = threading.Thread(target=sample, name="sampling")
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A kappa command beside us, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "replay", *arguments], stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
