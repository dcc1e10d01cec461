"""Calls that fail a job on some value of a record: one such record would stop a product for ever, so none may be in it.

Pure, over the expressions of Flink's compiled plan. An expression in a branch of CASE or IF is only evaluated where the
branch's condition is true, so what the condition rules out cannot fail it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.plan.compiled import (
    FIRST_INPUT_FIRST,
    KEEPS_COLUMNS,
    WINDOWS,
    Node,
    conjuncts,
    function_name,
    references,
)
from jobs.safety.functions import failing_argument

Known = tuple[tuple[dict[str, Any], bool], ...]
"""Conditions that hold where an expression is evaluated: True of those that are true, False of those that are not."""

FINITE = "CASE WHEN ABS(x) < 1e15 THEN {} END"
_TEXT = frozenset({"CHAR", "VARCHAR"})
_HOLDS_TEXT = _TEXT | {"BINARY", "VARBINARY"}
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
_APPROXIMATE = frozenset({"FLOAT", "DOUBLE"})
_NUMBERS = _INTEGERS | _APPROXIMATE | {"DECIMAL"}
_LARGEST_EXACT, _LARGEST_FLOAT = 1e38, 3.4e38
_DIGITS = {"BOOLEAN": 1, "TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19}
_OF_SUM = 12
"""Digits that a sum may have more than its values: for how many there are."""
_PART = re.compile(
    r"(?<![\w`])(CHAR|VARCHAR|BINARY|VARBINARY|BOOLEAN|TINYINT|SMALLINT|INT|BIGINT|FLOAT|DOUBLE|DECIMAL|DATE|TIME|"
    r"TIMESTAMP\w*|INTERVAL\w*|NULL|RAW|VARIANT)(?![\w`])(?! NULL)"
)
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?|\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
)
_COMPARED = frozenset({"=", "<>", "<", "<=", ">", ">="})


@dataclass(frozen=True)
class Failing:
    """A call that fails the job on some value: what it is called, what to write instead, the columns that it reads."""

    construct: str
    instead: str
    columns: frozenset[str]


def failing(node: Node) -> Iterator[Failing]:
    """Those of an operator."""
    filtered = _true(node.body.get("condition")) if node.type in ("calc", "python-calc") else ()
    for key, value in node.expressions.items():
        yield from _inside(node, value, filtered if key == "projection" else ())


def named(instead: str, columns: Sequence[str]) -> str:
    """What to write, with the column's name for x where it is one column."""
    is_one = len(columns) == 1 and columns[0].isidentifier()
    return re.sub(r"\bx\b", columns[0], instead) if is_one else instead


def _inside(node: Node, value: Any, known: Known) -> Iterator[Failing]:
    if isinstance(value, list):
        for each in value:
            yield from _inside(node, each, known)
    elif isinstance(value, dict):
        if value.get("kind") == "CALL":
            names = [name for before in node.inputs for name in before.columns]
            for construct, instead in _call(node, value, known):
                read = frozenset(names[i] for i in references(value) if i < len(names))
                of = [o["inputIndex"] for o in value["operands"] if o.get("kind") == "INPUT_REF"]
                yield Failing(
                    construct, named(instead, [names[i] for i in of if i < len(names)]), read
                )
        if (branches := _branches(value, known)) is not None:
            for inner, then in branches:
                yield from _inside(node, inner, then)
        else:
            for inner in value.values():
                yield from _inside(node, inner, known)


def _branches(value: dict[str, Any], known: Known) -> list[tuple[dict[str, Any], Known]] | None:
    """Of CASE and IF: the conditions and results in their order, each with what holds there; None of other things."""
    if function_name(value) not in ("CASE", "IF"):
        return None
    *pairs, last = value["operands"]
    found = []
    for condition, result in zip(pairs[::2], pairs[1::2], strict=True):
        found += [(condition, known), (result, (*known, *_true(condition)))]
        known = (*known, (condition, False))
    return [*found, (last, known)]


def _results(value: dict[str, Any], known: Known) -> list[tuple[dict[str, Any], Known]]:
    """What CASE or IF may come to, each with what holds there; of any other expression itself."""
    branches = _branches(value, known)
    return [(value, known)] if branches is None else [*branches[1::2], branches[-1]]


def _true(condition: dict[str, Any] | None) -> Known:
    return tuple((c, True) for c in conjuncts(condition)) if condition else ()


