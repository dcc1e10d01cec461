"""Records and rows for the tests of `kappa why`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from jobs.product.folder import Product
from replay.compare.diff import Side
from replay.kafka.decoding import Decoder
from replay.settings import Settings
from replay.why import rows
from replay.why.gather import Gathering
from replay.why.lineage import Lineage
from replay.why.records import Candidate, Place
from tests.unit import plans

HOUR = 3_600_000
NEW_YORK = "America/New_York"
EVERY = range(1 << 53)


def at(hour: float) -> int:
    """Milliseconds at so many hours of 2024-01-01, in UTC."""
    return round(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000 + hour * HOUR)


def wall(hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 1, 1, hour, minute)


def candidate(offset: int, **said: Any) -> Candidate:
    fields = {"id": f"o{offset}", "shop": "a", **said.pop("fields", {})}
    place = Place("orders", said.pop("partition", 0), offset)
    happened = said.pop("happened", at(9))
    return Candidate(place, at(9), fields, happened, **said)


class Texts:
    """Decodes values such as `a`: the shop."""

    def decode(self, topic: str, value: bytes) -> dict[str, Any]:
        return {"shop": value.decode()}

    def has_key(self, topic: str) -> bool:
        return False


def gathering(product: Product, known: rows.Row) -> Gathering:
    """Of a row of `sums`, whose key is traced to the field `shop`."""
    sink = plans.node("sink", plans.scan(next(iter(product.topics)), "shop"))
    return Gathering(
        Settings.__new__(Settings),
        Side("r1-a1", product, {}, {}),
        "sums",
        {},
        Lineage(sink, frozenset(product.settings.topics)),
        known,
        cast(Decoder, Texts()),
    )
