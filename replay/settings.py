"""Where everything is: addresses, catalog, store. `kappa up` writes the file; for another cluster, a person does."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from replay import kafka_names
from replay.errors import ConfigError
from replay.home import kappa_home
from replay.secret import Address, Options, Secret, refers
from replay.versions import USE_NEWER, refuse_newer

VERSION = 2
"""Of the form of the file: a field that this program does not know is a mistake in this version, and news in the next.
In version 1 Flink's Kafka client also got the properties of `kafka`.
"""


class TlsSettings(BaseModel):
    """Files in PEM form, for clients in Python and in Java: on another cluster they are at the same path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = None
    """Certificates of those who may sign the server's; by default those that the client's library trusts."""
    certificate: Path | None = None
    """The client's own: its certificate, those of who signed it, and its private key (PKCS #8), in one file."""
    key_password: Secret | None = None


class RegistrySettings(BaseModel):
    """The Confluent schema registry API, and how to log in there: as a user, with a token, or by TLS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    """Base URL, without user and password."""
    user: Secret | None = None
    """`user:password`; it may be written in `url` too."""
    token: Secret | None = None
    """A bearer token, in place of a user."""
    tls: TlsSettings = TlsSettings()

    @model_validator(mode="before")
    @classmethod
    def _take_user(cls, data: Any) -> Any:
        """The URL is in many a message: who logs in there is kept apart. A URL alone stands for all."""
        data = {"url": data} if isinstance(data, str) else data
        if not isinstance(data, dict) or not isinstance(data.get("url"), str):
            return data
        scheme, found, rest = data["url"].partition("://")
        user, at, host = rest.rpartition("@")
        return {**data, "url": f"{scheme}{found}{host}", "user": unquote(user)} if at else data

    @model_validator(mode="after")
    def _one_login(self) -> RegistrySettings:
        if self.user and self.token:
            raise ValueError("either user or token")
        return self


class FlinkSettings(BaseModel):
    """How to submit to and ask a Flink cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rest: str
    """REST address, http://host:port or https://host:port."""
    tls: TlsSettings = TlsSettings()
    """For REST over https. What `flink run` needs for it is in Flink's own `conf/config.yaml`: security.ssl.rest.…"""
    home: Path
    """FLINK_HOME whose `bin/flink` submits (connectors in its lib/)."""
    checkpoints: str
    """URI below which every attempt gets its own checkpoint folder."""
    clusters: tuple[str, ...] = ()
    """A program that starts and stops a Flink cluster for one attempt; empty: all attempts share the one at `rest`."""


class CatalogSettings(BaseModel):
    """The Iceberg catalog, as Flink (Java) and as pyiceberg see it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "lake"
    """Also the key of the rows in a SQL catalog: the same for Flink and pyiceberg."""
    flink: Options
    """Options of Iceberg's Flink catalog: catalog-impl, uri, warehouse, …"""
    pyiceberg: Options
    """Properties of pyiceberg's catalog: type, uri, warehouse, …"""


class QuerySettings(BaseModel):
    """Limits of one statement of `kappa query`, of a check or of a quality rule; each runs in a process of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=300, gt=0)
    """Until it is ended."""
    memory_mb: int = Field(default=2048, ge=64)
    """Of DuckDB, and of an answer."""
    disk_mb: int = Field(default=10_240, ge=0)
    """For what does not fit into memory, below `$KAPPA_HOME/spill`."""
    audit_memory_mb: int | None = Field(default=None, ge=64)
    """Of DuckDB in audits, diffs and the default checks: what does not fit is spilled, without a limit of disk. None:
    96 for audits, more from 144 million records on (`query.sorting_mb`), otherwise 128, more for rows of more than
    twenty columns (`query.comparing_mb`), and for a diff up to four times as much where that is too little. Python and
    its libraries come on top."""

    storage: Options = Field(default_factory=dict)
    """Differences to `storage` for reading tables in an object store: keys that only read, such as
    s3.access-key-id and s3.secret-access-key."""

    @property
    def memory_bytes(self) -> int:
        return self.memory_mb << 20

    @property
    def disk_bytes(self) -> int:
        return self.disk_mb << 20


class ControllerSettings(BaseModel):
    """How much `kappa controller` does at the same time, and where it answers /metrics and /healthz: without
    authentication, hence on loopback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: int | None = Field(default=19_094, ge=0, le=65_535)
    """null: on none; 0: on any that is free."""
    stalled_seconds: float = Field(default=600, gt=0)
    """/healthz answers 503 when no round, pass, step or check was finished for so long: longer than a query may take,
    and than a Flink cluster may take to start."""

    workers: int = Field(default=32, ge=1)
    """Products served at the same time: most of the time of each is waiting for answers."""
    checks: int = Field(default=4, ge=1)
    """Of these, products whose checks run: each takes up to `queries.memory_mb`."""
    step_seconds: float = Field(default=1800, gt=0)
    """How long a step of one product may take before its lease is no longer renewed: all its checks together, or the
    removal of a large attempt's files."""

    @field_validator("address")
    @classmethod
    def _is_ip_address(cls, value: str) -> str:
        return str(ip_address(value))


