"""How large a number of the plan may be: whether it is finite, a flag, or has more digits than its type. Pure."""

from __future__ import annotations

import math
import re
from typing import Any

from jobs.plan.compiled import (
    FIRST_INPUT_FIRST,
    KEEPS_COLUMNS,
    WINDOWS,
    Node,
    function_name,
)
from jobs.safety.expressions import (
    APPROXIMATE,
    NUMBERS,
    Known,
    is_approximate,
    is_null,
    literal,
    nullable,
    parts,
    results,
    where_true,
)

_LARGEST_EXACT, _LARGEST_FLOAT = 1e38, 3.4e38
_DIGITS = {"BOOLEAN": 1, "TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19}
_OF_SUM = 12
"""How many more digits a sum may have than its values, depending on how many values there are."""


def is_finite(value: dict[str, Any], known: Known = ()) -> bool:
    """Whether a number can be neither NaN nor infinite."""
    return not is_approximate(value.get("type")) or _most(value, known) < math.inf


def _most(value: dict[str, Any], known: Known) -> float:
    """The greatest size that a number can have; infinite where it may be NaN or infinite."""
    type_ = parts(value.get("type"))
    if value.get("kind") == "LITERAL":
        return abs(literal(value) or 0)
    if not APPROXIMATE.intersection(type_):
        return _LARGEST_EXACT if NUMBERS.intersection(type_) else math.inf
    found = min(
        [
            _computed(value, known),
            *(bound_by(condition, value) for condition, holds in known if holds),
        ]
    )
    return found if found < (_LARGEST_FLOAT if "FLOAT" in type_ else math.inf) else math.inf


def _computed(value: dict[str, Any], known: Known) -> float:
    operands: list[dict[str, Any]] = value.get("operands") or []
    match function_name(value):
        case "CASE" | "IF":
            return max(_most(result, then) for result, then in results(value, known))
        case "CAST" | "ABS":
            return _most(operands[0], known)
        case "+" | "-":
            return sum(_most(o, known) for o in operands)
        case "*":
            return math.prod(_most(o, known) for o in operands)
        case "/" if divisor := literal(operands[1]):
            return _most(operands[0], known) / abs(divisor)
    return math.inf


def bound_by(condition: dict[str, Any], value: dict[str, Any]) -> float:
    """The greatest size that a number has where a condition is true; infinite where it says nothing of it."""
    operands = condition.get("operands") or []
    name = function_name(condition)
    if name == "SEARCH" and operands[0] == value:
        ranges: list[dict[str, Any]] = (operands[1].get("sarg") or {}).get("ranges") or [{}]
        ends = [
            (r.get(end) or {}).get("value", "inf") for r in ranges for end in ("lower", "upper")
        ]
        return max(abs(float(end)) for end in ends)
    if name not in ("<", "<=", ">", ">="):
        return math.inf
    smaller, greater = operands if name in ("<", "<=") else reversed(operands)
    size = _widened(smaller)
    is_size = function_name(size) == "ABS" and _widened(size["operands"][0]) == _widened(value)
    bound = literal(greater)
    if not is_size or bound is None:
        return math.inf
    return math.nextafter(abs(bound), 0) if name in ("<", ">") else abs(bound)


def _widened(value: dict[str, Any]) -> dict[str, Any]:
    """A FLOAT that Flink compares as a DOUBLE."""
    is_double = function_name(value) == "CAST" and "DOUBLE" in parts(value.get("type"))
    inner: dict[str, Any] = value["operands"][0] if is_double else value
    return inner if is_double and "FLOAT" in parts(inner.get("type")) else value


def is_finite_column(node: Node, index: int) -> bool:
    """Whether column `index` of what an operator hands on can be neither NaN nor infinite."""
    if node.type in ("calc", "python-calc"):
        value, known = node.body["projection"][index], where_true(node.body.get("condition"))
        if is_finite(value, known):
            return True
        return value.get("kind") == "INPUT_REF" and is_finite_column(
            node.inputs[0], int(value["inputIndex"])
        )
    if node.type == "union":
        return all(is_finite_column(branch, index) for branch in node.inputs)
    if node.type in KEEPS_COLUMNS or (
        node.type in FIRST_INPUT_FIRST and index < len(node.inputs[0].columns)
    ):
        return is_finite_column(node.inputs[0], index)
    return False


def is_flag(node: Node, index: int) -> bool:
    """Whether column `index` of what an operator hands on has no values but -1, 0, 1 and NULL."""
    if node.type in ("calc", "python-calc"):
        value = node.body["projection"][index]
        if value.get("kind") == "INPUT_REF":
            return is_flag(node.inputs[0], int(value["inputIndex"]))
        return all(
            is_null(r) or (literal(r) is not None and abs(literal(r) or 0) <= 1)
            for r, _ in results(value, ())
        )
    return node.type in KEEPS_COLUMNS and is_flag(node.inputs[0], index)


def may_overflow(node: Node, call: dict[str, Any], known: Known) -> bool:
    """Whether a DECIMAL may have more digits than its type, and is NOT NULL.

    Flink makes it NULL, which what comes behind it does not look for: an empty text, -1, a NullPointerException.
    """
    type_ = str(call.get("type"))
    if "argList" in call or not type_.startswith("DECIMAL") or not type_.endswith("NOT NULL"):
        return False
    operands: list[dict[str, Any]] = call.get("operands") or []
    places, scale = _digits_of_type(type_)
    digits = [_digits(node, operand, known, scale) for operand in operands]
    match function_name(call):
        case "CAST":
            return digits[0] > places
        case "+" | "-":
            return max(digits) + (len(digits) > 1) > places
        case "*":
            return sum(digits) > places
        case "/":
            return digits[0] + _digits_of_type(operands[1].get("type"))[1] > places
    return False


def _digits(node: Node, value: dict[str, Any], known: Known, scale: int) -> float:
    """The digits that a number may have before the point, once it is rounded to `scale` digits after it."""
    digits, own_scale = _digits_of_type(value.get("type"))
    if value.get("kind") == "INPUT_REF":
        digits = min(digits, _digits_of_sum(node.inputs[0], int(value["inputIndex"])))
    if value.get("kind") == "LITERAL" or is_approximate(value.get("type")):
        most = abs(literal(value) or 0) if value.get("kind") == "LITERAL" else _most(value, known)
        is_rounded = True
    else:
        most = min(
            (bound_by(condition, value) for condition, holds in known if holds), default=math.inf
        )
        is_rounded = own_scale > scale
    rounded = most + is_rounded * 0.5 * 10.0**-scale
    return min(digits + is_rounded, len(str(int(rounded))) if rounded < math.inf else math.inf)


def _digits_of_type(type_: Any) -> tuple[float, int]:
    """The most digits that a number of a type has before the point, and its digits after the point."""
    if match := re.match(r"DECIMAL\((\d+), (\d+)\)", str(type_)):
        return int(match[1]) - int(match[2]), int(match[2])
    return _DIGITS.get(nullable(type_), math.inf), 0


def _digits_of_sum(node: Node, index: int) -> float:
    """The digits of a column that is a sum, from the type of its values; infinite for any other column."""
    if (
        node.type in ("calc", "python-calc")
        and node.body["projection"][index].get("kind") == "INPUT_REF"
    ):
        return _digits_of_sum(node.inputs[0], int(node.body["projection"][index]["inputIndex"]))
    if node.type in KEEPS_COLUMNS:
        return _digits_of_sum(node.inputs[0], index)
    if node.type not in WINDOWS:
        return math.inf
    at = index - len(node.body["grouping"])
    calls = node.body["aggCalls"]
    if not 0 <= at < len(calls) or function_name(calls[at]) not in ("SUM", "SUM0"):
        return math.inf
    first = next((n for n in node.inputs[0].walk() if n.type == f"local-{node.type[7:]}"), node)
    return _digits_of_type(first.inputs[0].types[int(calls[at]["argList"][0])])[0] + _OF_SUM
