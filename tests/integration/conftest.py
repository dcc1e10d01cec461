"""The stack that integration tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import Kappa, RunningStack, free_port_base

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the stack, and more time than a unit test."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own on free ports. KAPPA_TEST_HOME names a home to use, and to leave running, instead."""
    if chosen := os.environ.get("KAPPA_TEST_HOME"):
        if "PYTEST_XDIST_WORKER" in os.environ:
            raise pytest.UsageError("KAPPA_TEST_HOME is one home: two workers cannot share it")
        Kappa(Path(chosen))("up")
        yield RunningStack(Path(chosen))
        return
    home = tmp_path_factory.mktemp("stack") / "home"
    kappa = Kappa(home)
    # Those of two that start at once differ.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    try:
        kappa("up", "--port-base", str(free_port_base(23_000 + 2_000 * worker)))
        yield RunningStack(home)
    finally:
        kappa("down")
