"""`kappa check`, apart from what Flink's planner says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replay import running
from replay.errors import ConfigError, RefusedError
from replay.output import Output
from tests.unit.folders import CONTRACT, changed, write


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the planner answers, in a home without a stack."""
    answer: dict[str, Any] = {"ok": True, "problems": [], "plan": ""}
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(running.deploying, "check", lambda *_: answer)
    return answer


def problem(construct: str) -> dict[str, Any]:
    return {"ok": False, "problems": [{"file": "x.sql", "line": 1, "construct": construct, "instead": "y"}]}


def test_without_flinks_connectors_it_says_how_to_get_them(planner: dict[str, Any], tmp_path: Path) -> None:
    planner.update(problem("Could not find any factory for identifier 'kappa-log' that implements '…TableFactory'"))
    with pytest.raises(ConfigError) as e:
        running.check(write(tmp_path / "tiny").folder, Output.text)
    assert str(e.value) == (
        "the SQL could not be planned: there is no Flink with Kafka's connector\n"
        f"  expected: a stack in {tmp_path / 'home'}, running or not\n"
        "  found:    none\n"
        "  next:     kappa up, once; then the same again")


def test_what_the_text_says_needs_no_connectors(planner: dict[str, Any], tmp_path: Path) -> None:
    planner.update(problem("PROCTIME()"))
    with pytest.raises(RefusedError, match=r"PROCTIME\(\)"):
        running.check(write(tmp_path / "tiny").folder, Output.text)


@pytest.mark.usefixtures("planner")
def test_checks_and_quality_rules_are_tried_too(tmp_path: Path) -> None:
    running.check(write(tmp_path / "fine").folder, Output.text)
    wrong = write(tmp_path / "wrong", contract=changed(
        CONTRACT, lambda c: c["schema"][0].update(quality=[{"type": "text", "description": "good"}])))
    with pytest.raises(ConfigError, match="a quality rule of rows cannot be run"):
        running.check(wrong.folder, Output.text)
    (wrong.folder / "contract.yaml").write_text((tmp_path / "fine" / "contract.yaml").read_text())
    (wrong.folder / "checks" / "x.sql").write_text("SELECT colour FROM rows")
    with pytest.raises(ConfigError, match=r"the check 'checks/x\.sql' cannot run"):
        running.check(wrong.folder, Output.text)
