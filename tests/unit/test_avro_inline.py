"""Schemas with references as one text: the same types, as fastavro reads it too."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from jobs.product.avro_schema import parse
from replay.avro import compatibility
from replay.avro.inline import inlined

MONEY = {
    "type": "record",
    "name": "Money",
    "namespace": "com.shop.types",
    "fields": [
        {"name": "cents", "type": "long"},
        {
            "name": "currency",
            "type": {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"]},
        },
    ],
}
PLACE = {
    "type": "record",
    "name": "com.shop.types.Place",
    "fields": [
        {"name": "city", "type": "string"},
        {"name": "rent", "type": ["null", "Money"], "default": None},
    ],
}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "com.shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "price", "type": "com.shop.types.Money"},
        {"name": "tips", "type": {"type": "array", "items": "com.shop.types.Money"}},
        {"name": "by", "type": {"type": "map", "values": ["null", "com.shop.types.Place"]}},
        {"name": "currency", "type": "com.shop.types.Currency", "default": "EUR"},
        {"name": "self", "type": ["null", "Order"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def texts(*schemas: Any) -> list[str]:
    return [json.dumps(s) for s in schemas]


def test_types_of_other_subjects_stand_where_they_are_used_first() -> None:
    order, *others = texts(ORDER, MONEY, PLACE)
    found = inlined(order, others)
    assert compatibility.equal(parse(found), parse(order, referenced=tuple(others)))
    assert found.count('"symbols"') == 1


def test_another_reader_takes_it_for_the_same() -> None:
    order, *others = texts(ORDER, MONEY, PLACE)
    value = {
        "id": "a",
        "price": {"cents": 1, "currency": "USD"},
        "tips": [{"cents": 2, "currency": "EUR"}],
        "by": {"x": {"city": "Rome", "rent": {"cents": 3, "currency": "EUR"}}, "y": None},
        "currency": "EUR",
        "self": None,
        "at": 5,
    }
    known: dict[str, Any] = {}
    for text in others:
        fastavro.parse_schema(json.loads(text), named_schemas=known)
    body = io.BytesIO()
    fastavro.schemaless_writer(
        body, fastavro.parse_schema(json.loads(order), named_schemas=known), value
    )
    again = io.BytesIO()
    fastavro.schemaless_writer(again, json.loads(inlined(order, others)), value)
    assert again.getvalue() == body.getvalue()


@pytest.mark.parametrize(
    "schema",
    [
        "com.shop.types.Money",
        ["null", "com.shop.types.Money"],
        {"type": "com.shop.types.Money"},
        "string",
        {"type": "map", "values": "com.shop.types.Currency"},
        {"type": "fixed", "name": "F", "size": 3},
    ],
)
def test_any_type_may_refer(schema: Any) -> None:
    text, money = texts(schema, MONEY)
    assert compatibility.equal(parse(inlined(text, [money])), parse(text, referenced=(money,)))


def test_nothing_changes_in_a_schema_without_references() -> None:
    [money] = texts(MONEY)
    assert compatibility.equal(parse(inlined(money, [])), parse(money))
