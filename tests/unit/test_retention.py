"""What has ended is remembered up to a bound, and what anything needs beyond it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from replay.core.model import Attempt, ProductState, Publication, Release, State
from replay.releases.retention import (
    KEPT_ANSWERS,
    KEPT_ATTEMPTS,
    UNNAMED_SECONDS,
    remembered,
    sweep,
)
from tests.unit.lake_tables import make_settings

MANY = 3 * KEPT_ATTEMPTS


def release(number: int) -> Release:
    return Release("shop", number, f"{number:064x}", float(number), {})


def ended(of: int, number: int = 1) -> Attempt:
    return Attempt(
        "shop", of, number, 1000.0 * of + number, 2, ("job",), state=State.retired, cleaned=True
    )


def state(
    *attempts: Attempt, releases: int, publications: tuple[Publication, ...] = ()
) -> ProductState:
    return ProductState(
        "shop", tuple(release(n) for n in range(1, releases + 1)), attempts, publications
    )


def test_below_the_bound_nothing_is_forgotten() -> None:
    known = state(*(ended(n) for n in range(1, KEPT_ATTEMPTS + 1)), releases=KEPT_ATTEMPTS)
    assert remembered(known) is known


def test_of_many_releases_the_newest_are_remembered() -> None:
    known = remembered(state(*(ended(n) for n in range(1, MANY + 1)), releases=MANY))
    newest = list(range(MANY - KEPT_ATTEMPTS + 1, MANY + 1))
    assert [r.number for r in known.releases] == newest
    assert [a.release for a in known.attempts] == newest


def test_of_many_attempts_of_one_release_the_newest_are_remembered() -> None:
    known = remembered(state(*(ended(1, n) for n in range(1, MANY + 1)), releases=1))
    assert [a.number for a in known.attempts] == list(range(MANY - KEPT_ATTEMPTS + 1, MANY + 1))
    assert len(known.releases) == 1


def test_a_release_that_is_kept_keeps_its_newest_attempt_so_that_no_name_is_used_twice() -> None:
    known = remembered(
        state(
            *(ended(1, n) for n in range(1, 4)), *(ended(2, n) for n in range(1, MANY)), releases=2
        )
    )
    assert [(a.release, a.number) for a in known.attempts][:2] == [
        (1, 3),
        (2, MANY - KEPT_ATTEMPTS),
    ]


@pytest.mark.parametrize(
    "needed",
    [
        pytest.param(replace(ended(1), state=State.active, cleaned=False), id="it lives"),
        pytest.param(replace(ended(1), cleaned=False), id="something is left of it"),
        pytest.param(
            replace(ended(1), metadata=2, cleaned=False), id="with the checks of a later release"
        ),
    ],
)
def test_what_is_needed_is_remembered_however_old(needed: Attempt) -> None:
    known = remembered(state(needed, *(ended(n) for n in range(3, MANY)), releases=MANY))
    assert known.attempts[0] == needed
    assert {needed.release, needed.metadata or needed.release} <= {r.number for r in known.releases}


def test_what_a_publication_names_is_remembered() -> None:
    shown = Publication(1, "shop", 1, 1, 1, {}, {}, {}, 1.0, finished=2.0)
    known = remembered(
        state(*(ended(n) for n in range(1, MANY)), releases=MANY, publications=(shown,))
    )
    assert known.attempts[0] == ended(1)


def test_forgetting_again_forgets_no_more() -> None:
    once = remembered(state(*(ended(n % 7 + 1, n) for n in range(1, MANY)), releases=MANY))
    assert remembered(once) is once


def age(path: Path, seconds: float) -> Path:
    os.utime(path, (1_000_000 - seconds, 1_000_000 - seconds))
    return path


def test_archived_releases_that_nothing_names_go_once_no_deploy_can_be_about_to_record_them(
    tmp_path: Path,
) -> None:
    settings = make_settings(tmp_path)
    archive = settings.releases / "shop"
    names = *(f"{n:064x}" for n in (1, 2, 3)), ".building-" + "a" * 32, "mine"
    folders = {name: archive / name for name in names}
    for folder in folders.values():
        (folder / "product").mkdir(parents=True)
        age(folder, UNNAMED_SECONDS + 1)
    age(folders[f"{3:064x}"], UNNAMED_SECONDS - 1)
    other = settings.releases / "other" / f"{2:064x}"
    other.mkdir(parents=True)
    age(other, UNNAMED_SECONDS + 1)
    sweep(settings, state(releases=1), 1_000_000)
    assert {f.name for f in archive.iterdir()} == {f"{1:064x}", f"{3:064x}", "mine"}
    assert other.exists()


def test_of_the_planners_answers_the_newest_are_kept(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    folder = tmp_path / "checked"
    folder.mkdir()
    for n in range(KEPT_ANSWERS + 3):
        (folder / f"shop-{n:064x}.json").write_text("{}")
        age(folder / f"shop-{n:064x}.json", n)
    sweep(settings, state(releases=0), 1_000_000)
    assert {f.name for f in folder.iterdir()} == {
        f"shop-{n:064x}.json" for n in range(KEPT_ANSWERS)
    }


def test_a_product_without_an_archive(tmp_path: Path) -> None:
    sweep(make_settings(tmp_path), state(releases=0), 1_000_000)
    assert not (tmp_path / "releases").exists()
