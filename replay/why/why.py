"""Where a row comes from: a slice of the log, the release's own plan over it and over parts of it, a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.product.model import Kind, Output, seconds
from replay.compare.diff import Side
from replay.errors import RefusedError
from replay.flink.local_runs import scratch
from replay.kafka import clock
from replay.kafka.decoding import Decoder, readers
from replay.offsets import Offsets, at
from replay.settings import Settings
from replay.why import rows, span
from replay.why.gather import Gathering, Records
from replay.why.lineage import of_output
from replay.why.records import Became, Candidate, Evidence, Place, in_order, of_row, said, sort
from replay.why.rows import Row
from replay.why.span import Slice, Span
from replay.why.tell import How, Verdict, tell
from replay.why.trials import Trials

_NEVER = range(0)


@dataclass(frozen=True)
class Subject:
    """What is asked: a row of a table of an attempt."""

    side: Side
    checkpoint: int
    table: str
    key: Mapping[str, Any]
    """Columns that name the row."""
    ends: Offsets
    """Where the attempt's reading of references ends."""
    code: Path | None = None
    """The folder with the release's udfs/, if they are others than those installed."""

    @property
    def output(self) -> Output:
        return self.side.product.outputs[self.table]


@dataclass(frozen=True)
class Explanation:
    """Where a row comes from."""

    subject: Subject
    row: Row | None
    """As the table has it; None: it has none."""
    span: Span | None
    """When its records happened; None: whenever."""
    read: Mapping[str, int]
    """Per topic, by its name in product.yaml, the records that were run over."""
    evidence: tuple[Evidence, ...]
    again: Row | None
    """What the release's SQL gives over the records that count; None: no such row."""
    whole: Row | None
    """What it gives over all records of the slice."""
    fields: Mapping[str, tuple[str, ...]]
    """Topic in Kafka → fields of its records that matter to the row."""
    looks_back: bool = False
    """It is of one record, and depends on earlier ones, which are not run: LAG, OVER, ranks, patterns."""
    behind: str = ""
    """How far the release has come, where it may still have the row later: then nothing was run."""

    @property
    def zone(self) -> str:
        """That of the product's clocks."""
        return self.subject.side.product.settings.time_zone

    @property
    def differing(self) -> tuple[str, ...]:
        """Columns in which the row is another over the records that count."""
        if self.row is None or self.again is None:
            return ()
        return rows.differing(self.subject.output, self.row, self.again)

    @property
    def adds_up(self) -> bool | None:
        """Whether the records that count give exactly the row of the table.

        None while it is not told of each record: with those that may count they give the row. Also of a release that
        has not come so far.
        """
        if self.behind:
            return None
        if self.differing or (self.again is None) != (self.row is None):
            return False
        if self.row is None:
            return self.whole is None
        return None if self.count(Became.not_told) else True

    @property
    def is_whole(self) -> bool:
        """Whether all records of the slice give the row of the table."""
        if self.row is None or self.whole is None:
            return self.row is self.whole
        return not rows.differing(self.subject.output, self.row, self.whole)

    def count(self, became: Became) -> int:
        return sum(e.became is became for e in self.evidence)


def explain(
    settings: Settings, subject: Subject, row: Row | None, like: Row | None = None
) -> Explanation:
    """The records behind a row; KappaError where they cannot be read or run.

    `row`: of the table, see `rows.one`; `like`: where the table has none, a row of another release with the same key.
    """
    known = row if row is not None else like
    assert known is not None
    product = subject.side.product
    lineage = of_output(product, subject.table)
    if lineage is None:
        raise RefusedError(
            f"the plan of {product.name} {subject.side.name} was not archived with it",
            expected="a release with its compiled plan",
            found="one of before plans were kept",
            next=f"kappa deploy {product.name}",
        )
    key = (*rows.key_of(subject.output), *(lineage.window.columns if lineage.window else ()))
    if lacking := [c for c in dict.fromkeys(key) if c not in known]:
        raise RefusedError(
            f"{product.name}.{subject.table} of {subject.side.name} has another key",
            expected="two releases whose rows are told apart by the same columns",
            found=f"{', '.join(lacking)} only in {subject.side.name}",
            next=f"kappa diff {product.name}",
        )
    with (
        Decoder(settings, readers(product)) as decoder,
        scratch(settings, "why") as folder,
    ):
        gathering = Gathering(
            settings, subject.side, subject.table, subject.ends, lineage, known, decoder
        )
        work = _Work(settings, subject, gathering, row, folder)
        if behind := work.behind():
            return Explanation(subject, None, work.span, {}, (), None, None, {}, behind=behind)
        found = work.explanation(ahead=False)
        if found.adds_up or found.is_whole or found.span is None or work.source:
            return found
        # perhaps some of its records were appended before they happened
        try:
            wider = work.explanation(ahead=True)
        except RefusedError:  # that part of the log is too long
            return found
        return found if wider.adds_up is False else wider


