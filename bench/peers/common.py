"""What every peer is told, and what the log's records mean. Runs in each peer's own environment: the standard library.

A peer reads the topic up to the end offsets, drops what cannot be decoded and what is late, counts each flight once and
writes hourly_departures: as Parquet into --output, or into a table of its own, whose metadata file it names there.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
HEADER = 5
"""Bytes of Confluent's wire format before the Avro body."""
HOUR_MS = 3_600_000
LATE_MS = 6 * HOUR_MS
COLUMNS = ("origin", "carrier", "hour", "flights", "cancelled", "mean_dep_delay", "worst_dep_delay")
_DAY_0 = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Work:
    """One run of a peer."""

    bootstrap: str
    registry: str
    topic: str
    ends: dict[int, int]
    """Offset behind the last record to read, per partition."""
    output: Path
    folder: Path
    """For state, checkpoints and tables of its own; empty, and removed afterwards."""
    processes: int

    def ready(self) -> None:
        """Say that starting is over and reading begins."""
        (self.folder / "ready").touch()


def command_line() -> Work:
    """The same for every peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True, help="Kafka, host:port")
    parser.add_argument("--registry", required=True, help="URL of the schema registry")
    parser.add_argument("--topic", default="flights")
    parser.add_argument(
        "--ends", required=True, help='offsets to read up to, as JSON: {"0": 85000, …}'
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument(
        "--folder", required=True, type=Path, help="for state and tables of its own"
    )
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    ends = {int(partition): int(end) for partition, end in json.loads(args.ends).items()}
    return Work(
        args.bootstrap, args.registry, args.topic, ends, args.output, args.folder, args.processes
    )


def schemas(work: Work) -> dict[int, str]:
    """The registered schemas of the topic's values, by the id that records carry."""
    subject = f"{work.registry}/subjects/{work.topic}-value/versions"
    versions = [_json(f"{subject}/{version}") for version in _json(subject)]
    return {version["id"]: version["schema"] for version in versions}


def _json(url: str) -> Any:
    # the registry is never behind a proxy
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return json.load(answer)


def header(identity: int) -> bytes:
    """The bytes before the body of a record with this schema."""
    return b"\0" + identity.to_bytes(4, "big")


def happened_ms(flight: Mapping[str, Any]) -> int:
    """When it left, or should have: the scheduled time on New York's clock plus the delay; ms since 1970.

    Its date in days since 1970.
    """
    hours, minutes = divmod(flight["sched_dep_time"], 100)
    after: int = minutes + (flight["dep_delay"] or 0)
    return _instant_ms(flight["flight_date"], hours) + after * 60_000


@lru_cache(100_000)
def _instant_ms(day: int, hour: int) -> int:
    wall = _DAY_0 + timedelta(days=day, hours=hour)  # hour 24 is the next day's first
    return round(wall.replace(tzinfo=ZONE).timestamp() * 1000)


@lru_cache(100_000)
def local_hour(hour: int) -> datetime:
    """The start of an hour, counted since 1970, on New York's clock."""
    return datetime.fromtimestamp(hour * 3600, ZONE).replace(tzinfo=None)
