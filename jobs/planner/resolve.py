"""Ask Flink's planner what a product's SQL gives: the types, kinds, keys and windows that nobody has to write down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pyflink.table import TableEnvironment

from jobs import generate, wiring
from jobs.plan.compiled import Node, distinct, parse_plan
from jobs.plan.inference import Inferred, infer
from jobs.plan.log_order import with_log_order
from jobs.planner.errors import Known, planner_problem
from jobs.probe.probe import Probe, probing
from jobs.product import zones
from jobs.product.column_types import (
    ColumnTypeError,
    has_array_of_bytes,
    is_as_stored,
    resolved_column_type,
)
from jobs.product.folder import Product
from jobs.product.model import REJECTS, Column, Kind, Output, OutputSettings, Resolved
from jobs.product.sql import Statement, StatementError, quoted, read_statements, with_first_columns
from jobs.safety.functions import LOG_CLOCK
from jobs.safety.operators import identities
from jobs.safety.plan import check_plan
from jobs.safety.problem import Problem
from jobs.safety.text import check_statements

_PLACE = ("log_partition", "log_offset")


@dataclass(frozen=True)
class Answer:
    """What the planner says of a product."""

    problems: tuple[Problem, ...] = ()
    resolved: Resolved | None = None
    """None when there are problems."""
    plan: str = ""
    """Flink's compiled plan, JSON."""


class ProblemError(Exception):
    """What stops the planner."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].construct)
        self.problems = problems


@dataclass(frozen=True)
class _Query:
    """One output's SELECT: as it is written, and as it is run."""

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
        """Without what product.yaml leaves out."""
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


def resolve(product: Product) -> Answer:
    """Problems, or what is known of the outputs, and the plan. Connects to nothing."""
    try:
        with probing(product) as probe:
            return _resolve(product, probe)
    except ProblemError as e:
        return Answer(e.problems)


def _resolve(product: Product, probe: Probe) -> Answer:
    if problems := tuple(check_statements(product)):
        return Answer(problems)
    probe.start()
    env = wiring.environment(product)
    if problems := tuple(probe.imports()):  # before this process imports them
        return Answer(problems)
    known = _known(product)
    try:
        wiring.declare_inputs(env, product, wiring.NOWHERE)
        wiring.declare_views(env, product)
    except StatementError as e:
        raise ProblemError(planner_problem(str(e.__cause__), e.statement, known)) from e
    queries = _queries(env, product, known)
    compiled, inferred = _plan(env, product, queries)
    if undone := {n for n, q in queries.items() if q.placed and inferred[n].kind is not Kind.rows}:
        queries = {n: _query(env, product, n, known, placed=n not in undone) for n in queries}
        compiled, inferred = _plan(env, product, queries)
    outputs = {name: _output(product, name, queries[name], inferred[name]) for name in queries}
    sinks = parse_plan(compiled)
    found = [
        *_output_problems(product, queries, inferred),
        *check_plan(product, sinks),
        *probe.calls(distinct(sinks)),
    ]
    if found:
        return Answer(tuple(dict.fromkeys(found)), plan=compiled)
    _translate(env, product, compiled)
    wait = _longest_wait(
        product, [inferred[n].wait for n, output in outputs.items() if output.kind is Kind.rows]
    )
    rejects = generate.rejects_output(product)
    return Answer(
        (),
        Resolved(outputs={**outputs, REJECTS: rejects}, longest_wait=wait, plan=compiled),
        compiled,
    )


def _queries(env: TableEnvironment, product: Product, known: Known) -> dict[str, _Query]:
    """Every output's; ProblemError with what is refused of any of them."""
    found: dict[str, _Query] = {}
    problems: list[Problem] = []
    for name in product.settings.outputs:
        try:
            found[name] = _query(env, product, name, known)
        except ProblemError as e:
            problems += e.problems
    if problems:
        raise ProblemError(*problems)
    return found


def _longest_wait(product: Product, waits: Iterable[float]) -> float:
    """The longest window in front of a row table; on local time it lasts longer where clocks are set back."""
    wait = max(waits, default=0.0)
    return wait + zones.largest_setback(product.settings.time_zone).total_seconds() if wait else 0.0


def _known(product: Product) -> Known:
    settings = product.settings
    tables = {name: generate.column_names(product, name) for name in settings.topics}
    keys = {
        f"{name}_at": ("time", *topic.key) for name, topic in settings.topics.items() if topic.key
    }
    several = {
        f"{name}_at": (
            "time",
            *(key for topic in found.values() for key in settings.topics[topic].key),
        )
        for name, found in settings.lookups.items()
    }
    signatures = {
        name: f"({', '.join(arguments)})" for name, arguments in {**keys, **several}.items()
    }
    return Known(
        tables, {**signatures, **dict.fromkeys(settings.functions, "those of its Python function")}
    )


