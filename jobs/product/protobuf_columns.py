"""A message of Protobuf as the Avro schema of the same columns: one model of fields for topics of every format. Pure.

The attribute `protobuf` of a field says how it is written: its number, its kind, whether it is repeated or required,
the kind of a map's keys, and the oneof that it belongs to. At the top stand the compiled file, the message's name, and
the indexes by which Confluent's serializers name it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

from jobs.product.avro_schema import SchemaError

LEAVE_OUT = "or leave the field out of the file: what the file does not have is passed over"
WRAPPERS = {
    "google.protobuf.DoubleValue": "double",
    "google.protobuf.FloatValue": "float",
    "google.protobuf.Int64Value": "int64",
    "google.protobuf.UInt64Value": "uint64",
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.UInt32Value": "uint32",
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.StringValue": "string",
    "google.protobuf.BytesValue": "bytes",
}
TIMESTAMP = "google.protobuf.Timestamp"
_UNSIGNED_64 = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}
_INSTANT = {"type": "long", "logicalType": "timestamp-nanos"}
_SCALARS: dict[str, Any] = {
    "double": "double",
    "float": "float",
    "int64": "long",
    "uint64": _UNSIGNED_64,
    "int32": "int",
    "fixed64": _UNSIGNED_64,
    "fixed32": "long",
    "bool": "boolean",
    "string": "string",
    "bytes": "bytes",
    "uint32": "long",
    "sfixed32": "int",
    "sfixed64": "long",
    "sint32": "int",
    "sint64": "long",
}


def avro_text(compiled: bytes, file: str, message: str | None) -> str:
    """The Avro schema of a message of a FileDescriptorSet; SchemaError for one that no table can be made of."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString(compiled)
    pool = descriptor_pool.DescriptorPool()
    for proto in files.file:
        pool.Add(proto)
    (source,) = (f for f in files.file if f.name == file)
    indexes = _indexes(source, message)
    name = _name_at(source, indexes)
    columns = _Columns(_comments(files))
    found = columns.record(pool.FindMessageTypeByName(name), "", ())
    for proto in files.file:
        proto.ClearField("source_code_info")
    found["message"], found["indexes"] = name, indexes
    found["descriptor"] = base64.b64encode(files.SerializeToString(deterministic=True)).decode()
    return json.dumps(found, ensure_ascii=False)


def messages(compiled: bytes, file: str) -> dict[str, list[int]]:
    """The messages of a file of a FileDescriptorSet, by their names without the package, and their indexes."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet.FromString(compiled)
    (source,) = (f for f in files.file if f.name == file)
    return dict(_messages(source.message_type, "", []))


def _indexes(source: Any, message: str | None) -> list[int]:
    """Where a file has the message: the position of each message that it is in, and its own."""
    named = dict(_messages(source.message_type, "", []))
    top = [name for name, where in named.items() if len(where) == 1]
    if message is None and len(top) == 1:
        return named[top[0]]  # no message is around it
    wanted = (message or "").removeprefix(f"{source.package}." if source.package else "")
    if wanted not in named:
        raise SchemaError(
            f"message, in product.yaml: one of those of the file ({', '.join(named) or 'none'})",
            message or f"{len(top)} messages, and no word which",
        )
    if (counted := _counted(source.message_type, wanted.split("."))) != named[wanted]:
        raise SchemaError(
            "a message that all serializers count alike: some count the entries of maps as messages",
            f"{wanted}, behind a map of a message around it: {named[wanted]} or {counted}",
        )
    return named[wanted]


def _counted(types: Any, path: Sequence[str]) -> list[int]:
    """The indexes of a message where entries of maps count, as in Confluent's serializers for Python."""
    number, message = next((i, m) for i, m in enumerate(types) if m.name == path[0])
    return [number, *(_counted(message.nested_type, path[1:]) if path[1:] else [])]


def _messages(types: Any, above: str, indexes: list[int]) -> Iterator[tuple[str, list[int]]]:
    """Name, without the package, and indexes of each message. The entries of maps are none."""
    written = [m for m in types if not m.options.map_entry]
    for number, message in enumerate(written):
        name, at = above + message.name, [*indexes, number]
        yield name, at
        yield from _messages(message.nested_type, f"{name}.", at)


def _name_at(source: Any, indexes: list[int]) -> str:
    name = next(n for n, at in _messages(source.message_type, "", []) if at == indexes)
    return f"{source.package}.{name}" if source.package else name


def _comments(files: Any) -> dict[tuple[str, tuple[int, ...]], str]:
    """What stands above or behind a field, by its file and its path there."""
    return {
        (file.name, tuple(at.path)): " ".join((at.leading_comments or at.trailing_comments).split())
        for file in files.file
        for at in file.source_code_info.location
        if at.leading_comments or at.trailing_comments
    }


