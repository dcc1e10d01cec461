"""The oracle on arrivals made by hand: what it expects, and that it sees every kind of difference."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests import oracle

KEY = b"k" * 32


@pytest.fixture(scope="module")
def january() -> pd.DataFrame:
    """The flights of January once, appended as they happened, the first one twice."""
    flights = oracle._flights(1).query("month == 1")
    arrivals = pd.DataFrame(
        {
            "identity": oracle._identity(flights),
            "log_partition": 0,
            "log_offset": flights.index,
            "appended": oracle._utc(flights["right"]),
        }
    )
    again = arrivals.iloc[:1].assign(log_offset=len(arrivals))
    return pd.concat([arrivals, again], ignore_index=True)


@pytest.fixture(scope="module")
def right(january: pd.DataFrame) -> oracle.Expected:
    return oracle.expected(1, january, KEY)


def total(table: pa.Table, column: str) -> Any:
    return pc.sum(table[column]).as_py()


def test_the_figures_of_the_data_set() -> None:
    flights = oracle._flights(1)
    a_day_early = flights["wrong"] < flights["right"] - oracle.LATE
    assert (len(flights), flights["cancelled"].sum(), a_day_early.sum()) == (336_776, 8_255, 1_207)
    assert (flights["wrong"] == flights["right"]).sum() == 336_776 - 1_207


def test_every_flight_counts_once(right: oracle.Expected) -> None:
    departures = right.tables["departures"]
    assert (departures.num_rows, total(departures, "cancelled"), right.late) == (27_004, 521, set())
    for name in ("hourly_departures", "daily_routes"):
        assert (total(right.tables[name], "flights"), total(right.tables[name], "cancelled")) == (
            27_004,
            521,
        )
    assert max(departures["log_offset"].to_pylist()) == 27_003  # the repeated event does not count


def test_a_departure_shows_what_the_data_set_says(right: oracle.Expected) -> None:
    row = (
        right.tables["departures"]
        .filter(pc.equal(right.tables["departures"]["log_offset"], 0))
        .to_pylist()[0]
    )
    shown = {
        k: str(row[k])
        for k in (
            "departure_utc",
            "departure_local",
            "arrival_utc",
            "arrival_local",
            "airline",
            "weather_observed_at",
            "dest_time_zone",
            "plane_year",
        )
    }
    assert shown == {
        "departure_utc": "2013-01-01 10:17:00+00:00",
        "departure_local": "2013-01-01 05:17:00",
        "arrival_utc": "2013-01-01 14:30:00+00:00",
        "arrival_local": "2013-01-01 08:30:00",
        "airline": "United Air Lines Inc.",
        "weather_observed_at": "2013-01-01 10:00:00+00:00",
        "dest_time_zone": "America/Chicago",
        "plane_year": "1999",
    }


def test_no_departure_falls_into_an_hour_that_clocks_repeat_or_skip() -> None:
    local = oracle._flights(1)["right"].dt.tz_convert(oracle.NEW_YORK).dt.tz_localize(None)
    for hour in ("2013-11-03 01:00", "2013-03-10 02:00", "2013-03-10 03:00"):
        assert not (local.dt.floor("h") == pd.Timestamp(hour)).any()


def test_the_wrong_rule_loses_the_flights_that_left_after_midnight(
    january: pd.DataFrame, right: oracle.Expected
) -> None:
    wrong = oracle.expected(1, january, KEY, oracle.WRONG)
    late = len(wrong.late)
    assert late > 50
    assert oracle.differences("departures", right.tables["departures"], wrong.tables["departures"])[
        0
    ].startswith(f"departures: only in want: {late} rows, such as {{'flight_date'")


def test_equal_tables_have_no_differences(right: oracle.Expected) -> None:
    assert [
        d for name, table in right.tables.items() for d in oracle.differences(name, table, table)
    ] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.slice(1), "daily_routes: only in want: 1 rows"),
        (
            lambda t: pa.concat_tables([t, t.slice(0, 2)]),
            "daily_routes: keys more than once in got: 2 rows",
        ),
        (
            lambda t: t.set_column(3, "flights", pc.add(t["flights"], 1)),
            "daily_routes.flights differs",
        ),
        (
            lambda t: t.set_column(5, "mean_dep_delay", pa.nulls(len(t), pa.float64())),
            "daily_routes.mean_",
        ),
        (lambda t: t.drop_columns(["day"]), "daily_routes: columns ['day'] are only in one"),
    ],
    ids=["a row missing", "rows twice", "a sum off by one", "nulls", "a column missing"],
)
def test_differences_are_named(right: oracle.Expected, change: Any, expected: str) -> None:
    table = right.tables["daily_routes"]
    assert oracle.differences("daily_routes", table, change(table))[0].startswith(expected)
