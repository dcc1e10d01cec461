"""The replay-safety check: what would make a replay differ from the live run, or grow without bound, is refused.

Pure: statements and Flink's compiled plan in, problems out. Statements are read for what only they can tell: hints,
tables that are not theirs to read, views that nothing uses. Everything else is read off the plan, whatever the text
looks like: operators by their types, of which those that are known to be safe are listed and every other is refused by
name, and calls by the function that Flink resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from jobs import zones
from jobs.generate import log_table
from jobs.plan import Node, distinct
from jobs.problem import Problem
from jobs.product import Product, Role
from jobs.sql import Statement, read_statements

LOG_CLOCK = "the event's own time, or log_appended, when its record was appended"
_DERIVED = "a value derived from the record, such as a hash of its key"
_TIME_OF_RUN = {
    **dict.fromkeys(
        (
            "PROCTIME",
            "PROCTIME_MATERIALIZE",
            "CURRENT_TIMESTAMP",
            "CURRENT_DATE",
            "CURRENT_TIME",
            "CURRENT_ROW_TIMESTAMP",
            "CURRENT_WATERMARK",
            "LOCALTIME",
            "LOCALTIMESTAMP",
            "NOW",
        ),
        LOG_CLOCK,
    ),
    **dict.fromkeys(("RAND", "RAND_INTEGER", "UUID"), _DERIVED),
    **dict.fromkeys(("CURRENT_DATABASE", "CURRENT_USER", "SESSION_USER", "USER"), "a constant"),
}
_ORDER_OF_ARRIVAL = frozenset(
    {
        "FIRST_VALUE",
        "LAST_VALUE",
        "LISTAGG",
        "ARRAY_AGG",
        "COLLECT",
        "STRING_AGG",
        "JSON_ARRAYAGG_NULL_ON_NULL",
        "JSON_ARRAYAGG_ABSENT_ON_NULL",
        "JSON_OBJECTAGG_NULL_ON_NULL",
        "JSON_OBJECTAGG_ABSENT_ON_NULL",
        "SINGLE_VALUE",
    }
)
_ROUNDED = frozenset(
    {"SUM", "SUM0", "$SUM0", "AVG", "STDDEV_POP", "STDDEV_SAMP", "STDDEV", "VAR_POP", "VAR_SAMP", "VARIANCE"}
)
# Not execution.checkpointing.unaligned: a barrier that overtakes a watermark leaves windows open that the checkpoint's
# position says are closed.
_SETTINGS = (
    "state.backend",
    "state.checkpoints",
    "execution.checkpointing.timeout",
    "execution.checkpointing.min-pause",
    "pipeline.max-parallelism",
    "python.fn-execution",
    "restart-strategy",
    "table.optimizer.agg-phase-strategy",
    "table.optimizer.distinct-agg",
    "table.exec.async-state",
    "taskmanager.network",
)
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
"""Words of SQL that make an operator."""
_WINDOW = "a window: its state is bounded in event time"
_INSTEAD = {
    "watermark-assigner": "a time from the schema's columns and the log's, without Python: then the watermark is taken "
    "in the source, per partition",
    "lookup-join": "JOIN LATERAL TABLE(T_at(<event time>, <key>)), or JOIN … FOR SYSTEM_TIME AS OF <event time>",
    "group-aggregate": _WINDOW,
    "local-group-aggregate": _WINDOW,
    "global-group-aggregate": _WINDOW,
    "incremental-group-aggregate": _WINDOW,
    "group-table-aggregate": _WINDOW,
    "join": "a window join, an interval join (a.t BETWEEN b.t - INTERVAL … AND b.t + INTERVAL …), or the look-up "
    "LATERAL TABLE(T_at(<event time>, <key>)): a regular join keeps every row for ever",
    "changelog-normalize": "an append-only topic and a versioned view: ROW_NUMBER() … ORDER BY <time> DESC = 1",
    "limit": "a window Top-N: which rows are first depends on the run",
    "sort-limit": "a window Top-N: which rows are first depends on the run",
    "rank": "a window Top-N: ROW_NUMBER() OVER (PARTITION BY window_start, window_end, …)",
    "sort": "no ORDER BY: a table has no order; sort: in product.yaml orders the rows of its files",
    "temporal-sort": "no ORDER BY: a table has no order; sort: in product.yaml orders the rows of its files",
    "match": "windows: a pattern keeps partial matches for ever",
    "process-table-function": "a look-up T_at(), or a function of product.yaml",
}


def check_statements(product: Product) -> Iterator[Problem]:
    """Rules of the text, and of product.yaml."""
    yaml = str(product.folder / "product.yaml")
    views = read_statements(product.views_sql) if product.views_sql.is_file() else ()
    selects = tuple(s for name in product.settings.outputs for s in read_statements(product.select_sql(name)))
    yield from _views(product, views, selects)
    for statement in (*views, *selects):
        yield from _text(product, statement)
    for name, function in product.settings.functions.items():
        if not function.deterministic:
            yield Problem(
                yaml,
                0,
                f"function {name} is not declared deterministic",
                "deterministic: true, once equal arguments give equal results in every run",
            )
    for key in product.settings.flink:
        if not key.startswith(_SETTINGS):
            yield Problem(
                yaml,
                0,
                f"flink setting {key}",
                f"nothing, or one that decides no row: those that begin with {', '.join(_SETTINGS)}",
            )


def _views(product: Product, views: tuple[Statement, ...], selects: tuple[Statement, ...]) -> Iterator[Problem]:
    """views.sql creates views, each of which something uses: what nothing uses, the planner does not look into."""
    taken = {*product.settings.topics, *product.settings.outputs, "rejects"}
    for i, statement in enumerate(views):
        file, name = str(statement.file), statement.created_view
        if name is None:
            yield Problem(file, statement.line, " ".join(statement.words[:3]), "CREATE VIEW name AS SELECT …")
        elif name in taken or "__" in name:
            yield Problem(file, statement.line, f"view {name}", "a name of its own, without __")
        elif not any(other.mentions(name) for other in (*views[i + 1 :], *selects)):
            yield Problem(file, statement.line, f"view {name} is used by nothing", "a use of it, or its removal")


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
                "product.yaml: what a job reads, keeps and how it joins is the same in every run",
            )
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and words[i : i + 2] == ("ORDER", "BY"):
            yield Problem(str(statement.file), token.line, "ORDER BY", _INSTEAD["sort"])
        if token.is_name and name in tables:
            yield Problem(
                str(statement.file),
                token.line,
                name,
                f"{tables[name]}: its records that could be decoded and are on time; the others are in rejects",
            )


# --- the plan ----------------------------------------------------------------------------------------------------


def check_plan(product: Product, sinks: Iterable[Node]) -> Iterator[Problem]:
    """Rules of the plan; the file named is that of the output, or of product.yaml where several share a construct."""
    sinks = tuple(sinks)
    nodes = distinct(sinks)
    yaml = str(product.folder / "product.yaml")
    for name in product.settings.topics:
        scans = [n for n in nodes if n.topic == name]
        read = {id(n) for sink in sinks if sink.table != "rejects" for n in sink.walk()}
        if not any(id(n) in read for n in scans) and not _looked_up(product, name, nodes):
            yield Problem(yaml, 0, f"topic {name} is not read", "a use of it, or its removal from product.yaml")
        if len(scans) > 1:
            yield Problem(
                yaml,
                0,
                f"topic {name} is read {len(scans)} times",
                "one view in views.sql that all outputs read, with the columns that they all need",
            )
        for scan in scans:
            if not _pushed_down(scan):
                yield Problem(
                    yaml,
                    0,
                    f"the watermark of {name} is not taken inside the source, per partition",
                    _INSTEAD["watermark-assigner"],
                )
    for node in nodes:
        files = _files(product, node, sinks)
        for construct, instead in (*_operator(product, node), *_calls(product, node)):
            yield _located(files, node, construct, instead)


def _files(product: Product, node: Node, sinks: tuple[Node, ...]) -> tuple[Path, ...]:
    """The files that may hold an operator's construct, the likeliest first."""
    outputs = [sink.table for sink in sinks if any(n is node for n in sink.walk())]
    selects = [product.select_sql(name) for name in outputs if name in product.settings.outputs]
    views = [product.views_sql] if product.views_sql.is_file() else []
    yaml = product.folder / "product.yaml"
    return (*selects, *views, yaml) if len(selects) == 1 else (*views, *selects, yaml)


