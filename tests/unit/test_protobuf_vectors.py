"""The messages that Java's decoder reads too (ProtobufVectorsTest)."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.product.avro_schema import parse
from jobs.product.protobuf_files import schema_of_text
from tests.avro_vectors import without_nanoseconds
from tests.protobuf_vectors import decode, groups, without_descriptor

GROUPS = groups()
VECTORS = [(group, vector) for group in GROUPS for vector in group["messages"]]


def schema_of(group: dict[str, Any]) -> str:
    return schema_of_text(group["proto"], group.get("message"))


@pytest.mark.parametrize(("group", "vector"), VECTORS, ids=[v["name"] for _, v in VECTORS])
def test_a_vector_is_its_value_or_its_reason(group: dict[str, Any], vector: dict[str, Any]) -> None:
    schema = schema_of(group)
    found = decode(schema, group["framed"], bytes.fromhex(vector["hex"]))
    if "value" in vector:
        assert found == {"value": without_nanoseconds(vector["value"], parse(schema))}
    else:
        assert found == {"reason": vector["reason"]}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["proto"].split("\n")[-1][:60])
def test_the_columns_of_a_message_are_those_of_its_avro_schema(group: dict[str, Any]) -> None:
    assert without_descriptor(schema_of(group)) == group["avro"]
