"""A world without Kafka, Flink and Iceberg, for any number of products that run; it counts what it is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from jobs.product import (
    Kind,
    LagLimit,
    Output,
    OutputSettings,
    Product,
    ProductSettings,
    Resolved,
    Role,
    Topic,
)
from replay.flink import Job
from replay.model import (
    KEPT_POSITIONS,
    Attempt,
    Checkpoint,
    Committed,
    Position,
    ProductState,
    Publication,
    Reached,
    Release,
    State,
)
from replay.offsets import Offsets
from replay.quiet import Clocks
from replay.store import Store
from replay.submit import Answer

GROWING = {"flights": 4, "weather": 1}
"""Topic → partitions."""
REFERENCE = ("airlines", "airports", "planes")
TABLES = ("departures", "hourly_departures", "daily_routes", "rejects")
RECORDS = 1000
"""New ones in each partition at every checkpoint."""
ROUND_SECONDS = 5.0
# As the code asks: REST three times of a job, and for its vertices, then for the clocks of all of them, or for the
# names of their metrics and then their values; the broker for the partitions of two topics, then for their ends; a
# client of its own for what a group committed; a list of the positions, and that of every source.
ANSWERS = {"main": 1, "publishable": 1, "job": 3, "standing_clocks": 2, "late_dropped": 3, "ends": 2, "clocks": 2,
           "position": 2, "committed": 4, "log_problems": 9, "log_changes": 3, "publish": 3}
"""Answers that are waited for in one call, one after the other, with a SQL catalog."""
FIRST_CHECKPOINT = 10_000
COMMITS = 60
"""Checkpoints that a branch still has."""
OVER = 3
"""Attempts of each product that have ended."""
REPLAYING = 9
"""Number of the release that replays."""


def product(name: str) -> Product:
    """As large as the demo's: five topics, four tables."""
    topics = {"flights": Topic(role=Role.events, time="happened", allowed_lateness="6h"),
              "weather": Topic(role=Role.dimension, time="observed_at", allowed_lateness="1h"),
              **{topic: Topic(role=Role.reference) for topic in REFERENCE}}
    kinds = dict.fromkeys(TABLES, Kind.aggregate) | {"departures": Kind.rows, "rejects": Kind.rejects}
    outputs = {table: Output(kind=kind, columns=(), select="") for table, kind in kinds.items()}
    said = {table: OutputSettings() for table in TABLES if table != "rejects"}
    settings = ProductSettings(name=name, topics=topics, outputs=said, lag_limit=LagLimit(checkpoints=2))
    return Product(folder=Path("/nowhere"), settings=settings, resolved=Resolved(outputs=outputs))


def ends(checkpoint: int) -> Offsets:
    """Where the log ended at a checkpoint."""
    return {t: dict.fromkeys(range(partitions), checkpoint * RECORDS) for t, partitions in GROWING.items()}


def snapshots(attempt: Attempt, checkpoint: int) -> dict[str, int]:
    """What one checkpoint of an attempt is in each table."""
    return {table: (checkpoint * 100 + attempt.release) * 10 + i for i, table in enumerate(TABLES)}


