"""A topic of JSON without a registry: live, replayed and verified, each record against plain Python."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from replay import offsets
from replay.kafka import log
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs

FOLDER = Path(__file__).parents[1] / "products" / "parcels"
TOPIC, PLACES, NAME = "depot.parcel-scans", "depot.places", "parcels"
BEGIN = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
pytestmark = pytest.mark.timeout(600)
BAD = (
    b"not JSON",
    b"",
    b'{"scan-id": "cut off',
    b"\xef\xbb\xbf{}",
    b'{"scan-id": "\xff"}',
    b"[" * 200,
    b"{}",
    b"null",
)
"""Values that are no scan, whatever their fields."""
HEADER = b"\0\0\0\0\x07"
DEPOTS = {"Köln": ("Cologne", None), "Łódź": ("Lodz", dt.date(1969, 7, 20))}
"""Name → city, and when it was opened; of the third depot nothing is known."""


@dataclass
class Log:
    """The topic, and what should become of what was appended to it."""

    stack: RunningStack
    rows: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    """(Partition, offset) → the scan, of those that the row table has."""
    counts: Counter[str] = field(default_factory=Counter)
    """Class of the audit → records."""
    ends: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        self.random = random.Random(20240301)
        log.create_topics(self.stack.settings, {TOPIC: 2, PLACES: 1})
        self._producer = Producer(
            {**self.stack.settings.kafka, "enable.idempotence": True, "log_level": 0}
        )

    def places(self) -> None:
        """The depots, one of them twice, and records that are none."""
        for name, (city, opened) in DEPOTS.items():
            days = None if opened is None else (opened - dt.date(1970, 1, 1)).days
            for said in ("an older name", city):
                value = HEADER + json.dumps({"city": said, "opened": days}).encode()
                self.place(json.dumps({"depot": name}).encode(), value)
            self.place(json.dumps({"depot": name}).encode(), None)  # is no version
        self.place(b"depot 3", HEADER + b'{"city": "by a key that is no JSON"}')
        self.place(b'{"depot": "depot \xf0\x9f\x98\x80"}', b'{"city": "without a schema id"}')
        self.place(None, HEADER + b'{"city": "without a key"}')
        assert self._producer.flush(30) == 0

    def place(self, key: bytes | None, value: bytes | None) -> None:
        self._producer.produce(PLACES, value, key, timestamp=round(BEGIN.timestamp() * 1000) - 1)

    def scan(self, at: dt.datetime) -> dict[str, Any]:
        """A scan of this time."""
        r = self.random
        return {
            "parcel_id": r.choice(["p1", "p2", "Paket ü", "", None]),
            "scan_id": f"s{r.getrandbits(64):x}",
            "at": round(at.timestamp() * 1000),
            "depot": r.choice(["Köln", "Łódź", "depot 😀"]),
            "weight": Decimal(r.randrange(1, 10**9)).scaleb(-3),
            "serial": r.choice([None, 2**63 - 1, 2**53 + 1, -1]),
            "promised": r.choice([None, at + dt.timedelta(days=1, microseconds=1)]),
            "route": [r.choice("abc") for _ in range(r.randrange(3))],
            "fragile": r.choice([None, True, False]),
            "label": r.choice([None, bytes(r.randrange(256) for _ in range(5))]),
        }

    def text(self, scan: dict[str, Any]) -> str:
        """One of the ways in which a program may write it."""
        r = self.random
        serial = scan["serial"]
        fields = [
            f'"scan-id": {json.dumps(scan["scan_id"])}',
            f'"scannedAt": {scan["at"]}' + r.choice(["", ".0", "e0"]),
            f'"depot": {json.dumps(scan["depot"], ensure_ascii=r.random() < 0.5)}',
            f'"weight": {scan["weight"]:f}' + r.choice(["", "00"]),
            f'"route": {json.dumps([{"depot": d, "due": "2024-03-02"} for d in scan["route"]])}',
            '"firmware": {"version": [1, 2, {"x": null}], "depot": 1e400}',
        ]
        if serial is not None or r.random() < 0.5:
            fields.append(f'"serial": {json.dumps(serial)}')
        if scan["promised"] is not None:
            zone = dt.timezone(dt.timedelta(hours=r.randrange(-3, 4)))
            fields.append(f'"promised": "{scan["promised"].astimezone(zone).isoformat()}"')
        if scan["fragile"] is not None:
            fields.append(f'"flags": {{"fragile": {json.dumps(scan["fragile"])}}}')
        if scan["label"] is not None:
            fields.append(f'"label": "{base64.b64encode(scan["label"]).decode()}"')
        r.shuffle(fields)
        return "{" + r.choice([", ", " ,\n"]).join(fields) + "}"

    def append(
        self,
        partition: int,
        value: bytes | None,
        at: dt.datetime,
        kind: str,
        key: str | bytes | None = None,
    ) -> int:
        milliseconds = round(at.timestamp() * 1000)
        self._producer.produce(TOPIC, value, key, partition=partition, timestamp=milliseconds)
        self.counts[kind] += 1
        self.ends[partition] += 1
        return self.ends[partition] - 1

    def event(self, partition: int, scan: dict[str, Any], at: dt.datetime, kind: str) -> None:
        value = self.text(scan).encode()
        offset = self.append(partition, value, at, kind, scan["parcel_id"])
        if kind == "rows":
            self.rows[partition, offset] = scan

    def hours(self, first: int, count: int) -> None:
        """Scans of some hours, with everything that can be wrong, and heartbeats."""
        for hour in range(first, first + count):
            for partition in (0, 1):
                for _ in range(4):
                    at = BEGIN + hour * HOUR + dt.timedelta(seconds=self.random.randrange(3_500))
                    scan = self.scan(at)
                    self.event(partition, scan, at, "rows")
                at = BEGIN + hour * HOUR + dt.timedelta(minutes=59)
                scan = self.scan(at)
                self.event(partition, scan, at, "rows")
                self.event(partition, scan, at, "duplicates")
                self.append(partition, self.text(scan).encode(), at, "undecodable", b"p\xff")
                for wrong in self.wrong(self.text(self.scan(at))):
                    self.append(partition, wrong, at, "undecodable")
                late = self.text(self.scan(at - 3 * HOUR)).encode()
                self.append(partition, late, at, "late")
        for partition in (0, 1):
            self.append(partition, None, BEGIN + (first + count + 4) * HOUR, "heartbeats")
        assert self._producer.flush(30) == 0

    def wrong(self, text: str) -> list[bytes]:
        """Some documents that are no scan."""
        spoilt = (
            text + " x",
            text.replace("{", '{"depot": "twice", ', 1),
            text.replace('"scannedAt"', '"scanned_at"'),
            text.replace('"weight": ', '"weight": 1e9, "w": '),
            text.replace('"weight": ', '"weight": "1", "w": '),
            text.replace('"scannedAt": ', '"scannedAt": 0.5, "x": '),
            text.replace('"scan-id": "', '"scan-id": "\\ud83d'),
            text.replace("{", '{"serial": 9223372036854775808, ', 1),
        )
        known = [s.encode() for s in spoilt if s != text]
        return self.random.sample([*BAD, *known], 3)

    def hourly(self) -> dict[tuple[str, int], tuple[int, Decimal]]:
        """(depot, hour in milliseconds) → scans and their weight."""
        found: dict[tuple[str, int], tuple[int, Decimal]] = {}
        for scan in self.rows.values():
            key = scan["depot"], scan["at"] // 3_600_000 * 3_600_000
            count, weight = found.get(key, (0, Decimal(0)))
            found[key] = count + 1, weight + scan["weight"]
        return found


@pytest.fixture(scope="module")
def parcels(stack: RunningStack) -> Iterator[Log]:
    written = Log(stack)
    written.places()
    written.hours(0, 12)
    try:
        stack.kappa("deploy", NAME, "--from", str(FOLDER), "--timeout", "240")
        yield written
    finally:
        stop_jobs(stack, NAME)


def everything_is_right(parcels: Log) -> None:
    """Every table against plain Python, and each record accounted for."""
    kappa = parcels.stack.kappa
    rows = kappa.json(
        "query",
        NAME,
        "SELECT *, epoch_ms(scanned_at) AS at, epoch_us(promised) AS promised_us, weight::VARCHAR AS kg, "
        "lower(hex(label)) AS label_hex FROM scan_rows",
    )
    assert {(r["log_partition"], r["log_offset"]): as_told(r) for r in rows} == {
        place: as_written(scan) for place, scan in parcels.rows.items()
    }
    hours = kappa.json(
        "query",
        NAME,
        'SELECT depot, epoch_ms("hour") AS at, scans, weight::VARCHAR AS weight FROM hourly_scans',
    )
    assert {
        (h["depot"], h["at"]): (h["scans"], Decimal(h["weight"])) for h in hours
    } == parcels.hourly()
    report = kappa.json("audit", NAME)
    assert report["ok"]
    told: Counter[str] = Counter()
    (places,) = [p for p in report["partitions"] if p["topic"] == PLACES]
    assert {k: places.get(k, 0) for k in ("versions", "undecodable", "no_key")} == {
        "versions": 4,
        "undecodable": 2,
        "no_key": 1,
    }
    for partition in [p for p in report["partitions"] if p["topic"] == TOPIC]:
        told.update({kind: partition.get(kind, 0) for kind in parcels.counts})
    assert told == parcels.counts


def as_told(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "parcel_id": row["parcel_id"],
        "scan_id": row["scan_id"],
        "at": row["at"],
        "depot": row["depot"],
        "place": (row["city"], row["opened"]),
        "weight": Decimal(row["kg"]),
        "serial": row["serial"],
        "promised": row["promised_us"],
        "route": [stop["depot"] for stop in row["route"]],
        "fragile": row["fragile"],
        "label": row["label_hex"],
    }


def as_written(scan: dict[str, Any]) -> dict[str, Any]:
    promised, (city, opened) = scan["promised"], DEPOTS.get(scan["depot"], (None, None))
    return {
        **scan,
        "place": (city, opened.isoformat() if opened else None),
        "promised": None if promised is None else round(promised.timestamp() * 1_000_000),
        "label": None if scan["label"] is None else scan["label"].hex(),
    }


def test_what_was_in_the_log(parcels: Log) -> None:
    everything_is_right(parcels)


def test_what_comes_while_it_is_live_and_when_it_is_replayed(parcels: Log) -> None:
    parcels.hours(16, 6)
    wanted = {TOPIC: dict(enumerate(parcels.ends)), PLACES: {0: 7}}
    wait_until(lambda: offsets.covers(published(parcels.stack), wanted), 120, "it is published")
    everything_is_right(parcels)
    told = parcels.stack.kappa("verify", NAME, "--output", "json").stdout
    verified = json.loads(told.splitlines()[-1])
    assert verified["equal"] and verified["not_compared"] == {} and verified["rows"] > 150


def published(stack: RunningStack) -> offsets.Offsets:
    shown = Store(stack.settings.store).load(NAME).published
    return shown.covered if shown else {}
