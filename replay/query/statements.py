"""Which SQL of people may run over a product's tables: one statement that reads them and nothing else.

DuckDB's own parser says what a statement is. Every table, table function and function in its parse tree must be on a
list of what reads nothing but the product's tables and its own arguments; what is on no list is refused. It imports as
little as a process that lives for one query can pay for.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

READING = "one statement: SELECT, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW TABLES, or EXPLAIN without ANALYZE"

TABLE_FUNCTIONS = frozenset(
    {
        "generate_series",
        "generate_subscripts",
        "json_each",
        "json_tree",
        "range",
        "regexp_split_to_table",
        "repeat",
        "repeat_row",
        "unnest",
    }
)
"""Table functions that read nothing but their arguments."""
_SYSTEM_TABLES = {("information_schema", "columns"), ("information_schema", "tables")}
"""They tell names and types, and no path."""
_SHOWN = {'"tables"', "__show_tables_expanded"}
_NODES = {"CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"}
_TABLES = {
    "BASE_TABLE",
    "EMPTY",
    "EXPRESSION_LIST",
    "JOIN",
    "PIVOT",
    "SHOW_REF",
    "SUBQUERY",
    "TABLE_FUNCTION",
}
_EXPRESSIONS = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "DEFAULT",
    "FUNCTION",
    "LAMBDA",
    "LAMBDA_REF",
    "OPERATOR",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "TYPE",
    "WINDOW",
}
_OWN_DATABASE = {"", "memory"}

Names = Mapping[str, Collection[str]]
"""Schema → its tables. The first is in use."""


class NotReadingError(Exception):
    """A statement that must not run, or names what does not exist."""

    def __init__(
        self, found: str, expected: str = READING, *, unknown: str = "", table: bool = False
    ) -> None:
        super().__init__(found)
        self.expected, self.found = expected, found
        self.unknown = unknown
        """A name that nothing has: a mistake, not an attempt."""
        self.table = table


@cache
def functions() -> frozenset[str]:
    """Functions, aggregates and macros of DuckDB that read nothing but their arguments."""
    return frozenset((Path(__file__).parent / "query_functions.txt").read_text().split())


def readable(connection: duckdb.DuckDBPyConnection, sql: str, names: Names) -> str:
    """The statement to run; NotReadingError, or DuckDB's ParserException, when there is none."""
    statements = connection.extract_statements(sql)
    kinds = [s.type for s in statements]
    if kinds == [duckdb.StatementType.EXPLAIN]:
        return f"EXPLAIN {_explained(connection, sql, names)}"
    # A PIVOT over values that are not listed is several: it makes types of them first.
    pivots = (
        set(kinds[:-1]) == {duckdb.StatementType.CREATE}
        and kinds[-1] == duckdb.StatementType.SELECT
        and not any(s.query for s in statements)
    )
    if kinds != [duckdb.StatementType.SELECT] and not pivots:
        raise NotReadingError(", ".join(kind.name for kind in kinds) or "no statement")
    _check(connection, _with_listed_values(sql) if pivots else sql, names)
    return sql


def _explained(connection: duckdb.DuckDBPyConnection, sql: str, names: Names) -> str:
    """What stands behind EXPLAIN. An option of it, such as ANALYZE, is no statement's beginning."""
    words = [start for start, _ in duckdb.tokenize(sql)]
    inner = sql.encode()[words[1] :].decode()
    try:
        statements = connection.extract_statements(inner)
    except duckdb.ParserException:
        statements = []
    if [s.type for s in statements] != [duckdb.StatementType.SELECT]:
        raise NotReadingError("EXPLAIN with an option, or of a statement that does more than read")
    _check(connection, inner, names)
    return inner


def _with_listed_values(sql: str) -> str:
    """The statement with `IN ('')` behind all that it pivots on: of another result, but one whose tree can be had.

    Only insertions between tokens: whatever the statement reads is in the tree of both.
    """
    text = sql.encode()
    starts = [start for start, _ in duckdb.tokenize(sql)]
    words = [_word(text[start:]) for start in starts]
    ends: list[int] = []
    depth, sources, on, listed = 0, list[tuple[int, int]](), list[int](), False
    for i, word in enumerate(words):
        if word in ("PIVOT", "PIVOT_WIDER"):
            sources.append((depth, i))
        elif (
            word == "ON"
            and sources
            and sources[-1][0] == depth
            and not _joins(words[sources[-1][1] : i])
        ):
            sources.pop()
            on.append(depth)
            listed = False
        elif on and on[-1] == depth and word in _AFTER_PIVOTED:
            ends += [] if listed else [starts[i]]
            listed = False
            if word != ",":
                on.pop()
        elif on and on[-1] == depth and word == "IN":
            listed = True
        depth += _DEPTHS.get(word, 0)
    ends += [len(text)] if on and not listed else []
    for end in reversed(ends):
        text = text[:end] + b"\nIN ('')\n" + text[end:]
    return text.decode()


_AFTER_PIVOTED = {
    ",",
    ")",
    ";",
    "USING",
    "GROUP",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "EXCEPT",
    "INTERSECT",
}
_DEPTHS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def _word(text: bytes) -> str:
    """The keyword or name that begins here, or one character of something else."""
    found = re.match(rb"\w+|.", text, re.DOTALL)
    return found[0].decode(errors="replace").upper() if found else ""


def _joins(words: list[str]) -> bool:
    """Whether a join among these has no condition yet: the next ON is the join's."""
    return words.count("JOIN") > words.count("ON") + words.count("USING")


_PIVOTED = "a PIVOT over values that a query gives; list them, or leave IN out"


