"""Markdown pages of this repository: their headings, their links, and what generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^(```|~~~).*?^\1 *$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"^(?P<fence>```|~~~)(?P<language>\w*) *\n(?P<text>.*?)^(?P=fence) *$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Link:
    """A link of a page: `target` as it is written, such as `config.md#environment`."""

    page: Path
    target: str

    @property
    def file(self) -> Path:
        path = self.target.partition("#")[0]
        return (self.page.parent / path).resolve() if path else self.page

    @property
    def anchor(self) -> str:
        return self.target.partition("#")[2]

    @property
    def leaves_the_repository(self) -> bool:
        return "://" in self.target or self.target.startswith("mailto:")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Of its opening fence, from 1."""
    language: str
    """Empty where the page names none."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found["language"], found["text"])


def pages() -> list[Path]:
    """All Markdown files, without those of tools and virtual environments."""
    found = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")]
    for folder in (
        "bench",
        "demo",
        "deploy",
        "docs",
        "jobs",
        "local",
        "replay",
        "sql",
        "tests",
        "udfs",
    ):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def links(page: Path) -> Iterator[Link]:
    """The links of a page that are no code."""
    prose = re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", page.read_text()))
    yield from (Link(page, target) for target in _LINK.findall(prose))


def code_spans(page: Path) -> list[str]:
    """What stands in `backticks` in the sentences and tables of a page, each on one line."""
    spans = re.findall(r"`([^`]+)`", _FENCE.sub("", page.read_text()))
    return [" ".join(span.split()) for span in spans if span.strip()]


def headings(page: Path) -> list[tuple[str, str]]:
    """Anchor, as GitHub makes it, and text of each heading."""
    found: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text())):
        anchor = slug(heading)
        count = seen[anchor] = seen.get(anchor, -1) + 1
        found.append((f"{anchor}-{count}" if count else anchor, heading))
    return found


def slug(heading: str) -> str:
    """GitHub's anchor of a heading: lower case, without punctuation, a hyphen for each space."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def title(page: Path, anchor: str = "") -> str:
    """The text of a page's heading, by default the first."""
    found = headings(page)
    return next(text for name, text in found if name == (anchor or found[0][0]))


def link(page: Path, target: str) -> str:
    """A link from the page to the target, under the heading that the target has."""
    to = Link(page, target)
    return f"[{title(to.file, to.anchor)}]({target})"


def cell(text: str) -> str:
    """The text in one line of a table."""
    return " ".join(text.split()).replace("|", "\\|")
