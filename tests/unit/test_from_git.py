"""A product's folder as of a commit: what is taken from it, what is not touched, and what is said when it cannot be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from replay.cli.from_git import given
from replay.errors import ConfigError, KappaError
from replay.releases import sources
from replay.releases.git_tree import committed, file_at
from replay.releases.release import find_folder
from tests.unit.lake_tables import make_settings


def git(folder: Path, *arguments: str) -> str:
    as_whom = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *as_whom, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of a product, the first tagged; what is not committed differs from both."""
    top = tmp_path / "repository"
    folder = top / "sql" / "tiny"
    folder.mkdir(parents=True)
    git(top, "init", "--quiet", "--initial-branch", "main")
    (top / ".gitattributes").write_text("*.sql export-ignore\n")
    for text in ("first", "second"):
        (folder / "product.yaml").write_text(f"name: {text}\n")
        (folder / "rows.sql").write_text(text)
        git(top, "add", "--all")
        git(top, "commit", "--quiet", "--message", text)
        if text == "first":
            git(top, "tag", "v1")
    (folder / "product.yaml").write_text("name: edited\n")
    (folder / "new.sql").write_text("new")
    git(top, "add", "--all")
    (folder / "rows.sql").write_text("not staged")
    monkeypatch.chdir(top)
    return top


@pytest.mark.parametrize(
    ("ref", "text"), [("v1", "first"), ("main", "second"), ("HEAD~1", "first"), ("HEAD", "second")]
)
def test_the_folder_is_that_of_the_commit_whatever_the_working_tree_has(
    repository: Path, ref: str, text: str
) -> None:
    before = git(repository, "status", "--porcelain=v2", "--branch")
    with committed(ref, Path("sql/tiny")) as found:
        assert sorted(f.name for f in found.folder.iterdir()) == ["product.yaml", "rows.sql"]
        assert (found.folder / "rows.sql").read_text() == text
        assert found.commit == git(repository, "rev-parse", f"{ref}^{{commit}}")
        assert found.code is None
    assert not found.folder.exists()
    assert git(repository, "status", "--porcelain=v2", "--branch") == before
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1


def test_a_folder_that_is_only_in_the_commit_is_found(repository: Path) -> None:
    git(repository, "rm", "-r", "--quiet", "--force", "sql")
    with committed("main", Path("sql/tiny")) as found:
        assert (found.folder / "product.yaml").read_text() == "name: second\n"


def test_a_folder_is_found_by_whatever_path_leads_to_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "docs").mkdir()
    (repository.parent / "link").symlink_to(repository)
    monkeypatch.chdir(repository / "docs")
    for folder in ("../sql/tiny", "../../link/sql/tiny"):
        with committed("v1", Path(folder)) as found:
            assert (found.folder / "rows.sql").read_text() == "first"
        assert file_at("v1", Path(folder) / "rows.sql") == "first\n"


def test_what_a_link_of_the_commit_leads_to_is_not_taken(repository: Path) -> None:
    (repository / "sql" / "tiny" / "more.sql").symlink_to("/etc/hostname")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "a link")
    with pytest.raises(ConfigError, match="symbolic link"), committed("HEAD", Path("sql/tiny")):
        pass


def test_functions_are_those_of_the_commit(repository: Path) -> None:
    (repository / "udfs").mkdir()
    (repository / "udfs" / "__init__.py").write_text("")
    (repository / "udfs" / "mine.py").write_text("A = 1\n")
    git(repository, "add", "udfs")
    git(repository, "commit", "--quiet", "--message", "functions")
    (repository / "udfs" / "mine.py").write_text("A = 2\n")
    with committed("HEAD", Path("sql/tiny")) as found:
        assert found.code is not None
        assert [f.name for f in found.code.iterdir()] == ["udfs"]
        assert (found.code / "udfs" / "mine.py").read_text() == "A = 1\n"
        assert not (found.folder.parents[1] / "udfs").exists()


def test_what_a_hook_has_set_does_not_lead_elsewhere(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / "nowhere" / "index"))
    with committed("v1", Path("sql/tiny")) as found:
        assert (found.folder / "rows.sql").read_text() == "first"


@pytest.mark.parametrize("ref", ["nowhere", "--all", "", "v1:sql"])
def test_an_unknown_commit(repository: Path, ref: str) -> None:
    with pytest.raises(ConfigError) as e, committed(ref, Path("sql/tiny")):
        pass
    assert str(e.value) == (
        f"git knows no commit '{ref}'\n"
        f"  expected: a commit, a branch or a tag in {repository}\n"
        "  found:    none\n"
        "  next:     git fetch, then the same again; git log --all --oneline shows commits"
    )


def test_a_commit_without_the_product(repository: Path) -> None:
    with pytest.raises(ConfigError) as e, committed("v1", Path("sql/other")):
        pass
    assert str(e.value) == (
        "there is no product sql/other in v1\n"
        f"  expected: sql/other/product.yaml in commit {git(repository, 'rev-parse', 'v1')[:12]}\n"
        "  found:    products sql/tiny\n"
        "  next:     another commit, or --from with the product's folder in this repository"
    )


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with (
        pytest.raises(ConfigError, match="is in no git repository"),
        committed("v1", tmp_path / "a"),
    ):
        pass


def test_errors_name_the_file_in_the_commit_and_hints_the_commit(repository: Path) -> None:
    with given("tiny", None, "v1") as at:
        assert at.in_hint("kappa deploy tiny", "tiny") == (
            f"kappa deploy tiny --from-git {git(repository, 'rev-parse', 'v1')[:12]}"
        )
    with pytest.raises(KappaError) as e, given("tiny", None, "v1") as at:
        raise ConfigError(
            f"{at.folder}/rows.sql is wrong", next=f"kappa plan tiny --from {at.folder}"
        )
    assert str(e.value) == (
        "v1:sql/tiny/rows.sql is wrong\n  next:     kappa plan tiny --from-git v1"
    )


def test_a_product_is_found_where_it_was_deployed_from_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path)
    monkeypatch.setenv("KAPPA_HOME", str(settings.home))
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "elsewhere" / "tiny"
    there.mkdir(parents=True)
    (there / "product.yaml").write_text("name: tiny\n")
    sources.remember(settings, "tiny", Path("elsewhere/tiny"))
    assert find_folder("tiny", None) == there
    (tmp_path / "sql" / "tiny").mkdir(parents=True)
    assert find_folder("tiny", None) == Path("sql/tiny")
    assert find_folder("tiny", there) == there


@pytest.mark.parametrize("content", ["", "relative/tiny", "\0", "/nowhere/at/all"])
def test_what_is_remembered_may_be_gone_or_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "tiny").write_text(content)
    assert sources.remembered(tmp_path, "tiny") is None
    assert sources.remembered(tmp_path, "../sources/tiny") is None
    assert sources.remembered(tmp_path, "other") is None


def test_of_a_product_that_is_removed_nothing_is_remembered(tmp_path: Path) -> None:
    settings, folder = make_settings(tmp_path / "home"), tmp_path / "tiny"
    folder.mkdir()
    (folder / "product.yaml").touch()
    settings.home.mkdir(exist_ok=True)
    sources.remember(settings, "tiny", folder)
    assert sources.remembered(settings.home, "tiny") == folder
    for _ in range(2):
        sources.forget(settings, "tiny")
        assert sources.remembered(settings.home, "tiny") is None


def test_a_folder_of_the_archive_is_not_remembered(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    sources.remember(settings, "tiny", settings.releases / "tiny" / "abc" / "product")
    assert not os.path.exists(settings.home / "sources")
