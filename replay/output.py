"""What commands print: rich for people, one JSON document (or NDJSON for streams) for programs."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from replay import rows_forms
from replay.errors import KappaError
from replay.values import json_value, words


class Output(StrEnum):
    """How a command prints its data."""

    text = "text"
    json = "json"


class RowsOutput(StrEnum):
    """How a command prints rows."""

    text = "text"
    json = "json"
    csv = "csv"
    table = "table"
    vertical = "vertical"


RowsOption = Annotated[
    RowsOutput,
    typer.Option(
        "--output",
        help="text is a table, or on a terminal that is too narrow for it a line for each value (vertical); json, csv "
        "(RFC 4180, an empty text in quotes and NULL without)",
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", help="text for people, json for programs")
]


def _console(**how: Any) -> Console:
    """What is printed is data: in it, [a] and :smile: mean themselves."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False, **how)


out, err = _console(), _console(stderr=True)
_WIDEST = 100_000


_SURROGATE = re.compile("[\ud800-\udfff]")


def print_json(value: Any) -> None:
    """One compact JSON document on one line of stdout. Decimals, times and what else JSON lacks are text."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN somewhere in it
        text = json.dumps(json_value(value), default=str, ensure_ascii=False)
    # half of a surrogate pair is no text that UTF-8 has, and JSON has an escape for it
    text = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_rows(
    rows: Sequence[dict[str, Any]],
    output: Output | RowsOutput,
    *,
    title: str | None = None,
    columns: Iterable[str] | None = None,
    null: str = "",
) -> None:
    """Rows in one of the forms of `RowsOutput`; a table is as wide as the terminal or, into a pipe, as its rows."""
    names = list(columns or (rows[0].keys() if rows else ()))
    form = RowsOutput(output.value)
    if form is RowsOutput.json:
        print_json([json_value(row) for row in rows])
    elif form is RowsOutput.csv:
        sys.stdout.write("".join(rows_forms.csv_lines(rows, names)))
        sys.stdout.flush()
    elif form is RowsOutput.vertical:
        _print_vertical(rows, names, title, null)
    else:
        table = rows_table(rows, title=title, columns=names, null=null)
        if form is RowsOutput.text and rows and out.is_terminal and _natural(table) > out.width:
            _print_vertical(rows, names, title, null)
        else:
            _print_part(table)


def _natural(table: Table) -> int:
    """How wide it is where nothing in it is wrapped."""
    return out.measure(table, options=out.options.update(width=_WIDEST)).maximum


def _print_vertical(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], title: str | None, null: str
) -> None:
    if title:
        out.print(title, style="italic")
    for line in rows_forms.vertical_lines(rows, names, lambda v: null if v is None else _cell(v)):
        out.print(line)


class DataTable(Table):
    """A table that is as wide as the terminal or, into a pipe, as its rows."""


def rows_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str | None = None,
    columns: Iterable[str] | None = None,
    null: str = "",
) -> DataTable:
    """Rows as people see them; `null` is what is shown where there is no value."""
    names = list(columns or (rows[0].keys() if rows else ()))
    table = DataTable(title=title, title_justify="left", header_style="bold")
    for name in names:
        numeric = bool(rows) and all(
            isinstance(r.get(name), int | float) or r.get(name) is None for r in rows
        )
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(null if row.get(n) is None else _cell(row[n]) for n in names))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return words(value) if isinstance(value, Mapping | list | bytes) else str(value)


def plural(count: int, word: str) -> str:
    """A word for so many: 1 record, 2 records."""
    return word if count == 1 else f"{word}s"


def wrapped(text: str, style: str = "") -> Text:
    """A text that is wrapped also where it is redrawn: else what does not fit on its line would not be seen."""
    return Text(text, style=style, no_wrap=False, overflow="fold")


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Says on stderr what takes long: on a terminal with its seconds, and only until it is done."""
    if not _can_move(err):
        err.print(text, style="dim")
        yield
        return
    with _spinner(text, err):
        err.show_cursor(True)
        yield