def _query(
    env: TableEnvironment, product: Product, name: str, known: Known, *, placed: bool = True
) -> _Query:
    """An output's SELECT with the columns that it gets by itself, as far as it can have them."""
    statement = _only_select(env, product, name, known)
    said = product.settings.outputs[name]
    written = _columns(env, statement, statement.text, name, known)
    query = _Query(statement, written)
    if placed and said.kind is not Kind.aggregate:
        query = _placed(env, query, name, known) or query
    if said.where is not None:
        hidden = f"{generate.condition(product, name)} AS `{generate.KEPT}`"
        query = replace(query, hidden=", ".join(filter(None, (hidden, query.hidden))))
        _decides(env, product, query, name, known)
    return replace(query, cast=_cast(env, query, name))


def _decides(
    env: TableEnvironment, product: Product, query: _Query, name: str, known: Known
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
            for c in _columns(env, Statement(file, 0, sql, ()), sql, f"outputs.{name}.where", known)
            if c.name == generate.KEPT
        ]
    except ProblemError as e:
        raise ProblemError(*(replace(p, line=0) for p in e.problems)) from e
    if kept.type != "BOOLEAN":
        said = f"outputs.{name}.where: {product.settings.outputs[name].where} is {kept.type}"
        raise ProblemError(
            Problem(str(file), 0, said, "a condition: what it does not hold of is left out")
        )


def _cast(env: TableEnvironment, query: _Query, output: str) -> frozenset[str]:
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


def _placed(env: TableEnvironment, query: _Query, name: str, known: Known) -> _Query | None:
    """The query with the columns that say where a row's record stands; None when it has them, or no such columns."""
    place = (
        ("log_topic", *_PLACE)
        if len(query.statement.words) and query.statement.words.count("UNION")
        else _PLACE
    )
    missing = [c for c in place if c not in {w.name for w in query.written}]
    if not missing:
        return None
    hidden = ", ".join(f"`{c}`" for c in missing)
    try:
        found = _columns(
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
                f"one SELECT, which fills {name}; views go to views.sql",
            )
        )
    [statement] = statements
    if statement.verb not in ("SELECT", "WITH", "VALUES", "("):
        raise ProblemError(
            Problem(str(file), statement.line, statement.verb, f"one SELECT, which fills {name}")
        )
    if (kind := _operation(env, statement, known, name)) != "PlannerQueryOperation":
        raise ProblemError(
            Problem(
                str(file),
                statement.line,
                f"{statement.verb} ({kind})",
                f"one SELECT, which fills {name}",
            )
        )
    return statement


def _operation(env: TableEnvironment, statement: Statement, known: Known, output: str = "") -> str:
    """What Flink's own parser takes a statement for."""
    try:
        return str(env._j_tenv.getParser().parse(statement.text).get(0).getClass().getSimpleName())
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        raise ProblemError(planner_problem(str(e), statement, known, output)) from e


def _columns(
    env: TableEnvironment, statement: Statement, sql: str, output: str, known: Known
) -> tuple[Column, ...]:
    """Names and types of what a query gives."""
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
                    "names that differ by more than case: most readers of tables fold it",
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
                "a name for it: … AS name",
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


def _plan(
    env: TableEnvironment, product: Product, queries: Mapping[str, _Query]
) -> tuple[str, dict[str, Inferred]]:
    """The compiled plan of all outputs, and what it says of each."""
    compiled = _compile(env, product, queries, {name: query.sql for name, query in queries.items()})
    sinks = _sinks(compiled)
    whole = (
        sinks  # of an output with `where`, only its plan without it tells what else it leaves out
    )
    if any(query.has_where for query in queries.values()):
        whole = _sinks(
            _compile(
                env, product, queries, {name: query.unfiltered for name, query in queries.items()}
            )
        )
    events = frozenset(n for n, t in product.settings.topics.items() if t.is_event)
    return compiled, {
        name: replace(
            _inferred(product, sinks[name], query, events),
            filters=_inferred(product, whole[name], query, events).filters,
        )
        for name, query in queries.items()
    }


