"""The vectors that Java's decoder runs too (AvroVectorsTest), and what is too large for a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.product.avro_schema import parse
from tests.avro_vectors import decode, vectors, without_nanoseconds


@pytest.mark.parametrize("vector", vectors(), ids=lambda v: v["name"])
def test_a_vector_is_its_value_or_its_reason(vector: dict[str, Any]) -> None:
    reader = json.dumps(vector.get("reader", vector["writer"]))
    found = decode(json.dumps(vector["writer"]), reader, bytes.fromhex(vector["body"]))
    if "value" in vector:
        assert found == {"value": without_nanoseconds(vector["value"], parse(reader))}
    else:
        assert found == {"reason": vector["reason"]}


def test_texts_and_bytes_of_megabytes_are_read_whole() -> None:
    schema = json.dumps(
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "text", "type": "string"}, {"name": "bytes", "type": "bytes"}],
        }
    )
    length, text = bytes.fromhex("80808006"), "ü" * (3 << 20)
    found = decode(schema, schema, length + text.encode() + length + bytes(6 << 20))
    assert found == {"value": {"text": text, "bytes": "00" * (6 << 20)}}
