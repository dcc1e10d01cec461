"""Eight subtasks on two TaskManagers read sixteen partitions: the same rows as one subtask has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from random import Random

import httpx
import pytest
import yaml

from jobs.product.folder import load_product
from local import preflight
from local.layout import Layout
from tests.integration.running import Kappa, RunningStack, free_port_base, wait_until
from tests.integration.test_orders import DAY, Order, Writer, another_product

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]

NAME, PARTITIONS, PARALLELISM, COUNT, PATIENCE = "wide", 16, 8, 100_000, 400
REPEATED = 7
"""Every so many orders, one is sent again."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own, with two TaskManagers of four slots."""
    home = tmp_path_factory.mktemp("stack") / "home"
    needed = preflight.needed_mb(Layout(home, taskmanagers=2)) + 4_000  # and one subtask elsewhere
    if (available := preflight.available_mb() or needed) < needed:
        pytest.skip(f"needs {needed:,} MB of memory, {available:,} MB are available")
    kappa = Kappa(home)
    base = int(os.environ.get("KAPPA_TEST_PORT_BASE") or free_port_base(31_000))
    try:
        kappa("up", "--taskmanagers", "2", "--port-base", str(base), timeout=600)
        yield RunningStack(home)
    finally:
        kappa("down")


def taskmanagers_at_work(stack: RunningStack) -> set[str]:
    """Those that run subtasks of a job on the session cluster."""
    with httpx.Client(base_url=stack.settings.flink.rest, timeout=60, trust_env=False) as client:
        found = set()
        for job in client.get("/jobs/overview").json()["jobs"]:
            for vertex in client.get(f"/jobs/{job['jid']}").json()["vertices"]:
                at = client.get(f"/jobs/{job['jid']}/vertices/{vertex['id']}").json()
                running = (s for s in at["subtasks"] if s["status"] == "RUNNING")
                found |= {subtask["taskmanager-id"] for subtask in running}
        return found


def write(writer: Writer, count: int) -> None:
    """Orders in random partitions, whose clocks are hours apart, some of them twice; then all clocks go on."""
    random = Random(20)
    for number in range(count):
        order = Order(number)
        fields = {**order.fields, "ordered_at": order.ordered_at - number * 59_000}
        value, partition = writer.encode(fields), random.randrange(PARTITIONS)
        at = fields["ordered_at"] + partition * 1_000
        writer.write(value, at, partition)
        if number % REPEATED == 0:
            writer.write(value, at, partition)
        if number % 20_000 == 0:
            writer.flush()
    for partition in range(PARTITIONS):
        writer.write(None, Order(0).ordered_at + count * 1_000 + DAY, partition)
    writer.flush()


def sums(stack: RunningStack, name: str) -> dict[str, int]:
    """Over both tables, as readers see them. The copy of the product has its name where orders are counted."""
    asked = (
        "SELECT (SELECT count(*) FROM order_rows) AS n, (SELECT count(DISTINCT order_id) FROM "
        f"order_rows) AS ids, (SELECT sum({name})::BIGINT FROM hourly_orders) AS counted, "
        "(SELECT sum(cents)::BIGINT FROM hourly_orders) AS cents"
    )
    (found,) = stack.kappa.json("query", name, asked)
    return dict(found)


def expected_of(count: int) -> dict[str, int]:
    """The same by what was written."""
    cents = sum(Order(n).fields["cents"] for n in range(count))
    return {"n": count, "ids": count, "counted": count, "cents": cents}


def test_eight_subtasks_give_the_rows_of_one_even_if_a_taskmanager_is_killed(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = another_product(tmp_path_factory.mktemp("products"), NAME)
    settings = yaml.safe_load((folder / "product.yaml").read_text())
    (folder / "product.yaml").write_text(yaml.safe_dump({**settings, "parallelism": PARALLELISM}))
    write(Writer(stack, load_product(folder), PARTITIONS), COUNT)
    assert stack.free_slots() == PARALLELISM

    deploy = stack.kappa.start("deploy", NAME, "--from", str(folder), "--timeout", "900")
    try:
        wait_until(
            lambda: taskmanagers_at_work(stack) == {"taskmanager", "taskmanager2"},
            PATIENCE,
            "subtasks run on both TaskManagers",
        )
        stack.wait_restarted("taskmanager2", stack.kill("taskmanager2"), PATIENCE)
        said, _ = deploy.communicate(timeout=1000)
    finally:
        deploy.kill()
    assert deploy.returncode == 0, said
    wait_until(
        lambda: sums(stack, NAME)["n"] >= COUNT,
        PATIENCE,
        lambda: str(stack.kappa.json("attempts", NAME)),
    )
    assert sums(stack, NAME) == expected_of(COUNT)
    partitions = stack.kappa.json("audit", NAME)["partitions"]
    assert len(partitions) == PARTITIONS
    assert sum(p["unaccounted"] for p in partitions) == 0

    output = "verify", NAME, "--parallelism", "1", "--output", "json"
    verified = json.loads(stack.kappa(*output, timeout=900).stdout.splitlines()[-1])
    found = {k: verified[k] for k in ("shown_parallelism", "shadow_parallelism", "rows")}
    (hours,) = stack.kappa.json("query", NAME, "SELECT count(*) AS n FROM hourly_orders")
    assert found == {
        "shown_parallelism": PARALLELISM,
        "shadow_parallelism": 1,
        "rows": COUNT + hours["n"],
    }
