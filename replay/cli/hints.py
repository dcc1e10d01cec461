"""Hints name a product by what works when it is typed: with the folder that the command was given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replay.errors import KappaError

TAKE_A_FOLDER = ("acls", "ci", "contract", "deploy", "plan", "prepare", "pull")
"""Commands with --from."""


def with_folder(text: str, name: str, source: Path | None) -> str:
    """The text, whose commands for a product have the folder that it was found in."""
    if source is None:
        return text
    commands = rf"\bkappa (?:{'|'.join(TAKE_A_FOLDER)}) {re.escape(name)}(?![\w.-])(?! --from)"
    return re.sub(commands, lambda found: f"{found[0]} --from {shlex.quote(str(source))}", text)


@contextmanager
def naming(name: str, source: Path | None) -> Iterator[None]:
    """Errors within the block say what to type of a product that is in this folder."""
    try:
        yield
    except KappaError as e:
        e.next = with_folder(e.next, name, source)
        raise
