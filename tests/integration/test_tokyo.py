"""Days on the wall clock of Tokyo, which has no daylight saving time: live, replayed, and what drops rows is seen."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import Producer

from jobs.product.folder import load_product
from replay.flink.rest import Flink
from replay.flink.submit import flink_run, submit_env
from replay.kafka import log, schema_registry
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs

TOKYO = Path(__file__).parents[1] / "products" / "tokyo"
LATE_ROWS = Path(__file__).with_name("late_rows.py")
MIDNIGHT = datetime(2023, 12, 31, 15, tzinfo=UTC)
"""In Tokyo the new year begins."""
SALES, PACE_SECONDS = 72, 0.5
"""A sale an hour of its own time: at this pace every day has several checkpoints in it."""
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]


pytestmark = pytest.mark.timeout(600)


class Till:
    """Appends sales to the log."""

    def __init__(self, stack: RunningStack) -> None:
        product = load_product(TOKYO)
        log.create_topics(stack.settings, {"sales": 1})
        self._schema = fastavro.parse_schema(json.loads(product.schema_file("sales").read_text()))
        self._id = schema_registry.register(stack.settings, product)["sales"]
        self._producer = Producer(
            {**stack.settings.kafka, "enable.idempotence": True, "log_level": 0}
        )

    def sale(self, number: int) -> None:
        at, body = MIDNIGHT + timedelta(hours=number), io.BytesIO()
        fastavro.schemaless_writer(body, self._schema, {"sale_id": f"s{number}", "sold_at": at})
        self.append(b"\0" + self._id.to_bytes(4, "big") + body.getvalue(), at)

    def append(self, value: bytes | None, at: datetime) -> None:
        self._producer.produce("sales", value, partition=0, timestamp=int(at.timestamp() * 1000))
        assert self._producer.flush(30) == 0


@pytest.fixture(scope="module")
def tokyo(stack: RunningStack) -> Iterator[RunningStack]:
    """The product, live while its sales come in one by one."""
    till = Till(stack)
    till.append(None, MIDNIGHT - timedelta(hours=1))  # a heartbeat, for a first checkpoint to show
    try:
        stack.kappa("deploy", "tokyo", "--from", str(TOKYO), "--timeout", "180")
        for number in range(SALES):
            till.sale(number)
            time.sleep(PACE_SECONDS)
        till.append(None, MIDNIGHT + timedelta(days=5))
        wait_until(
            lambda: stack.kappa.json(
                "query", "tokyo", "SELECT day FROM business_days WHERE day > '2024-01-03'"
            ),
            60,
            "the last day is published",
        )
        yield stack
    finally:
        stop_jobs(stack, "tokyo")


def test_live_days_have_every_sale(tokyo: RunningStack) -> None:
    (rows,) = tokyo.kappa.json("query", "tokyo", "SELECT count(*) AS n FROM sale_rows")
    assert rows["n"] == SALES
    days = tokyo.kappa.json(
        "query", "tokyo", "SELECT day::DATE::VARCHAR AS day, sales FROM days ORDER BY day"
    )
    assert days == [{"day": day, "sales": 24} for day in DAYS]
    business = tokyo.kappa.json(
        "query",
        "tokyo",
        "SELECT strftime(day, '%m-%d %H') AS day, sales FROM business_days ORDER BY day",
    )
    assert business == [
        {"day": "01-01 05", "sales": 24},
        {"day": "01-02 05", "sales": 24},
        {"day": "01-03 05", "sales": 19},
        {"day": "12-31 05", "sales": 5},
    ]


def test_no_operator_dropped_a_record(tokyo: RunningStack) -> None:
    (attempt,) = tokyo.kappa.json("attempts", "tokyo")
    with closing(Flink(tokyo.settings)) as flink:
        assert flink.late_dropped(attempt["job"]) == {}


def test_a_replay_is_equal(tokyo: RunningStack) -> None:
    # a line for each step, the verdict last
    told = tokyo.kappa("verify", "tokyo", "--output", "json").stdout
    assert json.loads(told.splitlines()[-1])["rows"] == SALES + len(DAYS) + 4
    tokyo.kappa("audit", "tokyo")


def test_records_that_an_operator_drops_are_seen(stack: RunningStack) -> None:
    run = [*flink_run(stack.settings), "-d", "-pyclientexec", sys.executable, "-py", str(LATE_ROWS)]
    subprocess.run(
        run,
        env={**os.environ, **submit_env(stack.settings)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    with closing(Flink(stack.settings)) as flink:
        (job,) = flink.running("late rows")
        try:
            dropped = wait_until(lambda: flink.late_dropped(job), 60, "rows are dropped as late")
            (operator,) = dropped
            assert operator.startswith("GlobalWindowAggregate["), dropped
        finally:
            flink.cancel(job)
            wait_until(lambda: not flink.running("late rows"), 60, "the job has ended")
