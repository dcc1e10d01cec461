"""The log: Kafka topics, their positions and records."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__, but documented
    AdminClient,
    ConfigResource,
    ListOffsetsResultInfo,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from replay.core.model import Committed
from replay.errors import ConfigError, RefusedError, RetryableError
from replay.kafka import log_durability
from replay.kafka.acls import READER_GROUP
from replay.secret import revealed, shown
from replay.settings import Settings

TIMEOUT = 15.0
"""Seconds that a question to the broker or the registry may take."""

# Nothing is ever deleted, records may be dated by their producer, and later than today (a data set of later years).
TOPIC_CONFIG = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "unclean.leader.election.enable": "false",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
_NO_COORDINATOR_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
_NOT_ALLOWED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_NOT_LOGGED_IN = (
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)
_LOGIN_SECONDS = 3.0
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


DEMO = "  (the demo's: kappa load flights)"
"""Behind a command that makes a topic."""


class Record(NamedTuple):
    """A record as it stands in the log."""

    offset: int
    timestamp: int
    """Milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None


def admin(settings: Settings) -> AdminClient:
    """The process's client for questions and topics: a new one spends up to 50 ms on its connections."""
    properties = tuple(sorted(revealed(settings.kafka).items()))
    with _opening:
        try:
            return _admin(properties)
        except KafkaException as e:
            raise ConfigError(
                "librdkafka does not take the properties of `kafka` in config.yaml",
                expected="names and values of librdkafka's CONFIGURATION.md",
                found=str(e.args[0].str()),
                next="fix config.yaml; names of Java's client belong under `kafka_java`",
            ) from e


_opening = Lock()  # several threads may ask first, and share one client


@cache
def _admin(properties: tuple[tuple[str, str], ...]) -> AdminClient:
    # A broker that was away is looked for every second, not every ten: questions wait for no longer than TIMEOUT.
    options: dict[str, Any] = {
        "reconnect.backoff.max.ms": "1000",
        **dict(properties),
        "log_level": 0,
        "error_cb": _logins.append,
    }
    return AdminClient(options)


_logins: deque[KafkaError] = deque(maxlen=20)
"""What librdkafka said lately of its connections: a question only tells that it was not answered in time."""


def _broker(settings: Settings, error: Exception) -> RetryableError:
    asked = error.args[0] if error.args else error
    code, found = asked.code() if isinstance(asked, KafkaError) else None, str(asked)
    address = shown(settings.kafka).get("bootstrap.servers", "")
    if code in _NOT_ALLOWED:
        return RetryableError(
            "Kafka does not allow what was asked",
            expected="the ACLs of kappa acls PRODUCT for the principal of `kafka` in config.yaml",
            found=found,
            next="kappa acls PRODUCT",
        )
    if refused := found if code in _NOT_LOGGED_IN else _refused_login(settings):
        return RetryableError(
            "Kafka refuses this login",
            expected=f"a login at {address}",
            found=refused,
            next="see kappa config; fix `kafka` in config.yaml, or the user at the broker",
        )
    return RetryableError(
        "Kafka does not answer", expected=address, found=found, next="kappa status, then kappa up"
    )


def _refused_login(settings: Settings) -> str:
    """Why connections come to nothing, where the broker asks for a login or for TLS; empty: not known."""
    if settings.kafka.get("security.protocol", "PLAINTEXT") == "PLAINTEXT":
        return ""
    _logins.clear()
    client = admin(settings)
    with suppress(KafkaException):
        client.list_topics(timeout=_LOGIN_SECONDS)
    client.poll(0)
    return next((said.str() for said in reversed(_logins) if said.code() in _NOT_LOGGED_IN), "")


@contextmanager
def asking_broker(settings: Settings) -> Iterator[None]:
    """What a broker that does not answer raises becomes a RetryableError."""
    try:
        yield
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e


def _is(error: Exception, code: int) -> bool:
    return (
        bool(error.args) and isinstance(error.args[0], KafkaError) and error.args[0].code() == code
    )


def create_topics(settings: Settings, partitions: Mapping[str, int]) -> list[str]:
    """Create the topics that are missing, kept for ever; those created. RefusedError when one has other partitions."""
    try:
        client = admin(settings)
        existing = client.list_topics(timeout=TIMEOUT).topics
        for name, count in partitions.items():
            if name in existing and len(existing[name].partitions) != count:
                raise RefusedError(
                    f"topic {name} exists with other partitions",
                    expected=f"{count} partitions",
                    found=str(len(existing[name].partitions)),
                    next="load into a fresh KAPPA_HOME",
                )
        missing = [name for name in partitions if name not in existing]
        if missing:
            brokers = len(client.list_topics(timeout=TIMEOUT).brokers)
            replication = min(3, brokers)
            config = {**TOPIC_CONFIG, **log_durability.wanted(replication, brokers)}
            wanted = [
                NewTopic(name, partitions[name], replication, config=config) for name in missing
            ]
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
    waiting = {
        t: {p: end - stable[t].get(p, end) for p, end in partitions.items()}
        for t, partitions in ends.items()
    }
    return {
        t: found for t, of in waiting.items() if (found := {p: n for p, n in of.items() if n > 0})
    }


