"""Logs of four products of docs/pipelines.md, and the rows that plain Python works out of them."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
"""Milliseconds."""
BEGIN = 1_717_372_800_000
"""2024-06-03T00:00:00Z."""
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Record:
    """One that is to be appended: `at` is its timestamp, in milliseconds."""

    topic: str
    partition: int
    at: int
    value: bytes | dict[str, Any] | None
    """A dict: Avro of the topic's schema."""
    key: bytes | None = None


@dataclass
class Made:
    """The log of a product, and what should become of it."""

    name: str
    topics: dict[str, int]
    """Topic of Kafka → partitions."""
    counts: Counter[str]
    """Class of the audit → records of topics of events."""
    tables: dict[str, list[Row]]
    """Query → its rows, in any order."""
    records: list[Record] = field(default_factory=list)
    """In the order of each partition."""

    @property
    def ends(self) -> dict[str, dict[int, int]]:
        """Topic → partition → offset behind its last record."""
        found = {topic: dict.fromkeys(range(n), 0) for topic, n in self.topics.items()}
        for record in self.records:
            found[record.topic][record.partition] += 1
        return found

    def end_with_heartbeats(self, at: int) -> None:
        for topic, partitions in self.topics.items():
            self.records += [Record(topic, p, at, None) for p in range(partitions)]


