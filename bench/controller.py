"""`python -m bench.controller [--products 10 50 200] [--repeat R] [--replaying] [--answer-ms MS] [--workers N]`:
what the controller's loop takes.

The real service, loop and store (SQLite, a file) over a simulated platform: fakes of Kafka, Flink
and the catalog answer at once or after a while, and what they are asked is counted. In each round
every job has completed a checkpoint, which the loop records, and which it publishes of the active
release.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

import sqlalchemy as sa

from bench.results import keep
from bench.simulated import ANSWERS, SimulatedPlatform, settle
from replay.controller.loop import ControlledPlatform, Loop
from replay.controller.metrics import Metrics
from replay.controller.pass_log import PassLog
from replay.controller.service import WORKERS, serve
from replay.controller.watching import Watchers
from replay.output import Output, out, print_rows
from replay.store.store import KEPT_PUBLICATIONS, Store

RESULTS = Path(__file__).parent / "results" / "controller.json"
CALL_SECONDS = 0.005
"""What an answer from another machine is taken to cost."""


@dataclass
class Round:
    """What one round over all products took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    """Calls of the platform."""
    statements: Counter[str] = field(default_factory=Counter)
    """SELECT, INSERT, … to the store."""


@contextmanager
def counted(statements: Counter[str]) -> Iterator[None]:
    """Counts what is said to databases meanwhile."""

    def said(*args: Any) -> None:
        statements[args[2].split()[0]] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", said)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", said)


def rounds(
    folder: Path,
    products: int,
    repeat: int,
    *,
    replaying: bool = False,
    journal: int = 0,
    answer_seconds: float = 0.0,
    workers: int = WORKERS,
) -> list[Round]:
    """Rounds over so many products after a first one; so many publications of each are in the journal before."""
    platform = SimulatedPlatform(answer_seconds=answer_seconds)
    store = Store(f"sqlite:///{folder / f'store-{products}.db'}", platform.clock)
    names = [f"product_{n:03}" for n in range(products)]
    settle(
        store,
        platform,
        names,
        replaying=replaying,
        journal=journal or max(2, KEPT_PUBLICATIONS // products),
    )
    loop = Loop(cast(ControlledPlatform, platform), store, platform.clock)
    loop.watcher = Watchers(PassLog(), Metrics(platform.clock))
    try:
        return [_round(loop, platform, names, workers) for _ in range(repeat + 1)][1:]
    finally:
        store.close()


def _round(loop: Loop, platform: SimulatedPlatform, names: list[str], workers: int) -> Round:
    """One round of the service, as `kappa controller` does it; it must have published every product."""
    found = Round()
    platform.tick()
    with counted(found.statements):
        wall, cpu = time.perf_counter(), time.process_time()
        serve(loop, lambda: True, workers=workers, round_seconds=None)
        found.seconds, found.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    found.asked, platform.asked = platform.asked, Counter()
    behind = [name for name in names if platform.behind(name)]
    assert not behind, f"not published: {', '.join(behind)}"
    return found


def disk_ms(folder: Path, times: int = 20) -> float:
    """How long the disk is waited for: each product's intent to publish does so once a round."""
    took = []
    with (folder / "disk").open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(bytes(8192))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun)
    return round(1000 * median(took), 2)


def summarise(of: dict[int, list[Round]]) -> list[dict[str, Any]]:
    """A row per number of products; the ratios are what a product costs by what it costs among the fewest."""
    rows = []
    for products, turns in of.items():
        seconds, cpu = ([getattr(r, name) for r in turns] for name in ("seconds", "cpu_seconds"))
        rows.append(
            {
                "products": products,
                "seconds": round(median(seconds), 3),
                "spread": round(max(seconds) - min(seconds), 3),
                "cpu": round(median(cpu), 3),
                "ms_each": round(1000 * median(seconds) / products, 2),
                "cpu_ms_each": round(1000 * median(cpu) / products, 2),
            }
        )
    fewest = min(rows, key=lambda r: r["products"])
    for row in rows:
        row["ratio"] = round(row["ms_each"] / fewest["ms_each"], 2)
        row["cpu_ratio"] = round(row["cpu_ms_each"] / fewest["cpu_ms_each"], 2)
    return rows


def per_product(products: int, turn: Round) -> dict[str, Any]:
    """What a product costs others in a round: calls, statements, and how long their answers take from afar."""
    answers = sum(ANSWERS[name] * count for name, count in turn.asked.items()) / products
    return {
        "calls": {name: count / products for name, count in sorted(turn.asked.items())},
        "statements": {
            name: round(count / products, 2) for name, count in sorted(turn.statements.items())
        },
        "answers": answers,
        "seconds_of_answers": round(answers * CALL_SECONDS, 3),
    }


def main() -> None:
    """Measure, show a table, keep the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", nargs="+", type=int, default=[10, 50, 200])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--replaying", action="store_true", help="a third release of each product replays"
    )
    parser.add_argument(
        "--answer-ms", type=float, default=0.0, help="what each answer from elsewhere takes"
    )
    parser.add_argument(
        "--workers", type=int, default=WORKERS, help="products served at the same time"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the stores are made: on the disk that is to be measured"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        disk = disk_ms(Path(folder))
        of = {
            n: rounds(
                Path(folder),
                n,
                args.repeat,
                replaying=args.replaying,
                answer_seconds=args.answer_ms / 1000,
                workers=args.workers,
            )
            for n in args.products
        }
    load = round(os.getloadavg()[0], 1)
    rows, each = summarise(of), per_product(args.products[-1], of[args.products[-1]][-1])
    print_rows(rows, Output.text)
    out.print(
        f"each product, each round: {each['calls']}\n{each['statements']}; the disk takes {disk} ms, "
        f"the load is {load}\n"
        f"{each['answers']:.0f} answers waited for: {each['seconds_of_answers']} s at "
        f"{1000 * CALL_SECONDS:.0f} ms each",
    )
    keep(
        RESULTS,
        rows,
        replaying=args.replaying,
        disk_ms=disk,
        per_product=each,
        answer_ms=args.answer_ms,
        workers=args.workers,
        load=load,
    )


if __name__ == "__main__":
    main()
