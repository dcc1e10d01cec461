"""Decoding the values of topics with the schemas that the registry and the release have."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any, cast

import fastavro
import pytest
from confluent_kafka.schema_registry import SchemaReference
from confluent_kafka.schema_registry.error import SchemaRegistryError

from replay.errors import RetryableError
from replay.kafka import schema_registry, writer_schemas
from replay.kafka.decoding import Decoder, TopicReader, UndecodableError
from replay.settings import RegistrySettings

SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "int"}],
}
READER = {
    **SCHEMA,
    "fields": [*SCHEMA["fields"], {"name": "c", "type": "string", "default": "EUR"}],
}
SETTINGS: Any = SimpleNamespace(registry=RegistrySettings(url="http://registry"))


def schema(text: str, kind: str | None = "AVRO", references: Any = None) -> Any:
    return SimpleNamespace(schema_str=text, schema_type=kind, references=references)


class Registry:
    """Knows one schema; counts what it is asked; may be down."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.down = False
        self.schemas = {7: schema(json.dumps(SCHEMA))}
        self.subjects: dict[str, Any] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def get_schema(self, identity: int) -> Any:
        self.asked.append(identity)
        if self.down:
            raise ConnectionError("connection refused")
        if identity == 404:
            raise SchemaRegistryError(404, 404, "Not Found")
        if identity not in self.schemas:
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return self.schemas[identity]

    def get_version(self, subject: str, version: int) -> Any:
        return SimpleNamespace(schema=self.subjects[subject])


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    fake = Registry()
    monkeypatch.setattr(schema_registry, "client", lambda settings: fake)
    return fake


def value(identity: int = 7, **fields: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(
        body, fastavro.parse_schema(cast(Any, SCHEMA)), fields or {"a": "x", "b": 1}
    )
    return b"\0" + identity.to_bytes(4, "big") + body.getvalue()


@pytest.fixture
def decoder(registry: Registry) -> Decoder:
    return Decoder(
        SETTINGS,
        {"orders": TopicReader(json.dumps(READER)), "plain": TopicReader(json.dumps(SCHEMA))},
    )


def test_a_schema_is_asked_for_once_and_read_as_each_topic_reads_it(
    registry: Registry, decoder: Decoder
) -> None:
    assert [decoder.decode("plain", value(a="x", b=n)) for n in range(3)] == [
        {"a": "x", "b": n} for n in range(3)
    ]
    assert decoder.decode("orders", value(a="x", b=1)) == {"a": "x", "b": 1, "c": "EUR"}
    assert registry.asked == [7]


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"", "empty value"),
        (b"\0\0", "too short for a schema id: 2 bytes"),
        (b"text", "magic byte is 0x74, not 0x00"),
        (value()[:-1], "body ends before the end of a record of schema id 7"),
        (value() + b"!", "body goes on after the end of a record of schema id 7"),
        (value(8), "schema id 8 is unknown to the registry"),
        (b"\0\xff\xff\xff\xfb", "schema id -5 is unknown to the registry"),
    ],
    ids=["empty", "short", "text", "cut short", "too long", "unknown schema", "negative id"],
)
def test_garbage_is_undecodable_for_the_reason_that_java_gives(
    decoder: Decoder, garbage: bytes, reason: str
) -> None:
    with pytest.raises(UndecodableError) as caught:
        decoder.decode("orders", garbage)
    assert str(caught.value) == reason


def test_an_id_learned_later_is_decoded_then(registry: Registry, decoder: Decoder) -> None:
    with pytest.raises(UndecodableError):
        decoder.decode("plain", value(8))
    registry.schemas[8] = schema(json.dumps(SCHEMA))
    assert decoder.decode("plain", value(8)) == {"a": "x", "b": 1}


def test_a_schema_may_refer_to_others(registry: Registry, decoder: Decoder) -> None:
    registry.subjects = {
        "c": schema(
            '{"type": "record", "name": "C", "fields": [{"name": "x", "type": "E"}]}',
            references=[SchemaReference("E", "e", 1)],
        ),
        "e": schema('{"type": "enum", "name": "E", "symbols": ["A"]}'),
    }
    more = {
        **SCHEMA,
        "fields": [*SCHEMA["fields"], {"name": "d", "type": "C"}, {"name": "e", "type": "E"}],
    }
    registry.schemas[8] = schema(
        json.dumps(more), None, [SchemaReference("C", "c", 1), SchemaReference("E", "e", 1)]
    )
    assert decoder.decode("plain", value(8) + b"\0\0") == {"a": "x", "b": 1}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (schema("syntax", "PROTOBUF"), "schema id 8 is PROTOBUF, not AVRO"),
        (
            schema('{"type": "Nothing"}'),
            "schema id 8 is not valid Avro: expected an Avro type, found 'Nothing'",
        ),
        (schema('"int"'), "schema id 8 is of type int, not a record"),
    ],
    ids=["Protobuf", "not Avro", "no record"],
)
def test_a_schema_that_no_record_has(
    registry: Registry, decoder: Decoder, found: Any, reason: str
) -> None:
    registry.schemas[8] = found
    with pytest.raises(UndecodableError, match=reason):
        decoder.decode("orders", value(8))


def test_a_registry_that_is_down_makes_nothing_undecodable(
    registry: Registry, decoder: Decoder
) -> None:
    with pytest.raises(RetryableError, match="the schema registry does not answer"):
        decoder.decode("orders", value(404))  # a proxy's answer, not the registry's
    registry.down = True
    with pytest.raises(RetryableError, match="the schema registry does not answer"):
        decoder.decode("orders", value())


def test_the_schemas_of_records_are_handed_on_whole_and_what_is_no_avro_by_its_kind(
    registry: Registry,
) -> None:
    money = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "int"}]}
    sale = {"type": "record", "name": "Sale", "fields": [{"name": "price", "type": "Money"}]}
    registry.subjects = {"money": schema(json.dumps(money))}
    registry.schemas = {
        1: schema(json.dumps(sale), references=[SimpleNamespace(subject="money", version=1)]),
        2: schema("{}", "JSON"),
        3: schema("no JSON"),
    }
    values = [bytes([0, 0, 0, 0, number]) + b"x" for number in (1, 2, 3, 4)] + [b"\x01", b""]
    part = {"name": "price", "type": {**money, "namespace": ""}}
    whole = {**sale, "fields": [part], "namespace": ""}
    found = writer_schemas.of(SETTINGS, values)
    assert found == {1: json.dumps(whole), 2: {"kind": "JSON"}, 3: "no JSON"}
