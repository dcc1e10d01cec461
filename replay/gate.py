"""The gate: what a product's tables must hold before readers see them, asked of exactly the snapshots to be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
from pyiceberg.io.pyarrow import schema_to_pyarrow

from jobs import generate
from jobs.column_types import Field, Row
from jobs.product import REJECTS, Output, Product
from replay import contracts, query, rejected
from replay.errors import ConfigError, RetryableError
from replay.model import Check, Tables
from replay.quality import Rule, rules
from replay.rejected import Rejected
from replay.settings import Settings
from replay.table_changes import layout_of
from replay.table_types import column_type, iceberg_schema, schema_of
from replay.values import words

_SAMPLE = 5
_LONGEST = 200
"""Characters that a sample shows of one value: results are stored and printed."""
_SELECT = {duckdb.StatementType.SELECT}
_HARMLESS = _SELECT | {duckdb.StatementType.CREATE}
"""CREATE: PIVOT is one (of a type) and a SELECT; the database is in memory."""


@dataclass(frozen=True)
class Select:
    """A check that selects offending rows."""

    name: str
    blocking: bool
    sql: str
    file: Path


@dataclass(frozen=True)
class Default:
    """A check that every product has: what it may reject."""

    name: str
    blocking: bool = True


Wanted = Select | Rule | Default


def checks(product: Product) -> tuple[Wanted, ...]:
    """All checks: what may be rejected, required columns, checks/*.sql, the contract's quality rules.

    ConfigError for one that is wrong.
    """
    file = product.folder / "contract.yaml"
    found: list[Wanted] = [Default(name) for name in rejected.NAMES if REJECTS in product.outputs]
    for table, columns in product.columns.items():
        if required := [f'"{c.name}" IS NULL' for c in columns if c.required]:
            sql = f'SELECT * FROM "{table}" WHERE {" OR ".join(required)}'
            found.append(Select(f"{table}: required columns", True, sql, file))
    found += [Select(f"checks/{f.name}", True, f.read_text(), f) for f in sorted((product.folder / "checks").glob("*"))
              if f.suffix == ".sql"]
    found += rules(product)
    names = [c.name for c in found]
    if unknown := sorted(set(product.settings.warnings) - set(names)):
        settings = product.folder / "product.yaml"
        raise ConfigError(f"{settings} is wrong at 'warnings'", expected=f"names of checks: {', '.join(names)}",
                          found=", ".join(unknown), next=f"mend {settings}")
    return tuple(found)


def run(settings: Settings, tables: Tables, shown: Tables | None = None) -> tuple[Check, ...]:
    """Every check on exactly these snapshots; all rows of a sample are values of JSON.

    `shown` is what readers see of another attempt, with which some checks compare. ConfigError for a check that cannot
    run, RetryableError when a file cannot be read.
    """
    wanted = checks(tables.product)
    if not wanted:
        return ()
    before = _rejected(settings, shown) if shown else ()
    with query.open_tables(settings, tables.product.name, tables.snapshots) as connection:
        return tuple(_run(connection, tables, check, before) for check in wanted)


def _rejected(settings: Settings, shown: Tables) -> tuple[Rejected, ...]:
    """What the release that readers see rejects, of the same topics, at its own position."""
    if REJECTS not in shown.snapshots:
        return ()
    snapshots = {REJECTS: shown.snapshots[REJECTS]}
    with query.open_tables(settings, shown.product.name, snapshots) as connection:
        return rejected.count(connection, shown)


def validate(product: Product) -> None:
    """ConfigError for a check that could not run, long before there are tables: it is run on empty ones.

    RefusedError where contract.yaml is not what the SQL gives.
    """
    contracts.refuse_mismatches(product)
    wanted = checks(product)
    with empty_tables(product) as connection:
        for check in wanted:
            _run(connection, Tables(product, {}, {}), check)
    for name, output in product.outputs.items():
        layout_of(product, name)
        if output.where is not None:
            _validate_where(product, name, output)


def _validate_where(product: Product, name: str, output: Output) -> None:
    """The audit decides `where` again in DuckDB, of a record's own fields: it must be able to."""
    for topic in output.of:
        fields = generate.schema_fields(product, product.sql_name(topic))
        record_type = Row(tuple(Field(f.name, column_type(f.type, f.name)) for f in fields))
        with query.connect() as connection:
            record = schema_to_pyarrow(schema_of(record_type), include_field_ids=False).empty_table()
            connection.register("record", record)
            try:
                connection.execute(f"SELECT 1 FROM record WHERE ({output.where}) IS NOT TRUE")
            except duckdb.Error as e:
                file = product.folder / "product.yaml"
                raise ConfigError(f"the audit cannot decide outputs.{name}.where",
                                  expected=f"a condition over the columns of {', '.join(f.name for f in fields)} that "
                                           "DuckDB's SQL has too", found=_reason(e), next=f"fix {file}") from e


def _run(connection: duckdb.DuckDBPyConnection, tables: Tables, check: Wanted,
         before: Sequence[Rejected] = ()) -> Check:
    product = tables.product
    blocking = check.blocking and check.name not in product.settings.warnings
    if isinstance(check, Default):
        found = rejected.judge(product, check.name, rejected.count(connection, tables), before)
        return replace(found, blocking=blocking and found.blocking)
    if isinstance(check, Select):
        cursor = _select(connection, product, check, check.sql)
        sample = _rows(cursor, _SAMPLE)
        offending = len(sample)
        while rows := cursor.fetchmany(10_000):
            offending += len(rows)
        said = f"{offending:,} offending {'row' if offending == 1 else 'rows'}"
        return Check(check.name, blocking, offending, said, sample)
    cursor = _select(connection, product, check, check.query)
    answer = cursor.fetchmany(2)
    width = len(cursor.description or ())
    if len(answer) != 1 or width != (1 if not check.metric else 2):
        raise _wrong(product, check, "a query that gives one row of one value",
                     f"{'several' if len(answer) > 1 else len(answer)} rows of {width} columns")
    value = answer[0][0]
    holds, said = check.judge(value, rows=int(answer[0][-1]) if check.metric else 0)
    if holds:
        return Check(check.name, blocking, 0, said)
    if not check.sample:
        return Check(check.name, blocking, 1, said, ({"value": _plain(value)},))
    sample = _rows(_select(connection, product, check, check.sample), _SAMPLE)
    return Check(check.name, blocking, max(1, int(value)), said, sample)


def _select(connection: duckdb.DuckDBPyConnection, product: Product, check: Select | Rule,
            sql: str) -> duckdb.DuckDBPyConnection:
    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
        if not kinds or kinds[-1] not in _SELECT or not set(kinds) <= _HARMLESS:
            raise _wrong(product, check, "one SELECT", ", ".join(k.name for k in kinds) or "no statement")
        return connection.execute(sql)
    except duckdb.IOException as e:
        raise RetryableError(f"{check.name}: a file of the tables cannot be read",
                             expected="files that the snapshots name", found=_reason(e),
                             next="repeat the command") from e
    except (duckdb.CatalogException, duckdb.BinderException) as e:
        mentioned = [t for t in product.outputs if t in sql] or product.outputs
        known = "; ".join(f"{t}({', '.join(c.name for c in product.columns[t])})" for t in mentioned)
        raise _wrong(product, check, known, _reason(e)) from e
    except duckdb.Error as e:
        raise _wrong(product, check, "a SELECT in DuckDB's SQL", _reason(e)) from e


@contextmanager
def empty_tables(product: Product) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with the tables of the contract, without rows; it reads no files."""
    with query.connect() as connection:
        for table in product.outputs:
            schema = schema_to_pyarrow(iceberg_schema(product, table), include_field_ids=False)
            connection.register("no_rows", schema.empty_table())
            connection.execute(f'CREATE TABLE "{table}" AS SELECT * FROM no_rows')
            connection.unregister("no_rows")
        connection.execute("SET enable_external_access = false")
        yield connection


def _wrong(product: Product, check: Select | Rule, expected: str, found: str) -> ConfigError:
    file = check.file if isinstance(check, Select) else product.folder / "contract.yaml"
    return ConfigError(f"the check '{check.name}' cannot run", expected=expected, found=found,
                       next=f"mend {file}, then: kappa check {product.folder}")


def _reason(error: duckdb.Error) -> str:
    """The message without DuckDB's picture of the statement and its guesses."""
    return str(error).split("\n\n")[0].splitlines()[0]


def _rows(cursor: duckdb.DuckDBPyConnection, count: int) -> tuple[dict[str, Any], ...]:
    names = [column[0] for column in cursor.description or ()]
    return tuple({n: _plain(v) for n, v in zip(names, row, strict=True)} for row in cursor.fetchmany(count))


def _plain(value: Any) -> Any:
    """The value, or its text where JSON has no such type."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return words(value)[:_LONGEST]
