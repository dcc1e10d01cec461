"""Where a column of the plan comes from. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from jobs.plan.compiled import FIRST_INPUT_FIRST, KEEPS_COLUMNS, WINDOWS, Node, iso_seconds

# A time with fewer digits than a window's ends have.
_CUT = re.compile(r"^TIMESTAMP\([0-2]\)")


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
