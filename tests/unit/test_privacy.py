"""A home that is its owner's alone: made so, closed where it was open, told of where it is not ours to close."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local import privacy


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o7777


def closed(home: Path) -> list[str]:
    said: list[str] = []
    privacy.make_private(home, said.append)
    return said


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_a_home_is_made_for_its_owner(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        said = closed(tmp_path / "a" / "home")
    finally:
        os.umask(before)
    assert (said, oct(mode(tmp_path / "a" / "home"))) == ([], "0o700")
    assert [*privacy.problems(tmp_path / "a" / "home")] == []


@pytest.mark.parametrize("open_to_others", [0o755, 0o750, 0o701, 0o777, 0o2770])
def test_one_that_others_can_look_into_is_told_of_and_closed(
    tmp_path: Path, open_to_others: int
) -> None:
    tmp_path.chmod(open_to_others)
    (problem,) = privacy.problems(tmp_path)
    assert (problem.message, problem.expected, problem.found, problem.next) == (
        "other users of this machine can look into KAPPA_HOME",
        f"mode 700 of {tmp_path}",
        f"mode {open_to_others:o}",
        f"chmod 700 {tmp_path}; kappa up does so too",
    )
    assert closed(tmp_path) == [
        f"other users could look into {tmp_path} (mode {open_to_others:o}): closed it to them"
    ]
    assert mode(tmp_path) == open_to_others & ~0o077
    assert closed(tmp_path) == []


def test_a_folder_that_is_everybodys_is_told_of_and_left_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    (said,) = closed(tmp_path)
    assert said.startswith("other users of this machine can look into KAPPA_HOME")
    assert "next:     KAPPA_HOME=/a/folder/of/yours kappa up" in said
    assert mode(tmp_path) == 0o1777


def test_one_of_another_user_is_told_of_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert len(closed(tmp_path)) == 1
    assert mode(tmp_path) == 0o755


def test_there_is_nothing_to_tell_of_a_home_that_is_not_there(tmp_path: Path) -> None:
    assert [*privacy.problems(tmp_path / "home")] == []
