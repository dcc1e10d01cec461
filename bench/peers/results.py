"""What a peer wrote against what it should have written, and the table of all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import duckdb
import pyarrow as pa

from bench.peers.common import COLUMNS
from bench.results import summarise

KEY = ("origin", "carrier", "hour")
TYPES = pa.schema(
    {
        "origin": pa.string(),
        "carrier": pa.string(),
        "hour": pa.timestamp("us"),
        "flights": pa.int64(),
        "cancelled": pa.int64(),
        "mean_dep_delay": pa.float64(),
        "worst_dep_delay": pa.int32(),
    }
)
SHORT = {
    "name": "name",
    "seconds": "s",
    "spread_seconds": "±",
    "start_seconds": "start",
    "cpu_seconds": "CPU s",
    "events_per_second": "events/s",
    "events_per_cpu_second": "per CPU s",
    "events_per_cpu_second_after_start": "after start",
    "peak_memory_mb": "MB",
}
SUMS = ("start_seconds", "start_cpu_seconds")
AFTER_START = (
    ("second", "seconds", "start_seconds"),
    ("cpu_second", "cpu_seconds", "start_cpu_seconds"),
)


@dataclass(frozen=True)
class Comparison:
    """Rows of hourly_departures against the oracle's."""

    rows: int
    """That should be there."""
    missing: int
    surplus: int
    """Not expected, or there more than once."""
    wrong: int
    flights: int
    """Counted by the peer."""
    expected_flights: int

    @property
    def exact(self) -> bool:
        """Row by row, column by column."""
        return not (self.missing or self.surplus or self.wrong)

    def __str__(self) -> str:
        if self.exact:
            return "exact"
        found = [
            f"{count:,} rows {what}"
            for what, count in (
                ("missing", self.missing),
                ("too many", self.surplus),
                ("wrong", self.wrong),
            )
            if count
        ]
        return f"{', '.join(found)} of {self.rows:,}; {self.flights:,} of {self.expected_flights:,} flights"


def compare(want: pa.Table, got: pa.Table) -> Comparison:
    """Every row and column; means are of exact sums, so they are equal or wrong."""
    db = duckdb.connect()
    db.register("want", want.select(COLUMNS).cast(TYPES))
    db.register("got_twice", got.select(COLUMNS).cast(TYPES))
    db.execute(f"CREATE VIEW got AS SELECT DISTINCT ON ({', '.join(KEY)}) * FROM got_twice")
    same = " AND ".join(f"want.{c} IS NOT DISTINCT FROM got.{c}" for c in COLUMNS if c not in KEY)
    both = f"want JOIN got USING ({', '.join(KEY)})"
    rows, flights = _one(db, "SELECT count(*), coalesce(sum(flights), 0)::BIGINT FROM want")
    written, counted = _one(db, "SELECT count(*), coalesce(sum(flights), 0)::BIGINT FROM got_twice")
    matched, wrong = _one(db, f"SELECT count(*), count(*) FILTER (NOT ({same})) FROM {both}")
    return Comparison(rows, rows - matched, written - matched, wrong, counted, flights)


def _one(db: duckdb.DuckDBPyConnection, query: str) -> tuple[int, int]:
    row = db.execute(query).fetchone()
    assert row
    return row[0], row[1]


def measured(
    name: str, events: int, comparison: Comparison | None, **figures: float
) -> dict[str, Any]:
    """One turn of a peer that came to its end. Without a comparison it wrote nothing, as it should."""
    return {"name": name, "events": events, "problem": None, **figures, "compared": comparison}


def failed(name: str, events: int, problem: str) -> dict[str, Any]:
    """One turn of a peer that did not."""
    return {"name": name, "events": events, "problem": problem}


def table(turns: list[dict[str, Any]], lacks: dict[str, list[str]]) -> list[dict[str, Any]]:
    """A row per peer: medians over the turns that ended, the worst of what was written, and why a turn failed."""
    summaries = {row["name"]: row for row in summarise([t for t in turns if not t["problem"]])}
    rows = []
    for name in dict.fromkeys(t["name"] for t in turns):
        mine = [t for t in turns if t["name"] == name]
        problems = [t["problem"] for t in mine if t["problem"]]
        row: dict[str, Any] = {"name": name, "events": mine[0]["events"]}
        if name in summaries:
            ended = [t for t in mine if not t["problem"]]
            row |= summaries[name] | {
                k: round(median(t[k] for t in ended), 2) for k in SUMS if k in ended[0]
            }
            row |= {
                f"events_per_{what}_after_start": round(
                    row["events"] / (row[total] - row.get(start, 0))
                )
                for what, total, start in AFTER_START
            }
        rows.append(row | _verdict(mine, problems) | {"lacks": lacks.get(name, [])})
    return rows


def _verdict(turns: list[dict[str, Any]], problems: list[str]) -> dict[str, Any]:
    compared = [t["compared"] for t in turns if t.get("compared")]
    worst = max(compared, key=lambda c: c.missing + c.surplus + c.wrong, default=None)
    exact = (
        None if not compared and not problems else not problems and all(c.exact for c in compared)
    )
    said = f"could not run: {problems[0]}" if problems else str(worst or "nothing to write")
    return {"exact": exact, "verdict": said, "compared": asdict(worst) if worst else None}


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a person reads them."""
    return [{short: row.get(k) for k, short in SHORT.items()} for row in rows]


def remarks(rows: list[dict[str, Any]]) -> list[str]:
    """A line per row: what it wrote, or the last words of why not; and what it lacks."""
    return [
        f"{row['name']}: {row['verdict'].splitlines()[-1].strip()}"
        + (f"; lacks {', '.join(row['lacks'])}" if row["lacks"] else "")
        for row in rows
    ]