def _call(node: Node, call: dict[str, Any], known: Known) -> Iterator[tuple[str, str]]:
    name = function_name(call)
    operands: list[dict[str, Any]] = call.get("operands") or []
    approximate = is_approximate(call.get("type"))
    if name == "CAST" and _is_of_text(operands[0], call):
        yield (
            "CAST of text, which fails the job where the text is no such value",
            "TRY_CAST, which gives NULL: no record may stop a job",
        )
    elif (
        name in ("CAST", "TRY_CAST")
        and _to_decimal(operands[0], call)
        and not is_finite(operands[0], known)
    ):
        yield (
            f"{name} of DOUBLE or FLOAT to DECIMAL, which fails the job where it is NaN or infinite",
            FINITE.format("CAST(x AS DECIMAL(18, 3))"),
        )
    elif name in ("ROUND", "TRUNCATE") and approximate and not is_finite(operands[0], known):
        yield (
            f"{name} of DOUBLE or FLOAT, which fails the job where it is NaN or infinite",
            FINITE.format(f"{name}(x, 2)"),
        )
    elif name in ("/", "%", "MOD") and not approximate and not _may_divide(node, operands, known):
        yield (
            f"{name} by what may be zero, which fails the job",
            "NULLIF(<divisor>, 0), for which it gives NULL",
        )
    elif name == "JSON_VALUE" and not _TEXT.intersection(parts(call.get("type"))):
        yield (
            "JSON_VALUE … RETURNING, which fails the job where the value is of another type",
            "TRY_CAST(JSON_VALUE(…) AS …), which gives NULL",
        )
    elif thrown := _on_values(name, operands):
        yield thrown
    elif _may_overflow(node, call, known):
        type_ = _nullable(call["type"])
        yield (
            f"{name} that may have more digits than {type_}: it is another value then, or fails the job",
            f"TRY_CAST(x AS {type_}), which gives NULL"
            if name == "CAST"
            else "values of fewer digits, by TRY_CAST: what has too many is NULL then",
        )


def _on_values(name: str, operands: list[dict[str, Any]]) -> tuple[str, str] | None:
    if found := failing_argument(name, operands):
        return found
    symbols = [
        str(o.get("value"))
        for o in operands
        if "symbol" in o and o["symbol"] != "JSON_EMPTY_OR_ERROR"
    ]
    if name in ("JSON_VALUE", "JSON_QUERY", "JSON_EXISTS") and "ERROR" in symbols:
        return f"{name} … ERROR, which fails the job", "NULL ON ERROR, NULL ON EMPTY"
    bases = [parts(o.get("type"))[:1] for o in operands]
    is_text = [bool(_TEXT.intersection(base)) for base in bases]
    if (
        name in _COMPARED
        and any(is_text)
        and not all(is_text)
        and not _is_time_and_literal(operands, bases)
    ):
        return (
            f"{name} of text and something else, which fails the job where the text is no such value",
            "two of one type: CAST(<the other> AS STRING), or TRY_CAST(<text> AS …)",
        )
    if (
        name in ("GREATEST", "LEAST")
        and ["DECIMAL"] in bases
        and len({_nullable(o.get("type")) for o in operands}) > 1
    ):
        return (
            f"{name} of DECIMAL and another type, which fails the job on NULL",
            "two of one type, with CAST",
        )
    return None


def _nullable(type_: Any) -> str:
    return str(type_).removesuffix(" NOT NULL")


def _is_time_and_literal(operands: list[dict[str, Any]], bases: list[list[str]]) -> bool:
    """Whether a time is compared with a text that stands in the SQL, which is the same for every record."""
    return all(
        (operand.get("kind") == "LITERAL" and bool(_TIME.fullmatch(str(operand.get("value")))))
        or (bool(base) and base[0].startswith(("DATE", "TIME")))
        for operand, base in zip(operands, bases, strict=True)
    )


# --- casts -------------------------------------------------------------------------------------------------------


def _is_of_text(operand: dict[str, Any], call: dict[str, Any]) -> bool:
    """Whether a cast turns text of a record, or text inside of it, into something that not every text is."""
    if operand.get("kind") == "LITERAL":
        is_text = operand.get("value") is not None and _TEXT.issuperset(parts(operand.get("type")))
        return is_text and not _may_be(str(operand["value"]), parts(call.get("type")))
    old, new = parts(operand.get("type")), parts(call.get("type"))
    if len(old) != len(new):
        return bool(_TEXT.intersection(old)) and not _TEXT.issuperset(new)
    return any(was in _TEXT and now not in _HOLDS_TEXT for was, now in zip(old, new, strict=True))


def _may_be(text: str, to: list[str]) -> bool:
    """Whether a text in the SQL is a value of a plain type; of others Flink says so by itself."""
    if _NUMBERS.intersection(to):
        return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text) is not None
    return (
        not any(part.startswith(("DATE", "TIME")) for part in to)
        or _TIME.fullmatch(text) is not None
    )


