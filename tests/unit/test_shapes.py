"""Nested values of two releases: what is compared of them, and how people and programs see them."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from jobs.product.column_types import Type, parse, stored
from jobs.product.model import Window
from replay.compare import matching
from replay.compare.changes import TableDiff
from replay.compare.comparison import comparisons
from replay.compare.shapes import common, shaped
from replay.iceberg import lake, table_changes
from replay.output import Output, print_rows
from replay.query import duck, query
from replay.values import json_value, same, words
from tests.unit.lake_tables import COLUMNS, make_product, sink

NAN = math.nan


def type_of(text: str) -> Type:
    return stored(parse(text))


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        ("ROW<a INT, b INT>", "ROW<c INT, b BIGINT>", "ROW<`b` BIGINT>"),
        ("ARRAY<ROW<a INT, b INT>>", "ARRAY<ROW<b INT>>", "ARRAY<ROW<`b` INT>>"),
        ("MAP<STRING, ROW<a INT>>", "MAP<STRING, ROW<a INT, b INT>>", "MAP<STRING, ROW<`a` INT>>"),
        ("ROW<a INT>", "ROW<b INT>", "ROW<>"),
    ],
)
def test_what_both_releases_have(old: str, new: str, both: str) -> None:
    assert str(common(type_of(old), type_of(new))) == both


SHAPED: list[tuple[str, str, Any]] = [
    ("ARRAY<INT>", "[2, 1]", [2, 1]),
    ("ROW<a INT>", "{'a': 1, 'b': 2}", {"a": 1}),
    ("ROW<a INT>", "NULL::STRUCT(a INT)", None),
    ("ARRAY<ROW<a INT>>", "[{'a': 1, 'b': 2}, NULL]", [{"a": 1}, None]),
    ("MAP<STRING, INT>", "MAP {'b': 1, 'a': 2}", {"a": 2, "b": 1}),
    ("MAP<STRING, INT>", "NULL::MAP(VARCHAR, INT)", None),
    ("MAP<STRING, INT>", "MAP {}", {}),
    (
        "MAP<INT, ARRAY<MAP<INT, ROW<x INT>>>>",
        "MAP {2: [MAP {9: {'x': 1, 'y': 2}, 8: NULL}], 1: NULL}",
        {1: None, 2: [{8: None, 9: {"x": 1}}]},
    ),
    ("ROW<`o''p ``q` ROW<r INT>>", "{'o''''p `q': {'r': 1, 's': 2}}", {"o''p `q": {"r": 1}}),
]


@pytest.mark.parametrize(("shape", "value", "expected"), SHAPED, ids=[s[1] for s in SHAPED])
def test_a_value_in_its_shape(shape: str, value: str, expected: Any) -> None:
    with duck.connect() as connection:
        row = connection.execute(
            f"SELECT {shaped('v', type_of(shape))} FROM (SELECT {value} AS v)"
        ).fetchone()
    assert row is not None and row[0] == expected
    if isinstance(expected, dict):
        assert list(row[0]) == list(expected)


def test_a_row_with_no_common_field_is_there_or_not() -> None:
    shape = shaped("v", common(type_of("ROW<a INT>"), type_of("ROW<b INT>")))
    with duck.connect() as connection:
        assert connection.execute(f"SELECT {shape} FROM (SELECT {{'a': 1}} AS v)").fetchone() == (
            True,
        )


def test_values_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "sku": "a",
        "price": Decimal("1.50"),
        "raw": b"\x00\xff",
        "tags": {1: None, 2: True},
        "list": [NAN],
    }
    assert words(value) == "{sku: a, price: 1.50, raw: 00ff, tags: {1: null, 2: true}, list: [nan]}"
    print_rows([{"item": value, "raw": b"\x01", "share": math.inf}], Output.json)
    assert json.loads(capsys.readouterr().out) == [
        {
            "item": {
                "sku": "a",
                "price": "1.50",
                "raw": "AP8=",
                "tags": {"1": None, "2": True},
                "list": [None],
            },
            "raw": "AQ==",
            "share": None,
        }
    ]
    assert json_value({None: 1}) == {"null": 1}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": [NAN]}, {"a": [NAN]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 2], False),
        (None, NAN, False),
        (Decimal("1.50"), Decimal("1.5"), True),
        ({"a": NAN}, {"a": 1.0}, False),
    ],
)
def test_equal_values(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal


COLUMN = ("day", "DATE")
OLD = (
    COLUMN,
    ("item", "ROW<`sku` STRING, `share` DOUBLE, `gone` INT>"),
    ("tags", "MAP<STRING, DECIMAL(9, 2)>"),
    ("all", "ARRAY<ROW<`raw` BYTES>>"),
)
NEW = (
    COLUMN,
    ("item", "ROW<`more` INT, `share` DOUBLE, `sku` STRING>"),
    ("tags", "MAP<STRING, DECIMAL(12, 2)>"),
    ("all", "ARRAY<ROW<`raw` BYTES, `n` INT>>"),
)


def compare(catalog: Catalog, home: Path, old: dict[str, Any], new: dict[str, Any]) -> TableDiff:
    """The diff of one row of `totals`, written by a release with the old columns and by one with the new."""
    from tests.unit.lake_tables import make_settings

    products, snapshots = [], []
    for branch, columns, row in (("r1-a1", OLD, old), ("r2-a1", NEW, new)):
        product = make_product(
            home,
            columns={**COLUMNS, "totals": columns},
            totals={"window": Window(column="day", size="1d"), "key": ["day"]},
        )
        table_changes.ensure(catalog, product)
        lake.create_branch(catalog, product, branch)
        products.append(product)
        snapshots.append({"totals": sink(catalog, "totals", branch, 1, [row])})
    (how,) = (c for c in comparisons(*products) if c.table == "totals")
    with query.open_schemas(
        make_settings(home), "shop", {"old": snapshots[0], "new": snapshots[1]}
    ) as connection:
        matching.set_bounds(connection, {}, {})
        return matching.TableMatch(connection, how, dt.datetime(2100, 1, 1), 5, {}).result()


DAY = dt.date(2024, 1, 1)
OLD_ROW = {
    "day": DAY,
    "item": {"sku": "a", "share": NAN, "gone": 1},
    "tags": {"x": Decimal(1), "b": Decimal(2)},
    "all": [{"raw": b"\x00"}, None],
}
NEW_ROW = {
    "day": DAY,
    "item": {"sku": "a", "share": NAN, "more": 5},
    "tags": {"b": Decimal(2), "x": Decimal(1)},
    "all": [{"raw": b"\x00", "n": 1}, None],
}


def test_nested_values_are_equal_in_what_both_releases_have(
    catalog: Catalog, tmp_path: Path
) -> None:
    found = compare(catalog, tmp_path, OLD_ROW, NEW_ROW)
    assert (found.same, found.changed, found.columns) == (1, 0, {})
    assert (found.columns_only_old, found.columns_only_new) == (
        ("item.gone",),
        ("item.more", "all[].n"),
    )


def test_nested_values_that_differ_are_shown(catalog: Catalog, tmp_path: Path) -> None:
    found = compare(
        catalog, tmp_path, OLD_ROW, {**NEW_ROW, "tags": {"b": Decimal(2), "x": Decimal("1.01")}}
    )
    assert (found.same, found.changed, found.columns) == (0, 1, {"tags": 1})
    (change,) = found.samples["changed"]
    assert (change.old, change.new) == (
        {"tags": {"b": Decimal(2), "x": Decimal(1)}},
        {"tags": {"b": Decimal(2), "x": Decimal("1.01")}},
    )
