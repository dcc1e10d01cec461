"""What should have become of a record, by the record alone."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from jobs.product.model import Topic
from replay.audit.judging import (
    REASONS,
    Reject,
    digest,
    milliseconds,
    rightly_rejected,
    waits_until,
)

HOUR = 3_600_000
APPENDED = 100 * HOUR
TOPIC = Topic(time="at", allowed_lateness="1h", max_ahead="1d")


def at(ms: int | None) -> dict[str, Any]:
    return {"at": None if ms is None else dt.datetime.fromtimestamp(ms / 1000, dt.UTC)}


def judged(
    reason: str,
    record: dict[str, Any] | None,
    *,
    topic: Topic = TOPIC,
    payload: bytes = b"x",
    value: bytes | None = b"x",
) -> bool:
    return rightly_rejected(topic, Reject(reason, digest(payload)), APPENDED, value, record)


LATE, ON_TIME, AHEAD = at(APPENDED - HOUR - 1), at(APPENDED - HOUR), at(APPENDED + 24 * HOUR + 1)


@pytest.mark.parametrize(
    ("reason", "record", "right"),
    [
        ("undecodable: wrong magic byte", None, True),
        ("undecodable: wrong magic byte", ON_TIME, False),
        ("late: at … is more than 1h before it was appended", LATE, True),
        ("late: …", ON_TIME, False),
        ("late: …", AHEAD, False),
        ("late: …", at(None), False),
        ("late: …", None, False),
        ("out of order: …", ON_TIME, True),
        ("out of order: …", AHEAD, True),
        ("out of order: …", LATE, False),
        ("out of order: …", at(None), False),
        ("out of order: …", None, False),
        ("ahead: …", AHEAD, True),
        ("ahead: …", at(APPENDED + 24 * HOUR), False),
        ("ahead: …", LATE, False),
        ("ahead: …", at(None), False),
        ("ahead: …", None, False),
        ("no time: at is NULL", at(None), True),
        ("no time: at is NULL", ON_TIME, False),
        ("no time: …", None, False),
        ("no key: shop is NULL", ON_TIME, True),
        ("no key: shop is NULL", None, False),
        ("because", ON_TIME, False),
        ("", ON_TIME, False),
        ("lately: …", LATE, False),
        ("Late: …", LATE, False),
    ],
)
def test_reasons(reason: str, record: dict[str, Any] | None, right: bool) -> None:
    assert judged(reason, record) is right


@pytest.mark.parametrize("reason", ["late: …", "no key: …", "undecodable: …"])
def test_the_payload_is_the_records(reason: str) -> None:
    record = None if reason.startswith("undecodable") else LATE
    assert judged(reason, record)
    assert not judged(reason, record, payload=b"y")
    assert not judged(reason, record, value=None)


@pytest.mark.parametrize("reason", ["late: …", "out of order: …", "ahead: …", "no time: …"])
@pytest.mark.parametrize("time", ["happened", None])
def test_of_a_computed_time_only_flinks_sql_knows(reason: str, time: str | None) -> None:
    topic = TOPIC.model_copy(update={"time": time})
    assert judged(reason, LATE, topic=topic)
    assert not judged(reason, None, topic=topic)
    assert not judged(reason, LATE, topic=topic, payload=b"y")


def test_every_reason_has_a_class() -> None:
    assert {Reject(f"{begin}: …", b"").kind for begin in REASONS} == {
        "undecodable",
        "late",
        "out_of_order",
        "ahead",
        "no_time",
        "no_key",
    }
    assert Reject("ahead", b"").kind == "ahead"
    assert Reject("because: late", b"").kind == "unknown"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, None),
        (7, 7),
        (dt.datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=dt.UTC), 1000),
        (dt.datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=dt.UTC), -1),
        (dt.datetime(1970, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1))), HOUR),
        (dt.datetime(1970, 1, 1, 1), HOUR),
    ],
    ids=["NULL", "a number", "rounded down", "before 1970", "another zone", "without a zone"],
)
def test_milliseconds(time: Any, expected: int | None) -> None:
    assert milliseconds(time) == expected


def test_a_row_waits_for_the_watermark_to_pass_its_time_and_its_window() -> None:
    assert waits_until(TOPIC, APPENDED, at(5 * HOUR), 0) == (5 * HOUR, 5 * HOUR)
    assert waits_until(TOPIC, APPENDED, at(5 * HOUR), 60) == (5 * HOUR + 60_000,) * 2
    assert waits_until(TOPIC, APPENDED, at(APPENDED + HOUR), 0) == (APPENDED + HOUR,) * 2


@pytest.mark.parametrize("time", ["happened", None])
def test_a_computed_time_is_at_most_so_far_ahead(time: str | None) -> None:
    topic = TOPIC.model_copy(update={"time": time})
    assert waits_until(topic, APPENDED, at(5 * HOUR), 60) == (
        APPENDED + 60_000,
        APPENDED + 60_000 + 24 * HOUR,
    )
