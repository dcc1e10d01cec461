# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["pathway==0.33.0", "fastavro==1.13.1", "pyarrow>=19,<21"]
# ///
"""Pathway: two groupings kept up to date, one per flight and one per hour, over what the topic holds (mode static).

Groups, not its windows: their one watermark loses what lagging partitions bring. All state stays in memory.
"""

from __future__ import annotations

from typing import Any

import pathway as pw
import pyarrow.parquet as pq

from bench.peers.common import HOUR_MS, LATE_MS, Work, command_line, happened_ms, schemas
from bench.peers.counting import table_of
from bench.peers.decoding import decoder

NONE = -1_000_000
"""A delay that is not known."""
IDENTITY = ("carrier", "flight", "origin", "flight_date", "sched_dep_time")


def main() -> None:
    """Read, count, write."""
    work = command_line()
    rows: dict[Any, tuple[Any, ...]] = {}

    def keep(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            rows[key] = tuple(
                row[c]
                for c in (
                    "origin",
                    "carrier",
                    "hour",
                    "flights",
                    "cancelled",
                    "delay",
                    "delays",
                    "worst",
                )
            )
        else:
            rows.pop(key, None)

    pw.io.subscribe(hourly(work), keep)
    work.ready()
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    plain = [(*row[:-1], None if row[-1] == NONE else row[-1]) for row in rows.values()]
    pq.write_table(table_of(plain), work.output)


def hourly(work: Work) -> Any:
    """The product, from the topic to its rows."""
    decode = decoder(schemas(work))

    def on_time(value: bytes | None, metadata: Any) -> tuple[str, str, str, int, int, int] | None:
        flight = decode(value)
        if flight is None:
            return None
        happened = happened_ms(flight)
        if happened < metadata.value["timestamp_millis"] - LATE_MS:
            return None
        delay = flight["dep_delay"]
        return (
            "|".join(str(flight[c]) for c in IDENTITY),
            flight["origin"],
            flight["carrier"],
            happened // HOUR_MS,
            int(flight["dep_time"] is None),
            NONE if delay is None else delay,
        )

    settings = {
        "bootstrap.servers": work.bootstrap,
        "group.id": "kappa-peer-pathway",
        "auto.offset.reset": "earliest",
    }
    log = pw.io.kafka.read(
        settings, work.topic, format="raw", mode="static", with_metadata=True, autogenerate_key=True
    )
    read = log.select(flight=pw.apply(on_time, pw.this.data, pw.this._metadata))
    kept = read.filter(pw.this.flight.is_not_none())
    columns = {
        name: pw.this.flight.get(i)
        for i, name in enumerate(("identity", "origin", "carrier", "hour", "cancelled", "delay"))
    }
    flights = kept.select(**columns)
    once = flights.groupby(pw.this.identity).reduce(
        **{
            c: pw.reducers.any(pw.this[c])
            for c in ("origin", "carrier", "hour", "cancelled", "delay")
        }
    )
    known = once.select(*pw.this, known=pw.if_else(pw.this.delay == NONE, 0, 1))
    return known.groupby(pw.this.origin, pw.this.carrier, pw.this.hour).reduce(
        pw.this.origin,
        pw.this.carrier,
        pw.this.hour,
        flights=pw.reducers.count(),
        cancelled=pw.reducers.sum(pw.this.cancelled),
        delay=pw.reducers.sum(pw.this.delay * pw.this.known),
        delays=pw.reducers.sum(pw.this.known),
        worst=pw.reducers.max(pw.this.delay),
    )


if __name__ == "__main__":
    main()
