"""What makes a log whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition

from replay.errors import ConfigError, RetryableError
from replay.kafka import log, whole_log

TIERED = {"remote.storage.enable": "true"}
DELETED = {"remote.log.delete.on.disable": "true"}
SETTINGS: Any = SimpleNamespace(registry="http://registry")


def test_questions_share_a_connection() -> None:
    here, there = (
        cast(Any, SimpleNamespace(kafka={"bootstrap.servers": f"127.0.0.1:{port}"}))
        for port in (1, 2)
    )
    assert log.admin(here) is log.admin(here)
    assert log.admin(here) is not log.admin(there)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"retention.ms": "604800000"}, "retention.ms=-1"),
        ({"retention.bytes": "1073741824"}, "retention.bytes=-1"),
        ({"cleanup.policy": "compact"}, "cleanup.policy=delete"),
        ({"cleanup.policy": "compact,delete"}, "cleanup.policy=delete"),
        ({"unclean.leader.election.enable": "true"}, "unclean.leader.election.enable=false"),
        ({**TIERED, "local.retention.ms": "1000", "local.retention.bytes": "1"}, None),
        ({**TIERED, "retention.ms": "604800000"}, "retention.ms=-1"),
        ({**TIERED, "remote.log.copy.disable": "true"}, None),
        ({**TIERED, **DELETED}, "remote.log.delete.on.disable=false"),
        (DELETED, None),
    ],
    ids=[
        "whole",
        "kept for a week",
        "kept to a size",
        "compacted",
        "compacted and deleted",
        "led by who lost records",
        "the last second on local disks",
        "kept for a week in the remote tier",
        "nothing more is offloaded",
        "one command away from losing the remote tier",
        "no remote tier",
    ],
)
def test_a_topic_must_keep_everything(change: dict[str, str], complaint: str | None) -> None:
    problems = whole_log.config_problems("flights", {**log.TOPIC_CONFIG, **change})
    assert [p.expected for p in problems] == ([complaint] if complaint else [])
    assert all("--add-config" in p.next and "topic flights" in str(p) for p in problems)


def test_the_end_is_the_last_stable_offset_and_what_lies_behind_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = {
        IsolationLevel.READ_COMMITTED: {0: 5, 1: 9},
        IsolationLevel.READ_UNCOMMITTED: {0: 17, 1: 9},
    }
    monkeypatch.setattr(
        log,
        "_ask_offsets_now",
        lambda settings, topics, spec, isolation: {
            topic: {p: SimpleNamespace(offset=offset) for p, offset in ends[isolation].items()}
            for topic in topics
        },
    )
    assert log.end_offsets(SETTINGS, ["flights"]) == {"flights": {0: 5, 1: 9}}
    assert log.open_transactions(SETTINGS, ["flights"]) == {"flights": {0: 12}}
    ends[IsolationLevel.READ_UNCOMMITTED] = ends[IsolationLevel.READ_COMMITTED]
    assert log.open_transactions(SETTINGS, ["flights"]) == {}


def test_partitions_without_a_record_so_late_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def answer(
        settings: Any, topics: list[str], spec: Any, isolation: Any
    ) -> dict[str, dict[int, Any]]:
        asked.append(spec)
        return {
            topic: {0: SimpleNamespace(offset=5), 1: SimpleNamespace(offset=-1)} for topic in topics
        }

    monkeypatch.setattr(log, "_ask_offsets_now", answer)
    assert log.offsets_at(SETTINGS, ["flights"], 1_373_000_000_000) == {"flights": {0: 5}}
    assert [spec._value for spec in asked] == [1_373_000_000_000]


class Coordinator:
    """A consumer whose broker has no coordinator for its group at first."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return partitions


def test_a_group_whose_coordinator_is_not_there_yet_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("replay.kafka.log.time.sleep", slept.append)
    asked = [TopicPartition("orders", 0, 7)]
    codes = (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    )
    assert log._committed(cast(Consumer, Coordinator(*codes)), asked) == asked
    assert slept == [0.2] * 3
    with pytest.raises(KafkaException):
        log._committed(cast(Consumer, Coordinator(*[KafkaError.NOT_COORDINATOR] * 10)), asked)
    with pytest.raises(KafkaException):
        log._committed(cast(Consumer, Coordinator(KafkaError.GROUP_AUTHORIZATION_FAILED)), asked)
    assert len(slept) == 13


SECURED: Any = SimpleNamespace(kafka={"bootstrap.servers": "b:1", "security.protocol": "SASL_SSL"})


def told(settings: Any, code: int) -> str:
    with pytest.raises(RetryableError) as e, log.asking_broker(settings):
        raise KafkaException(KafkaError(code, "said"))
    return str(e.value)


def test_what_a_broker_does_not_allow_is_not_told_as_a_broker_that_is_down() -> None:
    for code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        said = told(SECURED, code)
        assert (
            "Kafka does not allow what was asked" in said and "next:     kappa acls PRODUCT" in said
        )
    assert "Kafka refuses this login" in told(SECURED, KafkaError._AUTHENTICATION)


