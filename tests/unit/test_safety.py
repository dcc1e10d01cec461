"""The replay-safety check on statements and on hand-made plans: everything that it refuses, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.plan.compiled import Node, parse_plan
from jobs.product.folder import Product
from jobs.safety import flink_settings, functions, operators
from jobs.safety.functions import LOG_CLOCK
from jobs.safety.plan import check_plan
from jobs.safety.problem import Problem
from jobs.safety.text import check_statements
from tests.unit import plans
from tests.unit.folders import SETTINGS, changed, write
from tests.unit.plans import agg, aggregate, calc, call, cast, node, ref, scan, sink, where
from tests.unit.products import flights, orders

SAFE = changed(SETTINGS, lambda s: s.update(outputs={"rows": {}}, functions={}))


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Events with an identity, in one table of rows."""
    return write(tmp_path, settings=SAFE)


def statements(
    product: Product, *, rows: str | None = None, views: str | None = None
) -> list[Problem]:
    if rows is not None:
        product.select_sql("rows").write_text(rows)
    if views is not None:
        product.views_sql.write_text(views)
    return list(check_statements(product))


# --- statements and product.yaml


@pytest.mark.parametrize("of", [flights, orders])
def test_our_products_say_nothing_that_is_refused(of: Any) -> None:
    assert list(check_statements(of())) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT a FROM orders /*+ OPTIONS('scan.startup.mode' = 'latest-offset') */", 1),
        ("SELECT\n/*+ STATE_TTL('orders' = '1 d') */ a FROM orders", 2),
        ("SELECT a FROM orders\n\n/*+LOOKUP('table'='x')*/ AS o", 3),
    ],
)
def test_hints_are_refused(product: Product, text: str, line: int) -> None:
    assert statements(product, rows=text) == [
        Problem(
            str(product.folder / "rows.sql"),
            line,
            "a hint",
            "settings of product.yaml: what a job reads, what it keeps and how it joins must be the same in every run",
        )
    ]
    assert statements(product, rows="SELECT a FROM v", views=f"CREATE VIEW v AS {text}") == [
        Problem(
            str(product.folder / "views.sql"),
            line,
            "a hint",
            "settings of product.yaml: what a job reads, what it keeps and how it joins must be the same in every run",
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '/*+ x */' AS a FROM orders",
        "SELECT a FROM orders -- /*+ x */",
        "SELECT a FROM orders // /*+ x */",
        "SELECT a /* + x */ FROM orders",
        "SELECT '\\' AS b, a FROM orders -- '/*+ x */",
    ],
)
def test_what_is_no_hint(product: Product, text: str) -> None:
    assert statements(product, rows=text) == []


@pytest.mark.parametrize("name", ["orders__log", "`orders__log`"])
def test_the_log_itself_is_not_read(product: Product, name: str) -> None:
    assert statements(product, rows=f"SELECT a\nFROM {name}") == [
        Problem(
            str(product.folder / "rows.sql"),
            2,
            "orders__log",
            "orders, which has the records that could be decoded and are on time; the others are in rejects",
        )
    ]


@pytest.mark.parametrize(
    "text", ["SELECT 'orders__log' AS a FROM orders", "SELECT a FROM orders -- orders__log"]
)
def test_the_logs_name_in_a_text_is_none(product: Product, text: str) -> None:
    assert statements(product, rows=text) == []


def test_an_order_of_rows_is_refused_where_it_stands(product: Product) -> None:
    for rows in (
        "SELECT a FROM orders\nORDER BY a",
        "SELECT UPPER(TRIM(a)) AS a FROM orders\nORDER BY a",
    ):
        (problem,) = statements(product, rows=rows)
        assert (problem.line, problem.construct) == (2, "ORDER BY")
    for text in (
        "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY `at`) AS n FROM orders",
        "SELECT `order` AS a FROM orders",
        "SELECT a FROM (SELECT a FROM orders ORDER BY a)",
    ):
        assert statements(product, rows=text) == []


VIEW = "CREATE VIEW v AS SELECT a FROM orders"
TABLE = (
    "topics of product.yaml, with schemas/T.avsc or schemas/T.json, for what is read (kappa new NAME --topic T writes "
    "both), and outputs for what is filled"
)


@pytest.mark.parametrize(
    ("views", "line", "construct", "instead"),
    [
        ("SELECT 1", 1, "SELECT 1", "CREATE VIEW name AS SELECT …"),
        (
            "SET 'a' = 'b'",
            1,
            "SET 'A' =",
            "no such setting, or one that decides no row, under flink of product.yaml (docs/safety.md lists them)",
        ),
        (
            f"{VIEW};\nINSERT INTO rows SELECT 1",
            2,
            "INSERT INTO ROWS",
            "outputs of product.yaml, and for each O of them a file O.sql with its SELECT",
        ),
        (f"{VIEW};\nCREATE TABLE t (a INT)", 2, "CREATE TABLE T", TABLE),
        ("CREATE TEMPORARY TABLE t (a INT)", 1, "CREATE TEMPORARY TABLE", TABLE),
        (
            f"{VIEW};\nCREATE FUNCTION f AS 'x'",
            2,
            "CREATE FUNCTION F",
            "CREATE VIEW name AS SELECT …",
        ),
        (
            f"{VIEW};\nCREATE VIEW IF NOT EXISTS w AS SELECT IF(a) FROM v",
            2,
            "CREATE VIEW IF",
            "CREATE VIEW name AS SELECT …",
        ),
        (f"{VIEW};\nDROP VIEW v", 2, "DROP VIEW V", "CREATE VIEW name AS SELECT …"),
        (
            f"{VIEW};\n\nCREATE VIEW orders AS SELECT 1",
            3,
            "view orders",
            "a name of its own, without __",
        ),
        (f"{VIEW};\nCREATE VIEW rows AS SELECT 1", 2, "view rows", "a name of its own, without __"),
        (
            f"{VIEW};\nCREATE VIEW rejects AS SELECT 1",
            2,
            "view rejects",
            "a name of its own, without __",
        ),
        (
            f"{VIEW};\nCREATE VIEW w__log AS SELECT 1",
            2,
            "view w__log",
            "a name of its own, without __",
        ),
        (
            f"{VIEW};\nCREATE TEMPORARY VIEW `w` AS SELECT 1",
            2,
            "view w is not used",
            "a use of it, or its removal",
        ),
        (
            f"CREATE VIEW w AS SELECT a FROM w;\n{VIEW}",
            1,
            "view w is not used",
            "a use of it, or its removal",
        ),
    ],
)
def test_views_sql_creates_views_that_are_used(
    product: Product, views: str, line: int, construct: str, instead: str
) -> None:
    found = statements(product, rows="SELECT a FROM v", views=views)
    assert Problem(str(product.folder / "views.sql"), line, construct, instead) in found


def test_a_view_may_be_used_by_a_later_one(product: Product) -> None:
    assert (
        statements(
            product, rows="SELECT a FROM w", views=f"{VIEW};\nCREATE VIEW w AS SELECT a FROM v"
        )
        == []
    )


@pytest.mark.parametrize("said", [{}, {"deterministic": True}], ids=["nothing", "true"])
def test_nobody_has_to_declare_a_function_deterministic(
    tmp_path: Path, said: dict[str, bool]
) -> None:
    made = write(
        tmp_path,
        settings=changed(
            SAFE,
            lambda s: s["functions"].update(g={"python": "udfs.x:g", "returns": "INT", **said}),
        ),
    )
    assert list(check_statements(made)) == []


def test_a_function_that_is_declared_not_to_be_deterministic_is_refused(tmp_path: Path) -> None:
    made = write(
        tmp_path,
        settings=changed(
            SAFE,
            lambda s: s["functions"].update(
                g={"python": "udfs.x:g", "returns": "INT", "deterministic": False}
            ),
        ),
    )
    assert list(check_statements(made)) == [
        Problem(
            str(tmp_path / "product.yaml"),
            0,
            "function g is declared not to be deterministic",
            "a function whose equal arguments give equal results in every run",
        )
    ]


@pytest.mark.parametrize(
    "python",
    [
        "random:random",
        "time:time",
        "os.path:exists",
        "uuid:uuid4",
        "numpy.random:rand",
        "jobs.product.zones:is_fixed",
        "udfsx:f",
        "xudfs.a:f",
        "math:sqrt",
        "builtins:hash",
    ],
)
def test_functions_are_of_the_modules_that_a_release_is_archived_with(
    tmp_path: Path, python: str
) -> None:
    made = write(
        tmp_path,
        settings=changed(
            SAFE,
            lambda s: s["functions"].update(
                g={"python": python, "returns": "INT", "deterministic": True}
            ),
        ),
    )
    assert list(check_statements(made)) == [
        Problem(
            str(tmp_path / "product.yaml"),
            0,
            f"function g is {python}",
            "module:function, a function that a module of udfs/ defines, such as udfs.privacy:pseudonym",
        )
    ]


