"""Which columns of an output say where the window of a row begins and ends."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.plan.windows import window_columns
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
