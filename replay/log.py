"""The log: Kafka topics, their positions and records, and the schemas of their values."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__, but documented
    AdminClient,
    ConfigResource,
    ListOffsetsResultInfo,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from jobs.product import Product
from replay.errors import KappaError, RefusedError, RetryableError
from replay.model import Committed
from replay.settings import Settings

TIMEOUT = 15.0
"""Seconds that a question to the broker or the registry may take."""

# Nothing is ever deleted, records may be dated by their producer, and later than today (a data set of later years).
TOPIC_CONFIG = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
_WHOLE = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_DEMO = "  (the demo's: kappa load flights)"


class Record(NamedTuple):
    """A record as it stands in the log."""

    offset: int
    timestamp: int
    """Milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class LogProblem:
    """Why a log is not whole."""

    topic: str
    expected: str
    found: str
    next: str
    lost: bool = False
    """Records are gone; else a setting is wrong."""

    def __str__(self) -> str:
        return f"topic {self.topic}: expected {self.expected}, found {self.found}; next: {self.next}"


def admin(settings: Settings) -> AdminClient:
    """The process's client for questions and topics: a new one spends up to 50 ms on its connections."""
    return _admin(tuple(sorted(settings.kafka.items())))


@cache
def _admin(properties: tuple[tuple[str, str], ...]) -> AdminClient:
    # A broker that was away is looked for every second, not every ten: questions wait for no longer than TIMEOUT.
    return AdminClient({"reconnect.backoff.max.ms": "1000", **dict(properties), "log_level": 0})


def _broker(settings: Settings, error: Exception) -> RetryableError:
    return RetryableError("Kafka does not answer", expected=settings.kafka.get("bootstrap.servers", ""),
                          found=str(error.args[0] if error.args else error), next="kappa status, then kappa up")


@contextmanager
def asking_broker(settings: Settings) -> Iterator[None]:
    """What a broker that does not answer raises becomes a RetryableError."""
    try:
        yield
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e


def _is(error: Exception, code: int) -> bool:
    return bool(error.args) and isinstance(error.args[0], KafkaError) and error.args[0].code() == code


def create_topics(settings: Settings, partitions: Mapping[str, int]) -> list[str]:
    """Create the topics that are missing, kept for ever; those created. RefusedError when one has other partitions."""
    try:
        client = admin(settings)
        existing = client.list_topics(timeout=TIMEOUT).topics
        for name, count in partitions.items():
            if name in existing and len(existing[name].partitions) != count:
                raise RefusedError(f"topic {name} exists with other partitions", expected=f"{count} partitions",
                                   found=str(len(existing[name].partitions)), next="load into a fresh KAPPA_HOME")
        missing = [name for name in partitions if name not in existing]
        if missing:
            replication = min(3, len(client.list_topics(timeout=TIMEOUT).brokers))
            wanted = [NewTopic(name, partitions[name], replication, config=TOPIC_CONFIG) for name in missing]
            futures = client.create_topics(wanted, operation_timeout=TIMEOUT)
            for future in futures.values():
                future.result(TIMEOUT)
        return missing
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e


def end_offsets(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int]]:
    """Where the readable part of every partition ends: its last stable offset; RefusedError for a missing topic.

    A record behind the first open transaction is not read before that transaction is committed or aborted. So it is no
    lag, and nothing that is fixed to this end waits for it.
    """
    return _offsets(settings, topics, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def open_transactions(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int]]:
    """The offsets that open transactions keep from being read; partitions without any are absent."""
    topics = list(topics)
    ends = _offsets(settings, topics, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]
    stable = end_offsets(settings, topics)
    waiting = {t: {p: end - stable[t].get(p, end) for p, end in partitions.items()} for t, partitions in ends.items()}
    return {t: found for t, of in waiting.items() if (found := {p: n for p, n in of.items() if n > 0})}


def first_offsets(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int]]:
    """The first offset that the broker still has, per partition."""
    return _offsets(settings, topics, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def offsets_at(settings: Settings, topics: Iterable[str], timestamp_ms: int) -> dict[str, dict[int, int]]:
    """The first offset of every partition with a record of this time or later; partitions without one are absent."""
    found = _offsets(settings, topics, OffsetSpec.for_timestamp(timestamp_ms))
    return {t: {p: offset for p, offset in ps.items() if offset >= 0} for t, ps in found.items()}


def latest_times(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int | None]]:
    """The greatest record timestamp of every partition in ms, None of one without a record.

    Also of records in open transactions: of a partition that ends in one a broker would else tell nothing.
    """
    found = _ask_offsets(settings, topics, OffsetSpec.max_timestamp(),  # type: ignore[no-untyped-call]
                         IsolationLevel.READ_UNCOMMITTED)
    return {t: {p: answer.timestamp if answer.offset >= 0 else None for p, answer in ps.items()}
            for t, ps in found.items()}


