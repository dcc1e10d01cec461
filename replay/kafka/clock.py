"""The log's own clock at a position: how far event time has come, and which windows that closes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from jobs.product import zones
from jobs.product.folder import Product
from jobs.product.model import seconds
from replay.offsets import Offsets

_TAIL = 10
"""Offsets read at the end of a partition; ten times as many, and so on, while they hold no record: a log may end in
transaction markers and any number of aborted records."""


class Records(Protocol):
    """The log, to be read."""

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterable[tuple[int, int, bytes | None]]:
        """(offset, record timestamp in ms, value) of the records from `start` to before `end`."""
        ...


def at_position(product: Product, covered: Offsets, log: Records) -> float:
    """The watermark in ms at the covered position; references end, so they hold nothing back."""
    lateness = {
        n: seconds(t.allowed_lateness) for n, t in product.topics.items() if t.allowed_lateness
    }
    clocks: dict[tuple[str, int], int | None] = {}
    for topic in lateness:
        for partition, end in covered[topic].items():
            clocks[topic, partition] = _clock(topic, partition, end, log)
    return watermark(clocks, lateness)


def _clock(topic: str, partition: int, end: int, log: Records) -> int | None:
    def times(start: int, end: int) -> list[int]:
        return [time for _, time, _ in log.read(topic, partition, start, end)]

    return latest_before(end, times)


def latest_before(
    end: int, times: Callable[[int, int], Sequence[int]], first: int = 0
) -> int | None:
    """The latest timestamp of the last records below `end`; None when there are none.

    `times`: of the records from an offset to before another; `first`: the first offset that the log has.
    """
    tail, start = _TAIL, end
    while start > first:
        start = max(first, end - tail)
        if found := times(start, end):
            return max(found)
        tail *= 10
    return None


def watermark(
    clocks: Mapping[tuple[str, int], int | None], lateness_s: Mapping[str, float]
) -> float:
    """The watermark in ms behind the covered position: the least, over partitions, of the log's clock less L and a ms.

    A window that ends at that time or before is closed: the job closes it a millisecond later than the lateness asks
    for, as a session takes in what happens exactly at its end (LogClock.emittedAfter).

    `clocks` has the timestamp of the last covered record of every partition of the event and dimension topics (None:
    nothing covered yet, which holds back everything).
    """
    return min(
        (
            -math.inf if clock is None else clock - lateness_s[topic] * 1000 - 1
            for (topic, _), clock in clocks.items()
        ),
        default=-math.inf,
    )


def may_wait(appended_ms: int, longest_wait_s: float, watermark_ms: float) -> bool:
    """Whether an accepted record's row may still be held back by an open window.

    A record happens before it is appended, so its window ends at the latest `longest_wait` after it was appended; the
    row is written once the watermark has passed that.
    """
    return appended_ms > last_settled(longest_wait_s, watermark_ms)


def last_settled(longest_wait_s: float, watermark_ms: float) -> float:
    """The last record timestamp in ms whose rows wait in no window any more."""
    return watermark_ms - longest_wait_s * 1000


def instant(watermark_ms: float) -> datetime | None:
    """The same as a time; None for one that never comes, or never was."""
    return datetime.fromtimestamp(watermark_ms / 1000, UTC) if math.isfinite(watermark_ms) else None


def local(watermark_ms: float, zone: str) -> datetime | None:
    """The local time in `zone` at or before which every wall-clock time has surely passed; None: no time has.

    Where clocks are set back, a wall-clock time passes twice and counts only after the second time, as Flink's windows
    on local time end only then. So the smaller of the offsets of now and of a day later holds: on the day before clocks
    are set back this is up to an hour too careful.
    """
    if not math.isfinite(watermark_ms):
        return None
    now = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=watermark_ms)
    offsets = [t.astimezone(zones.zone(zone)).utcoffset() for t in (now, now + timedelta(days=1))]
    return now.replace(tzinfo=None) + min(offset for offset in offsets if offset is not None)
