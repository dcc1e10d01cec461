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
CLASSES = ("rows", "duplicates", "filtered", *REJECTED, "heartbeats", "open_windows", "may_be_ahead", "versions",
           "markers")
"""rows: in a table of kind rows. duplicates: the same event as a row. filtered: the `where` of its table does not hold.
REJECTED: in rejects with that reason. heartbeats: no value, only the log's clock. open_windows: still waiting for its
time, or for its window to close. may_be_ahead: the same, if its computed time is later than its record, as far as
`max_ahead` allows. versions: read into a dimension or reference. markers: offsets without a record (ends of
transactions, aborted records)."""

_SAMPLE = 10
_READ_THROUGH = 50_000
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
    wrong_rejects: rejected for a reason that is not true of it, or with another payload."""
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
            "product": self.product, "ok": self.ok, "totals": self.totals, "stray_rows": dict(self.stray_rows),
            "partitions": [{
                "topic": p.topic, "partition": p.partition, "covered": p.covered, **p.counts,
                "unaccounted": p.unaccounted, "violations": dict(p.violations),
                "samples": {name: list(offsets) for name, offsets in p.samples.items()},
            } for p in self.partitions],
        }


def reconcile(topic: str, partition: int, covered: int, found: Mapping[str, Sequence[Offsets]],
              violations: Mapping[str, Offsets] | None = None) -> PartitionAudit:
    """Count every offset below `covered` once.

    `found` has, per class, one array of offsets per table that they were found in; an offset repeated within one array
    or found in two classes is a violation. Offsets from `covered` on are left to a later audit.
    """
    classes = np.zeros(covered, dtype=np.uint8)
    twice = np.zeros(covered, dtype=np.bool_)
    for number, name in reversed(list(enumerate(CLASSES, start=1))):  # rows last: they win over other classes
        for offsets in found.get(name, ()):
            times = np.bincount(offsets[(offsets >= 0) & (offsets < covered)], minlength=covered)
            present = times > 0
            twice |= (times > 1) | (present & (classes != 0) & (classes != number))
            classes[present] = number
    counts = np.bincount(classes, minlength=len(CLASSES) + 1)
    wrong = {"offsets_twice": np.flatnonzero(twice), **(violations or {})}
    samples = {"unaccounted": np.flatnonzero(classes == 0)[:_SAMPLE], **{n: o[:_SAMPLE] for n, o in wrong.items()}}
    return PartitionAudit(
        topic, partition, covered,
        counts={name: int(counts[number]) for number, name in enumerate(CLASSES, start=1) if counts[number]},
        unaccounted=int(counts[0]),
        violations={name: len(offsets) for name, offsets in wrong.items() if len(offsets)},
        samples={name: tuple(int(o) for o in offsets) for name, offsets in samples.items() if len(offsets)})


def missing(covered: int, found: Iterable[Offsets]) -> Offsets:
    """Offsets below `covered` that are in none of the arrays, ascending."""
    unseen = np.ones(covered, dtype=np.bool_)
    for offsets in found:
        unseen[offsets[(offsets >= 0) & (offsets < covered)]] = False
    return np.flatnonzero(unseen)


def ranges(offsets: Offsets, read_through: int = _READ_THROUGH) -> Iterator[tuple[int, int]]:
    """Half-open ranges that contain all the offsets (ascending), joined where the gap is small."""
    if len(offsets):
        for part in np.split(offsets, np.flatnonzero(np.diff(offsets) > read_through) + 1):
            yield int(part[0]), int(part[-1]) + 1


def array(offsets: Iterable[int]) -> Offsets:
    """Offsets as numpy has them."""
    return np.fromiter(offsets, dtype=np.int64)
