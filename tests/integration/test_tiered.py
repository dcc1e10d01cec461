"""The log's older segments are in a remote tier and on no broker's disk: replayed from zero, audited, and lost for good
when the tier is switched off."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from jobs.product.folder import load_product
from replay.core.log_identity import LogMark, Topic
from replay.errors import RetryableError
from replay.kafka import log, log_marks, schemas
from tests.integration.running import Kappa, RunningStack, free_port_base, wait_until
from tests.integration.test_orders import another_product
from tests.integration.test_restart import BEGIN, HOUR, Log

# PyFlink warns of much when it is imported.
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500), pytest.mark.filterwarnings("ignore")]

NAME, COUNT, PATIENCE = "tiered", 600_000, 300
SEGMENT = 1 << 20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own, with a remote tier."""
    kappa = Kappa(tmp_path_factory.mktemp("stack") / "home")
    base = int(os.environ.get("KAPPA_TEST_PORT_BASE") or free_port_base(29_000))
    try:
        kappa("up", "--tiered", "--port-base", str(base), timeout=600)
        yield RunningStack(kappa.home)
    finally:
        kappa("down")


@pytest.fixture(scope="module")
def written(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Orders in both partitions, of which local disks keep a segment and the active one."""
    made = Log(
        stack,
        load_product(another_product(tmp_path_factory.mktemp("products"), NAME)),
        config={
            "remote.storage.enable": "true",
            "segment.bytes": str(SEGMENT),
            "local.retention.bytes": str(SEGMENT),
        },
    )
    for n in range(COUNT):
        made.order(f"o{n}", BEGIN + n * 100, n % 2)
        if n % 10_000 == 0:
            made.flush()
    for partition in (0, 1):
        made.heartbeat(BEGIN + COUNT * 100 + 3 * HOUR, partition)
    made.flush()
    return made


def size(folder: Path) -> int:
    """Bytes of records and their indexes: indexes are files with holes until their segment is full."""
    files = (f for f in folder.rglob("*") if f.is_file() and f.suffix != ".deleted")
    return sum(f.stat().st_blocks * 512 for f in files)


def local_beginning(folder: Path) -> int:
    """The offset of the first record on the broker's disk."""
    return min(int(f.stem) for f in folder.glob("*.log"))


def local_folders(stack: RunningStack, topic: str) -> list[Path]:
    return [stack.layout.kafka_data / f"{topic}-{partition}" for partition in (0, 1)]


def alter(stack: RunningStack, topic: str, **changes: str) -> None:
    entries = [
        ConfigEntry(k.replace("_", "."), v, incremental_operation=AlterConfigOpType.SET)
        for k, v in changes.items()
    ]
    asked = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    log.admin(stack.settings).incremental_alter_configs([asked])[asked].result(30)


def test_a_product_is_replayed_from_segments_that_no_disk_of_the_broker_has(
    stack: RunningStack, written: Log
) -> None:
    folders, topic = local_folders(stack, written.topic), written.topic
    began = sum(map(size, folders)), time.monotonic()
    wait_until(
        lambda: all(local_beginning(f) > COUNT // 4 for f in folders),
        PATIENCE,
        lambda: f"offloaded and deleted: {[sorted(f.name for f in x.iterdir()) for x in folders]}",
    )
    local, remote = sum(map(size, folders)), size(stack.layout.kafka_remote)
    sys.stdout.write(
        f"{COUNT:,} orders: {began[0]:,} bytes at first; after {time.monotonic() - began[1]:.0f} s "
        f"{local:,} local, {remote:,} remote\n"
    )
    assert remote > 2 * local
    assert log.first_offsets(stack.settings, [topic]) == {topic: {0: 0, 1: 0}}
    end = COUNT // 2 + 1
    assert log.end_offsets(stack.settings, [topic]) == {topic: {0: end, 1: end}}
    clock = BEGIN + COUNT * 100 + 3 * HOUR
    assert log.latest_times(stack.settings, [topic]) == {topic: {0: clock, 1: clock}}
    assert schemas.log_problems(stack.settings, written.product) == []
    assert (
        "its older segments are in the broker's remote tier"
        in stack.kappa("topic", "describe", topic).stdout
    )

    written.stack.kappa(
        "deploy", NAME, "--from", str(written.product.folder), "--timeout", "400", timeout=500
    )
    asked = "SELECT count(*) AS n, count(DISTINCT order_id) AS ids, sum(log_offset) AS places FROM order_rows"
    (found,) = wait_until(
        lambda: [r for r in stack.kappa.json("query", NAME, asked) if r["n"] >= COUNT],
        PATIENCE,
        lambda: f"all orders are published: {written.attempts()}",
    )
    of_one = COUNT // 2
    assert found == {"n": COUNT, "ids": COUNT, "places": of_one * (of_one - 1)}
    audited = written.audit()
    assert [p["unaccounted"] for p in audited] == [0, 0]


def test_records_of_the_remote_tier_identify_the_log(stack: RunningStack, written: Log) -> None:
    """Offset 999 is on no disk of the broker."""
    topic, settings = written.topic, stack.settings
    known = log_marks.identity(settings, [topic], {topic: {0: 1000, 1: 1000}})
    assert {mark.offset for mark in known[topic].marks.values()} == {999}
    assert log_marks.Watch(settings).changes("a", known) == ()
    other = {topic: Topic(known[topic].id, {**known[topic].marks, 1: LogMark(999, "0")})}
    assert log_marks.Watch(settings).changes("b", other) == (
        f"partition 1 of topic {topic} lost records: at offset 999 there is another record than was read",
    )


def test_a_tier_that_may_be_deleted_is_refused_and_one_that_was_is_named(
    stack: RunningStack, written: Log
) -> None:
    topic = written.topic
    alter(stack, topic, remote_log_delete_on_disable="true")
    refused = stack.kappa("verify", NAME, check=False)
    assert refused.returncode == 1
    assert f"the log of {NAME} is not whole: topic {topic}" in refused.stderr
    assert "expected: remote.log.delete.on.disable=false" in refused.stderr
    assert "--add-config remote.log.delete.on.disable=false" in refused.stderr

    alter(stack, topic, remote_storage_enable="false")
    wait_until(
        lambda: log.first_offsets(stack.settings, [topic])[topic][0] > 0, PATIENCE, "the log is cut"
    )
    problems = schemas.log_problems(stack.settings, written.product)
    assert [p.lost for p in problems] == [True, True]
    assert "remote.storage.enable=false with remote.log.delete.on.disable=true" in problems[0].found
    with pytest.raises(RetryableError, match=f"records of topic {topic} are not in the log any"):
        list(log.read_range(stack.settings, topic, 0, 0, 10))
    described = stack.kappa("topic", "describe", topic).stdout
    assert "deletes all that is in the remote tier" in described
