"""DuckDB over the product's tables: as published, or at given snapshots."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.product.names import nearest
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError
from replay.query.lent_keys import all_tables, renewed
from replay.query.sandbox import Sandbox, SandboxError, TableVersion, stores
from replay.secret import revealed
from replay.settings import QuerySettings, Settings
from replay.storage import authorities, with_keys

if TYPE_CHECKING:
    import duckdb

    from jobs.product.folder import Product


_T = TypeVar("_T")

_SORTING_MB = 96
_COMPARING_MB = 128
_COLUMN_MB = 4
"""What reading a column of Parquet takes: a page and a dictionary, packed and unpacked; up to twice as much where each
row has another value. 10 columns of such values and 10 of a thousand values each took 96 MB together."""
_BESIDE_MB = 48
"""What comparing rows takes while they are read."""
_TIMES = (1, 2, 4)
"""As much memory is tried, where the settings do not say how much."""


@dataclass(frozen=True)
class Result:
    """Rows of a query, with the columns in their order (also when there are no rows)."""

    columns: list[str]
    rows: list[dict[str, Any]]


def query(
    settings: Settings, product: str, sql: str, *, snapshots: Mapping[str, int] | None = None
) -> Result:
    """Run a SELECT over the product's tables as published, or at `snapshots` (table → snapshot id).

    It runs in a process of its own, which reads these tables and nothing else.
    """
    sandbox = Sandbox(settings.queries, settings.spill)  # it starts while the catalog is asked
    tables: dict[str, TableVersion] = {}
    try:
        tables = places(settings, product, snapshots)
        sandbox.open({product: tables})
        answer = sandbox.ask(sql)
    except SandboxError as e:
        raise in_words(e, product, sorted(tables), settings.queries) from e
    finally:
        sandbox.close()
    return Result(
        answer.columns, [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    )


def places(
    settings: Settings, product: str, snapshots: Mapping[str, int] | None = None
) -> dict[str, TableVersion]:
    """Where the product's tables are, all of one instant, or at exactly these snapshots."""
    # here: these libraries take longer to import than a query's process to start
    from replay.iceberg import sql_places

    found = sql_places.places(settings, product)
    if found is None:
        from replay.iceberg import lake

        found = lake.places(lake.open_catalog(settings), product)
    reading = revealed(settings.queries.storage)
    _refuse_unknown(product, set(found), set(snapshots or ()))
    shown = (
        {table: place.snapshot for table, place in found.items()}
        if snapshots is None
        else snapshots
    )
    return {
        table: TableVersion(
            found[table].location, snapshot, with_keys(found[table].properties, reading)
        )
        for table, snapshot in shown.items()
    }


def _refuse_unknown(product: str, found: set[str], asked: set[str]) -> None:
    """ConfigError for a product without tables, or without one that is asked for."""
    if missing := asked - found:
        raise ConfigError(
            f"product {product} has no such table",
            expected=", ".join(sorted(found)) or "tables",
            found=", ".join(sorted(missing)),
            next=f"kappa deploy {product}",
        )
    if not found:
        raise ConfigError(
            f"product {product} has no tables",
            expected="a deployed product",
            found=f"no table in namespace {product}",
            next=f"kappa deploy {product}",
        )


