"""How far back an output depends on events, as its plan says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from jobs.plan.compiled import Node
from jobs.plan.reach import ANY_EARLIER, SESSIONS, Reach, reach
from tests.unit.plans import aggregate, calc, node, ref, scan, sinks

ORDERS = scan("orders", "shop", "at", "cents")
PAID = scan("paid", "shop", "at", "cents")
SHOPS = scan("shops", "shop", "name")
EVENTS = frozenset({"orders", "paid"})
HOUR, DAY = 3600.0, 86_400.0


def over(before: Node, kind: str, *, constant: dict[str, Any] | None = None, **group: Any) -> Node:
    columns = len(before.columns)
    bound = {"kind": kind, "isPreceding": True}
    if constant:
        bound["offset"] = {"kind": "INPUT_REF", "inputIndex": columns}
    spec = {
        "groups": [{"isRows": False, "lowerBound": bound, **group}],
        "constants": [constant] if constant else [],
        "originalInputFields": columns,
    }
    return node("over-aggregate", before, columns=(*before.columns, "w0$o0"), overSpec=spec)


def last_day(before: Node) -> Node:
    return over(before, "BOUNDED_WINDOW", constant={"value": "86400000", "type": "INTERVAL DAY"})


def joined(left: Node, right: Node) -> Node:
    bounds = {"leftLowerBound": -3_600_000, "leftUpperBound": 86_400_000}
    return node("interval-join", left, right, intervalJoinSpec={"windowBounds": bounds})


def attached(before: Node, type_: str = "window-rank") -> Node:
    window = {"type": "TumblingWindow", "size": "PT1H"}
    return node(type_, before, windowing={"strategy": "WindowAttached", "window": window})


def in_window(before: Node) -> Node:
    window = {"type": "TumblingWindow", "size": "PT1H"}
    return node("window-table-function", before, windowing={"window": window})


LAG: dict[str, Any] = {"aggCalls": [{"internalName": "$LAG$1"}]}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(calc(ORDERS, shop=ref(0)), Reach(), id="row by row"),
        pytest.param(last_day(ORDERS), Reach(back=DAY), id="RANGE"),
        pytest.param(last_day(last_day(ORDERS)), Reach(back=2 * DAY), id="RANGE over RANGE"),
        pytest.param(over(ORDERS, "CURRENT_ROW"), Reach(), id="rows of one time"),
        pytest.param(aggregate(ORDERS, 0), Reach(span=HOUR), id="window"),
        pytest.param(aggregate(last_day(ORDERS), 0), Reach(DAY, span=HOUR), id="window over RANGE"),
        pytest.param(last_day(aggregate(ORDERS, 0)), Reach(DAY, span=HOUR), id="RANGE of windows"),
        pytest.param(joined(ORDERS, PAID), Reach(DAY, DAY), id="interval join"),
        pytest.param(
            aggregate(joined(ORDERS, PAID), 0), Reach(DAY, DAY, HOUR), id="window over a join"
        ),
        pytest.param(
            joined(aggregate(ORDERS, 0), PAID), Reach(DAY + HOUR, DAY, HOUR), id="join of windows"
        ),
        pytest.param(
            aggregate(aggregate(ORDERS, 0), 0, size="PT24H"),
            Reach(HOUR, span=DAY),
            id="window of windows",
        ),
        pytest.param(attached(aggregate(ORDERS, 0)), Reach(span=HOUR), id="Top-N of a window"),
        pytest.param(attached(in_window(ORDERS)), Reach(span=HOUR), id="Top-N of rows"),
        pytest.param(in_window(ORDERS), Reach(), id="rows that show their window"),
        pytest.param(
            attached(in_window(aggregate(ORDERS, 0)), "window-aggregate"),
            Reach(HOUR, span=HOUR),
            id="window of windows by its function",
        ),
        pytest.param(node("temporal-join", ORDERS, SHOPS), Reach(), id="versions of a reference"),
        pytest.param(node("deduplicate", SHOPS), Reach(), id="what is read from its beginning"),
        pytest.param(node("union", last_day(ORDERS), PAID), Reach(back=DAY), id="of two branches"),
    ],
)
def test_how_far_rows_depend_on_events(last: Node, expected: Reach) -> None:
    assert reach(node("sink", last), EVENTS) == expected


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (over(ORDERS, "UNBOUNDED_PRECEDING"), ANY_EARLIER),
        (over(ORDERS, "UNBOUNDED_PRECEDING", isRows=True), ANY_EARLIER),
        (over(ORDERS, "BOUNDED_WINDOW", constant={"value": "2"}, isRows=True), ANY_EARLIER),
        (over(aggregate(ORDERS, 0), "UNBOUNDED_PRECEDING", **LAG), ANY_EARLIER),
        (
            over(ORDERS, "BOUNDED_WINDOW", constant={"value": "1", "type": "INTERVAL MONTH"}),
            ANY_EARLIER,
        ),
        (node("over-aggregate", ORDERS), ANY_EARLIER),
        (node("match", ORDERS), ANY_EARLIER),
        (node("temporal-join", ORDERS, PAID), ANY_EARLIER),
        (node("deduplicate", ORDERS), ANY_EARLIER),
        (node("an-operator-to-come", ORDERS), ANY_EARLIER),
        (aggregate(ORDERS, 0, window={"type": "SessionWindow", "gap": "PT30M"}), SESSIONS),
    ],
    ids=[
        "no bound",
        "all rows",
        "some rows",
        "LAG of windows",
        "months",
        "nothing said",
        "a pattern",
        "versions of events",
        "the first of all",
        "not known",
        "a session",
    ],
)
def test_what_may_depend_on_any_earlier_event(last: Node, why: str) -> None:
    assert reach(node("sink", calc(last, shop=ref(0))), EVENTS).unbounded == why


def test_in_plans_of_flink() -> None:
    plan = sinks("many")
    events = frozenset(n.topic for sink in plan.values() for n in sink.walk() if n.topic)
    found = {table: reach(sink, events) for table, sink in plan.items()}
    assert {table: r.span for table, r in found.items() if r.span} == {
        "first_rows": HOUR / 2,
        "hops": 1.5 * HOUR,
        "ends": 10,
        "no_key": HOUR,
        "top": HOUR,
        "days": DAY,
    }
    # Generated SQL keeps one copy of each event, by an OVER over rows of one time.
    assert {table for table, r in found.items() if r.unbounded or math.isinf(r.back)} == set()
    assert found["paired"] == Reach(back=HOUR / 2, ahead=HOUR / 2)
