"""The commands for those who run the controller: its process, settings and permissions, and runs by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from replay.cli.arguments import Name, ParallelismOption, Source
from replay.cli.hints import naming
from replay.output import Output, OutputOption


def prepare(
    name: Name,
    branch: Annotated[str, typer.Option(help="a new branch for the job to write")],
    source: Source = None,
    parallelism: ParallelismOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Create tables, a branch and bindings, and print the `flink run` command that writes it: for runs by hand.

    The controller does not know of such a run and never publishes it.
    """
    from replay.cli import running

    with naming(name, source):
        running.prepare(name, branch, source, parallelism, output)


def controller() -> None:
    """Publish what the active attempts write, and resume lost jobs, until it is stopped."""
    from replay.cli import controller as run_controller

    run_controller.controller()


def config(output: OutputOption = Output.text) -> None:
    """Show the settings of this home as they are read, including defaults. Of secrets only the place is shown."""
    from replay.cli import config as run_config

    run_config.config(output)


def acls(
    name: Name,
    source: Source = None,
    producer: Annotated[
        str, typer.Option(help="the principal of those who write to the topics")
    ] = "User:kappa-producer",
    job: Annotated[
        str, typer.Option(help="the principal of kafka_java in config.yaml")
    ] = "User:kappa-job",
    controller: Annotated[
        str, typer.Option(help="the principal of kafka in config.yaml")
    ] = "User:kappa-controller",
    output: OutputOption = Output.text,
) -> None:
    """Print the permissions at the broker that a product needs, as kafka-acls commands for three principals.

    Creating topics is not among them: that is an administrator's task.
    """
    from replay.cli import acls as run_acls
    from replay.kafka.acls import Role

    run_acls.acls(
        name, source, {Role.producer: producer, Role.job: job, Role.controller: controller}, output
    )
