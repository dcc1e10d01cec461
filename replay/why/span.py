"""When the records behind a row happened, and in which part of the log they stand. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.plan.windows import WindowColumns
from jobs.product import zones
from jobs.product.folder import Product
from jobs.product.model import seconds

MILLISECOND = dt.timedelta(milliseconds=1)


@dataclass(frozen=True)
class Span:
    """From one time up to, not including, another, by the clocks of the product's zone."""

    begin: dt.datetime
    end: dt.datetime
    zone: str

    def holds(self, happened_ms: int) -> bool:
        """Whether an event of this time, in milliseconds since the epoch, is of it."""
        return self.begin <= wall(happened_ms, self.zone) < self.end

    @property
    def first_ms(self) -> int:
        """When its clocks show the begin for the first time."""
        return min(_instants(self.begin, self.zone))

    @property
    def last_ms(self) -> int:
        """When its clocks show the end for the last time."""
        return max(_instants(self.end, self.zone))


@dataclass(frozen=True)
class Slice:
    """The part of the log to read: records of this time or later, up to before another, in ms since the epoch."""

    begin: int
    end: int


def wall(milliseconds: int, zone: str) -> dt.datetime:
    """What the clocks of a zone show then; at the ends of what Python can say, the first or the last time."""
    try:
        at = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=milliseconds)
        return at.astimezone(zones.zone(zone)).replace(tzinfo=None)
    except OverflowError:
        return dt.datetime.min if milliseconds < 0 else dt.datetime.max


def of_window(row: Mapping[str, Any], columns: WindowColumns, zone: str) -> Span | None:
    """The window of a row; None where its columns do not say both where it begins and where it ends."""
    size = dt.timedelta(seconds=columns.seconds)
    begin = _local(row[columns.starts], zone) if columns.starts else None
    end = _local(row[columns.ends], zone) if columns.ends else None
    try:
        if begin is None and end is not None and size:
            begin = end - size
        if end is None and begin is not None and size:
            end = begin + size
    except OverflowError:  # it begins or ends in a year that Python does not have
        return None
    return Span(begin, end, zone) if begin and end else None


def of_event(happened_ms: int, zone: str) -> Span:
    """The millisecond of one event."""
    at = wall(happened_ms, zone)
    return Span(at, min(at, dt.datetime.max - MILLISECOND) + MILLISECOND, zone)


def slice_of(product: Product, span: Span, *, ahead: bool) -> Slice:
    """Where its records stand that are on time: behind when they happened, and by the lateness at the most.

    Clocks differ: also those that were appended before they happened, as far as `max_ahead` allows, but by no more than
    the lateness, or without that limit with `ahead`.
    """
    rules = product.topics.values()
    late = max((seconds(t.allowed_lateness) for t in rules if t.allowed_lateness), default=0.0)
    allowed = max((seconds(t.max_ahead) for t in rules if t.is_event), default=0.0)
    before = allowed if ahead else min(allowed, late)
    wait = product.longest_wait
    begin = span.first_ms - round((before + wait) * 1000)
    end = span.last_ms + round((late + wait) * 1000) + 1
    return Slice(max(0, begin), max(0, end))


def _instants(at: dt.datetime, zone: str) -> list[int]:
    """When clocks show a time: two instants where they are set back."""
    shown = [at.replace(tzinfo=zones.zone(zone), fold=fold) for fold in (0, 1)]
    try:
        return [round(t.timestamp() * 1000) for t in shown]
    except OverflowError:  # in UTC it is in a year that Python does not have
        return [round(at.replace(tzinfo=dt.UTC).timestamp() * 1000)]


def _local(value: Any, zone: str) -> dt.datetime | None:
    """A column's value as the zone's clocks show it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(zones.zone(zone)).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time())
    return None
