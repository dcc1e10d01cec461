"""Which partition results wait for: the one whose clock is furthest behind. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.product.folder import Product
from jobs.product.model import Role, seconds
from replay.values import duration

Clocks = Mapping[str, Mapping[int, int | None]]
"""Topic → partition → the greatest record timestamp in ms, None without a record. Only topics whose records producers
date: the clock of the others follows the broker's."""


@dataclass(frozen=True)
class QuietPartition:
    """A partition that holds results back."""

    topic: str
    partition: int
    clock: int | None
    """Milliseconds since the epoch; None: it has no record yet."""
    seconds: float
    """How much sooner results would come if its clock were where that of the events is."""
    events: str
    """The topic of events whose clock is furthest ahead."""

    def __str__(self) -> str:
        what_to_do = (
            "append a record to it (one without a value only moves the clock: "
            f"echo | kappa topic produce {self.topic}), or set "
            f"message.timestamp.type=LogAppendTime for {self.topic} and deploy again"
        )
        if self.clock is None:
            return f"results wait for {self.topic}: its partition {self.partition} has no record yet; {what_to_do}"
        return (
            f"results wait for {self.topic}: the clock of its partition {self.partition} is at "
            f"{_instant(self.clock)}, {duration(self.seconds)} behind {self.events}; {what_to_do}"
        )


def quietest(product: Product, clocks: Clocks) -> QuietPartition | None:
    """The partition that holds results back most, and for longer than is to be expected; None when none does.

    A result waits until every partition's clock less its lateness has passed its time. Of what it waits for a topic,
    only that counts which a record there would spare it: a longer allowed lateness is the product's own choice.
    """
    lateness = {
        name: 1000 * seconds(topic.allowed_lateness or "0s")
        for name, topic in product.topics.items()
    }
    events = [
        (clock, topic)
        for topic, _, clock in _partitions(clocks)
        if clock is not None and product.topics[topic].role is Role.events
    ]
    if not events:
        return None
    furthest, topic_of_events = max(events)
    watermark = max(clock - lateness[topic] for clock, topic in events)
    found = []
    for topic, partition, clock in _partitions(clocks):
        if clock is None:
            found.append(QuietPartition(topic, partition, None, float("inf"), topic_of_events))
            continue
        held = watermark - (clock - lateness[topic])
        found.append(
            QuietPartition(
                topic, partition, clock, min(held, furthest - clock) / 1000, topic_of_events
            )
        )
    odd = [q for q in found if q.seconds > _expected(product, q.topic)]
    return max(odd, key=lambda q: q.seconds, default=None)


def _expected(product: Product, name: str) -> float:
    """Seconds that results usually wait for a topic.

    Partitions of a topic with few records are always some minutes apart, and windows wait for its lateness anyway.
    This does not hold for a look-up: while it waits, no checkpoint of the job completes.
    """
    topic, limit = product.topics[name], product.settings.lag_limit.seconds
    if topic.role is Role.dimension and topic.key:
        return limit
    return max(limit, seconds(topic.allowed_lateness or "0s"))


def _partitions(clocks: Clocks) -> Iterator[tuple[str, int, int | None]]:
    for topic, partitions in sorted(clocks.items()):
        for partition, clock in sorted(partitions.items()):
            yield topic, partition, clock


def _instant(ms: int) -> str:
    """No data set ends where datetime does."""
    try:
        return f"{datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S}Z"
    except OverflowError:
        return f"{ms} ms"
