"""What Flink's planner refused, as a problem with file, line and expression, and what was probably meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jobs.product.names import did_you_mean
from jobs.product.sql import Statement
from jobs.safety.problem import Problem

_POSITION = re.compile(r"(?:From|At|at) line (\d+), column (\d+)(?: to line (\d+), column (\d+))?")
_CAUSE = re.compile(r"^(?:Caused by: )?[\w.:$ ]*(?:Exception|Error): (.*\S)", re.MULTILINE)
_COLUMN = re.compile(r"Column '([^']+)' not found in (?:any table|table '([^']+)')")
_OBJECT = re.compile(r"Object '([^']+)' not found")
_FUNCTION = re.compile(
    r"(?:No match found for function signature |Invalid function call:\n?)(\w+)\("
)
_ENCOUNTERED = re.compile(r'Encountered "(\w+)"')
_INTERVAL = re.compile(r"exceeds precision of (\w+)")
_GROUPED = re.compile(r"Expression '([^']+)' is not being grouped")


def planner_problem(error: str, statement: Statement, known: Known, output: str = "") -> Problem:
    """The planner's error about one statement as a problem; `output` is the table that the statement fills."""
    causes = _CAUSE.findall(error)
    reason = (causes[-1] if causes else error.strip().splitlines()[-1]).strip()
    if "SQL validation failed" in reason or "SQL parse failed" in reason:
        reason = re.sub(r"^SQL (?:validation|parse) failed\.? ?", "", reason)
    position = _POSITION.search(error)
    line, expression = _place(statement, position) if position else (statement.line, "")
    reason = re.sub(r"^From line \d+, column \d+ to line \d+, column \d+: ", "", reason)
    said = f"{output}: {reason}" if output else reason
    if expression and expression not in said:
        said += f"  in: {expression}"
    return Problem(str(statement.file), line, said, _advice(error, reason, statement, known))


class Known:
    """Names that SQL may use: of topics and views with their columns, and of functions with their signatures."""

    def __init__(self, tables: Mapping[str, Sequence[str]], functions: Mapping[str, str]) -> None:
        self.tables, self.functions = tables, functions

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for columns in self.tables.values() for c in columns))

    def columns_for(self, statement: Statement) -> tuple[str, ...]:
        """Columns of the tables that a statement mentions; of all tables if it mentions none."""
        mentioned = [
            c for name, columns in self.tables.items() if statement.mentions(name) for c in columns
        ]
        return tuple(dict.fromkeys(mentioned)) or self.columns


def _advice(error: str, reason: str, statement: Statement, known: Known) -> str:  # noqa: C901 - one case for each message of the planner
    if match := _COLUMN.search(reason):
        columns = known.columns_for(statement)
        if match[1] in columns:  # of a topic, though not of what this SELECT reads
            return f"{match[1]} in the views and inner SELECTs on the way, or one of the columns that they have"
        return did_you_mean(match[1], columns) or f"one of {', '.join(columns)}"
    if match := _OBJECT.search(reason):
        names = tuple(known.tables)
        return did_you_mean(match[1], names) or f"a topic or a view: {', '.join(names)}"
    if "Table 'EXPR$" in reason:
        return "a name for what FROM has: MATCH_RECOGNIZE (…) AS m"
    if match := _FUNCTION.search(error):
        name = match[1]
        if name in known.functions:
            return f"its arguments are {known.functions[name]}"
        own = ", ".join(known.functions) or "none"
        return did_you_mean(name, tuple(known.functions)) or (
            f"a function of Flink, or one that the product has: {own}; T_at() is there for a topic with a key"
        )
    if match := _GROUPED.search(reason):
        return f"add {match[1]} to GROUP BY, or aggregate it"
    if match := _ENCOUNTERED.search(error):
        word = match[1]
        return f"a comma or an operator in front of it; or `{word}` in backticks, where Flink's SQL reserves a name"
    if "exceeds precision of" in reason and (interval := _INTERVAL.search(reason)):
        return f"INTERVAL … {interval[1]}(3), for a number of three digits"
    if "time attribute" in reason.lower() or "timecol" in reason.lower():
        return "DESCRIPTOR of the topic's time, as product.yaml names it; behind a window, of window_time"
    if "time travel expression" in reason:
        return "FOR SYSTEM_TIME AS OF <event time>, or, of a topic with a key, LATERAL TABLE(T_at(<event time>, <key>))"
    if "Could not parse type" in reason:
        return "a type in returns of product.yaml; a name that Flink reserves in backticks: ROW<`zone` STRING>"
    if "same window" in reason and "OVER" in reason:
        return (
            "one OVER window in a SELECT: make a view of the one, with log_partition and log_offset, and read it in "
            "the other"
        )
    return "SQL that Flink's planner accepts"


def _place(statement: Statement, position: re.Match[str]) -> tuple[int, str]:
    """The line in the file, and the expression there."""
    line, column = int(position[1]), int(position[2])
    lines = statement.text.splitlines()
    if not 1 <= line <= len(lines):  # of SQL that Flink made of it
        return statement.line, ""
    first = statement.line + line - 1
    if position[3] is None:
        return first, ""
    to_line, to_column = int(position[3]), int(position[4])
    if to_line != line:
        return first, lines[line - 1][column - 1 :].strip()
    return first, lines[line - 1][column - 1 : to_column].strip()
