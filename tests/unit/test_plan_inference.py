"""What Flink's compiled plan says of an output: its kind, its key, its window, and how long a record waits."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from jobs.generate import REJECT_COLUMNS
from jobs.plan.compiled import Node, distinct, iso_seconds, numbered, parse_plan, window_seconds
from jobs.plan.inference import Inferred, infer
from jobs.plan.origins import origin, origins
from jobs.product.model import Kind, Window
from tests.unit import plans
from tests.unit.plans import (
    agg,
    aggregate,
    calc,
    call,
    cast,
    compiled,
    node,
    ref,
    scan,
    sink,
    sinks,
    where,
)
from tests.unit.products import resolved

EVENTS = frozenset({"orders", "refunds"})
ORDERS = scan("orders", "id", "at", "shop", "log_clock", "log_error")


def inferred(last: Node, *names: str) -> Inferred:
    return infer(sink(last), names or last.columns, EVENTS)


def test_operators_are_numbered_from_1_however_far_flink_has_counted() -> None:
    def moved(by: int) -> str:
        plan = json.loads((plans.PLANS / "flights.json").read_text())
        for operator in plan["nodes"]:
            operator["id"] = 3 * operator["id"] + by
        for edge in plan["edges"]:
            edge["source"], edge["target"] = 3 * edge["source"] + by, 3 * edge["target"] + by
        return json.dumps(plan)

    found = json.loads(numbered(moved(7)))
    assert found == json.loads(numbered(moved(1_000)))
    assert sorted(n["id"] for n in found["nodes"]) == list(range(1, len(found["nodes"]) + 1))
    original = json.loads((plans.PLANS / "flights.json").read_text())
    types = {n["id"]: n["type"] for n in found["nodes"]}
    before = {n["id"]: n["type"] for n in original["nodes"]}
    assert sorted((types[e["source"]], types[e["target"]]) for e in found["edges"]) == sorted(
        (before[e["source"]], before[e["target"]]) for e in original["edges"]
    )


# --- Flink's own plans


@pytest.mark.parametrize("product", ["orders", "flights"])
def test_plans_of_our_products(product: str) -> None:
    events = frozenset({product})
    outputs = {n: o for n, o in resolved(product).outputs.items() if n != "rejects"}
    for name, output in outputs.items():
        found = infer(sinks(product)[name], tuple(c.name for c in output.columns), events)
        assert (found.kind, found.topics) == (output.kind, (product,))
        assert (found.filters, found.wait) == (0, 0)
        if output.kind is Kind.aggregate:
            assert (found.key, found.window) == (output.key, output.window)


ROWS = Inferred(Kind.rows, ("refunds",))
SUMS = Inferred(Kind.aggregate, ("refunds",))


@pytest.mark.parametrize(
    ("table", "names", "expected"),
    [
        # De-duplicated in its topic: that filter is generated, and resolve() takes it off.
        (
            "order_rows",
            "id at cents log_partition log_offset",
            Inferred(Kind.rows, ("orders",), filters=2),
        ),
        (
            "both_rows",
            "id what cents log_topic log_partition log_offset",
            Inferred(Kind.rows, ("orders", "refunds"), filters=1),
        ),
        ("first_rows", "id cents log_partition log_offset", dataclasses.replace(SUMS, wait=1800)),
        (
            "hops",
            "shop began ended n",
            dataclasses.replace(
                SUMS, key=("shop", "began", "ended"), window=Window(column="began", size="90min")
            ),
        ),
        (
            "ends",
            "shop ended most",
            dataclasses.replace(
                SUMS, key=("shop", "ended"), window=Window(column="ended", size="0s")
            ),
        ),
        ("no_key", "began n", dataclasses.replace(SUMS, window=Window(column="began", size="1h"))),
        (
            "paired",
            "id cents back log_partition log_offset",
            Inferred(Kind.aggregate, ("orders", "refunds"), wait=1800, filters=1),
        ),
        (
            "top",
            "began shop n",
            dataclasses.replace(
                SUMS, key=("shop", "began"), window=Window(column="began", size="1h"), wait=3600
            ),
        ),
        (
            "days",
            "shop day mean",
            dataclasses.replace(SUMS, key=("shop", "day"), window=Window(column="day", size="1d")),
        ),
    ],
)
def test_plans_of_many_kinds_of_outputs(table: str, names: str, expected: Inferred) -> None:
    found = infer(sinks("many")[table], tuple(names.split()), EVENTS)
    assert dataclasses.replace(found, key=(), placed=None) == dataclasses.replace(
        expected, key=(), placed=None
    )
    assert set(found.key) == set(expected.key)


def test_rejects_are_read_from_the_same_source() -> None:
    tables = sinks("orders")
    (source,) = {id(n) for s in tables.values() for n in s.walk() if n.topic}
    assert all(any(id(n) == source for n in s.walk()) for s in tables.values())
    assert len(distinct(tables.values())) == 13
    assert tables["rejects"].columns == tuple(c.name for c in REJECT_COLUMNS)


# --- operators


def test_operators_know_what_they_read_and_fill() -> None:
    assert (ORDERS.topic, ORDERS.table, ORDERS.columns[:2]) == (
        "orders",
        "orders__log",
        ("id", "at"),
    )
    last = sink(ORDERS, "rows")
    assert (last.topic, last.table) == ("", "rows")
    assert (calc(ORDERS, a=ref(0)).topic, calc(ORDERS, a=ref(0)).table) == ("", "")


def test_columns_are_read_in_both_forms_that_a_plan_has() -> None:
    fields = [
        {"name": "at", "fieldType": {"type": "TIMESTAMP_WITH_LOCAL_TIME_ZONE", "kind": "ROWTIME"}},
        {"name": "a b", "fieldType": "INT"},
    ]
    assert Node("calc", {"outputType": {"type": "ROW", "fields": fields}}).columns == ("at", "a b")
    assert Node(
        "calc", {"outputType": "ROW<`a b` INT, `c` ROW<`d` INT, `e` VARCHAR(3)>>"}
    ).columns == ("a b", "c")
    assert Node("calc", {"outputType": "INT"}).columns == ()


def test_a_plan_is_read_with_shared_parts_shared() -> None:
    shared = calc(ORDERS, id=ref(0))
    first, second = parse_plan(compiled(sink(shared, "one"), sink(calc(shared, b=ref(0)), "two")))
    assert (first.table, second.table) == ("one", "two")
    assert second.inputs[0].inputs[0] is first.inputs[0]
    assert [n.type for n in second.walk()] == ["sink", "calc", "calc", "table-source-scan"]
    assert len(distinct((first, second))) == 5


def test_a_walk_goes_through_every_input_once() -> None:
    one = calc(ORDERS, id=ref(0))
    assert [n.type for n in node("union", one, one).walk()] == [
        "union",
        "calc",
        "table-source-scan",
    ]


def test_calls_are_found_wherever_they_stand() -> None:
    before = where(calc(ORDERS, a=call("UPPER", call("NOW"))), call("RAND"))
    assert [c["internalName"] for c in before.calls()] == ["$RAND$1"]
    assert [c["internalName"] for c in before.inputs[0].calls()] == ["$UPPER$1", "$NOW$1"]
    assert [c["internalName"] for c in aggregate(ORDERS, 0, calls=[agg("SUM", 1)]).calls()] == [
        "$SUM$1"
    ]
    assert list(sink(before).calls()) == []


# --- where columns come from


WINDOW = aggregate(ORDERS, 2, 0, calls=[agg("COUNT", 1)])


@pytest.mark.parametrize(
    ("last", "index", "kind", "name"),
    [
        (ORDERS, 1, "field", "at"),
        (calc(ORDERS, b=ref(2)), 0, "field", "shop"),
        (calc(ORDERS, b=cast(ref(2), "VARCHAR(9)")), 0, "other", ""),
        (calc(ORDERS, b=cast(ref(2), "BIGINT NOT NULL")), 0, "field", "shop"),
        (calc(ORDERS, b=call("REINTERPRET", ref(1))), 0, "field", "at"),
        (calc(ORDERS, b=call("UPPER", ref(2))), 0, "other", ""),
        (calc(ORDERS, b={"kind": "LITERAL", "value": 1}), 0, "other", ""),
        (node("exchange", calc(ORDERS, b=ref(2))), 0, "field", "shop"),
        (node("union", ORDERS, scan("refunds", *ORDERS.columns)), 2, "field", "shop"),
        (node("over-aggregate", ORDERS, columns=(*ORDERS.columns, "first")), 2, "field", "shop"),
        (node("over-aggregate", ORDERS, columns=(*ORDERS.columns, "first")), 5, "other", ""),
        (node("correlate", ORDERS, columns=(*ORDERS.columns, "name")), 5, "other", ""),
        (
            node(
                "temporal-join",
                ORDERS,
                scan("shops", "shop", "name"),
                columns=(*ORDERS.columns, "shop0", "name"),
            ),
            6,
            "field",
            "name",
        ),
        (WINDOW, 0, "group", ""),
        (WINDOW, 1, "group", ""),
        (WINDOW, 2, "other", ""),
        (WINDOW, 3, "window_start", ""),
        (WINDOW, 4, "window_end", ""),
        (calc(WINDOW, d=cast(ref(0), "BIGINT NOT NULL")), 0, "group", ""),
        (calc(WINDOW, d=cast(ref(0), "INT")), 0, "other", ""),
        (calc(WINDOW, d=cast(ref(3), "TIMESTAMP(6)")), 0, "window_start", ""),
        (calc(WINDOW, d=cast(ref(3), "VARCHAR(30)")), 0, "other", ""),
        (calc(WINDOW, d=call("+", ref(3), ref(3))), 0, "other", ""),
        (
            node("window-table-function", ORDERS, columns=(*ORDERS.columns, "s", "e", "t")),
            5,
            "window_start",
            "",
        ),
        (
            node("window-table-function", ORDERS, columns=(*ORDERS.columns, "s", "e", "t")),
            6,
            "window_end",
            "",
        ),
        (
            node("window-table-function", ORDERS, columns=(*ORDERS.columns, "s", "e", "t")),
            7,
            "window_time",
            "",
        ),
        (node("some-new-operator", ORDERS), 0, "other", ""),
    ],
)
def test_where_a_column_comes_from(last: Node, index: int, kind: str, name: str) -> None:
    found = origin(last, index)
    assert (found.kind, found.name) == (kind, name)


def test_the_day_of_a_window() -> None:
    found = origin(calc(WINDOW, day=cast(ref(3), "DATE")), 0)
    assert (found.kind, found.as_date, found.node) == ("window_start", True, WINDOW)


def test_a_column_of_a_union_comes_from_all_branches() -> None:
    refunds = scan("refunds", *ORDERS.columns)
    assert [(o.name, o.topic) for o in origins(node("union", ORDERS, refunds), 1)] == [
        ("at", "orders"),
        ("at", "refunds"),
    ]
    assert (
        origin(
            node("union", ORDERS, calc(refunds, **dict.fromkeys(ORDERS.columns, ref(0)))), 1
        ).kind
        == "other"
    )
    assert (
        origin(node("union", WINDOW, aggregate(refunds, 2, 0, calls=[agg("COUNT", 1)])), 3).kind
        == "other"
    )


def test_a_time_that_is_cut_within_a_window_is_none_of_its_ends() -> None:
    for size, to, kind in (
        ("PT0.5S", "TIMESTAMP(0)", "other"),
        ("PT0.5S", "TIMESTAMP(3)", "window_start"),
        ("PT1S", "TIMESTAMP(0)", "window_start"),
    ):
        window = aggregate(ORDERS, 2, size=size)
        assert origin(calc(window, w=cast(ref(1), to)), 0).kind == kind


# --- kinds


def windowed(before: Node, type_: str = "TumblingWindow") -> Node:
    """Each row with the window or the windows that it falls into."""
    return node("window-table-function", before, windowing={"window": {"type": type_}})


@pytest.mark.parametrize(
    "last",
    [
        ORDERS,
        calc(ORDERS, id=ref(0)),
        node("python-calc", ORDERS),
        node("union", ORDERS, scan("refunds", "id")),
        node("over-aggregate", ORDERS),
        windowed(ORDERS),
        node("correlate", ORDERS, functionCall={"systemName": "shops_at"}),
        node("temporal-join", ORDERS, scan("shops", "shop")),
        node("temporal-join", ORDERS, node("deduplicate", scan("shops", "shop"))),
    ],
    ids=lambda n: n.type,
)
def test_one_row_for_each_event(last: Node) -> None:
    assert inferred(last).kind is Kind.rows


PLACED = scan("orders", "id", "log_partition", "log_offset")


@pytest.mark.parametrize(
    ("last", "topics"),
    [
        (PLACED, {"orders"}),
        (calc(PLACED, log_offset=ref(2), log_partition=ref(1)), {"orders"}),
        (
            calc(PLACED, log_partition=ref(1), log_offset=cast(ref(2), "BIGINT NOT NULL")),
            {"orders"},
        ),
        (node("union", PLACED, scan("refunds", *PLACED.columns)), {"orders", "refunds"}),
        (node("union", PLACED, PLACED), None),
        (calc(PLACED, log_partition=ref(1), log_offset=ref(0)), None),
        (calc(PLACED, log_partition=ref(2), log_offset=ref(1)), None),
        (
            node(
                "union",
                PLACED,
                calc(PLACED, id=ref(0), log_partition=ref(1), log_offset=call("+", ref(2))),
            ),
            None,
        ),
        (aggregate(PLACED, 1, 2), None),
        (ORDERS, None),
        (
            node(
                "interval-join",
                PLACED,
                scan("refunds", "log_partition", "log_offset"),
                columns=("log_offset", "x", "log_partition", "y", "z"),
            ),
            None,
        ),
    ],
)
def test_of_which_topics_the_places_are(last: Node, topics: set[str] | None) -> None:
    assert inferred(last).placed == topics


def test_a_deduplication_by_the_identity_leaves_no_event_out() -> None:
    by_id = node("window-deduplicate", ORDERS, partitionKeys=[0])
    for last, identities, kind in (
        (by_id, {"orders": ("id",)}, Kind.rows),
        (by_id, {"orders": ("id", "shop")}, Kind.aggregate),
        (by_id, {"orders": ()}, Kind.aggregate),
        (by_id, {}, Kind.aggregate),
        (
            node("window-deduplicate", ORDERS, partitionKeys=[2]),
            {"orders": ("id",)},
            Kind.aggregate,
        ),
    ):
        assert infer(sink(last), last.columns, EVENTS, identities).kind is kind


@pytest.mark.parametrize(
    ("last", "filters"),
    [
        (
            node(
                "correlate",
                ORDERS,
                functionCall={"systemName": "around_at"},
                joinType="INNER",
                condition=call(">"),
            ),
            1,
        ),
        (
            node(
                "correlate",
                ORDERS,
                functionCall={"systemName": "around_at"},
                joinType="INNER",
                condition=None,
            ),
            0,
        ),
        (node("temporal-join", ORDERS, scan("shops", "shop"), joinSpec={"joinType": "INNER"}), 1),
        (node("temporal-join", ORDERS, scan("shops", "shop"), joinSpec={"joinType": "LEFT"}), 0),
    ],
)
def test_joins_that_leave_events_out(last: Node, filters: int) -> None:
    assert (inferred(last).kind, inferred(last).filters) == (Kind.rows, filters)


HOUR = aggregate(ORDERS, 2)
SHOWN = calc(HOUR, shop=ref(0), w=ref(1))
CUMULATED = aggregate(
    ORDERS, 2, window={"type": "CumulativeWindow", "maxSize": "PT1H", "step": "PT10M"}
)


@pytest.mark.parametrize(
    ("last", "key"),
    [
        (SHOWN, ("shop", "w")),
        (calc(HOUR, shop=ref(0), day=cast(ref(1), "DATE")), ()),
        (
            calc(aggregate(ORDERS, 2, size="PT24H"), shop=ref(0), day=cast(ref(1), "DATE")),
            ("shop", "day"),
        ),
        (calc(CUMULATED, shop=ref(0), w=ref(1)), ()),
        (calc(CUMULATED, shop=ref(0), e=ref(2)), ("shop", "e")),
        (node("union", SHOWN, SHOWN), ()),
        (node("window-rank", SHOWN), ("shop", "w")),
        (node("window-join", SHOWN, ORDERS, columns=("shop", "w", "id")), ()),
        (node("correlate", SHOWN, functionCall={"systemName": "UNNEST"}), ()),
        (node("correlate", SHOWN, functionCall={"systemName": "shops_at"}), ("shop", "w")),
        (node("temporal-join", SHOWN, node("deduplicate", scan("shops", "shop"))), ("shop", "w")),
    ],
)
def test_a_key_tells_all_rows_apart(last: Node, key: tuple[str, ...]) -> None:
    assert inferred(last).key == key


@pytest.mark.parametrize(
    "last",
    [
        aggregate(ORDERS, 0),
        node("group-aggregate", ORDERS),
        node("window-rank", ORDERS),
        node("interval-join", ORDERS, scan("refunds", "id")),
        node("correlate", ORDERS),
        node("expand", ORDERS),
        node("window-deduplicate", ORDERS),
        windowed(ORDERS, "HoppingWindow"),
        windowed(ORDERS, "CumulativeWindow"),
        node("correlate", ORDERS, functionCall={"systemName": "UNNEST"}),
        node("temporal-join", ORDERS, scan("refunds", "id")),
        node("some-new-operator", ORDERS),
        calc(aggregate(ORDERS, 0), n=ref(0)),
    ],
    ids=lambda n: n.type,
)
def test_anything_else_is_an_aggregate(last: Node) -> None:
    assert inferred(last).kind is Kind.aggregate


def test_topics_are_those_with_events() -> None:
    assert inferred(node("union", scan("refunds", "a"), ORDERS)).topics == ("orders", "refunds")
    assert inferred(scan("shops", "a")).topics == ()


# --- filters


def compare(index: int) -> dict[str, Any]:
    return call(">", ref(index), {"kind": "LITERAL", "value": 1})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (compare(0), 1),
        (call("AND", compare(0), compare(2)), 2),
        (call("AND", call("AND", compare(0), compare(1)), compare(2)), 3),
        (call("OR", compare(0), compare(2)), 1),
        (compare(3), 0),
        (call(">=", ref(1), cast(ref(3), "TIMESTAMP(3)")), 0),
        (call("AND", call("IS NULL", ref(4)), compare(0)), 1),
        ({"kind": "LITERAL", "value": False}, 1),
    ],
    ids=[
        "one",
        "two",
        "three",
        "either",
        "the log's clock",
        "late",
        "undecodable, and one",
        "none at all",
    ],
)
def test_conditions_that_nobody_generated_are_counted(
    condition: dict[str, Any], expected: int
) -> None:
    assert inferred(where(ORDERS, condition)).filters == expected
    assert inferred(calc(where(ORDERS, condition), id=ref(0))).filters == expected


def test_conditions_of_several_operators_add_up() -> None:
    assert inferred(where(where(ORDERS, compare(0)), compare(1))).filters == 2


# --- keys and windows


def test_the_key_is_what_the_window_groups_by_and_where_it_begins() -> None:
    last = calc(WINDOW, n=ref(2), hour=cast(ref(3), "TIMESTAMP(6)"), customer=ref(1), shop=ref(0))
    found = inferred(last)
    assert (found.key, found.window) == (
        ("shop", "customer", "hour"),
        Window(column="hour", size="1h"),
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"shop": ref(0), "hour": ref(3)},
        {"shop": ref(0), "id": ref(1)},
        {"hour": ref(3)},
        {"shop": call("UPPER", ref(0)), "id": ref(1), "hour": ref(3)},
    ],
    ids=["a group is missing", "no window", "no group", "a group is changed"],
)
def test_without_a_part_of_it_there_is_no_key(columns: dict[str, Any]) -> None:
    assert inferred(calc(WINDOW, **columns)).key == ()


def test_a_group_twice_is_named_by_its_first_column() -> None:
    last = calc(WINDOW, one=ref(0), id=ref(1), two=ref(0), hour=ref(3))
    assert inferred(last).key == ("one", "id", "hour")


@pytest.mark.parametrize(
    ("size", "columns", "expected"),
    [
        ("PT1H", {"b": ref(3), "e": ref(4)}, Window(column="b", size="1h")),
        ("PT1H", {"e": ref(4)}, Window(column="e", size="0s")),
        ("PT24H", {"b": cast(ref(3), "DATE")}, Window(column="b", size="1d")),
        ("PT48H", {"b": cast(ref(3), "DATE")}, Window(column="b", size="2d")),
        ("PT12H", {"b": cast(ref(3), "DATE")}, None),
        ("PT24H", {"e": cast(ref(4), "DATE")}, None),
        ("PT15M", {"b": ref(3)}, Window(column="b", size="15min")),
        ("PT10S", {"b": ref(3)}, Window(column="b", size="10s")),
        ("PT0.5S", {"b": ref(3)}, Window(column="b", size="500ms")),
        ("PT36H", {"b": ref(3)}, Window(column="b", size="36h")),
        ("PT1H", {"n": ref(2)}, None),
    ],
)
def test_windows(size: str, columns: dict[str, Any], expected: Window | None) -> None:
    before = aggregate(ORDERS, 2, 0, size=size, calls=[agg("COUNT", 1)])
    assert inferred(calc(before, **columns)).window == expected


def test_a_session_has_no_size() -> None:
    before = aggregate(ORDERS, 0, window={"type": "SessionWindow", "gap": "PT1H"})
    assert inferred(calc(before, b=ref(1))).window is None


def test_a_cumulative_window_lasts_as_long_as_its_longest() -> None:
    assert (
        window_seconds({"type": "CumulativeWindow", "maxSize": "PT24H", "step": "PT1H"}) == 86_400
    )


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("PT0S", 0),
        ("PT1H", 3600),
        ("PT1H30M", 5400),
        ("PT90M", 5400),
        ("PT10S", 10),
        ("PT0.5S", 0.5),
        ("PT1H0.001S", 3600.001),
        ("PT100H", 360_000),
    ],
)
def test_durations_of_java(duration: str, expected: float) -> None:
    assert iso_seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "1h", "P1D", "PT1H ", "PT-1H"])
def test_what_is_no_duration_of_java(duration: str) -> None:
    with pytest.raises(ValueError, match="a duration such as PT1H"):
        iso_seconds(duration)


# --- waiting


def window_of(type_: str, before: Node, size: str = "PT1H") -> Node:
    return node(type_, before, windowing={"window": {"type": "TumblingWindow", "size": size}})


def join(before: Node, lower: int, upper: int) -> Node:
    return node(
        "interval-join",
        before,
        scan("refunds", "id"),
        intervalJoinSpec={
            "windowBounds": {"isEventTime": True, "leftLowerBound": lower, "leftUpperBound": upper}
        },
    )


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (ORDERS, 0),
        (aggregate(ORDERS, 0), 0),
        (node("over-aggregate", ORDERS), 0),
        (window_of("window-deduplicate", ORDERS), 3600),
        (window_of("window-rank", ORDERS, "PT15M"), 900),
        (window_of("window-join", ORDERS), 3600),
        (window_of("window-deduplicate", window_of("window-rank", ORDERS, "PT15M")), 4500),
        (node("union", window_of("window-rank", ORDERS, "PT15M"), ORDERS), 900),
        (join(ORDERS, -60_000, 5_000), 60),
        (join(ORDERS, 0, 7_500), 7.5),
        (join(ORDERS, 0, 0), 0),
    ],
    ids=[
        "a source",
        "an aggregate",
        "a range",
        "once in a window",
        "the first of a window",
        "a window join",
        "two windows",
        "the longest of two ways",
        "a pair before",
        "a pair behind",
        "a pair at once",
    ],
)
def test_how_long_a_record_may_wait(last: Node, expected: float) -> None:
    assert inferred(last).wait == expected


def test_every_plan_is_used() -> None:
    assert {f.stem for f in plans.PLANS.iterdir()} == {"orders", "flights", "many"}
