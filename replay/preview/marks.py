"""Which rows of a preview a replay of the whole log would have just so. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from jobs.product import zones
from jobs.product.model import Kind, Output
from replay.kafka import clock
from replay.preview.part import Bounds


def unmarked(output: Output) -> str:
    """Why it cannot be said of an output; empty where it can."""
    names = {c.name for c in output.columns}
    if output.kind is Kind.aggregate and output.window is None:
        return "its SELECT shows no window"
    if output.kind is not Kind.aggregate and not {"log_partition", "log_offset"} <= names:
        return "its rows have no place in the log"
    if output.kind is Kind.rows and len(output.of) != 1 and "log_topic" not in names:
        return "its rows do not say of which topic they are"
    return ""


def windows(
    rows: Sequence[Mapping[str, Any]], column: str, size_s: float, limits: Bounds, zone: str
) -> tuple[bool, ...]:
    """Of rows behind windows: whether the whole window is in the part, and closed at its end."""
    begin, end = wall(limits.first_window(), zone), clock.local(limits.end, zone)
    if end is None:
        return tuple(False for _ in rows)
    last = end - dt.timedelta(seconds=size_s)
    return tuple(begin <= at <= last for at in (_begins(row[column], zone) for row in rows))


def wall(milliseconds: float, zone: str) -> dt.datetime:
    """The latest that the clocks have shown by then: where they are set back, they show an hour twice."""
    at = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    shown = [t.astimezone(zones.zone(zone)) for t in (at, at - dt.timedelta(days=1))]
    return at.replace(tzinfo=None) + max(t.utcoffset() or dt.timedelta() for t in shown)


def _begins(value: Any, zone: str) -> dt.datetime:
    """Where a window begins, by the clocks of the product's zone."""
    if isinstance(value, dt.datetime):
        return value.astimezone(zones.zone(zone)).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time())
    return dt.datetime.min  # NULL, or a year that Python does not have


def spans(
    dated: Mapping[tuple[str, int, int], int], limits: Bounds
) -> tuple[dict[str, dict[int, int]], dict[str, dict[int, int]]]:
    """Of each partition the first offset of a run of records with determined rows only, and the first one behind it.

    A partition without such a run is absent. `dated`: as for `records`.
    """
    starts: dict[str, dict[int, int]] = {}
    ends: dict[str, dict[int, int]] = {}
    for (topic, partition), places in groupby(sorted(dated), key=itemgetter(0, 1)):
        run = _run([(offset, dated[topic, partition, offset]) for _, _, offset in places], limits)
        if run:
            starts.setdefault(topic, {})[partition] = run[0]
            ends.setdefault(topic, {})[partition] = run[-1] + 1
    return starts, ends


def _run(records: Sequence[tuple[int, int]], limits: Bounds) -> list[int]:
    """The offsets of one partition with only determined rows between them: timestamps may go backwards."""
    found: list[int] = []
    for offset, at in records:
        if at > limits.last_record():
            break
        if at < limits.first_record():
            found.clear()
        else:
            found.append(offset)
    return found


def records(
    rows: Sequence[Mapping[str, Any]],
    topics: Sequence[str],
    limits: Bounds,
    dated: Mapping[tuple[str, int, int], int],
) -> tuple[bool, ...]:
    """Of rows with a place in the log: whether all that they may depend on is in the part.

    `dated`: topic in Kafka, partition and offset of each record of the part → its timestamp in ms.
    """
    first, last = limits.first_record(), limits.last_record()

    def place(row: Mapping[str, Any]) -> tuple[str, int, int]:
        topic = row["log_topic"] if "log_topic" in row else topics[0]
        return topic, row["log_partition"], row["log_offset"]

    return tuple(first <= dated.get(place(row), first - 1) <= last for row in rows)
