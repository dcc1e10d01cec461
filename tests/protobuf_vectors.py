"""Messages of Protobuf as rows or reasons, as kappa.format.DecodeLines has them in Java."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.product.avro_schema import Schema, parse
from jobs.product.formats import Format
from replay.avro.body import UndecodableError
from replay.kafka.decoding import reads_alone
from tests.avro_vectors import rendered

Reads = Callable[[bytes], dict[str, Any]]
VECTORS = Path(__file__).parent / "vectors" / "protobuf.json"


def decode(schema: str, framed: bool, message: bytes) -> dict[str, Any]:
    """{"value": …} or {"reason": …}."""
    return decoded(reader(schema, framed), parse(schema), message)


def reader(schema: str, framed: bool) -> Reads:
    """What reads messages as the audit does."""
    read = reads_alone(Format.protobuf_confluent if framed else Format.protobuf, schema)
    assert read is not None
    return read


def decoded(read: Reads, schema: Schema, message: bytes) -> dict[str, Any]:
    """{"value": …} or {"reason": …}."""
    try:
        return {"value": rendered(read(message), schema)}
    except UndecodableError as e:
        return {"reason": str(e)}


def groups() -> list[dict[str, Any]]:
    """Files of Protobuf, each with the messages that it reads."""
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())
    return found


def without_descriptor(schema: str) -> dict[str, Any]:
    """What Java reads of a schema: the compiled file beside it is for Python."""
    found: dict[str, Any] = json.loads(schema)
    del found["descriptor"]
    return found
