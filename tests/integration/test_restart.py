"""The log's clock outlives the loss of a job and passes empty partitions that the broker dates; new ones are found."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented
    NewPartitions,
    NewTopic,
)

from jobs.product.folder import Product, load_product
from replay.controller.platform import Platform
from replay.core.model import Attempt
from replay.kafka import log, schema_registry
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import another_product, stop_jobs

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.timeout(420), pytest.mark.filterwarnings("ignore")]

BEGIN = 1_704_067_200_000  # 2024-01-01T00:00:00Z
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LAST_MILLISECOND = BEGIN + 2 * DAY - 1
"""Of a window of an hour, and an hour before that too."""
BUSY, QUIET, ADDED = 0, 1, 2


@dataclass
class Log:
    """A product's topic, and what a test put into it."""

    stack: RunningStack
    product: Product
    timestamp_type: str = "CreateTime"
    config: Mapping[str, str] = field(default_factory=dict)
    """Further settings of the topic."""
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Partition and offset of every order."""

    def __post_init__(self) -> None:
        (self.topic,) = self.product.settings.topics
        config = {**log.TOPIC_CONFIG, "message.timestamp.type": self.timestamp_type, **self.config}
        self._admin = log.admin(self.stack.settings)
        self._admin.create_topics([NewTopic(self.topic, 2, 1, config=config)])[self.topic].result(
            120
        )
        self._schema = fastavro.parse_schema(
            json.loads(self.product.schema_file(self.topic).read_text())
        )
        self._id = schema_registry.register(self.stack.settings, self.product)[self.topic]
        self._producer = self._new_producer()
        self._ends: dict[int, int] = {}

    def order(
        self, name: str, ordered_at: int, partition: int = BUSY, appended: int | None = None
    ) -> None:
        body = io.BytesIO(b"\0" + self._id.to_bytes(4, "big"))
        body.seek(0, io.SEEK_END)
        order = {"order_id": name, "ordered_at": ordered_at, "shop": "a", "cents": 1}
        fastavro.schemaless_writer(body, self._schema, order)
        self.places[name] = (
            partition,
            self._write(body.getvalue(), appended or ordered_at, partition),
        )

    def heartbeat(self, appended: int, partition: int = BUSY) -> None:
        self._write(None, appended, partition)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def add_partition(self) -> None:
        self._admin.create_partitions([NewPartitions(self.topic, 3)])[self.topic].result(30)
        self._producer = self._new_producer()  # the old one learns of it minutes later

    def _new_producer(self) -> Producer:
        return Producer({**self.stack.settings.kafka, "enable.idempotence": True, "log_level": 0})

    def _write(self, value: bytes | None, appended: int, partition: int) -> int:
        self._producer.produce(self.topic, value, partition=partition, timestamp=appended)
        self._ends[partition] = self._ends.get(partition, 0) + 1
        return self._ends[partition] - 1

    # What became of it

    def rows(self) -> dict[str, list[tuple[int, int]]]:
        """Places of every order in the published table: one, unless it is doubled."""
        found: dict[str, list[tuple[int, int]]] = {}
        for row in self.stack.kappa.json("query", self.product.name, "SELECT * FROM order_rows"):
            found.setdefault(row["order_id"], []).append((row["log_partition"], row["log_offset"]))
        return found

    def wait_published(self, what: str, timeout: float = 60) -> None:
        """Every order is in the table once, at its place in the log."""
        expected = {name: [place] for name, place in self.places.items()}
        wait_until(
            lambda: len(self.rows()) >= len(expected),
            timeout,
            lambda: f"{what}: {sorted(expected.keys() - self.rows().keys())[:5]} missing; {self.attempts()}",
        )
        assert self.rows() == expected

    def attempts(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.stack.kappa.json("attempts", self.product.name)
        return rows

    def attempt(self) -> Attempt:
        with closing(Store(self.stack.settings.store)) as store:
            (attempt,) = store.load(self.product.name).attempts
            return attempt

    def audit(self) -> list[dict[str, Any]]:
        """Per partition; the command fails unless every record is accounted for."""
        partitions: list[dict[str, Any]] = self.stack.kappa.json("audit", self.product.name)[
            "partitions"
        ]
        return partitions

    def deploy(self) -> None:
        self.stack.kappa(
            "deploy", self.product.name, "--from", str(self.product.folder), "--timeout", "180"
        )


def committed(one: Log) -> dict[int, int]:
    """Partition → offset that the job's last checkpoint committed."""
    found = log.committed_offsets(one.stack.settings, one.attempt().group, [one.topic])[one.topic]
    return {partition: committed.offset for partition, committed in found.items()}