def _offsets(settings: Settings, topics: Iterable[str], spec: OffsetSpec,
             isolation: IsolationLevel = IsolationLevel.READ_COMMITTED) -> dict[str, dict[int, int]]:
    return {t: {p: answer.offset for p, answer in ps.items()}
            for t, ps in _ask_offsets(settings, topics, spec, isolation).items()}


def _ask_offsets(settings: Settings, topics: Iterable[str], spec: OffsetSpec,
                 isolation: IsolationLevel) -> dict[str, dict[int, ListOffsetsResultInfo]]:
    topics, deadline = list(topics), time.monotonic() + TIMEOUT
    while True:
        try:
            return _ask_offsets_now(settings, topics, spec, isolation)
        except (KafkaException, TimeoutError) as e:
            # A partition just created, or whose broker just came back, has no leader for a moment.
            if not any(_is(e, code) for code in _NO_LEADER_YET) or time.monotonic() > deadline:
                raise _broker(settings, e) from e
            time.sleep(0.2)


def _ask_offsets_now(settings: Settings, topics: list[str], spec: OffsetSpec,
                     isolation: IsolationLevel) -> dict[str, dict[int, ListOffsetsResultInfo]]:
    client = admin(settings)
    partitions = [TopicPartition(t, p) for t in topics for p in _partitions(client, t)]
    found: dict[str, dict[int, ListOffsetsResultInfo]] = {t: {} for t in topics}
    if partitions:
        answers = client.list_offsets(dict.fromkeys(partitions, spec), isolation_level=isolation,
                                      request_timeout=TIMEOUT)
        for tp, future in answers.items():
            found[tp.topic][tp.partition] = future.result(TIMEOUT)
    return found


def _partitions(client: AdminClient, topic: str) -> list[int]:
    metadata = client.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if metadata.error is not None:
        raise RefusedError(f"topic {topic} is missing", expected=f"a topic named {topic}",
                           found=metadata.error.str(),
                           next=f"kappa topic create {topic}{_DEMO}")
    return sorted(metadata.partitions)


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """What its group has committed. The client may take bytes behind a commit's metadata for a part of it, which mostly
    are no text: what they are differs from one answer to the next."""
    for _ in range(10):
        try:
            return consumer.committed(partitions, timeout=TIMEOUT)
        except UnicodeDecodeError:
            continue
    raise RetryableError("committed offsets cannot be read", expected="text as their metadata", found="other bytes",
                         next="repeat the command")


def committed_offsets(settings: Settings, group: str, topics: Iterable[str]) -> dict[str, dict[int, Committed]]:
    """What a consumer group has committed; partitions without a commit are absent.

    For display, and to name who meddles with it: what a checkpoint covers is in replay/positions.py.
    """
    found: dict[str, dict[int, Committed]] = {t: {} for t in topics}
    # A consumer that never subscribes does not join the group. The admin client's question for a group's offsets ended
    # the process with a segmentation fault (librdkafka 2.16, a broker that was still creating its offsets topic).
    consumer = Consumer({**settings.kafka, "group.id": group, "enable.auto.commit": False, "log_level": 0})
    try:
        known = consumer.list_topics(timeout=TIMEOUT).topics
        partitions = [TopicPartition(t, p) for t in found if t in known for p in known[t].partitions]
        for tp in _committed(consumer, partitions) if partitions else ():
            if tp.offset >= 0:
                found[tp.topic][tp.partition] = Committed(tp.offset, tp.metadata or "")
        return found
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e
    finally:
        consumer.close()


def delete_group(settings: Settings, group: str) -> None:
    """Forget a group's offsets; nothing happens when there are none. RetryableError while it has members."""
    try:
        client = admin(settings)
        client.delete_consumer_groups([group], request_timeout=TIMEOUT)[group].result(TIMEOUT)
    except (KafkaException, TimeoutError) as e:
        if _is(e, KafkaError.NON_EMPTY_GROUP):
            raise RetryableError(f"consumer group {group} is in use", expected="a group without members",
                                 found="members: a job that runs, or ended just now", next="repeat the command") from e
        if not _is(e, KafkaError.GROUP_ID_NOT_FOUND):
            raise _broker(settings, e) from e


def check_whole_log(settings: Settings, product: Product) -> list[LogProblem]:
    """Why a replay from offset zero would miss something: topics or records that are not there, retention."""
    topics = list(product.topics)
    try:
        client = admin(settings)
        existing = client.list_topics(timeout=TIMEOUT).topics
        problems = [LogProblem(t, "a topic", "none", f"kappa topic create {t} --schema {product.schema_file(t)}{_DEMO}")
                    for t in topics if t not in existing]
        present = [t for t in topics if t in existing]
        resources = [ConfigResource(ResourceType.TOPIC, t) for t in present]
        futures = client.describe_configs(resources, request_timeout=TIMEOUT) if resources else {}
        for resource, future in futures.items():
            config = {name: entry.value for name, entry in future.result(TIMEOUT).items()}
            problems += config_problems(resource.name, config)
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e
    for topic, partitions in first_offsets(settings, present).items():
        problems += [LogProblem(topic, f"offset 0 of partition {p} in the log", f"it begins at offset {o}",
                                "restore the deleted records from a backup: a replay would miss them", lost=True)
                     for p, o in sorted(partitions.items()) if o != 0]
    return problems


