"""The gate on real Iceberg tables: exactly the snapshots it is given, every kind of check, and what blocks."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from jobs.product import Product, load_product
from replay import gate, lake, table_changes
from replay.errors import ConfigError
from replay.model import Check
from replay.settings import Settings
from tests.unit.lake_tables import make_product, make_settings, sink, sink_all

ROOT = Path(__file__).parents[2]
DAY = date(2013, 1, 1)
ORDERS = [
    {"id": 1, "day": DAY, "amount": 2.0, "log_partition": 0, "log_offset": 0},
    {"id": 2, "day": DAY, "amount": -3.0, "log_partition": 0, "log_offset": 1},
    {"id": 2, "day": DAY, "amount": None, "log_partition": 1, "log_offset": 0},
    {"id": 2, "day": None, "amount": 0.5, "log_partition": 1, "log_offset": 1},
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def catalog(settings: Settings) -> Catalog:
    """Tables of the small product, with a branch: made once, tests only add to them."""
    catalog = lake.open_catalog(settings)
    made = make_product(settings.home)
    table_changes.ensure(catalog, made)
    lake.create_branch(catalog, made, "r1-a1")
    return catalog


@pytest.fixture(scope="module")
def snapshots(catalog: Catalog, settings: Settings) -> dict[str, int]:
    """Checkpoint 1 on the branch, with four orders."""
    return {**sink_all(catalog, make_product(settings.home), "r1-a1", 1),
            "orders": sink(catalog, "orders", "r1-a1", 1, ORDERS)}


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """The product of these tables, in a folder that a test may write to."""
    return make_product(tmp_path)


def with_checks(product: Product, **files: str) -> Product:
    (product.folder / "checks").mkdir()
    for name, sql in files.items():
        (product.folder / "checks" / f"{name}.sql").write_text(sql)
    return product


def with_rule(product: Product, rule: dict[str, Any], *, column: str = "", table: str = "orders",
              warnings: tuple[str, ...] = ()) -> Product:
    schema = {"name": table, "properties": [{"name": column, "quality": [rule]}]} if column else {
        "name": table, "quality": [rule]}
    return product.model_copy(update={"contract": {"schema": [schema]},
                                      "settings": product.settings.model_copy(update={"warnings": warnings})})


def found(settings: Settings, product: Product, snapshots: dict[str, int]) -> Check:
    """The last check's result: required columns come first."""
    return gate.run(settings, product, snapshots)[-1]


def test_checks_select_offending_rows_of_exactly_these_snapshots(
        settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]) -> None:
    with_checks(product, positive="-- amounts\nSELECT id FROM orders WHERE amount < 0;\n")
    later = sink(catalog, "orders", "r1-a1", 2, [{"id": None, "amount": 1.0}] * 7)
    assert gate.run(settings, product, snapshots) == (
        Check("orders: required columns", True, 0, "0 offending rows"),
        Check("checks/positive.sql", True, 1, "1 offending row", ({"id": 2},)))
    results = gate.run(settings, product, {**snapshots, "orders": later})
    assert [(r.offending, len(r.sample)) for r in results] == [(7, 5), (1, 1)]


