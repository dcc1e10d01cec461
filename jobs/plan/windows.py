"""The columns of an output that say which window its rows are of. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.plan.compiled import (
    Node,
    interval_seconds,
    is_cumulative,
    is_session,
    is_tumbling,
    window_seconds,
)
from jobs.plan.inference import tells_windows_apart
from jobs.plan.origins import Origin, origins


@dataclass(frozen=True)
class WindowColumns:
    """Columns of an output, TIMESTAMP or DATE."""

    starts: str | None
    ends: str | None
    seconds: float = 0.0
    """The longest that the window lasts; 0 of a session."""
    is_session: bool = False
    """Its ends follow from its records: with fewer of them it is another window."""
    is_exact: bool = True
    """The columns say where it begins and where it ends."""
    overlaps: bool = False
    """An event may be of several."""

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(c for c in (self.starts, self.ends) if c)


def window_columns(sink: Node) -> WindowColumns | None:
    """Those of the table that a sink fills; None where none says it."""
    of: dict[str, tuple[str, Origin]] = {}
    for index, column in enumerate(sink.columns):
        found = origins(sink, index)
        if len(found) == 1 and _is_end_of_window(found[0]):
            shown = of.get(found[0].kind)
            if shown is None or (shown[1].as_date and not found[0].as_date):
                of[found[0].kind] = (column, found[0])
    if not of:
        return None
    node = next(iter(of.values()))[1].node
    window = node.window if node else {}
    return WindowColumns(
        starts=of["window_start"][0] if "window_start" in of else None,
        ends=of["window_end"][0] if "window_end" in of else None,
        seconds=window_seconds(window),
        is_session=is_session(window),
        is_exact=len(of) > 1 or not (is_session(window) or is_cumulative(window)),
        overlaps=not (is_session(window) or is_tumbling(window)),
    )


def held(sink: Node, column: str) -> float:
    """How many seconds behind the window that a column shows its row may come, at the most: joins of intervals in front
    of the window hold back the clock that closes it, and later windows and joins hold back its row."""
    shown = {id(o.node) for o in origins(sink, sink.columns.index(column)) if o.node}
    # Of a window that is computed nobody knows which one it is: all joins may hold it back.
    return _held(sink, shown) if shown else _held_in_front(sink)


def _held(node: Node, shown: set[int]) -> float:
    if id(node) in shown:
        return _held_in_front(node)
    behind = [n for n in node.inputs if any(id(m) in shown for m in n.walk())]
    return max((_held(n, shown) + _holds(node) for n in behind), default=0.0)


def _held_in_front(node: Node) -> float:
    return max((_held_in_front(n) + interval_seconds(n) for n in node.inputs), default=0.0)


def _holds(node: Node) -> float:
    """How many seconds behind the time of its input an operator hands a row on."""
    if waits := interval_seconds(node):
        return waits
    # A window that its input has been given is that of an operator before it.
    strategy = (node.body.get("windowing") or {}).get("strategy", "TimeAttribute")
    return window_seconds(node.window) if strategy == "TimeAttribute" else 0.0


def _is_end_of_window(found: Origin) -> bool:
    """Whether it is where a window begins or ends; as a date only of windows of whole days that begin at midnight."""
    if not tells_windows_apart(found) or found.node is None:
        return False
    window = found.node.window
    begins_at_midnight = window.get("offset") in (None, "PT0S")
    return not found.as_date or (begins_at_midnight and window_seconds(window) % 86_400 == 0)
