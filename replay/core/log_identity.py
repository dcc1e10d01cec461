"""Whether the log is the one that an attempt has read: its topics, and records that stood below its positions. Pure.

A topic that was deleted and made again has another id. One that lost its end, to an unclean election or a disk, and was
filled again, has the same id and the same offsets, and other records under some of them. `log_marks` asks the broker.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True)
class LogMark:
    """A record that was in the log."""

    offset: int
    digest: str

    @classmethod
    def of(cls, offset: int, timestamp: int, key: bytes | None, value: bytes | None) -> Self:
        """Of its time, key and value."""
        crc = zlib.crc32(str(timestamp).encode())
        for part in (key, value):
            crc = zlib.crc32(b"-" if part is None else b"+" + part, crc)
        return cls(offset, f"{crc:08x}")


@dataclass(frozen=True)
class Topic:
    """A topic as an attempt has read it."""

    id: str
    marks: Mapping[int, LogMark] = field(default_factory=dict)
    """Partition → one of the newest records that it has read."""
    partitions: int | None = None
    """Their number when the attempt began to read it; None: an earlier version did not record it."""
    told: int | None = None
    """Their number when a person was last informed of a change."""

    @property
    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return {
            "id": self.id,
            "marks": {str(p): [mark.offset, mark.digest] for p, mark in self.marks.items()},
            "partitions": self.partitions,
            "told": self.told,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse."""
        return cls(
            data["id"],
            {int(p): LogMark(offset, digest) for p, (offset, digest) in data["marks"].items()},
            data.get("partitions"),
            data.get("told"),
        )

    def since(self, before: Topic | None) -> Topic:
        """With what is known of how many partitions it had at first."""
        if before is None or before.partitions is None:
            return self
        return replace(self, partitions=before.partitions, told=before.told)


Identity = Mapping[str, Topic]
"""Topic → what it was."""


def continued(known: Identity, now: Identity) -> Identity:
    """The log as it is now, of an attempt that has known it as it was."""
    return {topic: found.since(known.get(topic)) for topic, found in now.items()}


def other_topics(known: Identity, ids: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with topics by their ids: those that are gone, and those that were made again."""
    gone = [f"topic {topic} is gone" for topic in known if topic not in ids]
    again = [
        f"topic {topic} was deleted and made again: its id was {was.id} and is {ids[topic]}"
        for topic, was in known.items()
        if topic in ids and ids[topic] != was.id
    ]
    return (*gone, *again)


def other_record(topic: str, partition: int, mark: LogMark, found: LogMark | None) -> str:
    """What is wrong with a partition by a record that it had; empty: nothing."""
    if found == mark:
        return ""
    there = "no record any more" if found is None else "another record than was read"
    return f"partition {partition} of topic {topic} lost records: at offset {mark.offset} there is {there}"