def first_offsets(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int]]:
    """The first offset that the broker still has, per partition."""
    return _offsets(settings, topics, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def offsets_at(
    settings: Settings, topics: Iterable[str], timestamp_ms: int
) -> dict[str, dict[int, int]]:
    """The first offset of every partition with a record of this time or later; partitions without one are absent."""
    found = _offsets(settings, topics, OffsetSpec.for_timestamp(timestamp_ms))
    return {t: {p: offset for p, offset in ps.items() if offset >= 0} for t, ps in found.items()}


def latest_times(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int | None]]:
    """The greatest record timestamp of every partition in ms, None of one without a record.

    Also of records in open transactions: of a partition that ends in one a broker would else tell nothing.
    """
    found = _ask_offsets(
        settings,
        topics,
        OffsetSpec.max_timestamp(),  # type: ignore[no-untyped-call]
        IsolationLevel.READ_UNCOMMITTED,
    )
    return {
        t: {p: answer.timestamp if answer.offset >= 0 else None for p, answer in ps.items()}
        for t, ps in found.items()
    }


def _offsets(
    settings: Settings,
    topics: Iterable[str],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
) -> dict[str, dict[int, int]]:
    return {
        t: {p: answer.offset for p, answer in ps.items()}
        for t, ps in _ask_offsets(settings, topics, spec, isolation).items()
    }


def _ask_offsets(
    settings: Settings, topics: Iterable[str], spec: OffsetSpec, isolation: IsolationLevel
) -> dict[str, dict[int, ListOffsetsResultInfo]]:
    topics, deadline = list(topics), time.monotonic() + TIMEOUT
    while True:
        try:
            return _ask_offsets_now(settings, topics, spec, isolation)
        except (KafkaException, TimeoutError) as e:
            # A partition just created, or whose broker just came back, has no leader for a moment.
            if not any(_is(e, code) for code in _NO_LEADER_YET) or time.monotonic() > deadline:
                raise _broker(settings, e) from e
            time.sleep(0.2)


def _ask_offsets_now(
    settings: Settings, topics: list[str], spec: OffsetSpec, isolation: IsolationLevel
) -> dict[str, dict[int, ListOffsetsResultInfo]]:
    client = admin(settings)
    partitions = [
        TopicPartition(t, p.id)
        for t, of in _described(client, topics).items()
        for p in of.partitions
    ]
    found: dict[str, dict[int, ListOffsetsResultInfo]] = {t: {} for t in topics}
    if partitions:
        answers = client.list_offsets(
            dict.fromkeys(partitions, spec), isolation_level=isolation, request_timeout=TIMEOUT
        )
        for tp, future in answers.items():
            found[tp.topic][tp.partition] = future.result(TIMEOUT)
    return found


def _missing(topic: str, error: KafkaException) -> RefusedError:
    return RefusedError(
        f"topic {topic} is missing",
        expected=f"a topic named {topic}",
        found=error.args[0].str(),
        next=f"kappa topic create {topic}{DEMO}; of one that was read before, a backup of the broker",
    )


def _described(client: AdminClient, topics: list[str]) -> dict[str, TopicDescription]:
    """Topics with their ids and partitions, by one question; RefusedError for one that is missing."""
    found = {}
    for topic, future in (
        client.describe_topics(TopicCollection(topics), request_timeout=TIMEOUT) if topics else {}
    ).items():
        try:
            found[topic] = future.result(TIMEOUT)
        except KafkaException as e:
            if not _is(e, KafkaError.UNKNOWN_TOPIC_OR_PART):
                raise
            raise _missing(topic, e) from e
    return found


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """What its group has committed. The client may take bytes behind a commit's metadata for a part of it, which mostly
    are no text: what they are differs from one answer to the next. A broker that has just started, or that makes its
    offsets topic for the first group, has no coordinator for a moment."""
    trouble: KafkaException | None = None
    for _ in range(10):
        try:
            return consumer.committed(partitions, timeout=TIMEOUT)
        except UnicodeDecodeError:
            continue
        except KafkaException as e:
            if not any(_is(e, code) for code in _NO_COORDINATOR_YET):
                raise
            trouble = e
            time.sleep(0.2)
    if trouble:
        raise trouble
    raise RetryableError(
        "committed offsets cannot be read",
        expected="text as their metadata",
        found="other bytes",
        next="repeat the command",
    )


