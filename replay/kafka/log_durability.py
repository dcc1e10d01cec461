"""Whether a record that the broker has acknowledged outlives a disk: a topic's replicas, by the cluster's size. Pure.

The log is kept for ever, and every table is made of it: a record that is lost cannot be restored. Two disks must have
it before it is acknowledged. With three brokers that costs nothing: one may be away, and producers go on. With two
they would stop whenever one is restarted, and with one there is no second disk: there it is the operator's choice,
and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DISKS = 2
"""So many must have a record before it is acknowledged."""
BROKERS = 3
"""From so many on one of them may be away meanwhile."""
IN_SYNC = "min.insync.replicas"


@dataclass(frozen=True)
class Replication:
    """How a topic is kept."""

    brokers: int
    """That answer: one that is away makes a refusal a warning, never the other way round."""
    replicas: int
    """Of the partition that has the fewest."""
    in_sync: int | None
    """Its min.insync.replicas; None: a broker without that setting, as of those that always ask a majority."""

    @property
    def disks(self) -> int:
        """So many surely have a record that was acknowledged to a producer with acks=all."""
        return self.replicas if self.in_sync is None else min(self.replicas, self.in_sync)

    @property
    def refused(self) -> bool:
        """Whether one disk may lose a record, on a cluster that could keep it."""
        return self.disks < DISKS and self.brokers >= BROKERS

    @property
    def told(self) -> bool:
        """Whether one disk may lose a record, and the cluster is too small to do better."""
        return self.disks < DISKS and self.brokers < BROKERS

    def __str__(self) -> str:
        in_sync = "" if self.in_sync is None else f" and {IN_SYNC}={self.in_sync}"
        return f"replication factor {self.replicas}{in_sync} on {_count(self.brokers, 'broker')}"

    def fix(self, topic: str) -> str:
        """The command after which two disks have a record, and one broker may be away."""
        follow = []
        if self.replicas < BROKERS:
            follow.append(
                f"kafka-reassign-partitions with {BROKERS} replicas of each partition of {topic}"
            )
        if self.in_sync is not None and self.in_sync < DISKS:
            follow.append(
                f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config "
                f"{IN_SYNC}={DISKS}"
            )
        return "; then ".join(follow)


def wanted(replicas: int, brokers: int) -> dict[str, str]:
    """Settings of a new topic with so many replicas."""
    return {IN_SYNC: str(DISKS if replicas >= DISKS and brokers >= BROKERS else 1)}


def copies(brokers: int, replicas: int, config: Mapping[str, str | None]) -> Replication:
    """What a broker says of a topic."""
    in_sync = config.get(IN_SYNC)
    return Replication(brokers, replicas, int(in_sync) if in_sync else None)


def advice(of: Mapping[str, Replication]) -> list[str]:
    """What an operator should know of topics that their cluster cannot keep better; a line for those that are alike."""
    alike: dict[Replication, list[str]] = {}
    for topic, kept in of.items():
        if kept.told:
            alike.setdefault(kept, []).append(topic)
    return [
        f"{', '.join(topics)}: {kept}; what one disk loses is gone for good, from the log and from every replay of "
        "it: keep a backup of the broker"
        for kept, topics in alike.items()
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
