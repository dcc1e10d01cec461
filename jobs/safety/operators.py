"""Operators of the plan that are safe to replay, each under the conditions of its rule. Pure.

The operators that are known to be safe are listed; every other is refused by its name. The rules are in
window_rules.py, order_rules.py and lookup_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable

from jobs.plan.compiled import Node
from jobs.product.folder import Product
from jobs.safety import lookup_rules, order_rules, window_rules
from jobs.safety.problem import Found

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


def _safe(product: Product, node: Node) -> Found:
    yield from ()


def _sink(product: Product, node: Node) -> Found:
    changes = node.body.get("inputChangelogMode") or ["INSERT"]
    if changes != ["INSERT"]:
        yield (
            f"an update stream ({', '.join(changes)}) into append-only table {node.table}",
            "a window: GROUP BY window_start, window_end, or a de-duplication in a window",
        )


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
        window_rules.windowed,
    ),
    "window-deduplicate": order_rules.window_deduplicate,
    "group-window-aggregate": window_rules.legacy_window,
    "window-rank": order_rules.rank,
    "over-aggregate": order_rules.over,
    "interval-join": lookup_rules.interval_join,
    "match": order_rules.match,
    "correlate": lookup_rules.correlate,
    "python-correlate": lookup_rules.correlate,
    "deduplicate": lookup_rules.deduplicate,
    "sink": _sink,
}

SAFE_OPERATORS = frozenset(_OPERATORS)
"""Names as in the compiled plan. Each operator is safe under the conditions of its rule."""


def refused_operator(product: Product, node: Node) -> Found:
    yield from lookup_rules.of_reference(product, node)
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
