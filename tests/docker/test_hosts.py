"""Eight subtasks on three TaskManagers, each a host of its own to the network; one loses its links in a replay."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.docker.deployment import Deployment, Orders, make_readable, wait_until
from tests.integration.test_orders import another_product

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]

NAME, PARTITIONS, PARALLELISM, COUNT = "wide", 16, 8, 400_000
SECONDS = 30
"""So long the links are down."""


@pytest.fixture
def hosts(deployment: Deployment) -> Iterator[list[str]]:
    """The containers of three TaskManagers, of four slots each."""
    scale = "up", "--detach", "--no-build", "--no-recreate", "--wait", "--scale"
    try:
        deployment.compose(*scale, "taskmanager=3")
        yield [deployment.container("taskmanager", number) for number in (1, 2, 3)]
    finally:
        deployment.compose(*scale, "taskmanager=1")


@pytest.fixture
def wide(deployment: Deployment, hosts: list[str], products: Path) -> Iterator[Orders]:
    """A copy of the tests' small product, for sixteen partitions and eight subtasks; it leaves no job behind."""
    folder = another_product(products, NAME)
    settings = yaml.safe_load((folder / "product.yaml").read_text())
    (folder / "product.yaml").write_text(yaml.safe_dump({**settings, "parallelism": PARALLELISM}))
    make_readable(folder)
    kafka, registry = (int(os.environ[f"KAPPA_{name}_PORT"]) for name in ("KAFKA", "REGISTRY"))
    wide = Orders(deployment, kafka, registry, NAME, PARTITIONS)
    wide.create()
    yield wide
    deployment.kappa("remove", NAME, "--yes", NAME)


def working(deployment: Deployment) -> set[str]:
    """Containers that run subtasks of a job, once all of them run."""
    containers = {
        deployment.inspect(name)["Config"]["Hostname"]: name
        for number in (1, 2, 3)
        for name in [deployment.container("taskmanager", number)]
    }
    base = f"http://127.0.0.1:{os.environ['KAPPA_FLINK_PORT']}"
    with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
        found = []
        for job in client.get("/jobs/overview").json()["jobs"]:
            for vertex in client.get(f"/jobs/{job['jid']}").json()["vertices"]:
                at = client.get(f"/jobs/{job['jid']}/vertices/{vertex['id']}").json()
                found += at["subtasks"]
        runs = all(subtask["status"] == "RUNNING" for subtask in found)
        return {containers[subtask["taskmanager-id"]] for subtask in found} if runs else set()


@pytest.mark.skipif(os.geteuid() != 0, reason="links are taken down by root alone")
def test_a_replay_goes_on_when_a_host_loses_its_links(
    hosts: list[str], wide: Orders, products: Path
) -> None:
    deployment = wide.deployment
    wide.append(COUNT)
    command = "docker", "exec", deployment.client, "kappa", "deploy", NAME, "--timeout", "900"
    with wide.load():
        deploy = subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            at_work = wait_until(lambda: working(deployment), 300, "the replay runs")
            assert len(at_work) > 1
            with deployment.unplugged(max(at_work)):
                time.sleep(SECONDS)
                assert wide.covered() == 0, "it was over before the links were down"
            said, _ = deploy.communicate(timeout=1000)
        finally:
            deploy.kill()
        assert deploy.returncode == 0, said
    for host in hosts:
        deployment.wait_healthy(host)
    orders = wide.check()
    (hours,) = deployment.json("query", NAME, "SELECT count(*) AS n FROM hourly_orders")
    said = deployment.kappa("verify", NAME, "--parallelism", "1", "--output", "json")
    verified = json.loads(said.splitlines()[-1])
    assert (verified["shown_parallelism"], verified["shadow_parallelism"]) == (PARALLELISM, 1)
    # Hours that end close to where both are compared are left out.
    assert 0 <= orders + hours["n"] - verified["rows"] <= 30
