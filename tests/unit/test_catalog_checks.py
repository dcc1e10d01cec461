"""Checks of catalogs find what is wrong with one that is, and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import BadRequestError, ForbiddenError
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from sqlalchemy.exc import ProgrammingError
from typer.testing import CliRunner

from replay.cli.main import app
from replay.errors import RefusedError
from replay.finding import Finding
from replay.iceberg import catalog_commit_checks, commits, lake, rest_commits, table_changes
from replay.iceberg.catalog_checks import CHECKS, Check, examine, result
from replay.iceberg.catalog_ground import CheckNamespace, ground
from replay.settings import Settings
from tests.unit.lake_tables import make_settings, on_disk

Patch = pytest.MonkeyPatch


@pytest.fixture
def reopen(settings: Settings) -> Callable[[], Catalog]:
    return partial(lake.open_catalog, settings)


def check(name: str) -> Check:
    return next(c for c in CHECKS if c.name == name)


# Catalogs that are not as they should be


def _forgets_refs(patch: Patch) -> None:
    load = SqlCatalog.load_table

    def forgetful(self: SqlCatalog, identifier: Any) -> Table:
        table = load(self, identifier)
        refs = {name: ref for name, ref in table.metadata.refs.items() if name == lake.MAIN}
        table.metadata = table.metadata.model_copy(update={"refs": refs})
        return table

    patch.setattr(SqlCatalog, "load_table", forgetful)


def _commits(patch: Patch, change: Callable[[Any, Any], tuple[Any, Any]]) -> None:
    """Requirements and updates reach the catalog as something else."""
    commit_table = SqlCatalog.commit_table

    def other(
        self: SqlCatalog, table: Table, requirements: Any, updates: Any
    ) -> CommitTableResponse:
        return commit_table(self, table, *change(requirements, updates))

    patch.setattr(SqlCatalog, "commit_table", other)


def _appends_to_main(patch: Patch) -> None:
    def change(requirements: Any, updates: Any) -> tuple[Any, Any]:
        if any(isinstance(u, AddSnapshotUpdate) for u in updates):
            updates = tuple(
                u.model_copy(update={"ref_name": lake.MAIN})
                if isinstance(u, SetSnapshotRefUpdate)
                else u
                for u in updates
            )
        return requirements, updates

    _commits(patch, change)


def _takes_stale_commits(patch: Patch) -> None:
    _commits(patch, lambda _, updates: ((), updates))


def _forgets_summaries(patch: Patch) -> None:
    def bare(update: Any) -> Any:
        if not isinstance(update, AddSnapshotUpdate):
            return update
        assert update.snapshot.summary
        summary = update.snapshot.summary.model_copy()
        said = summary.additional_properties
        summary._additional_properties = {
            k: v for k, v in said.items() if not k.startswith("flink.")
        }
        return update.model_copy(
            update={"snapshot": update.snapshot.model_copy(update={"summary": summary})}
        )

    _commits(patch, lambda requirements, updates: (requirements, tuple(map(bare, updates))))


def _loses_a_commit(patch: Patch) -> None:
    commit_table = SqlCatalog.commit_table

    def other(
        self: SqlCatalog, table: Table, requirements: Any, updates: Any
    ) -> CommitTableResponse:
        if any(
            isinstance(u, AddSnapshotUpdate) and lake.written_by(u.snapshot)[1] == 3
            for u in updates
        ):
            return CommitTableResponse.model_validate(
                {"metadata": table.metadata, "metadata-location": table.metadata_location}
            )
        return commit_table(self, table, requirements, updates)

    patch.setattr(SqlCatalog, "commit_table", other)


def _commits_one_by_one(patch: Patch) -> None:
    def one_by_one(catalog: Catalog, name: str, make: Callable[[], Any], number: int) -> None:
        for change in make():
            catalog.commit_table(change.table, change.requirements, change.updates)

    patch.setattr(commits, "attempt", one_by_one)


def _commits_nothing(patch: Patch) -> None:
    patch.setattr(commits, "attempt", lambda *_: None)


def _drops_nothing(patch: Patch) -> None:
    patch.setattr(table_changes, "drop_table", lambda *_: None)


def _loses_properties(patch: Patch) -> None:
    create_table = SqlCatalog.create_table

    def plain(self: SqlCatalog, identifier: Any, schema: Any, properties: dict[str, str]) -> Table:
        return create_table(self, identifier, schema)

    patch.setattr(SqlCatalog, "create_table", plain)


@pytest.mark.parametrize(
    ("faulty", "name", "message"),
    [
        (_loses_properties, "tables", "properties of tables are not kept"),
        (_forgets_refs, "branches and tags", "tags and branches are not kept"),
        (_appends_to_main, "append to a branch", "an append to a branch moved main"),
        (_forgets_summaries, "snapshot properties", "properties of snapshots are not kept"),
        (
            _takes_stale_commits,
            "stale commits",
            "a commit to a table that has changed since is taken",
        ),
        (_commits_nothing, "moving main", "main cannot be moved to the snapshot of a branch"),
        (
            _commits_one_by_one,
            "several tables at once",
            "a commit of several tables is not all or nothing",
        ),
        (
            _commits_nothing,
            "expired snapshots",
            "snapshots that no ref names are not removed alone",
        ),
        (
            _loses_a_commit,
            "commits at the same time",
            "commits of clients at the same time get lost",
        ),
        (_drops_nothing, "dropped tables", "a table that was dropped is still listed"),
    ],
)
def test_what_is_wrong_is_found(
    reopen: Callable[[], Catalog],
    monkeypatch: Patch,
    faulty: Callable[[Patch], None],
    name: str,
    message: str,
) -> None:
    with closing(reopen()) as catalog:
        at = ground(catalog, reopen)
        at.make_namespace()
        with monkeypatch.context() as patch:
            faulty(patch)
            error = result(check(name), at).error
        assert isinstance(error, RefusedError)
        assert error.message == f"products cannot rely on this Iceberg catalog: {message}"
        assert error.expected and error.found and error.next
        assert [left.error for left in at.clear()] == [None]


def test_what_a_client_does_not_understand_is_told(
    reopen: Callable[[], Catalog], monkeypatch: Patch
) -> None:
    def raises(*_: Any, **__: Any) -> None:
        raise KeyError("metadata")

    with closing(reopen()) as catalog:
        at = ground(catalog, reopen)
        monkeypatch.setattr(SqlCatalog, "create_table", raises)
        error = result(check("tables"), at).error
    assert error is not None
    assert (error.expected, error.found) == (
        "tables that are kept as they were created",
        "KeyError: 'metadata'",
    )


def test_a_commit_that_is_refused_as_malformed_is_noted(
    reopen: Callable[[], Catalog], monkeypatch: Patch
) -> None:
    """As by REST catalogs that take the number of a snapshot for a mistake of the client."""
    commit_table = SqlCatalog.commit_table

    def other(self: SqlCatalog, *arguments: Any) -> CommitTableResponse:
        try:
            return commit_table(self, *arguments)
        except ValueError as e:
            raise BadRequestError(str(e)) from e

    with closing(reopen()) as catalog:
        at = ground(catalog, reopen)
        at.make_namespace()
        monkeypatch.setattr(SqlCatalog, "commit_table", other)
        found = result(check("commits to two branches"), at)
        at.clear()
    assert (found.note, found.error) == (True, None)
    assert found.found == (
        "the second of two is refused as malformed (400, not 409): "
        "Cannot add snapshot with sequence number 2 older than last sequence number 2"
    )


# A catalog that does not offer everything


def test_a_catalog_without_a_request_for_several_tables_is_noted(
    reopen: Callable[[], Catalog], monkeypatch: Patch
) -> None:
    with closing(reopen()) as catalog:
        at = ground(catalog, reopen)
        at.make_namespace()
        monkeypatch.setattr(catalog_commit_checks, "SqlCatalog", type(None))
        assert not rest_commits.may_offer(catalog)
        found = result(check("several tables at once"), at)
        at.clear()
    assert found == Finding(
        "several tables at once",
        "not offered",
        "tables are published one by one, also after a crash, and readers may "
        "see two checkpoints meanwhile: docs/production.md#reading-several-tables",
        note=True,
    )


def _forbidden() -> Exception:
    return ForbiddenError("ForbiddenException: not yours")


class _InsufficientPrivilegeError(Exception):
    """As psycopg has it."""

    sqlstate = "42501"


def _no_privilege() -> Exception:
    return ProgrammingError("INSERT", None, _InsufficientPrivilegeError("no"))


@pytest.mark.parametrize("refusal", [_forbidden, _no_privilege])
def test_a_role_that_may_not_create_namespaces_is_told_how_to_go_on(
    reopen: Callable[[], Catalog], monkeypatch: Patch, refusal: Callable[[], Exception]
) -> None:
    def refuse(*_: Any) -> None:
        raise refusal()

    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "create_namespace", refuse)
        [found] = examine(reopen)
    assert found.error is not None
    assert (
        found.error.message == "this role may not create namespaces, so nothing else was examined"
    )
    assert found.error.next == (
        "have a namespace made for these checks, then: kappa doctor --catalog --namespace NAME"
    )


def test_a_namespace_that_is_given_stays_with_what_others_have_in_it(
    settings: Settings, reopen: Callable[[], Catalog], monkeypatch: Patch
) -> None:
    with closing(reopen()) as catalog:
        catalog.create_namespace("theirs")
        CheckNamespace(catalog, reopen, "theirs").create("orders")
        before = on_disk(settings.home)
        monkeypatch.setattr(SqlCatalog, "create_namespace", None)
        found = examine(reopen, "theirs")
        assert [f.name for f in found if f.error] == []
        assert found[-1].found == "tables are dropped"
        assert catalog.list_tables("theirs") == [("theirs", "orders")]
        assert on_disk(settings.home) == before


def test_a_namespace_that_is_not_there_is_told(reopen: Callable[[], Catalog]) -> None:
    [found] = examine(reopen, "nowhere")
    assert found.error is not None
    assert (found.error.message, found.error.found) == ("there is no such namespace", "nowhere")


# What is left


def test_nothing_is_left(settings: Settings, reopen: Callable[[], Catalog]) -> None:
    found = examine(reopen)
    assert [f.name for f in found] == [*(c.name for c in CHECKS if c.safe), "removal"]
    assert all(f.found and f.means and not f.error for f in found)
    with closing(reopen()) as catalog:
        assert catalog.list_namespaces() == []
    assert list((settings.home / "lake" / "warehouse").iterdir()) == []


def test_nothing_is_left_by_who_was_interrupted(
    reopen: Callable[[], Catalog], monkeypatch: Patch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lake, "written_by", interrupted)
    with pytest.raises(KeyboardInterrupt):
        examine(reopen)
    with closing(reopen()) as catalog:
        assert catalog.list_namespaces() == []


def test_what_could_not_be_removed_is_named(
    reopen: Callable[[], Catalog], monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        _drops_nothing(patch)
        *_, dropped, left = examine(reopen)
    assert dropped.error is not None and left.error is not None
    with closing(reopen()) as catalog:
        [(namespace,)] = catalog.list_namespaces()
    assert left.error.message == f"namespace {namespace} could not be removed"
    assert left.error.next == "drop it by hand"


# kappa doctor --catalog


@pytest.fixture
def home(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    settings = make_settings(tmp_path)
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
                        k: str(v.get_secret_value() if hasattr(v, "get_secret_value") else v)
                        for k, v in settings.catalog.pyiceberg.items()
                    },
                },
                "store": "sqlite://",
                "secrets": str(tmp_path / "secrets"),
            }
        )
    )
    return tmp_path


@pytest.mark.usefixtures("home")
def test_doctor_shows_a_line_for_each_check_and_what_it_means() -> None:
    done = CliRunner().invoke(app, ["doctor", "--catalog"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "ok      namespace: one was created, and a new client sees it"
    assert lines[1] == "        each product has one of its own"
    assert lines[-2:] == [
        "ok      removal: tables and namespace are dropped",
        "        nothing of these checks is left",
    ]


@pytest.mark.usefixtures("home")
def test_doctor_shows_a_problem_with_what_to_do_and_fails(monkeypatch: Patch) -> None:
    _forgets_refs(monkeypatch)
    done = CliRunner().invoke(app, ["doctor", "--catalog"])
    assert done.exit_code == 1
    shown = done.stdout.splitlines()
    assert shown[4:9] == [
        "problem branches and tags",
        "products cannot rely on this Iceberg catalog: tags and branches are not kept",
        "  expected: the tag genesis and the branch r1-a1, just set",
        "  found:    main",
        "  next:     choose another catalog in config.yaml, or another version of this one; then: "
        "kappa doctor --catalog",
    ]
    programs = CliRunner().invoke(app, ["doctor", "--catalog", "--output", "json"])
    assert programs.exit_code == 1
    checks = {c["name"]: c for c in json.loads(programs.stdout)}
    assert list(checks) == ["namespace", "tables", "branches and tags", "removal"]
    assert checks["tables"]["problems"] == []
    assert checks["branches and tags"]["problems"][0]["found"] == "main"


def test_doctor_takes_a_namespace_only_for_a_catalog() -> None:
    assert CliRunner().invoke(app, ["doctor", "--namespace", "x"]).exit_code == 2
