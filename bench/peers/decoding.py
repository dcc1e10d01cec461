"""Records to flights with fastavro, for the peers that have no Avro of their own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import fastavro

from bench.peers.common import HEADER, header


def decoder(schemas: dict[int, str]) -> Callable[[bytes | None], dict[str, Any] | None]:
    """A function that gives a record's fields, or None where there is no flight: heartbeats and what is undecodable.

    Dates stay days since 1970: a datetime.date is a fifth of decoding a flight.
    """
    parsed = {
        header(identity): fastavro.parse_schema(_plain(json.loads(text)))
        for identity, text in schemas.items()
    }
    read = fastavro.schemaless_reader

    def decode(value: bytes | None) -> dict[str, Any] | None:
        if not value or (schema := parsed.get(value[:HEADER])) is None:
            return None
        try:
            flight: Any = read(io.BytesIO(value[HEADER:]), schema, None)
        except Exception:  # noqa: BLE001 - fastavro raises whatever the garbage leads it to
            return None
        return flight if isinstance(flight, dict) else None

    return decode


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    fields = [
        {**f, "type": f["type"]["type"] if isinstance(f["type"], dict) else f["type"]}
        for f in schema["fields"]
    ]
    return {**schema, "fields": fields}
