"""Decodes the values of topics, apart from Flink: an independent witness of what the job made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobs.product.avro_schema import Schema, SchemaError, parse
from jobs.product.folder import Product
from jobs.product.formats import Format, KeyFormat
from jobs.product.protobuf_files import messages_of_text, schema_of_text
from jobs.product.topic_schemas import key_schema_text, schema_text, writer_texts
from replay.avro import single_object
from replay.avro.body import UndecodableError
from replay.avro.json_records import document, json_reader, plain
from replay.avro.protobuf_records import behind_indexes, protobuf_reader, read_indexes
from replay.avro.reader import record_reader
from replay.kafka import schema_registry
from replay.settings import Settings

__all__ = ["Decoder", "TopicReader", "UndecodableError", "readers"]

_HEADER = schema_registry.HEADER

_Reads = Callable[[bytes, int], dict[str, Any]]


@dataclass(frozen=True)
class TopicReader:
    """How a release reads the values of a topic."""

    schema: str
    """Of its columns: an Avro schema, as JSON."""
    format: Format = Format.avro_confluent
    key: KeyReader | None = None
    writers: tuple[str, ...] = ()
    """Of Avro behind fingerprints: the schemas that they are of."""


@dataclass(frozen=True)
class KeyReader:
    """How a release reads the keys of a topic's records."""

    schema: str
    format: KeyFormat


def readers(product: Product) -> dict[str, TopicReader]:
    """How a product reads each topic, by its name in Kafka."""
    found = {}
    for topic, rule in product.topics.items():
        name = product.sql_name(topic)
        text = key_schema_text(product, name)
        key = KeyReader(text, rule.record_key.format) if rule.record_key and text else None
        writers = writer_texts(product, name)
        found[topic] = TopicReader(schema_text(product, name), rule.format, key, writers)
    return found


class Keyed(bytes):
    """A record's value, which knows the key that columns are read from too."""

    key: bytes | None = None

    @classmethod
    def of(cls, value: bytes, key: bytes | None) -> Keyed:
        found = cls(value)
        found.key = key
        return found


class _NotAvroError(UndecodableError):
    """A schema id of another type."""

    def __init__(self, schema_id: int, found: schema_registry.WriterSchema) -> None:
        super().__init__(f"schema id {schema_id} is {found.kind}, not AVRO")
        self.found = found


def _id(value: bytes) -> int:
    """The schema id of Confluent's wire format."""
    if not value:
        raise UndecodableError("empty value")
    if value[0] != 0:
        raise UndecodableError(f"magic byte is 0x{value[0]:02x}, not 0x00")
    if len(value) < _HEADER:
        raise UndecodableError(f"too short for a schema id: {len(value)} bytes")
    return int.from_bytes(value[1:_HEADER], "big", signed=True)


def _behind_id(value: bytes) -> bytes:
    _id(value)
    return value[_HEADER:]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UndecodableError("the value is not UTF-8") from None


def _object(value: bytes) -> dict[str, Any]:
    """A document for people, whatever its fields."""
    found: dict[str, Any] = plain(document(value))
    return found


def _message(value: bytes, found: schema_registry.WriterSchema) -> dict[str, Any]:
    """A message of Protobuf for people, by the file that it was written with."""
    indexes, at = read_indexes(value, _HEADER)
    try:
        named = messages_of_text(found.text, found.imports)
        name = next((name for name, known in named.items() if known == indexes), None)
        if name is None:
            raise UndecodableError(f"message indexes {indexes}, of {len(named)} messages")
        return protobuf_reader(schema_of_text(found.text, name, found.imports))(value[at:])
    except SchemaError as e:
        raise UndecodableError(f"the registered file of Protobuf has no columns: {e}") from e


def reads_alone(
    written: str, text: str, writers: Sequence[str] = ()
) -> Callable[[bytes], dict[str, Any]] | None:
    """What reads values or keys that need no registry, if these do not, by the text of their columns' schema."""
    schema = parse(text)
    column = schema.fields[0]
    match written:
        case Format.avro:
            return single_object.body_reader(schema)
        case Format.avro_single_object:
            return single_object.reader(schema, writers)
        case Format.json:
            return json_reader(schema)
        case Format.json_confluent:
            read = json_reader(schema)
            return lambda value: read(_behind_id(value))
        case Format.protobuf:
            return protobuf_reader(text)
        case Format.protobuf_confluent:
            return _behind_indexes(text)
        case Format.raw | Format.text:
            kind = column.schema.type
            return lambda value: {column.name: _raw(kind, value)}
        case _:
            return None


