"""What Flink's own planner says of products: SQL that is accepted, with what is inferred, and SQL that is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.check import check
from replay.flink.submit import planner_env
from tests.integration.running import RunningStack
from tests.safety_examples import (
    BY_SHOP,
    EXAMPLES,
    HOURS,
    ORDERS,
    Changed,
    Example,
    hourly,
    keyed,
    rows,
    topic,
)

# PyFlink and Beam warn of much when they are imported
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
FLIGHTS = ROOT / "sql" / "flights"


PATTERN = (
    "SELECT * FROM orders MATCH_RECOGNIZE (PARTITION BY shop ORDER BY ordered_at, log_partition, log_offset MEASURES "
    "A.cents AS a, LAST(B.cents) AS b, COUNT(B.cents) AS n, LAST(C.ordered_at) AS t ONE ROW PER MATCH AFTER "
    "MATCH SKIP PAST LAST ROW PATTERN (A B+ C) WITHIN INTERVAL '10' MINUTE DEFINE B AS B.cents > A.cents, "
    "C AS C.cents < A.cents) AS m"
)

HOURS_VIEW = (
    "CREATE VIEW h AS SELECT shop, window_start AS w, window_time AS wt, COUNT(*) AS n "
    f"{HOURS} GROUP BY window_start, window_end, window_time, shop;"
)
OF_DAY = "(SELECT shop, n, w, wt, {} FROM TABLE(TUMBLE(TABLE h, DESCRIPTOR(wt), INTERVAL '1' DAY)))"


def best_hours(order: str) -> Changed:
    """Of each day, the hours of a shop that come first in an order."""
    hours = OF_DAY.format("window_start, window_end, window_start AS d")
    return Changed(
        {
            "views.sql": HOURS_VIEW,
            "hourly_orders.sql": "SELECT shop, n, w, d FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            f"window_end, shop ORDER BY {order}) AS place FROM {hours}) WHERE place <= 3",
        }
    )


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
    "sessions": (
        hourly(
            "SELECT shop, window_start AS w, window_end AS e, COUNT(*) AS n FROM TABLE(SESSION(TABLE orders PARTITION "
            f"BY shop, DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE)) {BY_SHOP}"
        ),
        "hourly_orders",
        ("aggregate", ["shop", "w", "e"], ("e", "0s")),
    ),
    "legacy sessions": (
        hourly(
            "SELECT shop, SESSION_END(ordered_at, INTERVAL '10' MINUTE) AS e, COUNT(*) AS n FROM orders "
            "GROUP BY shop, SESSION(ordered_at, INTERVAL '10' MINUTE)"
        ),
        "hourly_orders",
        ("aggregate", ["shop", "e"], ("e", "0s")),
    ),
    "the rows of sessions": (
        hourly(
            "SELECT shop, order_id, window_end AS e FROM TABLE(SESSION(TABLE orders PARTITION BY shop, "
            "DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE))"
        ),
        "hourly_orders",
        ("aggregate", [], ("e", "0s")),
    ),
    "rows before, of a key in one partition": (
        keyed(
            "SELECT order_id, SUM(cents) OVER (PARTITION BY shop ORDER BY ordered_at ROWS BETWEEN 3 PRECEDING AND "
            "CURRENT ROW) AS n FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "all rows before, numbered in the order of the log": (
        keyed(
            "SELECT order_id, ROW_NUMBER() OVER (PARTITION BY shop ORDER BY ordered_at, log_partition, log_offset) "
            "AS n FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "the row before, in the order of the log": (
        keyed(
            "SELECT order_id, LAG(cents) OVER (PARTITION BY shop ORDER BY ordered_at, log_partition, log_offset) AS n "
            "FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "the row before, of a key in one partition": (
        keyed(
            "SELECT order_id, LAG(cents, 2) OVER (PARTITION BY shop ORDER BY ordered_at) AS n FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "the window before": (
        hourly(
            "SELECT shop, w, n, LAG(n) OVER (PARTITION BY shop ORDER BY t) AS before FROM (SELECT shop, window_start "
            f"AS w, window_time AS t, COUNT(*) AS n {HOURS} GROUP BY window_start, window_end, window_time, shop)"
        ),
        "hourly_orders",
        AGGREGATE,
    ),
    "a pattern in a total order": (hourly(PATTERN), "hourly_orders", ("aggregate", [], None)),
    "the time of a pattern of three rows": (
        hourly(
            PATTERN.replace("LAST(C.ordered_at)", "MATCH_ROWTIME(ordered_at)").replace("B+", "B{1}")
        ),
        "hourly_orders",
        ("aggregate", [], None),
    ),
    "a pattern in the order of time, of a key in one partition": (
        keyed(PATTERN.replace(", log_partition, log_offset", ""), "hourly_orders.sql"),
        "hourly_orders",
        ("aggregate", [], None),
    ),
    "parts of a text": (
        hourly("SELECT order_id, part FROM orders CROSS JOIN UNNEST(SPLIT(shop, ',')) AS t (part)"),
        "hourly_orders",
        ("aggregate", [], None),
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
    "a day's hours, of which no two are equal": (
        best_hours("n DESC, w"),
        "hourly_orders",
        ("aggregate", [], ("w", "1h")),
    ),
    "decimals with as many digits as there may be": (
        rows(
            "SELECT order_id, CAST(COALESCE(cents, 0) AS DECIMAL(21, 2)) AS a, CAST(cents AS DECIMAL(3, 0)) AS b, "
            "TRY_CAST(COALESCE(cents, 0) AS DECIMAL(3, 0)) AS c, CASE WHEN ABS(COALESCE(cents, 0)) < 1000 THEN "
            "CAST(COALESCE(cents, 0) AS DECIMAL(3, 0)) END AS d, COALESCE(cents, 0) / 100.0 AS e FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "the mean of decimals": (
        hourly(
            "SELECT shop, window_start AS w, AVG(CAST(COALESCE(cents, 0) AS DECIMAL(21, 2))) AS a, "
            f"SUM(CAST(COALESCE(cents, 0) AS DECIMAL(21, 2))) / COUNT(*) AS b {HOURS} {BY_SHOP}"
        ),
        "hourly_orders",
        AGGREGATE,
    ),
    "how many of some": (
        hourly(
            f"SELECT shop, window_start AS w, SUM(CASE WHEN cents > 10 THEN 1 ELSE 0 END) AS n {HOURS} {BY_SHOP}"
        ),
        "hourly_orders",
        AGGREGATE,
    ),
    "a mean of the hour before": (
        rows(
            "SELECT order_id, AVG(cents) OVER (PARTITION BY shop ORDER BY ordered_at RANGE BETWEEN INTERVAL '1' HOUR "
            "PRECEDING AND CURRENT ROW) AS n FROM orders"
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "dates of half days, which are no key": (
        hourly(
            "SELECT shop, CAST(window_start AS DATE) AS d, COUNT(*) AS n FROM TABLE(HOP(TABLE orders, "
            f"DESCRIPTOR(ordered_at), INTERVAL '12' HOUR, INTERVAL '1' DAY)) {BY_SHOP}"
        ),
        "hourly_orders",
        ("aggregate", [], None),
    ),
    "dates of sessions, which are no key": (
        hourly(
            "SELECT shop, CAST(window_start AS DATE) AS d, COUNT(*) AS n FROM TABLE(SESSION(TABLE orders PARTITION BY "
            f"shop, DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE)) {BY_SHOP}"
        ),
        "hourly_orders",
        ("aggregate", [], None),
    ),
    "a file that begins with a mark": (
        rows("\ufeffSELECT order_id, cents AS `a``b` FROM orders"),
        "order_rows",
        ("rows", [], None),
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
        topic(
            "outputs: [order_rows, hourly_orders]",
            "outputs: {order_rows: {where: shop <> 'x'}, hourly_orders: {}}",
        ),
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
            {
                "product.yaml": (
                    "orders: {time",
                    'orders: {columns: {vat: "cents * 19 / 100"}, time',
                )
            },
        ),
        "order_rows",
        ("rows", [], None),
    ),
    "names that are words of time and chance": (
        rows(
            "SELECT order_id, shop AS uuid, cents AS now, 'PROCTIME' AS proctime_ms, ordered_at AS rand FROM orders"
        ),
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
    "the same, quoted": (
        rows("SELECT order_id, CAST(`NOW`() AS STRING) AS t FROM orders"),
        "order_rows.sql",
        1,
        "NOW",
    ),
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
        "view v is not used",
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
    "a jar": (
        Changed({"views.sql": "ADD JAR '/tmp/a.jar'"}),
        "views.sql",
        1,
        "ADD JAR '/TMP/A.JAR'",
    ),
    "a setting": (Changed({"views.sql": "SET 'a' = 'b'"}), "views.sql", 1, "SET 'A' ="),
    "an insert": (
        rows("INSERT INTO order_rows SELECT order_id FROM orders"),
        "order_rows.sql",
        1,
        "INSERT",
    ),
    "an insert by another word": (
        rows("EXECUTE INSERT INTO order_rows SELECT order_id FROM orders"),
        "order_rows.sql",
        1,
        "EXECUTE",
    ),
    "two statements": (
        rows("SELECT order_id FROM orders;\nSELECT 1"),
        "order_rows.sql",
        2,
        "2 statements",
    ),
    "a hint": (
        rows("SELECT order_id FROM orders\n/*+ OPTIONS('scan.startup.mode'='latest-offset') */"),
        "order_rows.sql",
        2,
        "a hint",
    ),
    "state with a time to live": (
        hourly(
            f"SELECT /*+ STATE_TTL('orders' = '1d') */ shop, window_start AS w, COUNT(*) AS n {HOURS} {BY_SHOP}"
        ),
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
        hourly(
            f"SELECT shop, window_start AS w, COUNT(*) AS n {HOURS}\nGROUP BY window_start, shop"
        ),
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
    "distinct rows": (
        hourly("SELECT DISTINCT shop FROM orders"),
        "hourly_orders.sql",
        1,
        "group-aggregate",
    ),
    "a regular join": (
        hourly("SELECT l.shop, r.cents AS c FROM orders l\nJOIN orders r ON l.shop = r.shop"),
        "hourly_orders.sql",
        2,
        "join",
    ),
    "first rows": (hourly("SELECT shop FROM orders\nLIMIT 5"), "hourly_orders.sql", 2, "limit"),
    "rows in an order": (
        hourly("SELECT shop FROM orders\nORDER BY cents"),
        "hourly_orders.sql",
        2,
        "ORDER BY",
    ),
    "a session window, where clocks are set": (
        Changed(
            {
                "hourly_orders.sql": "SELECT shop, window_end AS e, COUNT(*) AS n FROM TABLE(SESSION(TABLE orders "
                f"PARTITION BY shop, DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE)) {BY_SHOP}"
            },
            {"product.yaml": ("switch: auto", "time_zone: America/New_York")},
        ),
        "hourly_orders.sql",
        0,
        "a session window in a time zone whose clocks change, where an hour is missing or passes twice",
    ),
    "a session of windows": (
        Changed(
            {
                "views.sql": HOURS_VIEW,
                "hourly_orders.sql": "SELECT shop, window_end AS e, SUM(n) AS n FROM TABLE(SESSION(TABLE h "
                f"PARTITION BY shop, DESCRIPTOR(wt), INTERVAL '10' MINUTE)) {BY_SHOP}",
            }
        ),
        "hourly_orders.sql",
        0,
        "a session of rows that global-window-aggregate holds until the log's clock has passed them",
    ),
    "rows before, of a topic in no order": (
        rows(
            "SELECT order_id,\n  SUM(cents) OVER (PARTITION BY shop ORDER BY ordered_at ROWS BETWEEN 3 PRECEDING AND "
            "CURRENT ROW) AS n FROM orders"
        ),
        "order_rows.sql",
        2,
        "OVER (… ROWS …)",
    ),
    "rows before, in an order that Flink cannot run": (
        rows(
            "SELECT order_id, COUNT(*) OVER (PARTITION BY shop ORDER BY ordered_at, log_partition, log_offset "
            "ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS n FROM orders"
        ),
        "order_rows.sql",
        1,
        "OVER (… ORDER BY several columns), which Flink cannot run",
    ),
    "rows before, by a key that merges several": (
        keyed(
            "SELECT order_id, COUNT(*) OVER (PARTITION BY SUBSTRING(shop, 1, 1) ORDER BY ordered_at ROWS BETWEEN "
            "3 PRECEDING AND CURRENT ROW) AS n FROM orders"
        ),
        "order_rows.sql",
        1,
        "OVER (… ROWS …)",
    ),
    "rows before, behind a de-duplication in all partitions": (
        Changed(
            {
                "order_rows.sql": "SELECT order_id, LAG(cents) OVER (PARTITION BY shop ORDER BY ordered_at) AS n "
                "FROM orders"
            },
            {
                "product.yaml": (
                    "identity: [order_id]",
                    "identity: [order_id], once: topic, keyed_by: [shop]",
                )
            },
        ),
        "order_rows.sql",
        1,
        "LAG over rows that may have the same time",
    ),
    "the row before, of a topic in no order": (
        rows(
            "SELECT order_id, LAG(cents) OVER (PARTITION BY shop ORDER BY ordered_at) AS n FROM orders"
        ),
        "order_rows.sql",
        1,
        "LAG over rows that may have the same time",
    ),
    "the row behind": (
        keyed(
            "SELECT order_id, LEAD(cents) OVER (PARTITION BY shop ORDER BY ordered_at) AS n FROM orders"
        ),
        "order_rows.sql",
        1,
        "LEAD",
    ),
    "two ranges": (
        rows(
            "SELECT order_id, COUNT(*) OVER (PARTITION BY shop ORDER BY ordered_at RANGE BETWEEN INTERVAL '1' HOUR "
            "PRECEDING AND CURRENT ROW) AS n, COUNT(*) OVER (PARTITION BY shop ORDER BY ordered_at RANGE BETWEEN "
            "INTERVAL '2' HOUR PRECEDING AND CURRENT ROW) AS m FROM orders"
        ),
        "order_rows.sql",
        1,
        "order_rows: Over Agg: Unsupported use of OVER windows. All aggregates must be computed on the same window. "
        "please re-check the over window statement.",
    ),
    "a pattern that goes on at what may not be there": (
        hourly(PATTERN.replace("SKIP PAST LAST ROW", "SKIP TO FIRST A")),
        "hourly_orders.sql",
        1,
        "AFTER MATCH SKIP TO a variable, which fails the job",
    ),
    "a place that wraps around": (
        rows(
            "SELECT order_id, log_partition, CAST(log_offset AS TINYINT) AS log_offset FROM orders"
        ),
        "order_rows.sql",
        1,
        "order_rows: log_partition and log_offset do not identify one record of orders for each row",
    ),
    "a sum that overflows in one order and not in another": (
        hourly(
            f"SELECT shop, window_start AS w, SUM(CAST(cents AS DECIMAL(38, 18))) AS s {HOURS} {BY_SHOP}"
        ),
        "hourly_orders.sql",
        1,
        "SUM of DECIMAL(38, 18), which depends on the order of arrival if it is too large",
    ),
    "rows before, in an order that goes back": (
        keyed(
            "SELECT order_id, COUNT(*) OVER (PARTITION BY shop ORDER BY ordered_at, log_partition, log_offset DESC "
            "ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS n FROM orders"
        ),
        "order_rows.sql",
        1,
        "OVER (… ORDER BY several columns), which Flink cannot run",
    ),
    "rows before, of a key of each event": (
        keyed(
            "SELECT order_id, LAG(cents) OVER (PARTITION BY shop, order_id ORDER BY ordered_at) AS n FROM orders"
        ),
        "order_rows.sql",
        1,
        "LAG by all columns of the identity: if each event has a key of its own, every key is kept for ever",
    ),
    "a view of another's name": (
        Changed(
            {
                "views.sql": "CREATE VIEW default_catalog.default_database.orders AS SELECT NOW() AS n FROM orders"
            }
        ),
        "views.sql",
        1,
        "CREATE VIEW DEFAULT_CATALOG",
    ),
    "a filter that DuckDB decides otherwise": (
        topic(
            "outputs: [order_rows, hourly_orders]",
            "outputs: {order_rows: {where: shop SIMILAR TO 'a%'}, hourly_orders: {}}",
        ),
        "product.yaml",
        0,
        "shop SIMILAR TO 'a%'",
    ),
    "a constant that is no number": (
        rows("SELECT order_id, CAST('abc' AS INT) AS n FROM orders"),
        "order_rows.sql",
        1,
        "CAST of text, which fails the job if the text is not such a value",
    ),
    "a pattern without a name": (
        hourly(PATTERN.removesuffix(" AS m")),
        "hourly_orders.sql",
        1,
        "hourly_orders: Table 'EXPR$1' not found",
    ),
    "a pattern without an end": (
        hourly(PATTERN.replace(" WITHIN INTERVAL '10' MINUTE", "")),
        "hourly_orders.sql",
        1,
        "MATCH_RECOGNIZE without WITHIN",
    ),
    "the time of a pattern whose matches differ in length": (
        hourly(PATTERN.replace("LAST(C.ordered_at)", "MATCH_ROWTIME(ordered_at)")),
        "hourly_orders.sql",
        1,
        "MATCH_ROWTIME of a pattern whose matches differ in length",
    ),
    "a pattern in the order of time": (
        hourly(PATTERN.replace(", log_partition, log_offset", "")),
        "hourly_orders.sql",
        1,
        "MATCH_RECOGNIZE whose ORDER BY may leave rows equal",
    ),
    "a pattern of the time of the run": (
        hourly(PATTERN.replace("A.cents AS a", "CAST(MATCH_PROCTIME() AS STRING) AS a")),
        "hourly_orders.sql",
        1,
        "MATCH_PROCTIME",
    ),
    "a Top-N in the order of what is only called a place": (
        hourly(
            "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            "window_end, shop ORDER BY cents DESC, log_partition, log_offset) AS n FROM TABLE(TUMBLE((SELECT shop, "
            "cents, ordered_at, 0 AS log_partition, cents AS log_offset FROM orders), DESCRIPTOR(ordered_at), "
            "INTERVAL '1' HOUR))) WHERE n <= 3"
        ),
        "hourly_orders.sql",
        1,
        "a Top-N whose ORDER BY may leave rows equal",
    ),
    "a function that nobody has looked at": (
        hourly(f"SELECT shop, window_start AS w, PERCENTILE(cents, 0.5) AS p {HOURS} {BY_SHOP}"),
        "hourly_orders.sql",
        1,
        "PERCENTILE, which nobody has shown to be safe to replay",
    ),
    "a text longer than there is memory": (
        rows("SELECT order_id, REPEAT(shop, CAST(cents AS INT)) AS t FROM orders"),
        "order_rows.sql",
        1,
        "REPEAT with a length that may be too large",
    ),
    "digits from a record": (
        rows("SELECT order_id, ROUND(cents, CAST(cents AS INT)) AS t FROM orders"),
        "order_rows.sql",
        1,
        "ROUND with a number of digits that may be too large",
    ),
    "text against a time": (
        rows("SELECT order_id, ordered_at > shop AS t FROM orders"),
        "order_rows.sql",
        1,
        "CAST of text, which fails the job if the text is not such a value",
    ),
    "JSON of a type": (
        rows("SELECT order_id, JSON_VALUE(shop, '$.a' RETURNING INT) AS t FROM orders"),
        "order_rows.sql",
        1,
        "JSON_VALUE … RETURNING, which fails the job if the value is of another type",
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
        "GROUP BY HOP(…), which counts wrongly in a time zone whose clocks change",
    ),
    "a cast that a record can fail": (
        rows("SELECT order_id,\n  CAST(shop AS INT) AS n FROM orders"),
        "order_rows.sql",
        2,
        "CAST of text, which fails the job if the text is not such a value",
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
        hourly(
            f"SELECT shop, window_start AS w, MAX(TRY_CAST(order_id AS DOUBLE)) AS n {HOURS} {BY_SHOP}"
        ),
        "hourly_orders.sql",
        1,
        "MAX of DOUBLE or FLOAT, whose result depends on whether a NaN comes first",
    ),
    "a decimal of what may be NaN": (
        rows("SELECT order_id,\n CAST(TRY_CAST(shop AS DOUBLE) AS DECIMAL(9, 2)) AS d FROM orders"),
        "order_rows.sql",
        2,
        "CAST of DOUBLE or FLOAT to DECIMAL, which fails the job if the value is NaN or infinite",
    ),
    "what may be NaN, rounded": (
        rows("SELECT order_id,\n ROUND(TRY_CAST(shop AS DOUBLE), 2) AS d FROM orders"),
        "order_rows.sql",
        2,
        "ROUND of DOUBLE or FLOAT, which fails the job if the value is NaN or infinite",
    ),
    "a day's hours, in the order of what several may have": (
        best_hours("n DESC"),
        "hourly_orders.sql",
        1,
        "a Top-N whose ORDER BY may leave rows equal",
    ),
    "the hour before, in the order of days": (
        Changed(
            {
                "views.sql": HOURS_VIEW,
                "hourly_orders.sql": "SELECT shop, w, LAG(n) OVER (PARTITION BY shop ORDER BY t) AS l FROM "
                + OF_DAY.format("window_time AS t"),
            }
        ),
        "hourly_orders.sql",
        1,
        "LAG over rows that may have the same time",
    ),
    "a decimal of fewer digits, of what is never NULL": (
        rows("SELECT order_id,\n CAST(COALESCE(cents, 0) AS DECIMAL(3, 0)) AS d FROM orders"),
        "order_rows.sql",
        2,
        "CAST whose result may have more digits than DECIMAL(3, 0): the result is then another value, or fails the job",
    ),
    "a product of more digits than there are": (
        rows(
            "SELECT order_id, CAST(COALESCE(cents, 0) AS DECIMAL(19, 0)) * CAST(COALESCE(cents, 0) AS DECIMAL(19, 0)) "
            "* CAST(COALESCE(cents, 0) AS DECIMAL(19, 0)) AS d FROM orders"
        ),
        "order_rows.sql",
        1,
        "* whose result may have more digits than DECIMAL(38, 0): the result is then another value, or fails the job",
    ),
    "a division by what may be zero": (
        rows("SELECT order_id,\n 100 / cents AS d FROM orders"),
        "order_rows.sql",
        2,
        "/ by a value that may be zero, which fails the job",
    ),
    "a division by a count that may be zero": (
        hourly(
            "SELECT shop, window_start AS w, SUM(cents) / COUNT(*) FILTER (WHERE cents > 0) AS n "
            f"{HOURS} {BY_SHOP}"
        ),
        "hourly_orders.sql",
        1,
        "/ by a value that may be zero, which fails the job",
    ),
    "a rest of what may be zero": (
        rows("SELECT order_id, 100 % cents AS d FROM orders"),
        "order_rows.sql",
        1,
        "MOD by a value that may be zero, which fails the job",
    ),
    "a function called like one of Flink's": (
        Changed(
            texts={
                "product.yaml": (
                    "name: orders\n",
                    "name: orders\nfunctions: {If: {python: 'udfs.privacy:pseudonym', returns: STRING}}\n",
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
        "SUM of INT, which wraps around if it is too large",
    ),
    "a side table of constants": (
        rows(
            "SELECT order_id, f FROM orders\nJOIN (VALUES ('a', 1), ('b', 2)) AS v(s, f) ON shop = s"
        ),
        "order_rows.sql",
        2,
        "a join with VALUES",
    ),
    "a sum that rounds": (
        hourly(
            f"SELECT shop, window_start AS w, SUM(CAST(cents AS DOUBLE)) AS n {HOURS} {BY_SHOP}"
        ),
        "hourly_orders.sql",
        1,
        "SUM of DOUBLE or FLOAT, whose rounding depends on the order of arrival",
    ),
    "a Top-N with ties": (
        hourly(
            "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            f"window_end, shop ORDER BY cents DESC) AS n {HOURS}) WHERE n <= 3"
        ),
        "hourly_orders.sql",
        1,
        "a Top-N whose ORDER BY may leave rows equal",
    ),
    "the first of a window by time alone": (
        hourly(
            "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
            f"window_end, shop ORDER BY ordered_at) AS n {HOURS}) WHERE n = 1"
        ),
        "hourly_orders.sql",
        0,
        "the first or last row of a window, ordered by time alone",
    ),
    "a place in the log of one's own": (
        rows("SELECT order_id, 0 AS log_partition, cents AS log_offset FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: log_partition and log_offset do not identify one record of orders for each row",
    ),
    "a record twice": (
        rows("SELECT order_id FROM orders UNION ALL SELECT order_id FROM orders"),
        "order_rows.sql",
        1,
        "order_rows: log_partition and log_offset do not identify one record of orders for each row",
    ),
    "text inside of a row as a number": (
        rows("SELECT CAST(ROW(shop, cents) AS ROW<a INT, b INT>) AS r FROM orders"),
        "order_rows.sql",
        1,
        "CAST of text, which fails the job if the text is not such a value",
    ),
    "a format from a record": (
        rows("SELECT DATE_FORMAT(ordered_at, shop) AS d FROM orders"),
        "order_rows.sql",
        1,
        "DATE_FORMAT with a time format that may fail the job",
    ),
    "text that is a number": (
        rows("SELECT order_id FROM orders WHERE shop = 5"),
        "order_rows.sql",
        1,
        "= of text and another type, which fails the job if the text is not such a value",
    ),
    "an identity that is not there": (
        topic("[order_id]", "[orderid]"),
        "product.yaml",
        0,
        "orderid",
    ),
    "a time that is none": (
        topic("time: ordered_at", "time: shop"),
        "product.yaml",
        0,
        "shop, a STRING",
    ),
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
        for name, value in planner_env(stack.settings).items():
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
def test_accepted_with_what_is_inferred(
    copy: Copy, changed: Changed, output: str, inferred: Inferred
) -> None:
    found = resolved(copy(changed))[output]
    window = (found["window"]["column"], found["window"]["size"]) if found["window"] else None
    assert (found["kind"], found["key"], window) == inferred


@pytest.mark.parametrize(("changed", "file", "line", "construct"), REFUSED.values(), ids=REFUSED)
def test_refused_with_file_and_line(
    copy: Copy, changed: Changed, file: str, line: int, construct: str
) -> None:
    folder = copy(changed)
    answer = check(folder)
    found = [(Path(p["file"]).name, p["line"], p["construct"]) for p in answer["problems"]]
    assert (file, line, construct) in [
        (f, number, c.partition("  in: ")[0]) for f, number, c in found
    ], found
    assert all(p["instead"] for p in answer["problems"]) and answer["resolved"] is None


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.title)
def test_the_documented_examples(example: Example, tmp_path: Path) -> None:
    (problem,) = check(example.refused.write(tmp_path / "refused"))["problems"]
    assert (problem["construct"], problem["instead"]) == (example.construct, example.instead)
    assert (
        example.corrected is None
        or check(example.corrected.write(tmp_path / "corrected"))["problems"] == []
    )


@pytest.mark.parametrize("name", ["flights", "orders"])
def test_what_tests_without_flink_know_of_a_product_is_what_the_planner_says(name: str) -> None:
    said = json.loads((ROOT / "tests" / "resolved" / f"{name}.json").read_text())
    answer = check({"flights": FLIGHTS, "orders": ORDERS}[name])
    assert answer["problems"] == []
    assert answer["resolved"] == said


def test_a_row_table_gets_its_place_in_the_log_by_itself(copy: Copy) -> None:
    columns = [
        c["name"]
        for c in resolved(copy(rows("SELECT order_id FROM orders")))["order_rows"]["columns"]
    ]
    assert columns == ["order_id", "log_partition", "log_offset"]


def test_a_table_of_two_topics_gets_the_topic_too(copy: Copy) -> None:
    union = "SELECT order_id FROM orders UNION ALL SELECT order_id FROM refunds"
    folder = copy(
        Changed(
            {"order_rows.sql": union},
            {
                "product.yaml": (
                    "topics:\n",
                    "topics:\n  refunds: {time: ordered_at, allowed_lateness: 1h}\n",
                )
            },
        )
    )
    shutil.copy(folder / "schemas" / "orders.avsc", folder / "schemas" / "refunds.avsc")
    found = resolved(folder)["order_rows"]
    assert (found["kind"], sorted(found["of"])) == ("rows", ["orders", "refunds"])
    assert [c["name"] for c in found["columns"]] == [
        "order_id",
        "log_topic",
        "log_partition",
        "log_offset",
    ]


def test_did_you_mean(copy: Copy) -> None:
    (problem,) = check(copy(rows("SELECT order_id, shp FROM orders")))["problems"]
    assert problem["instead"] == "did you mean shop?"


# --- Python functions: a module of udfs/ each, which defines f


def python(
    code: str, select: str, *, returns: str = "STRING", vectorised: bool = False
) -> tuple[str, Changed]:
    said = f"{{python: 'udfs.case:f', returns: '{returns}', vectorised: {str(vectorised).lower()}}}"
    settings = ("name: orders\n", f"name: orders\nfunctions: {{f: {said}}}\n")
    sql = f"SELECT order_id, {select} AS found FROM orders"
    return code, Changed({"order_rows.sql": sql}, {"product.yaml": settings})


TRIED: dict[str, tuple[tuple[str, Changed], str]] = {
    "of its arguments alone": (
        python(
            "print('hello')\ndef f(x, y):\n    return None if x is None else f'{x}{y}'",
            "f(shop, 'a')",
        ),
        "",
    ),
    "of its arguments alone, vectorised": (
        python("def f(x):\n    return x.str.upper()", "f(shop)", vectorised=True),
        "",
    ),
    "a time, a number and a ROW": (
        python(
            "from pyflink.common import Row\n"
            "def f(t, n):\n    return None if t is None or n is None else Row(t.isoformat(), n % 7)",
            "f(ordered_at, cents)",
            returns="ROW<a STRING, b BIGINT>",
        ),
        "",
    ),
    "a tuple for a ROW": (
        python(
            "def f(n):\n    return None if n is None else (n, n % 7)",
            "f(cents)",
            returns="ROW<a BIGINT, b BIGINT>",
        ),
        "a tuple where ROW",
    ),
    "a counter": (
        python("n = 0\ndef f(x):\n    global n\n    n += 1\n    return str(n)", "f(shop)"),
        "when it is called again",
    ),
    "a clock that the answer does not show": (
        python("import time\ndef f(x):\n    return x if time.time() > 0 else None", "f(shop)"),
        "reads the clock (udfs/case.py:3)",
    ),
    "a value that stops the job": (
        python("def f(x):\n    return {'berlin': 'DE'}[x]", "f(shop)"),
        "raises KeyError",
    ),
    "a NULL that stops the job": (
        python("def f(x):\n    return x.upper()", "f(shop)"),
        "f(None) raises",
    ),
    "another type than is declared": (
        python("def f(x):\n    return 1", "f(shop)"),
        "returns a int where STRING is declared",
    ),
    "the mean of a batch": (
        python(
            "def f(x):\n    return x - x.mean()",
            "f(CAST(cents AS DOUBLE))",
            returns="DOUBLE",
            vectorised=True,
        ),
        "in a batch of",
    ),
    "another number of arguments": (
        python("def f(x):\n    return x", "f(shop, shop)"),
        "it is called with 2 arguments: too many positional",
    ),
    "a function of another module": (
        python("from textwrap import dedent as f", "f(shop)"),
        "a function of textwrap, which no release is archived",
    ),
    "an import that ends the process": (
        python("import posix\nposix._exit(0)\ndef f(x): ...", "f(shop)"),
        "its import ends the process, with code 0",
    ),
}


@pytest.fixture
def udfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package udfs of this test, for this process and for those that it starts."""
    package = shutil.copytree(
        ROOT / "udfs", tmp_path / "python" / "udfs", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.syspath_prepend(str(package.parent))
    ours = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.partition(".")[0] == "udfs"
    }
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "udfs"]:
        del sys.modules[name]
    sys.modules.update(ours)


@pytest.mark.parametrize(("function", "says"), TRIED.values(), ids=TRIED)
def test_python_functions_are_tried(
    copy: Copy, udfs: Path, function: tuple[str, Changed], says: str
) -> None:
    code, changed = function
    (udfs / "case.py").write_text(code + "\n")
    found = check(copy(changed))["problems"]
    assert [says in p["construct"] for p in found] == ([True] if says else []), found
    assert all(p["file"].endswith("product.yaml") for p in found)


def test_an_answer_is_json_whatever_a_function_prints(copy: Copy, udfs: Path) -> None:
    code = "print('{')\nimport os\nos.write(1, b'{')\ndef f(x):\n    print('{')\n    return x"
    _, changed = python(code, "f(shop)")
    (udfs / "case.py").write_text(code + "\n")
    path = os.pathsep.join([str(udfs.parent), str(ROOT)])
    command = [sys.executable, "-m", "jobs.check", str(copy(changed)), "--json"]
    found = subprocess.run(
        command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": path}, cwd=udfs
    )
    answer = json.loads(found.stdout)
    assert (answer["ok"], answer["problems"]) == (True, [])
