"""Rows as CSV, and as a line for each value. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from replay.values import json_value

_QUOTED = re.compile(r'[",\r\n]|^\s|\s$')


def csv_lines(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """A line of names, then a line for each row: RFC 4180, NULL and an empty text as in PostgreSQL's COPY."""
    yield ",".join(map(_csv_cell, names)) + "\r\n"
    for row in rows:
        yield ",".join(_csv_cell(row.get(name)) for name in names) + "\r\n"


def _csv_cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case bytes():
            return base64.b64encode(value).decode() or '""'
        case Mapping() | list() | tuple():
            text = json.dumps(json_value(value), default=str, ensure_ascii=False)
        case _:
            text = str(value)
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTED.search(text) else text


def vertical_lines(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], shown: Callable[[Any], str]
) -> Iterator[str]:
    """A line for each value behind its name, with the number of the row above."""
    width = max(map(len, names), default=0)
    for number, row in enumerate(rows, 1):
        yield f"─ {number:,} ".ljust(width + 20, "─")
        for name in names:
            first, *further = shown(row.get(name)).split("\n")
            yield f"{name:<{width}}  {first}".rstrip()
            yield from (f"{'':<{width}}  {line}" for line in further)