def _compile(
    env: TableEnvironment,
    product: Product,
    queries: Mapping[str, _Query],
    selects: Mapping[str, str],
) -> str:
    """The compiled plan of these SELECTs of the outputs, and of rejects."""
    outputs = {
        **{
            name: Output(kind=Kind.rows, columns=query.columns, select=selects[name])
            for name, query in queries.items()
        },
        REJECTS: generate.rejects_output(product),
    }
    wiring.declare_nowhere(env, outputs)
    statements = env.create_statement_set()
    for name, output in outputs.items():
        file = product.select_sql(name) if name in queries else product.folder / "product.yaml"
        line = queries[name].statement.line if name in queries else 0
        try:
            wiring.add_insert(statements, Statement(file, line, generate.insert(name, output), ()))
        except StatementError as e:
            whole = replace(e.statement, text="")  # its lines are not those of the file
            raise ProblemError(
                planner_problem(str(e.__cause__), whole, _known(product), name)
            ) from e
    try:
        return with_log_order(
            product, str(statements._j_statement_set.compilePlan().asJsonString())
        )
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        whole = Statement(product.folder / "product.yaml", 0, "", ())
        raise ProblemError(planner_problem(str(e), whole, _known(product))) from e


def _translate(env: TableEnvironment, product: Product, compiled: str) -> None:
    """ProblemError for a plan of which Flink cannot make a job."""
    try:
        wiring.translate(env, compiled)
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        whole = Statement(product.folder / "product.yaml", 0, "", ())
        raise ProblemError(planner_problem(str(e), whole, _known(product))) from e


def _sinks(compiled: str) -> dict[str, Node]:
    return {sink.table: sink for sink in parse_plan(compiled)}


def _inferred(product: Product, sink: Node, query: _Query, events: frozenset[str]) -> Inferred:
    found = infer(sink, tuple(c.name for c in query.columns), events, identities(product))
    each_once = sum(
        product.settings.topics[t].is_event
        and bool(product.settings.topics[t].identity)
        and not product.settings.topics[t].held_by_source
        for t in found.topics
    )
    return replace(found, filters=found.filters - each_once)


def _output(product: Product, name: str, query: _Query, inferred: Inferred) -> Output:
    said = product.settings.outputs[name]
    kind = said.kind or inferred.kind
    of = said.of or (inferred.topics if kind is Kind.rows else ())
    return Output(
        kind=kind,
        of=tuple(product.settings.kafka_name(t) for t in of),
        where=said.where,
        key=said.key or (inferred.key if kind is Kind.aggregate else ()),
        window=said.window or (inferred.window if kind is Kind.aggregate else None),
        partition=said.partition,
        sort=said.sort,
        columns=query.columns,
        select=query.sql,
    )


def _output_problems(
    product: Product, queries: Mapping[str, _Query], inferred: Mapping[str, Inferred]
) -> Iterator[Problem]:
    yaml = str(product.folder / "product.yaml")
    for name, query in queries.items():
        said, found, names = (
            product.settings.outputs[name],
            inferred[name],
            {c.name for c in query.columns},
        )
        if unknown := [c for c in said.key if c not in names]:
            yield Problem(
                yaml,
                0,
                f"outputs.{name}.key: {', '.join(unknown)}",
                f"columns of the SELECT: {', '.join(c.name for c in query.columns)}",
            )
        yield from _window_problems(yaml, name, said, query)
        if (said.kind or found.kind) is Kind.rows:
            yield from _row_problems(name, query, found, frozenset(said.of or found.topics))


def _window_problems(
    yaml: str, name: str, said: OutputSettings, query: _Query
) -> Iterator[Problem]:
    if said.window is None:
        return
    types = {c.name: c.type for c in query.columns}
    found = types.get(said.window.column, "no column")
    if not found.startswith(("DATE", "TIMESTAMP(")):
        yield Problem(
            yaml,
            0,
            f"outputs.{name}.window.column: {said.window.column} is {found}",
            "a TIMESTAMP or DATE column, where the window begins",
        )


def _row_problems(
    name: str, query: _Query, found: Inferred, of: frozenset[str]
) -> Iterator[Problem]:
    file, line = str(query.statement.file), query.statement.line
    names = {c.name for c in query.columns}
    place = ("log_topic", *_PLACE) if len(of) > 1 else _PLACE
    if missing := [c for c in place if c not in names]:
        yield Problem(
            file,
            line,
            f"{name} does not say where the records of its rows stand",
            f"{', '.join(missing)} in the SELECT, and in the views that it reads",
        )
    elif of and found.placed != of:
        yield Problem(
            file,
            line,
            f"{name}: log_partition and log_offset are not those of a record of {', '.join(sorted(of))}, each once",
            "both as the topic has them; of a UNION, one branch for each topic with events; or "
            f"outputs.{name}.kind: aggregate in product.yaml",
        )
    if found.filters:
        yield Problem(
            file,
            line,
            f"{name} leaves records out, and the audit would miss them",
            f"outputs.{name}.where in product.yaml, which the audit decides again by itself; "
            f"or kind: aggregate, for a table that does not account for records",
        )
