"""Quality rules of a contract (Open Data Contract Standard v3.1) as queries, and what their answers must be."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jobs.product.column_types import Atomic
from jobs.product.folder import Product
from jobs.product.model import Column
from replay.errors import ConfigError
from replay.iceberg.product_types import column_type

Number = int | float | Decimal


def _between(value: Number, ends: Sequence[Number]) -> bool:
    """Without its ends: the standard calls it the equivalent of mustBeGreaterThan and mustBeLessThan."""
    return ends[0] < value < ends[1]


_OPERATORS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "mustBe": ("", operator.eq),
    "mustNotBe": ("not ", operator.ne),
    "mustBeGreaterThan": ("more than ", operator.gt),
    "mustBeGreaterOrEqualTo": ("at least ", operator.ge),
    "mustBeLessThan": ("less than ", operator.lt),
    "mustBeLessOrEqualTo": ("at most ", operator.le),
    "mustBeBetween": ("between ", _between),
    "mustNotBeBetween": ("not between ", lambda value, ends: not _between(value, ends)),
}
_RANGES = frozenset({"mustBeBetween", "mustNotBeBetween"})
_ARGUMENTS = {
    "rowCount": set[str](),
    "nullValues": set[str](),
    "missingValues": {"missingValues"},
    "invalidValues": {"validValues", "pattern"},
    "duplicateValues": {"properties"},
}
_PROSE = {
    "id",
    "name",
    "description",
    "dimension",
    "method",
    "businessImpact",
    "tags",
    "authoritativeDefinitions",
    "customProperties",
}
_KEYS = {"type", "severity", "unit", *_OPERATORS, *_PROSE}
_NUMERIC = ("INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL")
_PLACEHOLDER = re.compile(r"\$?\{(object|table|property|column)\}")


@dataclass(frozen=True)
class Rule:
    """One quality rule, as DuckDB can run it."""

    name: str
    blocking: bool
    subject: str
    """What is measured, for people: 'nullValues of departures.carrier'."""
    query: str
    """Gives one row: the measured value and, of a metric, the rows of the table."""
    limits: tuple[tuple[str, Any], ...]
    """Operators of the standard with their values; all must hold."""
    unit: str = ""
    metric: bool = False
    """Of the standard's library; else a query of the contract's own."""
    sample: str = ""
    """Selects rows that speak against it; empty where there are none to show."""
    description: str = ""

    def judge(self, value: Any, rows: int) -> tuple[bool, str]:
        """Whether the measured value is as it must be, and both in words."""
        if self.metric and self.unit == "percent":
            value = 100 * value / rows if rows else 0
        if not isinstance(value, bool | int | float | Decimal) or value != value:  # NaN
            return (
                False,
                f"{self.subject} is {value!r}, and must be a number or a boolean{self._because}",
            )
        holds = all(_OPERATORS[name][1](value, limit) for name, limit in self.limits)
        wanted = " and ".join(
            f"{_OPERATORS[name][0]}{_words(limit)}" for name, limit in self.limits
        )
        unit = f" {'row' if self.unit == 'rows' and value == 1 else self.unit}" if self.unit else ""
        return (
            holds,
            f"{self.subject} is {_words(value)}{unit}, and must be {wanted}{self._because}",
        )

    @property
    def _because(self) -> str:
        return f": {self.description}" if self.description else ""


def rules(product: Product) -> tuple[Rule, ...]:
    """The rules of every table and column; ConfigError for one that cannot be run, so that none is passed over."""
    found: list[Rule] = []
    if "quality" in product.contract:
        raise _wrong(
            product,
            "the contract",
            "quality of a table or a column: schema[].quality, schema[].properties[].quality",
            "quality at the top",
        )
    for table in product.contract.get("schema") or ():
        found += _rules_of(product, str(table.get("name")), None, table.get("quality"))
        for p in table.get("properties") or ():
            if _quality_inside(p):
                raise _wrong(
                    product,
                    f"{table.get('name')}.{p.get('name')}",
                    "quality of a table or a column; of a field in a query of the column (type: sql)",
                    "quality of a field inside",
                )
            found += _rules_of(
                product, str(table.get("name")), str(p.get("name")), p.get("quality")
            )
    names = [r.name for r in found]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise _wrong(
            product,
            twice[0],
            "a name of its own for each rule (name: …)",
            "several rules of that name",
        )
    return tuple(found)


def _quality_inside(document: Mapping[str, Any]) -> bool:
    inside = [
        *(document.get("properties") or ()),
        *([document["items"]] if document.get("items") else ()),
    ]
    return any("quality" in d or _quality_inside(d) for d in inside)


def _rules_of(product: Product, table: str, column: str | None, quality: Any) -> Iterator[Rule]:
    where = f"{table}.{column}" if column else table
    if quality is None:
        return
    if not isinstance(quality, list) or not all(isinstance(q, dict) for q in quality):
        raise _wrong(product, where, "a list of rules", _short(quality))
    if quality and table not in product.columns:
        raise _wrong(
            product, where, f"rules of an output: {', '.join(product.outputs)}", f"rules of {table}"
        )
    for rule in quality:
        yield _rule(product, table, column, where, rule)


def _rule(
    product: Product, table: str, column: str | None, where: str, rule: Mapping[str, Any]
) -> Rule:
    kind = rule.get("type", "library")
    if "rule" in rule:
        raise _wrong(product, where, "metric: …", "rule: …, which the standard gave up")
    if kind not in ("library", "sql"):
        raise _wrong(
            product, where, "type: library or sql, which the gate can run", f"type: {kind}"
        )
    own = {"query"} if kind == "sql" else {"metric", "arguments"}
    if unknown := sorted(str(k) for k in set(rule) - _KEYS - own):
        raise _wrong(
            product,
            where,
            f"keys that a rule of type {kind} has, and no schedule: rules run before a switch",
            ", ".join(unknown),
        )
    if (severity := rule.get("severity", "error")) not in ("error", "warning"):
        raise _wrong(
            product, where, "severity: error (blocks a switch) or warning", f"severity: {severity}"
        )
    limits = tuple((name, rule[name]) for name in _OPERATORS if name in rule)
    if not limits or not all(_is_limit(name, value) for name, value in limits):
        found = ", ".join(f"{name}: {_short(value)}" for name, value in limits) or "none"
        raise _wrong(product, where, f"a comparison with a number: {', '.join(_OPERATORS)}", found)
    common = {
        "blocking": severity == "error",
        "limits": limits,
        "description": str(rule.get("description", "")),
    }
    name = rule.get("name")
    if kind == "sql":
        return Rule(
            name=str(name or f"{where}: sql"),
            subject=f"the query of {where}",
            unit=str(rule.get("unit", "")),
            query=_sql(product, table, column, where, rule.get("query")),
            **common,
        )
    metric, unit = rule.get("metric"), rule.get("unit", "rows")
    if metric not in _ARGUMENTS:
        raise _wrong(product, where, f"metric: {', '.join(_ARGUMENTS)}", f"metric: {metric}")
    if unit not in ("rows", "percent") or (metric == "rowCount" and unit != "rows"):
        raise _wrong(
            product,
            where,
            "unit: rows" if metric == "rowCount" else "unit: rows or percent",
            f"unit: {unit}",
        )
    query, sample = _metric(product, table, column, where, metric, rule.get("arguments"))
    return Rule(
        name=str(name or f"{where}: {metric}"),
        subject=f"{metric} of {where}",
        unit=unit,
        query=query,
        sample=sample,
        metric=True,
        **common,
    )


def _metric(
    product: Product, table: str, column: str | None, where: str, metric: str, arguments: Any
) -> tuple[str, str]:
    """The query of a metric, and the one that selects rows to show."""
    arguments = arguments or {}
    if not isinstance(arguments, dict) or set(arguments) - _ARGUMENTS[metric]:
        raise _wrong(
            product,
            where,
            f"arguments of {metric}: {', '.join(sorted(_ARGUMENTS[metric])) or 'none'}",
            _short(arguments),
        )
    of = _identifier(table)
    if metric == "rowCount":
        if column:
            raise _wrong(product, where, "rowCount of a table", "rowCount of a column")
        return f"SELECT count(*), count(*) FROM {of}", ""
    if metric == "duplicateValues":
        return _duplicates(of, _key(product, table, column, where, arguments))
    if column is None:
        raise _wrong(product, where, f"{metric} of a column", f"{metric} of a table")
    bad = _condition(product, _column(product, table, column, where), where, metric, arguments)
    return (
        f"SELECT count(*) FILTER (WHERE {bad}), count(*) FROM {of}",
        f"SELECT * FROM {of} WHERE {bad}",
    )


def _duplicates(table: str, key: Sequence[str]) -> tuple[str, str]:
    """Rows beyond the first of their key. A key with a NULL in it repeats none, as in SQL's UNIQUE."""
    columns = ", ".join(_identifier(c) for c in key)
    known = " AND ".join(f"{_identifier(c)} IS NOT NULL" for c in key)
    groups = f"SELECT {columns}, count(*) AS n FROM {table} WHERE {known} GROUP BY {columns} HAVING n > 1"
    return (
        f"SELECT coalesce(sum(n - 1), 0)::BIGINT, (SELECT count(*) FROM {table}) FROM ({groups})",
        groups,
    )


