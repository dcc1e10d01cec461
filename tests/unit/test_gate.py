"""The gate on real Iceberg tables: exactly the snapshots it is given, every kind of check, and what blocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from jobs.product.settings import ProductSettings
from replay.checks import gate, rejected
from replay.core.model import Check, Tables
from replay.errors import ConfigError
from replay.iceberg import lake, table_changes
from replay.settings import Settings
from tests.unit import products
from tests.unit.lake_tables import make_product, make_settings, sink, sink_all

DAY = date(2013, 1, 1)
ORDERS: list[dict[str, Any]] = [
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
    return {
        **sink_all(catalog, make_product(settings.home), "r1-a1", 1),
        "orders": sink(catalog, "orders", "r1-a1", 1, ORDERS),
    }


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """The product of these tables, in a folder that a test may write to."""
    return make_product(tmp_path)


def with_checks(product: Product, **files: str) -> Product:
    (product.folder / "checks").mkdir()
    for name, sql in files.items():
        (product.folder / "checks" / f"{name}.sql").write_text(sql)
    return product


def with_rule(
    product: Product,
    rule: dict[str, Any],
    *,
    column: str = "",
    table: str = "orders",
    warnings: tuple[str, ...] = (),
) -> Product:
    schema = (
        {"name": table, "properties": [{"name": column, "quality": [rule]}]}
        if column
        else {"name": table, "quality": [rule]}
    )
    return product.model_copy(
        update={
            "contract": {"schema": [schema]},
            "settings": product.settings.model_copy(update={"warnings": warnings}),
        }
    )


def run(settings: Settings, product: Product, snapshots: dict[str, int]) -> tuple[Check, ...]:
    """All checks but the default ones."""
    return gate.run(settings, Tables(product, snapshots, {}))[len(rejected.NAMES) :]


def found(settings: Settings, product: Product, snapshots: dict[str, int]) -> Check:
    """The last check's result: required columns come first."""
    return run(settings, product, snapshots)[-1]


def test_checks_select_offending_rows_of_exactly_these_snapshots(
    settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]
) -> None:
    with_checks(product, positive="-- amounts\nSELECT id FROM orders WHERE amount < 0;\n")
    later = sink(catalog, "orders", "r1-a1", 2, [{"id": None, "amount": 1.0}] * 7)
    assert run(settings, product, snapshots) == (
        Check("orders: required columns", True, 0, "0 offending rows"),
        Check("checks/positive.sql", True, 1, "1 offending row", ({"id": 2},)),
    )
    results = run(settings, product, {**snapshots, "orders": later})
    assert [(r.offending, len(r.sample)) for r in results] == [(7, 5), (1, 1)]