@pytest.mark.parametrize(
    "setting",
    [
        "table.exec.state.ttl",
        "table.exec.source.idle-timeout",
        "table.exec.mini-batch.enabled",
        "table.local-time-zone",
        "execution.runtime-mode",
        "table.exec.async-lookup.timeout",
        "table.dynamic-table-options.enabled",
        "execution.checkpointing.mode",
        "parallelism.default",
        "table.exec.emit.late-fire.enabled",
        "table.optimizer.reuse-source-enabled",
        "jobmanager.memory.process.size",
        "",
        "state.backend",
        "state.backend.",
        "state.checkpoints.dir",
        "pipeline.jars",
        "python.files",
        "table.exec.async-state.enabled",
        "restart-strategy",
        "execution.checkpointing.unaligned.enabled",
        "execution.state-recovery.path",
        "table.sql-dialect",
        "$internal.pipeline.job-id",
        "table.exec.sink.not-null-enforcer",
        "pipeline.jars ",
        " pipeline.max-parallelism",
    ],
)
def test_settings_that_may_decide_rows_are_refused(tmp_path: Path, setting: str) -> None:
    made = write(
        tmp_path, settings={**SAFE, "flink": {setting: "x", "state.backend.type": "rocksdb"}}
    )
    (problem,) = check_statements(made)
    assert (problem.file, problem.line) == (str(tmp_path / "product.yaml"), 0)
    assert problem.construct == f"flink setting {setting}"
    assert problem.instead.startswith("no such setting, or one that decides no row (d")


def test_a_setting_that_was_misspelt(tmp_path: Path) -> None:
    (problem,) = check_statements(
        write(tmp_path, settings={**SAFE, "flink": {"state.backend.typ": "rocksdb"}})
    )
    assert (
        problem.instead
        == "no such setting, or one that decides no row (did you mean state.backend.type?)"
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("state.backend.type", "com.example.Backend"),
        ("restart-strategy.type", "none"),
        ("state.backend.type", "rocksdb\n"),
        ("execution.checkpointing.timeout", "soon"),
        ("pipeline.max-parallelism", "-1"),
        ("pipeline.max-parallelism", "4"),
        ("python.fn-execution.bundle.size", "1; x"),
    ],
)
def test_a_setting_with_a_value_that_nobody_knows(tmp_path: Path, setting: str, value: str) -> None:
    (problem,) = check_statements(write(tmp_path, settings={**SAFE, "flink": {setting: value}}))
    assert problem.construct == f"flink setting {setting}: {value}"
    assert problem.instead == f"a value that matches {flink_settings.SETTINGS[setting].values}"


def test_settings_that_decide_no_row_are_the_products_own(tmp_path: Path) -> None:
    flink = {
        "state.backend.type": "rocksdb",
        "restart-strategy.type": "fixed-delay",
        "python.fn-execution.bundle.size": "1000",
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    }
    assert list(check_statements(write(tmp_path, settings={**SAFE, "flink": flink}))) == []


def test_all_problems_of_the_statements_are_told(tmp_path: Path) -> None:
    made = write(
        tmp_path,
        settings={
            **SETTINGS,
            "flink": {"table.exec.state.ttl": "1 d"},
            "functions": {"f": {"python": "random:random", "returns": "DOUBLE"}},
        },
    )
    found = statements(made, rows="SELECT a FROM orders__log /*+ x */ ORDER BY a", views=VIEW)
    assert [p.construct for p in found] == [
        "view v is not used",
        "orders__log",
        "a hint",
        "ORDER BY",
        "function f is random:random",
        "flink setting table.exec.state.ttl",
    ]


# --- plans


EVENTS = scan("orders", "a", "at", "log_partition", "log_offset")
REJECTS = sink(EVENTS, "rejects")


def refused(product: Product, last: Node, *others: Node) -> list[tuple[str, str]]:
    """What is refused of a job that fills `rows`: construct and what to write instead."""
    return [(p.construct, p.instead) for p in check_plan(product, (sink(last), REJECTS, *others))]


@pytest.mark.parametrize("of", [flights, orders])
def test_the_plans_of_our_products_are_safe(of: Any) -> None:
    product = of()
    found = parse_plan((plans.PLANS / f"{product.name}.json").read_text())
    assert list(check_plan(product, found)) == []


def test_a_topic_of_which_only_rejects_are_kept(product: Product) -> None:
    found = list(check_plan(product, (sink(node("values", columns=["a"])), REJECTS)))
    assert found == [
        Problem(
            str(product.folder / "product.yaml"),
            0,
            "topic orders is not read",
            "a use of it, or its removal from product.yaml",
        )
    ]


def test_no_plan_at_all(product: Product) -> None:
    assert [p.construct for p in check_plan(product, ())] == ["topic orders is not read"]


def test_a_topic_that_is_read_twice(product: Product) -> None:
    second = sink(scan("orders", "a"), "sums")
    assert list(check_plan(product, (sink(EVENTS), REJECTS, second))) == [
        Problem(
            str(product.folder / "product.yaml"),
            0,
            "topic orders is read 2 times",
            "one view in views.sql that all outputs read, with the columns that they all need",
        )
    ]


def test_a_watermark_behind_the_source(product: Product) -> None:
    behind = node("watermark-assigner", scan("orders", "a", pushed=False))
    inside, assigner = check_plan(product, (sink(behind),))
    assert inside == Problem(
        str(product.folder / "product.yaml"),
        0,
        "the watermark of orders is not taken inside the source, per partition",
        "a time computed from columns of the schema and the log, without Python functions, so that the source "
        "takes the watermark, per partition",
    )
    assert assigner.construct == "watermark-assigner"


@pytest.mark.parametrize(
    "operator",
    [
        "watermark-assigner",
        "lookup-join",
        "group-aggregate",
        "local-group-aggregate",
        "global-group-aggregate",
        "incremental-group-aggregate",
        "group-table-aggregate",
        "join",
        "changelog-normalize",
        "limit",
        "sort-limit",
        "rank",
        "sort",
        "temporal-sort",
        "process-table-function",
    ],
)
def test_refused_operators(product: Product, operator: str) -> None:
    assert operator not in operators._OPERATORS
    assert refused(product, node(operator, EVENTS)) == [(operator, operators.INSTEAD[operator])]


def test_an_operator_that_nobody_knows_is_refused_by_name(product: Product) -> None:
    for unknown in (
        "multi-join",
        "delta-join",
        "ml-predict-table-function",
        "data-stream-scan",
        "legacy-sink",
        "python-group-aggregate",
        "python-group-window-aggregate",
        "python-over-aggregate",
        "mini-batch-assigner",
        "async-calc",
        "dynamic-filtering-data-collector",
        "no-such-operator",
    ):
        assert refused(product, node(unknown, EVENTS)) == [
            (unknown, "another form: nobody has shown this operator to be safe to replay")
        ]


def test_every_safe_operator_is_named() -> None:
    """What is added here has to be shown to be safe first."""
    assert set(operators._OPERATORS) == {
        "table-source-scan",
        "calc",
        "python-calc",
        "exchange",
        "union",
        "values",
        "expand",
        "drop-update-before",
        "temporal-join",
        "match",
        "window-table-function",
        "window-aggregate",
        "local-window-aggregate",
        "global-window-aggregate",
        "window-deduplicate",
        "window-join",
        "group-window-aggregate",
        "window-rank",
        "over-aggregate",
        "interval-join",
        "correlate",
        "python-correlate",
        "deduplicate",
        "sink",
    }


def test_groups_of_half_a_window_never_close(product: Product) -> None:
    windows = node(
        "window-table-function",
        EVENTS,
        columns=[*EVENTS.columns, "window_start", "window_end", "t"],
    )
    for operator in ("group-aggregate", "local-group-aggregate", "global-group-aggregate"):
        assert refused(product, node(operator, node("exchange", windows))) == [
            (
                operator,
                "GROUP BY window_start, window_end: with only one of them the groups never close",
            )
        ]


@pytest.mark.parametrize(
    "last",
    [
        calc(EVENTS, a=ref(0)),
        node("exchange", EVENTS),
        node("expand", EVENTS),
        aggregate(EVENTS, 0),
        aggregate(EVENTS, 0, type_="global-window-aggregate"),
        node("python-calc", EVENTS),
        node("drop-update-before", EVENTS),
        node("window-table-function", EVENTS),
    ],
    ids=lambda n: n.type,
)
def test_safe_operators(product: Product, last: Node) -> None:
    assert refused(product, last) == []


@pytest.mark.parametrize(
    "changes",
    [["INSERT", "UPDATE_AFTER"], ["INSERT", "UPDATE_BEFORE", "UPDATE_AFTER", "DELETE"], ["UPSERT"]],
)
def test_an_update_stream_into_a_table(product: Product, changes: Sequence[str]) -> None:
    [found] = check_plan(product, (sink(EVENTS, "rows", changes), REJECTS))
    assert (found.construct, found.instead) == (
        f"an update stream ({', '.join(changes)}) into append-only table rows",
        "a window: GROUP BY window_start, window_end, or a de-duplication in a window",
    )


def test_of_an_update_stream_only_the_cause_is_told(product: Product) -> None:
    last = sink(node("group-aggregate", EVENTS), "rows", ["INSERT", "UPDATE_AFTER"])
    assert [p.construct for p in check_plan(product, (last, REJECTS))] == ["group-aggregate"]


