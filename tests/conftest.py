"""What unit and integration tests share: a PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import postgres_server
import pytest
from postgres_server import Server


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a whole run; without PostgreSQL what needs it is skipped."""
    if postgres_server.binaries() is None:
        pytest.skip(postgres_server.MISSING)
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with postgres_server.shared(run) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes a database and returns its URL: a test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.database
    numbers = iter(range(100))
    return lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}"
