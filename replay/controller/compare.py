"""The comparison behind a verification; `python -m replay.controller.compare PRODUCT SHADOW` for the controller's loop.

It may take minutes, and as much memory as DuckDB wants: the loop has other products to serve meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

from replay.compare import diff as differing
from replay.compare.diff import Side
from replay.controller import verify
from replay.controller.compare_process import COMPARE_SECONDS
from replay.controller.platform import Platform
from replay.controller.verify import Verdict
from replay.core.model import ProductState
from replay.errors import KappaError
from replay.settings import Settings, load_settings
from replay.store.store import Store


def compare(settings: Settings, platform: Platform, state: ProductState, name: str) -> Verdict:
    """The rows of a shadow against those that readers see now."""
    shadow, published = state.attempt(name), state.published
    assert published is not None, "a shadow is of what readers see"
    shown = state.attempt(published.attempt_name)
    checkpoint, covered = verify.taken(shadow)
    report = differing.diff(
        settings,
        Side(shown.name, platform.product(shown, state), published.after, published.covered),
        Side(shadow.name, platform.product(shadow, state), checkpoint.snapshots, covered),
    )
    return Verdict(shadow, shown, published, checkpoint.id, report)


def main(product: str, shadow: str) -> None:
    """Print what was found, or why nothing was, as one line of JSON."""
    signal.alarm(int(COMPARE_SECONDS))  # the controller that started it may have ended
    os.nice(10)  # the jobs come first
    try:
        settings = load_settings()
        verdict = compare(settings, Platform(settings), Store(settings.store).load(product), shadow)
    except KappaError as e:
        _answer({"trouble": str(e)})
        return
    _answer({"finding": asdict(verdict.finding)})


def _answer(document: dict[str, Any]) -> None:
    """To the controller, which reads the last line (`compare_process.py`)."""
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
