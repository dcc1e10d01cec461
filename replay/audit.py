"""Accounting: every offset below the covered position is in exactly one class, or is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.product import Product
from replay.settings import Settings


@dataclass(frozen=True)
class Subject:
    """What is audited: the snapshots, and the offsets that they are known to cover.

    `covered` (topic → partition → first offset not covered) must have been read before the checkpoint of the snapshots
    was taken, e.g. at the checkpoint before: the source emits its watermark a moment after the records behind it.
    """

    snapshots: Mapping[str, int]
    covered: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class PartitionAudit:
    """One partition's offsets below the covered one, by class."""

    topic: str
    partition: int
    covered: int
    counts: Mapping[str, int]
    """rows, duplicates, late, undecodable, heartbeats, open_windows, versions, markers"""
    unaccounted: int
    violations: Mapping[str, int] = field(default_factory=dict)
    """What is wrong besides: offsets_twice, wrong_rejects, …"""
    samples: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Some offsets of `unaccounted` and of each violation."""


@dataclass(frozen=True)
class AuditReport:
    """All partitions of all topics."""

    product: str
    partitions: tuple[PartitionAudit, ...]

    @property
    def ok(self) -> bool:
        """Every offset is accounted for, once, and rightly."""
        return not any(p.unaccounted or any(p.violations.values()) for p in self.partitions)

    def as_dict(self) -> dict[str, Any]:
        """For --output json."""
        raise NotImplementedError


def audit(settings: Settings, product: Product, subject: Subject) -> AuditReport:
    """Reconcile the log's offsets below `subject.covered` with the tables at `subject.snapshots`."""
    raise NotImplementedError
