"""The audit: the log's offsets below the covered position against what the tables hold.

Neither the log nor the tables are ever held as a whole. DuckDB sorts the places of rows and rejects and spills what
does not fit; the log is read beside them, window by window; records that no table has are spooled until all are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import numpy as np

from jobs.product.folder import Product
from jobs.product.model import REJECTS, Kind, Role
from replay.audit import places
from replay.audit.accounting import (
    SAMPLE,
    UNACCOUNTED,
    AuditReport,
    Offsets,
    PartitionAudit,
    Tally,
    array,
    ranges,
)
from replay.audit.forward import Forward
from replay.audit.judging import Reject, rightly_rejected, waits_until
from replay.audit.lost import LostRecords, event_of, knowing, of_topic, tables_of
from replay.audit.places import Places, Rejected
from replay.audit.spool import Spool, digest
from replay.errors import RefusedError
from replay.kafka import clock, log
from replay.kafka.decoding import Decoder, Keyed, UndecodableError, readers
from replay.offsets import partitions as places_of
from replay.query import query
from replay.query.grouping import grouped
from replay.settings import Settings

__all__ = ["AuditReport", "AuditSubject", "LogReader", "PartitionAudit", "audit"]


@dataclass(frozen=True)
class AuditSubject:
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


def audit(
    settings: Settings, product: Product, subject: AuditSubject, reader: LogReader | None = None
) -> AuditReport:
    """Reconcile the log's offsets below `subject.covered` with the tables at `subject.snapshots`.

    Events: below the covered offset every record is in a table, a duplicate of a row in a table, in `rejects`, a
    heartbeat, or may still be in an open window (`may_wait`). Dimensions and references: every undecodable record is in
    `rejects`; the others were read. Rejects are decoded again, apart from Flink.
    """
    if unknown := set(product.topics) - set(subject.covered):
        raise RefusedError(
            f"the position of product {product.name} is not known",
            expected="covered offsets of every topic",
            found=f"none of {', '.join(sorted(unknown))}",
            next="kappa status",
        )
    with ExitStack() as stack:
        offsets = sum(covered for _, _, covered in places_of(subject.covered))
        connection = stack.enter_context(
            query.open_tables(
                settings, product.name, subject.snapshots, memory_mb=query.sorting_mb(offsets)
            )
        )
        if reader is None:
            decoder = stack.enter_context(Decoder(settings, readers(product)))
            reader = _Kafka(settings, decoder)
        tables = _Tables(connection, product)
        work = _Audit(
            settings,
            product,
            subject,
            reader,
            tables,
            clock.at_position(product, subject.covered, reader),
        )
        tallies: list[Tally] = []
        for topic, settings_of in product.topics.items():
            tallies += (
                work.events(topic) if settings_of.role is Role.events else work.versions(topic)
            )
        return AuditReport(
            product.name, tuple(t.result() for t in tallies), tables.stray_rows(subject.covered)
        )


_Accepted = Callable[[int, int, int, Mapping[str, Any]], None]
"""What happens to a record that decodes and that no table has: partition, offset, timestamp, fields."""


@dataclass(frozen=True)
class _Audit:
    """One audit: what it reads from, and one method per kind of topic."""

    settings: Settings
    product: Product
    subject: AuditSubject
    reader: LogReader
    tables: _Tables
    watermark: float

    def events(self, topic: str) -> list[Tally]:
        if not tables_of(self.product, topic):
            raise RefusedError(
                f"topic {topic} cannot be accounted for",
                next="add one to product.yaml",
                expected=f"an output with a row for each of its records: SELECT … FROM "
                f"{self.product.sql_name(topic)}",
                found="none",
            )
        rule, wait = self.product.topics[topic], self.product.longest_wait
        lost = LostRecords(self.product, topic, self.settings.spill, self.settings.queries)

        def accepted(partition: int, offset: int, appended: int, record: Mapping[str, Any]) -> None:
            lost.add(partition, offset, waits_until(rule, appended, record, wait), record)

        with lost:
            tallies = self._tallies(topic, self.tables.rows(topic), accepted)
            self._classify(topic, lost, tallies)
        for partition, count, samples in self.tables.events_twice(topic):
            if partition in tallies:
                tallies[partition].wrong_ones("events_twice", count, samples)
        for partition, count, samples in self._astray(topic):
            tallies[partition].wrong_ones("keys_astray", count, samples)
        return list(tallies.values())

    def versions(self, topic: str) -> list[Tally]:
        """Every record of a dimension or reference is read back."""

        def accepted(partition: int, *_: object) -> None:
            tallies[partition].add("versions", 1)

        tallies: dict[int, Tally] = {}
        self._tallies(topic, [], accepted, tallies)
        return list(tallies.values())

    def _tallies(
        self,
        topic: str,
        rows: Sequence[Places],
        accepted: _Accepted,
        tallies: dict[int, Tally] | None = None,
    ) -> dict[int, Tally]:
        """Partition → its tally, for which the missing and the rejected records were read."""
        tallies = {} if tallies is None else tallies
        rejects = self.tables.rejects(topic)
        for partition, covered in sorted(self.subject.covered[topic].items()):
            tally = tallies[partition] = Tally(topic, partition, covered)
            with Forward(self.reader, topic, partition, covered) as records:
                for start, end in tally.windows():
                    rejected = Rejected.of(rejects.take(partition, end))
                    lost = tally.count(
                        start,
                        end,
                        {
                            "rows": [table.offsets(partition, end) for table in rows],
                            **rejected.by_reason(),
                        },
                    )
                    self._read(tally, records, lost, rejected, accepted)
        return tallies

    def _read(  # noqa: C901 - three sorted streams are merged
        self, tally: Tally, records: Forward, lost: Offsets, rejected: Rejected, accepted: _Accepted
    ) -> None:
        """Of a window, count each record that is missing, and judge each that was rejected."""
        wanted, groups = iter(lost.tolist()), rejected.groups()
        missing, reject = next(wanted, None), next(groups, None)
        heartbeats = markers = 0
        wrong: list[int] = []
        unexplained: list[int] = []
        for start, end in ranges(np.union1d(lost, rejected.offsets)):
            for offset, appended, value in records.between(start, end):
                while missing is not None and missing < offset:
                    markers, missing = markers + 1, next(wanted, None)
                while reject is not None and reject[0] < offset:
                    wrong.append(reject[0])  # of no record at all
                    reject = next(groups, None)
                if reject is not None and reject[0] == offset:
                    if not self._rightly_rejected(tally.topic, reject[1], appended, value):
                        wrong.append(offset)
                    if missing == offset:  # for a reason that is no class
                        unexplained.append(offset)
                        missing = next(wanted, None)
                    reject = next(groups, None)
                    continue
                if missing != offset:
                    continue
                missing = next(wanted, None)
                if value is None:
                    heartbeats += 1
                elif (record := self.reader.decode(tally.topic, value)) is not None:
                    accepted(tally.partition, offset, appended, record)
                else:
                    unexplained.append(offset)
        markers += sum(1 for _ in wanted) + (missing is not None)
        wrong += [offset for offset, _ in ([reject, *groups] if reject else ())]
        tally.add("heartbeats", heartbeats)
        tally.add("markers", markers)
        tally.wrong("wrong_rejects", array(wrong))
        tally.wrong(UNACCOUNTED, array(unexplained))

    def _rightly_rejected(
        self, topic: str, rejects: list[Reject], appended: int, value: bytes | None
    ) -> bool:
        record = None if value is None else self.reader.decode(topic, value)
        return all(
            rightly_rejected(self.product.topics[topic], r, appended, value, record)
            for r in rejects
        )

    def _classify(self, topic: str, lost: LostRecords, tallies: Mapping[int, Tally]) -> None:
        with ExitStack() as stack:
            shown = stack.enter_context(self._events_of_rows(topic)) if lost.needs_shown else None
            for found in lost.classified(self.tables.connection, self.watermark, shown):
                if found.name == UNACCOUNTED:
                    tallies[found.partition].wrong_ones(UNACCOUNTED, found.count, found.samples)
                else:
                    tallies[found.partition].add(found.name, found.count)

    def _events_of_rows(self, topic: str) -> Spool:
        """Digests of the events of the records that have a row, read from the whole of the log."""
        identity = self.product.topics[topic].identity
        found = Spool(self.settings.spill, ("high", "low"))
        tables = self.tables.rows(topic)
        for partition, covered in sorted(self.subject.covered[topic].items()):
            with Forward(self.reader, topic, partition, covered) as records:
                for start, end in Tally(topic, partition, covered).windows():
                    shown = np.unique(np.concatenate([t.offsets(partition, end) for t in tables]))
                    wanted = set(shown.tolist())
                    for offset, _, value in records.between(start, end):
                        if (
                            offset in wanted
                            and value is not None
                            and (record := self.reader.decode(topic, value)) is not None
                        ):
                            found.add(digest(event_of(record, identity)))
        return found

    def _astray(self, topic: str) -> list[tuple[int, int, list[int]]]:
        """Partition, how many keys there another partition before it has too, against `keyed_by`, and first offsets."""
        columns = self.product.topics[topic].keyed_by
        if not columns:
            return []
        with Spool(self.settings.spill, ("part", "off", "high", "low")) as keys:
            for partition, covered in sorted(self.subject.covered[topic].items()):
                for offset, _, value in self.reader.read(topic, partition, 0, covered):
                    if (
                        value is not None
                        and (record := self.reader.decode(topic, value)) is not None
                    ):
                        keys.add((partition, offset, *digest(event_of(record, columns))))
            return self.tables.in_several_partitions(keys)


@dataclass(frozen=True)
class _Tables:
    """The product's tables, for DuckDB."""

    connection: duckdb.DuckDBPyConnection
    product: Product

    def rows(self, topic: str) -> list[Places]:
        """Per table of the topic: the places of its rows."""
        return [
            Places(
                self.connection,
                places.of_rows(self._view(table), of_topic(self.product, table)),
                self._topic_of(table, topic),
            )
            for table in tables_of(self.product, topic)
        ]

    def rejects(self, topic: str) -> Places:
        return Places(self.connection, places.of_rejects(self._view(REJECTS)), {"topic": topic})

    def events_twice(self, topic: str) -> list[tuple[int, int, list[int]]]:
        """Partition, how many rows there have an event that is in the table at another offset too, and first offsets;
        the last row of each event."""
        return [
            row
            for table in knowing(self.product, topic)
            for row in self._events_twice(table, topic)
        ]

    def _events_twice(self, table: str, topic: str) -> list[tuple[int, int, list[int]]]:
        """Events are few that share the hash of another row's, and the others take no memory beside it."""
        identity = ", ".join(f'"{c}"' for c in self.product.topics[topic].identity)
        source = f"{self._view(table)} WHERE TRUE{of_topic(self.product, table)}"
        parameters = self._topic_of(table, topic)
        [(rows,)] = self.connection.execute(f"SELECT count(*) FROM {source}", parameters).fetchall()
        repeated = grouped(
            self.connection,
            "repeated",
            f"SELECT hash({identity}) AS event FROM {source} AND"
            f" hash({identity}) % {{parts}} = {{part}} GROUP BY ALL HAVING count(*) > 1",
            rows,
            parameters,
        )
        if not repeated:
            return []
        return self.connection.execute(
            f"""
            SELECT part, count(*), min(off, {SAMPLE}) FROM (
                SELECT max(log_partition) AS part, max(log_offset) AS off FROM {source}
                AND hash({identity}) IN (FROM repeated) GROUP BY {identity}
                HAVING min(log_offset) <> max(log_offset) OR min(log_partition) <> max(log_partition))
            GROUP BY part""",
            parameters,
        ).fetchall()

    def in_several_partitions(self, keys: Spool) -> list[tuple[int, int, list[int]]]:
        """Per partition the keys that one before it has, each at its first offset there."""
        if not keys.count:
            return []
        keys.into(self.connection, "keys")
        firsts = grouped(
            self.connection,
            "firsts",
            "SELECT high, low, part, min(off) AS off FROM keys"
            " WHERE hash(high) % {parts} = {part} GROUP BY ALL",
            keys.count,
        )
        self.connection.execute("DROP TABLE keys")
        grouped(
            self.connection,
            "several",
            "SELECT high, low, min(part) AS home FROM firsts"
            " WHERE hash(high) % {parts} = {part} GROUP BY ALL HAVING count(*) > 1",
            firsts,
        )
        found = self.connection.execute(f"""
            SELECT part, count(*), min(off, {SAMPLE}) FROM firsts JOIN several USING (high, low) WHERE part <> home
            GROUP BY part""").fetchall()
        self.connection.execute("DROP TABLE firsts")
        return found

    def stray_rows(self, covered: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
        """Per table: rows that come from no place in the log."""
        found = {}
        known = list(places_of(covered))
        for table, output in self.product.outputs.items():
            if output.kind not in (Kind.rows, Kind.rejects):
                continue
            topic = (
                "'{}'".format(output.of[0].replace("'", "''"))
                if len(output.of) == 1
                else "log_topic"
            )
            (stray,) = self.connection.execute(
                f"""
                WITH known AS (SELECT unnest($topics::VARCHAR[]) AS topic, unnest($parts::INTEGER[]) AS part)
                SELECT count(*) FROM {self._view(table)} r ANTI JOIN known
                ON known.topic = {topic} AND known.part = r.log_partition AND r.log_offset >= 0""",
                {"topics": [t for t, _, _ in known], "parts": [p for _, p, _ in known]},
            ).fetchall()[0]
            if stray:
                found[table] = stray
        return found

    def _view(self, table: str) -> str:
        """With its schema: temporary tables may have the same name."""
        return f'"{self.product.name}"."{table}"'

    def _topic_of(self, table: str, topic: str) -> dict[str, str]:
        return {"topic": topic} if of_topic(self.product, table) else {}


class _Kafka:
    """The real log and registry."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings, self._decoder = settings, decoder

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        keyed = self._decoder.has_key(topic)
        for offset, timestamp, key, value in log.read_range(
            self._settings, topic, partition, start, end
        ):
            yield offset, timestamp, Keyed.of(value, key) if keyed and value is not None else value

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        try:
            return self._decoder.decode(topic, value)
        except UndecodableError:
            return None
