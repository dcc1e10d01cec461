"""A platform without Kafka, Flink and Iceberg, for any number of products that run; it counts what it is asked.

Each product has the platform of the controller's unit tests, which behaves as the real one
(`test_platform_contract.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from jobs.product.folder import Product
from jobs.product.model import Kind, Output, OutputSettings, Resolved, Role, Topic
from jobs.product.settings import LagLimit, ProductSettings
from replay.core.model import (
    KEPT_POSITIONS,
    Attempt,
    Checkpoint,
    Position,
    ProductState,
    Publication,
    Release,
    State,
)
from replay.iceberg.commits import no_fence
from replay.store.store import Store
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.fake_lake import FakeLake

GROWING = {"flights": 4, "weather": 1}
"""Topic → partitions."""
REFERENCE = {topic: {0: 100} for topic in ("airlines", "airports", "planes")}
TABLES = ("departures", "hourly_departures", "daily_routes", "rejects")
HISTORY = 10_000_000
"""Records in each partition before the first checkpoint."""
RECORDS = 1000
"""New ones in each partition at every checkpoint."""
REPLAYED = 6 * RECORDS
"""What a job that replays reads of a partition until its next checkpoint."""
SNAPSHOT = 10**18
"""Ids have as many digits as Iceberg's."""
ROUND_SECONDS = 5.0
# As the code asks: REST three times of a job, and for its vertices, then for the clocks of all of them, or for the
# names of their metrics and then their values; the broker for the partitions of two topics, then for their ends; a
# client of its own for what a group committed; a list of the positions, and that of every source.
ANSWERS = {
    "main": 1,
    "publishable": 1,
    "job": 3,
    "stalled_watermarks": 2,
    "late_dropped": 3,
    "ends": 2,
    "clocks": 2,
    "position": 2,
    "committed": 4,
    "log_problems": 9,
    "log_changes": 3,
    "publish": 3,
}
"""Answers that are waited for in one call, one after the other, with a SQL catalog; of any other call one."""
HERE = frozenset({"submission", "same_files", "rejects"})
"""Calls that are answered within this process."""
COMMITS = 60
"""Checkpoints that a branch has."""
OVER = 3
"""Attempts of each product that have ended."""
RELEASES = {State.standby: OVER + 1, State.active: OVER + 2, State.replaying: OVER + 3}
"""What is live → the number of its release."""


def model(name: str) -> Product:
    """As large as the demo's: five topics, four tables."""
    topics = {
        "flights": Topic(role=Role.events, time="happened", allowed_lateness="6h"),
        "weather": Topic(role=Role.dimension, time="observed_at", allowed_lateness="1h"),
        **{topic: Topic(role=Role.reference) for topic in REFERENCE},
    }
    kinds = dict.fromkeys(TABLES, Kind.aggregate) | {
        "departures": Kind.rows,
        "rejects": Kind.rejects,
    }
    outputs = {table: Output(kind=kind, columns=(), select="") for table, kind in kinds.items()}
    said = {table: OutputSettings() for table in TABLES if table != "rejects"}
    settings = ProductSettings(
        name=name, topics=topics, outputs=said, lag_limit=LagLimit(checkpoints=2)
    )
    return Product(folder=Path("/nowhere"), settings=settings, resolved=Resolved(outputs=outputs))


@dataclass
class SimulatedPlatform:
    """At each tick every job completes a checkpoint, and commits it in every table.

    All of them keep step with the log, but for those that replay.
    """

    clock: Clock = field(default_factory=Clock)
    models: dict[str, Product] = field(default_factory=dict)
    """Product → what the files of its folder say."""
    platforms: dict[str, FakePlatform] = field(default_factory=dict)
    """Product → all that it knows of the platform."""
    asked: Counter[str] = field(default_factory=Counter)
    """What was asked or done from outside of this process, and how often."""
    answer_seconds: float = 0.0
    """What one answer takes, of which a call waits for as many as `ANSWERS` says."""
    _lock: Lock = field(default_factory=Lock)

    def add(self, name: str) -> FakePlatform:
        """A product, before its first release."""
        self.models[name] = model(name)
        self.platforms[name] = FakePlatform(
            self.clock,
            lake=FakeLake(newest=SNAPSHOT, tables=TABLES),
            speed=HISTORY,
            arriving=RECORDS,
            reference=REFERENCE,
            topic_ids={topic: topic for topic in (*GROWING, *REFERENCE)},
            ends_now={
                topic: dict.fromkeys(range(partitions), HISTORY)
                for topic, partitions in GROWING.items()
            },
        )
        return self.platforms[name]

    def __getattr__(self, call: str) -> Callable[..., Any]:
        """A call of the platform of the product that it is about."""

        def ask(*about: Any) -> Any:
            if call not in HERE:
                self._wait(call)
            return getattr(self.platforms[_product(about)], call)(*about)

        return ask

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        return self.models[attempt.product]

    def _wait(self, call: str) -> None:
        with self._lock:
            self.asked[call] += 1
        if self.answer_seconds:
            time.sleep(ANSWERS.get(call, 1) * self.answer_seconds)

    def tick(self) -> None:
        self.clock.time += ROUND_SECONDS
        for platform in self.platforms.values():
            tick(platform)

    def behind(self, name: str) -> bool:
        """Whether readers of a product do not see the newest checkpoint of what is active."""
        lake, active = self.platforms[name].lake, _attempt(name, State.active)
        return lake.main()[0] != {table: lake.refs[table, active.name] for table in TABLES}


