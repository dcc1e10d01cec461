"""A preview: a part of the real log in files, the edited product's own plan over them, rows out of files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from jobs.product.folder import Product
from jobs.product.model import REJECTS, Role
from replay.errors import RefusedError
from replay.kafka import clock, log, reading
from replay.offsets import Offsets
from replay.preview import marks, named, runs
from replay.preview.marks import Known
from replay.preview.named import Span
from replay.preview.part import Bounds, Part, bounds
from replay.settings import Settings

MOST_RECORDS = 1_000_000
"""That a preview reads. They are held in memory."""
MOST_BYTES = 256 << 20
"""Of the records of a topic."""
_DATED_MARGIN_MS = 60_000
"""See `broker-time.margin` of the connector."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """Which part of the log: from a time on, or the last seconds of it, to a time or to its end; or by offsets."""

    last: float | None = None
    begin: datetime | None = None
    end: datetime | None = None
    spans: tuple[Span, ...] = ()
    """Of partitions of event topics. The others are read between the times of these records."""


@dataclass(frozen=True)
class Table:
    """What an output has."""

    name: str
    kind: str
    rows: tuple[Row, ...]
    determined: tuple[bool, ...]
    """For each row, whether a replay of the whole log would have it just so."""
    known: Known
    starts: Offsets = field(default_factory=dict)
    """Topic in Kafka → partition → the first offset whose rows are determined; absent: there is none."""
    ends: Offsets = field(default_factory=dict)
    """The same: the first offset behind those."""

    @property
    def unmarked(self) -> str:
        """Why it is not known of any row whether it is determined; empty where it is."""
        return self.known.unmarked


@dataclass(frozen=True)
class Preview:
    """What the edited product makes of a part of the log."""

    product: str
    records: Mapping[str, int]
    """Per topic of product.yaml."""
    bounds: Bounds
    tables: tuple[Table, ...]
    starts: Offsets = field(default_factory=dict)
    """Topic in Kafka → partition → the first offset whose rows are determined; absent: there is none."""
    ends: Offsets = field(default_factory=dict)
    """The same: the first offset behind those."""
    newer: Mapping[str, int] = field(default_factory=dict)
    """Topic of product.yaml → offsets that were left out, as they stand behind where readers' references end."""

    def rejected(self) -> Mapping[str, int]:
        """Rows of `rejects` by the first word of their reason, the most frequent first."""
        reasons = (str(row["reason"]) for t in self.tables if t.name == REJECTS for row in t.rows)
        return dict(Counter(r.partition(":")[0] for r in reasons).most_common())


def preview(
    settings: Settings,
    product: Product,
    asked: Asked,
    references: Offsets | None = None,
    most: int = MOST_RECORDS,
) -> Preview:
    """Run a resolved product over a part of the log; KappaError if that fails.

    `references`: where to stop reading references, such as those of a release; by default they are read whole.
    """
    part, newer = find(settings, product, asked).with_ends(references or {})
    _refuse_too_many(product, part, most)
    records = {topic: read(settings, topic, part) for topic in product.topics}
    limits = bounds(product, part, _clocks(settings, part, records, product))
    rows = runs.run(settings, product, records)
    dated = {
        (topic, r.partition, r.offset): r.timestamp
        for topic, partitions in records.items()
        for found in partitions.values()
        for r in found
    }
    spans = cache(lambda limits: marks.spans(dated, limits))
    tables = []
    for name, output in product.outputs.items():
        known = marks.of_product(product, name, limits)
        zone = product.settings.time_zone
        sure = marks.determined(output, rows[name], known, dated, zone)
        found = tuple(rows[name])
        tables.append(Table(name, output.kind.value, found, sure, known, *spans(known.limits)))
    return Preview(
        product.name,
        {product.sql_name(t): sum(map(len, found.values())) for t, found in records.items()},
        limits,
        tuple(tables),
        *spans(limits),
        newer={product.sql_name(t): count for t, count in newer.items()},
    )


