"""A release: everything that decides what a job computes, in one read-only folder named by its content."""

from __future__ import annotations

import difflib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jobs
import udfs
from jobs.product import trees
from jobs.product.folder import Product
from replay.core.model import Release
from replay.errors import ConfigError
from replay.home import kappa_home
from replay.releases import archive, closure, kept_jars, keys, launch, shared, sources
from replay.releases import runtime as runtimes
from replay.releases.computation import CODE, Parts, fingerprint, parts, plans
from replay.releases.runtime import Runtime
from replay.settings import Settings

ENTRY = "jobs.run"
"""The module that runs the job of a release."""
MAINTENANCE = Path(jobs.__file__).parent / "maintenance.py"
"""A job beside those of releases, for the tables of all of them: no release has it, and a change of it asks for no
replay."""


@dataclass(frozen=True)
class Build:
    """A release's folder in the archive."""

    fingerprint: str
    folder: Path
    git_commit: str | None
    computation: str
    """Fingerprint of only what decides rows: releases that share it need no replay between them."""


def release_folder(settings: Settings, product: str, fingerprint: str) -> Path:
    """Where this home keeps a release; one that was built on another host is fetched from where they share it."""
    folder = settings.releases / product / fingerprint
    shared.fetch_release(settings, product, fingerprint, folder)
    return folder


def bindings_file(settings: Settings, product: str, branch: str) -> Path:
    """The addresses that the job of a branch is bound to."""
    return bindings_folder(settings, product) / f"{branch}.json"


def lib_folder(settings: Settings, product: str, branch: str) -> Path:
    """Flink's `lib` for the job of a branch on a cluster of its own."""
    return bindings_folder(settings, product) / f"{branch}.lib"


def bindings_folder(settings: Settings, product: str) -> Path:
    """Where the bindings of a product's jobs are."""
    return settings.home / "attempts" / product


def fingerprint_of(settings: Settings, product: Product) -> str:
    """What a release of this product, with the jobs, udfs, keys and runtime of now, is named by."""
    files = {path: source.read_bytes() for path, source in _sources(product)}
    return fingerprint(
        {**files, **_made(product, keys.ids(settings, product), runtimes.of(settings, product))}
    )


def computation_parts(settings: Settings, product: Product) -> Parts:
    """What decides the rows of this product with the jobs, udfs, keys and runtime of now."""
    return {
        **parts(product, code(product)),
        **keys.as_parts(keys.ids(settings, product)),
        **runtimes.as_parts(runtimes.of(settings, product)),
    }


def archived_parts(folder: Path, product: Product) -> Parts:
    """What decides the rows of an archived release, whose product was read from its folder."""
    return {
        **parts(product, archived_code(folder)),
        **keys.as_parts(keys.of_release(folder)),
        **runtimes.as_parts(runtimes.of_release(folder)),
    }


def code(product: Product) -> dict[str, bytes]:
    """The Python that a job of this product runs, as it is now: path from jobs/ or udfs/ → content."""
    return {path: source.read_bytes() for path, source in _code(product)}


def archived_code(folder: Path) -> dict[str, bytes]:
    """The same of an archived release."""
    return {
        f.relative_to(folder).as_posix(): f.read_bytes()
        for package in CODE
        for f in sorted((folder / package).rglob("*.py"))
    }


def is_built(settings: Settings, product: Product) -> bool:
    """Whether the archive has exactly this content, which was checked before it came there."""
    return release_folder(settings, product.name, fingerprint_of(settings, product)).is_dir()


