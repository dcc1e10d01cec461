"""The wheel, outside of a checkout, against a stack: Flink's planner runs from what is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import wheel
from tests.integration.running import RunningStack
from tests.pages import ROOT


def test_an_installed_kappa_checks_a_folder_anywhere(stack: RunningStack, tmp_path: Path) -> None:
    installed = wheel.install(tmp_path)
    folder = shutil.copytree(ROOT / "tests" / "products" / "orders", tmp_path / "orders")
    with (folder / "order_rows.sql").open("a") as sql:
        sql.write("-- The planner is asked only about content that this home does not know yet.\n")
    shown = installed.kappa("check", folder, timeout=240, KAPPA_HOME=str(stack.home))
    assert (shown.returncode, shown.stderr) == (0, "checking the SQL with Flink's planner\n")
    assert f"{folder}: safe to replay" in shown.stdout
