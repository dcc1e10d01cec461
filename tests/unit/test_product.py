"""A product's folder: what is read, and which file and field an error names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from jobs.product import Column, Kind, ProductError, Role, Switch, load_product, seconds

ROOT = Path(__file__).parents[2]
ORDERS = ROOT / "tests" / "products" / "orders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(ORDERS, tmp_path / "orders")


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(("text", "expected"), [
    ("10s", 10), ("500ms", 0.5), ("5min", 300), ("6h", 21_600), ("2d", 172_800), (" 1 h ", 3600),
])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "ten s", "1.5h", "-1s", "1w", "5 minutes"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"a duration such as '10s', '5min' or '6h', not {text!r}")):
        seconds(text)


def test_the_small_product() -> None:
    product = load_product(ORDERS)
    assert product.name == "orders"
    assert product.outputs == ("order_rows", "hourly_orders", "rejects")
    assert product.settings.topics["orders"].role is Role.events
    assert product.settings.topics["orders"].identity == ("order_id",)
    assert product.settings.outputs["order_rows"].kind is Kind.rows
    assert product.settings.switch is Switch.auto
    assert product.columns["hourly_orders"] == (
        Column(name="shop", type="STRING"), Column(name="hour", type="TIMESTAMP(6)"),
        Column(name="orders", type="BIGINT"), Column(name="cents", type="BIGINT"))


def test_flights_has_every_role_and_kind() -> None:
    settings = load_product(ROOT / "sql" / "flights").settings
    assert {t.role for t in settings.topics.values()} == set(Role)
    assert {o.kind for o in settings.outputs.values()} == set(Kind)
    assert all(f.deterministic for f in settings.functions.values())


def test_paths(folder: Path) -> None:
    product = load_product(folder)
    assert product.sources_sql == folder / "sources.sql"
    assert product.output_sql == tuple(folder / f"{name}.sql" for name in product.outputs)
    assert product.schema_file("orders") == folder / "schemas" / "orders.avsc"


def test_files_are_sorted_relative_and_without_caches(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"")
    files = [str(f) for f in load_product(folder).files]
    assert files == sorted(files)
    assert "checks/negative.sql" in files and "schemas/orders.avsc" in files
    assert not [f for f in files if "__pycache__" in f]


@pytest.mark.parametrize(("old", "new", "message"), [
    ("name: orders", "name: Orders", "expected name: String should match pattern"),
    ("parallelism: 1", "parallelism: 0", "expected parallelism: Input should be greater than or equal to 1, found 0"),
    ("switch: auto", "swich: auto", "expected swich: Extra inputs are not permitted, found 'auto'"),
    ("checkpoint_interval: 2s", "checkpoint_interval: soon", "expected checkpoint_interval: Value error, a duration"),
    ("    allowed_lateness: 1h\n", "", "topic orders (events) needs allowed_lateness"),
    ("checkpoint_interval: 2s", "max_drift: 1h", "max_drift is longer than every allowed_lateness, or topics wait"),
    ("    allowed_lateness: 1h\n", "    allowed_lateness: 1h\n    key: [shop]\n",
     "topic orders (events) has a key, and only references and dimensions do"),
    ("    allowed_lateness: 1h\n",
     "    allowed_lateness: 1h\n  shops:\n    role: dimension\n    allowed_lateness: 2h\n    key: [shop]\n",
     "dimension shops has a key, and a longer allowed_lateness than orders"),
    ("    identity: [order_id]\n", "    once: true\n",
     "topic orders is read once, which takes role events and an identity"),
    ("switch: auto", "lookups: {orders: {shop: shops}}",
     "lookups orders has the name of a topic, which has a orders_at() of its own"),
    ("switch: auto", "lookups: {around: {Shop: shops}}",
     "lookups around needs names of small letters, digits and _, found ['Shop']"),
    ("switch: auto", "lookups: {around: {order: orders}}",
     "lookups around is of topics with a key: [], found ['orders']"),
    ("switch: auto", "lookups: {around: {}}", "lookups around is of topics with a key: [], found []"),
    ("of: orders", "of: parcels", "output order_rows of kind rows needs 'of': one of ['orders']"),
    ("role: events", "role: facts", "expected topics.orders.role: Input should be 'events'"),
], ids=["name", "range", "unknown field", "duration", "lateness", "drift", "key", "slow dimension",
        "once without identity", "lookups like a topic", "name of a lookup", "lookup without a key", "no lookup",
        "topic of rows", "role"])
def test_a_wrong_field_is_named(folder: Path, old: str, new: str, message: str) -> None:
    change(folder / "product.yaml", old, new)
    with pytest.raises(ProductError) as e:
        load_product(folder)
    assert str(e.value).startswith(f"{folder / 'product.yaml'}: expected ")
    assert message in str(e.value)
    assert e.value.file == folder / "product.yaml"


@pytest.mark.parametrize("file", ["product.yaml", "contract.yaml", "sources.sql", "rejects.sql", "schemas/orders.avsc"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ProductError, match=re.escape(f"{folder / file}: expected a file, found none")):
        load_product(folder)


def test_yaml_that_is_none(folder: Path) -> None:
    (folder / "product.yaml").write_text("name: [")
    with pytest.raises(ProductError, match=re.escape(f"{folder / 'product.yaml'}: expected YAML, found while parsing")):
        load_product(folder)


def test_yaml_that_is_no_mapping(folder: Path) -> None:
    (folder / "contract.yaml").write_text("- a\n")
    with pytest.raises(ProductError, match=r"contract\.yaml: expected a mapping, found list"):
        load_product(folder)


def test_every_output_needs_a_schema_in_the_contract(folder: Path) -> None:
    change(folder / "contract.yaml", "name: hourly_orders", "name: daily_orders")
    with pytest.raises(ProductError, match=r"a schema for every output of .*, found none for \['hourly_orders'\]"):
        load_product(folder)


def test_every_column_needs_a_type(folder: Path) -> None:
    change(folder / "contract.yaml", "{name: cents, physicalType: BIGINT}", "{name: cents}")
    with pytest.raises(ProductError, match=r"name and physicalType .* of every property of hourly_orders"):
        load_product(folder)


@pytest.mark.parametrize(("outputs", "message"), [
    ("hourly_orders: {kind: aggregate, key: [shop, our]}",
     "expected outputs.hourly_orders.key: columns of the contract (shop, hour, orders, cents), found our"),
    ("hourly_orders: {kind: aggregate, window: {column: day, size: 1d}}",
     "expected outputs.hourly_orders.window.column: a TIMESTAMP or DATE of the contract, found day: none"),
    ("hourly_orders: {kind: aggregate, window: {column: cents, size: 1h}}",
     "expected outputs.hourly_orders.window.column: a TIMESTAMP or DATE of the contract, found cents: BIGINT"),
    ("hourly_orders: {kind: aggregate, window: {column: hour, size: soon}}",
     "expected outputs.hourly_orders.window.size: Value error, a duration"),
    ("order_rows: {kind: rows, of: orders, window: {column: ordered_at, size: 1h}}",
     "output order_rows has a window, and only aggregates do"),
], ids=["key", "no such window", "window of a number", "size", "window of rows"])
def test_columns_that_an_output_names_are_in_the_contract(folder: Path, outputs: str, message: str) -> None:
    file = folder / "product.yaml"
    name = outputs.partition(":")[0]
    file.write_text("".join(f"  {outputs}\n" if line.strip().startswith(f"{name}:") else line
                            for line in file.read_text().splitlines(keepends=True)))
    with pytest.raises(ProductError) as e:
        load_product(folder)
    assert message in str(e.value)
    assert e.value.file == file


def test_a_window_of_instants_is_refused(folder: Path) -> None:
    change(folder / "contract.yaml", "{name: hour, physicalType: TIMESTAMP(6)}",
           "{name: hour, physicalType: TIMESTAMP_LTZ(6)}")
    with pytest.raises(ProductError, match=r"found hour: TIMESTAMP_LTZ\(6\)"):
        load_product(folder)


@pytest.mark.parametrize("product", [ORDERS, ROOT / "sql" / "flights"], ids=lambda folder: folder.name)
def test_every_aggregate_says_which_windows_its_rows_are(product: Path) -> None:
    outputs = load_product(product).settings.outputs.values()
    assert all(o.key and o.window for o in outputs if o.kind is Kind.aggregate)
