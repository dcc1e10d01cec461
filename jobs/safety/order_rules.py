"""What makes an operator safe to replay that depends on the order of rows: OVER, MATCH_RECOGNIZE, Top-N. Pure.

Rows of different partitions may have the same time, and then come in another order in each run.
"""

from __future__ import annotations

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
from jobs.product.folder import Product
from jobs.safety.bounds import is_finite_column
from jobs.safety.expressions import is_approximate
from jobs.safety.problem import Found
from jobs.safety.window_rules import windowed

_IN_ORDER = (
    "topics.T.keyed_by in product.yaml: columns of PARTITION BY by which producers choose the partition; or one "
    "row for each time, as after a window: PARTITION BY its groups ORDER BY window_time"
)


def over(product: Product, node: Node) -> Found:
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


def match(product: Product, node: Node) -> Found:
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


def window_deduplicate(product: Product, node: Node) -> Found:
    yield from windowed(product, node)
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


def rank(product: Product, node: Node) -> Found:
    yield from windowed(product, node)
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
