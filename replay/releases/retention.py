"""How long what has ended is remembered: see docs/growth.md."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from replay.core.model import ProductState
from replay.releases import kept_jars, runtime, shared
from replay.settings import Settings

KEPT_ATTEMPTS = 50
"""Ended attempts of a product, the newest; as many releases."""
KEPT_EVENTS = 2_000
"""Entries of a product's history, the newest."""
KEPT_ANSWERS = 200
"""Of Flink's planner, of all products: the newest."""
UNNAMED_SECONDS = 86_400.0 + 3_600.0
"""How long a release in the archive that no deploy has recorded may be one that is about to be, and a jar one of it: a
day, and an hour by which a clock may be set forward."""
_RELEASE = re.compile(r"[0-9a-f]{64}|\.building-[0-9a-f]{32}")


# What the store remembers: pure


def remembered(state: ProductState) -> ProductState:
    """A product without the attempts and releases that nothing needs any more.

    Kept are attempts that live, or of which something is left; those that a publication names; the newest ended ones;
    the newest releases, and those of which an attempt is kept. Of every release that is kept so is its newest attempt:
    the number of the next one follows from it.
    """
    named = {p.attempt_name for p in state.publications}
    ended = [a for a in state.attempts if a.ended and a.cleaned and a.name not in named]
    old = {a.name for a in ended[:-KEPT_ATTEMPTS]}
    kept = [a for a in state.attempts if a.name not in old]
    numbers = {r.number for r in state.releases[-KEPT_ATTEMPTS:]}
    numbers |= {number for a in kept for number in (a.release, a.metadata) if number is not None}
    releases = tuple(r for r in state.releases if r.number in numbers)
    newest = {_newest(state, r.number) for r in releases}
    attempts = tuple(a for a in state.attempts if a.name not in old or a.name in newest)
    if len(attempts) == len(state.attempts) and len(releases) == len(state.releases):
        return state
    return replace(state, attempts=attempts, releases=releases)


def _newest(state: ProductState, release: int) -> str:
    """The name of a release's newest attempt, if it has one."""
    newest = max(
        (a for a in state.attempts if a.release == release), key=lambda a: a.number, default=None
    )
    return newest.name if newest else ""


# Files


def sweep(settings: Settings, state: ProductState, now: float) -> None:
    """Delete what grows with every deploy: archived releases that nothing names, old answers of Flink's planner, jars
    that no release was built with."""
    named = {r.fingerprint for r in state.releases}
    for folder in _unnamed(settings.releases / state.product, named, now):
        shutil.rmtree(folder, ignore_errors=True)
    shared.forget_releases(settings, state.product, named, timedelta(seconds=UNNAMED_SECONDS))
    answers = sorted((settings.home / "checked").glob("*.json"), key=_changed)
    for file in answers[:-KEPT_ANSWERS]:
        file.unlink(missing_ok=True)
    _sweep_jars(settings, now)


def _sweep_jars(settings: Settings, now: float) -> None:
    """Delete kept jars that no release of any product was built with."""
    kept = kept_jars.folder(settings)
    try:
        needed = kept_jars.needed(settings)
    except ValueError:  # a release that was changed: which jars it needs is not known
        return
    for jar in kept.iterdir() if kept.is_dir() else ():
        if jar.stem not in needed and now - _changed(jar) > UNNAMED_SECONDS:
            jar.unlink(missing_ok=True)
    shared.forget_jars(settings, needed, runtime.NAMED, timedelta(seconds=UNNAMED_SECONDS))


def _unnamed(archive: Path, named: set[str], now: float) -> Iterator[Path]:
    for folder in archive.iterdir() if archive.is_dir() else ():
        if (
            _RELEASE.fullmatch(folder.name)
            and folder.name not in named
            and now - _changed(folder) > UNNAMED_SECONDS
        ):
            yield folder


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another process removed it first
        return 0.0
