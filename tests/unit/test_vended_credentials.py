"""Keys that a REST catalog lends with each table: used instead of our own, of this table alone, and renewed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from replay import storage
from replay.controller import cleaning
from replay.iceberg import lake, table_changes
from replay.query import query
from replay.settings import Settings
from replay.storage import StorageError
from tests.object_store import TABLES, ObjectStore
from tests.unit.lake_tables import make_product, make_rest_settings, publish, sink, sink_all
from tests.vending_catalog import Vending, vending

KEY, SECRET = "s3.access-key-id", "s3.secret-access-key"
TOKEN, EXPIRES = "s3.session-token", "s3.session-token-expires-at-ms"
NAMES = ("orders", "totals", "rejects")
PATIENCE = 20


def keys_of(name: str, number: int = 1) -> dict[str, str]:
    """They reach what is below this table's folder and nothing else."""
    return {KEY: f"{name}-key-{number}", SECRET: f"{name}-secret-{number}"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    restricted = [
        {
            "name": name,
            "credentials": [
                {"accessKey": keys_of(name, n)[KEY], "secretKey": keys_of(name, n)[SECRET]}
                for n in (1, 2)
            ],
            "actions": [f"{action}:{TABLES}/shop/{name}/*" for action in ("Read", "Write", "List")],
        }
        for name in NAMES
    ]
    made = ObjectStore(tmp_path_factory.mktemp("vending-store"), identities=restricted)
    made.start()
    made.make_catalog()
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture
def lender(store: ObjectStore) -> Iterator[Vending]:
    with vending(store.catalog["uri"], keys_of) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, store: ObjectStore, lender: Vending) -> Settings:
    """Our own keys, and the token that belongs to them, are good for nothing."""
    made = make_rest_settings(tmp_path, store)
    own = {**made.storage, KEY: "nobody", SECRET: "nothing", TOKEN: "of nobody"}
    at = {**store.catalog, "uri": lender.address}
    return made.model_copy(
        update={
            "storage": own,
            "catalog": made.catalog.model_copy(update={"pyiceberg": at}),
        }
    )


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def catalog(settings: Settings, product: Product) -> Iterator[Catalog]:
    made = lake.open_catalog(settings)
    table_changes.ensure(made, product)
    lake.create_branch(made, product, "r1-a1")
    yield made
    for name, place in lake.places(made, product.name).items():
        table_changes.drop_table(made, (product.name, name), place.location)


def published(catalog: Catalog, product: Product, checkpoint: int = 1) -> dict[str, int]:
    row = {"id": 1, "amount": 2.0, "log_offset": 0}
    at = sink_all(catalog, product, "r1-a1", checkpoint)
    at["orders"] = sink(catalog, "orders", "r1-a1", checkpoint, [row])
    publish(catalog, product, at)
    return at


@pytest.mark.parametrize("in_config", [False, True], ids=["storage-credentials", "config"])
def test_everything_is_done_with_each_tables_own_keys(
    settings: Settings, lender: Vending, product: Product, in_config: bool
) -> None:
    lender.in_config = in_config
    catalog = lake.open_catalog(settings)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    at = published(catalog, product)
    assert lake.published(catalog, product).snapshots == at
    assert set(lender.asked) == set(NAMES)

    asked = "SELECT (SELECT sum(id) FROM orders) AS ids, (SELECT count(*) FROM totals) AS totals"
    assert query.query(settings, "shop", asked).rows == [{"ids": 1, "totals": 0}]
    with query.open_tables(settings, "shop") as connection:
        assert connection.execute(asked).fetchall() == [(1, 0)]

    lake.drop_branch(catalog, product, "r1-a1")
    table = catalog.load_table(("shop", "orders"))
    assert cleaning.garbage(catalog, "shop", product.outputs, "r1-a1") == ()
    assert table.scan().to_arrow().num_rows == 1
    for name, place in lake.places(catalog, "shop").items():
        table_changes.drop_table(catalog, ("shop", name), place.location)
    assert lake.places(catalog, "shop") == {}


def test_metadata_that_is_read_again_is_read_with_the_lent_keys(
    catalog: Catalog, product: Product
) -> None:
    """As when another thread has seen the next commit in between."""
    at = published(catalog, product)
    locations = lake.pointers(catalog, "shop")
    lake._known[catalog].clear()
    found = lake.current_metadata(catalog, product, locations)
    assert {name: m.refs[lake.MAIN].snapshot_id for name, m in found.items()} == at


def test_without_lent_keys_our_own_are_refused(
    settings: Settings, lender: Vending, product: Product
) -> None:
    """What the other tests would say if lent keys were not used."""
    lender.keys = lambda name: {}
    catalog = lake.open_catalog(settings)
    with pytest.raises(StorageError, match="the storage refuses access"):
        table_changes.ensure(catalog, product)
    lender.keys = keys_of
    for name, place in lake.places(catalog, "shop").items():
        table_changes.drop_table(catalog, ("shop", name), place.location)


