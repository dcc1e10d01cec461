"""A product's folder as of a git commit, in a folder of its own: neither working tree nor index is touched."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replay.errors import ConfigError

_SECONDS = 120
_CODE = "udfs"
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""What is set for a command that git itself runs: it is about another tree or index."""


@dataclass(frozen=True)
class CommittedFolder:
    """What was written out of a commit, for as long as the block that it was asked in."""

    folder: Path
    """The product's folder."""
    commit: str
    """All forty digits."""
    code: Path | None
    """The folder that has udfs/ as of the commit; None: the repository has none there."""


@contextmanager
def committed(ref: str, folder: Path) -> Iterator[CommittedFolder]:
    """Write a product's folder, and udfs/ at the top of its repository, as of a commit, a branch or a tag.

    `folder` is where it would be in the working tree, and need not exist there. ConfigError where there is no
    repository, no such commit, or no product in it.
    """
    top = _top(folder)
    inside = _inside(top, folder)
    commit = _commit(top, ref)
    if not _has(top, commit, f"{inside}/product.yaml"):
        raise _no_product(top, ref, commit, inside)
    with tempfile.TemporaryDirectory(prefix="kappa-git-") as name:
        scratch = Path(name).resolve()
        wanted = [inside, *([_CODE] if _has(top, commit, f"{_CODE}/__init__.py") else [])]
        _write_out(top, commit, wanted, scratch)
        _refuse_links(scratch / "tree", commit)
        code = scratch / "code" if len(wanted) > 1 else None
        if code:
            code.mkdir()
            (scratch / "tree" / _CODE).rename(code / _CODE)
        yield CommittedFolder(scratch / "tree" / inside, commit, code)


def file_at(ref: str, file: Path) -> str | None:
    """The text of a file as of a commit; None: the commit has none. ConfigError as above."""
    top = _top(file.parent)
    path = _inside(top, file)
    commit = _commit(top, ref)
    return _git(top, "show", f"{commit}:{path}") + "\n" if _has(top, commit, path) else None


def _inside(top: Path, path: Path) -> str:
    """A path as the repository names it, whatever links and `..` led to it."""
    path = _without_detours(path)
    if not path.is_relative_to(top):
        raise ConfigError(
            f"{path} is not in the repository {top}",
            expected="a path below it",
            found=str(path),
            next="the same in a working tree, or with --from and the product's folder there",
        )
    return path.relative_to(top).as_posix()


def _without_detours(path: Path) -> Path:
    """Absolute, without `..` and without links on the way; what it names may be a link itself."""
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


def _top(folder: Path) -> Path:
    """The top of the repository that a folder is in, or would be."""
    folder = _without_detours(folder)
    there = next(p for p in (folder, *folder.parents) if p.is_dir())
    try:
        return Path(_git(there, "rev-parse", "--show-toplevel"))
    except FileNotFoundError:
        raise ConfigError(
            "git is not installed",
            expected="the program git",
            found="none on the PATH",
            next="install git, or deploy a folder with --from",
        ) from None
    except subprocess.CalledProcessError as e:
        raise ConfigError(
            f"{folder} is in no git repository",
            expected="a working tree of git around it",
            found=_said(e),
            next="the same in a working tree, or with --from and the product's folder there",
        ) from None


def _commit(top: Path, ref: str) -> str:
    try:
        return _git(
            top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
    except subprocess.CalledProcessError:
        raise ConfigError(
            f"git knows no commit '{ref}'",
            expected=f"a commit, a branch or a tag in {top}",
            found="none",
            next="git fetch, then the same again; git log --all --oneline shows commits",
        ) from None


def _has(top: Path, commit: str, path: str) -> bool:
    try:
        return _git(top, "cat-file", "-t", f"{commit}:{path}") == "blob"
    except subprocess.CalledProcessError:
        return False


def _no_product(top: Path, ref: str, commit: str, inside: str) -> ConfigError:
    listed = _git(top, "ls-tree", "-r", "--name-only", "-z", commit).split("\0")
    known = [p.removesuffix("/product.yaml") for p in listed if p.endswith("/product.yaml")]
    return ConfigError(
        f"there is no product {inside} in {ref}",
        expected=f"{inside}/product.yaml in commit {commit[:12]}",
        found=f"products {', '.join(known[:10])}" if known else "no product at all",
        next="another commit, or --from with the product's folder in this repository",
    )


def _write_out(top: Path, commit: str, paths: list[str], scratch: Path) -> None:
    """As a checkout would write it, by an index of its own."""
    index = {"GIT_INDEX_FILE": str(scratch / "index")}
    _git(top, "read-tree", commit, env=index)
    files = _git(
        top,
        "ls-files",
        "-z",
        "--full-name",
        "--",
        *(f":(top,literal){p}" for p in paths),
        env=index,
    )
    prefix = f"--prefix={scratch / 'tree'}/"
    _git(top, "checkout-index", "--quiet", "-z", "--stdin", prefix, env=index, given=files)


def _refuse_links(tree: Path, commit: str) -> None:
    """What a link leads to is no part of the commit."""
    for path in tree.rglob("*"):
        if path.is_symlink():
            raise ConfigError(
                f"commit {commit[:12]} has a symbolic link in the product or in {_CODE}/",
                expected="files of the commit",
                found=f"{path.relative_to(tree)}, which leads to {path.readlink()}",
                next="put a file in its place, and commit it",
            )


def _git(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, given: str = ""
) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in _OF_A_HOOK}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        input=given,
        env={**clean, **(env or {})},
        timeout=_SECONDS,
    ).stdout.strip()


def _said(error: subprocess.CalledProcessError) -> str:
    return (error.stderr or "").strip().removeprefix("fatal: ") or f"exit code {error.returncode}"
