"""`kappa ci`: what it runs, what it leaves out, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from replay.cli import ci as run_ci
from replay.cli.ci import Answer, review
from replay.cli.ci_markdown import Outcome, Step, page, passed
from replay.output import Output
from tests.unit.test_from_git import git

CHECKED = Answer(
    {"ok": True, "problems": [], "resolved": {"outputs": {"rows": {}}}, "schemas": []}, 0
)
REFUSED = Answer(
    {
        "ok": False,
        "problems": [{"file": "rows.sql", "line": 3, "construct": "NOW()", "instead": "a|b"}],
    },
    1,
)
PLANNED = Answer(
    {"kind": "replay", "reasons": [], "diff": "", "needs": {"records": 7, "seconds": 90}}, 0
)
DOWN = Answer({"error": "RetryableError", "message": "Kafka does not answer"}, 1)
AGREES = Answer({"mismatches": [], "changes": []}, 0)
BROKEN = Answer(
    {
        "mismatches": [],
        "changes": [{"level": "error", "where": "rows.b", "what": "removed", "rule": "x"}],
    },
    1,
)


class Commands:
    """Answers by the first word; what was run."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = {"check": CHECKED, "plan": PLANNED, "contract": AGREES, **answers}
        self.ran: list[list[str]] = []

    def __call__(self, arguments: list[str]) -> Answer:
        self.ran.append(arguments)
        if "--against" in arguments:
            self.against = Path(arguments[-1]).read_text()
        return self.answers[arguments[0]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product in a repository, and a home with a stack."""
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    found = tmp_path / "sql" / "tiny"
    found.mkdir(parents=True)
    (found / "product.yaml").write_text("name: tiny\n")
    return found


def outcomes(steps: list[Step]) -> dict[str, tuple[str, str]]:
    return {s.name: (s.outcome.value, s.said) for s in steps}


def test_every_step_is_done_where_it_can_be(folder: Path) -> None:
    (folder / "contract.yaml").write_text("kind: DataContract\n")
    ran = Commands()
    steps = list(review("tiny", folder, None, ran))
    found = outcomes(steps)
    assert found["check"] == ("passed", "rows: safe to replay")
    assert found["contract"] == ("passed", "contract.yaml is what the SQL gives")
    assert found["plan"] == ("passed", "needs a replay of the log from offset zero")
    assert passed(steps)
    assert ["contract", "tiny", "--from", str(folder)] in ran.ran
    assert ["plan", "tiny", "--from", str(folder)] in ran.ran


def test_behind_sql_that_is_refused_nothing_is_run(folder: Path) -> None:
    ran = Commands(check=REFUSED)
    steps = list(review("tiny", folder, None, ran))
    assert [arguments[0] for arguments in ran.ran] == ["check"]
    assert [s.outcome for s in steps] == [Outcome.failed, *[Outcome.left_out] * 3]
    assert not passed(steps)


def test_what_cannot_be_done_is_left_out_and_fails_nothing(folder: Path) -> None:
    steps = list(review("tiny", folder, None, Commands(plan=DOWN)))
    found = outcomes(steps)
    assert found["contract"] == ("left out", "there is no contract.yaml")
    assert found["tests"][0] == "left out"
    assert found["plan"] == ("left out", "Kafka does not answer")
    assert passed(steps)
    (folder.parents[1] / "config.yaml").unlink()
    *_, plan = review("tiny", folder, None, Commands())
    assert plan.said == f"there is no stack in {folder.parents[1]}"


def test_a_plan_that_is_refused_fails(folder: Path) -> None:
    refused = Answer({"kind": "breaking", "error": "RefusedError", "message": "no"}, 1)
    *_, plan = review("tiny", folder, None, Commands(plan=refused))
    assert (plan.outcome, plan.said) == (Outcome.failed, "no")


def test_the_contract_of_the_base_is_what_others_rely_on(folder: Path) -> None:
    top = folder.parents[1]
    git(top, "init", "--quiet", "--initial-branch", "main")
    (folder / "contract.yaml").write_text("version: before\n")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message", "one")
    (folder / "contract.yaml").unlink()
    ran = Commands(contract=BROKEN)
    found = outcomes(list(review("tiny", folder, "main", ran)))
    assert found["contract"] == ("failed", "1 breaking")
    assert ran.against == "version: before\n"


def test_the_page() -> None:
    steps = [
        Step("check", Outcome.failed, "1 refused", REFUSED.document),
        Step("tests", Outcome.left_out, "there is no folder <b>"),
        Step("contract", Outcome.failed, "1 breaking", BROKEN.document),
        Step("plan", Outcome.passed, "a replay", {**PLANNED.document, "diff": "-```\n+x\n"}),
    ]
    assert page("tiny", steps) == (
        "## tiny: failed\n\n"
        "| step |  |  |\n|---|---|---|\n"
        "| check | **failed** | 1 refused |\n"
        "| tests | **left out** | there is no folder \\<b\\> |\n"
        "| contract | **failed** | 1 breaking |\n"
        "| plan | **passed** | a replay |\n\n"
        "### check\n\n"
        "| where | refused | write instead |\n|---|---|---|\n"
        "| rows.sql:3 | NOW() | a\\|b |\n\n"
        "### contract\n\n"
        "| change | where | what |\n|---|---|---|\n| error | rows.b | removed |\n\n"
        "### plan\n\n"
        "The replay reads 7 records, about 1 min 30 s.\n\n"
        "<details><summary>What changed beside what readers see</summary>\n\n"
        "````diff\n-```\n+x\n````\n\n"
        "</details>\n"
    )


def test_exit_code_and_files(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run_ci, "command", Commands())
    file = tmp_path / "review.md"
    run_ci.ci("tiny", None, None, file, Output.text)
    assert file.read_text().startswith("## tiny: passed\n")
    assert len(capsys.readouterr().out.splitlines()) == 4
    monkeypatch.setattr(run_ci, "command", Commands(check=REFUSED))
    with pytest.raises(typer.Exit) as e:
        run_ci.ci("tiny", None, None, None, Output.json)
    assert e.value.exit_code == 1
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["passed"], document["steps"][0]["outcome"]) == (False, "failed")


def test_a_command_that_says_nothing_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    answer = run_ci.command(["no-such-command"])
    assert answer.code == 2
    assert "no-such-command" in answer.document["message"]
    answer = run_ci.command(["plan", "nowhere"])
    assert (answer.code, answer.document["error"]) == (1, "ConfigError")
