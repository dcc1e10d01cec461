# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["confluent-kafka==2.16.0", "fastavro==1.13.1", "duckdb==1.5.5", "pyarrow==20.0.0"]
# ///
"""The plain alternative: a Python script that reads the whole log into DuckDB and asks it once.

With --processes 2 each process counts its own partitions: a flight sent twice has one key, so one partition.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import duckdb
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench.peers.common import Work, command_line, schemas
from bench.peers.decoding import decoder

BATCH = 50_000
SCHEMA = pa.schema(
    {
        "appended": pa.int64(),
        "flight_date": pa.int32(),
        "sched_dep_time": pa.int32(),
        "dep_time": pa.int32(),
        "dep_delay": pa.int32(),
        "carrier": pa.string(),
        "flight": pa.int32(),
        "origin": pa.string(),
    }
)
FIELDS = SCHEMA.names[1:]
ON_TIME = """
CREATE TABLE on_time AS SELECT * FROM (
  SELECT *, timezone('America/New_York',
                     DATE '1970-01-01' + flight_date + to_minutes(sched_dep_time // 100 * 60 + sched_dep_time % 100))
            + to_minutes(coalesce(dep_delay, 0)) AS happened
  FROM batch)
WHERE happened >= make_timestamptz(appended * 1000) - INTERVAL 6 HOURS
"""
PARTS = """
SELECT origin, carrier, date_trunc('hour', timezone('America/New_York', happened)) AS hour, count(*) AS flights,
       count(*) FILTER (dep_time IS NULL) AS cancelled, sum(dep_delay) AS delay, count(dep_delay) AS delays,
       max(dep_delay) AS worst
FROM (SELECT DISTINCT ON (carrier, flight, origin, flight_date, sched_dep_time) * FROM on_time)
GROUP BY ALL
"""
HOURLY = """
COPY (SELECT origin, carrier, hour, sum(flights)::BIGINT AS flights, sum(cancelled)::BIGINT AS cancelled,
             sum(delay)::DOUBLE / nullif(sum(delays), 0) AS mean_dep_delay, max(worst) AS worst_dep_delay
      FROM parts GROUP BY ALL) TO '{}' (FORMAT parquet)
"""


def main() -> None:
    """Read, count, write."""
    work = command_line()
    shares = [sorted(work.ends)[i :: work.processes] for i in range(work.processes)]
    if work.processes == 1:
        parts = count(work, shares[0])
    else:
        with ProcessPoolExecutor(work.processes, multiprocessing.get_context("spawn")) as pool:
            parts = pa.concat_tables(pool.map(count, [work] * work.processes, shares))
    db = duckdb.connect()
    db.register("parts", parts)
    db.execute(HOURLY.format(work.output))


def count(work: Work, partitions: list[int]) -> pa.Table:
    """Counts and sums of some partitions, each flight once."""
    db = duckdb.connect()
    db.execute(f"SET threads = {max(1, 2 // work.processes)}; SET TimeZone = 'UTC'")
    command = ON_TIME
    for batch in batches(work, partitions):
        db.register("batch", batch)
        db.execute(command)
        command = ON_TIME.replace("CREATE TABLE on_time AS", "INSERT INTO on_time")
    return db.execute(PARTS).to_arrow_table()


def batches(work: Work, partitions: list[int]) -> Iterator[pa.Table]:
    """The flights of some partitions up to their ends."""
    decode = decoder(schemas(work))
    rows: list[tuple[Any, ...]] = []
    work.ready()
    for value, appended in records(work, partitions):
        if (flight := decode(value)) is not None:
            rows.append((appended, *[flight[f] for f in FIELDS]))
            if len(rows) == BATCH:
                yield _table(rows)
                rows.clear()
    yield _table(rows)


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], SCHEMA)


def records(work: Work, partitions: list[int]) -> Iterator[tuple[bytes | None, int]]:
    """Value and time of every record."""
    consumer = Consumer(
        {
            "bootstrap.servers": work.bootstrap,
            "group.id": "peer-duckdb",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 8 << 20,
            "queued.max.messages.kbytes": 64 << 10,
        }
    )
    missing = {p: work.ends[p] for p in partitions if work.ends[p]}
    consumer.assign([TopicPartition(work.topic, p, 0) for p in missing])
    left, heard = sum(missing.values()), time.monotonic()
    while left:
        for message in consumer.consume(min(10_000, left), 1.0):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            if (message.offset() or 0) < missing[message.partition() or 0]:
                left, heard = left - 1, time.monotonic()
                yield message.value(), message.timestamp()[1]
        if time.monotonic() - heard > 30:
            raise TimeoutError(f"Kafka sent nothing for 30 s; {left} records are missing")
    consumer.close()


if __name__ == "__main__":
    main()