def _key(
    product: Product, table: str, column: str | None, where: str, arguments: Mapping[str, Any]
) -> Sequence[str]:
    given = arguments.get("properties")
    if column is not None:
        if given is not None:
            raise _wrong(
                product,
                where,
                "no properties: they are for a rule of the whole table",
                _short(given),
            )
        return (_column(product, table, column, where).name,)
    if not isinstance(given, list) or not given:
        raise _wrong(product, where, "arguments: {properties: [columns]}", _short(given))
    return [_column(product, table, str(name), where).name for name in given]


def _condition(
    product: Product, column: Column, where: str, metric: str, arguments: Mapping[str, Any]
) -> str:
    """What is true of a row that counts. NULL is no invalid value: nullValues counts it."""
    name = _identifier(column.name)
    if metric == "nullValues":
        return f"{name} IS NULL"
    if metric == "missingValues":
        values = arguments.get("missingValues")
        if not isinstance(values, list) or not values:
            raise _wrong(product, where, "arguments: {missingValues: [values]}", _short(values))
        return " OR ".join(_is(column, v) for v in values)
    values, pattern = arguments.get("validValues"), arguments.get("pattern")
    if (values is None and pattern is None) or not isinstance(values, list | None) or values == []:
        raise _wrong(
            product,
            where,
            "arguments: {validValues: [values]} or {pattern: REGEX}",
            _short(arguments),
        )
    bad = []
    if values is not None:
        bad.append(f"NOT ({' OR '.join(_is(column, v) for v in values)})")
    if pattern is not None:
        bad.append(f"NOT regexp_matches(CAST({name} AS VARCHAR), {_text(pattern)})")
    return f"{name} IS NOT NULL AND ({' OR '.join(bad)})"