def expiring(keys: Mapping[str, str], seconds: float) -> dict[str, str]:
    return {**keys, EXPIRES: str(int((time.time() + seconds) * 1000))}


def test_keys_of_a_table_are_renewed_before_they_expire(
    catalog: Catalog, product: Product, lender: Vending
) -> None:
    published(catalog, product)
    lender.keys = lambda name: expiring({KEY: "nobody", SECRET: "nothing"}, 2)
    table = catalog.load_table(("shop", "orders"))
    listed = table.metadata.snapshots[-1].manifest_list
    with pytest.raises(StorageError, match="the storage refuses access"):
        table.io.new_input(listed).open()
    lender.keys = lambda name: expiring(keys_of(name), 3600)
    lender.asked.clear()
    until = time.monotonic() + PATIENCE
    while not lender.asked and time.monotonic() < until:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "_AGAIN_SECONDS", 0.1)
            try:
                table.io.new_input(listed).open()
            except StorageError:
                time.sleep(0.1)
    assert lender.asked == ["orders"]
    with table.io.new_input(listed).open() as stream:
        assert stream.read(3) == b"Obj"
    assert lender.asked == ["orders"], "not renewed again before it is time"


def test_a_catalog_that_does_not_renew_keys_is_named(
    catalog: Catalog, product: Product, lender: Vending
) -> None:
    published(catalog, product)
    lender.keys = lambda name: expiring(keys_of(name), 0)
    table = catalog.load_table(("shop", "orders"))
    time.sleep(1.1)

    def away(name: str) -> Mapping[str, str]:
        raise ConnectionError

    lender.keys = away
    with pytest.raises(StorageError) as e:
        table.io.new_input(table.metadata_location)
    assert e.value.message == "the catalog does not renew the keys of a table's files"
    lender.keys = keys_of


def test_keys_of_an_audit_are_renewed_while_it_runs(
    settings: Settings, catalog: Catalog, product: Product, lender: Vending
) -> None:
    published(catalog, product)
    lender.keys = lambda name: expiring(keys_of(name), 6)
    with query.open_tables(settings, "shop") as connection:

        def keys() -> str:
            return str(connection.execute("SELECT secret_string FROM duckdb_secrets()").fetchall())

        assert "orders-key-1" in keys()
        lender.keys = lambda name: expiring(keys_of(name, 2), 3600)
        until = time.monotonic() + PATIENCE
        while "orders-key-1" in keys() and time.monotonic() < until:
            time.sleep(0.1)
        assert "orders-key-2" in keys() and "totals-key-2" in keys()
        assert connection.execute("SELECT sum(id) FROM orders").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("before", "more", "together"),
    [
        pytest.param({KEY: "a", SECRET: "b"}, {}, {KEY: "a", SECRET: "b"}, id="nothing more"),
        pytest.param(
            {KEY: "a", SECRET: "b", TOKEN: "c", "s3.region": "r"},
            {KEY: "x", SECRET: "y"},
            {KEY: "x", SECRET: "y", "s3.region": "r"},
            id="a token belongs to its key",
        ),
        pytest.param(
            {"s3.role-arn": "arn:a", "client.access-key-id": "a"},
            {KEY: "x", SECRET: "y"},
            {KEY: "x", SECRET: "y"},
            id="a role is not assumed with lent keys",
        ),
        pytest.param(
            {KEY: "a", SECRET: "b"},
            {"s3.endpoint": "http://e"},
            {KEY: "a", SECRET: "b", "s3.endpoint": "http://e"},
            id="another address",
        ),
    ],
)
def test_keys_are_not_mixed(
    before: dict[str, str], more: dict[str, str], together: dict[str, str]
) -> None:
    assert storage.with_keys(before, more) == together


@pytest.mark.parametrize(
    ("properties", "seconds"),
    [
        pytest.param({}, float("inf"), id="for ever"),
        pytest.param({EXPIRES: "1000000"}, 940, id="a minute before"),
        pytest.param({EXPIRES: "60000"}, 30, id="half of a short time"),
        pytest.param({EXPIRES: "0"}, 1, id="expired already"),
        pytest.param(
            {EXPIRES: "1000000", "adls.sas-token-expires-at-ms.account": "500000"},
            440,
            id="the first of them",
        ),
    ],
)
def test_when_keys_are_renewed(
    monkeypatch: pytest.MonkeyPatch, properties: dict[str, str], seconds: float
) -> None:
    monkeypatch.setattr("replay.storage.time.time", lambda: 0.0)
    assert storage.renewal(properties) == seconds
