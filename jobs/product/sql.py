"""SQL files as statements that know where they stand, read as Flink's lexer reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Flink (Calcite, lexical policy JAVA): a quote in a string is doubled and a backslash is a character; both -- and //
# begin a comment. Other lexers differ in these, and what they take for a comment or a string is run by Flink.
_LEXEME = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*|//[^\n]*|/\*(?!\+).*?\*/)
  | (?P<hint>/\*\+|\*/)
  | (?P<text>'(?:[^']|'')*')
  | (?P<name>`(?:[^`]|``)*`|[^\W\d][\w$]*)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<sign><>|<=|>=|!=|\|\||=>|.)
""",
    re.VERBOSE | re.DOTALL,
)


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
    start: int = 0
    """Where it begins in its statement's text."""

    @property
    def word(self) -> str:
        """In upper case, backticks taken off."""
        return self.text.strip("`").upper()

    @property
    def is_name(self) -> bool:
        """Whether it is an identifier or a keyword."""
        return bool(re.match(r"[`\w]", self.text)) and not self.text[0].isdigit()


@dataclass(frozen=True)
class Statement:
    """One statement of a SQL file, without its semicolon."""

    file: Path
    line: int
    """Line of its first character, from 1."""
    text: str
    tokens: tuple[Token, ...]

    @property
    def verb(self) -> str:
        """Its first word in upper case: CREATE, SELECT, …"""
        return self.tokens[0].word if self.tokens else ""

    @property
    def words(self) -> tuple[str, ...]:
        """Its tokens in upper case, backticks taken off."""
        return tuple(t.word for t in self.tokens)

    @property
    def created_view(self) -> str | None:
        """The name in CREATE [TEMPORARY] VIEW name …; None of every other statement, of IF NOT EXISTS and a.b too."""
        match [t.text.upper() for t in self.tokens[:4]]:
            case (
                ["CREATE", "VIEW", "IF", _]
                | ["CREATE", "TEMPORARY", "VIEW", "IF"]
                | ["CREATE", "VIEW", _, "."]
            ):
                return None
            case ["CREATE", "VIEW", *_]:
                return self.tokens[2].text.strip("`")
            case ["CREATE", "TEMPORARY", "VIEW", _] if self.words[4:5] != (".",):
                return self.tokens[3].text.strip("`")
        return None

    def mentions(self, name: str) -> bool:
        """Whether an identifier of this name is in it."""
        return any(t.is_name and t.text.strip("`") == name for t in self.tokens)


def read_statements(file: Path) -> tuple[Statement, ...]:
    """The statements of a file in order; comments do not count as one."""
    # some editors begin a file with a mark
    return split_statements(file, file.read_text(encoding="utf-8-sig"))


def split_statements(file: Path, text: str) -> tuple[Statement, ...]:
    """The statements of a file with this text."""
    return tuple(_split(file, text))


def _split(file: Path, text: str) -> Iterator[Statement]:
    line, begin, begin_line = 1, 0, 1
    tokens: list[Token] = []
    for lexeme in _LEXEME.finditer(text):
        kind, value = lexeme.lastgroup, lexeme.group()
        if value == ";":
            if tokens:
                yield Statement(file, begin_line, text[begin : lexeme.start()], tuple(tokens))
            tokens = []
        elif kind not in ("space", "comment"):
            if not tokens:
                begin, begin_line = lexeme.start(), line
            tokens.append(Token(line, value, lexeme.start() - begin))
        line += value.count("\n")
    if tokens:
        yield Statement(file, begin_line, text[begin:].rstrip(), tuple(tokens))


def select_lists(statement: Statement) -> tuple[int, ...]:
    """Where the select lists of a query's outermost SELECTs begin: several of UNION ALL, none in parentheses."""
    depth, found = 0, []
    for i, token in enumerate(statement.tokens):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.text.upper() == "SELECT":
            behind = statement.tokens[i + 1 : i + 2]
            last = behind[0] if behind and behind[0].text.upper() in ("ALL", "DISTINCT") else token
            found.append(last.start + len(last.text))
    return tuple(found)


def with_first_columns(statement: Statement, expressions: str) -> str:
    """The query with further columns in front of those of each outermost SELECT, on the same line."""
    text = statement.text
    for place in reversed(select_lists(statement)):
        text = f"{text[:place]} {expressions},{text[place:]}"
    return text


def quoted(name: str) -> str:
    """An identifier that no reserved word can be."""
    return f"`{name.replace('`', '``')}`"


def literal(text: str) -> str:
    """A string literal."""
    return "'{}'".format(text.replace("'", "''"))
