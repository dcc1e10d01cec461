"""`kappa why` against what the test itself has written: which records a row is made of, and which it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.product.folder import load_product
from tests.integration.running import RunningStack
from tests.integration.test_orders import (
    Order,
    Writer,
    Written,
    another_product,
    stop_jobs,
    write_orders,
)

NAME = "bought"
SHOP, HOUR_OF_ROW = "a", 1
FROM = (630, 700)
"""The first release leaves out what costs less than the first, the second what costs less than the second."""
KEY = (f"shop={SHOP}", f"hour=2024-01-01T0{HOUR_OF_ROW}:00")


def is_of_row(order: Order) -> bool:
    """Whether an order is of the shop and the hour."""
    return order.fields["shop"] == SHOP and order.number // 60 == HOUR_OF_ROW


def offsets(written: Written, least: int, below: int = 1 << 31) -> set[int]:
    """Where orders of the row stand that cost so much."""
    return {
        offset
        for offset, order in written.rows.items()
        if is_of_row(order) and least <= order.fields["cents"] < below
    }


def became(release: dict[str, Any], kind: str) -> set[int]:
    return {r["offset"] for r in release["records"] if r["became"] == kind}


@pytest.fixture(scope="module")
def sold(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningStack, Written]]:
    """Two releases of the orders, with another WHERE each."""
    folder = another_product(tmp_path_factory.mktemp("sold"), NAME)
    (folder / "checks" / "hours_add_up.sql").unlink()
    hourly = folder / "hourly_orders.sql"
    query = hourly.read_text()
    written = write_orders(Writer(stack, load_product(folder)))
    try:
        for cents in FROM:
            hourly.write_text(query.replace("GROUP BY", f"WHERE cents >= {cents}\nGROUP BY"))
            stack.kappa("deploy", NAME, "--from", str(folder), "--timeout", "240")
        yield stack, written
    finally:
        stop_jobs(stack, NAME)


@pytest.mark.timeout(900)
def test_each_record_is_what_was_written(sold: tuple[RunningStack, Written]) -> None:
    stack, written = sold
    both = ("--release", "r1", "--release", "r2")
    asked = ("why", f"{NAME}.hourly_orders", *KEY, *both, "--output", "json")
    found = json.loads(stack.kappa(*asked, timeout=800).stdout)
    # A late order says an hour of two hours before the one in which it was appended: see `write_orders`.
    late = {
        offset
        for number, offset in zip(range(30, 300, 60), written.late, strict=True)
        if is_of_row(Order(number - 120))
    }
    appended = {offset: 30 + 60 * n for n, offset in enumerate(written.undecodable)}
    garbage = {
        offset
        for offset, minute in appended.items()
        if HOUR_OF_ROW * 60 <= minute < (HOUR_OF_ROW + 2) * 60
    }
    repeated = {o for o in written.duplicates if is_of_row(written.rows[o - 1])}
    assert late and garbage and repeated, "the test writes some of each"
    for release, least in zip(found["releases"], FROM, strict=True):
        assert became(release, "counted") == offsets(written, least)
        assert became(release, "filtered") == offsets(written, 0, least)
        assert became(release, "repeated") == repeated
        assert became(release, "rejected") == late
        assert became(release, "undecodable") == garbage
        assert release["counts"]["not told"] == 0
        cents = [written.rows[offset].fields["cents"] for offset in offsets(written, least)]
        assert (release["row"][NAME], release["row"]["cents"]) == (len(cents), sum(cents))
        assert release["adds_up"] and release["again"] == release["row"]
    assert {r["offset"] for r in found["only_in_one"]} == offsets(written, *FROM)


@pytest.mark.timeout(600)
def test_a_row_of_one_record_knows_its_copies(sold: tuple[RunningStack, Written]) -> None:
    stack, written = sold
    copy = written.duplicates[0]
    key = written.rows[copy - 1].fields["order_id"]
    [release] = stack.kappa.json("why", f"{NAME}.order_rows", f"order_id={key}")["releases"]
    assert (became(release, "counted"), became(release, "repeated")) == ({copy - 1}, {copy})
    assert release["adds_up"]


def test_a_row_that_is_not_there_is_answered_with_one_that_is(
    sold: tuple[RunningStack, Written],
) -> None:
    stack, _ = sold
    done = stack.kappa("why", f"{NAME}.hourly_orders", "shop=z", KEY[1], check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "has no row with shop=z" in done.stderr
    assert f"kappa why {NAME}.hourly_orders shop=" in done.stderr
