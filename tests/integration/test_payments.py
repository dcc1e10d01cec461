"""Nested data, decimals, enums and a dotted topic, in Tokyo: live, replayed and verified, each against plain Python."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fastavro
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema

from jobs.product.folder import load_product
from replay import offsets
from replay.kafka import log, schema_registry
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs

FOLDER = Path(__file__).parents[1] / "products" / "payments"
TOPIC, NAME, ZONE = "srv.inv.payments", "payments", ZoneInfo("Asia/Tokyo")
BEGIN = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@dataclass
class Log:
    """The topic, and what should become of what was appended to it."""

    stack: RunningStack
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Offset → the record, of those that the row table has."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Each event once: what the aggregates are of."""
    counts: Counter[str] = field(default_factory=Counter)
    """Class of the audit → records."""
    offset: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(20240301)
        text = (FOLDER / "schemas" / "payments.avsc").read_text()
        now = json.loads(text)
        # What producers wrote before there were a currency, tags and a number of the order.
        before = {
            **now,
            "fields": [f for f in now["fields"] if f["name"] not in ("currency", "tags", "order")],
        }
        log.create_topics(self.stack.settings, {TOPIC: 1})
        with schema_registry.client(self.stack.settings) as registry:
            ids = [
                registry.register_schema(f"{TOPIC}-value", Schema(json.dumps(s), "AVRO"))
                for s in (before, now)
            ]
        self._schemas = {
            i: fastavro.parse_schema(s) for i, s in zip(ids, (before, now), strict=True)
        }
        self.before, self.now = ids
        self._producer = Producer(
            {**self.stack.settings.kafka, "enable.idempotence": True, "log_level": 0}
        )

    def payment(self, at: dt.datetime) -> dict[str, Any]:
        """A payment of this time."""
        r = self.random
        return {
            "payment_id": uuid.UUID(int=r.getrandbits(128), version=4),
            "paid_at": at,
            "status": r.choice(["NEW", "PAID", "TEST"]),
            "currency": r.choice(["EUR", "JPY", "USD"]),
            "amount": Decimal(r.randrange(-(10**8), 10**12)).scaleb(-4),
            "fee": r.choice([None, Decimal(r.randrange(10**6)).scaleb(-2)]),
            "customer": {
                "name": r.choice(["Ōta", "Müller", ""]),
                "since": r.choice([None, dt.date(1969, 7, 20)]),
            },
            "items": [
                {"sku": r.choice("abc"), "quantity": r.randrange(1, 9)}
                for _ in range(r.randrange(3))
            ],
            "tags": {"channel": r.choice(["web", "shop"])} if r.random() < 0.7 else {},
            "payload": r.choice([None, b"\x00\xff"]),
            "error": r.choice([None, "none"]),
            "order": r.randrange(2**62),
        }

    def append(self, value: bytes | None, appended: dt.datetime, kind: str) -> int:
        self._producer.produce(
            TOPIC, value, partition=0, timestamp=round(appended.timestamp() * 1000)
        )
        self.counts[kind] += 1
        self.offset += 1
        return self.offset - 1

    def encode(self, record: dict[str, Any], schema_id: int) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._schemas[schema_id], record)
        return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()

    def event(self, record: dict[str, Any], schema_id: int, appended: dt.datetime) -> None:
        """A payment that is on time."""
        read = (
            record
            if schema_id == self.now
            else {**record, "currency": "EUR", "tags": {}, "order": 0}
        )
        kept = read["status"] != "TEST"
        offset = self.append(
            self.encode(record, schema_id), appended, "rows" if kept else "filtered"
        )
        self.events.append(read)
        if kept:
            self.rows[offset] = read

    def hours(self, first: int, count: int) -> None:
        """Payments of some hours, with everything that can be wrong, and a heartbeat."""
        for hour in range(first, first + count):
            for _ in range(3):
                at = (
                    BEGIN
                    + hour * HOUR
                    + dt.timedelta(microseconds=self.random.randrange(3_600_000_000))
                )
                self.event(self.payment(at), self.random.choice([self.before, self.now]), at)
            at = BEGIN + hour * HOUR + dt.timedelta(minutes=59, seconds=59)
            if hour % 5 == 0:
                record = self.payment(at)
                self.event(record, self.now, at)
                twice = "filtered" if record["status"] == "TEST" else "duplicates"
                self.append(self.encode(record, self.now), at, twice)
            if hour % 7 == 0:
                for kind, wrong in (("late", at - 3 * HOUR), ("ahead", at + 48 * HOUR)):
                    self.append(self.encode(self.payment(wrong), self.now), at, kind)
                too_large = self.encode({**self.payment(at), "paid_at": 2**62}, self.now)
                self.append(too_large, at, "undecodable")
                self.append(b"\0no Avro", at, "undecodable")
                # Dated before the records in front of it, and not late by its own timestamp.
                behind = at - 2 * HOUR
                self.append(self.encode(self.payment(behind), self.now), behind, "out_of_order")
        self.append(None, BEGIN + (first + count + 4) * HOUR, "heartbeats")
        assert self._producer.flush(30) == 0

    def expected_days(self, hours: int) -> dict[tuple[str, dt.date], tuple[int, Decimal]]:
        """(currency, day in Tokyo) → payments and their amount, of the days that are over."""
        found: dict[tuple[str, dt.date], tuple[int, Decimal]] = {}
        for e in self._over(hours):
            key = e["currency"], e["paid_at"].astimezone(ZONE).date()
            count, amount = found.get(key, (0, Decimal(0)))
            found[key] = count + 1, amount + e["amount"]
        return found

    def expected_items(self, hours: int) -> dict[tuple[str, dt.date], int]:
        found: Counter[tuple[str, dt.date]] = Counter()
        for e in self._over(hours):
            for item in e["items"]:
                found[item["sku"], e["paid_at"].astimezone(ZONE).date()] += item["quantity"]
        return dict(found)

    def _over(self, hours: int) -> list[dict[str, Any]]:
        # the clock less the allowed lateness
        today = (BEGIN + (hours + 3) * HOUR).astimezone(ZONE).date()
        return [e for e in self.events if e["paid_at"].astimezone(ZONE).date() < today]


