"""The job: `flink run -py jobs/pipeline.py --product FOLDER --bindings FILE`.

Reads every topic of the product from offset zero and writes all its outputs in one statement set, so that all tables
share one checkpoint. What it reads and writes is in the product's folder; where, in the bindings.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jobs import wiring
from jobs.bindings import Bindings
from jobs.plan import parse_plan
from jobs.problem import Problem
from jobs.product import Product, load_product, load_release
from jobs.resolve import resolve
from jobs.safety import check_plan, check_statements


def main(arguments: list[str] | None = None) -> None:
    """Check, bind, submit. SystemExit names the first construct that is not safe to replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--product", type=Path, required=True, help="folder with product.yaml, SQL and schemas")
    parser.add_argument("--bindings", type=Path, required=True, help="JSON: log, catalog, branch, checkpoints")
    args = parser.parse_args(arguments)

    product = read(args.product)
    bindings = Bindings.model_validate_json(args.bindings.read_text())
    env = wiring.environment(product)
    wiring.configure_run(env, product, bindings)
    wiring.declare_inputs(env, product, bindings)
    wiring.declare_outputs(env, product, bindings)
    inserts = wiring.inserts(env, product)
    compiled = inserts._j_statement_set.compilePlan().asJsonString()
    refuse([*check_statements(product), *check_plan(product, parse_plan(compiled))])
    result = inserts.execute()
    client = result.get_job_client()
    if client is not None:
        sys.stdout.write(f"submitted {bindings.attempt} as job {client.get_job_id()}\n")


def read(folder: Path) -> Product:
    """An archived release with what the planner said of it; of a folder anywhere else, the planner is asked now."""
    if (folder.parent / "resolved.json").is_file():
        return load_release(folder.parent)
    product = load_product(folder)
    answer = resolve(product)
    refuse(answer.problems)
    return product.model_copy(update={"resolved": answer.resolved})


def refuse(problems: list[Problem] | tuple[Problem, ...]) -> None:
    """SystemExit that names the first problem."""
    if problems:
        first = problems[0]
        raise SystemExit(
            f"{first.file}:{first.line}: {first.construct} is not safe to replay; write instead: {first.instead}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
