"""`python -m bench.controller [--products 10 50 200] [--repeat R] [--replaying]`: what the controller's loop itself costs.

The real loop and store (SQLite, a file) over a simulated world: Kafka, Flink and the catalog answer at once, and are
counted. In each round every job completes a checkpoint, which the loop records, and publishes of the active release.
"""

from __future__ import annotations

import argparse
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

from bench.simulated import SimulatedWorld, settle
from replay.loop import Diary, Loop, WorldLike, serve
from replay.store import KEPT_PUBLICATIONS, Store

RESULTS = Path(__file__).parent / "results" / "controller.json"


@dataclass
class Round:
    """What one round over all products took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    """Calls out of this process."""
    statements: Counter[str] = field(default_factory=Counter)
    """SELECT, INSERT, … of the store; COMMIT of those that wrote."""


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


def rounds(folder: Path, products: int, repeat: int, *, replaying: bool = False) -> list[Round]:
    """Rounds over so many products, after one that is not counted."""
    world = SimulatedWorld()
    store = Store(f"sqlite:///{folder / f'store-{products}.db'}", world.clock)
    names = [f"product_{n:03}" for n in range(products)]
    settle(store, world, names, replaying=replaying, journal=max(2, KEPT_PUBLICATIONS // products))
    loop, diary = Loop(cast(WorldLike, world), store, world.clock), Diary(lambda _: None)
    found = []
    try:
        for _ in range(repeat + 1):
            world.tick()
            found.append(one_round(loop, diary, world))
            behind = [n for n in names if world.published(n) != world.checkpoint]
            assert not behind, f"not published: {', '.join(behind)}"
    finally:
        store.close()
    return found[1:]


def one_round(loop: Loop, diary: Diary, world: SimulatedWorld) -> Round:
    """One round of the service, as `kappa controller` does it every two seconds."""
    found = Round(asked=world.asked)
    world.asked.clear()
    with counted(found.statements):
        wall, cpu = time.perf_counter(), time.process_time()
        serve(loop, diary, lambda: True)
        found.seconds, found.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    found.asked = Counter(world.asked)
    return found


def summarise(products: int, turns: list[Round]) -> dict[str, Any]:
    """A row of the table."""
    seconds, cpu = ([getattr(r, name) for r in turns] for name in ("seconds", "cpu_seconds"))
    last = turns[-1]
    return {
        "products": products, "seconds": round(median(seconds), 3), "spread_seconds": round(max(seconds) - min(seconds), 3),
        "cpu_seconds": round(median(cpu), 3), "ms_per_product": round(1000 * median(seconds) / products, 2),
        "cpu_ms_per_product": round(1000 * median(cpu) / products, 2),
        "calls_per_product": {k: round(n / products, 2) for k, n in sorted(last.asked.items())},
        "statements_per_product": {k: round(n / products, 2) for k, n in sorted(last.statements.items())},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--products", nargs="+", type=int, default=[10, 50, 200])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--replaying", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for n in args.products:
            print(summarise(n, rounds(Path(folder), n, args.repeat, replaying=args.replaying)), flush=True)
