"""`kappa up | down | status | logs | doctor`: the embedded stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from replay.output import Output, OutputOption, err, out, print_json, print_rows
from replay.settings import kappa_home

StatusSection = Callable[[], list[dict[str, Any]]]
"""Further rows for `kappa status`, from packages that this one does not know."""


def register(app: typer.Typer, status_sections: Mapping[str, StatusSection] | None = None) -> None:
    """Add the stack's commands; each status section becomes a table after the programs'."""
    for command in (up, down, logs, doctor):
        app.command()(command)

    @app.command()
    def status(output: OutputOption = Output.text) -> None:
        """What runs: processes, ports, memory; and what the products are doing."""
        show_status(output, status_sections or {})


def up(
    port_base: Annotated[int | None, typer.Option(
        help="listen on N+80 to N+93; remembered in the home  [default: 19000]", show_default=False)] = None,
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


def show_status(output: Output, sections: Mapping[str, StatusSection]) -> None:
    """Print the programs, then each section."""
    from local import stack

    layout = stack.layout_of(kappa_home())
    programs = [asdict(row) for row in stack.status(layout)]
    if output is Output.json:
        print_json({"home": str(layout.home), "programs": programs,
                    **{name: section() for name, section in sections.items()}})
        return
    if programs:
        print_rows([_short(row) for row in programs], output, title=str(layout.home))
    else:
        out.print(f"the stack of {layout.home} is not running; start it: kappa up")
    for name, section in sections.items():
        if rows := section():
            print_rows(rows, output, title=name)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on 80 columns."""
    ports, silent = row["ports"].split(), row["ready"] is False
    return {
        "program": row["program"], "state": row["state"] + (", silent" if silent else ""), "pid": str(row["pid"] or ""),
        "ports": " ".join(ports if len(ports) < 3 else (ports[0], f"to {ports[-1]}")),
        "MB": row["memory_mb"], "up s": row["up_seconds"],
    }


def logs(
    name: Annotated[str, typer.Argument(
        help="kafka, registry, jobmanager, taskmanager, controller, supervisor; of an attempt's own Flink cluster "
             "jobmanager-flights-r2-a1 and so on")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on printing as it grows")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="so many lines of the end")] = 40,
) -> None:
    """Print the end of a program's log."""
    from local.tail import tail

    tail(kappa_home() / "logs", name, lines, follow)


def doctor(output: OutputOption = Output.text) -> None:
    """Examine this machine and the stack; each problem with what was expected, what was found, what to do."""
    from local.doctor import examine

    checks = examine(kappa_home())
    if output is Output.json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            out.print(f"{'problem' if check.problems else 'ok':<8}{check.name}",
                      style="red" if check.problems else "green", markup=False)
            for problem in check.problems:
                out.print(f"{problem.error()}\n", markup=False)
    if any(check.problems for check in checks):
        raise typer.Exit(1)


def _say(message: str) -> None:
    err.print(message, style="dim", markup=False)
