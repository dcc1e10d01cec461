"""Values as JSON in which each can be told from every other, as kappa.format.Rendered has it in Java."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

from jobs.product.avro_schema import Schema, SchemaError, parse
from replay.avro import single_object
from replay.avro.body import UndecodableError
from replay.avro.reader import record_reader

VECTORS = Path(__file__).parent / "vectors" / "avro.json"
MESSAGES = VECTORS.with_name("avro_messages.json")
SCHEMA_ID = 7
HEADER = bytes([0, 0, 0, 0, SCHEMA_ID])


def decode(writer: str, reader: str, body: bytes) -> dict[str, Any]:
    """{"value": …} or {"reason": …}, as kappa.format.DecodeLines answers."""
    wanted = parse(reader)
    try:
        value = record_reader(parse(writer, strict=False), wanted, f"schema id {SCHEMA_ID}")(
            HEADER + body, len(HEADER)
        )
    except UndecodableError as e:
        return {"reason": str(e)}
    except SchemaError as e:
        return {"reason": f"invalid: {e}"}
    return {"value": rendered(value, wanted)}


def decode_message(reader: str, writers: list[str] | None, message: bytes) -> dict[str, Any]:
    """The same of a whole message: behind a fingerprint, or without writers a body alone."""
    wanted = parse(reader)
    try:
        read = (
            single_object.body_reader(wanted)
            if writers is None
            else single_object.reader(wanted, writers)
        )
        return {"value": rendered(read(message), wanted)}
    except UndecodableError as e:
        return {"reason": str(e)}


def rendered(value: Any, schema: Schema) -> Any:
    if value is None or isinstance(value, bool):
        return value
    match schema.type, value:
        case "union", _:
            branches = [b for b in schema.branches if b.type != "null"]
            if len(branches) == 1:
                return rendered(value, branches[0])
            return {b.short_name: rendered(value[b.short_name], b) for b in branches}
        case "record", _:
            return {f.name: rendered(value[f.name], f.schema) for f in schema.fields}
        case (("array" | "map"), _):
            assert schema.inner is not None
            if isinstance(value, list):
                return [rendered(v, schema.inner) for v in value]
            return {k: rendered(v, schema.inner) for k, v in value.items()}
        case _, float():
            return real(value)
        case _, bytes():
            return value.hex()
        case _, Decimal():
            return f"{value:f}"
        case _, dt.datetime():
            if schema.logical.endswith("millis"):
                assert value.microsecond % 1000 == 0
            text = value.replace(tzinfo=None).isoformat(
                timespec="milliseconds" if schema.logical.endswith("millis") else "microseconds"
            )
            return text + ("Z" if value.tzinfo else "")
        case _, dt.time():
            return value.isoformat(timespec="milliseconds")
        case _, dt.date():
            return value.isoformat()
        case _:
            return value


def real(value: float) -> str:
    """All digits of the binary number: another language's shortest form may be another."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return f"{Decimal(value):f}"


def without_nanoseconds(value: Any, schema: Schema) -> Any:
    """What Java rendered, with times as fine as Python has them."""
    if value is None:
        return None
    if schema.logical.endswith("-nanos"):
        zone = "Z" if value.endswith("Z") else ""
        return value.removesuffix("Z")[:-3] + zone
    if schema.type == "union":
        branches = [b for b in schema.branches if b.type != "null"]
        if len(branches) == 1:
            return without_nanoseconds(value, branches[0])
        return {b.short_name: without_nanoseconds(value[b.short_name], b) for b in branches}
    if schema.type == "record":
        return {f.name: without_nanoseconds(value[f.name], f.schema) for f in schema.fields}
    if schema.inner is not None and isinstance(value, list):
        return [without_nanoseconds(v, schema.inner) for v in value]
    if schema.inner is not None:
        return {k: without_nanoseconds(v, schema.inner) for k, v in value.items()}
    return value


def vectors() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())
    return found


def groups() -> list[dict[str, Any]]:
    """Schemas of readers and writers, each with messages."""
    found: list[dict[str, Any]] = json.loads(MESSAGES.read_text())
    return found
