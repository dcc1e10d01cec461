"""The schemas that records were written with, of those that the registry knows."""

from __future__ import annotations

from collections.abc import Iterable

from replay.avro.inline import inlined
from replay.kafka import schema_registry
from replay.settings import Settings


def of(settings: Settings, values: Iterable[bytes]) -> dict[int, str]:
    """Id → Avro schema, as JSON, with what it refers to; RetryableError when the registry does not answer."""
    width = schema_registry.HEADER
    heads = {bytes(value[:width]) for value in values}
    ids = {
        int.from_bytes(head[1:], "big", signed=True)
        for head in heads
        if len(head) == width and head[0] == 0
    }
    with schema_registry.client(settings) as client:
        found = {n: schema_registry.writer_schema(settings, client, n) for n in sorted(ids)}
    return {
        number: inlined(schema.text, schema.others)
        for number, schema in found.items()
        if schema and schema.kind == schema_registry.AVRO
    }
