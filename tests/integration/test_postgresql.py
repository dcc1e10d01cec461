"""A stack whose store and catalog are in PostgreSQL, under roles of least privilege; the server is restarted."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pyiceberg.catalog import Catalog

from jobs.product.folder import load_product
from local import config_file
from local.layout import Layout, Ports
from replay.iceberg import lake
from replay.settings import CatalogSettings, Settings
from tests import postgres_server
from tests.integration.running import RunningStack, free_port_base, wait_until
from tests.integration.test_orders import (
    COUNT,
    HOUR,
    ORDERS,
    Order,
    Writer,
    stop_jobs,
    write_orders,
)
from tests.postgres_server import Server

pytestmark = [pytest.mark.timeout(900), pytest.mark.soak]
ROLES = Path(__file__).parents[2] / "deploy" / "postgresql" / "roles.sql"
DAY = 24 * HOUR


@dataclass(frozen=True)
class Database:
    """The server, and a database of it with the roles and a login of each."""

    server: Server
    name: str
    password: str

    def url(self, login: str) -> str:
        return f"postgresql://{login}:{self.password}@127.0.0.1:{self.server.port}/{self.name}"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    if postgres_server.binaries() is None:
        pytest.skip(postgres_server.MISSING)
    with postgres_server.own() as server:
        made = Database(server, "kappa_lake", secrets.token_hex(16))
        with server.engine().connect() as c:
            c.exec_driver_sql(f"CREATE DATABASE {made.name}")
        with server.engine(made.name).connect() as c:
            driver = c.connection.driver_connection
            assert driver
            driver.execute(ROLES.read_text())
            for login in ("controller", "job", "reader"):
                driver.execute(
                    f"CREATE ROLE {login} LOGIN PASSWORD '{made.password}' IN ROLE kappa_{login}"
                )
            driver.execute("ALTER ROLE reader SET search_path = readers")
        yield made


@pytest.fixture(scope="module")
def stack(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    home = tmp_path_factory.mktemp("postgresql") / "home"
    home.mkdir()
    base = free_port_base(27_000)
    settings = config_file.settings_of(Layout(home, Ports(base)))
    catalog = settings["catalog"]
    assert isinstance(catalog, dict)
    catalog["flink"] |= {
        "uri": f"jdbc:postgresql://127.0.0.1:{database.server.port}/{database.name}",
        "jdbc.user": "job",
        "jdbc.password": database.password,
    }
    catalog["pyiceberg"]["uri"] = settings["store"] = database.url("controller")
    (home / "config.yaml").write_text(yaml.safe_dump(settings))
    running = RunningStack(home)
    running.kappa("up", "--port-base", str(base))
    try:
        yield running
    finally:
        running.kappa("down")


def as_login(settings: Settings, database: Database, login: str) -> Settings:
    options = {**settings.catalog.pyiceberg, "uri": database.url(login)}
    return settings.model_copy(
        update={"catalog": CatalogSettings(name="lake", flink={}, pyiceberg=options)}
    )


def shown_by(catalog: Catalog) -> list[int | None]:
    """The snapshots that readers with this login see."""
    return [
        catalog.load_table(f"orders.{table}").metadata.current_snapshot_id
        for table in ("order_rows", "hourly_orders", "rejects")
    ]


def test_releases_switch_and_roll_back_though_the_server_is_restarted(
    stack: RunningStack, database: Database, tmp_path: Path
) -> None:
    writer, kappa = Writer(stack, load_product(ORDERS)), stack.kappa
    write_orders(writer)

    def shown() -> tuple[int, int]:
        (row,) = kappa.json(
            "query", "orders", "SELECT count(*) AS n, sum(cents) AS cents FROM order_rows"
        )
        return row["n"], row["cents"]

    try:
        kappa("deploy", "orders", "--from", str(ORDERS), "--timeout", "300", timeout=400)
        cents = sum(Order(n).fields["cents"] for n in range(COUNT))
        assert shown() == (COUNT, cents)

        database.server.stop("immediate")  # as kill -9: what was committed is replayed from its log
        writer.order(Order(10_000))
        writer.heartbeat(Order(10_000).ordered_at + 3 * DAY)
        said = kappa("status", "orders", check=False)
        assert "Traceback" not in said.stdout + said.stderr
        database.server.start()
        cents += Order(10_000).fields["cents"]
        wait_until(
            lambda: shown() == (COUNT + 1, cents),
            240,
            "what came while the server was away is published",
        )

        twice = tmp_path / "orders"
        shutil.copytree(ORDERS, twice)
        for name, old, new in (
            ("order_rows", ", cents FROM", ", cents * 2 AS cents FROM"),
            ("hourly_orders", "SUM(cents)", "SUM(cents * 2)"),
        ):
            file = twice / f"{name}.sql"
            file.write_text(file.read_text().replace(old, new))
        with kappa.start("deploy", "orders", "--from", str(twice), "--timeout", "400") as deploy:
            wait_until(
                lambda: len(kappa.json("attempts", "orders")) == 2,
                120,
                "the second release is under way",
            )
            database.server.stop("fast")
            database.server.start()
            said_by_deploy = deploy.communicate(timeout=500)[0]
        assert deploy.returncode == 0, said_by_deploy
        assert shown() == (COUNT + 1, 2 * cents)
        kappa("rollback", "orders")
        assert shown() == (COUNT + 1, cents)
        kappa("switch", "orders", "r2-a1", timeout=400)
        assert shown() == (COUNT + 1, 2 * cents)
        (partition,) = kappa.json("audit", "orders")["partitions"]
        assert (partition["unaccounted"], partition["covered"]) == (0, writer.offset)

        with (
            closing(lake.open_catalog(as_login(stack.settings, database, "reader"))) as reader,
            closing(lake.open_catalog(stack.settings)) as catalog,
        ):
            wait_until(
                lambda: shown_by(reader) == shown_by(catalog),
                30,
                "readers of their own role see the same",
            )
            assert reader.load_table("orders.order_rows").scan().to_arrow().num_rows == COUNT + 1
        events = [e["reason"] for e in kappa.json("history", "orders")["events"]]
        assert [e for e in events if e in ("switch", "rollback")][-2:] == ["rollback", "switch"]
    finally:
        if not (database.server.folder / "data" / "postmaster.pid").exists():
            database.server.start()
        stop_jobs(stack, "orders")
