"""The commands for tables: queried, explained from the log, accounted for, compared, verified, compacted."""

from __future__ import annotations

from typing import Annotated

import typer

from replay.cli.arguments import DryRun, Name
from replay.output import Output, OutputOption, RowsOption, RowsOutput

Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        help="end it after so many seconds; by default queries.seconds of config.yaml, or 300",
    ),
]
OfAttempt = Annotated[
    str | None,
    typer.Option(
        help="an attempt (r2-a1) or a release (r2), such as a candidate; by default what readers see"
    ),
]
OfCheckpoint = Annotated[
    int | None, typer.Option(min=1, help="a checkpoint of the attempt, while its snapshots last")
]
AsOf = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="what readers saw then: ISO 8601, in UTC by default"),
]


def query(
    name: Name,
    sql: Annotated[str, typer.Argument(help="a SELECT over the product's tables")],
    timeout: Timeout = None,
    attempt: OfAttempt = None,
    checkpoint: OfCheckpoint = None,
    at: AsOf = None,
    output: RowsOption = RowsOutput.text,
) -> None:
    """Query the tables, all at the same checkpoint: as readers see them, as they saw them, or those of a candidate.

    A query can read these tables and nothing else.
    """
    from replay.cli import query as run_query

    run_query.query(name, sql, timeout, output, run_query.When(attempt, checkpoint, at))


def shell(
    name: Name,
    timeout: Timeout = None,
    attempt: OfAttempt = None,
    checkpoint: OfCheckpoint = None,
    at: AsOf = None,
) -> None:
    """Prompt for queries, with history and completion; into a pipe, run the statements of standard input."""
    from replay.cli import shell as run_shell
    from replay.cli.query import When

    run_shell.shell(name, timeout, When(attempt, checkpoint, at))


def why(
    row: Annotated[
        str, typer.Argument(metavar="PRODUCT.TABLE", help="a table, such as orders.hourly_orders")
    ],
    key: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COLUMN=VALUE]...", help="values that only one row of the table has"
        ),
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(
            help="a release (r2) or an attempt (r2-a1), by default what readers see; twice: what counts in only one"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="records of each class that are shown")] = 10,
    output: RowsOption = RowsOutput.text,
) -> None:
    """Show the records of the log behind one row, and those that were repeated, rejected, filtered or undecodable.

    They are found by running the release's own SQL over the part of the log that the row is of. The last line says
    whether the records that count give exactly the row.
    """
    from replay.cli import why as run_why

    run_why.why(row, key or (), release or (), limit, output)


def audit(name: Name, output: OutputOption = Output.text) -> None:
    """Account for every offset of the log that the published tables cover; exit code 1 if an offset is missing."""
    from replay.cli import running

    running.audit(name, output)


def diff(
    name: Name,
    old: Annotated[
        str | None, typer.Option(help="an attempt or a release; by default what readers see")
    ] = None,
    new: Annotated[
        str | None,
        typer.Option(
            help="an attempt or a release; by default the candidate, or else the newest other that runs"
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="rows shown of each kind of difference")] = 5,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="exit code 1 if there is a difference")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Compare two attempts row by row, at one position of the log: rows that are final in both of them."""
    from replay.cli import diff as run_diff

    run_diff.diff(name, old, new, samples, output, exit_code)


def verify(
    name: Name,
    parallelism: Annotated[
        int | None,
        typer.Option(
            min=1, help="subtasks of the job; by default those of the release that readers see"
        ),
    ] = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Replay what readers see from offset zero, and compare the rows; exit code 1 if a row differs.

    The replay is a shadow: readers never see it, and nothing of it remains. Ctrl-C detaches; the same command follows
    it again, and kappa abort ends it.
    """
    from replay.cli import verify as run_verify

    run_verify.run(name, parallelism, dry_run, output)


def maintain(
    name: Name,
    target_file_size: Annotated[
        str, typer.Option(help="size of the files that it writes")
    ] = "128MB",
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Compact small data files of what readers see, while its job keeps running; no row changes.

    This is Iceberg's own compaction, on Flink's session cluster. Readers get the larger files with the next checkpoint.
    """
    from replay.cli import maintain as run_maintain

    run_maintain.maintain(name, target_file_size, dry_run, output)