def _is(column: Column, value: Any) -> str:
    """Equality with a value of YAML; numbers as numbers where the column has some, else as text."""
    name = _identifier(column.name)
    if value is None:
        return f"{name} IS NULL"
    of = column_type(column.type)
    if _number(value) and isinstance(of, Atomic) and of.name in _NUMERIC:
        return f"coalesce({name} = {value}, false)"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"coalesce(CAST({name} AS VARCHAR) = {_text(text)}, false)"


def _sql(product: Product, table: str, column: str | None, where: str, query: Any) -> str:
    """The query with the names of table and column put in, as the standard says."""
    if not isinstance(query, str) or not query.strip():
        raise _wrong(product, where, "query: a SELECT of one value", _short(query))

    def name(match: re.Match[str]) -> str:
        if match[1] in ("object", "table"):
            return _identifier(table)
        if column is None:
            raise _wrong(
                product,
                where,
                "{property} in a rule of a column",
                "{property} in a rule of a table",
            )
        return _identifier(column)

    return _PLACEHOLDER.sub(name, query)


def _column(product: Product, table: str, name: str, where: str) -> Column:
    for column in product.columns[table]:
        if column.name == name:
            return column
    raise _wrong(
        product,
        where,
        f"a column of {table}: {', '.join(c.name for c in product.columns[table])}",
        name,
    )


def _is_limit(name: str, value: Any) -> bool:
    if name in _RANGES:
        return (
            isinstance(value, list)
            and len(value) == 2
            and all(_number(v) for v in value)
            and value[0] < value[1]
        )
    return _number(value) or (isinstance(value, bool) and name in ("mustBe", "mustNotBe"))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(_words(v) for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _identifier(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _text(value: Any) -> str:
    return "'{}'".format(str(value).replace("'", "''"))


def _short(value: Any) -> str:
    return repr(value)[:200]


def _wrong(product: Product, where: str, expected: str, found: str) -> ConfigError:
    file = product.folder / "contract.yaml"
    return ConfigError(
        f"{file}: a quality rule of {where} cannot be run",
        expected=expected,
        found=found,
        next=f"fix {file}",
    )
