"""Can a reader's Avro schema read what another has written, and what differs between the two. Pure.

The rules are those by which records are read (replay/avro/reader.py): Avro's schema resolution, and logical types that
are no match where their values would be others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from jobs.product.avro_schema import MISSING, Schema, SchemaField
from replay.avro.body import FieldPath
from replay.avro.leaves import leaf


def unreadable(reader: Schema, writer: Schema) -> list[str]:
    """Why records of `writer` cannot be read with `reader`, by field; empty when they can."""
    return list(_unreadable(reader, writer, "", set()))


def _unreadable(
    reader: Schema, writer: Schema, path: str, seen: set[tuple[str, str]]
) -> Iterator[str]:
    if writer.type == "union":
        for branch in writer.branches:
            yield from _unreadable(reader, branch, path, seen)
        return
    where = f"field {path}" if path else "the value"
    if reader.type == "union":
        meant = _branch(reader, writer)
        if meant is None:
            yield f"{where}: {text(writer)} is none of {text(reader)}"
        else:
            yield from _unreadable(meant, writer, path, seen)
        return
    if _other_type(reader, writer):
        yield f"{where}: {text(writer)} is not readable as {text(reader)}"
        return
    match reader.type:
        case "record":
            yield from _records(reader, writer, path, seen)
        case "array" | "map" if reader.inner and writer.inner:
            yield from _unreadable(
                reader.inner, writer.inner, path + ("[]" if reader.type == "array" else "{}"), seen
            )
        case "enum" if reader.default_symbol is None:
            if unknown := [s for s in writer.symbols if s not in reader.symbols]:
                yield f"{where}: enum {reader.short_name} has no {', '.join(unknown)}, and no default"


def _branch(reader: Schema, writer: Schema) -> Schema | None:
    """The branch that a type is read as: of its name if it has one, of the same type, of one it is promoted to."""
    fitting = [b for b in reader.branches if not _other_type(b, writer)]
    named = [b for b in fitting if b.name == writer.name] or [
        b for b in fitting if _same_name(b, writer)
    ]
    same = [b for b in fitting if b.type == writer.type]
    if writer.type == "record" and not named:
        return same[0] if len(same) == 1 else None
    return next(iter([*(named if writer.name else ()), *same, *fitting]), None)


def _same_name(reader: Schema, writer: Schema) -> bool:
    return writer.short_name == reader.short_name or writer.name in reader.aliases


def _other_type(reader: Schema, writer: Schema) -> bool:
    if reader.type in ("record", "array", "map"):
        return reader.type != writer.type
    if "enum" in (reader.type, writer.type):
        return reader.type != writer.type or not _same_name(reader, writer)
    if reader.type == writer.type == "fixed" and not _same_name(reader, writer):
        return True
    fewer = reader.logical == writer.logical == "decimal" and _whole_digits(reader) < _whole_digits(
        writer
    )
    return fewer or leaf(writer, reader, FieldPath("")) is None


def _whole_digits(decimal: Schema) -> int:
    return decimal.precision - decimal.scale


def _logical(schema: Schema) -> tuple[str, int, int]:
    return schema.logical, schema.precision, schema.scale


def _records(
    reader: Schema, writer: Schema, path: str, seen: set[tuple[str, str]]
) -> Iterator[str]:
    if (reader.name, writer.name) in seen:  # a recursive type is compared once
        return
    seen = seen | {(reader.name, writer.name)}
    written = {f.name: f.schema for f in writer.fields}
    for field in reader.fields:
        below = f"{path}.{field.name}" if path else field.name
        name = next((n for n in (field.name, *field.aliases) if n in written), None)
        if name is not None:
            yield from _unreadable(field.schema, written[name], below, seen)
        elif field.default is MISSING:
            yield f"field {below}: not in the records, and it has no default"


def equal(one: Schema, other: Schema) -> bool:
    """Whether they say the same, apart from documentation and spelling."""
    return bool(_form(one, set()) == _form(other, set()))


def _form(schema: Schema, seen: set[str]) -> Any:
    if schema.name in seen:
        return schema.name
    seen = seen | ({schema.name} if schema.name else set())
    return (
        schema.type,
        schema.name,
        schema.aliases,
        _logical(schema),
        schema.size,
        schema.symbols,
        schema.default_symbol,
        _form(schema.inner, seen) if schema.inner else None,
        tuple(_form(b, seen) for b in schema.branches),
        tuple((f.name, f.aliases, _default(f), _form(f.schema, seen)) for f in schema.fields),
    )


def text(schema: Schema) -> str:
    """A type in a word or two."""
    if schema.type == "union":
        return "[" + ", ".join(map(text, schema.branches)) + "]"
    if schema.logical == "decimal":
        return f"decimal({schema.precision}, {schema.scale})"
    if schema.logical:
        return schema.logical
    if schema.type == "fixed":
        return f"fixed({schema.size})"
    if schema.inner:
        return f"{schema.type} of {text(schema.inner)}"
    return f"{schema.type} {schema.short_name}" if schema.name else schema.type


def changes(old: Schema, new: Schema) -> list[str]:
    """What became of the fields: '+ currency string, default "EUR"', '- shop string', '~ cents: int → long'."""
    return list(_changes(old, new, "", set()))


def _changes(old: Schema, new: Schema, path: str, seen: set[str]) -> Iterator[str]:
    before, after = _named_within(old), _named_within(new)
    if before is None or after is None or after.name in seen:
        return
    if before.symbols != after.symbols:
        yield f"~ {path or after.short_name}: {', '.join(before.symbols)} → {', '.join(after.symbols)}"
    was, now = {f.name: f for f in before.fields}, {f.name: f for f in after.fields}
    for name, field in now.items():
        below = f"{path}.{name}" if path else name
        if name not in was:
            yield f"+ {below} {_described(field)}"
            continue
        if (one := _described(was[name])) != (other := _described(field)):
            yield f"~ {below}: {one} → {other}"
        yield from _changes(was[name].schema, field.schema, below, seen | {after.name})
    for name, field in was.items():
        if name not in now:
            yield (
                f"- {path}.{name} {_described(field)}" if path else f"- {name} {_described(field)}"
            )


def _described(field: SchemaField) -> str:
    return (
        text(field.schema)
        + _default(field)
        + (f", alias {', '.join(field.aliases)}" if field.aliases else "")
    )


def _default(field: SchemaField) -> str:
    return (
        ""
        if field.default is MISSING
        else f", default {json.dumps(field.default, ensure_ascii=False)}"
    )


def _named_within(schema: Schema) -> Schema | None:
    """The record or enum of a field's type: itself, behind null, or in an array or a map; None without one."""
    others = [b for b in schema.branches if b.type != "null"]
    if len(others) == 1:
        return _named_within(others[0])
    if schema.inner:
        return _named_within(schema.inner)
    return schema if schema.type in ("record", "enum") else None
