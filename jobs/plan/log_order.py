"""Where the rows of one key are in the order of the log, and a plan that uses that order. Pure.

Flink orders an OVER by time alone, and rows of one time in the order in which they arrive. Rows of one partition of the
log arrive in their order, in every run, as long as nothing between the source and the OVER deals them out by another
key. So where all records of a key are in one partition (`keyed_by` of a topic) ORDER BY time means ORDER BY time,
log_partition, log_offset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jobs.plan.compiled import FIRST_INPUT_FIRST, KEEPS_COLUMNS, WINDOWS, Node, parse_plan
from jobs.plan.inference import keeps_apart
from jobs.plan.origins import Origin, keeps_values, origin
from jobs.product.folder import Product
from jobs.product.model import LOG_COLUMNS, Topic

PLACE = ("log_partition", "log_offset")
_IN_ORDER = frozenset({"calc", "python-calc", "exchange", "correlate"})
"""Operators that hand rows on as they come; an exchange only deals them out, by the key of the OVER behind it."""


def in_log_order(product: Product, node: Node) -> bool:
    """Whether the rows of each key of an OVER or a pattern come to it in the order of the log."""
    topic, by = _topic_in_order(product, node), _columns_of_topic(node)
    return topic is not None and not _has_identity(topic, by)


def identity_that_is_a_key(product: Product, node: Node) -> tuple[str, ...]:
    """The identity with the time, if rows are out of order only because each key has all of the identity.

    If that is a key of its own for each event, every key would be kept for ever.
    """
    topic, by = _topic_in_order(product, node), _columns_of_topic(node)
    if topic is None or topic.time is None or not _has_identity(topic, by):
        return ()
    return (*topic.identity, topic.time)


def _has_identity(topic: Topic, by: frozenset[str | None]) -> bool:
    return bool(topic.identity) and by.issuperset(topic.identity)


def _topic_in_order(product: Product, node: Node) -> Topic | None:
    """The topic with `keyed_by` whose rows come to an operator of these keys with nothing dealing them out before."""
    by = _columns_of_topic(node)
    if None in by:
        return None
    before = node.inputs[0]
    while before.type != "table-source-scan":
        same_key = before.type == "over-aggregate" and _columns_of_topic(before) == by
        if len(before.inputs) != 1 or not (before.type in _IN_ORDER or same_key):
            return None
        before = before.inputs[0]
    topic = product.settings.topics.get(before.topic)
    if topic is None or not topic.keyed_by or not by.issuperset(topic.keyed_by):
        return None
    return None if by.intersection((*LOG_COLUMNS, topic.time)) else topic


def without_ties(node: Node) -> bool:
    """Whether no two rows of a key of an OVER have one time: a window has one row of each of its groups."""
    return tell_apart(node.inputs[0], [*_partition(node), *order_of(node)[:1]])


def without_equals(node: Node, indices: Iterable[int]) -> bool:
    """Whether no two rows of a Top-N are equal in some columns.

    A Top-N is of rows of one window: of that which grouped them, or of a later one, into which several have fallen.
    """
    windows = [n for n in node.walk() if n.type in WINDOWS]
    inside = {id(n) for window in windows for n in window.walk()}
    is_later = any(n.type == "window-table-function" and id(n) not in inside for n in node.walk())
    return tell_apart(node.inputs[0], indices, in_one_window=not is_later)


def tell_apart(node: Node, indices: Iterable[int], *, in_one_window: bool = False) -> bool:
    """Whether some columns tell rows apart: they are all that the one window before groups by, and say which window."""
    windows = [n for n in node.walk() if n.type in WINDOWS]
    if len(windows) != 1:
        return False
    [window] = windows
    found = [origin(node, index) for index in indices]
    groups = {o.index for o in found if o.kind == "group"}
    if groups != set(range(len(window.body["grouping"]))) or not keeps_apart(node, window):
        return False
    return in_one_window or any(o.node is window and _names_window(o) for o in found)


def _names_window(found: Origin) -> bool:
    """Whether no two windows have the same value of a column; windows that cumulate begin together."""
    of = found.node.window.get("type") if found.node else ""
    return not found.as_date and (
        found.kind in ("window_end", "window_time")
        or (found.kind == "window_start" and of != "CumulativeWindow")
    )


def is_placed(node: Node, order: list[int]) -> bool:
    """Whether the order of some columns tells all rows apart: by their records' partition and offset, and topic."""
    before = node.inputs[0]
    if any(_multiplies(n) for n in before.walk()):
        return False
    found = [set(_unchanged(before, index)) for index in order]
    several = any(n.type == "union" for n in before.walk())
    return all({name} in found for name in PLACE) and (
        not several or any(_tells_topics_apart(before, index) for index in order)
    )


def _multiplies(node: Node) -> bool:
    """Whether an operator may make several rows of a record, which then have one place."""
    if node.type in ("correlate", "python-correlate"):
        return not node.function.endswith("_at")
    return node.type in ("interval-join", "window-join", "join")


