"""The replay-safety check of what people wrote, for what the plan does not tell. Pure.

Hints, tables that a SELECT must not read, views that nothing uses, and functions and Flink settings of product.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.product.folder import Product
from jobs.product.names import log_table
from jobs.product.own_functions import ALLOWED, is_own
from jobs.product.sql import Statement, read_statements
from jobs.safety import flink_settings
from jobs.safety.operators import INSTEAD
from jobs.safety.problem import Problem


def check_statements(product: Product) -> Iterator[Problem]:
    """The rules for the text of the SQL and for product.yaml."""
    yaml = str(product.folder / "product.yaml")
    views = read_statements(product.views_sql) if product.views_sql.is_file() else ()
    selects = tuple(
        s for name in product.settings.outputs for s in read_statements(product.select_sql(name))
    )
    yield from _views(product, views, selects)
    for statement in (*views, *selects):
        yield from _text(product, statement)
    for name, function in product.settings.functions.items():
        if not function.deterministic:
            yield Problem(
                yaml,
                0,
                f"function {name} is declared not to be deterministic",
                "a function whose equal arguments give equal results in every run",
            )
        elif not is_own(function.python):
            yield Problem(yaml, 0, f"function {name} is {function.python}", ALLOWED)
    for construct, instead in flink_settings.refused(product.settings.flink):
        yield Problem(yaml, 0, construct, instead)


def _views(
    product: Product, views: tuple[Statement, ...], selects: tuple[Statement, ...]
) -> Iterator[Problem]:
    """The rules for views.sql: it creates views, and each is used, because the planner does not examine unused ones."""
    taken = {*product.settings.topics, *product.settings.outputs, "rejects"}
    for i, statement in enumerate(views):
        file, name = str(statement.file), statement.created_view
        if name is None:
            yield Problem(file, statement.line, " ".join(statement.words[:3]), _no_view(statement))
        elif name in taken or "__" in name:
            yield Problem(file, statement.line, f"view {name}", "a name of its own, without __")
        elif not any(other.mentions(name) for other in (*views[i + 1 :], *selects)):
            yield Problem(
                file,
                statement.line,
                f"view {name} is not used",
                "a use of it, or its removal",
            )


def _no_view(statement: Statement) -> str:
    """What stands where a statement that creates no view would be needed."""
    if statement.verb == "CREATE" and "TABLE" in statement.words[:3]:
        return (
            "topics of product.yaml, with schemas/T.avsc or schemas/T.json, for what is read (kappa new NAME --topic T "
            "writes both), and outputs for what is filled"
        )
    if statement.verb in ("INSERT", "EXECUTE"):
        return "outputs of product.yaml, and for each O of them a file O.sql with its SELECT"
    if statement.verb == "SET":
        return "no such setting, or one that decides no row, under flink of product.yaml (docs/safety.md lists them)"
    return "CREATE VIEW name AS SELECT …"


def _text(product: Product, statement: Statement) -> Iterator[Problem]:
    tables = {log_table(name): name for name in product.settings.topics}
    depth, words = 0, (*statement.words, "")
    for i, token in enumerate(statement.tokens):
        name = token.text.strip("`")
        if token.text == "/*+":
            yield Problem(
                str(statement.file),
                token.line,
                "a hint",
                "settings of product.yaml: what a job reads, what it keeps and how it joins must be the same in "
                "every run",
            )
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and words[i : i + 2] == ("ORDER", "BY"):
            yield Problem(str(statement.file), token.line, "ORDER BY", INSTEAD["sort"])
        if token.is_name and name in tables:
            yield Problem(
                str(statement.file),
                token.line,
                name,
                f"{tables[name]}, which has the records that could be decoded and are on time; the others are in "
                f"rejects",
            )
