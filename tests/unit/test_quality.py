"""Quality rules of a contract: which are run, as what, and which are refused before anything is deployed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from jobs.product.folder import Product
from replay.checks.quality import Rule, rules
from replay.errors import ConfigError
from tests.unit.lake_tables import make_product


def product(
    folder: Path,
    *,
    table: list[dict[str, Any]] | None = None,
    column: list[dict[str, Any]] | None = None,
    name: str = "id",
    of: str = "orders",
) -> Product:
    """Orders with rules for the table, or for one of its columns."""
    schema: dict[str, Any] = {"name": of, "properties": [{"name": name, "quality": column}]}
    return make_product(folder).model_copy(
        update={"contract": {"schema": [{**schema, "quality": table}]}}
    )


def limits(**limits: Any) -> Rule:
    return Rule(
        "r", True, "rowCount of orders", "", tuple(limits.items()), unit="rows", metric=True
    )


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        pytest.param(5, limits(mustBe=5), True, id="mustBe"),
        pytest.param(5, limits(mustNotBe=5), False, id="mustNotBe"),
        pytest.param(5, limits(mustBeGreaterThan=5), False, id="mustBeGreaterThan"),
        pytest.param(5, limits(mustBeGreaterOrEqualTo=5), True, id="mustBeGreaterOrEqualTo"),
        pytest.param(5, limits(mustBeLessThan=5), False, id="mustBeLessThan"),
        pytest.param(5, limits(mustBeLessOrEqualTo=5), True, id="mustBeLessOrEqualTo"),
        pytest.param(5, limits(mustBeBetween=[4, 6]), True, id="mustBeBetween"),
        pytest.param(5, limits(mustBeBetween=[5, 6]), False, id="mustBeBetween has open ends"),
        pytest.param(5, limits(mustNotBeBetween=[4, 6]), False, id="mustNotBeBetween"),
        pytest.param(
            5, limits(mustBeGreaterThan=4, mustBeLessThan=5), False, id="all of several must hold"
        ),
        pytest.param(True, limits(mustBe=True), True, id="a boolean"),
        pytest.param(None, limits(mustBeLessThan=5), False, id="NULL holds nothing"),
        pytest.param("5", limits(mustBe=5), False, id="text holds nothing"),
        pytest.param(math.nan, limits(mustNotBe=5), False, id="NaN holds nothing"),
        pytest.param(math.nan, limits(mustNotBeBetween=[4, 6]), False, id="nor is it outside"),
    ],
)
def test_comparisons(value: Any, rule: Rule, expected: bool) -> None:
    assert rule.judge(value, 10)[0] is expected


def test_percent_is_of_all_rows_and_nothing_of_no_rows() -> None:
    rule = Rule(
        "r",
        True,
        "nullValues of orders.id",
        "",
        (("mustBeLessThan", 1),),
        "percent",
        True,
        description="ids come from the shop",
    )
    assert rule.judge(2, 100) == (
        False,
        "nullValues of orders.id is 2 percent, and must be less than 1: ids come from the shop",
    )
    assert rule.judge(2, 1000)[0]
    assert rule.judge(0, 0)[0]


def test_names_are_given_or_made_of_subject_and_metric(tmp_path: Path) -> None:
    made = product(
        tmp_path,
        table=[
            {"metric": "rowCount", "mustBeGreaterThan": 0},
            {"type": "sql", "query": "SELECT 1", "mustBe": 1, "severity": "warning"},
        ],
        column=[
            {"metric": "nullValues", "mustBe": 0},
            {"metric": "nullValues", "name": "x", "mustBe": 0},
        ],
    )
    assert [(r.name, r.blocking) for r in rules(made)] == [
        ("orders: rowCount", True),
        ("orders: sql", False),
        ("orders.id: nullValues", True),
        ("x", True),
    ]


def test_sql_names_its_table_and_column(tmp_path: Path) -> None:
    (rule,) = rules(
        product(
            tmp_path,
            column=[
                {
                    "type": "sql",
                    "query": "SELECT max({property}) FROM ${object} JOIN {table}",
                    "mustBe": 1,
                }
            ],
        )
    )
    assert rule.query == 'SELECT max("id") FROM "orders" JOIN "orders"'


def test_no_quality_is_no_rule(tmp_path: Path) -> None:
    assert rules(make_product(tmp_path)) == ()
    assert rules(product(tmp_path, table=[], column=[])) == ()


@pytest.mark.parametrize(
    ("given", "expected", "found"),
    [
        pytest.param(
            {"table": [{"type": "text", "description": "good"}]},
            "type: library or sql, which the gate can run",
            "type: text",
            id="text",
        ),
        pytest.param(
            {"table": [{"type": "custom", "engine": "soda", "implementation": ""}]},
            "type: library or sql, which the gate can run",
            "type: custom",
            id="another engine",
        ),
        pytest.param(
            {"table": [{"metric": "freshness", "mustBe": 0}]},
            "metric: rowCount, nullValues, missingValues, invalidValues, duplicateValues",
            "metric: freshness",
            id="unknown metric",
        ),
        pytest.param(
            {"table": [{"rule": "rowCount", "mustBe": 0}]},
            "metric: …",
            "rule: …, which the standard gave up",
            id="the key of version 3.0",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount", "mustbe": 0}]},
            "keys that a rule of type library has, and no schedule: rules run before a switch",
            "mustbe",
            id="a key misspelt",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount", "mustBe": 0, "schedule": "0 20 * * *"}]},
            "keys that a rule of type library has, and no schedule: rules run before a switch",
            "schedule",
            id="a schedule",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount", "mustBe": 0, "severity": "high"}]},
            "severity: error (blocks a switch) or warning",
            "severity: high",
            id="severity",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount", "mustBe": 0, "unit": "percent"}]},
            "unit: rows",
            "unit: percent",
            id="percent of itself",
        ),
        pytest.param(
            {"column": [{"metric": "nullValues", "mustBe": 0, "unit": "days"}]},
            "unit: rows or percent",
            "unit: days",
            id="unit",
        ),
        pytest.param(
            {"column": [{"metric": "rowCount", "mustBe": 0}]},
            "rowCount of a table",
            "rowCount of a column",
            id="rowCount of a column",
        ),
        pytest.param(
            {"table": [{"metric": "nullValues", "mustBe": 0}]},
            "nullValues of a column",
            "nullValues of a table",
            id="nullValues of a table",
        ),
        pytest.param(
            {"table": [{"metric": "duplicateValues", "mustBe": 0}]},
            "arguments: {properties: [columns]}",
            "None",
            id="duplicates of what",
        ),
        pytest.param(
            {
                "table": [
                    {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["idd"]}}
                ]
            },
            "a column of orders: id, day, amount, log_partition, log_offset",
            "idd",
            id="duplicates: no column",
        ),
        pytest.param(
            {"column": [{"metric": "invalidValues", "mustBe": 0}]},
            "arguments: {validValues: [values]} or {pattern: REGEX}",
            "{}",
            id="valid is what",
        ),
        pytest.param(
            {"column": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"values": [1]}}]},
            "arguments of invalidValues: pattern, validValues",
            "{'values': [1]}",
            id="unknown argument",
        ),
        pytest.param(
            {"column": [{"metric": "missingValues", "mustBe": 0}]},
            "arguments: {missingValues: [values]}",
            "None",
            id="missing is what",
        ),
        pytest.param(
            {"column": [{"metric": "nullValues", "mustBe": 0}], "name": "idd"},
            "a column of orders: id, day, amount, log_partition, log_offset",
            "idd",
            id="no such column",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount", "mustBe": 0}], "of": "other"},
            "rules of an output: orders, totals, rejects",
            "rules of other",
            id="no such output",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount", "mustBe": 0}] * 2},
            "a name of its own for each rule (name: …)",
            "several rules of that name",
            id="two of one name",
        ),
        pytest.param(
            {"table": [{"metric": "rowCount"}]},
            "a comparison with a number: mustBe, mustNotBe, mustBeGreaterThan, mustBeGreaterOrEqualTo, "
            "mustBeLessThan, mustBeLessOrEqualTo, mustBeBetween, mustNotBeBetween",
            "none",
            id="no comparison",
        ),
        pytest.param(
            {"table": [{"type": "sql", "mustBe": 0}]},
            "query: a SELECT of one value",
            "None",
            id="no query",
        ),
        pytest.param(
            {"table": [{"type": "sql", "query": "SELECT {property} FROM {object}", "mustBe": 0}]},
            "{property} in a rule of a column",
            "{property} in a rule of a table",
            id="property of a table",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(
    tmp_path: Path, given: dict[str, Any], expected: str, found: str
) -> None:
    with pytest.raises(ConfigError) as e:
        rules(product(tmp_path, **given))
    assert (e.value.expected, e.value.found) == (expected, found)
    assert e.value.next == f"fix {tmp_path / 'contract.yaml'}"


@pytest.mark.parametrize(
    "limit",
    [
        {"mustBe": "5"},
        {"mustBeLessThan": True},
        {"mustBeBetween": [1]},
        {"mustBeBetween": [2, 1]},
        {"mustBeBetween": 3},
    ],
)
def test_a_comparison_needs_numbers(tmp_path: Path, limit: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"a quality rule of orders cannot be run"):
        rules(product(tmp_path, table=[{"metric": "rowCount", **limit}]))


def test_quality_where_the_standard_has_none(tmp_path: Path) -> None:
    made = make_product(tmp_path).model_copy(update={"contract": {"quality": []}})
    with pytest.raises(ConfigError, match="a quality rule of the contract cannot be run"):
        rules(made)


@pytest.mark.parametrize(
    "inside",
    [
        {"properties": [{"name": "a", "quality": [{"metric": "nullValues", "mustBe": 0}]}]},
        {"items": {"properties": [{"name": "a", "quality": []}]}},
    ],
    ids=["of a row", "of rows in an array"],
)
def test_a_rule_of_a_field_inside_is_not_passed_over(
    tmp_path: Path, inside: dict[str, Any]
) -> None:
    made = make_product(tmp_path).model_copy(
        update={
            "contract": {"schema": [{"name": "orders", "properties": [{"name": "id", **inside}]}]}
        }
    )
    with pytest.raises(ConfigError) as e:
        rules(made)
    assert (e.value.message, e.value.found) == (
        f"{tmp_path}/contract.yaml: a quality rule of orders.id cannot be run",
        "quality of a field inside",
    )
