"""Records of a topic in files, as the connector reads them in the place of Kafka's: see `RecordFiles.java`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fastavro

from replay.kafka.reading import ConsumedRecord

_BYTES = ["null", "bytes"]
_SCHEMA: Any = {
    "type": "record",
    "name": "Record",
    "namespace": "kappa.log",
    "fields": [
        {"name": "offset", "type": "long"},
        {"name": "timestamp", "type": "long"},
        {"name": "key", "type": _BYTES},
        {"name": "value", "type": _BYTES},
        {
            "name": "headers",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Header",
                    "fields": [
                        {"name": "key", "type": "string"},
                        {"name": "value", "type": _BYTES},
                    ],
                },
            },
        },
    ],
}


def write(folder: Path, partitions: Mapping[int, Iterable[ConsumedRecord]]) -> None:
    """A file for each partition. Its records are in order of their offsets, each with bytes as Kafka hands them out."""
    schema = fastavro.parse_schema(_SCHEMA)
    folder.mkdir(parents=True)
    for partition, records in partitions.items():
        with (folder / f"{partition}.avro").open("wb") as file:
            fastavro.writer(file, schema, map(_as_avro, records))


def _as_avro(record: ConsumedRecord) -> dict[str, Any]:
    return {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "value": record.value,
        "headers": [{"key": key, "value": value} for key, value in record.headers],
    }
