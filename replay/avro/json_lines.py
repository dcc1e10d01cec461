"""Lines of JSON as records of a topic: what stands in each, or which line is wrong and where. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jobs.product.avro_schema import Schema
from replay.avro.json_scalars import SIMPLE, UnfitError, bytes_of, from_tagged, shorten
from replay.avro.json_values import AvroValues, JsonValueError, convert, parse

_PER_MILLI = {"timestamp-millis": 1, "timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}
_ENVELOPE = ("key", "value", "payload", "timestamp", "partition", "headers")
_OF_PEEK = ("appended", "offset", "kind", "reason")
_INSTANT = Schema("long", logical="timestamp-millis")


@dataclass(frozen=True)
class Form:
    """What a line is, besides a value."""

    key: str | None = None
    """A field whose text is the record's key."""
    timestamp: str | None = None
    """A field that dates the record."""
    envelope: bool = False
    """A line is an object with key, value, timestamp, partition and headers."""


@dataclass(frozen=True)
class Message:
    """A record to be appended."""

    line: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int | None = None
    """Milliseconds since the epoch; None: now."""
    partition: int | None = None
    """None: by the key. A heartbeat goes to every partition."""
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def heartbeat(self) -> bool:
        """Neither key nor value: it carries the log's clock on."""
        return self.value is None and self.key is None


class LineError(Exception):
    """A line that is no record: its number, the field, what was expected, what was found."""

    def __init__(self, line: int, problem: JsonValueError) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


class AvroRecords:
    """Values as Avro behind a header that says what they were written with."""

    def __init__(self, schema: str, header: bytes) -> None:
        self._values, self._header = AvroValues(schema), header

    def encode(self, value: Any) -> bytes:
        """A record; JsonValueError when the schema cannot hold it."""
        return self._header + self._values.encode(value)

    def field(self, name: str) -> Schema:
        """A field's type; JsonValueError for one that the schema does not have."""
        fields = {f.name: f.schema for f in self._values.schema.fields}
        if name not in fields:
            close = difflib.get_close_matches(name, fields, 1)
            raise JsonValueError(
                name,
                f"a field of {self._values.schema.short_name} ({', '.join(fields)})",
                repr(name) + (f"; did you mean {close[0]}?" if close else ""),
            )
        return fields[name]


class JsonRecords:
    """Values as documents of JSON, without a schema."""

    def encode(self, value: Any) -> bytes:
        """A document, with all digits of its numbers; JsonValueError of NaN and infinities."""
        if not isinstance(value, dict):
            raise JsonValueError("", "an object", shorten(value))
        return _document(value).encode()

    def field(self, name: str) -> Schema:
        """Whatever the field is: a time that dates a record is a text, or a number of milliseconds."""
        return _INSTANT


