"""Fields of Protobuf messages by their wire format, for topics of bytes."""

from __future__ import annotations

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_TAG = 5  # bytes
_LENGTHS = {FIXED64: 8, FIXED32: 4}


def fields(message: bytes) -> dict[int, int | bytes]:
    """Number of a field → its last value, as it is written; ValueError for bytes that are no message, or have groups.

    Varints are integers without sign, all else is bytes.
    """
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, behind = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0 or tag >= 2**32 or behind - at > _LONGEST_TAG:
            raise ValueError(f"no field at byte {at}")
        at = behind
        if kind == VARINT:
            found[number], at = _varint(message, at)
            continue
        length = _LENGTHS.get(kind)
        if kind == BYTES:
            length, at = _varint(message, at)
        if length is None or at + length > len(message):
            raise ValueError(f"no field at byte {at}")
        found[number] = message[at : at + length]
        at += length
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
    raise ValueError(f"no number at byte {at}")
