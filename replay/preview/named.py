"""A part of the log that is named by its offsets, such as orders:0=100-200."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.product.folder import Product
from replay.errors import ConfigError, RefusedError
from replay.kafka import clock, log
from replay.offsets import Offsets
from replay.preview.part import Part
from replay.settings import Settings

FORM = "TOPIC:PARTITION=FROM-TO"
_FORM = re.compile(r"(?P<topic>[\w.-]+):(?P<partition>\d+)=(?P<start>\d+)-(?P<end>\d+)", re.ASCII)
_TAIL = 10
"""Offsets at a span's end in which its last record is looked for first: they may hold none."""


@dataclass(frozen=True)
class Span:
    """Offsets of one partition."""

    topic: str
    """Its name in product.yaml, or in Kafka."""
    partition: int
    start: int
    end: int
    """The first offset that is not read."""

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}={self.start}-{self.end}"


def parse(text: str) -> Span | None:
    """A span as it is written; None for any other text, or one that holds no offset."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    span = Span(found["topic"], int(found["partition"]), int(found["start"]), int(found["end"]))
    return span if span.start < span.end else None


@dataclass(frozen=True)
class Chosen:
    """Spans by topic in Kafka and partition, and the times of their records, in milliseconds since the epoch."""

    spans: Mapping[tuple[str, int], Span]
    firsts: Mapping[tuple[str, int], int]
    """Of the first record of each span."""
    lasts: Mapping[tuple[str, int], int]
    befores: Mapping[tuple[str, int], int]
    """Of the latest of the records before each span; absent where there is none."""

    @property
    def begin(self) -> int:
        """The partitions that are not named are read from here on."""
        return min(self.firsts.values())

    @property
    def end(self) -> int:
        """And up to here."""
        return max(self.lasts.values()) + 1

    def over(self, part: Part, events: Sequence[str], whole: Offsets) -> Part:
        """A part between the times of the spans, with them in it; `whole`: the first offsets of the log."""
        starts = {topic: dict(of) for topic, of in part.starts.items()}
        ends = {topic: dict(of) for topic, of in part.ends.items()}
        for (topic, partition), span in self.spans.items():
            starts[topic][partition], ends[topic][partition] = span.start, span.end
        looked_up = [
            self.begin
            for topic in events
            for p, start in starts[topic].items()
            if (topic, p) not in self.spans and start > whole[topic][p]
        ]
        # What is before a span may be dated later than its first record.
        begins = [*looked_up, *(before + 1 for before in self.befores.values())]
        return replace(
            part,
            begin=float(max(begins, default=0)),
            starts=starts,
            ends=ends,
            cut=part.cut - set(self.spans),
        )


def look(
    settings: Settings, product: Product, spans: Sequence[Span], whole: Offsets, ends: Offsets
) -> Chosen:
    """Find the spans in the log, whose first offsets are `whole`.

    ConfigError for one of no event topic, or that goes beyond the log's `ends`.
    """
    found: dict[tuple[str, int], Span] = {}
    for span in spans:
        topic = _topic(product, span)
        end = ends[topic].get(span.partition)
        if end is None or span.end > end:
            raise _wrong(
                product,
                f"{span} is not in the log",
                ", ".join(f"{span.topic}:{p}=0-{last}" for p, last in ends[topic].items()),
                str(span),
            )
        if (topic, span.partition) in found:
            raise _wrong(
                product,
                f"partition {span.partition} of {span.topic} is named twice",
                "one --offsets for each partition",
                f"{found[topic, span.partition]} and {span}",
            )
        found[topic, span.partition] = span
    times = {place: _times(settings, place[0], span) for place, span in found.items()}
    befores = {
        place: _before(settings, place[0], span, whole[place[0]][place[1]])
        for place, span in found.items()
    }
    return Chosen(
        found,
        {place: first for place, (first, _) in times.items()},
        {place: last for place, (_, last) in times.items()},
        {place: latest for place, latest in befores.items() if latest is not None},
    )


def _topic(product: Product, span: Span) -> str:
    events = {product.sql_name(t): t for t, rule in product.topics.items() if rule.is_event}
    if span.topic in events.values():
        return span.topic
    if span.topic not in events:
        raise _wrong(
            product,
            f"{product.name} has no topic of events '{span.topic}'",
            f"{', '.join(events)}; all other topics are read whole",
            str(span),
        )
    return events[span.topic]


def _times(settings: Settings, topic: str, span: Span) -> tuple[int, int]:
    """When the first and the last record of a span were appended; RefusedError where it holds none."""

    def read(start: int) -> list[int]:
        found = log.read_range(settings, topic, span.partition, start, span.end)
        return [record.timestamp for record in found]

    for record in log.read_range(settings, topic, span.partition, span.start, span.end):
        tail = read(max(span.start, span.end - _TAIL)) or read(span.start)
        return record.timestamp, max(tail)
    raise RefusedError(
        f"{span} holds no record",
        expected="offsets of records, and not only markers of transactions",
        found="none",
        next=f"kappa topic peek {topic} --partition {span.partition} --from {span.start}",
    )


def _before(settings: Settings, topic: str, span: Span, first: int) -> int | None:
    """When the latest of the last records before a span was appended; None where the log has none from `first` on."""

    def times(start: int, end: int) -> list[int]:
        found = log.read_range(settings, topic, span.partition, start, end)
        return [record.timestamp for record in found]

    return clock.latest_before(span.start, times, first)


def _wrong(product: Product, message: str, expected: str, found: str) -> ConfigError:
    return ConfigError(
        message, expected=expected, found=found, next=f"kappa preview {product.name} --help"
    )
