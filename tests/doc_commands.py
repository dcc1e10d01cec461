"""Shell commands of Markdown pages: found in their fenced blocks, split into words, held against the program."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from tests.cli_doc import root
from tests.pages import ROOT, Block

LANGUAGES = ("sh", "console", "text", "yaml", "json", "sql", "python", "promql")
"""Of fenced blocks. `sh` are commands; `console` are commands behind `$ ` and what they print; `text` is output and
drawings."""
CREATED = ("sql/orders",)
"""Paths that commands of a page create."""
_FOLDERS = ("bench", "demo", "deploy", "docs", "jobs", "local", "replay", "sql", "tests", "udfs")
_SEPARATORS = frozenset({"&&", "||", "|", ";", "&", "(", ")"})
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_KAPPA_IN_A_CONTAINER = ("docker", "compose", "run")


@dataclass(frozen=True)
class Command:
    """One simple command, without the assignments before it and without redirections."""

    block: Block
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.block}: {shlex.join(self.words)}"


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block, in their order; none in a block that is neither `sh` nor `console`."""
    for line in _lines(block):
        yield from (Command(block, words) for words in _simple(line))


def _lines(block: Block) -> Iterator[str]:
    """Command lines, continued lines joined."""
    if block.language not in ("sh", "console"):
        return
    text = re.sub(r"(?:\\|(?<=\|))\n\s*", " ", block.text)
    for line in text.splitlines():
        if block.language == "sh":
            yield line
        elif line.startswith("$ "):
            yield line.removeprefix("$ ")


def _simple(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in lexer:
        if skip:
            skip = False
        elif word in _SEPARATORS:
            yield from _command(words)
            words = []
        elif set(word) <= set("<>"):
            skip = True
        else:
            words.append(word)
    yield from _command(words)


def _command(words: list[str]) -> Iterator[tuple[str, ...]]:
    while words and (_ASSIGNMENT.match(words[0]) or words[0] in ("do", "then")):
        words = words[1:]
    if words:
        yield tuple(words)


def kappa_arguments(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """What `kappa` is given, also in a container; None where another program is run."""
    if words[0].rpartition("/")[2] == "kappa":
        return words[1:]
    if words[:3] == _KAPPA_IN_A_CONTAINER and "kappa" in words:
        return words[words.index("kappa") + 1 :]
    if "local.image" in words:
        return words[words.index("run", words.index("local.image")) + 1 :]
    return None


def parse(arguments: tuple[str, ...]) -> None:
    """Parse as the command line does and run nothing; click.UsageError for what it would refuse."""
    command = root()
    context = command.make_context("kappa", list(arguments))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def missing(words: tuple[str, ...]) -> list[str]:
    """What a command names and the repository has not: targets of make, modules, paths."""
    found = []
    if words[0] == "make":
        found += [w for w in words[1:] if "=" not in w and w not in make_targets()]
    if "-m" in words and words[0].startswith("python"):
        module = words[words.index("-m") + 1]
        if module.split(".")[0] in _FOLDERS and find_spec(module) is None:
            found.append(module)
    if words[0] == "kubectl":  # deploy/client is an object of Kubernetes
        return found
    paths = [path for word in words for path in word.split("=")[-1:] if _is_ours(path)]
    found += [path for path in paths if not (ROOT / path).exists()]
    if _is_ours(words[0]) and not os.access(ROOT / words[0], os.X_OK):
        found.append(f"{words[0]} (not executable)")
    return found


def _is_ours(word: str) -> bool:
    path = Path(word.removeprefix("./"))
    return (
        "/" in word
        and path.parts[0] in _FOLDERS
        and not word.startswith(CREATED)
        and not re.search(r"[*…$]", word)
    )
