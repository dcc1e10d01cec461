"""The commands for products, joined: in this order `kappa --help` lists them.

The modules `*_commands` have arguments and help. What a command does is in the other modules of this package, imported
when it runs: pyiceberg, DuckDB and SQLAlchemy take a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from replay.cli import (
    folder_commands,
    operation_commands,
    release_commands,
    table_commands,
    topic_commands,
)
from replay.finding import Finding
from replay.output import View


def register(app: typer.Typer) -> None:
    """Add the commands for products."""
    for command in (
        folder_commands.new,
        folder_commands.pull,
        folder_commands.check,
        folder_commands.run_tests,
        folder_commands.preview,
        folder_commands.explain,
        folder_commands.contract,
        folder_commands.ci,
        folder_commands.plan,
        release_commands.deploy,
        release_commands.switch,
        release_commands.rollback,
        release_commands.abort,
        release_commands.retire,
        release_commands.remove,
        table_commands.query,
        table_commands.shell,
        table_commands.why,
        table_commands.audit,
        table_commands.diff,
        table_commands.verify,
        table_commands.maintain,
        release_commands.attempts,
        release_commands.history,
        operation_commands.prepare,
        operation_commands.controller,
        operation_commands.config,
        operation_commands.acls,
    ):
        # The name of what it runs is taken: pytest would run it, too.
        app.command("test" if command is folder_commands.run_tests else None)(command)
    app.add_typer(topic_commands.app, name="topic")


def products_status(name: str | None) -> Callable[[], View]:
    """What `kappa status` shows of one product, or of all."""
    from replay.cli import look as run_status

    return run_status.Look(name)


def catalog_checks(namespace: str | None) -> Sequence[Finding]:
    """What `kappa doctor --catalog` finds."""
    from replay.cli import doctor as run_doctor

    return run_doctor.catalog(namespace)
