"""What tests of several folders share: a PostgreSQL server, an object store, a REST catalog on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import postgres_server
from tests.object_store import ObjectStore
from tests.postgres_server import Server


def pytest_configure() -> None:
    """Commands that tests start can be interrupted, also where pytest was started with `&`: a shell has such jobs, and
    all that they start, ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A store of this process; tests keep to folders of their own."""
    store = ObjectStore(tmp_path_factory.mktemp("object-store"))
    store.start()
    yield store
    store.stop(signal.SIGKILL)  # asked to end, it takes its time


@pytest.fixture(scope="session")
def rest_store(object_store: ObjectStore) -> ObjectStore:
    """The same, with its REST catalog."""
    object_store.make_catalog()
    return object_store
