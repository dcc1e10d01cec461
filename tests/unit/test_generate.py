"""The SQL that nobody writes, whole, and what product.yaml cannot smuggle into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import generate
from jobs.product.folder import ProductError, load_product
from jobs.product.model import REJECTS, Column, Kind, Output
from jobs.product.sql import split_statements
from jobs.product.topic_schemas import schema_text
from tests.unit.folders import SCHEMA, SETTINGS, changed, write

AT = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}


def topics(**rules: Any) -> dict[str, Any]:
    """product.yaml with other rules of its topic; None takes one away."""
    return changed(
        SETTINGS,
        lambda s: s["topics"].update(
            orders={k: v for k, v in {**s["topics"]["orders"], **rules}.items() if v is not None}
        ),
    )


def other(**topic: Any) -> dict[str, Any]:
    """product.yaml with a topic `shops` besides."""
    return changed(SETTINGS, lambda s: s["topics"].update(shops=topic))


# --- tables and views of topics


def test_the_table_of_events_that_the_source_holds(tmp_path: Path) -> None:
    product = write(tmp_path)
    assert (
        generate.source_table(product, "orders", {"connector": "kappa-log", "topic": "orders"})
        == """\
CREATE TEMPORARY TABLE `orders__log` (
  `a` INT,
  `at` TIMESTAMP_LTZ(3),
  `log_value` BYTES,
  `log_error` STRING,
  `log_partition` INT METADATA FROM 'partition' VIRTUAL,
  `log_offset` BIGINT METADATA FROM 'offset' VIRTUAL,
  `log_appended` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `log_clock` TIMESTAMP_LTZ(3) METADATA FROM 'clock' VIRTUAL,
  WATERMARK FOR `at` AS `at`
) WITH (
  'connector' = 'kappa-log',
  'topic' = 'orders'
)"""
    )


def test_the_view_of_events_that_the_source_holds(tmp_path: Path) -> None:
    assert (
        generate.topic_view(write(tmp_path), "orders")
        == """\
CREATE TEMPORARY VIEW `orders` AS
SELECT `a`, `at`, 'orders' AS `log_topic`, `log_partition`, `log_offset`, `log_appended`
FROM `orders__log`
WHERE `log_error` IS NULL AND `log_value` IS NOT NULL AND `at` >= `log_clock` - INTERVAL '1' HOUR \
AND `at` <= `log_clock` + INTERVAL '1' DAY"""
    )


def test_events_without_an_identity_have_the_logs_watermark(tmp_path: Path) -> None:
    product = write(
        tmp_path, settings=topics(identity=None, allowed_lateness="90s", max_ahead="5min")
    )
    assert watermark(generate.source_table(product, "orders", {})) == (
        "WATERMARK FOR `at` AS `log_appended` - INTERVAL '90' SECOND"
    )
    view = generate.topic_view(product, "orders")
    assert (
        "`at` >= `log_clock` - INTERVAL '90' SECOND AND `at` <= `log_clock` + INTERVAL '5' MINUTE"
        in view
    )
    assert "OVER" not in view


def test_events_once_in_their_topic(tmp_path: Path) -> None:
    product = write(tmp_path, settings=topics(once="topic", identity=["a"], columns={"b": "a + 1"}))
    assert watermark(generate.source_table(product, "orders", {})) == (
        "WATERMARK FOR `at` AS `log_appended` - INTERVAL '1' HOUR"
    )
    assert (
        generate.topic_view(product, "orders")
        == """\
CREATE TEMPORARY VIEW `orders` AS
SELECT `a`, `at`, `b`, `log_topic`, `log_partition`, `log_offset`, `log_appended`
FROM (
  SELECT *, `log_offset` * 65536 + `log_partition` AS log__place, MIN(`log_offset` * 65536 + `log_partition`) OVER (
    PARTITION BY `a` ORDER BY `at`
    RANGE BETWEEN INTERVAL '0' SECOND PRECEDING AND CURRENT ROW) AS log__first
  FROM (
SELECT `a`, `at`, `b`, 'orders' AS `log_topic`, `log_partition`, `log_offset`, `log_appended`
FROM `orders__log`
WHERE `log_error` IS NULL AND `log_value` IS NOT NULL AND `at` >= `log_clock` - INTERVAL '1' HOUR \
AND `at` <= `log_clock` + INTERVAL '1' DAY
  )
)
WHERE log__place = log__first"""
    )


def test_a_dimension(tmp_path: Path) -> None:
    product = write(
        tmp_path, settings=other(role="dimension", time="at", allowed_lateness="10min", key=["a"])
    )
    assert watermark(generate.source_table(product, "shops", {})) == (
        "WATERMARK FOR `at` AS `log_appended` - INTERVAL '10' MINUTE"
    )
    assert (
        generate.topic_view(product, "shops")
        == """\
