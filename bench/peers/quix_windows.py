# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["quixstreams==3.28.1", "fastavro==1.13.1", "pyarrow==20.0.0"]
# ///
"""Quix Streams: a state per flight for the first of it, then windows of an hour, with state in RocksDB and in Kafka.

Windows are read as they are updated (`current`), for the last ones never close: their newest values are the table.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
from quixstreams import Application, State
from quixstreams.dataframe.windows import Count, Max, Sum

from bench.peers.common import HOUR_MS, LATE_MS, Work, command_line, happened_ms, schemas
from bench.peers.counting import table_of
from bench.peers.decoding import decoder

DRIFT = timedelta(days=30)
SILENCE = 10.0
"""Seconds without a record after which all are there; not counted: the output is dated when the last row came."""


def main() -> None:
    """Read, count, write."""
    work = command_line()
    app = Application(
        work.bootstrap,
        consumer_group=f"kappa-peer-{uuid.uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        state_dir=work.folder / "state",
        loglevel="ERROR",
    )
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    last = [time.time()]

    def keep(value: dict[str, Any], key: str, *_: Any) -> None:
        newest[key, value["start"]] = value
        last[0] = time.time()

    flow(app, work).update(keep, metadata=True)
    work.ready()
    app.run(timeout=SILENCE)
    rows = [
        (
            *key.split("|"),
            start // HOUR_MS,
            v["flights"],
            v["cancelled"],
            v["delay"],
            v["delays"],
            v["worst"],
        )
        for (key, start), v in newest.items()
    ]
    pq.write_table(table_of(rows), work.output)
    os.utime(work.output, (last[0], last[0]))


def flow(app: Application, work: Work) -> Any:
    """The product, from the topic to the updates of its rows."""
    decode = decoder(schemas(work))

    def on_time(value: bytes | None, _: str, appended: int, __: Any) -> dict[str, Any] | None:
        flight = decode(value)
        if flight is None:
            return None
        happened = happened_ms(flight)
        if happened < appended - LATE_MS:
            return None
        return {
            "origin": flight["origin"],
            "carrier": flight["carrier"],
            "happened": happened,
            "cancelled": int(flight["dep_time"] is None),
            "dep_delay": flight["dep_delay"],
        }

    def first(_: dict[str, Any], state: State) -> bool:
        if state.exists("seen"):
            return False
        state.set("seen", True)
        return True

    topic = app.topic(work.topic, key_deserializer="str", value_deserializer="bytes")
    flights = (
        app.dataframe(topic).apply(on_time, metadata=True).filter(lambda flight: flight is not None)
    )
    flights = flights.set_timestamp(lambda flight, *_: flight["happened"]).filter(
        first, stateful=True
    )
    routes = flights.group_by(
        lambda flight: f"{flight['origin']}|{flight['carrier']}", name="route"
    )
    return (
        routes.tumbling_window(timedelta(hours=1), grace_ms=DRIFT)
        .agg(
            flights=Count(),
            cancelled=Sum("cancelled"),
            delay=Sum("dep_delay"),
            delays=Count("dep_delay"),
            worst=Max("dep_delay"),
        )
        .current()
    )


if __name__ == "__main__":
    main()
