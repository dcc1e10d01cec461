"""What the broker says of a log's identity: topics' ids, leaders' epochs, and records that are remembered."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from replay.core.log_identity import Identity, LogMark, Topic, other_record, other_topics
from replay.kafka import log
from replay.offsets import Offsets
from replay.settings import Settings

_BACK = 64
"""Offsets below a position in which a record is looked for: some hold none, such as transaction markers."""

Epochs = Mapping[str, Mapping[int, int | None]]


def identity(settings: Settings, topics: Collection[str], positions: Offsets) -> dict[str, Topic]:
    """Topics as they are now, each with a record below these positions."""
    found = {}
    for topic, described in log.descriptions(settings, topics).items():
        count = len(described.partitions)
        marks = dict(_marks(settings, topic, positions.get(topic, {})))
        found[topic] = Topic(str(described.topic_id), marks, count, count)
    return found


def _marks(
    settings: Settings, topic: str, positions: Mapping[int, int]
) -> Iterator[tuple[int, LogMark]]:
    for partition, position in positions.items():
        last = None
        for record in log.read_range(
            settings, topic, partition, max(0, position - _BACK), position
        ):
            last = record
        if last is not None:
            yield partition, LogMark.of(*last)


class Watch:
    """Looks whether the log is still the one that was read, cheaply: records only where a leader is another one.

    No record is lost to another one unless its partition elects a new leader.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._epochs: dict[str, tuple[Identity, Epochs]] = {}
        """Of whose log → what was found to be as it was, and under which leaders."""

    def changes(self, whose: str, known: Identity) -> tuple[str, ...]:
        """How the log differs from what is known of it; empty: it does not."""
        if not known:
            return ()
        if wrong := other_topics(known, log.topic_ids(self._settings, list(known))):
            return wrong
        now: tuple[Identity, Epochs] = known, log.leader_epochs(self._settings, known)
        if self._epochs.get(whose) != now:
            if wrong := tuple(self._other_records(known)):
                return wrong
            self._epochs[whose] = now
        return ()

    def _other_records(self, known: Identity) -> Iterator[str]:
        for topic, was in known.items():
            ends = log.end_offsets(self._settings, [topic])[topic]
            for partition, mark in was.marks.items():
                is_there = mark.offset < ends.get(partition, 0)
                records = log.read_range(
                    self._settings, topic, partition, mark.offset, mark.offset + 1
                )
                found = [LogMark.of(*record) for record in (records if is_there else ())]
                if wrong := other_record(topic, partition, mark, found[0] if found else None):
                    yield wrong