def tick(platform: FakePlatform) -> None:
    """Producers move the clocks on, and every job completes a checkpoint."""
    now = int(1000 * platform.clock())
    platform.clocks_now = {
        topic: dict.fromkeys(partitions, now) for topic, partitions in platform.ends_now.items()
    }
    platform.complete_checkpoint()


def _product(about: Iterable[Any]) -> str:
    """Which one a call is about."""
    for of in about:
        if isinstance(of, Attempt | ProductState):
            return of.product
        if isinstance(of, Product):
            return of.name
        if isinstance(of, list):  # of attempts
            return _product(of)
    raise TypeError("expected an attempt, a product or its state among the arguments, found none")


class Life:
    """What hours make of a product: a history, one release on standby, one active; perhaps one that replays."""

    def __init__(self, platform: SimulatedPlatform, name: str) -> None:
        self._platform, self._model, self._name = platform.add(name), platform.models[name], name
        self._live: list[Attempt] = []
        self._published: list[Publication] = []
        self.submit(State.standby)
        self.submit(State.active)

    def submit(self, state: State) -> None:
        """The job of a release that will have come so far."""
        attempt = _attempt(self._name, state)
        self._platform.prepare(self._model, attempt, _release(attempt), no_fence)
        self._platform.submit(attempt, _release(attempt), no_fence)
        self._live.append(attempt)

    def replay(self) -> None:
        """Another release, of which each checkpoint reads little."""
        self._platform.speed = REPLAYED
        self.submit(State.replaying)

    def look(self) -> None:
        """Remember the newest checkpoint of each job, and show the active one's to readers."""
        self._live = [self._recorded(attempt) for attempt in self._live]
        active = next(a for a in self._live if a.state is State.active)
        assert active.tip is not None
        intent = Publication(
            0,
            self._name,
            active.release,
            1,
            active.tip.id,
            self._platform.main_now,
            active.tip.snapshots,
            active.positions[-1].offsets,
            self._platform.clock(),
        )
        self._platform.publish(self._model, intent.after, intent.before, no_fence)
        self._published.append(intent)

    def _recorded(self, attempt: Attempt) -> Attempt:
        reached = self._platform.position(attempt, self._model)
        assert reached is not None, f"{attempt.full_name} has no new checkpoint"
        position = Position(
            reached.checkpoint,
            reached.covered,
            self._platform.clock(),
            self._platform.ends(self._model),
            reached.read,
        )
        tip = Checkpoint(
            reached.checkpoint, {t: self._platform.lake.refs[t, attempt.name] for t in TABLES}
        )
        return replace(attempt, positions=(*attempt.positions, position)[-KEPT_POSITIONS:], tip=tip)

    def keep(self, store: Store, journal: int) -> None:
        """Store what the controller would have, and so many publications."""
        lease = store.acquire(self._name, "settle", 1)
        assert lease
        ended = [_attempt(self._name, State.retired, number) for number in range(1, OVER + 1)]
        attempts = [*ended, *(self._kept(attempt) for attempt in self._live)]
        for attempt in attempts:
            store.add_release(lease, _release(attempt))
        store.save(lease, *attempts)
        for intent in self._published[-journal:]:
            store.finish_publication(lease, store.begin_publication(lease, intent), intent.started)
        store.give_back(lease)

    def _kept(self, attempt: Attempt) -> Attempt:
        """An attempt whose old snapshots have just been removed."""
        assert attempt.tip is not None
        self._platform.lake.expire(
            attempt.name, attempt.tip.id - COMMITS + 2, self._platform.main_now.values()
        )
        return replace(
            attempt,
            expired_at=self._platform.clock(),
            committed=True,
            log=self._platform.log_identity(self._model, attempt, {}),
        )


def settle(
    store: Store,
    platform: SimulatedPlatform,
    names: Iterable[str],
    *,
    replaying: bool,
    journal: int,
) -> None:
    """Products as they are after hours, in the platform and in the store."""
    lives = [Life(platform, name) for name in names]
    platform.tick()
    for life in lives if replaying else ():
        life.replay()
    for _ in range(max(COMMITS, journal) + 1):
        platform.tick()
        for life in lives:
            life.look()
    for life in lives:
        life.keep(store, journal)


def _attempt(name: str, state: State, release: int = 0) -> Attempt:
    """The only one of a release, whose number goes with the state unless it is given."""
    number = release or RELEASES[state]
    attempt = Attempt(
        name,
        number,
        1,
        created=float(number),
        parallelism=2,
        job_ids=(f"{name}-{number}",),
        state=state,
        submitted_at=0.0,
        confirmed=True,
    )
    return replace(attempt, cleaned=attempt.ended)


def _release(attempt: Attempt) -> Release:
    return Release(attempt.product, attempt.release, f"f{attempt.release}", 0.0, REFERENCE)
