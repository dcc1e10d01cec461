"""Topics of Protobuf at the command line: the folder that is written, and what people see."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from jobs.product.avro_schema import SchemaError
from jobs.product.folder import load_product
from jobs.product.formats import Format
from jobs.product.topic_schemas import schema_text
from replay.avro.body import UndecodableError
from replay.avro.json_values import JsonValueError
from replay.avro.protobuf_records import protobuf_reader, written_indexes
from replay.avro.protobuf_values import ProtobufValues
from replay.cli.new import write
from replay.cli.new_product import bronze, draft
from replay.cli.sampled import of_file
from replay.errors import RefusedError
from replay.kafka import decoding, schema_registry
from replay.kafka.schema_registry import WriterSchema, imported
from replay.kafka.schemas import Registered, refuse_other

FILE = """syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Order { string order_id = 1; google.protobuf.Timestamp at = 2; uint32 cents = 3; }
message Refund { string order_id = 1; message Part { int32 cents = 1; } repeated Part parts = 2; }
"""
HEADER = bytes([0, 0, 0, 0, 7])
CONFLUENT = Format.protobuf_confluent


def records(*indexes: list[int]) -> list[bytes]:
    return [HEADER + written_indexes(i) for i in indexes]


@pytest.mark.parametrize(
    ("values", "message", "said"),
    [
        ([], "Order", "a value is a Order, the first of its file (message)"),
        (records([1], [0], [1]), "Refund", "a value is a Refund, that of 2 of its records (message)"),
        (records([1, 0]), "Refund.Part", "a value is a Refund.Part, that of 1 of its records (message)"),
        ([b"{}", b"\0", HEADER, *records([9])], "Order", "a value is a Order, the first of its file (message)"),
    ],
    ids=["no record", "most of the records", "a message within another", "records of none"],
)  # fmt: skip
def test_of_several_messages_it_is_that_of_the_records(
    values: list[bytes], message: str, said: str
) -> None:
    found = of_file("orders", CONFLUENT, FILE, values=values)
    assert (found.message, found.guesses) == (message, (f"topic orders: {said}",))


def test_of_one_message_there_is_nothing_to_say() -> None:
    alone = 'syntax = "proto3"; message A { int32 a = 1; message B { int32 b = 1; } }'
    found = of_file("orders", CONFLUENT, alone, values=records([0]))
    assert (found.message, found.guesses) == ("", ())


def test_a_folder_is_written_that_reads_the_topic(tmp_path: Path) -> None:
    imports = (("money/v1/amount.proto", 'syntax = "proto3"; message Amount { int64 cents = 1; }'),)
    text = FILE.replace("uint32 cents", "Amount total").replace(
        "package", 'import "money/v1/amount.proto"; package'
    )
    source = of_file("shop.orders", CONFLUENT, text, imports)
    folder = tmp_path / "orders_made"
    write(folder, draft("orders_made", [source]))
    product = load_product(folder)
    assert schema_text(product, "orders") == schema_text(load_product(folder), "orders")
    topic = yaml.safe_load((folder / "product.yaml").read_text())["topics"]["orders"]
    assert (topic["format"], topic["message"]) == ("protobuf-confluent", "Order")
    assert topic["columns"] == {"happened": "CAST(`at` AS TIMESTAMP_LTZ(3))"}
    # no table has times of nanoseconds
    expected = "SELECT order_id, CAST(`at` AS TIMESTAMP_LTZ(6)) AS `at`, total\nFROM orders\n"
    assert (folder / "orders_made_rows.sql").read_text() == expected
    assert (folder / "schemas" / "money" / "v1" / "amount.proto").read_text() == imports[0][1]
    raw = bronze("orders_raw", source).files["orders_raw_rows.sql"]
    assert "CAST(`at` AS TIMESTAMP_LTZ(6)) AS `at`" in raw


@pytest.mark.parametrize("path", ["../x.proto", "/x.proto", "a/../../x.proto", "schema.proto"])
def test_an_import_stays_below_the_schemas(path: str) -> None:
    with pytest.raises(SchemaError) as refused:
        of_file("orders", CONFLUENT, FILE, ((path, FILE),))
    assert refused.value.found == path


def test_imports_of_imports_come_with_the_file() -> None:
    versions = {
        ("b", 1): SimpleNamespace(schema_str="B", references=[reference("c.proto", "c")]),
        ("c", 1): SimpleNamespace(schema_str="C", references=None),
    }
    client: Any = SimpleNamespace(
        get_version=lambda subject, version: SimpleNamespace(schema=versions[subject, version])
    )
    found = imported(client, [reference("b.proto", "b"), reference("c.proto", "c")])
    assert found == (("b.proto", "B"), ("c.proto", "C"))


def reference(name: str, subject: str) -> Any:
    return SimpleNamespace(name=name, subject=subject, version=1)


def test_a_topic_of_protobuf_says_its_format() -> None:
    with pytest.raises(RefusedError) as refused:
        refuse_other("orders", Registered(1, 1, FILE, "PROTOBUF"))
    assert refused.value.next == (
        "say format: protobuf-confluent in product.yaml, or kappa new … --format protobuf-confluent"
    )


def test_people_see_a_message_by_the_file_that_it_was_written_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered = WriterSchema(FILE, "PROTOBUF", ())
    monkeypatch.setattr(schema_registry, "writer_schema", lambda *_: registered)
    monkeypatch.setattr(schema_registry, "client", lambda _: None)
    shown = decoding.Decoder(None, {}).decode_as_written  # type: ignore[arg-type]
    assert shown(HEADER + b"\x04\x02\x00\x08\x05") == {"cents": 5}
    assert shown(HEADER + b"\x02\x02\x0a\x01a") == {"order_id": "a", "parts": []}
    with pytest.raises(UndecodableError, match=r"message indexes \[7\], of 3 messages"):
        shown(HEADER + b"\x02\x0e")
    with pytest.raises(UndecodableError, match="the value is not Protobuf"):
        shown(HEADER + b"\x00\x0b")


def test_a_value_in_json_is_written_as_a_message() -> None:
    source = of_file("orders", CONFLUENT, FILE)
    written = ProtobufValues(source.schema, framed=True, schema_id=7)
    body = written.encode({"order_id": "ü", "at": "2024-06-03T01:02:03.5Z", "cents": 7})
    assert body[:6] == HEADER + b"\0"
    found = protobuf_reader(source.schema)(body[6:])
    assert (found["order_id"], found["cents"]) == ("ü", 7)
    assert found["at"].isoformat() == "2024-06-03T01:02:03.500000+00:00"
    with pytest.raises(JsonValueError) as refused:
        written.encode({"order": "a"})
    assert refused.value.expected == "a shop.Order, as Protobuf writes it in JSON"
    assert 'no field named "order"' in refused.value.found
