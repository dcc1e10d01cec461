"""A product with look-ups, from what keeps it from readers to checks that came later: the real log, jobs and tables."""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
import yaml
from confluent_kafka import Producer

from jobs.product.folder import Product, load_product
from replay.iceberg import lake
from replay.kafka import log, schema_registry
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs

pytestmark = pytest.mark.timeout(900)

BEGIN = 1_704_067_200_000  # 2024-01-01T00:00:00Z
MINUTE, HOUR = 60_000, 3_600_000
SALES = 200
SETTINGS: dict[str, Any] = {
    "name": "sales",
    "parallelism": 1,
    "checkpoint_interval": "2s",
    "switch": "auto",
    "topics": {
        "sold": {"time": "happened", "allowed_lateness": "1h", "identity": ["id"]},
        "rates": {
            "role": "dimension",
            "time": "happened",
            "allowed_lateness": "1h",
            "key": ["currency"],
        },
        "shops": {"role": "reference", "key": ["shop"]},
    },
    "outputs": ["sale_rows"],
    "lag_limit": {"records": 100, "seconds": 60, "checkpoints": 1},
}
SELECT = """
SELECT s.id, s.happened, s.cents, r.rate, p.city
FROM sold AS s
LEFT JOIN LATERAL TABLE(rates_at(s.happened, s.currency)) AS r ON TRUE
LEFT JOIN LATERAL TABLE(shops_at(s.happened, s.shop)) AS p ON TRUE
"""
AT = {"name": "happened", "type": {"type": "long", "logicalType": "timestamp-millis"}}
SCHEMAS = {
    "sold": [
        {"name": "id", "type": "long"},
        AT,
        {"name": "currency", "type": "string"},
        {"name": "shop", "type": "string"},
        {"name": "cents", "type": "long"},
    ],
    "rates": [{"name": "currency", "type": "string"}, AT, {"name": "rate", "type": "long"}],
    "shops": [{"name": "shop", "type": "string"}, {"name": "city", "type": "string"}],
}


def write_product(folder: Path) -> Path:
    (folder / "schemas").mkdir(parents=True)
    (folder / "checks").mkdir()
    (folder / "product.yaml").write_text(yaml.safe_dump(SETTINGS))
    (folder / "sale_rows.sql").write_text(SELECT)
    for topic, fields in SCHEMAS.items():
        schema = {"type": "record", "name": topic, "fields": fields}
        (folder / "schemas" / f"{topic}.avsc").write_text(json.dumps(schema))
    return folder


class Log:
    """The product's topics, of one partition each, dated by their producer."""

    def __init__(self, stack: RunningStack, product: Product) -> None:
        log.create_topics(stack.settings, dict.fromkeys(SCHEMAS, 1))
        self._ids = schema_registry.register(stack.settings, product)
        self._producer = Producer(
            {**stack.settings.kafka, "enable.idempotence": True, "log_level": 0}
        )

    def write(self, topic: str, appended: int, **fields: Any) -> None:
        body = io.BytesIO()
        fastavro.schemaless_writer(
            body, {"type": "record", "name": topic, "fields": SCHEMAS[topic]}, fields
        )
        self.raw(topic, appended, b"\0" + self._ids[topic].to_bytes(4, "big") + body.getvalue())

    def raw(self, topic: str, appended: int, value: bytes | None) -> None:
        self._producer.produce(topic, value, partition=0, timestamp=appended)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_product(tmp_path_factory.mktemp("sales") / "sales")


@pytest.fixture(scope="module")
def written(stack: RunningStack, folder: Path) -> Iterator[Log]:
    """Sales of ten hours; rates whose last record is of the third; shops that no schema fits."""
    written = Log(stack, load_product(folder))
    for n in range(SALES):
        at = BEGIN + n * 3 * MINUTE
        written.write("sold", at, id=n, happened=at, currency="EUR", shop="a", cents=n)
        if at <= BEGIN + 3 * HOUR:
            written.write("rates", at, currency="EUR", happened=at, rate=n)
    for shop in range(3):
        written.raw("shops", BEGIN, b"no Avro " + bytes([shop]))
    written.flush()
    try:
        yield written
    finally:
        stop_jobs(stack, "sales")


def test_a_replay_that_waits_for_a_quiet_dimension_names_it(
    stack: RunningStack, folder: Path, written: Log
) -> None:
    """And says what to do."""
    stack.kappa("deploy", "sales", "--from", str(folder), "--no-wait", timeout=600)

    def waits() -> dict[str, Any]:
        (status,) = stack.kappa.json("status", "sales")
        return status if any(a["job_status"] == "RUNNING" for a in status["attempts"]) else {}

    wait_until(waits, 180, "its job runs")
    wait_until(lambda: "results wait for rates" in waits()["waits"], 60, lambda: str(waits()))
    assert (
        "results wait for rates: the clock of its partition 0 is at 2024-01-01 03:00:00Z, 6 h 57 min behind sold; "
        "append a record to it (one without a value only moves the clock: echo | kappa topic produce rates)"
    ) in waits()["waits"]


