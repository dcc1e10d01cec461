"""What a topic's own records say of their format and their fields."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jobs.product.avro_schema import SchemaError
from jobs.product.formats import Format
from jobs.product.json_columns import avro_text
from jobs.product.topic_schemas import payload_schema
from replay.avro.body import UndecodableError
from replay.avro.json_records import JsonObject, document
from replay.cli.json_guess import guess
from replay.cli.new_product import Source
from replay.errors import RefusedError
from replay.kafka import reading, schema_registry, schemas, topics
from replay.settings import Settings

SAMPLE = 1000
"""Records of a topic that are looked at, half of them its oldest."""
_ENOUGH = 0.9
"""So much of a sample that is JSON makes a topic one of JSON: the rest are rejects."""


def format_of(settings: Settings, topic: str) -> Format:
    """Avro if the registry has a schema of it, JSON if its records are, else bytes."""
    values = _values(settings, topic)
    framed = [v for v in values if v[:1] == b"\0"]
    if len(framed) >= _ENOUGH * len(values) and framed:
        if _mostly_json(_bodies(values, Format.json_confluent)):
            return Format.json_confluent
        found = schemas.latest(settings, topic)
        return Format.avro_confluent if found and found.is_avro else Format.raw
    return Format.json if _mostly_json(values) else Format.raw


def source(settings: Settings, topic: str, written: Format) -> Source:
    """A topic's columns by its records; RefusedError for one that has no record of this format."""
    if not written.is_json:
        return Source(topic, payload_schema(written), format=written)
    if written is Format.json_confluent and (registered := _registered(settings, topic)):
        return registered
    values = _values(settings, topic)
    found = _objects(_bodies(values, written))
    if not found:
        raise RefusedError(
            f"topic {topic} has no record from which columns could be told",
            expected="objects of JSON",
            found=f"{len(values):,} records, none of them one" if values else "no record",
            next=f"kappa new … --format json --from-schema FILE.json, or kappa topic peek {topic}",
        )
    made = guess(found)
    said = (
        f"topic {topic}: columns are those of {len(found):,} of its records (schemas/*.json); a field that all of them "
        "have is required",
        *(f"topic {topic}: {what}" for what in made.said),
    )
    text = json.dumps(made.schema, ensure_ascii=False, indent=2) + "\n"
    return Source(topic, avro_text(text), format=written, file=text, guesses=said)


def _registered(settings: Settings, topic: str) -> Source | None:
    """By the registry's JSON Schema, if there is one that a table can be made of."""
    found = schemas.latest(settings, topic)
    if found is None or found.kind != schemas.JSON:
        return None
    try:
        avro = avro_text(found.text)
    except SchemaError:
        return None
    text = json.dumps(json.loads(found.text), ensure_ascii=False, indent=2) + "\n"
    said = f"topic {topic}: columns are those of version {found.version} of its schema in the registry (schemas/*.json)"
    return Source(topic, avro, format=Format.json_confluent, file=text, guesses=(said,))


def _values(settings: Settings, topic: str) -> list[bytes]:
    (there,) = topics.look(settings, [topic])
    half = SAMPLE // 2
    starts = {p: first for p, first in there.first.items() if first < there.ends[p]}
    old = reading.oldest(settings, topic, starts, half)[:half]
    new = reading.newest(settings, topic, there.first, there.ends, half)
    found = {(r.partition, r.offset): r.value for r in (*old, *new)}
    return [value for value in found.values() if value is not None]


def _bodies(values: Sequence[bytes], written: Format) -> list[bytes]:
    if written is Format.json_confluent:
        return [v[schema_registry.HEADER :] for v in values if v[:1] == b"\0"]
    return list(values)


def _objects(values: Sequence[bytes]) -> list[JsonObject]:
    found = []
    for value in values:
        try:
            parsed = document(value)
        except UndecodableError:
            continue
        if isinstance(parsed, JsonObject):
            found.append(parsed)
    return found


def _mostly_json(values: Sequence[bytes]) -> bool:
    return bool(values) and len(_objects(values)) >= _ENOUGH * len(values)
