"""`kappa preview`: what an edited product makes of a part of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from jobs.product.folder import Product
from jobs.product.model import REJECTS, Role, seconds
from replay.cli import resolve as run_resolve
from replay.cli.snapshots import parse_time
from replay.errors import ConfigError
from replay.kafka.clock import instant
from replay.offsets import Offsets, at, only, partitions, to_json
from replay.output import Output, View, busy, rows_table, show
from replay.preview import named
from replay.preview import preview as previewing
from replay.preview.preview import Asked, Preview, Table
from replay.releases.folders import read_product
from replay.releases.release import find_folder
from replay.settings import Settings, load_settings
from replay.values import json_value

if TYPE_CHECKING:
    from replay.cli.diff import ChosenSide
    from replay.preview.comparing import Compared

LAST = "1h"
_MARK = "?"
"""Of a row that a replay of the whole log may not have just so."""


def preview(
    product: str,
    table: str | None,
    last: str | None,
    since: str | None,
    until: str | None,
    offsets: Sequence[str],
    limit: int,
    diff: bool,
    output: Output,
) -> None:
    """Run the folder as it is now, and show rows of one output, or some of each; with `diff`, how they differ."""
    asked = asked_for(product, last, since, until, offsets)
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
    published, references = _published(settings, resolved) if diff else (None, {})
    with busy("running the SQL over a part of the log"):
        found = previewing.preview(settings, resolved, asked, references)
    if published is None:
        show(view(found, table, limit), output)
        return
    with busy(f"comparing with {published.side.name}"):
        compared = _compare(settings, resolved, found, published, limit)
    show(diff_view(found, published, compared, table), output)


def _published(settings: Settings, product: Product) -> tuple[ChosenSide, Offsets]:
    """What readers see, and where the references end that it was made with."""
    from replay.cli import diff
    from replay.controller.platform import Platform
    from replay.store.store import Store

    state = Store(settings.store).load(product.name)
    chosen = diff.chosen_side(Platform(settings), state)
    release = state.release(state.attempt(chosen.side.name).release)
    references = [t for t, rule in product.topics.items() if rule.role is Role.reference]
    return chosen, only(release.reference_offsets, references)


def _compare(
    settings: Settings, product: Product, found: Preview, published: ChosenSide, samples: int
) -> Compared:
    from replay.preview import comparing

    return comparing.compare(settings, product, found, published.side, samples)


def asked_for(
    product: str,
    last: str | None,
    since: str | None,
    until: str | None,
    offsets: Sequence[str] = (),
) -> Asked:
    """The part of the log; ConfigError where it is said in two ways, or cannot be read."""
    if offsets:
        return _named(product, offsets, any((last, since, until)))
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


def _named(product: str, offsets: Sequence[str], is_timed: bool) -> Asked:
    if is_timed:
        raise ConfigError(
            "the part is said twice",
            expected="--offsets, or times",
            found="both",
            next=f"kappa preview {product} --offsets {offsets[0]}",
        )
    spans = []
    for text in offsets:
        span = named.parse(text)
        if span is None:
            raise ConfigError(
                "--offsets names no offsets",
                expected=f"{named.FORM}, such as orders:0=100-200, which reads 100 to 199",
                found=text,
                next=f"kappa preview {product} --last {LAST}",
            )
        spans.append(span)
    return Asked(spans=tuple(spans))


def diff_view(found: Preview, published: ChosenSide, compared: Compared, table: str | None) -> View:
    """With the comparison in place of rows."""
    from replay.cli.diff import differences
    from replay.compare.changes import plain

    report = compared.report
    if table is not None:
        report = replace(report, tables=tuple(t for t in report.tables if t.table == table))
    shown = [t for t in found.tables if table in (None, t.name)]
    data = {
        **_data(found, shown, 0),
        "diff": {
            "published_checkpoint": published.checkpoint,
            "from_position": to_json(compared.starts),
            "windows_since": plain(compared.first_begin),
            "newer_references": dict(found.newer),
            **report.as_dict(),
        },
    }
    parts = [*_head(found), *_extent(found, published, compared), *differences(report)]
    return View(data, parts)


def _extent(found: Preview, published: ChosenSide, compared: Compared) -> Iterator[RenderableType]:
    """What the comparison covers."""
    report, starts = compared.report, compared.starts
    records = sum(
        max(0, end - at(starts, topic, p)) for topic, p, end in partitions(report.position)
    )
    since = f" since {compared.first_begin:%Y-%m-%d %H:%M}" if found.bounds.begin > 0 else ""
    ended = (
        f"closed by {report.clock:%Y-%m-%d %H:%M}Z" if report.clock else "none of which is closed"
    )
    yield f"compared with {report.old}, checkpoint {published.checkpoint}, which readers see:"
    yield f"  the rows of {records:,} offsets, and windows{since} {ended};"
    if found.newer:
        newer = ", ".join(f"{topic} ({count:,} offsets)" for topic, count in found.newer.items())
        yield f"  without what came since to {newer}, which a replay reads, too;"
    yield "  what the part does not determine, and what readers do not see yet, is no difference"


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
    parts = _head(found)
    for t in shown:
        if t.rows and (t.name != REJECTS or len(shown) == 1):
            parts.append(_sample(t, limit))
    if any(not all(t.determined) for t in found.tables):
        parts.append(
            f"{_MARK} the part of the log does not determine this row: a replay of the whole log may have another"
        )
    return parts


def _head(found: Preview) -> list[RenderableType]:
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
    then = instant(milliseconds) if milliseconds > 0 else None
    return f"{then:%Y-%m-%d %H:%M:%S}Z" if then else "the log's beginning"
