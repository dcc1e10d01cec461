"""Whether a log is whole, and stays so: why a replay from offset zero would miss something, now or one day."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__, but documented
    TopicMetadata,
)

from jobs.product.folder import Product
from replay.errors import RetryableError
from replay.kafka import log, log_durability, tiering
from replay.kafka.log_durability import Replication
from replay.settings import Settings

_WHOLE = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "unclean.leader.election.enable": "false",
}


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
        return (
            f"topic {self.topic}: expected {self.expected}, found {self.found}; next: {self.next}"
        )


def problems(settings: Settings, product: Product) -> list[LogProblem]:
    """Why a replay from offset zero would miss something, now or one day: topics or records that are not there,
    retention, records that one disk may lose, a remote tier that may be deleted or not be found any more."""
    topics = list(product.topics)
    with log.asking_broker(settings):
        cluster = log.admin(settings).list_topics(timeout=log.TIMEOUT)
        found = [
            LogProblem(
                t,
                "a topic",
                "none",
                f"kappa topic create {t}{_schema_option(product, t)}{log.DEMO}",
            )
            for t in topics
            if t not in cluster.topics
        ]
        present = [t for t in topics if t in cluster.topics]
        configs = _configs_with_index(settings, present, cluster.topics)
    for topic, config in configs.items():
        kept = log_durability.copies(len(cluster.brokers), replicas(cluster.topics[topic]), config)
        found += config_problems(topic, config) + durability_problems(settings, topic, kept)
    for topic, partitions in log.first_offsets(settings, present).items():
        found += cut_problems(topic, partitions, configs[topic])
    return found


def _schema_option(product: Product, topic: str) -> str:
    registered = product.topics[topic].format.is_registered
    return f" --schema {product.schema_file(topic)}" if registered else ""


def cut_problems(
    topic: str, first: Mapping[int, int], config: Mapping[str, str | None]
) -> list[LogProblem]:
    """Partitions, by their first offsets, that have lost their beginning."""
    return [
        LogProblem(
            topic,
            f"offset 0 of partition {partition} in the log",
            tiering.beginning(offset, config),
            "restore the deleted records from a backup: a replay would miss them",
            lost=True,
        )
        for partition, offset in sorted(first.items())
        if offset
    ]


def _configs_with_index(
    settings: Settings, topics: Iterable[str], visible: Collection[str]
) -> dict[str, log.Config]:
    """The same; where one of them has a remote tier, with the topic that says where its segments are.

    A broker may have another index, or not show it to this login: then nothing is known of it.
    """
    configs = log.topic_configs(settings, topics)
    if tiering.INDEX in visible and any(map(tiering.is_tiered, configs.values())):
        with suppress(RetryableError):
            configs |= log.topic_configs(settings, [tiering.INDEX])
    return configs


def replicas(topic: TopicMetadata) -> int:
    """Of the partition that has the fewest."""
    return min((len(p.replicas) for p in topic.partitions.values()), default=0)


def durability_problems(settings: Settings, topic: str, kept: Replication) -> list[LogProblem]:
    """That one disk may lose a record which the broker has acknowledged, on a cluster that could keep it."""
    if settings.kafka_storage_replicated or not kept.refused:
        return []
    return [
        LogProblem(
            topic,
            "two disks that have a record before it is acknowledged",
            str(kept),
            kept.fix(topic),
        )
    ]


def durability_advice(settings: Settings, topics: Iterable[str]) -> list[str]:
    """What an operator should know of topics that their cluster cannot keep better: see `log_durability`."""
    if settings.kafka_storage_replicated:
        return []
    with log.asking_broker(settings):
        cluster = log.admin(settings).list_topics(timeout=log.TIMEOUT)
    known = cluster.topics
    configs = _configs_with_index(settings, [t for t in topics if t in known], known)
    found = {
        topic: log_durability.copies(len(cluster.brokers), replicas(known[topic]), config)
        for topic, config in configs.items()
    }
    return log_durability.advice(found)


def config_problems(topic: str, config: Mapping[str, str | None]) -> list[LogProblem]:
    """Settings under which a broker deletes or compacts records, or loses some that it has acknowledged."""
    wrong = {key: wanted for key, wanted in _WHOLE.items() if config.get(key) != wanted}
    if tiering.may_be_deleted(config):
        wrong[tiering.DELETE_ON_DISABLE] = "false"
    return [
        LogProblem(
            topic,
            f"{key}={wanted}",
            f"{key}={config.get(key)}",
            f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {key}={wanted}",
        )
        for key, wanted in wrong.items()
    ]
