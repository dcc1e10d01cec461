"""Reads documents of JSON in Python, apart from Flink: the audit's independent witness.

The syntax is read by Python's own parser, which keeps numbers as they are written and objects as they are in the text.
The rules are those of jobs/connector/src/main/java/kappa/format/JsonRecord.java, and so are the reasons.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from jobs.product.avro_schema import MISSING, Schema, SchemaField
from replay.avro import json_times
from replay.avro.body import UndecodableError
from replay.avro.json_numbers import Number, decimal, double, shown, whole

MAX_DEPTH = 100
"""Objects and arrays may be nested so deep, also in fields that are not read."""
_LONG_NUMBER = 400
_BOM = b"\xef\xbb\xbf"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

Reads = Callable[[Any], Any]


class JsonObject(list[tuple[str, Any]]):
    """An object's fields in the order of the text, repeated ones too."""


def json_reader(schema: Schema) -> Callable[[bytes], dict[str, Any]]:
    """What reads a document as a record of the schema; UndecodableError when it is none."""
    read = _record(schema, "")

    def whole_document(message: bytes) -> dict[str, Any]:
        found: dict[str, Any] = read(document(message))
        return found

    return whole_document


def document(message: bytes) -> Any:
    """What a message says, numbers as text; UndecodableError when it is not JSON."""
    if not message:
        raise UndecodableError("empty value")
    try:
        text = message.decode()
    except UnicodeDecodeError:
        raise UndecodableError("the value is not UTF-8") from None
    if message.startswith(_BOM):
        raise UndecodableError("the value begins with a byte order mark")
    if _depth(message) > MAX_DEPTH:
        raise UndecodableError(f"the value is nested more than {MAX_DEPTH} deep")
    try:
        return json.loads(
            text,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse,
            object_pairs_hook=JsonObject,
        )
    except ValueError:
        raise UndecodableError("the value is not JSON") from None


def plain(value: Any) -> Any:
    """A document for people: of a repeated field the last; numbers that Python would round are text."""
    if isinstance(value, JsonObject):
        return {name: plain(v) for name, v in value}
    if isinstance(value, Number):
        return _number(value)
    return [plain(v) for v in value] if isinstance(value, list) else value


def _number(text: str) -> Any:
    if len(text) > _LONG_NUMBER:
        return str(text)
    found = json.loads(text)
    is_exact = Decimal(text) == (found if isinstance(found, int) else Decimal(repr(found)))
    return found if is_exact else str(text)


def _refuse(name: str) -> None:
    raise ValueError(name)


def _depth(message: bytes) -> int:
    """How deep brackets are nested outside of texts, whether they are closed or not."""
    if message.count(b"[") + message.count(b"{") <= MAX_DEPTH:
        return 0
    deepest = depth = 0
    in_text = escaped = False
    for byte in message:
        if in_text:
            in_text = escaped or byte != 0x22
            escaped = not escaped and byte == 0x5C
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _reject(path: str, why: str) -> UndecodableError:
    return UndecodableError(f"field {path}: {why}" if path else f"the record: {why}")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case Number():
            return "a number"
        case str():
            return "a string"
        case JsonObject():
            return "an object"
        case _:
            return "an array"


def _expect(value: Any, kind: str, path: str) -> None:
    if (found := _kind(value)) != kind:
        raise _reject(path, f"{found}, not {kind}")


def _value(schema: Schema, path: str) -> Reads:
    match schema.type:
        case "union":
            inner = _value(next(b for b in schema.branches if b.type != "null"), path)
            return lambda value: None if value is None else inner(value)
        case "record":
            return _record(schema, path)
        case "array":
            return _array(schema, path)
        case "map":
            return _map(schema, path)
        case "boolean":
            return _of("a boolean", path, lambda value: value)
        case "double":
            return _of("a number", path, double)
        case _ if schema.logical:
            return _logical(schema, path)
        case "int" | "long":
            bits = 32 if schema.type == "int" else 64
            return _of("a number", path, lambda value: whole(value, bits))
        case "bytes":
            return _of("a string", path, _bytes)
        case _:
            return _of("a string", path, _text)


def _logical(schema: Schema, path: str) -> Reads:
    if schema.logical == "decimal":
        kind = "a string" if schema.json == "string" else "a number"
        return _of(kind, path, lambda value: decimal(value, schema.precision, schema.scale))
    kind = "a number" if schema.json.startswith("epoch") else "a string"
    return _of(kind, path, json_times.reader(schema))


def _of(kind: str, path: str, read: Reads) -> Reads:
    """A value of one kind; what it says of a wrong one is a ValueError's text."""

    def checked(value: Any) -> Any:
        _expect(value, kind, path)
        try:
            return read(value)
        except ValueError as e:
            raise _reject(path, str(e)) from None

    return checked


def _text(value: str) -> str:
    if not _is_text(value):
        raise ValueError("half of a surrogate pair")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes(value: str) -> bytes:
    if not _BASE64.fullmatch(value):
        raise ValueError(f"{shown(value)} is no base64")
    return base64.b64decode(value)


def _record(schema: Schema, path: str) -> Reads:
    at = f"{path}." if path else ""
    fields: dict[str, tuple[SchemaField, Reads]] = {
        f.json_name or f.name: (f, _value(f.schema, at + f.name)) for f in schema.fields
    }
    nothing = dict.fromkeys(f.name for f in schema.fields)
    required = [(f.name, at + f.name) for f in schema.fields if f.default is MISSING]

    def read(value: Any) -> dict[str, Any]:
        _expect(value, "an object", path)
        row: dict[str, Any] = nothing.copy()
        seen: set[str] = set()
        for name, inner in value:
            if (known := fields.get(name)) is None:
                continue
            field, reads = known
            if field.name in seen:
                raise _reject(at + field.name, "occurs twice")
            seen.add(field.name)
            row[field.name] = reads(inner)
        for name, where in required:
            if name not in seen:
                raise _reject(where, "missing")
        return row

    return read


def _array(schema: Schema, path: str) -> Reads:
    assert schema.inner is not None
    item = _value(schema.inner, path + "[]")

    def read(value: Any) -> list[Any]:
        _expect(value, "an array", path)
        return [item(v) for v in value]

    return read


def _map(schema: Schema, path: str) -> Reads:
    assert schema.inner is not None
    of_value = _value(schema.inner, path + "{}")

    def read(value: Any) -> dict[str, Any]:
        _expect(value, "an object", path)
        entries: dict[str, Any] = {}
        for key, inner in value:
            if not _is_text(key):
                raise _reject(path, "half of a surrogate pair in a key")
            if key in entries:
                raise _reject(path, "a key occurs twice")
            entries[key] = of_value(inner)
        return entries

    return read