def document(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def in_order(records: Sequence[Record]) -> list[Record]:
    """As a broker dates them: none before the one ahead of it."""
    return sorted(records, key=lambda r: r.at)


def clicks() -> Made:
    """Visits end after half an hour; some views are reported late, twice, or are no views."""
    r, counts = random.Random(1), Counter[str]()
    views: list[dict[str, Any]] = []
    records: list[Record] = []
    topic = "web.page-views"

    def record(view: dict[str, Any], delay: int) -> Record:
        value = document(
            viewId=view["id"], ts=view["at"], url=view["url"], referrer=view["referrer"]
        )
        partition = ord(view["visitor"][-1]) % 2
        return Record(topic, partition, view["at"] + delay, value, view["visitor"].encode())

    for visitor in (f"visitor {letter}" for letter in "abcdefgh"):
        at = BEGIN + r.randrange(HOUR)
        for n in range(60):
            at += r.choice([r.randrange(1, 30 * MINUTE), r.randrange(30 * MINUTE + 1, 2 * HOUR)])
            at += 30 * MINUTE if r.random() < 0.05 else 0
            page = r.choice(["", "shoes?size=9", "checkout?step=1", "news"])
            referrer = r.choice([None, "https://search.example/?q=shoes"])
            view = {"visitor": visitor, "id": f"v{n}", "at": at, "referrer": referrer}
            view["url"] = f"https://shop.example/{page}"
            views.append(view)
            records.append(record(view, r.randrange(10 * MINUTE)))
            counts["rows"] += 1
            if n % 20 == 7:
                records.append(records[-1])
                counts["duplicates"] += 1
            if n == 30:
                records.append(record({**view, "id": "late"}, 10 * MINUTE + 1))
                counts["late"] += 1
    at = max(v["at"] for v in views)
    records += [Record(topic, 0, at, bad) for bad in (b"{", b'{"viewId": "x"}')]
    counts["undecodable"] = 2
    counts["heartbeats"] = 2
    visits: list[Row] = [
        (
            visit[0]["visitor"],
            visit[0]["at"],
            visit[-1]["at"] + 30 * MINUTE,
            len(visit),
            len({view["url"] for view in visit}),
            any("/checkout" in view["url"] for view in visit),
        )
        for visit in _visits(views)
    ]
    rows: list[Row] = [
        (
            view["visitor"],
            view["id"],
            view["at"],
            "/" + view["url"].split("/")[3].split("?")[0],
            "search.example" if view["referrer"] else None,
        )
        for view in views
    ]
    tables = {
        "SELECT visitor, epoch_ms(began), epoch_ms(window_end), pages, urls, checked_out FROM visits": visits,
        "SELECT visitor, view_id, epoch_ms(viewed_at), path, came_from FROM view_rows": rows,
    }
    made = Made("clicks", {topic: 2}, counts, tables, in_order(records))
    made.end_with_heartbeats(at + DAY)
    return made


def _visits(views: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """A visitor's views, cut where more than half an hour lies between two."""
    visit: list[dict[str, Any]] = []
    for view in sorted(views, key=lambda v: (v["visitor"], v["at"])):
        ends = visit and (
            view["visitor"] != visit[-1]["visitor"] or view["at"] - visit[-1]["at"] > 30 * MINUTE
        )
        if ends:
            yield visit
            visit = []
        visit.append(view)
    yield visit


def cards() -> Made:
    """Trials of cards and large payments, reported in another order than they happened in."""
    r, topic = random.Random(2), "cards_authorised"
    records: list[Record] = []
    paid: list[dict[str, Any]] = []
    for card in "ABCDEFGH":
        at = BEGIN
        for n in range(100):
            at += r.randrange(10 * SECOND, 4 * MINUTE)
            cents = r.choice([1, 199, 199, 100, 200, 5_000, 50_000, 99_999])
            payment = {"id": f"{card}{n}", "card": card, "at": at, "cents": cents}
            paid.append(payment)
            said = document(
                id=payment["id"], card=card, at=_iso(at), amount=f"{Decimal(cents).scaleb(-2)}"
            )
            records.append(Record(topic, 0, at + r.randrange(5 * MINUTE), said))
    counts = Counter(rows=len(paid), heartbeats=1)
    tables: dict[str, list[Row]] = {
        'SELECT card, first_id, last_id, epoch_ms("at"), trials, amount::VARCHAR FROM suspected': [
            row for card in "ABCDEFGH" for row in _suspected([p for p in paid if p["card"] == card])
        ],
        'SELECT id, card, epoch_ms("at"), amount::VARCHAR FROM payments': [
            (p["id"], p["card"], p["at"], _euros(p["cents"])) for p in paid
        ],
    }
    made = Made("cards", {topic: 1}, counts, tables, in_order(records))
    made.end_with_heartbeats(max(p["at"] for p in paid) + DAY)
    return made


def _suspected(paid: list[dict[str, Any]]) -> Iterator[Row]:
    """Of one card, in the order of time: two trials or more, and a large payment within ten minutes of the first."""
    first = 0
    while first < len(paid):
        hit = first
        while hit < len(paid) and paid[hit]["cents"] < 200:
            hit += 1
        is_hit = hit < len(paid) and paid[hit]["cents"] >= 50_000
        if hit - first >= 2 and is_hit and paid[hit]["at"] - paid[first]["at"] < 10 * MINUTE:
            last = paid[hit]
            trials, paid_last = hit - first, _euros(last["cents"])
            yield last["card"], paid[first]["id"], last["id"], last["at"], trials, paid_last
            first = hit + 1
        else:
            first += 1


def deliveries() -> Made:
    """Customers move, are deleted and come back while parcels are delivered to them."""
    r, customers, topic = random.Random(3), "crm.public.customers", "deliveries"
    versions: dict[int, list[tuple[int, str, Any]]] = defaultdict(list)
    records: list[Record] = []
    rows: list[Row] = []
    for customer in range(1, 7):
        key = document(id=customer)
        for at in sorted(r.sample(range(BEGIN, BEGIN + 8 * HOUR), 9)):
            op = r.choice(["c", "u", "u", "d"])
            city, tier = r.choice(["Oslo", "Kobe"]), r.choice([None, "gold"])
            after = None if op == "d" else {"name": f"N{customer}", "city": city, "tier": tier}
            versions[customer].append((at, op, after))
            value = document(op=op, ts_ms=at, before=None, after=after, source={"lsn": at})
            records.append(Record(customers, 0, at, value, key))
            if op == "d":
                records.append(Record(customers, 0, at, None, key))
    for n in range(300):
        at, customer = BEGIN + r.randrange(9 * HOUR), r.randrange(1, 8)
        value = document(delivery_id=f"d{n}", delivered_at=at, customer_id=customer, parcels=n % 5)
        records.append(Record(topic, 0, at + r.randrange(10 * MINUTE), value))
        known = [v for v in versions[customer] if v[0] <= at]
        of = (known[-1][2] if known else None) or {"name": None, "city": None, "tier": None}
        deleted = known[-1][1] == "d" if known else None
        rows.append((f"d{n}", at, customer, n % 5, of["name"], of["city"], of["tier"], deleted))
    query = (
        "SELECT delivery_id, epoch_ms(delivered_at), customer_id, parcels, customer, city, tier, was_deleted "
        "FROM delivery_rows"
    )
    counts = Counter(rows=len(rows), heartbeats=1)
    made = Made("deliveries", {topic: 1, customers: 1}, counts, {query: rows}, in_order(records))
    made.end_with_heartbeats(BEGIN + DAY)
    return made


def tickets() -> Made:
    """Avro of one system and JSON of another, which sends some tickets again into the other partition."""
    r, office, web = random.Random(4), "tickets.boxoffice", "tickets.web"
    counts = Counter[str]()
    records: list[Record] = []
    rows: list[Row] = []
    days: dict[tuple[str, int], list[tuple[int, bool]]] = defaultdict(list)
    for n in range(400):
        at, event = BEGIN + r.randrange(3 * DAY), r.choice(["Tosca", "Aida", "Łucja"])
        cents, on_the_web = r.randrange(1_000, 20_000), r.random() < 0.5
        price, appended = Decimal(cents).scaleb(-2), at + r.randrange(HOUR // 2)
        seat = r.choice([None, "A7"])
        kind = "STANDING" if seat is None else "SEAT"
        if on_the_web:
            value = document(
                ticketNumber=f"t{n}", event=event, created=_iso(at), price=f"{price}", seat=seat
            )
            partitions = [0, 1] if r.random() < 0.1 else [n % 2]
            records += [Record(web, p, appended + p * MINUTE, value) for p in partitions]
            counts["duplicates"] += len(partitions) - 1
        else:
            sold = {"ticket": f"t{n}", "event": event, "sold_at": at, "price": price, "kind": kind}
            records.append(Record(office, 0, appended, sold))
        rows.append(
            ("web" if on_the_web else "box office", f"t{n}", event, at, _euros(cents), kind)
        )
        days[event, (at - BEGIN) // DAY].append((cents, on_the_web))
    counts.update(rows=len(rows), heartbeats=3)
    daily = [
        (
            event,
            BEGIN + day * DAY,
            len(sold),
            _euros(sum(c for c, _ in sold)),
            sum(w for _, w in sold),
        )
        for (event, day), sold in days.items()
    ]
    tables = {
        "SELECT seller, ticket, event, epoch_ms(sold_at), price::VARCHAR, kind FROM sales": rows,
        'SELECT event, epoch_ms("day"::TIMESTAMP), tickets, price::VARCHAR, on_the_web FROM daily_events': daily,
    }
    made = Made("tickets", {office: 1, web: 2}, counts, tables, in_order(records))
    made.end_with_heartbeats(BEGIN + 6 * DAY)
    return made


def _euros(cents: int) -> str:
    return f"{Decimal(cents).scaleb(-2)}"


def _iso(at: int) -> str:
    return dt.datetime.fromtimestamp(at / 1000, dt.UTC).isoformat(timespec="milliseconds")


ALL: tuple[Callable[[], Made], ...] = (clicks, cards, deliveries, tickets)
