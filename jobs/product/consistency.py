"""What of the settings in product.yaml does not go together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from jobs.product import names
from jobs.product.formats import KeyFormat
from jobs.product.model import (
    INTERNAL_COLUMNS,
    LOG_COLUMNS,
    REJECTS,
    VIEWS,
    Kind,
    RecordKey,
    Role,
    Topic,
    seconds,
)

if TYPE_CHECKING:
    from jobs.product.settings import ProductSettings


def problems(settings: ProductSettings) -> Iterator[str]:
    """What does not go together, one sentence each."""
    yield from _name_problems(settings)
    yield from _topic_problems(settings)
    yield from _lookup_problems(settings)
    yield from _function_problems(settings)
    yield from _output_problems(settings)


def _name_problems(settings: ProductSettings) -> Iterable[str]:
    yield from _topic_name_problems(settings)
    yield from _output_name_problems(settings)
    every = [*settings.topics, *settings.outputs, REJECTS]
    if alike := sorted(n for n in every if [o.lower() for o in every].count(n.lower()) > 1):
        yield f"{' and '.join(alike)} differ only by case"


def _topic_name_problems(settings: ProductSettings) -> Iterable[str]:
    if not settings.topics:
        yield "topics is empty, but a product reads at least one topic"
    for name in settings.topics:
        if not names.is_identifier(name) or "__" in name:
            good = (
                re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_0123456789")[:40]
                or "orders"
            )
            yield (
                f"topic {names.shown(name)} is no identifier of SQL (letters, digits, _, and no __): "
                f"call it {good}, with topic: {names.shown(name)}"
            )
        if name.lower() == REJECTS:
            yield f"topic {name} has the name of the table that every product has: give it another, with topic: {name}"
    kafka = [settings.kafka_name(n) for n in settings.topics]
    if twice := sorted({n for n in kafka if kafka.count(n) > 1}):
        yield f"topic {twice[0]} of Kafka is read under several names, but each topic is read once"


def _output_name_problems(settings: ProductSettings) -> Iterable[str]:
    for name in settings.outputs:
        if not names.is_name(name) or "__" in name:
            yield f"output {names.shown(name)} needs a name of small letters, digits and _, and no __"
        if name == REJECTS:
            yield f"output {REJECTS} is generated: remove it"
        if name == VIEWS:
            yield f"output {name} would have the file of the views, {name}.sql: give it another name"
        if name in settings.topics:
            yield f"{name} is a topic and an output, but in SQL a name has one meaning"


def _topic_problems(settings: ProductSettings) -> Iterable[str]:
    for name, topic in settings.topics.items():
        yield from (f"topic {name} ({topic.role.value}) {problem}" for problem in _odd(topic))
    yield from _waiting_problems(settings)


def _odd(topic: Topic) -> Iterable[str]:
    """What is wrong with a topic by itself."""
    if topic.role is not Role.reference:
        if topic.time is None:
            yield "needs time: the column that says when it happened"
        if topic.allowed_lateness is None:
            yield "needs allowed_lateness"
    if topic.is_event and topic.key:
        yield "has a key, which only references and dimensions can have"
    if not topic.is_event and topic.identity:
        yield "has an identity, which only events can have; versions have a key"
    if not topic.is_event and topic.keyed_by:
        yield "has keyed_by, which only events can have; versions have a key"
    yield from _odd_columns(topic)
    if "once" in topic.model_fields_set and not topic.identity:
        yield f"has once: {topic.once.value}, which requires an identity"


def _odd_columns(topic: Topic) -> Iterable[str]:
    """What is wrong with columns that are no values' fields."""
    if topic.message is not None and not topic.format.is_protobuf:
        yield f"names a message, {names.shown(topic.message)}, which only a topic of Protobuf has"
    if topic.record_key is not None:
        yield from _odd_record_key(topic.record_key)
    if topic.key and topic.time in topic.columns:
        yield (
            f"computes its time {topic.time}, but versions are found by a time of the schema, such as one of "
            "format epoch-millis, or by log_appended"
        )
    if wrong := [c for c in topic.columns if c in (*LOG_COLUMNS, *INTERNAL_COLUMNS)]:
        yield f"computes {wrong[0]}, which every topic already has"


