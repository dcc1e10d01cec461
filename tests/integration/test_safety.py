"""What Flink's own planner says of products: SQL that is accepted, with what is inferred, and SQL that is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from running import RunningStack

from jobs.check import check
from replay.submit import submit_env

pytestmark = pytest.mark.filterwarnings("ignore")  # PyFlink and Beam warn of much when they are imported

ROOT = Path(__file__).parents[2]
ORDERS, FLIGHTS = ROOT / "tests" / "products" / "orders", ROOT / "sql" / "flights"
HOURS = "FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ordered_at), INTERVAL '1' HOUR))"
BY_SHOP = "GROUP BY window_start, window_end, shop"


@dataclass(frozen=True)
class Changed:
    """A copy of orders with some files replaced, or with a text of one replaced by another."""

    files: dict[str, str] = field(default_factory=dict)
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def write(self, folder: Path, product: Path = ORDERS) -> Path:
        shutil.copytree(product, folder)
        for name, content in self.files.items():
            (folder / name).write_text(content)
        for name, (old, new) in self.texts.items():
            text = (folder / name).read_text()
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
            (folder / name).write_text(text.replace(old, new))
        return folder


def rows(sql: str, **files: str) -> Changed:
    return Changed({"order_rows.sql": sql, **files})


def hourly(sql: str, **files: str) -> Changed:
    return Changed({"hourly_orders.sql": sql, **files})


def topic(old: str, new: str) -> Changed:
    return Changed(texts={"product.yaml": (old, new)})


# What is inferred: kind, key, window column and size.
Inferred = tuple[str, list[str], tuple[str, str] | None]
AGGREGATE: Inferred = ("aggregate", ["shop", "w"], ("w", "1h"))
ACCEPTED: dict[str, tuple[Changed, str, Inferred]] = {
    "a tumbling window": (
        hourly(f"SELECT shop, window_start AS w, COUNT(*) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders",
        AGGREGATE,
    ),
    "hopping windows": (
        hourly(
            "SELECT shop, window_start AS w, window_end AS e, COUNT(*) AS n FROM TABLE(HOP(TABLE orders, "
            f"DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE, INTERVAL '1' HOUR)) {BY_SHOP}"
        ),
        "hourly_orders",
        ("aggregate", ["shop", "w", "e"], ("w", "1h")),
    ),
    "cumulating windows, of which only the end is shown": (
        hourly(
            "SELECT shop, window_end AS e, COUNT(*) AS n FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(ordered_at), "
            f"INTERVAL '10' MINUTE, INTERVAL '1' HOUR)) {BY_SHOP}"
        ),
        "hourly_orders",
        ("aggregate", ["shop", "e"], ("e", "0s")),
    ),
    "windows of days as dates": (
        hourly(
            "SELECT shop, CAST(window_start AS DATE) AS w, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE orders, "
            f"DESCRIPTOR(ordered_at), INTERVAL '1' DAY)) {BY_SHOP}"
        ),
        "hourly_orders",
        ("aggregate", ["shop", "w"], ("w", "1d")),
    ),
    "legacy windows": (
        hourly(
            "SELECT shop, TUMBLE_START(ordered_at, INTERVAL '10' MINUTE) AS w, COUNT(*) AS n FROM orders "
            "GROUP BY shop, TUMBLE(ordered_at, INTERVAL '10' MINUTE)"
        ),
        "hourly_orders",
        ("aggregate", ["shop", "w"], ("w", "10min")),
    ),
    "legacy hopping windows, where clocks are never set": (
        hourly(
            "SELECT shop, HOP_START(ordered_at, INTERVAL '10' MINUTE, INTERVAL '1' HOUR) AS w, COUNT(*) AS n "
            "FROM orders GROUP BY shop, HOP(ordered_at, INTERVAL '10' MINUTE, INTERVAL '1' HOUR)"
        ),
        "hourly_orders",
        AGGREGATE,
    ),
    "a window Top-N in a total order": (
        hourly(
            "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            f"window_end, shop ORDER BY cents DESC, log_partition, log_offset) AS n {HOURS}) WHERE n <= 3"
        ),
        "hourly_orders",
        ("aggregate", [], ("w", "1h")),
    ),
    "a Top-N of what a window counts": (
        hourly(
            "SELECT shop, w, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY w, e ORDER BY n DESC, shop) AS place "
            f"FROM (SELECT shop, window_start AS w, window_end AS e, COUNT(*) AS n {HOURS} {BY_SHOP})) WHERE place <= 3"
        ),
        "hourly_orders",
        AGGREGATE,
    ),
    "days of hours, which are no key": (
        hourly(f"SELECT shop, CAST(window_start AS DATE) AS d, COUNT(*) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders",
        ("aggregate", [], None),
    ),
    "a window join": (
        hourly(
            f"SELECT l.shop, l.order_id AS a, r.order_id AS b, l.window_start AS w FROM (SELECT * {HOURS}) l JOIN "
            f"(SELECT * {HOURS}) r ON l.shop = r.shop AND l.window_start = r.window_start AND "
            "l.window_end = r.window_end"
        ),
        "hourly_orders",
        ("aggregate", [], ("w", "1h")),
    ),
    "an interval join": (
        hourly(
            "SELECT l.shop, l.order_id AS a, r.order_id AS b FROM orders l JOIN orders r ON l.shop = r.shop AND "
            "l.ordered_at BETWEEN r.ordered_at - INTERVAL '1' HOUR AND r.ordered_at"
        ),
        "hourly_orders",
        ("aggregate", [], None),
    ),
    "a bounded OVER": (
        rows(
            "SELECT order_id, ordered_at, COUNT(*) OVER (PARTITION BY shop ORDER BY ordered_at RANGE BETWEEN INTERVAL "
            "'1' HOUR PRECEDING AND CURRENT ROW) AS n FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "each event once in all partitions": (
        topic("identity: [order_id]", "identity: [order_id], once: topic"),
        "order_rows",
        ("rows", [], None),
    ),
    "events as they come": (topic(", identity: [order_id]", ""), "order_rows", ("rows", [], None)),
    "a filter of its own": (
        topic("outputs: [order_rows, hourly_orders]", "outputs: {order_rows: {where: shop <> 'x'}, hourly_orders: {}}"),
        "order_rows",
        ("rows", [], None),
    ),
    "a dotted topic": (
        topic("orders: {time", "orders: {topic: pg.public.orders, time"),
        "order_rows",
        ("rows", [], None),
    ),
    "a computed column": (
        Changed(
            {"order_rows.sql": "SELECT order_id, vat FROM orders"},
            {"product.yaml": ("orders: {time", 'orders: {columns: {vat: "cents * 19 / 100"}, time')},
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "names that are words of time and chance": (
        rows("SELECT order_id, shop AS uuid, cents AS now, 'PROCTIME' AS proctime_ms, ordered_at AS rand FROM orders"),
        "order_rows",
        ("rows", [], None),
    ),
    "a cast that no record can fail": (
        rows("SELECT order_id, TRY_CAST(shop AS INT) AS n, CAST(cents AS STRING) AS t FROM orders"),
        "order_rows",
        ("rows", [], None),
    ),
    "numbers that are bounded first": (
        rows(
            "SELECT order_id, 100 / NULLIF(cents, 0) AS a, MOD(100, NULLIF(cents, 0)) AS b, cents % 7 AS c, "
            "CASE WHEN cents > 0 THEN 100 / cents END AS d, 1e0 / cents AS e, "
            "100 / NULLIF(CAST(cents AS DECIMAL(9, 2)), 0) AS i, "
            "CASE WHEN ABS(x) < 1e15 THEN CAST(x AS DECIMAL(18, 3)) END AS f, "
            "CASE WHEN x BETWEEN -1 AND 1e9 THEN ROUND(x, 2) END AS g, "
            "CAST(CAST(cents AS DOUBLE) / 100 AS DECIMAL(9, 2)) AS h "
            "FROM (SELECT *, TRY_CAST(shop AS DOUBLE) AS x FROM orders)"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "exact aggregates of numbers that are bounded first": (
        hourly(
            "SELECT shop, window_start AS w, SUM(cents) / COUNT(*) AS a, AVG(cents) AS b, "
            "SUM(CASE WHEN ABS(x) < 1e15 THEN CAST(x AS DECIMAL(18, 3)) END) AS c, "
            "MAX(CASE WHEN ABS(x) < 1e300 THEN x END) AS d "
            "FROM TABLE(TUMBLE((SELECT *, TRY_CAST(order_id AS DOUBLE) AS x FROM orders), DESCRIPTOR(ordered_at), "
            f"INTERVAL '1' HOUR)) {BY_SHOP}"
        ),
        "hourly_orders",
        AGGREGATE,
    ),
    "constants by a column": (
        rows("SELECT order_id, CASE shop WHEN 'a' THEN 1 WHEN 'b' THEN 2 END AS f FROM orders"),
        "order_rows",
        ("rows", [], None),
    ),
    "functions of a column": (
        rows(
            "SELECT order_id, SPLIT_INDEX(shop, ',', 0) AS a, REGEXP_EXTRACT(shop, '(.)', 1) AS b, "
            "JSON_VALUE(shop, '$.a') AS c FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "a comment as Flink reads it": (
        rows("SELECT order_id, shop // NOW()\nFROM orders"),
        "order_rows",
        ("rows", [], None),
    ),
    "a backslash as Flink reads it": (
        rows("SELECT order_id, '\\' AS b FROM orders -- '"),
        "order_rows",
        ("rows", [], None),
    ),
}
REFUSED: dict[str, tuple[Changed, str, int, str]] = {
    "a column that is not there": (
        rows("SELECT order_id,\n  shp FROM orders"),
        "order_rows.sql",
        2,
        "order_rows: Column 'shp' not found in any table",
    ),
    "a topic that is not there": (
        rows("SELECT order_id FROM ordrs"),
        "order_rows.sql",
        1,
        "order_rows: Object 'ordrs' not found",
    ),
    "the time of the run": (
        rows("SELECT order_id,\n CAST(NOW() AS STRING) AS t FROM orders"),
        "order_rows.sql",
        2,
        "NOW",
    ),
    "the same behind a backslash": (
        rows("SELECT '\\' AS a,\n CAST(NOW() AS STRING) AS b, '\\' AS c FROM orders"),
        "order_rows.sql",
        2,
        "NOW",
    ),
    "the same, quoted": (rows("SELECT order_id, CAST(`NOW`() AS STRING) AS t FROM orders"), "order_rows.sql", 1, "NOW"),
    "processing time": (
        rows("SELECT order_id, PROCTIME() AS t FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: column t is the time of the run",
    ),
    "chance": (rows("SELECT order_id, UUID() AS u FROM orders"), "order_rows.sql", 1, "UUID"),
    "the time of the run in a view": (
        rows(
            "SELECT * FROM v",
            **{
                "views.sql": "CREATE VIEW v AS\nSELECT order_id, CAST(CURRENT_DATE AS STRING) AS d, "
                "log_partition, log_offset FROM orders"
            },
        ),
        "views.sql",
        2,
        "CURRENT_DATE",
    ),
    "a view that nothing uses": (
        Changed({"views.sql": "CREATE VIEW v AS SELECT NOW() AS n FROM orders"}),
        "views.sql",
        1,
        "view v is used by nothing",
    ),
    "another statement in views": (
        Changed({"views.sql": "ALTER TABLE orders__log SET ('a' = 'b')"}),
        "views.sql",
        1,
        "ALTER TABLE ORDERS__LOG",
    ),
    "a function of one's own": (
        Changed({"views.sql": "CREATE TEMPORARY FUNCTION f AS 'a.b' LANGUAGE PYTHON"}),
        "views.sql",
        1,
        "CREATE TEMPORARY FUNCTION",
    ),
    "a jar": (Changed({"views.sql": "ADD JAR '/tmp/a.jar'"}), "views.sql", 1, "ADD JAR '/TMP/A.JAR'"),
    "a setting": (Changed({"views.sql": "SET 'a' = 'b'"}), "views.sql", 1, "SET 'A' ="),
    "an insert": (rows("INSERT INTO order_rows SELECT order_id FROM orders"), "order_rows.sql", 1, "INSERT"),
    "an insert by another word": (
        rows("EXECUTE INSERT INTO order_rows SELECT order_id FROM orders"),
        "order_rows.sql",
        1,
        "EXECUTE",
    ),
    "two statements": (rows("SELECT order_id FROM orders;\nSELECT 1"), "order_rows.sql", 2, "2 statements"),
    "a hint": (
        rows("SELECT order_id FROM orders\n/*+ OPTIONS('scan.startup.mode'='latest-offset') */"),
        "order_rows.sql",
        2,
        "a hint",
    ),
    "state with a time to live": (
        hourly(f"SELECT /*+ STATE_TTL('orders' = '1d') */ shop, window_start AS w, COUNT(*) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "a hint",
    ),
    "the topic's table with late records": (
        rows("SELECT order_id FROM orders__log"),
        "order_rows.sql",
        1,
        "orders__log",
    ),
    "a filter that the audit does not know": (
        rows("SELECT order_id FROM orders WHERE shop <> 'x'"),
        "order_rows.sql",
        1,
        "order_rows leaves records out, and the audit would miss them",
    ),
    "a column without a name": (
        hourly(f"SELECT shop, window_start AS w, COUNT(*) {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "hourly_orders: column 3 has no name",
    ),
    "names that differ by case": (
        rows("SELECT order_id, shop, cents AS Shop FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: columns shop and Shop",
    ),
    "a type that no table has": (
        rows("SELECT order_id, INTERVAL '1' DAY AS i FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: column i is INTERVAL SECOND(3) NOT NULL",
    ),
    "a reserved word": (
        rows("SELECT order_id,\n  cents AS order FROM orders"),
        "order_rows.sql",
        2,
        'order_rows: Encountered "order" at line 2, column 12.',
    ),
    "half of a window": (
        hourly(f"SELECT shop, window_start AS w, COUNT(*) AS n {HOURS}\nGROUP BY window_start, shop"),
        "hourly_orders.sql",
        2,
        "group-aggregate",
    ),
    "a group without a window": (
        hourly("SELECT shop, COUNT(*) AS n FROM orders\nGROUP BY shop"),
        "hourly_orders.sql",
        2,
        "group-aggregate",
    ),
    "distinct rows": (hourly("SELECT DISTINCT shop FROM orders"), "hourly_orders.sql", 1, "group-aggregate"),
    "a regular join": (
        hourly("SELECT l.shop, r.cents AS c FROM orders l\nJOIN orders r ON l.shop = r.shop"),
        "hourly_orders.sql",
        2,
        "join",
    ),
    "first rows": (hourly("SELECT shop FROM orders\nLIMIT 5"), "hourly_orders.sql", 2, "limit"),
    "rows in an order": (hourly("SELECT shop FROM orders\nORDER BY cents"), "hourly_orders.sql", 2, "ORDER BY"),
    "a session window": (
        hourly(
            "SELECT shop, window_start AS w, COUNT(*) AS n FROM TABLE(SESSION(TABLE orders PARTITION BY shop, "
            f"DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE)) {BY_SHOP}"
        ),
        "hourly_orders.sql",
        0,
        "a session window",
    ),
    "legacy hopping windows, where clocks are set": (
        Changed(
            {
                "hourly_orders.sql": "SELECT shop, COUNT(*) AS n FROM orders\n"
                "GROUP BY shop, HOP(ordered_at, INTERVAL '10' MINUTE, INTERVAL '1' HOUR)"
            },
            {"product.yaml": ("switch: auto", "time_zone: America/New_York")},
        ),
        "hourly_orders.sql",
        2,
        "GROUP BY HOP(…), which counts wrongly where clocks are set",
    ),
    "a cast that a record can fail": (
        rows("SELECT order_id,\n  CAST(shop AS INT) AS n FROM orders"),
        "order_rows.sql",
        2,
        "CAST of text, which fails the job where the text is no such value",
    ),
    "an unbounded OVER": (
        rows(
            "SELECT order_id, COUNT(*)\nOVER (PARTITION BY shop ORDER BY ordered_at RANGE BETWEEN UNBOUNDED PRECEDING "
            "AND CURRENT ROW) AS n FROM orders"
        ),
        "order_rows.sql",
        2,
        "OVER without a lower bound",
    ),
    "the first value": (
        hourly(f"SELECT shop, window_start AS w, FIRST_VALUE(cents) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "FIRST_VALUE, which depends on the order of arrival",
    ),
    "a list": (
        hourly(f"SELECT shop, window_start AS w, LISTAGG(order_id) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "LISTAGG, which depends on the order of arrival",
    ),
    "a greatest number that may be NaN": (
        hourly(f"SELECT shop, window_start AS w, MAX(TRY_CAST(order_id AS DOUBLE)) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "MAX of DOUBLE or FLOAT, where a NaN stays that comes first",
    ),
    "a decimal of what may be NaN": (
        rows("SELECT order_id,\n CAST(TRY_CAST(shop AS DOUBLE) AS DECIMAL(9, 2)) AS d FROM orders"),
        "order_rows.sql",
        2,
        "CAST of DOUBLE or FLOAT to DECIMAL, which fails the job where it is NaN or infinite",
    ),
    "what may be NaN, rounded": (
        rows("SELECT order_id,\n ROUND(TRY_CAST(shop AS DOUBLE), 2) AS d FROM orders"),
        "order_rows.sql",
        2,
        "ROUND of DOUBLE or FLOAT, which fails the job where it is NaN or infinite",
    ),
    "a division by what may be zero": (
        rows("SELECT order_id,\n 100 / cents AS d FROM orders"),
        "order_rows.sql",
        2,
        "/ by what may be zero, which fails the job",
    ),
    "a division by a count that may be zero": (
        hourly(
            "SELECT shop, window_start AS w, SUM(cents) / COUNT(*) FILTER (WHERE cents > 0) AS n "
            f"{HOURS} {BY_SHOP}"
        ),
        "hourly_orders.sql",
        1,
        "/ by what may be zero, which fails the job",
    ),
    "a rest of what may be zero": (
        rows("SELECT order_id, 100 % cents AS d FROM orders"),
        "order_rows.sql",
        1,
        "MOD by what may be zero, which fails the job",
    ),
    "a function called like one of Flink's": (
        Changed(
            texts={
                "product.yaml": (
                    "name: orders\n",
                    "name: orders\nfunctions: {If: {python: 'math:fsum', returns: DOUBLE, deterministic: true}}\n",
                )
            }
        ),
        "product.yaml",
        0,
        "If",
    ),
    "a sum that wraps around": (
        hourly(f"SELECT shop, window_start AS w, SUM(CAST(cents AS INT)) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "SUM of INT, which wraps around where it is too large",
    ),
    "a side table of constants": (
        rows("SELECT order_id, f FROM orders\nJOIN (VALUES ('a', 1), ('b', 2)) AS v(s, f) ON shop = s"),
        "order_rows.sql",
        2,
        "a join with VALUES",
    ),
    "a sum that rounds": (
        hourly(f"SELECT shop, window_start AS w, SUM(CAST(cents AS DOUBLE)) AS n {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "SUM of DOUBLE or FLOAT, which rounds by the order of arrival",
    ),
    "a Top-N with ties": (
        hourly(
            "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            f"window_end, shop ORDER BY cents DESC) AS n {HOURS}) WHERE n <= 3"
        ),
        "hourly_orders.sql",
        1,
        "a Top-N whose rows may be equal in its order",
    ),
    "the first of a window by time alone": (
        hourly(
            "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            f"window_end, shop ORDER BY ordered_at) AS n {HOURS}) WHERE n = 1"
        ),
        "hourly_orders.sql",
        0,
        "the first or the last row of a window by time alone",
    ),
    "a place in the log of one's own": (
        rows("SELECT order_id, 0 AS log_partition, cents AS log_offset FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: log_partition and log_offset are not those of a record of orders, each once",
    ),
    "a record twice": (
        rows("SELECT order_id FROM orders UNION ALL SELECT order_id FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: log_partition and log_offset are not those of a record of orders, each once",
    ),
    "text inside of a row as a number": (
        rows("SELECT CAST(ROW(shop, cents) AS ROW<a INT, b INT>) AS r FROM orders"),
        "order_rows.sql",
        1,
        "CAST of text, which fails the job where the text is no such value",
    ),
    "a format from a record": (
        rows("SELECT DATE_FORMAT(ordered_at, shop) AS d FROM orders"),
        "order_rows.sql",
        1,
        "DATE_FORMAT with a pattern or name from a record",
    ),
    "text that is a number": (
        rows("SELECT order_id FROM orders WHERE shop = 5"),
        "order_rows.sql",
        1,
        "= of text and a number, which Flink cannot run",
    ),
    "an identity that is not there": (topic("[order_id]", "[orderid]"), "product.yaml", 0, "orderid"),
    "a time that is none": (topic("time: ordered_at", "time: shop"), "product.yaml", 0, "shop, a STRING"),
    "an expression that ends its column": (
        topic("orders: {time", 'orders: {columns: {a: "cents, WATERMARK FOR x AS x"}, time'),
        "product.yaml",
        0,
        "cents, WATERMARK FOR x AS x",
    ),
    "a setting that decides rows": (
        topic("switch: auto", "flink: {table.exec.state.ttl: 1 d}"),
        "product.yaml",
        0,
        "flink setting table.exec.state.ttl",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def planner(stack: RunningStack) -> Iterator[None]:
    """Flink's planner in this process, with the stack's connectors; its JVM starts at the first plan and stays."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in submit_env(stack.settings).items():
            if name != "PYTHONPATH":
                patch.setenv(name, value)
        yield


