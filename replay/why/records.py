"""Records of the log and what becomes of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from jobs.product.model import Topic
from replay.why.span import Span


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    """In Kafka."""
    partition: int
    offset: int


class Became(StrEnum):
    """What became of a record that belongs to a row, or would have."""

    counted = "counted"
    """The row is made of it."""
    repeated = "repeated"
    """The same event as one that counts, or was asked about in its place."""
    filtered = "filtered"
    """Accepted, and the SQL gives no row of it: a condition leaves it out."""
    no_effect = "no effect"
    """Accepted, and the row is the same without it."""
    rejected = "rejected"
    """Late, out of order, ahead, or without a time: in `rejects` with that reason."""
    undecodable = "undecodable"
    """In `rejects`: nobody knows which row it would have belonged to."""
    not_told = "not told"
    """It may count: to know took more runs than were allowed."""


@dataclass(frozen=True)
class Candidate:
    """A record that may belong to a row."""

    place: Place
    appended: int
    """Milliseconds since the epoch."""
    fields: Mapping[str, Any] | None
    """None: it cannot be decoded."""
    happened: int | None = None
    """Milliseconds since the epoch; None: not known."""
    reason: str = ""
    """Why it was rejected; empty: it was not."""


@dataclass(frozen=True)
class Evidence:
    """A record, and what became of it."""

    candidate: Candidate
    became: Became
    why: str = ""


@dataclass(frozen=True)
class Sorted:
    """Candidates before anything was asked about them."""

    units: tuple[Candidate, ...]
    """Accepted, each event once."""
    settled: tuple[Evidence, ...] = field(default=())
    """The others, of which it is known already what became of them."""


def is_decodable(reason: str) -> bool:
    return not reason.startswith("undecodable")


def matches(
    fields: Mapping[str, Any], key: Mapping[str, Any], of: Mapping[str, frozenset[str]]
) -> bool:
    """Whether a record has the key of a row, in the columns whose fields are known (`of`)."""
    return all(
        any(_same(fields.get(name), key[column]) for name in names if name in fields)
        for column, names in of.items()
        if column in key and any(name in fields for name in names)
    )


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    try:
        return bool(one == other)
    except TypeError:
        return False


def sort(
    found: Iterable[Candidate],
    topics: Mapping[str, Topic],
    span: Span | None,
    near: range,
    joined: Collection[str] = (),
) -> Sorted:
    """Candidates of the span by what is known of them.

    `topics`: the rules by names in Kafka; `near`: when a record that nobody can date was appended, in ms, if it may
    be of the span; `joined`: topics whose accepted records may be behind the row whenever they happened.
    """
    units: list[Candidate] = []
    settled: list[Evidence] = []
    accepted: dict[tuple[Any, ...], Candidate] = {}
    for c in sorted(found, key=_order_in(topics)):
        is_joined = c.place.topic in joined and not c.reason
        if not is_joined and not _may_be_of(c, span, near):
            continue
        if c.reason:
            became = Became.rejected if is_decodable(c.reason) else Became.undecodable
            settled.append(Evidence(c, became, c.reason))
            continue
        event = _event(c, topics[c.place.topic])
        if event is not None and event in accepted:
            first = accepted[event].place
            settled.append(Evidence(c, Became.repeated, _copy_of(first)))
            continue
        if event is not None:
            accepted[event] = c
        units.append(c)
    return Sorted(tuple(units), tuple(settled))


def _may_be_of(c: Candidate, span: Span | None, near: range) -> bool:
    if span is None:
        return True
    return span.holds(c.happened) if c.happened is not None else c.appended in near


def _order_in(topics: Mapping[str, Topic]) -> Any:
    """Of the copies of an event the one that is kept comes first: see `jobs.generate` and the connector's `once`."""

    def key(c: Candidate) -> tuple[Any, ...]:
        place = c.place
        if topics[place.topic].held_by_source:
            return place.topic, place.partition, place.offset
        return place.topic, place.offset, place.partition

    return key


def _event(c: Candidate, topic: Topic) -> tuple[Any, ...] | None:
    """What two records of one event have in common; None where each is an event of its own."""
    if not topic.identity or c.fields is None:
        return None
    where = (c.place.partition,) if topic.held_by_source else ()
    values = tuple(repr(c.fields.get(name)) for name in topic.identity)
    return (c.place.topic, *where, c.happened, values)


def of_row(
    settled: Iterable[Evidence], told: Iterable[Evidence], *, shows_window: bool
) -> tuple[Evidence, ...]:
    """Those that were not asked about and are known to be of the row, or that nobody can date.

    Copies of records that are in other rows are not, and nobody knows which rejects are of a window that is not shown.
    """
    first = {_copy_of(e.candidate.place) for e in told}
    return tuple(
        e for e in settled if (e.why in first if e.became is Became.repeated else shows_window)
    )


def _copy_of(place: Place) -> str:
    return f"of {said(place)}"


def said(place: Place) -> str:
    """orders-0 @ 17."""
    return f"{place.topic}-{place.partition} @ {place.offset}"


def in_order(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """By the time at which they were appended."""
    return tuple(sorted(evidence, key=lambda e: (e.candidate.appended, e.candidate.place)))