@dataclass(frozen=True)
class _Ran:
    """A slice of the log that the release's SQL has run over."""

    part: Slice | None
    records: Records
    trials: Trials
    reasons: Mapping[Place, str]
    """Why records of it are in `rejects`."""
    whole: Row | None


class _Work:
    """One row of one release."""

    def __init__(
        self, settings: Settings, subject: Subject, of: Gathering, row: Row | None, scratch: Path
    ) -> None:
        self.settings, self.subject, self.of, self.row = settings, subject, of, row
        self.scratch = scratch
        self.product = subject.side.product
        self.zone = self.product.settings.time_zone
        self.source = of.source()
        columns = of.lineage.window if self.source is None else None
        self.span = span.of_window(of.known, columns, self.zone) if columns else None

    def behind(self) -> str:
        """How far a release without the row has come, if it may still have it later; empty otherwise."""
        if self.row is not None:
            return ""
        side = self.subject.side
        if self.source:
            place, record = self.source
            end = at(side.covered, place.topic, place.partition)
            if end <= place.offset:
                return f"it has come to {said(place._replace(offset=end))}"
            waits = self.product.longest_wait or self.product.topics[place.topic].held_by_source
            needed = record.timestamp if waits else -math.inf
        elif self.span:
            needed = self.span.last_ms
        else:
            return "its rows do not show when their windows end"
        reached = rows.reached(self.settings, side)
        if reached >= needed + self.product.longest_wait * 1000:
            return ""
        until = clock.local(reached, self.zone)
        if until is None:
            return "it has not read all partitions yet"
        return f"it has come to {until:%Y-%m-%d %H:%M:%S} ({self.zone})"

    def explanation(self, *, ahead: bool) -> Explanation:
        within, part = self._where(ahead)
        ran = self._run(part, self.scratch / f"ahead-{ahead}")
        for keyed in (True, False):
            happened, verdict, settled = self._told(ran, within, keyed)
            if self.source or self.how.equal(verdict.row, ran.whole):
                break
        return Explanation(
            self.subject,
            self.row,
            happened,
            {self.product.sql_name(t): n for t, of in ran.records.items() if (n := _count(of))},
            in_order((*settled, *verdict.evidence)),
            ran.whole if self.is_reject else verdict.row,
            ran.whole,
            {topic: self._fields(topic) for topic in self.of.topics},
            looks_back=self.source is not None and not self.of.lineage.is_by_itself,
        )

    def _run(self, part: Slice | None, folder: Path) -> _Ran:
        folder.mkdir()
        records = self.of.read(part)
        subject = self.subject
        trials = Trials(self.settings, self.product, subject.table, records, folder, subject.code)
        over, rejects = trials.whole()
        reasons = {
            Place(r["log_topic"], r["log_partition"], r["log_offset"]): str(r["reason"])
            for r in rejects
        }
        return _Ran(part, records, trials, reasons, self.how.pick(over))

    @property
    def is_reject(self) -> bool:
        return self.of.output.kind is Kind.rejects

    def _where(self, ahead: bool) -> tuple[Span | None, Slice | None]:
        if self.source:
            return None, self.of.around(self.source[1])
        within = self.span
        return within, span.slice_of(self.product, within, ahead=ahead) if within else None

    @property
    def how(self) -> How:
        return how(self.of, self.subject.key, self.zone)

    def _told(
        self, ran: _Ran, within: Span | None, keyed: bool
    ) -> tuple[Span | None, Verdict, tuple[Evidence, ...]]:
        """When its records happened, what was found of those that were accepted, and of the others."""
        found = self._candidates(ran, within, keyed)
        if self.source:
            happened = next((c.happened for c in found if c.place == self.source[0]), None)
            within = span.of_event(happened, self.zone) if happened is not None else None
        timed_by = self.of.lineage.timed_by
        joined = [t for t in self.of.topics if self.product.sql_name(t) not in timed_by]
        apart = sort(found, self.product.topics, within, self._near(within), joined)
        verdict = tell(ran.trials, self.how, apart.units, ran.whole)
        window = self.of.lineage.window
        shows_window = self.source is not None or (window is not None and window.is_exact)
        settled = of_row(apart.settled, verdict.evidence, shows_window=shows_window)
        if keyed or self.source:
            return within, verdict, settled
        mine = replace(verdict, evidence=self._mine(verdict.evidence))
        return within, mine, self._mine(settled)

    def _candidates(self, ran: _Ran, within: Span | None, keyed: bool) -> list[Candidate]:
        seen = {
            Place(t, p, r.offset): r
            for t in self.of.topics
            for p, of in ran.records[t].items()
            for r in of
        }
        found = list(self.of.candidates(ran.records, ran.reasons, keyed and not self.source))
        if ran.part and not self.is_reject:
            since = within.first_ms if within else ran.part.begin
            for candidate, record in self.of.outside(seen, since, self._near(within)):
                found.append(candidate)
                seen[candidate.place] = record
        if self.source:
            found = list(self.of.copies(self.source[0], found))
        return self.of.dated(ran.trials, found, seen)

    def _mine(self, evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
        """Without records of other keys that do not count."""
        counted = (Became.counted, Became.not_told)
        return tuple(
            e
            for e in evidence
            if e.became in counted or e.candidate.fields is None or self.of.has_key(e.candidate)
        )

    def _near(self, within: Span | None) -> range:
        """When records were appended that nobody can date, and that may be of the span."""
        if within is None or self.source:
            return _NEVER
        late = max(
            (
                seconds(t.allowed_lateness)
                for t in self.product.topics.values()
                if t.allowed_lateness
            ),
            default=0.0,
        )
        return range(within.first_ms, within.last_ms + round(late * 1000))

    def _fields(self, topic: str) -> tuple[str, ...]:
        """Those that the row is made of, and those that tell its records apart."""
        name, lineage = self.product.sql_name(topic), self.of.lineage
        of = lineage.fields.get(name, {})
        key = set(rows.key_of(self.of.output))
        same = frozenset().union(*(of.get(column, ()) for column in key))
        made = (field for column, fields in of.items() for field in sorted(fields))
        wanted = (*lineage.summed.get(name, ()), *self.product.topics[topic].identity, *made)
        return tuple(f for f in dict.fromkeys(wanted) if f not in same or self.source)


def how(of: Gathering, key: Mapping[str, Any], zone: str) -> How:
    """What is known of a row before anything is run; `key`: what it was asked for by."""
    lineage, window = of.lineage, of.lineage.window
    session = window if window and window.is_session else None
    # else there are records of other windows with that key: which of them a record is in only the row itself says
    is_known = of.output.kind is not Kind.aggregate or (
        window is not None
        and (window.is_exact or window.ends is not None)
        and span.of_window(of.known, window, zone) is not None
    )
    return How(
        of.output,
        of.key or dict(key),
        of.known,
        session is not None and is_known,
        window.columns if window else frozenset(),
        lineage.count,
        lineage.keeps_all,
        window.overlaps if window else False,
        lineage.is_by_itself and is_known and bool(rows.key_of(of.output)),
    )


def _count(partitions: Mapping[int, list[Any]]) -> int:
    return sum(map(len, partitions.values()))
