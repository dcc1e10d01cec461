"""The job of a release: `flink run -py jobs/run.py --product FOLDER --bindings FILE`, from the release's own archive.

Reads every topic of the product from offset zero and writes all its outputs in one job, so that all tables share one
checkpoint. What it computes is the plan that was checked when the release was built; where it reads and writes is in
the bindings. This module and what it imports are part of what decides a release's rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pyflink.table import TableEnvironment, TableResult

from jobs import wiring
from jobs.bindings import Bindings, read_bindings
from jobs.product.folder import Product, load_release

Planned = tuple[Product, str]
"""A product, and its compiled plan."""


def main(arguments: list[str] | None = None) -> None:
    """Run the release that the product's folder is part of."""
    submit(arguments, archived, __doc__)


def archived(folder: Path) -> Planned:
    """The product of a release, and the plan that was checked."""
    product = load_release(folder.parent)
    if product.resolved is None or not product.resolved.plan:
        raise SystemExit(f"{folder.parent} has no plan: it is no release of this version")
    return product, product.resolved.plan


def submit(arguments: list[str] | None, read: Callable[[Path], Planned], description: str) -> None:
    """Read what to run, bind it, and submit it to Flink."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--product", type=Path, required=True, help="folder with product.yaml, SQL and schemas"
    )
    parser.add_argument(
        "--bindings", type=Path, required=True, help="JSON: log, catalog, branch, checkpoints"
    )
    args = parser.parse_args(arguments)

    product, compiled = read(args.product)
    bindings = read_bindings(args.bindings)
    client = execute(wiring.environment(product), product, compiled, bindings).get_job_client()
    if client is not None:
        sys.stdout.write(f"submitted {bindings.attempt} as job {client.get_job_id()}\n")


def execute(
    env: TableEnvironment, product: Product, compiled: str, bindings: Bindings
) -> TableResult:
    """Bind a product's plan, and submit it to the cluster that the environment is for."""
    wiring.configure_run(env, product, bindings)
    wiring.declare_inputs(env, product, bindings)
    wiring.declare_outputs(env, product, bindings)
    return wiring.run_plan(env, compiled)


if __name__ == "__main__":
    main(sys.argv[1:])
