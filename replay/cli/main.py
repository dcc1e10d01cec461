"""The `kappa` command: each area brings its commands, this file only joins them."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.markup import escape

from demo import commands as demo_commands
from local import commands as stack_commands
from replay.cli import commands as product_commands
from replay.cli import interrupt
from replay.cli.app import App
from replay.errors import KappaError
from replay.output import err, out, print_json
from replay.query.lean import without

app = App(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stack_commands.register(app, product_commands.products_status, product_commands.catalog_checks)
demo_commands.register(app)
product_commands.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as version_of  # here: it imports an email parser

        out.print(f"kappa {version_of('kappa')}")
        raise typer.Exit


@app.callback()
def kappa(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="show the version and exit"
        ),
    ] = False,
) -> None:
    """Data products on Kafka, Flink and Iceberg, replayed from offset zero."""


def main() -> None:
    """Run a command; errors meant for people end it with exit code 1 and no traceback."""
    # The demo's data is read with pandas. Nothing else needs it, and PyArrow would import it: half a second.
    interrupt.limit(sys.argv[1:])
    needed = sys.argv[1:2] == ["load"]
    try:
        with nullcontext() if needed else without("pandas"):
            app()
    except BrokenPipeError:  # of `kappa … | head`: who read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KappaError as e:
        if ("json" in sys.argv and "--output" in sys.argv) or "--output=json" in sys.argv:
            print_json(e.as_dict())
        err.print(f"[bold red]error:[/] {escape(str(e))}", markup=True)
        sys.exit(1)
