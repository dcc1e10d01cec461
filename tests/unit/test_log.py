"""What makes a log whole, and what makes a record decodable."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any, cast

import fastavro
import pytest
from confluent_kafka import IsolationLevel
from confluent_kafka.schema_registry.error import SchemaRegistryError

from replay import log
from replay.errors import RetryableError

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "int"}]}
SETTINGS: Any = SimpleNamespace(registry="http://registry")


class Registry:
    """Knows one schema; counts what it is asked; may be down."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.down = False

    def get_schema(self, identity: int) -> Any:
        self.asked.append(identity)
        if self.down:
            raise ConnectionError("connection refused")
        if identity != 7:
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return SimpleNamespace(schema_str=json.dumps(SCHEMA))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    fake = Registry()
    monkeypatch.setattr(log, "registry", lambda settings: fake)
    return fake


def value(identity: int = 7, **fields: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(cast(Any, SCHEMA)), fields or {"a": "x", "b": 1})
    return b"\0" + identity.to_bytes(4, "big") + body.getvalue()


def test_questions_share_a_connection() -> None:
    here, there = (cast(Any, SimpleNamespace(kafka={"bootstrap.servers": f"127.0.0.1:{port}"})) for port in (1, 2))
    assert log.admin(here) is log.admin(here)
    assert log.admin(here) is not log.admin(there)


def test_a_schema_is_asked_for_once(registry: Registry) -> None:
    decoder = log.Decoder(SETTINGS)
    assert [decoder.decode(value(a="x", b=n)) for n in range(3)] == [{"a": "x", "b": n} for n in range(3)]
    assert registry.asked == [7]


@pytest.mark.parametrize(("garbage", "reason"), [
    (b"", "not in Confluent's wire format"),
    (b"text", "not in Confluent's wire format"),
    (b"\1" + value()[1:], "not in Confluent's wire format"),
    (value()[:-1], "EOFError"),
    (value(8), "schema id 8 is not in the registry"),
], ids=["empty", "text", "wrong magic byte", "cut short", "unknown schema"])
def test_garbage_is_undecodable_for_a_reason(registry: Registry, garbage: bytes, reason: str) -> None:
    with pytest.raises(log.UndecodableError, match=reason):
        log.Decoder(SETTINGS).decode(garbage)


def test_an_id_learned_later_is_decoded_then(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = log.Decoder(SETTINGS)
    with pytest.raises(log.UndecodableError):
        decoder.decode(value(8))
    monkeypatch.setattr(registry, "get_schema", lambda identity: SimpleNamespace(schema_str=json.dumps(SCHEMA)))
    assert decoder.decode(value(8)) == {"a": "x", "b": 1}


def test_a_registry_that_is_down_makes_nothing_undecodable(registry: Registry) -> None:
    registry.down = True
    with pytest.raises(RetryableError, match="the schema registry does not answer"):
        log.Decoder(SETTINGS).decode(value())


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
    monkeypatch.setattr(log, "_offsets_now", lambda settings, topics, spec, isolation: {
        topic: dict(ends[isolation]) for topic in topics})
    assert log.end_offsets(SETTINGS, ["flights"]) == {"flights": {0: 5, 1: 9}}
    assert log.open_transactions(SETTINGS, ["flights"]) == {"flights": {0: 12}}
    ends[IsolationLevel.READ_UNCOMMITTED] = ends[IsolationLevel.READ_COMMITTED]
    assert log.open_transactions(SETTINGS, ["flights"]) == {}


def test_partitions_without_a_record_so_late_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def answer(settings: Any, topics: list[str], spec: Any, isolation: Any) -> dict[str, dict[int, int]]:
        asked.append(spec)
        return {topic: {0: 5, 1: -1} for topic in topics}

    monkeypatch.setattr(log, "_offsets_now", answer)
    assert log.offsets_at(SETTINGS, ["flights"], 1_373_000_000_000) == {"flights": {0: 5}}
    assert [spec._value for spec in asked] == [1_373_000_000_000]
