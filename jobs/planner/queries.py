"""The SELECTs of outputs: as they are written and as they are run, with the names and types that Flink gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyflink.table import TableEnvironment

from jobs import generate
from jobs.planner.errors import Known, planner_problem
from jobs.product.column_types import (
    ColumnTypeError,
    has_array_of_bytes,
    is_as_stored,
    resolved_column_type,
)
from jobs.product.folder import Product
from jobs.product.model import Column, Kind
from jobs.product.sql import Statement, quoted, read_statements, with_first_columns
from jobs.safety.functions import LOG_CLOCK
from jobs.safety.problem import Problem

PLACE = ("log_partition", "log_offset")


class ProblemError(Exception):
    """A problem because of which the planner cannot continue."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].construct)
        self.problems = problems


@dataclass(frozen=True)
class Query:
    """The SELECT of one output, as written and as run."""

    statement: Statement
    written: tuple[Column, ...]
    placed: tuple[Column, ...] = ()
    """The columns of the log that it is given; empty when it has them, or cannot have them."""
    hidden: str = ""
    """Expressions put in front of its columns."""
    cast: frozenset[str] = frozenset()
    """Columns that are of another type than their tables'."""

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.written, *self.placed)

    @property
    def has_where(self) -> bool:
        return generate.KEPT in self.hidden

    @property
    def sql(self) -> str:
        if not self.has_where:
            return self.unfiltered
        inner = with_first_columns(self.statement, self.hidden)
        return self._as_stored(generate.filtered(inner, [c.name for c in self.columns]))

    @property
    def unfiltered(self) -> str:
        """The query without the condition `where` of product.yaml."""
        if not self.hidden:
            return self._as_stored(self.statement.text)
        inner = with_first_columns(self.statement, self.hidden)
        return self._as_stored(
            f"SELECT {', '.join(quoted(c.name) for c in self.columns)}\nFROM (\n{inner}\n)"
        )

    def _as_stored(self, sql: str) -> str:
        """Cast where it must be. Left to Flink, one such column has it cast every MAP, and what holds one, too."""
        if not self.cast:
            return sql
        columns = (
            f"CAST({quoted(c.name)} AS {c.type}) AS {quoted(c.name)}"
            if c.name in self.cast
            else quoted(c.name)
            for c in self.columns
        )
        return f"SELECT {', '.join(columns)}\nFROM (\n{sql}\n)"


def query_of(
    env: TableEnvironment, product: Product, name: str, known: Known, *, placed: bool = True
) -> Query:
    """The SELECT of an output, with the generated columns that it can have."""
    statement = _only_select(env, product, name, known)
    said = product.settings.outputs[name]
    written = columns_of(env, statement, statement.text, name, known)
    query = Query(statement, written)
    if placed and said.kind is not Kind.aggregate:
        query = _placed(env, query, name, known) or query
    if said.where is not None:
        hidden = f"{generate.condition(product, name)} AS `{generate.KEPT}`"
        query = replace(query, hidden=", ".join(filter(None, (hidden, query.hidden))))
        _decides(env, product, query, name, known)
    return replace(query, cast=_cast(env, query, name))


def _decides(
    env: TableEnvironment, product: Product, query: Query, name: str, known: Known
) -> None:
    """ProblemError unless an output's `where` is a condition over what its SELECT reads."""
    file, sql = product.folder / "product.yaml", with_first_columns(query.statement, query.hidden)
    if generate.KEPT in {c.name for c in query.written}:
        statement = query.statement
        said = f"{name}: a column {generate.KEPT} beside outputs.{name}.where, which has one of this name"
        raise ProblemError(
            Problem(str(statement.file), statement.line, said, "another name for it")
        )
    try:
        [kept] = [
            c
            for c in columns_of(
                env, Statement(file, 0, sql, ()), sql, f"outputs.{name}.where", known
            )
            if c.name == generate.KEPT
        ]
    except ProblemError as e:
        raise ProblemError(*(replace(p, line=0) for p in e.problems)) from e
    if kept.type != "BOOLEAN":
        said = f"outputs.{name}.where: {product.settings.outputs[name].where} is {kept.type}"
        raise ProblemError(
            Problem(str(file), 0, said, "a condition: what it does not hold of is left out")
        )