CREATE TEMPORARY VIEW `shops` AS
SELECT `a`, `at`, 'shops' AS `log_topic`, `log_partition`, `log_offset`, `log_appended`
FROM `shops__log`
WHERE `log_error` IS NULL AND `log_value` IS NOT NULL AND `at` >= `log_clock` - INTERVAL '10' MINUTE \
AND `at` <= `log_clock` + INTERVAL '1' DAY"""
    )


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, "WATERMARK FOR `log_appended` AS `log_appended`"),
        ("at", "WATERMARK FOR `at` AS `at`"),
    ],
)
def test_a_reference_is_never_late(tmp_path: Path, time: str | None, expected: str) -> None:
    product = write(tmp_path, settings=other(role="reference", **({"time": time} if time else {})))
    assert watermark(generate.source_table(product, "shops", {})) == expected
    assert (
        generate.topic_view(product, "shops")
        == """\
CREATE TEMPORARY VIEW `shops` AS
SELECT `a`, `at`, 'shops' AS `log_topic`, `log_partition`, `log_offset`, `log_appended`
FROM `shops__log`
WHERE `log_error` IS NULL AND `log_value` IS NOT NULL"""
    )


def watermark(table: str) -> str:
    (line,) = (line.strip() for line in table.splitlines() if "WATERMARK" in line)
    return line


@pytest.mark.parametrize("where", ["output", "view", "computed column", "where"])
def test_the_key_and_the_headers_are_read_where_they_are_named(tmp_path: Path, where: str) -> None:
    plain = write(tmp_path)
    for text in (generate.source_table(plain, "orders", {}), generate.topic_view(plain, "orders")):
        assert "log_key" not in text and "log_headers" not in text
    named: dict[str, dict[str, Any]] = {
        "output": {"sql": "SELECT a, log_key AS b FROM orders"},
        "computed column": {"settings": topics(columns={"k": "CAST(log_key AS STRING)"})},
        "where": {
            "settings": changed(
                SETTINGS, lambda s: s["outputs"].update(rows={"where": "`log_key` = a"})
            )
        },
    }
    if where == "view":
        (tmp_path / "views.sql").write_text(
            "CREATE VIEW v AS SELECT log_key, 'log_headers' AS h FROM orders"
        )
    product = write(tmp_path, **named.get(where, {}))
    table = generate.source_table(product, "orders", {})
    assert (
        "  `log_key` BYTES METADATA FROM 'key' VIRTUAL,\n" in table and "log_headers" not in table
    )
    assert "`log_appended`, `log_key`\n" in generate.topic_view(product, "orders")


def test_computed_columns_come_behind_what_they_are_computed_of(tmp_path: Path) -> None:
    product = write(
        tmp_path,
        settings=topics(
            time="happened",
            columns={
                "happened": "COALESCE(`at`, log_appended)",
                "vat": "CAST(a AS DECIMAL(9, 2)) * 19",
            },
        ),
    )
    assert generate.source_table(product, "orders", {"connector": "x"}).splitlines()[-6:] == [
        "  `happened` AS COALESCE(`at`, log_appended),",
        "  `vat` AS CAST(a AS DECIMAL(9, 2)) * 19,",
        "  WATERMARK FOR `happened` AS `happened`",
        ") WITH (",
        "  'connector' = 'x'",
        ")",
    ]
    assert "SELECT `a`, `at`, `happened`, `vat`, 'orders' AS `log_topic`" in generate.topic_view(
        product, "orders"
    )
    assert generate.column_names(product, "orders") == (
        "a",
        "at",
        "happened",
        "vat",
        "log_topic",
        "log_partition",
        "log_offset",
        "log_appended",
        "log_key",
        "log_headers",
    )


def test_the_name_in_kafka_is_a_value(tmp_path: Path) -> None:
    product = write(tmp_path, settings=topics(topic="pg.public.orders-2"))
    assert "'pg.public.orders-2' AS `log_topic`" in generate.topic_view(product, "orders")
    assert "CAST('pg.public.orders-2' AS STRING) AS `log_topic`" in generate.rejects_query(product)
    assert "CREATE TEMPORARY VIEW `orders`" in generate.topic_view(product, "orders")


def test_reserved_words_are_names_and_quotes_are_text(tmp_path: Path) -> None:
    words = {
        **SCHEMA,
        "fields": [
            {"name": "order", "type": "int"},
            {**AT, "name": "timestamp"},
            {
                "name": "select",
                "type": {
                    "type": "record",
                    "name": "from",
                    "fields": [{"name": "group", "type": "string"}],
                },
            },
        ],
    }
    product = write(
        tmp_path,
        schema=words,
        settings=changed(
            SETTINGS,
            lambda s: s.update(
                topics={
                    "table": {
                        "time": "timestamp",
                        "allowed_lateness": "1h",
                        "identity": ["order"],
                        "once": "topic",
                    }
                }
            ),
        ),
    )
    table = generate.source_table(product, "table", {"it's": "a 'b' \\ c"})
    assert table.splitlines()[:4] == [
        "CREATE TEMPORARY TABLE `table__log` (",
        "  `order` INT,",
        "  `timestamp` TIMESTAMP_LTZ(3),",
        "  `select` ROW<`group` STRING>,",
    ]
    assert table.splitlines()[-2:] == ["  'it''s' = 'a ''b'' \\ c'", ")"]
    for text in (table, generate.topic_view(product, "table"), generate.rejects_query(product)):
        bare = {t.text for s in split_statements(tmp_path, text) for t in s.tokens}
        assert not bare & {"order", "timestamp", "select", "table", "group"}


def test_the_schema_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    product = write(tmp_path)
    file = tmp_path / "schemas" / "orders.avsc"
    file.write_text(json.dumps({**SCHEMA, "doc": "it's ½"}, indent=2))
    assert schema_text(product, "orders") == json.dumps(
        {**SCHEMA, "doc": "it's ½"}, ensure_ascii=False
    )
    file.write_text("{")
    with pytest.raises(
        ProductError,
        match=r"orders\.avsc: expected an Avro schema \(JSON\), found Expecting property",
    ):
        schema_text(product, "orders")


# --- what product.yaml says of a schema


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            topics(columns={"A": "1"}),
            "topics.orders.columns: a name that the schema does not have, found a",
            id="computed twice",
        ),
        pytest.param(
            topics(columns={"log_Offset": "1"}),
            "topics.orders.columns: a name that no topic has by itself, found log_Offset",
            id="the log's",
        ),
        pytest.param(
            topics(identity=["aa"]),
            "topics.orders.identity: a column (did you mean a?), found aa",
            id="identity",
        ),
        pytest.param(
            topics(identity=["zzzz"]),
            "topics.orders.identity: a column (one of a, at), found zzzz",
            id="identity that is like nothing",
        ),
        pytest.param(
            topics(time="At"),
            "topics.orders.time: a column (did you mean at?), found At",
            id="case of the time",
        ),
        pytest.param(
            topics(time="a"),
            "topics.orders.time: a TIMESTAMP_LTZ(3), such as columns: "
            '{a_ms: "…"} with time: a_ms, found a, a INT',
            id="time of a number",
        ),
    ],
)
def test_columns_that_product_yaml_names(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    product = write(tmp_path)
    write_settings(tmp_path, settings)
    with pytest.raises(ProductError) as e:
        generate.schema_fields(load_product(tmp_path), "orders")
    assert e.value.file == product.folder / "product.yaml"
    assert message in str(e.value)


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "product.yaml").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("long", "TO_TIMESTAMP_LTZ(`at`, 3)"),
        ("string", "CAST(TO_TIMESTAMP(`at`) AS TIMESTAMP_LTZ(3))"),
        (
            {"type": "int", "logicalType": "date"},
            "CAST(CAST(`at` AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3))",
        ),
        ({"type": "long", "logicalType": "timestamp-micros"}, "CAST(`at` AS TIMESTAMP_LTZ(3))"),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            "CAST(`at` AS TIMESTAMP_LTZ(3))",
        ),
    ],
)
def test_how_a_time_of_another_type_is_written(tmp_path: Path, type_: Any, expected: str) -> None:
    product = write(tmp_path)
    schema = changed(SCHEMA, lambda s: s["fields"][1].update(type=type_))
    (tmp_path / "schemas" / "orders.avsc").write_text(json.dumps(schema))
    with pytest.raises(ProductError) as e:
        generate.schema_fields(product, "orders")
    assert f'such as columns: {{at_ms: "{expected}"}} with time: at_ms' in e.value.expected


# --- rejects


def test_rejects_of_events(tmp_path: Path) -> None:
    assert (
        generate.rejects_query(write(tmp_path))
        == """\
