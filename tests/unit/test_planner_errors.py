"""What Flink's planner refuses, said as a place in a file and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.planner.errors import Known, planner_problem
from jobs.product.names import did_you_mean
from jobs.product.sql import Statement, split_statements
from jobs.safety.problem import Problem

FILE = Path("rows.sql")
KNOWN = Known(
    {"orders": ("order_id", "shop", "cents", "Country"), "refunds": ("refund_id", "paid_at")},
    {"shops_at": "(time, shop)", "pseudonym": "those of its Python function"},
)
TEXT = "-- rows\n\nSELECT order_id,\n  cents + centz AS total\nFROM orders\n"


def statement(text: str = TEXT) -> Statement:
    (found,) = split_statements(FILE, text)
    return found


def java(*causes: str) -> str:
    """As Py4J hands on what Java threw."""
    trace = "\n\tat org.apache.flink.table.planner.Planner.validate(Planner.java:1)\n"
    return (
        "An error occurred while calling o12.parse.\n: "
        + f"{trace}Caused by: ".join(causes)
        + trace
        + "\t... 12 more\n"
    )


VALIDATION = "org.apache.flink.table.api.ValidationException: SQL validation failed. "
CONTEXT = "org.apache.calcite.runtime.CalciteContextException: "
CALCITE = "org.apache.calcite.sql.validate.SqlValidatorException: "


def told(place: str, reason: str) -> str:
    """A refusal of Calcite's validator, as Flink wraps it."""
    return java(
        f"{VALIDATION}{place}: {reason}", f"{CONTEXT}{place}: {reason}", f"{CALCITE}{reason}"
    )


def test_a_column_of_a_topic_that_the_select_does_not_have() -> None:
    said = told(
        "From line 2, column 11 to line 2, column 15", "Column 'cents' not found in any table"
    )
    found = planner_problem(said, statement(), KNOWN)
    assert (
        found.instead
        == "cents in the views and inner SELECTs on the way, or one of the columns that they have"
    )


def test_an_interval_of_more_than_two_digits() -> None:
    said = "Interval field value 100 exceeds precision of HOUR(2) field"
    found = planner_problem(
        told("From line 1, column 1 to line 1, column 6", said), statement(), KNOWN
    )
    assert found.instead == "INTERVAL … HOUR(3), for a number of three digits"


def test_a_column_that_is_misspelt() -> None:
    error = told(
        "From line 2, column 11 to line 2, column 15", "Column 'centz' not found in any table"
    )
    assert planner_problem(error, statement(), KNOWN, "rows") == Problem(
        "rows.sql", 4, "rows: Column 'centz' not found in any table", "did you mean cents?"
    )


def test_the_expression_is_named_where_the_words_do_not() -> None:
    error = told(
        "From line 2, column 3 to line 2, column 15",
        "Cannot apply '+' to arguments of type '<INT> + <ROW>'",
    )
    assert planner_problem(error, statement(), KNOWN) == Problem(
        "rows.sql",
        4,
        "Cannot apply '+' to arguments of type '<INT> + <ROW>'  in: cents + centz",
        "SQL that Flink's planner accepts",
    )


def test_an_expression_of_several_lines_is_named_by_its_first() -> None:
    error = told("From line 1, column 8 to line 2, column 15", "Wrong")
    assert planner_problem(error, statement(), KNOWN).construct == "Wrong  in: order_id,"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("From line 1, column 1 to line 1, column 6", 3),
        ("From line 3, column 1 to line 3, column 4", 5),
        ("At line 2, column 3", 4),
        ("at line 3, column 6.", 5),
        ("", 3),
        ("From line 9, column 1 to line 9, column 4", 3),
    ],
)
def test_lines_are_those_of_the_file(place: str, line: int) -> None:
    problem = planner_problem(told(place, "Wrong"), statement(), KNOWN)
    assert (problem.file, problem.line) == ("rows.sql", line)
    assert problem.construct.startswith("Wrong")


def test_columns_that_product_adds_move_no_line() -> None:
    """The planner is asked with further columns on the first line; a place behind them is not shown wrongly."""
    error = told(
        "From line 1, column 40 to line 1, column 48", "Column 'order_idd' not found in any table"
    )
    problem = planner_problem(error, statement(), KNOWN)
    assert (problem.line, problem.construct) == (3, "Column 'order_idd' not found in any table")


