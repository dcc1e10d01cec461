"""How far before and behind its own time an output's row depends on events, as its operators say. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.plan.compiled import (
    INTERVAL_BOUNDS,
    Node,
    interval_bounds,
    interval_seconds,
    is_session,
    window_seconds,
)
from jobs.plan.log_order import groups_of, is_lag

ANY_EARLIER = "its rows may depend on any earlier ones"
SESSIONS = "its sessions may begin before the part"

_AT_ITS_TIME = frozenset(
    {
        "calc",
        "python-calc",
        "exchange",
        "union",
        "sink",
        "values",
        "expand",
        "correlate",
        "python-correlate",
        "drop-update-before",
        "watermark-assigner",
        "mini-batch-assigner",
        "table-source-scan",
    }
)
"""Each row depends on one row of the input, and on versions that are looked up."""
_WINDOWED = frozenset(
    {
        "window-aggregate",
        "local-window-aggregate",
        "global-window-aggregate",
        "group-window-aggregate",
        "window-deduplicate",
        "window-rank",
        "window-join",
    }
)


@dataclass(frozen=True)
class Reach:
    """In seconds on the log's clock."""

    back: float = 0.0
    """Before the row's time, or where its window begins."""
    ahead: float = 0.0
    """Behind the row's time, or where its window ends."""
    span: float = 0.0
    """The longest that its window lasts; 0 of a row of no window."""
    unbounded: str = ""
    """Why it has no bound; empty where it has."""


def reach(node: Node, events: frozenset[str]) -> Reach:
    """That of the rows which an operator hands on; `events`: the topics with events, by their names in SQL.

    What is not known to have a bound has none. References and dimensions count as known from their beginning.
    """
    if not events & {n.topic for n in node.walk()}:
        return Reach()
    before = _widest([reach(n, events) for n in node.inputs])
    if before.unbounded or node.type in _AT_ITS_TIME:
        return before
    if node.type in _WINDOWED:
        return _windowed(node, before)
    match node.type:
        case "window-table-function":
            return _beginning_anew(before)
        case "over-aggregate":
            looks_back = max((_preceding(node, g) for g in groups_of(node)), default=math.inf)
            if math.isfinite(looks_back):
                return replace(before, back=before.back + looks_back)
        case "interval-join":
            return _interval_joined(node, before)
        case "temporal-join" if not events & {n.topic for n in node.inputs[1].walk()}:
            return before
    return Reach(unbounded=ANY_EARLIER)


def _widest(inputs: Sequence[Reach]) -> Reach:
    return Reach(
        max((r.back for r in inputs), default=0.0),
        max((r.ahead for r in inputs), default=0.0),
        max((r.span for r in inputs), default=0.0),
        next((r.unbounded for r in inputs if r.unbounded), ""),
    )


def _beginning_anew(before: Reach) -> Reach:
    """As seen from a row's time: where the input's window ends, which began before."""
    return replace(before, back=before.back + before.span, span=0.0)


def _windowed(node: Node, before: Reach) -> Reach:
    if is_session(node.window):
        return Reach(unbounded=SESSIONS)
    # By default a window is one of rows' times; another takes over those that the input has.
    strategy = (node.body.get("windowing") or {}).get("strategy", "TimeAttribute")
    inside = before
    if strategy == "TimeAttribute" and node.type != "window-join":
        inside = _beginning_anew(before)
    return replace(inside, span=max(inside.span, window_seconds(node.window)))


def _interval_joined(node: Node, before: Reach) -> Reach:
    """A row has the time of either side, and the other side's is within the bounds of it."""
    if not set(INTERVAL_BOUNDS) <= set(interval_bounds(node)):
        return Reach(unbounded=ANY_EARLIER)
    most = interval_seconds(node)
    back = before.back + before.span + most
    return replace(before, back=back, ahead=before.ahead + most)


def _preceding(node: Node, group: dict[str, Any]) -> float:
    """How many seconds an OVER looks back; infinity of one that counts rows, or has no bound."""
    lower = group.get("lowerBound") or {}
    kind = lower.get("kind")
    if group.get("isRows") or is_lag(group):
        return math.inf
    if kind == "CURRENT_ROW":
        return 0.0
    spec = node.body.get("overSpec") or {}
    number = int((lower.get("offset") or {}).get("inputIndex", -1)) - int(
        spec.get("originalInputFields", 0)
    )
    constants = spec.get("constants") or []
    if kind != "BOUNDED_WINDOW" or not 0 <= number < len(constants):
        return math.inf
    months = any(unit in str(constants[number].get("type")) for unit in ("MONTH", "YEAR"))
    return math.inf if months else float(constants[number]["value"]) / 1000
