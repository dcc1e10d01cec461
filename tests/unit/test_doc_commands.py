"""Commands that pages show can be run: the command line takes them, and what they name exists."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.cli_doc import commands as known_commands
from tests.doc_commands import (
    LANGUAGES,
    Command,
    commands,
    kappa_arguments,
    make_targets,
    missing,
    parse,
)
from tests.pages import Block, blocks, code_spans, pages

SHOWN = [command for page in pages() for block in blocks(page) for command in commands(block)]
OF_KAPPA = [(c, found) for c in SHOWN if (found := kappa_arguments(c.words)) is not None]


def in_block(text: str, language: str = "sh") -> list[tuple[str, ...]]:
    return [command.words for command in commands(Block(Path("page.md"), 1, language, text))]


def test_there_are_commands() -> None:
    assert len(OF_KAPPA) > 25
    assert len(SHOWN) > 60


def test_each_block_says_what_it_is() -> None:
    found = [block for page in pages() for block in blocks(page)]
    assert [str(block) for block in found if block.language not in LANGUAGES] == []


def test_a_console_block_has_a_command_and_output_has_none() -> None:
    found = [block for page in pages() for block in blocks(page)]
    odd = [
        str(block)
        for block in found
        if (block.language == "console") != any(x.startswith("$ ") for x in block.text.splitlines())
    ]
    assert odd == []


@pytest.mark.parametrize(
    "arguments", [pytest.param(found, id=str(command)) for command, found in OF_KAPPA]
)
def test_the_command_line_takes_it(arguments: tuple[str, ...]) -> None:
    parse(arguments)


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_what_it_names_exists(command: Command) -> None:
    assert missing(command.words) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_and_options_in_sentences_exist(page: Path) -> None:
    known = known_commands()
    wrong = []
    for span in code_spans(page):
        words = span.split()
        if words[0] == "make":
            wrong += [f"{span}: {word}" for word in missing(tuple(words))]
        if words[0] != "kappa" or len(words) == 1 or not words[1].isalpha():
            continue
        if words[1].isupper():  # COMMAND stands for any
            continue
        name = " ".join(words[1:3]) if words[1] == "topic" and len(words) > 2 else words[1]
        if name not in known and name != "topic":
            wrong.append(span)
            continue
        options = {o for p in known[name].params for o in [*p.opts, *p.secondary_opts, "--help"]}
        wrong += [
            f"{span}: {word}"
            for word in words
            if word.startswith("--") and word.partition("=")[0] not in options
        ]
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "chek sql/flights",
        "check",
        "check x --outptu json",
        "up --port-base x",
        "topic creat orders",
        "load flights --scale 0",
    ],
)
def test_what_the_command_line_would_refuse_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(tuple(line.split()))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("make", "demo", "UV=x"), []),
        (("make", "dmeo"), ["dmeo"]),
        (("python", "-m", "bench.ladder"), []),
        (("python", "-m", "bench.lader"), ["bench.lader"]),
        (("psql", "-f", "deploy/postgresql/roles.sql"), []),
        (("psql", "-f", "deploy/postgres/roles.sql"), ["deploy/postgres/roles.sql"]),
        (("deploy/compose/secrets",), []),
        (("docs/README.md",), ["docs/README.md (not executable)"]),
        (("kappa", "check", "sql/orders"), []),
        (("cat", "$KAPPA_HOME/attempts/x.json", "/etc/hosts", "bench/results/*.json"), []),
    ],
    ids=str,
)
def test_what_is_missing_is_found(words: tuple[str, ...], found: list[str]) -> None:
    assert missing(words) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kappa up && kappa down  # both", [("kappa", "up"), ("kappa", "down")]),
        ('echo \'{"a": "b|c"}\' |\n  kappa up', [("echo", '{"a": "b|c"}'), ("kappa", "up")]),
        ("A=1 kappa status >log", [("kappa", "status")]),
        ("kappa query t \\\n  'SELECT 1'", [("kappa", "query", "t", "SELECT 1")]),
        ("# nothing\n", []),
    ],
)
def test_commands_of_a_block(text: str, found: list[tuple[str, ...]]) -> None:
    assert in_block(text) == found


def test_of_a_console_only_what_stands_behind_the_prompt_is_a_command() -> None:
    assert in_block("$ kappa check x\nx: safe\n$ kappa up\n", "console") == [
        ("kappa", "check", "x"),
        ("kappa", "up"),
    ]
    assert in_block("kappa up\n", "text") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("~/kappa/bin/kappa up", ("up",)),
        ("docker compose run --rm -T kappa topic produce x", ("topic", "produce", "x")),
        ("kubectl exec deploy/client -- python -m local.image run deploy x", ("deploy", "x")),
        ("docker compose up --wait", None),
    ],
)
def test_kappa_is_found_in_containers_too(words: str, found: tuple[str, ...] | None) -> None:
    assert kappa_arguments(tuple(words.split())) == found


def test_targets_are_read_from_the_makefile() -> None:
    assert {"demo", "unit", "bench-peers", "help"} <= make_targets()
