"""What the records of a topic are read by: one Avro schema for each topic, whatever its format."""

from __future__ import annotations

import json
from pathlib import Path

from jobs.product import json_columns, protobuf_files
from jobs.product.avro_fingerprint import fingerprint
from jobs.product.avro_schema import SchemaError, parse
from jobs.product.folder import Product, ProductError
from jobs.product.formats import Format, KeyFormat

PAYLOAD = "payload"
"""The column of a topic of bytes or of text."""
_RAW = {"STRING": "string", "BYTES": "bytes", "INT": "int", "BIGINT": "long"}


def schema_text(product: Product, name: str) -> str:
    """The Avro schema of a topic of product.yaml, on one line; ProductError for a file that is no schema."""
    topic = product.settings.topics[name]
    if not topic.format.suffix:
        return payload_schema(topic.format)
    file = product.schema_file(product.settings.kafka_name(name))
    if topic.format.is_protobuf:
        return _read_message(file, topic.message)
    return _read(file, topic.format.is_json)


def writer_texts(product: Product, name: str) -> tuple[str, ...]:
    """The Avro schemas by which records of a topic name what they were written with, in an order of their own.

    ProductError for one that is no record, and for two that a record could not tell apart.
    """
    if product.settings.topics[name].format is not Format.avro_single_object:
        return ()
    own = product.schema_file(product.settings.kafka_name(name))
    found: dict[bytes, tuple[Path, str]] = {}
    for file in (own, *product.writer_files(name)):
        text = _read(file, is_json=False)
        try:
            schema = parse(text, strict=False)
        except SchemaError as e:
            raise ProductError(file, e.expected, e.found) from e
        if schema.type != "record":
            raise ProductError(file, "a record at the top of the schema", schema.short_name)
        written = fingerprint(schema)
        if written in found:
            raise ProductError(
                file,
                "a schema that records can tell from the topic's others: names, types or symbols differ",
                f"the fingerprint {written.hex()}, as {found[written][0].relative_to(product.folder)} has",
            )
        found[written] = (file, text)
    return tuple(found[key][1] for key in sorted(found))


def payload_schema(written: Format) -> str:
    """Of bytes or of text."""
    return _one_column(PAYLOAD, "string" if written is Format.text else "bytes")


def key_schema_text(product: Product, name: str) -> str | None:
    """The same of the keys of its records; None: nothing of them is a column."""
    key = product.settings.topics[name].record_key
    if key is None:
        return None
    if key.format is KeyFormat.raw:
        (column, type_), *_ = key.columns.items()
        return _one_column(column, _RAW[type_])
    return _read(product.key_schema_file(product.settings.kafka_name(name)), key.format.is_json)


def _read(file: Path, is_json: bool) -> str:
    try:
        text = file.read_text()
        if is_json:
            return json_columns.avro_text(text)
        return json.dumps(json.loads(text), ensure_ascii=False)
    except SchemaError as e:
        raise ProductError(file, e.expected, e.found) from e
    except (ValueError, RecursionError) as e:
        raise ProductError(file, "an Avro schema (JSON)", str(e)) from e


def _read_message(file: Path, message: str | None) -> str:
    try:
        return protobuf_files.schema_of(file, message)
    except SchemaError as e:
        raise ProductError(file, e.expected, e.found) from e
    except UnicodeDecodeError as e:
        raise ProductError(file, "UTF-8", str(e)) from e


def _one_column(name: str, kind: str) -> str:
    fields = [{"name": name, "type": kind}]
    return json.dumps({"type": "record", "name": "record", "fields": fields})
