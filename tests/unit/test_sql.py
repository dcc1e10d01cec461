"""SQL files as statements with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.sql import Statement, StatementError, read_statements


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.sql"


def read(file: Path, text: str) -> tuple[Statement, ...]:
    file.write_text(text)
    return read_statements(file)


def test_statements_know_their_lines(file: Path) -> None:
    first, second = read(file, "-- of orders\n\nCREATE VIEW a AS\nSELECT 1;\n\n"
                               "/* two\n lines */ INSERT INTO b\nSELECT 2;\n")
    assert (first.verb, first.line) == ("CREATE", 3)
    assert (second.verb, second.line) == ("INSERT", 7)
    assert [t.line for t in second.tokens] == [7, 7, 7, 8, 8]
    assert (first.file, second.file) == (file, file)


@pytest.mark.parametrize("text", ["", ";\n;", "-- nothing\n", "/* ; */"])
def test_no_statement(file: Path, text: str) -> None:
    assert read(file, text) == ()


def test_the_last_semicolon_may_be_missing(file: Path) -> None:
    assert [s.text for s in read(file, "SELECT 1;\nSELECT 2")] == ["SELECT 1", "SELECT 2"]


def test_a_semicolon_in_a_string_or_comment_ends_nothing(file: Path) -> None:
    (statement,) = read(file, "SELECT ';' -- ; not here\n, 'it''s; fine';")
    assert statement.words[1:] == ("';'", ",", "'IT''S; FINE'")


def test_comments_are_no_tokens(file: Path) -> None:
    (statement,) = read(file, "SELECT a -- NOW()\n/* UUID() */ FROM b;")
    assert statement.words == ("SELECT", "A", "FROM", "B")


def test_words_are_upper_case_without_backticks(file: Path) -> None:
    (statement,) = read(file, "select `hour` from Orders;")
    assert statement.words == ("SELECT", "HOUR", "FROM", "ORDERS")


def test_hints_are_read_although_they_look_like_comments(file: Path) -> None:
    (statement,) = read(file, "SELECT\n/*+ STATE_TTL('a' =\n '1d') */ x FROM t;")
    assert statement.words == ("SELECT", "STATE_TTL", "(", "'A'", "=", "'1D'", ")", "X", "FROM", "T")
    assert [t.line for t in statement.tokens if t.text in ("STATE_TTL", "'1d'", "x")] == [2, 3, 3]


@pytest.mark.parametrize(("text", "table"), [
    ("CREATE TABLE orders (a INT)", "orders"), ("create table `orders` (a INT)", "orders"),
    ("CREATE VIEW orders AS SELECT 1", None), ("INSERT INTO orders SELECT 1", None), ("SELECT 1", None),
])
def test_created_table(file: Path, text: str, table: str | None) -> None:
    (statement,) = read(file, text)
    assert statement.created_table == table


@pytest.mark.parametrize(("text", "table"), [
    ("INSERT INTO orders (a) SELECT 1", "orders"), ("insert into `orders` SELECT 1", "orders"),
    ("CREATE TABLE orders (a INT)", None), ("SELECT 1", None),
])
def test_inserted_table(file: Path, text: str, table: str | None) -> None:
    (statement,) = read(file, text)
    assert statement.inserted_table == table


def test_a_refused_statement_is_named(file: Path) -> None:
    (statement,) = read(file, "\nINSERT INTO a SELECT b;")
    assert str(StatementError(statement)) == f"{file}:2: INSERT was refused"
