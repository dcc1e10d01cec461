"""SQL files as statements with their lines, lexed as Flink lexes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.product.sql import (
    Statement,
    StatementError,
    literal,
    quoted,
    read_statements,
    select_lists,
    split_statements,
    with_first_columns,
)

FILE = Path("some.sql")


def read(text: str) -> tuple[Statement, ...]:
    return split_statements(FILE, text)


def one(text: str) -> Statement:
    (statement,) = read(text)
    return statement


def texts(text: str) -> list[str]:
    return [t.text for t in one(text).tokens]


def test_statements_know_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "some.sql"
    file.write_text(
        "-- of orders\n\nCREATE VIEW a AS\nSELECT 1;\n\n/* two\n lines */ SELECT b,\n2;\n"
    )
    first, second = read_statements(file)
    assert (first.verb, first.line) == ("CREATE", 3)
    assert (second.verb, second.line) == ("SELECT", 7)
    assert [t.line for t in second.tokens] == [7, 7, 7, 8]
    assert (first.file, second.file) == (file, file)


def test_lines_behind_a_string_of_several(tmp_path: Path) -> None:
    statement = one("SELECT 'a\nb',\n`c\nd`,\ne")
    assert [(t.text, t.line) for t in statement.tokens if t.text != ","] == [
        ("SELECT", 1),
        ("'a\nb'", 1),
        ("`c\nd`", 3),
        ("e", 5),
    ]


@pytest.mark.parametrize("text", ["", ";\n;", "-- nothing\n", "// nothing", "/* ; */", "/* ' */"])
def test_no_statement(text: str) -> None:
    assert read(text) == ()


def test_the_last_semicolon_may_be_missing() -> None:
    assert [s.text for s in read("SELECT 1;\nSELECT 2\n")] == ["SELECT 1", "SELECT 2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("';' -- ; not here\n, 'it''s; fine'", ["';'", ",", "'it''s; fine'"]),
        ("a -- NOW()\n/* UUID() */ b", ["a", "b"]),
        ("a // NOW(); 'it'\n, b", ["a", ",", "b"]),
        ("'--', '//', '/*', x '*/'", ["'--'", ",", "'//'", ",", "'/*'", ",", "x", "'*/'"]),
        ("'\\', now() -- '", ["'\\'", ",", "now", "(", ")"]),
        ("'\\'';', x", ["'\\'';'", ",", "x"]),
        ("'' , x", ["''", ",", "x"]),
        ("`a`` -- ; b`, `'`", ["`a`` -- ; b`", ",", "`'`"]),
        ("/* a /* b */ c", ["c"]),
        ("/* -- */ c", ["c"]),
        ("/**/ c", ["c"]),
        ("-- /* \n c -- */", ["c"]),
        ("a/b", ["a", "/", "b"]),
        ("a - -b", ["a", "-", "-", "b"]),
        ("a <> 1.5e-3 || b$c", ["a", "<>", "1.5e-3", "||", "b$c"]),
        ("a.b[1] => größe", ["a", ".", "b", "[", "1", "]", "=>", "größe"]),
    ],
    ids=[
        "semicolons",
        "comments",
        "slashes",
        "comment signs in strings",
        "a backslash is a character",
        "a backslash before a doubled quote",
        "an empty string",
        "backticks are doubled",
        "comments do not nest",
        "a line comment in a block",
        "an empty comment",
        "a block in a line comment",
        "a division",
        "minus of minus",
        "numbers and signs",
        "places and letters",
    ],
)
def test_tokens_are_those_of_flink(text: str, expected: list[str]) -> None:
    assert texts(f"SELECT {text};")[1:] == expected


def test_a_statement_goes_on_behind_a_slash_comment() -> None:
    """For a lexer that does not know // the quote in it would open a string, and the second statement be part of it."""
    assert [s.verb for s in read("SELECT 1 // it's\n; DROP x; // it's\nSELECT 2")] == [
        "SELECT",
        "DROP",
        "SELECT",
    ]


