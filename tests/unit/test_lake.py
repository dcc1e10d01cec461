"""Tables, branches and aligned checkpoints, on real Iceberg tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from replay.errors import ConfigError, ConflictError, RefusedError
from replay.iceberg import branch_checkpoints, lake, sql_places, table_changes
from tests.unit.lake_tables import (
    COLUMNS,
    JOB,
    make_product,
    make_settings,
    publish,
    sink,
    sink_all,
)


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    made = make_product(tmp_path)
    table_changes.ensure(catalog, made)
    return made


def test_a_branch_starts_empty_though_main_has_rows(catalog: Catalog, product: Product) -> None:
    sink(catalog, "orders", "main", 1, [{"id": 1}])
    lake.create_branch(catalog, product, "r2-a1")
    table = catalog.load_table("shop.orders")
    assert table.scan(snapshot_id=table.metadata.refs["r2-a1"].snapshot_id).to_arrow().num_rows == 0


def test_a_branch_in_use_is_taken_again_only_to_resume(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    lake.create_branch(catalog, product, "r1-a1")
    sink_all(catalog, product, "r1-a1", 1)
    with pytest.raises(RefusedError, match=r"branch r1-a1 of table shop\.orders is in use"):
        lake.create_branch(catalog, product, "r1-a1")
    lake.create_branch(catalog, product, "r1-a1", resume=True)


def test_dropping_a_branch_twice(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    lake.drop_branch(catalog, product, "r1-a1")
    lake.drop_branch(catalog, product, "r1-a1")
    assert "r1-a1" not in catalog.load_table("shop.orders").metadata.refs
    with pytest.raises(RefusedError):
        lake.drop_branch(catalog, product, "main")


def test_only_checkpoints_in_all_tables_are_publishable_newest_first(
    catalog: Catalog, product: Product
) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    one = sink_all(catalog, product, "r1-a1", 1)
    two = sink_all(catalog, product, "r1-a1", 2)
    sink(catalog, "orders", "r1-a1", 3)
    found = branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB])
    assert [(c.id, dict(c.snapshots)) for c in found] == [(2, two), (1, one)]


def test_tables_that_are_being_made_have_no_checkpoints(catalog: Catalog, tmp_path: Path) -> None:
    whole = make_product(tmp_path)
    assert branch_checkpoints.publishable(catalog, whole, "r1-a1", [JOB]) == []
    table_changes.ensure(catalog, make_product(tmp_path, columns={"orders": COLUMNS["orders"]}))
    assert branch_checkpoints.publishable(catalog, whole, "r1-a1", [JOB]) == []


def test_checkpoints_of_other_branches_do_not_count(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    lake.create_branch(catalog, product, "r1-a2")
    sink_all(catalog, product, "r1-a2", 2, job_id="b" * 32)
    assert branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB]) == []


def test_a_branch_that_iceberg_made_anew_from_main_is_noticed(
    catalog: Catalog, product: Product
) -> None:
    for branch, job in (("r1-a1", JOB), ("r1-a2", "b" * 32)):
        lake.create_branch(catalog, product, branch)
        first = sink_all(catalog, product, branch, 1, job_id=job)
    publish(catalog, product, first)
    lake.drop_branch(catalog, product, "r1-a1")
    with catalog.load_table(("shop", "totals")).manage_snapshots() as changes:
        changes.create_branch(first["totals"], "r1-a1")
    with pytest.raises(ConflictError) as e:
        branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB])
    assert (e.value.message, e.value.found) == (
        "in table totals it has commits of other jobs",
        f"snapshot {first['totals']}",
    )


def test_a_branch_that_lost_a_commit_is_noticed(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    first, second = (sink_all(catalog, product, "r1-a1", c) for c in (1, 2))
    lake.drop_branch(catalog, product, "r1-a1")
    for table, snapshot in first.items():
        with catalog.load_table(("shop", table)).manage_snapshots() as changes:
            changes.create_branch(snapshot, "r1-a1")
    sink_all(catalog, product, "r1-a1", 3)
    with pytest.raises(ConflictError) as e:
        branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB])
    assert (e.value.message, e.value.found) == (
        "in table orders it lost commits of its own job",
        f"snapshot {second['orders']}",
    )


def test_a_resumed_attempt_goes_on_with_another_job_id(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    sink_all(catalog, product, "r1-a1", 1)
    sink_all(catalog, product, "r1-a1", 2, job_id="b" * 32)
    assert [
        c.id for c in branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB, "b" * 32])
    ] == [2, 1]


def test_a_product_without_tables(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as e:
        lake.published(catalog, make_product(tmp_path))
    assert e.value.as_dict() == {
        "error": "ConfigError",
        "message": "product shop has no tables yet",
        "expected": "the tables of a deployed product",
        "found": "no table orders, totals, rejects",
        "next": "kappa deploy shop",
    }


def test_the_rows_of_a_snapshot_are_those_of_its_branch(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    lake.create_branch(catalog, product, "r2-a1")
    one = sink(catalog, "orders", "r1-a1", 1, [{"id": 1}, {"id": 2}])
    two = sink(catalog, "orders", "r1-a1", 2, [{"id": 3}])
    other = sink(catalog, "orders", "r2-a1", 1, [{"id": 4}])
    metadata = catalog.load_table("shop.orders").metadata
    genesis = metadata.refs[lake.GENESIS].snapshot_id
    assert [lake.rows(metadata, s) for s in (genesis, one, two, other)] == [0, 2, 3, 1]
    assert lake.rows(metadata, None) is None


def test_the_database_alone_says_where_tables_are_as_the_catalog_does(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path)
    alone = sql_places.places(settings, product.name)
    asked = lake.places(catalog, product.name)
    assert alone is not None and set(alone) == set(product.outputs)
    assert {n: p.location for n, p in alone.items()} == {n: p.location for n, p in asked.items()}
    assert sql_places.places(settings, "nothing") == {}


def test_where_the_catalog_is_none_of_sql_or_has_no_tables_the_database_is_not_asked(
    tmp_path: Path,
) -> None:
    settings = make_settings(tmp_path)
    assert sql_places.places(settings, "shop") is None  # nobody has opened the catalog yet
    for other in ({"type": "rest"}, {"type": "sql", "py-catalog-impl": "example.Catalog"}):
        pyiceberg = {**settings.catalog.pyiceberg, **other}
        changed = settings.catalog.model_copy(update={"pyiceberg": pyiceberg})
        assert sql_places.places(settings.model_copy(update={"catalog": changed}), "shop") is None


@pytest.mark.parametrize("said", ["environment", "file"])
def test_what_pyiceberg_is_told_elsewhere_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    settings = make_settings(tmp_path)
    lake.open_catalog(settings)
    assert sql_places.places(settings, "shop") == {}
    if said == "environment":
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__S3__ENDPOINT", "http://s3")
    else:
        monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
        (tmp_path / ".pyiceberg.yaml").write_text("catalog: {}\n")
    assert sql_places.places(settings, "shop") is None