def soon(folder: Path, name: str) -> Product:
    """A copy of orders with a lateness and windows of seconds, for a log that is written now."""
    copy = another_product(folder, name)
    for file in copy.rglob("*.sql"):
        file.write_text(file.read_text().replace("INTERVAL '1' HOUR", "INTERVAL '5' SECOND"))
    (copy / "checks" / "hours_add_up.sql").unlink(missing_ok=True)
    settings = copy / "product.yaml"
    settings.write_text(
        re.sub(r"(allowed_lateness|longest_wait|size): 1h", r"\1: 5s", settings.read_text())
    )
    return load_product(copy)


@pytest.fixture(scope="module")
def logs(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Log, Log]]:
    """Two products: one with a partition to which nothing is added any more, one with an empty partition."""
    folder = tmp_path_factory.mktemp("products")
    quiet = Log(stack, load_product(another_product(folder, "quiet")))
    sparse = Log(stack, soon(folder, "sparse"), "LogAppendTime")
    for n in range(50):
        quiet.order(f"busy{n}", BEGIN + n * MINUTE)
        quiet.order(f"quiet{n}", BEGIN + n * MINUTE, QUIET)
    quiet.heartbeat(BEGIN + DAY)
    quiet.heartbeat(BEGIN + 9 * DAY, QUIET)
    quiet.flush()
    now = time.time_ns() // 1_000_000
    for n in range(50):
        sparse.order(f"now{n}", now + n)
    sparse.flush()
    try:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(one.deploy) for one in (quiet, sparse)]:
                done.result()
        yield quiet, sparse
    finally:
        for product in ("quiet", "sparse"):
            stop_jobs(stack, product)


def test_a_job_that_was_lost_goes_on_without_a_further_record_in_a_quiet_partition(
    logs: tuple[Log, Log],
) -> None:
    quiet, stack = logs[0], logs[0].stack
    quiet.wait_published("what was there before")
    before = quiet.attempt()
    program = f"jobmanager-{before.cluster}" if before.cluster else "jobmanager"
    stack.wait_restarted(program, stack.kill(program))
    wait_until(
        lambda: quiet.attempt().confirmed and len(quiet.attempt().job_ids) > len(before.job_ids),
        90,
        lambda: f"the job is resumed: {quiet.attempts()}",
    )

    resumed = quiet.attempt()
    assert resumed.restore is not None
    wait_until(
        lambda: quiet.attempt().positions[-1].checkpoint > before.positions[-1].checkpoint + 1,
        60,
        lambda: f"positions are recorded again: {quiet.attempts()}",
    )
    with closing(Platform(stack.settings)) as platform:
        assert platform.stalled_watermarks(resumed) == ()
    quiet.wait_published("the same as before")

    for n in range(5):
        quiet.order(f"more{n}", BEGIN + DAY + n * MINUTE)
    quiet.heartbeat(LAST_MILLISECOND)
    quiet.flush()
    quiet.wait_published("orders that came after the loss")
    assert quiet.attempt().name == before.name
    assert [p["unaccounted"] for p in quiet.audit()] == [0, 0]


def test_a_record_that_is_late_by_exactly_the_allowed_lateness_is_in_its_window(
    logs: tuple[Log, Log],
) -> None:
    # its clock stands at that millisecond, and the window that ends there less an hour is full
    quiet = logs[0]
    quiet.order("just in time", LAST_MILLISECOND - HOUR, appended=LAST_MILLISECOND)
    quiet.heartbeat(LAST_MILLISECOND + 2 * HOUR)
    quiet.flush()
    quiet.wait_published("an order that is late by exactly an hour")


def test_a_partition_that_a_topic_gains_is_read_from_its_first_record(
    logs: tuple[Log, Log],
) -> None:
    quiet = logs[0]
    quiet.add_partition()
    for n in range(5):
        quiet.order(f"added{n}", BEGIN + 3 * DAY + n * MINUTE, ADDED)
    quiet.heartbeat(BEGIN + 4 * DAY, ADDED)
    quiet.flush()
    # Until it is found, its windows stay open only as long as no other partition's clock leads by the allowed lateness.
    wait_until(
        lambda: committed(quiet).get(ADDED) == 6,
        60,
        lambda: f"the new partition is read: {committed(quiet)}",
    )
    quiet.heartbeat(BEGIN + 4 * DAY)
    quiet.flush()
    quiet.wait_published("orders of the new partition")
    covered = {
        p["partition"]: p["covered"]
        for p in wait_until(
            lambda: [p for p in [quiet.audit()] if len(p) == 3],
            30,
            "the audit knows three partitions",
        )[0]
    }
    assert covered[ADDED] == 6


def test_an_empty_partition_that_the_broker_dates_holds_nothing_back(logs: tuple[Log, Log]) -> None:
    sparse = logs[1]
    sparse.wait_published("orders of the only partition with records", 120)
    with closing(Platform(sparse.stack.settings)) as platform:
        assert platform.stalled_watermarks(sparse.attempt()) == ()
    assert sum(p["unaccounted"] for p in sparse.audit()) == 0
