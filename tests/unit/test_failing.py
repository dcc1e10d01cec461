"""Calls that fail a job on some number, and the conditions under which they do not."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.plan.compiled import Node
from jobs.safety.bounds import is_finite, is_finite_column, is_flag
from jobs.safety.failing import failing
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
BETWEEN = call(
    "SEARCH",
    X,
    {
        "kind": "LITERAL",
        "type": "DOUBLE NOT NULL",
        "sarg": {"ranges": [{"lower": {"value": "-1"}, "upper": {"value": "1"}}]},
    },
    to="BOOLEAN",
)
ABOVE = call(
    "SEARCH",
    X,
    {
        "kind": "LITERAL",
        "type": "DOUBLE NOT NULL",
        "sarg": {
            "ranges": [
                {"lower": {"value": "-1"}, "upper": {"value": "1"}},
                {"lower": {"value": "5"}},
            ]
        },
    },
    to="BOOLEAN",
)
DECIMAL = cast(X, "DECIMAL(18, 3)")
TO_DECIMAL = "CAST of DOUBLE or FLOAT to DECIMAL"


@pytest.mark.parametrize(
    ("value", "constructs"),
    [
        (DECIMAL, [TO_DECIMAL]),
        (call("TRY_CAST", X, to="DECIMAL(18, 3)"), ["TRY_CAST of DOUBLE or FLOAT to DECIMAL"]),
        (cast(F, "DECIMAL(18, 3)"), [TO_DECIMAL]),
        (cast(number("ROW<`a` DOUBLE, `b` INT>"), "ROW<`a` DECIMAL(9, 2), `b` INT>"), [TO_DECIMAL]),
        (cast(number("ARRAY<DOUBLE>"), "ARRAY<DECIMAL(9, 2)>"), [TO_DECIMAL]),
        (cast(number("ROW<`a` DOUBLE, `b` INT>"), "ROW<`a` DECIMAL(9, 2)>"), [TO_DECIMAL]),
        (call("ROUND", X, literal(2), to="DOUBLE"), ["ROUND of DOUBLE or FLOAT"]),
        (call("TRUNCATE", F, to="FLOAT"), ["TRUNCATE of DOUBLE or FLOAT"]),
        (
            call("+", call("ROUND", X, to="DOUBLE"), literal(1), to="DOUBLE"),
            ["ROUND of DOUBLE or FLOAT"],
        ),
        (case(SMALL, DECIMAL, NULL), []),
        (call("IF", BETWEEN, DECIMAL, NULL), []),
        (case(call("AND", SMALL, N), DECIMAL, NULL), []),
        (case(SMALL, NULL, DECIMAL), [TO_DECIMAL]),  # where the condition does not hold
        (
            case(
                call(">=", call("ABS", X, to="DOUBLE"), literal("1E+15"), to="BOOLEAN"),
                NULL,
                DECIMAL,
            ),
            [TO_DECIMAL],
        ),
        # -Infinity
        (
            case(call("<", X, literal("1E+15"), to="BOOLEAN"), DECIMAL, NULL),
            [TO_DECIMAL],
        ),
        (case(call("OR", SMALL, N), DECIMAL, NULL), [TO_DECIMAL]),
        (case(ABOVE, DECIMAL, NULL), [TO_DECIMAL]),
        # another column
        (
            case(SMALL, cast(number(index=1), "DECIMAL(18, 3)"), NULL),
            [TO_DECIMAL],
        ),
        (
            case(
                call(">", literal("1E+15"), call("ABS", X, to="DOUBLE"), to="BOOLEAN"),
                DECIMAL,
                NULL,
            ),
            [],
        ),
        (
            case(
                call(
                    "<", call("ABS", cast(F, "DOUBLE"), to="DOUBLE"), literal("1E+15"), to="BOOLEAN"
                ),
                cast(F, "DECIMAL(18, 3)"),
                NULL,
            ),
            [],
        ),
        (cast(case(SMALL, X, NULL, to="DOUBLE"), "DECIMAL(18, 3)"), []),
        (cast(call("/", cast(N, "DOUBLE"), literal(100), to="DOUBLE"), "DECIMAL(18, 3)"), []),
        (cast(call("/", cast(N, "DOUBLE"), N, to="DOUBLE"), "DECIMAL(18, 3)"), [TO_DECIMAL]),
        (cast(call("*", cast(N, "DOUBLE"), X, to="DOUBLE"), "DECIMAL(18, 3)"), [TO_DECIMAL]),
        # 'NaN'
        (
            cast(call("TRY_CAST", number("VARCHAR(9)"), to="DOUBLE"), "DECIMAL(18, 3)"),
            [TO_DECIMAL],
        ),
        (cast(literal("1.5", "DOUBLE NOT NULL"), "DECIMAL(18, 3)"), []),
        (cast(X, "BIGINT"), []),
        (cast(N, "DECIMAL(18, 3)"), []),
        (call("ROUND", number("DECIMAL(9, 4)"), literal(2), to="DECIMAL(9, 2)"), []),
        (call("FLOOR", X, to="DOUBLE"), []),
    ],
)
def test_numbers_that_may_be_no_finite_ones(value: dict[str, Any], constructs: list[str]) -> None:
    assert found(value) == constructs


NEVER_NULL = number("BIGINT NOT NULL", 1)
PRICE = number("DECIMAL(10, 2) NOT NULL")
TOO_MANY = "whose result may have more digits than"
UNDER_1000 = call("<", call("ABS", NEVER_NULL, to="BIGINT NOT NULL"), literal(1000), to="BOOLEAN")
UP_TO_1000 = call("<=", call("ABS", NEVER_NULL, to="BIGINT NOT NULL"), literal(1000), to="BOOLEAN")
SUMMED = aggregate(EVENTS, 0, calls=(agg("SUM", 1),))


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (cast(NEVER_NULL, "DECIMAL(21, 2) NOT NULL"), None),
        (cast(NEVER_NULL, "DECIMAL(20, 2) NOT NULL"), "CAST"),
        (cast(NEVER_NULL, "DECIMAL(20, 2)"), None),  # NULL, and everything behind it looks for that
        (call("TRY_CAST", NEVER_NULL, to="DECIMAL(3, 0)"), None),
        (cast(PRICE, "DECIMAL(8, 0) NOT NULL"), "CAST"),  # 99999999.99 is rounded
        (cast(PRICE, "DECIMAL(9, 0) NOT NULL"), None),
        (case(UNDER_1000, cast(NEVER_NULL, "DECIMAL(3, 0) NOT NULL"), NULL), None),
        (case(UP_TO_1000, cast(NEVER_NULL, "DECIMAL(3, 0) NOT NULL"), NULL), "CAST"),
        (cast(literal("999", "INT NOT NULL"), "DECIMAL(3, 0) NOT NULL"), None),
        (cast(literal("999.5", "DECIMAL(4, 1) NOT NULL"), "DECIMAL(3, 0) NOT NULL"), "CAST"),
        (cast(literal("9.995", "DECIMAL(4, 3) NOT NULL"), "DECIMAL(3, 2) NOT NULL"), "CAST"),
        (call("+", PRICE, PRICE, to="DECIMAL(11, 2) NOT NULL"), None),
        (call("+", PRICE, number("DECIMAL(38, 2) NOT NULL"), to="DECIMAL(38, 2) NOT NULL"), "+"),
        (call("*", PRICE, PRICE, to="DECIMAL(20, 4) NOT NULL"), None),
        (call("*", PRICE, number("DECIMAL(38, 2) NOT NULL"), to="DECIMAL(38, 4) NOT NULL"), "*"),
        (call("/", PRICE, literal(3), to="DECIMAL(21, 13) NOT NULL"), None),
        (
            call(
                "/",
                number("DECIMAL(38, 2) NOT NULL"),
                literal("3.00", "DECIMAL(3, 2) NOT NULL"),
                to="DECIMAL(38, 6) NOT NULL",
            ),
            "/",
        ),
    ],
)
def test_decimals_that_are_never_null_have_room(value: dict[str, Any], of: str | None) -> None:
    assert [c.split()[0] for c in found(value) if TOO_MANY in c] == ([of] if of else [])


@pytest.mark.parametrize(
    ("value", "construct", "instead"),
    [
        pytest.param(
            cast(number("VARCHAR(9)"), "INT"),
            "CAST of text, which fails the job if the text is not such a value",
            "TRY_CAST, which gives NULL: no record may stop a job",
            id="of text",
        ),
        pytest.param(
            cast(NEVER_NULL, "DECIMAL(20, 2) NOT NULL"),
            "CAST whose result may have more digits than DECIMAL(20, 2): the result is then another value, or "
            "fails the job",
            "TRY_CAST(b AS DECIMAL(20, 2)), which gives NULL",
            id="of a large number",
        ),
        pytest.param(
            call("+", PRICE, number("DECIMAL(38, 2) NOT NULL"), to="DECIMAL(38, 2) NOT NULL"),
            "+ whose result may have more digits than DECIMAL(38, 2): the result is then another value, or fails "
            "the job",
            "values of fewer digits, by TRY_CAST: a value with too many digits becomes NULL",
            id="of large numbers",
        ),
    ],
)
def test_what_to_write_instead(value: dict[str, Any], construct: str, instead: str) -> None:
    [told] = failing(calc(EVENTS, a=value))
    assert (told.construct, told.instead) == (construct, instead)


def test_a_sum_has_twelve_digits_more_than_its_values() -> None:
    def mean(index: int) -> dict[str, Any]:
        return call(
            "/", number("DECIMAL(38, 2) NOT NULL", index), literal(3), to="DECIMAL(38, 6) NOT NULL"
        )

    assert not found(mean(1), SUMMED)
    assert found(mean(1), EVENTS)
    assert found(mean(0), SUMMED) and found(mean(2), SUMMED), (
        "what it groups by, and the window, are no sums"
    )
    assert not found(mean(0), calc(SUMMED, total=ref(1), at=ref(2)))
    assert found(mean(1), calc(SUMMED, total=ref(1), at=ref(2)))
    assert not found(mean(1), node("exchange", SUMMED))
    assert found(mean(1), aggregate(EVENTS, 0, calls=(agg("MAX", 1),)))


def smaller_than(bound: str, value: dict[str, Any] = X) -> dict[str, Any]:
    return call(
        "<=", call("ABS", value, to=value["type"]), literal(bound, "DOUBLE NOT NULL"), to="BOOLEAN"
    )


SQUARE, CUBE = call("*", X, X, to="DOUBLE"), call("*", F, call("*", F, F, to="FLOAT"), to="FLOAT")


@pytest.mark.parametrize(
    ("value", "finite"),
    [
        (case(smaller_than("1E+150"), SQUARE, NULL, to="DOUBLE"), True),
        (case(smaller_than("1E+300"), SQUARE, NULL, to="DOUBLE"), False),
        (case(smaller_than("1E+300"), cast(X, "FLOAT"), NULL, to="FLOAT"), False),
        (case(smaller_than("1E+309"), X, NULL, to="DOUBLE"), False),
        (case(smaller_than("1E+15", F), CUBE, NULL, to="FLOAT"), False),
        (case(smaller_than("1E+10", F), CUBE, NULL, to="FLOAT"), True),
        (
            case(
                smaller_than("1E+300"),
                call("/", X, literal("1E-10"), to="DOUBLE"),
                NULL,
                to="DOUBLE",
            ),
            False,
        ),
        (case(smaller_than("1E+300"), call("+", X, X, to="DOUBLE"), NULL, to="DOUBLE"), True),
        (call("*", cast(N, "DOUBLE"), cast(N, "DOUBLE"), to="DOUBLE"), True),
        (call("*", cast(N, "FLOAT"), cast(N, "FLOAT"), to="FLOAT"), False),
        (call("SQRT", cast(N, "DOUBLE"), to="DOUBLE"), False),
    ],
)
def test_numbers_of_bounded_ones(value: dict[str, Any], finite: bool) -> None:
    assert is_finite(value) is finite


def test_what_a_filter_leaves_out_fails_nothing_behind_it() -> None:
    filtered = node(
        "calc", EVENTS, columns=("a",), projection=[DECIMAL], condition=call("AND", SMALL, N)
    )
    assert list(failing(filtered)) == []
    assert (
        len(
            list(
                failing(
                    where(EVENTS, call("AND", SMALL, call(">", DECIMAL, literal(1), to="BOOLEAN")))
                )
            )
        )
        == 1
    )


ZERO = literal(0)
HUNDRED = literal(100)


def by(divisor: dict[str, Any], name: str = "/", to: str = "BIGINT") -> dict[str, Any]:
    return call(name, HUNDRED, divisor, to=to)


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        (by(N), False),
        (by(N, "MOD"), False),
        (by(N, "%"), False),
        (by(N, to="DECIMAL(38, 6)"), False),
        (by(N, to="DOUBLE"), True),
        (by(ZERO), False),
        (by(literal(7)), True),
        (by(literal("0.5", "DECIMAL(2, 1)")), True),
        (by(case(call("=", N, ZERO, to="BOOLEAN"), NULL, N)), True),  # NULLIF
        (by(case(call("=", ZERO, N, to="BOOLEAN"), NULL, N), "MOD"), True),
        (
            by(
                case(
                    call(
                        "=", cast(N, "DECIMAL(12, 2)"), literal("0", "DECIMAL(12, 2)"), to="BOOLEAN"
                    ),
                    NULL,
                    N,
                )
            ),
            True,
        ),
        (
            by(
                case(
                    call("=", cast(number("VARCHAR(9)", 1), "BIGINT"), ZERO, to="BOOLEAN"), NULL, N
                )
            ),
            False,
        ),
        (
            case(call("<>", cast(X, "BIGINT"), ZERO, to="BOOLEAN"), by(cast(X, "BIGINT")), NULL),
            True,
        ),
        (case(call("<>", X, ZERO, to="BOOLEAN"), by(cast(X, "BIGINT")), NULL), False),  # 0.4 is 0
        (by(case(call("=", N, literal(1), to="BOOLEAN"), NULL, N)), False),
        (
            by(
                cast(case(call("=", N, ZERO, to="BOOLEAN"), NULL, N), "DECIMAL(19, 0)"),
                to="DECIMAL(38, 6)",
            ),
            True,
        ),
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
    ],
)
def test_divisors(value: dict[str, Any], safe: bool) -> None:
    assert (
        [c.partition(" ")[2] for c in found(value)] == []
        if safe
        else ["by a value that may be zero"]
    )


def test_null_divided_by_a_count_of_nothing_is_null() -> None:
    """As Flink computes AVG OVER, VAR_POP and STDDEV_SAMP."""
    total, count, other = number("BIGINT", 1), number("BIGINT", 2), number("BIGINT", 3)
    before = aggregate(EVENTS, 0, calls=[agg("SUM", 1), agg("COUNT", 1), agg("COUNT", 0)])
    squares = call("-", total, call("/", call("*", total, total), count))
    assert found(call("/", total, count), before) == found(call("/", squares, count), before) == []
    assert found(call("/", total, other), before) == [
        "/ by a value that may be zero"
    ]  # of something else
    assert found(call("/", literal(1), count), before) == ["/ by a value that may be zero"]
    assert found(call("/", total, count)) == ["/ by a value that may be zero"]  # no aggregate's
    fewer = aggregate(EVENTS, 0, calls=[agg("SUM", 1), {**agg("COUNT", 1), "filterArg": 0}])
    assert found(call("/", total, count), fewer) == ["/ by a value that may be zero"]
    positive = call(">", count, literal(0), to="BOOLEAN")
    assert found(call("/", case(positive, total, NULL), count)) == []
    exact = case(positive, total, NULL)
    for of in (cast(exact, "DECIMAL(38, 6)"), call("-", total, call("*", exact, exact))):
        assert found(call("/", of, count)) == []
    for of in (literal(0), cast(literal(0), "DECIMAL(38, 6)")):
        assert found(call("/", case(positive, total, of), count)) == [
            "/ by a value that may be zero"
        ]
    is_one = call("=", count, literal(1), to="BOOLEAN")
    less = call("-", count, literal(1))
    assert found(call("/", total, case(is_one, NULL, less))) == []
    assert found(call("/", total, less)) == ["/ by a value that may be zero"]
    assert found(call("/", total, case(is_one, NULL, call("-", count, literal(2))))) == [
        "/ by a value that may be zero"
    ]


def test_a_window_counts_at_least_one_row() -> None:
    count = {**agg("COUNT", 0), "argList": []}
    counts = aggregate(
        EVENTS, 0, calls=[{**count, "filterArg": -1}, agg("COUNT", 1), {**count, "filterArg": 1}]
    )
    assert found(by(ref(1)), counts) == []
    assert found(by(ref(2)), counts) == [
        "/ by a value that may be zero"
    ]  # of values that are not NULL
    assert found(by(ref(3)), counts) == [
        "/ by a value that may be zero"
    ]  # of those that a FILTER leaves
    assert found(by(ref(0)), counts) == ["/ by a value that may be zero"]


def test_columns_that_are_finite() -> None:
    bounded = calc(EVENTS, x=case(SMALL, X, NULL, to="DOUBLE"), y=X, n=N)
    behind = node(
        "window-table-function", node("exchange", bounded), columns=("x", "y", "n", "window_start")
    )
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


ONE, TWO, NOTHING = literal(1), literal(2), literal(None, "INT")


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        pytest.param(case(SMALL, ONE, literal(0), to="INT"), True, id="one or zero"),
        pytest.param(case(SMALL, literal(-1), NOTHING, to="INT"), True, id="minus one or NULL"),
        pytest.param(case(SMALL, ONE, TWO, to="INT"), False, id="two"),
        pytest.param(case(SMALL, ONE, N, to="INT"), False, id="a column"),
        pytest.param(ONE, True, id="a constant"),
        pytest.param(N, False, id="a column alone"),
    ],
)
def test_flags(value: dict[str, Any], flag: bool) -> None:
    made = calc(EVENTS, c=N, a=value)
    assert is_flag(made, 1) is flag
    assert not is_flag(made, 0)
    assert is_flag(calc(made, x=ref(0), y=ref(1)), 1) is flag, "handed on by a projection"
    assert is_flag(node("exchange", made), 1) is flag, "and by what keeps columns"
    assert not is_flag(aggregate(made, 1), 0), "but not by a window"
