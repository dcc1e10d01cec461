"""Tables with partitions, an order and nested columns, and a release that changes them while an older one goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobs.product.folder import load_product
from replay.core.model import Attempt
from replay.iceberg import lake
from replay.query import query
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import Writer, stop_jobs

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

NAME = "wares"
BEGIN = 1_704_067_200_000  # 2024-01-01T00:00:00Z
HOUR, DAY = 3_600_000, 86_400_000
COUNT = 60

SCHEMA = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "sold_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "shop", "type": "string"},
        {"name": "cents", "type": "int"},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {
            "name": "place",
            "type": {
                "type": "record",
                "name": "Place",
                "fields": [
                    {"name": "lat", "type": "double"},
                    {"name": "lon", "type": ["null", "double"]},
                ],
            },
        },
        {
            "name": "items",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Item",
                    "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}],
                },
            },
        },
        {"name": "tags", "type": {"type": "map", "values": "string"}},
    ],
}
SETTINGS = """\
name: wares
parallelism: 1
checkpoint_interval: 2s
topics:
  wares: {time: sold_at, allowed_lateness: 1h, identity: [id]}
outputs:
  sale_rows: %s
  daily_sales: {partition: [month(day)]}
lag_limit: {records: 100, seconds: 60, checkpoints: 1}
switch: auto
"""
FIRST = (
    "{partition: [day(sold_at), 'bucket(4, id)', shop], sort: [shop, sold_at desc]}",
    "SELECT id, sold_at, shop, cents, price, place, items, tags FROM wares",
)
# A column less and one more in the middle, another order, wider numbers, and a ROW with other fields.
SECOND = (
    "{partition: [day(sold_at)]}",
    """\
SELECT price, CAST(cents AS BIGINT) AS cents, id, UPPER(shop) AS branch, sold_at, items,
       CAST(ROW(shop, place.lat) AS ROW<`shop` STRING, `lat` DOUBLE>) AS place
