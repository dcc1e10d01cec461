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
    scale: Annotated[
        int, typer.Option(min=1, help="repeat the year so many times, 53 weeks apart")
    ] = 1,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="records per second, like live traffic")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="only records that arrived before this day (UTC); a later load continues from there",
        ),
    ] = None,
    listed: Annotated[
        Fault | None, typer.Option("--list", help="list the records with this fault; write nothing")
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Append the flights of 2013 to the log, in order of arrival. Run again, it appends only what is missing."""
    if dataset != "flights":
        raise ConfigError(
            f"there is no data set {dataset}",
            expected="flights",
            found=dataset,
            next="kappa load flights",
        )
    from demo import run_load

    if listed:
        run_load.show_faults(listed, scale, output)
    else:
        run_load.load_flights(scale, rate, until, output)
