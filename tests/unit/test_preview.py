"""Which part of the log a preview reads, which rows that part determines, and what people see of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from pyarrow import ArrowInvalid, ArrowTypeError

from jobs.plan.compiled import Node
from jobs.plan.reach import ANY_EARLIER
from jobs.product.column_types import Row, parse
from jobs.product.folder import Product
from jobs.product.model import Column, Kind, Output, Window
from replay.cli.preview import asked_for, view
from replay.compare.comparison import Comparison
from replay.compare.matching import NEW, OLD
from replay.errors import ConfigError, RefusedError
from replay.kafka.log import Record
from replay.output import Output as OutputForm
from replay.output import View, show
from replay.preview import comparing, marks, named
from replay.preview import preview as previewing
from replay.preview.marks import Known, Shown
from replay.preview.named import Span
from replay.preview.part import Bounds, Part, bounds
from replay.preview.preview import Asked, Preview, Table
from replay.settings import Settings
from tests.unit import folders
from tests.unit.plans import aggregate, calc, node, ref, scan

HOUR = 3_600_000


def at(hour: float) -> float:
    """Milliseconds at so many hours of 2024-01-01, in UTC."""
    return datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000 + hour * HOUR


def wall(hour: int) -> datetime:
    return datetime(2024, 1, 1, hour)


LIMITS = Bounds(begin=at(10), end=at(14), lateness=HOUR, wait=0)
HOURLY = Shown("hour", since=0, rest=3600)


@pytest.mark.parametrize(
    ("begins", "zone", "expected"),
    [
        pytest.param(wall(9), "UTC", False, id="begins before the part"),
        pytest.param(wall(10), "UTC", True, id="begins with the part"),
        pytest.param(wall(13), "UTC", True, id="ends with the watermark"),
        pytest.param(wall(14), "UTC", False, id="is still open"),
        pytest.param(wall(11), "Europe/Berlin", True, id="begins with the part, by its clocks"),
        pytest.param(wall(10), "Europe/Berlin", False, id="began before, by its clocks"),
        pytest.param(
            datetime(2024, 1, 1, 11, tzinfo=UTC), "Europe/Berlin", True, id="with a time zone"
        ),
        pytest.param(date(2024, 1, 1), "UTC", False, id="a day"),
        pytest.param(None, "UTC", False, id="NULL"),
    ],
)
def test_windows_that_are_whole_in_the_part(begins: Any, zone: str, expected: bool) -> None:
    assert marks.windows([{"hour": begins}], HOURLY, LIMITS, zone) == (expected,)


def test_no_window_is_closed_where_the_clock_has_not_begun() -> None:
    limits = Bounds(at(10), -math.inf, HOUR, 0)
    assert marks.windows([{"hour": wall(10)}], HOURLY, limits, "UTC") == (False,)


def test_records_whose_copies_and_windows_are_in_the_part() -> None:
    limits = Bounds(begin=at(10), end=at(20), lateness=HOUR, wait=2 * HOUR)
    dated = {("orders", 0, n): round(at(12 + n)) for n in range(8)}
    rows = [{"log_partition": 0, "log_offset": n} for n in range(8)]
    # 10:00, an hour in which copies come and two in which rows wait; 20:00 less two hours
    assert marks.records(rows, ["orders"], limits, dated) == (False, *[True] * 6, False)


def test_of_each_partition_the_offsets_whose_rows_are_determined() -> None:
    limits = Bounds(begin=at(10), end=at(20), lateness=HOUR, wait=2 * HOUR)
    dated = {("orders", 0, 3 + 2 * n): round(at(12 + n)) for n in range(8)}
    early = {("orders", 1, n): round(at(n)) for n in range(8)}
    starts, ends = marks.spans({**dated, **early}, limits)
    assert (starts, ends) == ({"orders": {0: 5}}, {"orders": {0: 16}})


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ((13, 14, 18.1, 14, 18.1), (0, 2)),
        ((12, 13, 12, 14, 15), (3, 5)),
        ((14, 18.1, 12, 13), (0, 1)),
        ((18.1, 13, 14), None),
        ((13, 14, 12), None),
    ],
    ids=["behind the end", "before the first", "both", "only behind the end", "only before"],
)
def test_timestamps_that_go_backwards_leave_no_open_row_among_those_compared(
    hours: tuple[float, ...], expected: tuple[int, int] | None
) -> None:
    limits = Bounds(begin=at(10), end=at(20), lateness=HOUR, wait=2 * HOUR)  # 13:00 to 18:00
    starts, ends = marks.spans({("o", 0, n): round(at(h)) for n, h in enumerate(hours)}, limits)
    found = (starts["o"][0], ends["o"][0]) if starts else None
    assert found == expected


def test_a_row_of_several_topics_says_of_which_it_is() -> None:
    dated = {("orders", 0, 0): round(at(12)), ("payments", 0, 0): round(at(9))}
    rows = [{"log_topic": t, "log_partition": 0, "log_offset": 0} for t in ("orders", "payments")]
    assert marks.records(rows, ["orders", "payments"], LIMITS, dated) == (True, False)


PLACE = (Column(name="log_partition", type="INT"), Column(name="log_offset", type="BIGINT"))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            Output(kind=Kind.aggregate, columns=PLACE, select=""),
            "its SELECT shows no window",
        ),
        (
            Output(
                kind=Kind.aggregate,
                columns=PLACE,
                select="",
                window=Window(column="hour", size="1h"),
            ),
            "",
        ),
        (Output(kind=Kind.rows, of=("o",), columns=PLACE, select=""), ""),
        (
            Output(kind=Kind.rows, of=("o",), columns=PLACE[:1], select=""),
            "its rows have no place in the log",
        ),
        (
            Output(kind=Kind.rows, of=("o", "p"), columns=PLACE, select=""),
            "its rows do not say of which topic they are",
        ),
    ],
    ids=["no window", "window", "rows", "no place", "several topics"],
)
def test_what_keeps_rows_from_being_marked(output: Output, expected: str) -> None:
    assert marks.unmarked(output) == expected


ORDERS = scan("orders", "shop", "at")
EVENTS = frozenset({"orders"})


def hourly(before: Node = ORDERS, **shows: int) -> Node:
    """Windows of an hour, with columns: 0 the shop, 1 where the window begins, 2 where it ends."""
    return node("sink", calc(aggregate(before, 0), **{c: ref(i) for c, i in shows.items()}))


def joined(before: Node) -> Node:
    bounds = {"leftLowerBound": -HOUR, "leftUpperBound": 0}
    return node("interval-join", before, ORDERS, intervalJoinSpec={"windowBounds": bounds})


def windowed(column: str, size: str) -> Output:
    window = Window(column=column, size=size)
    return Output(kind=Kind.aggregate, columns=PLACE, select="", window=window)


@pytest.mark.parametrize(
    ("output", "sink", "expected"),
    [
        pytest.param(
            windowed("w", "1h"), hourly(w=1), Known(LIMITS, shown=Shown("w", 0, 3600)), id="begins"
        ),
        pytest.param(
            windowed("w", "0s"), hourly(w=2), Known(LIMITS, shown=Shown("w", 3600, 0)), id="ends"
        ),
        pytest.param(
            windowed("w", "1h"),
            node("sink", calc(joined(aggregate(ORDERS, 0)), w=ref(1))),
            Known(replace(LIMITS, back=2 * HOUR, ahead=HOUR), shown=Shown("w", 0, 2 * 3600)),
            id="in front of a join",
        ),
        pytest.param(
            windowed("w", "0s"),
            hourly(w=0),
            Known(LIMITS, "it does not show where its windows begin"),
            id="neither",
        ),
        pytest.param(
            windowed("w", "1h"),
            node("sink", aggregate(node("match", ORDERS), 0)),
            Known(LIMITS, ANY_EARLIER),
            id="of any earlier rows",
        ),
        pytest.param(windowed("w", "1h"), None, Known(LIMITS, "its plan was not kept"), id="plan"),
        pytest.param(
            windowed("w", "1h"),
            hourly(joined(ORDERS), w=1),
            Known(replace(LIMITS, back=HOUR, ahead=HOUR), shown=Shown("w", 0, 2 * 3600)),
            id="behind a join",
        ),
        pytest.param(
            Output(kind=Kind.rows, of=("orders",), columns=PLACE, select=""),
            node("sink", aggregate(ORDERS, 0, type_="window-deduplicate")),
            Known(replace(LIMITS, back=HOUR)),
            id="rows that wait in windows",
        ),
    ],
)
def test_what_is_known_of_an_output(output: Output, sink: Node | None, expected: Known) -> None:
    assert marks.known(output, sink, EVENTS, LIMITS, "UTC") == expected


def test_windows_that_are_shown_by_their_end_begin_within_the_part() -> None:
    known = marks.known(windowed("w", "0s"), hourly(w=2), EVENTS, LIMITS, "UTC")
    rows = [{"w": wall(hour)} for hour in (10, 11, 14, 15)]
    output = windowed("w", "0s")
    assert marks.determined(output, rows, known, {}, "UTC") == (False, True, True, False)
    how = Comparison("t", Kind.aggregate, window_column="w")
    zones = {OLD: "UTC", NEW: "UTC"}
    found = comparing.compared_windows(how, known, at(13), zones)
    assert found == (wall(11), wall(13))


def test_rows_whose_look_back_or_join_leaves_the_part_are_not_determined() -> None:
    limits = replace(LIMITS, back=2 * HOUR, ahead=HOUR)
    rows = [{"hour": wall(hour)} for hour in (11, 12, 13)]
    held = replace(HOURLY, rest=2 * 3600)
    assert marks.windows(rows, held, limits, "UTC") == (False, True, False)
    dated = {("o", 0, n): round(at(n)) for n in range(10, 16)}
    assert marks.spans(dated, limits) == ({"o": {0: 13}}, {"o": {0: 14}})
    how = Comparison("t", Kind.aggregate, window_column="hour", window_seconds=2 * 3600)
    joined, zones = Known(limits, shown=held), {OLD: "UTC", NEW: "Europe/Berlin"}
    # Windows of New begin by its own clocks, an hour ahead.
    assert comparing.compared_windows(how, joined, at(13), zones) == (wall(13), wall(11))


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return folders.write(tmp_path)


def test_the_part_ends_where_the_slowest_clock_is(product: Product) -> None:
    (topic,) = product.topics
    part = Part(at(10), {topic: {0: 0, 1: 0}}, {topic: {0: 5, 1: 5}})
    clocks = {(topic, 0): round(at(13)), (topic, 1): round(at(12))}
    found = bounds(product, part, clocks)
    lateness = found.lateness
    assert lateness > 0
    assert (found.begin, found.end) == (at(10), at(12) - lateness - 1)
    assert bounds(product, part, {**clocks, (topic, 1): None}).end == -math.inf


class Log:
    """Offsets of one topic of two partitions, with a record each hour of a day in the first."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def first_offsets(self, settings: object, topics: object) -> dict[str, dict[int, int]]:
        return {self._topic: {0: 0, 1: 0}}

    def end_offsets(self, settings: object, topics: object) -> dict[str, dict[int, int]]:
        return {self._topic: {0: 24, 1: 0}}

    def read_range(
        self, settings: object, topic: str, partition: int, start: int, end: int
    ) -> Iterator[Record]:
        return (Record(n, round(at(n)), None, b"") for n in range(start, end))

    def latest_times(self, settings: object, topics: object) -> dict[str, dict[int, int | None]]:
        return {self._topic: {0: round(at(23)), 1: None}}

    def offsets_at(
        self, settings: object, topics: object, timestamp_ms: int
    ) -> dict[str, dict[int, int]]:
        offset = math.ceil((timestamp_ms - at(0)) / HOUR)
        return {self._topic: {0: max(0, offset)} if offset < 24 else {}}


