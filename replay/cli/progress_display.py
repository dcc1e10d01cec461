"""Showing how far a deploy has come: live on a terminal, plain lines in a pipe, NDJSON on request."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from replay.cli.progress import LiveLag, Progress
from replay.core.model import State
from replay.output import Output, err, out, print_json, wrapped

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
    yield "  ".join(_parts(p))
    if live := p.live:
        seconds = f" ({live.seconds:.0f} s)" if live.seconds is not None else ""
        restarts = f"  restarts {live.restarts}" if live.restarts else ""
        yield (
            f"         {live.attempt} live  lag {short(live.records)}{seconds}  {_chk(live.checkpoint)}"
            f"  readers {_chk(live.published_checkpoint)}{restarts}"
        )
    if p.note:
        yield f"         {_first_line(p.note)}"


def _parts(p: Progress) -> Iterator[str]:
    """What a line says of the attempt that is deployed."""
    yield f"{p.elapsed_seconds:5.0f} s  {p.attempt} {_word(p)}"
    yield f"{100 * p.read // p.total} % of {short(p.total)}" if p.total else "nothing to read"
    if p.rate:
        yield f"{short(p.rate)}/s"
    if eta := _eta(p):
        yield eta
    yield f"lag {short(p.lag)}"
    yield _chk(p.checkpoint)
    if p.published_checkpoint:
        yield f"readers {_chk(p.published_checkpoint)}"
    if p.restarts:
        yield f"restarts {p.restarts}"


def panel(p: Progress) -> RenderableType:
    """A moment as two small tables of at most 80 columns: what is read, and how the attempts stand."""
    head = Text.assemble(
        (f"{p.product} {p.attempt}", "bold"),
        "  ",
        (_word(p), "cyan"),
        f"  {p.elapsed_seconds:.0f} s",
    )
    parts: list[RenderableType] = [head, _reading(p), _standing(p)]
    if p.doing:
        parts.append(wrapped(p.doing, "cyan"))
    if p.note:
        parts.append(wrapped(_first_line(p.note), "yellow"))
    return Group(*parts)


def _reading(p: Progress) -> Table:
    """What is read: of all topics, and of each."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=10, no_wrap=True)
    table.add_column(width=22)
    table.add_column(justify="right", min_width=len(f"{p.total:,}") * 2 + 3, no_wrap=True)
    table.add_column(no_wrap=True)
    rate = "  ".join(part for part in (f"{p.rate:,.0f}/s" if p.rate else "", _eta(p)) if part)
    table.add_row(
        Text("total", style="bold"),
        _bar(p.read, p.total),
        Text(f"{p.read:,} / {p.total:,}", style="bold"),
        Text(rate, style="cyan"),
    )
    for t in p.topics:
        table.add_row(t.topic, _bar(t.read, t.total), f"{t.read:,} / {t.total:,}", "")
    return table


def _standing(p: Progress) -> Table:
    """How the attempt stands, and the one that readers see."""
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16, no_wrap=True)
    for width in (11, 7, 10, 11, 8):  # columns that stay where they are
        table.add_column(justify="right", min_width=width, no_wrap=True)
    names = ("lag", "seconds", "checkpoint", "readers see", "restarts")
    table.add_row("", *(Text(name, style="dim") for name in names))
    table.add_row(f"{p.attempt} {_word(p)}", *_numbers(p, p.lag, p.lag_seconds))
    if live := p.live:
        table.add_row(f"{live.attempt} live", *_numbers(live, live.records, live.seconds))
    return table


def _first_line(note: str) -> str:
    return note.splitlines()[0][:LONGEST_NOTE]


def short(count: float) -> str:
    """A number in at most five characters: 950, 12.3k, 371k, 98.8M."""
    for unit in ("", "k", "M"):
        if count < 999.5:
            return f"{count:.0f}{unit}" if not unit or count >= 99.95 else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:,.1f}G"


def _numbers(of: Progress | LiveLag, lag: int, seconds: float | None) -> tuple[str, ...]:
    return (
        f"{lag:,}",
        "-" if seconds is None else f"{seconds:.0f}",
        str(of.checkpoint or "-"),
        str(of.published_checkpoint or "-"),
        str(of.restarts),
    )


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
