"""The rows of one table on two sides, compared and matched in DuckDB: only samples ever reach Python."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from jobs.product.model import Kind
from replay.compare.candidates import Candidates
from replay.compare.changes import Change, TableDiff
from replay.compare.comparison import PLACE, Comparison
from replay.compare.shapes import shaped
from replay.offsets import Offsets, at, partitions
from replay.values import same

OLD, NEW = "old", "new"
"""Schemas of the views that hold the two sides."""

BEFORE = "before the part"
BEYOND = "beyond the position"
OPEN = "in windows that may be open"
NOWHERE = "without a place in the log"
NO_WINDOW = "without a window"
_SORTS = ("only_old", "only_new", "changed")


def set_bounds(
    connection: duckdb.DuckDBPyConnection,
    position: Offsets,
    settled: Offsets,
    start: Offsets | None = None,
) -> None:
    """Tell DuckDB which records are below the position, and which of those wait in no window any more.

    `start`: the first offset of each partition that is compared; by default all are, from the beginning.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE bounds"
        " (topic VARCHAR, part INTEGER, start BIGINT, below BIGINT, settled BIGINT)"
    )
    if bounds := [
        (topic, p, at(start or {}, topic, p), offset, at(settled, topic, p))
        for topic, p, offset in partitions(position)
    ]:
        connection.executemany("INSERT INTO bounds VALUES (?, ?, ?, ?, ?)", bounds)


@dataclass(frozen=True)
class _Counted:
    """One side of a table."""

    compared: int
    sums: dict[str, Any]
    """Numeric column → its sum over the compared rows."""
    left_out: dict[str, int]
    """Reason → rows."""