SELECT CAST('orders' AS STRING) AS `log_topic`, `log_partition`, `log_offset`,
  CAST(`log_appended` AS TIMESTAMP_LTZ(6)) AS `appended`,
  CASE
    WHEN `log_error` IS NOT NULL THEN 'undecodable: ' || `log_error`
    WHEN `at` IS NULL THEN 'no time: at is NULL'
    WHEN `at` < `log_appended` - INTERVAL '1' HOUR THEN 'late: at ' || CAST(`at` AS STRING) || \
' is more than 1h before it was appended'
    WHEN `at` < `log_clock` - INTERVAL '1' HOUR THEN 'out of order: at ' || CAST(`at` AS STRING) || \
' is more than 1h before an earlier record was appended'
    WHEN `at` > `log_clock` + INTERVAL '1' DAY THEN 'ahead: at ' || CAST(`at` AS STRING) || \
' is more than 1d after it was appended'
  END AS `reason`, `log_value` AS `payload`
FROM `orders__log`
WHERE `log_value` IS NOT NULL AND (`log_error` IS NOT NULL OR `at` IS NULL \
OR `at` < `log_appended` - INTERVAL '1' HOUR OR `at` < `log_clock` - INTERVAL '1' HOUR \
OR `at` > `log_clock` + INTERVAL '1' DAY)"""
    )


def test_rejects_of_versions(tmp_path: Path) -> None:
    _, query = generate.rejects_query(
        write(tmp_path, settings=other(role="reference", key=["a"]))
    ).split("\nUNION ALL\n")
    assert (
        query
        == """\
