"""Topics as the log wants them: created, listed, described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__, but documented
    NewTopic,
)

from replay.errors import RefusedError
from replay.kafka import log, log_durability, tiering, whole_log
from replay.kafka.log_durability import Replication
from replay.kafka.whole_log import LogProblem
from replay.settings import Settings

_TIMESTAMPS = "message.timestamp.type"
_LARGEST = "max.message.bytes"
APPEND_TIME, CREATE_TIME = "LogAppendTime", "CreateTime"
_LIKE_OURS = ("retention.ms", "retention.bytes", "cleanup.policy", _TIMESTAMPS)
"""Settings in which a topic that exists already must be as a new one would be."""
_WRONG = {
    KafkaError.TOPIC_EXCEPTION: "a name of letters, digits, dots, dashes and _, that no other differs from by . and _",
    KafkaError.INVALID_REPLICATION_FACTOR: "a replication factor of at most the number of brokers",
    KafkaError.INVALID_PARTITIONS: "at least one partition",
    KafkaError.INVALID_CONFIG: "settings that the broker takes; a remote tier where the topic is to have one",
    KafkaError.POLICY_VIOLATION: "a topic that the broker's policy allows",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the right to create topics",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the right to create topics",
}


@dataclass(frozen=True)
class Wanted:
    """A topic to be created; None: the default of a new one, and anything in one that exists."""

    name: str
    partitions: int | None = None
    replication: int | None = None
    log_append_time: bool = False
    tiered: bool = False
    largest_record: int | None = None
    """Bytes; None: as the broker has it."""

    @property
    def config(self) -> dict[str, str]:
        """How the log wants it: nothing is ever deleted."""
        return {
            **log.TOPIC_CONFIG,
            **({_TIMESTAMPS: APPEND_TIME} if self.log_append_time else {}),
            **({tiering.ENABLE: "true"} if self.tiered else {}),
            **({_LARGEST: str(self.largest_record)} if self.largest_record else {}),
        }


@dataclass(frozen=True)
class Topic:
    """A topic as the broker has it."""

    name: str
    replication: int
    first: Mapping[int, int]
    """First offset per partition."""
    ends: Mapping[int, int]
    """Per partition the offset that the next record gets."""
    config: log.Config
    brokers: int = 1
    """Of the cluster."""

    @property
    def copies(self) -> Replication:
        """How it is kept."""
        return log_durability.copies(self.brokers, self.replication, self.config)

    @property
    def partitions(self) -> int:
        return len(self.ends)

    @property
    def offsets(self) -> int:
        """Offsets in the log: records, and markers of transactions."""
        return sum(self.ends.values()) - sum(self.first.values())

    @property
    def dated_by(self) -> str:
        """LogAppendTime or CreateTime."""
        return self.config.get(_TIMESTAMPS) or CREATE_TIME

    @property
    def problems(self) -> list[LogProblem]:
        """Why a replay from offset zero would miss something."""
        return whole_log.config_problems(self.name, self.config) + whole_log.cut_problems(
            self.name, self.first, self.config
        )


def names(settings: Settings) -> list[str]:
    """The topics that are not Kafka's or the registry's own."""
    with log.asking_broker(settings):
        return sorted(
            n
            for n in log.admin(settings).list_topics(timeout=log.TIMEOUT).topics
            if not n.startswith("_")
        )


def look(settings: Settings, wanted: Iterable[str]) -> list[Topic]:
    """The topics of these names; RefusedError when one is missing."""
    wanted = list(wanted)
    with log.asking_broker(settings):
        cluster = log.admin(settings).list_topics(timeout=log.TIMEOUT)
    known = cluster.topics
    if missing := [n for n in wanted if n not in known]:
        raise no_topic(missing[0], sorted(n for n in known if not n.startswith("_")))
    first, ends = log.first_offsets(settings, wanted), log.end_offsets(settings, wanted)
    configs = log.topic_configs(settings, wanted)
    return [
        Topic(n, whole_log.replicas(known[n]), first[n], ends[n], configs[n], len(cluster.brokers))
        for n in wanted
    ]


def no_topic(name: str, known: list[str]) -> RefusedError:
    """A topic that is not there."""
    return RefusedError(
        f"there is no topic {name}",
        expected="one of the topics that this login may see",
        found=", ".join(known[:20]) + (", …" if len(known) > 20 else "") if known else "none",
        next=f"kappa topic create {name}",
    )


def missing(settings: Settings, wanted: Wanted) -> bool:
    """Whether it is still to be created; RefusedError when one of that name differs from what is wanted."""
    if wanted.name not in names(settings):
        return True
    (topic,) = look(settings, [wanted.name])
    refuse_other(wanted, topic)
    return False


def refuse_other(wanted: Wanted, topic: Topic) -> None:
    """RefusedError when a topic that exists is not as a new one would be."""
    name, config = topic.name, wanted.config
    if wanted.partitions is not None and wanted.partitions != topic.partitions:
        raise RefusedError(
            f"topic {name} exists with other partitions",
            expected=str(wanted.partitions),
            found=str(topic.partitions),
            next=f"kappa topic create {name}  (as it is)",
        )
    if wanted.replication is not None and wanted.replication != topic.replication:
        raise RefusedError(
            f"topic {name} exists with another replication factor",
            expected=str(wanted.replication),
            found=str(topic.replication),
            next=f"kappa topic create {name}  (as it is)",
        )
    compared = (*_LIKE_OURS, *((tiering.ENABLE,) if wanted.tiered else ()))
    other = [key for key in compared if topic.config.get(key) != config[key]]
    if not other:
        return
    if other == [_TIMESTAMPS]:
        flag = " --log-append-time" if topic.dated_by == APPEND_TIME else ""
        follow = f"kappa topic create {name}{flag}  (as it is), or another topic"
    elif other == [tiering.ENABLE]:
        follow = (
            f"kafka-configs --alter --entity-type topics --entity-name {name} --add-config "
            f"{tiering.ENABLE}=true"
        )
    else:
        follow = whole_log.config_problems(name, topic.config)[0].next
    raise RefusedError(
        f"topic {name} exists with other settings",
        expected=", ".join(f"{k}={config[k]}" for k in other),
        found=", ".join(f"{k}={topic.config.get(k)}" for k in other),
        next=follow,
    )


def create(settings: Settings, wanted: Wanted) -> None:
    """Create it, replicated three times where there are so many brokers. RefusedError when the broker will not."""
    with log.asking_broker(settings):
        client = log.admin(settings)
        brokers = len(client.list_topics(timeout=log.TIMEOUT).brokers)
        replication = wanted.replication or min(3, brokers)
        new = NewTopic(
            wanted.name,
            wanted.partitions or 1,
            replication,
            config={**wanted.config, **log_durability.wanted(replication, brokers)},
        )
        future = client.create_topics([new], operation_timeout=log.TIMEOUT)[wanted.name]
        try:
            future.result(log.TIMEOUT)
        except KafkaException as e:
            error = e.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # it was created a moment ago
                refuse_other(wanted, look(settings, [wanted.name])[0])
            elif error.code() in _WRONG:
                raise RefusedError(
                    f"the broker does not create topic {wanted.name}",
                    expected=_WRONG[error.code()],
                    found=error.str(),
                    next="kappa topic create --help",
                ) from e
            else:
                raise
