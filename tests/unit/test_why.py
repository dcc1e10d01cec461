"""Which records may be behind a row: its window, what the plan says of it, where its records stand in the log."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs.plan.windows import WindowColumns
from jobs.product.folder import Product
from jobs.product.model import Once, Topic
from replay.errors import RefusedError
from replay.kafka.reading import ConsumedRecord
from replay.preview import preview
from replay.preview.part import Part
from replay.settings import Settings
from replay.why import gather, rows, span
from replay.why.lineage import Lineage
from replay.why.records import Became, Candidate, Evidence, Place, matches, of_row, sort
from replay.why.span import Slice
from replay.why.why import Subject, _Work
from tests.unit import folders, plans
from tests.unit.plans import sinks
from tests.unit.why_records import EVERY, HOUR, NEW_YORK, at, candidate, gathering, wall

# Windows


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        pytest.param(
            {"b": wall(9)}, WindowColumns("b", None, 3600), (wall(9), wall(10)), id="its begin"
        ),
        pytest.param(
            {"e": wall(9)}, WindowColumns(None, "e", 3600), (wall(8), wall(9)), id="its end"
        ),
        pytest.param(
            {"b": wall(9), "e": wall(9, 5)},
            WindowColumns("b", "e", is_session=True),
            (wall(9), wall(9, 5)),
            id="both of a session",
        ),
        pytest.param(
            {"d": date(2024, 1, 1)},
            WindowColumns("d", None, 86_400),
            (datetime(2024, 1, 1), datetime(2024, 1, 2)),
            id="a day",
        ),
        pytest.param({"b": None}, WindowColumns("b", None, 3600), None, id="NULL"),
        pytest.param(
            {"b": wall(9)},
            WindowColumns("b", None, is_session=True),
            None,
            id="no end of a session",
        ),
    ],
)
def test_the_window_of_a_row(
    row: dict[str, Any], columns: WindowColumns, expected: tuple[datetime, datetime] | None
) -> None:
    found = span.of_window(row, columns, "UTC")
    assert (found and (found.begin, found.end)) == expected


def test_an_event_on_the_edge_is_of_the_window_that_begins_there() -> None:
    hour = span.Span(wall(9), wall(10), "UTC")
    assert [hour.holds(at(h)) for h in (9 - 1 / HOUR, 9, 10 - 1 / HOUR, 10)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_hour_that_clocks_show_twice_is_one_window() -> None:
    back = datetime(2024, 11, 3, 1)
    hour = span.Span(back, datetime(2024, 11, 3, 2), NEW_YORK)
    first = round(datetime(2024, 11, 3, 5, 30, tzinfo=UTC).timestamp() * 1000)
    assert hour.holds(first) and hour.holds(first + HOUR)
    assert hour.last_ms - hour.first_ms == 2 * HOUR


@pytest.mark.parametrize("zone", [NEW_YORK, "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("begin", "columns"),
    [
        (datetime(1, 1, 1), WindowColumns("b", None, 3600)),
        (datetime(9999, 12, 31, 22), WindowColumns("b", None, 3600)),
        (datetime(1, 1, 1), WindowColumns(None, "b", 3600)),
        (datetime(9999, 12, 31, 23), WindowColumns("b", None, 3600)),
    ],
)
def test_times_at_the_ends_of_the_calendar_are_no_crash(
    tmp_path: Path, zone: str, begin: datetime, columns: WindowColumns
) -> None:
    product = folders.write(tmp_path)
    ends = [round(t.replace(tzinfo=UTC).timestamp() * 1000) for t in (datetime.min, datetime.max)]
    found = span.of_window({"b": begin}, columns, zone)
    for one in (*([found] if found else []), *(span.of_event(end, zone) for end in ends)):
        part = span.slice_of(product, one, ahead=True)
        assert gather.instant(part.begin) <= gather.instant(part.end)
        assert not one.holds(at(9))


def test_the_slice_reaches_as_far_as_lateness_and_as_what_is_ahead(tmp_path: Path) -> None:
    product = folders.write(tmp_path)
    hour = span.Span(wall(9), wall(10), "UTC")
    near, wide = (span.slice_of(product, hour, ahead=ahead) for ahead in (False, True))
    assert (near.begin, near.end) == (at(8), at(11) + 1)
    assert (wide.begin, wide.end) == (at(9) - 24 * HOUR, at(11) + 1)


def test_copies_are_looked_for_as_far_as_clocks_may_differ(tmp_path: Path) -> None:
    of = gathering(folders.write(tmp_path), {})
    around = of.around(ConsumedRecord(0, 17, at(9), None, b"x"))
    assert (around.begin, around.end) == (at(7), at(11) + 1)


# What the plan says


@pytest.mark.parametrize(
    ("plan", "table", "fields", "count", "starts"),
    [
        pytest.param(
            "orders", "hourly_orders", {"shop": {"shop"}}, "orders", "hour", id="in two phases"
        ),
        pytest.param(
            "flights",
            "daily_routes",
            {"origin": {"origin"}, "dest": {"dest"}},
            "flights",
            "day",
            id="in one phase",
        ),
    ],
)
def test_keys_are_traced_to_fields_through_aggregates(
    plan: str, table: str, fields: dict[str, set[str]], count: str, starts: str
) -> None:
    lineage = Lineage(sinks(plan)[table], frozenset({plan}))
    assert lineage.fields[plan] == fields
    assert lineage.count == count
    assert lineage.keeps_all
    assert lineage.window is not None and lineage.window.starts == starts


@pytest.mark.parametrize(
    ("table", "keeps_all", "count"),
    [
        pytest.param("order_rows", False, "", id="a condition besides that of each event once"),
        pytest.param("hops", True, "n", id="a window with both ends"),
        pytest.param("first_rows", False, "", id="a rank, which leaves rows out"),
        pytest.param("paired", False, "", id="a join, in which records need each other"),
        pytest.param("both_rows", False, "", id="a union"),
    ],
)
def test_only_a_plan_that_takes_records_one_by_one_keeps_all(
    table: str, keeps_all: bool, count: str
) -> None:
    sink = sinks("many")[table]
    lineage = Lineage(sink, frozenset({"orders", "refunds"}), {}, frozenset({"orders"}))
    assert (lineage.keeps_all, lineage.count) == (keeps_all, count)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("order_rows", True, id="the comparison of copies"),
        pytest.param("hops", True, id="an aggregate"),
        pytest.param("both_rows", True, id="a union"),
        pytest.param("first_rows", False, id="a rank"),
        pytest.param("paired", False, id="a join of events"),
    ],
)
def test_records_depend_on_others_in_ranks_and_joins(table: str, expected: bool) -> None:
    sink = sinks("many")[table]
    lineage = Lineage(sink, frozenset({"orders", "refunds"}), {}, frozenset({"orders", "refunds"}))
    assert lineage.is_by_itself is expected


def test_what_keeps_the_newest_version_of_a_dimension_keeps_no_event_out() -> None:
    versions = plans.node("deduplicate", plans.scan("airlines", "id"))
    joined = plans.node("temporal-join", plans.scan("orders", "id"), versions)
    assert Lineage(plans.sink(joined), frozenset({"orders"})).is_by_itself
    assert not Lineage(plans.sink(joined), frozenset({"orders", "airlines"})).is_by_itself


def test_records_depend_on_others_in_lag_and_in_conditions_of_aggregates() -> None:
    copies = plans.node("over-aggregate", plans.scan("orders", "id"))
    lag = plans.node("over-aggregate", copies)
    where = plans.call("GREATER", plans.ref(0))
    window = plans.node("window-aggregate", copies)
    for last, expected in (
        (plans.node("calc", copies, condition=where), True),
        (lag, False),
        (plans.node("calc", window, condition=where), False),
    ):
        found = Lineage(plans.node("sink", last), frozenset({"orders"}), {}, frozenset({"orders"}))
        assert found.is_by_itself is expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("hops", {"refunds"}, id="of one topic"),
        pytest.param("paired", {"orders", "refunds"}, id="no window: nobody knows"),
    ],
)
def test_the_topics_whose_time_a_window_is_of(table: str, expected: set[str]) -> None:
    assert Lineage(sinks("many")[table], frozenset({"orders", "refunds"})).timed_by == expected


def test_a_window_behind_a_join_is_of_the_time_of_its_left_side() -> None:
    left, right = plans.scan("orders", "id", "at"), plans.scan("refunds", "id", "at")
    joined = plans.node("interval-join", left, right, columns=("id", "at", "id0", "at0"))
    for index, expected in ((1, {"orders"}), (3, {"refunds"})):
        windowing = {"timeAttributeIndex": index}
        window = plans.node("local-window-aggregate", joined, windowing=windowing)
        found = Lineage(plans.sink(window), frozenset({"orders", "refunds"}))
        assert found.timed_by == expected


def test_a_look_up_reads_the_topics_of_its_versions() -> None:
    looked_up = {"surroundings_at": ("airlines", "planes"), "airports_at": ("airports",)}
    lineage = Lineage(sinks("flights")["departures"], frozenset({"flights"}), looked_up)
    assert lineage.topics == {"flights", "airlines", "planes", "airports"}


# Records


TOPIC = Topic(time="at", allowed_lateness="1h", identity=("id",))


def test_of_copies_the_first_of_a_partition_is_asked_about() -> None:
    twice = [candidate(n, fields={"id": "x"}) for n in (7, 3)]
    elsewhere = candidate(1, partition=1, fields={"id": "x"})
    later = candidate(9, fields={"id": "x"}, happened=at(9.5))
    found = sort([*twice, elsewhere, later], {"orders": TOPIC}, None, EVERY)
    assert [u.place[1:] for u in found.units] == [(0, 3), (0, 9), (1, 1)]
    [copy] = found.settled
    assert (copy.candidate.place.offset, copy.became) == (7, Became.repeated)
    assert copy.why == "of orders-0 @ 3"


def test_of_copies_in_a_topic_the_smallest_place_is_kept() -> None:
    rule = TOPIC.model_copy(update={"once": Once.in_topic})
    copies = [
        candidate(5, fields={"id": "x"}),
        candidate(2, partition=1, fields={"id": "x"}),
        candidate(2, fields={"id": "x"}, partition=3),
    ]
    found = sort(copies, {"orders": rule}, None, EVERY)
    assert [u.place[1:] for u in found.units] == [(1, 2)]


def test_records_of_other_windows_are_left_out_and_undated_ones_go_by_when_they_were_appended() -> (
    None
):
    hour = span.Span(wall(9), wall(10), "UTC")
    found = sort(
        [
            candidate(0),
            candidate(1, happened=at(10)),
            candidate(2, reason="late: at 2024 is more than 1h …"),
            Candidate(Place("orders", 0, 3), at(9.5), None, None, "undecodable: empty value"),
            Candidate(Place("orders", 0, 4), at(11.5), None, None, "undecodable: empty value"),
        ],
        {"orders": TOPIC},
        hour,
        range(at(9), at(11)),
    )
    assert [u.place.offset for u in found.units] == [0]
    assert [(e.candidate.place.offset, e.became) for e in found.settled] == [
        (2, Became.rejected),
        (3, Became.undecodable),
    ]


def test_only_copies_and_rejects_of_the_row_are_listed_with_it() -> None:
    copies = [
        candidate(n, fields={"id": identity}) for n, identity in enumerate(("x", "x", "y", "y"))
    ]
    late = candidate(4, reason="late: …")
    apart = sort([*copies, late], {"orders": TOPIC}, None, EVERY)
    told = [Evidence(copies[0], Became.counted)]  # that of y is in another row
    for shows_window, expected in ((True, [4, 1]), (False, [1])):
        found = of_row(apart.settled, told, shows_window=shows_window)
        assert {e.candidate.place.offset for e in found} == set(expected)


def test_records_that_are_joined_are_of_the_window_whenever_they_happened() -> None:
    refund = replace(candidate(5, happened=at(12)), place=Place("refunds", 0, 5))
    late = replace(refund, place=Place("refunds", 0, 6), reason="late: …")
    found = sort(
        [candidate(0), candidate(1, happened=at(12)), refund, late],
        {"orders": TOPIC, "refunds": TOPIC},
        span.Span(wall(9), wall(10), "UTC"),
        EVERY,
        ["refunds"],
    )
    assert [u.place[::2] for u in found.units] == [("orders", 0), ("refunds", 5)]
    assert not found.settled


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"shop": "a"}, True, id="same"),
        pytest.param({"shop": "b"}, False, id="another"),
        pytest.param({"shop": None}, False, id="NULL"),
        pytest.param({"other": "a"}, True, id="not its field: nothing is known"),
    ],
)
def test_a_record_has_the_key_of_a_row(fields: dict[str, Any], expected: bool) -> None:
    assert matches(fields, {"shop": "a"}, {"shop": frozenset({"shop"})}) is expected


def test_rejects_are_found_wherever_they_stand_but_for_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = folders.write(tmp_path)
    [topic] = product.topics
    late = f"late: at 2024-01-01 09:30 is more than 1h {'.' * 3}"
    there = [
        (9, at(9.2), late, "a"),  # was read, and is told of already
        # behind an offset with a later time, at which the slice ends
        (11, at(9.5), "out of order: …", "a"),
        (12, at(9.5), "undecodable: empty value", "?"),
        (13, at(9.5), "no time: …", "a"),
        (14, at(30), late, "a"),
        (15, at(1), "ahead: …", "a"),
        (16, at(8), late, "a"),  # before anything of the hour could be late
        (17, at(30), "undecodable: empty value", "?"),
        (18, at(30), "no time: …", "a"),
    ]
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE rejects (log_topic TEXT, log_partition INT, log_offset BIGINT, appended TIMESTAMP, reason TEXT,"
        " payload BLOB)"
    )
    for offset, appended, reason, shop in there:
        connection.execute(
            "INSERT INTO rejects VALUES (?, 0, ?, epoch_ms(?::BIGINT), ?, ?)",
            [topic, offset, appended, reason, shop.encode()],
        )
    monkeypatch.setattr("replay.query.query.open_tables", lambda *_: nullcontext(connection))
    of = gathering(product, {"day": date(2024, 1, 1), "n": 1})
    found = of.outside({Place(topic, 0, 9)}, at(9), range(at(9), at(11)))
    assert {c.place.offset for c, _ in found} == {11, 12, 13, 14, 15}


@pytest.mark.parametrize(
    ("once", "expected"),
    [
        pytest.param(Once.in_partition, {(0, 17), (0, 18)}, id="by the source"),
        pytest.param(Once.in_topic, {(0, 17), (0, 18), (1, 40)}, id="in the whole topic"),
    ],
)
def test_an_event_in_another_partition_is_a_copy_only_where_a_topic_has_it_once(
    tmp_path: Path, once: Once, expected: set[tuple[int, int]]
) -> None:
    orders = {**folders.SETTINGS["topics"]["orders"], "once": once.value}
    settings = {**folders.SETTINGS, "topics": {"orders": orders}}
    of = replace(gathering(folders.write(tmp_path, settings=settings), {}), table="rows")
    found = [
        candidate(offset, partition=partition, fields={"a": "x"})
        for partition, offset in ((0, 17), (0, 18), (1, 40))
    ] + [candidate(19, fields={"a": "y"})]
    copies = of.copies(Place("orders", 0, 17), found)
    assert {c.place[1:] for c in copies} == expected


def test_the_record_of_a_row_is_read_behind_the_end_of_its_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"log_topic": "orders", "log_partition": 0, "log_offset": 11}
    of = gathering(folders.write(tmp_path), known)
    side = replace(of.side, covered={"orders": {0: 20, 1: 20}})
    of = replace(of, side=side, table="rejects")
    part = Part(0.0, {"orders": {0: 5, 1: 0}}, {"orders": {0: 10, 1: 3}})
    monkeypatch.setattr(preview, "find", lambda *_: part)
    read: list[Part] = []

    def remember(settings: Settings, topic: str, part: Part) -> dict[int, list[ConsumedRecord]]:
        read.append(part)
        return {}

    monkeypatch.setattr(preview, "read", remember)
    of.read(Slice(at(9), at(11)))
    assert read[0].ends == {"orders": {0: 12, 1: 3}}

    def too_large(*_: Any) -> Any:
        raise RefusedError("too large", next="the same with a shorter --last")

    monkeypatch.setattr(preview, "read", too_large)
    with pytest.raises(RefusedError) as e:
        of.read(Slice(at(9), at(11)))
    assert e.value.next == 'kappa query tiny "SELECT * FROM rejects LIMIT 5"'


class Work(_Work):
    """Of a release without the row of that day, with the place of the row's record where it is of one."""

    def __init__(
        self, product: Product, source: tuple[Place, ConsumedRecord] | None, covered: int
    ) -> None:
        of = gathering(product, {"day": date(2024, 1, 1), "n": 1})
        of = replace(of, side=replace(of.side, covered={"orders": {0: covered}}))
        of.lineage.__dict__["window"] = WindowColumns("day", None, 86_400)
        object.__setattr__(of, "source", lambda: source)
        subject = Subject(of.side, 7, "sums", {}, {})
        super().__init__(of.settings, subject, of, None, Path())


