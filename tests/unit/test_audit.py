"""The audit: arithmetic on offsets, then whole audits over real tables and a log in memory."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.product import Product
from replay import lake, table_changes
from replay.accounting import array, missing, ranges, reconcile
from replay.audit import AuditReport, Subject, audit
from replay.errors import RefusedError
from replay.settings import Settings
from tests.unit.lake_tables import make_product, make_settings, sink

DAY = dt.date(2013, 1, 1)
HOUR = 3_600_000


def test_every_offset_is_counted_once() -> None:
    result = reconcile("t", 0, 8, {"rows": [array([0, 1, 2])], "duplicates": [array([3])], "late": [array([4])],
                                   "heartbeats": [array([5])], "open_windows": [array([6])], "markers": [array([7])]})
    assert result.ok
    assert result.counts == {"rows": 3, "duplicates": 1, "late": 1, "heartbeats": 1, "open_windows": 1, "markers": 1}
    assert sum(result.counts.values()) == result.covered


def test_an_unaccounted_offset_is_named() -> None:
    result = reconcile("t", 0, 5, {"rows": [array([0, 1, 3])]})
    assert (result.ok, result.unaccounted, result.samples) == (False, 2, {"unaccounted": (2, 4)})


@pytest.mark.parametrize(("rows", "late"), [([[0, 1, 1]], []), ([[0, 1]], [1]), ([[0, 1]], [1, 1])],
                         ids=["repeated row", "row and reject", "row and two rejects"])
def test_an_offset_twice_is_a_violation(rows: list[list[int]], late: list[int]) -> None:
    result = reconcile("t", 0, 2, {"rows": [array(r) for r in rows], "late": [array(late)]})
    assert not result.ok
    assert (result.counts, result.violations) == ({"rows": 2}, {"offsets_twice": 1})
    assert result.samples == {"offsets_twice": (1,)}


def test_one_event_may_have_rows_in_two_tables() -> None:
    assert reconcile("t", 0, 2, {"rows": [array([0, 1]), array([1])]}).ok


def test_offsets_beyond_the_covered_position_are_left_for_later() -> None:
    result = reconcile("t", 0, 2, {"rows": [array([0, 1, 2, 3, 3])]})
    assert (result.ok, result.counts) == (True, {"rows": 2})


def test_an_empty_partition() -> None:
    assert reconcile("t", 0, 0, {"rows": [array([])]}).ok


def test_millions_of_offsets_take_seconds() -> None:
    covered = 7_000_000
    offsets = np.random.default_rng(1).permutation(covered).astype(np.int64)
    began = time.perf_counter()
    lost = missing(covered, [offsets[10:]])
    result = reconcile("t", 0, covered, {"rows": [offsets[10:]], "duplicates": [lost]})
    assert result.ok and result.counts["duplicates"] == 10
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(("offsets", "expected"), [
    ([], []), ([5], [(5, 6)]), ([1, 3, 20, 21], [(1, 4), (20, 22)])])
def test_ranges_join_small_gaps(offsets: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(ranges(array(offsets), read_through=5)) == expected


def time_of(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


@dataclass
class Log:
    """A log in memory: per topic and partition, (timestamp, value); a value decodes when it is in `records`."""

    partitions: dict[tuple[str, int], list[tuple[int, bytes | None]]] = field(default_factory=dict)
    records: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def add(self, topic: str, appended: int, value: bytes | None, record: dict[str, Any] | None = None) -> int:
        """Append to partition 0; the offset."""
        entries = self.partitions.setdefault((topic, 0), [])
        entries.append((appended, value))
        if value is not None and record is not None:
            self.records[value] = record
        return len(entries) - 1

    def order(self, number: int, appended: int, happened: int | None = None) -> int:
        return self.add("orders", appended, b"order %d" % number, {
            "id": number, "day": DAY, "ordered_at": time_of(appended if happened is None else happened)})

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[tuple[int, int, bytes | None]]:
        for offset, (timestamp, value) in enumerate(self.partitions.get((topic, partition), [])):
            if start <= offset < end:
                yield offset, timestamp, value

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        return self.records.get(value)


def row(number: int, offset: int, *, partition: int = 0) -> dict[str, Any]:
    return {"id": number, "day": DAY, "log_partition": partition, "log_offset": offset}


def reject(offset: int, reason: str, payload: bytes, *, topic: str = "orders") -> dict[str, Any]:
    return {"log_topic": topic, "log_partition": 0, "log_offset": offset, "reason": reason, "payload": payload}


@dataclass
class Case:
    """A log, and what one checkpoint of the job wrote of it."""

    settings: Settings
    product: Product
    log: Log = field(default_factory=Log)
    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def audit(self, **covered: int) -> AuditReport:
        catalog = lake.open_catalog(self.settings)
        snapshots = {"orders": sink(catalog, "orders", "r1-a1", 1, self.rows),
                     "totals": sink(catalog, "totals", "r1-a1", 1),
                     "rejects": sink(catalog, "rejects", "r1-a1", 1, self.rejects)}
        ends = {t: {0: covered.get(t, len(self.log.partitions[t, 0]))} for t in self.product.topics}
        return audit(self.settings, self.product, Subject(snapshots, ends), self.log)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Orders 0, 1, 2 with their rows; order 1 sent twice; a late one, garbage, heartbeats; the clock far ahead."""
    settings, product = make_settings(tmp_path), make_product(tmp_path)
    catalog = lake.open_catalog(settings)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    made = Case(settings, product)
    for number in (0, 1, 2, 1):
        made.rows.append(row(number, made.log.order(number, HOUR)))
    made.rows.pop()
    made.rejects.append(reject(made.log.order(9, HOUR, -1), "late: …", b"order 9"))
    made.rejects.append(reject(made.log.add("orders", HOUR, b"?"), "undecodable: wrong magic byte", b"?"))
    made.log.add("orders", 100 * HOUR, None)
    made.log.add("shops", HOUR, b"shop", {"name": "corner"})
    made.log.add("shops", 100 * HOUR, None)
    made.rejects.append(reject(made.log.add("colours", 0, b""), "undecodable: empty", b"", topic="colours"))
    made.log.add("colours", 0, b"red", {"name": "red"})
    return made