def _tells_topics_apart(node: Node, index: int) -> bool:
    """Whether a column is another constant in each branch of a UNION, as log_topic is."""
    while node.type != "union":
        before, index = _before(node, index)
        if before is None:
            return False
        node = before
    if node.type != "union":
        return False
    constants = [_constant(branch, index) for branch in _branches(node)]
    return None not in constants and len(set(constants)) == len(constants)


def _branches(node: Node) -> list[Node]:
    """What a UNION is of; Flink makes one of three branches of two of two."""
    return (
        [branch for before in node.inputs for branch in _branches(before)]
        if node.type == "union"
        else [node]
    )


def _constant(node: Node, index: int) -> str | None:
    """The value of a column that is a literal."""
    while node.type not in ("calc", "python-calc"):
        before, index = _before(node, index)
        if before is None:
            return None
        node = before
    value = node.body["projection"][index]
    while value.get("internalName") == "$CAST$1":
        value = value["operands"][0]
    if value.get("kind") == "INPUT_REF":
        return _constant(node.inputs[0], int(value["inputIndex"]))
    return str(value.get("value")) if value.get("kind") == "LITERAL" else None


def with_log_order(product: Product, compiled: str) -> str:
    """The compiled plan, in which an OVER over rows in the order of the log says so in the way that Flink can run.

    `ORDER BY time, log_partition, log_offset` becomes `ORDER BY time`, and LAG counts rows: of two rows of one time
    Flink's own LAG gives the later one's predecessor for both.
    """
    overs = {
        int(n.body["id"]): n
        for sink in parse_plan(compiled)
        for n in sink.walk()
        if n.type == "over-aggregate"
    }
    ordered = {id_ for id_, node in overs.items() if in_log_order(product, node)}
    if not ordered:
        return compiled
    plan = json.loads(compiled)
    for body in plan["nodes"]:
        if body["id"] in ordered:
            _count_rows(overs[body["id"]], body)
    return json.dumps(plan, indent=2)


def _count_rows(node: Node, body: dict[str, Any]) -> None:
    columns = [set(_unchanged(node.inputs[0], index)) for index in order_of(node)]
    for group in body["overSpec"]["groups"]:
        ascends = all(f.get("isAscending") for f in group["orderBy"]["fields"])
        if ascends and columns[1:] == [{name} for name in PLACE]:
            group["orderBy"]["fields"] = group["orderBy"]["fields"][:1]
        if is_lag(group):
            group["isRows"] = True


def is_lag(group: dict[str, Any]) -> bool:
    """Whether a group of an OVER has nothing but LAG, which keeps no more rows than it looks back; or its like."""
    names = {call.get("internalName") for call in group.get("aggCalls") or ()}
    return bool(names) and names <= {"$LAG$1", "$LEAD$1"}


def groups_of(node: Node) -> list[dict[str, Any]]:
    """The groups of aggregates of an OVER, each with its order and its bounds."""
    return list((node.body.get("overSpec") or {}).get("groups") or ())


def order_of(node: Node) -> list[int]:
    """The numbers of the columns by which an OVER, a pattern or a Top-N orders its rows."""
    if node.type == "over-aggregate":
        # Flink has all of one node ordered in one way
        of: dict[str, Any] = next(iter(groups_of(node)), {})
    else:
        of = node.body.get("matchSpec") or node.body
    order = of.get("orderBy") or node.body.get("sortSpec") or {}
    return [int(f["index"]) for f in order.get("fields") or ()]


def _partition(node: Node) -> list[int]:
    spec = node.body.get("matchSpec") or node.body.get("overSpec") or {}
    return [int(index) for index in (spec.get("partition") or {}).get("fields") or ()]


def _columns_of_topic(node: Node) -> frozenset[str | None]:
    """The topic's columns that an operator tells keys apart by; None among them where one is something else."""
    return frozenset(
        name for index in _partition(node) for name in _unchanged(node.inputs[0], index)
    )


def _unchanged(node: Node, index: int) -> Iterator[str | None]:
    """The topic's column that a column is, as it is, in each branch of UNIONs; None where it is something else."""
    if node.type == "table-source-scan":
        yield node.columns[index]
    elif node.type == "union":
        for branch in node.inputs:
            yield from _unchanged(branch, index)
    else:
        before, index = _before(node, index)
        yield from _unchanged(before, index) if before else (None,)


def _before(node: Node, index: int) -> tuple[Node | None, int]:
    """The column of an operator's first input that one of its columns is, unchanged; no operator when there is none."""
    if node.type in ("calc", "python-calc"):
        value = node.body["projection"][index]
        while value.get("internalName") in ("$CAST$1", "$REINTERPRET$1"):
            [inner] = value["operands"]
            if not keeps_values(inner.get("type"), value.get("type")):
                return None, index
            value = inner
        return (
            (node.inputs[0], int(value["inputIndex"]))
            if value.get("kind") == "INPUT_REF"
            else (None, index)
        )
    keeps = node.type in KEEPS_COLUMNS or (
        node.type in FIRST_INPUT_FIRST and index < len(node.inputs[0].columns)
    )
    return (node.inputs[0], index) if keeps else (None, index)
