"""The functions that SQL calls, without Flink."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs import privacy, wall_clock
from udfs.wall_clock import DAY

NEW_YORK, CHICAGO, PHOENIX, CHONGQING = (
    "America/New_York",
    "America/Chicago",
    "America/Phoenix",
    "Asia/Chongqing",
)
ODD = ("Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca")


def minute(text: str) -> int:
    """Minutes since 1970 of what a calendar and a clock show."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1)) // timedelta(minutes=1)


Arguments = tuple[int | None, int | None, str | None]


def next_wall_clocks(*rows: Arguments) -> list[tuple[int, int] | None]:
    """The function's answer to some rows at once, as PyFlink asks: numbers with a missing one among them are floats."""
    after, hhmm, zone = zip(*rows, strict=True)
    found = wall_clock.next_wall_clock(
        pd.Series(after, dtype=float), pd.Series(hhmm, dtype=float), pd.Series(zone, dtype=object)
    )
    assert list(found.columns) == ["instant", "shown"] and len(found) == len(rows)
    return [
        None if pd.isna(instant) else (int(instant), int(shown))
        for instant, shown in zip(found["instant"], found["shown"], strict=True)
    ]


def next_wall_clock(
    after: int | None, hhmm: int | None, zone: str | None
) -> tuple[int, int] | None:
    (found,) = next_wall_clocks((after, hhmm, zone))
    return found


@pytest.mark.parametrize(
    ("after", "hhmm", "zone", "expected"),
    [
        pytest.param(
            "2013-01-01T10:33", 850, CHICAGO, "2013-01-01T14:50", id="the same day in another zone"
        ),
        pytest.param("2013-01-02T04:30", 15, NEW_YORK, "2013-01-02T05:15", id="past midnight"),
        pytest.param(
            "2013-01-02T04:30", 2400, NEW_YORK, "2013-01-02T05:00", id="2400 ends the day"
        ),
        pytest.param(
            "2013-01-02T05:00",
            2400,
            NEW_YORK,
            "2013-01-03T05:00",
            id="at midnight 2400 is a day away",
        ),
        pytest.param(
            "2013-01-02T05:00",
            0,
            NEW_YORK,
            "2013-01-03T05:00",
            id="strictly after: the same minute is tomorrow",
        ),
        pytest.param("2013-01-02T04:59", 0, NEW_YORK, "2013-01-02T05:00", id="a minute before"),
        pytest.param(
            "2013-01-02T00:00", 700, CHONGQING, "2013-01-02T23:00", id="a zone ahead of UTC"
        ),
        pytest.param(
            "2013-03-10T06:00", 315, NEW_YORK, "2013-03-10T07:15", id="over the spring change"
        ),
        pytest.param(
            "2013-03-10T06:00",
            230,
            NEW_YORK,
            "2013-03-10T07:30",
            id="a skipped time, as if nothing changed",
        ),
        pytest.param(
            "2013-03-10T07:30",
            230,
            NEW_YORK,
            "2013-03-11T06:30",
            id="past a skipped time: the next day",
        ),
        pytest.param(
            "2013-11-03T04:00",
            130,
            NEW_YORK,
            "2013-11-03T05:30",
            id="a repeated time: its first occurrence",
        ),
        pytest.param(
            "2013-11-03T05:30",
            130,
            NEW_YORK,
            "2013-11-03T06:30",
            id="a repeated time: then its second",
        ),
        pytest.param(
            "2013-11-03T06:30",
            130,
            NEW_YORK,
            "2013-11-04T06:30",
            id="a repeated time: the next day, after both",
        ),
        pytest.param(
            "2013-11-03T05:59", 200, NEW_YORK, "2013-11-03T07:00", id="over the autumn change"
        ),
        pytest.param(
            "2013-03-10T06:00", 1, PHOENIX, "2013-03-10T07:01", id="a zone without changes"
        ),
    ],
)
def test_next_wall_clock(after: str, hhmm: int, zone: str, expected: str) -> None:
    found = next_wall_clock(minute(after), hhmm, zone)
    assert found is not None and found[0] == minute(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        (None, 100, NEW_YORK),
        (minute("2013-01-01"), None, NEW_YORK),
        (minute("2013-01-01"), 100, None),
    ],
    ids=["no instant", "no time", "no zone"],
)
def test_next_wall_clock_of_nothing_is_nothing(
    arguments: tuple[int | None, int | None, str | None],
) -> None:
    assert next_wall_clock(*arguments) is None


@pytest.mark.parametrize(
    ("after", "hhmm", "zone"),
    [
        *(
            pytest.param(0, hhmm, NEW_YORK, id=f"no time of day: {hhmm}")
            for hhmm in (-1, 60, 1299, 2401, 2500)
        ),
        *(
            pytest.param(0, 100, zone, id=f"no zone: {zone}")
            for zone in ("", "Nowhere", "../etc/passwd", "\0", "America")
        ),
        pytest.param(-(2**31), 100, NEW_YORK, id="before the year 1"),
        pytest.param(2**62, 100, NEW_YORK, id="after the year 9999"),
    ],
)
def test_next_wall_clock_of_what_means_nothing_is_nothing(after: int, hhmm: int, zone: str) -> None:
    assert next_wall_clock(after, hhmm, zone) is None


@pytest.mark.parametrize("after", [wall_clock._FIRST, wall_clock._LAST])
@pytest.mark.parametrize("zone", [NEW_YORK, CHONGQING, "Pacific/Kiritimati"])
def test_next_wall_clock_reaches_to_the_ends_of_the_calendar(after: int, zone: str) -> None:
    assert next_wall_clock(after, 2400, zone) is not None


