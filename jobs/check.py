"""Ask Flink's own planner about a product: `python -m jobs.check FOLDER --json`. Connects to nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from jobs.processes import restart_with_environment
from jobs.product.folder import ProductError, load_product
from jobs.safety.problem import Problem


def check(folder: Path) -> dict[str, Any]:
    """{"ok", "problems", "resolved", "plan"}: what is refused, else what is known of the outputs."""
    try:
        product = load_product(folder)
        from jobs.planner.resolve import resolve  # a JVM starts: only for a folder that can be read

        answer = resolve(product)
    except ProductError as e:
        return _refused(Problem(str(e.file), 0, e.found, e.expected))
    except Exception as e:  # noqa: BLE001 - whatever Flink or the import of a function says is the answer
        return _refused(
            Problem(str(folder), 0, f"{type(e).__name__}: {e}", "SQL that Flink's planner accepts")
        )
    return {
        "ok": not answer.problems,
        "problems": [p.as_dict() for p in answer.problems],
        "resolved": answer.resolved.model_dump(mode="json", exclude={"plan"})
        if answer.resolved
        else None,
        "plan": answer.plan,
    }


def _refused(problem: Problem) -> dict[str, Any]:
    return {"ok": False, "problems": [problem.as_dict()], "resolved": None, "plan": ""}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the product may be deployed."""
    parser = argparse.ArgumentParser(prog="python -m jobs.check", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what a product's modules print when they are imported is no answer
        answer = check(args.folder)
        if args.json:
            out.write(json.dumps(answer) + "\n")
        else:
            for p in answer["problems"]:
                out.write(
                    f"{p['file']}:{p['line']}: {p['construct']}\n  write instead: {p['instead']}\n"
                )
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    restart_with_environment(["-m", "jobs.check", *sys.argv[1:]])
    sys.exit(main())