@pytest.mark.parametrize(
    ("asked", "begin", "offsets"),
    [
        (Asked(last=2 * 3600), at(21), (21, 24)),
        (Asked(begin=datetime(2024, 1, 1, 5, 30, tzinfo=UTC)), at(5.5), (6, 24)),
        (Asked(last=3600, end=datetime(2024, 1, 1, 5, tzinfo=UTC)), at(4), (4, 5)),
        (Asked(begin=datetime(2024, 2, 1, tzinfo=UTC)), at(31 * 24), (24, 24)),
    ],
    ids=["the last hours", "since a time", "before a time", "since the future"],
)
def test_offsets_of_a_part(
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
    begin: float,
    offsets: tuple[int, int],
) -> None:
    (topic,) = product.topics
    monkeypatch.setattr(previewing, "log", Log(topic))
    part = previewing.find(cast(Settings, None), product, asked)
    assert part.begin == begin
    assert (part.starts[topic][0], part.ends[topic][0]) == offsets
    assert part.count(topic) == offsets[1] - offsets[0]


def test_a_part_that_is_too_long_is_refused(product: Product) -> None:
    (topic,) = product.topics
    part = Part(0, {topic: {0: 100}}, {topic: {0: 2_101}})
    previewing._refuse_too_many(product, part, 2_001)
    with pytest.raises(RefusedError) as refused:
        previewing._refuse_too_many(product, part, 2_000)
    assert refused.value.found == f"2,001 of {product.sql_name(topic)}"


