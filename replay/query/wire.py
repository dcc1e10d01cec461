"""Rows as lines of JSON, with their Python types: what a query's process sends to the one that asked."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

_TYPE, _VALUE = "type", "value"
_READ: dict[str, Callable[[Any], Any]] = {
    "bytes": base64.b64decode,
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "decimal": Decimal,
    "dict": dict,
    "interval": lambda parts: dt.timedelta(*parts),
    "time": dt.time.fromisoformat,
    "tuple": tuple,
    "uuid": uuid.UUID,
}


def dump(row: Sequence[Any]) -> bytes:
    """One row as a line."""
    return (
        json.dumps(
            [_nested(value) for value in row], default=_tagged, separators=(",", ":")
        ).encode()
        + b"\n"
    )


def load(line: bytes) -> list[Any]:
    """The row of a line."""
    found: list[Any] = json.loads(line, object_hook=_read)
    return found


def _nested(value: Any) -> Any:
    """What JSON would take for something else: a dict, of which keys may be any value, and a tuple."""
    if isinstance(value, Mapping):
        return {_TYPE: "dict", _VALUE: [[_nested(k), _nested(v)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TYPE: "tuple", _VALUE: [_nested(v) for v in value]}
    if isinstance(value, list):
        return [_nested(v) for v in value]
    return value


def _tagged(value: Any) -> Any:
    match value:
        case bytes() | bytearray() | memoryview():
            return {_TYPE: "bytes", _VALUE: base64.b64encode(value).decode()}
        case dt.datetime():  # before date, which it is as well
            return {_TYPE: "datetime", _VALUE: value.isoformat()}
        case dt.date():
            return {_TYPE: "date", _VALUE: value.isoformat()}
        case dt.time():
            return {_TYPE: "time", _VALUE: value.isoformat()}
        case dt.timedelta():
            return {_TYPE: "interval", _VALUE: [value.days, value.seconds, value.microseconds]}
        case Decimal():
            return {_TYPE: "decimal", _VALUE: str(value)}
        case uuid.UUID():
            return {_TYPE: "uuid", _VALUE: str(value)}
    return str(value)


def _read(tagged: dict[str, Any]) -> Any:
    return _READ[tagged[_TYPE]](tagged[_VALUE])
