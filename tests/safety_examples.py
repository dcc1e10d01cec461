"""What the safety check refuses: SQL, what is said of it, and the same corrected. docs/safety.md shows them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

ORDERS = Path(__file__).parent / "products" / "orders"
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


def keyed(sql: str, table: str = "order_rows.sql") -> Changed:
    return Changed(
        {table: sql},
        {"product.yaml": ("identity: [order_id]", "identity: [order_id], keyed_by: [shop]")},
    )


def topic(old: str, new: str) -> Changed:
    return Changed(texts={"product.yaml": (old, new)})


@dataclass(frozen=True)
class Example:
    """A rule."""

    title: str
    why: str
    refused: Changed
    construct: str
    """As the check names it."""
    instead: str
    """As the check says to write."""
    corrected: Changed | None = None
    """None where nothing replaces it."""


def _of(select: str) -> Changed:
    """Hours of orders."""
    return hourly(f"SELECT shop, window_start AS w, {select} {HOURS} {BY_SHOP}")


def _top(order: str, rest: str = "n <= 3") -> Changed:
    return hourly(
        "SELECT shop, cents, window_start AS w FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, "
        f"window_end, shop ORDER BY {order}) AS n {HOURS}) WHERE {rest}"
    )


_TEXT_AS_DOUBLE = "(SELECT *, TRY_CAST(shop AS DOUBLE) AS x FROM orders)"


def _of_x(select: str) -> Changed:
    """Hours of a DOUBLE."""
    return hourly(
        f"SELECT shop, window_start AS w, {select} FROM TABLE(TUMBLE({_TEXT_AS_DOUBLE}, DESCRIPTOR(ordered_at), "
        f"INTERVAL '1' HOUR)) {BY_SHOP}"
    )


def _x(select: str) -> Changed:
    """Rows of a DOUBLE."""
    return rows(f"SELECT order_id, {select} AS y FROM {_TEXT_AS_DOUBLE}")


def _row(select: str) -> Changed:
    return rows(f"SELECT order_id, {select} AS y FROM orders")


def _in_new_york(select: str) -> Changed:
    zone = {"product.yaml": ("switch: auto", "time_zone: America/New_York")}
    return Changed({"order_rows.sql": f"SELECT order_id, {select} AS y FROM orders"}, zone)


def _over(call: str, order: str = "ordered_at", frame: str = "") -> str:
    return (
        f"SELECT order_id, {call} OVER (PARTITION BY shop ORDER BY {order}{frame}) AS y FROM orders"
    )


def _pattern(
    order: str = "ordered_at, log_partition, log_offset",
    within: str = " WITHIN INTERVAL '10' MINUTE",
    measures: str = "A.cents AS a, B.cents AS b",
    rows: str = "A B",
) -> Changed:
    return hourly(
        f"SELECT * FROM orders MATCH_RECOGNIZE (PARTITION BY shop ORDER BY {order} MEASURES {measures} "
        f"AFTER MATCH SKIP PAST LAST ROW PATTERN ({rows}){within} DEFINE B AS B.cents > A.cents) AS m"
    )


def _where(condition: str) -> Changed:
    return topic(
        "outputs: [order_rows, hourly_orders]",
        f"outputs: {{order_rows: {{{condition}}}, hourly_orders: {{}}}}",
    )


_ROWS = " ROWS BETWEEN 3 PRECEDING AND CURRENT ROW"
_RANGE = " RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW"
_KEYED_BY = (
    "topics.T.keyed_by in product.yaml: columns of PARTITION BY by which producers choose the partition; or one "
    "row for each time, as after a window: PARTITION BY its groups ORDER BY window_time"
)
_SESSIONS = (
    "SELECT shop, window_end AS e, COUNT(*) AS n FROM TABLE(SESSION(TABLE orders PARTITION BY shop, "
    f"DESCRIPTOR(ordered_at), INTERVAL '10' MINUTE)) {BY_SHOP}"
)
_PLACES = (
    "both columns as the topic has them; in a UNION, one branch for each topic with events; or "
    "outputs.order_rows.kind: "
)

EXAMPLES: tuple[Example, ...] = (
    Example(
        "The time of the run",
        "it differs in every run",
        _row("NOW()"),
        "NOW",
        "the event's own time, or log_appended, the time at which its record was appended",
        _row("log_appended"),
    ),
    Example(
        "Random values",
        "they differ in every run",
        _row("UUID()"),
        "UUID",
        "a value derived from the record, such as a hash of its key",
        _row("MD5(order_id)"),
    ),
    Example(
        "The session of Flink",
        "it depends on where the job runs",
        _row("CURRENT_DATABASE()"),
        "CURRENT_DATABASE",
        "a constant",
        _row("'orders'"),
    ),
    Example(
        "A function that is not listed",
        "only functions that were tried are listed below",
        _of("PERCENTILE(cents, 0.5) AS n"),
        "PERCENTILE, which nobody has shown to be safe to replay",
        "a function that docs/safety.md lists, or a Python function of product.yaml",
    ),
    Example(
        "Aggregates that depend on the order of arrival",
        "rows of several partitions arrive in a different order in every run",
        _of("FIRST_VALUE(cents) AS f"),
        "FIRST_VALUE, which depends on the order of arrival",
        "MIN, MAX, or a Top-N in the order of a column",
        _of("MIN(cents) AS f"),
    ),
    Example(
        "Sums of DOUBLE or FLOAT",
        "each addition rounds, so the sum depends on the order",
        _of_x("SUM(x) AS s"),
        "SUM of DOUBLE or FLOAT, whose rounding depends on the order of arrival",
        "SUM(CASE WHEN ABS(x) < 1e15 THEN CAST(x AS DECIMAL(18, 3)) END); or a sum of integers that is divided "
        "afterwards",
        _of_x("SUM(CASE WHEN ABS(x) < 1e15 THEN CAST(x AS DECIMAL(18, 3)) END) AS s"),
    ),
    Example(
        "Sums of INT, SMALLINT, TINYINT",
        "the sum has the type of its argument, and wraps around",
        _of("SUM(CAST(cents AS INT)) AS s"),
        "SUM of INT, which wraps around if it is too large",
        "SUM(CAST(x AS BIGINT))",
        _of("SUM(CAST(CAST(cents AS INT) AS BIGINT)) AS s"),
    ),
    Example(
        "MAX, MIN, Top-N of DOUBLE or FLOAT",
        "NaN is neither greater nor smaller than any number",
        _of_x("MAX(x) AS m"),
        "MAX of DOUBLE or FLOAT, whose result depends on whether a NaN comes first",
        "MAX(CASE WHEN ABS(x) < 1e300 THEN x END)",
        _of_x("MAX(CASE WHEN ABS(x) < 1e300 THEN x END) AS m"),
    ),
    Example(
        "A Top-N with ties",
        "which of several equal rows comes first depends on the run",
        _top("cents DESC"),
        "a Top-N whose ORDER BY may leave rows equal",
        "further columns in ORDER BY, up to log_partition, log_offset: which of two equal rows comes first depends on "
        "the run",
        _top("cents DESC, log_partition, log_offset"),
    ),
    Example(
        "The first row of a window, ordered by time alone",
        "rows of the same time have no order",
        _top("ordered_at", "n = 1"),
        "the first or last row of a window, ordered by time alone",
        "ORDER BY <time>, log_partition, log_offset: which of two rows with the same time comes first depends on "
        "the run",
        _top("ordered_at, log_partition, log_offset", "n = 1"),
    ),
    Example(
        "A frame of ROWS without an order",
        "rows of the same time have no order, unless they are of one partition",
        rows(_over("SUM(cents)", frame=_ROWS)),
        "OVER (… ROWS …)",
        f"RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW; or {_KEYED_BY}",
        keyed(_over("SUM(cents)", frame=_ROWS)),
    ),
    Example(
        "LAG without an order",
        "rows of the same time have no order, unless they are of one partition",
        rows(_over("LAG(cents)")),
        "LAG over rows that may have the same time",
        _KEYED_BY,
        keyed(_over("LAG(cents)")),
    ),
    Example(
        "An OVER ordered by several columns",
        "Flink orders an OVER by time alone",
        rows(_over("COUNT(*)", "ordered_at, log_partition, log_offset", _ROWS)),
        "OVER (… ORDER BY several columns), which Flink cannot run",
        "ORDER BY <time>, if topics.T.keyed_by in product.yaml says that all records of one key are in one "
        "partition; or, after a window, PARTITION BY all its groups ORDER BY window_time",
        keyed(_over("COUNT(*)", "ordered_at, log_partition, log_offset", _ROWS)),
    ),
    Example(
        "LEAD",
        "the following row is not known yet",
        keyed(_over("LEAD(cents)")),
        "LEAD",
        "LAG in the later row: the following row is not known yet",
        keyed(_over("LAG(cents)")),
    ),
    Example(
        "An OVER without a lower bound",
        "its state grows without end",
        rows(_over("COUNT(*)")),
        "OVER without a lower bound",
        "RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW: its state is bounded",
        rows(_over("COUNT(*)", frame=_RANGE)),
    ),
    Example(
        "A pattern ordered by time alone",
        "rows of the same time have no order",
        _pattern("ordered_at"),
        "MATCH_RECOGNIZE whose ORDER BY may leave rows equal",
        "ORDER BY <time>, log_partition, log_offset: which of two rows with the same time comes first depends on "
        "the run",
        _pattern(),
    ),
    Example(
        "A pattern without WITHIN",
        "its state grows without end",
        _pattern(within=""),
        "MATCH_RECOGNIZE without WITHIN",
        "PATTERN (…) WITHIN INTERVAL …: without it, partial matches are kept for ever",
        _pattern(),
    ),
    Example(
        "The time of a pattern whose matches differ in length",
        "a match is held back while an earlier match may continue, and gets the time at which that was ruled out",
        _pattern(measures="A.cents AS a, MATCH_ROWTIME(ordered_at) AS t", rows="A+ B"),
        "MATCH_ROWTIME of a pattern whose matches differ in length",
        "LAST(C.<time>) of the pattern's last variable C: Flink holds a match back while an earlier one may continue, "
        "and gives it the time at which the earlier one was ruled out, which depends on the run",
        _pattern(measures="A.cents AS a, LAST(B.ordered_at) AS t", rows="A+ B"),
    ),
    Example(
        "Sessions in a zone whose clocks change",
        "Flink measures the gap on the local clock",
        Changed(
            {"hourly_orders.sql": _SESSIONS},
            {"product.yaml": ("switch: auto", "time_zone: America/New_York")},
        ),
        "a session window in a time zone whose clocks change, where an hour is missing or passes twice",
        "time_zone: UTC, or another zone whose clocks never change",
        hourly(_SESSIONS),
    ),
    Example(
        "FLOOR and CEIL of an instant in a zone whose clocks change",
        "Flink cuts with the offset of the instant itself, so that a day or a month begins an hour early or late",
        _in_new_york("FLOOR(ordered_at TO MONTH)"),
        "FLOOR of a TIMESTAMP_LTZ TO MONTH, which is off where clocks were set in between",
        "FLOOR(CAST(x AS TIMESTAMP(3)) TO MONTH), by the product's clocks",
        _in_new_york("FLOOR(CAST(ordered_at AS TIMESTAMP(3)) TO MONTH)"),
    ),
    Example(
        "Months of an instant",
        "Flink counts them on UTC's calendar, where a day of the product's may be that of another month",
        _in_new_york("ordered_at + INTERVAL '1' MONTH"),
        "months or years of a TIMESTAMP_LTZ, which Flink counts on UTC's calendar",
        "the same of CAST(x AS TIMESTAMP(3)), on the product's; CAST the result AS TIMESTAMP_LTZ(3)",
        _in_new_york(
            "CAST(CAST(ordered_at AS TIMESTAMP(3)) + INTERVAL '1' MONTH AS TIMESTAMP_LTZ(3))"
        ),
    ),
    Example(
        "Sessions of windows",
        "a row exactly at the end of a session would belong to it in some runs and not in others",
        Changed(
            {
                "views.sql": "CREATE VIEW h AS SELECT shop, window_time AS wt FROM TABLE(TUMBLE(TABLE orders, "
                "DESCRIPTOR(ordered_at), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time, shop;",
                "hourly_orders.sql": "SELECT shop, window_end AS e, COUNT(*) AS n FROM TABLE(SESSION(TABLE h "
                f"PARTITION BY shop, DESCRIPTOR(wt), INTERVAL '10' MINUTE)) {BY_SHOP}",
            }
        ),
        "a session of rows that global-window-aggregate holds until the log's clock has passed them",
        "SESSION of a topic's own rows, de-duplicated by identity in the source (without once: topic) if needed: "
        "among rows that were held, one exactly at the end of a session belongs to it in some runs and not in others",
        hourly(_SESSIONS),
    ),
    Example(
        "CAST of text",
        "a text that is no such value would stop the job for ever",
        _row("CAST(shop AS INT)"),
        "CAST of text, which fails the job if the text is not such a value",
        "TRY_CAST, which gives NULL: no record may stop a job",
        _row("TRY_CAST(shop AS INT)"),
    ),
    Example(
        "CAST of DOUBLE or FLOAT to DECIMAL",
        "NaN or an infinite value would stop the job for ever, also with TRY_CAST",
        _x("CAST(x AS DECIMAL(9, 2))"),
        "CAST of DOUBLE or FLOAT to DECIMAL, which fails the job if the value is NaN or infinite",
        "CASE WHEN ABS(x) < 1e15 THEN CAST(x AS DECIMAL(18, 3)) END",
        _x("CASE WHEN ABS(x) < 1e7 THEN CAST(x AS DECIMAL(9, 2)) END"),
    ),
    Example(
        "A DECIMAL of fewer digits, of a column that is NOT NULL",
        "a value with more digits becomes NULL, which nothing expects there: it turns into an empty text, -1, or an "
        "exception",
        _row("CAST(COALESCE(cents, 0) AS DECIMAL(3, 0))"),
        "CAST whose result may have more digits than DECIMAL(3, 0): the result is then another value, or fails the job",
        "TRY_CAST(x AS DECIMAL(3, 0)), which gives NULL",
        _row("TRY_CAST(COALESCE(cents, 0) AS DECIMAL(3, 0))"),
    ),
    Example(
        "ROUND and TRUNCATE of DOUBLE or FLOAT",
        "NaN or an infinite value would stop the job for ever",
        _x("ROUND(x, 2)"),
        "ROUND of DOUBLE or FLOAT, which fails the job if the value is NaN or infinite",
        "CASE WHEN ABS(x) < 1e15 THEN ROUND(x, 2) END",
        _x("CASE WHEN ABS(x) < 1e15 THEN ROUND(x, 2) END"),
    ),
    Example(
        "Division by a value that may be zero",
        "zero would stop the job for ever",
        _row("100 / cents"),
        "/ by a value that may be zero, which fails the job",
        "NULLIF(<divisor>, 0): the result is then NULL",
        _row("100 / NULLIF(cents, 0)"),
    ),
    Example(
        "A time format that is not constant",
        "an invalid format would stop the job for ever",
        _row("TO_DATE(order_id, shop)"),
        "TO_DATE with a time format that may fail the job",
        "a literal of the letters y, M, d, H, h, k, K, m, s, S, a, E, D and punctuation, such as 'yyyy-MM-dd HH:mm:ss'",
        _row("TO_DATE(order_id, 'yyyy-MM-dd')"),
    ),
    Example(
        "A regular expression that is not constant",
        "an invalid expression fails the job, and so do some expressions on a long text",
        _row("REGEXP(order_id, shop)"),
        "REGEXP with a regular expression that may fail the job",
        "a literal in which no group of alternatives or repetitions is repeated: (a|b)+ fails the job on a long text",
        _row("REGEXP(order_id, '^[a-z]+$')"),
    ),
    Example(
        "A length that is not constant",
        "it may take more memory than there is",
        _row("LPAD(order_id, CAST(cents AS INT), '0')"),
        "LPAD with a length that may be too large",
        "a literal up to 10000: larger lengths need more memory than there is",
        _row("LPAD(order_id, 12, '0')"),
    ),
    Example(
        "A number of digits that is not constant",
        "a value that is too large would stop the job for ever",
        _row("ROUND(cents, CAST(cents AS INT))"),
        "ROUND with a number of digits that may be too large",
        "a literal up to 38: larger numbers fail the job",
        _row("ROUND(cents, -2)"),
    ),
    Example(
        "JSON_VALUE with RETURNING",
        "a value of another type would stop the job for ever",
        _row("JSON_VALUE(shop, '$.a' RETURNING INT)"),
        "JSON_VALUE … RETURNING, which fails the job if the value is of another type",
        "TRY_CAST(JSON_VALUE(…) AS …), which gives NULL",
        _row("TRY_CAST(JSON_VALUE(shop, '$.a') AS INT)"),
    ),
    Example(
        "JSON … ERROR",
        "a value that is missing or invalid would stop the job for ever",
        _row("JSON_VALUE(shop, '$.a' ERROR ON ERROR)"),
        "JSON_VALUE … ERROR, which fails the job",
        "NULL ON ERROR, NULL ON EMPTY",
        _row("JSON_VALUE(shop, '$.a' NULL ON ERROR)"),
    ),
    Example(
        "FROM_BASE64",
        "an invalid text would stop the job for ever",
        _row("FROM_BASE64(shop)"),
        "FROM_BASE64",
        "a function of product.yaml that gives NULL for an invalid text: FROM_BASE64 fails the job",
    ),
    Example(
        "GREATEST, LEAST of DECIMAL and another type",
        "NULL would stop the job for ever",
        _row("GREATEST(cents, CAST(cents AS DECIMAL(9, 2)))"),
        "GREATEST of DECIMAL and another type, which fails the job on NULL",
        "two values of one type, with CAST",
        _row("GREATEST(CAST(cents AS DECIMAL(9, 2)), CAST(0 AS DECIMAL(9, 2)))"),
    ),
    Example(
        "GROUP BY without a window",
        "its state grows without end",
        hourly("SELECT shop, COUNT(*) AS n FROM orders GROUP BY shop"),
        "group-aggregate",
        "a window: its state is bounded in event time",
        _of("COUNT(*) AS n"),
    ),
    Example(
        "GROUP BY one end of a window",
        "the groups never close",
        hourly(
            f"SELECT shop, window_start AS w, COUNT(*) AS n {HOURS} GROUP BY window_start, shop"
        ),
        "group-aggregate",
        "GROUP BY window_start, window_end: with only one of them the groups never close",
        _of("COUNT(*) AS n"),
    ),
    Example(
        "A regular join",
        "it keeps every row for ever",
        hourly("SELECT l.shop, r.cents AS c FROM orders l JOIN orders r ON l.shop = r.shop"),
        "join",
        "a window join, an interval join (a.t BETWEEN b.t - INTERVAL … AND b.t + INTERVAL …), or, of a topic with a "
        "key in product.yaml, the look-up LATERAL TABLE(T_at(<event time>, <key>)): a regular join keeps every row for "
        "ever",
        hourly(
            "SELECT l.shop, r.cents AS c FROM orders l JOIN orders r ON l.shop = r.shop AND l.ordered_at BETWEEN "
            "r.ordered_at - INTERVAL '1' HOUR AND r.ordered_at"
        ),
    ),
    Example(
        "A join with VALUES",
        "it keeps every row for ever",
        hourly(
            "SELECT o.shop, v.name FROM orders o JOIN (VALUES ('a', 'Anna')) AS v (shop, name) ON o.shop = v.shop"
        ),
        "a join with VALUES",
        "CASE x WHEN … THEN … END, or a reference topic with a key: a join keeps every row for ever",
        _row("CASE shop WHEN 'a' THEN 'Anna' END"),
    ),
    Example(
        "LIMIT",
        "which rows come first depends on the run",
        hourly("SELECT shop FROM orders LIMIT 5"),
        "limit",
        "a window Top-N: which rows come first depends on the run",
        _top("cents DESC, log_partition, log_offset"),
    ),
    Example(
        "ORDER BY",
        "a table has no order",
        hourly("SELECT shop, cents FROM orders ORDER BY cents"),
        "ORDER BY",
        "no ORDER BY: a table has no order; sort: in product.yaml orders the rows of its files",
        _where("sort: [cents]"),
    ),
    Example(
        "A filter in a table of records",
        "the audit would miss the records that it leaves out",
        rows("SELECT order_id FROM orders WHERE shop <> 'x'"),
        "order_rows leaves records out, and the audit would miss them",
        "outputs.order_rows.where in product.yaml, which the audit evaluates again; or kind: aggregate, for a "
        "table that does not account for records",
        _where("where: shop <> 'x'"),
    ),
    Example(
        "log_partition or log_offset that are not the record's",
        "the audit would count other records",
        rows("SELECT order_id, 0 AS log_partition, cents AS log_offset FROM orders"),
        "order_rows: log_partition and log_offset do not identify one record of orders for each row",
        f"{_PLACES}aggregate in product.yaml",
        rows("SELECT order_id, log_partition, log_offset FROM orders"),
    ),
    Example(
        "The table behind a topic",
        "it also has late and undecodable records",
        rows("SELECT order_id FROM orders__log"),
        "orders__log",
        "orders, which has the records that could be decoded and are on time; the others are in rejects",
        rows("SELECT order_id FROM orders"),
    ),
    Example(
        "A hint",
        "SQL must not decide what a job reads, keeps and calls",
        rows("SELECT order_id FROM orders /*+ OPTIONS('scan.startup.mode' = 'latest-offset') */"),
        "a hint",
        "settings of product.yaml: what a job reads, what it keeps and how it joins must be the same in every run",
        rows("SELECT order_id FROM orders"),
    ),
    Example(
        "A statement that is no view",
        "SQL must not decide what a job reads, keeps and calls",
        Changed({"views.sql": "ADD JAR '/tmp/x.jar'"}),
        "ADD JAR '/TMP/X.JAR'",
        "CREATE VIEW name AS SELECT …",
    ),
    Example(
        "A statement that is no SELECT",
        "SQL must not decide what a job reads, keeps and calls",
        rows("INSERT INTO order_rows SELECT order_id FROM orders"),
        "INSERT",
        "one SELECT that fills order_rows",
        rows("SELECT order_id FROM orders"),
    ),
    Example(
        "A view that nothing uses",
        "Flink's planner does not look into it",
        Changed({"views.sql": "CREATE VIEW v AS SELECT NOW() AS n FROM orders"}),
        "view v is not used",
        "a use of it, or its removal",
    ),
    Example(
        "A setting of Flink that is not listed",
        "it may decide rows",
        topic("switch: auto", "flink: {table.exec.state.ttl: 1 d}"),
        "flink setting table.exec.state.ttl",
        "no such setting, or one that decides no row (docs/safety.md lists them)",
    ),
    Example(
        "A column without a name",
        "Flink makes up a name, which may change",
        _of("COUNT(*)"),
        "hourly_orders: column 3 has no name",
        "a name for the column: … AS name",
        _of("COUNT(*) AS n"),
    ),
    Example(
        "Names that differ only by case",
        "most readers ignore the case of names",
        rows("SELECT order_id, shop, cents AS Shop FROM orders"),
        "order_rows: columns shop and Shop",
        "names that differ by more than case, which most readers ignore",
        rows("SELECT order_id, shop, cents AS price FROM orders"),
    ),
    Example(
        "A type that Iceberg does not have",
        "a reader would get another value",
        _row("INTERVAL '1' DAY"),
        "order_rows: column y is INTERVAL SECOND(3) NOT NULL",
        "TIMESTAMPDIFF(SECOND, a, b), a number",
    ),
)