def test_references_end_where_those_of_readers_do() -> None:
    starts = {"orders": {0: 10}, "shops": {0: 2, 1: 0}}
    part = Part(0, starts, {"orders": {0: 30}, "shops": {0: 7, 1: 4}})
    found, newer = part.with_ends({"shops": {0: 5}, "gone": {0: 1}})
    # A partition that was added since had nothing.
    assert found.ends == {"orders": {0: 30}, "shops": {0: 5, 1: 0}}
    assert newer == {"shops": 6}
    assert part.with_ends({"shops": {0: 9, 1: 4}}) == (part, {})
    assert part.with_ends({}) == (part, {})


@pytest.mark.parametrize(
    ("last", "since", "until"),
    [
        ("1h", "2024-01-01T00:00:00Z", None),
        ("soon", None, None),
        (None, "2024-01-02", "2024-01-01"),
        (None, "yesterday", None),
    ],
    ids=["twice", "no duration", "backwards", "no time"],
)
def test_parts_that_cannot_be_meant(last: str | None, since: str | None, until: str | None) -> None:
    with pytest.raises(ConfigError):
        asked_for("orders", last, since, until)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders:0=100-200", Span("orders", 0, 100, 200)),
        ("pg.public.orders-2:12=0-1", Span("pg.public.orders-2", 12, 0, 1)),
        ("orders:0=200-200", None),
        ("orders=1-2", None),
        ("orders:0=1-", None),
        ("orders:0=-1-2", None),
        (" orders:0=1-2", None),
    ],
)
def test_offsets_as_they_are_written(text: str, expected: Span | None) -> None:
    assert named.parse(text) == expected
    if expected:
        assert str(expected) == text
        assert asked_for("orders", None, None, None, [text]) == Asked(spans=(expected,))
    else:
        with pytest.raises(ConfigError):
            asked_for("orders", None, None, None, [text])


