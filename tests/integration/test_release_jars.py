"""Flink's `lib` gets another connector: each release goes on with its own, side by side, and through every loss."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.connector_jar import built_from, write_jar
from replay.core.model import State
from tests.integration.disturbed_product import Shop
from tests.integration.running import RunningStack, free_port_base, wait_until
from tests.integration.test_orders import stop_jobs

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

JAR = "kappa-connector.jar"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A product on a stack of its own: the test stops it and changes a jar."""
    stack = RunningStack(tmp_path / "home")
    try:
        stack.kappa("up", "--port-base", str(free_port_base(45_000)))
        shop = Shop(stack, tmp_path, "tea")
        yield shop
        stop_jobs(stack, shop.name)
        wait_until(
            lambda: not list((stack.home / "attempts").rglob("*.jar")),
            60,
            "no attempt leaves its jars",
        )
    finally:
        stack.kappa("down")


def upgrade(stack: RunningStack) -> None:
    """Another connector in the place of the first: the same file, written over."""
    jar = stack.home / "connector" / JAR
    comment = built_from(jar)
    assert comment
    with zipfile.ZipFile(jar) as archive:
        entries = [
            (e.filename, archive.read(e))
            for e in archive.infolist()
            if not e.filename.startswith("META-INF/M")
        ]
    stack.kappa("down")
    write_jar(jar, comment, [*entries, ("of/another/kappa", b"marker")])
    stack.kappa("up")


def connector(stack: RunningStack, program: str) -> str:
    """SHA-256 of the connector that a process has open, by the name that its class path says."""
    found = set()
    for descriptor in Path(f"/proc/{stack.pid(program)}/fd").iterdir():
        try:
            if os.readlink(descriptor).endswith(f"/{JAR}"):
                found.add(hashlib.sha256(descriptor.read_bytes()).hexdigest())
        except OSError:  # closed meanwhile
            continue
    return found.pop() if len(found) == 1 else repr(sorted(found))


def programs(shop: Shop, attempt: str) -> list[str]:
    """JobManager and TaskManager of an attempt."""
    cluster = shop.attempt(attempt).cluster
    return [
        f"{program}-{cluster}" if cluster else program for program in ("jobmanager", "taskmanager")
    ]


def connectors(shop: Shop, attempt: str) -> set[str]:
    return {connector(shop.stack, program) for program in programs(shop, attempt)}


def wait_resumed(shop: Shop, attempt: str, jobs: int) -> None:
    wait_until(
        lambda: len(shop.attempt(attempt).job_ids) == jobs and shop.attempt(attempt).confirmed,
        240,
        lambda: f"{attempt} is resumed: {shop.told()}",
    )


def test_each_release_runs_with_the_connector_that_it_was_built_with(shop: Shop) -> None:
    stack = shop.stack
    stack.kappa("deploy", "tea", "--from", str(shop.folder))
    before = hashlib.sha256((stack.home / "flink" / "lib" / JAR).read_bytes()).hexdigest()
    assert (shop.attempt("r1-a1").cluster, connectors(shop, "r1-a1")) == ("", {before})

    upgrade(stack)
    after = hashlib.sha256((stack.home / "flink" / "lib" / JAR).read_bytes()).hexdigest()
    assert after != before
    wait_resumed(shop, "r1-a1", 2)
    assert shop.attempt("r1-a1").cluster == "tea-r1-a1"
    assert connectors(shop, "r1-a1") == {before}
    assert shop.history("r1-a1")["own_cluster"] == f"{JAR} {before[:12]} → {after[:12]}"
    assert "other_runtime" not in shop.history("r1-a1")
    shop.more()
    shop.everything_is_right()

    stack.kappa("deploy", "tea", "--from", str(shop.folder))
    shop.wait_state("r2-a1", State.active)
    assert connectors(shop, "r2-a1") == {after}
    assert connectors(shop, "r1-a1") == {before}
    shop.more()
    shop.everything_is_right()

    stack.kappa("rollback", "tea")
    wait_until(
        lambda: shop.attempt("r1-a1").state is State.active,
        60,
        lambda: f"readers are back: {shop.told()}",
    )
    jobmanager, taskmanager = programs(shop, "r1-a1")
    stack.wait_restarted(jobmanager, stack.kill(jobmanager))
    wait_resumed(shop, "r1-a1", 3)
    stack.wait_restarted(taskmanager, stack.kill(taskmanager))
    shop.more()
    shop.everything_is_right()
    assert connectors(shop, "r1-a1") == {before}
    assert "other_runtime" not in shop.history("r1-a1")
    stack.kappa("switch", "tea", "r2")
    wait_until(
        lambda: shop.attempt("r2-a1").state is State.active,
        120,
        lambda: f"readers are on: {shop.told()}",
    )
    shop.everything_is_right()
