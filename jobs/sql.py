"""SQL files as statements that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlparse
from sqlparse.tokens import Comment, Whitespace


class StatementError(Exception):
    """A statement that Flink refused, with the planner's own words as the cause."""

    def __init__(self, statement: Statement) -> None:
        super().__init__(f"{statement.file}:{statement.line}: {statement.verb} was refused")
        self.statement = statement


@dataclass(frozen=True)
class Token:
    """One lexical token that is neither space nor comment."""

    line: int
    text: str


@dataclass(frozen=True)
class Statement:
    """One statement of a SQL file, without its semicolon."""

    file: Path
    line: int
    """Line of its first token, from 1."""
    text: str
    tokens: tuple[Token, ...]

    @property
    def verb(self) -> str:
        """Its first word in upper case: CREATE, INSERT, …"""
        return self.tokens[0].text.upper()

    @property
    def words(self) -> tuple[str, ...]:
        """Its tokens in upper case, backticks taken off."""
        return tuple(t.text.strip("`").upper() for t in self.tokens)

    @property
    def created_table(self) -> str | None:
        """The name in CREATE TABLE name …, None for every other statement."""
        is_table = [t.text.upper() for t in self.tokens[:2]] == ["CREATE", "TABLE"]
        return self.tokens[2].text.strip("`") if is_table else None

    @property
    def inserted_table(self) -> str | None:
        """The name in INSERT INTO name …, None for every other statement."""
        return self.tokens[2].text.strip("`") if self.verb == "INSERT" else None


def _tokens(line: int, kind: Any, value: str) -> Iterator[Token]:
    """What a lexical token counts as: nothing for space and comments, all that it says for a hint (`/*+ … */`)."""
    if kind in Comment.Multiline.Hint:
        for inner, text in sqlparse.lexer.tokenize(value.removeprefix("/*+").removesuffix("*/")):
            yield from _tokens(line, inner, text)
            line += text.count("\n")
    elif kind not in Comment and kind not in Whitespace:
        yield Token(line, value)


def read_statements(file: Path) -> tuple[Statement, ...]:
    """The statements of a file in order; comments do not count as one."""
    statements: list[Statement] = []
    tokens: list[Token] = []
    line, text = 1, ""
    for kind, value in sqlparse.lexer.tokenize(file.read_text()):
        if value == ";" and tokens:
            statements.append(Statement(file, tokens[0].line, text.strip(), tuple(tokens)))
            text, tokens = "", []
        elif value != ";":
            text += value
            tokens.extend(_tokens(line, kind, value))
        line += value.count("\n")
    if tokens:
        statements.append(Statement(file, tokens[0].line, text.strip(), tuple(tokens)))
    return tuple(statements)
