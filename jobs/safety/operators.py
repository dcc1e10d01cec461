"""Operators of the plan that are safe to replay, each under the conditions of its rule. Pure.

The operators that are known to be safe are listed; every other is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jobs.plan.compiled import WINDOWS, Node, function_name, has_fixed_length
from jobs.plan.inference import of_identity
from jobs.plan.log_order import (
    PLACE,
    groups_of,
    identity_that_is_a_key,
    in_log_order,
    is_lag,
    is_placed,
    order_of,
    without_equals,
    without_ties,
)
from jobs.plan.origins import origins
from jobs.product import zones
from jobs.product.folder import Product
from jobs.product.model import Role
from jobs.safety.bounds import is_finite_column
from jobs.safety.expressions import is_approximate
from jobs.safety.functions import LOG_CLOCK

_IN_ORDER = (
    "topics.T.keyed_by in product.yaml: columns of PARTITION BY by which producers choose the partition; or one "
    "row for each time, as after a window: PARTITION BY its groups ORDER BY window_time"
)
_WINDOW = "a window: its state is bounded in event time"
INSTEAD = {
    "watermark-assigner": "a time computed from columns of the schema and the log, without Python functions, so "
    "that the "
    "source takes the watermark, per partition",
    "lookup-join": "LEFT JOIN LATERAL TABLE(T_at(<event time>, <key>)) AS t ON TRUE, or LEFT JOIN … FOR SYSTEM_TIME "
    "AS OF <event time>",
    "group-aggregate": _WINDOW,
    "local-group-aggregate": _WINDOW,
    "global-group-aggregate": _WINDOW,
    "incremental-group-aggregate": _WINDOW,
    "group-table-aggregate": _WINDOW,
    "join": "a window join, an interval join (a.t BETWEEN b.t - INTERVAL … AND b.t + INTERVAL …), or, of a topic "
    "with a key in product.yaml, the look-up LATERAL TABLE(T_at(<event time>, <key>)): a regular join keeps every row "
    "for ever",
    "changelog-normalize": "an append-only topic and a versioned view: ROW_NUMBER() … ORDER BY <time> DESC = 1",
    "limit": "a window Top-N: which rows come first depends on the run",
    "sort-limit": "a window Top-N: which rows come first depends on the run",
    "rank": "a window Top-N: ROW_NUMBER() OVER (PARTITION BY window_start, window_end, …)",
    "sort": "no ORDER BY: a table has no order; sort: in product.yaml orders the rows of its files",
    "temporal-sort": "no ORDER BY: a table has no order; sort: in product.yaml orders the rows of its files",
    "process-table-function": "a look-up T_at(), or a function of product.yaml",
}


def versions(product: Product, node: Node) -> tuple[str, ...]:
    """The topics whose versions a look-up reads; empty for any other operator."""
    if node.type not in ("correlate", "python-correlate"):
        return ()
    function = node.function.removesuffix("_at")
    lookups = product.settings.lookups
    return tuple(lookups[function].values()) if function in lookups else (function,)


Found = Iterator[tuple[str, str]]

_AT_ONCE = frozenset(
    {
        "table-source-scan",
        "calc",
        "python-calc",
        "correlate",
        "python-correlate",
        "exchange",
        "union",
        "values",
        "expand",
        "drop-update-before",
        "watermark-assigner",
        "mini-batch-assigner",
    }
)


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
        yield from _session(product, node)


def _legacy_window(product: Product, node: Node) -> Found:
    window = node.window
    if window.get("isRowtime") is False or "PROCTIME" in str(window.get("timeField", "")):
        yield "group-window-aggregate in processing time", LOG_CLOCK
    kind = str(window.get("kind") or window.get("type", "")).upper()
    if kind.startswith(("SLIDE", "SLIDING", "HOP")) and not zones.is_fixed(
        product.settings.time_zone
    ):
        yield (
            "GROUP BY HOP(…), which counts wrongly in a time zone whose clocks change",
            "FROM TABLE(HOP(TABLE …, DESCRIPTOR(…), slide, size)) … GROUP BY window_start, window_end",
        )
    if kind.startswith("SESSION"):
        yield from _session(product, node)


def _session(product: Product, node: Node) -> Found:
    holding = next(
        (n for before in node.inputs for n in before.walk() if not _hands_on_at_once(n)), None
    )
    # A window operator whose input has been given its sessions already only takes them over.
    if (
        holding is not None
        and (node.body.get("windowing") or {}).get("strategy", "TimeAttribute") == "TimeAttribute"
    ):
        yield (
            f"a session of rows that {holding.type} holds until the log's clock has passed them",
            "SESSION of a topic's own rows, de-duplicated by identity in the source (without once: topic) if needed: "
            "among rows that were held, one exactly at the end of a session belongs to it in some runs and not in "
            "others",
        )
    if not zones.is_fixed(product.settings.time_zone):
        yield (
            "a session window in a time zone whose clocks change, where an hour is missing or passes twice",
            "time_zone: UTC, or another zone whose clocks never change",
        )


def _hands_on_at_once(node: Node) -> bool:
    """Whether no row of an operator waits for the watermark.

    The source's watermark stays two milliseconds below every row to come (LogClock.java). A row that waited for the
    watermark to come to its own time may follow one that is one millisecond below: with it a session that ends at the
    row's time is over, though it would take the row in.
    """
    if node.type == "interval-join":
        return ((node.body.get("intervalJoinSpec") or {}).get("joinSpec") or {}).get(
            "joinType"
        ) == "INNER"
    if node.type == "window-table-function":
        return node.window.get("type") != "SessionWindow"
    return node.type in _AT_ONCE


def _over(product: Product, node: Node) -> Found:
    for group in groups_of(node):
        if len(order_of(node)) > 1:
            yield (
                "OVER (… ORDER BY several columns), which Flink cannot run",
                "ORDER BY <time>, if topics.T.keyed_by in product.yaml says that all records of one key are in one "
                "partition; or, after a window, PARTITION BY all its groups ORDER BY window_time",
            )
        elif (group.get("isRows") or is_lag(group)) and not (
            in_log_order(product, node) or without_ties(node)
        ):
            yield _out_of_order(product, node, "LAG" if is_lag(group) else "OVER (… ROWS …)")
        elif _is_unbounded(group) and not _keeps_little(group):
            yield (
                "OVER without a lower bound",
                "RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW: its state is bounded",
            )


def _out_of_order(product: Product, node: Node, what: str) -> tuple[str, str]:
    if identity := identity_that_is_a_key(product, node):
        return (
            f"{what} by all columns of the identity: if each event has a key of its own, every key is kept for ever",
            f"identity: [{', '.join(identity)}] in product.yaml, if a key has many events; or fewer columns in "
            "PARTITION BY",
        )
    if what == "LAG":
        return "LAG over rows that may have the same time", _IN_ORDER
    return what, f"RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW; or {_IN_ORDER}"


def _is_unbounded(group: dict[str, Any]) -> bool:
    lower = group.get("lowerBound") or {}
    return not lower or "UNBOUNDED" in str(lower.get("kind", "")).upper()


def _keeps_little(group: dict[str, Any]) -> bool:
    """Whether an OVER over all earlier rows keeps only a number or a few rows for each key."""
    return is_lag(group) or (
        bool(group.get("isRows"))
        and not any(call.get("distinct") for call in group.get("aggCalls") or ())
    )


def _match(product: Product, node: Node) -> Found:
    if not (node.body.get("matchSpec") or {}).get("interval"):
        yield (
            "MATCH_RECOGNIZE without WITHIN",
            "PATTERN (…) WITHIN INTERVAL …: without it, partial matches are kept for ever",
        )
    after = (node.body.get("matchSpec") or {}).get("after") or {}
    if after and after.get("value") not in ("SKIP_PAST_LAST_ROW", "SKIP_TO_NEXT_ROW"):
        yield (
            "AFTER MATCH SKIP TO a variable, which fails the job",
            "SKIP PAST LAST ROW, or SKIP TO NEXT ROW",
        )
    if _tells_time(node) and not has_fixed_length(
        (node.body.get("matchSpec") or {}).get("pattern")
    ):
        yield (
            "MATCH_ROWTIME of a pattern whose matches differ in length",
            "LAST(C.<time>) of the pattern's last variable C: Flink holds a match back while an earlier one may "
            "continue, "
            "and gives it the time at which the earlier one was ruled out, which depends on the run",
        )
    if not (is_placed(node, order_of(node)) or in_log_order(product, node)):
        yield (
            "MATCH_RECOGNIZE whose ORDER BY may leave rows equal",
            f"ORDER BY <time>, {', '.join(_place(node))}: which of two rows with the same time comes first "
            f"depends on the run",
        )


def _tells_time(node: Node) -> bool:
    """Whether a pattern's measures have MATCH_ROWTIME."""
    return any(function_name(call) == "MATCH_ROWTIME" for call in node.calls())


