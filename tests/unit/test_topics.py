"""Topics: what an existing one must be like, and how records are shown."""

from __future__ import annotations

from typing import Any

import pytest

from replay.errors import RefusedError
from replay.kafka import log, records, topics, whole_log
from replay.kafka.decoding import UndecodableError
from replay.kafka.reading import ConsumedRecord, merged
from replay.kafka.topics import Topic, Wanted

NOON = 1_717_416_000_000


def topic(**config: str) -> Topic:
    return Topic("orders", 1, {0: 0, 1: 0}, {0: 5, 1: 7}, {**log.TOPIC_CONFIG, **config})


@pytest.mark.parametrize("wanted", [Wanted("orders"), Wanted("orders", 2), Wanted("orders", 2, 1)])
def test_a_topic_that_is_as_wanted_is_left_alone(wanted: Wanted) -> None:
    topics.refuse_other(wanted, topic())


@pytest.mark.parametrize(
    ("wanted", "config", "said"),
    [
        (
            Wanted("orders", 3),
            {},
            "topic orders exists with other partitions\n  expected: 3\n  found:    2\n"
            "  next:     kappa topic create orders  (as it is)",
        ),
        (
            Wanted("orders", replication=3),
            {},
            "topic orders exists with another replication factor\n  expected: 3\n"
            "  found:    1\n  next:     kappa topic create orders  (as it is)",
        ),
        (
            Wanted("orders"),
            {"message.timestamp.type": "LogAppendTime"},
            "topic orders exists with other settings\n  expected: message.timestamp.type=CreateTime\n"
            "  found:    message.timestamp.type=LogAppendTime\n"
            "  next:     kappa topic create orders --log-append-time  (as it is), or another topic",
        ),
        (
            Wanted("orders"),
            {"retention.ms": "604800000"},
            "topic orders exists with other settings\n  expected: retention.ms=-1\n  found:    retention.ms=604800000\n"
            "  next:     kafka-configs --alter --entity-type topics --entity-name orders --add-config retention.ms=-1",
        ),
        (
            Wanted("orders", tiered=True),
            {},
            "topic orders exists with other settings\n  expected: remote.storage.enable=true\n"
            "  found:    remote.storage.enable=None\n  next:     kafka-configs --alter --entity-type topics "
            "--entity-name orders --add-config remote.storage.enable=true",
        ),
    ],
    ids=["partitions", "replication", "dated by the broker", "forgets", "on local disks alone"],
)
def test_a_topic_that_differs_is_refused(wanted: Wanted, config: dict[str, str], said: str) -> None:
    with pytest.raises(RefusedError) as e:
        topics.refuse_other(wanted, topic(**config))
    assert str(e.value) == said


def test_a_new_topic_keeps_everything() -> None:
    assert whole_log.config_problems("orders", Wanted("orders", log_append_time=True).config) == []
    assert (
        Wanted("orders", log_append_time=True).config["message.timestamp.type"] == "LogAppendTime"
    )


def test_a_topic_that_was_cut_is_not_whole() -> None:
    cut = Topic("orders", 1, {0: 3}, {0: 5}, log.TOPIC_CONFIG)
    assert [(p.found, p.lost) for p in cut.problems] == [("it begins at offset 3", True)]
    assert cut.offsets == 2


class Decoder:
    """Knows the values that begin with a letter."""

    def decode_as_written(self, value: bytes) -> dict[str, Any]:
        if not value[:1].isalpha():
            raise UndecodableError("magic byte is 0x01, not 0x00")
        return {"id": value.decode(), "note": None, "text": "a\nb\x1b[31m"}


def shown(key: bytes | None, value: bytes | None, **more: Any) -> records.RecordView:
    return records.show(Decoder(), ConsumedRecord(1, 42, NOON + 5, key, value, **more))


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        (b"k", b"x", "record"),
        (b"k", b"\1x", "undecodable"),
        (b"k", None, "tombstone"),
        (None, None, "heartbeat"),
    ],
)
def test_every_record_has_a_kind(key: bytes | None, value: bytes | None, kind: str) -> None:
    assert shown(key, value).kind == kind


def test_a_record_for_people_obeys_the_width_and_no_escape_sequence() -> None:
    lines = shown(b"k", b"x" * 30).lines(45)
    assert lines == [
        "1:42  2024-06-03T12:00:00.005Z  key k",
        f"    id: {'x' * 30}",
        '    note: null  text: "a\\nb\\u001b[31m"',
    ]


def test_a_long_value_is_cut_for_people_and_whole_for_programs() -> None:
    long = shown(None, b"x" * 6_000_000)
    assert long.lines(80)[1].endswith("xxx… (6,000,000 characters)")
    assert len(long.as_dict()["value"]["id"]) == 6_000_000


def test_what_cannot_be_decoded_is_shown_with_its_reason() -> None:
    assert shown(b"\0\xff", b"\1\2", headers=(("source", b"shop"),)).as_dict() == {
        "partition": 1,
        "offset": 42,
        "appended": "2024-06-03T12:00:00.005Z",
        "kind": "undecodable",
        "key": "hex:00ff",
        "reason": "magic byte is 0x01, not 0x00",
        "payload": "hex:0102",
        "headers": [["source", "shop"]],
    }


def test_partitions_are_merged_by_their_clocks() -> None:
    def seen(partition: int, offset: int, timestamp: int) -> ConsumedRecord:
        return ConsumedRecord(partition, offset, timestamp, None, None)

    found = merged([seen(0, 0, 10), seen(0, 1, 5), seen(1, 0, 7), seen(1, 1, 20), seen(0, 2, 30)])
    assert [(s.partition, s.offset) for s in found] == [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2)]