@pytest.mark.parametrize(
    ("hour", "expected"),
    [
        pytest.param(23.999, "it has come to 2024-01-01 23:59:56 (UTC)", id="the day is open"),
        pytest.param(24, "", id="the day is closed"),
        pytest.param(-math.inf, "it has not read all partitions yet", id="nothing is read"),
    ],
)
def test_a_release_that_has_not_come_so_far_may_still_have_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hour: float, expected: str
) -> None:
    reached = at(hour) if math.isfinite(hour) else hour
    monkeypatch.setattr(rows, "reached", lambda *_: reached)
    work = Work(folders.write(tmp_path), None, 0)
    assert work.behind() == expected
    work.row = {"day": date(2024, 1, 1), "n": 1}
    assert work.behind() == ""
    work.row, work.span = None, None
    assert work.behind() == "its rows do not show when their windows end"


@pytest.mark.parametrize(
    ("once", "covered", "hour", "expected"),
    [
        (Once.in_topic, 17, 30, "it has come to orders-0 @ 17"),
        (Once.in_topic, 18, 0, ""),
        (Once.in_partition, 18, 8, "it has come to 2024-01-01 08:00:00 (UTC)"),
        (Once.in_partition, 18, 9, ""),
    ],
    ids=["before the record", "behind it", "behind it, held", "behind it, handed on"],
)
def test_a_release_that_has_not_read_the_record_may_still_have_its_row(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    once: Once,
    covered: int,
    hour: float,
    expected: str,
) -> None:
    orders = {**folders.SETTINGS["topics"]["orders"], "once": once.value}
    product = folders.write(tmp_path, settings={**folders.SETTINGS, "topics": {"orders": orders}})
    monkeypatch.setattr(rows, "reached", lambda *_: at(hour))
    source = (Place("orders", 0, 17), ConsumedRecord(0, 17, at(9), None, b"x"))
    assert Work(product, source, covered).behind() == expected
