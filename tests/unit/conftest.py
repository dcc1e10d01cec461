"""What several files of unit tests use: a catalog on disk for real Iceberg tables, the simulated platform."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from pyiceberg.catalog import Catalog

from replay.controller import service_log
from replay.controller.loop import Loop
from replay.iceberg import lake
from replay.settings import Settings
from replay.store.store import Store
from tests.object_store import BUCKET, ObjectStore
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.lake_tables import make_settings

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(autouse=True, scope="session")
def no_warm_planner() -> Iterator[None]:
    """A home of a test lasts for less than the process that it would leave behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAPPA_PLANNER", "cold")
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def on_objects(tmp_path: Path, object_store: ObjectStore) -> Settings:
    """Settings whose files are in a folder of the store that no other test has."""
    return make_settings(
        tmp_path, f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}", object_store.properties
    )


@pytest.fixture
def log_to() -> Iterator[Callable[..., io.StringIO]]:
    """Configures the log for a test; returns what is written to it."""
    root = logging.getLogger()
    before = root.handlers, root.level, logging.getLogger("replay").level

    def configure(**environment: str) -> io.StringIO:
        stream = io.StringIO()
        service_log.configure(environment, stream)
        return stream

    yield configure
    root.handlers, root.level = before[0], before[1]
    logging.getLogger("replay").setLevel(before[2])
    logging.captureWarnings(False)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    opened = lake.open_catalog(settings)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> FakePlatform:
    return FakePlatform(clock)


@pytest.fixture
def loop(platform: FakePlatform, clock: Clock) -> Iterator[Loop]:
    store = Store("sqlite://")
    yield Loop(platform, store, clock, holder="me")
    store.close()
