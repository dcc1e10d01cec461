"""Tables, checkpoints, releases and bindings are in an object store; the job and the store are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from jobs.product.folder import load_product
from local import config_file, remembered
from tests.integration.running import Kappa, RunningStack, free_port_base, wait_until
from tests.integration.test_orders import another_product
from tests.integration.test_restart import BEGIN, HOUR, MINUTE, Log
from tests.object_store import BUCKET, ObjectStore

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500), pytest.mark.filterwarnings("ignore")]

NAME = "stored"
PATIENCE = 240
"""Seconds that anything is waited for: how long it takes says nothing."""
TABLES, CHECKPOINTS, SHARED = (
    f"s3://{BUCKET}/{folder}" for folder in ("tables", "checkpoints", "shared")
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    made = ObjectStore(tmp_path_factory.mktemp("store"))
    made.start()
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, store: ObjectStore) -> Iterator[RunningStack]:
    """A stack of its own, whose config.yaml is a person's."""
    home = tmp_path_factory.mktemp("stack") / "home"
    home.mkdir(mode=0o700)
    base = int(os.environ.get("KAPPA_TEST_PORT_BASE") or free_port_base(27_000))
    settings: dict[str, Any] = config_file.settings_of(remembered.layout_of(home, base))
    settings["flink"]["checkpoints"] = CHECKPOINTS
    for catalog in settings["catalog"]["flink"], settings["catalog"]["pyiceberg"]:
        catalog["warehouse"] = TABLES
    settings |= {
        "storage": store.properties,
        "shared": SHARED,
        "queries": {"storage": store.reading},
    }
    (home / "config.yaml").write_text(yaml.safe_dump(settings))
    kappa = Kappa(home)
    try:
        if kappa("up", "--port-base", str(base), check=False, timeout=600).returncode:
            kappa("up")  # on a busy machine it waits twice
        yield RunningStack(home)
    finally:
        kappa("down")


