"""What the plan of a release says of the columns of an output: which fields of which topics they are. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from jobs.plan.compiled import WINDOWS, Node, function_name, parse_plan
from jobs.plan.inference import infer
from jobs.plan.origins import Origin, origins
from jobs.plan.windows import WindowColumns, window_columns
from jobs.product.folder import Product

_PASSES_ON = ("exchange", "global-window-aggregate", "local-window-aggregate")
_ONE_BY_ONE = (
    "sink",
    "exchange",
    "calc",
    "python-calc",
    "table-source-scan",
    "local-window-aggregate",
    "watermark-assigner",
    "drop-update-before",
)
"""Operators that hand on at most one row for each, whatever the others are."""
_BY_THEMSELVES = ("union", "window-table-function", "correlate", "python-correlate", "expand")
"""Operators that hand on the same rows for each, whatever the others are."""


@dataclass(frozen=True)
class Lineage:
    """Of one output."""

    sink: Node
    events: frozenset[str]
    """The product's topics of events, by their names in SQL."""
    looked_up: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Table function of the plan → the topics whose versions it looks up."""
    compared: frozenset[str] = frozenset()
    """Topics of which generated SQL compares the places of an event's copies, and keeps one."""

    @cached_property
    def topics(self) -> frozenset[str]:
        """The topics that it reads, by their names in SQL."""
        nodes = tuple(self.sink.walk())
        scanned = {n.topic for n in nodes} - {""}
        return frozenset(scanned.union(*(self.looked_up.get(n.function, ()) for n in nodes)))

    @cached_property
    def fields(self) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """Topic of events → column of the output → the fields that it is, each in a branch of a UNION."""
        found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for index, column in enumerate(self.sink.columns):
            for topic, name in _fields(self.sink, index):
                if topic in self.events:
                    found[topic][column].add(name)
        return {
            topic: {column: frozenset(names) for column, names in of.items()}
            for topic, of in found.items()
        }

    @cached_property
    def timed_by(self) -> frozenset[str]:
        """The topics of events whose own time says in which window they are; others are joined to those."""
        found: list[Origin] = []
        for node in self.sink.walk():
            index = (node.body.get("windowing") or {}).get("timeAttributeIndex")
            if index is not None:
                found += origins(node.inputs[0], int(index))
        is_known = found and all(o.kind == "field" for o in found)
        return frozenset(o.topic for o in found) if is_known else self.events

    @cached_property
    def summed(self) -> Mapping[str, tuple[str, ...]]:
        """Topic of events → the fields that its aggregates take, in their order."""
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for node in self.sink.walk():
            for call in node.body.get("aggCalls") or ():
                for argument in call.get("argList") or ():
                    for topic, name in _fields(node.inputs[0], int(argument)):
                        if topic in self.events:
                            found[topic][name] = None
        return {topic: tuple(names) for topic, names in found.items()}

    @cached_property
    def count(self) -> str:
        """The column with the number of records behind a row, each counted once; empty without one."""
        for index, column in enumerate(self.sink.columns):
            node, at = _behind(self.sink, index)
            if node.type in WINDOWS and _counts(node, at) and self._one_by_one(node):
                return column
        return ""

    @property
    def keeps_all(self) -> bool:
        """Whether every accepted record of a row's window and key is in the row, as far as the plan shows."""
        each_once = len(self.compared & self.topics)
        found = infer(self.sink, self.sink.columns, self.events)
        is_exact = self.window is not None and self.window.is_exact
        return is_exact and found.filters == each_once and self._one_by_one(self.sink)

    @property
    def is_by_itself(self) -> bool:
        """Whether a record that gives a row by itself is behind that row among others, too.

        Not so where others can keep it out: ranks, LAG and patterns, joins of events, conditions of aggregates.
        """
        return all(
            self._is_by_itself(n)
            for n in self.sink.walk()
            if self.events & {m.topic for m in n.walk()}
        )

    def _is_by_itself(self, node: Node) -> bool:
        if node.type in ("calc", "python-calc"):
            return not node.body.get("condition") or all(n.type not in WINDOWS for n in node.walk())
        if node.type == "temporal-join":
            return not self.events & {n.topic for n in node.inputs[1].walk()}
        if node.type == "over-aggregate":
            return self._compares_copies(node)
        return node.type in (*WINDOWS, *_ONE_BY_ONE, *_BY_THEMSELVES)

    def _one_by_one(self, last: Node) -> bool:
        """Whether each record gives one row at the most, and none depends on others but in one aggregate."""
        nodes = tuple(last.walk())
        topics = [n.topic for n in nodes if n.topic]
        single = len(topics) == 1 and sum(n.type in WINDOWS for n in nodes) <= 1
        return single and all(
            n.type in WINDOWS
            or n.type in _ONE_BY_ONE
            or (n.type == "correlate" and n.function in self.looked_up)
            or (n.type == "over-aggregate" and self._compares_copies(n))
            for n in nodes
        )

    def _compares_copies(self, over: Node) -> bool:
        """Whether it is the one that generated SQL has: that next to the topic."""
        below = [n for before in over.inputs for n in before.walk()]
        return self.compared.issuperset(n.topic for n in below if n.topic) and all(
            n.type != "over-aggregate" for n in below
        )

    @cached_property
    def window(self) -> WindowColumns | None:
        """The columns that say which window a row is of; None where none does."""
        return window_columns(self.sink)


