"""The model of a product's folder: product.yaml, contract.yaml and the SQL beside them."""

from __future__ import annotations

import itertools
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

_NAME = r"^[a-z][a-z0-9_]*$"
_DURATION = re.compile(r"^(\d+)\s*(ms|s|min|h|d)$")
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


class ProductError(Exception):
    """A product's folder is wrong: which file, what was expected, what was found."""

    def __init__(self, file: Path, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file, self.expected, self.found = file, expected, found


def seconds(duration: str) -> float:
    """'10s', '6h', '500ms', '5min', '2d' in seconds; ValueError for anything else."""
    match = _DURATION.match(duration.strip())
    if not match:
        raise ValueError(f"a duration such as '10s', '5min' or '6h', not {duration!r}")
    return int(match[1]) * _SECONDS[match[2]]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Role(StrEnum):
    """What a topic is to a product."""

    events = "events"
    """Facts: judged late by the log's clock, accounted for record by record."""
    dimension = "dimension"
    """Versions of things, read without end; needs its own clock: records or heartbeats keep coming."""
    reference = "reference"
    """Versions of things, read up to the end offsets fixed when a release is built; changes need a new release."""


class Topic(_Model):
    """One input topic."""

    role: Role
    allowed_lateness: str | None = None
    """L: a record is late when it was appended more than this after it happened. Events and dimensions need one."""
    identity: tuple[str, ...] = ()
    """Columns of an event that make two records the same event; the row table has columns of the same names."""
    once: bool = False
    """The source hands on each event once, by `identity` and time, when its partition's clock has passed it and in
    order of time; SQL declares WATERMARK FOR t AS t. An event is sent again to the same partition, and a TaskManager
    holds in memory what is younger than `allowed_lateness`."""
    key: tuple[str, ...] = ()
    """Of a reference or a dimension T: columns of which its versions are. SQL has them as the table function
    T_at(time, key…); a TaskManager holds the versions in memory, of a dimension those of the times being looked up."""

    @field_validator("allowed_lateness")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value


class Kind(StrEnum):
    """What an output is to the accounting."""

    rows = "rows"
    """One row per event, with `log_partition` and `log_offset` of the topic `of`."""
    aggregate = "aggregate"
    """Windows over rows."""
    rejects = "rejects"
    """Late and undecodable records, with `log_topic`, `log_partition`, `log_offset`, `reason`, `payload`."""


class Window(_Model):
    """The window behind a row of an aggregate."""

    column: str
    """A TIMESTAMP or DATE column: where the window begins, on the product's clock (`time_zone`)."""
    size: str

    @field_validator("size")
    @classmethod
    def _duration(cls, value: str) -> str:
        seconds(value)
        return value


class Output(_Model):
    """One output table."""

    kind: Kind
    of: str | None = None
    """The event topic that a table of kind `rows` accounts for."""
    key: tuple[str, ...] = ()
    """Columns that make two rows of two releases the same row. By default of a table of kind `rows` the identity of its
    topic, of rejects their place in the log, of an aggregate all columns."""
    window: Window | None = None
    """Of an aggregate: which windows are closed in both releases can only be told with it."""


class Function(_Model):
    """A Python function that SQL may call."""

    python: str = Field(pattern=r"^[\w.]+:\w+$")
    """module:attribute, importable from the release, e.g. udfs.privacy:pseudonym"""
    returns: str
    """Flink SQL type of the result."""
    vectorised: bool = False
    """Called with pandas Series instead of values."""
    deterministic: bool = False
    """The author's word that equal arguments give equal results, in every run."""


class LagLimit(_Model):
    """How far behind the log's end a release may be and count as caught up."""

    records: int = 10_000
    seconds: float = 60
    checkpoints: int = Field(default=2, ge=1)
    """For so many checkpoints in a row."""


class Switch(StrEnum):
    """Who switches readers over to a release that has caught up."""

    auto = "auto"
    manual = "manual"


class ProductSettings(_Model):
    """product.yaml"""

    name: str = Field(pattern=_NAME)
    description: str = ""
    time_zone: str = "UTC"
    """What a TIMESTAMP without zone means, and where days begin: Flink's table.local-time-zone."""
    parallelism: int = Field(default=2, ge=1)
    checkpoint_interval: str = "10s"
    """Of a job near the end of the log: also how often its tables commit."""
    backlog_checkpoint_interval: str = "1min"
    """Of a job that works off a backlog, as a replay does: fewer commits, larger files; never less than the other."""
    longest_wait: str = "1h"
    """The longest window, on the log's clock, in which an accepted record waits before its row is written."""
    max_drift: str | None = None
    """How far one partition is read ahead of another on the log's clock. What is read ahead is held in state, so this
    bounds it; choose what a replay reads in a second or more, for partitions are told to wait twenty times a second."""
    topics: dict[str, Topic]
    lookups: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Per name N, topics with a key, by what they are looked up as: N_at(time, key…, key…) gives in one row, for less,
    what T_at() gives of each. Column c of what is looked up as n is n_c, NULL where nothing is valid."""
    outputs: dict[str, Output]
    functions: dict[str, Function] = Field(default_factory=dict)
    flink: dict[str, str] = Field(default_factory=dict)
    """Further Flink settings of the job, such as state.backend.type."""
    lag_limit: LagLimit = LagLimit()
    switch: Switch = Switch.manual
    deadline: str = "1d"
    """A candidate that has not caught up this long after its deploy is aborted."""
    max_restarts: int = Field(default=5, ge=1)
    """A candidate whose job restarts more often than this without a checkpoint in between is aborted."""
    standbys: int = Field(default=1, ge=0)
    """Superseded attempts whose jobs go on, so that readers can be taken back at once; older ones are retired."""
    warnings: tuple[str, ...] = ()
    """Checks, by name, that are shown and do not block a switch."""

    @field_validator("checkpoint_interval", "backlog_checkpoint_interval", "longest_wait", "deadline", "max_drift")
    @classmethod
    def _durations(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    def lateness(self, topic: str) -> float:
        """Allowed lateness in seconds; 0 of a reference."""
        return seconds(self.topics[topic].allowed_lateness or "0s")

    @model_validator(mode="after")
    def _consistent(self) -> ProductSettings:
        for name, topic in self.topics.items():
            if topic.role is not Role.reference and topic.allowed_lateness is None:
                raise ValueError(f"topic {name} ({topic.role.value}) needs allowed_lateness")
            if topic.once and not (topic.role is Role.events and topic.identity):
                raise ValueError(f"topic {name} is read once, which takes role events and an identity")
            if topic.role is Role.events and topic.key:
                raise ValueError(f"topic {name} (events) has a key, and only references and dimensions do")
        widest = max(map(self.lateness, self.topics), default=0)
        if self.max_drift and seconds(self.max_drift) <= widest:
            raise ValueError("max_drift is longer than every allowed_lateness, or topics wait for each other for ever")
        events = {n for n, t in self.topics.items() if t.role is Role.events}
        looked_up = [n for n, t in self.topics.items() if t.role is Role.dimension and t.key]
        for name, event in itertools.product(looked_up, sorted(events)):
            if self.lateness(name) > self.lateness(event):
                raise ValueError(f"dimension {name} has a key, and a longer allowed_lateness than {event}, which would "
                                 f"always wait for it: leave out the key and write an event-time temporal join")
        for name, found in self.lookups.items():
            if name in self.topics:
                raise ValueError(f"lookups {name} has the name of a topic, which has a {name}_at() of its own")
            if wrong := [n for n in (name, *found) if not re.match(_NAME, n)]:
                raise ValueError(f"lookups {name} needs names of small letters, digits and _, found {wrong}")
            keyed = sorted(t for t, topic in self.topics.items() if topic.key)
            if not found or not set(keyed).issuperset(found.values()):
                raise ValueError(f"lookups {name} is of topics with a key: {keyed}, found {sorted(found.values())}")
        for name, output in self.outputs.items():
            if output.kind is Kind.rows and output.of not in events:
                raise ValueError(f"output {name} of kind rows needs 'of': one of {sorted(events)}")
            if output.kind is not Kind.aggregate and output.window:
                raise ValueError(f"output {name} has a window, and only aggregates do")
        return self


class Column(_Model):
    """A column of an output table."""

    name: str
    type: str
    """Flink SQL type, e.g. STRING, TIMESTAMP_LTZ(6)."""
    required: bool = False
    description: str = ""
    classification: str = ""


class Product(_Model):
    """A product's folder, read and validated."""

    folder: Path
    settings: ProductSettings
    contract: dict[str, Any]
    """contract.yaml (Open Data Contract Standard v3.1) as read."""
    columns: dict[str, tuple[Column, ...]]
    """Per output table, from the contract's schema."""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output tables."""
        return tuple(self.settings.outputs)

    @property
    def sources_sql(self) -> Path:
        return self.folder / "sources.sql"

    @property
    def output_sql(self) -> tuple[Path, ...]:
        """One SQL file per output, in the order of product.yaml: a later one may use the views of an earlier one."""
        return tuple(self.folder / f"{name}.sql" for name in self.settings.outputs)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that defines the product, relative to its folder, sorted."""
        return tuple(sorted(p.relative_to(self.folder) for p in self.folder.rglob("*")
                            if p.is_file() and "__pycache__" not in p.parts))

    def schema_file(self, topic: str) -> Path:
        """The Avro schema of a topic's values."""
        return self.folder / "schemas" / f"{topic}.avsc"


def load_product(folder: Path) -> Product:
    """Read a product's folder; ProductError names the file and the field that is wrong."""
    folder = folder.absolute()
    settings_file, contract_file = folder / "product.yaml", folder / "contract.yaml"
    try:
        settings = ProductSettings.model_validate(_read_yaml(settings_file))
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "top level"
        raise ProductError(settings_file, f"{where}: {first['msg']}", repr(first.get("input"))[:200]) from e
    contract = _read_yaml(contract_file)
    columns = _columns(contract_file, contract)
    if missing := set(settings.outputs) - set(columns):
        raise ProductError(contract_file, f"a schema for every output of product.yaml: {sorted(settings.outputs)}",
                           f"none for {sorted(missing)}")
    sql = [folder / f"{name}.sql" for name in ("sources", *settings.outputs)]
    for file in (*sql, *(folder / "schemas" / f"{topic}.avsc" for topic in settings.topics)):
        if not file.is_file():
            raise ProductError(file, "a file", "none")
    for name, output in settings.outputs.items():
        _check_named_columns(settings_file, name, output, columns[name])
    return Product(folder=folder, settings=settings, contract=contract,
                   columns={name: columns[name] for name in settings.outputs})


def _check_named_columns(file: Path, name: str, output: Output, columns: tuple[Column, ...]) -> None:
    """The columns that product.yaml names are in the contract, and a window begins on the wall clock."""
    types = {c.name: c.type for c in columns}
    if unknown := [c for c in output.key if c not in types]:
        raise ProductError(file, f"outputs.{name}.key: columns of the contract ({', '.join(types)})",
                           ", ".join(unknown))
    if output.window:
        column, found = output.window.column, types.get(output.window.column, "none")
        if not re.match(r"(DATE|TIMESTAMP)\b(?!.*ZONE)", found):
            raise ProductError(file, f"outputs.{name}.window.column: a TIMESTAMP or DATE of the contract",
                               f"{column}: {found}")


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise ProductError(file, "a file", "none") from None
    except yaml.YAMLError as e:
        raise ProductError(file, "YAML", str(e)) from e
    if not isinstance(data, dict):
        raise ProductError(file, "a mapping", type(data).__name__)
    return data


def _columns(file: Path, contract: dict[str, Any]) -> dict[str, tuple[Column, ...]]:
    """The tables of an Open Data Contract: schema[].name and properties[].{name, physicalType, required, …}."""
    tables: dict[str, tuple[Column, ...]] = {}
    for table in contract.get("schema") or ():
        columns = []
        for p in table.get("properties") or ():
            if not p.get("name") or not p.get("physicalType"):
                wanted = f"name and physicalType (a Flink SQL type) of every property of {table.get('name')}"
                raise ProductError(file, wanted, repr(p)[:200])
            columns.append(Column(
                name=p["name"], type=str(p["physicalType"]).upper(), required=bool(p.get("required")),
                description=str(p.get("description", "")), classification=str(p.get("classification", ""))))
        tables[str(table.get("name"))] = tuple(columns)
    return tables
