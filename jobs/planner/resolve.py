"""Ask Flink's planner what a product's SQL gives: types, kinds, keys and windows, which nobody has to write down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pyflink.table import TableEnvironment

from jobs import generate, wiring
from jobs.plan.compiled import Node, distinct, numbered, parse_plan
from jobs.plan.inference import Inferred, infer
from jobs.plan.log_order import with_log_order
from jobs.planner.errors import Known, planner_problem
from jobs.planner.outputs import output_of, output_problems
from jobs.planner.queries import ProblemError, Query, query_of
from jobs.probe.probe import Probe, probing
from jobs.product import zones
from jobs.product.folder import Product
from jobs.product.model import REJECTS, Kind, Output, Resolved
from jobs.product.sql import Statement, StatementError
from jobs.safety.order_rules import identities
from jobs.safety.plan import check_plan
from jobs.safety.problem import Problem
from jobs.safety.text import check_statements


@dataclass(frozen=True)
class Answer:
    """The planner's answer about a product."""

    problems: tuple[Problem, ...] = ()
    resolved: Resolved | None = None
    """None when there are problems."""
    plan: str = ""
    """Flink's compiled plan, JSON."""


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
    known = known_names(product)
    try:
        wiring.declare_inputs(env, product, wiring.NOWHERE)
        wiring.declare_views(env, product)
    except StatementError as e:
        raise ProblemError(planner_problem(str(e.__cause__), e.statement, known)) from e
    queries = _queries(env, product, known)
    compiled, inferred = _plan(env, product, queries)
    if undone := {n for n, q in queries.items() if q.placed and inferred[n].kind is not Kind.rows}:
        queries = {n: query_of(env, product, n, known, placed=n not in undone) for n in queries}
        compiled, inferred = _plan(env, product, queries)
    outputs = {name: output_of(product, name, queries[name], inferred[name]) for name in queries}
    sinks = parse_plan(compiled)
    found = [
        *output_problems(product, queries, inferred),
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


def _queries(env: TableEnvironment, product: Product, known: Known) -> dict[str, Query]:
    """Every output's; ProblemError with what is refused of any of them."""
    found: dict[str, Query] = {}
    problems: list[Problem] = []
    for name in product.settings.outputs:
        try:
            found[name] = query_of(env, product, name, known)
        except ProblemError as e:
            problems += e.problems
    if problems:
        raise ProblemError(*problems)
    return found


def _longest_wait(product: Product, waits: Iterable[float]) -> float:
    """The longest window in front of a row table; on local time it lasts longer where clocks are set back."""
    wait = max(waits, default=0.0)
    return wait + zones.largest_setback(product.settings.time_zone).total_seconds() if wait else 0.0


def known_names(product: Product) -> Known:
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


def _plan(
    env: TableEnvironment, product: Product, queries: Mapping[str, Query]
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
    queries: Mapping[str, Query],
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
                planner_problem(str(e.__cause__), whole, known_names(product), name)
            ) from e
    try:
        compiled = str(statements._j_statement_set.compilePlan().asJsonString())
        return with_log_order(product, numbered(compiled))
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        raise _refused(env, product, queries, selects, e) from e


def _refused(
    env: TableEnvironment,
    product: Product,
    queries: Mapping[str, Query],
    selects: Mapping[str, str],
    error: Exception,
) -> ProblemError:
    """What Flink says of all outputs together, with the output of which it also says so alone."""
    known, name, line, said = known_names(product), "", 0, error
    file = product.folder / "product.yaml"
    for output, query in queries.items():
        alone = generate.insert(
            output, Output(kind=Kind.rows, columns=query.columns, select=selects[output])
        )
        try:
            env.explain_sql(alone)
        except Exception as e:  # noqa: BLE001 - whatever Flink says
            name, file, line, said = output, product.select_sql(output), query.statement.line, e
            break
    return ProblemError(planner_problem(str(said), Statement(file, line, "", ()), known, name))


def _translate(env: TableEnvironment, product: Product, compiled: str) -> None:
    """ProblemError for a plan of which Flink cannot make a job."""
    try:
        wiring.translate(env, compiled)
    except Exception as e:  # what of Java PyFlink knows, it raises as its own
        whole = Statement(product.folder / "product.yaml", 0, "", ())
        raise ProblemError(planner_problem(str(e), whole, known_names(product))) from e


def _sinks(compiled: str) -> dict[str, Node]:
    return {sink.table: sink for sink in parse_plan(compiled)}


def _inferred(product: Product, sink: Node, query: Query, events: frozenset[str]) -> Inferred:
    found = infer(sink, tuple(c.name for c in query.columns), events, identities(product))
    each_once = sum(
        product.settings.topics[t].is_event
        and bool(product.settings.topics[t].identity)
        and not product.settings.topics[t].held_by_source
        for t in found.topics
    )
    return replace(found, filters=found.filters - each_once)
