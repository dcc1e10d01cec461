"""Where in a product's folder a refused construct stands. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobs.plan.compiled import Node
from jobs.product.folder import Product
from jobs.product.sql import Statement, read_statements
from jobs.safety.problem import Problem

_KEYWORDS = {
    "group-aggregate": frozenset({"GROUP", "DISTINCT"}),
    "join": frozenset({"JOIN", "IN", "EXISTS"}),
    "lookup-join": frozenset({"JOIN"}),
    "limit": frozenset({"LIMIT", "FETCH"}),
    "sort-limit": frozenset({"LIMIT", "FETCH"}),
    "over-aggregate": frozenset({"OVER"}),
    "rank": frozenset({"ROW_NUMBER"}),
    "window-rank": frozenset({"ROW_NUMBER"}),
    "deduplicate": frozenset({"ROW_NUMBER"}),
    "match": frozenset({"MATCH_RECOGNIZE"}),
}
"""Keywords of SQL that lead to an operator."""
_SIGNS = {"MOD": frozenset({"%"})}
"""Signs of SQL for a function."""


def files_of(product: Product, node: Node, sinks: tuple[Node, ...]) -> tuple[Path, ...]:
    """The files that may hold an operator's construct, the likeliest first."""
    outputs = [sink.table for sink in sinks if any(n is node for n in sink.walk())]
    selects = [product.select_sql(name) for name in outputs if name in product.settings.outputs]
    views = [product.views_sql] if product.views_sql.is_file() else []
    yaml = product.folder / "product.yaml"
    return (*selects, *views, yaml) if len(selects) == 1 else (*views, *selects, yaml)


def located(
    files: tuple[Path, ...],
    node: Node,
    construct: str,
    instead: str,
    columns: frozenset[str] = frozenset(),
) -> Problem:
    """At the first word of SQL that makes such an operator or call, of these columns if there is one; without any, at
    one of the columns, or in the likeliest file."""
    word = construct.partition("(")[0].split()[0].rstrip(",")
    words = _KEYWORDS.get(node.type, frozenset()) | {word} | _SIGNS.get(word, frozenset())
    found = [
        (
            token.word not in words,
            columns.isdisjoint(_arguments(statement, i)),
            str(file),
            token.line,
        )
        for file in files
        for statement in (read_statements(file) if file.suffix == ".sql" else ())
        for i, token in enumerate(statement.tokens)
        if token.word in words or token.text.strip("`") in columns
    ]
    *_, file, line = min(found, key=lambda f: f[:2], default=(True, True, str(files[0]), 0))
    return Problem(file, line, construct, instead)


def _arguments(statement: Statement, at: int) -> Iterator[str]:
    """The tokens in the parentheses after one; the next token if there are none."""
    depth = 0
    for token in statement.tokens[at + 1 :]:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        yield token.text.strip("`")
        if depth <= 0:
            return