@contextmanager
def open_tables(
    settings: Settings,
    product: str,
    snapshots: Mapping[str, int] | None = None,
    *,
    memory_mb: int | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with one view per table, all of one instant, or at exactly these snapshots.

    For SQL of this project: what people wrote runs in a sandbox. It reads the tables' folders and nothing else.
    `memory_mb`: what it may take where the settings say nothing; by default enough to compare whole rows.
    """
    with open_schemas(settings, product, {product: snapshots}, memory_mb=memory_mb) as connection:
        yield connection


@contextmanager
def open_schemas(
    settings: Settings,
    product: str,
    schemas: Mapping[str, Mapping[str, int] | None],
    *,
    memory_mb: int | None = None,
    times: int = 1,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `open_tables`, with a schema of views for each set of snapshots (None: as published). The first is in use.

    `times`: as much memory, where the settings do not say how much.
    """
    # here: a process that only asks a sandbox needs no DuckDB
    from replay.query.duck import connect, reach

    def ask() -> dict[str, dict[str, TableVersion]]:
        return {s: places(settings, product, snapshots) for s, snapshots in schemas.items()}

    at = ask()
    with connect() as connection:
        reach(connection, stores(all_tables(at)), authorities())
        for schema, tables in at.items():
            _create_views(connection, product, schema, tables)
        connection.execute(f'USE "{next(iter(schemas))}"')
        wanted = memory_mb or comparing_mb(_columns(connection, schemas))
        memory = settings.queries.audit_memory_mb or wanted * times
        _confine(connection, settings, memory, sorted({place.folder for place in all_tables(at)}))
        with renewed(connection, at, ask), _in_words(settings, memory):
            yield connection


def _confine(
    connection: duckdb.DuckDBPyConnection, settings: Settings, memory: int, folders: list[str]
) -> None:
    """Let it take so much memory and read these folders, and nothing change that."""
    connection.execute(f"SET memory_limit = '{memory}MiB'")
    # each would take as much memory as the other to read the same columns
    connection.execute("SET threads = 1")
    connection.execute("SET preserve_insertion_order = false")
    # What does not fit into memory is spilled beside the lake, not into the caller's working directory.
    connection.execute("SET temp_directory = $folder", {"folder": str(settings.spill)})
    connection.execute("SET allowed_directories = $folders", {"folders": folders})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def with_more_memory(settings: Settings, work: Callable[[int], _T]) -> _T:
    """What a work with `open_schemas` returns, begun again with several times the memory while that is too little."""
    *more, most = _TIMES if settings.queries.audit_memory_mb is None else (1,)
    for times in more:
        try:
            return work(times)
        except RefusedError as e:
            if not _too_little_memory(e):
                raise
    return work(most)


def _too_little_memory(error: KappaError) -> bool:
    import duckdb

    return isinstance(error.__cause__, duckdb.OutOfMemoryException)


def comparing_mb(columns: int) -> int:
    """Enough memory to read rows of so many columns, and to compare and sort beside it what does not have to fit."""
    return max(_COMPARING_MB, _BESIDE_MB + _COLUMN_MB * columns)


def sorting_mb(rows: int) -> int:
    """Enough memory to sort the places of so many rows.

    What is sorted at a time grows with the memory, and what merging takes, a block or two of each such part, with the
    number of parts: hence the root. With 96 MB it is enough for some 300 million.
    """
    return max(_SORTING_MB, math.ceil(8 * math.sqrt(rows / 1e6)))


def _columns(connection: duckdb.DuckDBPyConnection, schemas: Iterable[str]) -> int:
    """Of the widest table; with parts of nested ones, which commas separate (as they do the digits of a DECIMAL)."""
    [(most,)] = connection.execute(
        """
        SELECT coalesce(max(columns), 0) FROM (
            SELECT sum(1 + length(data_type) - length(replace(data_type, ',', ''))) AS columns FROM duckdb_columns()
            WHERE schema_name IN (SELECT unnest($schemas)) GROUP BY schema_name, table_name)""",
        {"schemas": list(schemas)},
    ).fetchall()
    return int(most)


@contextmanager
def _in_words(settings: Settings, memory: int) -> Iterator[None]:
    """What DuckDB says of our own SQL that is no fault of the SQL."""
    import duckdb

    try:
        yield
    except duckdb.IOException as e:  # an object store that does not answer, too
        raise RetryableError(
            "a file of the tables cannot be read",
            expected="files that the snapshots name",
            found=str(e).splitlines()[0],
            next="repeat the command",
        ) from e
    except duckdb.OutOfMemoryException as e:
        raise RefusedError(
            "an audit or a comparison needs more memory, or disk to spill to",
            expected=f"{memory:,} MB, and room in {settings.spill}",
            found=str(e).splitlines()[0],
            next=f"set queries.audit_memory_mb to {2 * memory} in config.yaml, then repeat it",
        ) from e


def _create_views(
    connection: duckdb.DuckDBPyConnection,
    product: str,
    schema: str,
    tables: Mapping[str, TableVersion],
) -> None:
    import duckdb

    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    for table, place in sorted(tables.items()):
        at = f", snapshot_from_id => {place.snapshot}" if place.snapshot is not None else ""
        try:
            connection.execute(
                f'CREATE VIEW "{schema}"."{table}" AS SELECT * FROM '
                f"iceberg_scan('{place.location}'{at})"
            )
        except duckdb.Error as e:
            raise RetryableError(
                f"table {product}.{table} cannot be read",
                expected=f"its metadata at {place.location}",
                found=str(e).splitlines()[0],
                next="repeat the command",
            ) from e


def in_words(
    error: SandboxError, product: str, tables: Sequence[str], limits: QuerySettings
) -> KappaError:
    """What a person is told, and could write instead."""
    show = f'kappa query {product} "SHOW TABLES"'
    match error.kind:
        case "refused":
            return RefusedError(
                "queries only read, and only the product's tables",
                expected=error.expected,
                found=error.found,
                next=show,
            )
        case "name" | "column":
            return _unknown_name(error, product, tables)
        case "file":
            return RetryableError(
                "a file of the tables cannot be read",
                expected="files that the published snapshots name",
                found=error.found,
                next="repeat the query",
            )
        case "sql":
            return ConfigError(
                "the query cannot run",
                expected="a SELECT in DuckDB's SQL",
                found=error.found,
                next=show,
            )
    return limited(error, limits, "the query")


def limited(error: SandboxError, limits: QuerySettings, what: str) -> KappaError:
    """A statement that came to the end of a limit, named."""
    match error.kind:
        case "time":
            return RefusedError(
                f"{what} took too long",
                found=error.found,
                expected=f"an answer within {limits.seconds:g} s",
                next=f"the same with --timeout {2 * limits.seconds:g}, or raise queries.seconds in config.yaml",
            )
        case "memory":
            return RefusedError(
                f"{what} needs too much memory or disk",
                found=error.found,
                expected=f"at most {limits.memory_mb:,} MB of memory, {limits.disk_mb:,} MB of disk",
                next="raise queries.memory_mb or queries.disk_mb in config.yaml, or ask for less",
            )
        case "answer":
            return RefusedError(
                f"the answer of {what} is too large",
                found=error.found,
                expected=f"at most {limits.memory_mb:,} MB",
                next="add a LIMIT, or raise queries.memory_mb in config.yaml",
            )
    return RetryableError(
        f"{what} has no answer",
        expected="an answer of its process",
        found=error.found,
        next="repeat it",
    )


def condition_error(
    error: SandboxError, limits: QuerySettings, product: Product, topic: str
) -> KappaError:
    """A `where` of product.yaml that cannot be decided of the records of a topic."""
    what = f"outputs.….where of {product.name}"
    if error.kind in ("time", "memory", "answer", "ended"):
        return limited(error, limits, what)
    file = product.folder / "product.yaml"
    return ConfigError(
        f"the audit cannot decide {what}",
        expected=f"a condition over the columns of {topic}",
        found=error.found,
        next=f"fix {file}",
    )


def _unknown_name(error: SandboxError, product: str, tables: Sequence[str]) -> ConfigError:
    known = [column for columns in error.columns.values() for column in columns]
    if error.table:
        found, names, said = error.found, list(tables), f"tables {', '.join(tables)}"
    elif error.kind == "name":
        found, names, said = error.found, [], error.expected
    else:
        said = (
            "; ".join(f"{t}({', '.join(c)})" for t, c in error.columns.items())
            or f"tables {', '.join(tables)}"
        )
        found, names = error.found, known
    meant = nearest(error.name or _unknown_column(error.found), names)
    example = next(iter(error.columns), None) or (meant if meant in tables else tables[0])
    return ConfigError(
        "the query names something that does not exist",
        expected=f"{said}; did you mean {meant}?" if meant else said,
        found=found,
        next=f'kappa query {product} "DESCRIBE {example}"',
    )


_UNKNOWN = re.compile(r'(?:column |name )"?([\w$]+)"? (?:not found|does not exist)')


def _unknown_column(reason: str) -> str:
    """The name that DuckDB did not find."""
    return next(iter(_UNKNOWN.findall(reason)), "")
