"""Values that people write in JSON as messages of Protobuf, by Google's own rules for JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from replay.avro.json_values import JsonValueError
from replay.avro.protobuf_records import described_message, written_indexes

_NO_ID = bytes(5)
"""Magic byte and schema id zero: the id is passed over."""


class ProtobufValues:
    """Writes messages of a schema's columns."""

    def __init__(self, schema: str, framed: bool, schema_id: int = 0) -> None:
        """`framed`: behind magic byte, schema id and the message's indexes."""
        from google.protobuf import message_factory

        described = json.loads(schema)
        self.name: str = described["message"]
        descriptor = described_message(described)
        self.fields: tuple[str, ...] = tuple(f.name for f in descriptor.fields)
        self._class = message_factory.GetMessageClass(descriptor)
        header = _NO_ID[:1] + schema_id.to_bytes(4, "big") + written_indexes(described["indexes"])
        self._header = header if framed else b""

    def encode(self, value: Any) -> bytes:
        """A record; JsonValueError for a value that is not the message's. What is required may be missing."""
        from google.protobuf import json_format

        message = self._class()
        try:
            json_format.Parse(exact_json(value), message)
        except (json_format.ParseError, ValueError) as e:
            raise JsonValueError("", f"a {self.name}, as Protobuf writes it in JSON", str(e)) from e
        body: bytes = message.SerializePartialToString(deterministic=True)
        return self._header + body


def exact_json(value: Any) -> str:
    """JSON with every digit of a number."""
    match value:
        case dict():
            pairs = (f"{json.dumps(str(k))}: {exact_json(v)}" for k, v in value.items())
            return "{" + ", ".join(pairs) + "}"
        case list():
            return "[" + ", ".join(map(exact_json, value)) + "]"
        case Decimal():
            return str(value)
    return json.dumps(value, ensure_ascii=False)