FROM wares
""",
)
DAILY = """\
SELECT CAST(window_start AS DATE) AS `day`, COUNT(*) AS sales, SUM(price) AS price
FROM TABLE(TUMBLE(TABLE wares, DESCRIPTOR(sold_at), INTERVAL '1' DAY)) GROUP BY window_start, window_end
"""


@dataclass(frozen=True)
class Sale:
    """One sale, an hour after the one before."""

    number: int

    @property
    def sold_at(self) -> int:
        return BEGIN + self.number * HOUR

    @property
    def fields(self) -> dict[str, Any]:
        n = self.number
        return {
            "id": n,
            "sold_at": self.sold_at,
            "shop": "ab"[n % 2],
            "cents": n * 7,
            "price": Decimal(n) / 4,
            "place": {"lat": n / 2, "lon": None if n % 3 else 1.5},
            "tags": {"channel": "web", "n": str(n)},
            "items": [{"sku": f"s{i}", "n": i} for i in range(n % 3)],
        }


@dataclass
class Sales:
    """The product on the stack."""

    stack: RunningStack
    folder: Path
    writer: Writer
    sold: list[Sale] = field(default_factory=list)
    clock: int = BEGIN

    def sell(self, count: int) -> None:
        """Sell from where the log's clock stands, which a heartbeat then moves on by a day."""
        first = -(-(self.clock - BEGIN) // HOUR)
        new = [Sale(number) for number in range(first, first + count)]
        for sale in new:
            self.writer.write(self.writer.encode(sale.fields), sale.sold_at)
        self.sold += new
        self.clock = new[-1].sold_at + DAY
        self.writer.heartbeat(self.clock)

    def deploy(self, rows: tuple[str, str]) -> None:
        write(self.folder, *rows)
        self.stack.kappa("deploy", NAME, "--from", str(self.folder), "--timeout", "240")

    def query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.stack.kappa.json("query", NAME, sql)
        return rows

    def attempt(self, name: str) -> Attempt:
        return Store(self.stack.settings.store).load(NAME).attempt(name)

    def of_branch(self, branch: str) -> list[dict[str, Any]]:
        """The rows at the head of a branch."""
        settings = self.stack.settings
        table = lake.open_catalog(settings).load_table((NAME, "sale_rows"))
        head = table.metadata.refs[branch].snapshot_id
        return query.query(
            settings, NAME, "SELECT * FROM sale_rows ORDER BY id", snapshots={"sale_rows": head}
        ).rows


def write(folder: Path, settings: str, sql: str) -> None:
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    (folder / "product.yaml").write_text(SETTINGS % settings)
    (folder / "sale_rows.sql").write_text(sql)
    (folder / "daily_sales.sql").write_text(DAILY)
    (folder / "schemas" / "wares.avsc").write_text(json.dumps(SCHEMA))


@pytest.fixture(scope="module")
def sales(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sales]:
    """The first release, published."""
    folder = tmp_path_factory.mktemp("products") / NAME
    write(folder, *FIRST)
    made = Sales(stack, folder, Writer(stack, load_product(folder)))
    made.sell(COUNT)
    try:
        made.deploy(FIRST)
        yield made
    finally:
        stop_jobs(stack, NAME)


def test_nested_values_arrive_whole(sales: Sales) -> None:
    rows = sales.query(
        "SELECT id, epoch_ms(sold_at) AS sold_at, shop, cents, price, place, items, tags "
        "FROM sale_rows ORDER BY id"
    )
    expected = [{**s.fields, "price": f"{s.fields['price']:.2f}"} for s in map(Sale, range(COUNT))]
    assert rows == expected
    shown = sales.stack.kappa(
        "query", NAME, "SELECT items, place FROM sale_rows WHERE id = 5"
    ).stdout
    assert "[{sku: s0, n: 0}, {sku: s1, n: 1}]" in shown and "{lat: 2.5, lon: null}" in shown
    sales.stack.kappa("audit", NAME)


def test_files_lie_as_product_yaml_says(sales: Sales) -> None:
    table = lake.open_catalog(sales.stack.settings).load_table((NAME, "sale_rows"))
    assert [str(f.transform) for f in table.spec().fields] == ["day", "bucket[4]", "identity"]
    assert [f.direction.value for f in table.sort_order().fields] == ["asc", "desc"]
    files = table.inspect.files().to_pylist()
    days = {f["partition"]["sold_at_day"] for f in files}
    assert len(days) == 3 and {f["partition"]["shop"] for f in files} == {"a", "b"}
    for file in files:
        bounds = file["readable_metrics"]["sold_at"]
        assert (
            bounds["lower_bound"].date()
            == bounds["upper_bound"].date()
            == file["partition"]["sold_at_day"]
        )
    by_day = sales.query("SELECT day, sales, price FROM daily_sales ORDER BY day")
    assert [r["sales"] for r in by_day] == [24, 24, 12]


def test_a_release_with_other_columns_runs_while_the_older_one_is_on_standby(sales: Sales) -> None:
    sales.deploy(SECOND)
    rows = sales.query(
        "SELECT id, shop, cents, branch, place, items, tags FROM sale_rows ORDER BY id"
    )
    assert rows == [
        {
            "id": s.number,
            "shop": None,
            "cents": s.fields["cents"],
            "branch": s.fields["shop"].upper(),
            "place": {"lat": s.number / 2, "lon": None, "shop": s.fields["shop"]},
            "items": s.fields["items"],
            "tags": None,
        }
        for s in map(Sale, range(COUNT))
    ]
    described = {r["column_name"]: r["column_type"] for r in sales.query("DESCRIBE sale_rows")}
    assert list(described)[:8] == [
        "id",
        "sold_at",
        "shop",
        "cents",
        "price",
        "place",
        "items",
        "tags",
    ]
    assert described["cents"] == "BIGINT"
    assert described["place"].startswith("STRUCT(lat DOUBLE, lon DOUBLE, shop VARCHAR)")
    assert sales.attempt("r1-a1").state.value == "standby"

    report = sales.stack.kappa.json("diff", NAME, "--old", "r1-a1", "--new", "r2-a1")
    (found,) = (t for t in report["tables"] if t["table"] == "sale_rows")
    assert (found["same"], found["changed"]) == (COUNT, 0), found
    assert set(found["columns_only_old"]) == {"shop", "place.lon", "tags"}
    assert set(found["columns_only_new"]) == {"branch", "place.shop"}


def test_the_older_release_goes_on_from_its_checkpoint_though_the_table_has_changed(
    sales: Sales,
) -> None:
    stack, before = sales.stack, sales.attempt("r1-a1")
    program = f"jobmanager-{before.cluster}" if before.cluster else "jobmanager"
    stack.wait_restarted(program, stack.kill(program))
    sales.sell(20)
    wait_until(
        lambda: len(sales.of_branch("r1-a1")) == len(sales.sold),
        180,
        lambda: f"the rows that came since; {sales.attempt('r1-a1')}",
    )
    assert sales.attempt("r1-a1").job_ids[0] == before.job_ids[0]
    assert len(sales.attempt("r1-a1").job_ids) > len(before.job_ids), "a new job, from a checkpoint"
    rows = sales.of_branch("r1-a1")
    for row, sale in zip(rows, sales.sold, strict=True):
        assert {c: row[c] for c in ("id", "shop", "cents", "items", "tags", "branch")} == {
            **{c: sale.fields[c] for c in ("id", "shop", "cents", "items", "tags")},
            "branch": None,
        }
        assert row["place"] == {
            **sale.fields["place"],
            **({"shop": None} if "shop" in row["place"] else {}),
        }

    wait_until(
        lambda: sales.query("SELECT count(*) AS n FROM sale_rows") == [{"n": len(sales.sold)}],
        60,
        "the newer release goes on too",
    )
    stack.kappa("rollback", NAME)
    assert sales.query("SELECT count(*) AS n FROM sale_rows WHERE shop IS NOT NULL") == [
        {"n": len(sales.sold)}
    ]
    stack.kappa("audit", NAME)
