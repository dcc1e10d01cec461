"""The gate: what a product's tables must hold before readers see them, asked of exactly the snapshots to be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import generate
from jobs.product.column_types import Field, Row
from jobs.product.folder import Product
from jobs.product.model import REJECTS, Output
from replay.checks import rejected
from replay.checks.quality import Rule, rules
from replay.checks.rejected import Rejected
from replay.core.model import Check, Tables
from replay.errors import ConfigError, KappaError, RetryableError
from replay.iceberg.product_types import column_type, layout_of, product_type
from replay.query import query, table_types
from replay.query.sandbox import Answer, Sandbox, SandboxError, open_sandbox
from replay.releases import contracts
from replay.settings import QuerySettings, Settings
from replay.values import words

_SAMPLE = 5
_LONGEST = 200
"""Characters that a sample shows of one value: results are stored and printed."""


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
    found += [
        Select(f"checks/{f.name}", True, f.read_text(), f)
        for f in sorted((product.folder / "checks").glob("*"))
        if f.suffix == ".sql"
    ]
    found += rules(product)
    names = [c.name for c in found]
    if unknown := sorted(set(product.settings.warnings) - set(names)):
        settings = product.folder / "product.yaml"
        raise ConfigError(
            f"{settings} is wrong at 'warnings'",
            expected=f"names of checks: {', '.join(names)}",
            found=", ".join(unknown),
            next=f"fix {settings}",
        )
    return tuple(found)


def run(
    settings: Settings,
    tables: Tables,
    shown: Tables | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[Check, ...]:
    """Every check on exactly these snapshots; all rows of a sample are values of JSON.

    `shown` is what readers see of another attempt, with which some checks compare; `tell` is told of each check before
    it runs. ConfigError for a check that cannot run, RetryableError when a file cannot be read.
    """
    wanted = checks(tables.product)
    numbered = {
        check.name: f"check {n} of {len(wanted)}, {check.name}" for n, check in enumerate(wanted, 1)
    }
    if wanted:
        tell(numbered[wanted[0].name])
    default = _default_checks(
        settings, tables, [c for c in wanted if isinstance(c, Default)], shown
    )
    of_people = [c for c in wanted if not isinstance(c, Default)]
    if not of_people:
        return default
    name = tables.product.name
    places = query.places(settings, name, tables.snapshots)
    try:
        with open_sandbox(settings.queries, {name: places}, folder=settings.spill) as sandbox:
            found = list(default)
            for check in of_people:
                tell(numbered[check.name])
                found.append(_run(sandbox, tables.product, settings.queries, check))
            return tuple(found)
    except SandboxError as e:  # before the first check
        if e.kind != "file":
            raise query.limited(e, settings.queries, f"opening the tables of {name}") from e
        raise RetryableError(
            f"the tables of {name} cannot be opened",
            expected="files that the snapshots name",
            found=e.found,
            next="repeat the command",
        ) from e


def _default_checks(
    settings: Settings, tables: Tables, wanted: Sequence[Default], shown: Tables | None
) -> tuple[Check, ...]:
    """The checks that every product has."""
    if not wanted:
        return ()
    before = _rejected(settings, shown) if shown else ()
    counted = _rejected(settings, tables)
    found = [
        (check, rejected.judge(tables.product, check.name, counted, before)) for check in wanted
    ]
    return tuple(
        replace(judged, blocking=judged.blocking and _blocking(tables.product, check))
        for check, judged in found
    )


def _rejected(settings: Settings, tables: Tables) -> tuple[Rejected, ...]:
    """What a release rejects, at its own position."""
    if REJECTS not in tables.snapshots:
        return ()
    from replay.query.duck import (
        interrupted,
    )  # here: a process that only asks a sandbox needs no DuckDB

    snapshots = {REJECTS: tables.snapshots[REJECTS]}
    with (
        query.open_tables(settings, tables.product.name, snapshots) as connection,
        interrupted(connection, settings.queries.seconds, "counting what is rejected"),
    ):
        return rejected.count(connection, tables)


def _blocking(product: Product, check: Wanted) -> bool:
    return check.blocking and check.name not in product.settings.warnings


def validate(product: Product) -> None:
    """ConfigError for a check that could not run, long before there are tables: it is run on empty ones.

    RefusedError where contract.yaml is not what the SQL gives.
    """
    contracts.refuse_mismatches(product)
    wanted = [c for c in checks(product) if not isinstance(c, Default)]
    for name in product.outputs:
        layout_of(product, name)
    conditions = [
        (name, output) for name, output in product.outputs.items() if output.where is not None
    ]
    if wanted:
        with _sandbox(
            product,
            {name: table_types.columns(product_type(product, name)) for name in product.outputs},
        ) as sandbox:
            for check in wanted:
                _run(sandbox, product, QuerySettings(), check)
    for name, output in conditions:
        _validate_where(product, name, output)


def _sandbox(
    product: Product, tables: Mapping[str, Mapping[str, str]]
) -> AbstractContextManager[Sandbox]:
    """Empty tables. There may be no settings yet, and so no home."""
    return open_sandbox(QuerySettings(), {product.name: {}}, empty=tables)


def _validate_where(product: Product, name: str, output: Output) -> None:
    """The audit decides `where` again in DuckDB, of a record's own fields: it must be able to."""
    for topic in output.of:
        fields = generate.schema_fields(product, product.sql_name(topic))
        record_type = Row(tuple(Field(f.name, column_type(f.type, f.name)) for f in fields))
        try:
            with _sandbox(product, {"record": table_types.columns(record_type)}) as sandbox:
                sandbox.ask(f"SELECT 1 FROM record WHERE ({output.where}) IS NOT TRUE")
        except SandboxError as e:
            file = product.folder / "product.yaml"
            raise ConfigError(
                f"the audit cannot decide outputs.{name}.where",
                expected=f"a condition over the columns of {', '.join(f.name for f in fields)} that "
                "DuckDB's SQL has too",
                found=e.found,
                next=f"fix {file}",
            ) from e


