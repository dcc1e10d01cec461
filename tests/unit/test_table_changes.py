"""What becomes of a product's tables when a release asks for others: on real Iceberg tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.types import DecimalType, LongType

from jobs.product.folder import Product
from replay.errors import ConfigError, RefusedError
from replay.iceberg import lake, table_changes
from replay.iceberg.commits import no_fence
from replay.iceberg.product_types import product_type
from replay.iceberg.table_types import iceberg_schema, table_type
from replay.iceberg.type_changes import Path as Part
from replay.iceberg.type_changes import parts
from replay.store.leases import StaleLeaseError
from tests.unit.lake_tables import COLUMNS, make_product, sink

ITEM = "ROW<`sku` STRING, `price` DECIMAL(9, 2)>"
NESTED = (
    ("id", "INT"),
    ("place", "ROW<`lat` FLOAT, `lon` FLOAT>"),
    ("items", f"ARRAY<{ITEM}>"),
    ("tags", "MAP<STRING, ROW<`n` INT>>"),
)


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    made = make_product(tmp_path)
    table_changes.ensure(catalog, made)
    return made


def with_totals(folder: Path, *columns: tuple[str, str], **output: Any) -> Product:
    """The product with other columns in `totals`, and more said of it in product.yaml."""
    return make_product(folder, columns={**COLUMNS, "totals": columns}, totals=output)


def columns_of(catalog: Catalog, table: str = "totals") -> dict[str, str]:
    return {
        f.name: str(f.type) for f in table_type(catalog.load_table(("shop", table)).schema()).fields
    }


def test_tables_begin_empty_with_main_at_genesis(catalog: Catalog, product: Product) -> None:
    for name in product.outputs:
        table = catalog.load_table(("shop", name))
        assert table.scan().to_arrow().num_rows == 0
        assert table.metadata.refs["genesis"].snapshot_id == table.metadata.refs["main"].snapshot_id
        assert table.properties["flink.max-continuous-empty-commits"] == "1"
    assert lake.published(catalog, product).checkpoint is None


def test_ensuring_tables_again_changes_nothing(catalog: Catalog, product: Product) -> None:
    before = lake.pointers(catalog, "shop")
    table_changes.ensure(catalog, product)
    assert lake.pointers(catalog, "shop") == before


def test_a_crash_before_the_tag_is_made_good(catalog: Catalog, tmp_path: Path) -> None:
    made = make_product(tmp_path)
    catalog.create_namespace("shop")
    catalog.create_table(
        "shop.orders", iceberg_schema(made, "orders"), properties=table_changes.PROPERTIES
    )
    table_changes.ensure(catalog, made)
    assert "genesis" in catalog.load_table("shop.orders").metadata.refs


def test_somebody_elses_table_is_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    made = make_product(tmp_path)
    catalog.create_namespace("shop")
    catalog.create_table("shop.orders", iceberg_schema(made, "orders"))
    sink(catalog, "orders", "main", 1, [{"id": 1}])
    with pytest.raises(
        RefusedError, match=r"table shop\.orders was not made by kappa and holds rows"
    ):
        table_changes.ensure(catalog, made)


# Columns


def test_new_columns_are_added_at_the_end(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    table_changes.ensure(
        catalog, with_totals(tmp_path, ("day", "DATE"), ("n", "BIGINT"), ("amount", "DOUBLE"))
    )
    assert columns_of(catalog) == {"day": "DATE", "amount": "DOUBLE", "n": "BIGINT"}


def test_a_table_keeps_what_any_release_needs(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """An older release is resumed beside the one that widened a column, and writes into the wider one."""
    columns = {
        **COLUMNS,
        "orders": (("id", "BIGINT"), *COLUMNS["orders"][1:]),
        "totals": (*COLUMNS["totals"], ("share", "DECIMAL(9, 2)")),
    }
    table_changes.ensure(catalog, make_product(tmp_path, columns=columns))
    before = lake.pointers(catalog, "shop")
    table_changes.ensure(catalog, product, resume=True)
    assert lake.pointers(catalog, "shop") == before
    assert catalog.load_table("shop.orders").schema().find_type("id") == LongType()
    table_changes.ensure(catalog, with_totals(tmp_path, ("share", "DECIMAL(5, 2)")))
    assert catalog.load_table("shop.totals").schema().find_type("share") == DecimalType(9, 2)


def test_nested_columns_are_created_added_to_and_widened(catalog: Catalog, tmp_path: Path) -> None:
    table_changes.ensure(catalog, with_totals(tmp_path, *NESTED))
    assert columns_of(catalog) == dict(NESTED)
    assert len(catalog.load_table("shop.totals").schema().field_ids) == 4 + 2 + 1 + 2 + 2 + 1
    table_changes.ensure(
        catalog,
        with_totals(
            tmp_path,
            ("place", "ROW<`lat` DOUBLE, `height` INT>"),
            ("items", "ARRAY<ROW<`vat` DECIMAL(9, 2), `price` DECIMAL(12, 2), `of` ROW<`a` INT>>>"),
            ("tags", "MAP<STRING, ROW<`n` BIGINT, `when` DATE>>"),
            ("more", "ARRAY<ARRAY<BYTES>>"),
        ),
    )
    assert columns_of(catalog) == {
        "id": "INT",
        "place": "ROW<`lat` DOUBLE, `lon` FLOAT, `height` INT>",
        "items": "ARRAY<ROW<`sku` STRING, `price` DECIMAL(12, 2), `vat` DECIMAL(9, 2), `of` ROW<`a` INT>>>",
        "tags": "MAP<STRING, ROW<`n` BIGINT, `when` DATE>>",
        "more": "ARRAY<ARRAY<BYTES>>",
    }


CHANGE, CASE = "cannot change its type", "only by case, which many readers do not see"
REFUSED = [
    pytest.param(
        ("day", "STRING"),
        f"day of table shop.totals {CHANGE}",
        "DATE, or a wider type",
        "STRING",
        id="another type",
    ),
    pytest.param(
        ("items", "ARRAY<ROW<`sku` INT>>"),
        f"items[].sku of table shop.totals {CHANGE}",
        "STRING, or a wider type",
        "INT",
        id="another type inside",
    ),
    pytest.param(
        ("tags", "MAP<INT, ROW<`n` INT>>"),
        f"tags of table shop.totals {CHANGE}",
        "MAP<STRING, ROW<`n` INT>>, or a wider type",
        "MAP<INT, ROW<`n` INT>>",
        id="another key",
    ),
    pytest.param(
        ("Day", "DATE"),
        f"Day of table shop.totals differs from day {CASE}",
        "day, or a name of its own",
        "Day",
        id="another case",
    ),
    pytest.param(
        ("items", "ARRAY<ROW<`SKU` STRING>>"),
        f"items[].SKU of table shop.totals differs from sku {CASE}",
        "sku, or a name of its own",
        "SKU",
        id="another case inside",
    ),
]


@pytest.mark.parametrize(("column", "message", "expected", "found"), REFUSED)
def test_what_a_running_release_could_not_bear_is_refused(
    catalog: Catalog,
    tmp_path: Path,
    column: tuple[str, str],
    message: str,
    expected: str,
    found: str,
) -> None:
    table_changes.ensure(catalog, with_totals(tmp_path, ("day", "DATE"), *NESTED))
    with pytest.raises(RefusedError) as e:
        table_changes.ensure(catalog, with_totals(tmp_path, column))
    assert (e.value.message, e.value.expected, e.value.found) == (
        f"column {message}",
        expected,
        found,
    )


def test_columns_that_differ_only_by_case_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as e:
        table_changes.ensure(catalog, with_totals(tmp_path, ("shop", "STRING"), ("Shop", "STRING")))
    assert (e.value.message, e.value.found) == (
        "columns of totals cannot be told apart",
        "shop and Shop",
    )
    assert lake.pointers(catalog, "shop") == {}


def test_columns_that_no_release_writes_are_dropped(catalog: Catalog, product: Product) -> None:
    sink(catalog, "orders", "main", 1, [{"id": 1, "amount": 5}])
    written: dict[str, set[Part]] = {
        "orders": {("id",), ("day",), ("log_partition",), ("log_offset",)},
        "totals": {("day",), ("amount",)},
        "absent": {("x",)},
    }
    assert table_changes.drop_columns(catalog, "shop", written, no_fence) == {"orders": ("amount",)}
    assert table_changes.drop_columns(catalog, "shop", written, no_fence) == {}
    table = catalog.load_table("shop.orders")
    assert "amount" not in table.schema().column_names
    with table.update_schema() as update:
        update.add_column("amount", LongType())
    head = sink(catalog, "orders", "main", 2, [{"id": 2, "amount": 7}])
    assert sorted(
        catalog.load_table("shop.orders").scan(snapshot_id=head).to_arrow()["amount"].to_pylist(),
        key=str,
    ) == [7, None]


def test_columns_are_not_dropped_once_somebody_else_may_write_them(
    catalog: Catalog, product: Product
) -> None:
    written: dict[str, set[Part]] = {
        "orders": {("id",), ("day",), ("log_partition",), ("log_offset",)}
    }
    asked: list[int] = []

    def overtaken() -> None:
        if asked:
            raise StaleLeaseError("another controller took over")
        # it passes, and freezes: the other one prepares an attempt that writes all columns
        asked.append(1)
        lake.create_branch(catalog, product, "r3-a1")

    with pytest.raises(StaleLeaseError):
        table_changes.drop_columns(catalog, "shop", written, overtaken)
    assert "amount" in catalog.load_table("shop.orders").schema().column_names


def test_fields_that_no_release_writes_are_dropped(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    table_changes.ensure(catalog, with_totals(tmp_path, *NESTED))
    releases = [
        with_totals(
            tmp_path,
            ("id", "INT"),
            ("items", "ARRAY<ROW<`price` DECIMAL(9, 2)>>"),
            ("tags", "MAP<STRING, ROW<`n` INT>>"),
        ),
        with_totals(
            tmp_path,
            ("id", "INT"),
            ("items", "ARRAY<ROW<`sku` STRING>>"),
            ("place", "ROW<`lat` FLOAT>"),
        ),
    ]
    written = {"totals": {p for r in releases for p in parts(product_type(r, "totals"))}}
    assert table_changes.drop_columns(catalog, "shop", written, no_fence) == {
        "totals": ("day", "amount", "place.lon")
    }
    assert columns_of(catalog) == {**dict(NESTED), "place": "ROW<`lat` FLOAT>"}


# Partition spec and sort order


def layout_of(catalog: Catalog) -> tuple[list[str], list[str], str]:
    table = catalog.load_table("shop.totals")
    names = {f.field_id: f.name for f in table.schema().fields}
    return (
        [f"{f.name}: {f.transform} of {names[f.source_id]}" for f in table.spec().fields],
        [
            f"{names[f.source_id]} {f.direction.value} {f.null_order.value}"
            for f in table.sort_order().fields
        ],
        f"{table.properties['write.distribution-mode']} {table.properties['write.parquet.page-size-bytes']}",
    )


TOTALS = (("day", "DATE"), ("shop", "STRING"), ("id", "INT"), ("hour", "TIMESTAMP(6)"))


def test_a_table_is_made_with_its_partition_spec_and_sort_order(
    catalog: Catalog, tmp_path: Path
) -> None:
    table_changes.ensure(
        catalog,
        with_totals(
            tmp_path,
            *TOTALS,
            sort=("shop", "hour desc"),
            partition=("day(hour)", "shop", "bucket(16, id)", "truncate(4, shop)"),
        ),
    )
    assert layout_of(catalog) == (
        [
            "hour_day: day of hour",
            "shop: identity of shop",
            "id_bucket_16: bucket[16] of id",
            "shop_trunc_4: truncate[4] of shop",
        ],
        ["shop asc nulls-first", "hour desc nulls-last"],
        "hash 65536",
    )
    assert catalog.load_table("shop.totals").scan().to_arrow().num_rows == 0
    assert lake.GENESIS in catalog.load_table("shop.totals").metadata.refs


def test_a_later_release_lays_the_table_out_anew(catalog: Catalog, tmp_path: Path) -> None:
    first = with_totals(tmp_path, *TOTALS, partition=("day(hour)", "shop"), sort=("shop",))
    table_changes.ensure(catalog, first)
    table_changes.ensure(
        catalog,
        with_totals(
            tmp_path,
            *TOTALS,
            ("region", "STRING"),
            partition=("shop", "region"),
            sort=("region desc", "id"),
        ),
    )
    other = (
        ["shop: identity of shop", "region: identity of region"],
        ["region desc nulls-last", "id asc nulls-first"],
        "hash 65536",
    )
    assert layout_of(catalog) == other
    table_changes.ensure(catalog, first, resume=True)
    assert layout_of(catalog) == other, "a job that goes on takes the table as it is"
    table_changes.ensure(catalog, with_totals(tmp_path, *TOTALS))
    assert layout_of(catalog) == ([], [], "none 1048576")
    table_changes.ensure(catalog, first)
    assert layout_of(catalog) == (
        ["hour_day: day of hour", "shop: identity of shop"],
        ["shop asc nulls-first"],
        "hash 65536",
    )
    before = lake.pointers(catalog, "shop")
    table_changes.ensure(catalog, first)
    assert lake.pointers(catalog, "shop") == before


def test_a_column_that_files_are_laid_out_by_is_not_dropped(
    catalog: Catalog, tmp_path: Path
) -> None:
    table_changes.ensure(
        catalog, with_totals(tmp_path, *TOTALS, partition=("day(hour)",), sort=("shop",))
    )
    bare = with_totals(tmp_path, ("day", "DATE"))
    table_changes.ensure(catalog, bare)
    written = {"totals": set(parts(product_type(bare, "totals")))}
    assert table_changes.drop_columns(catalog, "shop", written, no_fence) == {"totals": ("id",)}
    assert list(columns_of(catalog)) == ["day", "shop", "hour"]
    assert layout_of(catalog) == ([], [], "none 1048576")


def test_a_wrong_layout_is_named_before_anything_is_made(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as e:
        table_changes.ensure(catalog, with_totals(tmp_path, *TOTALS, partition=("day(shop)",)))
    assert (e.value.message, e.value.expected, e.value.found) == (
        f"{tmp_path}/product.yaml is wrong at 'outputs.totals.partition[0]'",
        "a DATE, TIMESTAMP or TIMESTAMP_LTZ",
        "shop STRING",
    )
    assert lake.pointers(catalog, "shop") == {}


def test_a_new_column_cannot_have_the_name_of_a_partition(catalog: Catalog, tmp_path: Path) -> None:
    """Iceberg could not read the table's metadata any more."""
    table_changes.ensure(catalog, with_totals(tmp_path, *TOTALS, partition=("day(hour)",)))
    with pytest.raises(RefusedError) as e:
        table_changes.ensure(catalog, with_totals(tmp_path, *TOTALS, ("Hour_day", "DATE")))
    assert (e.value.message, e.value.found) == (
        "column Hour_day of table shop.totals has the name of a partition of it",
        "partition hour_day",
    )
