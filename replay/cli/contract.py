"""What `kappa contract` does, apart from its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType

from jobs.product.contract import compare
from jobs.product.contract_changes import ContractChange, breaking, changes
from jobs.product.folder import Product
from replay.cli import resolve as run_resolve
from replay.cli.hints import with_folder
from replay.home import kappa_home
from replay.output import Output, View, rows_table, show
from replay.releases import contracts
from replay.releases.folders import read_product
from replay.releases.release import find_folder
from replay.settings import load_settings


def contract(
    name: str,
    source: Path | None,
    *,
    write: bool,
    check: bool,
    against: Path | None,
    output: Output,
) -> None:
    """Compare a product's contract with its outputs; write it; find what breaks those who rely on the one before.

    Exit code 1 where the contract is not what the SQL gives, or a change is breaking.
    """
    product = resolve(find_folder(name, source))
    file = product.folder / contracts.FILE
    document: dict[str, Any] = {"product": product.name, "file": str(file)}
    if write:
        text, document["written"] = contracts.written(file, product)
        if document["written"]:
            file.write_text(text)
    said = contracts.read(file) if file.exists() else {}
    compared = compare(said, contracts.tables_of(product))
    mismatches = [m for m in compared if not m.left_out]
    document["mismatches"] = [asdict(m) for m in mismatches]
    document["left_out"] = [m.where for m in compared if m.left_out]
    found = _changes(product, said, against) if check else []
    if check:
        document["changes"] = [asdict(c) for c in found]
        document["breaking"] = breaking(found)
    command = with_folder(f"kappa contract {name}", name, source)
    shown = list(_text(document, found, check=check, command=command))
    show(View(document, shown), output)
    if mismatches or breaking(found):
        raise typer.Exit(1)


def resolve(folder: Path) -> Product:
    """The product with what Flink's planner says of its SQL."""
    settings = load_settings() if (kappa_home() / "config.yaml").exists() else None
    return run_resolve.resolve(settings, read_product(folder))


def _changes(product: Product, said: dict[str, Any], against: Path | None) -> list[ContractChange]:
    before = contracts.read(against) if against else contracts.in_git_head(product.folder)
    return changes(before, said) if before else []


def _text(
    document: dict[str, Any], found: list[ContractChange], *, check: bool, command: str
) -> Iterator[RenderableType]:
    file = document["file"]
    for line in document.get("written", ()):
        yield f"{file}: {line}"
    if document["mismatches"]:
        yield rows_table(
            [
                {"": m["where"], "the SELECT": m["expected"], "the contract": m["found"]}
                for m in document["mismatches"]
            ],
            title=f"{file} is not what the SQL gives",
        )
    elif Path(file).exists():
        yield f"{file} is what the SQL gives"
        if left_out := document["left_out"]:
            follow = f"{command} --write adds them"
            yield f"it does not describe {', '.join(left_out)}: {follow}"
    else:
        yield f"there is no {file}: {command} --write makes one"
    if check and found:
        yield rows_table(
            [{"": c.level.value, "what": c.where, "how": c.what, "rule": c.rule} for c in found],
            title="breaking" if breaking(found) else "nothing of it is breaking",
        )
    elif check:
        yield "nothing has changed for those who rely on it"