def committed_offsets(
    settings: Settings, group: str, topics: Iterable[str]
) -> dict[str, dict[int, Committed]]:
    """What a consumer group has committed; partitions without a commit are absent.

    For display, and to name who meddles with it: what a checkpoint covers is in replay/flink/positions.py.
    """
    found: dict[str, dict[int, Committed]] = {t: {} for t in topics}
    # A consumer that never subscribes does not join the group. The admin client's question for a group's offsets ended
    # the process with a segmentation fault (librdkafka 2.16, a broker that was still creating its offsets topic).
    consumer = Consumer(
        {**revealed(settings.kafka), "group.id": group, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        known = consumer.list_topics(timeout=TIMEOUT).topics
        partitions = [
            TopicPartition(t, p) for t in found if t in known for p in known[t].partitions
        ]
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
            raise RetryableError(
                f"consumer group {group} is in use",
                expected="a group without members",
                found="members: a job that runs, or ended just now",
                next="repeat the command",
            ) from e
        if not _is(e, KafkaError.GROUP_ID_NOT_FOUND):
            raise _broker(settings, e) from e


Config = Mapping[str, str | None]


def topic_configs(settings: Settings, topics: Iterable[str]) -> dict[str, Config]:
    """The settings of topics that exist; RetryableError when the broker does not answer or allow it."""
    resources = [ConfigResource(ResourceType.TOPIC, t) for t in topics]
    if not resources:
        return {}
    with asking_broker(settings):
        futures = admin(settings).describe_configs(resources, request_timeout=TIMEOUT)
        return {
            resource.name: {name: entry.value for name, entry in future.result(TIMEOUT).items()}
            for resource, future in futures.items()
        }


def topic_ids(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Topic → the id that it got when it was made; without those that do not exist."""
    return {topic: str(found.topic_id) for topic, found in descriptions(settings, topics).items()}


def descriptions(settings: Settings, topics: Iterable[str]) -> dict[str, TopicDescription]:
    """Topics with their ids and partitions; without those that do not exist."""
    found: dict[str, TopicDescription] = {}
    if not (wanted := list(topics)):
        return found
    try:
        asked = admin(settings).describe_topics(TopicCollection(wanted), request_timeout=TIMEOUT)
        for topic, future in asked.items():
            try:
                found[topic] = future.result(TIMEOUT)
            except KafkaException as e:
                if not _is(e, KafkaError.UNKNOWN_TOPIC_OR_PART):
                    raise
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e
    return found


def leader_epochs(settings: Settings, topics: Iterable[str]) -> dict[str, dict[int, int | None]]:
    """How often each partition has got a leader: no record is lost to another one without a new number."""
    found = _ask_offsets(
        settings,
        topics,
        OffsetSpec.latest(),  # type: ignore[no-untyped-call]
        IsolationLevel.READ_UNCOMMITTED,
    )
    return {t: {p: answer.leader_epoch for p, answer in ps.items()} for t, ps in found.items()}


def broker_dated(settings: Settings, topics: Iterable[str]) -> list[str]:
    """The topics whose records the broker dates when it appends them."""
    try:
        resources = [ConfigResource(ResourceType.TOPIC, t) for t in topics]
        futures = admin(settings).describe_configs(resources, request_timeout=TIMEOUT)
        found = []
        for resource, future in futures.items():
            try:
                if future.result(TIMEOUT)["message.timestamp.type"].value == "LogAppendTime":
                    found.append(resource.name)
            except KafkaException as e:
                if _is(e, KafkaError.UNKNOWN_TOPIC_OR_PART):
                    raise _missing(resource.name, e) from e
                raise
        return found
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e


def read_range(
    settings: Settings, topic: str, partition: int, start: int, end: int
) -> Iterator[Record]:
    """The records of one partition from `start` up to, not including, `end`."""
    if start >= end:
        return
    # By default it rests for a second whenever its queue is full, which takes two to four times as long.
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
            "queued.max.messages.kbytes": 64 << 10,
            "fetch.queue.backoff.ms": 5,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        position, heard = start, time.monotonic()
        while position < end:
            # consume() waits until it has all it was asked for, or the timeout: ask for no more than there is
            for m in consumer.consume(min(10_000, end - position), timeout=1.0):
                heard = time.monotonic()
                if (error := m.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        # offsets at the end may hold no record
                        return
                    if error.code() == KafkaError._AUTO_OFFSET_RESET:
                        raise _gone(topic, partition, position, error)
                    raise KafkaException(error)
                offset = m.offset() or 0
                if offset >= end:
                    return
                position = offset + 1
                yield Record(offset, m.timestamp()[1], _bytes(m.key()), _bytes(m.value()))
            if time.monotonic() - heard > TIMEOUT:
                raise RetryableError(
                    f"Kafka sent no record of {topic} for {TIMEOUT:.0f} s", next="kappa status"
                )
    except (KafkaException, TimeoutError) as e:
        raise _broker(settings, e) from e
    finally:
        consumer.close()


def _gone(topic: str, partition: int, offset: int, error: KafkaError) -> RetryableError:
    return RetryableError(
        f"records of topic {topic} are not in the log any more",
        expected=f"offset {offset} of partition {partition}",
        found=error.str(),
        next=f"kappa topic describe {topic}",
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
