"""What the loader writes: counts, order, planted faults, and where a load continues."""

from __future__ import annotations

import io
import json
import struct
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import fastavro
import pytest

from demo import flights
from demo.commands import Fault
from demo.flights import PARTITIONS, Encoder, Planned
from demo.load import Loaded, last_written, still_missing
from demo.run_load import Lines, faults
from replay.errors import RefusedError

SCHEMAS = Path(__file__).parents[2] / "sql" / "flights" / "schemas"
HOUR = 3_600_000


@pytest.fixture(scope="module")
def year() -> list[Planned]:
    return flights.plan(0)


@pytest.fixture(scope="module")
def next_year(year: list[Planned]) -> list[Planned]:
    return flights.plan(1, flights.next_offsets(year, [0] * 5))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    schemas = {t: json.loads((SCHEMAS / f"{t}.avsc").read_text()) for t in PARTITIONS}
    return Encoder(schemas, {t: 7 + i for i, t in enumerate(PARTITIONS)})


def decoded(value: bytes | None, topic: str) -> dict[str, Any]:
    assert value is not None and value[0] == 0
    schema = fastavro.parse_schema(json.loads((SCHEMAS / f"{topic}.avsc").read_text()))
    record = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    assert isinstance(record, dict)
    return record


def test_the_data_set_is_the_one_that_the_figures_are_about() -> None:
    tables = flights.load_tables()
    assert (len(tables.flights), int(tables.flights["dep_time"].isna().sum())) == (336_776, 8_255)
    assert int(flights.left_after_midnight(tables.flights).sum()) == 1_207
    assert [len(getattr(tables, t)) for t in ("airlines", "airports", "planes", "weather")] == [
        16,
        1458,
        3322,
        26115,
    ]


def test_every_flight_is_sent_once_and_one_in_a_hundred_twice(year: list[Planned]) -> None:
    kinds = Counter((r.topic, r.kind) for r in year)
    assert kinds == {
        ("flights", "event"): 336_476,
        ("flights", "late"): 300,
        ("flights", "duplicate"): 3_368,
        ("flights", "undecodable"): 7,
        ("flights", "heartbeat"): 4,
        ("weather", "event"): 26_115,
        ("weather", "heartbeat"): 1,
    }
    assert len({r.key for r in year if r.key and r.kind != "duplicate"}) == 336_776


def test_time_never_goes_backwards_and_offsets_have_no_gaps(
    year: list[Planned], next_year: list[Planned]
) -> None:
    clock: dict[tuple[str, int], int] = defaultdict(int)
    offsets: dict[tuple[str, int], int] = defaultdict(int)
    for r in [*flights.plan_reference(), *year, *next_year]:
        at = r.topic, r.partition
        assert r.timestamp >= clock[at] and r.offset == offsets[at]
        clock[at], offsets[at] = r.timestamp, r.offset + 1
    assert set(offsets) == {(t, p) for t, n in PARTITIONS.items() for p in range(n)}


def test_a_repeat_ends_with_a_heartbeat_in_every_partition(
    year: list[Planned], next_year: list[Planned]
) -> None:
    for repeat in (year, next_year):
        assert {(r.topic, r.partition) for r in repeat[-5:] if r.kind == "heartbeat"} == {
            ("weather", 0),
            *(("flights", p) for p in range(4)),
        }
    assert next_year[-1].timestamp - year[-1].timestamp == 371 * 24 * HOUR