def test_whoever_follows_its_deploy_is_told_so_too(
    stack: RunningStack, folder: Path, written: Log
) -> None:
    with stack.kappa.start("deploy", "sales", "--from", str(folder)) as deploy:
        assert deploy.stdout
        watchdog = threading.Timer(60, deploy.kill)
        watchdog.start()
        try:
            said = next((line for line in deploy.stdout if "results wait for rates" in line), "")
        finally:
            watchdog.cancel()
            deploy.send_signal(signal.SIGINT)
            deploy.stdout.read()
    assert (
        "its partition 0 is at 2024-01-01 03:00:00Z, 6 h 57 min behind sold; append a record to it"
        in said
    )


def test_a_reference_topic_of_which_nothing_could_be_decoded_keeps_the_release_from_readers(
    stack: RunningStack, folder: Path, written: Log
) -> None:
    written.raw("rates", BEGIN + 12 * HOUR, None)
    written.raw("sold", BEGIN + 12 * HOUR, None)
    written.flush()
    done = stack.kappa("deploy", "sales", "--from", str(folder), check=False, timeout=290)
    assert done.returncode == 1
    assert (
        "no version of shops could be decoded: shops: 3 of 3 records rejected (100 %): 3 undecodable"
        in done.stderr
    )


def test_a_check_that_came_later_runs_on_what_readers_see_and_its_answer_is_told(
    stack: RunningStack, folder: Path, written: Log
) -> None:
    settings = {**SETTINGS, "warnings": ["no reference record rejected"]}
    (folder / "product.yaml").write_text(yaml.safe_dump(settings))
    stack.kappa("deploy", "sales", "--from", str(folder), timeout=290)
    submitted = stack.kappa.json("attempts", "sales")
    (folder / "checks" / "cheap.sql").write_text("SELECT id FROM sale_rows WHERE cents < 3")
    done = stack.kappa("deploy", "sales", "--from", str(folder), check=False, timeout=290)
    assert done.returncode == 1
    assert "checks failed on what readers of sales see; it stays published" in done.stderr
    assert "checks/cheap.sql: 3 offending rows" in done.stderr
    assert stack.kappa.json("query", "sales", "SELECT count(*) AS n FROM sale_rows") == [
        {"n": SALES}
    ]
    (folder / "checks" / "cheap.sql").write_text("SELECT id FROM sale_rows WHERE cents < 0")
    done = stack.kappa("deploy", "sales", "--from", str(folder), timeout=290)
    assert "checks passed" in done.stdout
    assert [a["job"] for a in stack.kappa.json("attempts", "sales")] == [
        a["job"] for a in submitted
    ], "no replay"


def test_of_a_removed_product_nothing_is_left_and_its_name_may_be_used_again(
    stack: RunningStack, folder: Path, written: Log
) -> None:
    """Once what readers see, once a replay under way."""
    done = stack.kappa("remove", "sales", "--yes", "sale", check=False)
    assert (done.returncode, "sales is not removed" in done.stderr) == (1, True)
    assert stack.kappa.json("query", "sales", "SELECT count(*) AS n FROM sale_rows") == [
        {"n": SALES}
    ]
    for turn in range(2):
        stack.kappa("remove", "sales", "--yes", "sales", timeout=250)
        assert left_of(stack, "sales") == [], f"turn {turn}"
        if turn == 0:
            stack.kappa("deploy", "sales", "--from", str(folder), "--no-wait", timeout=250)
            wait_until(lambda: left_of(stack, "sales"), 60, "something is there")


def is_of(parts: Sequence[str], product: str) -> bool:
    """Whether a file of the home is the product's: a table of another may have its name."""
    return product in (parts[2:3] if parts[:2] == ("lake", "warehouse") else parts)


def left_of(stack: RunningStack, product: str) -> list[str]:
    """Files, jobs, consumer groups, tables and rows of a product."""
    settings = stack.settings
    found = [
        str(f)
        for f in stack.home.rglob("*")
        if is_of(f.relative_to(stack.home).parts, product) and f.is_file()
    ]
    overview = httpx.get(f"{settings.flink.rest}/jobs/overview", timeout=10).json()
    found += [
        j["name"]
        for j in overview["jobs"]
        if j["name"].startswith(f"{product}-") and j["state"] == "RUNNING"
    ]
    groups = log.admin(settings).list_consumer_groups(request_timeout=10).result(10).valid
    found += [g.group_id for g in groups if g.group_id.startswith(f"kappa-{product}-")]
    found += lake.pointers(lake.open_catalog(settings), product)
    with closing(Store(settings.store)) as store:
        found += [a.name for a in store.load(product).attempts] + [
            e.reason for e in store.events(product)
        ]
    return found
