"""Instants and wall clocks.

An instant is a datetime whose fields are UTC. PyFlink hands a TIMESTAMP_LTZ over as such fields, with the session's
zone as a misleading tzinfo, and takes the fields of the result as UTC (pyflink/fn_execution/coder_impl_slow.py,
LocalZonedTimestampCoderImpl): so tzinfo is ignored here, on the way in, and absent on the way out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_zone = lru_cache(maxsize=None)(ZoneInfo)


def local_time(instant: datetime | None, zone: str | None) -> datetime | None:
    """What the clocks of an IANA zone show at an instant, as a datetime without zone; None for None."""
    if instant is None or zone is None:
        return None
    return instant.replace(tzinfo=UTC).astimezone(_zone(zone)).replace(tzinfo=None)


def next_wall_clock(after: datetime | None, hhmm: int | None, zone: str | None) -> datetime | None:
    """The first instant after `after` at which the clocks of `zone` show hhmm; None for None.

    hhmm is hours * 100 + minutes, 2400 being the midnight that ends a day; ValueError when it is no time of day.
    A time that a clock change skips is taken as if the change had not happened yet (PEP 495, fold=0); one that occurs
    twice is its first occurrence after `after`.
    """
    if after is None or hhmm is None or zone is None:
        return None
    hours, minutes = divmod(hhmm, 100)
    if not (0 <= hours <= 24 and 0 <= minutes < 60 and hhmm <= 2400):
        raise ValueError(f"expected a time of day as HHMM, found {hhmm}")
    tz, start = _zone(zone), after.replace(tzinfo=UTC)
    midnight = start.astimezone(tz).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for day in (0, 1, 2):
        wall = midnight + timedelta(days=day, hours=hours % 24, minutes=minutes)
        for fold in (0, 1):
            instant = wall.replace(tzinfo=tz, fold=fold).astimezone(UTC)
            if instant > start:
                return instant.replace(tzinfo=None)
    raise AssertionError("a wall clock shows every time of day within two days")
