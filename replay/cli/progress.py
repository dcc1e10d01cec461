"""How far a deploy has come, and showing it: live on a terminal, plain lines in a pipe, NDJSON on request."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from replay import offsets
from replay.core.lag import lag_seconds, records_behind
from replay.core.model import Attempt, Position, State
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
from replay.output import Output, err, out, print_json, wrapped

RATE_SECONDS = 10.0
PLAIN_SECONDS = 5.0
LONGEST_NOTE = 600
"""Characters: what is waited for, and what to do about it, is about 300 for each attempt."""
LONGEST_ETA = 7 * 86400.0
"""What takes longer by the rate of the last seconds stands still."""

WORDS = {
    State.built: "submitting",
    State.replaying: "replaying",
    State.caught_up: "caught up",
    State.audited: "checked",
    State.active: "published",
}


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
    topics = tuple(
        TopicProgress(
            topic,
            sum(
                min(end, max(offsets.at(read, topic, p), offsets.at(covered, topic, p)))
                for p, end in partitions.items()
            ),
            sum(partitions.values()),
        )
        for topic, partitions in sorted(ends.items())
    )
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
        err.print(text)

    def show(self, progress: Progress) -> None:
        document = asdict(progress)
        changed = {
            k: v for k, v in document.items() if k not in ("elapsed_seconds", "rate", "eta_seconds")
        }
        if changed != self._last:
            self._last = changed
            print_json(document)


class PlainDisplay(Display):
    """A line when something happened, and every few seconds."""

    def __init__(
        self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._now = now
        self._last: tuple[Any, ...] = ()
        self._note = ""
        self._doing = ""
        self._shown_at = float("-inf")

    def say(self, text: str) -> None:
        self._write(text)

    def show(self, progress: Progress) -> None:
        key = (
            progress.attempt,
            progress.state,
            progress.checkpoint,
            progress.published_checkpoint,
            progress.note,
        )
        if key != self._last or self._now() - self._shown_at >= PLAIN_SECONDS:
            is_told = progress.note == self._note  # said once, not every few seconds
            self._last, self._shown_at, self._note = key, self._now(), progress.note
            for text in lines(replace(progress, note="") if is_told else progress):
                self._write(text)
            self._doing = ""
        self._show_doing(progress)

    def _show_doing(self, progress: Progress) -> None:
        """A step at once, its parts every few seconds."""
        step, _, part = progress.doing.partition(": ")
        is_told = step == self._doing and (not part or self._now() - self._shown_at < PLAIN_SECONDS)
        if step and not is_told:
            self._write(f"         {progress.doing}")
            self._shown_at = self._now()
        self._doing = step


class LiveDisplay(Display):
    """A panel that is redrawn, for terminals of 80 columns and more. Its seconds go on while nothing else does."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said = ""
        self._at = now()
        self._progress: Progress | None = None
        self.live = Live(
            console=out, refresh_per_second=4, transient=False, get_renderable=self.drawn
        )

    def say(self, text: str) -> None:
        self.live.console.print(text, soft_wrap=False)
        if self._progress is None:
            self._said, self._at = text, self._now()

    def show(self, progress: Progress) -> None:
        self._progress, self._at = progress, self._now()
        self.live.refresh()

    def drawn(self) -> RenderableType:
        """As it is now."""
        since = self._now() - self._at
        if self._progress is None:  # whatever was said last is under way
            return Text(f"{since:.0f} s", style="dim") if self._said else Text("")
        return panel(
            replace(self._progress, elapsed_seconds=self._progress.elapsed_seconds + since)
        )


@contextmanager
def display(output: Output) -> Iterator[Display]:
    """The display that fits where stdout leads to."""
    if output is Output.json:
        yield JsonDisplay()
    elif sys.stdout.isatty():
        drawn = LiveDisplay()
        with drawn.live:
            yield drawn
    else:
        yield PlainDisplay(lambda text: out.print(text))


