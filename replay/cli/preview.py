"""`kappa preview`: what an edited product makes of a part of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import RenderableType

from jobs.product.model import REJECTS, seconds
from replay.cli import resolve as run_resolve
from replay.cli.snapshots import parse_time
from replay.errors import ConfigError
from replay.output import Output, View, busy, rows_table, show
from replay.preview import preview as previewing
from replay.preview.preview import Asked, Preview, Table, instant
from replay.releases.folders import read_product
from replay.releases.release import find_folder
from replay.settings import load_settings
from replay.values import json_value

LAST = "1h"
_MARK = "?"
"""Of a row that a replay of the whole log may not have just so."""


def preview(
    product: str,
    table: str | None,
    last: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    output: Output,
) -> None:
    """Run the folder as it is now, and show rows of one output, or some of each."""
    asked = asked_for(product, last, since, until)
    settings = load_settings()
    folder = Path(product) if Path(product).is_dir() else find_folder(product, None)
    resolved = run_resolve.resolve(settings, read_product(folder))
    if table is not None and table not in resolved.outputs:
        raise ConfigError(
            f"{resolved.name} has no output '{table}'",
            expected=", ".join(resolved.outputs),
            found=table,
            next=f"kappa preview {product} {next(iter(resolved.outputs))}",
        )
    with busy("running the SQL over a part of the log"):
        found = previewing.preview(settings, resolved, asked)
    show(view(found, table, limit), output)


def asked_for(product: str, last: str | None, since: str | None, until: str | None) -> Asked:
    """The part of the log; ConfigError where it is said in two ways, or cannot be read."""
    if last and since:
        raise ConfigError(
            "where the part begins is said twice",
            expected="--last, or --since",
            found="both",
            next=f"kappa preview {product} --last {last}",
        )
    begin = parse_time(since) if since else None
    end = parse_time(until) if until else None
    if begin and end and begin >= end:
        raise ConfigError(
            "the part ends before it begins",
            expected="--since before --until",
            found=f"{since} and {until}",
            next=f"kappa preview {product} --last {LAST}",
        )
    try:
        return Asked(None if begin else seconds(last or LAST), begin, end)
    except ValueError as e:
        raise ConfigError(
            "--last is no duration",
            expected="such as 30s, 10min, 6h or 2d",
            found=str(last),
            next=f"kappa preview {product} --last {LAST}",
        ) from e


def view(found: Preview, table: str | None, limit: int) -> View:
    """With a row per output, and rows of one output or of each."""
    shown = [t for t in found.tables if table in (None, t.name)]
    return View(_data(found, shown, limit), list(_parts(found, shown, limit)))


def _data(found: Preview, shown: list[Table], limit: int) -> dict[str, Any]:
    return {
        "product": found.product,
        "records": dict(found.records),
        "since": instant(found.bounds.begin),
        "closed_until": instant(found.bounds.end),
        "rejects": dict(found.rejected()),
        "tables": [
            {
                "table": t.name,
                "kind": t.kind,
                "rows": len(t.rows),
                "determined": None if t.unmarked else sum(t.determined),
                "not_determined": t.unmarked,
                "sample": [
                    {"determined": sure, **json_value(row)}
                    for row, sure in list(zip(t.rows, t.determined, strict=True))[:limit]
                ],
            }
            for t in shown
        ],
    }


def _parts(found: Preview, shown: list[Table], limit: int) -> list[RenderableType]:
    summary = [
        {
            "table": t.name,
            "kind": t.kind,
            "rows": len(t.rows),
            "determined": t.unmarked or f"{sum(t.determined):,}",
        }
        for t in found.tables
    ]
    counted = ", ".join(f"{count:,} of {topic}" for topic, count in found.records.items())
    parts: list[RenderableType] = [
        f"{counted} read; events appended since {_time(found.bounds.begin)}, "
        f"windows closed until {_time(found.bounds.end)}",
        rows_table(summary, title=f"{found.product}: a preview; readers see nothing of it"),
    ]
    if rejected := found.rejected():
        parts.append("rejects: " + ", ".join(f"{n:,} {why}" for why, n in rejected.items()))
    for t in shown:
        if t.rows and (t.name != REJECTS or len(shown) == 1):
            parts.append(_sample(t, limit))
    if any(not all(t.determined) for t in found.tables):
        parts.append(
            f"{_MARK} the part of the log does not determine this row: a replay of the whole log may have another"
        )
    return parts


def _sample(t: Table, limit: int) -> RenderableType:
    rows = list(zip(t.rows, t.determined, strict=True))
    chosen = sorted(rows, key=lambda pair: not pair[1])[:limit]
    return rows_table(
        [{"": "" if sure else _MARK, **row} for row, sure in chosen],
        title=f"{t.name}: {len(chosen):,} of {len(rows):,} rows",
        null="NULL",
    )


def _time(milliseconds: float) -> str:
    at = instant(milliseconds)
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else "the log's beginning"
