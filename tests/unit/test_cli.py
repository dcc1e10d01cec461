"""The command line as a whole: its version, and that it says what everything means."""

from __future__ import annotations

from importlib.metadata import version

import click
import pytest
import typer
from typer.testing import CliRunner

from replay.cli.main import app
from tests.cli_doc import commands


def test_the_version_is_that_of_the_package() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"kappa {version('kappa')}\n")


def test_without_a_command_there_is_help() -> None:
    shown = CliRunner().invoke(app, [])
    assert shown.exit_code == 2
    assert "Data products on Kafka, Flink and Iceberg" in shown.output
    assert "--version" in shown.output


def test_help_explains_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer.core, "HAS_RICH", False)
    shown = CliRunner().invoke(app, ["switch", "--help"])
    assert shown.output.count("name of a product, such as flights") == 1
    assert shown.output.count("a release, such as r1, or an attempt, such as r1-a2") == 1


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_each_of_its_parameters_is_explained(name: str) -> None:
    command = commands()[name]
    assert command.help
    unexplained = [
        p.name
        for p in command.params
        if isinstance(p, (click.Argument, click.Option)) and not p.help
    ]
    assert unexplained == []
