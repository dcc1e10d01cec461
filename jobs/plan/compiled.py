"""Flink's compiled plan (JSON) as typed operators. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jobs.product.column_types import Row, parse
from jobs.product.names import topic_of

_TYPE = re.compile(r"^stream-exec-(.+)_\d+$")
_DURATION = re.compile(r"^PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,3}))?S)?$")
WINDOWS = frozenset({"window-aggregate", "global-window-aggregate", "group-window-aggregate"})
INTERVAL_BOUNDS = ("leftLowerBound", "leftUpperBound")
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
        return topic_of(self.table) if self.type == "table-source-scan" else ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its output columns."""
        return tuple(name for name, _ in self._fields)

    @property
    def types(self) -> tuple[Any, ...]:
        """Types of its output columns as in the plan: a text, or an object for a time attribute."""
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


def numbered(compiled: str) -> str:
    """The plan with its operators numbered from 1. Flink goes on counting through the life of a JVM, and what a release
    keeps must not depend on what was planned before."""
    plan = json.loads(compiled)
    numbers = {
        id_: number for number, id_ in enumerate(sorted(n["id"] for n in plan["nodes"]), start=1)
    }
    for node in plan["nodes"]:
        node["id"] = numbers[node["id"]]
    for edge in plan["edges"]:
        edge["source"], edge["target"] = numbers[edge["source"]], numbers[edge["target"]]
    return json.dumps(plan, indent=2)


def distinct(sinks: Iterable[Node]) -> tuple[Node, ...]:
    """Every operator of the job once."""
    return tuple({id(node): node for sink in sinks for node in sink.walk()}.values())


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


def window_seconds(window: dict[str, Any]) -> float:
    """The longest that a window lasts; 0 of one that has no size, such as a session."""
    return iso_seconds(str(window.get("maxSize") or window.get("size") or "PT0S"))


def interval_bounds(node: Node) -> dict[str, Any]:
    """Between which times of the right side a row of the left side is joined; empty of any other operator."""
    return (node.body.get("intervalJoinSpec") or {}).get("windowBounds") or {}


def interval_seconds(node: Node) -> float:
    """How far apart the times of the sides of an interval join may be; 0 of any other operator."""
    bounds = interval_bounds(node)
    return max(abs(int(bounds.get(b, 0))) for b in INTERVAL_BOUNDS) / 1000


def is_session(window: dict[str, Any]) -> bool:
    """Whether its ends follow from its rows."""
    return _kind(window).startswith("SESSION")


def is_cumulative(window: dict[str, Any]) -> bool:
    """Whether several windows of different lengths begin at one time."""
    return _kind(window).startswith("CUMUL")


def is_tumbling(window: dict[str, Any]) -> bool:
    """Whether each row is of one window of a fixed length."""
    return _kind(window).startswith("TUMB")


def _kind(window: dict[str, Any]) -> str:
    return str(window.get("type") or window.get("kind", "")).upper()


def iso_seconds(duration: str) -> float:
    """A duration as Java prints it, PT1H30M or PT0.5S, in seconds."""
    match = _DURATION.match(duration)
    if not match:
        raise ValueError(f"a duration such as PT1H, not {duration!r}")
    hours, minutes, whole, fraction = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(f"{whole or 0}.{fraction or 0}")
