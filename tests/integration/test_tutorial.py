"""The tutorial, as it stands: its files written, its commands typed one after the other, and what they print.

On the stack that tests share, so its topic has another name of the same length.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import RunningStack
from tests.integration.test_orders import stop_jobs
from tests.pages import ROOT, Block, blocks

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

NAME = "trades"
_OF_THE_STACK = ("export KAPPA_HOME", "kappa up")
"""Commands of a stack of its own."""
_VARIES = re.compile(r"\bid \d+|in [\d.]+ s\b")
_BOXES = re.compile("[┏┓┗┛┡┩├┤└┘┳┻╇┴┼━─┃│]+")


@pytest.fixture(scope="module")
def typed(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which everything was typed."""
    folder = tmp_path_factory.mktemp("tutorial")
    try:
        for block in blocks(ROOT / "docs" / "tutorial.md"):
            follow(stack, folder, block)
        yield folder
    finally:
        stop_jobs(stack, NAME)


def follow(stack: RunningStack, folder: Path, block: Block) -> None:
    """Do what a block of the page says."""
    text, schema = block.text.replace("orders", NAME), folder / f"{NAME}.avsc"
    if block.language == "json":
        (schema if not schema.exists() else folder / f"{NAME}.jsonl").write_text(text)
    elif "currency" in text and block.language == "text":
        last = '    {"name": "note", "type": ["null", "string"], "default": null}\n'
        assert last in schema.read_text()
        schema.write_text(schema.read_text().replace(last, text))
    elif block.language == "console":
        for command, printed in commands(text):
            if not command.startswith(_OF_THE_STACK):
                type_in(stack, folder, command, printed)
                if command.startswith("kappa pull"):
                    select = folder / "sql" / NAME / f"{NAME}_rows.sql"
                    select.write_text(select.read_text().replace("note", "note, currency"))


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def type_in(stack: RunningStack, folder: Path, command: str, printed: str) -> None:
    """Run a command; it prints what the page shows, and fails only where that is an error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**stack.kappa.environment, "PATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) != printed.startswith("error:"), f"{command}\n{said}"
    assert words(printed) in words(said), f"{command}\n{said}"


def words(text: str) -> str:
    """A text without its line ends and boxes, and without what differs from run to run."""
    return " ".join(_VARIES.sub("…", _BOXES.sub(" ", text)).split())


def test_rows_are_those_that_the_page_tells_of(stack: RunningStack, typed: Path) -> None:
    rows = stack.kappa.json(
        "query", NAME, f"SELECT order_id, currency FROM {NAME}_rows ORDER BY order_id"
    )
    assert rows == [{"order_id": f"o{n}", "currency": "EUR"} for n in (1, 2, 3, 4)]
    rejects = stack.kappa.json("query", NAME, "SELECT log_offset, reason FROM rejects")
    assert [(r["log_offset"], r["reason"].partition(":")[0]) for r in rejects] == [
        (5, "out of order")
    ]


def test_the_audit_counts_what_the_page_shows(stack: RunningStack, typed: Path) -> None:
    found = stack.kappa("audit", NAME).stdout
    (shown,) = (b.text for b in blocks(ROOT / "docs" / "tutorial.md") if "unaccounted" in b.text)
    assert words(shown.replace("orders", NAME)) in words(found)
