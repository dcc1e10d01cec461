"""A release: everything that decides what a job computes, in one read-only folder named by its content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jobs
import udfs
from jobs.product import Product
from replay.computation import CODE, Parts, fingerprint, parts
from replay.errors import ConfigError, RefusedError
from replay.model import Release
from replay.settings import Settings

MANIFEST = "release.json"
RESOLVED = "resolved.json"
"""What Flink's planner said of the product: not part of its identity, as it follows from it."""
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
    """Where the archive keeps a release."""
    return settings.releases / product / fingerprint


def bindings_file(settings: Settings, product: str, branch: str) -> Path:
    """The addresses that the job of a branch is bound to."""
    return settings.home / "attempts" / product / f"{branch}.json"


def fingerprint_of(product: Product) -> str:
    """What a release of this product, with the jobs and udfs of now, is named by."""
    return fingerprint({path: source.read_bytes() for path, source in _sources(product)})


def computation_parts(product: Product) -> Parts:
    """What decides the rows of this product with the jobs and udfs of now."""
    return parts(product, {path: source.read_bytes() for path, source in _code()})


def archived_parts(folder: Path, product: Product) -> Parts:
    """What decides the rows of an archived release, whose product was read from its folder."""
    return parts(product, {f.relative_to(folder).as_posix(): f.read_bytes()
                           for package in CODE for f in sorted((folder / package).rglob("*.py"))})


def is_built(settings: Settings, product: Product) -> bool:
    """Whether the archive has exactly this content, which was checked before it came there."""
    return release_folder(settings, product.name, fingerprint_of(product)).is_dir()


def build(settings: Settings, product: Product) -> Build:
    """Copy product, jobs and udfs into the archive, with what the planner said; the same content is the same folder."""
    assert product.resolved is not None
    files, resolved = dict(_sources(product)), product.resolved.model_dump_json(indent=1) + "\n"
    named = fingerprint_of(product)
    folder = release_folder(settings, product.name, named)
    commit, computation = git_commit(product.folder), fingerprint(computation_parts(product))
    if not folder.exists():
        _write(folder, files, {"product": product.name, "fingerprint": named, "computation": computation,
                               "git_commit": commit, "resolved": _digest(resolved.encode())}, resolved)
    verify(folder, named)
    return Build(named, folder, commit, computation)


def verify(folder: Path, named: str) -> None:
    """RefusedError when an archived release is not what it was: a replay of it would mean nothing."""
    content = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")
               if p.is_file() and "__pycache__" not in p.parts}
    manifest, resolved = (content.pop(name, b"{}") for name in (MANIFEST, RESOLVED))
    found = fingerprint(content)
    if found == named and _digest(resolved) != json.loads(manifest).get("resolved"):
        found = f"another {RESOLVED} than it was built with"
    if found != named:
        raise RefusedError(f"the archived release {folder} was changed", expected=named, found=found,
                           next=f"delete that folder and deploy again: kappa deploy {folder.parent.name}")


def find_folder(name: str, source: Path | None) -> Path:
    """The folder of a product: given, or sql/NAME."""
    folder = source or Path("sql") / name
    if folder.is_dir():
        return folder
    known = sorted(p.parent.name for p in folder.parent.glob("*/product.yaml")) if folder.parent.is_dir() else []
    raise ConfigError(f"there is no product '{name}'", expected=f"a folder {folder} with product.yaml",
                      found=f"products {', '.join(known)}" if known else "no product there",
                      next=f"kappa deploy {known[0]}" if known else f"kappa deploy {name} --from FOLDER")


def git_commit(folder: Path) -> str | None:
    """The commit a product's folder is at, '-dirty' when it has changes; None outside of git."""
    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True, text=True,
                              timeout=20).stdout.strip()
    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def next_release(releases: tuple[Release, ...], product: str, built: Build, reference: dict[str, dict[int, int]],
                 now: float) -> Release:
    """The existing release of this content over the same reference data, or the next number."""
    for release in reversed(releases):
        if release.fingerprint == built.fingerprint and release.reference_offsets == reference:
            return release
    number = max((r.number for r in releases), default=0) + 1
    return Release(product, number, built.fingerprint, now, reference, built.git_commit, built.computation)


def _sources(product: Product) -> Iterator[tuple[str, Path]]:
    for relative in product.files:
        yield f"product/{relative.as_posix()}", product.folder / relative
    yield from _code()


def _code() -> Iterator[tuple[str, Path]]:
    for package in (jobs, udfs):
        root = Path(package.__file__ or "").parent
        for file in sorted(root.rglob("*.py")):
            if file != MAINTENANCE:
                yield f"{root.name}/{file.relative_to(root).as_posix()}", file


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(folder: Path, files: dict[str, Path], manifest: dict[str, str | None], resolved: str) -> None:
    building = folder.parent / f".building-{uuid.uuid4().hex}"
    try:
        for path, source in files.items():
            (building / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, building / path)
        (building / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        (building / RESOLVED).write_text(resolved)
        for file in building.rglob("*"):
            if file.is_file():
                file.chmod(0o444)
                with file.open("rb") as f:
                    os.fsync(f.fileno())
        try:
            building.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody built the same in the meantime
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