def _to_decimal(operand: dict[str, Any], call: dict[str, Any]) -> bool:
    """Whether a cast turns a DOUBLE or FLOAT, or one inside of the value, into a DECIMAL."""
    old, new = parts(operand.get("type")), parts(call.get("type"))
    if len(old) != len(new):
        return bool(_APPROXIMATE.intersection(old)) and "DECIMAL" in new
    return any(was in _APPROXIMATE and now == "DECIMAL" for was, now in zip(old, new, strict=True))


def parts(type_: Any) -> list[str]:
    """The plain types that a type of the plan is made of, in their order."""
    if isinstance(type_, dict):
        inner = [f["fieldType"] for f in type_.get("fields") or ()]
        inner += [type_[key] for key in ("keyType", "valueType", "elementType") if key in type_]
        return [part for each in inner or [type_.get("type")] for part in parts(each)]
    return _PART.findall(re.sub(r"`[^`]*`|NOT NULL", "", str(type_ or "")))


# --- numbers -----------------------------------------------------------------------------------------------------


def is_finite(value: dict[str, Any], known: Known = ()) -> bool:
    """Whether a number can be neither NaN nor infinite."""
    return not is_approximate(value.get("type")) or _most(value, known) < math.inf


def _most(value: dict[str, Any], known: Known) -> float:
    """The greatest size that a number can have; infinite where it may be NaN or infinite."""
    type_ = parts(value.get("type"))
    if value.get("kind") == "LITERAL":
        return abs(_literal(value) or 0)
    if not _APPROXIMATE.intersection(type_):
        return _LARGEST_EXACT if _NUMBERS.intersection(type_) else math.inf
    found = min(
        [
            _computed(value, known),
            *(_bound(condition, value) for condition, holds in known if holds),
        ]
    )
    return found if found < (_LARGEST_FLOAT if "FLOAT" in type_ else math.inf) else math.inf


def _computed(value: dict[str, Any], known: Known) -> float:
    operands: list[dict[str, Any]] = value.get("operands") or []
    match function_name(value):
        case "CASE" | "IF":
            return max(_most(result, then) for result, then in _results(value, known))
        case "CAST" | "ABS":
            return _most(operands[0], known)
        case "+" | "-":
            return sum(_most(o, known) for o in operands)
        case "*":
            return math.prod(_most(o, known) for o in operands)
        case "/" if divisor := _literal(operands[1]):
            return _most(operands[0], known) / abs(divisor)
    return math.inf


def _bound(condition: dict[str, Any], value: dict[str, Any]) -> float:
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
    bound = _literal(greater)
    if not is_size or bound is None:
        return math.inf
    return math.nextafter(abs(bound), 0) if name in ("<", ">") else abs(bound)


def _widened(value: dict[str, Any]) -> dict[str, Any]:
    """A FLOAT that Flink compares as a DOUBLE."""
    is_double = function_name(value) == "CAST" and "DOUBLE" in parts(value.get("type"))
    inner: dict[str, Any] = value["operands"][0] if is_double else value
    return inner if is_double and "FLOAT" in parts(inner.get("type")) else value


def is_approximate(type_: Any) -> bool:
    """Whether a type of the plan is FLOAT or DOUBLE, or has one inside."""
    return bool(_APPROXIMATE.intersection(parts(type_)))


def is_finite_column(node: Node, index: int) -> bool:
    """Whether column `index` of what an operator hands on can be neither NaN nor infinite."""
    if node.type in ("calc", "python-calc"):
        value, known = node.body["projection"][index], _true(node.body.get("condition"))
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
        results = [result for result, _ in _results(value, ())]
        return all(
            _is_null(r) or (_literal(r) is not None and abs(_literal(r) or 0) <= 1) for r in results
        )
    return node.type in KEEPS_COLUMNS and is_flag(node.inputs[0], index)


def _may_overflow(node: Node, call: dict[str, Any], known: Known) -> bool:
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
    """The digits in front of the point that a number may have, once it is rounded to `scale` digits behind it."""
    digits, own_scale = _digits_of_type(value.get("type"))
    if value.get("kind") == "INPUT_REF":
        digits = min(digits, _digits_of_sum(node.inputs[0], int(value["inputIndex"])))
    if value.get("kind") == "LITERAL" or is_approximate(value.get("type")):
        most = abs(_literal(value) or 0) if value.get("kind") == "LITERAL" else _most(value, known)
        is_rounded = True
    else:
        most = min(
            (_bound(condition, value) for condition, holds in known if holds), default=math.inf
        )
        is_rounded = own_scale > scale
    rounded = most + is_rounded * 0.5 * 10.0**-scale
    return min(digits + is_rounded, len(str(int(rounded))) if rounded < math.inf else math.inf)


