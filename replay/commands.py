"""`kappa check | deploy | controller | prepare | attempts | query | audit`: products.

What they do is in replay/running.py, imported when a command runs: pyiceberg, DuckDB and SQLAlchemy take a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from replay.output import Output, OutputOption

Name = Annotated[str, typer.Argument(help="name of a product, such as flights")]
Source = Annotated[Path | None, typer.Option("--from", help="the product's folder; by default sql/NAME")]
ParallelismOption = Annotated[int | None, typer.Option(min=1, help="by default as product.yaml says")]


def register(app: typer.Typer) -> None:
    """Add the commands for products."""
    for command in (check, deploy, query, audit, attempts, prepare, controller):
        app.command()(command)


def status_rows() -> list[dict[str, Any]]:
    """What `kappa status` shows of the products; nothing before the first `kappa up`."""
    from replay import running

    return running.status_rows()


def check(folder: Annotated[Path, typer.Argument(help="a product's folder, such as sql/flights")],
          output: OutputOption = Output.text) -> None:
    """Would this product give the same rows in every replay? Flink's own planner says; exit code 1 if not."""
    from replay import running

    running.check(folder, output)


def deploy(
    name: Name,
    source: Source = None,
    timeout: Annotated[float, typer.Option(help="seconds to wait; the job goes on after that")] = 3600,
    parallelism: ParallelismOption = None,
    again: Annotated[bool, typer.Option("--again", help="replay from zero even if this release is active")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Build a release, replay the log from offset zero, and show readers the result once it has caught up.

    Ends when all that was in the log when it began is published. The job goes on, and so does publishing. Ctrl-C leaves
    the job alone; the same command again follows it.
    """
    from replay import deploy as deploying
    from replay import running

    running.deploy(deploying.Request(name, source, parallelism, again), timeout, output)


def query(name: Name, sql: Annotated[str, typer.Argument(help="a SELECT over the product's tables")],
          output: OutputOption = Output.text) -> None:
    """Ask the published tables; all of them are of one checkpoint."""
    from replay import running

    running.query(name, sql, output)


def audit(name: Name, output: OutputOption = Output.text) -> None:
    """Account for every offset of the log that the published tables cover; exit code 1 if one is missing."""
    from replay import running

    running.audit(name, output)


def attempts(name: Annotated[str | None, typer.Argument(help="name of a product; by default all")] = None,
             output: OutputOption = Output.text) -> None:
    """Every attempt of a product: state, job, newest checkpoint, what readers see."""
    from replay import running

    running.attempts(name, output)


def prepare(
    name: Name,
    branch: Annotated[str, typer.Option(help="a new branch for the job to write")],
    source: Source = None,
    parallelism: ParallelismOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Make tables, a branch and bindings, and print the `flink run` that writes it: for runs by hand.

    The controller knows nothing of such a run and never publishes it.
    """
    from replay import running

    running.prepare(name, branch, source, parallelism, output)


def controller() -> None:
    """Keep publishing what the active attempts write, and bring lost jobs back. Runs until it is told to end."""
    from replay import running

    running.controller()
