"""The diff of two attempts: real Iceberg tables, and a log of timestamps in memory."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs.product.folder import Product
from jobs.product.model import Window
from replay.compare.diff import Change, DiffReport, Side, TableDiff, diff
from replay.compare.matching import TableMatch
from replay.errors import RefusedError
from replay.iceberg import lake, table_changes
from replay.settings import Settings
from tests.unit import plans
from tests.unit.lake_tables import COLUMNS, make_product, make_settings, sink

HOUR = 3_600_000
DAY = dt.date(2013, 7, 1)
NOON = int(dt.datetime(2013, 7, 1, 12, tzinfo=dt.UTC).timestamp() * 1000)
NUMBERED = {
    **COLUMNS,
    "totals": (("shop", "STRING"), ("day", "DATE"), ("orders", "BIGINT"), ("mean", "DOUBLE")),
}

Row = dict[str, Any]


@dataclass
class Log:
    """Record timestamps per topic and partition."""

    timestamps: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        for offset, timestamp in enumerate(self.timestamps[topic, partition]):
            if start <= offset < end:
                yield offset, timestamp, b""

    def offsets_at(
        self, topics: Iterable[str], timestamp_ms: int
    ) -> Mapping[str, Mapping[int, int]]:
        found: dict[str, dict[int, int]] = {t: {} for t in topics}
        for (topic, partition), timestamps in self.timestamps.items():
            later = [offset for offset, t in enumerate(timestamps) if t >= timestamp_ms]
            if topic in found and later:
                found[topic][partition] = later[0]
        return found


def windowed(product: Product, *, zone: str = "UTC", size: str = "1d", **totals: Any) -> Product:
    """The product with a window of its totals, and its wall clock."""
    assert product.resolved is not None
    named = product.outputs["totals"].model_copy(
        update={"window": Window(column="day", size=size), "key": (), **totals}
    )
    return product.model_copy(
        update={
            "resolved": product.resolved.model_copy(
                update={"outputs": {**product.outputs, "totals": named}}
            ),
            "settings": product.settings.model_copy(update={"time_zone": zone}),
        }
    )


@dataclass
class Case:
    """A log whose clock has come far, and what two attempts wrote of it: `old` and `new` have rows per table."""

    settings: Settings
    old_product: Product
    new_product: Product
    log: Log = field(default_factory=Log)
    old: dict[str, list[Row]] = field(default_factory=dict)
    new: dict[str, list[Row]] = field(default_factory=dict)

    def diff(
        self,
        *,
        old: Mapping[str, int] | None = None,
        new: Mapping[str, int] | None = None,
        samples: int = 5,
    ) -> DiffReport:
        """`old` and `new`: covered offsets of partition 0 of some topics; by default all there is."""
        catalog = lake.open_catalog(self.settings)
        sides = []
        for name, product, rows, covered in (
            ("r1-a1", self.old_product, self.old, old or {}),
            ("r2-a1", self.new_product, self.new, new or {}),
        ):
            table_changes.ensure(catalog, product)
            lake.create_branch(catalog, product, name)
            snapshots = {t: sink(catalog, t, name, 1, rows.get(t, [])) for t in product.outputs}
            ends: dict[str, dict[int, int]] = {t: {} for t in product.topics}
            for (topic, partition), timestamps in self.log.timestamps.items():
                ends[topic][partition] = len(timestamps)
            sides.append(
                Side(name, product, snapshots, {**ends, **{t: {0: o} for t, o in covered.items()}})
            )
        report = diff(self.settings, *sides, samples=samples, reader=self.log)
        json.dumps(report.as_dict(), allow_nan=False)
        return report


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Orders 0 to 4 at noon, a heartbeat two days later; the same rows on both sides."""
    product = windowed(make_product(tmp_path, columns=NUMBERED), key=("shop", "day"))
    made = Case(make_settings(tmp_path), product, product)
    made.log.timestamps = {
        ("orders", 0): [*range(NOON, NOON + 5), NOON + 48 * HOUR],
        ("shops", 0): [NOON, NOON + 48 * HOUR],
        ("colours", 0): [0, 0],
    }
    for rows in (made.old, made.new):
        rows["orders"] = [order(number, offset=number) for number in range(5)]
        rows["totals"] = [total("corner", 3, 1.5), total("market", 2, math.nan)]
        rows["rejects"] = [reject(5)]
    return made


