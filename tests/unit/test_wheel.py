"""The wheel, outside of a checkout: its commands run, and what needs a checkout says so."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import wheel
from tests.pages import ROOT
from tests.wheel import Installed

PACKAGES = ("demo", "jobs", "local", "replay", "udfs")
ONLY_IN_A_CHECKOUT = (
    "demo/first_query.sql",
    "demo/next_commands.txt",
    "demo/story.sh",
    "demo/wrong_midnight.patch",
    "jobs/connector/src/test/",
    "local/lock.py",
    "local/next_flink.py",
    "local/sbom.py",
)


def files(root: Path) -> set[str]:
    return {
        file.relative_to(root).as_posix()
        for package in PACKAGES
        for file in (root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return wheel.install(tmp_path_factory.mktemp("wheel"))


def test_it_has_every_file_of_its_packages_that_a_checkout_has(installed: Installed) -> None:
    wanted = {name for name in files(ROOT) if not name.startswith(ONLY_IN_A_CHECKOUT)}
    assert files(installed.packages) == wanted


def test_help_lists_the_commands(installed: Installed) -> None:
    shown = installed.kappa("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Data products on Kafka, Flink and Iceberg" in shown.stdout


def test_the_version_is_that_of_the_wheel(installed: Installed) -> None:
    shown = installed.kappa("--version")
    assert (shown.returncode, shown.stdout) == (0, f"kappa {version('kappa')}\n")


def test_it_runs_its_own_code_and_not_that_of_the_checkout(installed: Installed) -> None:
    question = "import jobs, udfs, replay, local, demo; print(replay.__file__, jobs.__file__)"
    shown = subprocess.run(
        [installed.python, "-c", question],
        cwd=installed.home,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    of_wheel = [installed.packages / package / "__init__.py" for package in ("replay", "jobs")]
    assert shown.stdout.split() == [str(file) for file in of_wheel]


def test_check_reads_a_folder_anywhere_and_says_what_is_wrong(
    installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "product.yaml").write_text("name: orders\ntopics: {}\noutputs: [order_rows]\n")
    shown = installed.kappa("check", tmp_path)
    assert shown.returncode == 1
    assert f"{tmp_path / 'product.yaml'} is wrong" in shown.stderr


def test_the_demo_is_refused_with_where_it_runs(installed: Installed) -> None:
    shown = installed.kappa("load", "flights")
    assert shown.returncode == 1
    assert shown.stderr.splitlines() == [
        "error: the demo's product is not part of an installed kappa",
        f"  expected: a checkout, with {installed.packages / 'sql' / 'flights'}",
        "  found:    none",
        "  next:     make demo, in a checkout",
    ]
