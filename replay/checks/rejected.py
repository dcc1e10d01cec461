"""The default checks: how much of its topics a release rejects. Of a connection to its tables, to what was counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.product.folder import Product
from jobs.product.model import REJECTS, Role
from replay import offsets
from replay.core.model import Check, Tables

if TYPE_CHECKING:
    import duckdb

NO_REFERENCE = "no reference record rejected"
FEW = "few records rejected"
NAMES = (NO_REFERENCE, FEW)

_TOO_FEW_TO_JUDGE = 10
"""So many rejected records of a topic are a warning at most: of a hundred, two would be beyond a limit of 1 %."""
_TIMES_THE_ACTIVE = 10
_WHAT_TO_DO = {
    "undecodable": "compare {schema} with what the producer writes",
    "no key": "have the producer set the key's columns of {name}",
    "no time": "have the producer set the time of each event, or name another column as its time",
    "late": "raise allowed_lateness of {name}, or have the producer send sooner",
    "ahead": "fix the producer's clock, or raise max_ahead of {name}",
    "out of order": "set message.timestamp.type=LogAppendTime for {topic}, or have the producer date records in order",
}
"""By the beginning of a reason, which says the class."""
_LONGEST = 120
"""Characters of a reason that is shown as an example."""
_COUNT = f"""
    WITH bounds AS (SELECT unnest($topics::VARCHAR[]) AS topic, unnest($parts::INTEGER[]) AS part,
                           unnest($below::BIGINT[]) AS below),
         records AS (SELECT log_topic, log_partition, log_offset, coalesce(min(reason), 'no reason') AS reason
                     FROM "{REJECTS}" GROUP BY log_topic, log_partition, log_offset)
    SELECT log_topic, split_part(reason, ':', 1) AS class, count(*), min(reason)
    FROM records JOIN bounds ON topic = log_topic AND part = log_partition AND log_offset < below
    GROUP BY log_topic, class"""
"""A later checkpoint covers the others."""


@dataclass(frozen=True)
class Rejected:
    """What was rejected of one topic, below the position that the tables cover."""

    topic: str
    records: int
    """Offsets below the position. Rows would not do for a whole: they lack duplicates, what a filter leaves out and
    what waits in windows, so that a share of them would grow with each. Markers of transactions are in it; a share is
    at most halved by them, with one record in each transaction."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Class of reason → records, the most frequent first."""
    example: str = ""
    """A whole reason of the most frequent class."""
    name: str = ""
    """Of the topic in product.yaml."""
    schema: str = "product.yaml"
    """The file that says how its values are read."""

    @property
    def count(self) -> int:
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        return self.count / self.records if self.records else 0.0

    def __str__(self) -> str:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.items())
        example = f", such as '{self.example}'" if self.example else ""
        share = percent(self.share)
        return f"{self.topic}: {self.count:,} of {self.records:,} records rejected ({share}): {reasons}{example}"

    @property
    def advice(self) -> str:
        """What to do about the most frequent class."""
        first = next(iter(self.reasons), "")
        return _WHAT_TO_DO.get(first, "look at the reasons").format(
            topic=self.topic, name=self.name, schema=self.schema
        )


def count(connection: duckdb.DuckDBPyConnection, tables: Tables) -> tuple[Rejected, ...]:
    """Per topic of the product; the tables are views of the connection."""
    bounds = list(offsets.partitions(tables.covered))
    rows = connection.execute(
        _COUNT,
        {
            "topics": [t for t, _, _ in bounds],
            "parts": [p for _, p, _ in bounds],
            "below": [o for _, _, o in bounds],
        },
    )
    found: dict[str, dict[str, tuple[int, str]]] = {}
    for topic, reason, records, example in rows.fetchall():
        found.setdefault(topic, {})[reason] = records, example[:_LONGEST]
    return tuple(_rejected(tables, topic, found.get(topic, {})) for topic in tables.product.topics)


def judge(
    product: Product, name: str, now: Sequence[Rejected], before: Sequence[Rejected] = ()
) -> Check:
    """The answer of one of the two checks; `before` is what the release that readers see rejects, if there is one."""
    if name == NO_REFERENCE:
        return _no_reference(product, now)
    return _few(product, now, {r.topic: r for r in before})


def percent(share: float) -> str:
    """0.0123 → 1.23 %"""
    return f"{100 * share:.3g} %"


def _rejected(tables: Tables, topic: str, reasons: Mapping[str, tuple[int, str]]) -> Rejected:
    order = sorted(reasons, key=lambda r: (-reasons[r][0], r))
    return Rejected(
        topic,
        offsets.total(offsets.only(tables.covered, [topic])),
        {r: reasons[r][0] for r in order},
        reasons[order[0]][1] if order else "",
        tables.product.sql_name(topic),
        f"schemas/{tables.product.schema_file(topic).name}"
        if tables.product.topics[topic].format.suffix
        else "product.yaml",
    )


def _no_reference(product: Product, now: Sequence[Rejected]) -> Check:
    bad = [r for r in now if r.count and product.topics[r.topic].role is Role.reference]
    if not bad:
        return Check(NO_REFERENCE, True, 0, "0 rejected records of reference topics")
    said = "; ".join(f"{_useless(r)}{r}; {r.advice}" for r in bad)
    return Check(NO_REFERENCE, True, sum(r.count for r in bad), said, _sample(bad))


def _useless(rejected: Rejected) -> str:
    """Look-ups find nothing at all: what a schema that does not fit comes to."""
    if rejected.count < rejected.records:
        return ""
    verb = "decoded" if next(iter(rejected.reasons)) == "undecodable" else "used"
    return f"no version of {rejected.topic} could be {verb}: "


def _few(product: Product, now: Sequence[Rejected], before: Mapping[str, Rejected]) -> Check:
    judged = [r for r in now if r.count and product.topics[r.topic].role is not Role.reference]
    bad = [(r, why) for r in judged for why in _too_many(product, r, before.get(r.topic))]
    if bad:
        blocking = any(r.count > _TOO_FEW_TO_JUDGE for r, _ in bad)
        said = "; ".join(
            f"{r}; {why}: {r.advice}, or raise max_rejects in product.yaml" for r, why in bad
        )
        return Check(
            FEW, blocking, sum(r.count for r, _ in bad), said, _sample([r for r, _ in bad])
        )
    return Check(FEW, True, 0, "; ".join(map(str, judged)) or "0 rejected records")


def _too_many(product: Product, now: Rejected, before: Rejected | None) -> Iterator[str]:
    """Why, at most once."""
    if now.share > product.settings.reject_limit:
        yield f"max_rejects is {product.settings.max_rejects}"
    elif now.count > _TOO_FEW_TO_JUDGE and before and before.records and _far_more(now, before):
        yield f"more than ten times what readers see now leaves out, {before.count:,} of {before.records:,}"


def _far_more(now: Rejected, before: Rejected) -> bool:
    """None at all counts as one: a first reject is no multiple of none."""
    return now.share > _TIMES_THE_ACTIVE * max(before.count, 1) / before.records


def _sample(rejected: Sequence[Rejected]) -> tuple[dict[str, Any], ...]:
    rows = [
        {"topic": r.topic, "reason": reason, "records": n}
        for r in rejected
        for reason, n in r.reasons.items()
    ]
    return tuple(rows[:5])