def _located(files: tuple[Path, ...], node: Node, construct: str, instead: str) -> Problem:
    """At the first word of SQL that makes such an operator or call; without one, in the likeliest file."""
    words = _KEYWORDS.get(node.type, frozenset()) | {construct.partition("(")[0].split()[0].rstrip(",")}
    for file in files:
        for statement in read_statements(file) if file.suffix == ".sql" else ():
            for token in statement.tokens:
                if token.word in words:
                    return Problem(str(file), token.line, construct, instead)
    return Problem(str(files[0]), 0, construct, instead)


def _looked_up(product: Product, name: str, nodes: tuple[Node, ...]) -> bool:
    return any(name in _versions(product, node) for node in nodes)


def _versions(product: Product, node: Node) -> tuple[str, ...]:
    """The topics whose versions a look-up reads; none of any other operator."""
    if node.type not in ("correlate", "python-correlate"):
        return ()
    function = str((node.body.get("functionCall") or {}).get("systemName", "")).removesuffix("_at")
    lookups = product.settings.lookups
    return tuple(lookups[function].values()) if function in lookups else (function,)


def _pushed_down(scan: Node) -> bool:
    abilities = (scan.body.get("scanTableSource") or {}).get("abilities") or ()
    return any(a.get("type") == "WatermarkPushDown" for a in abilities)


