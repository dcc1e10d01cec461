"""`kappa up | down | status | logs | doctor`: the embedded stack."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from replay.output import Output, OutputOption, err, out, print_json, print_rows
from replay.settings import kappa_home


def register(app: typer.Typer) -> None:
    """Add the stack's commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(logs)


def up(
    port_base: Annotated[int | None, typer.Option(
        help="ports N+80 to N+93; remembered in the home  [default: 19000]", show_default=False)] = None,
    output: OutputOption = Output.text,
) -> None:
    """Start the embedded stack, or what is missing of it, and wait until it answers."""
    from local import stack

    layout = stack.up(kappa_home(), port_base, _say)
    addresses = {"home": str(layout.home), **stack.addresses(layout)}
    if output is Output.json:
        print_json(addresses)
    else:
        out.print("\n".join(["the stack is up", *(f"  {name:<10}{value}" for name, value in addresses.items())]))


def down() -> None:
    """Stop the embedded stack; its data stays."""
    from local import stack

    out.print("stopped" if stack.down(kappa_home(), _say) else "nothing was running")


def status(output: OutputOption = Output.text) -> None:
    """What runs of the stack: processes, ports, memory."""
    from local import stack

    layout = stack.layout_of(kappa_home())
    rows = [asdict(row) for row in stack.status(layout)]
    if rows or output is Output.json:
        print_rows(rows, output, title=str(layout.home))
    else:
        out.print(f"the stack of {layout.home} is not running; start it: kappa up")


def logs(
    name: Annotated[str, typer.Argument(help="kafka, registry, jobmanager, taskmanager, controller, supervisor")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on printing as it grows")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="so many lines of the end")] = 40,
) -> None:
    """Print the end of a program's log."""
    from local.tail import tail

    tail(kappa_home() / "logs", name, lines, follow)


def _say(message: str) -> None:
    err.print(message, style="dim", markup=False)
