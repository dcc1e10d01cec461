"""The schemas that records were written with, of those that the registry knows."""

from __future__ import annotations

from collections.abc import Iterable

from replay.avro.inline import inlined
from replay.kafka import schema_registry
from replay.kafka.schema_registry import WriterSchema
from replay.settings import Settings


def of(settings: Settings, values: Iterable[bytes]) -> dict[int, str | dict[str, str]]:
    """Id → Avro schema as JSON, with what it refers to, or {"kind": …} of one that is no Avro.

    RetryableError when the registry does not answer.
    """
    width = schema_registry.HEADER
    heads = {bytes(value[:width]) for value in values}
    ids = {
        int.from_bytes(head[1:], "big", signed=True)
        for head in heads
        if len(head) == width and head[0] == 0
    }
    with schema_registry.client(settings) as client:
        found = {n: schema_registry.writer_schema(settings, client, n) for n in sorted(ids)}
    return {number: _said(schema) for number, schema in found.items() if schema}


def _said(schema: WriterSchema) -> str | dict[str, str]:
    if schema.kind != schema_registry.AVRO:
        return {"kind": schema.kind}
    # Alone it stays as it is, though it may be no Avro: the job says so.
    return inlined(schema.text, schema.others) if schema.others else schema.text