@pytest.mark.parametrize(
    ("column", "rule", "expected", "sample"),
    [
        pytest.param("", {"metric": "rowCount", "mustBe": 4}, 0, 0, id="rowCount holds"),
        pytest.param("", {"metric": "rowCount", "mustBeGreaterThan": 4}, 1, 1, id="rowCount"),
        pytest.param("amount", {"metric": "nullValues", "mustBe": 0}, 1, 1, id="nullValues"),
        pytest.param(
            "amount",
            {"metric": "nullValues", "mustBeLessThan": 30, "unit": "percent"},
            0,
            0,
            id="25 percent",
        ),
        pytest.param(
            "amount",
            {"metric": "nullValues", "mustBeLessThan": 25, "unit": "percent"},
            1,
            1,
            id="not below 25",
        ),
        pytest.param(
            "amount",
            {
                "metric": "missingValues",
                "arguments": {"missingValues": [None, 0.5, -3]},
                "mustBe": 0,
            },
            3,
            3,
            id="missingValues",
        ),
        pytest.param(
            "id",
            {"metric": "invalidValues", "arguments": {"validValues": [1, 3]}, "mustBe": 0},
            3,
            3,
            id="invalidValues: numbers",
        ),
        pytest.param(
            "id",
            {"metric": "invalidValues", "arguments": {"validValues": [1, "two"]}, "mustBe": 0},
            3,
            3,
            id="invalidValues: text for a number",
        ),
        pytest.param(
            "day",
            {"metric": "invalidValues", "arguments": {"validValues": [DAY]}, "mustBe": 0},
            0,
            0,
            id="invalidValues: a date; NULL is none",
        ),
        pytest.param(
            "day",
            {"metric": "invalidValues", "arguments": {"pattern": "^2014-"}, "mustBeLessThan": 3},
            3,
            3,
            id="invalidValues: pattern",
        ),
        pytest.param(
            "id",
            {"metric": "duplicateValues", "mustBeLessOrEqualTo": 2},
            0,
            0,
            id="duplicateValues holds",
        ),
        pytest.param(
            "id",
            {"metric": "duplicateValues", "mustBe": 0},
            2,
            1,
            id="duplicateValues: all but the first",
        ),
        pytest.param(
            "",
            {"metric": "duplicateValues", "arguments": {"properties": ["id", "day"]}, "mustBe": 0},
            1,
            1,
            id="duplicateValues: a key with NULL repeats none",
        ),
        pytest.param(
            "",
            {
                "metric": "duplicateValues",
                "arguments": {"properties": ["log_partition", "log_offset"]},
                "mustBe": 0,
            },
            0,
            0,
            id="duplicateValues: a key",
        ),
        pytest.param(
            "amount",
            {"type": "sql", "query": "SELECT sum({property}) FROM {object}", "mustBe": -0.5},
            0,
            0,
            id="sql holds",
        ),
        pytest.param(
            "amount",
            {
                "type": "sql",
                "query": "SELECT min({property}) FROM {object}",
                "mustBeGreaterThan": 0,
            },
            1,
            1,
            id="sql",
        ),
        pytest.param(
            "",
            {"type": "sql", "query": "SELECT max(id) < 9 FROM orders", "mustBe": True},
            0,
            0,
            id="boolean",
        ),
        pytest.param(
            "",
            {"type": "sql", "query": "SELECT max(id) FROM rejects, orders", "mustBe": 0},
            1,
            1,
            id="NULL",
        ),
    ],
)
def test_quality_rules(
    settings: Settings,
    product: Product,
    snapshots: dict[str, int],
    column: str,
    rule: dict[str, Any],
    expected: int,
    sample: int,
) -> None:
    result = found(settings, with_rule(product, rule, column=column), snapshots)
    assert (result.offending, len(result.sample)) == (expected, sample), result


def test_a_result_says_what_was_found_and_shows_rows(
    settings: Settings, product: Product, snapshots: dict[str, int]
) -> None:
    rule = {
        "metric": "duplicateValues",
        "arguments": {"properties": ["id", "day"]},
        "mustBe": 0,
        "name": "once",
        "description": "an order is delivered once",
    }
    assert found(settings, with_rule(product, rule), snapshots) == Check(
        "once",
        True,
        1,
        "duplicateValues of orders is 1 row, and must be 0: an order is delivered once",
        ({"id": 2, "day": "2013-01-01", "n": 2},),
    )


@pytest.mark.parametrize(
    ("severity", "warnings", "blocking"),
    [
        pytest.param("error", (), True, id="by default"),
        pytest.param("warning", (), False, id="the contract says so"),
        pytest.param("error", ("rows",), False, id="product.yaml says so"),
    ],
)
def test_a_warning_does_not_block(
    settings: Settings,
    product: Product,
    snapshots: dict[str, int],
    severity: str,
    warnings: tuple[str, ...],
    blocking: bool,
) -> None:
    rule = {"metric": "rowCount", "mustBe": 0, "name": "rows", "severity": severity}
    result = found(settings, with_rule(product, rule, warnings=warnings), snapshots)
    assert (result.blocking, result.offending) == (blocking, 1)


def test_a_file_may_be_a_warning(
    settings: Settings, product: Product, snapshots: dict[str, int]
) -> None:
    with_checks(product, odd="SELECT id FROM orders WHERE id = 1")
    warned = product.model_copy(
        update={"settings": product.settings.model_copy(update={"warnings": ("checks/odd.sql",)})}
    )
    assert [(c.name, c.blocking) for c in run(settings, warned, snapshots)] == [
        ("orders: required columns", True),
        ("checks/odd.sql", False),
    ]


