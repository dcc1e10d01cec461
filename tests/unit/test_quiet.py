"""Which partition results wait for, and how long that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.product.folder import Product
from jobs.product.model import Topic
from jobs.product.settings import ProductSettings
from replay.controller.quiet import Clocks, quietest
from replay.values import duration

HOUR = 3_600_000
NOON = 1_717_416_000_000  # 2024-06-03 12:00:00 UTC


def product(
    lateness: str = "1h", of_dimension: str = "1h", key: tuple[str, ...] = ("currency",)
) -> Product:
    topics = {
        "orders": Topic(time="at", allowed_lateness=lateness),
        "rates": Topic(
            topic="prices", role="dimension", time="at", allowed_lateness=of_dimension, key=key
        ),
    }
    return Product(
        folder=Path("/nowhere"), settings=ProductSettings(name="shop", topics=topics, outputs={})
    )


@pytest.mark.parametrize(
    ("lateness", "clocks", "expected"),
    [
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON, 1: NOON}, "prices": {0: NOON - 7 * HOUR}},
            ("prices", 0, 7 * 3600.0),
            id="a quiet dimension",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON, 1: NOON - 2 * HOUR}, "prices": {0: NOON}},
            ("orders", 1, 7200.0),
            id="a quiet partition of events",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON, 1: NOON - HOUR}, "prices": {0: NOON}},
            None,
            id="partitions are some time apart",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON}, "prices": {0: NOON - 61_000}},
            ("prices", 0, 61.0),
            id="a look-up waits",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON}, "prices": {0: NOON - 60_000}},
            None,
            id="within the lag limit",
        ),
        pytest.param(
            ("1h", "1h", ()),
            {"orders": {0: NOON}, "prices": {0: NOON - HOUR}},
            None,
            id="a join that waits holds up no checkpoint",
        ),
        pytest.param(
            ("1h", "1h", ()),
            {"orders": {0: NOON}, "prices": {0: NOON - 2 * HOUR}},
            ("prices", 0, 7200.0),
            id="but not for so long",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON, 1: NOON}, "prices": {0: NOON + HOUR}},
            None,
            id="nobody waits",
        ),
        pytest.param(
            ("6h", "10min"),
            {"orders": {0: NOON}, "prices": {0: NOON - 5 * HOUR}},
            None,
            id="events wait for longer by their own lateness",
        ),
        pytest.param(
            ("6h", "10min"),
            {"orders": {0: NOON}, "prices": {0: NOON - 7 * HOUR}},
            ("prices", 0, 4200.0),
            id="only what a record there would spare: 7 h 10 min less 6 h",
        ),
        pytest.param(
            ("1h", "6h", ()),
            {"orders": {0: NOON}, "prices": {0: NOON}},
            None,
            id="a longer lateness is chosen",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON, 1: NOON}},
            None,
            id="a dimension that the broker dates",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: NOON, 1: None}, "prices": {0: 0}},
            ("orders", 1, float("inf")),
            id="an empty partition holds back most",
        ),
        pytest.param(
            ("1h", "1h"),
            {"orders": {0: None}, "prices": {0: NOON}},
            None,
            id="no events, nothing waits",
        ),
    ],
)
def test_the_quietest_partition(
    lateness: tuple[Any, ...], clocks: Clocks, expected: tuple[str, int, float] | None
) -> None:
    quiet = quietest(product(*lateness), clocks)
    assert (quiet and (quiet.topic, quiet.partition, quiet.seconds)) == expected


def test_it_names_topic_clock_and_what_to_do() -> None:
    behind = quietest(
        product(), {"orders": {0: NOON}, "prices": {0: NOON - 7 * HOUR - 12 * 60_000}}
    )
    assert str(behind) == (
        "results wait for prices: the clock of its partition 0 is at 2024-06-03 04:48:00Z, 7 h 12 min behind orders; "
        "append a record to it (one without a value only moves the clock: echo | kappa topic produce prices), or set "
        "message.timestamp.type=LogAppendTime for prices and deploy again"
    )
    empty = quietest(product(), {"orders": {0: NOON}, "prices": {0: None}})
    assert str(empty).startswith(
        "results wait for prices: its partition 0 has no record yet; append a record to it"
    )
    beyond = quietest(product(), {"orders": {0: 4 * 10**17}, "prices": {0: 3 * 10**17}})
    assert "is at 300000000000000000 ms" in str(beyond)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, "less than 1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (7 * 3600, "7 h"),
        (7 * 3600 + 12 * 60 + 5, "7 h 12 min"),
        (3 * 86_400 + 5, "3 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
