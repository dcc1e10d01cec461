"""The peers' benchmark: what it says of wrong rows, and of peers that cannot run."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.peers import expected
from bench.peers.common import HOUR_MS, happened_ms, header, local_hour
from bench.peers.counting import Hour, table_of
from bench.peers.decoding import decoder
from bench.peers.peer import read_output
from bench.peers.results import TYPES, Comparison, compare, failed, measured, remarks, shown, table
from replay.errors import KappaError

NINE, TEN = datetime(2013, 1, 1, 9), datetime(2013, 1, 1, 10)
ROWS: list[tuple[Any, ...]] = [
    ("EWR", "UA", NINE, 2, 0, 1.5, 3),
    ("JFK", "B6", NINE, 1, 1, None, None),
    ("JFK", "B6", TEN, 4, 0, -2.25, 0),
]


def rows_table(rows: list[tuple[Any, ...]]) -> pa.Table:
    return pa.table(
        [pa.array(c, t) for c, t in zip(zip(*rows, strict=True), TYPES.types, strict=True)], TYPES
    )


def test_equal_rows_in_another_order_with_other_widths_are_exact() -> None:
    got = rows_table(ROWS[::-1]).cast(TYPES.set(3, pa.field("flights", pa.int32())))
    found = compare(rows_table(ROWS), got.select(sorted(got.column_names)))
    assert found == Comparison(rows=3, missing=0, surplus=0, wrong=0, flights=7, expected_flights=7)
    assert found.exact and str(found) == "exact"


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (ROWS[:2], "1 rows missing of 3; 3 of 7 flights"),
        ([*ROWS, ("LGA", "UA", NINE, 1, 0, 0.0, 0)], "1 rows too many of 3; 8 of 7 flights"),
        ([*ROWS, ROWS[2]], "1 rows too many of 3; 11 of 7 flights"),
        ([*ROWS[:2], ("JFK", "B6", TEN, 5, 0, -2.25, 0)], "1 rows wrong of 3; 8 of 7 flights"),
        (
            [*ROWS[:2], ("JFK", "B6", TEN, 4, 0, -2.2500000001, 0)],
            "1 rows wrong of 3; 7 of 7 flights",
        ),
        (
            [*ROWS[:1], ("JFK", "B6", NINE, 1, 1, 0.0, None), ROWS[2]],
            "1 rows wrong of 3; 7 of 7 flights",
        ),
        (
            [ROWS[0], ("JFK", "B6", NINE, 1, 0, None, None)],
            "1 rows missing, 1 rows wrong of 3; 3 of 7 flights",
        ),
    ],
    ids=["missing", "surplus", "twice", "count", "mean", "null", "two faults"],
)
def test_what_differs_is_said(got: list[tuple[Any, ...]], says: str) -> None:
    found = compare(rows_table(ROWS), rows_table(got))
    assert not found.exact and str(found) == says


def ended(name: str, seconds: float, wrong: int = 0, **more: float) -> dict[str, Any]:
    compared = Comparison(rows=3, missing=0, surplus=0, wrong=wrong, flights=7, expected_flights=7)
    return measured(
        name, 1000, compared, seconds=seconds, cpu_seconds=2 * seconds, peak_memory_mb=100, **more
    )


def test_a_row_has_the_median_of_its_turns_and_the_worst_of_its_outputs() -> None:
    starts = {"start_seconds": 2, "start_cpu_seconds": 3}
    (row,) = table(
        [ended("a", 3, **starts), ended("a", 10, wrong=1, **starts), ended("a", 4, **starts)],
        {"a": ["restart"]},
    )
    assert (
        row["seconds"],
        row["events_per_second"],
        row["events_per_cpu_second"],
        row["start_seconds"],
    ) == (4, 250, 125, 2)
    assert (row["events_per_second_after_start"], row["events_per_cpu_second_after_start"]) == (
        500,
        200,
    )
    assert (row["exact"], row["verdict"], row["lacks"]) == (
        False,
        "1 rows wrong of 3; 7 of 7 flights",
        ["restart"],
    )


def test_a_peer_that_cannot_run_is_a_row_that_says_why_beside_the_others() -> None:
    fine, broken = table(
        [ended("a", 1), failed("b", 1000, "no such package")], {"b": ["Iceberg", "restart"]}
    )
    assert (fine["exact"], fine["verdict"]) == (True, "exact")
    assert (broken["exact"], broken["verdict"], "seconds" in broken) == (
        False,
        "could not run: no such package",
        False,
    )
    assert json.dumps([fine, broken])
    assert [r["events/s"] for r in shown([fine, broken])] == [1000, None]
    assert remarks([fine, broken]) == [
        "a: exact",
        "b: could not run: no such package; lacks Iceberg, restart",
    ]


def test_one_failed_turn_of_several_is_not_passed_over() -> None:
    (row,) = table([ended("a", 1), failed("a", 1000, "stopped after 9 s")], {})
    assert (row["exact"], row["verdict"], row["seconds"]) == (
        False,
        "could not run: stopped after 9 s",
        1,
    )


def test_reading_alone_writes_nothing_to_compare() -> None:
    (row,) = table(
        [measured("pass_through", 1000, None, seconds=1, cpu_seconds=1, peak_memory_mb=1)], {}
    )
    assert (row["exact"], row["verdict"], row["ratio_to_pass_through"]) == (
        None,
        "nothing to write",
        1,
    )


FLIGHT = {
    "flight": 1,
    "flight_date": 15887,
    "sched_dep_time": 2359,
    "dep_time": 9,
    "dep_delay": 10,
    "origin": "EWR",
    "carrier": "UA",
}


def test_a_flight_left_at_its_scheduled_time_plus_its_delay() -> None:
    # 2013-07-02 04:09 UTC, nine minutes past midnight in New York
    assert happened_ms(FLIGHT) == 1372738140000
    assert happened_ms({**FLIGHT, "sched_dep_time": 2400, "dep_delay": None}) == 1372737600000
    assert local_hour(1372738140000 // HOUR_MS) == datetime(2013, 7, 2, 0)


def test_an_hour_counts_each_flight_once_in_both_its_halves() -> None:
    cancelled = {**FLIGHT, "flight": 2, "dep_time": None, "dep_delay": None}
    hour = Hour().add(FLIGHT).add(dict(FLIGHT)).merge(Hour().add(cancelled).add(FLIGHT))
    assert hour.row() == (2, 1, 10, 1, 10)
    rows = table_of([("EWR", "UA", 1372738140000 // HOUR_MS, *hour.row())]).to_pylist()
    assert rows == [
        {
            "origin": "EWR",
            "carrier": "UA",
            "hour": datetime(2013, 7, 2),
            "flights": 2,
            "cancelled": 1,
            "mean_dep_delay": 10.0,
            "worst_dep_delay": 10,
        }
    ]


@pytest.mark.parametrize(
    "value",
    [None, b"", b"text", header(8) + b"\x02", header(7), b"\1" + header(7)[1:] + b"\x02"],
    ids=["heartbeat", "empty", "text", "unknown schema", "cut short", "wrong first byte"],
)
def test_what_is_no_flight_is_none(value: bytes | None) -> None:
    schema = (
        '{"type": "record", "name": "F", '
        '"fields": [{"name": "n", "type": {"type": "int", "logicalType": "date"}}]}'
    )
    decode = decoder({7: schema})
    assert decode(value) is None
    assert decode(header(7) + b"\x02") == {"n": 1}


def test_a_peers_parquet_file_is_read(tmp_path: Path) -> None:
    pq.write_table(rows_table(ROWS), tmp_path / "output")
    assert read_output(tmp_path / "output") == rows_table(ROWS)


def test_a_log_that_ends_within_a_year_has_no_expected_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expected, "records_of_a_year", lambda: 10)
    assert expected.repeats_of(30) == 3
    with pytest.raises(KappaError, match="does not end with a year"):
        expected.repeats_of(31)
