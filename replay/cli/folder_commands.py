"""The commands that work on a product's folder: written, checked, tested, previewed, reviewed before it is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.product.formats import Format
from replay import completion
from replay.cli.arguments import DryRun, FromGit, Name, Source
from replay.cli.from_git import given
from replay.cli.hints import naming
from replay.output import Output, OutputOption


def new(
    name: Annotated[str, typer.Argument(help="name of the product, such as orders")],
    topic: Annotated[
        list[str] | None,
        typer.Option(
            help="a topic that it reads: first the topic of the events, then those that are looked up as references; "
            "by default the topic of the product's name"
        ),
    ] = None,
    from_schema: Annotated[
        list[Path] | None,
        typer.Option(
            help="file of an Avro schema, or of a JSON Schema with --format json, in the order of the topics, instead "
            "of the registry's newest"
        ),
    ] = None,
    written: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="how the topics' values are written, by default Avro with a registry; the columns of JSON are "
            "inferred from records",
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="only a table of the topic's records, with their keys and headers; decoded if their format is known",
        ),
    ] = False,
    time: Annotated[
        str | None,
        typer.Option(help="the field that says when the event happened; by default it is guessed"),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="the folder to create; by default sql/NAME")
    ] = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Write a product's folder from the schemas of its topics, with tables of rows and of hourly counts.

    What was guessed is listed. The folder passes kappa check as it is. An existing folder is not changed.
    """
    from replay.cli import new as run_new

    run_new.new(
        name, topic or (), from_schema or (), time, to, dry_run, output, written=written, raw=raw
    )


def pull(
    name: Name, source: Source = None, dry_run: DryRun = False, output: OutputOption = Output.text
) -> None:
    """Update the schemas of the folder to the registry's newest versions, and show what changed.

    A schema that would not read every record in the log is refused. A schema that was edited in the folder is not
    changed.
    """
    from replay.cli import pull as run_pull

    with naming(name, source):
        run_pull.pull(name, source, dry_run, output)


def check(
    folder: Annotated[
        Path,
        typer.Argument(
            help="a product's folder, such as sql/flights", autocompletion=completion.folders
        ),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="check again whenever a file of the folder changes")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Check with Flink's planner that a product gives the same rows in every replay; exit code 1 if not."""
    from replay.cli import check as run_check

    if watch:
        run_check.watch(folder, output)
    else:
        run_check.check(folder, output)


def run_tests(
    product: Annotated[
        str, typer.Argument(help="a product's folder, or the name of one below sql/")
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="tests, patterns of their names, or files; by default all"
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the results as JUnit's XML, too")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="write the rows of the run into tests without expect")
    ] = False,
    record_all: Annotated[
        bool, typer.Option("--record-all", help="write them into tests that fail, too")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Test a product's SQL without a broker: given these events, expect these rows. Exit code 1 if one fails."""
    from replay.cli import testing as run_testing
    from replay.releases.release import find_folder

    folder = Path(product) if Path(product).is_dir() else find_folder(product, None)
    wanted = (
        run_testing.Record.all if record_all else run_testing.Record.missing if record else None
    )
    run_testing.run(folder, names or (), output, junit, wanted)


def preview(
    product: Annotated[
        str, typer.Argument(help="a product's folder, or the name of one below sql/")
    ],
    table: Annotated[
        str | None, typer.Argument(help="an output whose rows are shown; by default some of each")
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(help="the events appended in this time before the log's end; by default 1h"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="the events appended since then: ISO 8601, in UTC"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="the part ends then, and not at the log's end"),
    ] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC:PARTITION=FROM-TO",
            help="events by offset, without the last; other partitions are read between their times",
        ),
    ] = None,
    diff: Annotated[
        bool,
        typer.Option(
            "--diff",
            help="compare with what readers see: rows that the part determines, in windows that are published",
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="rows of each output that are shown")] = 10,
    output: OutputOption = Output.text,
) -> None:
    """Run the folder as it is now over a part of the log and show the rows; readers see nothing of it.

    Events are those of the part; references, and dimensions up to its end, are read whole. Rows that the part alone
    does not determine are marked: their windows are cut at its edges.
    """
    from replay.cli import preview as run_preview

    run_preview.preview(product, table, last, since, until, offsets or (), limit, diff, output)


def explain(
    product: Annotated[
        str,
        typer.Argument(
            help="a product's folder, or the name of one below sql/",
            autocompletion=completion.products,
        ),
    ],
    output: OutputOption = Output.text,
) -> None:
    """Print all that is generated for a product, as the SQL that Flink runs: sources, views, rejects, inserts."""
    from replay.cli import running
    from replay.releases.release import find_folder

    running.explain(Path(product) if Path(product).is_dir() else find_folder(product, None), output)


def contract(
    name: Name,
    source: Source = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="create contract.yaml, or add new columns to it and set types; "
            "everything that was written by hand is kept",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="for CI: also look for breaking changes, by the rules of datacontract-cli",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            help="with --check: the contract that readers rely on; by default that of git HEAD"
        ),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Compare contract.yaml with what the SQL gives; exit code 1 if they differ.

    With --check the exit code is also 1 if a change of the contract breaks those who rely on it.
    """
    from replay.cli import contract as run_contract

    with naming(name, source):
        run_contract.contract(
            name, source, write=write, check=check, against=against, output=output
        )


def ci(
    name: Name,
    source: Source = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="the commit or branch that the change is to be merged into: its contract.yaml is what others rely on",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="write the page to this file, and a line for each step to standard output"
        ),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Review a change as a pipeline does: check, tests, contract and plan, as one page of Markdown.

    Exit code 0: nothing failed; 1: something did; 2: the command line is wrong. What cannot be done is left out and
    named: tests and a contract where the folder has none, the plan where no stack can be reached.
    """
    with naming(name, source):
        from replay.cli import ci as run_ci

        run_ci.ci(name, source, base, markdown, output)


def plan(
    name: Name, source: Source = None, from_git: FromGit = None, output: OutputOption = Output.text
) -> None:
    """Show what deploying this folder would do: what changed, whether it needs a replay, and what that takes.

    The exit code is 1 for a change that readers of the tables could not follow. Nothing is changed.
    """
    with naming(name, source), given(name, source, from_git) as at:
        from replay.cli import plan as run_plan

        run_plan.plan(name, at, output)
