"""Where records of the log are put for one command: in the home, and not for long."""

from __future__ import annotations

import os
import time
from pathlib import Path

from replay.flink.local_runs import scratch
from tests.unit.lake_tables import make_settings


def test_it_is_its_owners_alone_and_gone_with_the_command(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with scratch(settings, "why") as one, scratch(settings, "why") as other:
        assert one != other and one.parent == settings.home / "tmp"
        assert one.stat().st_mode & 0o77 == 0
    assert not one.exists() and not other.exists()


def test_what_a_killed_command_left_goes_a_day_later(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    below = settings.home / "tmp"
    left, fresh, others = (below / name for name in ("kappa-why-a", "kappa-why-b", "planner"))
    for folder in (left, fresh, others):
        (folder / "records").mkdir(parents=True)
    for folder in (left, others):
        os.utime(folder, (0, time.time() - 2 * 86_400))
    with scratch(settings, "why"):
        assert (left.exists(), fresh.exists(), others.exists()) == (False, True, True)
