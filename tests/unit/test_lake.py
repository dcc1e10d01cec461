"""Tables, branches and aligned checkpoints, on real Iceberg tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.types import DecimalType, LongType, TimestamptzType

from jobs.product import Product
from replay import lake
from replay.errors import ConfigError, ConflictError, RefusedError
from tests.unit.lake_tables import COLUMNS, JOB, make_product, publish, sink, sink_all


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    made = make_product(tmp_path)
    lake.ensure_tables(catalog, made)
    return made


def test_tables_begin_empty_with_main_at_genesis(catalog: Catalog, product: Product) -> None:
    for name in product.outputs:
        table = catalog.load_table(("shop", name))
        assert table.scan().to_arrow().num_rows == 0
        assert table.metadata.refs["genesis"].snapshot_id == table.metadata.refs["main"].snapshot_id
        assert table.properties["flink.max-continuous-empty-commits"] == "1"
    assert lake.published(catalog, product).checkpoint is None


def test_ensuring_tables_again_changes_nothing(catalog: Catalog, product: Product) -> None:
    before = lake.pointers(catalog, "shop")
    lake.ensure_tables(catalog, product)
    assert lake.pointers(catalog, "shop") == before


def test_a_crash_before_the_tag_is_made_good(catalog: Catalog, tmp_path: Path) -> None:
    made = make_product(tmp_path)
    catalog.create_namespace("shop")
    catalog.create_table("shop.orders", lake.iceberg_schema(made, "orders"), properties=lake.TABLE_PROPERTIES)
    lake.ensure_tables(catalog, made)
    assert "genesis" in catalog.load_table("shop.orders").metadata.refs


def test_somebody_elses_table_is_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    made = make_product(tmp_path)
    catalog.create_namespace("shop")
    catalog.create_table("shop.orders", lake.iceberg_schema(made, "orders"))
    sink(catalog, "orders", "main", 1, [{"id": 1}])
    with pytest.raises(RefusedError, match=r"table shop\.orders was not made by kappa and holds rows"):
        lake.ensure_tables(catalog, made)


def test_new_columns_are_added_and_types_widened(catalog: Catalog, product: Product, tmp_path: Path) -> None:
    wider = make_product(tmp_path, columns={**COLUMNS, "totals": (*COLUMNS["totals"], ("n", "BIGINT"))})
    lake.ensure_tables(catalog, wider)
    assert catalog.load_table("shop.totals").schema().find_type("n") == LongType()


def test_an_older_release_goes_on_in_a_widened_table(catalog: Catalog, product: Product, tmp_path: Path) -> None:
    """It is resumed beside the release that widened a column, and its writer has to be told the column's type."""
    assert lake.wider_types(catalog, product) == {}
    columns = {**COLUMNS, "orders": (("id", "BIGINT"), *COLUMNS["orders"][1:]),
               "totals": (*COLUMNS["totals"], ("share", "DECIMAL(9, 2)"))}
    lake.ensure_tables(catalog, make_product(tmp_path, columns=columns))
    lake.ensure_tables(catalog, product)
    assert catalog.load_table("shop.orders").schema().find_type("id") == LongType()
    assert lake.wider_types(catalog, product) == {"orders": {"id": "BIGINT"}}
    narrower = make_product(tmp_path, columns={**columns, "totals": (("share", "DECIMAL(5, 2)"),)})
    assert lake.wider_types(catalog, narrower) == {"totals": {"share": "DECIMAL(9, 2)"}}


def test_a_changed_type_is_refused(catalog: Catalog, product: Product, tmp_path: Path) -> None:
    other = make_product(tmp_path, columns={**COLUMNS, "totals": (("day", "STRING"), ("amount", "DOUBLE"))})
    with pytest.raises(RefusedError) as e:
        lake.ensure_tables(catalog, other)
    assert str(e.value).splitlines()[:3] == ["column day of table shop.totals cannot change its type",
                                             "  expected: date, or a wider type", "  found:    string"]


@pytest.mark.parametrize(("flink", "iceberg"), [
    ("DECIMAL(12, 2)", DecimalType(12, 2)), ("TIMESTAMP_LTZ(6)", TimestamptzType()), ("BIGINT NOT NULL", LongType())])
def test_types(flink: str, iceberg: object) -> None:
    assert lake.iceberg_type(flink) == iceberg


@pytest.mark.parametrize("flink", ["TIMESTAMP(9)", "MAP<STRING, INT>", "MONEY"])
def test_types_the_tables_cannot_hold(flink: str) -> None:
    with pytest.raises(ConfigError, match="has a type that the tables cannot hold"):
        lake.iceberg_type(flink, "orders.x")


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


def test_only_checkpoints_in_all_tables_are_publishable_newest_first(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    one = sink_all(catalog, product, "r1-a1", 1)
    two = sink_all(catalog, product, "r1-a1", 2)
    sink(catalog, "orders", "r1-a1", 3)
    found = lake.publishable(catalog, product, "r1-a1", [JOB])
    assert [(c.id, dict(c.snapshots)) for c in found] == [(2, two), (1, one)]


def test_checkpoints_of_other_branches_do_not_count(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    lake.create_branch(catalog, product, "r1-a2")
    sink_all(catalog, product, "r1-a2", 2, job_id="b" * 32)
    assert lake.publishable(catalog, product, "r1-a1", [JOB]) == []


def test_a_branch_that_iceberg_made_anew_from_main_is_noticed(catalog: Catalog, product: Product) -> None:
    for branch, job in (("r1-a1", JOB), ("r1-a2", "b" * 32)):
        lake.create_branch(catalog, product, branch)
        first = sink_all(catalog, product, branch, 1, job_id=job)
    publish(catalog, product, first)
    lake.drop_branch(catalog, product, "r1-a1")
    with catalog.load_table(("shop", "totals")).manage_snapshots() as changes:
        changes.create_branch(first["totals"], "r1-a1")
    with pytest.raises(ConflictError) as e:
        lake.publishable(catalog, product, "r1-a1", [JOB])
    assert (e.value.message, e.value.found) == ("in table totals it has commits of other jobs",
                                                f"snapshot {first['totals']}")


def test_a_branch_that_lost_a_commit_is_noticed(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    first, second = (sink_all(catalog, product, "r1-a1", c) for c in (1, 2))
    lake.drop_branch(catalog, product, "r1-a1")
    for table, snapshot in first.items():
        with catalog.load_table(("shop", table)).manage_snapshots() as changes:
            changes.create_branch(snapshot, "r1-a1")
    sink_all(catalog, product, "r1-a1", 3)
    with pytest.raises(ConflictError) as e:
        lake.publishable(catalog, product, "r1-a1", [JOB])
    assert (e.value.message, e.value.found) == ("in table orders it lost commits of its own job",
                                                f"snapshot {second['orders']}")


def test_a_resumed_attempt_goes_on_with_another_job_id(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r1-a1")
    sink_all(catalog, product, "r1-a1", 1)
    sink_all(catalog, product, "r1-a1", 2, job_id="b" * 32)
    assert [c.id for c in lake.publishable(catalog, product, "r1-a1", [JOB, "b" * 32])] == [2, 1]


def test_a_product_without_tables(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as e:
        lake.published(catalog, make_product(tmp_path))
    assert e.value.as_dict() == {"error": "ConfigError", "message": "product shop has no tables yet",
                                 "expected": "the tables of a deployed product",
                                 "found": "no table orders, totals, rejects", "next": "kappa deploy shop"}
