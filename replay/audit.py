"""The audit: the log's offsets below the covered position against what the tables hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa

from jobs.product import Kind, Product, Role, seconds
from replay import clock, log, query
from replay.accounting import (
    AuditReport,
    Offsets,
    PartitionAudit,
    array,
    missing,
    ranges,
    reconcile,
)
from replay.errors import RefusedError
from replay.settings import Settings

__all__ = ["AuditReport", "LogReader", "PartitionAudit", "Subject", "audit"]


@dataclass(frozen=True)
class Subject:
    """What is audited: the snapshots, and the offsets that they are known to cover.

    `covered` (topic → partition → first offset not covered) must have been read before the checkpoint of the snapshots
    was taken, e.g. at the checkpoint before: the source emits its watermark a moment after the records behind it.
    """

    snapshots: Mapping[str, int]
    covered: Mapping[str, Mapping[int, int]]


class LogReader(clock.Records, Protocol):
    """The log as the audit sees it."""

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        """The record's fields by fastavro, None when it is undecodable; raises when the registry is down."""
        ...


def audit(settings: Settings, product: Product, subject: Subject, reader: LogReader | None = None) -> AuditReport:
    """Reconcile the log's offsets below `subject.covered` with the tables at `subject.snapshots`.

    Events: below the covered offset every record is in a table, a duplicate of a row in a table, in `rejects`, a
    heartbeat, or may still be in an open window (`may_wait`). Dimensions and references: every undecodable record is in
    `rejects`; the others were read. Rejects are decoded again, by fastavro.
    """
    if unknown := set(product.settings.topics) - set(subject.covered):
        raise RefusedError(f"the position of product {product.name} is not known",
                           expected="covered offsets of every topic", found=f"none of {', '.join(sorted(unknown))}",
                           next="kappa status")
    with log.Decoder(settings) as decoder, query.open_tables(settings, product.name, subject.snapshots) as connection:
        reader = reader or _Kafka(settings, decoder)
        tables = _Tables(connection, product)
        work = _Audit(product, subject, reader, tables, clock.at_position(product, subject.covered, reader))
        partitions: list[PartitionAudit] = []
        for topic, settings_of in product.settings.topics.items():
            one = work.events if settings_of.role is Role.events else work.versions
            partitions += one(topic)
        return AuditReport(product.name, tuple(partitions), tables.stray_rows(subject.covered))