def test_hints_are_read_although_they_look_like_comments() -> None:
    statement = one("SELECT\n/*+ STATE_TTL('a' =\n '1d') */ x FROM t;")
    assert statement.words == (
        "SELECT",
        "/*+",
        "STATE_TTL",
        "(",
        "'A'",
        "=",
        "'1D'",
        ")",
        "*/",
        "X",
        "FROM",
        "T",
    )
    assert [t.line for t in statement.tokens if t.text in ("STATE_TTL", "'1d'", "x")] == [2, 3, 3]


def test_tokens_know_where_they_begin() -> None:
    statement = one("-- first\n  SELECT `a` /* b */ FROM t")
    assert (
        [statement.text[t.start : t.start + len(t.text)] for t in statement.tokens]
        == [t.text for t in statement.tokens]
        == ["SELECT", "`a`", "FROM", "t"]
    )


def test_words_are_upper_case_without_backticks() -> None:
    assert one("select `hour` from Orders;").words == ("SELECT", "HOUR", "FROM", "ORDERS")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CREATE VIEW orders AS SELECT 1", "orders"),
        ("create temporary view `My View` AS SELECT 1", "My View"),
        ("CREATE TEMPORARY TABLE orders (a INT)", None),
        ("CREATE FUNCTION view AS 'x'", None),
        ("INSERT INTO orders SELECT 1", None),
        ("SELECT 1", None),
        ("CREATE", None),
    ],
)
def test_created_view(text: str, name: str | None) -> None:
    assert one(text).created_view == name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT orders FROM t", True),
        ("SELECT a.`orders` FROM t", True),
        ("SELECT 'orders' FROM t", False),
        ("SELECT a FROM t -- orders", False),
        ("SELECT a FROM orders_at", False),
        ("SELECT a FROM Orders", False),
    ],
)
def test_mentions(text: str, found: bool) -> None:
    assert one(text).mentions("orders") is found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT a FROM t", "SELECT x, a FROM t"),
        ("select\n  a\nFROM t", "select x,\n  a\nFROM t"),
        ("SELECT * FROM t", "SELECT x, * FROM t"),
        ("SELECT DISTINCT a FROM t", "SELECT DISTINCT x, a FROM t"),
        ("SELECT ALL a FROM t", "SELECT ALL x, a FROM t"),
        (
            "SELECT a FROM t UNION ALL SELECT b FROM u",
            "SELECT x, a FROM t UNION ALL SELECT x, b FROM u",
        ),
        ("SELECT a FROM (SELECT b AS a FROM t)", "SELECT x, a FROM (SELECT b AS a FROM t)"),
        (
            "WITH w AS (SELECT b FROM t) SELECT a FROM w",
            "WITH w AS (SELECT b FROM t) SELECT x, a FROM w",
        ),
        (
            "SELECT (SELECT MAX(b) FROM u), `select`, 'SELECT' FROM t",
            "SELECT x, (SELECT MAX(b) FROM u), `select`, 'SELECT' FROM t",
        ),
        ("SELECT -- SELECT\n a FROM t", "SELECT x, -- SELECT\n a FROM t"),
    ],
    ids=[
        "one",
        "lower case",
        "star",
        "distinct",
        "all",
        "union all",
        "sub-query",
        "with",
        "scalar sub-query",
        "comment",
    ],
)
def test_further_columns_go_to_the_outermost_select_lists(text: str, expected: str) -> None:
    assert with_first_columns(one(text), "x") == expected


def test_a_query_in_parentheses_has_no_outermost_select_list() -> None:
    statement = one("(SELECT a FROM t)")
    assert select_lists(statement) == ()
    assert with_first_columns(statement, "x") == statement.text


def test_lines_stay_when_columns_are_added() -> None:
    text = "SELECT a,\n  b\nFROM t"
    assert with_first_columns(one(text), "`x`, `y`").count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("name", "expected"), [("order", "`order`"), ("a`b", "`a``b`"), ("it's", "`it's`")]
)
def test_quoted(name: str, expected: str) -> None:
    assert quoted(name) == expected
    assert texts(expected) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "'a'"), ("it's", "'it''s'"), ("a\\", "'a\\'"), ("", "''")]
)
def test_literal(text: str, expected: str) -> None:
    assert literal(text) == expected
    assert texts(expected) == [expected]


def test_a_refused_statement_is_named() -> None:
    (statement,) = read("\nSELECT b;")
    assert str(StatementError(statement)) == "some.sql:2: SELECT was refused"
