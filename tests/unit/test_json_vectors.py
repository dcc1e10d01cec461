"""The documents that Java's decoder reads too (JsonVectorsTest), and what is too large for a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.product.json_columns import avro_text
from replay.avro import json_records
from replay.avro.json_records import MAX_DEPTH
from tests.json_vectors import decode, document, groups

VECTORS = [(group["avro"], vector) for group in groups() for vector in group["documents"]]


@pytest.mark.parametrize(("avro", "vector"), VECTORS, ids=[v["name"] for _, v in VECTORS])
def test_a_vector_is_its_value_or_its_reason(avro: Any, vector: dict[str, Any]) -> None:
    kind = "value" if "value" in vector else "reason"
    assert decode(json.dumps(avro), document(vector)) == {kind: vector[kind]}


@pytest.mark.parametrize("group", groups(), ids=lambda group: json.dumps(group["schema"])[:60])
def test_the_columns_of_a_json_schema_are_those_of_its_avro_schema(group: dict[str, Any]) -> None:
    assert json.loads(avro_text(json.dumps(group["schema"]))) == group["avro"]


def test_a_document_of_megabytes_is_read_whole_and_brackets_without_end_are_not() -> None:
    schema = avro_text(json.dumps({"type": "object", "properties": {"text": {"type": "string"}}}))
    text = "ü[" * (3 << 20)
    assert decode(schema, json.dumps({"text": text}).encode()) == {"value": {"text": text}}
    assert decode(schema, b"[" * 1_000_000) == {
        "reason": f"the value is nested more than {MAX_DEPTH} deep"
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("12", 12),
        ("0.5", 0.5),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1e400", "1e400"),
        ("9" * 5000, "9" * 5000),
    ],
    ids=["an integer", "a double", "more digits than a double", "beyond a double", "very long"],
)
def test_people_see_numbers_as_they_were_written(text: str, shown: Any) -> None:
    assert json_records.plain(json_records.document(f'{{"a": [{text}]}}'.encode())) == {
        "a": [shown]
    }