@pytest.mark.parametrize(
    "operator",
    [
        "window-table-function",
        "window-aggregate",
        "local-window-aggregate",
        "global-window-aggregate",
        "window-join",
        "window-rank",
    ],
)
def test_windows_are_of_event_time_and_have_an_end(product: Product, operator: str) -> None:
    extra: dict[str, Any] = {"orderBy": {"fields": [{"index": 2}, {"index": 3}]}}
    now = node(
        operator,
        EVENTS,
        windowing={"window": {"type": "TumblingWindow"}, "isRowtime": False},
        **extra,
    )
    assert refused(product, now) == [(f"{operator} in processing time", LOG_CLOCK)]
    session = node(
        operator,
        EVENTS,
        windowing={"window": {"type": "SessionWindow"}, "isRowtime": True},
        **extra,
    )
    assert refused(product, session) == []
    assert refused(in_zone(product, "America/New_York"), session) == [ON_A_CLOCK_THAT_IS_SET]
    assert refused(in_zone(product, "Asia/Tokyo"), session) == []


ON_A_CLOCK_THAT_IS_SET = (
    "a session window in a time zone whose clocks change, where an hour is missing or passes twice",
    "time_zone: UTC, or another zone whose clocks never change",
)


SESSION = {"window": {"type": "SessionWindow"}, "isRowtime": True, "strategy": "TimeAttribute"}
HELD = "a session of rows that {} holds until the log's clock has passed them"
INNER = {
    "intervalJoinSpec": {"joinSpec": {"joinType": "INNER"}, "windowBounds": {"isEventTime": True}}
}
LEFT = {
    "intervalJoinSpec": {"joinSpec": {"joinType": "LEFT"}, "windowBounds": {"isEventTime": True}}
}


@pytest.mark.parametrize(
    ("operator", "extra", "held"),
    [
        ("calc", {}, False),
        ("interval-join", INNER, False),
        ("interval-join", LEFT, True),
        ("temporal-join", {}, True),
        (
            "over-aggregate",
            {"overSpec": {"groups": [{"isRows": False, "lowerBound": {"kind": "BOUNDED_WINDOW"}}]}},
            True,
        ),
        (
            "window-aggregate",
            {"windowing": {"window": {"type": "TumblingWindow"}, "isRowtime": True}},
            True,
        ),
        ("group-window-aggregate", {"window": {"kind": "TUMBLE", "isRowtime": True}}, True),
        (
            "window-table-function",
            {"windowing": {"window": {"type": "TumblingWindow"}, "isRowtime": True}},
            False,
        ),
        ("window-table-function", {"windowing": SESSION}, True),
    ],
)
@pytest.mark.parametrize(
    "session",
    [
        ("window-aggregate", {"windowing": SESSION}),
        ("window-table-function", {"windowing": SESSION}),
        ("group-window-aggregate", {"window": {"kind": "SESSION"}}),
    ],
    ids=["aggregate", "rows", "legacy"],
)
def test_sessions_are_of_rows_that_nothing_holds(
    product: Product,
    session: tuple[str, dict[str, Any]],
    operator: str,
    extra: dict[str, Any],
    held: bool,
) -> None:
    before = node("calc", node(operator, EVENTS, **extra))
    found = [c for c, _ in refused(product, node(session[0], before, **session[1]))]
    assert found == ([HELD.format(operator)] if held else [])


def test_what_sessions_give_is_grouped_by_them(product: Product) -> None:
    given = node("window-table-function", EVENTS, windowing=SESSION)
    attached = {**SESSION, "strategy": "WindowAttached"}
    assert refused(product, node("window-aggregate", given, windowing=attached)) == []


def in_zone(product: Product, zone: str) -> Product:
    """The product on another clock."""
    return product.model_copy(
        update={"settings": product.settings.model_copy(update={"time_zone": zone})}
    )


@pytest.mark.parametrize(
    ("window", "construct"),
    [
        ({"kind": "TUMBLE", "isRowtime": True}, None),
        ({"kind": "TUMBLE", "isRowtime": False}, "group-window-aggregate in processing time"),
        (
            {"kind": "TUMBLE", "timeField": {"type": "TIMESTAMP", "kind": "PROCTIME"}},
            "group-window-aggregate in processing time",
        ),
        ({"kind": "SESSION"}, None),
        ({"type": "SessionGroupWindow"}, None),
    ],
)
def test_windows_of_the_old_syntax(
    product: Product, window: dict[str, Any], construct: str | None
) -> None:
    found = refused(product, node("group-window-aggregate", EVENTS, window=window))
    assert [c for c, _ in found] == ([construct] if construct else [])


@pytest.mark.parametrize("window", [{"kind": "SESSION"}, {"type": "SessionGroupWindow"}])
def test_sessions_of_the_old_syntax_need_a_clock_that_is_never_set(
    product: Product, window: dict[str, Any]
) -> None:
    found = refused(
        in_zone(product, "Europe/Berlin"), node("group-window-aggregate", EVENTS, window=window)
    )
    assert found == [ON_A_CLOCK_THAT_IS_SET]


@pytest.mark.parametrize(
    "window", [{"kind": "SLIDE"}, {"type": "SlidingGroupWindow"}, {"kind": "hop"}]
)
def test_hops_of_the_old_syntax_need_a_clock_that_is_never_set(
    product: Product, window: dict[str, Any]
) -> None:
    last = node("group-window-aggregate", EVENTS, window=window)
    assert refused(product, last) == []
    assert refused(in_zone(product, "Europe/Berlin"), last) == [
        (
            "GROUP BY HOP(…), which counts wrongly in a time zone whose clocks change",
            "FROM TABLE(HOP(TABLE …, DESCRIPTOR(…), slide, size)) … GROUP BY window_start, window_end",
        )
    ]


@pytest.mark.parametrize(
    ("group", "construct"),
    [
        ({"isRows": False, "lowerBound": {"kind": "BOUNDED_WINDOW"}}, None),
        ({"isRows": True, "lowerBound": {"kind": "BOUNDED_WINDOW"}}, "OVER (… ROWS …)"),
        ({"isRows": True, "lowerBound": {"kind": "UNBOUNDED_PRECEDING"}}, "OVER (… ROWS …)"),
        (
            {"isRows": False, "lowerBound": {"kind": "UNBOUNDED_PRECEDING"}},
            "OVER without a lower bound",
        ),
        ({"isRows": False}, "OVER without a lower bound"),
    ],
)
def test_ranges(product: Product, group: dict[str, Any], construct: str | None) -> None:
    found = refused(product, node("over-aggregate", EVENTS, overSpec={"groups": [group]}))
    assert [c for c, _ in found] == ([construct] if construct else [])


def test_a_range_has_an_order_of_one_column(product: Product) -> None:
    def ordered(*by: int) -> Node:
        order = {"fields": [{"index": i} for i in by]}
        bounded = {"isRows": False, "lowerBound": {"kind": "BOUNDED_WINDOW"}, "orderBy": order}
        return node("over-aggregate", EVENTS, overSpec={"groups": [bounded]})

    assert refused(product, ordered(1)) == []
    [(construct, _)] = refused(product, ordered(1, 2))
    assert construct == "OVER (… ORDER BY several columns), which Flink cannot run"


@pytest.mark.parametrize(
    ("call", "little"), [(agg("SUM", 3), True), ({**agg("SUM", 3), "distinct": True}, False)]
)
def test_a_sum_of_all_rows_before_keeps_a_figure_and_a_distinct_one_every_value(
    tmp_path: Path, call: dict[str, Any], little: bool
) -> None:
    product = write(
        tmp_path,
        settings=changed(SAFE, lambda s: s["topics"]["orders"].update(keyed_by=["a"], identity=[])),
    )
    last = node(
        "over-aggregate",
        EVENTS,
        overSpec={
            "partition": {"fields": [0]},
            "groups": [
                {"isRows": True, "lowerBound": {"kind": "UNBOUNDED_PRECEDING"}, "aggCalls": [call]}
            ],
        },
    )
    assert refused(product, last) == (
        []
        if little
        else [
            (
                "OVER without a lower bound",
                "RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW: its state is bounded",
            )
        ]
    )


WITHIN = (
    "MATCH_RECOGNIZE without WITHIN",
    "PATTERN (…) WITHIN INTERVAL …: without it, partial matches are kept for ever",
)
SKIP = (
    "AFTER MATCH SKIP TO a variable, which fails the job",
    "SKIP PAST LAST ROW, or SKIP TO NEXT ROW",
)
EQUAL = (
    "MATCH_RECOGNIZE whose ORDER BY may leave rows equal",
    "ORDER BY <time>, log_partition, log_offset: which of two rows with the same time comes first depends on the run",
)