@pytest.fixture(scope="module")
def payments(stack: RunningStack) -> Iterator[Log]:
    written = Log(stack)
    written.hours(0, 30)
    try:
        stack.kappa("deploy", NAME, "--from", str(FOLDER), "--timeout", "240")
        yield written
    finally:
        stop_jobs(stack, NAME)


def everything_is_right(payments: Log, hours: int) -> None:
    """Every table against plain Python, and each record accounted for."""
    kappa = payments.stack.kappa
    rows = kappa.json(
        "query", NAME, "SELECT *, epoch_us(paid_at) AS us FROM payment_rows ORDER BY log_offset"
    )
    assert [r["log_offset"] for r in rows] == sorted(payments.rows)
    for row in rows:
        assert as_told(row) == as_written(payments.rows[row["log_offset"]]), row["log_offset"]
    days = kappa.json(
        "query",
        NAME,
        'SELECT currency, "day", payments, amount::VARCHAR AS amount FROM daily_amounts',
    )
    assert {
        (d["currency"], dt.date.fromisoformat(d["day"])): (d["payments"], Decimal(d["amount"]))
        for d in days
    } == (payments.expected_days(hours))
    items = kappa.json("query", NAME, 'SELECT sku, "day", quantity FROM daily_items')
    assert {
        (i["sku"], dt.date.fromisoformat(i["day"])): i["quantity"] for i in items
    } == payments.expected_items(hours)
    report = kappa.json("audit", NAME)
    (partition,) = report["partitions"]
    assert report["ok"]
    assert {kind: partition.get(kind, 0) for kind in payments.counts} == dict(payments.counts)


def as_told(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table in the form of `as_written`."""
    return {
        "id": row["payment_id"],
        "us": row["us"],
        "status": row["status"],
        "currency": row["currency"],
        "amount": Decimal(str(row["amount"])),
        "fee": None if row["fee"] is None else Decimal(str(row["fee"])),
        "name": row["customer"]["name"],
        "customer_name": row["customer_name"],
        "since": row["customer"]["since"],
        "items": [(i["sku"], i["quantity"]) for i in row["items"]],
        "item_count": row["item_count"],
        "tags": dict(row["tags"]),
        "channel": row["channel"],
        "payload": row["payload"],
        "error": row["error"],
        "order": row["order"],
    }


def as_written(e: dict[str, Any]) -> dict[str, Any]:
    since = e["customer"]["since"]
    return {
        "id": str(e["payment_id"]),
        "us": round(e["paid_at"].timestamp() * 1_000_000),
        "status": e["status"],
        "currency": e["currency"],
        "amount": e["amount"],
        "fee": e["fee"],
        "name": e["customer"]["name"],
        "customer_name": e["customer"]["name"],
        "since": since.isoformat() if since else None,
        "items": [(i["sku"], i["quantity"]) for i in e["items"]],
        "item_count": len(e["items"]),
        "tags": e["tags"],
        "channel": e["tags"].get("channel"),
        "payload": base64.b64encode(e["payload"]).decode() if e["payload"] else None,
        "error": e["error"],
        "order": e["order"],
    }


def test_what_was_in_the_log(payments: Log) -> None:
    everything_is_right(payments, 30)


def test_what_comes_while_it_is_live(payments: Log) -> None:
    stack = payments.stack
    for first in range(34, 98, 16):
        # each begins where the heartbeat behind the one before put the clock
        payments.hours(first, 12)
        wait_until(
            lambda: offsets.covers(published(stack), {TOPIC: {0: payments.offset}}),
            120,
            "it is published",
        )
    everything_is_right(payments, 94)


def test_the_same_when_it_is_replayed(payments: Log) -> None:
    # a line for each step, the verdict last
    told = payments.stack.kappa("verify", NAME, "--output", "json").stdout
    verified = json.loads(told.splitlines()[-1])
    assert verified["equal"] and verified["not_compared"] == {} and verified["rows"] > 100
    payments.stack.kappa(
        "deploy", NAME, "--from", str(FOLDER), "--again", "--auto-switch", "--timeout", "240"
    )
    everything_is_right(payments, 94)


def test_the_model_of_a_dotted_topic() -> None:
    product = load_product(FOLDER)
    assert list(product.topics) == [TOPIC] and product.sql_name(TOPIC) == NAME


def published(stack: RunningStack) -> offsets.Offsets:
    shown = Store(stack.settings.store).load(NAME).published
    return shown.covered if shown else {}
