"""Messages of Protobuf as columns: what is refused, which message of a file it is, and imports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jobs.bindings import source_options
from jobs.product.avro_schema import SchemaError
from jobs.product.avro_types import fields
from jobs.product.folder import ProductError, load_product
from jobs.product.protobuf_files import schema_of_text
from jobs.product.topic_schemas import schema_text
from replay.avro.protobuf_records import protobuf_reader
from replay.kafka import schema_registry
from replay.releases import computation
from tests.unit.test_topic_formats import BINDINGS

HEAD = 'syntax = "proto3";\n'
LEAVE_OUT = "or leave the field out of the file: what the file does not have is passed over"
CHARGING = Path(__file__).parents[1] / "products" / "charging"


def types(text: str, message: str | None = None) -> dict[str, str]:
    return {f.name: f.type for f in fields(schema_of_text(text, message))}


@pytest.mark.parametrize(
    ("text", "expected", "found"),
    [
        pytest.param(
            "message A { B b = 1; message B { repeated A a = 1; } }",
            f"types that do not contain themselves: a column has a fixed depth, {LEAVE_OUT}",
            "A contains itself in field b.a[]",
            id="recursion",
        ),
        pytest.param(
            "message A { map<string, A> a = 1; }",
            f"types that do not contain themselves: a column has a fixed depth, {LEAVE_OUT}",
            "A contains itself in field a{}",
            id="recursion in a map",
        ),
        pytest.param(
            'import "google/protobuf/struct.proto"; message A { google.protobuf.Struct a = 1; }',
            f"types that do not contain themselves: a column has a fixed depth, {LEAVE_OUT}",
            "google.protobuf.Struct contains itself in field a.fields{}.struct_value",
            id="Struct",
        ),
        pytest.param(
            "message A { B b = 1; message B {} }",
            f"messages with at least one field, {LEAVE_OUT}",
            "A.B in field b",
            id="an empty message",
        ),
        pytest.param(
            "message A {}", f"messages with at least one field, {LEAVE_OUT}", "A", id="of nothing"
        ),
        pytest.param(
            "message A { strin a = 1; }",
            "a file that protoc compiles",
            'schema.proto:2:13: "strin" is not defined.',
            id="an unknown type",
        ),
        pytest.param(
            'import "common/money.proto"; message A { int32 a = 1; }',
            "imports of files in schemas/, or of Google's own types such as "
            "google/protobuf/timestamp.proto",
            "common/money.proto: File not found.",
            id="an import that is not there",
        ),
        pytest.param(
            "message A { int32 a = 1; } message B { int32 a = 1; }",
            "message, in product.yaml: one of those of the file (A, B)",
            "2 messages, and no word which",
            id="two messages",
        ),
        pytest.param(
            "enum A { X = 0; }",
            "message, in product.yaml: one of those of the file (none)",
            "0 messages, and no word which",
            id="no message",
        ),
        pytest.param(
            "message A { int32 log_offset = 1; }",
            "fields that are not called log_topic, log_partition, log_offset, log_appended, log_key, log_headers, "
            "log_clock, log_value, log_error: every topic has such columns",
            "field log_offset",
            id="a column of the log",
        ),
    ],
)
def test_what_no_table_can_be_made_of(text: str, expected: str, found: str) -> None:
    with pytest.raises(SchemaError) as caught:
        fields(schema_of_text(HEAD + text))
    assert (caught.value.expected, caught.value.found) == (expected, found)


def test_a_group_is_refused() -> None:
    text = 'syntax = "proto2"; message A { repeated group G = 1 { optional int32 a = 1; } }'
    with pytest.raises(SchemaError) as caught:
        schema_of_text(text)
    assert caught.value.expected == f"a message, not a group, {LEAVE_OUT}"
    assert caught.value.found == "a group in field g[]"


@pytest.mark.parametrize(
    ("message", "column"),
    [("A", "a"), ("shop.B", "b"), ("B", "b"), ("B.C", "c"), ("shop.B.C", "c")],
    ids=str,
)
def test_the_message_is_named_with_or_without_its_package(message: str, column: str) -> None:
    text = "package shop; message A { int32 a = 1; } message B { int32 b = 1; message C { int32 c = 1; } }"
    assert list(types(HEAD + text, message)) == [column]


NESTED = "message B { int32 b = 1; message C { int32 c = 1; } }"


@pytest.mark.parametrize(("message", "indexes"), [("A.B", [0, 0]), ("A.B.C", [0, 0, 0])], ids=str)
def test_entries_of_maps_may_count_among_the_messages_of_a_message(
    message: str, indexes: list[int]
) -> None:
    """They do in Confluent's serializer for Python."""
    in_front = HEAD + f"message A {{ {NESTED} map<string, int32> m = 1; }}"
    assert json.loads(schema_of_text(in_front, message))["indexes"] == indexes
    behind = HEAD + f"message A {{ map<string, int32> m = 1; {NESTED} }}"
    with pytest.raises(SchemaError, match="all serializers count alike") as caught:
        schema_of_text(behind, message)
    counted = [indexes[0], 1, *indexes[2:]]
    assert caught.value.found == (
        f"{message}, behind a map of a message around it: {indexes} or {counted}"
    )


