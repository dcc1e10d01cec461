"""What a product's time zone does to its windows. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ONLY_PYTHON = frozenset(
    {"EST", "HST", "MST", "ROC", "GMT+0", "GMT-0", "Factory", "localtime", "posixrules"}
)
"""Names that Python's zoneinfo knows and Java does not."""
_RULES_OF_THEIR_OWN = ("posix/", "right/")
_FIRST, _DAYS = datetime(1970, 1, 1, tzinfo=UTC), 68 * 366


@lru_cache
def zone(name: str) -> ZoneInfo:
    """A zone with the rules of the pinned tzdata, which are those of the pinned Java, whatever the machine has.

    ZoneInfoNotFoundError for one that it does not have.
    """
    if not re.fullmatch(r"[\w+-]+(/[\w+-]+)*", name):
        raise ZoneInfoNotFoundError(name)
    try:
        with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
            return ZoneInfo.from_file(rules, key=name)
    except OSError as e:
        raise ZoneInfoNotFoundError(name) from e


def check(name: str) -> None:
    """ValueError for a zone that Java or Python does not know: the job uses Java's rules, diff and audit Python's."""
    try:
        known = (
            bool(zone(name))
            and name not in ONLY_PYTHON
            and not name.startswith(_RULES_OF_THEIR_OWN)
        )
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        raise ValueError(f"a time zone such as Europe/Berlin or UTC, not {name!r}")


@lru_cache
def largest_setback(name: str) -> timedelta:
    """By how much clocks were ever set back at once; a window on local time lasts so much longer then."""
    offsets = _offsets(name)
    steps = (before - after for before, after in pairwise(offsets))
    return max((timedelta(), *steps))


def is_fixed(name: str) -> bool:
    """Whether its clocks were never set."""
    return len(set(_offsets(name))) == 1


def is_set_by_hours(name: str) -> bool:
    """Whether its clocks were only ever set by full hours."""
    first, *others = _offsets(name)
    return all((offset - first) % timedelta(hours=1) == timedelta() for offset in others)


def is_utc(name: str) -> bool:
    """Whether its clocks have always shown UTC."""
    return set(_offsets(name)) == {timedelta()}


@lru_cache
def _offsets(name: str) -> tuple[timedelta, ...]:
    """The offset from UTC on each day."""
    there = zone(name)
    days = ((_FIRST + timedelta(days=day)).astimezone(there).utcoffset() for day in range(_DAYS))
    return tuple(offset for offset in days if offset is not None)
