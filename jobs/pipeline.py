"""The job of a folder anywhere: `flink run -py jobs/pipeline.py --product FOLDER --bindings FILE`.

What is not safe to replay does not run. The folder of a release was checked when that was built, and jobs/run.py of the
release's archive runs the plan of then; this runs it as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobs import run
from jobs.planner.resolve import resolve
from jobs.product.folder import load_product


def main(arguments: list[str] | None = None) -> None:
    """Check, bind, submit. SystemExit names the first construct that is not safe to replay."""
    run.submit(arguments, planned, __doc__)


def planned(folder: Path) -> run.Planned:
    """A product that may run, and its plan. SystemExit names what is not safe."""
    if (folder.parent / "resolved.json").is_file():
        return run.archived(folder)
    product = load_product(folder)
    answer = resolve(product)
    if answer.problems:
        first = answer.problems[0]
        raise SystemExit(
            f"{first.file}:{first.line}: {first.construct} is not safe to replay; write instead: {first.instead}"
        )
    return product.model_copy(update={"resolved": answer.resolved}), answer.plan


if __name__ == "__main__":
    main(sys.argv[1:])
