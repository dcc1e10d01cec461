"""The schemas that records were written with, of those that the registry knows."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka.schema_registry.error import SchemaRegistryError

from replay.errors import RefusedError
from replay.kafka.log import is_unknown, registry, registry_down
from replay.settings import Settings

_HEADER = 5  # Confluent's wire format: a zero byte, then the schema's id in four bytes


def of(settings: Settings, values: Iterable[bytes]) -> dict[int, str]:
    """Id → schema, as JSON. RefusedError for one that refers to others, RetryableError when the registry is down."""
    heads = {bytes(value[:_HEADER]) for value in values}
    ids = {
        int.from_bytes(head[1:], "big", signed=True)
        for head in heads
        if len(head) == _HEADER and head[0] == 0
    }
    with registry(settings) as client:
        found: dict[int, str] = {}
        for number in sorted(ids):
            try:
                schema = client.get_schema(number)
            except SchemaRegistryError as e:
                if is_unknown(e):
                    continue
                raise registry_down(settings, e) from e
            except Exception as e:
                # httpx and its kin: the client passes on whatever its transport raises
                raise registry_down(settings, e) from e
            if schema.references:
                raise RefusedError(
                    f"schema {number} of the registry refers to others",
                    expected="records whose schemas are whole",
                    found=", ".join(str(r.subject) for r in schema.references),
                    next="kappa topic list, and a deploy with --no-auto-switch: its job reads them",
                )
            if schema.schema_type in (None, "AVRO"):
                found[number] = schema.schema_str or "null"
    return found