Copy = Callable[[Changed], Path]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of orders, changed."""
    return lambda changed: changed.write(tmp_path / "orders")


def resolved(folder: Path) -> dict[str, Any]:
    """What is known of the outputs; AssertionError with the problems."""
    answer = check(folder)
    assert answer["ok"], answer["problems"]
    outputs: dict[str, Any] = answer["resolved"]["outputs"]
    return outputs


@pytest.mark.parametrize(("changed", "output", "inferred"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_with_what_is_inferred(copy: Copy, changed: Changed, output: str, inferred: Inferred) -> None:
    found = resolved(copy(changed))[output]
    window = (found["window"]["column"], found["window"]["size"]) if found["window"] else None
    assert (found["kind"], found["key"], window) == inferred


@pytest.mark.parametrize(("changed", "file", "line", "construct"), REFUSED.values(), ids=REFUSED)
def test_refused_with_file_and_line(copy: Copy, changed: Changed, file: str, line: int, construct: str) -> None:
    folder = copy(changed)
    answer = check(folder)
    found = [(Path(p["file"]).name, p["line"], p["construct"]) for p in answer["problems"]]
    assert (file, line, construct) in [(f, number, c.partition("  in: ")[0]) for f, number, c in found], found
    assert all(p["instead"] for p in answer["problems"]) and answer["resolved"] is None


@pytest.mark.parametrize("name", ["flights", "orders"])
def test_what_tests_without_flink_know_of_a_product_is_what_the_planner_says(name: str) -> None:
    import json

    said = json.loads((ROOT / "tests" / "resolved" / f"{name}.json").read_text())
    answer = check({"flights": FLIGHTS, "orders": ORDERS}[name])
    assert answer["problems"] == []
    assert answer["resolved"] == said


def test_a_row_table_gets_its_place_in_the_log_by_itself(copy: Copy) -> None:
    columns = [c["name"] for c in resolved(copy(rows("SELECT order_id FROM orders")))["order_rows"]["columns"]]
    assert columns == ["order_id", "log_partition", "log_offset"]


def test_a_table_of_two_topics_gets_the_topic_too(copy: Copy) -> None:
    union = "SELECT order_id FROM orders UNION ALL SELECT order_id FROM refunds"
    folder = copy(
        Changed(
            {"order_rows.sql": union},
            {"product.yaml": ("topics:\n", "topics:\n  refunds: {time: ordered_at, allowed_lateness: 1h}\n")},
        )
    )
    shutil.copy(folder / "schemas" / "orders.avsc", folder / "schemas" / "refunds.avsc")
    found = resolved(folder)["order_rows"]
    assert (found["kind"], sorted(found["of"])) == ("rows", ["orders", "refunds"])
    assert [c["name"] for c in found["columns"]] == ["order_id", "log_topic", "log_partition", "log_offset"]


def test_did_you_mean(copy: Copy) -> None:
    (problem,) = check(copy(rows("SELECT order_id, shp FROM orders")))["problems"]
    assert problem["instead"] == "did you mean shop?"
