"""Reads Avro's binary encoding in Python, apart from Flink: the audit's independent witness.

fastavro does not do: it takes a branch or a symbol -1 for the last one, any byte but 0 for true, what is beyond 32 bits
for an int, and asks the writer's logical types, not the reader's, so that microseconds become milliseconds. What this
module makes of a record is compared with it and with Java's decoder in tests/vectors and tests/unit/test_avro_fuzz.py.

The rules are those of jobs/connector/src/main/java/kappa/format/Resolution.java, and so are the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobs.product.avro_schema import MISSING, Schema, SchemaField
from replay.avro.body import Body, EndError, FieldPath, Reader, UndecodableError
from replay.avro.default import encode
from replay.avro.leaves import PROMOTIONS, describe, enum, leaf, nothing
from replay.avro.skip import is_empty, skipping

_NAMED = ("record", "enum", "fixed")


def record_reader(
    writer: Schema, reader: Schema, written: str
) -> Callable[[bytes, int], dict[str, Any]]:
    """What reads a record of a message from a position on; UndecodableError when it is none.

    `written`: what reasons call the writer's schema, such as `schema id 7`.
    """
    if writer.type != "record":
        raise UndecodableError(f"{written} is of type {describe(writer)}, not a record")
    read = _record(writer, reader, FieldPath(written))

    def whole(message: bytes, start: int) -> dict[str, Any]:
        body = Body(message, start)
        try:
            found: dict[str, Any] = read(body)
        except EndError:
            raise UndecodableError(f"body ends before the end of a record of {written}") from None
        if body.position != len(message):
            raise UndecodableError(f"body goes on after the end of a record of {written}")
        return found

    return whole


def _resolve(writer: Schema, reader: Schema, place: FieldPath, alone: bool = True) -> Reader:
    """`alone`: no union of the writer has another record here, which only names would tell apart."""
    if writer.type == "union":
        return _writer_union(writer, reader, place)
    if reader.type == "union":
        return _reader_union(writer, reader, place, alone)
    same = writer.type == reader.type
    if (
        same
        and writer.type in _NAMED
        and not _same_name(writer, reader)
        and not (writer.type == "record" and alone)
    ):
        return _mismatch(writer, reader, place)
    if same and writer.type == "record":
        return _record(writer, reader, place)
    if same and writer.type == "enum":
        return enum(writer, reader, place)
    if same and writer.inner is not None and reader.inner is not None:
        if writer.type == "array":
            return _array(
                _resolve(writer.inner, reader.inner, place.within("[]")),
                is_empty(writer.inner),
                place,
            )
        return _map(_resolve(writer.inner, reader.inner, place.within("{}")), place)
    return leaf(writer, reader, place) or _mismatch(writer, reader, place)


def _mismatch(writer: Schema, reader: Schema, place: FieldPath) -> Reader:
    return _rejecting(place.reject(f"written as {describe(writer)}, read as {describe(reader)}"))


def _rejecting(reject: UndecodableError) -> Reader:
    def read(body: Body) -> Any:
        raise reject

    return read


def _writer_union(writer: Schema, reader: Schema, place: FieldPath) -> Reader:
    alone = _records(writer) <= 1
    branches = [_resolve(b, reader, place, alone) for b in writer.branches]
    return lambda body: branches[body.branch(len(branches), place)](body)


def _reader_union(writer: Schema, reader: Schema, place: FieldPath, alone: bool) -> Reader:
    branches = [b for b in reader.branches if b.type != "null"]
    if writer.type == "null":
        return nothing if len(branches) < len(reader.branches) else _mismatch(writer, reader, place)
    one_record = alone and _records(reader) <= 1
    branch = _matching(writer, branches, one_record)
    if branch is None:
        return _mismatch(writer, reader, place)
    if len(branches) == 1:
        return _resolve(writer, branch, place, alone)
    read = _resolve(writer, branch, place.within(f"<{branch.short_name}>"), one_record)
    names = [b.short_name for b in branches]
    return lambda body: {**dict.fromkeys(names), branch.short_name: read(body)}


def _matching(writer: Schema, branches: list[Schema], alone: bool) -> Schema | None:
    """The branch that a type is read as: the same type, by name if it has one, else the first it is promoted to."""
    same = [b for b in branches if b.type == writer.type]
    for b in same:
        if writer.type not in _NAMED or b.name == writer.name:
            return b
    for b in same:
        if _same_name(writer, b) or (alone and writer.type == "record"):
            return b
    return next((b for b in branches if b.type in PROMOTIONS.get(writer.type, ())), None)


def _records(union: Schema) -> int:
    return sum(b.type == "record" for b in union.branches)


def _same_name(writer: Schema, reader: Schema) -> bool:
    return writer.short_name == reader.short_name or writer.name in reader.aliases


def _record(writer: Schema, reader: Schema, place: FieldPath) -> Reader:  # noqa: C901 - the rules of schema resolution
    written = {f.name for f in writer.fields}
    steps: list[tuple[str | None, Reader]] = []
    found: set[str] = set()
    problem: UndecodableError | None = None
    for field in writer.fields:
        wanted = _reader_field(field, written, reader)
        if wanted is None:
            steps.append((None, skipping(field.schema, place.field(field.name))))
            continue
        at = place.field(wanted.name)
        if wanted.name in found and problem is None:
            problem = at.reject("several of its aliases are in the writer's schema")
        found.add(wanted.name)
        steps.append((wanted.name, _resolve(field.schema, wanted.schema, at)))
    row: dict[str, Any] = {}
    for wanted in reader.fields:
        row[wanted.name] = None
        if wanted.name not in found and problem is None:
            try:
                row[wanted.name] = _default(wanted, place.field(wanted.name))
            except UndecodableError as e:
                problem = e
    if problem is not None:
        return _rejecting(problem)

    def read(body: Body) -> dict[str, Any]:
        values = row.copy()
        for name, value in steps:
            if name is None:
                value(body)
            else:
                values[name] = value(body)
        return values

    return read


def _reader_field(field: SchemaField, written: set[str], reader: Schema) -> SchemaField | None:
    """The reader's field of a writer's: of the same name, else of that alias if the writer has none of its name."""
    by_name = (f for f in reader.fields if f.name == field.name)
    by_alias = (f for f in reader.fields if field.name in f.aliases and f.name not in written)
    return next(by_name, None) or next(by_alias, None)


def _default(field: SchemaField, place: FieldPath) -> Any:
    """Encoded as a producer would write it, and read as that is."""
    if field.default is MISSING:
        raise place.reject("not in the writer's schema, and without a default")
    encoded = encode(field.schema, field.default)
    if encoded is None:
        raise place.reject("the default is not of its type")
    return _resolve(field.schema, field.schema, place)(Body(encoded))


def _array(item: Reader, empty: bool, place: FieldPath) -> Reader:
    def read(body: Body) -> list[Any]:
        items: list[Any] = []
        while count := body.count(empty, place):
            items += [item(body) for _ in range(count)]
        return items

    return read


def _map(value: Reader, place: FieldPath) -> Reader:
    def read(body: Body) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while count := body.count(False, place):
            for _ in range(count):
                key = body.string(place)
                entries[key] = value(body)
        return entries

    return read
