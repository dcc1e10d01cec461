"""Which columns of an output say where the window of a row begins and ends."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.plan.compiled import Node
from jobs.plan.windows import held, window_columns
from tests.unit import plans

_TUMBLE = {"type": "TumblingWindow"}


@pytest.mark.parametrize(
    ("window", "shown", "starts", "ends"),
    [
        pytest.param({**_TUMBLE, "size": "PT1H"}, ["day", "hour"], "hour", None, id="of an hour"),
        pytest.param({**_TUMBLE, "size": "PT1H"}, ["day"], None, None, id="the day of an hour"),
        pytest.param({**_TUMBLE, "size": "PT24H"}, ["day", "hour"], "hour", None, id="of a day"),
        pytest.param({**_TUMBLE, "size": "PT24H"}, ["day", "until"], "day", "until", id="its day"),
        pytest.param(
            {**_TUMBLE, "size": "PT24H", "offset": "PT6H"}, ["day"], None, None, id="from six on"
        ),
        pytest.param(
            {"type": "HoppingWindow", "size": "PT24H", "slide": "PT1H"},
            ["day"],
            None,
            None,
            id="hops",
        ),
        pytest.param(
            {"type": "CumulativeWindow", "maxSize": "PT24H", "step": "PT1H"},
            ["until"],
            None,
            None,
            id="the day of a step",
        ),
    ],
)
def test_a_date_stands_for_a_window_only_where_it_says_when_it_begins(
    window: dict[str, Any], shown: list[str], starts: str | None, ends: str | None
) -> None:
    aggregate = plans.aggregate(plans.scan("orders", "shop"), 0, window=window)
    columns = {
        "day": plans.cast(plans.ref(1), "DATE"),
        "hour": plans.ref(1),
        "until": plans.cast(plans.ref(2), "DATE"),
    }
    sink = plans.sink(plans.calc(aggregate, **{c: columns[c] for c in shown}))
    found = window_columns(sink)
    assert (found and (found.starts, found.ends)) == ((starts, ends) if starts else None)


HOUR, DAY = 3600.0, 86_400.0
HOURS = plans.aggregate(plans.scan("orders", "shop", "at"), 0)
"""With columns: 0 the shop, 1 where the hour begins, 2 where it ends."""


def in_days(before: Node) -> Node:
    columns = (*before.columns, "day_start", "day_end", "day_time")
    window = {**_TUMBLE, "size": "PT24H"}
    return plans.node(
        "window-table-function", before, columns=columns, windowing={"window": window}
    )


def first_ones(before: Node) -> Node:
    windowing = {"strategy": "WindowAttached", "window": {**_TUMBLE, "size": "PT24H"}}
    return plans.node("window-rank", before, windowing=windowing)


def joined(before: Node) -> Node:
    bounds = {"leftLowerBound": -3_600_000, "leftUpperBound": 600_000}
    other = plans.scan("paid", "id")
    columns = (*before.columns, *other.columns)
    spec = {"windowBounds": bounds}
    return plans.node("interval-join", before, other, columns=columns, intervalJoinSpec=spec)


BEHIND_A_JOIN = plans.aggregate(joined(plans.scan("orders", "shop", "at")), 0)


@pytest.mark.parametrize(
    ("last", "column", "seconds"),
    [
        pytest.param(HOURS, 1, 0.0, id="its own window"),
        pytest.param(first_ones(in_days(plans.scan("orders", "shop"))), 1, 0.0, id="its own Top-N"),
        pytest.param(first_ones(in_days(HOURS)), 1, DAY, id="the hours of each day"),
        pytest.param(first_ones(in_days(HOURS)), 3, 0.0, id="the day of each hour"),
        pytest.param(joined(HOURS), 1, HOUR, id="a join"),
        pytest.param(BEHIND_A_JOIN, 1, HOUR, id="a join in front of it"),
        pytest.param(joined(BEHIND_A_JOIN), 1, 2 * HOUR, id="joins on both sides"),
        pytest.param(first_ones(in_days(BEHIND_A_JOIN)), 3, HOUR, id="a join in front of hours"),
        pytest.param(joined(first_ones(in_days(HOURS))), 1, DAY + HOUR, id="one behind the other"),
        pytest.param(
            plans.aggregate(HOURS, 0, 1, size="PT24H"), 1, 0.0, id="a group of a later window"
        ),
    ],
)
def test_joins_and_later_windows_hold_a_row_back(last: Node, column: int, seconds: float) -> None:
    sink = plans.sink(plans.calc(last, w=plans.ref(column)))
    assert held(sink, "w") == seconds


def test_of_a_window_that_is_computed_all_joins_may_hold_a_row_back() -> None:
    sink = plans.sink(plans.calc(BEHIND_A_JOIN, w=plans.call("+", plans.ref(1), plans.ref(1))))
    assert held(sink, "w") == HOUR
