"""The commands for products, and their arguments.

What they do is in the other modules of this package, imported when a command runs: pyiceberg, DuckDB and SQLAlchemy
take a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from replay.cli import topic_commands
from replay.finding import Finding
from replay.output import Output, OutputOption, View
from replay.query.lean import without

Name = Annotated[str, typer.Argument(help="name of a product, such as flights")]
Source = Annotated[Path | None, typer.Option("--from", help="the product's folder; by default sql/NAME")]
ParallelismOption = Annotated[int | None, typer.Option(min=1, help="by default as product.yaml says")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would be done")]
To = Annotated[str | None, typer.Argument(help="a release, such as r1, or an attempt, such as r1-a2")]


def register(app: typer.Typer) -> None:
    """Add the commands for products."""
    for command in (new, pull, check, explain, contract, plan, deploy, switch, rollback, abort, retire, remove, query,
                    audit, diff, verify, maintain, attempts, history, prepare, controller, config,
                    acls):
        app.command()(command)
    app.add_typer(topic_commands.app, name="topic")


def products_status(name: str | None) -> Callable[[], View]:
    """What `kappa status` shows of one product, or of all."""
    from replay.cli import look as run_status

    return run_status.Look(name)


def catalog_checks(namespace: str | None) -> Sequence[Finding]:
    """What `kappa doctor --catalog` finds."""
    from replay.cli import doctor as run_doctor

    return run_doctor.catalog(namespace)


def check(folder: Annotated[Path, typer.Argument(help="a product's folder, such as sql/flights")],
          output: OutputOption = Output.text) -> None:
    """Would this product give the same rows in every replay? Flink's own planner says; exit code 1 if not."""
    from replay.cli import running

    running.check(folder, output)


def explain(product: Annotated[str, typer.Argument(help="a product's folder, or the name of one below sql/")],
            output: OutputOption = Output.text) -> None:
    """Everything that is generated for a product, as the SQL that Flink runs: sources, views, rejects, inserts."""
    from replay.cli import running
    from replay.releases.release import find_folder

    running.explain(Path(product) if Path(product).is_dir() else find_folder(product, None), output)


def new(
    name: Annotated[str, typer.Argument(help="name of the product, such as orders")],
    topic: Annotated[list[str] | None, typer.Option(
        help="a topic that it reads, the one with the events first; by default one of the product's name")] = None,
    from_schema: Annotated[list[Path] | None, typer.Option(
        help="an Avro schema's file, in the order of the topics, in place of the registry's newest")] = None,
    time: Annotated[str | None, typer.Option(help="the field that says when it happened; else it is guessed")] = None,
    to: Annotated[Path | None, typer.Option(help="the folder to make; by default sql/NAME")] = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Write a product's folder from the schemas of its topics: rows and hourly counts, and what was guessed.

    It passes kappa check as it is. A folder that exists is left alone.
    """
    from replay.cli import new as run_new

    run_new.new(name, topic or (), from_schema or (), time, to, dry_run, output)


def pull(name: Name, source: Source = None, dry_run: DryRun = False, output: OutputOption = Output.text) -> None:
    """Bring the schemas of the folder up to the registry's newest versions, and show what changed.

    A schema that would not read every record in the log is refused; one that was edited here is left alone.
    """
    from replay.cli import pull as run_pull

    run_pull.pull(name, source, dry_run, output)


def contract(
    name: Name,
    source: Source = None,
    write: Annotated[bool, typer.Option("--write", help="make contract.yaml, or add what is new to it and set types; "
                                        "nothing that people wrote is lost")] = False,
    check: Annotated[bool, typer.Option(
        "--check", help="the gate of CI: also look for breaking changes, by the rules of datacontract-cli")] = False,
    against: Annotated[Path | None, typer.Option(
        help="with --check: the contract that readers rely on; by default that of git HEAD")] = None,
    output: OutputOption = Output.text,
) -> None:
    """Is contract.yaml what the SQL gives, and does a change of it break those who rely on it? Exit code 1 if so."""
    from replay.cli import contract as run_contract

    run_contract.contract(name, source, write=write, check=check, against=against, output=output)


def plan(name: Name, source: Source = None, output: OutputOption = Output.text) -> None:
    """What deploying this folder would do: what changed, whether it needs a replay, and what that takes.

    Exit code 1 for a change that readers of the tables could not follow. Changes nothing.
    """
    from replay.cli import plan as run_plan

    run_plan.plan(name, source, output)


def deploy(
    name: Name,
    source: Source = None,
    wait: Annotated[bool, typer.Option(help="follow it to the end, or leave it to the controller")] = True,
    auto_switch: Annotated[bool | None, typer.Option(
        help="switch readers over once its checks pass, or wait for kappa switch; by default as product.yaml says",
    )] = None,
    timeout: Annotated[float | None, typer.Option(
        help="seconds in which it must catch up, else it is aborted; by default as product.yaml says")] = None,
    parallelism: ParallelismOption = None,
    again: Annotated[bool, typer.Option("--again", help="replay from zero even if this release is active")] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Build a release and replay the log from offset zero beside the live one, until it has caught up.

    Then its checks run, and readers are switched over to it, or kappa switch does so. Ctrl-C leaves the job alone; the
    same command again follows it. A first release is shown to readers as soon as its checks pass.
    """
    if dry_run:
        from replay.cli import plan as run_plan

        run_plan.plan(name, source, output)
        return
    from replay.cli import deploy as run_deploy
    from replay.controller import deploy as deploying

    run_deploy.deploy(deploying.Request(name, source, parallelism, again, auto_switch, timeout), wait, output)


def switch(name: Name, to: To = None, dry_run: DryRun = False, output: OutputOption = Output.text) -> None:
    """Show readers another release, in all tables at once; the one they saw stays on standby.

    By default the candidate, once it has caught up, else the newest on standby. Its checks run on exactly the snapshots
    that readers then see, which cover at least what they saw before.
    """
    from replay.cli import control as run_control

    run_control.switch(name, to, dry_run, output)


def rollback(name: Name, to: To = None, dry_run: DryRun = False, output: OutputOption = Output.text) -> None:
    """Show readers the release on standby again, at once, at the newest checkpoint that it has."""
    from replay.cli import control as run_control

    run_control.rollback(name, to, dry_run, output)


def abort(name: Name, dry_run: DryRun = False, output: OutputOption = Output.text) -> None:
    """Give the candidate up, or the shadow: its job, branch and files go. Readers and the live job are not touched."""
    from replay.cli import control as run_control

    run_control.abort(name, dry_run, output)


def retire(name: Name, release: To = None, dry_run: DryRun = False, output: OutputOption = Output.text) -> None:
    """End a release on standby for good: its job, branch and the files that nothing else needs go."""
    from replay.cli import control as run_control

    run_control.retire(name, release, dry_run, output)


def remove(
    name: Name,
    yes: Annotated[str | None, typer.Option(metavar="NAME", help="its name once more, for scripts")] = None,
    keep_tables: Annotated[bool, typer.Option("--keep-tables", help="leave its tables as readers see them")] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """End a product for good: jobs, tables, branches, checkpoints, consumer groups, releases and history go.

    Its topics and its folder of SQL stay. Interrupted, the same command goes on from what is left. Tables that are kept
    keep the name: rename them, or remove them too, before another deploy of it.
    """
    from replay.cli import remove as run_remove

    run_remove.remove(name, yes, keep_tables, dry_run, output)


def query(
    name: Name,
    sql: Annotated[str, typer.Argument(help="a SELECT over the product's tables")],
    timeout: Annotated[float | None, typer.Option(
        min=0.001, help="seconds until it is ended; by default queries.seconds of config.yaml, or 300")] = None,
    output: OutputOption = Output.text,
) -> None:
    """Ask the published tables; all of them are of one checkpoint. It only reads, and only these."""
    from replay.cli import query as run_query

    run_query.query(name, sql, timeout, output)


def audit(name: Name, output: OutputOption = Output.text) -> None:
    """Account for every offset of the log that the published tables cover; exit code 1 if one is missing."""
    with without("pandas"):
        from replay.cli import running

        running.audit(name, output)


def diff(
    name: Name,
    old: Annotated[str | None, typer.Option(help="an attempt or a release; by default what readers see")] = None,
    new: Annotated[str | None, typer.Option(help="by default the candidate, else the newest other that runs")] = None,
    samples: Annotated[int, typer.Option(min=0, help="rows shown of each sort of difference")] = 5,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="exit code 1 if there is a difference")] = False,
    output: OutputOption = Output.text,
) -> None:
    """What a replay changed, row by row, at one position of the log: rows that are final in both attempts."""
    with without("pandas"):
        from replay.cli import diff as run_diff

        run_diff.diff(name, old, new, samples, output, exit_code)


