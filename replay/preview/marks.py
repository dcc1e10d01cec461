"""Which rows of a preview a replay of the whole log would have just so. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from jobs.plan.compiled import Node, parse_plan
from jobs.plan.reach import reach
from jobs.plan.windows import WindowColumns, held, window_columns
from jobs.product import zones
from jobs.product.folder import Product
from jobs.product.model import Kind, Output, Window, seconds
from replay.kafka import clock
from replay.preview.part import Bounds


@dataclass(frozen=True)
class Shown:
    """The column that shows a window."""

    column: str
    since: float
    """Seconds from where the window begins to what the column shows, such as 0, or the longest window."""
    rest: float
    """Seconds of the clock from there until its rows are written: to the end of its window, and while joins and later
    windows hold them back."""

    def first(self, limits: Bounds, zone: str) -> dt.datetime:
        """What the column shows of the first window without events from before the part."""
        return wall(limits.first_window(), zone) + dt.timedelta(seconds=self.since)


@dataclass(frozen=True)
class Known:
    """What a part determines of an output's rows."""

    limits: Bounds
    unmarked: str = ""
    """Why this is not known of any row; empty where it is."""
    shown: Shown | None = None
    """Of rows behind windows."""


def of_product(product: Product, name: str, limits: Bounds) -> Known:
    """Of an output of a resolved product; `limits`: what holds for all outputs."""
    plan = product.resolved.plan if product.resolved else ""
    sink = next((s for s in parse_plan(plan) if s.table == name), None) if plan else None
    events = frozenset(n for n, t in product.settings.topics.items() if t.is_event)
    return known(product.outputs[name], sink, events, limits, product.settings.time_zone)


def known(
    output: Output, sink: Node | None, events: frozenset[str], limits: Bounds, zone: str
) -> Known:
    """Of an output that `sink` fills; None: nobody kept the plan.

    `events`: the topics with events, by their names in SQL.
    """
    why = unmarked(output)
    if why or output.kind is Kind.rejects:
        return Known(limits, why)
    if sink is None:
        return Known(limits, "its plan was not kept")
    found = reach(sink, events)
    if found.unbounded:
        return Known(limits, found.unbounded)
    back = found.back if output.window else found.back + found.span
    if back:  # on local time it may be as much longer
        back += zones.largest_setback(zone).total_seconds()
    own = replace(limits, back=back * 1000, ahead=found.ahead * 1000)
    if output.window is None:
        return Known(own)
    shown = _shown(output.window, window_columns(sink))
    if shown:
        shown = replace(shown, rest=shown.rest + held(sink, shown.column))
    return Known(own, "" if shown else "it does not show where its windows begin", shown)


def _shown(window: Window, columns: WindowColumns | None) -> Shown | None:
    """None where nobody knows how long the window lasts before its end."""
    size = seconds(window.size)
    if columns and window.column == columns.ends:
        return Shown(window.column, columns.seconds, 0.0)
    return Shown(window.column, 0.0, size) if size else None


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


def determined(
    output: Output,
    rows: Sequence[Mapping[str, Any]],
    known: Known,
    dated: Mapping[tuple[str, int, int], int],
    zone: str,
) -> tuple[bool, ...]:
    """For each row, whether a replay of the whole log would have it just so. `dated`: as for `records`."""
    if known.unmarked:
        return tuple(False for _ in rows)
    if known.shown:
        return windows(rows, known.shown, known.limits, zone)
    return records(rows, output.of, known.limits, dated)


def windows(
    rows: Sequence[Mapping[str, Any]], shown: Shown, limits: Bounds, zone: str
) -> tuple[bool, ...]:
    """Of rows behind windows: whether the whole window is in the part, and closed at its end."""
    first, end = shown.first(limits, zone), clock.local(limits.end, zone)
    if end is None:
        return tuple(False for _ in rows)
    last = end - dt.timedelta(seconds=shown.rest)
    return tuple(first <= at <= last for at in (_shows(row[shown.column], zone) for row in rows))


def wall(milliseconds: float, zone: str) -> dt.datetime:
    """The latest that the clocks have shown by then: where they are set back, they show an hour twice."""
    at = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    shown = [t.astimezone(zones.zone(zone)) for t in (at, at - dt.timedelta(days=1))]
    return at.replace(tzinfo=None) + max(t.utcoffset() or dt.timedelta() for t in shown)


def _shows(value: Any, zone: str) -> dt.datetime:
    """A window's column, by the clocks of the product's zone."""
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
