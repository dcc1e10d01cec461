"""Append what is missing of the planned records to the log, at once or paced like live traffic."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from demo import flights
from demo.flights import PARTITIONS, Encoder, Planned
from jobs.product.folder import Product
from replay.errors import ConflictError, RefusedError, RetryableError
from replay.kafka import log, schema_registry
from replay.secret import revealed
from replay.settings import Settings

Ends = dict[str, dict[int, int]]
"""End offset per topic and partition."""
DELIVERY_TIMEOUT = 600
"""Seconds that a record may wait for a broker that is away."""
_CONTINUE = "kappa status; the same load again continues where it stopped"

# An idempotent producer appends every record once and in order, also when the broker dies and comes back in between.
_PRODUCER = {
    "enable.idempotence": True,
    "linger.ms": 20,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 200_000,
    "delivery.timeout.ms": DELIVERY_TIMEOUT * 1000,
    "message.send.max.retries": 2_147_483_647,
    "retry.backoff.max.ms": 1000,
    "log_level": 0,
}


@dataclass
class Loaded:
    """What a load did."""

    planned: int = 0
    written: int = 0
    present: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def repeats(scale: int) -> Iterator[tuple[int, list[Planned]]]:
    """The planned records, repeat by repeat; the reference data come before the first."""
    yield 0, flights.plan_reference()
    offsets = [0] * (PARTITIONS["flights"] + 1)
    for repeat in range(scale):
        records = flights.plan(repeat, offsets)
        yield repeat, records
        offsets = flights.next_offsets(records, offsets)


def load(
    settings: Settings,
    product: Product,
    scale: int,
    rate: float | None,
    progress: Callable[[Loaded], None],
    until: int | None = None,
) -> Loaded:
    """Bring the log to `scale` repeats; records that are there already are not written again.

    With `until` (ms since 1970) it stops before the first record that arrived then or later.

    ConflictError when what is there is not what this loader writes, or another load is running; RetryableError when
    the broker stays away. The same load again continues wherever this one ended.
    """
    with _alone(settings):
        return _load(settings, product, scale, rate, progress, until)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two loads at once would both append what is missing; the lock goes with the process."""
    with (settings.home / "load.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                "another load is writing this log",
                expected="one load at a time",
                found=f"{lock.name} is locked",
                next="wait for it to end, then repeat",
            ) from None
        yield


def _load(
    settings: Settings,
    product: Product,
    scale: int,
    rate: float | None,
    progress: Callable[[Loaded], None],
    until: int | None,
) -> Loaded:
    ids = schema_registry.register(settings, product)
    log.create_topics(settings, PARTITIONS)
    schemas = {topic: json.loads(product.schema_file(topic).read_text()) for topic in PARTITIONS}
    encoder, loaded = Encoder(schemas, ids), Loaded()
    ends = log.end_offsets(settings, PARTITIONS)
    writer = Writer(settings, rate)
    try:
        for repeat, records in repeats(scale):
            for last in last_written(records, ends):
                _must_be_ours(settings, last)
            missing = still_missing(records, ends)
            if until is not None:
                records, missing = (
                    [r for r in of if r.timestamp < until] for of in (records, missing)
                )
            loaded.planned += len(records)
            loaded.present += len(records) - len(missing)
            for number, (record, value) in enumerate(
                zip(missing, encoder.values(missing, repeat), strict=True)
            ):
                writer.write(record, value)
                loaded.written += 1
                loaded.kinds[record.kind] = loaded.kinds.get(record.kind, 0) + 1
                if number % 5000 == 0 or rate:
                    progress(loaded)
    except BaseException:
        writer.abandon()
        raise
    writer.finish()
    progress(loaded)
    return loaded


def last_written(records: list[Planned], ends: Ends) -> list[Planned]:
    """The planned records that are the last in their partitions already."""
    return [r for r in records if ends[r.topic].get(r.partition, 0) - 1 == r.offset]


def still_missing(records: list[Planned], ends: Ends) -> list[Planned]:
    """The planned records behind the ends of their partitions, in order. RefusedError if time would go backwards."""
    missing = [r for r in records if r.offset >= ends[r.topic].get(r.partition, 0)]
    clock: dict[tuple[str, int], Planned] = {}
    for r in missing:
        before = clock.get((r.topic, r.partition))
        if before is not None and (r.timestamp < before.timestamp or r.offset != before.offset + 1):
            raise RefusedError(
                f"the records of topic {r.topic}, partition {r.partition} are not in order",
                expected=f"offset {before.offset + 1}, not before {before.timestamp}",
                found=f"offset {r.offset} at {r.timestamp}",
            )
        clock[r.topic, r.partition] = r
    return missing


def _must_be_ours(settings: Settings, expected: Planned) -> None:
    """The last record of a partition must stand where the plan has it, else appending would mix two logs."""
    at = expected.offset
    found = next(log.read_range(settings, expected.topic, expected.partition, at, at + 1), None)
    key = expected.key.encode() if expected.key else None
    if found is None or (found.timestamp, found.key) != (expected.timestamp, key):
        raise ConflictError(
            f"topic {expected.topic}, partition {expected.partition} holds other records than this loader writes",
            expected=f"timestamp {expected.timestamp}, key {key!r} at offset {at}",
            found=f"timestamp {found.timestamp}, key {found.key!r}" if found else "nothing",
            next="load into a fresh KAPPA_HOME",
        )


class Writer:
    """A producer that paces itself and never loses a record silently."""

    def __init__(self, settings: Settings, rate: float | None) -> None:
        self._producer = Producer({**revealed(settings.kafka), **_PRODUCER})
        self._rate = rate
        self._began: float | None = None
        self._count = 0
        self._error: KafkaError | None = None

    def write(self, record: Planned, value: bytes | None) -> None:
        """Hand one record to the producer, not faster than the rate."""
        if self._rate:
            self._pace(self._rate)
        key = record.key.encode() if record.key else None
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value,
                    key,
                    record.partition,
                    on_delivery=self._delivered,
                    timestamp=record.timestamp,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        if self._count % 1000 == 0:
            self._producer.poll(0)
        self._count += 1
        self._raise()

    def finish(self) -> None:
        """Wait until the broker has everything."""
        remaining = self._producer.flush(DELIVERY_TIMEOUT)
        self._raise()
        if remaining:
            raise RetryableError(
                "Kafka did not take every record",
                expected=f"an answer within {DELIVERY_TIMEOUT} s",
                found=f"{remaining:,} records without one",
                next=_CONTINUE,
            )

    def abandon(self) -> None:
        """Drop what has not been sent: what the broker has is a beginning of each partition, to be continued."""
        self._producer.purge()
        self._producer.flush(5)

    def _pace(self, rate: float) -> None:
        now = time.monotonic()
        self._began = self._began if self._began is not None else now
        ahead = self._began + self._count / rate - now
        if ahead > 0:
            self._producer.poll(0)
            time.sleep(ahead)

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        self._error = self._error or error

    def _raise(self) -> None:
        if self._error:
            raise RetryableError(
                "Kafka did not take every record", found=self._error.str(), next=_CONTINUE
            ) from KafkaException(self._error)
