"""Commands that the program tells people to type: found in its source, and parsed as the command line does."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tests.cli_doc import commands
from tests.doc_commands import parse
from tests.pages import ROOT

FOLDERS = ("replay", "local", "demo", "jobs")
VALUE = "1"
"""Stands for what a message fills in: a name, a number and a path may all be it."""
_COMMAND = re.compile(r"(?<![\w./-])kappa (?!that |and |job )(?=[a-z])")
_END = re.compile(r"  |[;,()\n`]|: |, | then |$")
_LITERAL = (ast.Constant, ast.JoinedStr)


@dataclass(frozen=True)
class Hint:
    """A command in a message."""

    where: str
    """File and line."""
    words: tuple[str, ...]
    """Behind `kappa`; what is filled in is `VALUE`."""
    is_next: bool
    """What is to be typed next; else a sentence may go on behind the command."""

    def __str__(self) -> str:
        return f"{self.where}: kappa {shlex.join(self.words)}"

    @property
    def command(self) -> str:
        """Its name, such as `topic create`; empty: there is no such command."""
        known = commands()
        names = (" ".join(self.words[:n]) for n in (2, 1))
        return next((name for name in names if name in known), "")


def hints() -> list[Hint]:
    """All of them."""
    files = (f for folder in FOLDERS for f in sorted((ROOT / folder).rglob("*.py")))
    return [hint for file in files for hint in hints_of(file)]


def hints_of(file: Path) -> Iterator[Hint]:
    """Those of a module, in any string of it that is no docstring."""
    for line, text, is_next in _texts(ast.parse(file.read_text())):
        for words in words_of(text):
            yield Hint(
                f"{file.relative_to(ROOT)}:{line}", words, is_next or text.startswith("next:")
            )


def words_of(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each command in a text."""
    for found in _COMMAND.finditer(text):
        rest = text[found.end() :]
        end = _ending(rest)
        if -1 < (opened := rest.find('"')) < end and (closed := rest.find('"', opened + 1)) > 0:
            end = closed + 1 + _ending(rest[closed + 1 :])
        try:
            yield tuple(shlex.split(rest[:end]))
        except ValueError:  # an apostrophe of the sentence behind it
            yield tuple(rest[:end].split())


def _ending(text: str) -> int:
    found = _END.search(text)
    assert found is not None
    return found.start()


def fault(hint: Hint) -> str:
    """Why the hint cannot be typed; empty: it can. Behind the command of a sentence more words may follow."""
    if not hint.command:
        return f"{hint}: no such command"
    words = hint.words
    while True:
        try:
            parse(words)
            return ""
        except click.exceptions.Exit:  # --help
            return ""
        except click.UsageError as e:
            is_only_named = not hint.is_next and words == tuple(hint.command.split())
            if is_only_named:
                return ""
            if hint.is_next or words[-1].startswith("-"):
                return f"{hint}: {e.format_message()}"
            words = words[:-1]


def _texts(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line, text and whether it is the `next` of an error."""
    skip = {id(docstring) for docstring in _docstrings(tree)}
    following = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "next"
        for inner in ast.walk(node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skip |= {id(v) for v in node.values}
        if isinstance(node, _LITERAL) and id(node) not in skip and (text := _text(node)):
            yield node.lineno, text, id(node) in following


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(v.value) if isinstance(v, ast.Constant) else VALUE for v in node.values)


def _docstrings(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr):
                yield statement.value