Found = Iterator[tuple[str, str]]


def _safe(product: Product, node: Node) -> Found:
    yield from ()


def _sink(product: Product, node: Node) -> Found:
    changes = node.body.get("inputChangelogMode") or ["INSERT"]
    if changes != ["INSERT"]:
        yield (
            f"an update stream ({', '.join(changes)}) into append-only table {node.table}",
            "a window: GROUP BY window_start, window_end, or a de-duplication in a window",
        )


def _windowed(product: Product, node: Node) -> Found:
    windowing = node.body.get("windowing") or {}
    if windowing.get("isRowtime") is False:
        yield f"{node.type} in processing time", LOG_CLOCK
    if node.window.get("type") == "SessionWindow":
        yield "a session window", "a tumbling or hopping window: a busy key's session never ends"


def _legacy_window(product: Product, node: Node) -> Found:
    window = node.window
    if window.get("isRowtime") is False or "PROCTIME" in str(window.get("timeField", "")):
        yield "group-window-aggregate in processing time", LOG_CLOCK
    kind = str(window.get("kind") or window.get("type", "")).upper()
    if kind.startswith(("SLIDE", "SLIDING", "HOP")) and not zones.is_fixed(product.settings.time_zone):
        yield ("GROUP BY HOP(…), which counts wrongly where clocks are set",
               "FROM TABLE(HOP(TABLE …, DESCRIPTOR(…), slide, size)) … GROUP BY window_start, window_end")
    if kind.startswith("SESSION"):
        yield "a session window", "a tumbling or hopping window: a busy key's session never ends"


def _over(product: Product, node: Node) -> Found:
    groups = (node.body.get("overSpec") or {}).get("groups") or ()
    for group in groups:
        lower = group.get("lowerBound") or {}
        if group.get("isRows"):
            yield (
                "OVER (… ROWS …)",
                "RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW: rows of one time have no order",
            )
        elif "UNBOUNDED" in str(lower.get("kind", "")).upper() or not lower:
            yield (
                "OVER without a lower bound",
                "RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW: its state is bounded",
            )


def _interval_join(product: Product, node: Node) -> Found:
    bounds = (node.body.get("intervalJoinSpec") or {}).get("windowBounds") or {}
    if bounds.get("isEventTime") is False:
        yield "an interval join in processing time", LOG_CLOCK


def _correlate(product: Product, node: Node) -> Found:
    dimensions = {n for n, t in product.settings.topics.items() if t.role is Role.dimension}
    found = dimensions.intersection(_versions(product, node))
    if found and not _waited(product, node):
        yield (
            f"a look-up in {', '.join(sorted(found))} of events that no window has held back",
            "identity for the events, which the source then holds for their lateness; or the look-up behind a window",
        )
    single = [n for n in _versions(product, node) if n in product.settings.topics]
    name = str((node.body.get("functionCall") or {}).get("systemName", ""))
    if name.removesuffix("_at") in product.settings.topics and single and node.body.get("joinType") != "LEFT":
        yield f"{name} that leaves out rows without a version", f"LEFT JOIN LATERAL TABLE({name}(…)) AS … ON TRUE"


def _waited(product: Product, node: Node) -> bool:
    """Whether rows come to an operator when the watermark has passed them: from a window, or held by the source."""
    before = tuple(node.walk())
    topics = [product.settings.topics[n.topic] for n in before if n.topic]
    held = {"window-aggregate", "global-window-aggregate", "window-deduplicate", "window-rank", "over-aggregate"}
    return any(n.type in held for n in before) or all(t.held_by_source or t.role is Role.reference for t in topics)


