"""Grouping of more rows than memory holds, in passes over parts of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import duckdb

_ROWS = 16_000_000
"""Of a pass. What is grouped is spilled in a few parts, of which DuckDB needs a whole one in memory in the end."""


def grouped(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    sql: str,
    rows: int,
    parameters: Mapping[str, str] | None = None,
) -> int:
    """Make a temporary table of what a statement gives, whose GROUP BY is of so many rows; how many it gave.

    `{part}` in it, a number, is what a hash of the group's columns has to be, of `{parts}` many.
    """
    parts = max(1, math.ceil(rows / _ROWS))
    for part in range(parts):
        how = f"INSERT INTO {table}" if part else f"CREATE OR REPLACE TEMP TABLE {table} AS"
        of_part = sql.replace("{part}", str(part)).replace("{parts}", str(parts))
        connection.execute(f"{how} {of_part}", dict(parameters or {}))
    [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)
