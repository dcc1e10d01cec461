"""Records of a topic for people: the first, the newest, and those that are yet to come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from replay.errors import RetryableError
from replay.kafka import log
from replay.kafka.acls import READER_GROUP
from replay.secret import revealed
from replay.settings import Settings

_WIDER = 8
"""Offsets may hold markers instead of records: the newest are looked for so many times further back."""


@dataclass(frozen=True)
class ConsumedRecord:
    """A record, and where it stands."""

    partition: int
    offset: int
    timestamp: int
    """Milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def oldest(
    settings: Settings, topic: str, starts: Mapping[int, int], count: int | None = None
) -> list[ConsumedRecord]:
    """Up to `count` records of each partition from these offsets on, in the order of the log's clock."""
    taken: Counter[int] = Counter()

    def is_last(record: ConsumedRecord) -> bool:
        taken[record.partition] += 1
        return taken[record.partition] == count

    return [] if count == 0 else merged(_until(settings, topic, starts, is_last, 500))


def between(
    settings: Settings, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]
) -> Iterator[ConsumedRecord]:
    """The records of each partition from one offset up to, not including, another; those of a partition in order."""
    begin = {p: start for p, start in starts.items() if start < ends.get(p, 0)}

    def is_last(record: ConsumedRecord) -> bool:
        return record.offset >= ends[record.partition] - 1

    found = _until(settings, topic, begin, is_last, 5_000)
    # of offsets without a record, the next one ends the partition
    return (record for record in found if record.offset < ends[record.partition])


def _until(
    settings: Settings,
    topic: str,
    starts: Mapping[int, int],
    is_last: Callable[[ConsumedRecord], bool],
    batch: int,
) -> Iterator[ConsumedRecord]:
    """The records of each partition from an offset on, up to its last one or the end of the log."""
    if not (reading := set(starts)):
        return
    with _consumer(settings, topic, starts) as consumer:
        heard = time.monotonic()
        while reading:
            for message in consumer.consume(batch, timeout=0.2):
                heard = time.monotonic()
                partition = message.partition()
                if partition not in reading:
                    continue
                if not (is_over := _at_end(message)):
                    yield (record := _seen(message))
                    is_over = is_last(record)
                if is_over:
                    reading.discard(partition)
                    consumer.incremental_unassign([TopicPartition(topic, partition)])
            if time.monotonic() - heard > log.TIMEOUT:
                raise RetryableError(
                    f"Kafka sent no record of {topic} for {log.TIMEOUT:.0f} s", next="kappa status"
                )


def merged(found: Iterable[ConsumedRecord]) -> list[ConsumedRecord]:
    """By the clocks of the partitions: a record dated before one ahead of it does not overtake that one."""
    clocks: dict[int, int] = {}
    keyed = []
    for seen in sorted(found, key=lambda r: (r.partition, r.offset)):
        clock = clocks[seen.partition] = max(
            seen.timestamp, clocks.get(seen.partition, seen.timestamp)
        )
        keyed.append(((clock, seen.partition, seen.offset), seen))
    return [seen for _, seen in sorted(keyed, key=lambda pair: pair[0])]


def newest(
    settings: Settings, topic: str, first: Mapping[int, int], ends: Mapping[int, int], count: int
) -> list[ConsumedRecord]:
    """The last `count` records, in the order of the log's clock."""
    if not count:
        return []
    width = count
    while True:
        starts = {p: max(first[p], ends[p] - width) for p in ends}
        found = oldest(settings, topic, starts)
        there = Counter(r.partition for r in found)
        if all(there[p] >= count or starts[p] == first[p] for p in ends):
            return found[-count:]
        width *= _WIDER


def follow(settings: Settings, topic: str, starts: Mapping[int, int]) -> Iterator[ConsumedRecord]:
    """Records from these offsets on as they arrive, without end."""
    with _consumer(settings, topic, starts) as consumer:
        while True:
            for message in consumer.consume(100, timeout=0.2):
                if not _at_end(message):
                    yield _seen(message)


@contextmanager
def _consumer(settings: Settings, topic: str, starts: Mapping[int, int]) -> Iterator[Consumer]:
    """Committed records only; a group is named and never joined."""
    consumer = Consumer(
        {
            **revealed(settings.kafka),
            "group.id": READER_GROUP,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "log_level": 0,
            "isolation.level": "read_committed",
            "fetch.message.max.bytes": 8 << 20,
            "fetch.queue.backoff.ms": 5,
            "reconnect.backoff.max.ms": 1000,
        }
    )
    try:
        with log.asking_broker(settings):
            consumer.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])
            yield consumer
    finally:
        consumer.close()


def _at_end(message: Any) -> bool:
    """Whether this is no record but the news that a partition is read to its end."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise KafkaException(error)


def _seen(message: Any) -> ConsumedRecord:
    return ConsumedRecord(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        _bytes(message.key()),
        _bytes(message.value()),
        tuple((k, _bytes(v)) for k, v in message.headers() or ()),
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