def test_only_late_records_are_late(year: list[Planned]) -> None:
    """Late is what was appended more than six hours after it happened; none of those that left after midnight is."""
    happened = flights.happened(flights.load_tables().flights)
    after_midnight = flights.left_after_midnight(flights.load_tables().flights)
    limit = {"late": (24 * HOUR, 5 * 24 * HOUR), "event": (0, HOUR // 2), "duplicate": (0, HOUR)}
    for r in year:
        if r.kind in limit and r.topic == "flights":
            low, high = limit[r.kind]
            assert low <= r.timestamp - happened[r.row] <= high, r
            assert not (r.kind == "late" and after_midnight[r.row])


def test_a_flight_sent_twice_is_the_same_record_again_in_the_same_partition(
    year: list[Planned], encoder: Encoder
) -> None:
    first = {r.key: r for r in year if r.kind in ("event", "late")}
    again = [r for r in year if r.kind == "duplicate"]
    for r in again:
        assert (first[r.key].partition, first[r.key].offset < r.offset) == (r.partition, True)
    pair = [first[again[0].key], again[0]]
    values = list(encoder.values(pair, 0))
    assert values[0] == values[1]


def test_repeats_have_ids_of_their_own_on_the_same_weekdays(
    year: list[Planned], next_year: list[Planned], encoder: Encoder
) -> None:
    assert not {r.key for r in year if r.key} & {r.key for r in next_year if r.key}
    here = next(r for r in year if r.key and r.row == 0)
    there = next(r for r in next_year if r.key and r.row == 0)
    one, other = (
        decoded(next(encoder.values([r], k)), "flights") for k, r in enumerate((here, there))
    )
    assert (other["flight_date"] - one["flight_date"]).days == 371
    assert one["flight_date"].weekday() == other["flight_date"].weekday()
    assert {**one, "flight_date": None} == {**other, "flight_date": None}


def test_planning_again_gives_the_same_plan(year: list[Planned]) -> None:
    assert flights.plan(0) == year


def test_values_are_framed_avro_of_the_data_sets_own_columns(
    year: list[Planned], encoder: Encoder
) -> None:
    first = next(r for r in year if r.row == 0 and r.kind == "event" and r.topic == "flights")
    value = next(encoder.values([first], 0))
    assert value is not None and value[:5] == struct.pack(
        ">bI", 0, 7 + list(PARTITIONS).index("flights")
    )
    record = decoded(value, "flights")
    identity = [record[c] for c in flights.IDENTITY]
    assert "|".join(map(str, identity)) == first.key == "UA|1545|EWR|2013-01-01|515"
    assert (record["dep_time"], record["dep_delay"], record["dest"], record["tailnum"]) == (
        517,
        2,
        "IAH",
        "N14228",
    )


def test_decimals_reach_the_log_to_the_last_digit(year: list[Planned], encoder: Encoder) -> None:
    first = next(r for r in year if r.topic == "weather")
    assert decoded(next(encoder.values([first], 0)), "weather")["wind_speed"] == 10.357019999999999


def test_a_cancelled_flight_has_no_times(encoder: Encoder, year: list[Planned]) -> None:
    missing = flights.load_tables().flights["dep_time"].isna()
    row = int(missing.to_numpy().argmax())
    record = decoded(
        next(encoder.values([next(r for r in year if r.row == row and r.key)], 0)), "flights"
    )
    assert [record[c] for c in ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")] == [
        None
    ] * 5


def test_garbage_comes_in_five_kinds_and_none_can_be_decoded(
    year: list[Planned], encoder: Encoder
) -> None:
    garbage = list(encoder.values([r for r in year if r.kind == "undecodable"], 0))
    assert len(garbage) == 7 and None not in garbage
    text, empty, cut, unknown, magic = (v or b"" for v in garbage[:5])
    assert text == b"not avro at all" and empty == b"" and magic[0] == 1
    assert int.from_bytes(unknown[1:5], "big") == flights.UNKNOWN_SCHEMA
    with pytest.raises(EOFError):
        decoded(cut, "flights")


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (Fault.late, 300),
        (Fault.duplicates, 3_368),
        (Fault.undecodable, 7),
        (Fault.after_midnight, 1_207),
    ],
)
def test_faults_can_be_listed(
    kind: Fault, count: int, year: list[Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.run_load.repeats", lambda scale: [(0, year)])
    listed = faults(kind, 1)
    assert len({(f["topic"], f["partition"], f["offset"]) for f in listed}) == len(listed) == count


def records(*offsets: int, partition: int = 0) -> list[Planned]:
    return [Planned("flights", partition, o, 1000 + o, "event", f"k{o}", o) for o in offsets]


@pytest.mark.parametrize(
    ("end", "missing", "last"),
    [(0, [0, 1, 2], []), (2, [2], [1]), (3, [], [2]), (9, [], [])],
    ids=["empty", "cut short", "complete", "longer"],
)
def test_a_load_continues_behind_what_is_there(
    end: int, missing: list[int], last: list[int]
) -> None:
    ends = {"flights": {0: end}}
    assert [r.offset for r in still_missing(records(0, 1, 2), ends)] == missing
    assert [r.offset for r in last_written(records(0, 1, 2), ends)] == last


def test_partitions_continue_each_where_it_ended() -> None:
    both = records(0, 1) + records(0, 1, partition=1)
    assert [(r.partition, r.offset) for r in still_missing(both, {"flights": {0: 1, 1: 0}})] == [
        (0, 1),
        (1, 0),
        (1, 1),
    ]


def test_records_out_of_order_are_refused() -> None:
    backwards = [records(0)[0], records(1)[0]._replace(timestamp=999)]
    with pytest.raises(RefusedError, match="topic flights, partition 0 are not in order"):
        still_missing(backwards, {"flights": {0: 0}})
    with pytest.raises(RefusedError, match="expected: offset 1"):
        still_missing(records(0, 2), {"flights": {0: 0}})


def test_plain_progress_comes_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 5.0, 5.0, 6.0])
    lines = Lines(every=5.0, clock=lambda: next(now))
    for _ in range(3):
        lines(Loaded(planned=1_000, written=500))
    assert capsys.readouterr().err == "loading: 500 of 1,000 records\n"