def order(
    number: int,
    *,
    offset: int | None,
    amount: float | None = 1.0,
    day: dt.date | None = DAY,
    partition: int = 0,
) -> Row:
    return {
        "id": number,
        "day": day,
        "amount": amount,
        "log_partition": partition,
        "log_offset": offset,
    }


def total(shop: str | None, orders: int, mean: float | None, day: dt.date | None = DAY) -> Row:
    return {"shop": shop, "day": day, "orders": orders, "mean": mean}


def reject(offset: int, reason: str = "late", payload: bytes = b"?", topic: str = "orders") -> Row:
    return {
        "log_topic": topic,
        "log_partition": 0,
        "log_offset": offset,
        "reason": reason,
        "payload": payload,
    }


def of(report: DiffReport, table: str) -> TableDiff:
    return next(t for t in report.tables if t.table == table)


def figures(found: TableDiff) -> tuple[int, int, int, int]:
    return found.same, found.only_old, found.only_new, found.changed


def test_equal(case: Case) -> None:
    report = case.diff()
    assert report.equal and not report.not_compared
    assert (report.old, report.new) == ("r1-a1", "r2-a1")
    assert report.position == {"orders": {0: 6}, "shops": {0: 2}, "colours": {0: 2}}
    # Orders may be an hour late, and a session ends a millisecond later.
    assert report.clock == dt.datetime(2013, 7, 3, 10, 59, 59, 999_000, tzinfo=dt.UTC)
    assert [(t.table, t.rows, figures(t), t.left_out) for t in report.tables] == [
        ("orders", 5, (5, 0, 0, 0), {}),
        ("totals", 2, (2, 0, 0, 0), {}),
        ("rejects", 1, (1, 0, 0, 0), {}),
    ]


def test_nothing_of_nothing_is_equal(case: Case) -> None:
    case.old, case.new = {}, {}
    report = case.diff(old={"orders": 0}, new={"orders": 0})
    assert (report.equal, report.clock, sum(t.rows for t in report.tables)) == (True, None, 0)


def test_rows_on_one_side_only(case: Case) -> None:
    del case.new["orders"][1]
    del case.old["orders"][3]
    report = case.diff()
    found = of(report, "orders")
    assert not report.equal
    assert (figures(found), found.compared_old, found.compared_new, found.rows) == (
        (3, 1, 1, 0),
        4,
        4,
        5,
    )
    assert found.samples == {
        "only_old": (
            Change(
                {"id": 1, "day": DAY}, {"amount": 1.0, "log_partition": 0, "log_offset": 1}, None
            ),
        ),
        "only_new": (
            Change(
                {"id": 3, "day": DAY}, None, {"amount": 1.0, "log_partition": 0, "log_offset": 3}
            ),
        ),
    }


def test_changed_columns(case: Case) -> None:
    case.new["orders"][2] = order(2, offset=2, amount=7.0)
    case.new["orders"][4] = order(4, offset=1, amount=None)
    found = of(case.diff(), "orders")
    assert (figures(found), found.columns) == ((3, 0, 0, 2), {"amount": 2, "log_offset": 1})
    assert found.samples["changed"] == (
        Change({"id": 2, "day": DAY}, {"amount": 1.0}, {"amount": 7.0}),
        Change(
            {"id": 4, "day": DAY},
            {"amount": 1.0, "log_offset": 4},
            {"amount": None, "log_offset": 1},
        ),
    )


