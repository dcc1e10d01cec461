"""Avro without a registry: bodies alone, and Avro's single-object encoding with the writers' schemas of the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import generate
from jobs.bindings import source_options
from jobs.product.avro_fingerprint import canonical_form, fingerprint
from jobs.product.avro_schema import parse
from jobs.product.avro_types import fields
from jobs.product.folder import Product, load_product
from jobs.product.formats import Format
from replay.avro import single_object
from replay.avro.json_lines import AvroRecords, Form, Lines, Message
from replay.cli import new, topic_formats
from replay.cli.new_product import Source, draft
from replay.errors import ConfigError
from replay.kafka import schema_registry
from replay.kafka.decoding import Decoder, UndecodableError, readers
from replay.releases import computation
from replay.releases.folders import read_product
from replay.testing import events, model
from tests.avro_vectors import decode_message, groups
from tests.unit.folders import SCHEMA, SETTINGS, changed, write
from tests.unit.test_topic_formats import BINDINGS

OLDER: dict[str, Any] = {**SCHEMA, "fields": [SCHEMA["fields"][1], SCHEMA["fields"][0]]}
"""The same fields the other way round."""
NOBODY: Any = None
VECTORS = [(group, vector) for group in groups() for vector in group["messages"]]


@pytest.mark.parametrize(("group", "vector"), VECTORS, ids=[v["name"] for _, v in VECTORS])
def test_a_vector_is_its_value_or_its_reason(group: dict[str, Any], vector: dict[str, Any]) -> None:
    """Java's decoder runs them too: AvroMessagesTest."""
    writers = [json.dumps(w) for w in group["writers"]] if "writers" in group else None
    found = decode_message(json.dumps(group["reader"]), writers, bytes.fromhex(vector["message"]))
    kind = "value" if "value" in vector else "reason"
    assert found == {kind: vector[kind]}


@pytest.mark.parametrize(
    ("schema", "canonical", "number"),
    [
        ("null", '"null"', 7195948357588979594),
        ({"type": "int"}, '"int"', 8247732601305521295),
        ("string", '"string"', -8142146995180207161),
        (["int"], '["int"]', -5232228896498058493),
        (
            {"fields": [], "type": "record", "name": "foo", "doc": "x"},
            '{"name":"foo","type":"record","fields":[]}',
            -4824392279771201922,
        ),
    ],
)
def test_fingerprints_are_those_of_the_avro_projects_own_test_data(
    schema: Any, canonical: str, number: int
) -> None:
    found = parse(json.dumps(schema))
    assert canonical_form(found) == canonical
    assert int.from_bytes(fingerprint(found), "little", signed=True) == number


def folder(tmp_path: Path, written: str, **writers: Any) -> Path:
    """A product whose topic is written so, with these schemas of writers besides."""
    settings = changed(SETTINGS, lambda s: s["topics"]["orders"].update(format=written))
    write(tmp_path, settings=settings)
    for name, schema in writers.items():
        file = tmp_path / "schemas" / "orders.writers" / f"{name}.avsc"
        file.parent.mkdir(exist_ok=True)
        file.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return tmp_path