def _deduplicate(product: Product, node: Node) -> Found:
    before = tuple(node.walk())
    roles = {product.settings.topics[n.topic].role for n in before if n.topic}
    if Role.events in roles:
        yield (
            "a de-duplication of events without a window",
            "identity in product.yaml, or ROW_NUMBER() OVER (PARTITION BY window_start, window_end, …) on a TUMBLE",
        )
    elif Role.dimension in roles and not any(n.type.startswith("window") for n in before):
        yield (
            "the latest version of records that are not in order of time",
            "a de-duplication in a window of the version's time first",
        )


def _rank(product: Product, node: Node) -> Found:
    yield from _windowed(product, node)
    if _ties(node):
        yield (
            "a Top-N whose rows may be equal in its order",
            "further columns in ORDER BY, up to log_partition, "
            "log_offset: of equal rows, which come first depends on the run",
        )


def _ties(node: Node) -> bool:
    """Whether two rows can be equal in what a Top-N sorts by: unless a row's place in the log is part of it."""
    fields = (node.body.get("orderBy") or node.body.get("sortSpec") or {}).get("fields") or ()
    names = {node.inputs[0].columns[int(f["index"])] for f in fields}
    return not {"log_partition", "log_offset"} <= names


_OPERATORS: dict[str, Callable[[Product, Node], Found]] = {
    **dict.fromkeys(
        (
            "table-source-scan",
            "calc",
            "python-calc",
            "exchange",
            "union",
            "values",
            "expand",
            "drop-update-before",
            "temporal-join",
        ),
        _safe,
    ),
    **dict.fromkeys(
        (
            "window-table-function",
            "window-aggregate",
            "local-window-aggregate",
            "global-window-aggregate",
            "window-deduplicate",
            "window-join",
        ),
        _windowed,
    ),
    "group-window-aggregate": _legacy_window,
    "window-rank": _rank,
    "over-aggregate": _over,
    "interval-join": _interval_join,
    "correlate": _correlate,
    "python-correlate": _correlate,
    "deduplicate": _deduplicate,
    "sink": _sink,
}


def _operator(product: Product, node: Node) -> Found:
    behind_window = any(n.type == "window-table-function" for i in node.inputs for n in i.walk())
    if node.type.endswith("group-aggregate") and behind_window:
        yield node.type, "GROUP BY window_start, window_end: with only one of them the groups never close"
    elif (rule := _OPERATORS.get(node.type)) is None:
        yield node.type, _INSTEAD.get(node.type, "another form: nobody has shown this operator to be safe to replay")
    else:
        yield from rule(product, node)


def _calls(product: Product, node: Node) -> Found:
    for call in node.calls():
        name = _function(call)
        if name in _TIME_OF_RUN:
            yield name, _TIME_OF_RUN[name]
        elif name == "CAST" and _may_fail(call):
            yield (
                "CAST of text, which fails the job where the text is no such value",
                "TRY_CAST, which gives NULL: no record may stop a job",
            )
        elif name == "UNIX_TIMESTAMP" and not call.get("operands"):
            yield "UNIX_TIMESTAMP()", LOG_CLOCK
        elif "argList" in call and name in _ORDER_OF_ARRIVAL:
            yield f"{name}, which depends on the order of arrival", "MIN, MAX, or a Top-N in the order of a column"
        elif "argList" in call and name in _ROUNDED and _is_rounded(call, node):
            yield (
                f"{name} of DOUBLE or FLOAT, which rounds by the order of arrival",
                f"{name} of a DECIMAL: CAST(x AS DECIMAL(p, s)); or of integers, divided afterwards",
            )


def _function(call: dict[str, Any]) -> str:
    """The name by which Flink resolved a call: 'SUM' of '$SUM$1', the name of product.yaml of its functions."""
    internal = str(call.get("internalName", ""))
    return internal.strip("$").rpartition("$")[0] if internal.startswith("$") else str(call.get("systemName", internal))


def _may_fail(call: dict[str, Any]) -> bool:
    """Whether a cast turns text of a record into something that not every text is."""
    operand: dict[str, Any] = (call.get("operands") or [{}])[0]
    is_text = str(operand.get("type", "")).startswith(("VARCHAR", "CHAR"))
    holds_any_text = str(call.get("type", "")).startswith(("VARCHAR", "CHAR", "VARBINARY"))
    return is_text and operand.get("kind") != "LITERAL" and not holds_any_text


def _is_rounded(call: dict[str, Any], node: Node) -> bool:
    return str(call.get("type", "")).startswith(("DOUBLE", "FLOAT"))
