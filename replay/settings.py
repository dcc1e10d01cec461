"""Where everything is: addresses, catalog, store. `kappa up` writes the file; for another cluster, a person does."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from replay.errors import ConfigError


class FlinkSettings(BaseModel):
    """How to submit to and ask a Flink cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rest: str
    """REST address, http://host:port."""
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
    flink: dict[str, str]
    """Options of Iceberg's Flink catalog: catalog-impl, uri, warehouse, …"""
    pyiceberg: dict[str, str]
    """Properties of pyiceberg's catalog: type, uri, warehouse, …"""


class Settings(BaseModel):
    """The file `$KAPPA_HOME/config.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path
    kafka: dict[str, str]
    """librdkafka properties of every client: bootstrap.servers, security, …"""
    kafka_java: dict[str, str] = Field(default_factory=dict)
    """Properties of Flink's Kafka client where they differ from `kafka`."""
    registry: str
    """Base URL of the Confluent schema registry API."""
    flink: FlinkSettings
    catalog: CatalogSettings
    store: str
    """SQLAlchemy URL of the controller's store."""
    secrets: Path
    """Folder of secret files, one secret a file, readable by Flink's TaskManagers."""

    @property
    def releases(self) -> Path:
        """The release archive: one folder per product and fingerprint."""
        return self.home / "releases"


def kappa_home() -> Path:
    """`$KAPPA_HOME`, by default `.kappa` below the working directory."""
    return Path(os.environ.get("KAPPA_HOME") or ".kappa").absolute()


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
        raise ConfigError(f"{path} is not YAML", found=str(e), next=f"mend {path}") from e
    try:
        return Settings.model_validate({"home": home, **(data or {})})
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ConfigError(
            f"{path} is wrong at '{where}'", expected=first["msg"], found=repr(first.get("input"))[:200],
            next=f"mend {path}, or delete it and run: kappa up",
        ) from e