def decoder(product: Product, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    monkeypatch.setattr("replay.kafka.schema_registry.client", lambda settings: None)
    return Decoder(NOBODY, readers(product))


def test_the_job_has_the_schemas_and_asks_no_registry(tmp_path: Path) -> None:
    alone = load_product(folder(tmp_path / "alone", "avro"))
    options = source_options("orders", alone, BINDINGS)
    assert (options["format"], json.loads(options["avro-tolerant.schema"])) == (
        "avro-tolerant",
        SCHEMA,
    )
    assert "avro-tolerant.writers" not in options
    product = load_product(folder(tmp_path / "single", "avro-single-object", v1=OLDER))
    options = source_options("orders", product, BINDINGS)
    writers = [json.loads(text) for text in json.loads(options["avro-tolerant.writers"])]
    assert {w["fields"][0]["name"] for w in writers} == {"a", "at"} and len(writers) == 2
    assert not [option for option in options if "confluent" in option or "url" in option]
    assert schema_registry.registered_files(product) == {}
    assert not generate.is_reckoned(product, "orders")


def test_an_older_schemas_records_are_read_by_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = read_product(folder(tmp_path, "avro-single-object", v1=OLDER))
    reads = decoder(product, monkeypatch)
    new_one = single_object.header(parse(json.dumps(SCHEMA))) + b"\x02\x00"
    old_one = single_object.header(parse(json.dumps(OLDER))) + b"\x00\x02"
    assert reads.decode("orders", new_one) == reads.decode("orders", old_one)
    assert reads.decode("orders", old_one)["a"] == 1


def test_the_bytes_of_an_event_are_those_that_the_job_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for written in ("avro", "avro-single-object"):
        product = load_product(folder(tmp_path / written, written))
        given = {"orders": [{"a": 5, "at": "1970-01-01T00:00:00.007Z"}]}
        case = model.Case(Path("t.yaml"), "t", model.Body.model_validate({"given": given}))
        encoder = events.Encoder(product, {"orders": json.dumps(SCHEMA)})
        [event] = encoder.events(case)["orders"]
        assert event.value is not None and event.happened == 7
        assert event.value.endswith(b"\x0a\x0e")
        assert decoder(product, monkeypatch).decode("orders", event.value)["a"] == 5


def test_a_schema_of_writers_is_part_of_a_release_and_its_name_is_not(tmp_path: Path) -> None:
    def part(name: str, **writers: Any) -> dict[str, bytes]:
        found = read_product(folder(tmp_path / name, "avro-single-object", **writers))
        return {k: v for k, v in computation.parts(found, {}).items() if k.startswith("schemas/")}

    one = part("one", v1=OLDER)
    assert set(one) == {"schemas/orders.avsc", "schemas/orders.writers"}
    assert one == part("two", other_name={**OLDER, "doc": "said later"})
    assert one != part("three")


REFUSED = [
    ("avro", {"v1": OLDER}, "avro-single-object", "schemas that no topic uses"),
    ("avro-single-object", {"v1": {**SCHEMA, "doc": "x"}}, "can tell from", "as schemas/orders.avsc has"),
    ("avro-single-object", {"v1": "int"}, "an Avro schema", "Expecting value"),
    ("avro-single-object", {"v1": '"int"'}, "a record at the top of the schema", "int"),
    ("avro-single-object", {"v1": '{"type": "record"}'}, "a name of the record", "null"),
    ("avro-single-object", {"v1": {**SCHEMA, "fields": SCHEMA["fields"][:1]}},
     "a schema that reads what was written with orders.writers/v1.avsc",
     "field at: not in the records, and it has no default"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "writers", "expected", "found"), REFUSED)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, written: str, writers: dict[str, Any], expected: str, found: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read_product(folder(tmp_path, written, **writers))
    assert expected in refused.value.expected and found in refused.value.found


def test_another_file_among_the_writers_schemas_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, "avro-single-object", v1=OLDER)
    (tmp_path / "schemas" / "orders.writers" / "v2.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"v2\.json is wrong"):
        read_product(tmp_path)


def lines(records: Any, *values: Any) -> list[Message]:
    encoded = [json.dumps(v).encode() for v in values]
    found = list(Lines(records, Form()).read(encoded))
    assert all(isinstance(m, Message) for m in found), found
    return found  # type: ignore[return-value]


def test_what_is_produced_is_what_peek_shows(tmp_path: Path) -> None:
    files = [tmp_path / "new.avsc", tmp_path / "old.avsc"]
    for file, schema in zip(files, (SCHEMA, OLDER), strict=True):
        file.write_text(json.dumps(schema))
    for written, given in ((Format.avro, files[:1]), (Format.avro_single_object, files)):
        read = topic_formats.reader("orders", written, given)
        writer = topic_formats.writer("orders", written, given[-1], False)
        [message] = lines(writer, {"a": 1, "at": 0})
        assert isinstance(writer, AvroRecords) and read and message.value
        assert read(message.value)["a"] == 1
    assert topic_formats.writer("orders", None, None, False) is None
    assert topic_formats.reader("orders", None, []) is None


@pytest.mark.parametrize(
    ("written", "count", "found"),
    [
        (None, 1, "no --format, with --schema"),
        (Format.avro, 0, "--format avro, without --schema"),
        (Format.raw, 1, "--format raw, with --schema"),
        (Format.avro, 2, "2"),
    ],
)
def test_options_that_do_not_say_how_values_are_written(
    tmp_path: Path, written: Format | None, count: int, found: str
) -> None:
    file = tmp_path / "o.avsc"
    file.write_text(json.dumps(SCHEMA))
    with pytest.raises(ConfigError) as refused:
        topic_formats.reader("orders", written, [file] * count)
    assert refused.value.found == found


def test_a_schema_of_no_records_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "i.avsc"
    file.write_text('"int"')
    with pytest.raises(ConfigError, match="is not a schema of records"):
        topic_formats.reader("orders", Format.avro, [file])


def test_a_record_that_only_a_folder_can_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.kafka.schema_registry.client", lambda settings: None)
    record = single_object.header(parse(json.dumps(SCHEMA))) + b"\x02\x00"
    with pytest.raises(UndecodableError, match=r"fingerprint [0-9a-f]{16} names a schema that no"):
        Decoder(NOBODY, {}).decode_as_written(record)


def test_the_folder_of_a_topic_without_a_registry() -> None:
    text = json.dumps(SCHEMA)
    assert [f.name for f in fields(text)] == ["a", "at"]
    found = draft("shop", [Source("orders", text, 1, Format.avro_single_object)])
    assert "    format: avro-single-object\n" in found.files["product.yaml"]
    assert "schemas/orders.avsc" in found.files and "tests/first.yaml" in found.files


def test_a_folder_needs_the_schema_that_no_registry_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "load_settings", lambda: None)
    monkeypatch.setattr(new, "_partitions", lambda settings, wanted: {})
    with pytest.raises(ConfigError) as refused:
        new._sources("shop", ["orders"], [], Format.avro, False)
    assert refused.value.expected.startswith("--format avro with --from-schema")
