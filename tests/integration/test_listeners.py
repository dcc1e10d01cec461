"""No open door: whatever is started for a home listens on loopback, while Python functions are checked and run too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from uuid import uuid4

import pytest

from jobs.processes import PYTHON_ENVIRONMENT
from jobs.product.folder import load_product
from tests.integration.listeners import Listener, Watch
from tests.integration.running import RunningStack
from tests.integration.test_orders import Order, Writer, another_product, stop_jobs

FUNCTION = """\
functions:
  pseudonym: {python: "udfs.privacy:pseudonym", returns: STRING, vectorised: true, deterministic: true}
"""
SELECT = "SELECT order_id, ordered_at, shop, pseudonym(shop) AS masked, cents FROM {}\n"
TEST = """\
one:
  given: {{{}: [{{order_id: a, ordered_at: 2024-06-03T10:00:00, shop: north, cents: 1}}]}}
  expect: {{order_rows: [{{order_id: a}}]}}
"""
WARM, COLD = "shaded.py4j.GatewayServer", "PythonGatewayServer"
CLIENT, TASKMANAGER = "CliFrontend", "TaskManagerRunner"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def watch(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """What was seen while orders whose shops go through a Python function were checked, tested, deployed, published."""
    name = f"masked{uuid4().hex[:6]}"
    folder = another_product(tmp_path_factory.mktemp("products"), name)
    with (folder / "product.yaml").open("a") as file:
        file.write(FUNCTION)
    (folder / "order_rows.sql").write_text(SELECT.format(name))
    writer = Writer(stack, load_product(folder))
    for order in map(Order, range(100)):
        writer.order(order)
    writer.heartbeat(Order(3000).ordered_at)
    shutil.rmtree(folder / "tests")
    (folder / "tests").mkdir()
    (folder / "tests" / "one.yaml").write_text(TEST.format(name))
    with Watch(stack.home) as found:
        stack.kappa("check", str(folder))
        stack.kappa("test", str(folder))
        cold(stack, "check", str(folder), "--output", "json")
        try:
            cold(stack, "deploy", name, "--from", str(folder), "--timeout", "180")
        finally:
            stop_jobs(stack, name)
    return found


def cold(stack: RunningStack, *arguments: str) -> None:
    """Run a command without a planner that stays warm: `flink run` submits the job."""
    subprocess.run(
        [sys.executable, "-m", "replay", *arguments],
        env={**stack.kappa.environment, "KAPPA_PLANNER": "cold"},
        timeout=300,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def listening(watch: Watch, part: str) -> list[Listener]:
    """What processes whose command has this part listened on."""
    return [found for found in watch.listeners if part in found.command]


def test_every_process_listens_on_loopback_while_functions_are_checked_and_run(
    watch: Watch,
) -> None:
    assert [found for found in watch.listeners if not found.is_loopback] == []
    assert len(listening(watch, WARM)) >= 4, (
        "the JVM of the planner is talked to over a socket, and a test in it has a Flink with ports of its own"
    )
    assert listening(watch, COLD), "so is that of a check in a process of its own"
    assert listening(watch, CLIENT), "so is that of flink run"
    assert len(listening(watch, TASKMANAGER)) >= 8, (
        "a server for each service that Python workers ask"
    )


@pytest.mark.parametrize("part", ["-m jobs.check", "/jobs/run.py", "pyflink.fn_execution.beam"])
def test_python_of_a_job_hashes_alike_and_writes_no_byte_code(watch: Watch, part: str) -> None:
    found = [environment for command, environment in watch.environments.items() if part in command]
    assert found, f"none of {sorted(watch.environments)} has {part}"
    assert [e for e in found if not PYTHON_ENVIRONMENT.items() <= e.items()] == []


def test_a_release_that_ran_has_no_byte_code(stack: RunningStack, watch: Watch) -> None:
    assert [*stack.settings.releases.rglob("*.pyc")] == []


def test_others_cannot_read_the_home(stack: RunningStack) -> None:
    assert stack.home.stat().st_mode & 0o777 == 0o700
    written = [
        stack.layout.logs / "taskmanager.log",
        stack.home / "store.db",
        *stack.layout.kafka_data.glob("*/*.log"),
    ]
    assert {file.name: oct(file.stat().st_mode & 0o077) for file in written} == {
        f.name: "0o0" for f in written
    }
