"""Times of JSON: texts in the profile of RFC 3339, and numbers since 1970. ValueError says what is wrong."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from jobs.product.avro_schema import Schema
from replay.avro.json_numbers import shown, units

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_CLOCK = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
_TIME = re.compile(_CLOCK)
_LOCAL = re.compile(_DATE.pattern + r"[Tt ]" + _CLOCK)
_ZONED = re.compile(_LOCAL.pattern + r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))")
_DIGITS = {"millis": 3, "micros": 6, "nanos": 9}
_UNIT = {"epoch-seconds": 0, "epoch-millis": 3, "epoch-micros": 6, "epoch-nanos": 9}
_DAY = 86_400
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_EPOCH, _LOCAL_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(1970, 1, 1)
_LONGEST = 22
"""Digits of a time in nanoseconds, and more."""


def reader(schema: Schema) -> Callable[[str], Any]:
    """What reads texts or numbers as a logical type, as the schema says that JSON writes it."""
    digits = _DIGITS.get(schema.logical.rpartition("-")[2], 0)
    match schema.json:
        case "date":
            return _date
        case "time-local":
            return _time
        case "date-time":
            return lambda text: _zoned(text, digits)
        case "date-time-local":
            return lambda text: _local(text, digits)
        case "epoch-days":
            return _days
        case form:
            return lambda text: _epoch(text, _UNIT[form], digits)


def _day(year: str, month: str, day: str) -> int | None:
    """Days since 1970; None of a day that no calendar has."""
    try:
        return dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def _clock(hour: str, minute: str, second: str, fraction: str | None) -> tuple[int, int] | None:
    """Seconds and nanoseconds since midnight; None of a time that no clock shows."""
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        return None
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    return seconds, int((fraction or "").ljust(9, "0"))


def _date(text: str) -> dt.date:
    match = _DATE.fullmatch(text)
    day = _day(*match.groups()) if match else None
    if day is None:
        raise ValueError(f"{shown(text)} is no date")
    return dt.date.fromordinal(day + _EPOCH_DAY)


def _time(text: str) -> dt.time:
    match = _TIME.fullmatch(text)
    found = _clock(*match.groups()) if match else None
    if found is None:
        raise ValueError(f"{shown(text)} is no time-local")
    _check_digits(text, found[1], 3)
    return (_LOCAL_EPOCH + dt.timedelta(seconds=found[0], microseconds=found[1] // 1000)).time()


def _local(text: str, digits: int) -> dt.datetime:
    match = _LOCAL.fullmatch(text)
    found = _moment(match) if match else None
    if found is None:
        raise ValueError(f"{shown(text)} is no date-time-local")
    _check_digits(text, found[1], digits)
    return _LOCAL_EPOCH + dt.timedelta(seconds=found[0], microseconds=found[1] // 1000)


def _zoned(text: str, digits: int) -> dt.datetime:
    match = _ZONED.fullmatch(text)
    found = _moment(match) if match else None
    sign, hours, minutes = match.groups(default="")[7:] if match else ("", "", "")
    if found is None or int(hours or 0) > 23 or int(minutes or 0) > 59:
        raise ValueError(f"{shown(text)} is no date-time")
    offset = int(hours or 0) * 3600 + int(minutes or 0) * 60
    seconds = found[0] + (offset if sign == "-" else -offset)
    _check_years(text, seconds)
    _check_digits(text, found[1], digits)
    return _EPOCH + dt.timedelta(seconds=seconds, microseconds=found[1] // 1000)


def _moment(match: re.Match[str]) -> tuple[int, int] | None:
    """Seconds since 1970, and nanoseconds."""
    year, month, day, hour, minute, second, fraction = match.groups()[:7]
    date, clock = _day(year, month, day), _clock(hour, minute, second, fraction)
    return None if date is None or clock is None else (date * _DAY + clock[0], clock[1])


def _days(text: str) -> dt.date:
    found = _units(text, 0, "is no integer")
    if not _FIRST_DAY <= found <= _LAST_DAY:
        raise ValueError(f"{shown(text)} is not within the years 0001 to 9999")
    return dt.date.fromordinal(found + _EPOCH_DAY)


def _epoch(text: str, unit: int, digits: int) -> dt.datetime:
    found = _units(text, digits - unit, f"is finer than {_name(digits)}")
    _check_years(text, found // 10**digits)
    return _EPOCH + dt.timedelta(microseconds=found * 10**6 // 10**digits)


def _units(text: str, shift: int, otherwise: str) -> int:
    try:
        found = units(text, shift, _LONGEST)
    except ValueError:
        raise ValueError(f"{shown(text)} is not within the years 0001 to 9999") from None
    if found is None:
        raise ValueError(f"{shown(text)} {otherwise}")
    return found


def _check_years(text: str, seconds: int) -> None:
    if not _FIRST_DAY * _DAY <= seconds < (_LAST_DAY + 1) * _DAY:
        raise ValueError(f"{shown(text)} is not within the years 0001 to 9999")


def _check_digits(text: str, nanoseconds: int, digits: int) -> None:
    if nanoseconds % 10 ** (9 - digits):
        raise ValueError(f"{shown(text)} is finer than {_name(digits)}")


def _name(digits: int) -> str:
    return {3: "milliseconds", 6: "microseconds", 9: "nanoseconds"}[digits]
