"""The table of types in docs/types.md is what the code does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.product.avro_types import ENVELOPE, TYPES, fields
from replay.errors import ConfigError
from replay.iceberg.table_types import iceberg_type
from tests.types_doc import DOC, rows


def column(avro: Any) -> str:
    found = fields(
        json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": avro}]})
    )
    return found[0].type


@pytest.mark.parametrize("row", rows(), ids=lambda row: json.dumps(row.avro))
def test_a_row_of_the_table(row: Any) -> None:
    assert column(row.avro) == row.flink
    if row.iceberg == "–":
        with pytest.raises(ConfigError):
            iceberg_type(row.flink)
    else:
        found = str(iceberg_type(row.flink))
        for number in range(1, 4):  # ids of fields, which are a table's own
            found = found.replace(f"{number}: ", "")
        assert found.replace("optional ", "") == row.iceberg


def test_the_table_has_every_type() -> None:
    shown = [row.avro for row in rows()]
    names = {
        avro.get("logicalType", avro["type"]) if isinstance(avro, dict) else avro
        for avro in shown
        if not isinstance(avro, list)
    }
    assert names == {*TYPES, "decimal", "array", "map", "record"}


def test_the_reserved_names_are_all_said() -> None:
    assert all(f"`{name}`" in DOC.read_text() for name in ENVELOPE)
