"""The arithmetic of the audit: offsets into classes, without a table or a log in sight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]

REJECTED = ("undecodable", "late", "out_of_order", "ahead", "no_time", "no_key")
CLASSES = (
    "rows",
    "duplicates",
    "filtered",
    *REJECTED,
    "heartbeats",
    "open_windows",
    "may_be_ahead",
    "versions",
    "markers",
)
"""rows: in a table of kind rows. duplicates: the same event as a row. filtered: the `where` of its table does not hold.
REJECTED: in rejects with that reason. heartbeats: no value, only the log's clock. open_windows: still waiting for its
time, or for its window to close. may_be_ahead: the same, if its computed time is later than its record, as far as
`max_ahead` allows. versions: read into a dimension or reference. markers: offsets without a record (ends of
transactions, aborted records)."""

UNACCOUNTED = "unaccounted"
SAMPLE = 10
"""Offsets that are named of each finding."""
WINDOW = 1 << 17
"""Offsets that are looked at together."""
READ_THROUGH = 50_000
"""Records between two wanted ones that are cheaper to read than to seek past."""


@dataclass(frozen=True)
class PartitionAudit:
    """One partition's offsets below the covered one, by class."""

    topic: str
    partition: int
    covered: int
    counts: Mapping[str, int]
    """Per class of CLASSES; with `unaccounted` they add up to `covered`."""
    unaccounted: int
    violations: Mapping[str, int] = field(default_factory=dict)
    """What else is wrong. offsets_twice: in two rows, or in two classes. events_twice: rows of one event.
    wrong_rejects: rejected for a reason that is not true of it, or with another payload. keys_astray: records of a key
    that another partition has too, though the topic is `keyed_by` it."""
    samples: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Some offsets of `unaccounted` and of each violation."""

    @property
    def ok(self) -> bool:
        return not self.unaccounted and not any(self.violations.values())


@dataclass(frozen=True)
class AuditReport:
    """All partitions of all topics."""

    product: str
    partitions: tuple[PartitionAudit, ...]
    stray_rows: Mapping[str, int] = field(default_factory=dict)
    """Per table: rows whose log_topic, log_partition or log_offset is not one of the log's."""

    @property
    def ok(self) -> bool:
        """Every offset is accounted for, once, and rightly."""
        return all(p.ok for p in self.partitions) and not any(self.stray_rows.values())

    @property
    def totals(self) -> dict[str, int]:
        """Over all partitions: covered, every class that occurs, unaccounted, violations."""
        counts: Counter[str] = Counter()
        for p in self.partitions:
            counts.update({"covered": p.covered, "unaccounted": p.unaccounted, **p.counts})
            counts.update(p.violations)
        return dict(counts)

    def as_dict(self) -> dict[str, Any]:
        """For --output json."""
        return {
            "product": self.product,
            "ok": self.ok,
            "totals": self.totals,
            "stray_rows": dict(self.stray_rows),
            "partitions": [
                {
                    "topic": p.topic,
                    "partition": p.partition,
                    "covered": p.covered,
                    **p.counts,
                    "unaccounted": p.unaccounted,
                    "violations": dict(p.violations),
                    "samples": {name: list(offsets) for name, offsets in p.samples.items()},
                }
                for p in self.partitions
            ],
        }


class Tally:
    """One partition, counted window by window: what is held grows with a window, not with the log."""

    def __init__(self, topic: str, partition: int, covered: int) -> None:
        self.topic, self.partition, self.covered = topic, partition, covered
        self._counts: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._samples: dict[str, list[int]] = {}

    def windows(self) -> Iterator[tuple[int, int]]:
        """Half-open ranges of offsets, in order, up to the covered one."""
        for start in range(0, self.covered, WINDOW):
            yield start, min(start + WINDOW, self.covered)

    def count(self, start: int, end: int, found: Mapping[str, Sequence[Offsets]]) -> Offsets:
        """Count every offset of a window once; those that nothing has are returned.

        `found` has, per class, one array of offsets of the window per table that they were found in; an offset repeated
        within one array or found in two classes is a violation.
        """
        classes = np.zeros(end - start, dtype=np.uint8)
        twice = np.zeros(end - start, dtype=np.bool_)
        for number, name in reversed(list(enumerate(CLASSES, start=1))):
            # rows last: they win over other classes
            for offsets in found.get(name, ()):
                times = np.bincount(offsets - start, minlength=end - start)
                present = times > 0
                twice |= (times > 1) | (present & (classes != 0) & (classes != number))
                classes[present] = number
        counts = np.bincount(classes, minlength=len(CLASSES) + 1)
        for number, name in enumerate(CLASSES, start=1):
            self.add(name, int(counts[number]))
        self.wrong("offsets_twice", np.flatnonzero(twice) + start)
        return np.flatnonzero(classes == 0) + start

    def add(self, name: str, count: int) -> None:
        """So many offsets, counted nowhere else, are of a class."""
        self._counts[name] += count

    def wrong(self, name: str, offsets: Offsets) -> None:
        """A violation at these offsets."""
        self.wrong_ones(name, len(offsets), offsets[:SAMPLE].tolist())

    def wrong_ones(self, name: str, count: int, samples: Iterable[int]) -> None:
        """A violation, or `unaccounted`, so often; the first offsets of it."""
        self._wrong[name] += count
        known = [*self._samples.get(name, ()), *samples]
        self._samples[name] = sorted(known)[:SAMPLE]

    def result(self) -> PartitionAudit:
        """What is in no class is not accounted for."""
        counts = {name: self._counts[name] for name in CLASSES if self._counts[name]}
        return PartitionAudit(
            self.topic,
            self.partition,
            self.covered,
            counts=counts,
            unaccounted=self.covered - sum(counts.values()),
            violations={name: n for name, n in self._wrong.items() if n and name != UNACCOUNTED},
            samples={name: tuple(offsets) for name, offsets in self._samples.items() if offsets},
        )


def ranges(offsets: Offsets, read_through: int = READ_THROUGH) -> Iterator[tuple[int, int]]:
    """Half-open ranges that contain all the offsets (ascending), joined where the gap is small."""
    if len(offsets):
        for part in np.split(offsets, np.flatnonzero(np.diff(offsets) > read_through) + 1):
            yield int(part[0]), int(part[-1]) + 1


def array(offsets: Iterable[int]) -> Offsets:
    """Offsets as numpy has them."""
    return np.fromiter(offsets, dtype=np.int64)
