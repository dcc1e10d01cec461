"""The audit: the log's offsets below the covered position against what the tables hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa

from jobs.product import Kind, Product, Role
from replay import clock, log, query
from replay.accounting import (
    REJECTED,
    AuditReport,
    Offsets,
    PartitionAudit,
    array,
    missing,
    ranges,
    reconcile,
)
from replay.decoding import Decoder, UndecodableError
from replay.errors import RefusedError
from replay.judging import Reject, rightly_rejected, waits_until
from replay.settings import Settings

__all__ = ["AuditReport", "LogReader", "PartitionAudit", "Subject", "audit"]


@dataclass(frozen=True)
class Subject:
    """What is audited."""

    snapshots: Mapping[str, int]
    covered: Mapping[str, Mapping[int, int]]
    """Topic → partition → the offset that the checkpoint of the snapshots covers (Attempt.position_of): windows that
    the records below it close are closed."""


class LogReader(clock.Records, Protocol):
    """The log as the audit sees it."""

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        """The record's fields, apart from Flink, None when it is undecodable; raises when the registry is down."""
        ...


def audit(settings: Settings, product: Product, subject: Subject, reader: LogReader | None = None) -> AuditReport:
    """Reconcile the log's offsets below `subject.covered` with the tables at `subject.snapshots`.

    Events: below the covered offset every record is in a table, a duplicate of a row in a table, in `rejects`, a
    heartbeat, or may still be in an open window (`may_wait`). Dimensions and references: every undecodable record is in
    `rejects`; the others were read. Rejects are decoded again, apart from Flink.
    """
    if unknown := set(product.topics) - set(subject.covered):
        raise RefusedError(f"the position of product {product.name} is not known",
                           expected="covered offsets of every topic", found=f"none of {', '.join(sorted(unknown))}",
                           next="kappa status")
    with ExitStack() as stack:
        connection = stack.enter_context(query.open_tables(settings, product.name, subject.snapshots))
        if reader is None:
            schemas = {topic: product.schema_file(topic).read_text() for topic in product.topics}
            reader = _Kafka(settings, stack.enter_context(Decoder(settings, schemas)))
        tables = _Tables(connection, product)
        work = _Audit(product, subject, reader, tables, clock.at_position(product, subject.covered, reader))
        partitions: list[PartitionAudit] = []
        for topic, settings_of in product.topics.items():
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
                               expected=f"an output with a row for each of its records: SELECT … FROM "
                                        f"{self.product.sql_name(topic)}", found="none")
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
              rejected: Mapping[int, list[Reject]]) -> tuple[dict[str, list[Offsets]], Offsets]:
        """Read the missing and the rejected records: the classes of the former, the wrong ones of the latter."""
        wanted, rule, wrong = set(lost.tolist()), self.product.topics[topic], []
        heartbeats: list[int] = []
        records: dict[int, dict[str, Any]] = {}
        until: dict[int, tuple[int, int]] = {}
        absent = set(wanted)
        for start, end in ranges(np.union1d(lost, array(rejected))):
            for offset, appended, value in self.reader.read(topic, partition, start, end):
                absent.discard(offset)
                if offset in rejected:
                    if not self._rightly_rejected(topic, rejected[offset], appended, value):
                        wrong.append(offset)
                elif offset not in wanted:
                    continue
                elif value is None:
                    heartbeats.append(offset)
                elif (record := self.reader.decode(topic, value)) is not None:
                    records[offset] = record
                    until[offset] = waits_until(rule, appended, record, self.product.longest_wait)
        filtered = self.tables.filtered(topic, records)
        duplicates = self._duplicates(topic, records) - filtered
        left = set(records) - filtered - duplicates
        classes = {
            "heartbeats": heartbeats, "filtered": sorted(filtered), "duplicates": sorted(duplicates),
            "open_windows": sorted(o for o in left if until[o][0] > self.watermark),
            "may_be_ahead": sorted(o for o in left if until[o][0] <= self.watermark < until[o][1]),
            "markers": sorted(absent)}
        return {name: [array(offsets)] for name, offsets in classes.items()}, array(wrong)

    def _duplicates(self, topic: str, records: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """Of missing records, the offsets of those whose event has a row."""
        identity = self.product.topics[topic].identity
        if not records or not identity:
            return set()
        if self.tables.knowing(topic, identity):
            return self.tables.having(topic, identity, records)
        shown = self._events_of_rows(topic, identity)  # no table has the identity: the log has
        return {offset for offset, record in records.items() if _event(record, identity) in shown}

    def _events_of_rows(self, topic: str, identity: Sequence[str]) -> set[tuple[Any, ...]]:
        """The events of the records that have a row, read from the whole of the log."""
        found: set[tuple[Any, ...]] = set()
        for partition, covered in self.subject.covered[topic].items():
            rows = {int(o) for partitions, offsets in self.tables.rows(topic) for o in offsets[partitions == partition]}
            for offset, _, value in self.reader.read(topic, partition, 0, covered):
                if offset in rows and value is not None and (record := self.reader.decode(topic, value)) is not None:
                    found.add(_event(record, identity))
        return found

    def versions(self, topic: str) -> Iterator[PartitionAudit]:
        rejects = self.tables.rejects(topic)
        for partition, covered in sorted(self.subject.covered[topic].items()):
            rejected = _of_partition(rejects, partition, covered)
            classes: dict[str, list[int]] = {"versions": [], "heartbeats": []}
            absent, wrong = np.ones(covered, dtype=np.bool_), []
            for offset, appended, value in self.reader.read(topic, partition, 0, covered):
                absent[offset] = False
                if offset in rejected:
                    if not self._rightly_rejected(topic, rejected[offset], appended, value):
                        wrong.append(offset)
                elif value is None:
                    classes["heartbeats"].append(offset)
                elif self.reader.decode(topic, value) is not None:
                    classes["versions"].append(offset)
            found = {name: [array(offsets)] for name, offsets in classes.items()}
            found["markers"] = [np.flatnonzero(absent)]
            yield reconcile(topic, partition, covered, {**_by_reason(rejected), **found},
                            {"wrong_rejects": array(wrong)})

    def _rightly_rejected(self, topic: str, rejects: list[Reject], appended: int, value: bytes | None) -> bool:
        record = None if value is None else self.reader.decode(topic, value)
        return all(rightly_rejected(self.product.topics[topic], r, appended, value, record) for r in rejects)


@dataclass(frozen=True)
class _Tables:
    """The product's tables, for DuckDB."""

    connection: duckdb.DuckDBPyConnection
    product: Product

    def _named(self, kind: Kind, of: str | None = None) -> list[str]:
        return [n for n, o in self.product.outputs.items() if o.kind is kind and (of is None or of in o.of)]

    def rows(self, topic: str) -> list[tuple[Offsets, Offsets]]:
        """Per table of the topic: partitions and offsets of its rows."""
        found = []
        for table in self._named(Kind.rows, topic):
            columns = self.connection.execute(
                f'SELECT log_partition, log_offset FROM "{table}"'
                f" WHERE log_partition IS NOT NULL AND log_offset IS NOT NULL{self._of(table)}",
                self._topic_of(table, topic)).fetchnumpy()
            found.append((np.asarray(columns["log_partition"]), np.asarray(columns["log_offset"], dtype=np.int64)))
        return found

    def _of(self, table: str) -> str:
        """A condition on the rows of a table of several topics."""
        return " AND log_topic = $topic" if len(self.product.outputs[table].of) > 1 else ""

    def _topic_of(self, table: str, topic: str) -> dict[str, str]:
        return {"topic": topic} if self._of(table) else {}

    def rejects(self, topic: str) -> list[Reject]:
        return [Reject(partition, offset, str(reason), payload or b"")
                for table in self._named(Kind.rejects)
                for partition, offset, reason, payload in self.connection.execute(
                    f'SELECT log_partition, log_offset, reason, payload FROM "{table}" WHERE log_topic = $topic'
                    " AND log_partition IS NOT NULL AND log_offset IS NOT NULL", {"topic": topic}).fetchall()]

    def events_twice(self, topic: str) -> dict[int, list[int]]:
        """Partition → offsets of rows whose event is in the table at another offset too; the last of each event."""
        identity = self.product.topics[topic].identity
        found: dict[int, list[int]] = {}
        for table in self.knowing(topic, identity):
            for partition, offset in self.connection.execute(
                    f'SELECT max(log_partition), max(log_offset) FROM "{table}" WHERE TRUE{self._of(table)}'
                    f" GROUP BY {_columns(identity)}"
                    " HAVING min(log_offset) <> max(log_offset) OR min(log_partition) <> max(log_partition)",
                    self._topic_of(table, topic)).fetchall():
                found.setdefault(partition, []).append(offset)
        return {partition: sorted(offsets) for partition, offsets in found.items()}

    def having(self, topic: str, identity: Sequence[str], records: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """Of missing records (offset → fields), the offsets of those whose event has a row in a table."""
        if not records or not identity:
            return set()
        values = {c: pa.array([_plain(r[c]) for r in records.values()]) for c in identity}
        names = {c: f"c{i}" for i, c in enumerate(identity)}
        lost = pa.table({"lost_offset": pa.array(records, pa.int64()), **{names[c]: values[c] for c in identity}})
        same = " AND ".join(f'r."{c}" IS NOT DISTINCT FROM l.{names[c]}' for c in identity)
        with self._registered("lost_events", lost):
            return {offset for table in self.knowing(topic, identity) for (offset,) in self.connection.execute(
                f'SELECT l.lost_offset FROM lost_events l SEMI JOIN "{table}" r ON {same}{self._of(table)}',
                self._topic_of(table, topic)).fetchall()}

    def knowing(self, topic: str, identity: Sequence[str]) -> list[str]:
        """The tables of the topic that tell its events apart: those with every column of the identity."""
        return [name for name in self._named(Kind.rows, topic) if identity
                and {c.name for c in self.product.outputs[name].columns}.issuperset(identity)]

    def filtered(self, topic: str, records: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """Of missing records, the offsets of those that no table of the topic wants: no `where` holds of them."""
        conditions = {self.product.outputs[name].where for name in self._named(Kind.rows, topic)}
        if not records or not conditions or None in conditions:
            return set()
        columns = {name: pa.array([_plain(r[name]) for r in records.values()]) for name in next(iter(records.values()))}
        lost = pa.table({"lost_offset": pa.array(records, pa.int64()), **columns})
        with self._registered("lost_records", lost):
            unwanted = " AND ".join(f"({where}) IS NOT TRUE" for where in conditions)
            return {offset for (offset,) in self.connection.execute(
                f"SELECT lost_offset FROM lost_records WHERE {unwanted}").fetchall()}

    @contextmanager
    def _registered(self, name: str, rows: pa.Table) -> Iterator[None]:
        self.connection.register(name, rows)
        try:
            yield
        finally:
            self.connection.unregister(name)

    def stray_rows(self, covered: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
        """Per table: rows that come from no place in the log."""
        found = {}
        outputs = self.product.outputs
        for table in (*self._named(Kind.rows), *self._named(Kind.rejects)):
            of = outputs[table].of
            topic = "'{}'".format(of[0].replace("'", "''")) if len(of) == 1 else "log_topic"
            places = self.connection.execute(
                f'SELECT {topic}, log_partition, count(*), count(log_offset), min(log_offset) FROM "{table}"'
                " GROUP BY ALL").fetchall()
            if stray := sum(n if partition not in covered.get(t, {}) or (least or 0) < 0 else n - placed
                            for t, partition, n, placed, least in places):
                found[table] = stray
        return found


class _Kafka:
    """The real log and registry."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings, self._decoder = settings, decoder

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[tuple[int, int, bytes | None]]:
        for offset, timestamp, _, value in log.read_range(self._settings, topic, partition, start, end):
            yield offset, timestamp, value

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        try:
            return self._decoder.decode(topic, value)
        except UndecodableError:
            return None


def _of_partition(rejects: Iterable[Reject], partition: int, covered: int) -> dict[int, list[Reject]]:
    found: dict[int, list[Reject]] = {}
    for reject in rejects:
        if reject.partition == partition and 0 <= reject.offset < covered:
            found.setdefault(reject.offset, []).append(reject)
    return found


def _by_reason(rejected: Mapping[int, list[Reject]]) -> dict[str, list[Offsets]]:
    """Offsets of the rejects as classes, repeated when there are several rows of one offset."""
    return {name: [array(r.offset for rejects in rejected.values() for r in rejects if r.kind == name)]
            for name in REJECTED}


def _columns(names: Iterable[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)


def _event(record: Mapping[str, Any], identity: Sequence[str]) -> tuple[Any, ...]:
    """What makes two records the same event, comparable whatever its types."""
    return tuple(repr(_plain(record[c])) for c in identity)


def _plain(value: Any) -> Any:
    """A decoded value that Arrow takes: instants all in one zone."""
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo else value
