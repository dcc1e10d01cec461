"""What `kappa diff` does, apart from its arguments."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import RenderableType

from jobs.product.model import Kind
from replay import offsets
from replay.cli.snapshots import SnapshotReader
from replay.compare import diff as differing
from replay.compare.changes import Change, DiffReport, Row, TableDiff, plain
from replay.compare.diff import Side
from replay.compare.matching import BEFORE, BEYOND, OPEN
from replay.controller.intents import resolve
from replay.controller.platform import Platform
from replay.core.model import Attempt, ProductState
from replay.errors import RefusedError, RetryableError, not_deployed
from replay.output import Output, View, busy, rows_table, show
from replay.settings import load_settings
from replay.store.store import Store


@dataclass(frozen=True)
class ChosenSide:
    """A side, and the checkpoint that its snapshots are of."""

    side: Side
    checkpoint: int


def diff(
    name: str, old: str | None, new: str | None, samples: int, output: Output, exit_code: bool
) -> None:
    """Print what one attempt has and another has not; with `exit_code`, exit code 1 if that is anything."""
    settings = load_settings()
    one, other = choose(Platform(settings), Store(settings.store).load(name), old, new)
    with busy(f"comparing {one.side.name} with {other.side.name}"):
        report = differing.diff(settings, one.side, other.side, samples=samples)
    data = {
        "old_checkpoint": one.checkpoint,
        "new_checkpoint": other.checkpoint,
        **report.as_dict(),
    }
    sides = (
        f"{name}: {one.side.name}, checkpoint {one.checkpoint}, against"
        f" {other.side.name}, checkpoint {other.checkpoint}"
    )
    show(View(data, [sides, *in_text(report)]), output)
    if exit_code and not report.equal:
        raise typer.Exit(1)


def choose(
    platform: SnapshotReader, state: ProductState, old: str | None, new: str | None
) -> tuple[ChosenSide, ChosenSide]:
    """Both sides: by default what readers see, and the candidate, or else the newest other attempt whose job runs.

    An attempt that readers see is taken as they see it, another at its newest checkpoint whose position is known.
    """
    one = resolve(state, old) if old else _of_readers(state)
    others = [a for a in state.live if a.name != one.name]
    other = resolve(state, new) if new else state.candidate or (others[-1] if others else None)
    if other is None or other.name == one.name:
        raise RefusedError(
            f"there is nothing to compare {state.product} {one.name} with",
            expected="a candidate, or --new with another attempt",
            found="none" if not new else one.name,
            next=f"kappa attempts {state.product}",
        )
    return _chosen(platform, state, one), _chosen(platform, state, other)


def _of_readers(state: ProductState) -> Attempt:
    if state.published is None:
        raise not_deployed(state.product)
    return resolve(state, state.published.attempt_name)


def chosen_side(
    platform: SnapshotReader, state: ProductState, name: str | None = None
) -> ChosenSide:
    """That of an attempt or a release, by default of what readers see; ConfigError where they see nothing yet."""
    return _chosen(platform, state, resolve(state, name) if name else _of_readers(state))


def _chosen(platform: SnapshotReader, state: ProductState, attempt: Attempt) -> ChosenSide:
    product, shown = platform.product(attempt, state), state.published
    if shown and shown.attempt_name == attempt.name:
        return ChosenSide(Side(attempt.name, product, shown.after, shown.covered), shown.checkpoint)
    for checkpoint in platform.publishable(product, attempt):
        if position := attempt.position_of(checkpoint.id):
            return ChosenSide(
                Side(attempt.name, product, checkpoint.snapshots, position.offsets), checkpoint.id
            )
    if attempt.ended:
        raise RefusedError(
            f"nothing is left of {attempt.name} to compare",
            expected="an attempt whose branch is there",
            found=attempt.state.value,
            next=f"kappa attempts {state.product}",
        )
    raise RetryableError(
        f"{attempt.name} has no checkpoint to compare yet",
        expected="a checkpoint in every table, and its position",
        found=f"checkpoint {attempt.checkpoint}" if attempt.checkpoint else "none",
        next="repeat the command in a minute",
    )


def in_text(report: DiffReport) -> Iterator[RenderableType]:
    """A table of counts, then what differs in each table."""
    ended = (
        f"windows closed by {report.clock:%Y-%m-%d %H:%M} UTC"
        if report.clock
        else "no window is closed yet"
    )
    yield f"the first {offsets.total(report.position):,} records of the log; {ended}"
    yield from differences(report)


def differences(report: DiffReport) -> Iterator[RenderableType]:
    """The same, without a line that says what was compared."""
    yield rows_table(
        [
            {
                "table": t.table,
                "compared": t.rows,
                f"only in {report.old}": t.only_old,
                f"only in {report.new}": t.only_new,
                "changed": t.changed,
            }
            for t in report.tables
            if not t.not_compared
        ],
    )
    for table in report.tables:
        remarks = list(_remarks(table, report))
        if remarks or not table.equal:
            yield "\n  ".join(["\n" + _heading(table, report), *remarks])
        yield from _samples(table, report)
    if report.equal and not report.not_compared:
        yield "no difference"


def _heading(table: TableDiff, report: DiffReport) -> str:
    counts = [
        f"{_rows(n)} {what}"
        for n, what in (
            (table.only_old, f"only in {report.old}"),
            (table.only_new, f"only in {report.new}"),
            (table.changed, "changed"),
        )
        if n
    ]
    return f"{table.table}: {', '.join(counts) or ('not compared' if table.not_compared else 'no row differs')}"


def _remarks(table: TableDiff, report: DiffReport) -> Iterator[str]:
    """Sentences about one table that differs, or was not compared as a whole."""
    if table.not_compared:
        yield table.not_compared
        return
    for column, rows in table.columns.items():
        yield f"{column} differs in {_rows(rows)}"
    for columns, name in (
        (table.columns_only_old, report.old),
        (table.columns_only_new, report.new),
    ):
        if columns:
            yield f"columns only in {name}, not compared: {', '.join(columns)}"
    if table.measure and not table.equal:
        old, new = table.sums[table.measure]
        yield (
            f"{table.measure} in all: {_number(old)} in {report.old}, {_number(new)} in {report.new}"
            f" ({(new or 0) - (old or 0):+,})"
        )
    for reason, (old, new) in table.left_out.items():
        # where one side reaches further than the other is no remark; their number is in the JSON
        if reason not in (BEFORE, BEYOND, OPEN):
            yield f"not compared, {reason}: {_rows(old)} of {report.old}, {_rows(new)} of {report.new}"


def _samples(table: TableDiff, report: DiffReport) -> Iterator[RenderableType]:
    key = ", ".join(table.key)
    if table.largest:
        yield rows_table(
            [
                {
                    **_key(c),
                    report.old: _value(c.old, table.measure),
                    report.new: _value(c.new, table.measure),
                }
                for c in table.largest
            ],
            title=f"where {table.measure} changed most",
        )
    elif samples := table.samples.get("changed"):
        yield rows_table(
            [
                {
                    key: " ".join(_key(c).values()),
                    "column": column,
                    report.old: _value(c.old, column),
                    report.new: _value(c.new, column),
                }
                for c in samples
                for column in c.old or ()
            ],
            title="changed, for example",
        )
    for sort, name in (("only_old", report.old), ("only_new", report.new)):
        if (samples := table.samples.get(sort)) and not table.largest:
            why = ("reason",) if table.kind == Kind.rejects else ()
            yield rows_table(
                [
                    {**_key(c), **{column: _value(c.old or c.new, column) for column in why}}
                    for c in samples
                ],
                title=f"only in {name}, for example",
            )


def _key(change: Change) -> dict[str, str]:
    """As text: an offset or a flight's number is no quantity."""
    return {c: str(_shown(v)) for c, v in change.key.items()}


def _value(row: Row | None, column: str) -> Any:
    return "no row" if row is None else _shown(row.get(column))


def _shown(value: Any) -> Any:
    match value:
        case None:
            return "NULL"
        case dt.datetime():
            return value.isoformat(sep=" ")
    return plain(value)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _number(value: Any) -> str:
    return "nothing" if value is None else f"{value:,}"
