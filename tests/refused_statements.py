"""What docs/pipelines.md says is refused: each statement with the file that it would stand in, and the answer to it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.pages import ROOT

PAGE = ROOT / "docs" / "pipelines.md"
_HEADING = re.compile(r"^### +", re.MULTILINE)
_BLOCK = re.compile(r"^```(?:sql|yaml)\n(?P<text>(?:--|#) (?P<file>\S+)\n.*?)^```$", re.M | re.S)
_ANSWER = re.compile(r"^> (?P<construct>.+)\n>\n> write instead: (?P<instead>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Refused:
    """A statement, as the page has it."""

    title: str
    file: Path
    """Of a product of the repository; the statement takes the place of its content."""
    text: str
    answers: tuple[tuple[str, str], ...]
    """What `kappa check` calls it, and what to write instead."""


def refused() -> Iterator[Refused]:
    """All of the page, in their order."""
    for section in _HEADING.split(PAGE.read_text())[1:]:
        block = _BLOCK.search(section)
        assert block, section
        answers = [
            (html.unescape(found["construct"]), html.unescape(found["instead"]))
            for found in _ANSWER.finditer(section)
        ]
        title = section.splitlines()[0]
        yield Refused(title, ROOT / block["file"], block["text"], tuple(answers))
