"""`kappa check`, apart from what Flink's planner says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer

from jobs.check import check
from replay.cli import check as run_check
from replay.errors import ConfigError, RefusedError
from replay.output import Output
from tests.unit import fake_planner, folders
from tests.unit.fake_planner import FakePlanner
from tests.unit.folders import COLUMNS, CONTRACT, SETTINGS, changed, write


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePlanner:
    """In a home without a stack."""
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("replay.output.out.width", 200)
    return fake_planner.install(monkeypatch)


@pytest.mark.parametrize("output", Output)
def test_without_flinks_connectors_it_says_how_to_get_them(
    planner: FakePlanner, tmp_path: Path, output: Output
) -> None:
    planner.refuse(
        "Could not find any factory for identifier 'kappa-log' that implements '…TableFactory'"
    )
    with pytest.raises(ConfigError) as e:
        run_check.check(write(tmp_path / "tiny").folder, output)
    assert str(e.value) == (
        "the SQL could not be planned: there is no Flink with Kafka's connector\n"
        f"  expected: a stack in {tmp_path / 'home'}, running or not\n"
        "  found:    none\n"
        "  next:     kappa up, once; then repeat the command"
    )


def test_what_is_refused_is_listed(planner: FakePlanner, tmp_path: Path) -> None:
    planner.refuse("PROCTIME")
    planner.refuse("join", line=0)
    folder = write(tmp_path / "tiny").folder
    with pytest.raises(RefusedError) as e:
        run_check.check(folder, Output.text)
    assert str(e.value) == (
        "this product cannot be deployed:\n"
        "    x.sql:1: PROCTIME\n      write instead: y\n"
        "    x.sql: join\n      write instead: y\n"
        f"  next:     fix these, then: kappa check {folder}"
    )


def test_json_says_the_same(
    planner: FakePlanner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "tiny").folder
    for problems in (0, 1):
        with pytest.raises(typer.Exit) as e:
            run_check.check(folder, Output.json)
        document = json.loads(capsys.readouterr().out)
        assert (e.value.exit_code, document["ok"], len(document["problems"])) == (
            problems,
            not problems,
            problems,
        )
        planner.refuse("PROCTIME")


@pytest.mark.usefixtures("planner")
def test_what_follows_from_the_sql_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = write(
        tmp_path / "tiny",
        settings=changed(
            SETTINGS,
            lambda s: s["outputs"].update(sums={"window": {"column": "day", "size": "1d"}}),
        ),
    )
    assert run_check.output_rows(product) == [
        {"table": "rows", "kind": "rows", "of": "orders", "key": "a", "window": "", "columns": 4},
        {
            "table": "sums",
            "kind": "aggregate",
            "of": "",
            "key": "",
            "window": "1d from day",
            "columns": 2,
        },
        {"table": "rejects", "kind": "rejects", "of": "", "key": "", "window": "", "columns": 6},
    ]
    run_check.check(product.folder, Output.text)
    text = capsys.readouterr().out
    assert "safe to replay" in text and "1d from day" in text and "waits" not in text


def test_the_longest_wait_is_told(
    planner: FakePlanner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    product = write(tmp_path / "tiny")
    assert product.resolved is not None
    slow = product.model_copy(
        update={"resolved": product.resolved.model_copy(update={"longest_wait": 3600.0})}
    )
    monkeypatch.setattr(folders, "resolved", lambda *_: slow)
    run_check.check(product.folder, Output.text)
    assert "a row waits for at most 3,600 s of the log's clock" in capsys.readouterr().out


@pytest.mark.usefixtures("planner")
def test_checks_and_quality_rules_are_tried_too(tmp_path: Path) -> None:
    run_check.check(write(tmp_path / "fine").folder, Output.text)
    wrong = write(
        tmp_path / "wrong",
        contract=changed(
            CONTRACT,
            lambda c: c["schema"][0].update(quality=[{"type": "text", "description": "good"}]),
        ),
    )
    for output in Output:
        with pytest.raises(ConfigError, match="a quality rule of rows cannot be run"):
            run_check.check(wrong.folder, output)
    (wrong.folder / "contract.yaml").write_text((tmp_path / "fine" / "contract.yaml").read_text())
    (wrong.folder / "checks" / "x.sql").write_text("SELECT colour FROM rows")
    with pytest.raises(ConfigError, match=r"the check 'checks/x\.sql' cannot run"):
        run_check.check(wrong.folder, Output.text)


def test_a_check_of_a_column_that_the_planner_took_away(
    planner: FakePlanner, tmp_path: Path
) -> None:
    product = write(tmp_path / "tiny")
    (product.folder / "checks" / "b.sql").write_text("SELECT * FROM rows WHERE b IS NULL")
    run_check.check(product.folder, Output.text)
    planner.columns = {**COLUMNS, "rows": COLUMNS["rows"][:1]}
    (product.folder / "contract.yaml").unlink()
    with pytest.raises(ConfigError, match=r"the check 'checks/b\.sql' cannot run"):
        run_check.check(product.folder, Output.text)


def test_a_folder_that_cannot_be_read_starts_no_planner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jobs.planner.resolve", None)
    file = tmp_path / "product.yaml"
    assert check(tmp_path) == {
        "ok": False,
        "resolved": None,
        "plan": "",
        "problems": [{"file": str(file), "line": 0, "construct": "none", "instead": "a file"}],
    }
    write(tmp_path)
    file.write_text(file.read_text().replace("1h", "soon"))
    (problem,) = check(tmp_path)["problems"]
    assert problem["file"] == str(file) and problem["construct"] == "'soon'"
    assert problem["instead"].startswith("topics.orders.allowed_lateness: a duration")


@pytest.mark.usefixtures("planner")
def test_a_folder_that_is_watched_is_checked_again_when_a_file_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "tiny").folder
    sql, yaml = folder / "rows.sql", folder / "product.yaml"
    fine, calm = yaml.read_text(), iter(["nothing", "wrong", "nothing", "fine", "end"])

    def edit(_: float) -> None:
        match next(calm):
            case "wrong":
                yaml.write_text(fine + "colour: red\n")
            case "fine":
                yaml.write_text(fine)
                sql.write_text(sql.read_text() + "-- a comment\n")
            case "end":
                raise KeyboardInterrupt

    run_check.watch(folder, Output.text, edit)
    said = capsys.readouterr().out
    assert [word for word in said.split() if word in ("passed", "refused")] == [
        "passed",
        "refused",
        "passed",
    ]
    assert "colour" in said


def test_a_folder_that_is_not_there_is_not_watched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no product in"):
        run_check.watch(tmp_path / "nowhere", Output.text)
