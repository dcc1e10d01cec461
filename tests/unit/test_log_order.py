"""Rows of one key in the order of the log: where Flink has them so, and the plan that says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.plan.compiled import Node, parse_plan
from jobs.plan.log_order import (
    identity_that_is_a_key,
    in_log_order,
    is_placed,
    order_of,
    with_log_order,
    without_equals,
    without_ties,
)
from jobs.product.folder import Product
from jobs.product.model import Topic
from jobs.product.settings import ProductSettings
from tests.unit.plans import aggregate, calc, call, cast, compiled, node, ref, scan, sink

COLUMNS = ("at", "shop", "item", "log_partition", "log_offset")
EVENTS = scan("orders", *COLUMNS)
CHANGED = call("UPPER", ref(1))


def product(*keyed_by: str, identity: tuple[str, ...] = ()) -> Product:
    topics = {
        "orders": Topic(time="at", allowed_lateness="1h", keyed_by=keyed_by, identity=identity)
    }
    return Product(
        folder=Path("/nowhere"), settings=ProductSettings(name="shop", topics=topics, outputs={})
    )


def over(
    before: Node,
    by: tuple[int, ...] = (1,),
    order: tuple[int, ...] = (0,),
    calls: tuple[str, ...] = ("LAG",),
    **group: Any,
) -> Node:
    fields = [{"index": i, "isAscending": True} for i in order]
    aggregates = [{"internalName": f"${name}$1", "argList": [2]} for name in calls]
    return node(
        "over-aggregate",
        before,
        columns=(*before.columns, *(f"w{i}" for i, _ in enumerate(calls))),
        overSpec={
            "partition": {"fields": list(by)},
            "groups": [
                {"orderBy": {"fields": fields}, "isRows": False, "aggCalls": aggregates, **group}
            ],
        },
    )


def match(before: Node, by: tuple[int, ...] = (1,), order: tuple[int, ...] = (0,)) -> Node:
    return node(
        "match",
        before,
        matchSpec={
            "partition": {"fields": list(by)},
            "orderBy": {"fields": [{"index": i} for i in order]},
        },
    )


@pytest.mark.parametrize(
    ("last", "ordered"),
    [
        pytest.param(over(EVENTS), True, id="of the topic itself"),
        pytest.param(
            over(node("exchange", calc(EVENTS, at=ref(0), shop=ref(1), item=ref(2)))),
            True,
            id="projected",
        ),
        pytest.param(
            over(node("correlate", EVENTS, columns=(*COLUMNS, "name"))), True, id="with a look-up"
        ),
        pytest.param(over(over(EVENTS)), True, id="behind another of the same key"),
        pytest.param(over(EVENTS, by=(1, 2)), True, id="by more than the key"),
        pytest.param(match(EVENTS), True, id="a pattern"),
        pytest.param(over(EVENTS, by=(2,)), False, id="by another column"),
        pytest.param(over(EVENTS, by=()), False, id="by nothing"),
        pytest.param(
            over(calc(EVENTS, at=ref(0), shop=CHANGED, item=ref(2))), False, id="by a computed key"
        ),
        pytest.param(
            over(calc(EVENTS, at=ref(0), shop=cast(ref(1), "CHAR(1)"), item=ref(2))),
            False,
            id="by a cast key",
        ),
        pytest.param(over(over(EVENTS, by=(2,))), False, id="dealt out by another key before"),
        pytest.param(over(node("union", EVENTS, EVENTS)), False, id="of two inputs"),
        pytest.param(over(node("window-deduplicate", EVENTS)), False, id="behind a window"),
        pytest.param(
            over(node("temporal-join", EVENTS, scan("shops", "shop"))), False, id="behind a join"
        ),
        pytest.param(over(scan("shops", *COLUMNS)), False, id="of a topic that nobody knows"),
    ],
)
def test_rows_of_a_key_are_in_order_where_nothing_deals_them_out(last: Node, ordered: bool) -> None:
    assert in_log_order(product("shop"), last) is ordered


def test_only_a_topic_that_says_so_is_in_order() -> None:
    assert not in_log_order(product(), over(EVENTS))
    assert not in_log_order(product("shop", "item"), over(EVENTS))
    assert in_log_order(product("shop", "item"), over(EVENTS, by=(1, 2)))


@pytest.mark.parametrize(
    ("identity", "by", "ordered", "instead"),
    [
        pytest.param(("shop",), (1,), False, ("shop", "at"), id="all of it"),
        pytest.param(("shop",), (1, 2), False, ("shop", "at"), id="more than it"),
        pytest.param(("shop", "at"), (1,), True, (), id="but for the time"),
        pytest.param(("shop", "item"), (1,), True, (), id="a part of it"),
        pytest.param((), (1,), True, (), id="none"),
        pytest.param(("shop",), (0, 1), False, (), id="and the time itself"),
    ],
)
def test_a_key_that_each_event_has_of_its_own_is_none_to_keep(
    identity: tuple[str, ...], by: tuple[int, ...], ordered: bool, instead: tuple[str, ...]
) -> None:
    told = product("shop", identity=identity)
    assert in_log_order(told, over(EVENTS, by=by)) is ordered
    assert identity_that_is_a_key(told, over(EVENTS, by=by)) == instead
    assert identity_that_is_a_key(told, over(node("window-deduplicate", EVENTS), by=by)) == ()


def windowed(*groups: int) -> Node:
    before = aggregate(EVENTS, *groups)
    named = [{"name": "window_time", "property": {"kind": "Rowtime"}}]
    return Node(
        before.type,
        {
            **before.body,
            "namedWindowProperties": named,
            "outputType": before.body["outputType"].replace(
                "`window_start` BIGINT, `window_end`", "`window_time`"
            ),
        },
        before.inputs,
    )


@pytest.mark.parametrize(
    ("last", "tied"),
    [
        pytest.param(over(windowed(1), by=(0,), order=(1,)), False, id="by the window's group"),
        pytest.param(over(windowed(1, 2), by=(0, 1), order=(2,)), False, id="by both groups"),
        pytest.param(over(windowed(1, 2), by=(0,), order=(2,)), True, id="by one of two groups"),
        pytest.param(over(windowed(1), by=(), order=(1,)), True, id="by nothing"),
        pytest.param(over(windowed(), by=(), order=(0,)), False, id="a window without groups"),
        pytest.param(over(windowed(1), by=(0,), order=(0,)), True, id="in another order"),
        pytest.param(over(EVENTS), True, id="events"),
        pytest.param(
            over(node("union", windowed(1), windowed(1)), by=(0,), order=(1,)),
            True,
            id="two windows",
        ),
    ],
)
def test_a_window_has_one_row_of_each_group(last: Node, tied: bool) -> None:
    assert without_ties(last) is not tied


def of_day(before: Node) -> Node:
    """Hours, each with the day that it is in."""
    return node(
        "window-table-function",
        before,
        columns=(*before.columns, "day_start", "day_end", "day_time"),
        windowing={"window": {"type": "TumblingWindow", "size": "PT24H"}, "isRowtime": True},
    )


def test_the_time_of_a_later_window_is_that_of_many_rows() -> None:
    hours = of_day(windowed(1))
    assert without_ties(over(hours, by=(0,), order=(1,)))
    assert not without_ties(over(hours, by=(0,), order=(4,)))


@pytest.mark.parametrize(
    ("before", "columns", "equal"),
    [
        pytest.param(windowed(1), (0,), False, id="of the window that grouped them"),
        pytest.param(windowed(1, 2), (0,), True, id="by one of two groups"),
        pytest.param(of_day(windowed(1)), (0,), True, id="of a day, whose hours are not named"),
        pytest.param(of_day(windowed(1)), (0, 1), False, id="of a day, with the hour"),
        pytest.param(of_day(windowed(1)), (0, 2), True, id="of a day, with the day"),
    ],
)
def test_rows_of_a_top_n_are_told_apart(
    before: Node, columns: tuple[int, ...], equal: bool
) -> None:
    assert without_equals(node("window-rank", before), columns) is not equal


def test_an_order_ends_with_the_place() -> None:
    assert is_placed(match(EVENTS), [0, 3, 4])
    assert not is_placed(match(EVENTS), [0, 4])
    assert not is_placed(match(calc(EVENTS, log_partition=ref(3), log_offset=ref(0))), [0, 1])


def rewritten(last: Node, *keyed_by: str) -> dict[str, Any]:
    plan = json.loads(with_log_order(product(*keyed_by), compiled(sink(last))))
    [body] = [n for n in plan["nodes"] if "over" in n["type"]]
    group: dict[str, Any]
    [group] = body["overSpec"]["groups"]
    return group


def test_lag_counts_rows_in_the_order_of_the_log() -> None:
    group = rewritten(over(EVENTS, order=(0, 3, 4)), "shop")
    assert (group["isRows"], [f["index"] for f in group["orderBy"]["fields"]]) == (True, [0])
    group = rewritten(over(EVENTS), "shop")
    assert (group["isRows"], [f["index"] for f in group["orderBy"]["fields"]]) == (True, [0])


@pytest.mark.parametrize("calls", [("SUM",), ("SUM", "LAG")])
def test_a_range_stays_a_range(calls: tuple[str, ...]) -> None:
    assert not rewritten(over(EVENTS, calls=calls), "shop")["isRows"]


def test_another_order_stays_for_the_check_to_refuse() -> None:
    assert [
        f["index"] for f in rewritten(over(EVENTS, order=(0, 2)), "shop")["orderBy"]["fields"]
    ] == [0, 2]
    assert [
        f["index"] for f in rewritten(over(EVENTS, order=(0, 4, 3)), "shop")["orderBy"]["fields"]
    ] == [0, 4, 3]


def test_without_keyed_by_the_plan_is_as_flink_made_it() -> None:
    plan = compiled(sink(over(EVENTS, order=(0, 3, 4))))
    assert with_log_order(product(), plan) == plan
    [last] = parse_plan(plan)
    assert order_of(last.inputs[0]) == [0, 3, 4]
