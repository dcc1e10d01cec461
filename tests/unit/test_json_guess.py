"""A first JSON Schema from documents: what is told from them, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

from jobs.product.avro_schema import parse
from jobs.product.avro_types import fields
from jobs.product.formats import Format
from jobs.product.json_columns import avro_text
from jobs.product.topic_schemas import payload_schema
from replay.avro.json_records import document, json_reader
from replay.cli.json_guess import Guess, guess
from replay.cli.new_product import Source, bronze, draft


def of(*texts: str) -> Guess:
    return guess([document(text.encode()) for text in texts])


def properties(*texts: str) -> dict[str, Any]:
    found: dict[str, Any] = of(*texts).schema["properties"]
    return found


def test_a_field_that_every_document_has_is_required_and_one_that_was_null_may_be() -> None:
    assert of('{"a": 1, "b": null}', '{"a": 2, "b": "x", "c": true}').schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": ["string", "null"]},
            "c": {"type": "boolean"},
        },
    }


def test_texts_are_times_if_all_of_them_are() -> None:
    found = properties(
        '{"a": "2024-06-03T01:02:03Z", "b": "2024-06-03T01:02:03.123456+02:00", "c": "2024-06-03", '
        '"d": "2024-06-03T01:02:03", "e": "2024-06-03T01:02:03Z"}',
        '{"a": "2024-06-03T01:02:03.5Z", "b": "2024-06-03T01:02:03Z", "c": "2024-06-04", '
        '"d": "2024-06-03 01:02:03.123456789", "e": "soon"}',
    )
    assert found == {
        "a": {"type": "string", "format": "date-time", "x-precision": 3},
        "b": {"type": "string", "format": "date-time", "x-precision": 6},
        "c": {"type": "string", "format": "date"},
        "d": {"type": "string", "format": "date-time-local", "x-precision": 9},
        "e": {"type": "string"},
    }


def test_numbers_are_integers_if_all_of_them_are_and_fit() -> None:
    found = of('{"a": 1, "b": 1, "c": 9223372036854775808}', '{"a": 2.0, "b": 1.5, "c": 1}')
    assert [p["type"] for p in found.schema["properties"].values()] == [
        "integer",
        "number",
        "number",
    ]
    assert [said.split(",")[0] for said in found.said] == [
        "field b is a number with fractions",
        "field c is a number with fractions",
    ]


def test_objects_and_arrays_are_looked_into() -> None:
    found = properties('{"a": [{"b": 1}, {"b": 2, "c": [[]]}], "d": {"e": {"f": "x"}}}')
    assert found["a"]["items"] == {
        "type": "object",
        "required": ["b"],
        "properties": {"b": {"type": "integer"}},
    }
    assert found["d"]["properties"]["e"]["properties"] == {"f": {"type": "string"}}


def test_what_has_no_column_is_named() -> None:
    found = of(
        '{"a": 1, "b": null, "c": [], "d": {}, "e": {"f": true}, "g": 1}',
        '{"a": "1", "e": {"f": 0}}',
    )
    assert list(found.schema["properties"]) == ["g"]
    assert found.said == [
        "field a is number or string, so it has no column",
        "field b is always null, so it has no column",
        "field c is always empty, so it has no column",
        "field d is always empty, so it has no column",
        "field e.f is boolean or number, so it has no column",
    ]


def test_a_property_that_is_no_name_gets_one() -> None:
    found = properties(
        '{"order-id": 1, "@timestamp": 2, "1st": 3, "order_id": 4, "log_offset": 5, "": 6, "A": 7, "a": 8}'
    )
    assert [spec.get("x-column", name) for name, spec in found.items()] == [
        "order_id", "timestamp", "f_1st", "order_id_2", "the_log_offset", "field", "A", "a_2",
    ]  # fmt: skip


def test_the_documents_are_read_by_what_was_guessed_of_them() -> None:
    texts = (
        '{"order-id": "o1", "at": "2024-06-03T01:02:03.123Z", "lines": [{"sku": "a", "n": 1}], "note": null}',
        '{"order-id": "o2", "at": "2024-06-03T01:02:04Z", "lines": [], "note": "x", "vip": true}',
    )
    avro = avro_text(json.dumps(of(*texts).schema))
    assert [f.type for f in fields(avro)] == [
        "STRING", "TIMESTAMP_LTZ(3)", "ARRAY<ROW<`sku` STRING, `n` BIGINT>>", "STRING", "BOOLEAN",
    ]  # fmt: skip
    rows = [json_reader(parse(avro))(text.encode()) for text in texts]
    assert [(r["order_id"], r["note"], r["vip"]) for r in rows] == [
        ("o1", None, None),
        ("o2", "x", True),
    ]


def source(written: Format = Format.json) -> Source:
    schema = of('{"scan_id": "s", "seen": "2024-06-03T01:02:03Z", "depot": "d"}').schema
    text = json.dumps(schema)
    return Source("depot.scans", avro_text(text), 4, written, text, ("looked at",))


def test_the_folder_of_a_topic_of_json() -> None:
    found = draft("parcels", [source()])
    assert list(found.files) == [
        "product.yaml", "parcels_rows.sql", "hourly_parcels.sql", "schemas/scans.json",
    ]  # fmt: skip
    assert "    topic: depot.scans\n    format: json\n" in found.files["product.yaml"]
    assert json.loads(found.files["schemas/scans.json"])["required"] == ["scan_id", "seen", "depot"]
    assert "looked at" in found.guesses


def test_the_folder_of_a_topics_records_as_they_are() -> None:
    found = bronze("parcels", source())
    assert found.files["parcels_rows.sql"] == (
        "SELECT scan_id, seen, depot, log_appended AS appended, log_key AS record_key, log_headers AS headers\n"
        "FROM scans\n"
    )
    assert "    time: log_appended   # when it happened\n" in found.files["product.yaml"]
    assert "outputs: [parcels_rows]\n" in found.files["product.yaml"]
    bytes_alone = bronze("blobs", Source("b", payload_schema(Format.raw), 1, Format.raw))
    assert list(bytes_alone.files) == ["product.yaml", "blobs_rows.sql"]
    assert "    format: raw\n" in bytes_alone.files["product.yaml"]
    assert bytes_alone.files["blobs_rows.sql"].startswith(
        "SELECT payload, log_appended AS appended"
    )