def _behind_indexes(text: str) -> Callable[[bytes], dict[str, Any]]:
    """Reads messages of Protobuf behind a schema id and the indexes of the message."""
    read, wanted = protobuf_reader(text), json.loads(text)["indexes"]

    def behind(value: bytes) -> dict[str, Any]:
        _id(value)
        return read(behind_indexes(value, _HEADER, wanted))

    return behind


def _raw(kind: str, value: bytes) -> Any:
    """Bytes as one column."""
    match kind:
        case "string":
            return _text(value)
        case "int" | "long":
            size = 4 if kind == "int" else 8
            if len(value) != size:
                raise UndecodableError(f"{len(value)} bytes, not {size}")
            return int.from_bytes(value, "big", signed=True)
        case _:
            return bytes(value)


class Decoder:
    """Values of topics as records of the schemas that a release reads them with."""

    def __init__(self, settings: Settings, topics: Mapping[str, TopicReader]) -> None:
        """`topics`: how each topic is read, by its name in Kafka."""
        self._settings = settings
        self._registry = schema_registry.client(settings)
        self._readers = {topic: parse(reader.schema) for topic, reader in topics.items()}
        self._alone = {
            topic: alone
            for topic, reader in topics.items()
            if (alone := reads_alone(reader.format, reader.schema, reader.writers))
        }
        self._keys = {
            topic: _Key(self, reader.key) for topic, reader in topics.items() if reader.key
        }
        self._writers: dict[int, Schema] = {}
        self._reads: dict[tuple[str, int], _Reads] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._registry.__exit__(*error)  # type: ignore[no-untyped-call]

    def decode(self, topic: str, value: bytes) -> dict[str, Any]:
        """A record's fields; UndecodableError says why not, RetryableError when the registry is down.

        Of a topic with columns from keys the value is a `Keyed`.
        """
        alone = self._alone.get(topic)
        found = alone(value) if alone else self._read(topic, _id(value))(value, _HEADER)
        if key := self._keys.get(topic):
            return {**found, **key.fields(getattr(value, "key", None))}
        return found

    def has_key(self, topic: str) -> bool:
        """Whether columns are read from the keys of its records."""
        return topic in self._keys

    def decode_as_written(self, value: bytes) -> dict[str, Any]:
        """The same by what the record itself says of its form, whatever a release reads it with."""
        if value.lstrip()[:1] == b"{":
            return _object(value)
        if value.startswith(single_object.MARKER):
            written = single_object.named(single_object.fingerprint_of(value))
            raise UndecodableError(f"{written} names a schema that no registry has")
        schema_id = _id(value)
        try:
            writer = self.writer(schema_id)
        except _NotAvroError as e:
            if e.found.kind == schema_registry.JSON:
                return _object(value[_HEADER:])
            if e.found.kind == schema_registry.PROTOBUF:
                return _message(value, e.found)
            raise
        return record_reader(writer, writer, f"schema id {schema_id}")(value, _HEADER)

    def _read(self, topic: str, schema_id: int) -> _Reads:
        known = self._reads.get((topic, schema_id))
        if known is None:
            writer, reader = self.writer(schema_id), self._readers[topic]
            known = record_reader(writer, reader, f"schema id {schema_id}")
            self._reads[topic, schema_id] = known
        return known

    def writer(self, schema_id: int) -> Schema:
        """The schema that records were written with."""
        if schema_id not in self._writers:
            found = schema_registry.writer_schema(self._settings, self._registry, schema_id)
            if found is None:
                raise UndecodableError(f"schema id {schema_id} is unknown to the registry")
            if found.kind != schema_registry.AVRO:
                raise _NotAvroError(schema_id, found)
            try:
                self._writers[schema_id] = parse(found.text, referenced=found.others, strict=False)
            except SchemaError as e:
                raise UndecodableError(f"schema id {schema_id} is not valid Avro: {e}") from e
        return self._writers[schema_id]


class _Key:
    """Reads the keys of a topic's records."""

    def __init__(self, decoder: Decoder, key: KeyReader) -> None:
        self._decoder, self._schema = decoder, parse(key.schema)
        self._alone = reads_alone(key.format.value, key.schema)
        self._reads: dict[int, _Reads] = {}

    def fields(self, key: bytes | None) -> dict[str, Any]:
        """A key's columns, NULL of a record without one; UndecodableError says why not."""
        if key is None:
            return dict.fromkeys(f.name for f in self._schema.fields)
        try:
            return self._alone(key) if self._alone else self._read(_id(key))(key, _HEADER)
        except UndecodableError as e:
            raise UndecodableError(f"key: {e}") from None

    def _read(self, schema_id: int) -> _Reads:
        if schema_id not in self._reads:
            writer = self._decoder.writer(schema_id)
            written = f"schema id {schema_id}"
            self._reads[schema_id] = record_reader(writer, self._schema, written)
        return self._reads[schema_id]