@pytest.mark.parametrize(
    ("order", "spec", "expected"),
    [
        pytest.param([1, 2, 3], {"interval": "1"}, [], id="safe"),
        pytest.param(
            [1, 2, 3],
            {"interval": "1", "after": {"value": "SKIP_PAST_LAST_ROW"}},
            [],
            id="past the last row",
        ),
        pytest.param(
            [1, 2, 3],
            {"interval": "1", "after": {"value": "SKIP_TO_NEXT_ROW"}},
            [],
            id="to the next row",
        ),
        pytest.param(
            [1, 2, 3], {"interval": "1", "after": {"value": "A"}}, [SKIP], id="to a variable"
        ),
        pytest.param([1, 2, 3], {}, [WITHIN], id="without an end"),
        pytest.param([1], {"interval": "1"}, [EQUAL], id="by time alone"),
        pytest.param([1], {"after": {"value": "A"}}, [WITHIN, SKIP, EQUAL], id="all of it"),
    ],
)
def test_patterns(
    product: Product, order: Sequence[int], spec: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    last = node(
        "match", EVENTS, matchSpec={"orderBy": {"fields": [{"index": i} for i in order]}, **spec}
    )
    assert refused(product, last) == expected


def quantified(least: int, most: int) -> dict[str, Any]:
    """A variable of a pattern that is repeated, as the plan says it."""
    operands = [{"kind": "LITERAL", "value": value} for value in ("B", least, most, False)]
    return {"kind": "CALL", "internalName": "$PATTERN_QUANTIFIER$1", "operands": operands}


@pytest.mark.parametrize(
    ("least", "most", "differs"),
    [(2, 2, False), (0, 1, True), (0, -1, True), (1, -1, True), (2, 3, True)],
)
@pytest.mark.parametrize("measure", ["MATCH_ROWTIME", "LAST"])
def test_the_time_of_a_match_is_told_of_patterns_of_one_length(
    product: Product, measure: str, least: int, most: int, differs: bool
) -> None:
    last = node(
        "match",
        EVENTS,
        matchSpec={
            "orderBy": {"fields": [{"index": i} for i in (1, 2, 3)]},
            "interval": "1",
            "pattern": {
                "kind": "CALL",
                "sqlKind": "PATTERN_CONCAT",
                "operands": [{"kind": "LITERAL", "value": "A"}, quantified(least, most)],
            },
            "measures": {"t": {"kind": "CALL", "internalName": f"${measure}$1", "operands": []}},
        },
    )
    assert [c for c, _ in refused(product, last)] == (
        ["MATCH_ROWTIME of a pattern whose matches differ in length"]
        if differs and measure == "MATCH_ROWTIME"
        else []
    )


def test_the_rows_of_a_key_that_are_in_one_partition_are_in_order(tmp_path: Path) -> None:
    product = write(
        tmp_path,
        settings=changed(SAFE, lambda s: s["topics"]["orders"].update(keyed_by=["a"], identity=[])),
    )
    last = node(
        "match",
        EVENTS,
        matchSpec={
            "partition": {"fields": [0]},
            "orderBy": {"fields": [{"index": 1}]},
            "interval": "1",
        },
    )
    assert refused(product, last) == []


def test_every_range_is_looked_at(product: Product) -> None:
    bounded = {"isRows": False, "lowerBound": {"kind": "BOUNDED_WINDOW"}}
    found = refused(
        product, node("over-aggregate", EVENTS, overSpec={"groups": [bounded, {"isRows": False}]})
    )
    assert [c for c, _ in found] == ["OVER without a lower bound"]


@pytest.mark.parametrize(
    ("role", "time", "refuses"),
    [
        ("reference", "since", True),
        ("reference", None, False),
        ("dimension", "since", False),
    ],
)
@pytest.mark.parametrize("type_", ["interval-join", "window-aggregate"])
def test_what_waits_for_the_clock_is_not_of_a_reference_with_a_time_of_its_own(
    tmp_path: Path, type_: str, role: str, time: str | None, refuses: bool
) -> None:
    topic = {"role": role, "key": ["a"], **({"time": time} if time else {})}
    if role == "dimension":
        topic["allowed_lateness"] = "1h"
    settings = changed(SAFE, lambda s: s["topics"].update(shops=topic))
    product = write(tmp_path, settings=settings)
    shops = node("exchange", calc(scan("shops", "a", "since"), a=ref(0), since=ref(1)))
    last = node(type_, *([EVENTS] if type_ == "interval-join" else []), shops)
    found = [c for c, _ in refused(product, last) if " is not read" not in c]
    expected = (
        f"{type_} of shops, a reference with a time of its own, which no record is too late for"
    )
    assert found == [expected] * refuses


def test_interval_joins_are_of_event_time(product: Product) -> None:
    for event_time, expected in (
        (True, []),
        (False, [("an interval join in processing time", LOG_CLOCK)]),
    ):
        join = node(
            "interval-join",
            EVENTS,
            EVENTS,
            intervalJoinSpec={"windowBounds": {"isEventTime": event_time}},
        )
        assert refused(product, join) == expected


def rank(*names: str, spec: str = "orderBy") -> Node:
    fields = [{"index": EVENTS.columns.index(n)} for n in names]
    ranked: dict[str, Any] = {spec: {"fields": fields}}
    return node("window-rank", EVENTS, windowing={"isRowtime": True}, **ranked)


@pytest.mark.parametrize(
    ("last", "safe"),
    [
        (rank("at", "log_partition", "log_offset"), True),
        (rank("log_offset", "log_partition"), True),
        (rank("at", "log_partition", "log_offset", spec="sortSpec"), True),
        (rank("at"), False),
        (rank("at", "log_offset"), False),
        (rank("a", "log_partition"), False),
        (rank(), False),
    ],
)
def test_rows_of_a_top_n_are_never_equal(product: Product, last: Node, safe: bool) -> None:
    assert refused(product, last) == (
        []
        if safe
        else [
            (
                "a Top-N whose ORDER BY may leave rows equal",
                "further columns in ORDER BY, up to log_partition, "
                "log_offset: which of two equal rows comes first depends on the run",
            )
        ]
    )


def top(before: Node, order: Sequence[int], by: Sequence[int] = ()) -> Node:
    return node(
        "window-rank",
        before,
        windowing={"isRowtime": True},
        partitionSpec={"fields": list(by)},
        sortSpec={"fields": [{"index": i} for i in order]},
    )


COUNTS = aggregate(EVENTS, 0, 2, calls=[agg("COUNT", 1)])


@pytest.mark.parametrize(
    ("last", "safe"),
    [
        (top(COUNTS, [2, 0, 1]), True),
        (top(COUNTS, [2, 1], by=[0]), True),
        (top(COUNTS, [2, 0]), False),
        (top(COUNTS, [2]), False),
        (top(calc(COUNTS, n=ref(2), b=ref(1), a=ref(0)), [0, 1, 2]), True),
        (top(calc(COUNTS, n=ref(2), b=ref(1), a=call("UPPER", ref(0))), [0, 1, 2]), False),
        (top(node("union", COUNTS, COUNTS), [2, 0, 1]), False),
        (
            top(
                node("correlate", COUNTS, functionCall={"systemName": "$UNNEST_ROWS$1"}), [2, 0, 1]
            ),
            False,
        ),
    ],
)
def test_rows_of_a_window_are_told_apart_by_all_that_it_groups_by(
    product: Product, last: Node, safe: bool
) -> None:
    assert refused(product, last) == (
        []
        if safe
        else [
            (
                "a Top-N whose ORDER BY may leave rows equal",
                "further columns in ORDER BY, up to everything that its rows "
                "are grouped by, and their window: which of two equal rows comes first depends on the run",
            )
        ]
    )


def test_a_place_in_one_of_several_topics_is_told_with_its_topic(product: Product) -> None:
    def branch(topic: dict[str, Any]) -> Node:
        return calc(EVENTS, log_partition=ref(2), log_offset=ref(3), log_topic=topic)

    one, other = ({"kind": "LITERAL", "value": name, "type": "CHAR(1) NOT NULL"} for name in "ab")
    equal = "a Top-N whose ORDER BY may leave rows equal"
    both = node("union", branch(one), branch(cast(other, "VARCHAR(2147483647)")))
    assert [c for c, _ in refused(product, top(both, [0, 1]))] == [equal]
    assert refused(product, top(both, [2, 0, 1])) == []
    for topic in (ref(0), one):  # no constant, or the same in both
        both = node("union", branch(one), branch(topic))
        assert [c for c, _ in refused(product, top(both, [2, 0, 1]))] == [equal]
    for topic, expected in (({**one, "value": "c"}, []), (one, [equal])):
        three = node("union", node("union", branch(one), branch(other)), branch(topic))
        assert [c for c, _ in refused(product, top(three, [2, 0, 1]))] == expected


@pytest.mark.parametrize(
    ("last", "safe"),
    [
        (node("interval-join", EVENTS, EVENTS), False),
        (node("window-join", EVENTS, EVENTS), False),
        (node("correlate", EVENTS, functionCall={"systemName": "$UNNEST_ROWS$1"}), False),
        (
            node(
                "correlate",
                EVENTS,
                functionCall={"systemName": "default_catalog.default_database.shops_at"},
            ),
            True,
        ),
        (node("temporal-join", EVENTS, EVENTS), True),
    ],
)
def test_several_rows_of_a_record_have_one_place(product: Product, last: Node, safe: bool) -> None:
    assert (
        "a Top-N whose ORDER BY may leave rows equal"
        not in [c for c, _ in refused(product, top(last, [2, 3]))]
    ) is safe


@pytest.mark.parametrize(
    "column",
    [
        pytest.param({"kind": "LITERAL", "value": 0, "type": "BIGINT"}, id="a constant"),
        pytest.param(ref(0), id="another column"),
        pytest.param(cast({**ref(3), "type": "BIGINT"}, "INT"), id="cast to what cannot hold it"),
        pytest.param(call("-", ref(3), ref(3)), id="computed"),
    ],
)
def test_a_column_that_is_only_called_log_offset_tells_no_rows_apart(
    product: Product, column: dict[str, Any]
) -> None:
    before = calc(EVENTS, log_partition=ref(2), log_offset=column)
    assert [c for c, _ in refused(product, top(before, [0, 1]))] == [
        "a Top-N whose ORDER BY may leave rows equal"
    ]


def test_of_rows_of_one_time_none_is_the_first(tmp_path: Path) -> None:
    product = write(
        tmp_path, settings=changed(SAFE, lambda s: s["topics"]["orders"].update(identity=["a"]))
    )
    first = (
        "the first or last row of a window, ordered by time alone",
        "ORDER BY <time>, log_partition, log_offset: which of two rows with the same time comes first depends on "
        "the run",
    )
    for keys, expected in (([0], []), ([0, 2], []), ([2], [first]), ([], [first])):
        assert refused(product, node("window-deduplicate", EVENTS, partitionKeys=keys)) == expected


# --- look-ups and versions


VALUE = {"kind": "LITERAL", "value": "x", "type": "CHAR(1) NOT NULL"}
A_TIME = {**VALUE, "value": "2020-01-01 00:00:00"}


def versions(tmp_path: Path, role: str = "dimension", **orders: Any) -> Product:
    """Events beside versions of shops, which are looked up."""
    time = {"time": "at", "allowed_lateness": "1h"} if role == "dimension" else {}

    def change(settings: dict[str, Any]) -> None:
        settings["topics"]["shops"] = {"role": role, "key": ["a"], **time}
        settings["topics"]["orders"].update(orders)
        settings["lookups"] = {"around": {"shop": "shops"}}

    return write(tmp_path, settings=changed(SAFE, change))


def lookup(
    before: Node,
    function: str = "shops_at",
    join: str = "LEFT",
    type_: str = "correlate",
    time: dict[str, Any] | None = None,
) -> Node:
    time = time or field("at", ROWTIME)
    return node(
        type_,
        before,
        functionCall={"kind": "CALL", "systemName": function, "operands": [time]},
        joinType=join,
    )


ROWTIME = {"type": "TIMESTAMP_WITH_LOCAL_TIME_ZONE", "precision": 3, "kind": "ROWTIME"}


def field(name: str, type_: Any = "BIGINT") -> dict[str, Any]:
    """A column of the row that something is looked up for."""
    row = (
        {"type": "ROW", "fields": [{"name": name, "fieldType": type_}]}
        if isinstance(type_, dict)
        else "ROW<`a` INT>"
    )
    return {"kind": "FIELD_ACCESS", "name": name, "expr": {"kind": "CORREL_VARIABLE", "type": row}}


@pytest.mark.parametrize(
    ("time", "safe"),
    [
        (field("at"), True),
        (cast(field("at"), "TIMESTAMP(3)"), True),
        (field("later", ROWTIME), True),
        (field("a"), False),
        (field("log_offset"), False),
        (call("+", field("at", ROWTIME), VALUE), False),
        (VALUE, False),
    ],
)
def test_versions_are_looked_up_at_the_events_time(
    tmp_path: Path, time: dict[str, Any], safe: bool
) -> None:
    assert [c for c, _ in refused(versions(tmp_path), lookup(EVENTS, time=time))] == (
        [] if safe else ["a look-up in shops at another time than its event's"]
    )
    assert refused(versions(tmp_path, role="reference"), lookup(EVENTS, time=time)) == []


def test_versions_are_looked_up_at_a_windows_ends(tmp_path: Path) -> None:
    for name, safe in (("window_start", True), ("window_end", True), ("a", False)):
        found = refused(versions(tmp_path), lookup(aggregate(EVENTS, 0), time=field(name)))
        assert bool(found) is not safe


WAIT = "a look-up in shops of events that no window has held back"
LEAVES_OUT = "shops_at that leaves out rows without a version"


@pytest.mark.parametrize("type_", ["correlate", "python-correlate"])
@pytest.mark.parametrize(
    ("function", "join", "held", "expected"),
    [
        ("shops_at", "LEFT", True, []),
        ("shops_at", "LEFT", False, [WAIT]),
        ("shops_at", "INNER", True, [LEAVES_OUT]),
        ("shops_at", "INNER", False, [WAIT, LEAVES_OUT]),
        ("around_at", "INNER", True, []),
        ("around_at", "INNER", False, [WAIT]),
        ("$UNNEST_ROWS$1", "INNER", False, ["topic shops is not read"]),
    ],
)
def test_lookups_wait_for_the_versions_and_leave_nothing_out(
    tmp_path: Path, type_: str, function: str, join: str, held: bool, expected: list[str]
) -> None:
    product = versions(tmp_path, **({} if held else {"once": "topic"}))
    assert [c for c, _ in refused(product, lookup(EVENTS, function, join, type_))] == expected


@pytest.mark.parametrize(
    "held",
    [
        aggregate(EVENTS, 0),
        node("global-window-aggregate", EVENTS),
        rank("log_partition", "log_offset"),
        node("over-aggregate", EVENTS),
    ],
    ids=lambda n: n.type,
)
def test_a_window_holds_events_back(tmp_path: Path, held: Node) -> None:
    product = versions(tmp_path, identity=[])
    assert refused(product, lookup(held)) == []
    assert [c for c, _ in refused(product, lookup(calc(EVENTS, a=ref(0))))] == [WAIT]


def test_a_lookup_in_several_topics_names_them_all(tmp_path: Path) -> None:
    def change(settings: dict[str, Any]) -> None:
        for name in ("shops", "rates"):
            settings["topics"][name] = {
                "role": "dimension",
                "key": ["a"],
                "time": "at",
                "allowed_lateness": "1h",
            }
        settings["topics"]["orders"].update(once="topic")
        settings["lookups"] = {"around": {"shop": "shops", "rate": "rates"}}

    product = write(tmp_path, settings=changed(SAFE, change))
    assert refused(product, lookup(EVENTS, "around_at")) == [
        (
            "a look-up in rates, shops of events that no window has held back",
            "an identity for the events, so that the source holds them for their allowed lateness; or the look-up "
            "after a window",
        )
    ]


def test_a_reference_is_read_before_the_events(tmp_path: Path) -> None:
    assert refused(versions(tmp_path, role="reference", identity=[]), lookup(EVENTS)) == []


def test_de_duplication_without_a_window(tmp_path: Path) -> None:
    product = versions(tmp_path)
    assert refused(product, node("deduplicate", lookup(EVENTS))) == [
        (
            "a de-duplication of events without a window",
            "identity in product.yaml, or ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY <time>, "
            "log_partition, log_offset) on a TUMBLE",
        )
    ]
    assert refused(product, node("deduplicate", lookup(EVENTS), keepLastRow=True)) == [
        (
            "the latest row of each key, which every further row changes",
            "ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY <time> DESC, log_partition DESC, "
            "log_offset DESC) on a TUMBLE; or all rows, of which readers take the latest (docs/pipelines.md)",
        )
    ]
    latest, windowed = (
        node("deduplicate", shops)
        for shops in (
            scan("shops", "a"),
            node(
                "window-rank",
                scan("shops", "log_partition", "log_offset"),
                sortSpec={"fields": [{"index": 0}, {"index": 1}]},
            ),
        )
    )
    assert refused(product, node("temporal-join", EVENTS, latest)) == [
        (
            "the latest version of records that are not in order of time",
            "a key of the topic, and the look-up LATERAL TABLE(T_at(<event time>, <key>)); or, of a "
            "dimension, a de-duplication in a window of the version's time first: which of two "
            "partitions is read first depends on the run",
        )
    ]
    assert refused(product, node("temporal-join", EVENTS, windowed)) == []
    # which of two partitions is read first depends on the run, too
    reference = versions(tmp_path, role="reference")
    assert [c for c, _ in refused(reference, node("temporal-join", EVENTS, latest))] == [
        "the latest version of records that are not in order of time"
    ]
    assert refused(reference, node("temporal-join", EVENTS, windowed)) == []


# --- calls


@pytest.mark.parametrize(
    "name",
    [
        "PROCTIME",
        "PROCTIME_MATERIALIZE",
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_ROW_TIMESTAMP",
        "CURRENT_WATERMARK",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "NOW",
        "RAND",
        "RAND_INTEGER",
        "UUID",
        "CURRENT_DATABASE",
        "CURRENT_USER",
        "SESSION_USER",
        "USER",
        "SOURCE_WATERMARK",
        "STREAMRECORD_TIMESTAMP",
        "MATCH_PROCTIME",
    ],
)
def test_calls_that_differ_from_run_to_run(product: Product, name: str) -> None:
    expected = [(name, functions.REFUSED[name])]
    for last in (
        calc(EVENTS, a=call(name)),
        calc(EVENTS, a=call("+", ref(0), cast(call(name), "BIGINT"))),
        where(EVENTS, call("AND", call(">", ref(0), call(name)))),
        node("python-calc", EVENTS, projection=[call("ABS", call(name))]),
    ):
        assert refused(product, last) == expected
    unnamed = {"kind": "CALL", "systemName": name, "operands": []}
    assert refused(product, calc(EVENTS, a=unnamed)) == expected


@pytest.mark.parametrize(
    "unknown",
    [
        call("SOMETHING_NEW", ref(0)),
        {"kind": "CALL", "systemName": "other", "operands": []},
        call("PERCENTILE", ref(0)),
        call("COUNT", ref(0)),
        call("PREV", ref(0)),
    ],
)
def test_a_function_that_nobody_has_looked_at(product: Product, unknown: dict[str, Any]) -> None:
    [(construct, instead)] = refused(product, calc(EVENTS, a=unknown))
    assert construct.endswith(", which nobody has shown to be safe to replay")
    assert instead == "a function that docs/safety.md lists, or a Python function of product.yaml"


def test_a_call_without_a_name(product: Product) -> None:
    [(construct, _)] = refused(
        product, calc(EVENTS, a={"kind": "CALL", "class": "x.Y", "operands": []})
    )
    assert construct == "a call without a name, which nobody has shown to be safe to replay"


@pytest.mark.parametrize("name", ["UPPER", "PERCENTILE", "BIT_XOR", "PREV", "first"])
def test_an_aggregate_that_nobody_has_looked_at(product: Product, name: str) -> None:
    assert [c for c, _ in refused(product, aggregate(EVENTS, 0, calls=[agg(name, 0)]))] == [
        f"{name}, which nobody has shown to be safe to replay"
    ]


INSTANTS = (
    {"type": "TIMESTAMP_WITH_LOCAL_TIME_ZONE", "precision": 3, "kind": "ROWTIME"},
    "TIMESTAMP(3) WITH LOCAL TIME ZONE",
)
CLOCK = "TIMESTAMP(3)"


@pytest.mark.parametrize(
    ("type_", "unit", "zone", "refuses"),
    [
        *((i, "DAY", "America/New_York", True) for i in INSTANTS),
        (INSTANTS[1], "YEAR", "Europe/Berlin", True),
        (INSTANTS[1], "HOUR", "Europe/Berlin", False),
        (INSTANTS[1], "HOUR", "Asia/Kolkata", False),
        (INSTANTS[1], "HOUR", "Australia/Lord_Howe", True),
        (INSTANTS[1], "MINUTE", "Australia/Lord_Howe", False),
        (INSTANTS[1], "DAY", "UTC", False),
        (INSTANTS[1], "DAY", "Asia/Tokyo", False),
        (CLOCK, "DAY", "America/New_York", False),
    ],
)
@pytest.mark.parametrize("name", ["FLOOR", "CEIL"])
def test_days_begin_by_the_clock_of_their_beginning(
    product: Product, name: str, type_: Any, unit: str, zone: str, refuses: bool
) -> None:
    cut = call(name, of(type_), symbol("TIME_UNIT_RANGE", unit), to=type_)
    expected = (
        f"{name} of a TIMESTAMP_LTZ TO {unit}, which is off where clocks were set in between",
        f"{name}(CAST(x AS TIMESTAMP(3)) TO {unit}), by the product's clocks",
    )
    assert refused(in_zone(product, zone), calc(EVENTS, a=cut)) == [expected] * refuses


@pytest.mark.parametrize(
    ("left", "right", "to", "zone", "refuses"),
    [
        (INSTANTS[0], "INTERVAL MONTH NOT NULL", INSTANTS[1], "America/New_York", True),
        (INSTANTS[1], "INTERVAL YEAR(2)", INSTANTS[1], "Asia/Tokyo", True),
        (INSTANTS[1], INSTANTS[1], "INTERVAL MONTH", "Asia/Tokyo", True),
        (INSTANTS[1], "INTERVAL DAY(2) NOT NULL", INSTANTS[1], "Asia/Tokyo", False),
        (CLOCK, "INTERVAL MONTH NOT NULL", CLOCK, "Asia/Tokyo", False),
        (INSTANTS[1], "INTERVAL MONTH NOT NULL", INSTANTS[1], "UTC", False),
    ],
)
@pytest.mark.parametrize("name", ["+", "-"])
def test_months_are_counted_on_the_products_calendar(
    product: Product, name: str, left: Any, right: Any, to: Any, zone: str, refuses: bool
) -> None:
    moved = call(name, of(left), of(right), to=to)
    found = [c for c, _ in refused(in_zone(product, zone), calc(EVENTS, a=moved))]
    expected = "months or years of a TIMESTAMP_LTZ, which Flink counts on UTC's calendar"
    assert found == [expected] * refuses


def test_floor_of_a_number_has_no_unit(product: Product) -> None:
    there = in_zone(product, "America/New_York")
    assert refused(there, calc(EVENTS, a=call("FLOOR", of("DOUBLE"), to="DOUBLE"))) == []


@pytest.mark.parametrize(
    ("argument", "to", "zone", "refuses"),
    [
        *((i, "BIGINT", "America/New_York", True) for i in INSTANTS),
        ("BIGINT", INSTANTS[1], "Asia/Tokyo", True),
        (f"ROW<`a` {INSTANTS[1]}>", "BIGINT", "Asia/Tokyo", True),
        (CLOCK, CLOCK, "America/New_York", False),
        (INSTANTS[1], INSTANTS[1], "UTC", False),
    ],
)
def test_python_is_shown_instants_in_utc_alone(
    tmp_path: Path, argument: Any, to: Any, zone: str, refuses: bool
) -> None:
    """Elsewhere PyFlink gives 09:00 of New York for 09:00 UTC."""
    function = {"python": "udfs.privacy:pseudonym", "returns": "BIGINT"}
    settings = changed(SAFE, lambda s: s.update(functions={"own": function}))
    there = in_zone(write(tmp_path, settings=settings), zone)
    own = {"kind": "CALL", "systemName": "own", "operands": [of(argument)], "type": to}
    found = refused(there, node("python-calc", EVENTS, projection=[own]))
    assert [c.partition(",")[0] for c, _ in found] == ["own"] * refuses


def test_unix_timestamp_of_now(product: Product) -> None:
    assert refused(product, calc(EVENTS, a=call("UNIX_TIMESTAMP"))) == [
        ("UNIX_TIMESTAMP()", LOG_CLOCK)
    ]
    assert refused(product, calc(EVENTS, a=call("UNIX_TIMESTAMP", ref(0)))) == []


def of(type_: Any) -> dict[str, Any]:
    return {**ref(0), "type": type_}


def symbol(name: str, value: str) -> dict[str, Any]:
    return {"kind": "LITERAL", "symbol": name, "value": value}


def pattern(text: str) -> dict[str, Any]:
    return {**VALUE, "value": text}


def number(value: int) -> dict[str, Any]:
    return {"kind": "LITERAL", "value": value, "type": "INT NOT NULL"}


@pytest.mark.parametrize(
    "unsafe",
    [
        call(">", of("TIMESTAMP(6)"), VALUE),
        cast({**VALUE, "value": "abc"}, "INT"),
        cast(VALUE, "DATE"),
        call("LIKE", ref(0), ref(1), VALUE),
        call("REGEXP", ref(0), ref(1)),
        call("REGEXP", ref(0), pattern("(a|b)*c")),
        call("REGEXP_EXTRACT", ref(0), pattern("((a|b)*)")),
        call("SIMILAR TO", ref(0), pattern("(?P<a>x)")),
        call("SIMILAR TO", ref(0), pattern("[[]")),
        call("REGEXP", ref(0), pattern("a{,3}")),
        call("REGEXP", ref(0), pattern("(a+)+b")),
        call("REGEXP", ref(0), pattern("(a(b|c)d)*")),
        call("REGEXP", ref(0), pattern("(((a|b)c)d){2,}")),
        call("ROUND", ref(0), number(-1_000_000_000)),
        call("DATE_FORMAT", ref(0), pattern("yyyy#MM")),
        call("DATE_FORMAT", ref(0), pattern("MMMMMM")),
        call("ELEMENT", ref(0)),
        call("FROM_BASE64", ref(0)),
        call("DATE_FORMAT", ref(0), ref(1)),
        call("FROM_UNIXTIME", ref(0), ref(1)),
        call("SHA2", ref(0), ref(1)),
        call("SIMILAR TO", ref(0), ref(1)),
        call("LIKE", ref(0), ref(1), ref(2)),
        call("ENCODE", ref(0), ref(1)),
        call("DECODE", ref(0), ref(1)),
        call(
            "JSON_VALUE",
            ref(0),
            VALUE,
            symbol("JSON_VALUE_ON_EMPTY_OR_ERROR", "ERROR"),
            to="VARCHAR(9)",
        ),
        call("JSON_EXISTS", ref(0), VALUE, symbol("JSON_EXISTS_ON_ERROR", "ERROR")),
        call("JSON_VALUE", ref(0), VALUE, to="BOOLEAN"),
        call("=", of("VARCHAR(9)"), of("INT NOT NULL")),
        call("<>", of("DECIMAL(4, 2)"), of("CHAR(3)")),
        call(">", of("BIGINT"), of("VARCHAR(9)")),
        call("<=", of("VARCHAR(9)"), of("DOUBLE")),
        call(">=", of("TIMESTAMP(6)"), of("VARCHAR(9)")),
        call("=", of("DATE"), of("VARCHAR(9)")),
        call("GREATEST", of("DECIMAL(4, 2)"), of("INT")),
        call("LEAST", of("BIGINT"), of("DECIMAL(4, 2)")),
        call("ROUND", ref(0), ref(1)),
        call("TRUNCATE", ref(0), ref(1)),
        call("TRUNCATE", ref(0)),
        call("REPEAT", ref(0), ref(1)),
        call("LPAD", ref(0), ref(1), VALUE),
        call("RPAD", ref(0), number(99_999), VALUE),
        call("INSTR", ref(0), VALUE, ref(1)),
        call("INSTR", ref(0), VALUE, number(1)),
        call("SHA2", ref(0), number(1)),
        call("DECODE", ref(0), VALUE),
        call("OVERLAY", ref(0), VALUE, ref(1)),
        call("SIMILAR TO", ref(0), {**VALUE, "value": "["}),
        call("TO_TIMESTAMP_LTZ", ref(0), number(2)),
        call("STR_TO_MAP", ref(0), VALUE, {**VALUE, "value": "["}),
        call("MAP_FROM_ARRAYS", ref(0), ref(1)),
        call("JSON", ref(0)),
        call("STR_TO_MAP", ref(0), ref(1)),
        call("STR_TO_MAP", ref(0), VALUE, ref(1)),
        call("TO_DATE", ref(0), ref(1)),
        call("TO_TIMESTAMP", ref(0), ref(1)),
        call("UNIX_TIMESTAMP", ref(0), ref(1)),
        call("TO_TIMESTAMP_LTZ", ref(0)),
        call("TO_TIMESTAMP_LTZ", ref(0), ref(1)),
        call("DATE_FORMAT", ref(0), {**VALUE, "value": "yyyy z"}),
        call("TO_DATE", ref(0), {**VALUE, "value": "nosuch"}),
    ],
    ids=lambda c: c["internalName"],
)
def test_calls_that_fail_a_job_on_a_value(product: Product, unsafe: dict[str, Any]) -> None:
    assert len(refused(product, calc(EVENTS, a=unsafe))) == 1
    assert len(refused(product, where(EVENTS, call("AND", unsafe, ref(0))))) == 1


@pytest.mark.parametrize(
    "safe",
    [
        call("DATE_FORMAT", ref(0), {**VALUE, "value": "yyyy-MM-dd'T'HH:mm:ss.SSS"}),
        call("FROM_UNIXTIME", ref(0)),
        call("SHA2", ref(0), number(256)),
        call("ROUND", ref(0), number(2)),
        call("ROUND", ref(0)),
        call("REPEAT", ref(0), number(9)),
        call("SIMILAR TO", ref(0), {**VALUE, "value": "(a|b)[c-d]%_"}),
        call("TRUNCATE", ref(0), number(2)),
        call("INSTR", ref(0), VALUE),
        call("LPAD", ref(0), number(10), VALUE),
        call("TO_TIMESTAMP_LTZ", ref(0), number(3)),
        call("TO_TIMESTAMP_LTZ", ref(0), {**VALUE, "value": "yyyy-MM-dd"}),
        call(">", of("TIMESTAMP(6)"), A_TIME),
        call("<", A_TIME, of({"type": "TIMESTAMP_WITH_LOCAL_TIME_ZONE"})),
        call("GREATEST", of("DECIMAL(4, 2)"), of("DECIMAL(4, 2)")),
        call("LEAST", of("BIGINT"), of("INT")),
        call("JSON_EXISTS", ref(0), VALUE),
        call("REGEXP", ref(0), pattern("^(a|b)[0-9]{2,5}(c)?d+$")),
        call("REGEXP", ref(0), pattern("(ab)*c+[d-f]{2,}")),
        cast(pattern("-1.5e3"), "DOUBLE"),
        cast(pattern("2020-01-01"), "DATE"),
        call("ROUND", ref(0), number(-2)),
        call(
            "JSON_VALUE",
            ref(0),
            VALUE,
            symbol("JSON_VALUE_ON_EMPTY_OR_ERROR", "NULL"),
            symbol("JSON_EMPTY_OR_ERROR", "ERROR"),
            to="VARCHAR(9)",
        ),
        call("LIKE", ref(0), ref(1)),
        call("LIKE", ref(0), VALUE, VALUE),
        call("ENCODE", ref(0), {**VALUE, "value": "utf-8"}),
        call("JSON_VALUE", ref(0), VALUE, to="VARCHAR(9)"),
        call("=", of("VARCHAR(9)"), of("CHAR(3)")),
        call("=", of("INT"), of("BIGINT")),
        call(
            "=", of({"type": "TIMESTAMP_WITH_LOCAL_TIME_ZONE", "precision": 3}), of("TIMESTAMP(3)")
        ),
    ],
    ids=lambda c: c["internalName"],
)
def test_calls_that_no_value_fails(product: Product, safe: dict[str, Any]) -> None:
    assert refused(product, calc(EVENTS, a=safe)) == []


ROW = {
    "type": "ROW",
    "fields": [{"name": "INT", "fieldType": "VARCHAR(9)"}, {"name": "b", "fieldType": "BIGINT"}],
}


@pytest.mark.parametrize(
    ("old", "new", "safe"),
    [
        ("ARRAY<VARCHAR(9)>", "ARRAY<INT>", False),
        ("ARRAY<VARCHAR(9)>", "ARRAY<CHAR(3) NOT NULL>", True),
        ("ARRAY<BIGINT>", "ARRAY<VARCHAR(9)>", True),
        ("ARRAY<BIGINT>", "ARRAY<INT>", True),
        ("MAP<VARCHAR(9) NOT NULL, VARCHAR(9)>", "MAP<VARCHAR(9) NOT NULL, DOUBLE>", False),
        ("MAP<VARCHAR(9) NOT NULL, BIGINT>", "MAP<VARCHAR(9) NOT NULL, INT>", True),
        ("ROW<`INT` VARCHAR(9), `b` BIGINT>", "ROW<`a` INT, `b` INT>", False),
        ("ROW<`INT` VARCHAR(9), `b` BIGINT>", "ROW<`DATE` VARCHAR(3), `b` INT>", True),
        ("ROW<`a` ARRAY<ROW<`b` CHAR(1)>>>", "ROW<`a` ARRAY<ROW<`b` DATE>>>", False),
        ("VARCHAR(9)", {"type": "TIMESTAMP_WITH_LOCAL_TIME_ZONE", "precision": 3}, False),
        (ROW, "ROW<`a` INT, `b` INT>", False),
        (ROW, "ROW<`a` VARCHAR(3), `b` INT>", True),
    ],
)
def test_casts_of_text_inside_of_other_types(
    product: Product, old: Any, new: Any, safe: bool
) -> None:
    assert bool(refused(product, calc(EVENTS, a=cast(of(old), new)))) is not safe


@pytest.mark.parametrize("name", ["UPPER", "COALESCE", "+", "NOT SIMILAR TO"])
def test_other_calls_are_safe(product: Product, name: str) -> None:
    assert refused(product, calc(EVENTS, a=call(name, ref(0)))) == []


@pytest.mark.parametrize(
    "name",
    [
        "FIRST_VALUE",
        "LAST_VALUE",
        "LISTAGG",
        "ARRAY_AGG",
        "COLLECT",
        "STRING_AGG",
        "JSON_ARRAYAGG_NULL_ON_NULL",
        "JSON_ARRAYAGG_ABSENT_ON_NULL",
        "JSON_OBJECTAGG_NULL_ON_NULL",
        "JSON_OBJECTAGG_ABSENT_ON_NULL",
        "SINGLE_VALUE",
    ],
)
@pytest.mark.parametrize("type_", ["window-aggregate", "global-window-aggregate", "over-aggregate"])
def test_aggregates_of_the_order_of_arrival(product: Product, name: str, type_: str) -> None:
    expected = (
        f"{name}, which depends on the order of arrival",
        "MIN, MAX, or a Top-N in the order of a column",
    )
    if type_ == "over-aggregate":
        last = node(
            type_,
            EVENTS,
            overSpec={
                "groups": [{"lowerBound": {"kind": "BOUNDED_WINDOW"}, "aggCalls": [agg(name, 0)]}]
            },
        )
    else:
        last = aggregate(EVENTS, 0, type_=type_, calls=[agg("COUNT", 0), agg(name, 0)])
    assert refused(product, last) == [expected]


@pytest.mark.parametrize(
    "name", ["SUM", "SUM0", "AVG", "STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP"]
)
@pytest.mark.parametrize("to", ["DOUBLE", "DOUBLE NOT NULL", "FLOAT"])
def test_sums_that_are_rounded(product: Product, name: str, to: str) -> None:
    found = refused(product, aggregate(EVENTS, 0, calls=[agg(name, 0, to)]))
    assert found == [
        (
            f"{name} of DOUBLE or FLOAT, whose rounding depends on the order of arrival",
            f"{name}(CASE WHEN ABS(a) < 1e15 THEN CAST(a AS DECIMAL(18, 3)) END); or a sum of integers "
            "that is divided afterwards",
        )
    ]
    for exact in ("BIGINT", "DECIMAL(38, 2)"):
        assert refused(product, aggregate(EVENTS, 0, calls=[agg(name, 0, exact)])) == []


@pytest.mark.parametrize("to", ["TINYINT", "SMALLINT NOT NULL", "INT", "INT NOT NULL"])
def test_sums_that_wrap_around(product: Product, to: str) -> None:
    for name in ("SUM", "SUM0"):
        assert refused(product, aggregate(EVENTS, 0, calls=[agg(name, 0, to)])) == [
            (
                f"{name} of {to.split()[0]}, which wraps around if it is too large",
                f"{name}(CAST(a AS BIGINT))",
            )
        ]
    for name in ("AVG", "MAX", "COUNT"):
        assert refused(product, aggregate(EVENTS, 0, calls=[agg(name, 0, to)])) == []


@pytest.mark.parametrize("name", ["SUM", "SUM0", "AVG"])
def test_sums_of_decimals_that_may_have_more_digits_than_there_are(
    product: Product, name: str
) -> None:
    def of_digits(digits: int) -> Node:
        before = calc(EVENTS, a=ref(0))
        typed = Node(
            before.type,
            {**before.body, "outputType": f"ROW<`a` DECIMAL({digits}, 2)>"},
            before.inputs,
        )
        return aggregate(typed, calls=[agg(name, 0, "DECIMAL(38, 2)")])

    assert refused(product, of_digits(26)) == []
    assert refused(product, of_digits(27)) == [
        (
            f"{name} of DECIMAL(27, 2), which depends on the order of arrival if it is too large",
            f"{name}(CAST(a AS DECIMAL(26, …)))",
        )
    ]


@pytest.mark.parametrize("name", ["COUNT", "MIN", "MAX", "AVG", "VAR_POP"])
def test_aggregates_that_are_exact_in_any_order(product: Product, name: str) -> None:
    assert refused(product, aggregate(EVENTS, 0, calls=[agg(name, 0, "BIGINT")])) == []


LARGE = {"kind": "LITERAL", "value": "1E+300", "type": "DOUBLE NOT NULL"}
BOUNDED = calc(
    EVENTS,
    a=call(
        "CASE",
        call("<", call("ABS", of("DOUBLE")), LARGE, to="BOOLEAN"),
        of("DOUBLE"),
        VALUE,
        to="DOUBLE",
    ),
)


@pytest.mark.parametrize("name", ["MIN", "MAX"])
@pytest.mark.parametrize(
    "type_", ["window-aggregate", "local-window-aggregate", "group-window-aggregate"]
)
def test_the_least_and_the_greatest_of_what_may_be_nan(
    product: Product, name: str, type_: str
) -> None:
    assert refused(product, aggregate(EVENTS, type_=type_, calls=[agg(name, 0, "DOUBLE")])) == [
        (
            f"{name} of DOUBLE or FLOAT, whose result depends on whether a NaN comes first",
            f"{name}(CASE WHEN ABS(a) < 1e300 THEN a END)",
        )
    ]
    assert refused(product, aggregate(BOUNDED, type_=type_, calls=[agg(name, 0, "DOUBLE")])) == []


def test_the_second_phase_is_judged_by_the_first(product: Product) -> None:
    first = aggregate(EVENTS, type_="local-window-aggregate", calls=[agg("MAX", 0, "DOUBLE")])
    second = aggregate(first, type_="global-window-aggregate", calls=[agg("MAX", 0, "DOUBLE")])
    assert len(refused(product, second)) == 1


def test_a_top_n_in_the_order_of_what_may_be_nan(product: Product) -> None:
    def ranked(before: Node) -> Node:
        typed = Node(
            before.type,
            {
                **before.body,
                "outputType": "ROW<`a` DOUBLE, `log_partition` INT, `log_offset` BIGINT>",
            },
            before.inputs,
        )
        return node(
            "window-rank",
            typed,
            windowing={"isRowtime": True},
            orderBy={"fields": [{"index": i} for i in range(3)]},
        )

    place = {"log_partition": ref(2), "log_offset": ref(3)}
    assert [c for c, _ in refused(product, ranked(calc(EVENTS, a=of("DOUBLE"), **place)))] == [
        "a Top-N in the order of a, a DOUBLE or FLOAT, in which NaN has no place"
    ]
    bounded = BOUNDED.body["projection"][0]
    assert refused(product, ranked(calc(EVENTS, a=bounded, **place))) == []


def test_a_join_with_constants_is_called_so(product: Product) -> None:
    assert refused(
        product, node("join", EVENTS, node("exchange", node("values", columns=("a", "b"))))
    ) == [
        (
            "a join with VALUES",
            "CASE x WHEN … THEN … END, or a reference topic with a key: a join keeps every row for ever",
        )
    ]


# --- where a problem is shown


def located(product: Product, *sinks: Node) -> list[tuple[str, int]]:
    return [(Path(p.file).name, p.line) for p in check_plan(product, sinks)]


NOW = calc(EVENTS, a=call("NOW"))


def test_a_call_is_shown_at_its_word(product: Product) -> None:
    product.select_sql("rows").write_text(
        "-- NOW()\nSELECT\n  'NOW' AS b,\n  now() AS a\nFROM orders"
    )
    assert located(product, sink(NOW), REJECTS) == [("rows.sql", 4)]


def test_a_call_that_fails_is_shown_where_it_is_of_the_same_column(product: Product) -> None:
    product.select_sql("rows").write_text(
        "SELECT CAST(b AS INT) AS b,\n CAST(\n UPPER(`a`) AS INT) AS a,\n 7 % b AS c, b +\n 8 % a AS d FROM orders"
    )
    text = cast({**ref(0), "type": "VARCHAR(9)"}, "INT")
    assert located(product, sink(calc(scan("orders", "a", "b"), a=text)), REJECTS)[-1:] == [
        ("rows.sql", 2)
    ]
    assert located(product, sink(calc(scan("orders", "b", "a"), a=text)), REJECTS)[-1:] == [
        ("rows.sql", 1)
    ]
    assert located(product, sink(calc(scan("orders", "z", "a"), a=text)), REJECTS)[-1:] == [
        ("rows.sql", 1)
    ]
    rest = call("MOD", VALUE, ref(0))
    assert located(product, sink(calc(scan("orders", "a", "b"), a=rest)), REJECTS)[-1:] == [
        ("rows.sql", 5)
    ]


def test_an_operator_is_shown_at_a_word_that_makes_it(product: Product) -> None:
    product.select_sql("rows").write_text("SELECT a, COUNT(*) AS b\nFROM orders\nGROUP BY a")
    assert located(product, sink(node("group-aggregate", EVENTS)), REJECTS) == [("rows.sql", 3)]
    product.select_sql("rows").write_text("SELECT DISTINCT a FROM orders")
    assert located(product, sink(node("group-aggregate", EVENTS)), REJECTS) == [("rows.sql", 1)]


def test_what_is_in_no_text_is_shown_by_its_file(product: Product) -> None:
    assert located(product, sink(NOW), REJECTS) == [("rows.sql", 0)]


def test_what_outputs_share_is_shown_in_views(tmp_path: Path) -> None:
    product = write(
        tmp_path,
        settings=changed(SAFE, lambda s: s["outputs"].update(more={})),
        columns={"rows": (("a", "INT"),), "more": (("a", "INT"),)},
    )
    both = (sink(NOW, "rows"), sink(NOW, "more"), REJECTS)
    assert located(product, *both) == [("rows.sql", 0)]
    product.views_sql.write_text("CREATE VIEW v AS\nSELECT NOW() AS a FROM orders")
    assert located(product, *both) == [("views.sql", 2)]
    product.select_sql("rows").write_text("SELECT NOW() AS a FROM v")
    assert located(product, *both) == [("views.sql", 2)]
    product.select_sql("more").write_text("SELECT a,\nNOW() AS b FROM v")
    assert located(
        product, sink(EVENTS, "rows"), sink(calc(EVENTS, b=call("NOW")), "more"), REJECTS
    ) == [("more.sql", 2)]


def test_a_view_holds_what_an_output_does_not(product: Product) -> None:
    product.views_sql.write_text("CREATE VIEW v AS\nSELECT\nNOW() AS a FROM orders")
    assert located(product, sink(NOW), REJECTS) == [("views.sql", 3)]


def test_what_is_generated_is_shown_in_product_yaml(product: Product) -> None:
    assert located(product, sink(EVENTS), sink(NOW, "rejects")) == [("product.yaml", 0)]


def test_a_construct_that_outputs_share_is_told_once(product: Product) -> None:
    assert len(located(product, sink(NOW, "rows"), sink(NOW, "sums"), REJECTS)) == 1
