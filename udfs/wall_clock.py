"""Instants and wall clocks, in minutes.

An instant is the number of minutes since 1970-01-01 00:00 UTC; what clocks show is the number of minutes since they
showed 1970-01-01 00:00. Plain numbers, because PyFlink localises every TIMESTAMP_LTZ that it hands to Python, which
costs more than all that is done here. Far from any clock change, which is on most days, the rest is arithmetic too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

DAY = 24 * 60
_EPOCH = datetime(1970, 1, 1)
_STEPS = tuple(timedelta(hours=hours) for hours in range(0, 25, 6))

_FIRST, _LAST = (
    (datetime(year, month, day) - _EPOCH) // timedelta(minutes=1)
    for year, month, day in ((1, 1, 4), (9999, 12, 28))
)
"""Further instants have no calendar around them."""


def next_wall_clock(
    after: pd.Series[Any], hhmm: pd.Series[Any], zone: pd.Series[Any]
) -> pd.DataFrame:
    """The first instant after `after` at which the clocks of an IANA zone show hhmm, and what they show then.

    Columns `instant` and `shown` of as many rows as there are arguments, NaN where one of these is missing or means
    nothing: no time of day, no zone that is known here, an instant in no year from 1 to 9999. hhmm is hours * 100 +
    minutes, 2400 being the midnight that ends a day.
    A time that a clock change skips is taken as if the change had not happened yet (PEP 495, fold=0), when clocks show
    a later one; a time that occurs twice is its first occurrence after `after`.
    """
    codes, zones = pd.factorize(zone)
    # the last: of code -1, NULL
    known = np.array([*(_zone(name) is not None for name in zones), False])
    time_of_day = hhmm.between(0, 2400) & (hhmm % 100 < 60)
    given = known[codes] & (after.between(_FIRST, _LAST) & time_of_day).to_numpy()
    start, minutes = (
        after[given].to_numpy(np.int64),
        _minutes_of_day(hhmm[given].to_numpy(np.int64)),
    )
    codes = codes[given]
    days, which = np.unique(start // DAY * len(zones) + codes, return_inverse=True)
    steady = [_steady_offset(zones[day % len(zones)], int(day // len(zones))) for day in days]
    offset = np.array([np.nan if minute is None else minute for minute in steady])[which]
    # The wait is 1 to DAY minutes. What is NaN, near a clock change, is looked up instead.
    instant = start + DAY - (start + offset - minutes) % DAY
    shown = instant + offset
    for i in np.flatnonzero(np.isnan(offset)):
        tz = _known(zones[codes[i]])
        instant[i] = _next_shown(int(start[i]), int(minutes[i]), tz)
        shown[i] = _shown(int(instant[i]), tz)
    found = np.full((len(given), 2), np.nan)
    found[given] = np.column_stack((instant, shown))
    return pd.DataFrame(found, columns=["instant", "shown"])


@lru_cache(maxsize=10_000)
def _zone(name: str) -> ZoneInfo | None:
    """None of a name that is no zone, or that no file of zones can have."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _known(name: str) -> ZoneInfo:
    found = _zone(name)
    assert found is not None
    return found


def _minutes_of_day(
    hhmm: np.ndarray[Any, np.dtype[np.int64]],
) -> np.ndarray[Any, np.dtype[np.int64]]:
    return hhmm // 100 % 24 * 60 + hhmm % 100


def _steady_offset(zone: str, day: int) -> int | None:
    """Minutes that a zone is ahead of UTC, if that is the same from the UTC day before `day` to the end of the next.

    None where it changes, or is no whole number of minutes. No zone has changed its clocks twice in six hours.
    """
    offsets = _offsets(zone, day - 1) | _offsets(zone, day) | _offsets(zone, day + 1)
    if len(offsets) > 1:
        return None
    minutes, rest = divmod(next(iter(offsets)), timedelta(minutes=1))
    return None if rest else minutes


@lru_cache(maxsize=100_000)
def _offsets(zone: str, day: int) -> frozenset[timedelta]:
    """What a zone is ahead of UTC at the start of a UTC day, every six hours of it, and at its end."""
    tz, start = _known(zone), _EPOCH.replace(tzinfo=UTC) + timedelta(days=day)
    return frozenset((start + step).astimezone(tz).utcoffset() or timedelta() for step in _STEPS)


def _shown(instant: int, tz: ZoneInfo) -> int:
    shown = (_EPOCH.replace(tzinfo=UTC) + timedelta(minutes=instant)).astimezone(tz)
    return _minutes(shown.replace(tzinfo=None))


def _next_shown(after: int, time_of_day: int, tz: ZoneInfo) -> int:
    midnight = _EPOCH + timedelta(minutes=_shown(after, tz) // DAY * DAY)
    for day in (0, 1, 2):
        wall = midnight + timedelta(days=day, minutes=time_of_day)
        for fold in (0, 1):
            instant = _minutes(
                wall.replace(tzinfo=tz, fold=fold).astimezone(UTC).replace(tzinfo=None)
            )
            if instant > after:
                return instant
    raise AssertionError("a wall clock shows every time of day within two days")


def _minutes(fields: datetime) -> int:
    return (fields - _EPOCH) // timedelta(minutes=1)
