"""The replay-safety check of the compiled plan: what would make a replay differ from the live run is refused.

So is what would grow without bound. Pure: the plan in, problems out. Operators are read off the plan by their types,
and calls by the function that Flink resolved, whatever the text looks like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobs.plan.compiled import Node, distinct
from jobs.product.folder import Product
from jobs.safety.calls import arguments_of, is_second_phase, refused_call
from jobs.safety.failing import failing, named
from jobs.safety.lookup_rules import versions
from jobs.safety.operators import INSTEAD, refused_operator
from jobs.safety.problem import Problem
from jobs.safety.report import files_of, located


def check_plan(product: Product, sinks: Iterable[Node]) -> Iterator[Problem]:
    """The rules for the plan. A problem names the file of the output, or product.yaml if several outputs share it."""
    sinks = tuple(sinks)
    nodes = distinct(sinks)
    yaml = str(product.folder / "product.yaml")
    for name in product.settings.topics:
        scans = [n for n in nodes if n.topic == name]
        read = {id(n) for sink in sinks if sink.table != "rejects" for n in sink.walk()}
        if not any(id(n) in read for n in scans) and not _looked_up(product, name, nodes):
            yield Problem(
                yaml,
                0,
                f"topic {name} is not read",
                "a use of it, or its removal from product.yaml",
            )
        if len(scans) > 1:
            yield Problem(
                yaml,
                0,
                f"topic {name} is read {len(scans)} times",
                "one view in views.sql that all outputs read, with the columns that they all need",
            )
        for scan in scans:
            if not _pushed_down(scan):
                yield Problem(
                    yaml,
                    0,
                    f"the watermark of {name} is not taken inside the source, per partition",
                    INSTEAD["watermark-assigner"],
                )
    found = list(_problems_of(product, nodes, sinks))
    # An update stream has a cause, which is among what was found in front of the table.
    yield from (
        p
        for node, p in found
        if node.type != "sink" or all(other.type == "sink" for other, _ in found)
    )


def _problems_of(
    product: Product, nodes: tuple[Node, ...], sinks: tuple[Node, ...]
) -> Iterator[tuple[Node, Problem]]:
    """The problems of each operator, of its calls and of its expressions."""
    for node in nodes:
        files = files_of(product, node, sinks)
        for construct, instead in refused_operator(product, node):
            yield node, located(files, node, construct, instead)
        for call in () if is_second_phase(node) else node.calls():
            for construct, instead in refused_call(product, node, call):
                columns = arguments_of(node, call)
                yield (
                    node,
                    located(files, node, construct, named(instead, tuple(columns)), columns),
                )
        for found in failing(node):
            yield node, located(files, node, found.construct, found.instead, found.columns)


def _looked_up(product: Product, name: str, nodes: tuple[Node, ...]) -> bool:
    return any(name in versions(product, node) for node in nodes)


def _pushed_down(scan: Node) -> bool:
    abilities = (scan.body.get("scanTableSource") or {}).get("abilities") or ()
    return any(a.get("type") == "WatermarkPushDown" for a in abilities)
