"""What made-up SQL is made of: views, sources of rows with their columns, expressions and aggregates by their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Columns = Mapping[str, str]
"""Name → BIGINT, DECIMAL, STRING, BOOLEAN, DOUBLE, TIME, ARRAY or MAP."""


@dataclass(frozen=True)
class Statement:
    """One output."""

    sql: str
    kind: str
    """What it is meant to try, for the figures."""
    settings: Mapping[str, Any] = field(default_factory=lambda: {"kind": "aggregate"})
    """What product.yaml says of it."""


@dataclass(frozen=True)
class Source:
    """Rows with a time attribute."""

    sql: str
    """A name, or a SELECT in parentheses."""
    columns: Columns
    time: str = "ts"

    @property
    def table(self) -> str:
        """As a window takes it."""
        return self.sql if self.sql.startswith("(") else f"TABLE {self.sql}"

    @property
    def place(self) -> tuple[str, ...]:
        """The columns that tell its records apart, if it has them."""
        return tuple(c for c in ("log_topic", "log_partition", "log_offset") if c in self.columns)

    def of(self, *types: str) -> list[str]:
        return [name for name, type_ in self.columns.items() if type_ in types]


_EVENT: dict[str, str] = {
    "id": "STRING",
    "ts": "TIME",
    "k": "STRING",
    "g": "STRING",
    "n": "BIGINT",
    "i": "INT",
    "d": "DECIMAL",
    "x": "DOUBLE",
    "b": "BOOLEAN",
    "s": "STRING",
    "tags": "ARRAY",
    "m": "MAP",
    "seen": "TIME",
    "log_partition": "INT",
    "log_offset": "BIGINT",
}
_SHARED = ("id", "ts", "k", "g", "n", "d", "b", "s", "seen")
TOPICS = ("readings", "orders", "payments")
KEYED = ("visits", "clicks")
# Versions that are in order of time however a topic's partitions are read: of each window the last.
_LAST_OF_WINDOW = """SELECT window_time AS ts, k, {3}
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k
                               ORDER BY {1} DESC, log_partition DESC, log_offset DESC) AS place
  FROM TABLE(TUMBLE(TABLE {0}, DESCRIPTOR({1}), INTERVAL '{2}' MINUTE)))