def test_as_many_samples_as_asked_for(case: Case) -> None:
    case.new["orders"] = []
    assert len(of(case.diff(samples=3), "orders").samples["only_old"]) == 3


def test_doubles_are_compared_exactly_and_nan_equals_itself(case: Case) -> None:
    case.old["totals"] = [
        total("corner", 1, math.nan),
        total("market", 1, 0.1 + 0.2),
        total("pier", 1, -0.0),
    ]
    case.new["totals"] = [
        total("corner", 1, math.nan),
        total("market", 1, 0.3),
        total("pier", 1, 0.0),
    ]
    found = of(case.diff(), "totals")
    assert (figures(found), found.columns) == ((2, 0, 0, 1), {"mean": 1})
    assert [c.key["shop"] for c in found.samples["changed"]] == ["market"]


def test_nan_is_not_a_change_of_a_row_that_changed(case: Case) -> None:
    case.new["totals"][1] = total("market", 9, math.nan)
    found = of(case.diff(), "totals")
    assert found.columns == {"orders": 1}
    assert found.samples["changed"] == (
        Change({"shop": "market", "day": DAY}, {"orders": 2}, {"orders": 9}),
    )


def test_repeated_keys_are_counted_each(case: Case) -> None:
    """One side keeps an order that was sent twice only once, and of another the first instead of the second."""
    case.old["orders"] = [
        order(0, offset=0),
        order(0, offset=1),
        order(1, offset=3),
        order(2, offset=4),
    ]
    case.new["orders"] = [order(0, offset=1), order(1, offset=2), order(2, offset=4)]
    found = of(case.diff(), "orders")
    assert (figures(found), found.columns) == ((2, 1, 0, 1), {"log_offset": 1})
    assert found.samples["only_old"][0].old == {"amount": 1.0, "log_partition": 0, "log_offset": 0}


def test_repeated_equal_rows_are_counted_each(case: Case) -> None:
    case.old["orders"] = [order(0, offset=0)] * 3
    case.new["orders"] = [order(0, offset=0)]
    assert figures(of(case.diff(), "orders")) == (1, 2, 0, 0)


def test_null_keys_match(case: Case) -> None:
    for rows, amount in ((case.old, 1.0), (case.new, 2.0)):
        rows["orders"] = [order(0, offset=0, day=None, amount=amount), order(0, offset=1, day=None)]
    found = of(case.diff(), "orders")
    assert (figures(found), found.columns) == ((1, 0, 0, 1), {"amount": 1})


def test_rows_beyond_the_other_position_are_not_compared(case: Case) -> None:
    del case.old["orders"][3:]
    case.old["rejects"] = []
    report = case.diff(old={"orders": 3})
    assert report.position["orders"] == {0: 3}
    assert of(report, "orders").left_out == {
        "beyond the position": (0, 2),
        "in windows that may be open": (3, 3),
    }
    assert of(report, "rejects").left_out == {"beyond the position": (0, 1)}
    assert report.equal


def test_rows_whose_windows_may_be_open_are_not_compared(case: Case) -> None:
    """The clock of the slower side is 12:00, and rows wait for a minute: those appended by 11:59 are final."""
    case.log.timestamps["orders", 0] = [
        NOON + ms for ms in (-60_000, -60_000, -59_999, -59_998, 0, HOUR + 1)
    ]
    del case.old["orders"][2:]
    found = of(case.diff(), "orders")
    assert (figures(found), found.left_out) == (
        (2, 0, 0, 0),
        {"in windows that may be open": (0, 3)},
    )


def test_a_slow_dimension_keeps_windows_open(case: Case) -> None:
    case.new["orders"] = []
    found = of(case.diff(new={"shops": 1}), "orders")
    assert (found.rows, found.left_out) == (0, {"in windows that may be open": (5, 0)})


def test_a_row_from_nowhere_is_named(case: Case) -> None:
    case.new["orders"] += [order(7, offset=None), order(8, offset=1, partition=9)]
    found = of(case.diff(), "orders")
    assert (figures(found), found.left_out) == (
        (5, 0, 0, 0),
        {"without a place in the log": (0, 1), "beyond the position": (0, 1)},
    )