@dataclass
class SimulatedWorld:
    """At each tick every job completes a checkpoint, and commits it in every table.

    All of them keep step with the log, but for those that replay: they have come to a tenth of it.
    """

    checkpoint: int = FIRST_CHECKPOINT
    products: dict[str, Product] = field(default_factory=dict)
    shown: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """Product → what readers see."""
    asked: Counter[str] = field(default_factory=Counter)
    """What was asked or done from outside of this process, and how often."""
    answer_seconds: float = 0.0
    """What one answer takes, of which a call waits for as many as `ANSWERS` says."""
    _lock: Lock = field(default_factory=Lock)

    def _ask(self, what: str) -> None:
        with self._lock:
            self.asked[what] += 1
        if self.answer_seconds:
            time.sleep(ANSWERS[what] * self.answer_seconds)

    def clock(self) -> float:
        return self.checkpoint * ROUND_SECONDS

    def tick(self) -> None:
        self.checkpoint += 1

    def published(self, name: str) -> int:
        """The checkpoint that readers of a product see."""
        return self.shown[name][TABLES[0]] // 1000

    # Eyes

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        return self.products[attempt.product]

    def submission(self, attempt: Attempt) -> Answer:
        return Answer()

    def job(self, attempt: Attempt) -> Job:
        self._ask("job")
        return Job(attempt.job_id, "RUNNING", checkpoint=self.checkpoint)

    def standing_clocks(self, attempt: Attempt) -> tuple[str, ...]:
        self._ask("standing_clocks")
        return ()

    def late_dropped(self, attempt: Attempt) -> dict[str, int]:
        self._ask("late_dropped")
        return {}

    def position(self, attempt: Attempt, product: Product) -> Reached:
        self._ask("position")
        read = {**ends(_reached(self.checkpoint, attempt.release)), **_reference()}
        return Reached(self.checkpoint, read, read)

    def committed(self, group: str, product: Product) -> Mapping[str, Mapping[int, Committed]]:
        self._ask("committed")
        return {}

    def ends(self, product: Product) -> Offsets:
        self._ask("ends")
        return ends(self.checkpoint)

    def clocks(self, product: Product) -> Clocks:
        self._ask("clocks")
        return {t: dict.fromkeys(range(partitions), self.checkpoint * 1000) for t, partitions in GROWING.items()}

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        self._ask("publishable")
        return tuple(Checkpoint(c, snapshots(attempt, c))
                     for c in range(self.checkpoint, self.checkpoint - COMMITS, -1))

    def same_files(self, product: Product, before: Mapping[str, int], after: Mapping[str, int]) -> bool:
        return False  # records come at every checkpoint

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        self._ask("main")
        return self.shown[product.name], False

    def log_changes(self, attempt: Attempt) -> tuple[str, ...]:
        self._ask("log_changes")
        return ()

    def rejects(self, product: Product) -> int | None:
        return 0

    def log_problems(self, product: Product) -> tuple[tuple[str, ...], bool]:
        self._ask("log_problems")
        return (), False

    # Hands

    def publish(self, product: Product, after: Mapping[str, int], before: Mapping[str, int],
                fence: Callable[[], None]) -> None:
        self._ask("publish")
        assert self.shown[product.name] == before
        fence()
        self.shown[product.name] = dict(after)

    def expire(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        self._ask("expire")


def settle(store: Store, world: SimulatedWorld, names: Iterable[str], *, replaying: bool, journal: int) -> None:
    """Products as they are after hours: a history, one release on standby, one active; perhaps one that replays."""
    states = {**dict.fromkeys(range(1, OVER + 1), State.retired), OVER + 1: State.standby, OVER + 2: State.active}
    if replaying:
        states[REPLAYING] = State.replaying
    for name in names:
        world.products[name] = product(name)
        lease = store.acquire(name, "settle", 1)
        assert lease
        for number in states:
            store.add_release(lease, Release(name, number, f"f{number}", 0.0, _reference()))
        attempts = {state: _attempt(world, name, number, state) for number, state in states.items()}
        store.save(lease, *(_attempt(world, name, number, state) for number, state in states.items()))
        active = attempts[State.active]
        for checkpoint in range(world.checkpoint - journal, world.checkpoint):
            before, after = (snapshots(active, c) for c in (checkpoint - 1, checkpoint))
            intent = Publication(0, name, active.release, 1, checkpoint, before, after, ends(checkpoint - 1), 0.0)
            store.finish_publication(lease, store.begin_publication(lease, intent), 0.0)
            world.shown[name] = after
        store.give_back(lease)


def _reference() -> Offsets:
    return {topic: {0: 100} for topic in REFERENCE}


def _attempt(world: SimulatedWorld, name: str, release: int, state: State) -> Attempt:
    bare = Attempt(name, release, 1, created=float(release), parallelism=2, job_ids=(f"{name}-{release}",),
                   state=state, submitted_at=0.0, confirmed=True)
    positions = tuple(
        Position(c, read := {**ends(_reached(c, release)), **_reference()}, c * ROUND_SECONDS, ends(c), read)
        for c in range(world.checkpoint - KEPT_POSITIONS + 1, world.checkpoint + 1))
    tip = Checkpoint(world.checkpoint, snapshots(bare, world.checkpoint))
    return replace(bare, positions=positions, tip=tip, expired_at=world.clock(), cleaned=bare.ended)


def _reached(checkpoint: int, release: int) -> int:
    """The checkpoint at which the log ended where a release's job is now."""
    return checkpoint // 10 if release == REPLAYING else checkpoint
