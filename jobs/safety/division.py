"""Whether a division of the plan may be by zero. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from jobs.plan.compiled import (
    WINDOWS,
    Node,
    function_name,
)
from jobs.safety.expressions import (
    INTEGERS,
    NUMBERS,
    Known,
    branches_of,
    is_null,
    literal,
    parts,
    results,
)


def may_divide(node: Node, operands: list[dict[str, Any]], known: Known) -> bool:
    """Whether a division fails on no value: NULL divided by zero is NULL."""
    dividend, divisor = operands
    return _is_not_zero(node, divisor, known) or _is_null_where_zero(node, dividend, divisor, known)


def _is_null_where_zero(
    node: Node, value: dict[str, Any], divisor: dict[str, Any], known: Known
) -> bool:
    """Whether a number is NULL, or is not computed, wherever a divisor is zero.

    So Flink computes AVG, VAR_POP and their kin: a sum of no values is NULL, and so is what is computed of it.
    """
    if is_null(value) or any(_rules_out_zero(*condition, divisor) for condition in known):
        return True
    if branches_of(value, known) is not None:
        return all(
            _is_null_where_zero(node, result, divisor, then)
            for result, then in results(value, known)
        )
    if function_name(value) in ("+", "-", "*", "/", "CAST"):
        return any(
            _is_null_where_zero(node, operand, divisor, known) for operand in value["operands"]
        )
    of_sum, of_count = _aggregate(node, value, "SUM"), _aggregate(node, divisor, "COUNT")
    return of_sum is not None and of_sum == of_count


def _aggregate(node: Node, value: dict[str, Any], name: str) -> Any:
    """The operands of an aggregate: of a call in a pattern, or of a column of a window; None for anything else."""
    if function_name(value) == name:
        return value["operands"]
    if value.get("kind") != "INPUT_REF" or node.inputs[0].type not in WINDOWS:
        return None
    body = node.inputs[0].body
    at = int(value["inputIndex"]) - len(body["grouping"])
    call = body["aggCalls"][at] if 0 <= at < len(body["aggCalls"]) else {}
    known = function_name(call) == name and call.get("argList")
    return (call["argList"], call.get("filterArg"), bool(call.get("distinct"))) if known else None


def _is_not_zero(node: Node, value: dict[str, Any], known: Known) -> bool:
    """Whether a divisor is a number other than zero, or NULL."""
    operands = value.get("operands") or []
    if value.get("kind") == "LITERAL":
        return literal(value) != 0
    if any(
        _rules_out_zero(condition, holds, value) or _differ(condition, holds, value)
        for condition, holds in known
    ):
        return True
    if function_name(value) in ("CASE", "IF"):
        return all(_is_not_zero(node, result, then) for result, then in results(value, known))
    if function_name(value) == "CAST" and INTEGERS.intersection(parts(operands[0].get("type"))):
        wider = {"BIGINT", "DECIMAL"}.intersection(parts(value.get("type")))
        return bool(wider) and _is_not_zero(node, operands[0], known)
    return value.get("kind") == "INPUT_REF" and _counts_rows(
        node.inputs[0], int(value["inputIndex"])
    )


def _differ(condition: dict[str, Any], holds: bool, value: dict[str, Any]) -> bool:
    """Whether a difference is of two whole numbers that are not equal: CASE WHEN n = 1 THEN NULL ELSE n - 1 END.

    Of decimals Flink may round the difference to zero.
    """
    if holds or function_name(condition) != "=" or function_name(value) != "-":
        return False
    (number, other), (left, right) = condition["operands"], value["operands"]
    is_whole = bool(INTEGERS.intersection(parts(number.get("type"))))
    return bool(
        number == left and is_whole and _exact(right) is not None and _exact(other) == _exact(right)
    )


def _exact(value: dict[str, Any]) -> Decimal | None:
    """The value of a numeric literal with every digit."""
    return None if literal(value) is None else Decimal(str(value["value"]))


def _rules_out_zero(condition: dict[str, Any], holds: bool, value: dict[str, Any]) -> bool:
    """Whether a number is not zero, or NULL, where a condition is true, or is not."""
    operands: list[dict[str, Any]] = condition.get("operands") or []
    at = [i for i, operand in enumerate(operands) if value in (operand, _as_number(operand))]
    if len(operands) != 2 or len(at) != 1:
        return False
    other = literal(operands[1 - at[0]])
    name = function_name(condition)
    if other is None or not holds:
        return name == "=" and other == 0
    greater = (name == ">") if at == [0] else (name == "<")
    smaller = (name == "<") if at == [0] else (name == ">")
    return (name == "<>" and other == 0) or (greater and other >= 0) or (smaller and other <= 0)


def _as_number(value: dict[str, Any]) -> dict[str, Any]:
    """The number without the casts by which Flink compares two types: zero is zero in each of them."""
    while function_name(value) == "CAST" and NUMBERS.intersection(
        parts(value["operands"][0].get("type"))
    ):
        value = value["operands"][0]
    return value


def _counts_rows(node: Node, index: int) -> bool:
    """Whether a column is the COUNT(*) of a window's group, of which there is none without rows."""
    if node.type not in WINDOWS:
        return False
    calls, at = node.body["aggCalls"], index - len(node.body["grouping"])
    if not 0 <= at < len(calls) or function_name(calls[at]) != "COUNT":
        return False
    return not calls[at].get("argList") and calls[at].get("filterArg", -1) < 0
