"""Rides of taxis: message Ride {string ride_id = 1; string area = 2; int64 cents = 3; bool pooled = 4;} of proto3."""

from __future__ import annotations

from typing import Any

import pandas as pd

from udfs import protobuf

COLUMNS = ("ride_id", "area", "cents", "pooled")
Ride = tuple[str, str, int, bool]


def ride(payloads: pd.Series[Any]) -> pd.DataFrame:
    """A ride for each message, with None in all columns for bytes that are no ride."""
    rides = [_ride(payload) or (None,) * len(COLUMNS) for payload in payloads]
    return pd.DataFrame(rides, columns=list(COLUMNS), dtype=object)


def _ride(payload: bytes | None) -> Ride | None:
    """A field that is not sent has its default; of a field that comes twice the last value counts."""
    if payload is None:
        return None
    try:
        found = protobuf.fields(payload)
        ride_id, area = (_text(found.get(number, b"")) for number in (1, 2))
        cents, pooled = (_number(found.get(number, 0)) for number in (3, 4))
    except ValueError:
        return None
    return ride_id, area, cents, pooled != 0


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("no text")
    return value.decode()


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("no varint")
    return value - 2**64 if value >= 2**63 else value