def _odd_record_key(key: RecordKey) -> Iterable[str]:
    if key.format is not KeyFormat.raw:
        if key.columns:
            yield f"has columns of a record_key of format {key.format.value}, which are those of its schema"
        return
    types = ("STRING", "BYTES", "INT", "BIGINT")
    if len(key.columns) != 1 or not set(key.columns.values()) <= set(types):
        yield f"has a raw record_key, which is one column of {', '.join(types)}: columns: {{order_id: STRING}}"
    elif not names.is_identifier(next(iter(key.columns))):
        yield f"has a record_key {names.shown(next(iter(key.columns)))}, which is no identifier of SQL"


def _waiting_problems(settings: ProductSettings) -> Iterable[str]:
    """Settings with which topics would wait for each other for ever."""
    widest = max(map(settings.lateness, settings.topics), default=0)
    if settings.max_drift and seconds(settings.max_drift) <= widest:
        yield "max_drift must be longer than every allowed_lateness, or topics wait for each other for ever"
    events = sorted(n for n, t in settings.topics.items() if t.is_event)
    looked_up = [n for n, t in settings.topics.items() if t.role is Role.dimension and t.key]
    for name, event in itertools.product(looked_up, events):
        if settings.lateness(name) > settings.lateness(event):
            yield (
                f"dimension {name} has a key, and a longer allowed_lateness than {event}, which would always wait "
                "for it: leave out the key and write an event-time temporal join"
            )


def _lookup_problems(settings: ProductSettings) -> Iterable[str]:
    keyed = sorted(t for t, topic in settings.topics.items() if topic.key)
    for name, found in settings.lookups.items():
        if name in settings.topics:
            yield f"lookups {names.shown(name)} has the name of a topic, which has a {name}_at() of its own"
        if wrong := [n for n in (name, *found) if not names.is_name(n)]:
            yield f"lookups {names.shown(name)} needs names of small letters, digits and _, found {wrong}"
        if not found or not set(keyed).issuperset(found.values()):
            used = sorted(found.values())
            yield f"lookups {names.shown(name)} must name topics with a key: {keyed}, found {used}"


def _function_problems(settings: ProductSettings) -> Iterable[str]:
    lookups = {
        f"{name}_at"
        for name in (*settings.lookups, *(n for n, t in settings.topics.items() if t.key))
    }
    for name in settings.functions:
        if not names.is_identifier(name):
            yield f"function {names.shown(name)} is no identifier of SQL (letters, digits, _)"
        if name.lower() in {found.lower() for found in lookups}:
            yield f"function {name} has the name of a look-up, which every topic with a key has, T_at()"


def _output_problems(settings: ProductSettings) -> Iterable[str]:
    events = sorted(n for n, t in settings.topics.items() if t.is_event)
    for name, output in settings.outputs.items():
        if unknown := sorted(set(output.of) - set(events)):
            yield f"output {name} is of {', '.join(unknown)}, but the topics with events are {events}"
        if output.kind is Kind.rejects:
            yield f"output {name} is of kind rejects, which only the generated table {REJECTS} has"
        if output.window and output.kind is Kind.rows:
            yield f"output {name} has a window, which only aggregates can have"
    yield from _output_topic_problems(settings)


def _output_topic_problems(settings: ProductSettings) -> Iterable[str]:
    """Topics of outputs that would be other topics of the product."""
    written = {name: o.topic for name, o in settings.outputs.items() if o.topic is not None}
    read = [settings.kafka_name(name) for name in settings.topics]
    for name, topic in written.items():
        if taken := [other for other in read if names.may_be_output_topic(other, topic)]:
            yield f"output {name} would write to topic {topic}, but the product reads {taken[0]}: give it another name"
    for (name, topic), (other, with_it) in itertools.combinations(written.items(), 2):
        if names.may_be_output_topic(topic, with_it) or names.may_be_output_topic(with_it, topic):
            yield f"outputs {name} and {other} have the topics {topic} and {with_it}, but each output has its own"
