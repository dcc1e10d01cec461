"""The prompt of `kappa shell`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from replay.cli import shell
from replay.cli.query import When
from replay.errors import ConfigError
from replay.query.query import Result


class Typing:
    """A person who types these lines; an exception stands for a key."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines: Iterator[str | type[BaseException]] = iter(lines)
        self.prompts: list[str] = []
        self.asked: list[str] = []

    def read(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = next(self._lines, EOFError)
        if isinstance(line, str):
            return line
        raise line

    def ask(self, sql: str) -> Result:
        self.asked.append(sql)
        if "nonsense" in sql:
            raise ConfigError(
                "this is no SQL", expected="SQL", found=sql, next="kappa query --help"
            )
        if "forever" in sql:
            raise KeyboardInterrupt
        return Result(["a"], [{"a": "answer"}])


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        pytest.param(["SELECT 1;"], ["SELECT 1"], id="one line"),
        pytest.param(["SELECT", "  1", ";"], ["SELECT\n  1"], id="until the semicolon"),
        pytest.param(["SELECT ';", "';"], ["SELECT ';\n'"], id="a semicolon in a text"),
        pytest.param(["SELECT 1; SELECT 2;"], ["SELECT 1", "SELECT 2"], id="two in a line"),
        pytest.param(["", "  ", ";", "SELECT 1;"], ["SELECT 1"], id="empty ones"),
        pytest.param(["SELECT 1 -- a; b", ";"], ["SELECT 1 -- a; b"], id="in a comment"),
        pytest.param(["SELECT 1", KeyboardInterrupt, "SELECT 2;"], ["SELECT 2"], id="Ctrl-C drops"),
        pytest.param(["nonsense;", "SELECT 2;"], ["nonsense", "SELECT 2"], id="an error goes on"),
        pytest.param(["forever;", "SELECT 2;"], ["forever", "SELECT 2"], id="Ctrl-C ends a query"),
        pytest.param(["SELECT 1;", ".quit", "SELECT 2;"], ["SELECT 1"], id="quit"),
        pytest.param(["help", "SELECT 2;"], ["SELECT 2"], id="help"),
        pytest.param(["SELECT 1", EOFError], [], id="the end in the middle"),
    ],
)
def test_each_whole_statement_is_asked(
    lines: list[str | type[BaseException]], asked: list[str]
) -> None:
    person = Typing(*lines)
    shell.interact("orders", person.read, person.ask)
    assert person.asked == asked


def test_prompts_answers_and_errors_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    person = Typing("SELECT", "1;", "nonsense;")
    shell.interact("orders", person.read, person.ask)
    assert person.prompts == ["orders> ", "orders… ", "orders> ", "orders> "]
    said = capsys.readouterr()
    assert "answer" in said.out and "1 row in 0.0 s" in said.out
    assert "this is no SQL" in said.err


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Typing:
    """Whoever answers statements of standard input."""
    person = Typing()
    monkeypatch.setattr(shell, "load_settings", lambda: None)
    monkeypatch.setattr(shell, "columns", lambda *_: [])
    monkeypatch.setattr("replay.query.query.query", lambda _, __, sql, **___: person.ask(sql))
    return person


def test_a_file_of_statements_is_run(person: Typing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1;\n\nSELECT 2 -- no semicolon"))
    shell.shell("orders", None, When())
    assert person.asked == ["SELECT 1", "SELECT 2 -- no semicolon"]


def test_a_file_ends_at_its_first_error(person: Typing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1; nonsense; SELECT 2;"))
    with pytest.raises(ConfigError, match="this is no SQL"):
        shell.shell("orders", None, When())
    assert person.asked == ["SELECT 1", "nonsense"]


def test_completion_and_history(tmp_path: Path) -> None:
    readline = pytest.importorskip("readline")
    history = tmp_path / "shell_history"
    for line in ("SELECT 1;", "SELECT 2;"):
        with shell.line_editing(history, ["SELECT", "order_rows", "order_id"]):
            complete = readline.get_completer()
            assert [complete("ord", n) for n in range(3)] == ["order_id", "order_rows", None]
            assert complete("sel", 0) == "SELECT"
            readline.add_history(line)
    assert history.read_text().splitlines()[-2:] == ["SELECT 1;", "SELECT 2;"]
    assert history.stat().st_mode & 0o777 == 0o600
    readline.clear_history()


def test_a_history_that_cannot_be_kept_ends_nothing(tmp_path: Path) -> None:
    pytest.importorskip("readline")
    with shell.line_editing(tmp_path / "no such folder" / "shell_history", []):
        pass