WHERE place <= 1"""
_VERSIONS = """SELECT k, ts, {1}
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS place FROM {0})
WHERE place = 1"""
VIEWS: dict[str, str] = {
    "everything": "\nUNION ALL\n".join(
        f"SELECT {', '.join(_SHARED)}, log_topic, log_partition, log_offset FROM {topic}"
        for topic in TOPICS
    ),
    "surrounded": "SELECT o.id, o.ts, o.k, o.g, o.n, o.d, o.b, o.s, o.seen, o.log_partition, o.log_offset, p.price, "
    "p.note, h.city\nFROM orders AS o LEFT JOIN LATERAL TABLE(prices_at(o.ts, o.k)) AS p ON TRUE\n"
    "LEFT JOIN LATERAL TABLE(shops_at(o.ts, o.k)) AS h ON TRUE",
    "tagged": "SELECT r.id, r.ts, r.k, r.g, r.n, r.d, r.b, r.s, r.seen, r.log_partition, r.log_offset, t.tag\n"
    "FROM readings AS r CROSS JOIN UNNEST(r.tags) AS t (tag)",
    "paired": "SELECT o.id, o.ts, o.k, o.g, o.n, o.d, o.b, o.s, o.seen, o.log_partition, o.log_offset, p.id AS other, "
    "p.n AS c\nFROM orders AS o JOIN payments AS p ON o.k = p.k AND p.ts BETWEEN o.ts - INTERVAL '2' MINUTE "
    "AND o.ts + INTERVAL '5' MINUTE",
    "recent": "SELECT id, ts, k, g, n, d, b, s, seen, log_partition, log_offset, COUNT(*) OVER w AS c, SUM(n) OVER w "
    "AS total, MAX(d) OVER w AS most\nFROM payments\nWINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN "
    "INTERVAL '5' MINUTE PRECEDING AND CURRENT ROW)",
    "counted": "SELECT window_time AS ts, window_start AS w, k, COUNT(*) AS n, SUM(d) AS d, COUNT(DISTINCT g) AS i\n"
    "FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' MINUTE))\n"
    "GROUP BY window_start, window_end, window_time, k",
    "prices_of_minute": _LAST_OF_WINDOW.format("prices", "ts", "1", "price, note"),
    "prices_versions": _VERSIONS.format("prices_of_minute", "price, note"),
    "shops_of_minute": _LAST_OF_WINDOW.format("shops", "log_appended", "5", "city, size"),
    "shops_versions": _VERSIONS.format("shops_of_minute", "city, size"),
}
_SMALL = {name: _EVENT[name] for name in _SHARED}
_PLACE = {"log_partition": "INT", "log_offset": "BIGINT"}
SOURCES = (
    *(Source(topic, _EVENT) for topic in (*TOPICS, *KEYED)),
    Source("everything", {**_SMALL, "log_topic": "STRING", **_PLACE}),
    Source(
        "surrounded", {**_SMALL, **_PLACE, "price": "BIGINT", "note": "STRING", "city": "STRING"}
    ),
    # Several rows of a record: what needs a total order is refused of these.
    Source("tagged", {**_SMALL, **_PLACE, "tag": "STRING"}),
    Source("paired", {**_SMALL, **_PLACE, "other": "STRING", "c": "BIGINT"}),
    Source("recent", {**_SMALL, **_PLACE, "c": "BIGINT", "total": "BIGINT", "most": "DECIMAL"}),
    Source(
        "counted",
        {"ts": "TIME", "w": "LOCAL", "k": "STRING", "n": "BIGINT", "d": "DECIMAL", "i": "BIGINT"},
    ),
)


LITERALS = {
    "BIGINT": "CAST(3 AS BIGINT)",
    "INT": "5",
    "DECIMAL": "CAST(1.5 AS DECIMAL(12, 2))",
    "STRING": "'a'",
    "BOOLEAN": "TRUE",
    "DOUBLE": "2.5e0",
    "TIME": "TO_TIMESTAMP_LTZ(0, 3)",
}
VALUES: dict[str, tuple[str, ...]] = {
    "BIGINT": (
        "{BIGINT} + {BIGINT}",
        "{BIGINT} - 1",
        "{BIGINT} * 2",
        "{BIGINT} / NULLIF({BIGINT}, 0)",
        "{BIGINT} % 7",
        "CASE WHEN {BOOLEAN} THEN {BIGINT} ELSE 0 END",
        "COALESCE({BIGINT}, 0)",
        "ABS({BIGINT})",
        "CAST(CHAR_LENGTH({STRING}) AS BIGINT)",
        "CAST({INT} AS BIGINT)",
        "TRY_CAST({STRING} AS BIGINT)",
        "EXTRACT(HOUR FROM {TIME})",
        "CAST(TIMESTAMPDIFF(SECOND, {TIME}, {TIME}) AS BIGINT)",
        "GREATEST({BIGINT}, 0)",
        "IF({BOOLEAN}, {BIGINT}, {BIGINT})",
        "CAST(POSITION('a' IN {STRING}) AS BIGINT)",
    ),
    "INT": ("{INT} % 10", "CHAR_LENGTH({STRING})"),
    "DECIMAL": (
        "{DECIMAL} * 2",
        "{DECIMAL} + {DECIMAL}",
        "CAST({BIGINT} AS DECIMAL(20, 2))",
        "ROUND({DECIMAL}, 1)",
        "CASE WHEN ABS({DOUBLE}) < 0 THEN 0.0 ELSE {DECIMAL} END",
        "COALESCE({DECIMAL}, 0.00)",
        "{DECIMAL} / NULLIF({BIGINT}, 0)",
    ),
    "STRING": (
        "UPPER({STRING})",
        "{STRING} || {STRING}",
        "SUBSTRING({STRING}, 1, 2)",
        "CAST({BIGINT} AS STRING)",
        "DATE_FORMAT({TIME}, 'yyyy-MM-dd HH:mm')",
        "CAST({TIME} AS STRING)",
        "JSON_VALUE({STRING}, '$.a')",
        "SPLIT_INDEX({STRING}, ',', 0)",
        "REGEXP_EXTRACT({STRING}, '(.)', 1)",
        "MD5({STRING})",
        "COALESCE({STRING}, '-')",
        "LPAD({STRING}, 4, '.')",
        "CONCAT_WS('-', {STRING}, {STRING})",
        "CASE WHEN {BOOLEAN} THEN {STRING} END",
        "CAST({DECIMAL} AS STRING)",
        "CAST({BOOLEAN} AS STRING)",
        "REPLACE({STRING}, 'a', 'b')",
        "CAST(CAST({TIME} AS DATE) AS STRING)",
    ),
    "BOOLEAN": (
        "{BIGINT} > 0",
        "{STRING} = 'a'",
        "{STRING} LIKE 'a%'",
        "{BIGINT} IS NULL",
        "{STRING} IN ('a', 'b')",
        "NOT {BOOLEAN}",
        "{BOOLEAN} AND {BOOLEAN}",
        "{BOOLEAN} OR {BOOLEAN}",
        "{BIGINT} BETWEEN -5 AND 20",
        "{STRING} IS NOT DISTINCT FROM {STRING}",
        "{DECIMAL} >= 1",
        "{TIME} < {TIME}",
        "{BOOLEAN} IS NOT TRUE",
    ),
    "DOUBLE": (
        "{DOUBLE} * 2",
        "CAST({BIGINT} AS DOUBLE)",
        "COALESCE({DOUBLE}, 0e0)",
        "{DOUBLE} / 3e0",
    ),
    "TIME": (
        "{TIME} + INTERVAL '1' MINUTE",
        "{TIME} - INTERVAL '1' DAY",
        "FLOOR({TIME} TO HOUR)",
        "CASE WHEN {BOOLEAN} THEN {TIME} END",
    ),
}
AGGREGATES = (
    "COUNT(*)",
    "COUNT({STRING})",
    "SUM({BIGINT})",
    "SUM({DECIMAL})",
    "MIN({BIGINT})",
    "MAX({DECIMAL})",
    "MIN({STRING})",
    "MAX({TIME})",
    "MAX({FINITE})",
    "COUNT(DISTINCT {STRING})",
    "COUNT(DISTINCT {BIGINT})",
    "AVG({BIGINT})",
    "AVG({DECIMAL})",
    "SUM(DISTINCT {BIGINT})",
    "MIN({BOOLEAN})",
)
EXACT_OVER = 11
"""So many of them can be over rows, too: of the others Flink makes a division that the check refuses there."""