def _cast(env: TableEnvironment, query: Query, output: str) -> frozenset[str]:
    """The columns that have to be cast to their tables' types; ProblemError for what Flink fails to cast."""
    found = env._j_tenv.getParser().parse(query.unfiltered).get(0).getResolvedSchema().getColumns()
    types = {
        str(c.getName()): str(c.getDataType().getLogicalType().asSummaryString()) for c in found
    }
    cast = frozenset(name for name, type_ in types.items() if not is_as_stored(type_))
    for name in sorted(cast):
        if has_array_of_bytes(types[name]):
            said = f"{output}: column {name} has arrays of bytes beside times of another precision than tables have"
            statement = query.statement
            raise ProblemError(
                Problem(
                    str(statement.file), statement.line, said, "its fields as columns of their own"
                )
            )
    return cast


def _placed(env: TableEnvironment, query: Query, name: str, known: Known) -> Query | None:
    """The query with the columns that say where a row's record stands; None when it has them, or no such columns."""
    place = (
        ("log_topic", *PLACE)
        if len(query.statement.words) and query.statement.words.count("UNION")
        else PLACE
    )
    missing = [c for c in place if c not in {w.name for w in query.written}]
    if not missing:
        return None
    hidden = ", ".join(f"`{c}`" for c in missing)
    try:
        found = columns_of(
            env, query.statement, with_first_columns(query.statement, hidden), name, known
        )
    except ProblemError:
        return None
    return replace(query, placed=found[: len(missing)], hidden=hidden)


def _only_select(env: TableEnvironment, product: Product, name: str, known: Known) -> Statement:
    file = product.select_sql(name)
    statements = read_statements(file)
    if len(statements) != 1:
        raise ProblemError(
            Problem(
                str(file),
                statements[1].line if statements else 0,
                f"{len(statements)} statements",
                f"one SELECT that fills {name}; views belong in views.sql",
            )
        )
    [statement] = statements
    if statement.verb not in ("SELECT", "WITH", "VALUES", "("):
        raise ProblemError(
            Problem(str(file), statement.line, statement.verb, f"one SELECT that fills {name}")
        )
    if (kind := _operation(env, statement, known, name)) != "PlannerQueryOperation":
        raise ProblemError(
            Problem(
                str(file),
                statement.line,
                f"{statement.verb} ({kind})",
                f"one SELECT that fills {name}",
            )
        )
    return statement


def _operation(env: TableEnvironment, statement: Statement, known: Known, output: str = "") -> str:
    """The kind of statement, according to Flink's own parser."""
    try:
        return str(env._j_tenv.getParser().parse(statement.text).get(0).getClass().getSimpleName())
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        raise ProblemError(planner_problem(str(e), statement, known, output)) from e


def columns_of(
    env: TableEnvironment, statement: Statement, sql: str, output: str, known: Known
) -> tuple[Column, ...]:
    """Names and types of a query's columns."""
    try:
        found = env._j_tenv.getParser().parse(sql).get(0).getResolvedSchema().getColumns()
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        raise ProblemError(planner_problem(str(e), statement, known, output)) from e
    names: list[str] = []
    columns: list[Column] = []
    for number in range(found.size()):
        column = found.get(number)
        name, type_ = (
            str(column.getName()),
            str(column.getDataType().getLogicalType().asSummaryString()),
        )
        columns.append(_column(statement, output, number + 1, name, type_))
        if alike := [n for n in names if n.lower() == name.lower()]:
            raise ProblemError(
                Problem(
                    str(statement.file),
                    statement.line,
                    f"{output}: columns {alike[0]} and {name}",
                    "names that differ by more than case, which most readers ignore",
                )
            )
        names.append(name)
    return tuple(columns)


def _column(statement: Statement, output: str, number: int, name: str, type_: str) -> Column:
    if name.startswith("EXPR$"):
        raise ProblemError(
            Problem(
                str(statement.file),
                statement.line,
                f"{output}: column {number} has no name",
                "a name for the column: … AS name",
            )
        )
    if "PROCTIME" in type_:
        problem = Problem(
            str(statement.file),
            statement.line,
            f"{output}: column {name} is the time of the run",
            LOG_CLOCK,
        )
        raise ProblemError(problem)
    if "EXPR$" in type_:
        said = f"{output}: a field of column {name} has no name"
        raise ProblemError(
            Problem(str(statement.file), statement.line, said, "CAST(ROW(…) AS ROW<name TYPE, …>)")
        )
    try:
        return Column(name=name, type=resolved_column_type(type_))
    except ColumnTypeError as e:
        raise ProblemError(
            Problem(
                str(statement.file),
                statement.line,
                f"{output}: column {name} is {e.found}",
                e.instead,
            )
        ) from e