@pytest.mark.parametrize(("column", "rule", "expected", "sample"), [
    pytest.param("", {"metric": "rowCount", "mustBe": 4}, 0, 0, id="rowCount holds"),
    pytest.param("", {"metric": "rowCount", "mustBeGreaterThan": 4}, 1, 1, id="rowCount"),
    pytest.param("amount", {"metric": "nullValues", "mustBe": 0}, 1, 1, id="nullValues"),
    pytest.param("amount", {"metric": "nullValues", "mustBeLessThan": 30, "unit": "percent"}, 0, 0, id="25 percent"),
    pytest.param("amount", {"metric": "nullValues", "mustBeLessThan": 25, "unit": "percent"}, 1, 1, id="not below 25"),
    pytest.param("amount", {"metric": "missingValues", "arguments": {"missingValues": [None, 0.5, -3]}, "mustBe": 0},
                 3, 3, id="missingValues"),
    pytest.param("id", {"metric": "invalidValues", "arguments": {"validValues": [1, 3]}, "mustBe": 0}, 3, 3,
                 id="invalidValues: numbers"),
    pytest.param("id", {"metric": "invalidValues", "arguments": {"validValues": [1, "two"]}, "mustBe": 0}, 3, 3,
                 id="invalidValues: text for a number"),
    pytest.param("day", {"metric": "invalidValues", "arguments": {"validValues": [DAY]}, "mustBe": 0}, 0, 0,
                 id="invalidValues: a date; NULL is none"),
    pytest.param("day", {"metric": "invalidValues", "arguments": {"pattern": "^2014-"}, "mustBeLessThan": 3}, 3, 3,
                 id="invalidValues: pattern"),
    pytest.param("id", {"metric": "duplicateValues", "mustBeLessOrEqualTo": 2}, 0, 0, id="duplicateValues holds"),
    pytest.param("id", {"metric": "duplicateValues", "mustBe": 0}, 2, 1, id="duplicateValues: all but the first"),
    pytest.param("", {"metric": "duplicateValues", "arguments": {"properties": ["id", "day"]}, "mustBe": 0}, 1, 1,
                 id="duplicateValues: a key with NULL repeats none"),
    pytest.param("", {"metric": "duplicateValues", "arguments": {"properties": ["log_partition", "log_offset"]},
                      "mustBe": 0}, 0, 0, id="duplicateValues: a key"),
    pytest.param("amount", {"type": "sql", "query": "SELECT sum({property}) FROM {object}", "mustBe": -0.5}, 0, 0,
                 id="sql holds"),
    pytest.param("amount", {"type": "sql", "query": "SELECT min({property}) FROM {object}", "mustBeGreaterThan": 0},
                 1, 1, id="sql"),
    pytest.param("", {"type": "sql", "query": "SELECT max(id) < 9 FROM orders", "mustBe": True}, 0, 0, id="boolean"),
    pytest.param("", {"type": "sql", "query": "SELECT max(id) FROM rejects, orders", "mustBe": 0}, 1, 1, id="NULL"),
])
def test_quality_rules(settings: Settings, product: Product, snapshots: dict[str, int], column: str,
                       rule: dict[str, Any], expected: int, sample: int) -> None:
    result = found(settings, with_rule(product, rule, column=column), snapshots)
    assert (result.offending, len(result.sample)) == (expected, sample), result


def test_a_result_says_what_was_found_and_shows_rows(
        settings: Settings, product: Product, snapshots: dict[str, int]) -> None:
    rule = {"metric": "duplicateValues", "arguments": {"properties": ["id", "day"]}, "mustBe": 0, "name": "once",
            "description": "an order is delivered once"}
    assert found(settings, with_rule(product, rule), snapshots) == Check(
        "once", True, 1, "duplicateValues of orders is 1 row, and must be 0: an order is delivered once",
        ({"id": 2, "day": "2013-01-01", "n": 2},))


@pytest.mark.parametrize(("severity", "warnings", "blocking"), [
    pytest.param("error", (), True, id="by default"),
    pytest.param("warning", (), False, id="the contract says so"),
    pytest.param("error", ("rows",), False, id="product.yaml says so"),
])
def test_a_warning_does_not_block(settings: Settings, product: Product, snapshots: dict[str, int], severity: str,
                                  warnings: tuple[str, ...], blocking: bool) -> None:
    rule = {"metric": "rowCount", "mustBe": 0, "name": "rows", "severity": severity}
    result = found(settings, with_rule(product, rule, warnings=warnings), snapshots)
    assert (result.blocking, result.offending) == (blocking, 1)


def test_a_file_may_be_a_warning(settings: Settings, product: Product, snapshots: dict[str, int]) -> None:
    with_checks(product, odd="SELECT id FROM orders WHERE id = 1")
    warned = product.model_copy(update={
        "settings": product.settings.model_copy(update={"warnings": ("checks/odd.sql",)})})
    assert [(c.name, c.blocking) for c in gate.run(settings, warned, snapshots)] == [
        ("orders: required columns", True), ("checks/odd.sql", False)]


def test_a_warning_of_no_check(product: Product) -> None:
    with_checks(product, odd="SELECT 1")
    warned = product.model_copy(update={"settings": product.settings.model_copy(update={"warnings": ("od",)})})
    with pytest.raises(ConfigError) as e:
        gate.checks(warned)
    assert (e.value.expected, e.value.found) == ("names of checks: orders: required columns, checks/odd.sql", "od")