@contextmanager
def waiting(text: str, console: Console = err) -> Iterator[None]:
    """The same of what is mostly over at once: on a terminal only, and only when it has taken two seconds.

    `console`: on which the block prints, if it does.
    """
    if not _can_move(console):
        yield
        return
    shown = _spinner(text, console)

    def begin() -> None:
        shown.start()
        console.show_cursor(True)  # whatever ends the command would leave it hidden

    later = threading.Timer(SILENT_SECONDS, begin)
    later.daemon = True
    later.start()
    try:
        yield
    finally:
        later.cancel()
        later.join()
        shown.stop()


def _can_move(console: Console) -> bool:
    """Whether lines can be redrawn. FORCE_COLOR makes of a pipe a terminal; a dumb one prints what is redrawn."""
    return console.is_interactive and console.file.isatty()


def _spinner(text: str, console: Console) -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    found = Progress(*columns, console=console, transient=True)
    found.add_task(text, total=None)
    return found


WATCH_SECONDS = 2.0
SILENT_SECONDS = 2.0
"""For which a terminal may stand still."""


@dataclass(frozen=True)
class View:
    """What a command shows, for each of those who read it."""

    data: Any
    """For programs: one JSON document."""
    text: RenderableType | Sequence[RenderableType]
    """For people: lines and tables, one below the other. What `watch` redraws is at most 80 columns wide."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """For a log of what `watch` sees: a line about each thing, by its name."""

    @property
    def parts(self) -> Sequence[RenderableType]:
        """The lines and tables of `text`."""
        if isinstance(self.text, str) or not isinstance(self.text, Sequence):
            return [self.text]
        return self.text


def show(view: View, output: Output) -> None:
    """Print it once."""
    if output is Output.json:
        print_json(view.data)
        return
    for part in view.parts:
        _print_part(part)


def _print_part(part: RenderableType) -> None:
    """A line is never wrapped, so that it can be searched for and copied; what is laid out fits the terminal."""
    if isinstance(part, str | Text):
        out.print(part)
    elif isinstance(part, DataTable) and not (out.is_terminal or "COLUMNS" in os.environ):
        _console(width=_natural(part)).print(part)
    elif isinstance(part, DataTable):
        out.print(part)
    else:
        out.print(part, soft_wrap=False)


def watch(
    look: Callable[[], View], output: Output, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Print it every two seconds until Ctrl-C: redrawn on a terminal; else what changed, in lines or NDJSON."""
    try:
        if output is Output.text and out.is_terminal:
            with Live(Text(""), console=out, auto_refresh=False) as live:
                while True:
                    live.update(_fitting(_looked(look)), refresh=True)
                    sleep(WATCH_SECONDS)
        write = _changes(output)
        while True:
            write(_looked(look))
            sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _fitting(view: View) -> RenderableType:
    """As much of it as the screen has lines for, and how much that leaves out."""
    whole = Group(*view.parts)
    options = out.options.update(height=None)
    lines = out.render_lines(whole, options, pad=False)
    if len(lines) < out.height:
        return whole
    shown = lines[: max(1, out.height - 2)]
    text = Text.assemble(
        *((s.text, s.style or "") for line in shown for s in (*line, Segment.line()))
    )
    rest = f"… {len(lines) - len(shown)} more lines: a higher window, or kappa status NAME"
    return Group(text, Text(rest, style="dim"))


def _looked(look: Callable[[], View]) -> View:
    """What is down comes back: an error is shown like the rest."""
    try:
        return look()
    except KappaError as e:
        return View(e.as_dict(), Text(str(e), style="red"), {"error": e.message})


def _changes(output: Output) -> Callable[[View], None]:
    last: dict[str, str] = {}

    def write(view: View) -> None:
        if output is Output.json:
            document = json.dumps(view.data, default=str)
            if last.get("") != document:
                last[""] = document
                print_json(view.data)
            return
        at = f"{datetime.now(UTC):%H:%M:%S}"
        for key, line in view.lines.items():
            if last.get(key) != line:
                out.print(f"{at} {line}")
        last.clear()
        last.update(view.lines)

    return write