def _interval_join(product: Product, node: Node) -> Found:
    bounds = (node.body.get("intervalJoinSpec") or {}).get("windowBounds") or {}
    if bounds.get("isEventTime") is False:
        yield "an interval join in processing time", LOG_CLOCK


def _correlate(product: Product, node: Node) -> Found:
    dimensions = {n for n, t in product.settings.topics.items() if t.role is Role.dimension}
    found = dimensions.intersection(versions(product, node))
    if found and not _waited(product, node):
        yield (
            f"a look-up in {', '.join(sorted(found))} of events that no window has held back",
            "an identity for the events, so that the source holds them for their allowed lateness; or the look-up "
            "after a window",
        )
    if found and not _at_event_time(product, node):
        yield (
            f"a look-up in {', '.join(sorted(found))} at another time than its event's",
            "the topic's time, or window_time after a window: a row would wait for any later time",
        )
    single = [n for n in versions(product, node) if n in product.settings.topics]
    name = node.function
    if (
        name.removesuffix("_at") in product.settings.topics
        and single
        and node.body.get("joinType") != "LEFT"
    ):
        yield (
            f"{name} that leaves out rows without a version",
            f"LEFT JOIN LATERAL TABLE({name}(…)) AS … ON TRUE",
        )


def _at_event_time(product: Product, node: Node) -> bool:
    """Whether a look-up's time follows the watermark: Flink says so, or it comes from such a column."""
    operand: dict[str, Any] = ((node.body.get("functionCall") or {}).get("operands") or [{}])[0]
    while operand.get("internalName") == "$CAST$1":
        operand = operand["operands"][0]
    if operand.get("kind") != "FIELD_ACCESS":
        return False
    name, before = operand["name"], node.inputs[0]
    row = operand["expr"]["type"]  # a text where no column is a time attribute
    types = {f["name"]: f["fieldType"] for f in row["fields"]} if isinstance(row, dict) else {}
    if isinstance(types.get(name), dict) and types[name].get("kind") == "ROWTIME":
        return True
    topics = product.settings.topics
    return name in before.columns and all(
        o.kind.startswith("window_") or (o.kind == "field" and o.name == topics[o.topic].time)
        for o in origins(before, before.columns.index(name))
    )