def test_samples_are_values_of_json(settings: Settings, catalog: Catalog, product: Product,
                                    snapshots: dict[str, int]) -> None:
    reject = {"log_topic": "orders", "payload": b"\x00" * 500, "reason": "late"}
    snapshots = {**snapshots, "rejects": sink(catalog, "rejects", "r1-a1", 2, [reject])}
    with_checks(product, any="SELECT payload, DATE '2013-01-01' AS day, 1.5::DECIMAL(9, 1) AS n, reason FROM rejects")
    result = found(settings, product, snapshots)
    assert result.sample == ({"payload": "00" * 100, "day": "2013-01-01", "n": "1.5", "reason": "late"},)
    assert json.loads(json.dumps(asdict(result)))["offending"] == 1


WRONG = [
    pytest.param("SELECT colour FROM orders", "orders(id, day, amount, log_partition, log_offset)", id="no column"),
    pytest.param("SELECT 1 FROM ordres", "orders(id, day, amount, log_partition, log_offset); totals(day, amount); "
                 "rejects(log_topic, log_partition, log_offset, appended, reason, payload)", id="no such table"),
    pytest.param("SELEC 1", "a SELECT in DuckDB's SQL", id="no SQL"),
    pytest.param("SELECT * FROM read_csv('/etc/passwd')", "a SELECT in DuckDB's SQL", id="another file"),
    pytest.param("DELETE FROM orders", "one SELECT", id="no SELECT"),
    pytest.param("-- nothing", "one SELECT", id="empty"),
]


@pytest.mark.parametrize(("sql", "expected"), WRONG)
def test_a_check_that_cannot_run_is_known_before_there_are_tables(tmp_path: Path, sql: str, expected: str) -> None:
    product = with_checks(make_product(tmp_path), wrong=sql)
    with pytest.raises(ConfigError) as e:
        gate.validate(product)
    file = tmp_path / "checks" / "wrong.sql"
    assert (e.value.message, e.value.expected) == ("the check 'checks/wrong.sql' cannot run", expected)
    assert e.value.next == f"mend {file}, then: kappa check {tmp_path}"


@pytest.mark.parametrize("sql", ["SELECT colour FROM orders", "DELETE FROM orders"])
def test_a_check_that_cannot_run_stops_the_gate(
        settings: Settings, product: Product, snapshots: dict[str, int], sql: str) -> None:
    with_checks(product, wrong=sql)
    with pytest.raises(ConfigError, match=r"^the check 'checks/wrong\.sql' cannot run"):
        gate.run(settings, product, snapshots)


@pytest.mark.parametrize(("rule", "expected"), [
    pytest.param({"type": "sql", "query": "SELECT id, amount FROM orders"}, "0 rows of 2 columns", id="many"),
    pytest.param({"type": "sql", "query": "SELECT 1, 2"}, "1 rows of 2 columns", id="two columns"),
    pytest.param({"type": "sql", "query": "SELECT * FROM range(3)"}, "several rows of 1 columns", id="rows"),
])
def test_a_rule_gives_one_value(tmp_path: Path, rule: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as e:
        gate.validate(with_rule(make_product(tmp_path), {**rule, "mustBe": 1}))
    assert (e.value.expected, e.value.found) == ("a query that gives one row of one value", expected)


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    rule = {"metric": "invalidValues", "arguments": {"pattern": "["}, "mustBe": 0}
    with pytest.raises(ConfigError, match=r"the check 'orders\.day: invalidValues' cannot run"):
        gate.validate(with_rule(make_product(tmp_path), rule, column="day"))


def test_pivot_is_a_check_too(tmp_path: Path) -> None:
    gate.validate(with_checks(make_product(tmp_path), wide="PIVOT orders ON id IN (1, 2) USING sum(amount)"))


def test_a_product_without_checks_opens_nothing(settings: Settings, tmp_path: Path) -> None:
    bare = make_product(tmp_path, columns={"orders": (("day", "DATE"),)})
    assert gate.run(settings, bare, {"orders": 1}) == ()


@pytest.mark.parametrize("folder", ["sql/flights", "tests/products/orders"])
def test_checks_of_our_products_can_run(folder: str) -> None:
    gate.validate(load_product(ROOT / folder))
