"""What the controller asks of the platform and of its store, per product and round: counted, not timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.controller import Round, rounds

PRODUCTS = 12


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Round:
    return rounds(tmp_path_factory.mktemp("one"), 1, 1, journal=2)[0]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Round:
    return rounds(tmp_path_factory.mktemp("many"), PRODUCTS, 1, journal=2)[0]


def test_a_round_looks_once_at_each_attempt_and_publishes_once(one: Round) -> None:
    """One release on standby, one active, both with a new checkpoint."""
    assert one.asked == {
        "main": 1,
        "position": 2,
        "committed": 2,
        "job": 2,
        "ends": 1,
        "stalled_watermarks": 2,
        "late_dropped": 2,
        "publishable": 2,
        "log_changes": 2,
        "publish": 1,
    }


def test_a_replay_beside_them_costs_one_more_look(tmp_path: Path) -> None:
    asked = rounds(tmp_path, 1, 1, journal=2, replaying=True)[0].asked
    assert asked == {
        "main": 1,
        "position": 3,
        "committed": 3,
        "job": 3,
        "ends": 1,
        "stalled_watermarks": 3,
        "late_dropped": 3,
        "publishable": 3,
        "log_changes": 3,
        "log_problems": 1,
        "publish": 1,
    }


def test_the_logs_clocks_are_asked_for_in_every_other_round_once_for_both_releases(
    tmp_path: Path,
) -> None:
    found = rounds(tmp_path, PRODUCTS, 4, journal=2, replaying=True)
    assert [r.asked["clocks"] for r in found] == [0, PRODUCTS, 0, PRODUCTS]


def test_what_is_asked_of_the_platform_grows_with_the_products_and_no_faster(
    one: Round, many: Round
) -> None:
    assert many.asked == {name: count * PRODUCTS for name, count in one.asked.items()}


def test_the_store_gets_so_many_statements_for_a_product_and_one_for_the_list_of_them(
    one: Round, many: Round
) -> None:
    assert one.statements == {"SELECT": 1 + 7, "UPDATE": 6, "INSERT": 1, "DELETE": 1}
    assert many.statements["SELECT"] == 1 + 7 * PRODUCTS
    assert {k: n for k, n in many.statements.items() if k != "SELECT"} == {
        k: n * PRODUCTS for k, n in one.statements.items() if k != "SELECT"
    }
