"""What is known of a time zone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.product import zones


@pytest.mark.parametrize(
    ("zone", "setback"),
    [
        ("UTC", timedelta()),
        ("Asia/Tokyo", timedelta()),
        ("Etc/GMT-9", timedelta()),
        ("America/New_York", timedelta(hours=1)),
        ("Australia/Lord_Howe", timedelta(minutes=30)),
        ("Asia/Magadan", timedelta(hours=2)),
    ],
)
def test_how_far_clocks_were_set_back_at_once(zone: str, setback: timedelta) -> None:
    assert zones.largest_setback(zone) >= setback
    assert zones.is_fixed(zone) is (setback == timedelta())


@pytest.mark.parametrize("zone", ["EST", "GMT+0", "Mars/Olympus", "", "../etc/passwd"])
def test_a_zone_that_java_or_python_does_not_know(zone: str) -> None:
    with pytest.raises(ValueError, match="a time zone such as Europe/Berlin or UTC, not "):
        zones.check(zone)
