"""Flink's compiled plan (JSON): typed operators, and what an output's own operators say of it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.column_types import Row, parse
from jobs.generate import INTERNAL
from jobs.product import Kind, Window

_TYPE = re.compile(r"^stream-exec-(.+)_\d+$")
_DURATION = re.compile(r"^PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,3}))?S)?$")
_LOG = "__log"
# A time with fewer digits than a window's ends have.
_CUT = re.compile(r"^TIMESTAMP\([0-2]\)")
WINDOWS = frozenset({"window-aggregate", "global-window-aggregate", "group-window-aggregate"})
KEEPS_COLUMNS = frozenset(
    {
        "exchange",
        "watermark-assigner",
        "drop-update-before",
        "window-deduplicate",
        "deduplicate",
        "mini-batch-assigner",
        "sink",
    }
)
FIRST_INPUT_FIRST = frozenset(
    {
        "correlate",
        "python-correlate",
        "over-aggregate",
        "window-table-function",
        "window-rank",
        "rank",
        "temporal-join",
        "interval-join",
        "window-join",
        "join",
    }
)
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


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: parts that several outputs share are one object."""

    type: str
    """Such as calc, table-source-scan, window-aggregate."""
    body: dict[str, Any]
    inputs: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This operator and all in front of it, each once."""
        seen: dict[int, Node] = {}
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            if id(node) not in seen:
                seen[id(node)] = node
                waiting += reversed(node.inputs)
        return iter(seen.values())

    @property
    def table(self) -> str:
        """The table that it scans or fills; empty of any other operator."""
        source = self.body.get("scanTableSource") or self.body.get("dynamicTableSink") or {}
        name = str((source.get("table") or {}).get("identifier", ""))
        return name.rpartition(".")[2].strip("`")

    @property
    def topic(self) -> str:
        """The topic that it reads, by its name in SQL; empty of any other operator."""
        return self.table.removesuffix(_LOG) if self.type == "table-source-scan" else ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what it hands on."""
        return tuple(name for name, _ in self._fields)

    @property
    def types(self) -> tuple[Any, ...]:
        """Types of what it hands on, as the plan says them: a text, or an object of a time attribute."""
        return tuple(type_ for _, type_ in self._fields)

    @property
    def _fields(self) -> tuple[tuple[str, Any], ...]:
        found = self.body.get("outputType")
        if isinstance(found, dict):
            return tuple((f["name"], f["fieldType"]) for f in found.get("fields", ()))
        if found == "ROW<>":  # of VALUES without columns, which parse() does not know
            return ()
        row = parse(str(found))
        return tuple((f.name, str(f.type)) for f in row.fields) if isinstance(row, Row) else ()

    @property
    def window(self) -> dict[str, Any]:
        """The window of a window operator, as the plan says it; empty of any other."""
        return (self.body.get("windowing") or {}).get("window") or self.body.get("window") or {}

    @property
    def function(self) -> str:
        """The table function that a look-up calls; empty of any other operator."""
        return str((self.body.get("functionCall") or {}).get("systemName", ""))

    @property
    def expressions(self) -> dict[str, Any]:
        """What it computes, by the names of the plan, without what only describes it."""
        if spec := self.body.get("matchSpec"):  # its pattern is no expression
            return {k: spec.get(k) for k in ("patternDefinitions", "measures")}
        return {
            k: v
            for k, v in self.body.items()
            if k not in ("outputType", "description", "dynamicTableSink")
        }

    def calls(self) -> Iterator[dict[str, Any]]:
        """Every call in its expressions, and those of its aggregates."""
        yield from _calls(self.expressions)


