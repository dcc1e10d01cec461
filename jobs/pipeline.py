"""The job: `flink run -py jobs/pipeline.py --product FOLDER --bindings FILE`.

Reads every topic of the product from offset zero and writes all its outputs in one statement set, so that all tables
share one checkpoint. What it reads and writes is in the product's SQL; where, in the bindings.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pyflink.table import ExplainDetail

from jobs.bindings import Bindings, configure_run, declare, environment
from jobs.check import product_statements
from jobs.product import load_product
from jobs.safety import check_plan, check_text


def main(arguments: list[str] | None = None) -> None:
    """Check, bind, submit. SystemExit names the first construct that is not safe to replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--product", type=Path, required=True, help="folder with product.yaml, contract.yaml and SQL")
    parser.add_argument("--bindings", type=Path, required=True, help="JSON: log, catalog, branch, checkpoints")
    args = parser.parse_args(arguments)

    product = load_product(args.product)
    bindings = Bindings.model_validate_json(args.bindings.read_text())
    env = environment(product)
    configure_run(env, product, bindings)
    inserts = declare(env, product, bindings)
    plan = inserts.explain(ExplainDetail.CHANGELOG_MODE)
    problems = [*check_text(product, product_statements(product)), *check_plan(product, plan)]
    if problems:
        first = problems[0]
        raise SystemExit(f"{first.file}:{first.line}: {first.construct} is not safe to replay; "
                         f"write instead: {first.instead}")
    result = inserts.execute()
    client = result.get_job_client()
    if client is not None:
        sys.stdout.write(f"submitted {bindings.attempt} as job {client.get_job_id()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
