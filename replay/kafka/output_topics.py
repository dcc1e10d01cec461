"""Topics that a product's job writes: each of one output and one attempt, so that no replay adds to what is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from jobs.bindings import (
    CHECKPOINT_TIMEOUT,
    DEFAULT_TRANSACTION_TIMEOUT,
    LARGEST_RECORD,
    TOPIC_CHECKPOINT_TIMEOUT,
    TRANSACTION_TIMEOUT,
    OutputTopic,
)
from jobs.product import names
from jobs.product.folder import Product
from jobs.product.model import Output, seconds
from jobs.product.settings import ProductSettings
from replay.core.model import Attempt
from replay.errors import RefusedError
from replay.kafka import log, topics
from replay.secret import reveal
from replay.settings import Settings


def refuse_taken(settings: Settings, wanted: Iterable[str]) -> None:
    """RefusedError when there is a topic of one of these names already: it is not of the attempt that is to begin."""
    if taken := sorted(set(topics.names(settings)).intersection(wanted)):
        raise RefusedError(
            f"there is a topic {taken[0]} already, and an attempt writes a new one",
            expected="no topic of that name",
            found=", ".join(taken),
            next=f"kafka-topics --delete --topic {taken[0]}; or another name in product.yaml",
        )


def create(settings: Settings, product: Product, attempt: Attempt) -> None:
    """Create the attempt's topics, unless they exist. RefusedError when one is gone once the job has run."""
    if not attempt.topics:
        return
    is_new = attempt.submitted_at is None and attempt.restore is None
    for topic in attempt.topics.values():
        partitions = _partitions(settings, product) if is_new else None
        wanted = topics.Wanted(topic, partitions, largest_record=LARGEST_RECORD)
        if not topics.missing(settings, wanted):
            continue
        if not is_new:
            raise RefusedError(
                f"topic {topic} is gone, and {attempt.full_name} would go on with an empty one",
                expected="the topic, with the records of its earlier checkpoints",
                found="no such topic",
                next=f"kappa deploy {attempt.product} --again, which writes a whole one",
            )
        topics.create(settings, wanted)


def _partitions(settings: Settings, product: Product) -> int:
    """As many as the topic of events with the most has; of a product without events, the topic."""
    events = [t for t, rule in product.topics.items() if rule.is_event] or list(product.topics)
    return max(map(len, log.end_offsets(settings, events).values()))


def delete(settings: Settings, wanted: Iterable[str]) -> None:
    """Delete topics; those that are gone already are no error."""
    if not (going := list(wanted)):
        return
    with log.asking_broker(settings):
        for future in (
            log.admin(settings).delete_topics(going, operation_timeout=log.TIMEOUT).values()
        ):
            try:
                future.result(log.TIMEOUT)
            except KafkaException as e:
                if e.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise


def bound(product: Product, group: str, written: Mapping[str, str]) -> dict[str, Any]:
    """What bindings say of them; nothing without one, as releases that know none would refuse it."""
    if not written:
        return {}
    found = {
        name: OutputTopic(
            name=topic,
            key=product.outputs[name].key or product.identity(product.outputs[name]),
            transactional_id_prefix=f"{group}-{name}",
            source=f"/kappa/{product.name}/{name}",
            type=f"{product.name}.{name}",
            time=_time(product, product.outputs[name]),
        )
        for name, topic in written.items()
    }
    return {"output_topics": {name: topic.model_dump(mode="json") for name, topic in found.items()}}


def _time(product: Product, output: Output) -> str | None:
    """The column that says when a row happened: where its window begins, or the time of its topic, as SQL names it."""
    if output.window:
        return output.window.column
    times = {product.topics[topic].time for topic in output.of}
    types = {c.name: c.type for c in output.columns}
    time = next(iter(times)) if len(times) == 1 else None
    return time if time and types.get(time, "").startswith("TIMESTAMP_LTZ") else None


@dataclass(frozen=True)
class Named:
    """The topics of a product, by the names that product.yaml has for them."""

    product: str
    read: frozenset[str]
    written: frozenset[str]


def named(settings: ProductSettings) -> Named:
    """What product.yaml says."""
    written = frozenset(o.topic for o in settings.outputs.values() if o.topic)
    return Named(settings.name, frozenset(map(settings.kafka_name, settings.topics)), written)


def refuse_shared(mine: Named, other: Named) -> None:
    """RefusedError where two products would share a topic that one of them writes."""
    clashes = [
        *((m, o) for m, o in pairs(mine.written, other.read | other.written) if _clash(o, m)),
        *((m, o) for m, o in pairs(mine.read | mine.written, other.written) if _clash(m, o)),
    ]
    for my_topic, topic in sorted(clashes)[:1]:
        raise RefusedError(
            f"{mine.product} and {other.product} would share a topic that a job writes",
            expected="no other product that reads or writes it: each attempt has its own, which goes with it",
            found=f"{my_topic} of {mine.product}, {topic} of {other.product}",
            next=f"give it another name in product.yaml, then: kappa deploy {mine.product}",
        )


def _clash(topic: str, written: str) -> bool:
    return names.may_be_output_topic(topic, written)


def refuse_short_transactions(settings: Settings, product: ProductSettings) -> None:
    """RefusedError where the broker could abort a transaction while its checkpoint is still under way."""
    if not named(product).written:
        return
    interval = max(product.checkpoint_interval, product.backlog_checkpoint_interval, key=seconds)
    timeout = product.flink.get(CHECKPOINT_TIMEOUT, TOPIC_CHECKPOINT_TIMEOUT)
    pause = product.flink.get("execution.checkpointing.min-pause", "0s")
    said = settings.kafka_java.get(TRANSACTION_TIMEOUT, str(DEFAULT_TRANSACTION_TIMEOUT))
    allowed = int(reveal(said)) / 1000
    one = seconds(timeout.lower())
    longest = max(seconds(interval), one + seconds(pause.lower())) + one
    if longest >= allowed:
        raise RefusedError(
            f"two checkpoints of {product.name} may take longer than its topics' transactions may be open",
            expected=f"less than {allowed:,.0f} s, {TRANSACTION_TIMEOUT} of the producers",
            found=f"{longest:,.0f} s: an interval of {interval}, and {CHECKPOINT_TIMEOUT} of {timeout}",
            next=f"shorten one of the two in product.yaml; or raise {TRANSACTION_TIMEOUT} under `kafka_java` in "
            "config.yaml, and the broker's transaction.max.timeout.ms before it",
        )
