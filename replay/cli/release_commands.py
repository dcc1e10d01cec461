"""The commands for releases: deployed, shown to readers, taken back, ended, and what became of each."""

from __future__ import annotations

from typing import Annotated

import typer

from replay import completion
from replay.cli.arguments import DryRun, FromGit, Name, ParallelismOption, Source, To
from replay.cli.from_git import given
from replay.cli.hints import naming
from replay.output import Output, OutputOption, RowsOption, RowsOutput


def deploy(
    name: Name,
    source: Source = None,
    from_git: FromGit = None,
    wait: Annotated[bool, typer.Option(help="follow it to the end, or return at once")] = True,
    auto_switch: Annotated[
        bool | None,
        typer.Option(
            help="switch readers over once its checks pass, or wait for kappa switch; by default as in product.yaml",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="abort it if it has not caught up after so many seconds; by default as in product.yaml"
        ),
    ] = None,
    parallelism: ParallelismOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="replay from offset zero even if this release is active")
    ] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Build a release and replay the log from offset zero beside the live one, until it has caught up.

    Then its checks run, and readers are switched over to it, or kappa switch does so. Ctrl-C detaches and the job keeps
    running; the same command follows it again. A first release is shown to readers as soon as its checks pass.
    """
    with naming(name, source), given(name, source, from_git) as at:
        if dry_run:
            from replay.cli import plan as run_plan

            run_plan.plan(name, at, output)
            return
        from replay.cli import deploy as run_deploy
        from replay.controller import deploy as deploying

        request = deploying.Request(
            name, at.folder, parallelism, again, auto_switch, timeout, at.commit
        )
        run_deploy.deploy(request, wait, output)


def switch(
    name: Name, to: To = None, dry_run: DryRun = False, output: OutputOption = Output.text
) -> None:
    """Show readers another release, in all tables at once; the release that they saw stays on standby.

    By default this is the candidate, once it has caught up, or else the newest on standby. Its checks run on exactly
    the snapshots that readers then see, which cover at least what they saw before.
    """
    from replay.cli import control as run_control

    run_control.switch(name, to, dry_run, output)


def rollback(
    name: Name, to: To = None, dry_run: DryRun = False, output: OutputOption = Output.text
) -> None:
    """Show readers the release on standby again, at once, at the newest checkpoint that it has."""
    from replay.cli import control as run_control

    run_control.rollback(name, to, dry_run, output)


def abort(name: Name, dry_run: DryRun = False, output: OutputOption = Output.text) -> None:
    """End the candidate, or the shadow of a verification: its job, branch and files are removed.

    Readers and the live job are not affected.
    """
    from replay.cli import control as run_control

    run_control.abort(name, dry_run, output)


def retire(
    name: Name, release: To = None, dry_run: DryRun = False, output: OutputOption = Output.text
) -> None:
    """End a release on standby for good: its job, its branch and the files that nothing else needs are removed."""
    from replay.cli import control as run_control

    run_control.retire(name, release, dry_run, output)


def remove(
    name: Name,
    yes: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="the product's name once more: nothing is asked"),
    ] = None,
    keep_tables: Annotated[
        bool, typer.Option("--keep-tables", help="keep its tables as readers see them")
    ] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Remove a product for good: jobs, tables, branches, checkpoints, consumer groups, releases and history.

    Its topics and its folder of SQL stay. After an interruption the same command continues. Tables that are kept keep
    their name: rename or remove them before another deploy of the product.
    """
    from replay.cli import remove as run_remove

    run_remove.remove(name, yes, keep_tables, dry_run, output)


def attempts(
    name: Annotated[
        str | None,
        typer.Argument(
            help="name of a product; by default all", autocompletion=completion.products
        ),
    ] = None,
    output: RowsOption = RowsOutput.text,
) -> None:
    """List every attempt of a product: state, job, newest checkpoint, what readers see."""
    from replay.cli import past

    past.attempts(name, output)


def history(name: Name, output: OutputOption = Output.text) -> None:
    """Show the history of a product's attempts: states, resumptions, switches, rollbacks."""
    from replay.cli import past

    past.history(name, output)