def _waited(product: Product, node: Node) -> bool:
    """Whether rows reach an operator after the watermark has passed them: from a window, or held by the source."""
    held = {*WINDOWS, "window-deduplicate", "window-rank", "over-aggregate"}
    if node.type in held:
        return True
    if node.topic:
        topic = product.settings.topics[node.topic]
        return topic.held_by_source or topic.role is Role.reference
    return all(_waited(product, before) for before in node.inputs)


def _deduplicate(product: Product, node: Node) -> Found:
    before = tuple(node.walk())
    roles = {product.settings.topics[n.topic].role for n in before if n.topic}
    if Role.events in roles and node.body.get("keepLastRow"):
        yield (
            "the latest row of each key, which every further row changes",
            "ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY <time> DESC, log_partition DESC, "
            "log_offset DESC) on a TUMBLE; or all rows, of which readers take the latest (docs/pipelines.md)",
        )
    elif Role.events in roles:
        yield (
            "a de-duplication of events without a window",
            "identity in product.yaml, or ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY <time>, "
            "log_partition, log_offset) on a TUMBLE",
        )
    elif roles and not any(
        n.type in {*WINDOWS, "window-rank", "window-deduplicate"} for n in before
    ):
        yield (
            "the latest version of records that are not in order of time",
            "a key of the topic, and the look-up LATERAL TABLE(T_at(<event time>, <key>)); or a de-duplication in a "
            "window of the version's time first: which of two partitions is read first depends on the run",
        )


