"""`kappa shell`: a prompt for SQL over a product's tables. Each statement is a query of its own."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from replay.cli.query import When, meant_by, with_timeout
from replay.errors import KappaError, not_deployed
from replay.output import Output, err, out, print_rows
from replay.query import query as querying
from replay.settings import Settings, load_settings

PROMPT, FURTHER = "{}> ", "{}… "
HELP = "one SELECT, ended by ';'; SHOW TABLES; DESCRIBE a table; .quit or Ctrl-D ends"
ENDS = frozenset({".quit", ".exit", "quit", "exit", "\\q"})
KEPT_LINES = 2_000
"""Of the history, which is `shell_history` in the home."""
WORDS = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "LIMIT",
    "JOIN",
    "LEFT",
    "USING",
    "ON",
    "AS",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "COUNT",
    "SUM",
    "MIN",
    "MAX",
    "AVG",
    "DISTINCT",
    "HAVING",
    "WITH",
    "DESCRIBE",
    "SUMMARIZE",
]

Ask = Callable[[str], querying.Result]


def shell(name: str, timeout: float | None, when: When) -> None:
    """Prompt on a terminal; else run what stands in standard input, up to the first error."""
    settings = with_timeout(load_settings(), timeout)
    meant = None if when.is_now else meant_by(settings, name, when)
    known = columns(settings, name)

    def ask(sql: str) -> querying.Result:
        return querying.query(settings, name, sql, snapshots=meant.of if meant else None)

    if not sys.stdin.isatty():
        for sql in statements(sys.stdin.read()):
            answer(ask, sql)
        return
    seen = str(meant) if meant else "what readers see at the time of each query"
    out.print(f"{name}: {seen}\n{HELP}", style="dim")
    with line_editing(settings.home / "shell_history", [*WORDS, *known]):
        interact(name, input, ask)


def columns(settings: Settings, name: str) -> list[str]:
    """Names of the product's tables and of their columns."""
    from replay.iceberg import lake

    catalog = lake.open_catalog(settings)
    found = lake.pointers(catalog, name)
    if not found:
        raise not_deployed(name)
    fields = (lake.read_metadata(catalog, at).schema().column_names for at in found.values())
    return sorted({*found, *(column for names in fields for column in names)})


def interact(name: str, read: Callable[[str], str], ask: Ask) -> None:
    """Read lines and answer each statement that is complete, until the end. An error is shown, and ends nothing; Ctrl-C
    drops what was typed, or ends the query under way."""
    typed = ""
    while True:
        try:
            line = read((FURTHER if typed else PROMPT).format(name))
            typed = f"{typed}\n{line}" if typed else line
            if typed.strip() in ENDS:
                return
            if typed.strip() in (".help", "help", "?"):
                out.print(HELP, style="dim")
                typed = ""
            elif sqlite3.complete_statement(typed):
                whole, typed = typed, ""
                for sql in statements(whole):
                    answer(ask, sql, timed=True)
        except KappaError as e:
            err.print(str(e), style="red")
        except KeyboardInterrupt:
            typed = ""
            out.print("")
        except EOFError:
            out.print("")
            return
        typed = typed if typed.strip() else ""


def answer(ask: Ask, sql: str, *, timed: bool = False) -> None:
    """Ask, and print the rows."""
    began = time.monotonic()
    result = ask(sql)
    print_rows(result.rows, Output.text, columns=result.columns, null="NULL")
    if timed:
        rows = "row" if len(result.rows) == 1 else "rows"
        out.print(f"{len(result.rows):,} {rows} in {time.monotonic() - began:.1f} s", style="dim")


def statements(text: str) -> Iterator[str]:
    """The statements of a text, each without its semicolon."""
    typed = ""
    for piece in re.split(r"(;)", text):
        typed += piece
        if piece == ";" and sqlite3.complete_statement(typed):
            yield from filter(None, [typed.strip().rstrip(";").strip()])
            typed = ""
    if typed.strip():
        yield typed.strip()


@contextmanager
def line_editing(history: Path, words: Iterable[str]) -> Iterator[None]:
    """Arrow keys, a history that is kept, and completion by Tab of these words; nothing where Python lacks readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    known = sorted(words)

    def complete(start: str, number: int) -> str | None:
        found = [word for word in known if word.lower().startswith(start.lower())]
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n,;()=<>+-*/.")
    readline.parse_and_bind("tab: complete")
    if history.exists():
        readline.read_history_file(history)
    try:
        yield
    finally:
        readline.set_history_length(KEPT_LINES)
        with suppress(OSError):  # a full disk costs the history, and nothing else
            os.close(os.open(history, os.O_WRONLY | os.O_CREAT, 0o600))
            readline.write_history_file(history)