def test_rejects_are_known_by_their_place(case: Case) -> None:
    case.old["rejects"] = [reject(0), reject(1, "late"), reject(2), reject(0, topic="colours")]
    case.new["rejects"] = [
        reject(0, payload=b"!"),
        reject(1, "undecodable: oops"),
        reject(0, topic="colours"),
    ]
    found = of(case.diff(), "rejects")
    assert (figures(found), found.columns) == ((1, 1, 0, 2), {"payload": 1, "reason": 1})
    assert found.key == ("log_topic", "log_partition", "log_offset")


def test_open_windows_of_aggregates_are_not_compared(case: Case) -> None:
    """The clock stands at 11:00 of the third day."""
    days = [DAY + dt.timedelta(days=n) for n in range(3)]
    case.old["totals"] = [total("corner", 1, 1.0, day) for day in days] + [
        total("corner", 1, 1.0, None)
    ]
    case.new["totals"] = [total("corner", 1, 1.0, day) for day in days[:2]]
    found = of(case.diff(), "totals")
    assert (figures(found), found.left_out) == (
        (2, 0, 0, 0),
        {"in windows that may be open": (1, 0), "without a window": (1, 0)},
    )


def test_windows_that_later_ones_hold_back_may_be_open_for_longer(case: Case) -> None:
    """Windows of a day, of which later windows of a day take the first: the clock is in the third day."""
    days = {"type": "TumblingWindow", "size": "PT24H"}
    first = plans.aggregate(plans.scan("orders", "shop"), 0, window=days)
    later = plans.aggregate(first, 0, window=days, type_="window-deduplicate")
    plan = plans.compiled(
        plans.sink(plans.calc(later, shop=plans.ref(0), day=plans.ref(1)), "totals")
    )
    product = case.new_product
    assert product.resolved is not None
    case.new_product = product.model_copy(
        update={"resolved": product.resolved.model_copy(update={"plan": plan})}
    )
    case.new["totals"] = [total("corner", 1, 1.0, DAY + dt.timedelta(days=n)) for n in range(3)]
    case.old["totals"] = case.new["totals"][:1]
    found = of(case.diff(), "totals")
    assert (figures(found), found.left_out) == (
        (1, 0, 0, 0),
        {"in windows that may be open": (0, 2)},
    )


