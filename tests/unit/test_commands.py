"""The commands for products, where a person gets them wrong."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from replay.audit import audit as auditing
from replay.cli import running
from replay.cli.main import app
from replay.core.model import Attempt, Publication, Release, State
from replay.core.observed import FlinkDownError
from replay.errors import ConfigError, KappaError, RefusedError
from replay.settings import load_settings
from replay.store.store import Store
from tests.unit import products

FLIGHTS = Path(__file__).parents[2] / "sql" / "flights"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose stack is down: every port is one that nobody listens on."""
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "kafka": {"bootstrap.servers": "127.0.0.1:9"},
                "registry": "http://127.0.0.1:9",
                "flink": {
                    "rest": "http://127.0.0.1:9",
                    "home": str(tmp_path / "flink"),
                    "checkpoints": "file:///ck",
                },
                "catalog": {
                    "flink": {},
                    "pyiceberg": {
                        "type": "sql",
                        "uri": f"sqlite:///{tmp_path}/c.db",
                        "warehouse": str(tmp_path),
                    },
                },
                "store": f"sqlite:///{tmp_path / 'store.db'}",
                "secrets": str(tmp_path / "secrets"),
            }
        )
    )
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def failure(*arguments: str) -> KappaError:
    error = run(*arguments).exception
    assert isinstance(error, KappaError), error
    return error


def test_deploy_without_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "none"))
    error = failure("deploy", "flights")
    assert isinstance(error, ConfigError)
    assert error.next == "kappa up"


def test_deploy_with_the_stack_down(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FLIGHTS.parent.parent)
    error = failure("deploy", "flights")
    assert isinstance(error, FlinkDownError)
    assert error.next == "kappa up  (or: kappa status)"


def test_deploy_of_another_products_folder(home: Path) -> None:
    error = failure("deploy", "weather", "--from", str(FLIGHTS))
    assert (error.expected, error.found) == ("name: weather in product.yaml", "name: flights")
    assert error.next == f"kappa deploy flights --from {FLIGHTS}"


def test_check_of_a_folder_that_is_none(home: Path, tmp_path: Path) -> None:
    error = failure("check", str(tmp_path / "nothing"))
    assert isinstance(error, ConfigError)
    assert (error.message, error.next) == (
        f"there is no product in {tmp_path}/nothing",
        "kappa new NAME --topic T, which writes one",
    )


@pytest.mark.parametrize("command", [("audit", "flights"), ("attempts", "flights")])
def test_what_was_never_deployed(home: Path, command: tuple[str, ...]) -> None:
    error = failure(*command)
    assert (error.message, error.next) == (
        "nothing of 'flights' is published",
        "kappa deploy flights",
    )


@pytest.mark.parametrize("branch", ["main", "genesis"])
def test_a_run_by_hand_never_writes_what_readers_see(home: Path, branch: str) -> None:
    assert isinstance(failure("prepare", "flights", "--branch", branch), RefusedError)


def remember(*attempts: Attempt, publication: Publication | None = None) -> None:
    store = Store(load_settings().store)
    lease = store.acquire("flights", "test", 1e12)
    assert lease
    store.add_release(lease, Release("flights", 1, "f", 0.0, {}))
    store.save(lease, *attempts)
    if publication:
        store.finish_publication(lease, store.begin_publication(lease, publication), 1.0)
    store.close()


FAILED = Attempt("flights", 1, 1, 0.0, 2, ("a" * 32,), State.failed, error="no column x")
ACTIVE = Attempt("flights", 1, 2, 1.0, 2, ("b" * 32,), State.active)
PUBLICATION = Publication(0, "flights", 1, 2, 9, {"t": 1}, {"t": 2}, {"flights": {0: 100}}, 0.0)


def test_attempts_as_a_table_and_as_json(home: Path) -> None:
    remember(FAILED, ACTIVE, publication=PUBLICATION)
    text = run("attempts", "flights").output
    assert "r1-a2" in text
    assert "flights r1-a1: no column x" in text
    rows = json.loads(run("attempts", "--output", "json").output)
    assert [(r["attempt"], r["state"], r["published"], r["covers"], r["error"]) for r in rows] == [
        ("r1-a1", "failed", None, None, "no column x"),
        ("r1-a2", "active", 9, 100, ""),
    ]


def audited(monkeypatch: pytest.MonkeyPatch, unaccounted: int) -> list[auditing.AuditSubject]:
    asked: list[auditing.AuditSubject] = []

    def audit(_: object, __: object, subject: auditing.AuditSubject) -> auditing.AuditReport:
        asked.append(subject)
        counts = {"rows": 48, "duplicates": 2 - unaccounted, "late": 0}
        return auditing.AuditReport(
            "flights",
            tuple(
                auditing.PartitionAudit(
                    "flights", p, 50, counts, unaccounted, samples={"unaccounted": (7,)}
                )
                for p in (0, 1)
            ),
        )

    monkeypatch.setattr(auditing, "audit", audit)
    monkeypatch.setattr("replay.cli.running.Platform.product", lambda *_: products.flights())
    return asked


def test_audit_asks_for_exactly_what_is_published(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(ACTIVE, publication=PUBLICATION)
    asked = audited(monkeypatch, 0)
    result = run("audit", "flights")
    assert result.exit_code == 0
    assert asked == [auditing.AuditSubject({"t": 2}, {"flights": {0: 100}})]
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in result.output.splitlines()
        if "│" in line
    ]
    assert rows == [["records", "100"], ["rows", "96"], ["duplicates", "4"], ["unaccounted", "0"]]


def test_audit_says_that_publishing_has_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(ACTIVE, publication=PUBLICATION)
    audited(monkeypatch, 0)
    monkeypatch.setattr(running, "look", lambda *_: SimpleNamespace(stopped="stopped: why"))
    assert run("audit", "flights").output.splitlines()[-1] == "stopped: why"
    assert (
        json.loads(run("audit", "flights", "--output", "json").stdout)["publishing_stopped"]
        == "stopped: why"
    )


def test_audit_fails_for_a_single_offset(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(ACTIVE, publication=PUBLICATION)
    audited(monkeypatch, 1)
    error = failure("audit", "flights")
    assert str(error) == (
        "flights does not account for every record\n"
        "  expected: 0 unaccounted, no violation\n"
        "  found:    flights-0: 1 unaccounted, such as at offsets 7; flights-1: 1 unaccounted, such as at offsets 7\n"
        "  next:     if the SELECT of a row table of flights leaves them out (a WHERE, an inner join), say so with "
        "where: in product.yaml, or use a LEFT JOIN; else a replay has them: kappa deploy flights --again\n"
        "            keep this output"
    )
