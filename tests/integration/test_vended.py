"""A product whose catalog lends keys of the object store: nothing else has any, neither the job nor the controller."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from jobs.product.folder import load_product
from local import config_file, remembered
from tests.integration.running import Kappa, RunningStack, free_port_base
from tests.integration.test_objects import write
from tests.integration.test_orders import another_product
from tests.integration.test_restart import Log
from tests.object_store import TABLES, ObjectStore
from tests.vending_catalog import DELEGATION, Vending, vending

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore")]

NAME = "lent"
NAMES = ("order_rows", "hourly_orders", "rejects")
PATIENCE = 240
"""Seconds that anything is waited for: how long it takes says nothing."""


def keys_of(table: str) -> dict[str, str]:
    """They reach what is below this table's folder and nothing else."""
    return {"s3.access-key-id": f"{table}-key", "s3.secret-access-key": f"{table}-secret"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    lent = [
        {
            "name": table,
            "credentials": [{"accessKey": f"{table}-key", "secretKey": f"{table}-secret"}],
            "actions": [
                f"{action}:{TABLES}/{NAME}/{table}/*" for action in ("Read", "Write", "List")
            ],
        }
        for table in NAMES
    ]
    made = ObjectStore(tmp_path_factory.mktemp("store"), identities=lent)
    made.start()
    made.make_catalog()
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def lender(store: ObjectStore) -> Iterator[Vending]:
    with vending(store.catalog["uri"], keys_of) as made:
        yield made


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, store: ObjectStore, lender: Vending
) -> Iterator[RunningStack]:
    """A stack of its own, whose config.yaml names the catalog and where the object store is, and no key of it."""
    home = tmp_path_factory.mktemp("stack") / "home"
    home.mkdir(mode=0o700)
    base = int(os.environ.get("KAPPA_TEST_PORT_BASE") or free_port_base(29_000))
    settings: dict[str, Any] = config_file.settings_of(remembered.layout_of(home, base))
    at = {**store.catalog, "uri": lender.address}
    settings["catalog"]["pyiceberg"] = at
    settings["catalog"]["flink"] = {
        "type": "iceberg",
        "catalog-type": "rest",
        **{name: at[name] for name in ("uri", "warehouse", "credential", "oauth2-server-uri")},
        f"header.{DELEGATION}": "vended-credentials",
    }
    address = ("s3.endpoint", "s3.region")
    settings["storage"] = {name: store.properties[name] for name in address}
    (home / "config.yaml").write_text(yaml.safe_dump(settings))
    kappa = Kappa(home)
    try:
        kappa("up", "--port-base", str(base), timeout=600)
        yield RunningStack(home)
    finally:
        kappa("down")


def test_a_job_writes_and_is_restored_with_what_the_catalog_lends(
    stack: RunningStack, lender: Vending, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = Log(stack, load_product(another_product(tmp_path_factory.mktemp("products"), NAME)))
    write(log, "first", 50)
    stack.kappa("deploy", NAME, "--from", str(log.product.folder), "--timeout", "400", timeout=500)
    log.wait_published("what was there before", PATIENCE)
    attempt = log.attempt()
    taskmanager = f"taskmanager-{attempt.cluster}" if attempt.cluster else "taskmanager"
    lender.asked.clear()
    stack.wait_restarted(taskmanager, stack.kill(taskmanager), PATIENCE)
    write(log, "second", 20, 5)
    log.wait_published("after the TaskManager was killed", PATIENCE)

    assert set(lender.asked) == set(NAMES)
    assert sum(p["unaccounted"] for p in log.audit()) == 0
    (rows,) = stack.kappa.json("query", NAME, "SELECT count(*) AS n FROM order_rows")
    assert rows == {"n": 70}
