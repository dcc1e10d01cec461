"""Check a product with Flink's own planner: `python -m jobs.check FOLDER --json`. Connects to nothing."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from jobs.product import Product, ProductError, load_product
from jobs.safety import Problem, check_plan, check_text
from jobs.sql import Statement, StatementError, read_statements


def check(folder: Path) -> tuple[tuple[Problem, ...], str]:
    """Problems, and the plan where the planner could make one."""
    try:
        product = load_product(folder)
    except ProductError as e:
        return (Problem(str(e.file), 0, e.found, e.expected),), ""
    statements = product_statements(product)
    problems = tuple(check_text(product, statements))
    if problems:
        return problems, ""
    try:
        plan = explain(product)
    except Exception as e:  # noqa: BLE001 - whatever the planner or the import of a function says is the answer
        return (_planner_problem(product, e),), ""
    return tuple(check_plan(product, plan)), plan


def product_statements(product: Product) -> tuple[Statement, ...]:
    """Every statement of the product, in the order in which the job runs them."""
    return tuple(s for file in (product.sources_sql, *product.output_sql) for s in read_statements(file))


def explain(product: Product) -> str:
    """Flink's plan of the whole statement set, with changelog modes."""
    from pyflink.table import ExplainDetail  # a JVM starts: only where a plan is asked for

    from jobs.bindings import declare, environment

    return str(declare(environment(product), product, None).explain(ExplainDetail.CHANGELOG_MODE))


def _planner_problem(product: Product, error: Exception) -> Problem:
    """What the planner refused, at the line of its statement where that is known."""
    statement = error.statement if isinstance(error, StatementError) else None
    text = str(error.__cause__ if statement and error.__cause__ else error)
    causes = re.findall(r"^(?:Caused by: )?[\w.:$ ]*(?:Exception|Error): (.*\S)", text, re.MULTILINE)
    reason = causes[-1] if causes else text.strip().splitlines()[-1]
    if statement is None:
        return Problem(str(product.folder), 0, reason, "SQL that Flink's planner accepts")
    position = re.search(r"(?:[Ff]rom|[Aa]t) line (\d+), column", text)
    first = statement.line - statement.text[: statement.text.find(statement.tokens[0].text)].count("\n")
    line = first + int(position[1]) - 1 if position else statement.line
    return Problem(str(statement.file), line, reason, "SQL that Flink's planner accepts")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the product may be deployed."""
    parser = argparse.ArgumentParser(prog="python -m jobs.check", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    problems, plan = check(args.folder)
    if args.json:
        result: dict[str, Any] = {"ok": not problems, "problems": [p.as_dict() for p in problems], "plan": plan}
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        for p in problems:
            sys.stdout.write(f"{p.file}:{p.line}: {p.construct}\n  write instead: {p.instead}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