def of_output(product: Product, output: str) -> Lineage | None:
    """None of a release that was archived without its plan."""
    if product.resolved is None or not product.resolved.plan:
        return None
    settings = product.settings
    events = frozenset(n for n, t in settings.topics.items() if t.is_event)
    looked_up = {
        **{f"{name}_at": (name,) for name, topic in settings.topics.items() if topic.key},
        **{f"{name}_at": tuple(topics.values()) for name, topics in settings.lookups.items()},
    }
    compared = frozenset(
        n for n, t in settings.topics.items() if t.is_event and t.identity and not t.held_by_source
    )
    sink = next((s for s in parse_plan(product.resolved.plan) if s.table == output), None)
    return Lineage(sink, events, looked_up, compared) if sink else None


def _behind(node: Node, index: int) -> tuple[Node, int]:
    """The operator that a column is of, behind those that only pass it on."""
    while node.inputs:
        if node.type == "calc":
            expression = node.body["projection"][index]
            if expression.get("internalName") == "$CAST$1":
                expression = expression["operands"][0]
            if expression.get("kind") != "INPUT_REF":
                break
            index = int(expression["inputIndex"])
        elif node.type not in ("sink", "exchange"):
            break
        node = node.inputs[0]
    return node, index


def _counts(window: Node, index: int) -> bool:
    calls = window.body["aggCalls"]
    at = index - len(window.body["grouping"])
    if not 0 <= at < len(calls):
        return False
    call = calls[at]
    every = not call.get("argList") and int(call.get("filterArg", -1)) < 0
    return every and not call.get("distinct") and function_name(call) == "COUNT"


def _fields(node: Node, index: int) -> Iterator[tuple[str, str]]:
    """Topic and field that a column comes from, behind the groups of aggregates too."""
    if node.type in _PASSES_ON:
        yield from _of_group(node, index)
        return
    for found in origins(node, index):
        if found.kind == "field":
            yield found.topic, found.name
        elif found.kind == "group" and found.node:
            yield from _of_group(found.node, found.index)


def _of_group(node: Node, index: int) -> Iterator[tuple[str, str]]:
    if node.type == "exchange":
        yield from _fields(node.inputs[0], index)
        return
    groups = node.body.get("grouping") or ()
    if index < len(groups):
        yield from _fields(node.inputs[0], int(groups[index]))
