"""Outputs that are topics, too: the real sink, its transactions under a kill, and what becomes of its topics."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from jobs.product.folder import load_product
from replay.controller.preflight import refuse_shared_topics
from replay.errors import RefusedError
from replay.iceberg import lake
from replay.kafka import topics
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import Order, Writer, another_product, stop_jobs

pytestmark = pytest.mark.timeout(420)

NAME, ROWS, HOURS = "receipts", "receipt-rows", "receipt-hours"
BEFORE, MEANWHILE, LATER = range(400), range(500, 550), range(700, 750)
"""Numbers of orders; between two of them the log's clock passes the allowed lateness of an hour."""
PARTITIONS = 2


@dataclass(frozen=True)
class Receipts:
    """A product whose two outputs are topics; a first release of it is deployed."""

    stack: RunningStack
    folder: Path
    writer: Writer

    def write(self, numbers: range) -> None:
        for number in numbers:
            value = self.writer.encode(Order(number).fields)
            self.writer.write(value, Order(number).ordered_at, number % PARTITIONS)
        for partition in range(
            PARTITIONS
        ):  # the log's clock goes on, and with it what was held back
            self.writer.write(None, Order(numbers.stop + 70).ordered_at, partition)
        self.writer.flush()

    def deploy(self, *options: str) -> None:
        self.stack.kappa("deploy", NAME, "--from", str(self.folder), *options)

    def table(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.stack.kappa.json("query", NAME, f"SELECT * FROM {name}")
        return rows

    def readers_topics(self) -> dict[str, str]:
        (status,) = self.stack.kappa.json("status", NAME)
        found: dict[str, str] = status["readers"]["topics"]
        return found


@pytest.fixture(scope="module")
def receipts(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receipts]:
    folder = another_product(tmp_path_factory.mktemp("products"), NAME)
    settings = yaml.safe_load((folder / "product.yaml").read_text())
    shutil.rmtree(
        folder / "checks"
    )  # they hold the tables against each other, and one is to change
    settings["switch"] = "manual"
    settings["outputs"] = {
        "order_rows": {"topic": ROWS, "key": ["order_id"]},
        "hourly_orders": {"topic": HOURS},
    }
    (folder / "product.yaml").write_text(yaml.safe_dump(settings))
    found = Receipts(stack, folder, Writer(stack, load_product(folder), PARTITIONS))
    found.write(BEFORE)
    found.deploy()
    try:
        yield found
    finally:
        stop_jobs(stack, NAME)


def committed(stack: RunningStack, topic: str) -> list[Message]:
    """The records that readers of committed transactions see."""
    consumer = Consumer(
        {
            **stack.settings.kafka,
            "group.id": "kappa-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    with closing(consumer):
        (found,) = topics.look(stack.settings, [topic])
        consumer.assign([TopicPartition(topic, p, 0) for p in found.ends])
        left, records = set(found.ends), []
        while left:
            record = consumer.poll(30)
            assert record is not None, f"{topic}: partitions {left} do not end"
            if (error := record.error()) is None:
                records.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                left -= {record.partition()}
            else:
                raise AssertionError(error)
    return records


def rows_of(records: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(record.value() or b"") for record in records]


def headers(record: Message) -> dict[str, str]:
    found = cast("list[tuple[str, bytes]]", record.headers() or [])
    return {name: value.decode() for name, value in found}


def places(rows: list[dict[str, Any]]) -> Counter[tuple[int, int, str, int]]:
    """Each row of `order_rows`, by its place in the log, with what it says; how often."""
    return Counter(
        (row["log_partition"], row["log_offset"], row["order_id"], row["cents"]) for row in rows
    )


def hours(rows: list[dict[str, Any]]) -> Counter[tuple[str, int, int]]:
    return Counter((row["shop"], row[NAME], row["cents"]) for row in rows)


def same_in_both(receipts: Receipts, attempt: str) -> Counter[tuple[int, int, str, int]]:
    """Wait until readers see as many rows as the topic has; the rows, each of them once and in both."""

    def settled() -> bool:
        return len(receipts.table("order_rows")) == len(
            committed(receipts.stack, f"{ROWS}.{attempt}")
        )

    wait_until(settled, 60, "the table that readers see and the topic have the same number of rows")
    found = places(receipts.table("order_rows"))
    assert places(rows_of(committed(receipts.stack, f"{ROWS}.{attempt}"))) == found
    assert set(found.values()) == {1}
    return found


def test_rows_are_records_of_a_topic_that_readers_are_told_of(receipts: Receipts) -> None:
    assert len(same_in_both(receipts, "r1-a1")) == len(BEFORE)
    by_hour = rows_of(committed(receipts.stack, f"{HOURS}.r1-a1"))
    assert by_hour
    assert hours(by_hour) == hours(receipts.table("hourly_orders"))
    wanted = {"order_rows": f"{ROWS}.r1-a1", "hourly_orders": f"{HOURS}.r1-a1"}
    assert receipts.readers_topics() == wanted
    (attempt,) = receipts.stack.kappa.json("attempts", NAME)
    assert attempt["topics"] == wanted
    assert f"order_rows is topic {ROWS}.r1-a1" in receipts.stack.kappa("status", NAME).stdout
    assert published_topic(receipts, ROWS) == f"{ROWS}.r1-a1"


def published_topic(receipts: Receipts, topic: str) -> str:
    """As docs/output-topics.md has it, for consumers that have the catalog alone."""
    table = lake.open_catalog(receipts.stack.settings).load_table((NAME, "order_rows"))
    shown = table.metadata.refs["main"].snapshot_id
    attempts = [
        name
        for name, ref in table.metadata.refs.items()
        if re.fullmatch(r"r\d+-a\d+", name)
        and shown in {s.snapshot_id for s in lake.ancestors(table.metadata, name)}
        and ref
    ]
    (attempt,) = attempts
    return f"{topic}.{attempt}"


def test_records_have_a_key_and_headers_of_cloudevents(receipts: Receipts) -> None:
    records = committed(receipts.stack, f"{ROWS}.r1-a1")
    assert {record.partition() for record in records} == set(range(PARTITIONS))
    for record in records:
        row, said = json.loads(record.value() or b""), headers(record)
        assert json.loads(record.key() or b"") == {"order_id": row["order_id"]}
        assert said["ce_specversion"] == "1.0"
        assert said["ce_source"] == f"/kappa/{NAME}/order_rows"
        assert said["ce_type"] == f"{NAME}.order_rows"
        assert said["content-type"] == "application/json"
        assert said["ce_time"] == row["ordered_at"]
    assert len({headers(record)["ce_id"] for record in records}) == len(records)


def test_a_killed_taskmanager_repeats_and_loses_no_record(receipts: Receipts) -> None:
    receipts.write(MEANWHILE)
    receipts.stack.kill("taskmanager")
    receipts.write(LATER)
    every = len(BEFORE) + len(MEANWHILE) + len(LATER)
    wait_until(
        lambda: len(receipts.table("order_rows")) == every, 150, "readers see what came meanwhile"
    )
    assert len(same_in_both(receipts, "r1-a1")) == every
    assert hours(rows_of(committed(receipts.stack, f"{HOURS}.r1-a1"))) == hours(
        receipts.table("hourly_orders")
    )


def test_a_replay_writes_a_topic_of_its_own_and_a_retired_ones_goes(receipts: Receipts) -> None:
    before = places(rows_of(committed(receipts.stack, f"{ROWS}.r1-a1")))
    select = receipts.folder / "order_rows.sql"
    select.write_text(select.read_text().replace("cents", "cents * 2 AS cents"))
    receipts.deploy()
    assert places(rows_of(committed(receipts.stack, f"{ROWS}.r1-a1"))) == before
    assert receipts.readers_topics()["order_rows"] == f"{ROWS}.r1-a1"
    receipts.stack.kappa("switch", NAME)
    found = same_in_both(receipts, "r2-a1")
    assert {place[:3]: 2 * place[3] for place in before} == {place[:3]: place[3] for place in found}
    assert receipts.readers_topics()["order_rows"] == f"{ROWS}.r2-a1"
    assert published_topic(receipts, ROWS) == f"{ROWS}.r2-a1"
    receipts.stack.kappa("retire", NAME)
    wait_until(
        lambda: written_topics(receipts.stack) == {f"{ROWS}.r2-a1", f"{HOURS}.r2-a1"},
        60,
        lambda: f"the topics of r1 are deleted: {written_topics(receipts.stack)}",
    )


def written_topics(stack: RunningStack) -> set[str]:
    return {name for name in topics.names(stack.settings) if name.startswith("receipt-")}


def test_another_product_cannot_have_the_same_topic(receipts: Receipts) -> None:
    other = another_product(receipts.folder.parent, "refunds")
    yaml_file = other / "product.yaml"
    for said in ({"outputs": {"order_rows": {"topic": ROWS}, "hourly_orders": {}}}, {}):
        settings = {**yaml.safe_load(yaml_file.read_text()), **said}
        if not said:
            settings["outputs"] = ["order_rows", "hourly_orders"]
            settings["topics"]["refunds"]["topic"] = f"{ROWS}.r2-a1"
        yaml_file.write_text(yaml.safe_dump(settings))
        with (
            closing(Store(receipts.stack.settings.store)) as store,
            pytest.raises(RefusedError, match="refunds and receipts would share a topic"),
        ):
            refuse_shared_topics(receipts.stack.settings, store, load_product(other))


def test_a_removed_product_leaves_no_topic(receipts: Receipts) -> None:
    said = receipts.stack.kappa("remove", NAME, "--yes", NAME).stdout
    assert "is removed" in said
    wait_until(lambda: not written_topics(receipts.stack), 30, "its topics are deleted")
