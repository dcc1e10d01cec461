"""Arguments and options that several commands for products have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replay import completion

Name = Annotated[
    str,
    typer.Argument(help="name of a product, such as flights", autocompletion=completion.products),
]
Source = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="the product's folder; by default sql/NAME, or where it was deployed from last",
    ),
]
FromGit = Annotated[
    str | None,
    typer.Option(
        "--from-git",
        metavar="REF",
        help="the product's folder, and udfs/, as of a commit, a branch or a tag; the working tree is not touched",
    ),
]

ParallelismOption = Annotated[
    int | None, typer.Option(min=1, help="subtasks of the job; by default as in product.yaml")
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would be done")]
To = Annotated[
    str | None, typer.Argument(help="a release, such as r1, or an attempt, such as r1-a2")
]