class _Columns:
    """Makes Avro types of messages. Those that are used twice are referred to by their names."""

    def __init__(self, comments: dict[tuple[str, tuple[int, ...]], str]) -> None:
        self._comments = comments
        self._named: dict[str, str] = {}

    def record(self, message: Any, path: str, above: tuple[str, ...]) -> dict[str, Any]:
        """The type of a message that was not met before."""
        if not message.fields:
            raise SchemaError(
                f"messages with at least one field, {LEAVE_OUT}",
                f"{message.full_name}{_at(path)}",
            )
        name = self._named[message.full_name] = f"message_{len(self._named) + 1}"
        above = (*above, message.full_name)
        fields = [self._field(f, path, above) for f in message.fields]
        return {"type": "record", "name": name, "fields": fields}

    def _field(self, field: Any, path: str, above: tuple[str, ...]) -> dict[str, Any]:
        at = f"{path}.{field.name}".lstrip(".")
        written: dict[str, Any] = {"number": field.number}
        if is_map(field):
            entry = field.message_type.fields_by_name
            written["key"], written["kind"] = kind(entry["key"]), kind(entry["value"])
            values = self._type(entry["value"], f"{at}{{}}", above)
            made: Any = {"type": "map", "values": values}
        elif field.label == field.LABEL_REPEATED:
            written["kind"], written["repeated"] = kind(field), True
            made = {"type": "array", "items": self._type(field, f"{at}[]", above)}
        else:
            written["kind"] = kind(field)
            made = self._type(field, at, above)
        required = field.label == field.LABEL_REQUIRED
        if required:
            written["required"] = True
        if (oneof := field.containing_oneof) is not None:
            written["oneof"] = oneof.index
        found: dict[str, Any] = {"name": field.name, "protobuf": written, "type": made}
        if field.has_presence and not required:
            found["type"], found["default"] = ["null", made], None
        if doc := self._comment(field):
            found["doc"] = doc
        return found

    def _type(self, field: Any, path: str, above: tuple[str, ...]) -> Any:
        """Of one value."""
        match kind(field):
            case "group":
                raise SchemaError(f"a message, not a group, {LEAVE_OUT}", f"a group{_at(path)}")
            case "timestamp":
                return _INSTANT
            case "enum":
                return self._enum(field.enum_type)
            case "message":
                return self._message(field.message_type, path, above)
            case written:
                return _SCALARS[written.removeprefix("wrapped ")]

    def _message(self, message: Any, path: str, above: tuple[str, ...]) -> Any:
        if message.full_name in above:
            raise SchemaError(
                f"types that do not contain themselves: a column has a fixed depth, {LEAVE_OUT}",
                f"{message.full_name} contains itself{_at(path)}",
            )
        if known := self._named.get(message.full_name):
            return known
        return self.record(message, path, above)

    def _enum(self, enum: Any) -> Any:
        if known := self._named.get(enum.full_name):
            return known
        name = self._named[enum.full_name] = f"enum_{len(self._named) + 1}"
        first: dict[int, str] = {}  # of the names that a number has
        for value in enum.values:
            first.setdefault(value.number, value.name)
        return {
            "type": "enum",
            "name": name,
            "symbols": list(first.values()),
            "numbers": list(first),
            "of": enum.full_name,
        }

    def _comment(self, field: Any) -> str:
        path: tuple[int, ...] = (2, field.index)
        message = field.containing_type
        while message is not None:
            outer = message.containing_type
            siblings = outer.nested_types if outer else message.file.message_types_by_name.values()
            place = [m.full_name for m in siblings].index(message.full_name)
            path = (3 if outer else 4, place, *path)
            message = outer
        return self._comments.get((field.file.name, path), "")


def kind(field: Any) -> str:
    """How a value is written: a scalar's type, `enum`, `message`, `timestamp`, or `wrapped` and a scalar's type."""
    if field.type == field.TYPE_GROUP:
        return "group"
    if field.type == field.TYPE_MESSAGE:
        name = field.message_type.full_name
        if name == TIMESTAMP:
            return "timestamp"
        return f"wrapped {WRAPPERS[name]}" if name in WRAPPERS else "message"
    return _KINDS[field.type]


_KINDS = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
    14: "enum",
    15: "sfixed32",
    16: "sfixed64",
    17: "sint32",
    18: "sint64",
}
"""As descriptor.proto numbers them."""


def is_map(field: Any) -> bool:
    """Whether a field's entries are those of a map."""
    return (
        field.type == field.TYPE_MESSAGE
        and field.label == field.LABEL_REPEATED
        and bool(field.message_type.GetOptions().map_entry)
    )


def _at(path: str) -> str:
    return f" in field {path}" if path else ""