def test_a_warning_of_no_check(product: Product) -> None:
    with_checks(product, odd="SELECT 1")
    warned = product.model_copy(
        update={"settings": product.settings.model_copy(update={"warnings": ("od",)})}
    )
    with pytest.raises(ConfigError) as e:
        gate.checks(warned)
    assert (e.value.expected, e.value.found) == (
        "names of checks: no reference record rejected, few records rejected, orders: required columns, checks/odd.sql",
        "od",
    )


def test_samples_are_values_of_json(
    settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]
) -> None:
    reject = {"log_topic": "orders", "payload": b"\x00" * 500, "reason": "late"}
    snapshots = {**snapshots, "rejects": sink(catalog, "rejects", "r1-a1", 2, [reject])}
    with_checks(
        product,
        any="SELECT payload, DATE '2013-01-01' AS day, 1.5::DECIMAL(9, 1) AS n, reason FROM rejects",
    )
    result = found(settings, product, snapshots)
    assert result.sample == (
        {"payload": "00" * 100, "day": "2013-01-01", "n": "1.5", "reason": "late"},
    )
    assert json.loads(json.dumps(asdict(result)))["offending"] == 1


WRONG = [
    pytest.param(
        "SELECT colour FROM orders",
        "orders(id, day, amount, log_partition, log_offset)",
        id="no column",
    ),
    pytest.param(
        "SELECT 1 FROM ordres",
        "orders(id, day, amount, log_partition, log_offset); totals(day, amount); "
        "rejects(log_topic, log_partition, log_offset, appended, reason, payload)",
        id="no such table",
    ),
    pytest.param("SELEC 1", "a SELECT in DuckDB's SQL", id="no SQL"),
    pytest.param(
        "SELECT * FROM read_csv('/etc/passwd')",
        "table functions that read nothing but their arguments: "
        "generate_series, generate_subscripts, json_each, json_tree, range, regexp_split_to_table, repeat, "
        "repeat_row, unnest",
        id="another file",
    ),
    pytest.param("DELETE FROM orders", "one SELECT", id="no SELECT"),
    pytest.param("-- nothing", "one SELECT", id="empty"),
]


@pytest.mark.parametrize(("sql", "expected"), WRONG)
def test_a_check_that_cannot_run_is_known_before_there_are_tables(
    tmp_path: Path, sql: str, expected: str
) -> None:
    product = with_checks(make_product(tmp_path), wrong=sql)
    with pytest.raises(ConfigError) as e:
        gate.validate(product)
    file = tmp_path / "checks" / "wrong.sql"
    assert (e.value.message, e.value.expected) == (
        "the check 'checks/wrong.sql' cannot run",
        expected,
    )
    assert e.value.next == f"fix {file}, then: kappa check {tmp_path}"


