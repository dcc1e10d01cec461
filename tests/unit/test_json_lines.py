"""Lines as records: keys, timestamps, heartbeats, envelopes, and errors that name the line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replay.avro.json_lines import AvroRecords, Form, JsonRecords, LineError, Lines, Message
from replay.avro.json_values import JsonValueError

SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "fields": [
            {"name": "order_id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "ms", "type": ["null", "long"], "default": None},
            {"name": "price", "type": "double", "default": 0},
        ],
    }
)
NOON = 1_717_416_000_000  # 2024-06-03T12:00:00Z


def line(order: str = "o1", at: str = "2024-06-03T12:00:00Z", **more: Any) -> str:
    return json.dumps({"order_id": order, "at": at, **more})


def read(*lines: str | bytes, **form: Any) -> list[Message | LineError]:
    encoded = [text if isinstance(text, bytes) else f"{text}\n".encode() for text in lines]
    return list(Lines(AvroRecords(SCHEMA, bytes([0, 0, 0, 0, 7])), Form(**form)).read(encoded))


def message(text: str, **form: Any) -> Message:
    (found,) = read(text, **form)
    assert isinstance(found, Message), found
    return found


def problem(text: str | bytes, **form: Any) -> tuple[str, str, str]:
    (found,) = read(text, **form)
    assert isinstance(found, LineError)
    return found.problem.path, found.problem.expected, found.problem.found


def test_a_value_has_confluents_header() -> None:
    found = message(line())
    assert found.value is not None
    assert found.value[:5] == b"\0\0\0\0\7"
    assert (found.key, found.timestamp, found.partition, found.heartbeat) == (
        None,
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("field", "more", "key"),
    [("order_id", {}, b"o1"), ("ms", {"ms": 5}, b"5"), ("price", {"price": 1.50}, b"1.5")],
)
def test_a_fields_text_is_the_key(field: str, more: dict[str, Any], key: bytes) -> None:
    assert message(line(**more), key=field).key == key


def test_a_key_that_is_null_is_an_error() -> None:
    assert problem(line(), key="ms") == ("ms", "a text or a number for the key", "null")


@pytest.mark.parametrize(
    ("field", "more", "timestamp"),
    [("at", {}, NOON), ("at", {"at": 1_717_416_000_123_456}, NOON + 123), ("ms", {"ms": 5}, 5)],
)
def test_a_field_dates_the_record_in_milliseconds(
    field: str, more: dict[str, Any], timestamp: int
) -> None:
    text = json.dumps({"order_id": "o1", "at": "2024-06-03T12:00:00Z", **more})
    assert message(text, timestamp=field).timestamp == timestamp


def test_a_record_is_not_dated_before_1970() -> None:
    assert problem(line(at="1969-12-31T23:59:59Z"), timestamp="at") == (
        "at",
        "a time from 1970 on: Kafka dates no record earlier",
        "-1000 ms",
    )


@pytest.mark.parametrize("text", ["", "  ", "null"])
def test_an_empty_line_is_a_heartbeat(text: str) -> None:
    found = message(text)
    assert (found.heartbeat, found.timestamp) == (True, None)


def test_a_heartbeat_is_dated_like_the_newest_record_before_it() -> None:
    early, late = line(at="2024-06-03T11:00:00Z"), line()
    found = read(late, early, "", timestamp="at")
    assert [m.timestamp for m in found if isinstance(m, Message)] == [NOON, NOON - 3_600_000, NOON]


@pytest.mark.parametrize(
    ("form", "path", "found"),
    [
        ({"key": "ordr_id"}, "ordr_id", "'ordr_id'; did you mean order_id?"),
        ({"timestamp": "price"}, "price", "double"),
        ({"timestamp": "order_id"}, "order_id", "string"),
    ],
)
def test_options_name_fields_of_the_schema(form: dict[str, str], path: str, found: str) -> None:
    with pytest.raises(JsonValueError) as e:
        read(line(), **form)
    assert (e.value.path, e.value.found) == (path, found)


def test_an_envelope_has_everything() -> None:
    text = json.dumps(
        {
            "key": "k",
            "value": json.loads(line()),
            "timestamp": "2024-06-03T12:00:00Z",
            "partition": 1,
            "headers": {"source": "shop", "raw": "hex:00ff", "none": None},
        }
    )
    found = message(text, envelope=True)
    assert (found.key, found.timestamp, found.partition) == (b"k", NOON, 1)
    assert found.headers == (("source", b"shop"), ("raw", b"\0\xff"), ("none", None))
    assert found.value == message(line()).value


def test_an_envelope_writes_tombstones_heartbeats_and_bytes_as_they_are() -> None:
    tombstone, heartbeat, garbage = (
        message(json.dumps(e), envelope=True)
        for e in ({"key": "hex:00", "value": None}, {"timestamp": NOON}, {"payload": "base64:AAE="})
    )
    assert (tombstone.key, tombstone.value, tombstone.heartbeat) == (b"\0", None, False)
    assert (heartbeat.heartbeat, heartbeat.timestamp) == (True, NOON)
    assert garbage.value == b"\0\1"


@pytest.mark.parametrize(
    ("envelope", "path"),
    [
        ({"value": {"order_id": 5, "at": 0}}, "value.order_id"),
        ({"key": 5}, "key"),
        ({"partition": -1}, "partition"),
        ({"headers": {"a": 1}}, "headers"),
        ({"payload": "00"}, "payload"),
        ({"valeu": {}}, "valeu"),
        ({"timestamp": "2024"}, "timestamp"),
    ],
)
def test_a_wrong_envelope_names_its_part(envelope: dict[str, Any], path: str) -> None:
    assert problem(json.dumps(envelope), envelope=True)[0] == path


def test_every_bad_line_is_told_by_number_and_field() -> None:
    found = read(line(), '{"order_id": 1', line(order="o2", pric=5), b"\xff\n", line())
    assert [str(f) for f in found if isinstance(f, LineError)] == [
        'line 2: the value: expected JSON, found Expecting \',\' delimiter at column 15: "{\\"order_id\\": 1"',
        "line 3: pric: expected a field of Order (order_id, at, ms, price), found 'pric'; did you mean price?",
        "line 4: the value: expected text in UTF-8, found invalid start byte at byte 0",
    ]
    assert [f.line for f in found] == [1, 2, 3, 4, 5]


def test_a_byte_order_mark_is_not_part_of_the_first_line() -> None:
    assert isinstance(read(b"\xef\xbb\xbf" + line().encode())[0], Message)


def plain(*lines: str, **form: Any) -> list[Message | LineError]:
    return list(Lines(JsonRecords(), Form(**form)).read([text.encode() for text in lines]))


def test_a_document_keeps_every_digit_and_its_fields_in_their_order() -> None:
    (found,) = plain('{"b": 1.10, "a": [12345678901234567890, 1e400, true, null, "ü\\n"]}')
    assert isinstance(found, Message)
    assert (
        found.value
        == '{"b": 1.10, "a": [12345678901234567890, 1E+400, true, null, "ü\\n"]}'.encode()
    )


def test_a_document_has_its_key_and_date_from_whatever_field_it_is_told() -> None:
    (found,) = plain('{"id": 7, "at": "2024-06-03T12:00:00Z"}', key="id", timestamp="at")
    assert isinstance(found, Message)
    assert (found.key, found.timestamp) == (b"7", NOON)
    (found,) = plain('{"key": "k", "value": {"a": 1.5}, "timestamp": 1}', envelope=True)
    assert isinstance(found, Message)
    assert (found.key, found.value, found.timestamp) == (b"k", b'{"a": 1.5}', 1)


@pytest.mark.parametrize("text", ['{"a": NaN}', "[1]", '"a"', '{"a": 1, "a": 2}', "{"])
def test_a_line_that_is_no_document_is_refused(text: str) -> None:
    (found,) = plain(text)
    assert isinstance(found, LineError)