def of(report: AuditReport, topic: str) -> dict[str, Any]:
    return next(p for p in report.as_dict()["partitions"] if p["topic"] == topic)


def test_all_is_accounted_for(case: Case) -> None:
    report = case.audit()
    assert report.ok
    assert of(report, "orders") == {
        "topic": "orders", "partition": 0, "covered": 7, "rows": 3, "duplicates": 1, "late": 1, "undecodable": 1,
        "heartbeats": 1, "unaccounted": 0, "violations": {}, "samples": {}}
    assert report.totals == {"covered": 11, "rows": 3, "duplicates": 1, "late": 1, "undecodable": 2, "heartbeats": 2,
                             "versions": 2, "unaccounted": 0}


def test_a_lost_row_is_found(case: Case) -> None:
    del case.rows[2]
    report = case.audit()
    assert not report.ok
    assert (of(report, "orders")["unaccounted"], of(report, "orders")["samples"]) == (1, {"unaccounted": [2]})


def test_a_duplicate_of_a_lost_row_is_lost_too(case: Case) -> None:
    del case.rows[1]
    assert of(case.audit(), "orders")["samples"] == {"unaccounted": [1, 3]}


def test_a_repeated_row_is_found(case: Case) -> None:
    case.rows.append(case.rows[0])
    assert of(case.audit(), "orders")["violations"] == {"offsets_twice": 1}


def test_two_rows_of_one_event_are_found(case: Case) -> None:
    case.rows.append(row(1, 3))
    found = of(case.audit(), "orders")
    assert (found["violations"], found["samples"]) == ({"events_twice": 1}, {"events_twice": [3]})


def test_a_row_in_an_open_window_is_not_lost(case: Case) -> None:
    case.log.order(3, 100 * HOUR)
    assert of(case.audit(), "orders")["open_windows"] == 1


def test_a_slow_dimension_keeps_windows_open(case: Case) -> None:
    del case.rows[2]
    report = case.audit(shops=1)
    assert report.ok
    assert of(report, "orders")["open_windows"] == 1


@pytest.mark.parametrize(("number", "wrong"), [
    (0, reject(4, "undecodable: oops", b"order 9")), (1, reject(5, "late: …", b"?")),
    (1, reject(5, "undecodable: wrong magic byte", b"!")), (2, reject(1, "undecodable: empty", b"", topic="colours"))],
    ids=["decodable", "late yet undecodable", "another payload", "reference"])
def test_a_wrong_reject_is_found(case: Case, number: int, wrong: dict[str, Any]) -> None:
    case.rejects[number] = wrong
    assert case.audit().totals["wrong_rejects"] == 1


def test_an_undecodable_record_without_a_reject_is_lost(case: Case) -> None:
    del case.rejects[2], case.rejects[1]
    report = case.audit()
    assert of(report, "orders")["samples"] == {"unaccounted": [5]}
    assert of(report, "colours")["samples"] == {"unaccounted": [0]}


def test_rows_from_nowhere_are_found(case: Case) -> None:
    case.rows += [row(7, 0, partition=9), {"id": 8, "day": DAY}]
    assert case.audit().stray_rows == {"orders": 2}


def test_an_unknown_position_is_refused(case: Case) -> None:
    with pytest.raises(RefusedError) as e:
        audit(case.settings, case.product, Subject({}, {"orders": {0: 1}}), case.log)
    assert e.value.found == "none of colours, shops"
