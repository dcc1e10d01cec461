"""Counts of an hour, each flight once, for the peers whose aggregations are Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from bench.peers.common import COLUMNS, local_hour


class Hour:
    """The flights of one origin and carrier in one hour."""

    def __init__(self) -> None:
        self.delays: dict[tuple[Any, ...], tuple[bool, int | None]] = {}
        """Of each flight: was it cancelled, and how late was it."""

    def add(self, flight: dict[str, Any]) -> Hour:
        """One more, or one again."""
        identity = (flight["flight"], flight["flight_date"], flight["sched_dep_time"])
        self.delays.setdefault(identity, (flight["dep_time"] is None, flight["dep_delay"]))
        return self

    def merge(self, other: Hour) -> Hour:
        """Two halves."""
        self.delays = other.delays | self.delays
        return self

    def row(self) -> tuple[int, int, int, int, int | None]:
        """flights, cancelled, sum and count of the delays, the worst of them."""
        delays = [delay for _, delay in self.delays.values() if delay is not None]
        return (
            len(self.delays),
            sum(cancelled for cancelled, _ in self.delays.values()),
            sum(delays),
            len(delays),
            max(delays, default=None),
        )


def table_of(rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """hourly_departures from origin, carrier, hour since 1970, then what Hour.row() gives."""
    plain = [
        (
            origin,
            carrier,
            local_hour(hour),
            flights,
            cancelled,
            delay / delays if delays else None,
            worst,
        )
        for origin, carrier, hour, flights, cancelled, delay, delays, worst in rows
    ]
    types = (
        pa.string(),
        pa.string(),
        pa.timestamp("us"),
        pa.int64(),
        pa.int64(),
        pa.float64(),
        pa.int32(),
    )
    columns = zip(*plain, strict=True) if plain else [()] * len(COLUMNS)
    return pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], list(COLUMNS))
