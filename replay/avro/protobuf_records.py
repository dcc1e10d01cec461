"""Reads messages of Protobuf in Python, apart from Flink: the audit's independent witness.

The bytes are read by Google's own library, by a description in which texts are bytes, enums are numbers, maps are lists
of their entries and nothing is required: what the library says of those is one sentence for all. The rules are those
of jobs/connector/src/main/java/kappa/format/ProtobufMessage.java, and so are the reasons.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from jobs.product.protobuf_columns import is_map, kind
from replay.avro.body import UndecodableError

Reads = Callable[[Any, str], Any]
"""A value as the library has it, and where it stands, as the value of a column."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # 0001-01-01T00:00:00 and 9999-12-31T23:59:59
_NANOS = 1_000_000_000
_MOST_INDEXES = 64
_VARINT_32 = 5
_AS_NUMBER, _AS_BYTES, _AS_MESSAGE = 5, 12, 11  # int32, bytes, message: descriptor.proto's numbers
_OPTIONAL, _REPEATED = 1, 3


def protobuf_reader(schema: str) -> Callable[[bytes], dict[str, Any]]:
    """What reads a message as a record of the schema's columns; UndecodableError when it is none."""
    described = json.loads(schema)
    made = _Witness(described_message(described))

    def read(value: bytes) -> dict[str, Any]:
        return made.read(value)

    return read


def described_message(described: dict[str, Any]) -> Any:
    """The library's descriptor of the message that a schema's columns are of."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(
        base64.b64decode(described["descriptor"])
    ).file:
        pool.Add(file)
    return pool.FindMessageTypeByName(described["message"])


def behind_indexes(value: bytes, start: int, wanted: list[int]) -> bytes:
    """What stands behind a message's indexes; UndecodableError if they are those of another message."""
    found, at = read_indexes(value, start)
    if found != wanted:
        raise UndecodableError(f"message indexes {found}, not {wanted}")
    return value[at:]


def read_indexes(value: bytes, start: int) -> tuple[list[int], int]:
    """A message's indexes, and where they end."""
    count, at = _index(value, start)
    if count > _MOST_INDEXES:
        raise UndecodableError("no message indexes behind the schema id")
    found = []
    for _ in range(count):
        index, at = _index(value, at)
        found.append(index)
    return found or [0], at  # the first message is written as none, to save bytes


