"""Documents as rows or reasons, as kappa.format.DecodeLines has them in Java."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.product.avro_schema import parse
from replay.avro.body import UndecodableError
from replay.avro.json_records import json_reader
from tests.avro_vectors import rendered

VECTORS = Path(__file__).parent / "vectors" / "json.json"


def decode(avro: str, document: bytes) -> dict[str, Any]:
    """{"value": …} or {"reason": …}."""
    schema = parse(avro)
    try:
        return {"value": rendered(json_reader(schema)(document), schema)}
    except UndecodableError as e:
        return {"reason": str(e)}


def document(vector: dict[str, Any]) -> bytes:
    """The bytes of a vector: a text, or hexadecimal where they are no text."""
    found: str | None = vector.get("text")
    return bytes.fromhex(vector["hex"]) if found is None else found.encode()


def groups() -> list[dict[str, Any]]:
    """Schemas, each with the documents that it reads."""
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())
    return found
