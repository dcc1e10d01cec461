"""compose.tiered.yml: a broker that has a log gets a remote tier, and what is in that alone is replayed from zero."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.docker.conftest import ROOT
from tests.docker.deployment import Deployment, Orders, make_readable, run, wait_until
from tests.integration.test_orders import another_product

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]

NAME, COUNT = "kept", 200_000
SEGMENT = 1 << 20
UP = "up", "--no-build", "--no-deps", "--wait", "--detach"
TIER = "/var/lib/kafka/tier"


@pytest.fixture
def tiered(deployment: Deployment, orders: Orders) -> Iterator[Deployment]:
    """The same services, of which Kafka has a tier, until no topic needs it."""
    first, *others = deployment.files
    files = (first, str(ROOT / "compose.tiered.yml"), *others)
    with_tier = Deployment(deployment.project, files)
    if not others:
        with_tier.compose("build", "kafka")
    volume = f"{deployment.project}_tier"
    run("docker", "volume", "rm", "--force", volume)  # of a run that was cut
    try:
        with_tier.compose(*UP, "kafka")
        yield with_tier
    finally:
        deployment.compose(*UP, "kafka")
        run("docker", "volume", "rm", "--force", volume)


@pytest.fixture
def kept(tiered: Deployment, products: Path) -> Iterator[Orders]:
    """Orders of which the broker's own disk keeps a segment and the active one; they leave nothing behind."""
    make_readable(another_product(products, NAME))
    kafka, registry = (int(os.environ[f"KAPPA_{name}_PORT"]) for name in ("KAFKA", "REGISTRY"))
    kept = Orders(tiered, kafka, registry, NAME)
    kept.create()
    configure(
        kafka,
        **{
            "remote.storage.enable": "true",
            "segment.bytes": str(SEGMENT),
            "local.retention.bytes": str(SEGMENT),
        },
    )
    kept.append(COUNT)
    yield kept
    tiered.kappa("remove", NAME, "--yes", NAME)
    client = admin(kafka)
    client.delete_topics([NAME])[NAME].result(60)
    wait_until(  # folders stay
        lambda: not any(file.endswith(".log") for file in files_of(tiered, TIER)),
        120,
        lambda: f"the tier has no segment: {files_of(tiered, TIER)}",
    )


def admin(port: int) -> AdminClient:
    return AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})


def configure(port: int, **values: str) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in values.items()
    ]
    asked = ConfigResource(ResourceType.TOPIC, NAME, incremental_configs=entries)
    client = admin(port)  # kept: one that is collected answers nothing
    client.incremental_alter_configs([asked])[asked].result(30)


def files_of(deployment: Deployment, folder: str) -> list[str]:
    """Names of files below a folder of the broker."""
    return run(
        "docker", "exec", deployment.container("kafka"), "sh", "-c", f"cd {folder} && ls -R"
    ).split()


def test_what_no_disk_of_the_broker_has_is_replayed(
    tiered: Deployment, orders: Orders, kept: Orders
) -> None:
    def local_beginning() -> int:
        names = files_of(tiered, f"/var/lib/kafka/data/{NAME}-0")
        return min(int(name.removesuffix(".log")) for name in names if name.endswith(".log"))

    wait_until(lambda: local_beginning() > COUNT // 4, 300, lambda: f"from {local_beginning()}")
    assert any(NAME in name for name in files_of(tiered, TIER))
    described = tiered.kappa("topic", "describe", NAME)
    assert "its older segments are in the broker's remote tier" in described

    tiered.kappa("deploy", NAME, "--timeout", "600")
    assert kept.check() >= COUNT - 61
    # What was in the log before there was a tier is as it was.
    orders.append(60)
    orders.check()
