"""Calls that fail a job on some value of a record: one such record would stop a product for ever, so none may be in it.

Pure, over the expressions of Flink's compiled plan. An expression in a branch of CASE or IF is only evaluated where the
branch's condition is true, so what the condition rules out cannot fail it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.plan.compiled import (
    Node,
    function_name,
    references,
)
from jobs.safety.arguments import failing_argument
from jobs.safety.bounds import is_finite, may_overflow
from jobs.safety.division import may_divide
from jobs.safety.expressions import (
    APPROXIMATE,
    NUMBERS,
    TEXT,
    Known,
    branches_of,
    is_approximate,
    nullable,
    parts,
    where_true,
)

FINITE = "CASE WHEN ABS(x) < 1e15 THEN {} END"
_HOLDS_TEXT = TEXT | {"BINARY", "VARBINARY"}
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
    """The failing calls of an operator."""
    filtered = (
        where_true(node.body.get("condition")) if node.type in ("calc", "python-calc") else ()
    )
    for key, value in node.expressions.items():
        yield from _inside(node, value, filtered if key == "projection" else ())


def named(instead: str, columns: Sequence[str]) -> str:
    """What to write instead, with the column's name in place of x if there is just one column."""
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
        if (branches := branches_of(value, known)) is not None:
            for inner, then in branches:
                yield from _inside(node, inner, then)
        else:
            for inner in value.values():
                yield from _inside(node, inner, known)


def _call(node: Node, call: dict[str, Any], known: Known) -> Iterator[tuple[str, str]]:
    name = function_name(call)
    operands: list[dict[str, Any]] = call.get("operands") or []
    approximate = is_approximate(call.get("type"))
    if name == "CAST" and _is_of_text(operands[0], call):
        yield (
            "CAST of text, which fails the job if the text is not such a value",
            "TRY_CAST, which gives NULL: no record may stop a job",
        )
    elif (
        name in ("CAST", "TRY_CAST")
        and _to_decimal(operands[0], call)
        and not is_finite(operands[0], known)
    ):
        yield (
            f"{name} of DOUBLE or FLOAT to DECIMAL, which fails the job if the value is NaN or infinite",
            FINITE.format("CAST(x AS DECIMAL(18, 3))"),
        )
    elif name in ("ROUND", "TRUNCATE") and approximate and not is_finite(operands[0], known):
        yield (
            f"{name} of DOUBLE or FLOAT, which fails the job if the value is NaN or infinite",
            FINITE.format(f"{name}(x, 2)"),
        )
    elif name in ("/", "%", "MOD") and not approximate and not may_divide(node, operands, known):
        yield (
            f"{name} by a value that may be zero, which fails the job",
            "NULLIF(<divisor>, 0): the result is then NULL",
        )
    elif name == "JSON_VALUE" and not TEXT.intersection(parts(call.get("type"))):
        yield (
            "JSON_VALUE … RETURNING, which fails the job if the value is of another type",
            "TRY_CAST(JSON_VALUE(…) AS …), which gives NULL",
        )
    elif thrown := _on_values(name, operands):
        yield thrown
    elif may_overflow(node, call, known):
        type_ = nullable(call["type"])
        yield (
            f"{name} whose result may have more digits than {type_}: the result is then another value, or fails "
            f"the job",
            f"TRY_CAST(x AS {type_}), which gives NULL"
            if name == "CAST"
            else "values of fewer digits, by TRY_CAST: a value with too many digits becomes NULL",
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
    is_text = [bool(TEXT.intersection(base)) for base in bases]
    if (
        name in _COMPARED
        and any(is_text)
        and not all(is_text)
        and not _is_time_and_literal(operands, bases)
    ):
        return (
            f"{name} of text and another type, which fails the job if the text is not such a value",
            "two values of one type: CAST(<the other> AS STRING), or TRY_CAST(<text> AS …)",
        )
    if (
        name in ("GREATEST", "LEAST")
        and ["DECIMAL"] in bases
        and len({nullable(o.get("type")) for o in operands}) > 1
    ):
        return (
            f"{name} of DECIMAL and another type, which fails the job on NULL",
            "two values of one type, with CAST",
        )
    return None


def _is_time_and_literal(operands: list[dict[str, Any]], bases: list[list[str]]) -> bool:
    """Whether a time is compared with a text that stands in the SQL, which is the same for every record."""
    return all(
        (operand.get("kind") == "LITERAL" and bool(_TIME.fullmatch(str(operand.get("value")))))
        or (bool(base) and base[0].startswith(("DATE", "TIME")))
        for operand, base in zip(operands, bases, strict=True)
    )


def _is_of_text(operand: dict[str, Any], call: dict[str, Any]) -> bool:
    """Whether a cast turns text of a record, or text inside of it, into something that not every text is."""
    if operand.get("kind") == "LITERAL":
        is_text = operand.get("value") is not None and TEXT.issuperset(parts(operand.get("type")))
        return is_text and not _may_be(str(operand["value"]), parts(call.get("type")))
    old, new = parts(operand.get("type")), parts(call.get("type"))
    if len(old) != len(new):
        return bool(TEXT.intersection(old)) and not TEXT.issuperset(new)
    return any(was in TEXT and now not in _HOLDS_TEXT for was, now in zip(old, new, strict=True))


def _may_be(text: str, to: list[str]) -> bool:
    """Whether a text in the SQL is a value of a plain type. Flink itself checks other types."""
    if NUMBERS.intersection(to):
        return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text) is not None
    return (
        not any(part.startswith(("DATE", "TIME")) for part in to)
        or _TIME.fullmatch(text) is not None
    )


def _to_decimal(operand: dict[str, Any], call: dict[str, Any]) -> bool:
    """Whether a cast turns a DOUBLE or FLOAT, or one inside of the value, into a DECIMAL."""
    old, new = parts(operand.get("type")), parts(call.get("type"))
    if len(old) != len(new):
        return bool(APPROXIMATE.intersection(old)) and "DECIMAL" in new
    return any(was in APPROXIMATE and now == "DECIMAL" for was, now in zip(old, new, strict=True))
