"""The slice of the log that a row is of, and the records in it that may be behind the row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from jobs import generate
from jobs.product.folder import Product
from jobs.product.model import Kind, Output, Role, seconds
from replay.audit.judging import milliseconds
from replay.compare.diff import Side
from replay.errors import RefusedError
from replay.kafka import reading
from replay.kafka.decoding import Decoder, Keyed, UndecodableError
from replay.kafka.reading import ConsumedRecord
from replay.offsets import Offsets, at
from replay.preview import preview
from replay.preview.part import Part
from replay.settings import Settings
from replay.why import rows
from replay.why.lineage import Lineage
from replay.why.records import Candidate, Place, is_decodable, matches, said
from replay.why.rows import Row
from replay.why.span import Slice
from replay.why.trials import Trials

Records = Mapping[str, Mapping[int, list[ConsumedRecord]]]
"""Per topic in Kafka and partition."""


@dataclass(frozen=True)
class Gathering:
    """Of one row of one release."""

    settings: Settings
    side: Side
    table: str
    ends: Offsets
    """Where the attempt's reading of references ends."""
    lineage: Lineage
    known: Row
    decoder: Decoder

    @property
    def product(self) -> Product:
        return self.side.product

    @property
    def output(self) -> Output:
        return self.product.outputs[self.table]

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of events that the output reads, by their names in Kafka."""
        kafka = self.product.settings.kafka_name
        if self.output.kind is Kind.rejects:
            return (str(self.known["log_topic"]),)
        return tuple(kafka(t) for t in sorted(self.lineage.events & self.lineage.topics))

    def place(self) -> Place | None:
        """Where the record stands that the row says it is of; None of a row that says nothing of it."""
        if self.output.kind is Kind.aggregate:
            return None
        partition, offset = self.known.get("log_partition"), self.known.get("log_offset")
        if partition is None or offset is None:
            return None
        return Place(str(self.known.get("log_topic") or self.output.of[0]), partition, offset)

    def source(self) -> tuple[Place, ConsumedRecord] | None:
        """The record that the row says it is of; None of a row that says nothing of it."""
        place = self.place()
        if place is None:
            return None
        for record in self._one(place):
            return place, record
        raise RefusedError(
            f"the record of the row is not in the log: {said(place)}",
            expected="the log that the table was made of",
            found="no record at that offset",
            next=f"kappa audit {self.product.name}",
        )

    def around(self, record: ConsumedRecord) -> Slice:
        """Where the copies of a record stand that are on time, and what it waits for in windows.

        Either of two copies may be appended before it happened: see `span.slice_of`.
        """
        rules = self.product.topics.values()
        allowed = max((seconds(t.max_ahead) for t in rules if t.is_event), default=0.0)
        ahead = min(allowed, self._lateness)
        wait = round((ahead + self._lateness + self.product.longest_wait) * 1000)
        return Slice(max(0, record.timestamp - wait), record.timestamp + wait + 1)

    def read(self, part: Slice | None) -> Records:
        """The records of a slice, or of the whole log; of references and dimensions from their beginning.

        RefusedError where they are too many to be held in memory.
        """
        found = self._part(part)
        shorter = f'kappa query {self.product.name} "SELECT * FROM {self.table} LIMIT 5"'
        counts = {self.product.sql_name(t): found.count(t) for t in self.product.topics}
        if sum(counts.values()) > preview.MOST_RECORDS:
            raise RefusedError(
                "the part of the log that this row is of is too long for a run",
                expected=f"{preview.MOST_RECORDS:,} records at most, of all topics",
                found=", ".join(f"{n:,} of {topic}" for topic, n in counts.items() if n),
                next=shorter,
            )
        try:
            return {t: preview.read(self.settings, t, found) for t in self.product.topics}
        except RefusedError as e:
            e.next = shorter
            raise

    def _part(self, part: Slice | None) -> Part:
        asked = preview.Asked(
            begin=instant(part.begin if part else 0), end=instant(part.end) if part else None
        )
        found = preview.find(self.settings, self.product, asked)
        ends = {t: self._ends(t, of, found.starts[t]) for t, of in found.ends.items()}
        if place := self.place():
            # a slice ends at the first record of a time, and the row's own may stand behind it with an earlier one
            last = ends[place.topic].get(place.partition, 0)
            ends[place.topic][place.partition] = max(last, place.offset + 1)
        return replace(found, ends=ends)

    def _ends(
        self, topic: str, ends: Mapping[int, int], starts: Mapping[int, int]
    ) -> dict[int, int]:
        if self.product.sql_name(topic) not in self.lineage.topics:
            return dict(starts)
        if self.product.topics[topic].role is Role.reference and topic in self.ends:
            return {p: at(self.ends, topic, p) for p in ends}
        covered = self.side.covered
        return {p: min(end, at(covered, topic, p)) for p, end in ends.items()}

    @property
    def _lateness(self) -> float:
        rules = [t.allowed_lateness for t in self.product.topics.values() if t.allowed_lateness]
        return max(map(seconds, rules), default=0.0)

    def candidates(
        self, records: Records, reasons: Mapping[Place, str], keyed: bool
    ) -> Iterator[Candidate]:
        """The records of a slice that may be behind the row; `reasons`: why some were rejected.

        Not `keyed`: also those whose key is not that of the row.
        """
        for topic in self.topics:
            for partition, of in records[topic].items():
                for record in of:
                    place = Place(topic, partition, record.offset)
                    found = self._candidate(place, record, reasons.get(place, ""))
                    if found and (found.fields is None or not keyed or self.has_key(found)):
                        yield found

    def _candidate(self, place: Place, record: ConsumedRecord, reason: str) -> Candidate | None:
        """None of a record without a value, which only moves the log's clock."""
        if record.value is None:
            return None
        fields = None
        if is_decodable(reason):
            try:
                fields = self.decoder.decode(place.topic, Keyed.of(record.value, record.key))
            except UndecodableError:
                fields = None
        return Candidate(
            place, record.timestamp, fields, self._own_time(place, record, fields), reason
        )

    def _own_time(
        self, place: Place, record: ConsumedRecord, fields: Mapping[str, Any] | None
    ) -> int | None:
        """When it happened; None where only SQL says it."""
        rule, name = self.product.topics[place.topic], self.product.sql_name(place.topic)
        if fields is None or generate.is_reckoned(self.product, name):
            return None
        if rule.time == "log_appended":
            return record.timestamp
        return milliseconds(fields.get(rule.time or ""))

    def has_key(self, candidate: Candidate) -> bool:
        """Whether a record has the values of the row, in columns that are fields of its topic."""
        of = self.lineage.fields.get(self.product.sql_name(candidate.place.topic), {})
        key = self.key
        return candidate.fields is not None and matches(candidate.fields, key, of)

    @property
    def key(self) -> dict[str, Any]:
        """What rows of some of its records have in common with it: its key without its window."""
        window = self.lineage.window.columns if self.lineage.window else frozenset()
        columns = rows.key_of(self.output)
        return {c: self.known[c] for c in columns if c not in window}

    def copies(self, place: Place, found: Sequence[Candidate]) -> Iterator[Candidate]:
        """The record that a row is of, and, where events are told apart, those with its identity.

        Where the source tells them apart, one in another partition is an event of its own, and in a row of its own.
        """
        own = next((c for c in found if c.place == place), None)
        rule = self.product.topics[place.topic]
        for candidate in found:
            if own is None or candidate.place.topic != place.topic:
                continue
            elsewhere = rule.held_by_source and candidate.place.partition != place.partition
            if candidate.place == place:
                yield candidate
            elif self.output.kind is Kind.rows and not elsewhere:
                fields = (own.fields, candidate.fields)
                identity = rule.identity
                if identity and all(fields) and len({_event(f, identity) for f in fields}) == 1:
                    yield candidate

    def outside(
        self, read: Collection[Place], since: int, near: range
    ) -> Iterator[tuple[Candidate, ConsumedRecord]]:
        """Rejected records with the row's key that were not read, such as late ones, and undecodable ones.

        A slice ends at the first record of a time: behind it some may have been appended with earlier times. For
        `since` and `near` see `rows.rejected`.
        """
        for place, seen, reason in rows.rejected(
            self.settings, self.side, self.topics, since, near
        ):
            if place in read:
                continue
            record = seen
            if self.decoder.has_key(place.topic):
                [record] = self._one(place) or [seen]
            candidate = self._candidate(place, record, reason)
            if candidate and (candidate.fields is None or self.has_key(candidate)):
                yield candidate, record

    def _one(self, place: Place) -> list[ConsumedRecord]:
        start, end = {place.partition: place.offset}, {place.partition: place.offset + 1}
        return list(reading.between(self.settings, place.topic, start, end))

    def dated(
        self, trials: Trials, found: list[Candidate], records: Mapping[Place, ConsumedRecord]
    ) -> list[Candidate]:
        """With the times that only SQL says."""
        unknown = [c for c in found if c.fields is not None and trials.is_reckoned(c.place.topic)]
        if not unknown:
            return found
        of: dict[str, dict[int, list[ConsumedRecord]]] = {
            t: {p: [] for p in ends} for t, ends in self.side.covered.items() if t in self.topics
        }
        for c in sorted(unknown, key=lambda c: c.place):
            of[c.place.topic][c.place.partition].append(records[c.place])
        times = trials.times(of)
        return [
            replace(c, happened=times.get(c.place)) if trials.is_reckoned(c.place.topic) else c
            for c in found
        ]


def _event(fields: Mapping[str, Any] | None, identity: Sequence[str]) -> str:
    return repr([(fields or {}).get(name) for name in identity])


def instant(milliseconds: int) -> datetime:
    last = datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(min(milliseconds / 1000, last.timestamp() - 1), UTC)
