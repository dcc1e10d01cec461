"""Calls of the plan that are refused: of functions that nobody has reviewed, or of values in no fixed order. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from jobs.plan.compiled import Node, function_name
from jobs.product import zones
from jobs.product.folder import Product
from jobs.safety import functions
from jobs.safety.bounds import is_finite_column, is_flag
from jobs.safety.failing import FINITE
from jobs.safety.functions import LOG_CLOCK
from jobs.safety.problem import Found

EXACT = FINITE.format("CAST(x AS DECIMAL(18, 3))")
_ROUNDED = frozenset({"SUM", "SUM0", "AVG", "STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP"})
_EXACT_DIGITS = 26
"""Digits of the values of a sum: of 38 digits, twelve are left for the number of values."""


def arguments_of(node: Node, call: dict[str, Any]) -> frozenset[str]:
    """The columns that an aggregate is of, by the names that they have in front of it."""
    before = node.inputs[0].columns if node.inputs else ()
    return frozenset(before[int(i)] for i in call.get("argList") or () if int(i) < len(before))


def _kind(node: Node, call: dict[str, Any]) -> functions.Kind:
    if node.type == "match":
        return functions.Kind.pattern
    return functions.Kind.aggregate if "argList" in call else functions.Kind.scalar


def _own(product: Product) -> frozenset[str]:
    """The functions that a product adds to Flink's: its Python functions and its look-ups."""
    settings = product.settings
    keyed = [name for name, topic in settings.topics.items() if topic.key]
    return frozenset((*settings.functions, *(f"{name}_at" for name in (*keyed, *settings.lookups))))


def refused_call(product: Product, node: Node, call: dict[str, Any]) -> Found:
    name = function_name(call)
    if found := functions.refused(name, _kind(node, call), _own(product)):
        yield found
    elif wrong := _wrong_time(product, name, call):
        yield wrong
    elif name == "UNIX_TIMESTAMP" and not call.get("operands"):
        yield "UNIX_TIMESTAMP()", LOG_CLOCK
    elif "argList" in call and name in _ROUNDED and _is_rounded(call):
        yield (
            f"{name} of DOUBLE or FLOAT, whose rounding depends on the order of arrival",
            f"{name}({EXACT}); or a sum of integers that is divided afterwards",
        )
    elif (
        "argList" in call and name in ("SUM", "SUM0", "AVG") and (wide := _wide_decimal(node, call))
    ):
        yield (
            f"{name} of {wide}, which depends on the order of arrival if it is too large",
            f"{name}(CAST(x AS DECIMAL({_EXACT_DIGITS}, …)))",
        )
    elif (
        "argList" in call
        and name in ("SUM", "SUM0")
        and _is_narrow(call)
        and not _all_small(node, call)
    ):
        yield (
            f"{name} of {_base(call)}, which wraps around if it is too large",
            f"{name}(CAST(x AS BIGINT))",
        )
    elif (
        "argList" in call
        and name in ("MAX", "MIN")
        and _is_rounded(call)
        and not _all_finite(node, call)
    ):
        yield (
            f"{name} of DOUBLE or FLOAT, whose result depends on whether a NaN comes first",
            f"{name}(CASE WHEN ABS(x) < 1e300 THEN x END)",
        )


_KEPT_UNITS = frozenset({"HOUR", "MINUTE", "SECOND", "MILLISECOND"})
"""To which FLOOR and CEIL cut an instant: where clocks are set, it is at full hours, and almost always by them."""


def _wrong_time(product: Product, name: str, call: dict[str, Any]) -> tuple[str, str] | None:
    """Calls that Flink computes with another time than people mean, and what to write instead."""
    zone, operands = product.settings.time_zone, call.get("operands") or []
    if name in ("FLOOR", "CEIL") and len(operands) == 2 and _has_instants(call.get("type")):
        unit = str(operands[1].get("value"))
        kept = unit in _KEPT_UNITS and (unit != "HOUR" or zones.is_set_by_hours(zone))
        if not kept and not zones.is_fixed(zone):
            return (
                f"{name} of a TIMESTAMP_LTZ TO {unit}, which is off where clocks were set in between",
                f"{name}(CAST(x AS TIMESTAMP(3)) TO {unit}), by the product's clocks",
            )
    types = [v.get("type") for v in (call, *operands)]
    if name in ("+", "-") and not zones.is_utc(zone):
        months = any(re.match(r"INTERVAL (MONTH|YEAR)", str(type_)) for type_ in types)
        if months and any(map(_has_instants, types)):
            return (
                "months or years of a TIMESTAMP_LTZ, which Flink counts on UTC's calendar",
                "the same of CAST(x AS TIMESTAMP(3)), on the product's; CAST the result AS TIMESTAMP_LTZ(3)",
            )
    is_own = name in product.settings.functions and not zones.is_utc(zone)
    if is_own and any(map(_has_instants, types)):
        return (
            f"{name}, a Python function of or to TIMESTAMP_LTZ, to which Flink shows UTC's clock as that of {zone}",
            "TIMESTAMP: CAST(x AS TIMESTAMP(3)), what the product's clocks show; or time_zone: UTC",
        )
    return None


def _has_instants(type_: Any) -> bool:
    """Whether a type of the plan is TIMESTAMP_LTZ, or has one inside."""
    text = json.dumps(type_)
    return "LOCAL TIME ZONE" in text or "TIMESTAMP_WITH_LOCAL_TIME_ZONE" in text


def is_second_phase(node: Node) -> bool:
    """Whether an aggregate is judged by its first phase, whose arguments have names."""
    return node.type.startswith("global-") and any(
        n.type == f"local-{node.type[7:]}" for n in node.walk()
    )


def _all_finite(node: Node, call: dict[str, Any]) -> bool:
    """Whether an aggregate's argument is never NaN."""
    return all(is_finite_column(node.inputs[0], int(i)) for i in call["argList"])


def _wide_decimal(node: Node, call: dict[str, Any]) -> str:
    """The type of a DECIMAL whose sum may have more digits than there are; empty of others.

    Flink's sum is NULL then and begins again with the next value.
    """
    for index in call["argList"]:
        type_ = str(node.inputs[0].types[int(index)]) if node.inputs else ""
        match = re.match(r"DECIMAL\((\d+), (\d+)\)", type_)
        if match and int(match[1]) > _EXACT_DIGITS:
            return match[0]
    return ""


def _all_small(node: Node, call: dict[str, Any]) -> bool:
    """Whether an aggregate is of nothing but -1, 0, 1 and NULL, as in SUM(CASE WHEN … THEN 1 ELSE 0 END)."""
    return all(is_flag(node.inputs[0], int(index)) for index in call["argList"])


def _base(call: dict[str, Any]) -> str:
    return str(call.get("type", "")).removesuffix(" NOT NULL")


def _is_narrow(call: dict[str, Any]) -> bool:
    """Whether a sum has a narrow integer type, as its argument does."""
    return _base(call) in ("TINYINT", "SMALLINT", "INT")


def _is_rounded(call: dict[str, Any]) -> bool:
    return str(call.get("type", "")).startswith(("DOUBLE", "FLOAT"))
