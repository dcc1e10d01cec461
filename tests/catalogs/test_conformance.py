"""What Kappa relies on of an Iceberg catalog: of those that it is developed with, or of your own.

    KAPPA_CATALOG=path/to/config.yaml pytest tests/catalogs

runs it on the catalog of these settings, in namespaces that are removed again. With KAPPA_CATALOG_NAMESPACE=NAME it
keeps to tables of its own in one that is there. `kappa doctor --catalog` says more of what it finds, and leaves out
what is too much beside products that are at work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from replay.iceberg import lake
from replay.iceberg.catalog_checks import CHECKS, Check, result
from replay.iceberg.catalog_ground import CheckNamespace, ground
from replay.settings import Settings, load_settings
from tests.unit.lake_tables import make_rest_settings, make_settings

OWN = os.environ.get("KAPPA_CATALOG", "")
NAMESPACE = os.environ.get("KAPPA_CATALOG_NAMESPACE")


@pytest.fixture(params=[OWN] if OWN else ["sqlite", "postgresql", "rest"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    match request.param:
        case "sqlite":
            return make_settings(tmp_path)
        case "postgresql":
            (tmp_path / "database").write_text(request.getfixturevalue("postgresql").database())
            return make_settings(tmp_path)
        case "rest":
            return make_rest_settings(tmp_path, request.getfixturevalue("rest_store"))
    file = Path(OWN).absolute()
    assert file.name == "config.yaml", f"KAPPA_CATALOG is a file config.yaml, and not {OWN}"
    return load_settings(file.parent)


@pytest.fixture
def at(settings: Settings) -> Iterator[CheckNamespace]:
    """A namespace of one test, or tables of one test in the namespace that is given."""
    with closing(lake.open_catalog(settings)) as catalog:
        made = ground(catalog, partial(lake.open_catalog, settings), NAMESPACE)
        yield made
        assert [str(left.error) for left in made.clear() if left.error] == []
        assert NAMESPACE or not catalog.namespace_exists(made.namespace)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_catalog_does_what_products_need(at: CheckNamespace, check: Check) -> None:
    for needed in dict.fromkeys((CHECKS[0], check)):
        found = result(needed, at)
        assert found.error is None, str(found.error)