def _window_deduplicate(product: Product, node: Node) -> Found:
    yield from _windowed(product, node)
    if not of_identity(node, identities(product)):
        yield (
            "the first or last row of a window, ordered by time alone",
            "ORDER BY <time>, log_partition, log_offset: which of two rows with the same time comes first depends "
            "on the run",
        )


def identities(product: Product) -> dict[str, tuple[str, ...]]:
    """The identity columns of each topic that is de-duplicated."""
    return {
        name: topic.identity for name, topic in product.settings.topics.items() if topic.identity
    }


def _rank(product: Product, node: Node) -> Found:
    yield from _windowed(product, node)
    if not _is_total(node):
        of_groups = any(n.type in WINDOWS for n in node.inputs[0].walk())
        instead = (
            "everything that its rows are grouped by, and their window"
            if of_groups
            else ", ".join(_place(node))
        )
        yield (
            "a Top-N whose ORDER BY may leave rows equal",
            f"further columns in ORDER BY, up to {instead}: which of two equal rows comes first depends on the run",
        )
    for index in order_of(node):
        if is_approximate(node.inputs[0].types[index]) and not is_finite_column(
            node.inputs[0], index
        ):
            yield (
                f"a Top-N in the order of {node.inputs[0].columns[index]}, a DOUBLE or FLOAT, in which NaN has no "
                f"place",
                "CASE WHEN ABS(x) < 1e300 THEN x END",
            )


def _is_total(node: Node) -> bool:
    """Whether no two rows are equal in what a Top-N sorts by: by their places in the log, or by a window's groups."""
    fields = order_of(node)
    by = [int(i) for i in (node.body.get("partitionSpec") or {}).get("fields") or ()]
    return is_placed(node, fields) or without_equals(node, [*fields, *by])


def _place(node: Node) -> tuple[str, ...]:
    """The columns that tell records apart: their topic, too, where a UNION has several."""
    several = any(n.type == "union" for n in node.walk())
    return ("log_topic",) * several + PLACE


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
            "window-join",
        ),
        _windowed,
    ),
    "window-deduplicate": _window_deduplicate,
    "group-window-aggregate": _legacy_window,
    "window-rank": _rank,
    "over-aggregate": _over,
    "interval-join": _interval_join,
    "match": _match,
    "correlate": _correlate,
    "python-correlate": _correlate,
    "deduplicate": _deduplicate,
    "sink": _sink,
}

SAFE_OPERATORS = frozenset(_OPERATORS)
"""Names as in the compiled plan. Each operator is safe under the conditions of its rule."""


def refused_operator(product: Product, node: Node) -> Found:
    behind_window = any(n.type == "window-table-function" for i in node.inputs for n in i.walk())
    of_constants = [i for i in node.inputs if not any(n.topic for n in i.walk())]
    if node.type.endswith("group-aggregate") and behind_window:
        yield (
            node.type,
            "GROUP BY window_start, window_end: with only one of them the groups never close",
        )
    elif node.type == "join" and of_constants:
        yield (
            "a join with VALUES",
            "CASE x WHEN … THEN … END, or a reference topic with a key: a join keeps every row for ever",
        )
    elif (rule := _OPERATORS.get(node.type)) is None:
        yield (
            node.type,
            INSTEAD.get(
                node.type, "another form: nobody has shown this operator to be safe to replay"
            ),
        )
    else:
        yield from rule(product, node)