def _calls(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("kind") == "CALL" or "argList" in value:
            yield value
        for inner in value.values():
            yield from _calls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _calls(inner)


def has_fixed_length(pattern: Any) -> bool:
    """Whether every match of MATCH_RECOGNIZE's pattern is of as many rows: no `*`, `+`, `?` or `{n,m}` in it."""
    quantifiers = (call for call in _calls(pattern) if function_name(call) == "PATTERN_QUANTIFIER")
    bounds = (
        [operand.get("value") for operand in call.get("operands", ())[1:3]] for call in quantifiers
    )
    return all(len(found) == 2 and found[0] == found[1] for found in bounds)


def parse_plan(compiled: str) -> tuple[Node, ...]:
    """The sinks of a compiled plan."""
    plan = json.loads(compiled)
    inputs: dict[int, list[int]] = {}
    for edge in plan["edges"]:
        inputs.setdefault(edge["target"], []).append(edge["source"])
    nodes: dict[int, Node] = {}
    for body in sorted(plan["nodes"], key=lambda n: int(n["id"])):
        # inputs come before what reads them
        match = _TYPE.match(body["type"])
        before = tuple(nodes[i] for i in inputs.get(body["id"], ()))
        nodes[body["id"]] = Node(match[1] if match else body["type"], body, before)
    return tuple(n for n in nodes.values() if n.type == "sink")


def distinct(sinks: Iterable[Node]) -> tuple[Node, ...]:
    """Every operator of the job once."""
    return tuple({id(node): node for sink in sinks for node in sink.walk()}.values())


# --- where a column comes from -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """Where the values of a column come from."""

    kind: str
    """`field` of a topic, `group` of an aggregate, `window_start`, `window_end`, `window_time`, or `other`: a computed
    one."""
    name: str = ""
    """Of a field."""
    topic: str = field(default="", compare=False)
    """Of a field, by its name in SQL."""
    index: int = 0
    """Of a group."""
    node: Node | None = field(default=None, compare=False)
    """The window's operator."""
    as_date: bool = False
    """Cut to the day."""


_OTHER = Origin("other")


def origin(node: Node, index: int) -> Origin:
    """Where column `index` of what an operator hands on comes from, through casts that keep the value.

    Behind a UNION only a field that all its branches have comes from somewhere.
    """
    found = origins(node, index)
    same = len(found) == 1 or (found[0].kind == "field" and all(o == found[0] for o in found))
    return found[0] if same else _OTHER


def origins(node: Node, index: int) -> tuple[Origin, ...]:
    """Where column `index` comes from in each branch of the UNIONs on its way."""
    if node.type in ("calc", "python-calc"):
        return _of_expression(node, node.body["projection"][index])
    if node.type == "table-source-scan":
        return (Origin("field", node.columns[index], node.topic),)
    if node.type == "union":
        return tuple(o for branch in node.inputs for o in origins(branch, index))
    if node.type in KEEPS_COLUMNS:
        return origins(node.inputs[0], index)
    if node.type in WINDOWS:
        return (_of_window(node, index),)
    if node.type in FIRST_INPUT_FIRST:
        before = len(node.inputs[0].columns)
        if index < before:
            return origins(node.inputs[0], index)
        if node.type == "window-table-function":
            return (
                Origin(("window_start", "window_end", "window_time")[index - before], node=node),
            )
        if len(node.inputs) > 1:
            return origins(node.inputs[1], index - before)
    return (_OTHER,)


def _of_expression(node: Node, expression: dict[str, Any]) -> tuple[Origin, ...]:
    """Where the values of an expression over an operator's first input come from, per branch."""
    if expression.get("kind") == "INPUT_REF":
        return origins(node.inputs[0], int(expression["inputIndex"]))
    if expression.get("kind") == "CALL" and expression.get("internalName") in (
        "$CAST$1",
        "$REINTERPRET$1",
    ):
        return tuple(
            _cast(found, expression) for found in _of_expression(node, expression["operands"][0])
        )
    return (_OTHER,)


def _cast(found: Origin, expression: dict[str, Any]) -> Origin:
    to = str(expression.get("type", ""))
    if found.kind.startswith("window") and _CUT.match(to) and not _in_whole_seconds(found):
        return _OTHER
    if found.kind in ("window_start", "window_end") and to.startswith("DATE"):
        return Origin(found.kind, node=found.node, as_date=True)
    if to.startswith(("TIMESTAMP", "DATE")) and found.kind.startswith("window"):
        return found
    if found.kind in ("field", "group") and keeps_values(
        expression["operands"][0].get("type"), expression.get("type")
    ):
        return found
    return _OTHER


def _in_whole_seconds(found: Origin) -> bool:
    sizes = (
        [str(v) for v in found.node.window.values() if str(v).startswith("PT")]
        if found.node
        else []
    )
    return all(iso_seconds(size).is_integer() for size in sizes)


def keeps_values(old: Any, new: Any) -> bool:
    """Whether two values that differ still do behind a cast: what a cast has merged tells no rows apart."""
    was, is_, before, behind = _base(old), _base(new), _digits(old), _digits(new)
    if was == "DECIMAL" == is_:
        return before[1] <= behind[1] and before[0] - before[1] <= behind[0] - behind[1]
    same_or_wider = was == is_ or (was, is_) in _WIDER
    return not was or (same_or_wider and all(a <= b for a, b in zip(before, behind, strict=False)))


_WIDER = {("CHAR", "VARCHAR"), ("INT", "BIGINT"), ("SMALLINT", "INT"), ("TINYINT", "INT")}


def _base(type_: Any) -> str:
    """A type's name without its length; empty where the plan does not say."""
    text = str(type_.get("type", "")) if isinstance(type_, dict) else str(type_ or "")
    name = text.partition("(")[0].split()
    return f"{name[0].partition('_')[0]}{' LOCAL' if 'LOCAL' in text else ''}" if name else ""


def _digits(type_: Any) -> list[int]:
    """A type's length, or its precision and scale."""
    if isinstance(type_, dict):
        return [int(type_[key]) for key in ("length", "precision", "scale") if key in type_]
    return [
        int(n) for n in re.findall(r"\d+", str(type_ or "").partition("(")[2].partition(")")[0])
    ]


def _of_window(node: Node, index: int) -> Origin:
    groups, calls = node.body["grouping"], node.body["aggCalls"]
    if index < len(groups):
        return Origin("group", node=node, index=index)
    named = node.body.get("namedWindowProperties") or ()
    behind = index - len(groups) - len(calls)
    kind = (named[behind].get("property") or {}).get("kind", "") if 0 <= behind < len(named) else ""
    name = {"WindowStart": "window_start", "WindowEnd": "window_end", "Rowtime": "window_time"}.get(
        kind
    )
    return Origin(name, node=node) if name else _OTHER


# --- what an output is -------------------------------------------------------------------------------------------


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


def function_name(call: dict[str, Any]) -> str:
    """The name by which Flink resolved a call: SUM of $SUM$1, that of product.yaml of its functions; '' of others."""
    name = str(call.get("internalName") or call.get("systemName", ""))
    return (
        name.strip("$").rpartition("$")[0]
        if name.startswith("$")
        else str(call.get("systemName", name))
    )


def conjuncts(condition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The conditions that all hold where one does."""
    if condition.get("kind") == "CALL" and condition.get("internalName") == "$AND$1":
        for operand in condition["operands"]:
            yield from conjuncts(operand)
    else:
        yield condition


def _is_generated(node: Node, condition: dict[str, Any]) -> bool:
    """Whether it asks for what only generated SQL can: columns that a topic does not show."""
    return any(origin(node.inputs[0], index).name in INTERNAL for index in references(condition))


def references(value: Any) -> Iterator[int]:
    """The columns of its operator's inputs that an expression reads, by their numbers."""
    if isinstance(value, dict):
        if value.get("kind") == "INPUT_REF":
            yield int(value["inputIndex"])
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def _wait(node: Node) -> float:
    before = max(map(_wait, node.inputs), default=0.0)
    if node.type in ("window-deduplicate", "window-rank", "window-join"):
        return before + window_seconds(node.window)
    if node.type == "interval-join":
        bounds = (node.body.get("intervalJoinSpec") or {}).get("windowBounds") or {}
        return (
            before
            + max(abs(int(bounds.get(b, 0))) for b in ("leftLowerBound", "leftUpperBound")) / 1000
        )
    return before


def window_seconds(window: dict[str, Any]) -> float:
    """The longest that a window lasts; 0 of one that has no size, such as a session."""
    return iso_seconds(str(window.get("maxSize") or window.get("size") or "PT0S"))


def iso_seconds(duration: str) -> float:
    """A duration as Java prints it, PT1H30M or PT0.5S, in seconds."""
    match = _DURATION.match(duration)
    if not match:
        raise ValueError(f"a duration such as PT1H, not {duration!r}")
    hours, minutes, whole, fraction = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(f"{whole or 0}.{fraction or 0}")


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
    ends = [(name, o.kind) for name, o in zip(names, found, strict=True) if _tells_windows_apart(o)]
    if node.type not in WINDOWS or set(range(len(node.body["grouping"]))) - set(groups) or not ends:
        return ()
    if node.window.get("type") == "CumulativeWindow" and not any(
        kind == "window_end" for _, kind in ends
    ):
        return ()
    if not keeps_apart(sink, node):
        return ()
    return (*(groups[i] for i in range(len(node.body["grouping"]))), *(name for name, _ in ends))


def _tells_windows_apart(found: Origin) -> bool:
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