SELECT CAST('shops' AS STRING) AS `log_topic`, `log_partition`, `log_offset`,
  CAST(`log_appended` AS TIMESTAMP_LTZ(6)) AS `appended`,
  CASE
    WHEN `log_error` IS NOT NULL THEN 'undecodable: ' || `log_error`
    WHEN `a` IS NULL THEN 'no key: a is NULL'
  END AS `reason`, `log_value` AS `payload`
FROM `shops__log`
WHERE `log_value` IS NOT NULL AND (`log_error` IS NOT NULL OR `a` IS NULL)"""
    )
    dimension = other(role="dimension", time="at", allowed_lateness="10min", key=["a"])
    _, query = generate.rejects_query(write(tmp_path, settings=dimension)).split("\nUNION ALL\n")
    reasons = [
        line.split("THEN '")[1].split(":")[0] for line in query.splitlines() if "WHEN" in line
    ]
    assert reasons == ["undecodable", "no key", "no time", "late", "out of order", "ahead"]


def test_a_record_is_in_the_view_or_in_rejects(tmp_path: Path) -> None:
    """Every condition of the one is the opposite of a condition of the other, and of NULL neither holds of the view."""
    product = write(tmp_path)
    view, rejects = (
        text.rpartition("WHERE ")[2]
        for text in (generate.topic_view(product, "orders"), generate.rejects_query(product))
    )
    good = {c for c in view.split(" AND ") if c != "`log_value` IS NOT NULL"}
    bad = set(rejects.removeprefix("`log_value` IS NOT NULL AND (").removesuffix(")").split(" OR "))
    opposites = {
        "`log_error` IS NULL": "`log_error` IS NOT NULL",
        "`at` >= `log_clock` - INTERVAL '1' HOUR": "`at` < `log_clock` - INTERVAL '1' HOUR",
        "`at` <= `log_clock` + INTERVAL '1' DAY": "`at` > `log_clock` + INTERVAL '1' DAY",
    }
    assert good == set(opposites)
    # Late by its own timestamp is late by the clock, which is never behind it.
    assert bad == {*opposites.values(), "`at` IS NULL", "`at` < `log_appended` - INTERVAL '1' HOUR"}


def test_the_output_of_rejects(tmp_path: Path) -> None:
    product = write(tmp_path)
    output = generate.rejects_output(product)
    assert (output.kind, output.of, output.select) == (
        Kind.rejects,
        (),
        generate.rejects_query(product),
    )
    assert [c.name for c in output.columns] == [
        "log_topic",
        "log_partition",
        "log_offset",
        "appended",
        "reason",
        "payload",
    ]
    assert product.outputs[REJECTS] == output


# --- outputs


def test_an_output_and_what_fills_it() -> None:
    columns = (Column(name="order", type="INT"), Column(name="b", type="ROW<`x` INT>"))
    output = Output(
        kind=Kind.rows, columns=columns, select="SELECT a AS `order`, b FROM orders -- of the shop"
    )
    assert generate.sink_table(
        "rows", {c.name: c.type for c in columns}, {"connector": "blackhole"}
    ) == (
        "CREATE TEMPORARY TABLE `rows` (\n  `order` INT,\n  `b` ROW<`x` INT>\n) WITH (\n  'connector' = 'blackhole'\n)"
    )
    assert generate.insert("rows", output) == (
        "INSERT INTO `rows` (`order`, `b`)\nSELECT a AS `order`, b FROM orders -- of the shop"
    )


def test_where_is_decided_once_and_leaves_no_column() -> None:
    assert generate.filtered(
        "SELECT (a > 0) AS `log_kept`, a FROM orders -- of the shop", ["a", "order"]
    ) == (
        "SELECT `a`, `order`\nFROM (\nSELECT (a > 0) AS `log_kept`, a FROM orders -- of the shop\n)\n"
        "WHERE `log_kept`"
    )


GOOD = [
    "a > 0",
    " a > 0 ",
    "a > 0 OR b = 'x'",
    "COALESCE(a, 0) > (1 + 2)",
    "b = '); DROP TABLE x; --'",
    "b = 'it''s, x'",
    "b LIKE 'http://%'",
    "b LIKE '%--%'",
    "`a,b` = 1",
    "b IN ('(', ')', '/*')",
    "a\n  > 0",
    "a % 2 * 3 > 1",
    "b <> '`'",
    "`it's` = 1",
]
BAD = [
    "",
    " ",
    ";",
    "a > 0;",
    "a > 0; SELECT 1",
    "a, b",
    "a), (b",
    "a) AS x, (b",
    "(a",
    "a)",
    ") (",
    "a > 0 -- b",
    "a > 0 // b",
    "a /* b */ > 0",
    "/* b */ a",
    "-- b\na",
    "a /*+ STATE_TTL('x' = '1d') */",
    "a /*",
    "*/ + 1",
    "b = 'x",
    "b = 'it's'",
    "`a",
    "'",
    "a)) OR ((b",
]


@pytest.mark.parametrize("text", GOOD)
def test_expressions(tmp_path: Path, text: str) -> None:
    product = write(
        tmp_path, settings=changed(SETTINGS, lambda s: s["outputs"].update(rows={"where": text}))
    )
    assert generate.condition(product, "rows") == f"({text.strip()})"
    product = write(tmp_path, settings=topics(columns={"c": text}))
    assert f"  `c` AS {text.strip()},\n  WATERMARK" in generate.source_table(product, "orders", {})


@pytest.mark.parametrize("text", BAD)
def test_an_expression_cannot_break_out_of_its_place(tmp_path: Path, text: str) -> None:
    product = write(
        tmp_path, settings=changed(SETTINGS, lambda s: s["outputs"].update(rows={"where": text}))
    )
    with pytest.raises(ProductError) as e:
        generate.condition(product, "rows")
    assert (e.value.file, e.value.expected) == (
        tmp_path / "product.yaml",
        "outputs.rows.where: one expression of SQL, without comments",
    )
    product = write(tmp_path, settings=topics(columns={"c": text}))
    with pytest.raises(
        ProductError, match=r"topics\.orders\.columns\.c: one expression of SQL, without comments"
    ):
        generate.source_table(product, "orders", {})


@pytest.mark.parametrize(
    "text", ["a / 2 = 1", "COUNT(*) OVER (PARTITION BY b) > 1", "a IN (SELECT a FROM orders)"]
)
def test_a_where_is_decided_of_one_record_and_alike_everywhere(tmp_path: Path, text: str) -> None:
    product = write(
        tmp_path, settings=changed(SETTINGS, lambda s: s["outputs"].update(rows={"where": text}))
    )
    with pytest.raises(ProductError) as e:
        generate.condition(product, "rows")
    assert e.value.expected.startswith("outputs.rows.where: a condition on one record")


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("0s", "INTERVAL '0' DAY"),
        ("1s", "INTERVAL '1' SECOND"),
        ("90s", "INTERVAL '90' SECOND"),
        ("100s", "100 * INTERVAL '1' SECOND"),
        ("120s", "INTERVAL '2' MINUTE"),
        ("5min", "INTERVAL '5' MINUTE"),
        ("90min", "INTERVAL '90' MINUTE"),
        ("6h", "INTERVAL '6' HOUR"),
        ("24h", "INTERVAL '1' DAY"),
        ("99d", "INTERVAL '99' DAY"),
        ("100d", "100 * INTERVAL '1' DAY"),
        ("101h", "101 * INTERVAL '1' HOUR"),
        ("500ms", "500 * INTERVAL '0.001' SECOND"),
        ("1500ms", "1500 * INTERVAL '0.001' SECOND"),
        ("2000ms", "INTERVAL '2' SECOND"),
    ],
)
def test_intervals(duration: str, expected: str) -> None:
    assert generate.interval(duration) == expected
