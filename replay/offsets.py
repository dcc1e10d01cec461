"""Positions in the log: topic → partition → the first offset not yet covered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Offsets = Mapping[str, Mapping[int, int]]


def partitions(offsets: Offsets) -> Iterator[tuple[str, int, int]]:
    """(topic, partition, offset) in order."""
    for topic in sorted(offsets):
        for partition in sorted(offsets[topic]):
            yield topic, partition, offsets[topic][partition]


def at(offsets: Offsets, topic: str, partition: int) -> int:
    """The offset, 0 where nothing was read yet."""
    return offsets.get(topic, {}).get(partition, 0)


def covers(position: Offsets, other: Offsets, *, slack: int = 0) -> bool:
    """Whether `position` is, in every partition of `other`, no more than `slack` records behind it."""
    return all(at(position, t, p) >= offset - slack for t, p, offset in partitions(other))


def total(offsets: Offsets) -> int:
    """Records below a position, as every partition begins at 0."""
    return sum(offset for _, _, offset in partitions(offsets))


def lag(position: Offsets, ends: Offsets) -> int:
    """Records between a position and the ends of the log, over all partitions."""
    return sum(max(0, offset - at(position, t, p)) for t, p, offset in partitions(ends))


def only(offsets: Offsets, topics: Iterable[str]) -> dict[str, dict[int, int]]:
    """The part of these topics."""
    return {t: dict(offsets[t]) for t in topics if t in offsets}


def replaced(offsets: Offsets, by: Offsets) -> dict[str, dict[int, int]]:
    """`offsets`, with the topics of `by` taken from there."""
    return {**{t: dict(p) for t, p in offsets.items()}, **{t: dict(p) for t, p in by.items()}}


def latest(one: Offsets, other: Offsets) -> dict[str, dict[int, int]]:
    """In every partition the later of the two."""
    found: dict[str, dict[int, int]] = {}
    for topic, partition, offset in (*partitions(one), *partitions(other)):
        of = found.setdefault(topic, {})
        of[partition] = max(of.get(partition, 0), offset)
    return found


def to_json(offsets: Offsets) -> dict[str, dict[str, int]]:
    """JSON has only strings as keys."""
    return {t: {str(p): o for p, o in ps.items()} for t, ps in offsets.items()}


def from_json(data: Mapping[str, Mapping[str, int]]) -> dict[str, dict[int, int]]:
    """The reverse of `to_json`."""
    return {t: {int(p): int(o) for p, o in ps.items()} for t, ps in data.items()}
