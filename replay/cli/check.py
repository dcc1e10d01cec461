"""`kappa check`: what Flink's planner says of a product's folder."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from jobs.product.folder import Product, with_resolved
from jobs.product.model import Resolved
from replay.cli import resolve as run_resolve
from replay.errors import KappaError, RefusedError, RetryableError
from replay.flink import resolved
from replay.home import kappa_home
from replay.output import Output, busy, out, print_json, print_rows, waiting
from replay.releases.folders import read_product
from replay.settings import Settings, load_settings

if TYPE_CHECKING:
    from replay.kafka import schemas

WATCH_SECONDS = 0.3
"""Between two looks at a folder's files."""
_LATER = ("replay.checks.gate", "replay.kafka.schemas")
"""Modules for what comes after the planner: they take as long as it does, and are imported while it is at work."""


def check(folder: Path, output: Output) -> None:
    """Print what the planner says, and what follows from the SQL; exit code 1 if it must not be deployed."""
    settings = load_settings() if (kappa_home() / "config.yaml").exists() else None
    product = read_product(folder)
    threading.Thread(target=_import_later, daemon=True).start()
    if output is Output.json:
        with busy(run_resolve.ASKING):
            answer = resolved.ask(settings, folder)
        if answer["ok"]:
            _validate(with_resolved(product, Resolved.model_validate(answer["resolved"])))
        compared, unknown = compared_schemas(settings, product)
        found = [
            {"topic": c.topic, "kind": c.kind.value, "what": c.what, "next": c.next}
            for c in compared
        ]
        print_json({**answer, "schemas": found, "schemas_not_compared": unknown})
        raise typer.Exit(0 if answer["ok"] else 1)
    product = run_resolve.resolve(settings, product)
    _validate(product)
    print_rows(output_rows(product), output, title=f"{folder}: safe to replay")
    if product.longest_wait:
        out.print(
            f"a row waits for at most {product.longest_wait:,.0f} s of the log's clock",
        )
    compared, unknown = compared_schemas(settings, product)
    for comparison in compared:
        out.print(comparison.line)
    if unknown:
        out.print(f"schemas were not compared with the registry's: {unknown}", style="dim")


def watch(folder: Path, output: Output, sleep: Callable[[float], None] = time.sleep) -> None:
    """Check the folder, and again whenever a file of it has changed, until Ctrl-C. What is refused is shown, and ends
    nothing; KappaError only when there is no such folder."""
    if not folder.is_dir():
        read_product(folder)
    try:
        while True:
            before, began = _stamps(folder), time.monotonic()
            passed = _checked(folder, output)
            if output is Output.text:
                result = "passed" if passed else "refused"
                took = f"{datetime.now(UTC):%H:%M:%S} {result} in {time.monotonic() - began:.1f} s"
                out.print(f"{took}; waiting for a change in {folder} (Ctrl-C ends)", style="dim")
            while _stamps(folder) == before:
                sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _checked(folder: Path, output: Output) -> bool:
    try:
        check(folder, output)
    except typer.Exit as e:
        return e.exit_code == 0
    except KappaError as e:
        if output is Output.json:
            print_json(e.as_dict())
        else:
            out.print(Text.assemble(("error: ", "bold red"), str(e)))
        return False
    return True


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Time of the last change and size of each file; files and folders may go at any moment."""
    found = {}
    for where, _, names in os.walk(folder):
        for file in (os.path.join(where, name) for name in names):
            with suppress(OSError):
                stat = os.stat(file)
                found[file] = (stat.st_mtime_ns, stat.st_size)
    return found


def _import_later() -> None:
    for module in _LATER:
        importlib.import_module(module)


def _validate(product: Product) -> None:
    with waiting("trying its checks on empty tables"):
        from replay.checks import gate

        gate.validate(product)


def compared_schemas(
    settings: Settings | None, product: Product
) -> tuple[list[schemas.Comparison], str]:
    """Schemas that differ from the registry's, and why they could not be compared, if so.

    RefusedError for one that does not read what is in the log. One that is not registered is only named: its topic may
    be made later.
    """
    from replay.kafka import schemas

    if settings is None:
        return [], "there is no stack"
    try:
        with waiting("comparing schemas with the registry's"):
            compared = schemas.compare(settings, product)
        found = [c for c in compared if c.kind is not schemas.Kind.equal]
    except RetryableError as e:
        return [], e.message
    for comparison in found:
        if comparison.kind is schemas.Kind.incompatible:
            raise RefusedError(
                f"the schema of {comparison.topic} does not fit the log",
                expected=comparison.expected,
                found=comparison.what,
                next=comparison.next,
            )
    return found, ""


def output_rows(product: Product) -> list[dict[str, Any]]:
    """What is known of each output: kind, key, window."""
    return [
        {
            "table": name,
            "kind": output.kind.value,
            "of": ", ".join(output.of),
            "key": ", ".join(output.key or product.identity(output)),
            "window": f"{output.window.size} from {output.window.column}" if output.window else "",
            "columns": len(output.columns),
        }
        for name, output in product.outputs.items()
    ]
