"""How far a deploy has come: records read and covered, rate, lag, and how the attempt that readers see fares."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from replay import offsets
from replay.core.lag import lag_seconds, records_behind
from replay.core.model import Attempt, Position
from replay.core.observed import ObservedAttempt
from replay.core.steps import (
    Cancel,
    Clean,
    End,
    Examine,
    Recheck,
    StartCluster,
    Step,
    Submit,
    attempt_name,
)
from replay.offsets import Offsets

RATE_SECONDS = 10.0


LONG: dict[type, str] = {
    StartCluster: "starting a Flink cluster of its own",
    Submit: "preparing tables and branch, then flink run",
    Examine: "checking",
    Recheck: "checking what readers see",
    Cancel: "cancelling its job",
    End: "stopping its Flink cluster",
    Clean: "removing its branch and files",
}
"""Steps that take longer than a moment, in words."""


@dataclass(frozen=True)
class TopicProgress:
    """Records of one topic."""

    topic: str
    read: int
    total: int


@dataclass(frozen=True)
class LiveLag:
    """How far the attempt that readers see is behind the log."""

    attempt: str
    records: int
    seconds: float | None
    """None: longer than is remembered."""
    checkpoint: int
    published_checkpoint: int
    restarts: int


@dataclass(frozen=True)
class Progress:
    """One moment of a deploy."""

    product: str
    attempt: str
    state: str
    job_id: str
    job_status: str
    read: int
    """Records that the job has read."""
    covered: int
    """Records that its newest checkpoint covers."""
    total: int
    lag: int
    """Records of `total` that its newest checkpoint does not cover."""
    lag_seconds: float | None
    """For how long the log had gone on beyond the newest checkpoint; None: longer than is remembered."""
    rate: float
    """Records read per second, over the last seconds."""
    eta_seconds: float | None
    elapsed_seconds: float
    checkpoint: int
    published_checkpoint: int
    restarts: int
    note: str
    """What is wrong or waited for, if anything."""
    topics: tuple[TopicProgress, ...]
    live: LiveLag | None = None
    """How the attempt that readers see fares meanwhile."""
    doing: str = ""
    """What is under way at the moment, if it takes long: a step, and the part of it behind a colon."""


def long_step(step: Step) -> str:
    """A step that takes long, as `doing` names it; empty: it does not."""
    words = LONG.get(type(step), "")
    return f"{attempt_name(step)} {words}" if words else ""


class Meter:
    """Records per second over the last seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begin = now()
        self._points: deque[tuple[float, int]] = deque()

    @property
    def elapsed(self) -> float:
        return self._now() - self._begin

    def rate(self, count: int) -> float:
        """The rate, after one more reading."""
        now = self._now()
        if self._points and count < self._points[-1][1]:
            self._points.clear()  # a restart began again from a checkpoint
        self._points.append((now, count))
        while now - self._points[0][0] > RATE_SECONDS:
            self._points.popleft()
        (t0, c0), (t1, c1) = self._points[0], self._points[-1]
        return (c1 - c0) / (t1 - t0) if t1 > t0 else 0.0


def live_lag(attempt: Attempt, seen: ObservedAttempt | None, published: int) -> LiveLag:
    """The lag at the newest checkpoint of an attempt."""
    newest = attempt.positions[-1] if attempt.positions else Position(0, {})
    ends = seen.ends if seen and seen.ends else newest.ends
    return LiveLag(
        attempt.name,
        records_behind(newest.offsets, ends, {}),
        lag_seconds(attempt.positions) if attempt.positions else None,
        newest.checkpoint,
        published,
        seen.job.restarts if seen and seen.job else 0,
    )


def measure(
    attempt: Attempt,
    read: Offsets,
    ends: Offsets,
    job: Mapping[str, Any],
    meter: Meter,
    published: int,
    note: str,
    live: LiveLag | None = None,
    doing: str = "",
    reference: Offsets | None = None,
) -> Progress:
    """One moment, from what was seen; `reference`: what the release reads of topics that are no lag."""
    covered = attempt.positions[-1].offsets if attempt.positions else {}
    topics = tuple(_of_topic(topic, read, covered, ends[topic]) for topic in sorted(ends))
    done, total = sum(t.read for t in topics), sum(t.total for t in topics)
    rate = meter.rate(done)
    return Progress(
        product=attempt.product,
        attempt=attempt.name,
        state=attempt.state.value,
        job_id=attempt.job_id,
        job_status=str(job.get("status", "")),
        read=done,
        covered=total - offsets.lag(covered, ends),
        total=total,
        lag=records_behind(covered, ends, reference or {}),
        lag_seconds=lag_seconds(attempt.positions) if attempt.positions else None,
        rate=round(rate, 1),
        eta_seconds=round((total - done) / rate, 1) if rate > 0 else None,
        elapsed_seconds=round(meter.elapsed, 1),
        checkpoint=attempt.checkpoint,
        published_checkpoint=published,
        restarts=int(job.get("restarts", 0)),
        note=note,
        topics=topics,
        live=live,
        doing=doing,
    )


def _of_topic(
    topic: str, read: Offsets, covered: Offsets, ends: Mapping[int, int]
) -> TopicProgress:
    """What was read, or is covered by a checkpoint, of each partition up to its end."""
    done = (
        min(end, max(offsets.at(read, topic, p), offsets.at(covered, topic, p)))
        for p, end in ends.items()
    )
    return TopicProgress(topic, sum(done), sum(ends.values()))
