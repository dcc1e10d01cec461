"""The default of a field in Avro's binary encoding, as a producer would have written it."""

from __future__ import annotations

from typing import Any

from jobs.product.avro_schema import Schema, pack_real


def encode(schema: Schema, value: Any) -> bytes | None:  # noqa: C901 - one case for each type
    """A default in Avro's binary encoding, None if it is not of its type. A union's is of the first branch it fits."""
    match schema.type, value:
        case "null", None:
            return b""
        case "boolean", bool():
            return bytes([value])
        case (("int" | "long"), int()) if not isinstance(value, bool):
            bits = 31 if schema.type == "int" else 63
            return _number(value) if -(2**bits) <= value < 2**bits else None
        case (("float" | "double"), int() | float()) if not isinstance(value, bool):
            return pack_real(schema.type, value)
        case "string", str():
            return _sized(value.encode())
        case (("bytes" | "fixed"), str()) if all(ord(c) < 256 for c in value):
            raw = value.encode("latin-1")
            if schema.type == "bytes":
                return _sized(raw)
            return raw if len(raw) == schema.size else None
        case "enum", str() if value in schema.symbols:
            return _number(schema.symbols.index(value))
        case "array", list():
            return _encode_items([(b"", v) for v in value], schema.inner)
        case "map", dict():
            return _encode_items([(_sized(k.encode()), v) for k, v in value.items()], schema.inner)
        case "record", dict():
            parts = [encode(f.schema, value.get(f.name, f.default)) for f in schema.fields]
            return None if None in parts else b"".join(p or b"" for p in parts)
        case "union", _:
            tried = ((i, encode(b, value)) for i, b in enumerate(schema.branches))
            return next((_number(i) + encoded for i, encoded in tried if encoded is not None), None)
        case _:
            return None


def _encode_items(items: list[tuple[bytes, Any]], inner: Schema | None) -> bytes | None:
    parts = [(key, encode(inner, value)) for key, value in items if inner is not None]
    if any(encoded is None for _, encoded in parts):
        return None
    return (
        (_number(len(parts)) if parts else b"")
        + b"".join(key + (value or b"") for key, value in parts)
        + b"\0"
    )


def _number(value: int) -> bytes:
    encoded, out = (value << 1) ^ (value >> 63), bytearray()
    while encoded >= 0x80:
        out.append(encoded & 0x7F | 0x80)
        encoded >>= 7
    return bytes([*out, encoded])


def _sized(raw: bytes) -> bytes:
    return _number(len(raw)) + raw
