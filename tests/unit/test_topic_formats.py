"""Formats of topics and keys: what product.yaml may say, the SQL and options that follow, and the audit's decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import generate
from jobs.bindings import Bindings, Catalog, source_options
from jobs.product.folder import Product, ProductError, load_product
from jobs.product.formats import Format, KeyFormat
from replay.kafka import schema_registry
from replay.kafka.decoding import Decoder, Keyed, KeyReader, TopicReader, UndecodableError, readers
from replay.releases import computation
from tests.unit.folders import SETTINGS, changed, write

JSON_SCHEMA = {
    "type": "object",
    "required": ["a", "at"],
    "properties": {"a": {"type": "integer", "format": "int32"}, "at": {"type": "integer", "format": "epoch-millis"}},
}  # fmt: skip
KEY_SCHEMA = {"type": "object", "properties": {"shop": {"type": "string"}}}
BINDINGS = Bindings(
    attempt="r1-a1",
    branch="r1-a1",
    group="kappa-r1-a1",
    kafka={"bootstrap.servers": "k:9092"},
    registry="http://r:8081",
    registry_options={"basic.auth.user.info": "x"},
    catalog=Catalog(name="lake", options={}),
    namespace="tiny",
    parallelism=2,
    checkpoint_interval="10s",
    checkpoint_dir="file:/c",
)


def folder(tmp_path: Path, schemas: dict[str, Any], **topic: Any) -> Product:
    """A product whose topic has these rules besides, and these schemas and no other."""
    write(tmp_path)
    (tmp_path / "schemas" / "orders.avsc").unlink()
    for name, text in schemas.items():
        (tmp_path / "schemas" / name).write_text(json.dumps(text))
    settings = changed(SETTINGS, lambda s: s["topics"]["orders"].update(topic))
    (tmp_path / "product.yaml").write_text(json.dumps(settings))
    return load_product(tmp_path)


def test_the_columns_of_json_and_of_its_keys(tmp_path: Path) -> None:
    product = folder(
        tmp_path,
        {"orders.json": JSON_SCHEMA, "orders.key.json": KEY_SCHEMA},
        format="json-confluent",
        record_key={"format": "json"},
    )
    assert [(f.name, f.type) for f in generate.schema_fields(product, "orders")] == [
        ("a", "INT"),
        ("at", "TIMESTAMP_LTZ(3)"),
        ("shop", "STRING"),
    ]
    assert "`log_error` STRING,\n  `shop` STRING,\n  `log_partition` INT METADATA" in (
        generate.source_table(product, "orders", {})
    )
    options = source_options("orders", product, BINDINGS)
    assert {
        "format": "json-tolerant",
        "json-tolerant.framed": "true",
        "key.format": "json-tolerant",
        "key.json-tolerant.of-key": "true",
        "key.fields": "shop",
        "value.fields-include": "EXCEPT_KEY",
    }.items() <= options.items()
    assert not [option for option in options if "avro" in option or "url" in option]
    assert schema_registry.registered_files(product) == {}


def test_bytes_and_text_need_no_schema(tmp_path: Path) -> None:
    product = folder(tmp_path, {}, format="text", time="log_appended", identity=["payload"])
    assert [(f.name, f.type) for f in generate.schema_fields(product, "orders")] == [
        ("payload", "STRING")
    ]
    assert source_options("orders", product, BINDINGS)["format"] == "kappa-raw"


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ({"format": "thrift"}, "'avro-confluent', 'avro', 'avro-single-object', 'json'"),
        ({"record_key": {}}, "a raw record_key, which is one column"),
        ({"record_key": {"columns": {"k": "DOUBLE"}}}, "a raw record_key, which is one column"),
        ({"record_key": {"columns": {"k": "INT", "l": "INT"}}}, "a raw record_key, which is one column"),
        ({"record_key": {"columns": {"a b": "INT"}}}, "no identifier of SQL"),
        ({"record_key": {"format": "json", "columns": {"k": "INT"}}}, "columns of a record_key of format json"),
        ({"record_key": {"formats": "json"}}, "an existing setting"),
        ({"record_key": {"format": "json"}}, "a file"),
        ({"format": "raw"}, "a schema that no topic uses"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, topic: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ProductError) as refused:
        folder(tmp_path, {"orders.json": JSON_SCHEMA}, **{"format": "json", **topic})
    assert expected in str(refused.value)


@pytest.mark.parametrize("column", ["a", "AT", "log_offset"])
def test_a_key_column_is_not_called_like_another(tmp_path: Path, column: str) -> None:
    key = {"columns": {column: "STRING"}}
    product = folder(tmp_path, {"orders.json": JSON_SCHEMA}, format="json", record_key=key)
    with pytest.raises(ProductError):
        generate.schema_fields(product, "orders")


def test_what_a_schema_only_describes_is_no_part_of_a_release(tmp_path: Path) -> None:
    described = json.loads(json.dumps(JSON_SCHEMA))
    described["properties"]["a"] |= {"description": "new", "maximum": 5}
    first = computation.parts(
        folder(tmp_path / "1", {"orders.json": JSON_SCHEMA}, format="json"), {}
    )
    second = computation.parts(
        folder(tmp_path / "2", {"orders.json": described}, format="json"), {}
    )
    assert first == second and "schemas/orders.json" in first
    settings = json.loads(first["product.yaml"])["topics"]["orders"]
    assert settings["format"] == "json" and "record_key" not in settings


def test_a_topic_of_avro_is_what_it_was_in_releases_of_before(tmp_path: Path) -> None:
    topic = computation.settings(write(tmp_path))["topics"]["orders"]
    assert not {"format", "record_key"} & set(topic)


SETTINGS_OF_NOBODY: Any = None


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    monkeypatch.setattr("replay.kafka.schema_registry.client", lambda settings: None)
    product = folder(
        tmp_path,
        {"orders.json": JSON_SCHEMA},
        format="json",
        record_key={"columns": {"k": "BIGINT"}},
    )
    text = '{"type": "record", "name": "r", "fields": [{"name": "payload", "type": "string"}]}'
    framed = TopicReader(readers(product)["orders"].schema, Format.json_confluent)
    keyed = TopicReader(text, Format.text, KeyReader(text.replace("payload", "k"), KeyFormat.json))
    return Decoder(SETTINGS_OF_NOBODY, {**readers(product), "framed": framed, "text": keyed})


def test_a_document_and_its_key_are_one_record(decoder: Decoder) -> None:
    value = b'{"a": 1, "at": 0}'
    found = decoder.decode("orders", Keyed.of(value, (-7).to_bytes(8, "big", signed=True)))
    assert (found["a"], found["at"].timestamp(), found["k"]) == (1, 0, -7)
    assert decoder.decode("orders", Keyed.of(value, None))["k"] is None
    assert decoder.decode("framed", b"\0\0\0\0\x05" + value)["a"] == 1
    assert decoder.decode("text", Keyed.of("ü".encode(), b'{"k": "x"}')) == {
        "payload": "ü",
        "k": "x",
    }
    assert decoder.has_key("orders") and not decoder.has_key("framed")


@pytest.mark.parametrize(
    ("topic", "value", "key", "reason"),
    [
        ("orders", b'{"a": 1, "at": 0}', b"12", "key: 2 bytes, not 8"),
        ("orders", b'{"a": 1}', b"12", "field at: missing"),
        ("framed", b'{"a": 1, "at": 0}', None, "magic byte is 0x7b, not 0x00"),
        ("framed", b"\0\0", None, "too short for a schema id: 2 bytes"),
        ("framed", b"\0\0\0\0\x05", None, "empty value"),
        ("text", b"\xff", None, "the value is not UTF-8"),
        ("text", b"", b"[]", "key: the record: an array, not an object"),
    ],
)
def test_why_not(
    decoder: Decoder, topic: str, value: bytes, key: bytes | None, reason: str
) -> None:
    with pytest.raises(UndecodableError) as rejected:
        decoder.decode(topic, Keyed.of(value, key))
    assert str(rejected.value) == reason


def test_a_document_is_shown_by_itself_and_behind_a_schema_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Registry:
        def get_schema(self, schema_id: int) -> Any:
            class Found:
                schema_type, schema_str = "JSON", "{}"

            return Found

    monkeypatch.setattr("replay.kafka.schema_registry.client", lambda settings: Registry())
    decoder = Decoder(SETTINGS_OF_NOBODY, {})
    assert decoder.decode_as_written(b' {"a": [1, {"b": 1.5}]}') == {"a": [1, {"b": 1.5}]}
    assert decoder.decode_as_written(b'\0\0\0\0\x07{"a": null}') == {"a": None}
    with pytest.raises(UndecodableError, match="the value is not JSON"):
        decoder.decode_as_written(b'{"a": ')
