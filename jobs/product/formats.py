"""How the records of a topic may be written."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """How the values of a topic are written."""

    avro_confluent = "avro-confluent"
    """Avro behind the id of its schema in the registry; schemas/NAME.avsc has the columns."""
    avro = "avro"
    """Avro alone, written with schemas/NAME.avsc."""
    avro_single_object = "avro-single-object"
    """Avro behind the fingerprint of its schema: schemas/NAME.avsc, which has the columns, or one of
    schemas/NAME.writers/."""
    json = "json"
    """Documents of JSON; schemas/NAME.json, a JSON Schema, has the columns."""
    json_confluent = "json-confluent"
    """The same behind a schema id, as Confluent's serializer writes them; the id is passed over."""
    protobuf = "protobuf"
    """Messages of Protobuf; schemas/NAME.proto has the columns."""
    protobuf_confluent = "protobuf-confluent"
    """The same behind a schema id and the message's indexes, as Confluent's serializer writes them; the id is passed
    over."""
    raw = "raw"
    """Bytes: one column, `payload BYTES`."""
    text = "text"
    """Text in UTF-8: one column, `payload STRING`."""

    @property
    def is_registered(self) -> bool:
        """Whether the registry has what records are read by."""
        return self is Format.avro_confluent

    @property
    def is_avro(self) -> bool:
        return self in (Format.avro_confluent, Format.avro, Format.avro_single_object)

    @property
    def is_json(self) -> bool:
        return self in (Format.json, Format.json_confluent)

    @property
    def is_protobuf(self) -> bool:
        return self in (Format.protobuf, Format.protobuf_confluent)

    @property
    def suffix(self) -> str:
        """Of the schema's file; nothing: there is none."""
        if self.is_avro:
            return ".avsc"
        return ".json" if self.is_json else ".proto" if self.is_protobuf else ""


class KeyFormat(StrEnum):
    """How the keys of a topic's records are written."""

    raw = "raw"
    """One column: text in UTF-8, bytes, or a number as Kafka's serializers of numbers write it."""
    json = "json"
    """Documents of JSON; schemas/NAME.key.json has the columns."""
    json_confluent = "json-confluent"
    """The same behind a schema id."""
    avro_confluent = "avro-confluent"
    """Avro behind the id of its schema in the registry; schemas/NAME.key.avsc has the columns."""

    @property
    def is_json(self) -> bool:
        return self in (KeyFormat.json, KeyFormat.json_confluent)

    @property
    def suffix(self) -> str:
        """Of the schema's file; nothing: there is none."""
        return "" if self is KeyFormat.raw else ".json" if self.is_json else ".avsc"
