"""Which records are behind a row: the window, the key, the copies, and what runs over some of them tell."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from jobs.plan.windows import WindowColumns
from jobs.product.folder import Product
from jobs.product.model import Column, Kind, Once, Output, Topic
from replay.cli import why as run_why
from replay.compare.diff import Side
from replay.errors import ConfigError, RefusedError
from replay.kafka.decoding import Decoder
from replay.kafka.reading import ConsumedRecord
from replay.output import RowsOutput
from replay.preview import preview
from replay.preview.part import Part
from replay.settings import Settings
from replay.why import gather, rows, span
from replay.why.gather import Gathering
from replay.why.lineage import Lineage
from replay.why.records import Became, Candidate, Evidence, Place, matches, of_row, sort
from replay.why.search import Answer, search
from replay.why.span import Slice
from replay.why.tell import MOST, How, Verdict, tell
from replay.why.why import Explanation, Subject, _Work
from replay.why.why import how as how_of
from tests.unit import folders, plans
from tests.unit.plans import sinks

HOUR = 3_600_000
NEW_YORK = "America/New_York"
EVERY = range(1 << 53)


def at(hour: float) -> int:
    """Milliseconds at so many hours of 2024-01-01, in UTC."""
    return round(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000 + hour * HOUR)


def wall(hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 1, 1, hour, minute)


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


def candidate(offset: int, **said: Any) -> Candidate:
    fields = {"id": f"o{offset}", "shop": "a", **said.pop("fields", {})}
    place = Place("orders", said.pop("partition", 0), offset)
    happened = said.pop("happened", at(9))
    return Candidate(place, at(9), fields, happened, **said)


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


class Texts:
    """Decodes values such as `a`: the shop."""

    def decode(self, topic: str, value: bytes) -> dict[str, Any]:
        return {"shop": value.decode()}

    def has_key(self, topic: str) -> bool:
        return False


def gathering(product: Product, known: rows.Row) -> Gathering:
    """Of a row of `sums`, whose key is traced to the field `shop`."""
    sink = plans.node("sink", plans.scan(next(iter(product.topics)), "shop"))
    return Gathering(
        Settings.__new__(Settings),
        Side("r1-a1", product, {}, {}),
        "sums",
        {},
        Lineage(sink, frozenset(product.settings.topics)),
        known,
        cast(Decoder, Texts()),
    )


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


# Telling records apart


@pytest.mark.parametrize("good", [set(range(50)), set(), {7}, {3, 4, 44}], ids=len)
def test_groups_are_split_until_each_is_told(good: set[int]) -> None:
    asked = 0

    def ask(groups: Sequence[Sequence[int]]) -> list[Answer]:
        nonlocal asked
        asked += len(groups)
        counted = [len(good & set(group)) for group in groups]
        return [
            Answer.none if not n else Answer.all if n == len(group) else Answer.some
            for n, group in zip(counted, groups, strict=True)
        ]

    told = search(range(50), ask, 100)
    assert (set(told.counted), set(told.others)) == (good, set(range(50)) - good)
    assert asked <= 30 and not told.untold


def test_what_would_take_too_many_questions_is_not_told() -> None:
    told = search(range(100), lambda groups: [Answer.some] * len(groups), 15)
    assert len(told.untold) + len(told.counted) == 100
    assert len(told.counted) == 5


OUTPUT = Output(
    kind=Kind.aggregate,
    key=("shop", "hour"),
    columns=(
        Column(name="shop", type="STRING"),
        Column(name="hour", type="TIMESTAMP(3)"),
        Column(name="n", type="BIGINT"),
    ),
    select="",
)


class Sql:
    """A count per shop and hour of the records for which a condition holds, perhaps with a HAVING."""

    def __init__(
        self,
        keeps: Callable[[int], bool],
        having: int = 1,
        shops: Callable[[int], str] = lambda n: "a",
    ) -> None:
        self.keeps, self.having, self.shops, self.runs = keeps, having, shops, 0

    def of(self, groups: Sequence[Collection[Place]]) -> list[list[rows.Row]]:
        self.runs += len(groups)
        return [self.over({place.offset for place in group}) for group in groups]

    def over(self, offsets: Collection[int]) -> list[rows.Row]:
        counts = Counter(self.shops(n) for n in offsets if self.keeps(n))
        return [
            {"shop": shop, "hour": wall(9), "n": n}
            for shop, n in sorted(counts.items(), reverse=True)
            if n >= self.having
        ]


def how(count: str = "n", **plan: bool) -> How:
    known = {"shop": "a", "hour": wall(9), "n": -1}
    key = {"shop": "a"}
    return How(OUTPUT, key, known, False, frozenset({"hour"}), count, **plan)


def classes(found: Verdict) -> dict[str, set[int]]:
    """What became of records → their offsets."""
    became: dict[str, set[int]] = {}
    for e in found.evidence:
        became.setdefault(e.became.value, set()).add(e.candidate.place.offset)
    return became


@pytest.mark.parametrize(
    ("keeps", "having", "count"),
    [
        pytest.param(lambda n: n % 3 == 0, 1, "n", id="WHERE, with a count"),
        pytest.param(lambda n: n % 3 == 0, 1, "", id="WHERE, without one"),
        pytest.param(lambda n: n % 3 == 0, 6, "", id="HAVING"),
        pytest.param(lambda n: True, 1, "", id="nothing left out"),
    ],
)
def test_runs_over_some_records_tell_which_count(
    keeps: Callable[[int], bool], having: int, count: str
) -> None:
    units = [candidate(n) for n in range(20)]
    sql = Sql(keeps, having)
    target = how().pick(sql.over(range(20)))
    found = tell(sql, how(count), units, target)
    assert classes(found)["counted"] == set(filter(keeps, range(20)))
    assert found.row == target
    assert sql.runs < 2 * MOST


def test_where_the_plan_leaves_nothing_out_one_run_is_enough() -> None:
    sql = Sql(lambda n: True)
    found = tell(
        sql, how("", keeps_all=True), [candidate(n) for n in range(500)], {"n": 500, **WHERE}
    )
    assert (sql.runs, len(found.evidence)) == (1, 500)
    assert {e.became for e in found.evidence} == {Became.counted}


WHERE = {"shop": "a", "hour": wall(9)}


def test_where_nothing_tells_rows_apart_only_the_very_row_counts() -> None:
    # an hour's count of a table that shows no hour: the key is not known
    class Hours(Sql):
        def over(self, offsets: Collection[int]) -> list[rows.Row]:
            counts = Counter(n // 10 for n in offsets)
            return [{"shop": "a", "hour": None, "n": n} for n in counts.values()]

    asked = replace(
        how("", alone=False), output=OUTPUT.model_copy(update={"key": ()}), window=frozenset()
    )
    units = [candidate(n) for n in (0, 1, 2, 10, 11, 20)]
    for n, expected in ((2, {"counted": {10, 11}, "no effect": {0, 1, 2, 20}}), (4, None)):
        known = {"shop": "a", "hour": None, "n": n}
        found = tell(
            Hours(lambda n: True), replace(asked, known=known), units, known if expected else None
        )
        assert classes(found) == (expected or {"not told": {0, 1, 2, 10, 11, 20}})
        assert found.row == (known if expected else None)


class Sessions:
    """The count of each run of offsets without a gap; a row shows where it begins."""

    def of(self, groups: Sequence[Collection[Place]]) -> list[list[rows.Row]]:
        return [self.over({place.offset for place in group}) for group in groups]

    def over(self, offsets: Collection[int]) -> list[rows.Row]:
        begins = [n for n in offsets if n - 1 not in offsets]
        lasts = {b: next(n for n in itertools.count(b) if n not in offsets) for b in begins}
        return [{"shop": "a", "hour": wall(0, b), "n": last - b} for b, last in lasts.items()]


@pytest.mark.parametrize("shown", ["hour", "", "both"])
def test_records_of_other_sessions_do_not_count(tmp_path: Path, shown: str) -> None:
    outputs = {"rows": {}, "sums": {"key": ["day"]}}
    product = folders.write(tmp_path, settings={**folders.SETTINGS, "outputs": outputs})
    known = {**WHERE, "n": 3, "hour": wall(0, 10), "end": wall(1), "day": date(2024, 1, 1)}
    of = gathering(product, known)
    columns = {"hour": ("hour", None), "": (None, None), "both": ("hour", "end")}[shown]
    of.lineage.__dict__["window"] = WindowColumns(*columns, is_session=True, is_exact=False)
    found = how_of(of, {"shop": "a"}, "UTC")
    assert found.alone is found.is_session is (shown == "both")
    if shown != "both":
        units = [candidate(n) for n in (1, 2, 10, 11, 12, 20)]
        asked = replace(found, output=OUTPUT, key={"shop": "a"})
        told = tell(Sessions(), asked, units, {**WHERE, "n": 3, "hour": wall(0, 10)})
        assert classes(told) == {"counted": {10, 11, 12}, "no effect": {1, 2, 20}}


def test_records_of_other_rows_are_neither_counted_nor_filtered() -> None:
    # the key is a computed column: each second record is of another shop
    sql = Sql(lambda n: n % 4 < 2, shops=lambda n: "az"[n % 2])
    plan_without_filter = Sql(lambda n: True, shops=lambda n: "az"[n % 2])
    units = [candidate(n) for n in range(8)]
    for run, filtered in ((sql, {2, 3, 6, 7}), (plan_without_filter, set())):
        for count in ("n", ""):
            found = tell(
                run,
                how(count, keeps_all=not filtered),
                units,
                how().pick(run.over(range(8))),
            )
            became = classes(found)
            assert became["counted"] == {n for n in range(0, 8, 2) if n not in filtered}
            assert became.get("filtered", set()) == filtered


def test_overlapping_windows_give_rows_besides_that_of_all_records() -> None:
    class Hops(Sql):
        def over(self, offsets: Collection[int]) -> list[rows.Row]:
            found = super().over(offsets)
            return [*({**row, "hour": wall(10)} for row in found), *found]

    units = [candidate(n) for n in range(500)]
    sql, target = Hops(lambda n: True), {"n": 500, **WHERE}
    found = tell(sql, how("", keeps_all=True, overlaps=True), units, target)
    assert (sql.runs, classes(found)) == (1, {"counted": set(range(500))})


class Newest:
    """The newest record of a key, by its offset."""

    def of(self, groups: Sequence[Collection[Place]]) -> list[list[rows.Row]]:
        return [[{**WHERE, "n": max(p.offset for p in g)}] if g else [] for g in groups]


def test_records_that_others_keep_out_do_not_count() -> None:
    units = [candidate(n) for n in range(3)]
    found = tell(Newest(), how("", alone=False), units, {**WHERE, "n": 2})
    assert classes(found) == {"counted": {2}, "no effect": {0, 1}}
    assert found.row == {**WHERE, "n": 2}


def test_where_others_matter_a_row_that_is_not_there_tells_nothing_of_single_records() -> None:
    found = tell(Sql(lambda n: False), how("", alone=False), [candidate(0), candidate(1)], None)
    assert classes(found) == {"not told": {0, 1}}
    assert found.row is None


def test_records_of_which_none_counts_give_no_row() -> None:
    found = tell(Sql(lambda n: False), how(), [candidate(n) for n in range(3)], None)
    assert found.row is None
    assert {e.became for e in found.evidence} == {Became.filtered}


# What a person says


def test_values_are_read_by_the_types_of_the_columns(tmp_path: Path) -> None:
    product = folders.write(tmp_path)
    assert rows.wanted(product, "sums", ["day=2024-01-01", "n=3"]) == {
        "day": date(2024, 1, 1),
        "n": 3,
    }
    assert rows.wanted(product, "rows", ["a=NULL", "b=x=y"]) == {"a": None, "b": "x=y"}


@pytest.mark.parametrize(
    ("table", "said", "expected"),
    [
        pytest.param("sumz", [], "sums", id="no such table"),
        pytest.param("sums", ["dy=2024-01-01"], "day", id="no such column"),
        pytest.param("sums", ["day"], "COLUMN=VALUE", id="no value"),
        pytest.param("sums", ["day=monday"], "DATE", id="no day"),
        pytest.param("sums", ["n=many"], "a number", id="no number"),
    ],
)
def test_what_names_no_row_is_refused_with_what_would(
    tmp_path: Path, table: str, said: list[str], expected: str
) -> None:
    with pytest.raises(ConfigError) as e:
        rows.wanted(folders.write(tmp_path), table, said)
    assert expected in e.value.expected


def test_several_rows_are_answered_with_a_command_for_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = Side("r1-a1", folders.write(tmp_path), {}, {})
    found = [{"a": 1, "b": "it's", "log_partition": 0, "log_offset": n} for n in (4, 5)]
    monkeypatch.setattr(rows, "find", lambda *_: found)
    with pytest.raises(RefusedError) as e:
        rows.one(Settings.__new__(Settings), side, "rows", {"a": 1})
    assert str(e.value).splitlines() == [
        "tiny.rows has more than one row with a=1",
        "  expected: the values of one row that readers see, such as those of its key: log_partition, log_offset",
        "  found:    rows with log_partition=0 log_offset=4; log_partition=0 log_offset=5",
        "  next:     kappa why tiny.rows log_partition=0 log_offset=4",
    ]


def test_a_text_that_would_mean_another_value_is_asked_for_in_quotes(tmp_path: Path) -> None:
    product = folders.write(tmp_path)
    for text in ("NULL", "'x'", "'NULL'", "it's", "'"):
        said = rows.typable(text, "UTC")
        assert rows.wanted(product, "rows", [f"b={said}"]) == {"b": text}
    assert rows.typable(None, "UTC") == "NULL"


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        pytest.param(
            "rows",
            {"a": 1},
            "kappa why tiny.rows log_partition=0 log_offset=4 --release r1 --release r2",
            id="of two releases",
        ),
        pytest.param(
            "sums",
            {"n": 1},
            "kappa why tiny.sums day=2024-01-01 n=1 --release r1 --release r2",
            id="of a table without a key",
        ),
        pytest.param(
            "sums",
            {"n": 1, "day": date(2024, 1, 1)},
            'kappa query tiny "SELECT * FROM sums LIMIT 5"',
            id="where nothing tells them apart",
        ),
    ],
)
def test_the_next_command_names_another_row(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    key: dict[str, Any],
    expected: str,
) -> None:
    row = {"a": 1, "b": "x", "log_partition": 0, "log_offset": 4, "day": date(2024, 1, 1), "n": 1}
    monkeypatch.setattr(rows, "find", lambda *_: [row, row])
    side = Side("r1-a1", folders.write(tmp_path), {}, {})
    with pytest.raises(RefusedError) as e:
        rows.one(Settings.__new__(Settings), side, table, key, ("r1", "r2"))
    assert e.value.next == expected


def test_a_column_that_only_one_release_has_differs(tmp_path: Path) -> None:
    output = folders.write(tmp_path).outputs["sums"]
    row = {"day": date(2024, 1, 1), "n": 1}
    assert rows.differing(output, row, {"day": date(2024, 1, 1)}) == ("n",)
    assert rows.differing(output, row, {**row, "cents": 5}) == ()


# What a person sees


def explained(
    product: Product, name: str, counted: int, again: dict[str, Any] | None
) -> Explanation:
    """A day of six records: so many count, one is a copy, one is late, one is text, the others are filtered."""
    evidence = [
        *(Evidence(candidate(n), Became.counted) for n in range(counted)),
        *(Evidence(candidate(n), Became.filtered) for n in range(counted, 3)),
        Evidence(candidate(3), Became.repeated, "of orders-0 @ 0"),
        Evidence(candidate(4), Became.rejected, f"late: at 2024 {'is more than 1h ' * 9}"),
        Evidence(
            Candidate(Place("orders", 0, 5), at(9), None),
            Became.undecodable,
            "undecodable: magic byte is 0x70, not 0x00",
        ),
    ]
    side = Side(name, product, {}, {})
    day = {"day": date(2024, 1, 1), "n": counted}
    return Explanation(
        Subject(side, 7, "sums", {"day": date(2024, 1, 1)}, {}),
        day,
        span.Span(datetime(2024, 1, 1), datetime(2024, 1, 2), "UTC"),
        {"orders": 6},
        tuple(evidence),
        again,
        again,
        {"orders": ("id", "shop")},
    )


def printed(
    capsys: pytest.CaptureFixture[str], found: list[Explanation], form: RowsOutput = RowsOutput.text
) -> str:
    run_why.show_all(found, 10, form)
    return capsys.readouterr().out


def test_a_row_its_records_and_the_verdict_fit_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    text = printed(
        capsys, [explained(product, "r1-a1", 2, {"day": date(2024, 1, 1), "n": 2})]
    ).splitlines()
    assert max(map(len, text)) <= 80
    assert text[:5] == [
        "tiny.sums, r1-a1, checkpoint 7",
        "  day  2024-01-01",
        "  n    2",
        "events of 2024-01-01 00:00:00 to 2024-01-02 00:00:00 (UTC)",
        "run over 6 of orders",
    ]
    assert text[-2:] == [
        "counted 2, repeated 1, filtered 1, rejected 1, undecodable 1",
        "adds up: the SQL of r1-a1 over these 2 records gives the row",
    ]


def test_a_row_that_does_not_add_up_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(folders.write(tmp_path), "r1-a1", 2, {"day": date(2024, 1, 1), "n": 1})
    text = printed(capsys, [found])
    assert "  n    2    (the records that count give 1)" in text
    assert "does not add up: in n" in text
    [release] = json.loads(printed(capsys, [found], RowsOutput.json))["releases"]
    assert (release["adds_up"], release["differing"]) == (False, ["n"])
    assert [r["offset"] for r in release["records"] if r["became"] == "counted"] == [0, 1]


def test_records_of_which_it_is_not_told_prove_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    told = [explained(product, f"r{n}-a1", 2, {"day": date(2024, 1, 1), "n": 2}) for n in (1, 2)]
    may = (Evidence(candidate(n), Became.not_told) for n in (20, 21, 22))
    untold = replace(told[0], evidence=(*told[0].evidence, *may))
    text = printed(capsys, [untold]).splitlines()
    assert text[-2:] == [
        "the SQL of r1-a1 gives the row over 2 that count and 3 that may",
        "of some it is not told whether they count: there are too many to try each",
    ]
    data = json.loads(printed(capsys, [untold, told[1]], RowsOutput.json))
    assert [release["adds_up"] for release in data["releases"]] == [None, True]
    counted = (Evidence(candidate(20), Became.counted), *told[1].evidence)
    found = [untold, replace(told[1], evidence=counted)]
    assert json.loads(printed(capsys, found, RowsOutput.json))["only_in_one"] == []
    assert "the same records count in r1-a1 and r2-a1, as far as it is told" in printed(
        capsys, found
    )


def test_a_release_that_is_behind_is_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    first, second = (explained(product, f"r{n}-a1", 2, None) for n in (1, 2))
    behind = replace(
        second, row=None, whole=None, evidence=(), read={}, behind="it has come to orders-0 @ 17"
    )
    text = printed(capsys, [first, behind]).splitlines()
    assert text[-3:] == [
        "r2-a1 may still have it: it has come to orders-0 @ 17",
        "",
        "r1-a1 and r2-a1 are not compared",
    ]
    data = json.loads(printed(capsys, [first, behind], RowsOutput.json))
    assert data["only_in_one"] is None
    assert (data["releases"][1]["adds_up"], data["releases"][1]["behind"]) == (None, behind.behind)


def test_a_row_that_depends_on_earlier_records_is_not_said_to_be_of_another_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(folders.write(tmp_path), "r1-a1", 2, {"day": date(2024, 1, 1), "n": 1})
    assert "kappa audit tiny" in printed(capsys, [found])
    text = printed(capsys, [replace(found, looks_back=True)])
    assert "kappa audit" not in text
    assert "takes other records into account" in text


def test_a_row_that_the_sql_gives_and_the_table_lacks_does_not_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(folders.write(tmp_path), "r1-a1", 2, {"day": date(2024, 1, 1), "n": 2})
    text = printed(capsys, [replace(found, row=None)])
    assert "  no such row\n" in text
    assert "does not add up: the SQL of r1-a1 gives such a row\n" in text
    assert "the table has none" in text and "not even all" not in text
    none = replace(found, row=None, again=None, whole=None)
    assert "adds up: the SQL of r1-a1 gives no such row over these records" in printed(
        capsys, [none]
    )


def test_two_releases_show_what_counts_in_only_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    found = [explained(product, f"r{n}-a1", n, {"day": date(2024, 1, 1), "n": n}) for n in (1, 2)]
    data = json.loads(printed(capsys, found, RowsOutput.json))
    assert [(r["offset"], r["became"]) for r in data["only_in_one"]] == [
        (1, {"r1-a1": "filtered", "r2-a1": "counted"})
    ]
    text = printed(capsys, found)
    assert "records that count in only one" in text
    assert max(map(len, text.splitlines())) <= 80
    rows_of_csv = printed(capsys, found, RowsOutput.csv).splitlines()
    assert len(rows_of_csv) == 1 + 2 * 6
