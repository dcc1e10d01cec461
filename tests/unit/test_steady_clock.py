"""Time passes as it does, whatever somebody sets a clock to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from replay.store.steady_clock import SLEWED, SteadyClock
from replay.store.store import Store
from tests.unit.control_platform import Clock

HOUR = 3600.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_is_set_is_followed_slowly_and_never_back(jump: float) -> None:
    passing = Clock(50.0)
    clock = SteadyClock(1_000.0, passing)
    last = clock()
    for minute in range(1, 60 * 21):
        passing.time += 60
        clock.follow(1_000.0 + 60 * minute + jump)
        assert (1 - SLEWED) * 60 - 1e-6 <= clock() - last <= (1 + SLEWED) * 60 + 1e-6
        last = clock()
    assert clock() == pytest.approx(1_000.0 + 60 * (60 * 21 - 1) + jump)


def test_a_clock_that_only_drifts_is_followed_at_once() -> None:
    passing = Clock(0.0)
    clock = SteadyClock(1_000.0, passing)
    passing.time += 10
    clock.follow(1_010.2)
    assert clock() == pytest.approx(1_010.2)


def test_nobody_can_set_it_by_asking_often() -> None:
    passing = Clock(0.0)
    clock = SteadyClock(1_000.0, passing)
    for _ in range(100):
        clock.follow(1_000.0 + HOUR)
    assert clock() == 1_000.0


def test_a_store_follows_its_databases_clock_whenever_a_lease_is_taken(
    databases: Callable[[], str],
) -> None:
    """From a time that was told when the database's clock was set back by an hour."""
    passing = Clock(0.0)
    with closing(Store(databases())) as store:
        told = store.seconds() - HOUR
        store.now = SteadyClock(told, passing)
        for product in ("flights", "weather"):
            passing.time += 60
            assert store.acquire(product, "me", 10)
        assert store.now() - told == pytest.approx(120 * (1 + SLEWED))