@dataclass(frozen=True)
class TableMatch:
    """One table of both sides. Its columns are called c0, c1, … here, so that no name of ours meets one of theirs."""

    connection: duckdb.DuckDBPyConnection
    how: Comparison
    last_begin: dt.datetime | None
    """Of an aggregate: where the last window begins that is closed on both sides."""
    samples: int
    zones: Mapping[str, str]
    """Side → its product's time zone: by its clocks a window's column of type TIMESTAMP_LTZ is read."""
    first_begin: dt.datetime | None = None
    """Of an aggregate: where the first window begins that is compared; None: all are, from the beginning."""

    def result(self) -> TableDiff:
        """Compare the rows."""
        how = self.how
        sources = self._rows(OLD), self._rows(NEW)
        old, new = (self._counted(source) for source in sources)
        self._find_changes(*sources, old.compared + new.compared)
        found = dict(
            self.connection.execute("SELECT sort, count(*) FROM changes GROUP BY sort").fetchall()
        )
        only_old, only_new, changed = (found.get(sort, 0) for sort in _SORTS)
        measure = how.numeric[0] if how.numeric and self._values else ""
        return TableDiff(
            how.table,
            how.kind.value,
            how.key,
            old.compared,
            new.compared,
            same=old.compared - only_old - changed,
            only_old=only_old,
            only_new=only_new,
            changed=changed,
            columns=self._changed_columns(),
            columns_only_old=how.columns_only_old,
            columns_only_new=how.columns_only_new,
            samples={sort: self._some(f"sort = '{sort}'") for sort in _SORTS if sort in found},
            sums={c: (old.sums[c], new.sums[c]) for c in how.numeric},
            measure=measure,
            largest=self._largest(measure) if measure else (),
            left_out={
                why: (old.left_out.get(why, 0), new.left_out.get(why, 0))
                for why in old.left_out | new.left_out
            },
        )

    @property
    def _values(self) -> list[str]:
        return [c for c in self.how.columns if c not in self.how.key]

    def _rows(self, side: str) -> str:
        """The rows of a side, and for each why it is left out (NULL: it is compared)."""
        how, table = self.how, f"{_name(side)}.{_name(self.how.table)}"
        there: dict[str, str] = dict(
            self.connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = $side AND table_name = $table",
                {"side": side, "table": how.table},
            ).fetchall()
        )
        # A snapshot that was written before a column was added does not have it.
        columns = [
            f"{self._column(c) if c in there else 'NULL'} AS c{i}"
            for i, c in enumerate(how.columns)
        ]
        if how.kind is Kind.aggregate:
            is_instant = there.get(how.window_column) == "TIMESTAMP WITH TIME ZONE"
            reason, join = self._aggregates(self.zones[side] if is_instant else "")
        else:
            reason, join = self._placed()
        return (
            f"SELECT {', '.join(columns)}, CASE {reason} END AS left_out FROM {table} AS r {join}"
        )

    def _column(self, name: str) -> str:
        column = f"r.{_name(name)}"
        return shaped(column, self.how.shapes[name]) if name in self.how.shapes else column

    def _aggregates(self, zone: str) -> tuple[str, str]:
        """`zone`: of a window's column that holds instants; empty of one that holds what the clocks show."""
        begin = f"r.{_name(self.how.window_column)}"
        shown = f"timezone({_text(zone)}, {begin})" if zone else f"CAST({begin} AS TIMESTAMP)"
        is_open = f"{shown} > TIMESTAMP '{self.last_begin}'" if self.last_begin else "TRUE"
        reason = f"WHEN {begin} IS NULL THEN '{NO_WINDOW}' WHEN {is_open} THEN '{OPEN}'"
        if self.first_begin:
            reason += f" WHEN {shown} < TIMESTAMP '{self.first_begin}' THEN '{BEFORE}'"
        return reason, ""

    def _placed(self) -> tuple[str, str]:
        topic = _text(self.how.topic) if self.how.topic else "r.log_topic"
        reason = (
            f"WHEN {topic} IS NULL OR r.log_partition IS NULL OR r.log_offset IS NULL THEN '{NOWHERE}'"
            f" WHEN bounds.below IS NULL OR r.log_offset >= bounds.below THEN '{BEYOND}'"
            f" WHEN r.log_offset < bounds.start THEN '{BEFORE}'"
        )
        if self.how.kind is Kind.rows:
            reason += f" WHEN r.log_offset >= bounds.settled THEN '{OPEN}'"
        return (
            reason,
            f"LEFT JOIN bounds ON bounds.topic = {topic} AND bounds.part = r.log_partition",
        )

    def _counted(self, source: str) -> _Counted:
        sums = "".join(f", sum({self._number(c)})" for c in self.how.numeric)
        groups = {
            why: (rows, values)
            for why, rows, *values in self.connection.execute(
                f"SELECT left_out, count(*){sums} FROM ({source}) GROUP BY left_out"
            ).fetchall()
        }
        compared, values = groups.pop(None, (0, [None] * len(self.how.numeric)))
        return _Counted(
            compared,
            dict(zip(self.how.numeric, values, strict=True)),
            {why: rows for why, (rows, _) in sorted(groups.items())},
        )

    def _find_changes(self, old: str, new: str, rows: int) -> None:
        """Temporary table `changes`: sort, key, row of the old side and of the new; NULL where a side has none."""
        columns = [f"c{i}" for i in range(len(self.how.columns))]
        candidates = Candidates(self.connection, columns, [self._number(c) for c in self.how.key])
        one, other = (f"SELECT * FROM ({source}) WHERE left_out IS NULL" for source in (old, new))
        for piece, _ in enumerate(candidates.pieces(one, other, rows)):
            how = "INSERT INTO changes" if piece else "CREATE OR REPLACE TEMP TABLE changes AS"
            self.connection.execute(f"{how} {self._matched(columns)}")

    def _matched(self, columns: Sequence[str]) -> str:
        every = ", ".join(columns)
        key = ", ".join(self._number(c) for c in self.how.key)
        order = ", ".join(
            self._number(c) for c in (*PLACE, *self.how.columns) if c in self.how.columns
        )
        return f"""
            WITH differing AS (
                SELECT {every}, sum(side) AS surplus FROM candidates GROUP BY {every} HAVING sum(side) <> 0),
            single AS (
                SELECT *, surplus > 0 AS is_old, unnest(range(CAST(abs(surplus) AS BIGINT))) AS copy FROM differing),
            numbered AS (
                SELECT {self._struct(self.how.key)} AS key, {self._struct(self.how.columns)} AS value, is_old,
                       row_number() OVER (PARTITION BY is_old, {key} ORDER BY {order}, copy) AS number
                FROM single),
            matched AS (
                SELECT key, any_value(value) FILTER (is_old) AS old, any_value(value) FILTER (NOT is_old) AS new
                FROM numbered GROUP BY key, number)
            SELECT CASE WHEN new IS NULL THEN 'only_old' WHEN old IS NULL THEN 'only_new' ELSE 'changed' END AS sort, *
            FROM matched"""

    def _changed_columns(self) -> dict[str, int]:
        """Column → changed rows in which it differs."""
        if not self._values:
            return {}
        differs = (
            f"count(*) FILTER ({_of('old', c)} IS DISTINCT FROM {_of('new', c)})"
            for c in self._values
        )
        counts = self._one(f"SELECT {', '.join(differs)} FROM changes WHERE sort = 'changed'")
        return {c: n for c, n in zip(self._values, counts, strict=True) if n}

    def _some(self, condition: str, order: str = "key") -> tuple[Change, ...]:
        return tuple(
            self._change(*row)
            for row in self.connection.execute(
                f"SELECT key, old, new FROM changes WHERE {condition} ORDER BY {order} LIMIT {self.samples}"
            ).fetchall()
        )

    def _change(
        self, key: dict[str, Any], old: dict[str, Any] | None, new: dict[str, Any] | None
    ) -> Change:
        shown = self._values
        if old is not None and new is not None:
            shown = [c for c in shown if not same(old[c], new[c])]
        one, other = ({c: row[c] for c in shown} if row is not None else None for row in (old, new))
        return Change(key, one, other)

    def _largest(self, measure: str) -> tuple[Change, ...]:
        by = f"abs(coalesce({_of('new', measure)}, 0)::DOUBLE - coalesce({_of('old', measure)}, 0)::DOUBLE)"
        return self._some(f"{by} > 0", order=f"{by} DESC, key")

    def _number(self, column: str) -> str:
        return f"c{self.how.columns.index(column)}"

    def _struct(self, columns: Iterable[str]) -> str:
        return f"struct_pack({', '.join(f'{_name(c)} := {self._number(c)}' for c in columns)})"

    def _one(self, sql: str) -> tuple[Any, ...]:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return row


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _of(struct: str, column: str) -> str:
    return f"struct_extract({struct}, {_text(column)})"