def lines(p: Progress) -> Iterator[str]:
    """A moment in a line for each attempt, of 80 columns unless the numbers are huge, and one for what is wrong."""
    percent = f"{100 * p.read // p.total} % of {short(p.total)}" if p.total else "nothing to read"
    parts = [f"{p.elapsed_seconds:5.0f} s  {p.attempt} {_word(p)}", percent]
    if p.rate:
        parts.append(f"{short(p.rate)}/s")
    if eta := _eta(p):
        parts.append(eta)
    parts += [f"lag {short(p.lag)}", _chk(p.checkpoint)]
    if p.published_checkpoint:
        parts.append(f"readers {_chk(p.published_checkpoint)}")
    if p.restarts:
        parts.append(f"restarts {p.restarts}")
    yield "  ".join(parts)
    if live := p.live:
        seconds = f" ({live.seconds:.0f} s)" if live.seconds is not None else ""
        restarts = f"  restarts {live.restarts}" if live.restarts else ""
        yield (
            f"         {live.attempt} live  lag {short(live.records)}{seconds}  {_chk(live.checkpoint)}"
            f"  readers {_chk(live.published_checkpoint)}{restarts}"
        )
    if p.note:
        yield f"         {p.note.splitlines()[0][:LONGEST_NOTE]}"


def panel(p: Progress) -> RenderableType:
    """A moment as two small tables of at most 80 columns: what is read, and how the attempts stand."""
    read = Table.grid(padding=(0, 1))
    read.add_column(width=10, no_wrap=True)
    read.add_column(width=22)
    read.add_column(justify="right", min_width=len(f"{p.total:,}") * 2 + 3, no_wrap=True)
    read.add_column(no_wrap=True)
    rate = "  ".join(part for part in (f"{p.rate:,.0f}/s" if p.rate else "", _eta(p)) if part)
    read.add_row(
        Text("total", style="bold"),
        _bar(p.read, p.total),
        Text(f"{p.read:,} / {p.total:,}", style="bold"),
        Text(rate, style="cyan"),
    )
    for t in p.topics:
        read.add_row(t.topic, _bar(t.read, t.total), f"{t.read:,} / {t.total:,}", "")
    stand = Table.grid(padding=(0, 2))
    stand.add_column(min_width=16, no_wrap=True)
    for width in (11, 7, 10, 11, 8):  # columns that stay where they are
        stand.add_column(justify="right", min_width=width, no_wrap=True)
    stand.add_row(
        "",
        *(
            Text(n, style="dim")
            for n in ("lag", "seconds", "checkpoint", "readers see", "restarts")
        ),
    )
    stand.add_row(
        f"{p.attempt} {_word(p)}",
        f"{p.lag:,}",
        _seconds(p.lag_seconds),
        *_numbers(p.checkpoint, p.published_checkpoint, p.restarts),
    )
    if live := p.live:
        stand.add_row(
            f"{live.attempt} live",
            f"{live.records:,}",
            _seconds(live.seconds),
            *_numbers(live.checkpoint, live.published_checkpoint, live.restarts),
        )
    head = Text.assemble(
        (f"{p.product} {p.attempt}", "bold"),
        "  ",
        (_word(p), "cyan"),
        f"  {p.elapsed_seconds:.0f} s",
    )
    parts: list[RenderableType] = [head, read, stand]
    if p.doing:
        parts.append(wrapped(p.doing, "cyan"))
    if p.note:
        parts.append(wrapped(p.note.splitlines()[0][:LONGEST_NOTE], "yellow"))
    return Group(*parts)


def short(count: float) -> str:
    """A number in at most five characters: 950, 12.3k, 371k, 98.8M."""
    for unit in ("", "k", "M"):
        if count < 999.5:
            return f"{count:.0f}{unit}" if not unit or count >= 99.95 else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:,.1f}G"


def _numbers(checkpoint: int, published: int, restarts: int) -> tuple[str, str, str]:
    return str(checkpoint or "-"), str(published or "-"), str(restarts)


def _seconds(lag: float | None) -> str:
    return "-" if lag is None else f"{lag:.0f}"


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done if total else 1, width=22)


def _word(p: Progress) -> str:
    return WORDS.get(State(p.state), p.state)


def _eta(p: Progress) -> str:
    seconds = p.eta_seconds
    if not seconds or p.read >= p.total or seconds > LONGEST_ETA:
        return ""
    return f"{seconds:.0f} s left" if seconds < 600 else f"{seconds / 60:,.0f} min left"


def _chk(checkpoint: int) -> str:
    return f"chk-{checkpoint or 'none'}"
