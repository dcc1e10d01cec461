"""Which part of the log a preview reads, and what that part determines. Pure.

Of a topic that grows a preview reads records from a first one on, dated `begin` or later, to an end. Offsets are looked
up by time, so every record before the first is dated before `begin`: the log's clock at the first record is the same
with or without what is before it, and so is which records of the part are late.

What is said of the part's beginning holds for events that are appended after they happen. One that was appended ahead
of its time (`max_ahead` allows it) may belong to a window of the part and stand before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jobs.product.folder import Product
from jobs.product.model import seconds
from replay.kafka import clock
from replay.offsets import Offsets, at


@dataclass(frozen=True)
class Part:
    """What is read of each topic in Kafka; topics without growth, and those with versions, from their beginning."""

    begin: float
    """Milliseconds since the epoch: no event before the part was appended at this time or later."""
    starts: Offsets
    ends: Offsets
    now: float = 0.0
    """Milliseconds since the epoch, before the ends were asked for."""
    until: int | None = None
    """Milliseconds since the epoch: the time that the part ends with; None: it ends with the log."""
    cut: frozenset[tuple[str, int]] = frozenset()
    """Topics and partitions whose end is the first record of that time, or later."""

    def with_ends(self, ends: Offsets) -> tuple[Part, dict[str, int]]:
        """The part without what stands behind some ends of its topics; and how many offsets of each that leaves out."""
        kept = {
            t: {p: min(end, at(ends, t, p)) for p, end in of.items()} if t in ends else of
            for t, of in self.ends.items()
        }
        part = replace(self, ends=kept)
        left_out = {t: n for t in self.ends if (n := self.count(t) - part.count(t))}
        return part, left_out

    def count(self, topic: str) -> int:
        """Offsets of a topic that are read. Some may hold no record."""
        return sum(
            max(0, end - self.starts[topic][p]) for p, end in self.ends.get(topic, {}).items()
        )


@dataclass(frozen=True)
class Bounds:
    """What of a part's rows would be the same in a replay of the whole log: milliseconds since the epoch."""

    begin: float
    """An event that happened at this time or later was appended within the part, and so were its copies."""
    end: float
    """The watermark at the part's end: all windows that end here or before are closed."""
    lateness: float
    """The longest time in milliseconds between an event and its record, of events that are on time."""
    wait: float
    """The longest window in milliseconds in which a record waits before its row is written."""
    back: float = 0.0
    """How far in milliseconds a row depends on events before its own, or before its window."""
    ahead: float = 0.0
    """And behind."""

    def first_record(self) -> float:
        """Rows of records dated before this may depend on what is before the part."""
        return self.first_window() + self.lateness

    def last_record(self) -> float:
        """Rows of records dated after this may depend on what comes behind it."""
        return clock.last_settled(max(self.wait, self.ahead) / 1000, self.end)

    def first_window(self) -> float:
        """Windows that begin before this may have events from before the part."""
        return self.begin + max(self.wait, self.back)


def bounds(product: Product, part: Part, clocks: Mapping[tuple[str, int], int | None]) -> Bounds:
    """`clocks`: the latest timestamp below the part's end of each partition with lateness, None without a record."""
    lateness = {
        n: seconds(t.allowed_lateness) for n, t in product.topics.items() if t.allowed_lateness
    }
    return Bounds(
        part.begin,
        clock.watermark(clocks, lateness),
        max(lateness.values(), default=0.0) * 1000,
        product.longest_wait * 1000,
    )
