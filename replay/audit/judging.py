"""What should have become of a record, judged by the record alone and apart from Flink. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.product.model import Topic, seconds

REASONS = {
    "undecodable": "undecodable",
    "late": "late",
    "out of order": "out_of_order",
    "ahead": "ahead",
    "no time": "no_time",
    "no key": "no_key",
}
"""How a reason in `rejects` begins → its class."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Reject:
    """What of a row of the rejects table is judged."""

    reason: str
    """Whole, or as far as the colon."""
    digest: bytes
    """Of its payload, which may be long."""

    @property
    def kind(self) -> str:
        """Its class; `unknown` of a reason that no job gives."""
        return REASONS.get(self.reason.partition(":")[0], "unknown")


def digest(payload: bytes) -> bytes:
    """SHA-256: two payloads of one digest do not occur."""
    return hashlib.sha256(payload).digest()


def rightly_rejected(
    topic: Topic,
    reject: Reject,
    appended: int,
    value: bytes | None,
    record: Mapping[str, Any] | None,
) -> bool:
    """Whether the payload is the record's, and the reason true of it; `record` is None of an undecodable value.

    'out of order' speaks of earlier records too: of this one alone it can only be said that it is not late.
    """
    if (
        value is None
        or reject.digest != digest(value)
        or (record is None) != (reject.kind == "undecodable")
    ):
        return False
    if record is None or reject.kind not in ("late", "out_of_order", "ahead", "no_time"):
        return reject.kind != "unknown"
    known, happened = _happened(topic, appended, record)
    if not known:
        return True
    if happened is None:
        return reject.kind == "no_time"
    late = happened < appended - seconds(topic.allowed_lateness or "0s") * 1000
    return {
        "late": late,
        "out_of_order": not late,
        "no_time": False,
        "ahead": happened > appended + seconds(topic.max_ahead) * 1000,
    }[reject.kind]


def _happened(topic: Topic, appended: int, record: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Whether the record tells when it happened, and when; a computed time only Flink's SQL tells."""
    if topic.time == "log_appended":
        return True, appended
    if topic.time is None or topic.time not in record:
        return False, None
    return True, milliseconds(record[topic.time])


def milliseconds(time: Any) -> int | None:
    """An instant as milliseconds since the epoch, rounded down; None for NULL."""
    if time is None:
        return None
    if isinstance(time, dt.datetime):
        known = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        return (known - _EPOCH) // dt.timedelta(milliseconds=1)
    return int(time)


def waits_until(
    topic: Topic, appended: int, record: Mapping[str, Any], longest_wait: float
) -> tuple[int, int]:
    """When the row of an accepted record is written at the latest, in ms of the watermark; and at most.

    A row waits until the watermark has passed the time of its record, and then for its window. Of a computed time it is
    only known that it is at most `max_ahead` after the record was appended; mostly it is before.
    """
    wait = round(longest_wait * 1000)
    known, happened = _happened(topic, appended, record)
    if known:
        return (happened or 0) + wait, (happened or 0) + wait
    return appended + wait, appended + wait + round(seconds(topic.max_ahead) * 1000)