def test_a_oneof_may_be_called_as_the_audit_calls_fields() -> None:
    text = schema_of_text(HEAD + "message A { oneof f1 { string a = 1; int32 b = 2; } }")
    assert protobuf_reader(text)(b"\x10\x07") == {"a": None, "b": 7}


def test_warnings_are_not_what_is_wrong() -> None:
    with pytest.raises(SchemaError, match="not defined"):
        schema_of_text(HEAD + 'import "google/protobuf/any.proto"; message A { strin a = 1; }')


@pytest.mark.parametrize("written", ["protobuf", "protobuf-confluent"])
def test_the_job_is_told_all_that_it_decodes_by(tmp_path: Path, written: str) -> None:
    folder = copied(tmp_path)
    file = folder / "product.yaml"
    file.write_text(file.read_text().replace("protobuf-confluent", written))
    product = load_product(folder)
    options = source_options("sessions", product, BINDINGS)
    named = {k: v for k, v in options.items() if "format" in k or "tolerant" in k}
    framed = {"protobuf-tolerant.framed": "true"} if written == "protobuf-confluent" else {}
    assert named == {
        "format": "protobuf-tolerant",
        "protobuf-tolerant.schema": schema_text(product, "sessions"),
        **framed,
    }
    assert schema_registry.registered_files(product) == {}


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(CHARGING, folder / "charging"))


@pytest.mark.parametrize(
    "words", ['import "plugs.proto";', "import 'plugs.proto';", 'import public "plugs.proto";']
)
def test_a_file_of_the_folder_is_imported_and_another_is_refused(
    tmp_path: Path, words: str
) -> None:
    folder = copied(tmp_path)
    schemas = folder / "schemas"
    text = (schemas / "sessions.proto").read_text()
    plug = text[text.index("enum Plug") : text.index("message Session")]
    (schemas / "plugs.proto").write_text(f"{HEAD}package charging.v1;\n{plug}")
    imported = f'{words}\n\nimport "google'
    (schemas / "sessions.proto").write_text(
        text.replace(plug, "").replace('import "google', imported)
    )
    product = load_product(folder)
    before = fields(schema_text(load_product(CHARGING), "sessions"))
    assert fields(schema_text(product, "sessions")) == before
    (schemas / "others.proto").write_text(HEAD)
    with pytest.raises(ProductError, match="found a schema that no topic uses") as caught:
        load_product(folder)
    assert caught.value.file == schemas / "others.proto"


def test_the_file_is_named_that_cannot_be_a_table(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    file = folder / "schemas" / "sessions.proto"
    file.write_text("syntax")
    with pytest.raises(ProductError) as caught:
        schema_text(load_product(folder), "sessions")
    assert caught.value.file == file
    assert caught.value.expected == "a file that protoc compiles"


def test_a_message_is_named_of_protobuf_alone(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    file = folder / "product.yaml"
    file.write_text(file.read_text().replace("protobuf-confluent", "json"))
    with pytest.raises(ProductError) as caught:
        load_product(folder)
    assert caught.value.found == (
        "topic sessions (events) names a message, Session, which only a topic of Protobuf has"
    )


def test_comments_and_other_messages_of_a_file_decide_no_row(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    before = computation.parts(load_product(folder), {})
    file = folder / "schemas" / "sessions.proto"
    text = file.read_text()
    file.write_text(text.replace("When the car", "The moment at which the car") + "message More {}")
    assert computation.parts(load_product(folder), {}) == before
    settings = folder / "product.yaml"
    settings.write_text(
        settings.read_text().replace("message: Session", "message: charging.v1.Session")
    )
    assert computation.parts(load_product(folder), {}) == before
    file.write_text(text.replace("watt_hours = 5", "watt_hours = 15"))
    assert computation.parts(load_product(folder), {}) != before
