"""A preview against what readers see: real Iceberg tables, and a log of timestamps in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.plan.reach import ANY_EARLIER
from jobs.product.model import Window
from replay.cli import preview as command
from replay.cli.diff import ChosenSide
from replay.compare.diff import Side
from replay.iceberg import lake, table_changes
from replay.preview import comparing, marks
from replay.preview.marks import Known, Shown
from replay.preview.part import Bounds
from replay.preview.preview import Preview, Table
from tests.unit.lake_tables import COLUMNS, make_product, make_settings, sink

HOUR = 3_600_000
DAY = dt.datetime(2024, 1, 1)
COLUMNS_HERE = {
    **COLUMNS,
    "totals": (("hour", "TIMESTAMP_LTZ(3)"), ("amount", "DOUBLE")),
    "lags": (("hour", "TIMESTAMP_LTZ(3)"), ("amount", "DOUBLE")),
}


def at(hour: float) -> int:
    return round((DAY.replace(tzinfo=dt.UTC).timestamp() * 1000) + hour * HOUR)


class Log:
    """A record each hour of each partition, for two days."""

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        return ((offset, at(offset), b"") for offset in range(start, end))

    def offsets_at(
        self, topics: Iterable[str], timestamp_ms: int
    ) -> Mapping[str, Mapping[int, int]]:
        return {t: {0: max(0, -(-(timestamp_ms - at(0)) // HOUR))} for t in topics}


def order(offset: int, amount: float) -> dict[str, Any]:
    place = {"log_partition": 0, "log_offset": offset}
    return {"id": offset, "day": DAY.date(), "amount": amount, **place}


def total(hour: int, amount: float) -> dict[str, Any]:
    return {"hour": DAY.replace(tzinfo=dt.UTC) + dt.timedelta(hours=hour), "amount": amount}


def test_only_what_each_table_determines_is_compared(tmp_path: Path) -> None:
    window = {"window": Window(column="hour", size="0s"), "key": ("hour",)}
    product = make_product(tmp_path, columns=COLUMNS_HERE, totals=window, lags=window)
    settings = make_settings(tmp_path)
    catalog = lake.open_catalog(settings)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    hours = range(10, 24)
    rows = {
        "orders": [order(n, 1.0) for n in hours],
        "totals": [total(n, 1.0) for n in hours],
        "lags": [total(n, 1.0) for n in hours],
    }
    snapshots = {t: sink(catalog, t, "r1-a1", 1, rows.get(t, [])) for t in product.outputs}
    covered = {t: {0: 48} for t in product.topics}
    published = Side("r1-a1", product, snapshots, covered)

    # A part from 10:00: each row differs before 13:00, where a look-back of three hours leaves it.
    limits = Bounds(begin=at(10), end=at(30), lateness=0, wait=0)
    own = Bounds(begin=at(10), end=at(30), lateness=0, wait=0, back=3 * HOUR)
    dated = {("orders", 0, n): at(n) for n in range(10, 31)}
    ends = Known(own, shown=Shown("hour", since=3600, rest=0))
    differing = {"orders": [order(n, 1.0 if n >= 13 else 0.5) for n in hours]}
    differing["totals"] = differing["lags"] = [total(n, 1.0 if n >= 14 else 0.5) for n in hours]
    known = {"orders": Known(own), "totals": ends, "lags": Known(limits, ANY_EARLIER)}

    def table(name: str) -> Table:
        kind, of = product.outputs[name].kind.value, known.get(name, Known(limits))
        made, spans = tuple(differing.get(name, [])), marks.spans(dated, of.limits)
        return Table(name, kind, made, tuple(False for _ in made), of, *spans)

    tables = tuple(map(table, product.outputs))
    spans = marks.spans(dated, limits)
    newer = {"colours": 3}
    found = Preview("shop", {"placed": 21}, limits, tables, *spans, newer=newer)
    compared = comparing.compare(settings, product, found, published, 5, Log())

    report = compared.report
    assert report.not_compared == {"lags": ANY_EARLIER}
    of = {t.table: t for t in report.tables}
    assert report.equal, report.as_dict()
    assert (of["orders"].same, of["orders"].left_out) == (11, {"before the part": (3, 3)})
    assert (of["totals"].same, of["totals"].left_out) == (10, {"before the part": (4, 4)})

    view = command.diff_view(found, ChosenSide(published, 7), compared, None)
    assert view.data["diff"]["newer_references"] == newer
    assert (
        "  without what came since to colours (3 offsets), which a replay reads, too;" in view.parts
    )
