"""Avro's binary encoding in one message, read strictly: no length is believed that the message cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_EMPTY_ITEMS = 100_000
"""Items of no bytes (nulls, empty records) in one message: their number is all that limits them."""
LONGEST_REASON = 300


class UndecodableError(Exception):
    """A value that is no record of the schema it names; the message says why, as the column `reason` does."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + "…")


class EndError(Exception):
    """The message ends within a value."""


class FieldPath:
    """Where a value stands in a record, for reasons: `items[].price`, of the records of `schema id 7`."""

    def __init__(self, written: str, path: str = "") -> None:
        self._written, self._path = written, path

    def field(self, name: str) -> FieldPath:
        return FieldPath(self._written, f"{self._path}.{name}" if self._path else name)

    def within(self, step: str) -> FieldPath:
        return FieldPath(self._written, self._path + step)

    def reject(self, why: str) -> UndecodableError:
        where = f"field {self._path}" if self._path else "the record"
        return UndecodableError(f"{where}: {why} ({self._written})")


class Body:
    """The bytes of one message, and how far they are read."""

    __slots__ = ("data", "empty_items", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position, self.empty_items = data, position, 0

    def take(self, length: int) -> bytes:
        start = self.position
        end = self.position = start + length
        if end > len(self.data):
            raise EndError
        return self.data[start:end]

    def length(self, place: FieldPath) -> int:
        length = self.int64(place)
        if not 0 <= length <= len(self.data):
            raise place.reject(f"a length of {length} in {len(self.data)} bytes")
        return length

    def int64(self, place: FieldPath) -> int:
        data, position, encoded, shift = self.data, self.position, 0, 0
        try:
            while True:
                byte = data[position]
                position += 1
                if shift == 63 and byte > 1:
                    raise place.reject("a number of more than 64 bits")
                encoded |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
        except IndexError:
            raise EndError from None
        self.position = position
        return (encoded >> 1) ^ -(encoded & 1)

    def int32(self, place: FieldPath) -> int:
        value = self.int64(place)
        if not -(2**31) <= value < 2**31:
            raise place.reject(f"{value} is no int")
        return value

    def boolean(self, place: FieldPath) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise place.reject(f"byte 0x{byte:02x} is no boolean")
        return byte == 1

    def string(self, place: FieldPath) -> str:
        try:
            return self.take(self.length(place)).decode()
        except UnicodeDecodeError:
            raise place.reject("bytes that are no UTF-8") from None

    def count(self, empty: bool, place: FieldPath) -> int:
        """The number of items in the next block of an array or a map, 0 at its end."""
        count = self.int64(place)
        if count < 0:
            count = -count
            self.int64(place)  # the block's size in bytes, by which readers may skip it
        if empty:
            if count > MAX_EMPTY_ITEMS - self.empty_items:
                raise place.reject(f"more than {MAX_EMPTY_ITEMS} items of no bytes in a message")
            self.empty_items += count
        elif count > len(self.data) - self.position:
            shown = count if count < 2**63 else -count
            raise place.reject(f"a count of {shown} items in {len(self.data)} bytes")
        return count

    def branch(self, branches: int, place: FieldPath) -> int:
        index = self.int64(place)
        if not 0 <= index < branches:
            raise place.reject(f"no branch {index} of the union")
        return index


Reader = Callable[[Body], Any]
