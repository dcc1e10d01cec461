"""Reads Avro without a registry: bodies alone, and Avro's single-object encoding.

A record of that encoding is a marker of two bytes, the fingerprint of its writer's schema in eight, and a body.
The rules are those of jobs/connector/src/main/java/kappa/format/AvroDecoder.java, and so are the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jobs.product.avro_fingerprint import fingerprint
from jobs.product.avro_schema import Schema, parse
from replay.avro.body import UndecodableError
from replay.avro.reader import record_reader

MARKER = b"\xc3\x01"
HEADER = len(MARKER) + 8
BODIES = "the folder's schema"
"""What reasons call the schema of bodies alone, which name none."""

Reads = Callable[[bytes], dict[str, Any]]


def body_reader(schema: Schema) -> Reads:
    """What reads bodies alone, which were written with the schema that they are read by."""
    read = record_reader(schema, schema, BODIES)
    return lambda value: read(value, 0)


def reader(schema: Schema | None, writers: Sequence[str]) -> Reads:
    """What reads records of these writers' schemas, each text one, as records of a reader's; None: as they are."""
    by_fingerprint = {fingerprint(w): w for w in (parse(text, strict=False) for text in writers)}
    reads = {
        written: record_reader(writer, schema or writer, named(written))
        for written, writer in by_fingerprint.items()
    }

    def read(value: bytes) -> dict[str, Any]:
        written = fingerprint_of(value)
        if written not in reads:
            raise UndecodableError(f"{named(written)} is of no schema in the folder")
        return reads[written](value, HEADER)

    return read


def fingerprint_of(value: bytes) -> bytes:
    """By which a record names what it was written with; UndecodableError when it does not."""
    if not value:
        raise UndecodableError("empty value")
    marker = value[: len(MARKER)]
    if not MARKER.startswith(marker):
        raise UndecodableError(f"marker is 0x{marker.hex()}, not 0x{MARKER.hex()}")
    if len(value) < HEADER:
        raise UndecodableError(f"too short for a fingerprint: {len(value)} bytes")
    return value[len(MARKER) : HEADER]


def header(schema: Schema) -> bytes:
    """What stands before the bodies of records that are written with a schema."""
    return MARKER + fingerprint(schema)


def named(written: bytes) -> str:
    """What reasons call a schema."""
    return f"fingerprint {written.hex()}"
