"""The diff: the tables of two attempts at one position of the log, row by row.

Only rows that are final on both sides are compared, so that a difference is one of the releases, not of progress:

- The position is, per partition, the smaller of both covered offsets. The clock is the smaller of both watermarks at
  the covered positions.
- Rows: those of records below the position and below the first record of their partition that was appended after the
  clock less the longest wait; the windows of the records before it are closed on both sides. That needs what lateness
  needs: records happen before they are appended, and timestamps do not go backwards within a partition.
- Aggregates: those whose window ended by the clock, on the product's wall clock, and so did later windows and joins
  that hold their rows back. Where the window begins, and how long it is, must be in product.yaml.
- Rejects: those of records below the position, as no window holds them back.

Rows are compared as multisets: equal ones cancel out, NULL equals NULL and NaN equals NaN, other numbers are compared
exactly. What is left is matched by key, repeated keys in the order of their place in the log.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from jobs.product.folder import Product
from replay.compare.changes import Change, DiffReport, TableDiff
from replay.compare.comparison import Comparison, common_position, comparisons
from replay.compare.matching import NEW, OLD, TableMatch, set_bounds
from replay.errors import RefusedError
from replay.kafka import clock, log
from replay.offsets import Offsets
from replay.query import query
from replay.settings import Settings

__all__ = ["Change", "DiffReport", "Kafka", "LogReader", "Side", "TableDiff", "diff"]


@dataclass(frozen=True)
class Side:
    """One attempt's tables at one checkpoint."""

    name: str
    product: Product
    """The model of the attempt's release."""
    snapshots: Mapping[str, int]
    covered: Offsets
    """Offsets that the checkpoint of the snapshots covers (Attempt.position_of)."""


class LogReader(clock.Records, Protocol):
    """The log as the diff sees it."""

    def offsets_at(
        self, topics: Iterable[str], timestamp_ms: int
    ) -> Mapping[str, Mapping[int, int]]:
        """The first offset of this time or later; partitions without one are absent."""
        ...


def diff(
    settings: Settings, old: Side, new: Side, *, samples: int = 5, reader: LogReader | None = None
) -> DiffReport:
    """Compare the final rows of both sides, with so many samples of each sort of difference."""
    reader = reader or Kafka(settings)
    for side in (old, new):
        if unknown := set(side.product.topics) - set(side.covered):
            raise RefusedError(
                f"the position of {side.name} is not known",
                expected="covered offsets of every topic",
                found=f"none of {', '.join(sorted(unknown))}",
                next="kappa status",
            )
    position = common_position(old.covered, new.covered)
    now = min(clock.at_position(side.product, side.covered, reader) for side in (old, new))
    wait = max(side.product.longest_wait for side in (old, new))
    settled = settled_offsets(position, now, wait, reader)
    clocks = [(now, side.product.settings.time_zone) for side in (old, new)]
    zones = {name: p.settings.time_zone for name, p in ((OLD, old.product), (NEW, new.product))}
    product = new.product.name

    def compared(times: int) -> tuple[TableDiff, ...]:
        schemas = {OLD: old.snapshots, NEW: new.snapshots}
        with query.open_schemas(settings, product, schemas, times=times) as connection:
            set_bounds(connection, position, settled)
            return tuple(
                TableMatch(
                    connection, how, last_begin(clocks, how.window_seconds), samples, zones
                ).result()
                if not how.not_compared
                else left_out(how)
                for how in comparisons(old.product, new.product)
            )

    tables = query.with_more_memory(settings, compared)
    return DiffReport(product, old.name, new.name, position, clock.instant(now), tables)


def left_out(how: Comparison) -> TableDiff:
    """The result for a table that is not compared."""
    return TableDiff(
        how.table,
        how.kind.value,
        columns_only_old=how.columns_only_old,
        columns_only_new=how.columns_only_new,
        not_compared=how.not_compared,
    )


class Kafka:
    """The real log."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        for offset, timestamp, _, value in log.read_range(
            self._settings, topic, partition, start, end
        ):
            yield offset, timestamp, value

    def offsets_at(
        self, topics: Iterable[str], timestamp_ms: int
    ) -> Mapping[str, Mapping[int, int]]:
        return log.offsets_at(self._settings, topics, timestamp_ms)


def settled_offsets(
    position: Offsets, now: float, longest_wait_s: float, reader: LogReader
) -> dict[str, dict[int, int]]:
    """Per partition the first offset below the position whose record may wait in an open window at a watermark."""
    last = clock.last_settled(longest_wait_s, now)
    if last < 0:  # nothing was read yet; Kafka knows no time before 1970
        return {}
    waiting = reader.offsets_at(position, math.floor(last) + 1)
    return {
        topic: {p: min(offset, waiting.get(topic, {}).get(p, offset)) for p, offset in of.items()}
        for topic, of in position.items()
    }


def last_begin(clocks: Iterable[tuple[float, str]], window_seconds: float) -> dt.datetime | None:
    """Where the last window begins that has ended at each watermark, on the wall clock of its zone; None: none has."""
    passed = [clock.local(now, zone) for now, zone in clocks]
    ended = [at for at in passed if at is not None]
    if len(ended) < len(passed):
        return None
    return min(ended) - dt.timedelta(seconds=window_seconds)
