"""Commands of the demo: `kappa load`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo import flights
from demo.load import Loaded, load, repeats
from jobs.product import load_product
from replay.errors import ConfigError
from replay.output import Output, OutputOption, err, out, print_json, print_rows
from replay.settings import load_settings


class Fault(StrEnum):
    """What the loader plants on purpose, and can list."""

    late = "late"
    duplicates = "duplicates"
    undecodable = "undecodable"
    after_midnight = "after-midnight"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("load")(load_command)


def load_command(
    dataset: Annotated[str, typer.Argument(help="the data set: flights")],
    scale: Annotated[int, typer.Option(min=1, help="the year so many times, 53 weeks apart")] = 1,
    rate: Annotated[float | None, typer.Option(min=0.1, help="records a second, like live traffic")] = None,
    until: Annotated[datetime | None, typer.Option(
        formats=["%Y-%m-%d"], help="only what arrived before this day (UTC); a later load goes on from there")] = None,
    listed: Annotated[Fault | None, typer.Option("--list", help="print which records are so; write nothing")] = None,
    output: OutputOption = Output.text,
) -> None:
    """Put the flights of 2013 into the log, as they arrived. Run it again: only what is missing is appended."""
    if dataset != "flights":
        raise ConfigError(f"there is no data set {dataset}", expected="flights", found=dataset,
                          next="kappa load flights")
    if listed:
        print_rows(faults(listed, scale), output, title=f"{listed.value} records")
        return
    product = load_product(Path(__file__).parent.parent / "sql" / "flights")
    settings, began = load_settings(), time.monotonic()
    end = int(until.replace(tzinfo=UTC).timestamp() * 1000) if until else None
    if sys.stderr.isatty():
        columns = (TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err) as bar:
            task = bar.add_task("load", total=None)
            loaded = load(settings, product, scale, rate, lambda now: _show(bar, task, now), end)
    else:
        loaded = load(settings, product, scale, rate, Lines(), end)
    seconds = time.monotonic() - began
    if output is Output.json:
        print_json({"written": loaded.written, "already_there": loaded.present, "kinds": loaded.kinds,
                    "seconds": round(seconds, 2)})
        return
    if not loaded.written:
        out.print(f"the log holds all {loaded.present:,} records already")
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(loaded.kinds.items()))
    out.print(f"{loaded.written:,} records appended in {seconds:.1f} s ({kinds})")


def _show(bar: Progress, task: Any, now: Loaded) -> None:
    bar.update(task, completed=now.present + now.written, total=max(now.planned, 1))


class Lines:
    """Progress as plain lines, one every few seconds."""

    def __init__(self, every: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock, self._last = every, clock, clock()

    def __call__(self, now: Loaded) -> None:
        """Tell, unless something was told a moment ago."""
        if self._clock() - self._last >= self._every:
            self._last = self._clock()
            err.print(f"loading: {now.present + now.written:,} of {now.planned:,} records")


def faults(kind: Fault, scale: int) -> list[dict[str, Any]]:
    """Where each planted fault stands in the log."""
    after_midnight = flights.left_after_midnight(flights.load_tables().flights)

    def is_it(record: flights.Planned) -> bool:
        if kind is Fault.after_midnight:
            return record.key is not None and record.kind != "duplicate" and bool(after_midnight[record.row])
        return record.kind == {Fault.duplicates: "duplicate"}.get(kind, kind.value)

    return [{"topic": r.topic, "partition": r.partition, "offset": r.offset, "kind": r.kind, "key": r.key}
            for _, records in repeats(scale) for r in records if is_it(r)]