@pytest.fixture(scope="module")
def log(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Log:
    made = Log(stack, load_product(another_product(tmp_path_factory.mktemp("products"), NAME)))
    write(made, "first", 50)
    return made


def write(log: Log, name: str, count: int, hour: int = 0) -> None:
    """Orders, and what carries the clock on by three hours: the next ones are later."""
    for n in range(count):
        log.order(f"{name}{n}", BEGIN + hour * HOUR + n * MINUTE // 4)
    for partition in (0, 1):
        log.heartbeat(BEGIN + (hour + 3) * HOUR, partition)
    log.flush()


def restored(log: Log) -> str:
    """The checkpoint from which the running job was last restored."""
    attempt = log.attempt()
    rest = attempt.rest or log.stack.settings.flink.rest
    answer = httpx.get(f"{rest}/jobs/{attempt.job_id}/checkpoints", trust_env=False).json()
    return str(((answer.get("latest") or {}).get("restored") or {}).get("external_path", ""))


def files_below(folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file()]


def test_a_product_lives_through_kills_of_its_job_and_of_the_store(
    stack: RunningStack, store: ObjectStore, log: Log
) -> None:
    stack.kappa("deploy", NAME, "--from", str(log.product.folder), "--timeout", "400", timeout=500)
    log.wait_published("what was there before", PATIENCE)
    assert sum(p["unaccounted"] for p in log.audit()) == 0
    home = stack.home
    assert [files_below(home / folder) for folder in ("lake/warehouse", "checkpoints")] == [[], []]
    attempt = log.attempt()
    assert store.objects(f"checkpoints/{NAME}/{attempt.name}/{attempt.job_id}")
    assert {f.rpartition("/")[2] for f in store.objects(f"shared/attempts/{NAME}")} == {
        f"{attempt.name}.json"
    }
    assert len(store.objects(f"shared/releases/{NAME}")) == 1
    secrets = store.properties["s3.secret-access-key"]
    bindings = (home / "attempts" / NAME / f"{attempt.name}.json").read_text()
    assert secrets not in bindings and "catalog.s3.secret-access-key" in bindings

    # the first product is on the session cluster
    of_its_cluster = f"-{attempt.cluster}" if attempt.cluster else ""
    taskmanager = f"taskmanager{of_its_cluster}"
    stack.wait_restarted(taskmanager, stack.kill(taskmanager), PATIENCE)
    wait_until(
        lambda: restored(log).startswith(CHECKPOINTS),
        PATIENCE,
        lambda: f"restored in place: {log.attempts()}",
    )
    write(log, "second", 20, 5)
    log.wait_published("after the TaskManager was killed", PATIENCE)
    assert log.attempt().job_ids == attempt.job_ids

    jobmanager = f"jobmanager{of_its_cluster}"
    stack.wait_restarted(jobmanager, stack.kill(jobmanager), PATIENCE)
    wait_until(
        lambda: log.attempt().confirmed and len(log.attempt().job_ids) > 1,
        PATIENCE,
        lambda: f"resumed: {log.attempts()}",
    )
    assert (log.attempt().restore or "").startswith(f"{CHECKPOINTS}/{NAME}/{attempt.name}/")
    write(log, "third", 20, 10)
    log.wait_published("after the JobManager was killed", PATIENCE)


def test_a_store_that_goes_away_while_it_is_published_to(
    stack: RunningStack, store: ObjectStore, log: Log
) -> None:
    """Every checkpoint is published: it is killed at some moment of one, three times."""
    over = threading.Event()

    def go_on() -> None:
        number = 0
        while not over.wait(0.3):
            write(log, f"busy{number}-", 2, 20 + 5 * number)
            number += 1

    def published_since(checkpoint: int) -> bool:
        return log.attempt().positions[-1].checkpoint > checkpoint

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for down in (1.0, 4.0, 12.0):
            store.stop(signal.SIGKILL)
            time.sleep(down)
            store.start()
            before = log.attempt().positions[-1].checkpoint
            wait_until(
                partial(published_since, before),
                PATIENCE,
                lambda: f"published again: {log.attempts()}",
            )
    finally:
        over.set()
        writer.join()
    log.wait_published("all that was written meanwhile", PATIENCE)
    assert sum(p["unaccounted"] for p in log.audit()) == 0
    said = "".join(f.read_text() for f in (stack.home / "logs").glob("controller.log*"))
    assert "the object store does not answer" in said or "does not do what it was asked" in said
    assert "Traceback" not in said


def test_another_release_is_published_and_rolled_back_with_what_is_shared(
    stack: RunningStack, store: ObjectStore, log: Log
) -> None:
    shutil.rmtree(stack.home / "releases")  # as on a host that has built nothing
    shutil.rmtree(stack.home / "attempts")
    sql = log.product.folder / "order_rows.sql"
    sql.write_text(re.sub(r"\bcents\b", "cents * 2 AS cents", sql.read_text(), count=1))
    (log.product.folder / "checks" / "hours_add_up.sql").unlink(missing_ok=True)
    stack.kappa("deploy", NAME, "--from", str(log.product.folder), "--timeout", "400", timeout=500)
    wait_until(lambda: cents(stack) == {2}, PATIENCE, lambda: f"switched: {log.attempts()}")
    assert sum(p["unaccounted"] for p in log.audit()) == 0
    assert len(store.objects(f"shared/releases/{NAME}")) == 2
    stack.kappa("rollback", NAME)
    wait_until(lambda: cents(stack) == {1}, PATIENCE, lambda: f"rolled back: {log.attempts()}")
    assert not {f for f in (stack.home / "lake" / "warehouse").rglob("*") if f.is_file()}


def cents(stack: RunningStack) -> set[int]:
    rows = stack.kappa.json("query", NAME, "SELECT DISTINCT cents FROM order_rows")
    return {row["cents"] for row in rows}