def written_indexes(indexes: list[int]) -> bytes:
    """Indexes as Confluent's serializers write them."""
    if indexes == [0]:
        return b"\0"
    return b"".join(_varint(number << 1) for number in (len(indexes), *indexes))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _index(value: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint that is not negative, and where it ends."""
    number = 0
    for shift, byte in enumerate(value[at : at + _VARINT_32]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80 and number <= 0xFFFF_FFFF and number % 2 == 0:
            return number >> 1, at + shift + 1
        if byte < 0x80:
            break
    raise UndecodableError("no message indexes behind the schema id")


class _Witness:
    """The description that is read by, and what makes columns of what the library finds."""

    def __init__(self, message: Any) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
        from google.protobuf.message import DecodeError

        self._file = descriptor_pb2.FileDescriptorProto(name="witness.proto", syntax="proto2")
        self._messages: dict[str, tuple[str, Reads]] = {}
        name, self._read = self._described(message)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(self._file)
        self._class = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        self._error = DecodeError

    def read(self, value: bytes) -> dict[str, Any]:
        try:
            found = self._class.FromString(bytes(value))
        except self._error:
            raise UndecodableError("the value is not Protobuf") from None
        row: dict[str, Any] = self._read(found, "")
        return row

    def _described(self, message: Any) -> tuple[str, Reads]:
        """The name of a message in the description, and what reads one."""
        if known := self._messages.get(message.full_name):
            return known
        name = f"M{len(self._messages)}"
        columns: list[_Column] = []
        self._messages[message.full_name] = (
            name,
            lambda value, path: {c.name: c.read(value, path) for c in columns},
        )
        made = self._file.message_type.add(name=name)
        for oneof in message.oneofs:
            made.oneof_decl.add(name=f"o{oneof.index}")  # whatever its name, it is no field's
        for field in message.fields:
            written, inner, reads = self._kind(field)
            added = made.field.add(
                name=f"f{field.number}", number=field.number, type=written, label=_OPTIONAL
            )
            if inner:
                added.type_name = f".{inner}"
            if field.label == field.LABEL_REPEATED:
                added.label = _REPEATED
            if (oneof := field.containing_oneof) is not None:
                added.oneof_index = oneof.index
            columns.append(_Column(field, reads))
        return self._messages[message.full_name]

    def _kind(self, field: Any) -> tuple[int, str, Reads]:
        """Type in the description, name of a message, and what reads a value."""
        written = kind(field)
        if field.message_type is not None:
            inner, reads = self._described(field.message_type)
            if written == "timestamp":
                reads = _timestamp
            elif is_map(field):
                reads = self._entry(field.message_type)
            elif written != "message":
                reads = self._field_of(field.message_type, 1)
            return _AS_MESSAGE, inner, reads
        match written:
            case "enum":
                return _AS_NUMBER, "", _enum(field.enum_type)
            case "string":
                return _AS_BYTES, "", _text
            case "uint64" | "fixed64":
                return field.type, "", lambda value, path: Decimal(value)
            case _:
                return field.type, "", lambda value, path: value

    def _field_of(self, message: Any, number: int) -> Reads:
        """Reads one field of a message in the message's place, its default if it is missing."""
        field = message.fields_by_number[number]
        return _Column(field, self._kind(field)[2]).value

    def _entry(self, entry: Any) -> Reads:
        """Of a map: key and value."""
        key, value = _Column(entry.fields_by_number[1], _key).value, self._field_of(entry, 2)
        return lambda found, path: (key(found, path), value(found, path + "{}"))


class _Column:
    """A field of a message as a column."""

    def __init__(self, field: Any, reads: Reads) -> None:
        self.name = field.name
        self._reads, self._in = reads, f"f{field.number}"
        self._repeated = field.label == field.LABEL_REPEATED
        self._map = is_map(field)
        self._required = field.label == field.LABEL_REQUIRED
        self._nullable = field.has_presence

    def read(self, message: Any, above: str) -> Any:
        path = f"{above}.{self.name}" if above else self.name
        if self._map:
            return dict(self._reads(entry, path) for entry in getattr(message, self._in))
        if self._repeated:
            return [self._reads(item, f"{path}[]") for item in getattr(message, self._in)]
        if not message.HasField(self._in):
            if self._required:
                raise _reject(path, "missing")
            if self._nullable:
                return None
        return self.value(message, path)

    def value(self, message: Any, path: str) -> Any:
        """The value, or the default where there is none."""
        return self._reads(getattr(message, self._in), path)


def _reject(path: str, why: str) -> UndecodableError:
    return UndecodableError(f"field {path}: {why}")


def _text(value: bytes, path: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _reject(path, "not UTF-8") from None


def _key(value: Any, path: str) -> str:
    """A map's key as text, whatever it is."""
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise _reject(path, "a key is not UTF-8") from None
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _enum(enum: Any) -> Reads:
    names: dict[int, str] = {}
    for value in enum.values:
        names.setdefault(value.number, value.name)

    def read(value: int, path: str) -> str:
        if value not in names:
            raise _reject(path, f"{value} is no number of {enum.full_name}")
        return names[value]

    return read


def _timestamp(value: Any, path: str) -> dt.datetime:
    seconds, nanos = value.f1, value.f2
    if not _FIRST <= seconds <= _LAST:
        raise _reject(path, f"second {seconds} is not within the years 0001 to 9999")
    if not 0 <= nanos < _NANOS:
        raise _reject(path, f"{nanos} nanoseconds are not within a second")
    # Python's times have no nanoseconds
    return _EPOCH + dt.timedelta(seconds=seconds, microseconds=nanos // 1000)
