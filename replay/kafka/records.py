"""Records as people and programs see them: decoded, or with the reason why not. Pure but for the decoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from replay.avro.json_scalars import text_or_hex
from replay.avro.json_values import to_json
from replay.kafka.decoding import UndecodableError
from replay.kafka.reading import ConsumedRecord

LONGEST = 300
"""Characters of a field's value that a line for people shows."""
_INDENT = "    "


class Decodes(Protocol):
    """`decoding.Decoder`."""

    def decode_as_written(self, value: bytes) -> Mapping[str, Any]:
        """A value's fields; UndecodableError says why not."""


@dataclass(frozen=True)
class RecordView:
    """What a record is."""

    partition: int
    offset: int
    appended: str
    kind: str
    """record, undecodable, tombstone (a key alone) or heartbeat (neither key nor value)."""
    key: Any = None
    value: Any = None
    reason: str = ""
    payload: str = ""
    headers: tuple[tuple[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For programs; `kappa topic produce --envelope` takes it back."""
        found: dict[str, Any] = {
            "partition": self.partition,
            "offset": self.offset,
            "appended": self.appended,
            "kind": self.kind,
            "key": self.key,
        }
        if self.kind == "undecodable":
            found |= {"reason": self.reason, "payload": self.payload}
        else:
            found["value"] = self.value
        return found | ({"headers": [list(h) for h in self.headers]} if self.headers else {})

    def lines(self, width: int) -> list[str]:
        """For people: where and when, and beneath it the fields, as many to a line as fit."""
        head = f"{self.partition}:{self.offset}  {self.appended}"
        if self.key is not None:
            head += f"  key {_short(self.key)}"
        if self.kind != "record":
            head += f"  {self.kind}"
        parts = [f"{_short(name)}: {_short(v)}" for name, v in (self.value or {}).items()]
        if self.kind == "undecodable":
            parts = [f"reason: {self.reason}", f"payload: {_short(self.payload)}"]
        parts += [f"header {name}: {_short(value)}" for name, value in self.headers]
        return [head, *_wrapped(parts, width)]


def show(
    decoder: Decodes,
    seen: ConsumedRecord,
    read: Callable[[bytes], Mapping[str, Any]] | None = None,
) -> RecordView:
    """Decode a record; RetryableError when the registry does not answer. `read`: for values that do not say how."""
    at = (seen.partition, seen.offset, instant(seen.timestamp))
    key = _key(decoder, seen.key)
    headers = tuple((name, text_or_hex(value)) for name, value in seen.headers)
    if seen.value is None:
        return RecordView(*at, "heartbeat" if key is None else "tombstone", key, headers=headers)
    try:
        value = to_json(dict((read or decoder.decode_as_written)(seen.value)))
    except UndecodableError as e:
        return RecordView(
            *at,
            "undecodable",
            key,
            reason=str(e),
            payload=f"hex:{seen.value.hex()}",
            headers=headers,
        )
    return RecordView(*at, "record", key, value, headers=headers)


def _key(decoder: Decodes, key: bytes | None) -> Any:
    """A key as text, or its fields where it is Avro in Confluent's form, as Debezium writes keys."""
    if key is not None and len(key) > 5 and key[0] == 0:
        try:
            return to_json(dict(decoder.decode_as_written(key)))
        except UndecodableError:
            pass
    return text_or_hex(key)


def instant(milliseconds: int) -> str:
    """ISO 8601 in UTC; the number itself where a calendar ends."""
    try:
        found = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def _short(value: Any) -> str:
    """On one line, without anything that a terminal would obey."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text if text.isprintable() else json.dumps(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _wrapped(parts: list[str], width: int) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(_INDENT + part)
    return lines
