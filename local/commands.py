"""`kappa up | down | status | logs | doctor`: the embedded stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from replay import completion
from replay.finding import Finding
from replay.home import kappa_home
from replay.output import (
    Output,
    OutputOption,
    View,
    err,
    out,
    rows_table,
    show,
    waiting,
    watch,
    wrapped,
)
from replay.values import duration

ProductsStatus = Callable[[str | None], Callable[[], View]]
"""How one product stands, or all: from a package that this one does not know."""
CatalogChecks = Callable[[str | None], Sequence[Finding]]
"""What products need of the Iceberg catalog, tried in a namespace of their own or in this one: from there, too."""


def register(app: typer.Typer, products: ProductsStatus, catalog_checks: CatalogChecks) -> None:
    """Add the stack's commands; `kappa status` shows the products beneath the programs."""
    for command in (up, down, logs):
        app.command()(command)

    @app.command()
    def doctor(
        catalog: Annotated[
            bool,
            typer.Option(
                "--catalog",
                help="test the Iceberg catalog of config.yaml instead, with tables that are dropped again",
            ),
        ] = False,
        namespace: Annotated[
            str | None,
            typer.Option(
                help="with --catalog: an existing namespace; by default a new one that is removed again"
            ),
        ] = None,
        output: OutputOption = Output.text,
    ) -> None:
        """Examine this machine, the stack and its products, and say for each problem what was expected, what was
        found and what to do."""
        if catalog:
            show_findings(catalog_checks(namespace), output)
        elif namespace is not None:
            raise typer.BadParameter("--namespace is for --catalog")
        else:
            examine(products(None), output)

    @app.command()
    def status(
        name: Annotated[
            str | None,
            typer.Argument(
                help="a product; by default the stack and all products",
                autocompletion=completion.products,
            ),
        ] = None,
        again: Annotated[
            bool, typer.Option("--watch", help="refresh every 2 s, until Ctrl-C")
        ] = False,
        processes: Annotated[
            bool,
            typer.Option(
                "--processes", help="each program of the stack with its ports, memory and age"
            ),
        ] = False,
        output: OutputOption = Output.text,
    ) -> None:
        """Show what readers see of each product, what its attempts do and wait for, and whether the stack runs."""
        look = products(name) if name else partial(stack_view, products(None), processes)
        if again:
            watch(look, output)
            return
        with waiting("asking Flink, Kafka and the catalog"):
            view = look()
        show(view, output)


