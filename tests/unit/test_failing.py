"""Calls that fail a job on some number, and the conditions under which they do not."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.failing import failing, is_finite, is_finite_column
from jobs.plan import Node
from tests.unit.plans import agg, aggregate, calc, call, cast, node, ref, scan, where

EVENTS = scan("orders", "a", "b")
NULL = {"kind": "LITERAL", "value": None, "type": "DOUBLE"}


def number(type_: str = "DOUBLE", index: int = 0) -> dict[str, Any]:
    return {**ref(index), "type": type_}


def literal(value: Any, type_: str = "INT NOT NULL") -> dict[str, Any]:
    return {"kind": "LITERAL", "value": value, "type": type_}


def case(*operands: dict[str, Any], to: str = "BIGINT") -> dict[str, Any]:
    return call("CASE", *operands, to=to)


def found(value: dict[str, Any], before: Node = EVENTS) -> list[str]:
    return [f.construct.partition(",")[0] for f in failing(calc(before, a=value))]


X, F, N = number(), number("FLOAT"), number("BIGINT", 1)
SMALL = call("<", call("ABS", X, to="DOUBLE"), literal("1E+15", "DOUBLE NOT NULL"), to="BOOLEAN")
BETWEEN = call("SEARCH", X, {"kind": "LITERAL", "type": "DOUBLE NOT NULL", "sarg": {"ranges": [
    {"lower": {"value": "-1"}, "upper": {"value": "1"}}]}}, to="BOOLEAN")
ABOVE = call("SEARCH", X, {"kind": "LITERAL", "type": "DOUBLE NOT NULL", "sarg": {"ranges": [
    {"lower": {"value": "-1"}, "upper": {"value": "1"}}, {"lower": {"value": "5"}}]}}, to="BOOLEAN")
DECIMAL = cast(X, "DECIMAL(18, 3)")
TO_DECIMAL = "CAST of DOUBLE or FLOAT to DECIMAL"


@pytest.mark.parametrize(("value", "constructs"), [
    (DECIMAL, [TO_DECIMAL]),
    (call("TRY_CAST", X, to="DECIMAL(18, 3)"), ["TRY_CAST of DOUBLE or FLOAT to DECIMAL"]),
    (cast(F, "DECIMAL(18, 3)"), [TO_DECIMAL]),
    (cast(number("ROW<`a` DOUBLE, `b` INT>"), "ROW<`a` DECIMAL(9, 2), `b` INT>"), [TO_DECIMAL]),
    (cast(number("ARRAY<DOUBLE>"), "ARRAY<DECIMAL(9, 2)>"), [TO_DECIMAL]),
    (call("ROUND", X, literal(2), to="DOUBLE"), ["ROUND of DOUBLE or FLOAT"]),
    (call("TRUNCATE", F, to="FLOAT"), ["TRUNCATE of DOUBLE or FLOAT"]),
    (call("+", call("ROUND", X, to="DOUBLE"), literal(1), to="DOUBLE"), ["ROUND of DOUBLE or FLOAT"]),
    (case(SMALL, DECIMAL, NULL), []),
    (call("IF", BETWEEN, DECIMAL, NULL), []),
    (case(call("AND", SMALL, N), DECIMAL, NULL), []),
    (case(SMALL, NULL, DECIMAL), [TO_DECIMAL]),  # where the condition does not hold
    (case(call(">=", call("ABS", X, to="DOUBLE"), literal("1E+15"), to="BOOLEAN"), NULL, DECIMAL), [TO_DECIMAL]),
    (case(call("<", X, literal("1E+15"), to="BOOLEAN"), DECIMAL, NULL), [TO_DECIMAL]),  # -Infinity
    (case(call("OR", SMALL, N), DECIMAL, NULL), [TO_DECIMAL]),
    (case(ABOVE, DECIMAL, NULL), [TO_DECIMAL]),
    (case(SMALL, cast(number(index=1), "DECIMAL(18, 3)"), NULL), [TO_DECIMAL]),  # another column
    (case(call(">", literal("1E+15"), call("ABS", X, to="DOUBLE"), to="BOOLEAN"), DECIMAL, NULL), []),
    (case(call("<", call("ABS", cast(F, "DOUBLE"), to="DOUBLE"), literal("1E+15"), to="BOOLEAN"),
          cast(F, "DECIMAL(18, 3)"), NULL), []),
    (cast(case(SMALL, X, NULL, to="DOUBLE"), "DECIMAL(18, 3)"), []),
    (cast(call("/", cast(N, "DOUBLE"), literal(100), to="DOUBLE"), "DECIMAL(18, 3)"), []),
    (cast(call("/", cast(N, "DOUBLE"), N, to="DOUBLE"), "DECIMAL(18, 3)"), [TO_DECIMAL]),
    (cast(call("*", cast(N, "DOUBLE"), X, to="DOUBLE"), "DECIMAL(18, 3)"), [TO_DECIMAL]),
    (cast(call("TRY_CAST", number("VARCHAR(9)"), to="DOUBLE"), "DECIMAL(18, 3)"), [TO_DECIMAL]),  # 'NaN'
    (cast(literal("1.5", "DOUBLE NOT NULL"), "DECIMAL(18, 3)"), []),
    (cast(X, "BIGINT"), []),
    (cast(N, "DECIMAL(18, 3)"), []),
    (call("ROUND", number("DECIMAL(9, 4)"), literal(2), to="DECIMAL(9, 2)"), []),
    (call("FLOOR", X, to="DOUBLE"), []),
])
def test_numbers_that_may_be_no_finite_ones(value: dict[str, Any], constructs: list[str]) -> None:
    assert found(value) == constructs


def smaller_than(bound: str, value: dict[str, Any] = X) -> dict[str, Any]:
    return call("<=", call("ABS", value, to=value["type"]), literal(bound, "DOUBLE NOT NULL"), to="BOOLEAN")


SQUARE, CUBE = call("*", X, X, to="DOUBLE"), call("*", F, call("*", F, F, to="FLOAT"), to="FLOAT")


@pytest.mark.parametrize(("value", "finite"), [
    (case(smaller_than("1E+150"), SQUARE, NULL, to="DOUBLE"), True),
    (case(smaller_than("1E+300"), SQUARE, NULL, to="DOUBLE"), False),
    (case(smaller_than("1E+300"), cast(X, "FLOAT"), NULL, to="FLOAT"), False),
    (case(smaller_than("1E+309"), X, NULL, to="DOUBLE"), False),
    (case(smaller_than("1E+15", F), CUBE, NULL, to="FLOAT"), False),
    (case(smaller_than("1E+10", F), CUBE, NULL, to="FLOAT"), True),
    (case(smaller_than("1E+300"), call("/", X, literal("1E-10"), to="DOUBLE"), NULL, to="DOUBLE"), False),
    (case(smaller_than("1E+300"), call("+", X, X, to="DOUBLE"), NULL, to="DOUBLE"), True),
    (call("*", cast(N, "DOUBLE"), cast(N, "DOUBLE"), to="DOUBLE"), True),
    (call("*", cast(N, "FLOAT"), cast(N, "FLOAT"), to="FLOAT"), False),
    (call("SQRT", cast(N, "DOUBLE"), to="DOUBLE"), False),
])
def test_numbers_of_bounded_ones(value: dict[str, Any], finite: bool) -> None:
    assert is_finite(value) is finite


def test_what_a_filter_leaves_out_fails_nothing_behind_it() -> None:
    filtered = node("calc", EVENTS, columns=("a",), projection=[DECIMAL], condition=call("AND", SMALL, N))
    assert list(failing(filtered)) == []
    assert len(list(failing(where(EVENTS, call("AND", SMALL, call(">", DECIMAL, literal(1), to="BOOLEAN")))))) == 1


ZERO = literal(0)
HUNDRED = literal(100)


def by(divisor: dict[str, Any], name: str = "/", to: str = "BIGINT") -> dict[str, Any]:
    return call(name, HUNDRED, divisor, to=to)


@pytest.mark.parametrize(("value", "safe"), [
    (by(N), False), (by(N, "MOD"), False), (by(N, "%"), False), (by(N, to="DECIMAL(38, 6)"), False),
    (by(N, to="DOUBLE"), True), (by(ZERO), False), (by(literal(7)), True), (by(literal("0.5", "DECIMAL(2, 1)")), True),
    (by(case(call("=", N, ZERO, to="BOOLEAN"), NULL, N)), True),  # NULLIF
    (by(case(call("=", ZERO, N, to="BOOLEAN"), NULL, N), "MOD"), True),
    (by(case(call("=", cast(N, "DECIMAL(12, 2)"), literal("0", "DECIMAL(12, 2)"), to="BOOLEAN"), NULL, N)), True),
    (by(case(call("=", cast(number("VARCHAR(9)", 1), "BIGINT"), ZERO, to="BOOLEAN"), NULL, N)), False),
    (case(call("<>", cast(X, "BIGINT"), ZERO, to="BOOLEAN"), by(cast(X, "BIGINT")), NULL), True),
    (case(call("<>", X, ZERO, to="BOOLEAN"), by(cast(X, "BIGINT")), NULL), False),  # 0.4 is 0
    (by(case(call("=", N, literal(1), to="BOOLEAN"), NULL, N)), False),
    (by(cast(case(call("=", N, ZERO, to="BOOLEAN"), NULL, N), "DECIMAL(19, 0)"), to="DECIMAL(38, 6)"), True),
    (by(cast(case(call("=", N, ZERO, to="BOOLEAN"), NULL, N), "TINYINT")), False),  # 256 is 0
    (by(cast(case(call("=", X, ZERO, to="BOOLEAN"), NULL, X), "BIGINT")), False),  # 0.4 is 0
    (case(call("<>", N, ZERO, to="BOOLEAN"), by(N), NULL), True),
    (case(call(">", N, ZERO, to="BOOLEAN"), by(N), NULL), True),
    (case(call("<", ZERO, N, to="BOOLEAN"), by(N), NULL), True),
    (case(call("<", N, ZERO, to="BOOLEAN"), by(N), NULL), True),
    (case(call("<=", N, ZERO, to="BOOLEAN"), by(N), NULL), False),
    (case(call(">", N, literal(-1), to="BOOLEAN"), by(N), NULL), False),
    (case(call(">=", N, ZERO, to="BOOLEAN"), by(N), NULL), False),
    (case(call("=", N, ZERO, to="BOOLEAN"), NULL, by(N)), True),
    (case(call("=", N, ZERO, to="BOOLEAN"), by(N), NULL), False),
    (case(call("<>", N, ZERO, to="BOOLEAN"), NULL, by(N)), False),
    (by(call("COALESCE", N, literal(1))), False),
    (by(call("+", call("*", N, N), literal(1))), False),
])
def test_divisors(value: dict[str, Any], safe: bool) -> None:
    assert [c.partition(" ")[2] for c in found(value)] == [] if safe else ["by what may be zero"]


def test_a_window_counts_at_least_one_row() -> None:
    count = {**agg("COUNT", 0), "argList": []}
    counts = aggregate(EVENTS, 0, calls=[{**count, "filterArg": -1}, agg("COUNT", 1), {**count, "filterArg": 1}])
    assert found(by(ref(1)), counts) == []
    assert found(by(ref(2)), counts) == ["/ by what may be zero"]  # of values that are not NULL
    assert found(by(ref(3)), counts) == ["/ by what may be zero"]  # of those that a FILTER leaves
    assert found(by(ref(0)), counts) == ["/ by what may be zero"]


def test_columns_that_are_finite() -> None:
    bounded = calc(EVENTS, x=case(SMALL, X, NULL, to="DOUBLE"), y=X, n=N)
    behind = node("window-table-function", node("exchange", bounded), columns=("x", "y", "n", "window_start"))
    assert [is_finite_column(behind, i) for i in range(4)] == [True, False, True, False]
    assert is_finite_column(node("union", bounded, bounded), 0)
    assert not is_finite_column(node("union", bounded, calc(EVENTS, x=X)), 0)
    assert is_finite_column(calc(bounded, z=number()), 0)
    filtered = node("calc", EVENTS, columns=("a",), projection=[X], condition=SMALL)
    assert is_finite_column(filtered, 0)
    assert not is_finite_column(EVENTS, 0) and not is_finite(X)


def test_the_column_is_named_in_what_to_write() -> None:
    [direct] = failing(calc(EVENTS, a=DECIMAL))
    assert direct.instead == "CASE WHEN ABS(a) < 1e15 THEN CAST(a AS DECIMAL(18, 3)) END"
    [computed] = failing(calc(EVENTS, a=cast(call("+", X, X, to="DOUBLE"), "DECIMAL(18, 3)")))
    assert computed.instead == "CASE WHEN ABS(x) < 1e15 THEN CAST(x AS DECIMAL(18, 3)) END"
    assert computed.columns == {"a"}
