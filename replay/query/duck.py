"""DuckDB in memory, which reads Iceberg tables; with few imports, for a process that lives for one query."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from replay.errors import ConfigError, RetryableError

NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)
"""What finding a host by its name and judging its certificate reads."""


@contextmanager
def connect(
    threads: int | None = None, *, iceberg: bool = True
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that reads Iceberg, with the extensions from PyPI: nothing is downloaded.

    Without `iceberg` that is to be loaded yet: it takes 16 MB.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",  # a table's name means a table, never a variable of ours
        "allow_persistent_secrets": "false",
    }
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(":memory:", config=config)
    try:
        if iceberg:
            load_iceberg(connection)
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def load_iceberg(connection: duckdb.DuckDBPyConnection) -> None:
    """From now on it reads tables of Iceberg."""
    for name in ("avro", "iceberg"):  # iceberg reads manifests with avro
        connection.execute(f"LOAD '{_extension(name)}'")


def reach(
    connection: duckdb.DuckDBPyConnection,
    stores: Mapping[str, Mapping[str, str]],
    authorities: str = "",
) -> None:
    """Let a connection read folders of object stores: folder → options of a secret that is for this folder alone.

    `authorities`: a PEM file of who signs the stores' certificates; by default those that the system trusts.
    """
    if not stores:
        return
    connection.execute(f"LOAD '{_extension('httpfs')}'")
    if authorities:
        connection.execute("SET ca_cert_file = $file", {"file": authorities})
    lend(connection, stores)


def lend(connection: duckdb.DuckDBPyConnection, stores: Mapping[str, Mapping[str, str]]) -> None:
    """The same folders with other keys: statements that begin from now on use them."""
    for number, (folder, options) in enumerate(sorted(stores.items())):
        said = ", ".join(f"{name} {_quoted(value)}" for name, value in options.items())
        connection.execute(
            f"CREATE OR REPLACE SECRET store_{number} (TYPE s3, SCOPE {_quoted(f'{folder}/')}, {said})"
        )


def port_of(options: Mapping[str, str]) -> int:
    """Where an object store listens."""
    port = options.get("ENDPOINT", "").rpartition(":")[2]
    return int(port) if port.isdigit() else 80 if options.get("USE_SSL") == "false" else 443


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@contextmanager
def interrupted(connection: duckdb.DuckDBPyConnection, seconds: float, what: str) -> Iterator[None]:
    """End what a connection is asked within a block when it takes longer; RetryableError then."""
    over = threading.Event()

    def end() -> None:
        over.set()
        connection.interrupt()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException as e:
        if not over.is_set():
            raise
        raise RetryableError(
            f"{what} takes too long",
            expected=f"an answer within {seconds:g} s",
            found="none",
            next="raise queries.seconds in config.yaml",
        ) from e
    finally:
        timer.cancel()


def names_of(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """Column names; a repeated one gets a number, so that no value is lost."""
    names: list[str] = []
    for column in cursor.description or ():
        name, n = column[0], 2
        while name in names:
            name, n = f"{column[0]}_{n}", n + 1
        names.append(name)
    return names


def _extension(name: str) -> Path:
    """The extension's file in its wheel, of the version of the installed DuckDB."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    file = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.is_file():
        raise ConfigError(
            f"DuckDB's extension {name} is not installed",
            expected=f"duckdb-extension-{name}=={duckdb.__version__} from PyPI",
            found=f"no file {file}",
            next="make install",
        )
    return file
