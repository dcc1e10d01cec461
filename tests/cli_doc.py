"""docs/reference-cli.md, from the commands themselves: `python -m tests.cli_doc > docs/reference-cli.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

import click
import typer

from replay.cli.main import app
from tests.pages import cell, link

DOC = Path(__file__).parents[1] / "docs" / "reference-cli.md"
GROUPS = {
    "The embedded stack": ("up", "down", "status", "logs", "doctor", "load"),
    "Topics": (
        "topic create",
        "topic list",
        "topic describe",
        "topic peek",
        "topic tail",
        "topic produce",
    ),
    "A product's folder": (
        "new",
        "pull",
        "check",
        "test",
        "preview",
        "explain",
        "contract",
        "plan",
        "ci",
    ),
    "Releases": (
        "deploy",
        "switch",
        "rollback",
        "abort",
        "retire",
        "remove",
        "attempts",
        "history",
    ),
    "Tables": ("query", "shell", "why", "audit", "diff", "verify", "maintain"),
    "Operation": ("controller", "config", "acls", "prepare"),
}
SEE_ALSO = {
    "up": "embedded-stack.md#starting-and-stopping",
    "status": "operating.md#when-something-fails",
    "logs": "operating.md#the-log",
    "doctor": "production.md#is-this-catalog-good-enough",
    "load": "demo.md#the-data",
    "topic create": "operating.md#the-topics",
    "topic produce": "types.md#json-values",
    "new": "tutorial.md#a-product",
    "pull": "tutorial.md#a-schema-that-grows",
    "check": "sql.md#what-the-safety-check-refuses",
    "test": "testing.md",
    "preview": "preview.md",
    "explain": "sql.md#what-a-topic-is-in-sql",
    "contract": "checks.md#the-contract",
    "ci": "checks.md#in-a-pipeline",
    "plan": "how-a-replay-works.md#what-a-change-needs",
    "deploy": "how-a-replay-works.md#catching-up",
    "switch": "how-a-replay-works.md#switch-rollback-retire",
    "rollback": "how-a-replay-works.md#switch-rollback-retire",
    "abort": "concepts.md#attempt",
    "retire": "how-a-replay-works.md#switch-rollback-retire",
    "remove": "growth.md",
    "attempts": "concepts.md#attempt",
    "history": "events.md",
    "query": "how-a-replay-works.md#query-a-candidate-or-the-past",
    "shell": "how-a-replay-works.md#query-a-candidate-or-the-past",
    "why": "why.md",
    "audit": "concepts.md#accounting",
    "diff": "how-a-replay-works.md#diff",
    "verify": "how-a-replay-works.md#verification",
    "maintain": "maintenance.md",
    "controller": "operating.md",
    "config": "config.md",
    "acls": "production.md#kafka",
    "prepare": "flink-run.md",
}
_INTRODUCTION = """# Command line

`kappa COMMAND --help` shows the same, and `kappa --version` the version. The name of a product is that of its folder
below `sql/`. After `kappa --install-completion` your shell completes commands, options, products and topics.

- Commands that change a topic, a product or its folder take `--dry-run`, except for `load`, `prepare`,
  `contract --write` and `test --record`.
- Commands that change a product may be interrupted, because the controller completes what they asked for. They may
  also be repeated, which changes nothing more. (`topic produce` is no such command: it appends its records again.)
- Commands that print data take `--output json`.
- A failure has an exit code other than 0, and says what was expected, what was found and what to run next
  ([troubleshooting](troubleshooting.md)). After Ctrl-C the exit code is 130.

This page is written by `python -m tests.cli_doc`.
"""


def text() -> str:
    """The whole page."""
    return "\n".join(_parts()).rstrip() + "\n"


def commands() -> dict[str, click.Command]:
    """Name, such as `topic create`, → command, without groups."""
    return dict(_commands("", root()))


@cache
def root() -> click.Command:
    """The whole command line, as click has it."""
    return typer.main.get_command(app)


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    for inner, found in command.commands.items():
        yield from _commands(f"{name} {inner}".strip(), found)


def _parts() -> Iterator[str]:
    known = commands()
    yield _INTRODUCTION
    for title, names in GROUPS.items():
        yield f"**{title}**\n\n| Command | |\n|---|---|"
        for name in names:
            first = _help(known[name]).partition("\n\n")[0]
            yield f"| [`kappa {name}`](#kappa-{name.replace(' ', '-')}) | {cell(first)} |"
        yield ""
    for names in GROUPS.values():
        for name in names:
            yield from _command(name, known[name])


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"kappa {name}")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"## kappa {name}\n\n```text\n{usage}\n```\n\n{_help(command)}\n"
    parameters = [each for each in command.get_params(context) if "--help" not in each.opts]
    if parameters:
        yield "| Argument or option | Default | Meaning |\n|---|---|---|"
        yield from (_row(each, context) for each in parameters)
        yield ""
    if name in SEE_ALSO:
        yield f"See {link(DOC, SEE_ALSO[name])}.\n"


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _row(parameter: click.Parameter, context: click.Context) -> str:
    meaning = getattr(parameter, "help", None) or ""
    return f"| `{cell(_spelling(parameter, context))}` | {_default(parameter, context)} | {cell(meaning)} |"


def _spelling(parameter: click.Parameter, context: click.Context) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.make_metavar(context)
    flags = ", ".join(parameter.opts) + "".join(f" / {opt}" for opt in parameter.secondary_opts)
    is_flag = isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
    return flags if is_flag else f"{flags} {parameter.make_metavar(context)}"


def _default(parameter: click.Parameter, context: click.Context) -> str:
    if parameter.required:
        return "required"
    value = parameter.get_default(context, call=False)
    if value is None or value is False or callable(value):
        return ""
    if value is True:
        return f"`{parameter.opts[0]}`"
    return f"`{value.value if isinstance(value, Enum) else value}`"


if __name__ == "__main__":
    sys.stdout.write(text())
