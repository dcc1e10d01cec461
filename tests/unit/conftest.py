"""A catalog on disk, as unit tests of real Iceberg tables use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog

from replay import lake
from replay.settings import Settings
from tests.unit.lake_tables import make_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return lake.open_catalog(settings)