def _run(sandbox: Sandbox, product: Product, limits: QuerySettings, check: Select | Rule) -> Check:
    """A check that people wrote."""

    def ask(sql: str, keep: int) -> Answer:
        try:
            return sandbox.ask(sql, keep)
        except SandboxError as e:
            raise _in_words(e, product, limits, check, sql) from e

    blocking = _blocking(product, check)
    if isinstance(check, Select):
        answer = ask(check.sql, _SAMPLE)
        said = f"{answer.count:,} offending {'row' if answer.count == 1 else 'rows'}"
        return Check(check.name, blocking, answer.count, said, _rows(answer))
    answer = ask(check.query, 2)
    width = len(answer.columns)
    if answer.count != 1 or width != (1 if not check.metric else 2):
        raise _wrong(
            product,
            check,
            "a query that gives one row of one value",
            f"{'several' if answer.count > 1 else answer.count} rows of {width} columns",
        )
    value = answer.rows[0][0]
    holds, said = check.judge(value, rows=int(answer.rows[0][-1]) if check.metric else 0)
    if holds:
        return Check(check.name, blocking, 0, said)
    if not check.sample:
        return Check(check.name, blocking, 1, said, ({"value": _plain(value)},))
    return Check(check.name, blocking, max(1, int(value)), said, _rows(ask(check.sample, _SAMPLE)))


def _in_words(
    error: SandboxError, product: Product, limits: QuerySettings, check: Select | Rule, sql: str
) -> KappaError:
    match error.kind:
        case "file":
            return RetryableError(
                f"{check.name}: a file of the tables cannot be read",
                expected="files that the snapshots name",
                found=error.found,
                next="repeat the command",
            )
        case "refused":
            from replay.query.statements import READING  # here: it imports DuckDB

            return _wrong(
                product,
                check,
                "one SELECT" if error.expected == READING else error.expected,
                error.found,
            )
        case "name" | "column":
            if error.name and not error.table:
                return _wrong(product, check, error.expected, error.found)
            mentioned = [t for t in product.outputs if t in sql] or product.outputs
            known = "; ".join(
                f"{t}({', '.join(c.name for c in product.columns[t])})" for t in mentioned
            )
            return _wrong(product, check, known, error.found)
        case "sql":
            return _wrong(product, check, "a SELECT in DuckDB's SQL", error.found)
    return query.limited(error, limits, f"the check '{check.name}'")


def _wrong(product: Product, check: Select | Rule, expected: str, found: str) -> ConfigError:
    file = check.file if isinstance(check, Select) else product.folder / "contract.yaml"
    return ConfigError(
        f"the check '{check.name}' cannot run",
        expected=expected,
        found=found,
        next=f"fix {file}, then: kappa check {product.folder}",
    )


def _rows(answer: Answer) -> tuple[dict[str, Any], ...]:
    return tuple(
        {n: _plain(v) for n, v in zip(answer.columns, row, strict=True)} for row in answer.rows
    )


def _plain(value: Any) -> Any:
    """The value, or its text where JSON has no such type."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return words(value)[:_LONGEST]
