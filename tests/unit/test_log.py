"""What makes a log whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import IsolationLevel

from replay import log

SETTINGS: Any = SimpleNamespace(registry="http://registry")


def test_questions_share_a_connection() -> None:
    here, there = (cast(Any, SimpleNamespace(kafka={"bootstrap.servers": f"127.0.0.1:{port}"})) for port in (1, 2))
    assert log.admin(here) is log.admin(here)
    assert log.admin(here) is not log.admin(there)


@pytest.mark.parametrize(("change", "complaint"), [
    ({}, None),
    ({"retention.ms": "604800000"}, "retention.ms=-1"),
    ({"retention.bytes": "1073741824"}, "retention.bytes=-1"),
    ({"cleanup.policy": "compact"}, "cleanup.policy=delete"),
    ({"cleanup.policy": "compact,delete"}, "cleanup.policy=delete"),
], ids=["whole", "kept for a week", "kept to a size", "compacted", "compacted and deleted"])
def test_a_topic_must_keep_everything(change: dict[str, str], complaint: str | None) -> None:
    problems = log.config_problems("flights", {**log.TOPIC_CONFIG, **change})
    assert [p.expected for p in problems] == ([complaint] if complaint else [])
    assert all("--add-config" in p.next and "topic flights" in str(p) for p in problems)


def test_the_end_is_the_last_stable_offset_and_what_lies_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {IsolationLevel.READ_COMMITTED: {0: 5, 1: 9}, IsolationLevel.READ_UNCOMMITTED: {0: 17, 1: 9}}
    monkeypatch.setattr(log, "_ask_offsets_now", lambda settings, topics, spec, isolation: {
        topic: {p: SimpleNamespace(offset=offset) for p, offset in ends[isolation].items()} for topic in topics})
    assert log.end_offsets(SETTINGS, ["flights"]) == {"flights": {0: 5, 1: 9}}
    assert log.open_transactions(SETTINGS, ["flights"]) == {"flights": {0: 12}}
    ends[IsolationLevel.READ_UNCOMMITTED] = ends[IsolationLevel.READ_COMMITTED]
    assert log.open_transactions(SETTINGS, ["flights"]) == {}


def test_partitions_without_a_record_so_late_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def answer(settings: Any, topics: list[str], spec: Any, isolation: Any) -> dict[str, dict[int, Any]]:
        asked.append(spec)
        return {topic: {0: SimpleNamespace(offset=5), 1: SimpleNamespace(offset=-1)} for topic in topics}

    monkeypatch.setattr(log, "_ask_offsets_now", answer)
    assert log.offsets_at(SETTINGS, ["flights"], 1_373_000_000_000) == {"flights": {0: 5}}
    assert [spec._value for spec in asked] == [1_373_000_000_000]
