"""Grouping in passes."""

from __future__ import annotations

import duckdb
import pytest

from replay.query import grouping
from replay.query.grouping import grouped

SQL = """SELECT a % 100 AS b, count(*) AS n FROM range($rows::BIGINT) AS t(a) WHERE hash(b) % {parts} = {part}
         GROUP BY b HAVING count(*) > 1"""


@pytest.mark.parametrize("rows_of_pass", [1_000, 7, 1], ids=["one pass", "several", "many"])
def test_the_same_in_any_number_of_passes(
    monkeypatch: pytest.MonkeyPatch, rows_of_pass: int
) -> None:
    monkeypatch.setattr(grouping, "_ROWS", rows_of_pass)
    with duckdb.connect() as connection:
        assert grouped(connection, "found", SQL, 150, {"rows": "150"}) == 50
        assert connection.execute(
            "SELECT min(b), max(b), min(n), max(n) FROM found"
        ).fetchall() == [(0, 49, 2, 2)]
        assert grouped(connection, "found", SQL, 0, {"rows": "0"}) == 0