def verify(
    name: Name,
    parallelism: Annotated[int | None, typer.Option(min=1, help="by default that of what readers see")] = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Replay what readers see from offset zero, and prove the rows equal; exit code 1 if one differs.

    The replay is a shadow: readers never see it, and nothing is left of it. Ctrl-C leaves it running; the same command
    again follows it, and kappa abort ends it.
    """
    from replay.cli import verify as run_verify

    run_verify.run(name, parallelism, dry_run, output)


def maintain(
    name: Name,
    target_file_size: Annotated[str, typer.Option(help="of the files that it writes")] = "128MB",
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Put the small data files of what readers see together, while its job goes on; no row changes.

    Iceberg's own compaction, on Flink's session cluster. Readers get the larger files with the next checkpoint.
    """
    from replay.cli import maintain as run_maintain

    run_maintain.maintain(name, target_file_size, dry_run, output)


def attempts(name: Annotated[str | None, typer.Argument(help="name of a product; by default all")] = None,
             output: OutputOption = Output.text) -> None:
    """Every attempt of a product: state, job, newest checkpoint, what readers see."""
    from replay.cli import running

    running.attempts(name, output)


def history(name: Name, output: OutputOption = Output.text) -> None:
    """What became of each attempt of a product, and when: states, resumptions, switches, rollbacks."""
    from replay.cli import running

    running.history(name, output)


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
    from replay.cli import running

    running.prepare(name, branch, source, parallelism, output)


def controller() -> None:
    """Keep publishing what the active attempts write, and bring lost jobs back. Runs until it is told to end."""
    from replay.cli import controller as run_controller

    run_controller.controller()


def config(output: OutputOption = Output.text) -> None:
    """The settings of this home as they are read, defaults among them. Secrets are not shown, only where they are."""
    from replay.cli import config as run_config

    run_config.config(output)


def acls(
    name: Name,
    source: Source = None,
    producer: Annotated[str, typer.Option(help="the principal of who writes to the topics")] = "User:kappa-producer",
    job: Annotated[str, typer.Option(help="the principal of kafka_java in config.yaml")] = "User:kappa-job",
    controller: Annotated[str, typer.Option(help="the principal of kafka in config.yaml")] = "User:kappa-controller",
    output: OutputOption = Output.text,
) -> None:
    """The broker's permissions with which a product runs, and no others: kafka-acls commands for three principals.

    Topics are created by somebody else, who may.
    """
    from replay.cli import acls as run_acls
    from replay.kafka.acls import Who

    run_acls.acls(name, source, {Who.producer: producer, Who.job: job, Who.controller: controller}, output)