def test_offsets_and_times_together_cannot_be_meant() -> None:
    with pytest.raises(ConfigError):
        asked_for("orders", "1h", None, None, ["orders:0=0-1"])


def test_partitions_that_are_not_named_are_read_between_the_times_of_those_that_are(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    (topic,) = product.topics
    two = Log(topic)  # partition 1, too, has a record each hour
    monkeypatch.setattr(two, "end_offsets", lambda *_: {topic: {0: 24, 1: 24}})
    monkeypatch.setattr(
        two,
        "offsets_at",
        lambda _, topics, ms: {topic: dict.fromkeys((0, 1), math.ceil((ms - at(0)) / HOUR))},
    )
    for module in (previewing, named):
        monkeypatch.setattr(module, "log", two)
    spans = (Span(product.sql_name(topic), 0, 5, 9),)
    part = previewing.find(cast(Settings, None), product, Asked(spans=spans))
    assert part.starts[topic] == {0: 5, 1: 5}
    assert part.ends[topic] == {0: 9, 1: 9}
    # Partition 1 was looked up by the time of offset 5.
    assert (part.begin, part.until) == (at(5), round(at(8)) + 1)
    assert part.cut == {(topic, 1)}
    whole = (Span(topic, 0, 0, 9),)
    assert previewing.find(cast(Settings, None), product, Asked(spans=whole)).begin == 0


@pytest.mark.parametrize(
    ("first", "hours", "begin"),
    [
        (0, (9, 10.5, 10, 11), at(10.5) + 1),
        (0, (9, 9.5, 10, 11), at(9.5) + 1),
        (2, (9, 10.5, 10, 11), 0),
    ],
    ids=["dated later", "dated before", "no longer in the log"],
)
def test_a_part_named_by_offsets_begins_behind_all_that_is_before_it(
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    hours: tuple[float, ...],
    begin: float,
) -> None:
    (topic,) = product.topics
    one = Log(topic)
    monkeypatch.setattr(one, "first_offsets", lambda *_: {topic: {0: first, 1: 0}})
    monkeypatch.setattr(
        one,
        "read_range",
        lambda _, __, ___, start, end: [
            Record(n, round(at(hours[n])), None, b"") for n in range(max(start, first), end)
        ],
    )
    for module in (previewing, named):
        monkeypatch.setattr(module, "log", one)
    asked = Asked(spans=(Span(product.sql_name(topic), 0, 2, 4),))
    assert previewing.find(cast(Settings, None), product, asked).begin == begin


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (("shops:0=0-1",), "has no topic of events 'shops'"),
        (("orders:0=0-25",), "orders:0=0-25 is not in the log"),
        (("orders:7=0-1",), "orders:7=0-1 is not in the log"),
        (("orders:0=0-1", "orders:0=1-2"), "partition 0 of orders is named twice"),
    ],
)
def test_offsets_that_cannot_be_read(
    product: Product, monkeypatch: pytest.MonkeyPatch, spans: tuple[str, ...], message: str
) -> None:
    (topic,) = product.topics
    monkeypatch.setattr(named, "log", Log(topic))
    given = [s for text in spans if (s := named.parse(text))]
    whole, ends = Log(topic).first_offsets(None, None), Log(topic).end_offsets(None, None)
    with pytest.raises(ConfigError, match=message):
        named.look(cast(Settings, None), product, given, whole, ends)


