"""What product.yaml says of topics, outputs and functions, and what is known of an output table."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from jobs.product import column_types, names
from jobs.product.formats import Format, KeyFormat
from jobs.product.own_functions import ALLOWED

_DURATION = re.compile(r"([0-9]+)\s*(ms|s|min|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
VIEWS = "views"
REJECTS = "rejects"
"""The table that every product has, for records that no other table can hold."""
LOG_COLUMNS = ("log_topic", "log_partition", "log_offset", "log_appended", "log_key", "log_headers")
"""Columns that every topic has in SQL, besides those of its schema and the computed ones."""
INTERNAL_COLUMNS = ("log_value", "log_error", "log_clock")
"""Columns that only generated SQL reads: a topic's own name in SQL does not have them."""


_LONGEST = 36_525 * 86_400


def seconds(duration: str) -> float:
    """'10s', '6h', '500ms', '5min', '2d' in seconds; ValueError for anything else."""
    match = _DURATION.fullmatch(duration.strip())
    if not match:
        raise ValueError(f"a duration such as '10s', '5min' or '6h', not {duration!r}")
    found = int(match[1]) * _SECONDS[match[2]]
    if found > _LONGEST:
        raise ValueError(f"at most 36525d, a century, not {duration!r}")
    return found


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Role(StrEnum):
    """What a topic is to a product."""

    events = "events"
    """Facts: judged late by the log's clock, accounted for record by record."""
    dimension = "dimension"
    """Versions of things, read without end; needs its own clock: records or heartbeats keep coming."""
    reference = "reference"
    """Versions of things, read up to the end offsets fixed when a release is built; changes need a new release."""


class Once(StrEnum):
    """Where a repeated event is looked for."""

    in_partition = "partition"
    """In its partition: an event is sent again to the same one, as by producers that choose partitions by key. The
    source sees to it, and a TaskManager holds in memory what is younger than `allowed_lateness`."""
    in_topic = "topic"
    """In all partitions, in Flink's state."""


class RecordKey(Model):
    """What columns are read from the keys of a topic's records."""

    format: KeyFormat = KeyFormat.raw
    """`raw`: one column, of `columns`. `json`: JSON, with the columns of schemas/NAME.key.json, a JSON Schema.
    `json-confluent`: the same behind a schema id. `avro-confluent`: Avro behind the id of its schema in the registry,
    with the columns of schemas/NAME.key.avsc."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Of `raw`: one column and its type: STRING (text in UTF-8), BYTES, or INT or BIGINT (four or eight bytes, the
    highest first)."""


class Topic(Model):
    """One input topic. Its name in product.yaml is its table's in SQL, and that of its schema in schemas/."""

    topic: str | None = None
    """The topic's name in Kafka, if it differs from the name in product.yaml."""
    format: Format = Format.avro_confluent
    """How values are written. `avro-confluent`: Avro behind the id of its schema in the registry, with the columns of
    schemas/NAME.avsc. `avro`: Avro alone, which was written with schemas/NAME.avsc. `avro-single-object`: Avro behind
    the fingerprint of its schema, which is schemas/NAME.avsc or one of schemas/NAME.writers/*.avsc. `json`: JSON, with
    the columns of schemas/NAME.json, a JSON Schema. `json-confluent`: the same behind a schema id, as Confluent's
    serializer writes it. `protobuf`: a message of Protobuf, with the columns of schemas/NAME.proto.
    `protobuf-confluent`: the same behind a schema id and the message's indexes. `raw`: bytes, as the column `payload
    BYTES`. `text`: text in UTF-8, as the column `payload STRING`."""
    message: str | None = None
    """Of Protobuf: the message that values are, where schemas/NAME.proto has more than one."""
    record_key: RecordKey | None = None
    """Columns that are read from the records' keys, besides those of the values: `{columns: {order_id: STRING}}`. They
    are NULL of a record without a key."""
    role: Role = Role.events
    """`events`: facts, accounted for record by record. `dimension`: versions of things, read without end. `reference`:
    versions of things, read up to the end offsets that are fixed when a release is built."""
    time: str | None = None
    """The column that says when the record happened, a TIMESTAMP_LTZ(3). Events and dimensions need one. Without it a
    version of a reference has the time of its record's timestamp."""
    allowed_lateness: str | None = None
    """A record is late when it happened more than this before the log's clock. Events and dimensions need one."""
    max_ahead: str = "1d"
    """A record that happened more than this after the log's clock is rejected: its producer's clock is wrong."""
    identity: tuple[str, ...] = ()
    """Columns that make two records of one time the same event: SQL sees each event once."""
    once: Once = Once.in_partition
    """Of events with an identity, where repeated events are looked for. `partition`: they come to the same partition;
    the source holds in memory what is younger than `allowed_lateness`. `topic`: they may come to any partition;
    Flink's state holds them."""
    keyed_by: tuple[str, ...] = ()
    """Of events: columns by which producers choose the partition, so that all records of one key are in one partition.
    Then rows of a key come in the order of the log, as ROWS, LAG and ROW_NUMBER need them. The audit checks the log
    for it."""
    key: tuple[str, ...] = ()
    """Of a reference or a dimension T: the columns by which its versions are looked up. SQL has them as the table
    function T_at(time, key…). A TaskManager holds the versions in memory, of a dimension those around the times that
    are being looked up."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Computed columns: name → SQL expression over the columns of the schema and of the log."""

    @field_validator("topic")
    @classmethod
    def _in_kafka(cls, value: str | None) -> str | None:
        if value is not None and not names.is_topic(value):
            raise ValueError(
                f"a name that Kafka takes (letters, digits, '.', '_' and '-', at most 249), not {value!r}"
            )
        return value

    @field_validator("allowed_lateness", "max_ahead")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    @property
    def is_event(self) -> bool:
        return self.role is Role.events

    @property
    def held_by_source(self) -> bool:
        """Whether the source holds events until the log's clock passes them, and hands on each once, in order."""
        return bool(self.identity) and self.once is Once.in_partition


