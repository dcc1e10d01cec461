"""A log whose records sit on edges: equal times, ends of windows, exactly late, exactly ahead, sent again, NULL.

A topic's partition is a list; its records have the same offsets and timestamps however the partitions are interleaved.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
LATENESS, AHEAD = 10 * MINUTE, 20 * MINUTE
LASTS = 5 * HOUR
"""How long the log's clock goes before the heartbeats that close every window."""
CLOSED_AFTER = 5 * DAY
PARTITIONS = {
    "readings": 4,
    "orders": 4,
    "payments": 4,
    "visits": 4,
    "clicks": 4,
    "prices": 2,
    "shops": 2,
}
EVENTS = ("readings", "orders", "payments", "visits", "clicks")
KEYS = ("a", "b", "c", "d", "e")
KEYED = ("visits", "clicks")
"""Topics of which each key has its partition."""
GAP = 5 * MINUTE
"""Of sessions."""
# Where the clocks of a zone are set, or an ordinary day of one where they are not.
ZONES = {
    "UTC": datetime(2024, 3, 9, 22, tzinfo=UTC),
    "America/New_York": datetime(2024, 3, 10, 5, tzinfo=UTC),
    "Europe/Berlin": datetime(2024, 10, 26, 23, tzinfo=UTC),
    "Asia/Kolkata": datetime(2024, 5, 5, 16, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2024, 4, 6, 13, tzinfo=UTC),
}

Value = dict[str, Any]


def _optional(type_: Any) -> list[Any]:
    return ["null", type_]


_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
_AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
_EVENT = {
    "id": "string",
    "ts": _optional(_MILLIS),
    "k": _optional("string"),
    "g": _optional("string"),
    "n": _optional("long"),
    "i": "int",
    "d": _optional(_AMOUNT),
    "x": _optional("double"),
    "b": _optional("boolean"),
    "s": _optional("string"),
    "tags": {"type": "array", "items": "string"},
    "m": {"type": "map", "values": "long"},
    "seen": _MILLIS,
}
_PRICE = {
    "k": _optional("string"),
    "ts": _optional(_MILLIS),
    "price": _optional("long"),
    "note": "string",
}
_SHOP = {"k": _optional("string"), "city": _optional("string"), "size": "int"}


def _schema(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": n, "type": t} for n, t in fields.items()],
    }


SCHEMAS = {
    **{name: _schema("event", _EVENT) for name in EVENTS},
    "prices": _schema("price", _PRICE),
    "shops": _schema("shop", _SHOP),
}
_PARSED = {
    name: fastavro.parse_schema(json.loads(json.dumps(schema))) for name, schema in SCHEMAS.items()
}


@dataclass(frozen=True)
class Record:
    """One record: when it was appended, and its value; None is a heartbeat, bytes are what cannot be decoded."""

    appended: int
    value: Value | bytes | None


@dataclass
class Log:
    """Topic and partition → records, in the order of their offsets."""

    begins: int
    partitions: dict[tuple[str, int], list[Record]] = field(default_factory=dict)

    def of(self, topic: str) -> Iterator[tuple[int, list[Record]]]:
        return ((p, records) for (name, p), records in self.partitions.items() if name == topic)

    @property
    def size(self) -> int:
        return sum(map(len, self.partitions.values()))


def encoded(topic: str, schema_id: int, value: Value | bytes | None) -> bytes | None:
    """As the log has it."""
    if value is None or isinstance(value, bytes):
        return value
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _PARSED[topic], value)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


