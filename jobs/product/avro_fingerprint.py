"""The fingerprint by which Avro's single-object encoding names a writer's schema, as the Avro specification has it."""

from __future__ import annotations

import json

from jobs.product.avro_schema import Schema

_EMPTY = 0xC15D213AA4D7A795


def fingerprint(schema: Schema) -> bytes:
    """CRC-64-AVRO of the schema's Parsing Canonical Form: eight bytes, as they stand in a record."""
    found = _EMPTY
    for byte in canonical_form(schema).encode():
        found = (found >> 8) ^ _TABLE[(found ^ byte) & 0xFF]
    return found.to_bytes(8, "little")


def canonical_form(schema: Schema) -> str:
    """What of a schema decides how bytes are read: without logical types, defaults, aliases and documentation."""
    return _form(schema, set())


def _form(schema: Schema, defined: set[Schema]) -> str:
    """A named type stands where it is first used; behind that, its full name."""
    if schema.branches:
        return f"[{','.join(_form(b, defined) for b in schema.branches)}]"
    if schema.inner is not None:
        inner = "items" if schema.type == "array" else "values"
        return f'{{"type":"{schema.type}","{inner}":{_form(schema.inner, defined)}}}'
    if not schema.name:
        return f'"{schema.type}"'
    if schema in defined:
        return f'"{schema.name}"'
    defined.add(schema)
    return f'{{"name":"{schema.name}","type":"{schema.type}",{_content(schema, defined)}}}'


def _content(schema: Schema, defined: set[Schema]) -> str:
    match schema.type:
        case "fixed":
            return f'"size":{schema.size}'
        case "enum":
            symbols = json.dumps(schema.symbols, ensure_ascii=False, separators=(",", ":"))
            return f'"symbols":{symbols}'
        case _:
            fields = (
                f'{{"name":"{f.name}","type":{_form(f.schema, defined)}}}' for f in schema.fields
            )
            return f'"fields":[{",".join(fields)}]'


def _divided(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_EMPTY if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_divided, range(256)))