def read(settings: Settings, topic: str, part: Part) -> dict[int, list[reading.ConsumedRecord]]:
    """The records of a part, by partition; RefusedError where they are too large for memory."""
    found: dict[int, list[reading.ConsumedRecord]] = {p: [] for p in part.ends[topic]}
    size = 0
    for record in reading.between(settings, topic, part.starts[topic], part.ends[topic]):
        found[record.partition].append(record)
        size += len(record.value or b"") + len(record.key or b"")
        if size > MOST_BYTES:
            raise RefusedError(
                f"the records of {topic} are too large for a run over files",
                expected=f"{MOST_BYTES >> 20} MB at most, keys and values",
                found=f"more, in {sum(map(len, found.values())):,} records",
                next="the same with a shorter --last, or between --since and --until",
            )
    return found


def find(settings: Settings, product: Product, asked: Asked) -> Part:
    """The offsets to read: of event topics those that were asked for, of others from the beginning."""
    if not asked.spans:
        return _by_time(settings, product, asked)
    events = [t for t, rule in product.topics.items() if rule.is_event]
    whole, ends = log.first_offsets(settings, events), log.end_offsets(settings, events)
    chosen = named.look(settings, product, asked.spans, whole, ends)
    between = Asked(begin=clock.instant(chosen.begin), end=clock.instant(chosen.end))
    return chosen.over(_by_time(settings, product, between), events, whole)


def _by_time(settings: Settings, product: Product, asked: Asked) -> Part:
    events = [t for t, rule in product.topics.items() if rule.is_event]
    now = time.time() * 1000
    begin, end = _begin(settings, events, asked), _millis(asked.end)
    cut: set[tuple[str, int]] = set()
    starts = log.first_offsets(settings, product.topics)
    ends = log.end_offsets(settings, product.topics)
    if end is not None:
        growing = [t for t, rule in product.topics.items() if rule.role is not Role.reference]
        for topic, of in log.offsets_at(settings, growing, end).items():
            ends[topic] = {**ends[topic], **of}
            cut.update((topic, partition) for partition in of)
    for topic, of in log.offsets_at(settings, events, begin).items():
        starts[topic] = {p: of.get(p, last) for p, last in ends[topic].items()}
    return Part(float(begin), starts, ends, now, end, frozenset(cut))


def _begin(settings: Settings, events: list[str], asked: Asked) -> int:
    if asked.begin:
        return _millis(asked.begin) or 0
    if asked.end:
        newest = _millis(asked.end) or 0
    else:
        times = [t for of in log.latest_times(settings, events).values() for t in of.values() if t]
        newest = max(times, default=0)
    return max(0, newest - round((asked.last or 0) * 1000))


def _millis(at: datetime | None) -> int | None:
    return round(at.timestamp() * 1000) if at else None


def _refuse_too_many(product: Product, part: Part, most: int) -> None:
    counts = {product.sql_name(topic): part.count(topic) for topic in product.topics}
    whole = sum(part.count(t) for t, rule in product.topics.items() if not rule.is_event)
    if sum(counts.values()) > most:
        raise RefusedError(
            f"the part of the log is too long for a preview of {product.name}",
            expected=f"{most:,} records at most, of all topics",
            found=", ".join(f"{count:,} of {topic}" for topic, count in counts.items()),
            next="the same with a shorter --last, or between --since and --until"
            if whole < most
            else f"kappa deploy {product.name} --no-auto-switch  (what is looked up is read whole)",
        )


def _clocks(
    settings: Settings, part: Part, records: runs.Records, product: Product
) -> dict[tuple[str, int], int | None]:
    """The log's clock at the part's end: behind a cut come only records of the time that was asked for, or later."""
    waiting = [t for t, rule in product.topics.items() if rule.allowed_lateness]
    dated = log.broker_dated(settings, waiting) if part.until is None else []
    now = round(part.now) - _DATED_MARGIN_MS
    found: dict[tuple[str, int], int | None] = {}
    for topic in waiting:
        for partition in part.ends[topic]:
            latest = max((r.timestamp for r in records[topic][partition]), default=None)
            if (topic, partition) in part.cut:
                latest = part.until
            if topic in dated:
                latest = max(now, latest or 0)
            found[topic, partition] = latest
    return found
