"""Messages that Google's Protobuf wrote, as udfs/ reads them; and bytes that are none."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pandas as pd
import pytest

from udfs import protobuf
from udfs.rides import ride

# PyFlink brings it, without types.
descriptor_pb2: Any = import_module("google.protobuf.descriptor_pb2")
descriptor_pool: Any = import_module("google.protobuf.descriptor_pool")
message_factory: Any = import_module("google.protobuf.message_factory")
TYPES = descriptor_pb2.FieldDescriptorProto
FIELDS = {
    "ride_id": TYPES.TYPE_STRING,
    "area": TYPES.TYPE_STRING,
    "cents": TYPES.TYPE_INT64,
    "pooled": TYPES.TYPE_BOOL,
    "distance": TYPES.TYPE_DOUBLE,
    "driver": TYPES.TYPE_FIXED32,
}


def _message() -> Any:
    """The class of message Ride, with fields that the function does not know."""
    file = descriptor_pb2.FileDescriptorProto(name="rides.proto", package="taxi", syntax="proto3")
    message = file.message_type.add(name="Ride")
    for number, (name, kind) in enumerate(FIELDS.items(), 1):
        message.field.add(name=name, number=number, type=kind, label=TYPES.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("taxi.Ride"))


RIDE = _message()


def read(*payloads: bytes | None) -> list[list[Any]]:
    """What the function says of each."""
    found: list[list[Any]] = ride(pd.Series(payloads, dtype=object)).to_numpy().tolist()
    return found


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"ride_id": "r1", "area": "A", "cents": 1200, "pooled": True}, id="all"),
        pytest.param({"ride_id": "ü😀" * 100, "cents": -1}, id="negative"),
        pytest.param({"cents": 2**63 - 1}, id="largest"),
        pytest.param({"cents": -(2**63)}, id="smallest"),
        pytest.param({"ride_id": "r", "distance": 1.5, "driver": 7}, id="fields not known"),
    ],
)
def test_a_message_is_read_as_it_was_written(said: dict[str, Any]) -> None:
    defaults = {"ride_id": "", "area": "", "cents": 0, "pooled": False}
    wanted = {name: said.get(name, default) for name, default in defaults.items()}
    assert read(RIDE(**said).SerializeToString()) == [list(wanted.values())]


def test_the_last_of_two_values_counts() -> None:
    first, last = RIDE(ride_id="r1", cents=1), RIDE(cents=2)
    both = first.SerializeToString() + last.SerializeToString()
    assert read(both, None) == [["r1", "", 2, False], [None] * 4]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(None, id="none"),
        pytest.param(b"\x0a\x05r1", id="cut off"),
        pytest.param(b"\x08", id="no number"),
        pytest.param(b"\x18" + b"\xff" * 10, id="a number that does not end"),
        pytest.param(b"\x0b", id="a group"),
        pytest.param(b"\x02\x00", id="field 0"),
        pytest.param(b"\x00\x00", id="number 0"),
        pytest.param(bytes.fromhex("00000000080a02723112014118b0092001"), id="Confluent's frame"),
        pytest.param(bytes.fromhex("808080801001"), id="a field of 30 bits"),
        pytest.param(bytes.fromhex("8a80808080000131"), id="a tag of six bytes"),
        pytest.param(b"\x08\x01", id="a number for a text"),
        pytest.param(b"\x1a\x00", id="a text for a number"),
        pytest.param(b"\x0a\x01\xff", id="no UTF-8"),
    ],
)
def test_bytes_that_are_no_ride_are_none(payload: bytes | None) -> None:
    assert read(payload) == [[None] * 4]


def test_fixed_lengths_are_bytes() -> None:
    found = protobuf.fields(RIDE(distance=1.5, driver=7).SerializeToString())
    assert found == {5: b"\0\0\0\0\0\0\xf8?", 6: b"\x07\0\0\0"}