def test_by_default_it_is_the_last_hour() -> None:
    assert asked_for("orders", None, None, None) == Asked(last=3600)


def test_rows_of_a_preview_have_the_types_of_tables() -> None:
    columns = parse(
        "ROW<at TIMESTAMP_LTZ(3), price DECIMAL(9, 2), tags MAP<STRING, ARRAY<ROW<n INT>>>, key BYTES>"
    )
    assert isinstance(columns, Row)
    row = {
        "at": datetime(2024, 1, 1, tzinfo=UTC),
        "price": Decimal("1.50"),
        "tags": {"a": [{"n": 1}, None], "b": None},
        "key": b"\0",
    }
    nothing = dict.fromkeys(row)
    table = comparing.as_arrow(columns, [row, nothing])
    assert table.to_pylist() == [{**row, "tags": list(row["tags"].items())}, nothing]  # type: ignore[attr-defined]
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    with pytest.raises((ArrowInvalid, ArrowTypeError)):
        comparing.as_arrow(columns, [{**row, "at": "+10000-01-01T00:00:00Z"}])


def shown() -> View:
    rows = ({"hour": wall(9), "n": 1}, {"hour": wall(10), "n": 2})
    rejects = tuple({"reason": r} for r in ("late: by a day", "undecodable: no", "late: too"))
    tables = (
        Table("hourly", "aggregate", rows, (False, True), Known(LIMITS)),
        Table("rejects", "rejects", rejects, (True, True, True), Known(LIMITS)),
    )
    return view(Preview("orders", {"orders": 5}, LIMITS, tables), None, 10)


def test_people_see_the_rows_that_are_sure_first(capsys: pytest.CaptureFixture[str]) -> None:
    show(shown(), OutputForm.text)
    text = capsys.readouterr().out
    assert "5 of orders read; events appended since 2024-01-01 10:00:00Z" in text
    assert "rejects: 2 late, 1 undecodable" in text
    assert text.index("2024-01-01 10:00:00 ") < text.index("2024-01-01 09:00:00")


def test_programs_see_what_is_determined() -> None:
    data = shown().data
    assert data["rejects"] == {"late": 2, "undecodable": 1}
    hourly = data["tables"][0]
    assert (hourly["rows"], hourly["determined"]) == (2, 1)
    assert [row["determined"] for row in hourly["sample"]] == [False, True]


def test_only_a_partition_that_is_cut_has_the_clock_of_the_cut(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    (topic,) = product.topics
    monkeypatch.setattr(previewing, "log", Log(topic))
    until = datetime(2030, 1, 1, tzinfo=UTC)
    part = previewing.find(cast(Settings, None), product, Asked(last=3600, end=until))
    assert part.cut == frozenset()
    clocks = previewing._clocks(cast(Settings, None), part, {topic: {0: [], 1: []}}, product)
    assert clocks == {(topic, 0): None, (topic, 1): None}


@pytest.mark.parametrize(
    ("at_utc", "expected"),
    [
        (datetime(2024, 10, 27, 1, 20, tzinfo=UTC), datetime(2024, 10, 27, 3, 20)),
        (datetime(2024, 10, 29, 1, 20, tzinfo=UTC), datetime(2024, 10, 29, 2, 20)),
        (datetime(2024, 3, 31, 1, 20, tzinfo=UTC), datetime(2024, 3, 31, 3, 20)),
    ],
    ids=["clocks are set back", "a day later", "clocks are set forward"],
)
def test_what_the_clocks_have_shown_at_the_latest(at_utc: datetime, expected: datetime) -> None:
    assert marks.wall(at_utc.timestamp() * 1000, "Europe/Berlin") == expected