@dataclass(frozen=True)
class _Audit:
    """One audit: what it reads from, and one method per kind of topic."""

    product: Product
    subject: Subject
    reader: LogReader
    tables: _Tables
    watermark: float

    def events(self, topic: str) -> Iterator[PartitionAudit]:
        rows = self.tables.rows(topic)
        if not rows:
            raise RefusedError(f"topic {topic} cannot be accounted for", next="add one to product.yaml",
                               expected=f"an output of kind rows with 'of: {topic}'", found="none")
        rejects = self.tables.rejects(topic)
        events_twice = self.tables.events_twice(topic)
        for partition, covered in sorted(self.subject.covered[topic].items()):
            rejected = _of_partition(rejects, partition, covered)
            found: dict[str, list[Offsets]] = {
                "rows": [offsets[partitions == partition] for partitions, offsets in rows], **_by_reason(rejected)}
            lost = missing(covered, (offsets for arrays in found.values() for offsets in arrays))
            found_in_log, wrong = self._look(topic, partition, lost, rejected)
            yield reconcile(topic, partition, covered, {**found, **found_in_log},
                            {"wrong_rejects": wrong, "events_twice": array(events_twice.get(partition, ()))})

    def _look(self, topic: str, partition: int, lost: Offsets,
              rejected: Mapping[int, list[_Reject]]) -> tuple[dict[str, list[Offsets]], Offsets]:
        """Read the missing and the rejected records: the classes of the former, the wrong ones of the latter."""
        wanted, wrong = set(lost.tolist()), []
        identity = self.product.settings.topics[topic].identity
        classes: dict[str, list[int]] = {name: [] for name in ("duplicates", "heartbeats", "open_windows")}
        events: list[tuple[int, tuple[Any, ...]]] = []
        waiting: set[int] = set()
        absent = set(wanted)
        for start, end in ranges(np.union1d(lost, array(rejected))):
            for offset, appended, value in self.reader.read(topic, partition, start, end):
                absent.discard(offset)
                if offset in rejected:
                    if not self._rightly_rejected(topic, rejected[offset], value):
                        wrong.append(offset)
                elif offset not in wanted:
                    continue
                elif value is None:
                    classes["heartbeats"].append(offset)
                elif (record := self.reader.decode(topic, value)) is not None:
                    events.append((offset, tuple(record[c] for c in identity)))
                    if clock.may_wait(appended, seconds(self.product.settings.longest_wait), self.watermark):
                        waiting.add(offset)
        duplicates = self.tables.having(topic, identity, events)
        classes["duplicates"] = sorted(duplicates)
        classes["open_windows"] = sorted(waiting - duplicates)
        classes["markers"] = sorted(absent)
        return {name: [array(offsets)] for name, offsets in classes.items()}, array(wrong)

    def versions(self, topic: str) -> Iterator[PartitionAudit]:
        rejects = self.tables.rejects(topic)
        for partition, covered in sorted(self.subject.covered[topic].items()):
            rejected = _of_partition(rejects, partition, covered)
            classes: dict[str, list[int]] = {"versions": [], "heartbeats": []}
            absent, wrong = np.ones(covered, dtype=np.bool_), []
            for offset, _, value in self.reader.read(topic, partition, 0, covered):
                absent[offset] = False
                if offset in rejected:
                    if not self._rightly_rejected(topic, rejected[offset], value):
                        wrong.append(offset)
                elif value is None:
                    classes["heartbeats"].append(offset)
                elif self.reader.decode(topic, value) is not None:
                    classes["versions"].append(offset)
            found = {name: [array(offsets)] for name, offsets in classes.items()}
            found["markers"] = [np.flatnonzero(absent)]
            yield reconcile(topic, partition, covered, {**_by_reason(rejected), **found},
                            {"wrong_rejects": array(wrong)})

    def _rightly_rejected(self, topic: str, rejects: list[_Reject], value: bytes | None) -> bool:
        """The payload is the record's, and it is undecodable or decodable just as the reason says."""
        if value is None:
            return False
        undecodable = self.reader.decode(topic, value) is None
        return all(r.payload == value and r.late != undecodable for r in rejects)


@dataclass(frozen=True)
class _Reject:
    """One row of the rejects table."""

    partition: int
    offset: int
    late: bool
    payload: bytes