def _check(connection: duckdb.DuckDBPyConnection, sql: str, names: Names) -> None:
    """Every part of the one SELECT must read the product's tables, or nothing."""
    row = connection.execute(
        "SELECT json_serialize_sql(CAST($sql AS VARCHAR))", {"sql": sql}
    ).fetchone()
    try:
        tree = json.loads(row[0] if row else "")
    except (ValueError, RecursionError):
        tree = {"error": True, "error_message": "a statement that is nested too deeply"}
    if tree.get("error") or len(tree["statements"]) != 1:
        raise NotReadingError(
            _PIVOTED
            if tree.get("error_type") == "not implemented"
            else tree.get("error_message", "several statements")
        )
    _Walk(names, connection).statement(tree["statements"][0])


@dataclass(frozen=True)
class _Walk:
    names: Names
    connection: duckdb.DuckDBPyConnection

    def statement(self, tree: Any) -> None:
        """Every dictionary of the tree is looked at, each with the common table expressions that it sees."""
        waiting: list[tuple[Any, frozenset[str]]] = [(tree, frozenset())]
        while waiting:
            found, ctes = waiting.pop()
            if isinstance(found, list):
                waiting += [(each, ctes) for each in found]
            elif isinstance(found, dict):
                waiting += self._part(found, ctes)

    def _part(  # noqa: C901 - one case for each kind of node
        self, part: dict[str, Any], ctes: frozenset[str]
    ) -> Iterator[tuple[Any, frozenset[str]]]:
        """Refuse this part, or say what of it is to be looked at."""
        kind = part.get("type")
        if isinstance(kind, str):
            if "class" in part:
                self._expression(part)
            elif kind.endswith("_NODE"):
                _one_of(kind, _NODES)
            elif "sample" in part and "query_location" in part:
                self._table(part, kind, ctes)
        if part.get("class") == "CONSTANT":  # data: nothing in it is SQL
            return
        if kind == "RECURSIVE_CTE_NODE":
            ctes |= {part["cte_name"].lower()}
        for name, definition in _common(part):
            yield definition, ctes  # which sees those before it
            ctes |= {name.lower()}
        for key, value in part.items():
            if key == "function" and kind == "TABLE_FUNCTION":  # whose name was looked at
                yield list(value.values()), ctes
            elif key != "cte_map":
                yield value, ctes

    def _expression(self, part: dict[str, Any]) -> None:
        _one_of(part["class"], _EXPRESSIONS)
        if "function_name" in part:
            self._function(part["function_name"], functions(), "function")

    def _table(self, part: dict[str, Any], kind: str, ctes: frozenset[str]) -> None:
        _one_of(kind, _TABLES)
        if kind == "TABLE_FUNCTION":
            self._function(part["function"]["function_name"], TABLE_FUNCTIONS, "table function")
        elif (
            kind == "SHOW_REF"
            and part["query"] is None
            and part["table_name"] not in _SHOWN
            and part["table_name"]
        ):
            raise NotReadingError(f"SHOW {part['table_name']}")
        elif kind == "BASE_TABLE":
            self._named(part, ctes)

    def _function(self, name: str, known: frozenset[str], what: str) -> None:
        if name.lower() in known or not (name[:1].isalpha() or name[:1] == "_"):
            return  # what has no letter is an operator
        row = self.connection.execute(
            "SELECT count(*) FROM duckdb_functions() WHERE lower(function_name) = $name",
            {"name": name.lower()},
        ).fetchone()
        if row and row[0]:
            expected = f"{what}s that read nothing but their arguments"
            if known is TABLE_FUNCTIONS:
                expected += f": {_list(known)}"
            raise NotReadingError(f"the {what} {name}", expected)
        meant = difflib.get_close_matches(name.lower(), known, n=1)
        raise NotReadingError(
            f"Catalog Error: {what.title()} with name {name} does not exist!",
            f"a function of DuckDB{f'; did you mean {meant[0]}?' if meant else ''}",
            unknown=name,
        )

    def _named(self, part: dict[str, Any], ctes: frozenset[str]) -> None:
        catalog, schema, table = (
            part[key].lower() for key in ("catalog_name", "schema_name", "table_name")
        )
        if part["at_clause"] is not None:
            raise NotReadingError(
                f"{part['table_name']} AT another version", "the tables as they are published"
            )
        if not catalog and not schema and table in ctes:
            return
        if (schema, table) in _SYSTEM_TABLES and catalog in {*_OWN_DATABASE, "system"}:
            return
        ours = {name.lower(): {t.lower() for t in tables} for name, tables in self.names.items()}
        used = next(iter(ours))
        if catalog in ours and not schema:  # as DuckDB reads a.b where a is no database
            catalog, schema = "", catalog
        if catalog in _OWN_DATABASE and table in ours.get(schema or used, ()):
            return
        said = ".".join(
            part[key] for key in ("catalog_name", "schema_name", "table_name") if part[key]
        )
        plain = (
            not catalog
            and (not schema or schema in ours)
            and table.isidentifier()
            and not table.startswith(("duckdb_", "pg_", "pragma_", "sqlite_"))
        )
        found = (
            f"Catalog Error: Table with name {said} does not exist!"
            if plain
            else f"the table {said}"
        )
        raise NotReadingError(
            found,
            f"tables {_list(self.names[next(iter(self.names))])}",
            unknown=part["table_name"] if plain else "",
            table=True,
        )


def _common(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and definition of each common table expression, in their order."""
    found = part.get("cte_map")
    for entry in (found or {}).get("map", ()) if isinstance(found, dict) else ():
        yield entry["key"], entry["value"]


def _one_of(kind: str, known: Collection[str]) -> None:
    if kind not in known:
        raise NotReadingError(kind.lower().replace("_", " "))


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