class Kind(StrEnum):
    """What an output is to the accounting."""

    rows = "rows"
    """One row per event, with `log_partition` and `log_offset`, and `log_topic` if it is of several topics."""
    aggregate = "aggregate"
    """Windows over rows."""
    rejects = "rejects"
    """Records that no other table can hold: `log_topic`, `log_partition`, `log_offset`, `reason`, `payload`."""


class Window(Model):
    """The window behind a row of an aggregate."""

    column: str
    """A TIMESTAMP or DATE column: where the window begins, on the product's clock (`time_zone`)."""
    size: str
    """The length of the window, such as 1h."""

    @field_validator("size")
    @classmethod
    def _duration(cls, value: str) -> str:
        seconds(value)
        return value


class OutputSettings(Model):
    """What product.yaml says of one output table. It may say nothing: kind, key and window follow from the SELECT."""

    kind: Kind | None = None
    """`rows`: one row per event. `aggregate`: windows over rows. By default inferred from the SELECT."""
    of: tuple[str, ...] = ()
    """The event topics that a table of kind `rows` accounts for. By default inferred from the SELECT."""
    key: tuple[str, ...] = ()
    """Columns that make two rows of two releases the same row. By default, for a table of kind `rows`, the identity of
    its topic; for an aggregate, the columns that it groups by."""
    window: Window | None = None
    """Of an aggregate: its window, which decides which rows are final and can be compared. By default inferred from the
    SELECT."""
    where: str | None = None
    """A condition over the topic's columns: only records for which it holds are in the table. The audit counts the
    others as `filtered`."""
    partition: tuple[str, ...] = ()
    """The Iceberg table's partition spec: columns, or year, month, day, hour, bucket and truncate of a column, such as
    [day(hour), shop, bucket(16, id), truncate(4, code)]. The job has a file open for each partition that a checkpoint
    touches."""
    sort: tuple[str, ...] = ()
    """The Iceberg table's sort order, such as [shop, hour desc]. Engines that rewrite data files (Spark's
    `rewrite_data_files`, Trino's `OPTIMIZE`) sort by it; the job writes rows in the order in which they come."""
    topic: str | None = None
    """Its rows are also records of a Kafka topic, as JSON, each once. Each attempt has a topic of its own: this name, a
    dot, and that of the attempt, such as orders.r2-a1."""

    @field_validator("topic")
    @classmethod
    def _in_kafka(cls, value: str | None) -> str | None:
        if value is not None and not (
            names.is_topic(value) and len(value) <= names.LONGEST_OUTPUT_TOPIC
        ):
            raise ValueError(
                "a name that Kafka takes (letters, digits, '.', '_' and '-'), of at most "
                f"{names.LONGEST_OUTPUT_TOPIC} characters, as the attempt's is added, not {value!r}"
            )
        return value

    @field_validator("of", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Column(Model):
    """A column of an output table."""

    name: str
    type: str
    """Flink SQL type, e.g. STRING, TIMESTAMP_LTZ(6)."""
    required: bool = False
    description: str = ""
    classification: str = ""


class Output(Model):
    """One output table, as its SELECT makes it."""

    kind: Kind
    of: tuple[str, ...] = ()
    """Of rows: the event topics that it accounts for, by their names in Kafka."""
    key: tuple[str, ...] = ()
    window: Window | None = None
    where: str | None = None
    partition: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    select: str
    """The SELECT that the job runs; its columns are `columns`, in their order."""


class Resolved(Model):
    """What Flink's planner says of a product's SQL. It belongs to a release, and is archived with it."""

    outputs: dict[str, Output]
    """All tables, `rejects` last."""
    longest_wait: float = 0
    """Seconds on the log's clock: the longest window in which an accepted record waits before its row is written."""
    plan: str = Field(default="", repr=False)
    """Flink's compiled plan (JSON), as it was checked: the job runs this one. Empty: nobody kept it."""


class Function(Model):
    """A Python function that SQL may call."""

    python: str = Field(json_schema_extra={"pattern": names.PYTHON_PATTERN})
    """module:function of udfs/, which is archived with a release, such as udfs.privacy:pseudonym."""
    returns: str
    """Flink SQL type of the result."""
    vectorised: bool = False
    """Whether it is called with pandas Series, 10,000 rows at a time, instead of single values."""
    deterministic: bool = True
    """False: equal arguments may give different results, and the function is refused. True need not be stated:
    `kappa check` tries whether it holds."""

    @field_validator("python")
    @classmethod
    def _names_a_function(cls, value: str) -> str:
        if not re.fullmatch(names.PYTHON_PATTERN, value):
            raise ValueError(ALLOWED)
        return value

    @field_validator("returns")
    @classmethod
    def _type(cls, value: str) -> str:
        column_types.parse(value)
        return value
