"""A topic that is not the one that was read: made again, or cut off and filled again under the same offsets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from replay.core import partitions
from replay.core.log_identity import LogMark, Topic
from replay.kafka import log, log_marks, topics, whole_log
from replay.kafka.log_durability import Replication
from replay.settings import Settings
from tests.integration.running import RunningStack, wait_until

COUNT = 50


def fill(settings: Settings, topic: str, text: str, count: int = COUNT) -> None:
    """So many records in partition 0, in a transaction-free log: offset = number."""
    producer = Producer({**settings.kafka, "enable.idempotence": True, "log_level": 0})
    for number in range(count):
        producer.produce(
            topic, f"{text} {number}".encode(), partition=0, timestamp=1_700_000_000_000 + number
        )
    assert producer.flush(30) == 0


@pytest.fixture
def topic(stack: RunningStack, request: pytest.FixtureRequest) -> str:
    name = f"identity_{request.node.name.split('[')[0].removeprefix('test_')}"[:80]
    log.create_topics(stack.settings, {name: 1})
    fill(stack.settings, name, "first")
    return name


def read(stack: RunningStack, topic: str, position: int = COUNT) -> dict[str, Topic]:
    return log_marks.identity(stack.settings, [topic], {topic: {0: position}})


def lose_records(stack: RunningStack, topic: str) -> None:
    """As a disk does that comes back empty: the partition is there, and nothing is in it."""
    killed = stack.pid("kafka")
    os.kill(killed, signal.SIGSTOP)
    [folder] = Path(stack.home).rglob(f"{topic}-0")
    for file in folder.iterdir():
        if file.name != "partition.metadata":
            file.unlink()
    os.kill(killed, signal.SIGKILL)
    stack.wait_restarted("kafka", killed, timeout=180)
    wait_until(
        lambda: log.end_offsets(stack.settings, [topic])[topic] == {0: 0},
        120,
        "the partition is empty",
    )


def test_the_same_log_is_the_same(stack: RunningStack, topic: str) -> None:
    known, watch = read(stack, topic), log_marks.Watch(stack.settings)
    assert known[topic].marks[0] == LogMark.of(
        COUNT - 1, 1_700_000_000_000 + COUNT - 1, None, b"first 49"
    )
    assert watch.changes("shop-r1-a1", known) == ()
    fill(stack.settings, topic, "more")
    assert watch.changes("shop-r1-a1", known) == ()
    assert read(stack, topic, 2 * COUNT)[topic].id == known[topic].id


def test_a_topic_that_was_made_again(stack: RunningStack, topic: str) -> None:
    known, watch = read(stack, topic), log_marks.Watch(stack.settings)
    assert watch.changes("shop-r1-a1", known) == ()
    log.admin(stack.settings).delete_topics([topic])[topic].result(30)
    wait_until(lambda: not log.topic_ids(stack.settings, [topic]), 60, "the topic is gone")
    assert watch.changes("shop-r1-a1", known) == (f"topic {topic} is gone",)
    log.create_topics(stack.settings, {topic: 1})
    fill(stack.settings, topic, "first")
    wait_until(lambda: log.topic_ids(stack.settings, [topic]), 60, "the topic is there")
    [found] = watch.changes("shop-r1-a1", known)
    assert found.startswith(
        f"topic {topic} was deleted and made again: its id was {known[topic].id} and is "
    )


def test_partitions_that_a_topic_gains_are_no_other_log(stack: RunningStack, topic: str) -> None:
    known, watch = read(stack, topic), log_marks.Watch(stack.settings)
    assert (known[topic].partitions, known[topic].told) == (1, 1)
    log.admin(stack.settings).create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    wait_until(
        lambda: len(log.end_offsets(stack.settings, [topic])[topic]) == 3,
        60,
        "the topic has three partitions",
    )
    ends = log.end_offsets(stack.settings, [topic])
    assert partitions.grown(known, ends) == {topic: 3}
    assert watch.changes("shop-r1-a1", known) == ()
    assert read(stack, topic)[topic].partitions == 3


def test_what_one_broker_may_lose_is_told_and_not_refused(stack: RunningStack, topic: str) -> None:
    (found,) = topics.look(stack.settings, [topic])
    assert found.copies == Replication(brokers=1, replicas=1, in_sync=1)
    assert (
        whole_log.durability_problems(stack.settings, topic, found.copies) == found.problems == []
    )
    (advice,) = whole_log.durability_advice(stack.settings, [topic, "absent"])
    assert advice.startswith(
        f"{topic}: replication factor 1 and min.insync.replicas=1 on 1 broker; "
    )


@pytest.mark.chaos
def test_a_partition_that_lost_its_records_to_others(stack: RunningStack, topic: str) -> None:
    known, watch = read(stack, topic), log_marks.Watch(stack.settings)
    assert watch.changes("shop-r1-a1", known) == ()
    lose_records(stack, topic)
    lost = f"partition 0 of topic {topic} lost records: at offset 49 there is "
    assert watch.changes("shop-r1-a1", known) == (f"{lost}no record any more",)
    fill(stack.settings, topic, "second", 2 * COUNT)
    assert log.topic_ids(stack.settings, [topic]) == {topic: known[topic].id}
    assert watch.changes("shop-r1-a1", known) == (f"{lost}another record than was read",)
    assert log_marks.Watch(stack.settings).changes("shop-r1-a1", known) != ()


@pytest.mark.chaos
def test_a_broker_that_comes_back_with_all_its_records_is_no_change(
    stack: RunningStack, topic: str
) -> None:
    known, watch = read(stack, topic), log_marks.Watch(stack.settings)
    assert watch.changes("shop-r1-a1", known) == ()
    stack.wait_restarted("kafka", stack.kill("kafka"), timeout=180)
    assert watch.changes("shop-r1-a1", known) == ()
