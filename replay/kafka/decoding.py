"""Decodes the values of topics, apart from Flink: an independent witness of what the job made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from confluent_kafka.schema_registry.error import SchemaRegistryError

from jobs.product.avro_schema import Schema, SchemaError, parse
from replay.avro.body import UndecodableError
from replay.avro.reader import record_reader
from replay.kafka.log import is_unknown, referenced, registry, registry_down
from replay.settings import Settings

__all__ = ["Decoder", "UndecodableError"]

_HEADER = 5  # Confluent's wire format: a zero byte, then the schema's id in four bytes

_Reads = Callable[[bytes, int], dict[str, Any]]


class Decoder:
    """Values of topics as records of the schemas that a release reads them with."""

    def __init__(self, settings: Settings, schemas: Mapping[str, str]) -> None:
        """`schemas`: the reader schema of each topic, by its name in Kafka, as JSON."""
        self._settings = settings
        self._registry = registry(settings)
        self._readers = {topic: parse(text) for topic, text in schemas.items()}
        self._writers: dict[int, Schema] = {}
        self._reads: dict[tuple[str, int], _Reads] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._registry.__exit__(*error)  # type: ignore[no-untyped-call]

    def decode(self, topic: str, value: bytes) -> dict[str, Any]:
        """A record's fields; UndecodableError says why not, RetryableError when the registry is down."""
        return self._read(topic, self._id(value))(value, _HEADER)

    def decode_as_written(self, value: bytes) -> dict[str, Any]:
        """The same by the schema that the record was written with, whatever a release reads it with."""
        schema_id = self._id(value)
        return record_reader(self._writer(schema_id), self._writer(schema_id), schema_id)(
            value, _HEADER
        )

    def _read(self, topic: str, schema_id: int) -> _Reads:
        known = self._reads.get((topic, schema_id))
        if known is None:
            known = record_reader(self._writer(schema_id), self._readers[topic], schema_id)
            self._reads[topic, schema_id] = known
        return known

    @staticmethod
    def _id(value: bytes) -> int:
        if not value:
            raise UndecodableError("empty value")
        if value[0] != 0:
            raise UndecodableError(f"magic byte is 0x{value[0]:02x}, not 0x00")
        if len(value) < _HEADER:
            raise UndecodableError(f"too short for a schema id: {len(value)} bytes")
        return int.from_bytes(value[1:_HEADER], "big", signed=True)

    def _writer(self, schema_id: int) -> Schema:
        if schema_id not in self._writers:
            try:
                found = self._registry.get_schema(schema_id)
                if found.schema_type not in (None, "AVRO"):
                    raise UndecodableError(
                        f"schema id {schema_id} is {found.schema_type}, not AVRO"
                    )
                others = referenced(self._registry, found.references)
                self._writers[schema_id] = parse(
                    found.schema_str or "null", referenced=others, strict=False
                )
            except UndecodableError:
                raise
            except SchemaError as e:
                raise UndecodableError(f"schema id {schema_id} is not valid Avro: {e}") from e
            except SchemaRegistryError as e:
                if is_unknown(e):
                    raise UndecodableError(
                        f"schema id {schema_id} is unknown to the registry"
                    ) from e
                raise registry_down(self._settings, e) from e
            except Exception as e:
                raise registry_down(self._settings, e) from e
        return self._writers[schema_id]