@dataclass(frozen=True)
class _Tables:
    """The product's tables, for DuckDB."""

    connection: duckdb.DuckDBPyConnection
    product: Product

    def _named(self, kind: Kind, of: str | None = None) -> list[str]:
        return [n for n, o in self.product.settings.outputs.items() if o.kind is kind and (of is None or o.of == of)]

    def rows(self, topic: str) -> list[tuple[Offsets, Offsets]]:
        """Per table of the topic: partitions and offsets of its rows."""
        found = []
        for table in self._named(Kind.rows, topic):
            columns = self.connection.execute(
                f'SELECT log_partition, log_offset FROM "{table}"'
                " WHERE log_partition IS NOT NULL AND log_offset IS NOT NULL").fetchnumpy()
            found.append((np.asarray(columns["log_partition"]), np.asarray(columns["log_offset"], dtype=np.int64)))
        return found

    def rejects(self, topic: str) -> list[_Reject]:
        return [_Reject(partition, offset, str(reason).startswith("late"), payload or b"")
                for table in self._named(Kind.rejects)
                for partition, offset, reason, payload in self.connection.execute(
                    f'SELECT log_partition, log_offset, reason, payload FROM "{table}" WHERE log_topic = $topic'
                    " AND log_partition IS NOT NULL AND log_offset IS NOT NULL", {"topic": topic}).fetchall()]

    def events_twice(self, topic: str) -> dict[int, list[int]]:
        """Partition → offsets of rows whose event is in the table at another offset too; the last of each event."""
        identity = self.product.settings.topics[topic].identity
        found: dict[int, list[int]] = {}
        for table in self._named(Kind.rows, topic) if identity else ():
            for partition, offset in self.connection.execute(
                    f'SELECT max(log_partition), max(log_offset) FROM "{table}" GROUP BY {_columns(identity)}'
                    " HAVING min(log_offset) <> max(log_offset) OR min(log_partition) <> max(log_partition)"
                    ).fetchall():
                found.setdefault(partition, []).append(offset)
        return {partition: sorted(offsets) for partition, offsets in found.items()}

    def having(self, topic: str, identity: Sequence[str], events: Sequence[tuple[int, tuple[Any, ...]]]) -> set[int]:
        """Of the events (offset, values of the identity columns), the offsets of those with a row in a table."""
        if not events or not identity:
            return set()
        names = [f"c{i}" for i in range(len(identity))]
        values = [pa.array([_plain(event[i]) for _, event in events]) for i in range(len(identity))]
        self.connection.register("lost_events", pa.Table.from_arrays(
            [pa.array([offset for offset, _ in events], pa.int64()), *values], names=["lost_offset", *names]))
        same = " AND ".join(f'r."{c}" IS NOT DISTINCT FROM l.{n}' for c, n in zip(identity, names, strict=True))
        try:
            return {offset for table in self._named(Kind.rows, topic) for (offset,) in self.connection.execute(
                f'SELECT l.lost_offset FROM lost_events l SEMI JOIN "{table}" r ON {same}').fetchall()}
        finally:
            self.connection.unregister("lost_events")

    def stray_rows(self, covered: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
        """Per table: rows that come from no place in the log."""
        found = {}
        outputs = self.product.settings.outputs
        for table in (*self._named(Kind.rows), *self._named(Kind.rejects)):
            topic = f"'{outputs[table].of}'" if outputs[table].kind is Kind.rows else "log_topic"
            places = self.connection.execute(
                f'SELECT {topic}, log_partition, count(*), count(log_offset), min(log_offset) FROM "{table}"'
                " GROUP BY ALL").fetchall()
            if stray := sum(n if partition not in covered.get(t, {}) or (least or 0) < 0 else n - placed
                            for t, partition, n, placed, least in places):
                found[table] = stray
        return found


class _Kafka:
    """The real log and registry."""

    def __init__(self, settings: Settings, decoder: log.Decoder) -> None:
        self._settings, self._decoder = settings, decoder

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[tuple[int, int, bytes | None]]:
        for offset, timestamp, _, value in log.read_range(self._settings, topic, partition, start, end):
            yield offset, timestamp, value

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        try:
            return self._decoder.decode(value)
        except log.UndecodableError:
            return None


def _of_partition(rejects: Iterable[_Reject], partition: int, covered: int) -> dict[int, list[_Reject]]:
    found: dict[int, list[_Reject]] = {}
    for reject in rejects:
        if reject.partition == partition and 0 <= reject.offset < covered:
            found.setdefault(reject.offset, []).append(reject)
    return found


def _by_reason(rejected: Mapping[int, list[_Reject]]) -> dict[str, list[Offsets]]:
    """Offsets of the rejects as classes, repeated when there are several rows of one offset."""
    return {name: [array(r.offset for rejects in rejected.values() for r in rejects if r.late is late)]
            for name, late in (("late", True), ("undecodable", False))}


def _columns(names: Iterable[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)


def _plain(value: Any) -> Any:
    """A value of fastavro that Arrow takes: instants all in one zone."""
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo else value
