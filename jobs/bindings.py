"""What one attempt adds to a product: addresses, branch and positions, and the table options that follow from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jobs import generate
from jobs.product.folder import Product
from jobs.product.formats import Format, KeyFormat
from jobs.product.model import Role, seconds
from jobs.product.topic_schemas import key_schema_text, schema_text, writer_texts

VERSION = 3
"""Of the form that this code writes and reads. Version 1 had no version; its readers refuse fields they do not know.
Before version 3 a user of the registry was in its URL.
"""
READER = 2
"""Code that reads this version or a later one may read what is written now, and leave out what it does not know."""


class Catalog(BaseModel):
    """The Iceberg catalog as Flink names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    options: dict[str, str]


class OutputTopic(BaseModel):
    """The topic that an output's rows are also written to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    key: tuple[str, ...] = ()
    """Columns of the records' key."""
    transactional_id_prefix: str
    """What the ids of its transactions begin with, and of no other job's."""
    source: str
    """CloudEvents: where the rows come from."""
    type: str
    """CloudEvents: what they are."""
    time: str | None = None
    """CloudEvents: the column that says when it happened."""


class Bindings(BaseModel):
    """Everything that one attempt adds to a product; the controller writes it, a person may."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = VERSION
    reader: int = READER
    attempt: str
    branch: str
    """Iceberg branch of every output; it must exist (a missing one would be forked from main's rows)."""
    group: str
    """Consumer group. Its committed offsets are for display: how far the attempt has come is written beside its
    checkpoints."""
    kafka: dict[str, str]
    """Java client properties, bootstrap.servers among them."""
    registry: str
    registry_options: dict[str, str] = Field(default_factory=dict)
    """Java client properties of the registry: login and TLS."""
    catalog: Catalog
    namespace: str
    partitions: dict[str, int] = Field(default_factory=dict)
    """Partitions per topic."""
    reference_offsets: dict[str, dict[int, int]] = Field(default_factory=dict)
    """Where reading a reference topic ends, per partition; fixed with the release so that a replay reads the same."""
    broker_time: tuple[str, ...] = ()
    """Topics whose records the broker dates (message.timestamp.type=LogAppendTime): only of these is it known that
    nothing earlier can come, so that a partition at its end, or an empty one, holds nothing back."""
    parallelism: int
    checkpoint_interval: str
    checkpoint_dir: str
    output_topics: dict[str, OutputTopic] = Field(default_factory=dict)
    """By output. Only releases that know it have some."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_news(cls, data: Any) -> Any:
        """Refuse unknown fields, unless a newer controller says that they can be ignored."""
        if not isinstance(data, dict):
            return data
        version = data.get("version", 1)
        if not isinstance(version, int) or version <= VERSION:
            return data
        reader = data.get("reader", version)
        if not isinstance(reader, int) or reader > VERSION:
            raise ValueError(
                f"version {version}, for code that reads version {reader}; this reads up to {VERSION}"
            )
        known = {key: value for key, value in data.items() if key in cls.model_fields}
        if isinstance(catalog := known.get("catalog"), dict):
            known["catalog"] = {
                key: value for key, value in catalog.items() if key in Catalog.model_fields
            }
        return known


def read_bindings(file: Path) -> Bindings:
    """Read the bindings; SystemExit says what is wrong with the file."""
    try:
        return Bindings.model_validate_json(file.read_bytes())
    except ValidationError as e:
        found = "; ".join(
            f"{'.'.join(map(str, error['loc']))} {error['msg']}".strip() for error in e.errors()
        )
        raise SystemExit(f"the job cannot use its bindings {file}: {found}") from None


# How soon a partition that a topic gains is read, from its offset zero. Until then the clocks of the others run on.
_DISCOVERY = "10s"


def source_options(name: str, product: Product, bindings: Bindings) -> dict[str, str]:
    """Options of the table of one topic of product.yaml: where it is read, from offset zero, by whom and how far."""
    topic = product.settings.kafka_name(name)
    options = {
        "topic": topic,
        **{f"properties.{key}": value for key, value in bindings.kafka.items()},
        "properties.group.id": bindings.group,
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        # Not Flink's own connector, which forgets the log's clock in a restart:
        # see jobs/connector/src/main/java/kappa/log.
        "connector": "kappa-log",
        **_value_options(name, product, bindings),
        **_key_options(name, product, bindings),
    }
    rule, partitions = product.settings.topics[name], bindings.partitions.get(topic, 1)
    if rule.role is Role.reference:
        ends = bindings.reference_offsets.get(topic)
        options["allowed-lateness"] = "0s"
        return {
            **options,
            **(end_options(ends) if ends else {"scan.bounded.mode": "latest-offset"}),
        }
    options["allowed-lateness"] = f"{round(seconds(rule.allowed_lateness or '0s') * 1000)} ms"
    options["scan.topic-partition-discovery.interval"] = _DISCOVERY
    if product.settings.max_drift:
        options["scan.watermark.alignment.group"] = product.name
        options["scan.watermark.alignment.max-drift"] = f"{seconds(product.settings.max_drift)} s"
        options["scan.watermark.alignment.update-interval"] = "50 ms"
    if rule.held_by_source:
        options["once"] = ";".join(rule.identity)
        options["max-ahead"] = f"{round(seconds(rule.max_ahead) * 1000)} ms"
    if topic in bindings.broker_time:
        options["broker-time"] = "true"
    if rule.role is Role.dimension and partitions < bindings.parallelism:
        # A subtask without a partition would hold the watermark for ever (in a bounded source it just finishes).
        # Records are handed round to the subtasks behind: the safety check asks for versions ordered by a window.
        options["scan.parallelism"] = str(partitions)
    return options


def _value_options(name: str, product: Product, bindings: Bindings) -> dict[str, str]:
    wanted = product.settings.topics[name].format
    if not wanted.suffix:
        return {"format": "kappa-raw"}
    if wanted in (Format.avro, Format.avro_single_object):
        return _avro_options(product, name)
    return _format_options(wanted.value, schema_text(product, name), bindings)


def _avro_options(product: Product, name: str) -> dict[str, str]:
    """How Avro is decoded without a registry: by schemas of the folder, which the job has by these options."""
    options = {"format": "avro-tolerant", "avro-tolerant.schema": schema_text(product, name)}
    if writers := writer_texts(product, name):
        options["avro-tolerant.writers"] = json.dumps(writers, ensure_ascii=False)
    return options


def _key_options(name: str, product: Product, bindings: Bindings) -> dict[str, str]:
    key, schema = product.settings.topics[name].record_key, key_schema_text(product, name)
    if key is None or schema is None:
        return {}
    options = (
        {"format": "kappa-raw"}
        if key.format is KeyFormat.raw
        else _format_options(key.format.value, schema, bindings)
    )
    return {
        **{f"key.{option}": value for option, value in options.items()},
        f"key.{options['format']}.of-key": "true",
        "key.fields": ";".join(f.name for f in generate.key_fields(product, name)),
        "value.fields-include": "EXCEPT_KEY",
    }


def _format_options(wanted: str, schema: str, bindings: Bindings) -> dict[str, str]:
    """How records with a schema are decoded."""
    if wanted in (Format.protobuf.value, Format.protobuf_confluent.value):
        named = wanted == Format.protobuf_confluent.value
        framed = {"protobuf-tolerant.framed": "true"} if named else {}
        return {"format": "protobuf-tolerant", "protobuf-tolerant.schema": schema, **framed}
    if wanted != Format.avro_confluent.value:
        framed = {"json-tolerant.framed": "true"} if wanted == Format.json_confluent.value else {}
        return {"format": "json-tolerant", "json-tolerant.schema": schema, **framed}
    return {
        "format": "avro-confluent-tolerant",
        "avro-confluent-tolerant.url": bindings.registry,
        **{
            f"avro-confluent-tolerant.properties.{key}": value
            for key, value in bindings.registry_options.items()
        },
        "avro-confluent-tolerant.schema": schema,
    }


def end_options(ends: Mapping[int, int]) -> dict[str, str]:
    """Options of a topic that is read up to fixed offsets, one per partition."""
    offsets = ";".join(
        f"partition:{partition},offset:{end}" for partition, end in sorted(ends.items())
    )
    return {"scan.bounded.mode": "specific-offsets", "scan.bounded.specific-offsets": offsets}


TRANSACTION_TIMEOUT = "transaction.timeout.ms"
DEFAULT_TRANSACTION_TIMEOUT = 900_000
"""Milliseconds: what a broker allows at most unless its transaction.max.timeout.ms says otherwise."""
CHECKPOINT_TIMEOUT = "execution.checkpointing.timeout"
TOPIC_CHECKPOINT_TIMEOUT = "6min"
"""By default, of a job that writes topics: a transaction begins with one checkpoint and is committed with the next."""
LARGEST_RECORD = 16 << 20
"""Bytes: a row is longer as JSON than it was in the log, and one that Kafka refuses would stop the job for good."""


def sink_options(table: str, bindings: Bindings) -> dict[str, str]:
    """Options of one output: an Iceberg table's branch, and perhaps a topic."""
    return {
        # Not Iceberg's own, which takes columns by position: see jobs/connector/src/main/java/kappa/lake.
        "connector": "kappa-lake",
        "catalog-name": bindings.catalog.name,
        "catalog-database": bindings.namespace,
        "catalog-table": table,
        "branch": bindings.branch,
        **{k: v for k, v in bindings.catalog.options.items() if k != "type"},
        **_topic_options(bindings.output_topics.get(table), bindings),
    }


def _topic_options(topic: OutputTopic | None, bindings: Bindings) -> dict[str, str]:
    if topic is None:
        return {}
    producer = {
        TRANSACTION_TIMEOUT: str(DEFAULT_TRANSACTION_TIMEOUT),
        "max.request.size": str(LARGEST_RECORD),
        **bindings.kafka,
    }
    return {
        "topic.name": topic.name,
        "topic.transactional-id-prefix": topic.transactional_id_prefix,
        "topic.source": topic.source,
        "topic.type": topic.type,
        **({"topic.key": ";".join(topic.key)} if topic.key else {}),
        **({"topic.time": topic.time} if topic.time else {}),
        **{f"topic.properties.{name}": value for name, value in producer.items()},
    }


RECORDS, SCHEMAS, ROWS = "records", "schemas.json", "rows"
"""What is in the folder of a run over files: a folder of records for each topic of product.yaml, the schemas that they
were written with, and, once it has run, a folder of rows for each output."""
_OF_A_LIVE_LOG = ("scan.topic-partition-discovery.interval", "scan.watermark.alignment.")


def file_options(name: str, product: Product, bindings: Bindings, folder: Path) -> dict[str, str]:
    """Options of the table of a topic whose records are in files, which are read to their ends."""
    options = source_options(name, product, bindings)
    kept = {k: v for k, v in options.items() if not k.startswith(_OF_A_LIVE_LOG)}
    schemas = {
        key.replace(".url", ".schemas"): str(folder / SCHEMAS)
        for key in kept
        if key.endswith("avro-confluent-tolerant.url")
    }
    return {**kept, **schemas, "records": str(folder / RECORDS / name)}


def time_options(name: str, product: Product, bindings: Bindings, folder: Path) -> dict[str, str]:
    """As `file_options`, with each record as it comes, repeated ones too."""
    options = file_options(name, product, bindings, folder)
    return {k: v for k, v in options.items() if k not in ("once", "max-ahead")}


def lines_options(table: str, folder: Path) -> dict[str, str]:
    """Options of an output that becomes a folder of JSON lines."""
    return {"connector": "kappa-lines", "folder": str(folder / ROWS / table)}
