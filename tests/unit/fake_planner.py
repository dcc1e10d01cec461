"""Flink's planner without Flink: it answers as `python -m jobs.check FOLDER --json` does, and counts its questions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, CompletedProcess, TimeoutExpired
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.product.folder import Product, load_product
from replay.flink import resolved
from tests.unit import folders


@dataclass
class FakePlanner:
    """What it says of the small product, unless it is told `problems`."""

    columns: folders.Types = field(default_factory=lambda: folders.COLUMNS)
    problems: list[dict[str, Any]] = field(default_factory=list)
    noise: str = "WARNING: an illegal reflective access\n"
    """What Java prints before the answer."""
    silent: str = ""
    """It dies with these words."""
    hangs: bool = False
    """It gives no answer."""
    asked: list[list[str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def run(self, command: list[str], **options: Any) -> CompletedProcess[str]:
        self.asked.append(command[1:])
        self.env = options["env"]
        if self.hangs:
            raise TimeoutExpired(command, options["timeout"])
        if self.silent:
            return CompletedProcess(command, 1, self.noise, self.silent)
        product = folders.resolved(load_product(Path(command[3])), self.columns)
        return CompletedProcess(
            command, int(bool(self.problems)), self.noise + json.dumps(self.answer(product)) + "\n"
        )

    def answer(self, product: Product) -> dict[str, Any]:
        known = (
            product.resolved.model_dump(mode="json")
            if product.resolved and not self.problems
            else None
        )
        return {"ok": not self.problems, "problems": self.problems, "resolved": known, "plan": "{}"}

    def refuse(self, construct: str, line: int = 1) -> None:
        self.problems.append(
            {"file": "x.sql", "line": line, "construct": construct, "instead": "y"}
        )


def install(monkeypatch: pytest.MonkeyPatch) -> FakePlanner:
    """In place of the process that Flink would start in."""
    planner = FakePlanner()
    monkeypatch.setattr(
        resolved,
        "subprocess",
        SimpleNamespace(run=planner.run, DEVNULL=DEVNULL, TimeoutExpired=TimeoutExpired),
    )
    return planner