class Settings(BaseModel):
    """The file `$KAPPA_HOME/config.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = VERSION
    """Of the file's form."""
    home: Path
    kafka: Options
    """librdkafka properties of every client: bootstrap.servers, security, …"""
    kafka_java: Options = Field(default_factory=dict)
    """Properties of Flink's Kafka client, which has other names for them; `bootstrap.servers` as above by default."""
    storage: Options = Field(default_factory=dict)
    """Properties of object stores by PyIceberg's names: s3.endpoint, s3.region, s3.access-key-id, … Without keys, those
    of the environment, of a profile or of the machine's role."""
    shared: str = ""
    """URI of a folder where controllers on several hosts find archived releases and what jobs are bound to; this home
    keeps copies. Empty: they are in this home alone."""
    kafka_storage_replicated: bool = False
    """The brokers' storage is replicated itself, as an object store is: one replica of a topic loses nothing."""
    registry: RegistrySettings
    flink: FlinkSettings
    catalog: CatalogSettings
    store: Address
    """SQLAlchemy URL of the controller's store."""
    secrets: Path
    """Folder of secret files, one secret a file, readable by Flink's TaskManagers."""
    queries: QuerySettings = QuerySettings()
    controller: ControllerSettings = ControllerSettings()

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, data: Any) -> Any:
        """Version 1 had `registry_user` beside a URL, and one set of properties for both Kafka clients."""
        if not isinstance(data, dict) or data.get("version", 1) != 1:
            return data
        data = {**data, "version": VERSION}
        user = data.pop("registry_user", None)
        if user is not None and isinstance(data.get("registry"), str):
            data["registry"] = {"url": data["registry"], "user": user}
        kafka, java = data.get("kafka"), data.get("kafka_java", {})
        if isinstance(kafka, dict) and isinstance(java, dict):
            data["kafka_java"] = kafka_names.of_both(kafka, java)
        return data

    @model_validator(mode="after")
    def _refuse_mixed(self) -> Settings:
        if problem := kafka_names.mixed(self.kafka, self.kafka_java):
            raise ValueError(problem)
        return self

    @property
    def spill(self) -> Path:
        """Where queries put what does not fit into memory."""
        return self.home / "spill"

    @property
    def releases(self) -> Path:
        """The release archive: one folder per product and fingerprint."""
        return self.home / "releases"


def load_settings(home: Path | None = None) -> Settings:
    """Read the settings; ConfigError when there are none or a field is wrong."""
    home = home or kappa_home()
    path = home / "config.yaml"
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            "there are no settings yet", expected=str(path), found="no such file", next="kappa up"
        ) from None
    except yaml.YAMLError as e:
        raise ConfigError(f"{path} is not YAML", found=_place(e), next=f"fix {path}") from None
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds no settings",
            expected="fields with their values",
            found=f"a value of the type {type(data).__name__}",
            next=f"fix {path}",
        )
    refuse_newer(
        str(path),
        data.get("version", VERSION),
        VERSION,
        next=f"{USE_NEWER}; or see docs/upgrades.md and fix {path}",
    )
    try:
        found = Settings.model_validate({"home": home, **data})
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ConfigError(
            f"{path} is wrong" + (f" at '{where}'" if where else ""),
            expected=first["msg"],
            found=_found(first),
            next=f"fix {path}; or, where it was written by the embedded stack, kappa up",
        ) from None
    _refuse_references(path, found)
    return found


def _refuse_references(path: Path, value: object, where: str = "") -> None:
    """ConfigError for a reference to a secret where none is looked up: fields with secrets have a type of their own."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            _refuse_references(path, getattr(value, name), f"{where}.{name}".lstrip("."))
    elif isinstance(value, str | Path | tuple) and refers(str(value)):
        raise ConfigError(
            f"{path} is wrong at '{where}'",
            expected="a value: ${file:…} and ${env:…} are for options "
            "of clients, for `store`, and for user, token and password",
            found=str(value),
            next=f"fix {path}",
        )


_PUBLIC = ("controller", "flink", "home", "queries", "secrets")


def _found(error: ErrorDetails) -> str:
    """The value, unless it is of a part of the file where secrets are."""
    value = error.get("input")
    if error["loc"][:1] and error["loc"][0] in _PUBLIC and not isinstance(value, dict):
        return repr(value)[:200]
    return (
        "nothing" if error["type"] == "missing" else f"a value of the type {type(value).__name__}"
    )


def _place(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the lines themselves."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "no YAML"
    return f"{problem}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(problem)
