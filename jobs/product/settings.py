"""The settings of a product: all that product.yaml may say."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator, model_validator

from jobs.product import names, zones
from jobs.product.consistency import problems
from jobs.product.model import Function, Model, OutputSettings, Topic, seconds

_PERCENT = re.compile(r"[0-9]+(\.[0-9]+)?\s*%")


class LagLimit(Model):
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


class ProductSettings(Model):
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
    """How often a job near the end of the log makes a checkpoint. Tables commit at each, so it decides how fresh they
    are."""
    backlog_checkpoint_interval: str = "1min"
    """The same for a job with a backlog, such as a replay, until every partition is within 10,000 records of its end.
    It makes fewer commits and larger files. Never less than `checkpoint_interval`."""
    max_drift: str | None = None
    """How far one partition of events and dimensions may be read ahead of the others, by the log's clock. What is read
    ahead is held in state, so this bounds memory and speeds up temporal joins. Choose more than any allowed lateness,
    and at least what a replay reads in a second: which partitions wait is decided twenty times a second."""
    topics: dict[str, Topic]
    """The input topics, by the name of their table in SQL, which is also that of their schema, schemas/NAME.avsc,
    schemas/NAME.json or schemas/NAME.proto."""
    lookups: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Several look-ups in one, at less cost: `N: {a: T, b: U}` makes a function N_at(time, key of T…, key of U…), which
    gives one row with the columns of T as a_… and those of U as b_…. They are NULL where no version is valid."""
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
    """A candidate whose job restarts more often than this without a checkpoint in between has failed."""
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
        for problem in problems(self):
            raise ValueError(problem)
        return self
