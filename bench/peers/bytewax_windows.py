# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["bytewax==0.21.1", "confluent-kafka==2.16.0", "fastavro==1.13.1", "pyarrow==20.0.0"]
# ///
"""Bytewax: windows of an hour per origin and carrier, which hold each flight once.

A key has one watermark over all partitions, so windows stay open for as long as partitions may drift apart: DRIFT.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import pyarrow.parquet as pq
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing as w
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from bench.peers.common import HOUR_MS, LATE_MS, Work, command_line, happened_ms, schemas
from bench.peers.counting import Hour, table_of
from bench.peers.decoding import decoder

DRIFT = timedelta(days=30)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = tuple[Any, ...]


def main() -> None:
    """Read, count, write."""
    work = command_line()
    run_main(dataflow(work))


def dataflow(work: Work) -> Dataflow:
    """The product, from the topic to the file."""
    decode = decoder(schemas(work))

    def on_time(message: Any) -> tuple[str, dict[str, Any]] | None:
        flight = decode(message.value)
        if flight is None:
            return None
        happened = happened_ms(flight)
        if happened < message.timestamp[1] - LATE_MS:
            return None
        flight["happened"] = EPOCH + timedelta(milliseconds=happened)
        return f"{flight['origin']}|{flight['carrier']}", flight

    def row(counted: tuple[str, tuple[int, Hour]]) -> Row:
        key, (window, hour) = counted
        origin, carrier = key.split("|")
        return origin, carrier, window, *hour.row()

    flow = Dataflow("peer")
    log = op.input("log", flow, KafkaSource([work.bootstrap], [work.topic], tail=False))
    flights = op.filter_map("on_time", log, on_time)
    clock = w.EventClock(lambda flight: flight["happened"], DRIFT, to_system_utc=lambda _: None)
    windower = w.TumblingWindower(timedelta(milliseconds=HOUR_MS), EPOCH)
    hourly = w.fold_window("hourly", flights, clock, windower, Hour, Hour.add, Hour.merge)
    op.output("out", op.map("row", hourly.down, row), ParquetSink(work))
    work.ready()
    return flow


class ParquetSink(DynamicSink):  # type: ignore[misc]
    """One file, written at the end: there is no such sink."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Part:
        """The only one."""
        return Part(self._work)


class Part(StatelessSinkPartition):  # type: ignore[misc]
    """Collects the rows."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._rows: list[Row] = []

    def write_batch(self, items: list[Row]) -> None:
        """More rows."""
        self._rows += items

    def close(self) -> None:
        """No more rows."""
        pq.write_table(table_of(self._rows), self._work.output)


if __name__ == "__main__":
    main()
