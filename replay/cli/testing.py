"""`kappa test`: run tests of a product's SQL, and show what is not as expected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from jobs.product.folder import TESTS, Product
from replay.cli import resolve as run_resolve
from replay.errors import ConfigError
from replay.output import Output, View, busy, plural, show
from replay.releases.folders import read_product
from replay.settings import load_settings
from replay.testing import junit, model, recording, values
from replay.testing.compare import Difference, Missing
from replay.testing.run import Result
from replay.testing.run import run as run_cases


class Record(StrEnum):
    """Whose expectations are written from what came."""

    missing = "missing"
    all = "all"


def run(
    folder: Path,
    names: Sequence[str],
    output: Output,
    report: Path | None = None,
    record: Record | None = None,
) -> None:
    """Run the tests, show them; exit code 1 unless all of them passed."""
    settings = load_settings()
    product = read_product(folder)
    cases = model.read(folder)
    if not cases:
        raise _no_tests(folder, product)
    cases = model.chosen(cases, names)
    began = time.monotonic()
    product = run_resolve.resolve(settings, product)
    with busy(f"running {len(cases)} {plural(len(cases), 'test')} of {product.name} in Flink"):
        results = run_cases(settings, product, cases)
    seconds = time.monotonic() - began
    recorded = [] if record is None else _recorded(product, results, record)
    if report:
        said = [_summary(product, r, r in recorded) for r in results]
        report.write_text(junit.xml(product.name, said, seconds))
    show(_view(product, results, recorded, seconds), output)
    if any(not (r.passed or r in recorded) for r in results):
        raise typer.Exit(1)


def _no_tests(folder: Path, product: Product) -> ConfigError:
    """There is nothing to run, which is no success: how to write the first one."""
    topic, output = next(iter(product.settings.topics)), next(iter(product.settings.outputs))
    example = (
        f"an event and what becomes of it:\n"
        f"              given:\n"
        f"                {topic}:\n"
        f"                  - {{…}}   # a value by schemas/{topic}.avsc\n"
        f"              expect:        # or leave it out: kappa test {folder} --record writes it\n"
        f"                {output}:\n"
        f"                  - {{…}}"
    )
    return ConfigError(
        f"{product.name} has no tests",
        expected=f"files such as {folder / TESTS}/first.yaml with\n            {example}",
        found="none",
        next=f"write {folder / TESTS}/first.yaml, then: kappa test {folder}",
    )


def _recorded(product: Product, results: Sequence[Result], record: Record) -> list[Result]:
    """Write expectations from what came; of which tests."""
    wanted = [
        r
        for r in results
        if r.rows is not None
        and (r.case.body.expect is None or (record is Record.all and not r.passed))
    ]
    for result in wanted:
        recording.write(product, result)
    return wanted


def _view(
    product: Product, results: Sequence[Result], recorded: Sequence[Result], seconds: float
) -> View:
    said = [_summary(product, r, r in recorded) for r in results]
    data = {
        "product": product.name,
        "seconds": round(seconds, 3),
        "tests": [
            {
                "name": r.case.name,
                "file": str(r.case.file),
                "status": s["status"],
                "recorded": r in recorded,
                "error": r.error,
                "differences": [_difference(product, d) for d in r.differences],
            }
            for r, s in zip(results, said, strict=True)
        ],
    }
    return View(data, [*_lines(product, results, said, recorded), _total(said, recorded, seconds)])


def _difference(product: Product, found: Difference) -> dict[str, Any]:
    zone = product.settings.time_zone
    return {
        "output": found.output,
        "right": found.right,
        "missing": [
            {
                "expected": values.shown(dict(m.row), zone),
                "nearest": values.shown(dict(m.nearest), zone) if m.nearest else None,
                "changed": list(m.changed),
            }
            for m in found.missing
        ],
        "unexpected": [values.shown(dict(row), zone) for row in found.unexpected],
    }


def _summary(product: Product, result: Result, recorded: bool) -> dict[str, str]:
    text = "\n".join(line for line, _ in _details(product, result))
    said = {
        "name": result.case.name,
        "stem": result.case.file.stem,
        "message": text.partition("\n")[0],
        "text": text,
    }
    if recorded or result.passed:
        return {**said, "status": "passed"}
    return {**said, "status": "error" if result.error else "failed"}


def _lines(
    product: Product,
    results: Sequence[Result],
    said: Sequence[dict[str, str]],
    recorded: Sequence[Result],
) -> Iterator[Text]:
    for result, summary in zip(results, said, strict=True):
        passed = summary["status"] == "passed"
        head = "recorded" if result in recorded else summary["status"]
        where = "" if passed else f"  ({result.case.file})"
        yield Text.assemble(
            (f"{head:<9}", "green" if passed else "bold red"), result.case.name, where
        )
        if result not in recorded:
            yield from (Text(f"  {line}", style) for line, style in _details(product, result))


def _details(product: Product, result: Result) -> Iterator[tuple[str, str]]:
    """Lines and their styles: what is not as it should be."""
    if result.error:
        yield result.error, "red"
    elif result.case.body.expect is None:
        yield f"it expects nothing; to write what came: kappa test {product.folder} --record", "red"
    for difference in result.differences:
        yield from _of_output(difference, product.settings.time_zone)


def _of_output(found: Difference, zone: str) -> Iterator[tuple[str, str]]:
    changed = sum(m.nearest is not None for m in found.missing)
    counts = {
        "as expected": found.right,
        "changed": changed,
        "missing": len(found.missing) - changed,
        "unexpected": len(found.unexpected),
    }
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    yield f"{found.output}: {said}", "bold"
    for missing in found.missing:
        yield from _of_row(missing, zone)
    for row in found.unexpected:
        yield f"  + {_row(row, zone)}", "green"


def _of_row(missing: Missing, zone: str) -> Iterator[tuple[str, str]]:
    if missing.nearest is None:
        yield f"  - {_row(missing.row, zone)}", "red"
        return
    same = {c: v for c, v in missing.row.items() if c not in missing.changed}
    yield f"  ~ {_row(same, zone)}", "yellow"
    for column in missing.changed:
        expected, came = (_value(of[column], zone) for of in (missing.row, missing.nearest))
        yield f"      {column}: expected {expected}, found {came}", "yellow"


def _row(row: Any, zone: str) -> str:
    return "{" + ", ".join(f"{c}: {_value(v, zone)}" for c, v in row.items()) + "}"


def _value(value: Any, zone: str) -> str:
    return recording.flow(values.shown(value, zone))


def _total(said: Sequence[dict[str, str]], recorded: Sequence[Result], seconds: float) -> Text:
    failed = sum(s["status"] != "passed" for s in said)
    parts = [f"{len(said) - failed - len(recorded):,} passed"]
    parts += [f"{len(recorded):,} recorded"] if recorded else []
    parts += [f"{failed:,} failed"] if failed else []
    style = "bold red" if failed else "bold green"
    return Text.assemble((", ".join(parts), style), f" in {seconds:.1f} s")
