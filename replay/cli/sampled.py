"""What a topic's own records say of their format and their fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from jobs.product.avro_schema import SchemaError
from jobs.product.formats import Format
from jobs.product.json_columns import avro_text
from jobs.product.protobuf_files import Others, messages_of_text, schema_of_text
from jobs.product.topic_schemas import payload_schema
from replay.avro.body import UndecodableError
from replay.avro.json_records import JsonObject, document
from replay.avro.protobuf_records import read_indexes
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
        if found and found.kind == schema_registry.PROTOBUF:
            return Format.protobuf_confluent
        return Format.avro_confluent if found and found.is_avro else Format.raw
    return Format.json if _mostly_json(values) else Format.raw


def registered_format(settings: Settings, topic: str) -> Format:
    """Protobuf if the registry has a schema of that, else Avro."""
    found = schemas.latest(settings, topic)
    is_protobuf = found is not None and found.kind == schema_registry.PROTOBUF
    return Format.protobuf_confluent if is_protobuf else Format.avro_confluent


def source(settings: Settings, topic: str, written: Format) -> Source:
    """A topic's columns by its records; RefusedError for one that has no record of this format."""
    if written.is_protobuf:
        return _of_registered_file(settings, topic, written)
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
    if found is None or found.kind != schema_registry.JSON:
        return None
    try:
        avro = avro_text(found.text)
    except SchemaError:
        return None
    text = json.dumps(json.loads(found.text), ensure_ascii=False, indent=2) + "\n"
    said = f"topic {topic}: columns are those of version {found.version} of its schema in the registry (schemas/*.json)"
    return Source(topic, avro, format=Format.json_confluent, file=text, guesses=(said,))


def _of_registered_file(settings: Settings, topic: str, written: Format) -> Source:
    """By the registry's file of Protobuf; RefusedError if it has none, or the records do not name their message."""
    found = schemas.latest(settings, topic)
    if found is None or found.kind != schema_registry.PROTOBUF or written is Format.protobuf:
        raise RefusedError(
            f"the columns of topic {topic} are not known",
            expected=f"a schema of Protobuf as {schema_registry.subject(topic)} in the registry, of a topic of "
            "protobuf-confluent",
            found="none" if found is None else f"{found.kind}, and --format {written.value}",
            next="kappa new … --format protobuf --from-schema FILE.proto",
        )
    version = f"version {found.version} of its schema in the registry"
    said = f"topic {topic}: columns are those of {version} (schemas/*.proto)"
    return of_file(topic, written, found.text, found.imports, _values(settings, topic), (said,))


def of_file(
    topic: str,
    written: Format,
    text: str,
    imports: Others = (),
    values: Sequence[bytes] = (),
    said: tuple[str, ...] = (),
) -> Source:
    """A topic of Protobuf: of a file with several messages that one which most of these records are of, or the first.

    SchemaError for a file that no table can be made of.
    """
    named = messages_of_text(text, imports)
    first = next((name for name, indexes in named.items() if indexes == [0]), None)
    counted = Counter(filter(None, (_message(value, named) for value in values)))
    chosen = counted.most_common(1)[0][0] if counted else first
    message = "" if chosen is None or len([n for n in named if "." not in n]) == 1 else chosen
    if chosen != first and chosen is not None:
        message = chosen
    if message:
        of = f"that of {counted[message]:,} of its records" if counted else "the first of its file"
        said = (*said, f"topic {topic}: a value is a {message}, {of} (message)")
    schema = schema_of_text(text, message or None, imports)
    return Source(
        topic, schema, format=written, file=text, guesses=said, message=message, imports=imports
    )


def _message(value: bytes, named: Mapping[str, list[int]]) -> str | None:
    """The name of the message that a record says it is."""
    if value[:1] != b"\0":
        return None
    try:
        indexes, _ = read_indexes(value, schema_registry.HEADER)
    except UndecodableError:
        return None
    return next((name for name, at in named.items() if at == indexes), None)


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
