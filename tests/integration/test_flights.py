"""The flights product on a running stack: live, replayed, and with its processes killed under it.

The tests share one log and follow each other: a year read while it is loaded, the same year replayed, two more years.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import oracle
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from running import RunningStack, wait_until

from replay import lake, log
from replay.errors import KappaError
from replay.model import Attempt, ProductState, Publication, State
from replay.store import Store

pytestmark = pytest.mark.timeout(900)

NAME = "flights"
KEYS = {**oracle.KEYS, "rejects": ["log_topic", "log_partition", "log_offset"]}
FLIGHTS_A_YEAR, CANCELLED_A_YEAR = 336_776, 8_255
WINDOW_OPERATORS = ("WindowDeduplicate", "WindowRank", "GlobalWindowAggregate")
REFERENCE = ("airlines", "airports", "planes")


class Reader:
    """Reads what readers see as fast as it can, and notes every read that breaks a promise."""

    def __init__(self, stack: RunningStack) -> None:
        self.complaints: list[str] = []
        self.reads = 0
        self.seen: list[tuple[str, int]] = []
        """Job and checkpoint of each publication, in the order in which they were seen."""
        self._stack = stack
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        catalog, known = lake.open_catalog(self._stack.settings), {}
        while not self._ended.wait(0.01):
            pointers = lake.pointers(catalog, NAME)  # one SELECT: all tables of one instant
            if set(pointers) != set(KEYS):
                if self.seen:
                    self._complain(f"tables are missing: {sorted(pointers)}")
                continue
            for location in pointers.values():
                if location not in known:
                    known[location] = _shown(catalog, location)
            known = {location: known[location] for location in pointers.values()}
            self.reads += 1
            self._judge({table: known[location] for table, location in pointers.items()})

    def _judge(self, shown: dict[str, tuple[str | None, int | None]]) -> None:
        if len(set(shown.values())) > 1:
            self._complain(f"mixed: {shown}")
            return
        job, checkpoint = next(iter(shown.values()))
        if job is None or checkpoint is None:
            if self.seen:
                self._complain(f"empty again after {self.seen[-1]}")
            return
        if self.seen and self.seen[-1] == (job, checkpoint):
            return
        if any(j == job and (c >= checkpoint or self.seen[-1][0] != job) for j, c in self.seen):
            self._complain(f"back to {job}, checkpoint {checkpoint} after {self.seen[-1]}")
        self.seen.append((job, checkpoint))

    def _complain(self, text: str) -> None:
        if len(self.complaints) < 20:
            self.complaints.append(text)


def _shown(catalog: Any, location: str) -> tuple[str | None, int | None]:
    """The job and the checkpoint behind main in one metadata file."""
    head = lake.read_metadata(catalog, location).current_snapshot()
    return lake.written_by(head) if head else (None, None)


@dataclass
class Product:
    """The product under test."""

    stack: RunningStack
    reader: Reader

    @property
    def state(self) -> ProductState:
        return Store(self.stack.settings.store).load(NAME)

    @property
    def active(self) -> Attempt:
        active = self.state.active
        assert active, [(a.name, a.state, a.error) for a in self.state.attempts]
        return active

    @property
    def published(self) -> Publication:
        published = self.state.published
        assert published
        return published

    def deploy(self, *args: str, timeout: float = 300) -> None:
        """Deploy, or follow what was deployed, until all that is in the log now is published."""
        self.stack.kappa("deploy", NAME, "--timeout", str(timeout), *args, timeout=timeout + 60)

    def wait_published_beyond(self, checkpoint: int, when: str) -> None:
        """Wait until the controller has published a newer checkpoint."""
        wait_until(lambda: self.published.checkpoint > checkpoint, 180,
                   lambda: f"published {when}: {self.stack.kappa('attempts', NAME).stdout}")

    def rows(self) -> dict[str, pa.Table]:
        """Every row of every table, in order of its key."""
        tables = {name: oracle.published(self.stack.settings, name) for name in KEYS}
        return {name: table.sort_by([(k, "ascending") for k in KEYS[name]]) for name, table in tables.items()}


@pytest.fixture(scope="module")
def product(stack: RunningStack) -> Iterator[Product]:
    """The product with a reader that never rests."""
    reader = Reader(stack)
    reader.start()
    try:
        yield Product(stack, reader)
    finally:
        reader.stop()


def test_read_while_it_is_loaded(product: Product) -> None:
    stack = product.stack
    with _loading(stack, scale=1):
        wait_until(lambda: _reference_is_there(stack), 60, "the reference data is in the log")
        product.deploy()
    stack.kappa("load", NAME, "--rate", "12000")
    product.deploy()  # the same release: followed until the rest is published too

    assert [a.name for a in product.state.attempts] == ["r1-a1"]
    _everything_is_right(product, scale=1)
    _no_late_record_was_dropped(product)
    assert len(product.reader.seen) > 2, "too few publications to show anything"


@pytest.mark.parametrize("parallelism", [1, 2])
def test_replayed_from_zero_to_the_same_rows(product: Product, parallelism: int) -> None:
    before, rows = product.active, product.rows()  # the first time: those written while the log was loaded
    _wait_for_slots(product, parallelism)
    product.deploy("--again", "--parallelism", str(parallelism))

    active = product.active
    assert active.parallelism == parallelism and active.name != before.name
    replayed = product.rows()
    for name, table in rows.items():
        assert table.num_rows == replayed[name].num_rows, name
        assert table.equals(replayed[name]), _first_difference(name, table, replayed[name])
    _no_late_record_was_dropped(product)
    _readers_were_never_deceived(product)
    wait_until(lambda: product.state.attempt(before.name).state is State.retired, 60, f"{before.name} is retired")


@pytest.mark.soak
@pytest.mark.chaos
def test_killed_under_load(product: Product) -> None:
    stack, attempt = product.stack, product.active
    with _loading(stack, scale=3):
        for program in ("taskmanager", "jobmanager", "kafka"):
            product.wait_published_beyond(product.published.checkpoint, f"before {program} is killed")
            newest = product.active.checkpoint
            stack.wait_restarted(program, stack.kill(program))
            # One checkpoint may have been on its way; another takes a job that works again.
            product.wait_published_beyond(newest + 1, f"after {program} was killed")
    stack.kappa("load", NAME, "--scale", "3")
    product.deploy()

    assert product.active.name == attempt.name, "resumed from a checkpoint, not begun again"
    assert len(product.active.job_ids) > len(attempt.job_ids), "the new JobManager was given the job anew"
    _everything_is_right(product, scale=3)
    _no_late_record_was_dropped(product)


def _reference_is_there(stack: RunningStack) -> bool:
    try:
        ends = log.end_offsets(stack.settings, REFERENCE)
    except (KappaError, KeyError):
        return False
    return all(sum(ends[topic].values()) >= len(oracle.raw(topic)) for topic in REFERENCE)


@contextmanager
def _loading(stack: RunningStack, scale: int) -> Iterator[None]:
    """A slow load that goes on throughout the block, and is killed at its end: the next load continues it."""
    loader = stack.kappa.start("load", NAME, "--scale", str(scale), "--rate", "1000")
    try:
        yield
        ended = loader.poll()
    finally:
        loader.kill()
        said, _ = loader.communicate()
    assert ended is None, f"the load ended too early, with exit code {ended}: {said}"


def _everything_is_right(product: Product, scale: int) -> None:
    """Tables as the oracle has them, sums that agree, the planted faults in rejects, each offset accounted for."""
    assert oracle.check_published(product.stack.settings, scale) == []
    rows = product.rows()
    late, undecodable = (_listed(product, kind, scale) for kind in ("late", "undecodable"))
    departures, hourly, daily = (rows[t] for t in ("departures", "hourly_departures", "daily_routes"))
    flights, cancelled = departures.num_rows, pc.sum(departures["cancelled"]).as_py()
    assert flights + len(late) == FLIGHTS_A_YEAR * scale
    assert CANCELLED_A_YEAR * scale - len(late) <= cancelled <= CANCELLED_A_YEAR * scale
    for aggregate in (hourly, daily):
        assert (pc.sum(aggregate["flights"]).as_py(), pc.sum(aggregate["cancelled"]).as_py()) == (flights, cancelled)
    rejects = rows["rejects"]
    assert len(late) > 250 * scale and len(undecodable) >= 7 * scale
    assert _places(rejects.filter(pc.starts_with(rejects["reason"], "late"))) == sorted(late)
    assert _places(rejects.filter(pc.starts_with(rejects["reason"], "undecodable"))) == sorted(undecodable)
    assert rejects.num_rows == len(late) + len(undecodable)
    product.stack.kappa("audit", NAME)
    _readers_were_never_deceived(product)


def _listed(product: Product, kind: str, scale: int) -> list[tuple[str, int, int]]:
    """What the loader says that it planted: topic, partition, offset."""
    rows = product.stack.kappa.json("load", NAME, "--scale", str(scale), "--list", kind)
    return [(r["topic"], r["partition"], r["offset"]) for r in rows]


def _places(rejects: pa.Table) -> list[tuple[str, int, int]]:
    return sorted(zip(*(rejects[c].to_pylist() for c in KEYS["rejects"]), strict=True))


def _readers_were_never_deceived(product: Product) -> None:
    assert product.reader.complaints == []
    assert product.reader.reads > 100


def _no_late_record_was_dropped(product: Product) -> None:
    """No window operator dropped a record as late: what is late was told apart before, and is in rejects."""
    job = f"{product.stack.settings.flink.rest}/jobs/{product.active.job_id}"
    vertices = httpx.get(job, trust_env=False).json()["vertices"]
    windows = [v for v in vertices if v["name"].startswith(WINDOW_OPERATORS)]
    assert len(windows) >= len(WINDOW_OPERATORS), [v["name"] for v in vertices]
    for vertex in windows:
        # Flink fetches metrics when it is asked for them: they are there the next time.
        dropped = wait_until(partial(_dropped, f"{job}/vertices/{vertex['id']}/subtasks/metrics"), 60,
                             f"metrics of {vertex['name']}")
        assert set(dropped.values()) == {0}, dropped


def _dropped(metrics: str) -> dict[str, float]:
    """Metric of each operator of a vertex → records that all its subtasks dropped."""
    names = [m["id"] for m in httpx.get(metrics, trust_env=False).json() if m["id"].endswith(".numLateRecordsDropped")]
    if not names:
        return {}
    answer = httpx.get(metrics, params={"get": ",".join(names), "agg": "sum"}, trust_env=False).json()
    return {m["id"]: float(m["sum"]) for m in answer}


def _wait_for_slots(product: Product, parallelism: int) -> None:
    def free() -> int:
        overview = httpx.get(f"{product.stack.settings.flink.rest}/overview", trust_env=False).json()
        return int(overview["slots-available"])
    wait_until(lambda: free() >= parallelism, 60, f"{parallelism} task slots are free")


def _first_difference(name: str, left: pa.Table, right: pa.Table) -> str:
    for column in left.column_names:
        for index, (a, b) in enumerate(zip(left[column].to_pylist(), right[column].to_pylist(), strict=True)):
            if a != b:
                key = {k: left[k][index].as_py() for k in KEYS[name]}
                return f"{name}.{column} of {key}: {a!r} before, {b!r} replayed"
    return f"{name}: types differ: {left.schema} {right.schema}"
