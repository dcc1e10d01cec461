"""What commands print: rich for people, one JSON document (or NDJSON for streams) for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


class Output(StrEnum):
    """How a command prints its data."""

    text = "text"
    json = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="text for people, json for programs")]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One compact JSON document on one line of stdout."""
    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_rows(rows: Sequence[dict[str, Any]], output: Output, *, title: str | None = None,
               columns: Iterable[str] | None = None) -> None:
    """A table for people, a JSON array for programs."""
    if output is Output.json:
        print_json(list(rows))
        return
    names = list(columns or (rows[0].keys() if rows else ()))
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in names:
        numeric = bool(rows) and all(isinstance(r.get(name), int | float) or r.get(name) is None for r in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*("" if row.get(n) is None else _cell(row[n]) for n in names))
    out.print(table)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
