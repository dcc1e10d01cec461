"""The flights product under test: what the tests of its story ask of it, and a reader that never rests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from replay.core.model import Attempt, ProductState, Publication
from replay.errors import KappaError
from replay.iceberg import lake
from replay.kafka import log
from replay.store.store import Store
from tests import oracle
from tests.integration.running import RunningStack, wait_until
from tests.oracle import RIGHT, Rule

NAME = "flights"
KEYS = {**oracle.KEYS, "rejects": ["log_topic", "log_partition", "log_offset"]}
FLIGHTS_A_YEAR, CANCELLED_A_YEAR = 336_776, 8_255
AFTER_MIDNIGHT = 1_207
"""Flights of 2013 that left on the day after the one they were scheduled for: a figure of the data set."""
WINDOW_OPERATOR = "WindowAggregate"
REFERENCE = ("airlines", "airports", "planes")


class Reader:
    """Reads what readers see as fast as it can, and notes every read that breaks a promise."""

    def __init__(self, stack: RunningStack) -> None:
        self.complaints: list[str] = []
        self.reads = 0
        self.seen: list[tuple[str, int]] = []
        """Job and checkpoint of each publication, in the order in which they were seen."""
        self.only_job = False
        """Whether readers must keep seeing the job that they see: nobody asked for a switch or a rollback."""
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
        other_job = bool(self.seen) and self.seen[-1][0] != job
        if any(j == job and c > checkpoint for j, c in self.seen) or (other_job and self.only_job):
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

    def deploy(self, *args: str, timeout: float = 800) -> list[dict[str, Any]]:
        """Deploy, or follow what was deployed, to the end; each moment that it showed."""
        done = self.stack.kappa(
            "deploy",
            NAME,
            "--timeout",
            str(timeout),
            "--output",
            "json",
            *args,
            timeout=timeout + 60,
        )
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def wait_published_beyond(self, checkpoint: int, when: str) -> None:
        """Wait until the controller has published a newer checkpoint."""
        wait_until(
            lambda: self.published.checkpoint > checkpoint,
            180,
            lambda: f"published {when}: {self.stack.kappa('attempts', NAME).stdout}",
        )

    def rows(self) -> dict[str, pa.Table]:
        """Every row of every table, in order of its key."""
        tables = {name: oracle.published(self.stack.settings, name) for name in KEYS}
        return {
            name: table.sort_by([(k, "ascending") for k in KEYS[name]])
            for name, table in tables.items()
        }


def reference_is_there(stack: RunningStack) -> bool:
    try:
        ends = log.end_offsets(stack.settings, REFERENCE)
    except (KappaError, KeyError):
        return False
    return all(sum(ends[topic].values()) >= len(oracle.raw(topic)) for topic in REFERENCE)


@contextmanager
def loading(stack: RunningStack, scale: int) -> Iterator[None]:
    """A slow load that goes on throughout the block, and is killed at its end: the next load continues it."""
    loader = stack.kappa.start("load", NAME, "--scale", str(scale), "--rate", "1000")
    try:
        yield
        ended = loader.poll()
    finally:
        loader.kill()
        said, _ = loader.communicate()
    assert ended is None, f"the load ended too early, with exit code {ended}: {said}"


def everything_is_right(product: Product, scale: int, rule: Rule = RIGHT) -> None:
    """Tables as the oracle has them, sums that agree, the planted faults in rejects, each offset accounted for."""
    assert oracle.check_published(product.stack.settings, scale, rule) == []
    rows = product.rows()
    departures, rejects = rows["departures"], rows["rejects"]
    late, undecodable = (
        _places(rejects.filter(pc.starts_with(rejects["reason"], r)))
        for r in ("late", "undecodable")
    )
    flights, cancelled = departures.num_rows, pc.sum(departures["cancelled"]).as_py()
    for aggregate in ("hourly_departures", "daily_routes"):
        table = rows[aggregate]
        assert (pc.sum(table["flights"]).as_py(), pc.sum(table["cancelled"]).as_py()) == (
            flights,
            cancelled,
        )
    planted = listed(product, "late", scale)
    assert len(planted) > 250 * scale
    if rule is RIGHT:
        assert late == planted
        assert flights + len(late) == FLIGHTS_A_YEAR * scale
        assert CANCELLED_A_YEAR * scale - len(late) <= cancelled <= CANCELLED_A_YEAR * scale
    else:
        assert set(late) > set(planted)
        assert flights + len(planted) == (FLIGHTS_A_YEAR - AFTER_MIDNIGHT) * scale
    assert undecodable == listed(product, "undecodable", scale) and len(undecodable) >= 7 * scale
    assert rejects.num_rows == len(late) + len(undecodable)
    product.stack.kappa("audit", NAME)
    readers_were_never_deceived(product)


def listed(product: Product, kind: str, scale: int) -> list[tuple[str, int, int]]:
    """What the loader says that it planted: topic, partition, offset, in order."""
    rows = product.stack.kappa.json("load", NAME, "--scale", str(scale), "--list", kind)
    return sorted((r["topic"], r["partition"], r["offset"]) for r in rows)


def _places(rejects: pa.Table) -> list[tuple[str, int, int]]:
    return sorted(zip(*(rejects[c].to_pylist() for c in KEYS["rejects"]), strict=True))


def readers_were_never_deceived(product: Product) -> None:
    assert product.reader.complaints == []
    assert product.reader.reads > 100


def no_late_record_was_dropped(product: Product) -> None:
    """No window operator dropped a record as late: what is late was told apart before, and is in rejects."""
    active = product.active
    job = f"{active.rest or product.stack.settings.flink.rest}/jobs/{active.job_id}"
    vertices = httpx.get(job, trust_env=False).json()["vertices"]
    windows = [v for v in vertices if v["name"].startswith(WINDOW_OPERATOR)]
    assert len(windows) == 2, [v["name"] for v in vertices]
    for vertex in windows:
        # Flink fetches metrics when it is asked for them: they are there the next time.
        dropped = wait_until(
            partial(_dropped, f"{job}/vertices/{vertex['id']}/subtasks/metrics"),
            60,
            f"metrics of {vertex['name']}",
        )
        assert set(dropped.values()) == {0}, dropped


def _dropped(metrics: str) -> dict[str, float]:
    """Metric of each operator of a vertex → records that all its subtasks dropped."""
    names = [
        m["id"]
        for m in httpx.get(metrics, trust_env=False).json()
        if m["id"].endswith(".numLateRecordsDropped")
    ]
    if not names:
        return {}
    answer = httpx.get(
        metrics, params={"get": ",".join(names), "agg": "sum"}, trust_env=False
    ).json()
    return {m["id"]: float(m["sum"]) for m in answer}


def first_difference(name: str, left: pa.Table, right: pa.Table) -> str:
    for column in left.column_names:
        for index, (a, b) in enumerate(
            zip(left[column].to_pylist(), right[column].to_pylist(), strict=True)
        ):
            if a != b:
                key = {k: left[k][index].as_py() for k in KEYS[name]}
                return f"{name}.{column} of {key}: {a!r} before, {b!r} replayed"
    return f"{name}: types differ: {left.schema} {right.schema}"
