"""Typer as this program uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import typer
import typer.core
from typer.core import TyperCommand
from typer.models import CommandFunctionType
from typer.utils import get_params_from_function

from replay.cli import interrupt


class Command(TyperCommand):
    """A command that explains each argument once, with typer 0.20 on click 8.5.

    Typer sets the help of an argument before click's constructor, which since 8.5 clears it; and where there is help,
    both write a section of arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        written = get_params_from_function(self.callback) if self.callback is not None else {}
        for parameter in self.params:
            if isinstance(parameter, click.Argument) and parameter.name in written:
                parameter.help = written[parameter.name].default.help

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it with a sentence."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(interrupt.end(ctx.info_name or "")) from None

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: typer's `format_options` writes the arguments, too."""


class App(typer.Typer):
    """A group of such commands, with help in plain text."""

    def __init__(self, **options: Any) -> None:
        # where it is True, help has [required] escaped for a markup that is off
        typer.core.HAS_RICH = False
        super().__init__(**{"rich_markup_mode": None, "no_args_is_help": True, **options})

    def command(
        self, *args: Any, **kwargs: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a function as a command: see typer."""
        return super().command(*args, **{"cls": Command, **kwargs})
