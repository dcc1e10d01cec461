"""DuckDB over the product's tables: as published, or at given snapshots."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from jobs.problem import nearest
from replay import lake
from replay.errors import ConfigError, RefusedError, RetryableError
from replay.settings import Settings

_READS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
_HARMLESS = _READS | {duckdb.StatementType.CREATE}
"""CREATE: PIVOT is one (of a type) and a SELECT; the database is in memory."""


@dataclass(frozen=True)
class Result:
    """Rows of a query, with the columns in their order (also when there are no rows)."""

    columns: list[str]
    rows: list[dict[str, Any]]


def query(settings: Settings, product: str, sql: str, *, snapshots: Mapping[str, int] | None = None) -> Result:
    """Run a SELECT over the product's tables as published, or at `snapshots` (table → snapshot id)."""
    with open_tables(settings, product, snapshots) as connection:
        cursor = _execute(connection, product, sql)
        columns = _names(cursor)
        return Result(columns, [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()])


@contextmanager
def open_tables(settings: Settings, product: str,
                snapshots: Mapping[str, int] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with one view per table, all of one instant, or at exactly these snapshots.

    It reads the tables' folders and nothing else, neither other files nor the network.
    """
    with open_schemas(settings, product, {product: snapshots}) as connection:
        yield connection


@contextmanager
def open_schemas(settings: Settings, product: str,
                 schemas: Mapping[str, Mapping[str, int] | None]) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `open_tables`, with a schema of views for each set of snapshots (None: as published). The first is in use."""
    locations = lake.pointers(lake.open_catalog(settings), product)
    if missing := {table for snapshots in schemas.values() for table in snapshots or ()} - set(locations):
        raise ConfigError(f"product {product} has no such table", expected=", ".join(sorted(locations)) or "tables",
                          found=", ".join(sorted(missing)), next=f"kappa deploy {product}")
    if not locations:
        raise ConfigError(f"product {product} has no tables", expected="a deployed product",
                          found=f"no table in namespace {product}", next=f"kappa deploy {product}")
    with connect() as connection:
        for schema, snapshots in schemas.items():
            _create_views(connection, product, schema, locations, snapshots)
        connection.execute(f'USE "{next(iter(schemas))}"')
        # What does not fit into memory is spilled beside the lake, not into the caller's working directory.
        connection.execute("SET temp_directory = $folder", {"folder": str(settings.home / "spill")})
        folders = [location.removeprefix("file://").rpartition("/metadata/")[0] for location in locations.values()]
        connection.execute("SET allowed_directories = $folders", {"folders": folders})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def _create_views(connection: duckdb.DuckDBPyConnection, product: str, schema: str, locations: Mapping[str, str],
                  snapshots: Mapping[str, int] | None) -> None:
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    for table, location in sorted(locations.items()):
        if snapshots is not None and table not in snapshots:
            continue
        at = f", snapshot_from_id => {snapshots[table]}" if snapshots is not None else ""
        try:
            connection.execute(f"CREATE VIEW \"{schema}\".\"{table}\" AS SELECT * FROM iceberg_scan('{location}'{at})")
        except duckdb.Error as e:
            raise RetryableError(f"table {product}.{table} cannot be read", expected=f"its metadata at {location}",
                                 found=str(e).splitlines()[0], next="repeat the command") from e


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that reads Iceberg, with the extensions from PyPI: nothing is downloaded."""
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    try:
        for name in ("avro", "iceberg"):  # iceberg reads manifests with avro
            connection.execute(f"LOAD '{_extension(name)}'")
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _extension(name: str) -> Path:
    """The extension's file in its wheel, of the version of the installed DuckDB."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    file = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.is_file():
        raise ConfigError(f"DuckDB's extension {name} is not installed",
                          expected=f"duckdb-extension-{name}=={duckdb.__version__} from PyPI", found=f"no file {file}",
                          next="uv sync")
    return file


def _execute(connection: duckdb.DuckDBPyConnection, product: str, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement; errors tell what could have been written instead."""
    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
        if not kinds or kinds[-1] not in _READS or not set(kinds) <= _HARMLESS:
            raise RefusedError("queries only read", expected="one SELECT",
                               found=", ".join(k.name for k in kinds) or "no statement",
                               next=f'kappa query {product} "SHOW TABLES"')
        return connection.execute(sql)
    except duckdb.IOException as e:
        raise RetryableError("a file of the tables cannot be read", expected="files that the published snapshots name",
                             found=str(e).splitlines()[0], next="repeat the query") from e
    except (duckdb.CatalogException, duckdb.BinderException) as e:
        tables = _tables(connection)
        example = next((t for t in tables if t in sql), _meant(e, tables) or tables[0])
        raise ConfigError("the query names something that does not exist", expected=_available(connection, sql, e),
                          found=_reason(e), next=f'kappa query {product} "DESCRIBE {example}"') from e
    except duckdb.Error as e:
        raise ConfigError("the query cannot run", expected="a SELECT in DuckDB's SQL", found=_reason(e),
                          next=f'kappa query {product} "SHOW TABLES"') from e


def _available(connection: duckdb.DuckDBPyConnection, sql: str, error: duckdb.Error) -> str:
    """The tables; for an unknown column, the columns of those that the query mentions."""
    tables = _tables(connection)
    columns = {t: _columns(connection, t) for t in tables if t in sql}
    if isinstance(error, duckdb.CatalogException) or not columns:
        said, names = f"tables {', '.join(tables)}", tables
    else:
        said = "; ".join(f"{t}({', '.join(found)})" for t, found in columns.items())
        names = [c for found in columns.values() for c in found]
    meant = _meant(error, names)
    return f"{said}; did you mean {meant}?" if meant else said


_UNKNOWN = re.compile(r'(?:column |name )"?([\w$]+)"? (?:not found|does not exist)')


def _meant(error: duckdb.Error, names: Sequence[str]) -> str | None:
    unknown = _UNKNOWN.search(str(error))
    return nearest(unknown[1], names) if unknown else None


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [name for name, *_ in connection.execute(f'DESCRIBE "{table}"').fetchall()]


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [name for (name,) in connection.execute("SHOW TABLES").fetchall()]


def _reason(error: duckdb.Error) -> str:
    """The message without DuckDB's picture of the statement and its guesses."""
    return str(error).split("\n\n")[0].splitlines()[0]


def _names(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """Column names; a repeated one gets a number, so that no value is lost."""
    names: list[str] = []
    for column in cursor.description or ():
        name, n = column[0], 2
        while name in names:
            name, n = f"{column[0]}_{n}", n + 1
        names.append(name)
    return names
