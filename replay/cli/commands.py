"""The commands for products, and their arguments.

What they do is in the other modules of this package, imported when a command runs: pyiceberg, DuckDB and SQLAlchemy
take a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from jobs.product.formats import Format
from replay import completion
from replay.cli import topic_commands
from replay.cli.from_git import given
from replay.cli.hints import naming
from replay.finding import Finding
from replay.output import Output, OutputOption, RowsOption, RowsOutput, View

Name = Annotated[
    str,
    typer.Argument(help="name of a product, such as flights", autocompletion=completion.products),
]
Source = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="the product's folder; by default sql/NAME, or where it was deployed from last",
    ),
]
FromGit = Annotated[
    str | None,
    typer.Option(
        "--from-git",
        metavar="REF",
        help="the product's folder, and udfs/, as of a commit, a branch or a tag; the working tree is not touched",
    ),
]
ParallelismOption = Annotated[
    int | None, typer.Option(min=1, help="subtasks of the job; by default as in product.yaml")
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would be done")]
To = Annotated[
    str | None, typer.Argument(help="a release, such as r1, or an attempt, such as r1-a2")
]


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


def register(app: typer.Typer) -> None:
    """Add the commands for products."""
    for command in (
        new,
        pull,
        check,
        run_tests,
        preview,
        explain,
        contract,
        ci,
        plan,
        deploy,
        switch,
        rollback,
        abort,
        retire,
        remove,
        query,
        shell,
        why,
        audit,
        diff,
        verify,
        maintain,
        attempts,
        history,
        prepare,
        controller,
        config,
        acls,
    ):
        # The name of what it runs is taken: pytest would run it, too.
        app.command("test" if command is run_tests else None)(command)
    app.add_typer(topic_commands.app, name="topic")


def products_status(name: str | None) -> Callable[[], View]:
    """What `kappa status` shows of one product, or of all."""
    from replay.cli import look as run_status

    return run_status.Look(name)


def catalog_checks(namespace: str | None) -> Sequence[Finding]:
    """What `kappa doctor --catalog` finds."""
    from replay.cli import doctor as run_doctor

    return run_doctor.catalog(namespace)


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
            help="how the topics' values are written, by default Avro; the columns of JSON are inferred from records",
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
