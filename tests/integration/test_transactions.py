"""Transactional producers: a log that ends in markers, aborted records or an open transaction, and who sets offsets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from jobs.product.folder import load_product
from replay.core.model import Attempt, Publication
from replay.kafka import log
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import BEGIN, MINUTE, Order, Writer, another_product, stop_jobs

pytestmark = pytest.mark.timeout(420)

HEARTBEAT = None
"""A record without a value: the log's clock alone, by which windows close."""


@dataclass
class Ledger:
    """A copy of orders whose topic is written in transactions; a release may lag by no record."""

    stack: RunningStack
    folder: Path
    offset: int = 0
    """The first offset behind all that was written, markers included."""
    rows: dict[int, Order] = field(default_factory=dict)
    """Committed orders by offset."""
    _minute: int = 0

    def __post_init__(self) -> None:
        settings = self.folder / "product.yaml"
        settings.write_text(re.sub(r"records: \d+", "records: 0", settings.read_text()))
        self.writer = Writer(self.stack, load_product(self.folder))

    @property
    def name(self) -> str:
        return self.folder.name

    def producer(self, identity: str) -> Producer:
        """A transactional producer; an earlier one of the same identity is fenced."""
        identity = f"{self.name}-{identity}"
        producer = Producer(
            {
                **self.stack.settings.kafka,
                "transactional.id": identity,
                "log_level": 0,
                "transaction.timeout.ms": 600_000,
            }
        )  # one that is open outlasts a deploy
        producer.init_transactions(30)
        return producer

    def write(self, producer: Producer, *orders: Order | None) -> None:
        """Append records and wait until they are in the log, committed or not."""
        for order in orders:
            value, at = (
                (self.writer.encode(order.fields), order.ordered_at)
                if order
                else (HEARTBEAT, self._end())
            )
            producer.produce(self.name, value, partition=0, timestamp=at)
            if order:
                self.rows[self.offset] = order
            self.offset += 1
        assert producer.flush(30) == 0

    def _end(self) -> int:
        """Behind the windows of the newest orders, and before the next ones."""
        return BEGIN + (self._minute - 400) * MINUTE

    def orders(self, count: int) -> list[Order]:
        """Further ones, some minutes later; the next begin behind the end of their windows."""
        first = self._minute
        self._minute += 1_000
        return [Order(first + n) for n in range(count)]

    def commit(self, *orders: Order | None) -> None:
        """One whole transaction."""
        producer = self.producer("committing")
        producer.begin_transaction()
        self.write(producer, *orders)
        producer.commit_transaction(30)
        self.offset += 1  # the marker

    def abort(self, *orders: Order | None) -> None:
        producer = self.producer("aborting")
        producer.begin_transaction()
        with self.lost():
            self.write(producer, *orders)
        producer.abort_transaction(30)
        self.offset += 1

    @contextmanager
    def lost(self) -> Iterator[None]:
        """What is written meanwhile never becomes an order."""
        before = dict(self.rows)
        yield
        self.rows = before

    # What becomes of it

    def deploy(self) -> None:
        self.stack.kappa("deploy", self.name, "--from", str(self.folder), "--timeout", "120")

    def audit(self) -> dict[str, int]:
        """Of the only partition; the command fails unless every offset is accounted for."""
        (partition,) = self.stack.kappa.json("audit", self.name)["partitions"]
        return {
            kind: n
            for kind, n in partition.items()
            if isinstance(n, int) and n and kind != "partition"
        }

    def status(self) -> dict[str, Any]:
        (status,) = self.stack.kappa.json("status", self.name)
        assert isinstance(status, dict)
        return status

    def shown(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.stack.kappa.json(
            "query",
            self.name,
            "SELECT log_offset, order_id, epoch_ms(ordered_at) AS ordered_at, shop, cents "
            "FROM order_rows ORDER BY log_offset",
        )
        return rows

    def expected(self) -> list[dict[str, Any]]:
        return [
            {"log_offset": offset, **order.fields} for offset, order in sorted(self.rows.items())
        ]

    @property
    def published(self) -> Publication:
        published = Store(self.stack.settings.store).load(self.name).published
        assert published
        return published

    def attempt(self) -> Attempt:
        (attempt,) = Store(self.stack.settings.store).load(self.name).attempts
        return attempt

    def wait_covered(self, offset: int) -> None:
        wait_until(
            lambda: self.published.covered == {self.name: {0: offset}},
            60,
            lambda: f"readers see all below {offset}: {self.published.covered}",
        )

    def everything_is_shown(self) -> None:
        self.wait_covered(self.offset)
        assert self.shown() == self.expected()


Opened = Callable[[str], Ledger]


@pytest.fixture
def ledger(stack: RunningStack, tmp_path: Path) -> Iterator[Opened]:
    """A ledger by name; its job is stopped afterwards."""
    opened: list[Ledger] = []

    def open_one(name: str) -> Ledger:
        opened.append(Ledger(stack, another_product(tmp_path, name)))
        return opened[-1]

    yield open_one
    for one in opened:
        stop_jobs(stack, one.name)


def test_a_log_that_ends_with_a_commit_is_caught_up_with_at_once(ledger: Opened) -> None:
    """The marker is an offset without a record: no position by records ever reaches the end."""
    committed = ledger("committed")
    committed.commit(*committed.orders(3))
    committed.deploy()
    assert committed.audit() == {"covered": 4, "open_windows": 3, "markers": 1}
    readers = committed.status()["readers"]
    assert (readers["covered"], readers["lag_records"]) == (4, 0)
    committed.commit(HEARTBEAT)
    committed.everything_is_shown()
    assert committed.audit() == {"covered": 6, "rows": 3, "heartbeats": 1, "markers": 2}


def test_what_was_aborted_is_in_no_table_and_no_lag(ledger: Opened) -> None:
    aborted = ledger("undone")
    aborted.commit(*aborted.orders(3), HEARTBEAT)
    fenced = aborted.producer("one")
    fenced.begin_transaction()
    with aborted.lost():
        aborted.write(fenced, *aborted.orders(2))
    # the same producer, started again elsewhere: what it had begun is aborted
    other = aborted.producer("one")
    aborted.offset += 1
    with pytest.raises(KafkaException):
        fenced.commit_transaction(30)
    other.begin_transaction()
    aborted.write(other, *aborted.orders(1), HEARTBEAT)
    other.commit_transaction(30)
    aborted.offset += 1
    aborted.abort(*aborted.orders(150))
    # A transaction's marker is written a moment after the producer is told that it has ended.
    ends = {aborted.name: {0: aborted.offset}}
    settings = aborted.stack.settings
    wait_until(
        lambda: log.end_offsets(settings, [aborted.name]) == ends, 30, "all transactions have ended"
    )

    aborted.deploy()
    assert aborted.status()["readers"]["lag_records"] == 0
    assert aborted.shown() == aborted.expected()
    markers = 1 + (2 + 1) + 1 + (150 + 1)
    assert aborted.audit() == {
        "covered": aborted.offset,
        "rows": 4,
        "heartbeats": 2,
        "markers": markers,
    }


def test_an_open_transaction_is_behind_the_readable_end_until_it_ends(ledger: Opened) -> None:
    """It is no lag and keeps nobody waiting but for itself; what it commits is lag from then on."""
    opened = ledger("opened")
    opened.commit(*opened.orders(3), HEARTBEAT)
    readable = opened.offset
    producer = opened.producer("slow")
    producer.begin_transaction()
    opened.write(producer, *opened.orders(2), HEARTBEAT)
    opened.commit(*opened.orders(1), HEARTBEAT)  # committed, and behind an open one all the same

    opened.deploy()
    opened.wait_covered(readable)
    status = opened.status()
    assert status["open_transactions"] == {"opened-0": opened.offset - readable}
    assert (status["readers"]["covered"], status["readers"]["lag_records"]) == (readable, 0)
    assert opened.audit() == {"covered": readable, "rows": 3, "heartbeats": 1, "markers": 1}

    producer.commit_transaction(30)
    opened.offset += 1
    opened.everything_is_shown()
    assert opened.status()["open_transactions"] == {}
    assert opened.audit() == {"covered": opened.offset, "rows": 6, "heartbeats": 3, "markers": 3}

    _offsets_set_by_hand_are_named(opened)


def _offsets_set_by_hand_are_named(one: Ledger) -> None:
    """As kafka-consumer-groups --reset-offsets does: a source that assigns partitions is no member of its group."""
    attempt = one.attempt()
    named = wait_until(lambda: _named(one, attempt, 1_000), 60, "the history tells of it")
    assert named == (
        f"somebody changed the committed offsets of group {attempt.group}: set {one.name}-0 to 1,000. "
        "Nothing depends on them, and the job commits its own at its next checkpoint"
    )
    assert one.attempt().positions[-1].offsets == {one.name: {0: one.offset}}
    one.commit(*one.orders(2), HEARTBEAT)
    one.everything_is_shown()
    one.audit()

    def own() -> bool:
        """The job's own offset is there again, and signed."""
        found = log.committed_offsets(one.stack.settings, attempt.group, [one.name])[one.name][0]
        return found.offset == one.offset and found.by.startswith(
            f"kappa job {attempt.job_id} checkpoint "
        )

    wait_until(own, 30, "the job commits its own offset")
    wait_until(
        lambda: one.status()["attempts"][0]["foreign_offsets"] == "",
        30,
        "status tells of it no more",
    )


def _named(one: Ledger, attempt: Attempt, offset: int) -> str:
    consumer = Consumer(
        {**one.stack.settings.kafka, "group.id": attempt.group, "enable.auto.commit": False}
    )
    try:
        consumer.commit(offsets=[TopicPartition(one.name, 0, offset)], asynchronous=False)
    finally:
        consumer.close()
    events: Sequence[Any] = Store(one.stack.settings.store).events(one.name)
    return next((e.detail for e in events if e.reason == "disturbed"), "")
