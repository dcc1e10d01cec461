"""What `kappa load` does, apart from its arguments."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo import flights
from demo.commands import Fault
from demo.load import Loaded, load, repeats
from jobs.product.folder import load_product
from replay.errors import ConfigError
from replay.output import Output, View, err, print_rows, show
from replay.settings import load_settings

PRODUCT = Path(__file__).parent.parent / "sql" / "flights"
"""The demo's product, which knows the topics: in a checkout, not in a wheel."""


def load_flights(scale: int, rate: float | None, until: datetime | None, output: Output) -> None:
    """Append what is missing, with progress."""
    if not PRODUCT.is_dir():
        raise ConfigError(
            "the demo's product is not part of an installed kappa",
            expected=f"a checkout, with {PRODUCT}",
            found="none",
            next="make demo, in a checkout",
        )
    product = load_product(PRODUCT)
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
    data = {
        "written": loaded.written,
        "already_there": loaded.present,
        "kinds": loaded.kinds,
        "seconds": round(seconds, 2),
    }
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(loaded.kinds.items()))
    did = f"{loaded.written:,} records appended in {seconds:.1f} s ({kinds})"
    if not loaded.written:
        did = f"the log holds all {loaded.present:,} records already"
    show(View(data, did), output)


def show_faults(kind: Fault, scale: int, output: Output) -> None:
    """Print where the planted faults stand."""
    print_rows(faults(kind, scale), output, title=f"{kind.value} records")


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
            return (
                record.key is not None
                and record.kind != "duplicate"
                and bool(after_midnight[record.row])
            )
        return record.kind == {Fault.duplicates: "duplicate"}.get(kind, kind.value)

    return [
        {
            "topic": r.topic,
            "partition": r.partition,
            "offset": r.offset,
            "kind": r.kind,
            "key": r.key,
        }
        for _, records in repeats(scale)
        for r in records
        if is_it(r)
    ]
