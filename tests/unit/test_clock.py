"""The log's clock: watermarks at a position, and which windows they close on a product's own clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.product.folder import Product
from jobs.product.model import Topic
from jobs.product.settings import ProductSettings
from replay.kafka.clock import at_position, local, may_wait, watermark

HOUR = 3_600_000


def test_the_watermark_is_that_of_the_slowest_partition() -> None:
    lateness = {"orders": 3600.0, "shops": 600.0}
    clocks: dict[tuple[str, int], int | None] = {
        ("orders", 0): 10 * HOUR,
        ("orders", 1): 9 * HOUR,
        ("shops", 0): 7 * HOUR,
    }
    assert watermark(clocks, lateness) == 7 * HOUR - 600_000 - 1
    assert watermark({**clocks, ("shops", 0): None}, lateness) == -math.inf


class Aborted:
    """A log with one record at offset 3 and, behind it, aborted ones only."""

    def __init__(self) -> None:
        self.read_from: list[int] = []

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> list[tuple[int, int, bytes | None]]:
        self.read_from.append(start)
        return [(3, 7 * HOUR, b"x")] if start <= 3 < end else []


@pytest.mark.parametrize(
    ("end", "expected", "read_from"),
    [
        pytest.param(4, 7 * HOUR, [0], id="the last record"),
        pytest.param(154, 7 * HOUR, [144, 54, 0], id="150 aborted records behind it"),
        pytest.param(3, None, [0], id="nothing yet"),
        pytest.param(0, None, [], id="an empty partition"),
    ],
)
def test_the_clock_at_a_position_is_that_of_the_last_record_however_much_was_aborted(
    end: int, expected: int | None, read_from: list[int]
) -> None:
    log = Aborted()
    topics = {"orders": Topic(role="events", time="at", allowed_lateness="1h")}
    product = Product(
        folder=Path("/nowhere"), settings=ProductSettings(name="orders", topics=topics, outputs={})
    )
    found = at_position(product, {"orders": {0: end}}, log)
    assert found == (-math.inf if expected is None else expected - HOUR - 1)
    assert log.read_from == read_from


def test_a_row_may_wait_until_the_watermark_passed_its_window() -> None:
    assert may_wait(appended_ms=1000, longest_wait_s=60, watermark_ms=60_999)
    assert not may_wait(appended_ms=1000, longest_wait_s=60, watermark_ms=61_000)


@pytest.mark.parametrize(
    ("utc", "zone", "expected"),
    [
        ("2013-07-01 12:00", "UTC", "2013-07-01 12:00"),
        ("2013-07-01 12:00", "America/New_York", "2013-07-01 08:00"),
        ("2013-03-10 06:59", "America/New_York", "2013-03-10 01:59"),  # the last minute of winter
        ("2013-03-10 07:00", "America/New_York", "2013-03-10 03:00"),
        (
            "2013-11-03 04:30",
            "America/New_York",
            "2013-11-02 23:30",
        ),  # 00:30 of a day that has 25 hours: careful
        (
            "2013-11-03 05:30",
            "America/New_York",
            "2013-11-03 00:30",
        ),  # 01:30, and it will be 01:30 again
        ("2013-11-03 06:30", "America/New_York", "2013-11-03 01:30"),
        (
            "2013-11-04 05:00",
            "America/New_York",
            "2013-11-04 00:00",
        ),  # that day is over, after 25 hours
        ("2013-07-01 12:00", "Asia/Kolkata", "2013-07-01 17:30"),
    ],
)
def test_local_time_that_has_surely_passed(utc: str, zone: str, expected: str) -> None:
    instant = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert local(instant.timestamp() * 1000, zone) == datetime.fromisoformat(expected)


def test_nothing_has_passed_before_anything_is_read() -> None:
    assert local(-math.inf, "UTC") is None
