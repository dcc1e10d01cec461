"""docs/events.md, from the reasons themselves: `python -m tests.events_doc > docs/events.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from replay.core.events import Reason

DOC = Path(__file__).parents[1] / "docs" / "events.md"
_INTRODUCTION = """# Events of a product's history

`kappa history NAME` lists what became of each [attempt](concepts.md#attempt) of a product. With `--output json` each
event has `at` (UTC), `attempt`, `reason` and `detail`. The reason is one of those below and does not change between
versions; the detail is for people, and its wording may change.

| reason | meaning |
|---|---|
"""
_OUTRO = """
Stores of earlier versions have `checks failed` and `not verified` for `checks_failed` and `not_verified`; they are read
as these. This page is written by `python -m tests.events_doc`.
"""


def text() -> str:
    """The page."""
    return _INTRODUCTION + "".join(f"| `{r.value}` | {r.sentence} |\n" for r in Reason) + _OUTRO


if __name__ == "__main__":
    sys.stdout.write(text())