def build(settings: Settings, product: Product, commit: str | None = None) -> Build:
    """Copy the product, the Python that its job runs, and what the planner said into the archive.

    The same content is the same folder. `commit`: what the folder was written out of; by default what it is at.
    """
    assert product.resolved is not None
    files, resolved = dict(_sources(product)), product.resolved.model_dump_json(indent=1) + "\n"
    used = keys.ids(settings, product)
    keys.keep(settings, used)
    kept_jars.keep(settings)
    named = fingerprint_of(settings, product)
    folder = release_folder(settings, product.name, named)
    commit = commit or git_commit(product.folder)
    computation = fingerprint(computation_parts(settings, product))
    if not folder.exists():
        with _written(_made(product, used, runtimes.of(settings, product))) as made:
            archive.write(
                folder,
                {**files, **made},
                {
                    "product": product.name,
                    "fingerprint": named,
                    "computation": computation,
                    "git_commit": commit,
                    "job": launch.of_now(ENTRY),
                },
                resolved,
            )
    else:
        os.utime(folder)  # it is in use again: not to be swept away before it is recorded
    archive.verified(folder, named)
    shared.keep_release(settings, product.name, named, folder)
    return Build(named, folder, commit, computation)


def find_folder(name: str, source: Path | None) -> Path:
    """The folder of a product: given, or sql/NAME, or the one that it was deployed from last."""
    folder = source or Path("sql") / name
    if folder.is_dir():
        return folder
    if source is None and (kept := sources.remembered(kappa_home(), name)):
        return kept
    known = (
        sorted(p.parent.name for p in folder.parent.glob("*/product.yaml"))
        if folder.parent.is_dir()
        else []
    )
    like = difflib.get_close_matches(name, known, 1)
    raise ConfigError(
        f"there is no product '{name}'",
        expected=f"a folder {folder} with product.yaml",
        found=f"products {', '.join(known)}" if known else "no product there",
        next=f"kappa plan {like[0]}" if like else f"the same with --from, and {name}'s folder",
    )


def git_commit(folder: Path) -> str | None:
    """The commit a product's folder is at, '-dirty' when it has changes; None outside of git."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *args],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "-dirty" if git("status", "--porcelain", "--", ".") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def next_release(
    releases: tuple[Release, ...],
    product: str,
    built: Build,
    reference: dict[str, dict[int, int]],
    now: float,
) -> Release:
    """The existing release of this content over the same reference data, or the next number."""
    for release in reversed(releases):
        if release.fingerprint == built.fingerprint and release.reference_offsets == reference:
            return release
    number = max((r.number for r in releases), default=0) + 1
    return Release(
        product, number, built.fingerprint, now, reference, built.git_commit, built.computation
    )


def _made(product: Product, used: keys.Keys, runtime: Runtime) -> dict[str, bytes]:
    """Generated files of a release: the ids of its keys, and what it runs with."""
    compiled = product.resolved.plan if product.resolved else ""
    plan = {path: digest.decode() for path, digest in plans(compiled).items()} if compiled else {}
    return {**keys.as_file(used), **runtimes.as_file({**runtime, **plan})}


@contextmanager
def _written(made: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
    """The same as files to copy, by their paths in the release."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in made.items():
            (Path(folder) / name).write_bytes(content)
        yield {name: Path(folder) / name for name in made}


def _sources(product: Product) -> Iterator[tuple[str, Path]]:
    for relative in product.files:
        yield f"product/{relative.as_posix()}", product.folder / relative
    yield from _code(product)


def _code(product: Product) -> Iterator[tuple[str, Path]]:
    """The Python of its job: the module that runs a release, its functions, and what these import."""
    functions = {f.python.partition(":")[0] for f in product.settings.functions.values()}
    for package, entries in ((jobs, {ENTRY}), (udfs, functions | {udfs.__name__})):
        root = Path(package.__file__ or "").parent.parent
        found = closure.modules(root, sorted(entries), (package.__name__,))
        for file in sorted(found.values()):
            if odd := trees.odd(file):
                raise ConfigError(
                    f"{trees.shown(file)} cannot be part of a release",
                    expected="a file of its own",
                    found=odd,
                    next=f"put a file in its place, or: rm {trees.shown(file)}",
                )
            yield file.relative_to(root).as_posix(), file