def up(
    port_base: Annotated[
        int | None,
        typer.Option(
            help="listen on N+80 to N+94; remembered in the home  [default: 19000]",
            show_default=False,
        ),
    ] = None,
    tiered: Annotated[
        bool,
        typer.Option(
            "--tiered",
            help="give the log a remote tier, for topics with remote.storage.enable; remembered in the home",
        ),
    ] = False,
    taskmanagers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=3,
            help="TaskManagers of the session cluster, 4 slots and 4 GB each; remembered in the home  [default: 1]",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Start the embedded stack, or those of its programs that do not run, and wait until it answers."""
    from local import config_file, stack

    with waiting("waiting for the stack"):
        layout = stack.up(kappa_home(), port_base, _say, tiered=tiered, taskmanagers=taskmanagers)
    addresses = {"home": str(layout.home), **config_file.addresses(layout)}
    lines = ["the stack is up", *(f"  {name:<10}{value}" for name, value in addresses.items())]
    show(View(addresses, lines), output)


def down() -> None:
    """Stop the embedded stack; its data stays."""
    from local import stack

    with waiting("waiting for its programs to end"):
        stopped = stack.down(kappa_home(), _say)
    out.print("stopped" if stopped else "nothing was running")


def stack_view(products: Callable[[], View], processes: bool) -> View:
    """The products, then the programs: in a line, or each of them. Bound to other services, a home has none here."""
    from local import config_file, remembered, stack

    layout = remembered.layout_of(kappa_home())
    below = products()
    if (
        layout.settings.exists()
        and not config_file.is_written(layout)
        and not layout.supervisor_conf.exists()
    ):
        return below
    programs = [asdict(row) for row in stack.status(layout)]
    return View(
        {"home": str(layout.home), "programs": programs, "products": below.data},
        Group(*below.parts, *_of_stack(str(layout.home), programs, processes)),
        {
            **{row["program"]: f"{row['program']}: {row['state']}" for row in programs},
            **below.lines,
        },
    )


def _of_stack(home: str, programs: list[dict[str, Any]], each: bool) -> Iterator[RenderableType]:
    if not programs:
        yield Text(f"the stack of {home} is not running; start it: kappa up", style="yellow")
        return
    bad = [row for row in programs if row["state"] != "RUNNING" or row["ready"] is False]
    memory = sum(row["memory_mb"] or 0 for row in programs)
    age = "" if bad else f", for {duration(min(row['up_seconds'] for row in programs))}"
    run = f"{len(programs) - len(bad)} of {len(programs)} programs run, {memory:,} MB{age}"
    yield Text("")
    yield wrapped(f"stack {home}: {run}", "yellow" if bad else "dim")
    for row in bad:
        yield wrapped(f"  {row['program']} {_state(row)}; next: kappa logs {row['program']}", "red")
    if each:
        yield rows_table([_short(row) for row in programs])


def _state(row: dict[str, Any]) -> str:
    return str(row["state"]) + (", silent" if row["ready"] is False else "")


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on 80 columns."""
    ports = row["ports"].split()
    return {
        "program": row["program"],
        "state": _state(row),
        "pid": str(row["pid"] or ""),
        "ports": " ".join(ports if len(ports) < 3 else (ports[0], f"to {ports[-1]}")),
        "MB": row["memory_mb"],
        "up": duration(row["up_seconds"]) if row["up_seconds"] else "",
    }


def logs(
    name: Annotated[
        str,
        typer.Argument(
            help="kafka, registry, jobmanager, taskmanager, controller, supervisor; of an attempt's own Flink cluster: "
            "jobmanager-flights-r2-a1 and so on"
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="continue as the log grows")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="number of lines")] = 40,
) -> None:
    """Print the end of a program's log."""
    from local.tail import tail

    tail(kappa_home() / "logs", name, lines, follow)


def examine(products: Callable[[], View], output: Output) -> None:
    """Print the checks of `kappa doctor`; exit code 1 when one found a problem."""
    from local import doctor

    checks = doctor.examine(kappa_home(), lambda: products().data)
    lines: list[RenderableType] = []
    for check in checks:
        word, style = ("problem", "red") if check.problems else ("ok", "green")
        lines.append(Text(f"{word:<8}{check.name}", style=style))
        lines += [f"{problem.error()}\n" for problem in check.problems]
    show(View([asdict(check) for check in checks], lines), output)
    if any(check.problems for check in checks):
        raise typer.Exit(1)


def show_findings(findings: Sequence[Finding], output: Output) -> None:
    """Print what checks of a catalog found, as the other checks; exit code 1 when one found a problem."""
    lines = [line for finding in findings for line in _finding_lines(finding)]
    show(View([finding.as_dict() for finding in findings], lines), output)
    if any(finding.error for finding in findings):
        raise typer.Exit(1)


def _finding_lines(finding: Finding) -> Iterator[RenderableType]:
    if finding.error:
        yield Text(f"{'problem':<8}{finding.name}", style="red")
        yield f"{finding.error}\n"
        return
    word, style = ("note", "yellow") if finding.note else ("ok", "green")
    yield Text(f"{word:<8}{finding.name}: {finding.found}", style=style)
    yield Text(f"{'':<8}{finding.means}", style="dim")


def _say(message: str) -> None:
    err.print(message, style="dim")