def test_every_minute_of_the_days_around_a_change_is_found_again() -> None:
    """What a clock shows some time later is where next_wall_clock ends, unless the clock shows it sooner."""
    for day in ("2013-03-10", "2013-11-03", "2013-07-01"):
        asked = [
            (after, hhmm, NEW_YORK)
            for after in range(minute(day), minute(day) + DAY, 7)
            for hhmm in (0, 59, 130, 230, 330, 1200, 2359)
        ]
        for (after, hhmm, _), found in zip(asked, next_wall_clocks(*asked), strict=True):
            assert found is not None
            instant, shown = found
            assert instant > after and shown == wall_clock._shown(instant, ZoneInfo(NEW_YORK))
            skipped = hhmm == 230 and shown == minute("2013-03-10T03:30")
            assert skipped or shown % DAY == hhmm // 100 * 60 + hhmm % 100


def test_rows_of_many_zones_and_days_do_not_mix() -> None:
    zones = (NEW_YORK, None, CHICAGO, PHOENIX, CHONGQING, *ODD)
    start = minute("2013-03-09")
    rows: list[Arguments] = [
        (
            start + 61 * i if i % 7 else None,
            i % 24 * 100 + i % 60 if i % 5 else None,
            zones[i % len(zones)],
        )
        for i in range(400)
    ]
    assert next_wall_clocks(*rows) == [next_wall_clock(*row) for row in rows]


@given(
    st.sampled_from((NEW_YORK, CHICAGO, PHOENIX, CHONGQING, *ODD)),
    st.integers(minute("1960-01-01"), minute("2037-12-31")),
    st.integers(0, DAY),
)
def test_arithmetic_gives_what_the_zone_gives(zone: str, after: int, ahead: int) -> None:
    """Days far from a change take a short cut; some of these zones have odd changes."""
    hhmm = ahead // 60 * 100 + ahead % 60
    instant = wall_clock._next_shown(after, ahead % DAY, ZoneInfo(zone))
    assert next_wall_clock(after, hhmm, zone) == (
        instant,
        wall_clock._shown(instant, ZoneInfo(zone)),
    )


def test_the_short_cut_is_taken_on_nearly_every_day() -> None:
    first = minute("2013-01-01") // DAY
    steady = [wall_clock._steady_offset(NEW_YORK, day) for day in range(first, first + 365)]
    assert steady.count(None) == 2 * 3
    assert {*steady} == {None, -5 * 60, -4 * 60}


def test_a_zone_off_by_seconds_takes_the_long_way() -> None:
    """Before 1884 New York was 4 h 56 min 2 s behind."""
    assert wall_clock._steady_offset(NEW_YORK, minute("1880-01-01") // DAY) is None
    assert wall_clock._shown(minute("1880-01-01T12:00"), ZoneInfo(NEW_YORK)) == minute(
        "1880-01-01T07:03"
    )


@pytest.mark.parametrize(
    ("after", "hhmm", "zone", "expected"),
    [
        ("2013-07-01T11:59", 800, NEW_YORK, "2013-07-01T08:00"),
        ("2013-01-01T11:59", 700, NEW_YORK, "2013-01-01T07:00"),
        ("2013-11-03T05:29", 130, NEW_YORK, "2013-11-03T01:30"),
        ("2013-11-03T06:29", 130, NEW_YORK, "2013-11-03T01:30"),
        ("2013-03-10T06:00", 230, NEW_YORK, "2013-03-10T03:30"),
        ("2013-12-31T19:59", 400, CHONGQING, "2014-01-01T04:00"),
    ],
)
def test_what_the_clocks_show_then(after: str, hhmm: int, zone: str, expected: str) -> None:
    found = next_wall_clock(minute(after), hhmm, zone)
    assert found is not None and found[1] == minute(expected)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KAPPA_SECRETS", str(tmp_path))
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    privacy._key.cache_clear()
    privacy._pseudonym.cache_clear()


def pseudonym(value: str | None) -> str | None:
    found: str | None
    (found,) = privacy.pseudonym(pd.Series([value], dtype=object))
    return found


def test_a_pseudonym_is_hmac_sha256_cut_to_128_bits(secrets: Path) -> None:
    key = bytes(range(32))
    (secrets / "pseudonym.key").write_text(key.hex() + "\n")
    assert pseudonym("N14228") == hmac.new(key, b"N14228", hashlib.sha256).hexdigest()[:32]
    assert pseudonym("N14228") == pseudonym("N14228") != pseudonym("N14229")
    assert pseudonym(None) is None


def test_another_key_gives_another_pseudonym(secrets: Path) -> None:
    (secrets / "pseudonym.key").write_text("00" * 32)
    first = pseudonym("N14228")
    _forget()
    (secrets / "pseudonym.key").write_text("01" * 32)
    assert pseudonym("N14228") != first


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "FileNotFoundError"),
        ("not hexadecimal", "ValueError"),
        ("00" * 15, "15"),
        ("", "0"),
    ],
    ids=["missing", "not hexadecimal", "short", "empty"],
)
def test_a_key_that_cannot_be_used_is_refused_and_never_shown(
    secrets: Path, content: str | None, found: str
) -> None:
    if content is not None:
        (secrets / "pseudonym.key").write_text(content)
    with pytest.raises(
        RuntimeError, match=rf"pseudonym: expected .*pseudonym\.key, found {found}$"
    ) as error:
        pseudonym("N14228")
    assert not content or content not in str(error.value)
    assert pseudonym(None) is None


def test_secrets_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAPPA_SECRETS", raising=False)
    _forget()
    with pytest.raises(RuntimeError, match="expected KAPPA_SECRETS to name the folder"):
        pseudonym("N14228")