@pytest.mark.parametrize("sql", ["SELECT colour FROM orders", "DELETE FROM orders"])
def test_a_check_that_cannot_run_stops_the_gate(
    settings: Settings, product: Product, snapshots: dict[str, int], sql: str
) -> None:
    with_checks(product, wrong=sql)
    with pytest.raises(ConfigError, match=r"^the check 'checks/wrong\.sql' cannot run"):
        run(settings, product, snapshots)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(
            {"type": "sql", "query": "SELECT id, amount FROM orders"},
            "0 rows of 2 columns",
            id="many",
        ),
        pytest.param(
            {"type": "sql", "query": "SELECT 1, 2"}, "1 rows of 2 columns", id="two columns"
        ),
        pytest.param(
            {"type": "sql", "query": "SELECT * FROM range(3)"},
            "several rows of 1 columns",
            id="rows",
        ),
    ],
)
def test_a_rule_gives_one_value(tmp_path: Path, rule: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as e:
        gate.validate(with_rule(make_product(tmp_path), {**rule, "mustBe": 1}))
    assert (e.value.expected, e.value.found) == (
        "a query that gives one row of one value",
        expected,
    )


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    rule = {"metric": "invalidValues", "arguments": {"pattern": "["}, "mustBe": 0}
    with pytest.raises(ConfigError, match=r"the check 'orders\.day: invalidValues' cannot run"):
        gate.validate(with_rule(make_product(tmp_path), rule, column="day"))


def test_pivot_is_a_check_too(tmp_path: Path) -> None:
    gate.validate(
        with_checks(make_product(tmp_path), wide="PIVOT orders ON id IN (1, 2) USING sum(amount)")
    )


def test_a_product_without_checks_opens_nothing(settings: Settings, tmp_path: Path) -> None:
    bare = make_product(tmp_path, columns={"orders": (("day", "DATE"),)})
    assert gate.run(settings, Tables(bare, {"orders": 1}, {})) == ()


@pytest.mark.parametrize("load", [products.flights, products.orders])
def test_checks_of_our_products_can_run(load: Callable[[], Product]) -> None:
    gate.validate(load())


# What may be rejected

REFERENCE, SHARE = rejected.NAMES
COVERED = {"orders": {0: 1_000, 1: 1_000}, "shops": {0: 100}, "colours": {0: 3}}


def rejects(
    topic: str,
    count: int,
    reason: str = "undecodable: not Avro",
    *,
    partition: int = 0,
    first: int = 0,
) -> list[dict[str, Any]]:
    return [
        {"log_topic": topic, "log_partition": partition, "log_offset": first + i, "reason": reason}
        for i in range(count)
    ]


def defaults(
    settings: Settings,
    catalog: Catalog,
    product: Product,
    snapshots: dict[str, int],
    rows: list[dict[str, Any]],
    before: list[dict[str, Any]] | None = None,
    covered: dict[str, dict[int, int]] = COVERED,
    **fields: Any,
) -> dict[str, Check]:
    """The default checks on a product with just these rejects, readers seeing another attempt with those."""

    def tables(some: list[dict[str, Any]], name: str) -> Tables:
        lake.create_branch(catalog, product, name)
        return Tables(
            product, {**snapshots, "rejects": sink(catalog, "rejects", name, 1, some)}, covered
        )

    branch = f"d{len(lake.current_metadata(catalog, product)['rejects'].snapshots)}"
    product = product.model_copy(update={"settings": product.settings.model_copy(update=fields)})
    shown = tables(before, f"{branch}-before") if before is not None else None
    return {c.name: c for c in gate.run(settings, tables(rows, branch), shown)}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            rejects("colours", 3),
            "no version of colours could be decoded: colours: 3 of 3 records rejected (100 %): 3 undecodable, "
            "such as 'undecodable: not Avro'; compare schemas/colours.avsc with what the producer writes",
            id="all",
        ),
        pytest.param(
            rejects("colours", 1, "ahead: day is 2099-01-01"),
            "colours: 1 of 3 records rejected (33.3 %): 1 ahead, such as 'ahead: day is 2099-01-01'; fix the "
            "producer's clock, or raise max_ahead of colours",
            id="one",
        ),
        pytest.param(rejects("colours", 2, first=3), "", id="behind what the release reads"),
        pytest.param(rejects("orders", 2), "", id="of events"),
    ],
)
def test_no_reference_record_is_rejected(
    settings: Settings,
    catalog: Catalog,
    product: Product,
    snapshots: dict[str, int],
    rows: list[dict[str, Any]],
    message: str,
) -> None:
    check = defaults(settings, catalog, product, snapshots, rows)[REFERENCE]
    assert (check.message, bool(check.offending), check.blocking) == (
        message or "0 rejected records of reference topics",
        bool(message),
        True,
    )


