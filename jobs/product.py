"""The model of a product's folder: what people write in it, and what is known once Flink's planner has read its SQL."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jobs import column_types, names, trees, zones
from jobs.own_functions import ALLOWED
from jobs.problem import did_you_mean

_DURATION = re.compile(r"([0-9]+)\s*(ms|s|min|h|d)")
_PERCENT = re.compile(r"[0-9]+(\.[0-9]+)?\s*%")
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}

VIEWS = "views"
REJECTS = "rejects"
"""The table that every product has, for records that no other table can hold."""
LOG_COLUMNS = ("log_topic", "log_partition", "log_offset", "log_appended", "log_key", "log_headers")
"""Columns that every topic has in SQL, besides those of its schema and the computed ones."""
_INTERNAL_COLUMNS = ("log_value", "log_error", "log_clock")


class ProductError(Exception):
    """A product's folder is wrong: which file, what was expected, what was found."""

    def __init__(self, file: Path, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file, self.expected, self.found = file, expected, found


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


class _Model(BaseModel):
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


class Topic(_Model):
    """One input topic. Its name in product.yaml is its table's in SQL, and that of its schema: schemas/NAME.avsc."""

    topic: str | None = None
    """The topic's name in Kafka, if it differs from the name in product.yaml."""
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


class Window(_Model):
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


class OutputSettings(_Model):
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

    @field_validator("of", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Column(_Model):
    """A column of an output table."""

    name: str
    type: str
    """Flink SQL type, e.g. STRING, TIMESTAMP_LTZ(6)."""
    required: bool = False
    description: str = ""
    classification: str = ""


class Output(_Model):
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


class Resolved(_Model):
    """What Flink's planner says of a product's SQL. It belongs to a release, and is archived with it."""

    outputs: dict[str, Output]
    """All tables, `rejects` last."""
    longest_wait: float = 0
    """Seconds on the log's clock: the longest window in which an accepted record waits before its row is written."""
    plan: str = Field(default="", repr=False)
    """Flink's compiled plan (JSON), as it was checked: the job runs this one. Empty: nobody kept it."""


class Function(_Model):
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


class LagLimit(_Model):
    """How far behind the log's end a release may be and count as caught up."""

    records: int = Field(default=10_000, ge=0)
    """At most so many records behind in each partition."""
    seconds: float = Field(default=60, ge=0)
    """At most so many seconds behind."""
    checkpoints: int = Field(default=2, ge=1)
    """For so many checkpoints in a row."""


class Switch(StrEnum):
    """Who switches readers over to a release that has caught up."""

    auto = "auto"
    manual = "manual"


class Verify(StrEnum):
    """How often a release that readers see is replayed and compared, by itself."""

    off = "off"
    daily = "daily"
    weekly = "weekly"
    monthly = "monthly"


class ProductSettings(_Model):
    """product.yaml"""

    name: str = Field(pattern=names.NAME_PATTERN, max_length=names.LONGEST)
    """The product's name, which is also the Iceberg namespace of its tables."""
    description: str = ""
    """For people."""
    time_zone: str = "UTC"
    """What a TIMESTAMP without zone means, and where days begin: Flink's table.local-time-zone."""
    parallelism: int = Field(default=2, ge=1)
    """Subtasks of the job; at most the number of partitions of any event topic."""
    checkpoint_interval: str = "10s"
    """Of a job near the end of the log: also how often tables commit, and so how fresh readers are."""
    backlog_checkpoint_interval: str = "1min"
    """Of a job that works off a backlog, as a replay does, until every partition is within 10,000 records of its end:
    fewer commits and larger files. Never less than `checkpoint_interval`."""
    max_drift: str | None = None
    """How far, on the log's clock, one partition is read ahead of the others, of all events and dimensions. What is
    read ahead is held in state, so this bounds memory and speeds up temporal joins. Choose at least what a replay reads
    in a second, because partitions are told to wait twenty times a second, and more than any lateness."""
    topics: dict[str, Topic]
    """The input topics, by the name of their table in SQL, which is also that of their schema, schemas/NAME.avsc."""
    lookups: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Per name N, topics with a key, by what they are looked up as. N_at(time, key…, key…) gives in one row, at less
    cost, what T_at() gives for each topic. Column c of what is looked up as n is n_c, NULL where no version is
    valid."""
    outputs: dict[str, OutputSettings]
    """The output tables: a list of names, or a mapping from names to what cannot be inferred."""
    functions: dict[str, Function] = Field(default_factory=dict)
    """Python functions that SQL may call, by their name in SQL."""
    flink: dict[str, str] = Field(default_factory=dict)
    """Further Flink settings of the job that decide no row, such as state.backend.type."""
    lag_limit: LagLimit = LagLimit()
    """How far behind the log's end a release may be and count as caught up."""
    switch: Switch = Switch.manual
    """`auto`: readers see a release as soon as its checks pass. `manual`: after `kappa switch`. The first release of a
    product is always shown as soon as its checks pass."""
    deadline: str = "1d"
    """A candidate that has not caught up this long after its deploy is aborted."""
    max_restarts: int = Field(default=5, ge=1)
    """A candidate whose job restarts more often than this without a checkpoint in between is aborted."""
    standbys: int = Field(default=1, ge=0)
    """Superseded attempts whose jobs keep running, so that readers can be taken back at once; older ones are
    retired."""
    warnings: tuple[str, ...] = ()
    """Checks that are shown and do not block a switch, by name: checks/x.sql, or the name of a quality rule."""
    max_rejects: str = "1%"
    """A release that rejects a larger share of the records of a topic of events or of a dimension is not shown to
    readers. Up to ten records are only a warning."""
    verify: Verify = Verify.off
    """How often `kappa verify` runs by itself: first when a release has been active for two days, then each period."""

    @field_validator("checkpoint_interval", "backlog_checkpoint_interval", "deadline", "max_drift")
    @classmethod
    def _durations(cls, value: str | None) -> str | None:
        if value is not None and seconds(value) <= 0:
            raise ValueError(f"longer than nothing, not {value!r}")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zones.check(value)
        return value

    @field_validator("outputs", mode="before")
    @classmethod
    def _nothing_said(cls, value: Any) -> Any:
        """`NAME:` alone says nothing of an output, and so does a list of names."""
        if isinstance(value, list):
            if not all(isinstance(name, str) for name in value) or len(set(value)) < len(value):
                raise ValueError(
                    "a list of names, each once; with settings, a mapping: NAME: {kind: …}"
                )
            return {name: {} for name in value}
        return (
            {name: said or {} for name, said in value.items()} if isinstance(value, dict) else value
        )

    @field_validator("verify", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return Verify.off if value is False else value

    @field_validator("max_rejects", mode="before")
    @classmethod
    def _share(cls, value: Any) -> str:
        text = str(value).strip()
        if not _PERCENT.fullmatch(text) or float(text.rstrip("% ")) > 100:
            raise ValueError(f"a share such as '1%' or '0.5%', not {value!r}")
        return text

    @property
    def reject_limit(self) -> float:
        """`max_rejects` as a fraction."""
        return float(self.max_rejects.rstrip("% ")) / 100

    def lateness(self, name: str) -> float:
        """Allowed lateness in seconds; 0 of a reference."""
        return seconds(self.topics[name].allowed_lateness or "0s")

    def kafka_name(self, name: str) -> str:
        """What a topic of product.yaml is called in Kafka."""
        return self.topics[name].topic or name

    @model_validator(mode="after")
    def _consistent(self) -> ProductSettings:
        for problem in itertools.chain(
            _name_problems(self),
            _topic_problems(self),
            _lookup_problems(self),
            _function_problems(self),
            _output_problems(self),
        ):
            raise ValueError(problem)
        return self


def _name_problems(settings: ProductSettings) -> Iterable[str]:
    yield from _topic_name_problems(settings)
    yield from _output_name_problems(settings)
    every = [*settings.topics, *settings.outputs, REJECTS]
    if alike := sorted(n for n in every if [o.lower() for o in every].count(n.lower()) > 1):
        yield f"{' and '.join(alike)} differ only by case"


def _topic_name_problems(settings: ProductSettings) -> Iterable[str]:
    if not settings.topics:
        yield "topics is empty, and a product reads at least one"
    for name in settings.topics:
        if not names.is_identifier(name) or "__" in name:
            good = (
                re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_0123456789")[:40]
                or "orders"
            )
            yield (
                f"topic {_shown(name)} is no identifier of SQL (letters, digits, _, and no __): "
                f"call it {good}, with topic: {_shown(name)}"
            )
        if name.lower() == REJECTS:
            yield f"topic {name} has the name of the table that every product has: give it another, with topic: {name}"
    kafka = [settings.kafka_name(n) for n in settings.topics]
    if twice := sorted({n for n in kafka if kafka.count(n) > 1}):
        yield f"topic {twice[0]} of Kafka is read under several names, and each topic is read once"


def _output_name_problems(settings: ProductSettings) -> Iterable[str]:
    for name in settings.outputs:
        if not names.is_name(name) or "__" in name:
            yield f"output {_shown(name)} needs a name of small letters, digits and _, and no __"
        if name == REJECTS:
            yield f"output {REJECTS} is made by itself: leave it out"
        if name == VIEWS:
            yield f"output {name} would have the file of the views, {name}.sql: give it another name"
        if name in settings.topics:
            yield f"{name} is a topic and an output, and in SQL a name has one meaning"


def _shown(name: str) -> str:
    """A name that may be anything: on one line, its end to be seen, and not for pages."""
    text = name if name.isprintable() and name.isascii() and name == name.strip() else ascii(name)
    return (
        text
        if len(text) <= names.LONGEST
        else f"{text[:40]}… ({len(name)} characters, at most {names.LONGEST})"
    )


def _topic_problems(settings: ProductSettings) -> Iterable[str]:
    for name, topic in settings.topics.items():
        yield from (f"topic {name} ({topic.role.value}) {problem}" for problem in _odd(topic))
    yield from _waiting_problems(settings)


def _odd(topic: Topic) -> Iterable[str]:
    """What is wrong with a topic, whatever the others are."""
    if topic.role is not Role.reference:
        if topic.time is None:
            yield "needs time: the column that says when it happened"
        if topic.allowed_lateness is None:
            yield "needs allowed_lateness"
    if topic.is_event and topic.key:
        yield "has a key, and only references and dimensions do"
    if not topic.is_event and topic.identity:
        yield "has an identity, and only events do; versions have a key"
    if not topic.is_event and topic.keyed_by:
        yield "has keyed_by, and only events do; versions have a key"
    if "once" in topic.model_fields_set and not topic.identity:
        yield f"has once: {topic.once.value}, which takes an identity"
    if wrong := [c for c in topic.columns if c in (*LOG_COLUMNS, *_INTERNAL_COLUMNS)]:
        yield f"computes {wrong[0]}, which every topic has by itself"


def _waiting_problems(settings: ProductSettings) -> Iterable[str]:
    """Topics that would wait for each other for ever."""
    widest = max(map(settings.lateness, settings.topics), default=0)
    if settings.max_drift and seconds(settings.max_drift) <= widest:
        yield "max_drift is longer than every allowed_lateness, or topics wait for each other for ever"
    events = sorted(n for n, t in settings.topics.items() if t.is_event)
    looked_up = [n for n, t in settings.topics.items() if t.role is Role.dimension and t.key]
    for name, event in itertools.product(looked_up, events):
        if settings.lateness(name) > settings.lateness(event):
            yield (
                f"dimension {name} has a key, and a longer allowed_lateness than {event}, which would always wait "
                "for it: leave out the key and write an event-time temporal join"
            )


def _lookup_problems(settings: ProductSettings) -> Iterable[str]:
    keyed = sorted(t for t, topic in settings.topics.items() if topic.key)
    for name, found in settings.lookups.items():
        if name in settings.topics:
            yield f"lookups {_shown(name)} has the name of a topic, which has a {name}_at() of its own"
        if wrong := [n for n in (name, *found) if not names.is_name(n)]:
            yield f"lookups {_shown(name)} needs names of small letters, digits and _, found {wrong}"
        if not found or not set(keyed).issuperset(found.values()):
            yield f"lookups {_shown(name)} is of topics with a key: {keyed}, found {sorted(found.values())}"


def _function_problems(settings: ProductSettings) -> Iterable[str]:
    lookups = {
        f"{name}_at"
        for name in (*settings.lookups, *(n for n, t in settings.topics.items() if t.key))
    }
    for name in settings.functions:
        if not names.is_identifier(name):
            yield f"function {_shown(name)} is no identifier of SQL (letters, digits, _)"
        if name.lower() in {found.lower() for found in lookups}:
            yield f"function {name} has the name of a look-up, which there is of each topic with a key, T_at()"


def _output_problems(settings: ProductSettings) -> Iterable[str]:
    events = sorted(n for n, t in settings.topics.items() if t.is_event)
    for name, output in settings.outputs.items():
        if unknown := sorted(set(output.of) - set(events)):
            yield f"output {name} is of {', '.join(unknown)}, and the topics with events are {events}"
        if output.kind is Kind.rejects:
            yield f"output {name} is of kind rejects, and the table {REJECTS} is made by itself"
        if output.window and output.kind is Kind.rows:
            yield f"output {name} has a window, and only aggregates do"


class Product(_Model):
    """A product's folder, read and validated."""

    folder: Path
    settings: ProductSettings
    contract: dict[str, Any] = Field(default_factory=dict)
    """contract.yaml (Open Data Contract Standard v3.1) as read; empty without one."""
    resolved: Resolved | None = None
    """None: Flink's planner was not asked."""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def topics(self) -> dict[str, Topic]:
        """The input topics by their names in Kafka."""
        return {
            self.settings.kafka_name(name): topic for name, topic in self.settings.topics.items()
        }

    def sql_name(self, kafka_topic: str) -> str:
        """What a topic of Kafka is called in product.yaml and SQL."""
        return next(
            name for name in self.settings.topics if self.settings.kafka_name(name) == kafka_topic
        )

    @property
    def outputs(self) -> dict[str, Output]:
        """The output tables, `rejects` last; ProductError when the planner was not asked."""
        if self.resolved is None:
            raise ProductError(
                self.folder, "SQL that Flink's planner has read", "none: kappa check was not run"
            )
        return self.resolved.outputs

    def identity(self, output: Output) -> tuple[str, ...]:
        """Of rows of one topic: the columns that make two records the same event, if the table has them all."""
        names = {c.name for c in output.columns}
        found = self.topics[output.of[0]].identity if len(output.of) == 1 else ()
        return found if found and names.issuperset(found) else ()

    @property
    def columns(self) -> dict[str, tuple[Column, ...]]:
        """Per output table."""
        return {name: output.columns for name, output in self.outputs.items()}

    @property
    def longest_wait(self) -> float:
        """Seconds on the log's clock that a record may wait for its row."""
        return self.resolved.longest_wait if self.resolved else 0

    @property
    def views_sql(self) -> Path:
        """Views that outputs share; the file may be missing."""
        return self.folder / f"{VIEWS}.sql"

    def select_sql(self, output: str) -> Path:
        """The SELECT of an output."""
        return self.folder / f"{output}.sql"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that defines the product, relative to its folder, sorted."""
        return tuple(
            sorted(
                p.relative_to(self.folder)
                for p in self.folder.rglob("*")
                if p.is_file() and "__pycache__" not in p.parts
            )
        )

    def schema_file(self, kafka_topic: str) -> Path:
        """The Avro schema by which a topic's values are read."""
        return self.folder / "schemas" / f"{self.sql_name(kafka_topic)}.avsc"


def load_product(folder: Path, resolved: Resolved | None = None) -> Product:
    """Read a product's folder; ProductError names the file and the field that is wrong."""
    folder = folder.absolute()
    _refuse_odd_entries(folder)
    settings_file, contract_file = folder / "product.yaml", folder / "contract.yaml"
    try:
        settings = ProductSettings.model_validate(_read_yaml(settings_file))
    except ValidationError as e:
        first = e.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # of several settings together
            raise ProductError(settings_file, "settings that go together", message) from e
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = tuple(_model_at(first["loc"][:-1]).model_fields)
            meant = did_you_mean(str(first["loc"][-1]), known) or f"one of {', '.join(known)}"
            raise ProductError(settings_file, f"a setting that there is ({meant})", where) from e
        raise ProductError(
            settings_file, f"{where}: {message}", repr(first.get("input"))[:200]
        ) from e
    contract = _read_yaml(contract_file) if contract_file.exists() else {}
    product = Product(folder=folder, settings=settings, contract=contract)
    _check_files(product)
    if resolved:
        return with_resolved(product, resolved)
    _check_names(product)
    return product


def _refuse_odd_entries(folder: Path) -> None:
    """A link's content is not the folder's, a release would not have it, and opening a pipe never ends."""
    for entry in trees.entries(folder):
        if entry.odd:
            raise ProductError(
                Path(trees.shown(entry.path)), "a file of its own, with a printable name", entry.odd
            )


def _model_at(path: tuple[int | str, ...]) -> type[_Model]:
    """The model of a mapping of product.yaml."""
    within: dict[str, type[_Model]] = {
        "topics": Topic,
        "outputs": OutputSettings,
        "functions": Function,
        "lag_limit": LagLimit,
    }
    if "window" in path:
        return Window
    return within[str(path[0])] if path else ProductSettings


def load_release(folder: Path) -> Product:
    """The product of an archived release, with what the planner said of it when it was built."""
    file = folder / "resolved.json"
    try:
        resolved = Resolved.model_validate_json(file.read_text())
    except (OSError, ValidationError) as e:
        raise ProductError(
            file, "what Flink's planner said of the release", str(e).splitlines()[0]
        ) from e
    return load_product(folder / "product", resolved)


def with_resolved(product: Product, resolved: Resolved) -> Product:
    """The product with its outputs, whose columns have what the contract says of them besides their types."""
    said = {
        str(t.get("name")): {p.get("name"): p for p in t.get("properties") or ()}
        for t in product.contract.get("schema") or ()
    }
    outputs = {
        name: output.model_copy(
            update={
                "columns": tuple(
                    _described(c, said.get(name, {}).get(c.name, {})) for c in output.columns
                )
            }
        )
        for name, output in resolved.outputs.items()
    }
    return product.model_copy(update={"resolved": resolved.model_copy(update={"outputs": outputs})})


def _described(column: Column, said: Mapping[str, Any]) -> Column:
    return column.model_copy(
        update={
            "required": bool(said.get("required", column.required)),
            "description": str(said.get("description", column.description)),
            "classification": str(said.get("classification", column.classification)),
        }
    )


def _check_files(product: Product) -> None:
    """There is a SELECT per output and a schema per topic, and no SQL that nothing runs."""
    settings, folder = product.settings, product.folder
    wanted = [product.select_sql(name) for name in settings.outputs]
    for file in (*wanted, *map(product.schema_file, product.topics)):
        if not file.is_file():
            raise ProductError(file, "a file", "none")
    for file in (*wanted, *(f for f in [product.views_sql] if f.is_file())):
        try:
            file.read_text()
        except UnicodeDecodeError as e:
            raise ProductError(file, "UTF-8", str(e)) from e
    if not settings.outputs:
        raise ProductError(folder / "product.yaml", "at least one output", "none")
    for file in sorted(folder.glob("*.sql")):
        if file not in (*wanted, product.views_sql):
            raise ProductError(
                file,
                f"the SELECT of an output of product.yaml ({', '.join(settings.outputs)}), or "
                "views.sql",
                "a file that nothing runs",
            )
    for file in sorted((folder / "schemas").glob("*.avsc")):
        if file.stem not in settings.topics:
            raise ProductError(
                file,
                f"the schema of a topic of product.yaml ({', '.join(settings.topics)})",
                "a schema that nothing reads",
            )


def _check_names(product: Product) -> None:
    """Of files that product.yaml does not name; those of a release that was built before are as they are."""
    for file in sorted((product.folder / "checks").glob("*.sql")):
        if not names.is_check(file.stem):
            expected = "the name of a check, of letters, digits, '.', '_', '-' and spaces"
            raise ProductError(file, expected, _shown(file.stem))


class _EachOnce(yaml.SafeLoader):
    """YAML whose mappings have each key once: of two, the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        said: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<" and key.value in said:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice", key.start_mark
                )
            said.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        data = yaml.load(file.read_text(), _EachOnce)
    except (FileNotFoundError, NotADirectoryError):
        raise ProductError(file, "a file", "none") from None
    except UnicodeDecodeError as e:
        raise ProductError(file, "UTF-8", str(e)) from e
    except yaml.YAMLError as e:
        raise ProductError(file, "YAML", str(e)) from e
    if not isinstance(data, dict):
        raise ProductError(file, "a mapping", type(data).__name__)
    return data
