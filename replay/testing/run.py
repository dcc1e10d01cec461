"""Runs tests of a product in Flink: records into files, the product's own plan over them, rows out of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs import generate
from jobs.product.column_types import parse
from jobs.product.folder import Product
from jobs.product.model import REJECTS
from jobs.product.names import did_you_mean
from jobs.product.topic_schemas import schema_text
from replay.avro.json_values import JsonValueError
from replay.errors import RefusedError
from replay.flink.local_runs import LocalRuns, rows, scratch
from replay.flink.rest import root_cause
from replay.kafka.reading import ConsumedRecord
from replay.settings import Settings
from replay.testing import compare, events, values
from replay.testing.model import Case

SECONDS = 60.0
"""In which a job must end."""
Rows = Mapping[str, list[dict[str, Any]]]
"""Per output."""


@dataclass(frozen=True)
class Result:
    """What became of a test."""

    case: Case
    error: str = ""
    """Why it did not run to its end."""
    differences: tuple[compare.Difference, ...] = ()
    rows: Rows | None = None
    """What came."""

    @property
    def passed(self) -> bool:
        """Whether it ran, and every row is as expected."""
        return not self.error and not self.differences and self.case.body.expect is not None


def run(
    settings: Settings, product: Product, cases: Sequence[Case], seconds: float = SECONDS
) -> list[Result]:
    """Run tests of a resolved product; ConfigError for one that cannot be run as it is written."""
    schemas = {name: schema_text(product, name) for name in product.settings.topics}
    encoder = events.Encoder(product, schemas)
    given = [encoder.events(case) for case in cases]
    expected = [_expected(product, case) for case in cases]
    with scratch(settings, "test") as made:
        by_id = {number: schemas[name] for name, number in encoder.ids.items()}
        flink = LocalRuns(settings, product, made, by_id, seconds)
        given = _dated(flink, product, given)
        runs = [
            flink.folder(
                f"run-{number}",
                {t: events.records(case, t, of.get(t, [])) for t in product.settings.topics},
            )
            for number, (case, of) in enumerate(zip(cases, given, strict=True))
        ]
        errors = flink.run(runs)
        return [
            _result(product, case, wanted, error, folder)
            for case, wanted, error, folder in zip(cases, expected, errors, runs, strict=True)
        ]


def _dated(
    flink: LocalRuns, product: Product, given: list[dict[str, list[events.Event]]]
) -> list[dict[str, list[events.Event]]]:
    """The events with their times, also of topics whose time is an expression of SQL: Flink reckons it, in one run."""
    records: dict[str, list[ConsumedRecord]] = {name: [] for name in product.settings.topics}

    def numbered(topic: str, event: events.Event) -> int | None:
        """Its offset in that run; None for one whose time is not needed, or known."""
        if event.appended is not None or event.value is None:
            return None
        if not generate.is_reckoned(product, topic):
            return None
        number = len(records[topic])
        records[topic].append(ConsumedRecord(0, number, 0, event.key, event.value, event.headers))
        return number

    numbers = [
        {topic: [numbered(topic, e) for e in found] for topic, found in of.items()} for of in given
    ]
    if not any(records.values()):
        return given
    happened = _times(flink, product, records)
    return [
        {
            topic: [
                e if n is None else replace(e, happened=happened.get((topic, n)))
                for e, n in zip(found, numbers_of[topic], strict=True)
            ]
            for topic, found in of.items()
        }
        for of, numbers_of in zip(given, numbers, strict=True)
    ]


def _times(
    flink: LocalRuns, product: Product, records: Mapping[str, list[ConsumedRecord]]
) -> dict[tuple[str, int], int]:
    """Topic and offset → milliseconds, of those that have a time."""
    folder = flink.folder("times", {topic: {0: found} for topic, found in records.items()})
    [error] = flink.run([folder], times=True)
    if error:
        raise RefusedError(
            "when the given events happened could not be computed",
            expected="an expression that Flink evaluates for each event, or `appended` beside each",
            found=root_cause(error),
            next=f"kappa check {product.folder}",
        )
    return {
        (topic, row["log_offset"]): at
        for topic in records
        if generate.is_reckoned(product, topic)
        for row, at in times_of(rows(folder, f"{topic}_times"))
    }


def times_of(found: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
    """Rows of a table of times, and when each record happened in ms since the epoch, of those that have a time."""
    for row in found:
        if row["happened"] is not None:
            yield row, round(datetime.fromisoformat(row["happened"]).timestamp() * 1000)


def _expected(product: Product, case: Case) -> dict[str, list[dict[str, Any]]]:
    """Rows per output; ConfigError names the output, the row and the column that is wrong."""
    expect = case.body.expect
    found: dict[str, list[dict[str, Any]]] = {}
    for name, of in (expect or {}).items():
        if name not in product.outputs:
            meant = did_you_mean(name, product.outputs) or f"one of {', '.join(product.outputs)}"
            raise case.wrong(f"expect.{name}", f"an output of product.yaml; {meant}", name)
        found[name] = [
            _row(product, case, name, number, row) for number, row in enumerate(of.rows, 1)
        ]
    return found


def _row(
    product: Product, case: Case, output: str, number: int, row: Mapping[str, Any]
) -> dict[str, Any]:
    types = {c.name: parse(c.type) for c in product.outputs[output].columns}
    where = f"row {number} of {output}"
    for column in row:
        if column not in types:
            meant = did_you_mean(column, types) or f"one of {', '.join(types)}"
            raise case.wrong(where, f"a column of {output}; {meant}", column)
    if not row:
        raise case.wrong(where, f"at least one column of {', '.join(types)}", "none")
    try:
        zone = product.settings.time_zone
        return {c: values.expected(types[c], value, zone, c) for c, value in row.items()}
    except JsonValueError as e:
        raise case.wrong(f"{where}, {e.path}", e.expected, e.found) from e


def _result(
    product: Product,
    case: Case,
    expected: Mapping[str, list[dict[str, Any]]],
    error: str,
    folder: Path,
) -> Result:
    if error:
        return Result(case, root_cause(error))
    came = {name: rows_of(product, name, folder) for name in product.outputs}
    if case.body.expect is None:
        return Result(case, rows=came)
    partial = {name: of.partial for name, of in case.body.expect.items()}
    # Nobody forgets a reject: a test that does not name them expects none.
    wanted = {**expected, REJECTS: expected.get(REJECTS, [])}
    differences = (
        compare.compare(name, product.outputs[name], rows, came[name], partial.get(name, False))
        for name, rows in wanted.items()
    )
    return Result(case, "", tuple(d for d in differences if d), came)


def rows_of(product: Product, output: str, folder: Path) -> list[dict[str, Any]]:
    """The rows that a run has left of an output."""
    types = {c.name: parse(c.type) for c in product.outputs[output].columns}
    return [{c: values.found(t, row[c]) for c, t in types.items()} for row in rows(folder, output)]