def make_log(chance: random.Random, zone: str, records: int) -> Log:
    """About so many records of each topic with events."""
    log = Log(int(ZONES[zone].timestamp() * 1000))
    for name in EVENTS:
        for partition in range(PARTITIONS[name]):
            log.partitions[name, partition] = []
        _write_events(chance, log, name, records)
    for name, count in (("prices", records // 3), ("shops", 24)):
        for partition in range(PARTITIONS[name]):
            log.partitions[name, partition] = []
        _write_versions(chance, log, name, count)
    for (name, _), found in log.partitions.items():
        end = log.begins + LASTS + CLOSED_AFTER
        # A heartbeat on its own, and two that leave no doubt: the clock of a partition is its own.
        found += [Record(end, None)] if name != "shops" else []
    return log


def _write_events(chance: random.Random, log: Log, name: str, count: int) -> None:
    clocks = [
        log.begins + chance.choice((0, 0, 1, MINUTE, 7 * MINUTE)) for _ in range(PARTITIONS[name])
    ]
    pace = LASTS * len(clocks) // count
    written: list[Value] = []
    for number in range(count):
        key = chance.choice((*KEYS[:4], *KEYS[:4], None))
        partition = _partition(name, key, chance.randrange(len(clocks)))
        clock = clocks[partition] = _next(chance, clocks[partition], pace)
        appended = clock - (chance.choice((1, SECOND, LATENESS)) if chance.random() < 0.03 else 0)
        found = log.partitions[name, partition]
        kind = chance.random()
        if kind < 0.01:
            found.append(Record(appended, chance.choice((b"", b"plain text", b"\0\0\0\0\1\x02"))))
        elif kind < 0.03:
            found.append(Record(appended, None))
        elif kind < 0.17 and written:
            again = chance.choice(written[-6:])
            repeated = {**again, "n": chance.choice((again["n"], number)), "s": "again"}
            where = _partition(name, again["k"], chance.randrange(len(clocks)))
            log.partitions[name, where].append(Record(clocks[where], repeated))
        else:
            value = _event(chance, f"{name[0]}{number}", key, _happened(chance, clock, written))
            found.append(Record(appended, value))
            written.append(value)


def _partition(name: str, key: str | None, other: int) -> int:
    """That of a record's key; another where a topic's keys have none of their own."""
    return (*KEYS, None).index(key) % PARTITIONS[name] if name in KEYED else other


def _next(chance: random.Random, clock: int, pace: int) -> int:
    kind = chance.random()
    if kind < 0.3:
        return clock + chance.choice((0, 0, 1, SECOND))
    if kind < 0.5:  # exactly at the end of a minute, or of an hour
        unit = chance.choice((MINUTE, 5 * MINUTE, HOUR // 2))
        return (clock // unit + 1) * unit if unit < 3 * pace else clock
    return clock + chance.randrange(1, 3 * pace)


def _happened(chance: random.Random, clock: int, written: list[Value]) -> int | None:
    kind = chance.random()
    if kind < 0.01:
        return None
    if kind < 0.15 and written:
        near = [at for v in written[-4:] if (at := v["ts"]) is not None]
        return (
            chance.choice(near) + chance.choice((0, 0, 0, 1, GAP, GAP, GAP + 1, GAP - 1))
            if near
            else clock
        )
    edge = (
        0,
        0,
        1,
        LATENESS - 1,
        LATENESS - 1,
        LATENESS,
        LATENESS,
        LATENESS + 1,
        -1,
        -AHEAD,
        -AHEAD - 1,
    )
    if kind < 0.4:
        at = clock - chance.choice(edge)
    else:
        at = clock - chance.randrange(LATENESS)
    if chance.random() < 0.4:
        unit = chance.choice((MINUTE, 5 * MINUTE, HOUR // 4, HOUR))
        edge_of_window = at // unit * unit + chance.choice((0, 0, -1, 1))
        return edge_of_window if edge_of_window >= clock - LATENESS else at
    return at


def _event(chance: random.Random, name: str, key: str | None, at: int | None) -> Value:
    def perhaps(value: Any) -> Any:
        return None if chance.random() < 0.1 else value

    return {
        "id": name,
        "ts": at,
        "k": key,
        "g": perhaps(chance.choice("uv")),
        "n": perhaps(chance.choice((0, 1, -1, 7, 10**12, chance.randrange(-50, 50)))),
        "i": chance.choice((0, 1, 2, 2**31 - 1, -(2**31), chance.randrange(100))),
        "d": perhaps(
            Decimal(chance.choice((0, 1, -5, 999_999_999, chance.randrange(10_000)))).scaleb(-2)
        ),
        "x": perhaps(
            chance.choice((0.0, -0.0, 1.5, 1e300, float("nan"), float("inf"), chance.random()))
        ),
        "b": perhaps(chance.random() < 0.5),
        "s": perhaps(
            chance.choice(
                ("", "a,b", "x", "ä", "12", "-3.5", '{"a": 1}', "2024-01-01", "p", "q", "r")
            )
        ),
        "tags": [chance.choice("tuv") for _ in range(chance.choice((0, 1, 1, 2, 3)))],
        "m": {key: chance.randrange(3) for key in "ab"[: chance.randrange(3)]},
        "seen": (at or 0) + chance.randrange(MINUTE),
    }


def _write_versions(chance: random.Random, log: Log, name: str, count: int) -> None:
    """Versions of both topics' keys: some of one time in two partitions, of a key that is NULL, late ones."""
    clocks = [log.begins - HOUR for _ in range(PARTITIONS[name])]
    pace = (LASTS + HOUR) * len(clocks) // count
    times = [log.begins - HOUR]
    for number in range(count):
        partition = chance.randrange(len(clocks))
        clock = clocks[partition] = _next(chance, clocks[partition], pace)
        key = chance.choice(KEYS) if chance.random() > 0.03 else None
        if name == "shops":
            value = {"k": key, "city": chance.choice(("x", "y", None)), "size": number}
        else:
            edges = (
                clock,
                clock,
                clock - LATENESS,
                clock - LATENESS - 1,
                chance.choice(times[-10:]),
            )
            at = (
                chance.choice(edges) // SECOND * SECOND
                if chance.random() < 0.5
                else chance.choice(edges)
            )
            value = {
                "k": key,
                "ts": at,
                "price": chance.choice((None, number)),
                "note": f"v{number}",
            }
            times.append(at)
        log.partitions[name, partition].append(
            Record(clock, value if chance.random() > 0.03 else None)
        )