@pytest.mark.parametrize(
    ("reason", "instead"),
    [
        ("Column 'shopp' not found in any table", "did you mean shop?"),
        ("Column 'COUNTRY' not found in any table", "did you mean Country?"),
        ("Column 'order_id2' not found in table 'orders'", "did you mean order_id?"),
        ("Column 'xyz' not found in any table", "one of order_id, shop, cents, Country"),
        ("Column 'paid_att' not found in any table", "one of order_id, shop, cents, Country"),
        ("Object 'order' not found", "did you mean orders?"),
        (
            "Object 'parcels' not found within 'default_catalog.default_database'",
            "a topic or a view: orders, refunds",
        ),
        (
            "No match found for function signature shops_at(<TIMESTAMP_LTZ>)",
            "its arguments are (time, shop)",
        ),
        ("No match found for function signature pseudonim(<CHARACTER>)", "did you mean pseudonym?"),
        (
            "No match found for function signature FROBNICATE()",
            "a function of Flink, or one that the product has: shops_at, pseudonym; "
            "T_at() is there for a topic with a key",
        ),
        ("Invalid function call:\nshops_at(STRING)", "its arguments are (time, shop)"),
        ("Expression 'shop' is not being grouped", "add shop to GROUP BY, or aggregate it"),
        (
            "Window can only be defined on a time attribute column, but is type of BIGINT",
            "DESCRIPTOR of the topic's time, as product.yaml names it; behind a window, of window_time",
        ),
        (
            "Over Agg: Unsupported use of OVER windows. All aggregates must be computed on the same window. please "
            "re-check the over window statement.",
            "one OVER window in a SELECT: make a view of the one, with log_partition and log_offset, and read it in "
            "the other",
        ),
        (
            "Unsupported time travel expression: PROCTIME() for the expression can not be reduced to a constant by "
            "Flink.",
            "FOR SYSTEM_TIME AS OF <event time>, or, of a topic with a key, LATERAL TABLE(T_at(<event time>, <key>))",
        ),
        (
            "Could not parse type at position 19: <IDENTIFIER> expected but was <KEYWORD>.",
            "a type in returns of product.yaml; a name that Flink reserves in backticks: ROW<`zone` STRING>",
        ),
        ("Something else", "SQL that Flink's planner accepts"),
    ],
)
def test_what_was_probably_meant(reason: str, instead: str) -> None:
    assert (
        planner_problem(told("At line 1, column 1", reason), statement(), KNOWN).instead == instead
    )


def test_a_statement_that_names_no_topic_may_mean_any_column() -> None:
    error = told("At line 1, column 8", "Column 'paid_att' not found in any table")
    assert (
        planner_problem(error, statement("SELECT paid_att FROM a_view"), KNOWN).instead
        == "did you mean paid_at?"
    )


def test_a_reserved_word() -> None:
    error = java(
        'org.apache.flink.table.api.SqlParserException: SQL parse failed. Encountered "hour" at line 1, '
        'column 8.\nWas expecting one of:\n    "ABS" ...\n    ',
        'org.apache.calcite.sql.parser.SqlParseException: Encountered "hour" at line 1, column 8.',
    )
    problem = planner_problem(error, statement("\nSELECT hour FROM orders"), KNOWN)
    assert problem == Problem(
        "rows.sql",
        2,
        'Encountered "hour" at line 1, column 8.',
        "a comma or an operator in front of it; or `hour` in backticks, where Flink's SQL "
        "reserves a name",
    )


def test_the_deepest_cause_is_told() -> None:
    error = java(
        "org.apache.flink.table.api.ValidationException: SQL validation failed. Outer",
        "java.lang.IllegalArgumentException: Inner one",
    )
    assert planner_problem(error, statement(), KNOWN, "rows").construct == "rows: Inner one"


@pytest.mark.parametrize("error", ["Just words", "\nmore\nJust words\n"])
def test_words_of_no_exception(error: str) -> None:
    assert planner_problem(error, statement(), KNOWN) == Problem(
        "rows.sql", 3, "Just words", "SQL that Flink's planner accepts"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amout", "did you mean amount?"),
        ("AMOUNT", "did you mean amount?"),
        ("Shop_ID", "did you mean shop_id?"),
        ("zzz", ""),
        ("", ""),
        ("shopid", "did you mean shop_id?"),
    ],
)
def test_did_you_mean(name: str, expected: str) -> None:
    assert did_you_mean(name, ("amount", "shop_id", "ordered_at")) == expected


def test_nothing_is_like_anything_where_there_is_nothing() -> None:
    assert did_you_mean("amount", ()) == ""
