"""How far a deploy has come, and showing it: live on a terminal, plain lines in a pipe, NDJSON on request."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from replay import offsets
from replay.decide import lag_seconds
from replay.model import Attempt, Position, State
from replay.observe import Seen
from replay.offsets import Offsets
from replay.output import Output, err, out, print_json

RATE_SECONDS = 10.0
PLAIN_SECONDS = 5.0

WORDS = {
    State.built: "submitting",
    State.replaying: "replaying",
    State.caught_up: "caught up",
    State.audited: "checked",
    State.active: "published",
}


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
    """Records between the newest checkpoint and the end of the log."""
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


def live_lag(attempt: Attempt, seen: Seen | None) -> LiveLag:
    """The lag at the newest checkpoint of an attempt."""
    newest = attempt.positions[-1] if attempt.positions else Position(0, {})
    ends = seen.ends if seen and seen.ends else newest.ends
    return LiveLag(attempt.name, offsets.lag(newest.offsets, ends),
                   lag_seconds(attempt.positions) if attempt.positions else None, newest.checkpoint,
                   seen.job.restarts if seen and seen.job else 0)


def measure(attempt: Attempt, read: Offsets, ends: Offsets, job: Mapping[str, Any], meter: Meter, published: int,
            note: str, live: LiveLag | None = None) -> Progress:
    """One moment, from what was seen."""
    covered = attempt.positions[-1].offsets if attempt.positions else {}
    topics = tuple(
        TopicProgress(topic, sum(min(end, max(offsets.at(read, topic, p), offsets.at(covered, topic, p)))
                                 for p, end in partitions.items()), sum(partitions.values()))
        for topic, partitions in sorted(ends.items()))
    done, total = sum(t.read for t in topics), sum(t.total for t in topics)
    rate = meter.rate(done)
    lag = offsets.lag(covered, ends)
    return Progress(
        product=attempt.product, attempt=attempt.name, state=attempt.state.value, job_id=attempt.job_id,
        job_status=str(job.get("status", "")), read=done, covered=total - lag, total=total, lag=lag,
        rate=round(rate, 1), eta_seconds=round((total - done) / rate, 1) if rate > 0 else None,
        elapsed_seconds=round(meter.elapsed, 1),
        checkpoint=attempt.checkpoint, published_checkpoint=published, restarts=int(job.get("restarts", 0)), note=note,
        topics=topics, live=live)


class Display:
    """Shows progress in one of three ways."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def show(self, progress: Progress) -> None:
        """The newest moment."""


class JsonDisplay(Display):
    """NDJSON: one document per change, at most one a second."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def say(self, text: str) -> None:
        err.print(text, markup=False)

    def show(self, progress: Progress) -> None:
        document = asdict(progress)
        changed = {k: v for k, v in document.items() if k not in ("elapsed_seconds", "rate", "eta_seconds")}
        if changed != self._last:
            self._last = changed
            print_json(document)


class PlainDisplay(Display):
    """A line when something happened, and every few seconds."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._now = now
        self._last: tuple[Any, ...] = ()
        self._shown_at = float("-inf")

    def say(self, text: str) -> None:
        self._write(text)

    def show(self, progress: Progress) -> None:
        key = (progress.attempt, progress.state, progress.checkpoint, progress.published_checkpoint, progress.note)
        if key != self._last or self._now() - self._shown_at >= PLAIN_SECONDS:
            self._last, self._shown_at = key, self._now()
            self._write(line(progress))


class LiveDisplay(Display):
    """A panel that is redrawn, for terminals of 80 columns and more."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, text: str) -> None:
        self._live.console.print(text, markup=False, soft_wrap=False)

    def show(self, progress: Progress) -> None:
        self._live.update(panel(progress))


@contextmanager
def display(output: Output) -> Iterator[Display]:
    """The display that fits where stdout leads to."""
    if output is Output.json:
        yield JsonDisplay()
    elif sys.stdout.isatty():
        with Live(Text(""), console=out, refresh_per_second=4, transient=False) as live:
            yield LiveDisplay(live)
    else:
        yield PlainDisplay(lambda text: out.print(text, markup=False))


def line(p: Progress) -> str:
    """A moment in one line."""
    percent = 100 * p.read / p.total if p.total else 0.0
    parts = [f"{p.elapsed_seconds:5.0f} s  {p.attempt} {WORDS.get(State(p.state), p.state)}",
             f"{p.read:,}/{p.total:,} records ({percent:.0f} %)", f"{p.rate:,.0f}/s", f"lag {p.lag:,}",
             f"checkpoint {p.checkpoint or '-'}"]
    if p.published_checkpoint:
        parts.append(f"published {p.published_checkpoint}")
    if p.restarts:
        parts.append(f"restarts {p.restarts}")
    if p.live:
        parts.append(f"live {p.live.attempt} lag {p.live.records:,}")
    if p.note:
        parts.append(p.note.splitlines()[0][:160])
    return "  ".join(parts)


def panel(p: Progress) -> RenderableType:
    """A moment as a small table of at most 80 columns."""
    eta = f"{p.eta_seconds:.0f} s left" if p.eta_seconds and p.read < p.total else ""
    head = Table.grid(padding=(0, 2))
    head.add_row(Text(f"{p.product} {p.attempt}", style="bold"), Text(WORDS.get(State(p.state), p.state), style="cyan"),
                 f"{p.elapsed_seconds:.0f} s", f"{p.rate:,.0f} records/s", eta)
    topics = Table.grid(padding=(0, 1))
    topics.add_column(width=12, no_wrap=True)
    topics.add_column(width=30)
    topics.add_column(justify="right")
    for t in p.topics:
        topics.add_row(t.topic, ProgressBar(total=max(1, t.total), completed=t.read if t.total else 1, width=30),
                       f"{t.read:,} / {t.total:,}")
    facts = [f"lag {p.lag:,} records", f"checkpoint {p.checkpoint or '-'}",
             f"published {p.published_checkpoint or '-'}", f"restarts {p.restarts}"]
    rows: list[RenderableType] = [head, topics, Text("   ".join(facts), style="dim")]
    if p.live:
        rows.append(Text(_live_line(p.live), style="dim"))
    if p.note:
        rows.append(Text(p.note.splitlines()[0][:300], style="yellow"))
    return Group(*rows)


def _live_line(live: LiveLag) -> str:
    seconds = f" ({live.seconds:.0f} s)" if live.seconds is not None else ""
    return (f"readers see {live.attempt}: lag {live.records:,} records{seconds}   checkpoint {live.checkpoint or '-'}"
            f"   restarts {live.restarts}")