def broker_dated(settings: Settings, topics: Iterable[str]) -> list[str]:
    """The topics whose records the broker dates when it appends them."""
    try:
        resources = [ConfigResource(ResourceType.TOPIC, t) for t in topics]
        futures = admin(settings).describe_configs(resources, request_timeout=TIMEOUT)
        return [resource.name for resource, future in futures.items()
                if future.result(TIMEOUT)["message.timestamp.type"].value == "LogAppendTime"]
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e


def config_problems(topic: str, config: Mapping[str, str | None]) -> list[LogProblem]:
    """Settings under which a broker deletes or compacts records."""
    return [LogProblem(topic, f"{key}={wanted}", f"{key}={config.get(key)}",
                       f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {key}={wanted}")
            for key, wanted in _WHOLE.items() if config.get(key) != wanted]


def registry(settings: Settings) -> SchemaRegistryClient:
    """A client of the schema registry that gives up soon: callers say what to do."""
    return SchemaRegistryClient({"url": settings.registry, "timeout": 10, "max.retries": 1})


def registry_down(settings: Settings, error: Exception) -> RetryableError:
    return RetryableError("the schema registry does not answer", expected=settings.registry,
                          found=f"{type(error).__name__}: {error}"[:300], next="kappa status, then kappa up")


_NOT_FOUND = 404  # of HTTP, and the first digits of the registry's own codes


@contextmanager
def asking_registry(settings: Settings) -> Iterator[SchemaRegistryClient]:
    """A client of the registry; whatever its questions raise becomes a RetryableError."""
    with registry(settings) as client:
        try:
            yield client
        except KappaError:
            raise
        except Exception as e:
            raise registry_down(settings, e) from e


def is_unknown(error: SchemaRegistryError) -> bool:
    """Whether the registry says that it has no such thing: a bare 404 comes from a wrong URL or a proxy."""
    return bool(error.http_status_code == _NOT_FOUND and error.error_code // 100 == _NOT_FOUND)


def referenced(client: SchemaRegistryClient, references: Iterable[Any] | None) -> tuple[str, ...]:
    """The texts of what a schema refers to, each behind what it refers to itself."""
    texts: list[str] = []
    for reference in references or ():
        found = client.get_version(reference.subject, reference.version).schema
        inner = referenced(client, found.references)
        texts += [t for t in (*inner, found.schema_str or "null") if t not in texts]
    return tuple(texts)


def subject(topic: str) -> str:
    """The registry's name of a topic's values."""
    return f"{topic}-value"


def register_schemas(settings: Settings, product: Product) -> dict[str, int]:
    """Register every topic's schema under BACKWARD compatibility; ids per topic. RefusedError when incompatible."""
    ids: dict[str, int] = {}
    with registry(settings) as client:
        for topic in product.topics:
            file = product.schema_file(topic)
            try:
                ids[topic] = client.register_schema(subject(topic), Schema(file.read_text(), "AVRO"))
                client.set_compatibility(subject_name=subject(topic), level="BACKWARD")
            except SchemaRegistryError as e:
                if e.http_status_code in (409, 422):
                    raise RefusedError(f"{file} is not a schema that {subject(topic)} can take on",
                                       expected="a change that readers of old records survive (BACKWARD)",
                                       found=str(e.error_message)[:400],
                                       next="add fields with a default, or write to a new topic") from e
                raise registry_down(settings, e) from e
            except Exception as e:  # httpx and its kin: the client passes on whatever its transport raises
                raise registry_down(settings, e) from e
    return ids


def read_range(settings: Settings, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
    """The records of one partition from `start` up to, not including, `end`."""
    if start >= end:
        return
    # By default it rests for a second whenever its queue is full, which takes two to four times as long.
    consumer = Consumer({**settings.kafka, "group.id": "kappa-reader", "enable.auto.commit": False,
                         "enable.partition.eof": True, "auto.offset.reset": "error", "log_level": 0,
                         "isolation.level": "read_committed", "fetch.message.max.bytes": 8 << 20,
                         "queued.max.messages.kbytes": 64 << 10, "fetch.queue.backoff.ms": 5})
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        position, heard = start, time.monotonic()
        while position < end:
            # consume() waits until it has all it was asked for, or the timeout: ask for no more than there is
            for m in consumer.consume(min(10_000, end - position), timeout=1.0):
                heard = time.monotonic()
                if (error := m.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # offsets at the end may hold no record
                        return
                    raise KafkaException(error)
                offset = m.offset() or 0
                if offset >= end:
                    return
                position = offset + 1
                yield Record(offset, m.timestamp()[1], _bytes(m.key()), _bytes(m.value()))
            if time.monotonic() - heard > TIMEOUT:
                raise RetryableError(f"Kafka sent no record of {topic} for {TIMEOUT:.0f} s", next="kappa status")
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e
    finally:
        consumer.close()


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