@pytest.mark.parametrize(
    ("rows", "before", "fields", "why"),
    [
        pytest.param([], None, {}, None, id="none"),
        pytest.param(rejects("orders", 20), None, {}, None, id="just the limit"),
        pytest.param(rejects("orders", 21), None, {}, "max_rejects is 1%", id="beyond the limit"),
        pytest.param(
            rejects("orders", 21, "late: 2 h"),
            None,
            {"max_rejects": "1.5%"},
            None,
            id="a limit of its own",
        ),
        pytest.param(
            rejects("orders", 11),
            None,
            {"max_rejects": "0%"},
            "max_rejects is 0%",
            id="nothing at all",
        ),
        pytest.param(
            rejects("shops", 11),
            None,
            {},
            "max_rejects is 1%",
            id="a small topic beside a large one",
        ),
        pytest.param(
            [*rejects("orders", 20), *rejects("orders", 20)],
            None,
            {},
            None,
            id="one record, two rows",
        ),
        pytest.param(
            [*rejects("orders", 20), *rejects("orders", 9, first=1_000)],
            None,
            {},
            None,
            id="not covered yet",
        ),
        pytest.param(
            rejects("orders", 20), rejects("orders", 2), {}, None, id="ten times the active"
        ),
        pytest.param(
            rejects("orders", 20),
            rejects("orders", 1),
            {},
            "more than ten times what readers see now leaves out, 1 of 2,000",
            id="more than that",
        ),
        pytest.param(
            rejects("orders", 11),
            [],
            {},
            "more than ten times what readers see now leaves out, 0 of 2,000",
            id="what the active release rejects nothing of",
        ),
    ],
)
def test_the_share_of_rejected_records_is_limited(
    settings: Settings,
    catalog: Catalog,
    product: Product,
    snapshots: dict[str, int],
    rows: list[dict[str, Any]],
    before: list[dict[str, Any]] | None,
    fields: dict[str, Any],
    why: str | None,
) -> None:
    check = defaults(settings, catalog, product, snapshots, rows, before, **fields)[SHARE]
    assert bool(check.offending) is (why is not None), check.message
    assert why is None or f"; {why}: " in check.message


def test_few_records_beyond_the_limit_are_a_warning(
    settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]
) -> None:
    check = defaults(settings, catalog, product, snapshots, rejects("shops", 10))[SHARE]
    assert (check.offending, check.blocking) == (10, False)
    assert defaults(settings, catalog, product, snapshots, rejects("shops", 11))[SHARE].blocking


def test_what_was_rejected_is_told_by_class_and_what_to_do_fits_the_most_frequent(
    settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]
) -> None:
    rows = [
        *rejects("orders", 30, "late: day is 2 h before the log's clock"),
        *rejects("orders", 5, partition=1),
    ]
    check = defaults(settings, catalog, product, snapshots, rows)[SHARE]
    assert check.message == (
        "orders: 35 of 2,000 records rejected (1.75 %): 30 late, 5 undecodable, such as 'late: day is 2 h before the "
        "log's clock'; max_rejects is 1%: raise allowed_lateness of placed, or have the producer send sooner, or raise "
        "max_rejects in product.yaml"
    )
    assert check.sample == (
        {"topic": "orders", "reason": "late", "records": 30},
        {"topic": "orders", "reason": "undecodable", "records": 5},
    )
    warned = defaults(settings, catalog, product, snapshots, rows, warnings=(SHARE,))[SHARE]
    assert (warned.offending, warned.blocking) == (35, False)


def test_the_active_release_is_judged_at_its_own_position(
    settings: Settings, catalog: Catalog, product: Product, snapshots: dict[str, int]
) -> None:
    """Readers' tables hold rejects of later records too: 2 of 100 are what they cover, and not 20 of 100."""
    before = [*rejects("orders", 2), *rejects("orders", 18, first=500)]
    lake.create_branch(catalog, product, "own-position")
    shown = Tables(
        product,
        {**snapshots, "rejects": sink(catalog, "rejects", "own-position", 1, before)},
        {"orders": {0: 100, 1: 0}},
    )
    assert rejected_of(settings, shown) == {"orders": (2, 100), "shops": (0, 0), "colours": (0, 0)}


def rejected_of(settings: Settings, shown: Tables) -> dict[str, tuple[int, int]]:
    return {r.topic: (r.count, r.records) for r in gate._rejected(settings, shown)}


@pytest.mark.parametrize("value", ["1", "-1%", "101%", "few", ""])
def test_a_limit_of_rejects_is_a_share(value: str) -> None:
    with pytest.raises(ValidationError, match="a share such as '1%'"):
        ProductSettings.model_validate(
            {
                "name": "x",
                "topics": {"t": {"role": "reference"}},
                "outputs": {},
                "max_rejects": value,
            }
        )
