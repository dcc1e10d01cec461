"""Which topics one disk may lose records of, and what is said of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from replay.kafka import whole_log
from replay.kafka.log_durability import Replication, advice, copies, wanted

REASSIGN = "kafka-reassign-partitions with 3 replicas of each partition of orders"
ALTER = (
    "kafka-configs --alter --entity-type topics --entity-name orders --add-config "
    "min.insync.replicas=2"
)


def settings(*, replicated: bool = False) -> Any:
    return SimpleNamespace(kafka_storage_replicated=replicated)


@pytest.mark.parametrize(
    ("kept", "fix"),
    [
        pytest.param(Replication(3, 1, 1), f"{REASSIGN}; then {ALTER}", id="one disk has it"),
        pytest.param(Replication(3, 1, 2), REASSIGN, id="one disk has it, whatever is asked"),
        pytest.param(Replication(3, 3, 1), ALTER, id="acknowledged by one of three"),
        pytest.param(
            Replication(5, 2, 1), f"{REASSIGN}; then {ALTER}", id="acknowledged by one of two"
        ),
        pytest.param(
            Replication(3, 1, None),
            REASSIGN,
            id="one disk has it, of a broker that asks a majority",
        ),
    ],
)
def test_what_a_cluster_could_keep_better_is_refused(kept: Replication, fix: str) -> None:
    (problem,) = whole_log.durability_problems(settings(), "orders", kept)
    assert (problem.found, problem.next) == (str(kept), fix)
    assert not problem.lost
    assert not kept.told
    assert whole_log.durability_problems(settings(replicated=True), "orders", kept) == []


@pytest.mark.parametrize(
    "kept",
    [Replication(3, 3, 2), Replication(3, 2, 2), Replication(5, 3, 3), Replication(3, 3, None)],
)
def test_what_two_disks_have_is_as_it_should_be(kept: Replication) -> None:
    assert not kept.refused
    assert not kept.told


@pytest.mark.parametrize("kept", [Replication(1, 1, 1), Replication(2, 2, 1), Replication(2, 1, 2)])
def test_what_a_small_cluster_cannot_keep_better_is_told(kept: Replication) -> None:
    assert kept.told
    assert whole_log.durability_problems(settings(), "orders", kept) == []


def test_topics_that_are_alike_are_told_in_a_line() -> None:
    one = Replication(1, 1, 1)
    assert advice({"orders": one, "rates": one, "safe": Replication(3, 3, 2)}) == [
        "orders, rates: replication factor 1 and min.insync.replicas=1 on 1 broker; what one disk loses is gone for "
        "good, from the log and from every replay of it: keep a backup of the broker"
    ]


@pytest.mark.parametrize(
    ("replicas", "brokers", "expected"), [(1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (1, 3, "1")]
)
def test_a_new_topic_is_one_that_is_not_refused(replicas: int, brokers: int, expected: str) -> None:
    config = wanted(replicas, brokers)
    assert config == {"min.insync.replicas": expected}
    kept = copies(brokers, replicas, config)
    assert kept.refused == (replicas == 1 and brokers > 2)
