"""What a preview has and readers do not, or the reverse: rows that the part determines and readers have for good."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow

from jobs.product.column_types import Array, Map, Row, Type
from jobs.product.folder import Product
from replay.compare import diff as differing
from replay.compare.changes import DiffReport, TableDiff
from replay.compare.comparison import Comparison, common_position, comparisons
from replay.compare.diff import Side
from replay.compare.matching import NEW, OLD, TableMatch, set_bounds
from replay.iceberg.product_types import product_type
from replay.iceberg.table_types import schema_of
from replay.kafka import clock
from replay.offsets import Offsets
from replay.preview import marks
from replay.preview.marks import Known
from replay.preview.preview import Preview, Table
from replay.query import query
from replay.settings import Settings

NAME = "preview"
"""Of the preview's side."""


@dataclass(frozen=True)
class Compared:
    """A comparison, and where it begins; its report says where it ends."""

    report: DiffReport
    starts: Offsets
    """Topic → partition → first offset that was compared."""
    first_begin: dt.datetime
    """Windows that begin before this, on the product's wall clock, were not compared."""


def compare(
    settings: Settings,
    product: Product,
    found: Preview,
    published: Side,
    samples: int,
    reader: differing.LogReader | None = None,
) -> Compared:
    """Compare a preview of a resolved product with what readers see, with so many samples of each difference.

    A row that readers do not see yet, or that may still change for them, is not compared.
    """
    reader = reader or differing.Kafka(settings)
    position = common_position(published.covered, found.ends)
    now = clock.at_position(published.product, published.covered, reader)
    settled = differing.settled_offsets(position, now, published.product.longest_wait, reader)
    zones = {OLD: published.product.settings.time_zone, NEW: product.settings.time_zone}
    first_begin = max(marks.wall(found.bounds.first_window(), zone) for zone in zones.values())

    def compared(times: int) -> tuple[TableDiff, ...]:
        schemas = {OLD: published.snapshots}
        with query.open_schemas(settings, product.name, schemas, times=times) as connection:
            connection.execute(f"CREATE SCHEMA {NEW}")
            tables = {t.name: t for t in found.tables}

            def result(how: Comparison) -> TableDiff:
                why = how.not_compared or tables[how.table].unmarked
                if why := why or _load(connection, product, tables[how.table]):
                    return differing.left_out(replace(how, not_compared=why))
                table = tables[how.table]
                below = common_position(published.covered, table.ends)
                set_bounds(connection, below, settled, table.starts)
                first, last = compared_windows(how, table.known, now, zones)
                return TableMatch(connection, how, last, samples, zones, first).result()

            return tuple(map(result, comparisons(published.product, product)))

    tables = query.with_more_memory(settings, compared)
    reached = clock.instant(min(now, found.bounds.end))
    report = DiffReport(product.name, published.name, NAME, position, reached, tables)
    return Compared(report, found.starts, first_begin)


def compared_windows(
    how: Comparison, known: Known, now: float, zones: Mapping[str, str]
) -> tuple[dt.datetime | None, dt.datetime | None]:
    """What the window's column shows of the first and the last window that is compared; None without a bound.

    `known` of the rows of the preview; `now`: the log's clock where readers see the product.
    """
    first = (
        [known.shown.first(known.limits, zone) for zone in zones.values()] if known.shown else []
    )
    clocks = [(now, zones[OLD]), (known.limits.end, zones[NEW])]
    return max(first, default=None), differing.last_begin(clocks, how.window_seconds)


def _load(connection: duckdb.DuckDBPyConnection, product: Product, table: Table) -> str:
    """Make a table of the preview's rows; why it cannot be made, empty if it was."""
    try:
        held = as_arrow(product_type(product, table.name), table.rows)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as e:
        return f"a value of the preview does not fit its column: {str(e).splitlines()[0]}"
    connection.register("rows_of_preview", held)
    connection.execute(f'CREATE TABLE {NEW}."{table.name}" AS SELECT * FROM rows_of_preview')
    connection.unregister("rows_of_preview")
    return ""


def as_arrow(columns: Row, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows with the types that Iceberg has; pyarrow's errors for a value that has none, such as a year of Flink's."""
    converters = {f.name: _arrow(f.type) for f in columns.fields}
    schema = schema_to_pyarrow(schema_of(columns), include_field_ids=False)
    converted = [{c: value(row[c]) for c, value in converters.items()} for row in rows]
    return pa.Table.from_pylist(converted, schema)


def _arrow(type_: Type) -> Callable[[Any], Any]:
    """What makes values for Arrow, which has a MAP as pairs."""

    def convert(value: Any) -> Any:
        if value is None:
            return None
        match type_:
            case Array(element):
                return list(map(_arrow(element), value))
            case Map(key, inner):
                key_of, inner_of = _arrow(key), _arrow(inner)
                return [(key_of(k), inner_of(v)) for k, v in value.items()]
            case Row(fields):
                return {f.name: _arrow(f.type)(value[f.name]) for f in fields}
        return value

    return convert
