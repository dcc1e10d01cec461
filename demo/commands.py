"""Commands of the demo: `kappa load`. What it does is in demo/run_load.py: pandas takes a second to import."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from replay.errors import ConfigError
from replay.output import Output, OutputOption


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
    from demo import run_load

    if listed:
        run_load.show_faults(listed, scale, output)
    else:
        run_load.load_flights(scale, rate, until, output)
