"""What an output is, as its own operators in the plan say: its kind, key and window. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.plan.compiled import (
    WINDOWS,
    Node,
    conjuncts,
    interval_seconds,
    iso_seconds,
    references,
    window_seconds,
)
from jobs.plan.origins import Origin, origin, origins
from jobs.product.model import INTERNAL_COLUMNS, Kind, Window

# One row for each row of the input, whatever columns are added to it.
_ROW_BY_ROW = frozenset(
    {
        "calc",
        "python-calc",
        "exchange",
        "union",
        "sink",
        "over-aggregate",
        "table-source-scan",
    }
)
# At most one row for each row of the input: what tells the rows of the input apart tells those apart too.
_KEEPS_APART = _ROW_BY_ROW - {"union", "table-source-scan"} | {
    "window-rank",
    "window-deduplicate",
    "temporal-join",
}


@dataclass(frozen=True)
class Inferred:
    """What an output's operators say of it."""

    kind: Kind
    topics: tuple[str, ...]
    """The topics with events that its rows are of, by their names in SQL."""
    key: tuple[str, ...] = ()
    window: Window | None = None
    wait: float = 0
    """Seconds on the log's clock that a record may wait for its row."""
    filters: int = 0
    """Conditions on its way that no generated SQL has."""
    placed: frozenset[str] | None = None
    """The topics whose places its columns log_partition and log_offset are, each in one branch; None of other ones."""


def infer(
    sink: Node,
    names: tuple[str, ...],
    events: frozenset[str],
    identities: Mapping[str, tuple[str, ...]] | None = None,
) -> Inferred:
    """What the table that a sink fills is.

    `names` are its columns, `events` the topics with events, `identities` the columns that tell the events of a topic
    apart, where its duplicates are left out.
    """
    nodes = tuple(sink.walk())
    topics = tuple(sorted({n.topic for n in nodes} & events))
    wait, filters, placed = _wait(sink), sum(_own_filters(n) for n in nodes), _placed(sink, names)
    if all(
        n.type in _ROW_BY_ROW or _looks_up(n, events) or of_identity(n, identities or {})
        for n in nodes
        if events & {m.topic for m in n.walk()}
    ):
        return Inferred(Kind.rows, topics, wait=wait, filters=filters, placed=placed)
    found = [origin(sink, i) for i in range(len(names))]
    key, window = _key(sink, names, found), _window(names, found)
    return Inferred(Kind.aggregate, topics, key, window, wait, filters, placed)


def _placed(sink: Node, names: tuple[str, ...]) -> frozenset[str] | None:
    places = []
    for index, name in enumerate(names):
        if name in ("log_partition", "log_offset"):
            found = origins(sink, index)
            topics = {o.topic for o in found if o.kind == "field" and o.name == name}
            if len(topics) != len(found):  # something else, or two rows with one place
                return None
            places.append(frozenset(topics))
    return places[0] if len(places) == 2 and places[0] == places[1] else None


def of_identity(node: Node, identities: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a de-duplication in a window is by what its topic's events have only once: then it leaves none out."""
    topics = [n.topic for n in node.walk() if n.topic]
    if node.type != "window-deduplicate" or len(topics) != 1:
        return False
    identity = identities.get(topics[0], ())
    by = {origin(node.inputs[0], int(i)).name for i in node.body.get("partitionKeys") or ()}
    return bool(identity) and set(identity) <= by


def _looks_up(node: Node, events: frozenset[str]) -> bool:
    """Whether it adds columns to each row: of versions, or the window that it falls into."""
    if node.type == "window-table-function":
        return node.window.get("type") == "TumblingWindow"
    if node.type == "correlate":
        return node.function.endswith("_at")
    if node.type == "temporal-join":
        return not events & {n.topic for n in node.inputs[1].walk()}
    return False


def _own_filters(node: Node) -> int:
    if node.type == "correlate":
        return int(node.body.get("condition") is not None)
    if node.type == "temporal-join":
        return int((node.body.get("joinSpec") or {}).get("joinType") == "INNER")
    condition = node.body.get("condition") if node.type in ("calc", "python-calc") else None
    return sum(not _is_generated(node, part) for part in conjuncts(condition)) if condition else 0


def _is_generated(node: Node, condition: dict[str, Any]) -> bool:
    """Whether it asks for what only generated SQL can: columns that a topic does not show."""
    return any(
        origin(node.inputs[0], index).name in INTERNAL_COLUMNS for index in references(condition)
    )


def _wait(node: Node) -> float:
    before = max(map(_wait, node.inputs), default=0.0)
    if node.type in ("window-deduplicate", "window-rank", "window-join"):
        return before + window_seconds(node.window)
    if node.type == "interval-join":
        return before + interval_seconds(node)
    return before


def _key(sink: Node, names: tuple[str, ...], found: list[Origin]) -> tuple[str, ...]:
    """Columns with everything that the last window groups by; empty when one is not among them, or it has no window."""
    windows = {id(o.node): o.node for o in found if o.node is not None}
    if len(windows) != 1:
        return ()
    [node] = windows.values()
    groups = {
        o.index: name
        for name, o in reversed(list(zip(names, found, strict=True)))
        if o.kind == "group"
    }
    ends = [(name, o.kind) for name, o in zip(names, found, strict=True) if tells_windows_apart(o)]
    if node.type not in WINDOWS or set(range(len(node.body["grouping"]))) - set(groups) or not ends:
        return ()
    if node.window.get("type") == "CumulativeWindow" and not any(
        kind == "window_end" for _, kind in ends
    ):
        return ()
    if not keeps_apart(sink, node):
        return ()
    return (*(groups[i] for i in range(len(node.body["grouping"]))), *(name for name, _ in ends))


def tells_windows_apart(found: Origin) -> bool:
    """Whether no two windows begin, or end, at the time that a column shows."""
    if found.kind not in ("window_start", "window_end") or found.node is None:
        return False
    return not found.as_date or _is_of_whole_days(found.node.window)


def _is_of_whole_days(window: dict[str, Any]) -> bool:
    """Whether no two windows begin, or end, on one day."""
    kind = str(window.get("type") or window.get("kind", "")).upper()
    if kind.startswith("TUMB"):
        return window_seconds(window) % 86_400 == 0
    every = window.get("slide") or window.get("step")
    return bool(every) and not kind.startswith("SESSION") and iso_seconds(str(every)) % 86_400 == 0


def keeps_apart(last: Node, window: Node) -> bool:
    """Whether a row that a window hands on is at most one row of what `last` hands on."""
    inside = {id(n) for n in window.walk()}
    versions = {
        id(n)
        for joined in last.walk()
        if joined.type == "temporal-join"
        for n in joined.inputs[1].walk()
    }
    behind = [n for n in last.walk() if id(n) not in inside | versions]
    return all(n.type in _KEEPS_APART or _looks_up(n, frozenset()) for n in behind)


def _window(names: tuple[str, ...], found: list[Origin]) -> Window | None:
    """The column where its windows begin and their size; of one that shows only ends, the end and no size."""
    for kind in ("window_start", "window_end"):
        for name, from_ in zip(names, found, strict=True):
            if from_.kind != kind or from_.node is None:
                continue
            size = window_seconds(from_.node.window)
            if kind == "window_end" and not from_.as_date:
                return Window(column=name, size="0s")
            if (
                kind == "window_start"
                and size
                and (not from_.as_date or _is_of_whole_days(from_.node.window))
            ):
                return Window(column=name, size=_duration(size))
    return None


def _duration(size: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if size % length == 0:
            return f"{round(size / length)}{unit}"
    return f"{round(size * 1000)}ms"