class Connections:
    """A client whose connections come to nothing, and that says why when it is polled."""

    def __init__(self, why: KafkaError) -> None:
        self._why = why

    def list_topics(self, timeout: float) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "no broker"))

    def poll(self, timeout: float) -> None:
        log._logins.extend(
            [self._why, KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")]
        )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError._AUTHENTICATION, "Kafka refuses this login"),
        (KafkaError._SSL, "found:    why"),
        (KafkaError._TRANSPORT, "Kafka does not answer"),
    ],
)
def test_a_question_that_times_out_tells_of_the_login(
    monkeypatch: pytest.MonkeyPatch, code: int, expected: str
) -> None:
    monkeypatch.setattr(log, "admin", lambda settings: Connections(KafkaError(code, "why")))
    assert expected in told(SECURED, KafkaError._TIMED_OUT)
    plain: Any = SimpleNamespace(kafka={"bootstrap.servers": "b:1"})
    assert "Kafka does not answer" in told(plain, KafkaError._TIMED_OUT)


def test_properties_that_librdkafka_does_not_know_are_named() -> None:
    with pytest.raises(ConfigError, match="librdkafka does not take") as e:
        log.admin(cast(Any, SimpleNamespace(kafka={"bootstrap.server": "b:1"})))
    assert "bootstrap.server" in e.value.found


@pytest.mark.parametrize(
    ("config", "found"),
    [
        pytest.param({}, "it begins at offset 7", id="cut"),
        pytest.param({**TIERED, **DELETED}, "it begins at offset 7", id="cut in the remote tier"),
        pytest.param(
            DELETED,
            "it begins at offset 7; remote.storage.enable=false with remote.log.delete.on.disable=true deletes all "
            "that is in the remote tier",
            id="the remote tier was switched off",
        ),
    ],
)
def test_a_log_that_begins_later_is_lost_and_says_why(config: dict[str, str], found: str) -> None:
    problems = whole_log.cut_problems("flights", {0: 0, 1: 7}, {**log.TOPIC_CONFIG, **config})
    assert [(p.expected, p.found, p.lost) for p in problems] == [
        ("offset 0 of partition 1 in the log", found, True)
    ]


class Brokers:
    """Three of them, and what they say of topics."""

    def __init__(self, configs: dict[str, dict[str, str]], hidden: set[str]) -> None:
        self._configs, self._hidden = configs, hidden

    def list_topics(self, timeout: float) -> Any:
        partition = SimpleNamespace(replicas=[1, 2, 3])
        return SimpleNamespace(
            brokers=range(3),
            topics={name: SimpleNamespace(partitions={0: partition}) for name in self._configs},
        )

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Any]:
        return {resource: self._answer(resource.name) for resource in resources}

    def _answer(self, name: str) -> Any:
        def result(timeout: float) -> dict[str, Any]:
            if name in self._hidden:
                raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "said"))
            return {k: SimpleNamespace(value=v) for k, v in self._configs[name].items()}

        return SimpleNamespace(result=result)


@pytest.mark.parametrize(
    ("topic", "index", "hidden", "problems"),
    [
        pytest.param(TIERED, {"min.insync.replicas": "2"}, set(), [], id="kept by two disks"),
        pytest.param(
            TIERED,
            {"min.insync.replicas": "1"},
            set(),
            [("__remote_log_metadata", "two disks that have a record before it is acknowledged")],
            id="acknowledged by one disk",
        ),
        pytest.param(
            TIERED,
            {"min.insync.replicas": "2", "retention.ms": "86400000"},
            set(),
            [("__remote_log_metadata", "retention.ms=-1")],
            id="forgotten after a day",
        ),
        pytest.param({}, {"min.insync.replicas": "1"}, set(), [], id="nothing is offloaded"),
        pytest.param(
            TIERED,
            {"retention.ms": "1"},
            {"__remote_log_metadata"},
            [],
            id="not shown to this login",
        ),
    ],
)
def test_the_index_of_the_remote_tier_is_kept_like_the_log(
    monkeypatch: pytest.MonkeyPatch,
    topic: dict[str, str],
    index: dict[str, str],
    hidden: set[str],
    problems: list[tuple[str, str]],
) -> None:
    kept = {**log.TOPIC_CONFIG, "min.insync.replicas": "2"}
    configs = {"flights": {**kept, **topic}, "__remote_log_metadata": {**kept, **index}}
    monkeypatch.setattr(log, "admin", lambda settings: Brokers(configs, hidden))
    monkeypatch.setattr(log, "first_offsets", lambda settings, topics: {t: {0: 0} for t in topics})
    settings: Any = SimpleNamespace(kafka={}, kafka_storage_replicated=False)
    product: Any = SimpleNamespace(topics={"flights": None})
    found = whole_log.problems(settings, product)
    assert [(p.topic, p.expected) for p in found] == problems
