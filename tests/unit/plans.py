"""Compiled plans for tests: Flink's own, without what nobody reads of them (tests/plans), and small hand-made ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.plan.compiled import Node, parse_plan

PLANS = Path(__file__).parents[1] / "plans"


def sinks(name: str) -> dict[str, Node]:
    """The sinks of a plan in tests/plans, by their tables."""
    return {sink.table: sink for sink in parse_plan((PLANS / f"{name}.json").read_text())}


def row(*names: str) -> str:
    """A type with these columns."""
    return f"ROW<{', '.join(f'`{n}` BIGINT' for n in names)}>"


def ref(index: int) -> dict[str, Any]:
    return {"kind": "INPUT_REF", "inputIndex": index, "type": "BIGINT"}


def call(name: str, *operands: dict[str, Any], to: str = "BIGINT") -> dict[str, Any]:
    return {"kind": "CALL", "internalName": f"${name}$1", "operands": list(operands), "type": to}


def cast(operand: dict[str, Any], to: str) -> dict[str, Any]:
    return call("CAST", operand, to=to)


def node(type_: str, *inputs: Node, columns: Sequence[str] = (), **body: Any) -> Node:
    """An operator; it hands on what its first input does, unless `columns` say otherwise."""
    names = columns or (inputs[0].columns if inputs else ())
    return Node(
        type_, {"type": f"stream-exec-{type_}_1", "outputType": row(*names), **body}, inputs
    )


def scan(topic: str, *columns: str, pushed: bool = True) -> Node:
    """The source of a topic, with its watermark in it."""
    abilities = [{"type": "ReadingMetadata"}, *([{"type": "WatermarkPushDown"}] if pushed else [])]
    return node(
        "table-source-scan",
        columns=columns,
        scanTableSource={
            "table": {"identifier": f"`default_catalog`.`default_database`.`{topic}__log`"},
            "abilities": abilities,
        },
    )


def calc(before: Node, **columns: dict[str, Any]) -> Node:
    """A projection."""
    return node("calc", before, columns=tuple(columns), projection=list(columns.values()))


def where(before: Node, condition: dict[str, Any]) -> Node:
    """A filter that hands on every column."""
    return node(
        "calc", before, projection=[ref(i) for i in range(len(before.columns))], condition=condition
    )


def aggregate(
    before: Node,
    *groups: int,
    size: str = "PT1H",
    type_: str = "window-aggregate",
    window: dict[str, Any] | None = None,
    calls: Sequence[dict[str, Any]] = (),
) -> Node:
    """A window aggregate: what it groups by, its aggregates, window_start, window_end."""
    results = (f"agg{i}" for i in range(len(calls)))
    names = [*(before.columns[i] for i in groups), *results, "window_start", "window_end"]
    return node(
        type_,
        before,
        columns=names,
        grouping=list(groups),
        aggCalls=list(calls),
        windowing={"window": window or {"type": "TumblingWindow", "size": size}, "isRowtime": True},
        namedWindowProperties=[
            {"name": "window_start", "property": {"kind": "WindowStart"}},
            {"name": "window_end", "property": {"kind": "WindowEnd"}},
        ],
    )


def agg(name: str, argument: int, to: str = "BIGINT") -> dict[str, Any]:
    """A call of an aggregate."""
    return {"name": name.lower(), "internalName": f"${name}$1", "argList": [argument], "type": to}


def sink(before: Node, table: str = "rows", changes: Sequence[str] = ("INSERT",)) -> Node:
    return node(
        "sink",
        before,
        inputChangelogMode=list(changes),
        dynamicTableSink={
            "table": {"identifier": f"`default_catalog`.`default_database`.`{table}`"}
        },
    )


def compiled(*sinks: Node) -> str:
    """As Flink prints it."""
    every = {id(n): n for s in sinks for n in s.walk()}
    # inputs before what reads them
    inner = sorted(every.values(), key=lambda n: len(list(n.walk())))
    ids = {id(n): i for i, n in enumerate(inner, start=1)}
    return json.dumps(
        {
            "nodes": [{"id": ids[id(n)], **n.body} for n in inner],
            "edges": [
                {"source": ids[id(i)], "target": ids[id(n)]} for n in inner for i in n.inputs
            ],
        }
    )