def _digits_of_type(type_: Any) -> tuple[float, int]:
    """How many a number of a type has in front of the point at most, and how many behind it."""
    if match := re.match(r"DECIMAL\((\d+), (\d+)\)", str(type_)):
        return int(match[1]) - int(match[2]), int(match[2])
    return _DIGITS.get(_nullable(type_), math.inf), 0


def _digits_of_sum(node: Node, index: int) -> float:
    """Those of a column that is a sum, by the type of what is summed; infinite of any other column."""
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


def _may_divide(node: Node, operands: list[dict[str, Any]], known: Known) -> bool:
    """Whether a division fails on no value: NULL divided by zero is NULL."""
    dividend, divisor = operands
    return _is_not_zero(node, divisor, known) or all(
        _is_null(result)
        or any(_rules_out_zero(*condition, divisor) for condition in then)
        or _sums_what_is_counted(node, result, divisor)
        for result, then in _results(dividend, known)
    )


def _is_null(value: dict[str, Any]) -> bool:
    return value.get("kind") == "LITERAL" and value.get("value") is None


def _sums_what_is_counted(node: Node, value: dict[str, Any], count: dict[str, Any]) -> bool:
    """Whether a number is NULL where a count is zero: it is computed of the sum of what is counted.

    So Flink computes AVG, VAR_POP and their kin: a sum of no values is NULL, and so is what is computed of it.
    """
    if function_name(value) in ("+", "-", "*", "/", "CAST"):
        return any(_sums_what_is_counted(node, operand, count) for operand in value["operands"])
    of_sum, of_count = _aggregate(node, value, "SUM"), _aggregate(node, count, "COUNT")
    return of_sum is not None and of_sum == of_count


def _aggregate(node: Node, value: dict[str, Any], name: str) -> Any:
    """What an aggregate is of: a call in a pattern, or a column of a window's; None of anything else."""
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
        return _literal(value) != 0
    if any(
        _rules_out_zero(condition, holds, value) or _differ(condition, holds, value)
        for condition, holds in known
    ):
        return True
    if function_name(value) in ("CASE", "IF"):
        return all(_is_not_zero(node, result, then) for result, then in _results(value, known))
    if function_name(value) == "CAST" and _INTEGERS.intersection(parts(operands[0].get("type"))):
        wider = {"BIGINT", "DECIMAL"}.intersection(parts(value.get("type")))
        return bool(wider) and _is_not_zero(node, operands[0], known)
    return value.get("kind") == "INPUT_REF" and _counts_rows(
        node.inputs[0], int(value["inputIndex"])
    )


def _differ(condition: dict[str, Any], holds: bool, value: dict[str, Any]) -> bool:
    """Whether a difference is of two numbers that are not equal: CASE WHEN n = 1 THEN NULL ELSE n - 1 END."""
    if holds or function_name(condition) != "=" or function_name(value) != "-":
        return False
    (number, other), (left, right) = condition["operands"], value["operands"]
    return bool(
        number == left and _literal(right) is not None and _literal(other) == _literal(right)
    )


def _rules_out_zero(condition: dict[str, Any], holds: bool, value: dict[str, Any]) -> bool:
    """Whether a number is not zero, or NULL, where a condition is true, or is not."""
    operands: list[dict[str, Any]] = condition.get("operands") or []
    at = [i for i, operand in enumerate(operands) if value in (operand, _as_number(operand))]
    if len(operands) != 2 or len(at) != 1:
        return False
    other = _literal(operands[1 - at[0]])
    name = function_name(condition)
    if other is None or not holds:
        return name == "=" and other == 0
    greater = (name == ">") if at == [0] else (name == "<")
    smaller = (name == "<") if at == [0] else (name == ">")
    return (name == "<>" and other == 0) or (greater and other >= 0) or (smaller and other <= 0)


def _as_number(value: dict[str, Any]) -> dict[str, Any]:
    """Without the casts by which Flink compares numbers of two types: a zero is a zero in each."""
    while function_name(value) == "CAST" and _NUMBERS.intersection(
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


def _literal(value: dict[str, Any]) -> float | None:
    """The number that a literal is; None of any other expression."""
    if value.get("kind") != "LITERAL":
        return None
    try:
        return float(value.get("value"))  # type: ignore[arg-type]  # None and texts are what it is asked about
    except (TypeError, ValueError):
        return None
