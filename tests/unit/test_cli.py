"""The command line as a whole: its version, and that it says what everything means."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import click
import pytest
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


def test_help_explains_arguments() -> None:
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
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert "\\" not in shown.output  # a markup that nobody reads


def completed(words: str) -> list[str]:
    """What bash is told on the tab key behind these words."""
    environment = {
        "_KAPPA_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    shown = CliRunner().invoke(app, [], env=environment, prog_name="kappa")
    assert shown.exit_code == 0, shown.output
    return shown.output.split()


def test_a_shell_completes_commands_products_folders_and_topics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "home"))
    elsewhere = tmp_path / "elsewhere"
    for folder, topic in ((tmp_path / "sql" / "orders", "paid"), (elsewhere, "paid.later")):
        (folder / "schemas").mkdir(parents=True)
        (folder / "product.yaml").write_text("name: x\n")
        (folder / "schemas" / f"{topic}.avsc").write_text("{}")
    (tmp_path / "home" / "sources").mkdir(parents=True)
    (tmp_path / "home" / "sources" / "others").write_text(f"{elsewhere}\n")
    assert completed("kappa roll") == ["rollback"]
    assert completed("kappa deploy o") == ["orders", "others"]
    assert completed("kappa status ot") == ["others"]
    assert completed("kappa check s") == ["sql/orders"]
    assert completed("kappa topic peek pa") == ["paid", "paid.later"]
    assert completed("kappa deploy x") == []


def test_completion_is_silent_where_nothing_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "others").write_bytes(b"\xff")
    assert completed("kappa topic peek ") == []