@pytest.mark.parametrize(
    ("utc", "zone", "closed"),
    [
        ("2013-11-04 04:59", "America/New_York", 1),  # the day has 25 hours: a minute is missing
        ("2013-11-04 05:00", "America/New_York", 2),
        ("2013-03-11 03:59", "America/New_York", 1),  # 23 hours
        ("2013-03-11 04:00", "America/New_York", 2),
        ("2013-11-04 00:00", "UTC", 2),
    ],
)
def test_days_end_on_the_products_wall_clock(case: Case, utc: str, zone: str, closed: int) -> None:
    case.old_product = case.new_product = windowed(case.old_product, zone=zone)
    now = dt.datetime.fromisoformat(utc).replace(tzinfo=dt.UTC)
    for topic, lateness in (("orders", HOUR), ("shops", HOUR // 6)):
        case.log.timestamps[topic, 0] = [int(now.timestamp() * 1000) + lateness + 1] * 6
    last = (now - dt.timedelta(hours=12)).date()
    for rows in (case.old, case.new):
        rows["totals"] = [total("corner", 1, 1.0, last - dt.timedelta(days=n)) for n in range(2)]
    assert of(case.diff(), "totals").rows == closed


def test_aggregates_tell_what_changed_and_by_how_much(case: Case) -> None:
    case.old["totals"] = [
        total("corner", 3, 1.5),
        total("market", 2, 2.0),
        total("pier", 9, 1.0),
        total("a", 1, 1.0),
    ]
    case.new["totals"] = [
        total("corner", 4, 1.5),
        total("market", 8, 2.5),
        total("dock", 2, 1.0),
        total("a", 1, 2.0),
    ]
    found = of(case.diff(samples=3), "totals")
    assert (figures(found), found.columns) == ((0, 1, 1, 3), {"orders": 2, "mean": 2})
    assert found.sums == {"orders": (15, 15), "mean": (5.5, 7.0)}
    assert (found.measure, [c.key["shop"] for c in found.largest]) == (
        "orders",
        ["pier", "market", "dock"],
    )


def test_without_a_key_rows_are_equal_or_not(case: Case) -> None:
    case.old_product = case.new_product = windowed(case.old_product)
    case.new["totals"][0] = total("corner", 4, 1.5)
    found = of(case.diff(), "totals")
    assert (figures(found), found.largest) == ((1, 1, 1, 0), ())
    assert found.sums["orders"] == (5, 6)


def test_an_aggregate_without_a_window_is_not_compared(case: Case, tmp_path: Path) -> None:
    case.old_product = case.new_product = make_product(tmp_path, columns=NUMBERED)
    case.new["totals"] = []
    report = case.diff()
    assert report.not_compared == {
        "totals": "its SELECT shows no window: which of its rows are final?"
    }
    assert report.as_dict()["not_compared"] == report.not_compared


def with_columns(product: Product, tmp_path: Path, **tables: Sequence[tuple[str, str]]) -> Product:
    made = make_product(tmp_path, columns={**NUMBERED, **tables})
    return windowed(made, key=product.outputs["totals"].key)


def test_columns_on_one_side_only_are_named(case: Case, tmp_path: Path) -> None:
    case.new_product = with_columns(
        case.old_product, tmp_path, totals=(*NUMBERED["totals"][:3], ("worst", "INT"))
    )
    case.new["totals"] = [
        {**total("corner", 3, None), "worst": 5},
        {**total("market", 2, None), "worst": 6},
    ]
    report = case.diff()
    found = of(report, "totals")
    assert (figures(found), found.equal, report.equal) == ((2, 0, 0, 0), False, False)
    assert (found.columns_only_old, found.columns_only_new) == (("mean",), ("worst",))


def test_a_widened_column_is_compared_by_value(case: Case, tmp_path: Path) -> None:
    orders = (("id", "BIGINT"), *NUMBERED["orders"][1:])
    case.new_product = with_columns(case.old_product, tmp_path, orders=orders)
    assert case.diff().equal


def test_a_table_on_one_side_only_is_named(case: Case, tmp_path: Path) -> None:
    case.new_product = with_columns(case.old_product, tmp_path, counts=(("n", "INT"),))
    report = case.diff()
    assert (report.not_compared, report.equal) == ({"counts": "only the new release has it"}, False)


def test_an_unknown_position_is_refused(case: Case) -> None:
    with pytest.raises(RefusedError) as e:
        diff(
            case.settings,
            Side("r1-a1", case.old_product, {}, {"orders": {0: 1}}),
            Side("r2-a1", case.new_product, {}, {}),
            reader=case.log,
        )
    assert (e.value.message, e.value.found) == (
        "the position of r1-a1 is not known",
        "none of colours, shops",
    )


def test_a_diff_whose_memory_is_too_little_gets_more(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.old["orders"] = [order(1, offset=0)]
    case.new["orders"] = [order(1, offset=0, amount=2.0)]
    found, compare = [], TableMatch.result

    def result(match: TableMatch) -> TableDiff:
        found.append(match.connection.execute("SELECT current_setting('memory_limit')").fetchone())
        if len(found) == 2:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block")
        return compare(match)

    monkeypatch.setattr(TableMatch, "result", result)
    report = case.diff()
    assert of(report, "orders").changed == 1
    assert found == [("128.0 MiB",)] * 2 + [("256.0 MiB",)] * len(report.tables)
