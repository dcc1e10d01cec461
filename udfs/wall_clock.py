"""Instants and wall clocks, in minutes.

An instant is the number of minutes since 1970-01-01 00:00 UTC; what clocks show is the number of minutes since they
showed 1970-01-01 00:00. Plain integers, because PyFlink localises every TIMESTAMP_LTZ that it hands to Python, which
costs more than all that is done here. Far from any clock change, which is on most days, the rest is arithmetic too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY = 24 * 60
_EPOCH = datetime(1970, 1, 1)
_STEP = timedelta(hours=6)
_STEPS = 3 * 4

_zone = lru_cache(maxsize=None)(ZoneInfo)


def next_wall_clock(after: int | None, hhmm: int | None, zone: str | None) -> tuple[int, int] | None:
    """The first instant after `after` at which the clocks of an IANA zone show hhmm, and what they show then.

    None for None.

    hhmm is hours * 100 + minutes, 2400 being the midnight that ends a day; ValueError when it is no time of day.
    A time that a clock change skips is taken as if the change had not happened yet (PEP 495, fold=0), when clocks show
    a later one; a time that occurs twice is its first occurrence after `after`.
    """
    if after is None or hhmm is None or zone is None:
        return None
    hours, minutes = divmod(hhmm, 100)
    if not (0 <= hours <= 24 and 0 <= minutes < 60 and hhmm <= 2400):
        raise ValueError(f"expected a time of day as HHMM, found {hhmm}")
    time_of_day = hours % 24 * 60 + minutes
    offset = _steady_offset(zone, after // DAY)
    if offset is None:
        instant = _next_shown(after, time_of_day, _zone(zone))
        return instant, _shown(instant, _zone(zone))
    instant = after + ((time_of_day - after - offset) % DAY or DAY)
    return instant, instant + offset


@lru_cache(maxsize=100_000)
def _steady_offset(zone: str, day: int) -> int | None:
    """Minutes that a zone is ahead of UTC, if that is the same from the UTC day before `day` to the end of the next.

    None where it changes, or is no whole number of minutes. No zone has changed its clocks twice in six hours.
    """
    tz, start = _zone(zone), _EPOCH.replace(tzinfo=UTC) + timedelta(days=day - 1)
    offsets = {(start + step * _STEP).astimezone(tz).utcoffset() for step in range(_STEPS + 1)}
    if len(offsets) > 1:
        return None
    offset, rest = divmod(offsets.pop() or timedelta(), timedelta(minutes=1))
    return None if rest else offset


def _shown(instant: int, tz: ZoneInfo) -> int:
    shown = (_EPOCH.replace(tzinfo=UTC) + timedelta(minutes=instant)).astimezone(tz)
    return _minutes(shown.replace(tzinfo=None))


def _next_shown(after: int, time_of_day: int, tz: ZoneInfo) -> int:
    midnight = _EPOCH + timedelta(minutes=_shown(after, tz) // DAY * DAY)
    for day in (0, 1, 2):
        wall = midnight + timedelta(days=day, minutes=time_of_day)
        for fold in (0, 1):
            instant = _minutes(wall.replace(tzinfo=tz, fold=fold).astimezone(UTC).replace(tzinfo=None))
            if instant > after:
                return instant
    raise AssertionError("a wall clock shows every time of day within two days")


def _minutes(fields: datetime) -> int:
    return (fields - _EPOCH) // timedelta(minutes=1)