class Lines:
    """Turns lines into messages."""

    def __init__(self, records: AvroRecords | JsonRecords, form: Form) -> None:
        """JsonValueError when a field that the form names is not one of the schema."""
        self._records, self._form = records, form
        self._clock: int | None = None
        for name in filter(None, (form.key, form.timestamp)):
            records.field(name)
        if form.timestamp:
            self._dating = _dating(records.field(form.timestamp), form.timestamp)

    def read(self, lines: Iterable[bytes]) -> Iterator[Message | LineError]:
        """A message or an error for each line, in order."""
        for number, line in enumerate(lines, 1):
            try:
                yield self._message(number, _text(line, number))
            except JsonValueError as e:
                yield LineError(number, e)

    def _message(self, number: int, text: str) -> Message:
        found = parse(text) if text else None
        if found is None:
            return Message(number, None, timestamp=self._clock)
        if self._form.envelope:
            return self._enveloped(number, found)
        value = self._records.encode(found)
        timestamp = self._dated(found) if self._form.timestamp else None
        return Message(number, value, self._keyed(found) if self._form.key else None, timestamp)

    def _keyed(self, value: Any) -> bytes:
        name = self._form.key or ""
        key = value.get(name)
        if isinstance(key, str):
            return key.encode()
        if isinstance(key, Decimal):
            return str(key).encode()
        if key is None or isinstance(key, dict | list):
            raise JsonValueError(name, "a text or a number for the key", shorten(key))
        return json.dumps(key).encode()

    def _dated(self, value: Any) -> int:
        name = self._form.timestamp or ""
        schema, per_milli = self._dating
        try:
            found = SIMPLE[schema.logical or schema.type](schema, value.get(name)) // per_milli
        except UnfitError as e:
            raise JsonValueError(name, str(e), shorten(value.get(name))) from None
        return self._not_before_1970(name, found)

    def _not_before_1970(self, path: str, timestamp: int) -> int:
        if timestamp < 0:
            raise JsonValueError(
                path, "a time from 1970 on: Kafka dates no record earlier", f"{timestamp} ms"
            )
        if self._form.timestamp:
            self._clock = max(timestamp, self._clock or 0)
        return timestamp

    def _enveloped(self, number: int, found: Any) -> Message:
        if not isinstance(found, dict):
            raise JsonValueError("", f"an object with {', '.join(_ENVELOPE)}", shorten(found))
        if unknown := [name for name in found if name not in _ENVELOPE + _OF_PEEK]:
            raise JsonValueError(unknown[0], f"one of {', '.join(_ENVELOPE)}", repr(unknown[0]))
        return Message(
            number,
            self._payload(found),
            _key(found.get("key")),
            self._instant(found),
            _partition(found.get("partition")),
            _headers(found.get("headers")),
        )

    def _payload(self, found: dict[str, Any]) -> bytes | None:
        if "payload" in found:
            if (payload := from_tagged(found["payload"])) is None or "value" in found:
                raise JsonValueError(
                    "payload",
                    'the record\'s bytes, "hex:…" or "base64:…", in place of a value',
                    shorten(found["payload"]),
                )
            return payload
        if found.get("value") is None:
            return None
        try:
            return self._records.encode(found["value"])
        except JsonValueError as e:
            raise JsonValueError(
                f"value.{e.path}" if e.path else "value", e.expected, e.found
            ) from None

    def _instant(self, found: dict[str, Any]) -> int | None:
        name = "timestamp" if "timestamp" in found else "appended"
        if found.get(name) is None:
            return None
        return self._not_before_1970(name, convert(_INSTANT, found[name], name))


def _document(value: Any) -> str:
    """JSON of what `parse` makes of JSON."""
    match value:
        case dict():
            fields = (
                f"{json.dumps(k, ensure_ascii=False)}: {_document(v)}" for k, v in value.items()
            )
            return "{" + ", ".join(fields) + "}"
        case list():
            return "[" + ", ".join(map(_document, value)) + "]"
        case Decimal():
            return str(value)
        case float():
            raise JsonValueError("", "numbers that JSON has", str(value))
        case _:
            return json.dumps(value, ensure_ascii=False)


def _dating(schema: Schema, name: str) -> tuple[Schema, int]:
    """The type of the field that dates records, and its units in a millisecond."""
    others = [b for b in schema.branches if b.type != "null"]
    schema = others[0] if len(others) == 1 else schema
    if schema.logical in _PER_MILLI:
        return schema, _PER_MILLI[schema.logical]
    if schema.type == "long" and not schema.logical:
        return schema, 1
    raise JsonValueError(
        name,
        "a timestamp-millis, timestamp-micros or timestamp-nanos, or a long of milliseconds",
        schema.logical or schema.short_name,
    )


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as e:
        raise JsonValueError("", "text in UTF-8", f"{e.reason} at byte {e.start}") from None


def _key(key: Any) -> bytes | None:
    if key is not None and not isinstance(key, str):
        raise JsonValueError("key", 'a string, "hex:…" or "base64:…", or null', shorten(key))
    return None if key is None else bytes_of(key)


def _partition(partition: Any) -> int | None:
    if partition is not None and (
        not isinstance(partition, int) or isinstance(partition, bool) or partition < 0
    ):
        raise JsonValueError("partition", "the number of a partition, or null", shorten(partition))
    return partition


def _headers(headers: Any) -> tuple[tuple[str, bytes | None], ...]:
    pairs = list(headers.items()) if isinstance(headers, dict) else headers or []
    if not isinstance(pairs, list) or not all(_is_header(pair) for pair in pairs):
        raise JsonValueError(
            "headers", 'an object of strings, such as {"source": "shop"}', shorten(headers)
        )
    return tuple((name, None if value is None else bytes_of(value)) for name, value in pairs)


def _is_header(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and (pair[1] is None or isinstance(pair[1], str))
    )
