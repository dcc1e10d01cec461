"""The audit: arithmetic on offsets, then whole audits over real tables and a log in memory."""

from __future__ import annotations

import datetime as dt
import gc
import random
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.product.folder import Product
from replay.audit import accounting, forward, places, spool
from replay.audit.accounting import WINDOW, PartitionAudit, Tally, array, ranges
from replay.audit.audit import AuditReport, AuditSubject, audit
from replay.audit.lost import LostRecords
from replay.errors import RefusedError
from replay.iceberg import lake, table_changes
from replay.settings import Settings
from tests.unit.lake_tables import COLUMNS, make_product, make_settings, sink

DAY = dt.date(2013, 1, 1)
HOUR = 3_600_000


def reconcile(
    topic: str, partition: int, covered: int, found: Mapping[str, Sequence[Any]]
) -> PartitionAudit:
    """The tally of whole arrays of offsets, window by window."""
    tally = Tally(topic, partition, covered)
    lost = 0
    for start, end in tally.windows():
        lost += len(
            tally.count(
                start,
                end,
                {
                    name: [a[(a >= start) & (a < end)] for a in arrays]
                    for name, arrays in found.items()
                },
            )
        )
    assert tally.result().unaccounted == lost
    return tally.result()


def test_every_offset_is_counted_once() -> None:
    result = reconcile(
        "t",
        0,
        8,
        {
            "rows": [array([0, 1, 2])],
            "duplicates": [array([3])],
            "late": [array([4])],
            "heartbeats": [array([5])],
            "open_windows": [array([6])],
            "markers": [array([7])],
        },
    )
    assert result.ok
    assert result.counts == {
        "rows": 3,
        "duplicates": 1,
        "late": 1,
        "heartbeats": 1,
        "open_windows": 1,
        "markers": 1,
    }
    assert sum(result.counts.values()) == result.covered


def test_an_unaccounted_offset_is_named() -> None:
    tally = Tally("t", 0, 5)
    tally.wrong("unaccounted", tally.count(0, 5, {"rows": [array([0, 1, 3])]}))
    result = tally.result()
    assert (result.ok, result.unaccounted, result.samples) == (False, 2, {"unaccounted": (2, 4)})
    assert result.violations == {}


@pytest.mark.parametrize(
    ("rows", "late"),
    [([[0, 1, 1]], []), ([[0, 1]], [1]), ([[0, 1]], [1, 1])],
    ids=["repeated row", "row and reject", "row and two rejects"],
)
def test_an_offset_twice_is_a_violation(rows: list[list[int]], late: list[int]) -> None:
    result = reconcile("t", 0, 2, {"rows": [array(r) for r in rows], "late": [array(late)]})
    assert not result.ok
    assert (result.counts, result.violations) == ({"rows": 2}, {"offsets_twice": 1})
    assert result.samples == {"offsets_twice": (1,)}


def test_one_event_may_have_rows_in_two_tables() -> None:
    assert reconcile("t", 0, 2, {"rows": [array([0, 1]), array([1])]}).ok


def test_the_first_offsets_of_a_finding_are_named() -> None:
    tally = Tally("t", 0, 50)
    tally.wrong_ones("events_twice", 20, range(30, 40))
    tally.wrong_ones("events_twice", 2, [5, 35])
    assert tally.result().violations == {"events_twice": 22}
    assert tally.result().samples == {"events_twice": (5, 30, 31, 32, 33, 34, 35, 35, 36, 37)}


def test_an_empty_partition() -> None:
    assert reconcile("t", 0, 0, {"rows": [array([])]}).ok


def test_more_offsets_than_a_window() -> None:
    covered = 5 * WINDOW + 7
    offsets = np.random.default_rng(1).permutation(covered).astype(np.int64)
    found = {"rows": [offsets[10:]], "duplicates": [offsets[:10]], "late": [offsets[10:12]]}
    result = reconcile("t", 0, covered, found)
    assert result.counts == {"rows": covered - 10, "duplicates": 10}
    assert result.samples == {"offsets_twice": tuple(sorted(offsets[10:12].tolist()))}


@pytest.mark.parametrize(
    ("offsets", "expected"), [([], []), ([5], [(5, 6)]), ([1, 3, 20, 21], [(1, 4), (20, 22)])]
)
def test_ranges_join_small_gaps(offsets: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(ranges(array(offsets), read_through=5)) == expected


def time_of(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


@dataclass
class Log:
    """A log in memory: per topic and partition, (timestamp, value); a value decodes when it is in `records`."""

    partitions: dict[tuple[str, int], list[tuple[int, bytes | None]]] = field(default_factory=dict)
    records: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def add(
        self, topic: str, appended: int, value: bytes | None, record: dict[str, Any] | None = None
    ) -> int:
        """Append to partition 0; the offset."""
        entries = self.partitions.setdefault((topic, 0), [])
        entries.append((appended, value))
        if value is not None and record is not None:
            self.records[value] = record
        return len(entries) - 1

    def order(self, number: int, appended: int, happened: int | None = None) -> int:
        return self.add(
            "orders",
            appended,
            b"order %d" % number,
            {
                "id": number,
                "day": DAY,
                "ordered_at": time_of(appended if happened is None else happened),
            },
        )

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        for offset, (timestamp, value) in enumerate(self.partitions.get((topic, partition), [])):
            if start <= offset < end:
                yield offset, timestamp, value

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        return self.records.get(value)


class Meter:
    """A log that looks, every hundred records, how much memory there is beyond what there was at first."""

    def __init__(self, log: Log) -> None:
        self._log, self.most = log, 0
        self._first: int | None = None

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        entries = self._log.partitions[topic, partition]
        for offset in range(start, min(end, len(entries))):
            if offset % 100 == 0:
                held = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes()
                self._first = held if self._first is None else self._first
                self.most = max(self.most, held - self._first)
            yield (offset, *entries[offset])

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        return self._log.records.get(value)


def row(number: int, offset: int, *, partition: int = 0) -> dict[str, Any]:
    return {"id": number, "day": DAY, "log_partition": partition, "log_offset": offset}


def reject(offset: int, reason: str, payload: bytes, *, topic: str = "orders") -> dict[str, Any]:
    return {
        "log_topic": topic,
        "log_partition": 0,
        "log_offset": offset,
        "reason": reason,
        "payload": payload,
    }


@dataclass
class Case:
    """A log, and what one checkpoint of the job wrote of it."""

    settings: Settings
    product: Product
    log: Log = field(default_factory=Log)
    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def audit(self, orders: Mapping[int, int] | None = None, **covered: int) -> AuditReport:
        snapshots = self.written()
        ends = {t: {0: covered.get(t, len(self.log.partitions[t, 0]))} for t in self.product.topics}
        ends.update({"orders": dict(orders)} if orders else {})
        return audit(self.settings, self.product, AuditSubject(snapshots, ends), self.log)

    def written(self) -> dict[str, int]:
        """Commit the rows; table → snapshot."""
        catalog = lake.open_catalog(self.settings)
        return {
            "orders": sink(catalog, "orders", "r1-a1", 1, self.rows),
            "totals": sink(catalog, "totals", "r1-a1", 1),
            "rejects": sink(catalog, "rejects", "r1-a1", 1, self.rejects),
        }


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Orders 0, 1, 2 with their rows; order 1 sent twice; a late one, garbage, heartbeats; the clock far ahead."""
    case = made(tmp_path, COLUMNS)
    for number in (0, 1, 2, 1):
        case.rows.append(row(number, case.log.order(number, HOUR)))
    case.rows.pop()
    case.rejects.append(reject(case.log.order(9, HOUR, -1), "late: …", b"order 9"))
    case.rejects.append(
        reject(case.log.add("orders", HOUR, b"?"), "undecodable: wrong magic byte", b"?")
    )
    case.log.add("orders", 100 * HOUR, None)
    case.log.add("shops", HOUR, b"shop", {"name": "corner"})
    case.log.add("shops", 100 * HOUR, None)
    case.rejects.append(
        reject(case.log.add("colours", 0, b""), "undecodable: empty", b"", topic="colours")
    )
    case.log.add("colours", 0, b"red", {"name": "red"})
    return case


def of(report: AuditReport, topic: str) -> dict[str, Any]:
    return next(p for p in report.as_dict()["partitions"] if p["topic"] == topic)


def test_all_is_accounted_for(case: Case) -> None:
    report = case.audit()
    assert report.ok
    assert of(report, "orders") == {
        "topic": "orders",
        "partition": 0,
        "covered": 7,
        "rows": 3,
        "duplicates": 1,
        "late": 1,
        "undecodable": 1,
        "heartbeats": 1,
        "unaccounted": 0,
        "violations": {},
        "samples": {},
    }
    assert report.totals == {
        "covered": 11,
        "rows": 3,
        "duplicates": 1,
        "late": 1,
        "undecodable": 2,
        "heartbeats": 2,
        "versions": 2,
        "unaccounted": 0,
    }


def test_a_lost_row_is_found(case: Case) -> None:
    del case.rows[2]
    report = case.audit()
    assert not report.ok
    assert (of(report, "orders")["unaccounted"], of(report, "orders")["samples"]) == (
        1,
        {"unaccounted": [2]},
    )


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


def test_a_key_in_two_partitions_is_found_where_the_topic_is_keyed_by_it(case: Case) -> None:
    case.log.partitions["orders", 1] = [
        (HOUR, b"order 7"),
        (HOUR, b"order 1"),
        (HOUR, None),
        (HOUR, b"order 1"),
    ]
    case.log.records[b"order 7"] = {**case.log.records[b"order 1"], "id": 7}
    assert case.audit(orders={0: 8, 1: 4}).totals.get("keys_astray") is None
    case.product = keyed(case.product, "id")
    report = case.audit(orders={0: 8, 1: 4})
    assert not report.ok
    assert [
        p["violations"].get("keys_astray")
        for p in report.as_dict()["partitions"]
        if p["topic"] == "orders"
    ] == [None, 1]
    assert report.partitions[1].samples["keys_astray"] == (1,)
    case.product = keyed(case.product, "id", "ordered_at")  # another time, another key
    case.log.records[b"order 7"]["id"] = None
    case.log.partitions["orders", 0].append((HOUR, b"order 7"))  # NULL is a key, too
    assert [
        p.violations.get("keys_astray") for p in case.audit(orders={0: 9, 1: 4}).partitions[:2]
    ] == [None, 2]


def keyed(product: Product, *columns: str) -> Product:
    """The product, whose orders are said to be keyed by these columns."""
    topics = {**product.settings.topics}
    topics["placed"] = topics["placed"].model_copy(update={"keyed_by": columns})
    return product.model_copy(
        update={"settings": product.settings.model_copy(update={"topics": topics})}
    )


def test_a_row_in_an_open_window_is_not_lost(case: Case) -> None:
    case.log.order(3, 100 * HOUR)
    assert of(case.audit(), "orders")["open_windows"] == 1


def test_a_slow_dimension_keeps_windows_open(case: Case) -> None:
    del case.rows[2]
    report = case.audit(shops=1)
    assert report.ok
    assert of(report, "orders")["open_windows"] == 1


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        (0, reject(4, "undecodable: oops", b"order 9")),
        (1, reject(5, "late: …", b"?")),
        (1, reject(5, "undecodable: wrong magic byte", b"!")),
        (2, reject(1, "undecodable: empty", b"", topic="colours")),
    ],
    ids=["decodable", "late yet undecodable", "another payload", "reference"],
)
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


def test_offsets_beyond_the_covered_position_are_left_for_later(case: Case) -> None:
    case.rows += [row(7, 5), row(7, 5)]
    assert of(case.audit(orders={0: 2}), "orders") == {
        "topic": "orders",
        "partition": 0,
        "covered": 2,
        "rows": 2,
        "unaccounted": 0,
        "violations": {},
        "samples": {},
    }


def test_a_reject_where_the_log_has_no_record_is_found(case: Case) -> None:
    case.rejects.append(reject(9, "late: …", b"order 9"))
    report = case.audit(orders={0: 12})
    assert of(report, "orders")["samples"] == {"wrong_rejects": [9]}
    assert of(report, "orders")["markers"] == 4


def test_an_event_whose_identity_is_null_throughout(case: Case) -> None:
    """Arrow knows no type of such a column."""
    for _ in range(2):
        case.log.add("orders", HOUR, b"nobody", {"id": 3, "day": None, "ordered_at": time_of(HOUR)})
    case.rows.append({**row(3, 7), "day": None})
    case.rows.append(row(1, 3))
    found = of(case.audit(), "orders")
    assert (found["duplicates"], found["violations"]) == (1, {"events_twice": 1})


def test_an_unknown_position_is_refused(case: Case) -> None:
    with pytest.raises(RefusedError) as e:
        audit(case.settings, case.product, AuditSubject({}, {"orders": {0: 1}}), case.log)
    assert e.value.found == "none of colours, shops"


# What became of records that no table has


def add(case: Case, number: int, appended: int, happened: int | None = None) -> int:
    return case.log.order(number, appended, happened)


def test_every_reason_is_a_class(case: Case) -> None:
    offsets = {
        "ahead: …": add(case, 20, HOUR, 26 * HOUR),
        "out of order: …": add(case, 21, HOUR),
        "no time: …": case.log.add(
            "orders", HOUR, b"22", {"id": 22, "day": DAY, "ordered_at": None}
        ),
    }
    case.rejects += [
        reject(o, reason, b"22" if "no time" in reason else b"order %d" % (20 + i))
        for i, (reason, o) in enumerate(offsets.items())
    ]
    case.rejects.append(
        reject(
            case.log.add("shops", HOUR, b"nobody", {"name": None}),
            "no key: name is NULL",
            b"nobody",
            topic="shops",
        )
    )
    report = case.audit()
    assert report.ok
    assert {
        c: report.totals[c]
        for c in ("late", "ahead", "out_of_order", "no_time", "no_key", "undecodable")
    } == {"late": 1, "ahead": 1, "out_of_order": 1, "no_time": 1, "no_key": 1, "undecodable": 2}


@pytest.mark.parametrize(
    "reason", ["late: …", "ahead: …", "no time: …", "undecodable: …", "because"]
)
def test_a_reason_that_is_not_true_is_found(case: Case, reason: str) -> None:
    case.rejects.append(reject(add(case, 20, HOUR), reason, b"order 20"))
    assert case.audit().totals["wrong_rejects"] == 1


def test_a_reason_that_nobody_gives_is_no_class(case: Case) -> None:
    case.rejects.append(reject(add(case, 20, HOUR), "because", b"order 20"))
    found = of(case.audit(), "orders")
    assert (found["unaccounted"], found["violations"]) == (1, {"wrong_rejects": 1})


def change(
    case: Case, *, topic: dict[str, Any] | None = None, longest_wait: float = 60, **orders: Any
) -> None:
    """Other rules of the topic `orders`, other properties of the table."""
    product = case.product
    assert product.resolved is not None
    placed = product.settings.topics["placed"].model_copy(update=topic or {})
    outputs = {**product.outputs, "orders": product.outputs["orders"].model_copy(update=orders)}
    case.product = product.model_copy(
        update={
            "settings": product.settings.model_copy(
                update={"topics": {**product.settings.topics, "placed": placed}}
            ),
            "resolved": product.resolved.model_copy(
                update={"outputs": outputs, "longest_wait": longest_wait}
            ),
        }
    )


def test_records_that_where_leaves_out_are_filtered(case: Case) -> None:
    change(case, where="id < 50")
    add(case, 60, HOUR)
    report = case.audit()
    assert report.ok
    assert of(report, "orders")["filtered"] == 1


@pytest.mark.parametrize("where", ["id < 70", "id IS NOT NULL", "id = 60 OR id < 50"])
def test_a_record_of_which_where_holds_is_lost_without_its_row(case: Case, where: str) -> None:
    change(case, where=where)
    lost = add(case, 60, HOUR)
    report = case.audit()
    assert not report.ok
    assert of(report, "orders")["samples"] == {"unaccounted": [lost]}


@pytest.mark.parametrize(
    "literal", ["TIMESTAMP '1970-01-01 05:00:00'", "'1970-01-01 05:00:00'", "DATE '1970-01-02'"]
)
@pytest.mark.parametrize(("zone", "filtered"), [("UTC", True), ("Asia/Tokyo", False)])
def test_where_reads_a_time_by_the_products_clocks(
    case: Case, literal: str, zone: str, filtered: bool
) -> None:
    """At 1970-01-01 16:00 UTC it is past midnight in Tokyo; 01:00 UTC is 10:00 there."""
    at = 16 * HOUR if literal.startswith("DATE") else HOUR
    change(case, where=f"ordered_at >= {literal}")
    settings = case.product.settings.model_copy(update={"time_zone": zone})
    case.product = case.product.model_copy(update={"settings": settings})
    record = add(case, 60, at)
    report = case.audit()
    assert report.ok == filtered
    assert of(report, "orders")["samples"] == ({} if filtered else {"unaccounted": [record]})


def test_of_null_where_does_not_hold(case: Case) -> None:
    change(case, where="id + 1 > 0")
    case.log.add("orders", HOUR, b"nobody", {"id": None, "day": DAY, "ordered_at": time_of(HOUR)})
    case.log.order(1, HOUR)
    report = case.audit()
    assert report.ok
    assert (of(report, "orders")["filtered"], of(report, "orders")["duplicates"]) == (1, 2)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (None, set()),
        ("id < 70", {80}),
        ("id > 70", {60}),
        ("id < 50", {60, 80}),
        ("id = 60 OR id = 80", set()),
    ],
)
def test_a_record_that_one_of_several_tables_wants_is_not_filtered(
    case: Case, others: str | None, expected: set[int]
) -> None:
    change(case, where="id < 50")
    resolved = case.product.resolved
    assert resolved is not None
    outputs = {
        **resolved.outputs,
        "others": resolved.outputs["orders"].model_copy(update={"where": others}),
    }
    product = case.product.model_copy(
        update={"resolved": resolved.model_copy(update={"outputs": outputs})}
    )
    topics = {**product.settings.topics}
    topics["placed"] = topics["placed"].model_copy(update={"identity": ()})
    product = product.model_copy(
        update={"settings": product.settings.model_copy(update={"topics": topics})}
    )
    with (
        duckdb.connect() as connection,
        LostRecords(product, "orders", case.settings.spill, case.settings.queries) as lost,
    ):
        for number in (60, 80):
            lost.add(0, number, (0, 0), {"id": number})
        found = {f.name: f.samples for f in lost.classified(connection, 1.0, None)}
    assert set(found.get("filtered", [])) == expected
    assert set(found.get("unaccounted", [])) == {60, 80} - expected


def test_a_filtered_record_is_filtered_whatever_its_event_has(case: Case) -> None:
    """An event that is sent again with another content: it is not in the table because of what it holds."""
    change(case, where="id < 50", topic={"identity": ("day",)})
    add(case, 60, HOUR)
    assert of(case.audit(), "orders")["filtered"] == 1


@pytest.mark.parametrize(
    ("appended", "expected"),
    [
        (99 * HOUR, "open_windows"),
        (98 * HOUR, "may_be_ahead"),
        (75 * HOUR, "may_be_ahead"),
        (74 * HOUR, "unaccounted"),
    ],
)
def test_of_a_computed_time_it_is_known_when_it_comes_at_the_latest(
    case: Case, appended: int, expected: str
) -> None:
    """The watermark is at 99 hours; a time may be up to a day behind the record's timestamp."""
    change(case, topic={"time": "happened", "columns": {"happened": "ordered_at"}})
    case.rejects[0] = {**case.rejects[0], "reason": "late: …"}
    add(case, 30, appended - 30_000)
    found = of(case.audit(), "orders")
    assert found[expected] == 1
    assert found["unaccounted"] == (expected == "unaccounted")


def test_a_time_far_ahead_waits_until_the_clock_has_come_there(case: Case) -> None:
    add(case, 30, 95 * HOUR, 110 * HOUR)
    add(case, 31, 95 * HOUR, 98 * HOUR)
    found = of(case.audit(), "orders")
    assert (found["open_windows"], found["samples"]) == (1, {"unaccounted": [8]})


def test_a_window_adds_to_the_wait(case: Case) -> None:
    add(case, 30, 95 * HOUR, 98 * HOUR)
    change(case, longest_wait=3 * 3600)
    assert of(case.audit(), "orders")["open_windows"] == 1


def test_events_are_the_same_by_a_uuid(tmp_path: Path) -> None:
    """It is text, where it is decoded (tests/vectors) as in the tables."""
    columns = {**COLUMNS, "orders": (("event", "STRING"), *COLUMNS["orders"][1:])}
    case = made(tmp_path, columns)
    change(case, topic={"identity": ("event",)})
    event, other = str(UUID(int=7)), str(UUID(int=8))
    for value, key in ((b"1", event), (b"again", event), (b"2", other)):
        case.log.add("orders", HOUR, value, {"event": key, "day": DAY, "ordered_at": time_of(HOUR)})
    case.rows = [{"event": event, "day": DAY, "log_partition": 0, "log_offset": 0}]
    finish(case)
    found = of(case.audit(), "orders")
    assert (found["rows"], found["duplicates"], found["samples"]) == (1, 1, {"unaccounted": [2]})


def test_a_table_of_two_topics(tmp_path: Path) -> None:
    """Rows of the one do not stand for records of the other, at the same partition and offset."""
    columns = {**COLUMNS, "orders": (("log_topic", "STRING"), *COLUMNS["orders"])}
    case = made(tmp_path, columns)
    refunds = case.product.settings.topics["placed"].model_copy(
        update={"topic": "pg.public.refunds"}
    )
    case.product = case.product.model_copy(
        update={
            "settings": case.product.settings.model_copy(
                update={"topics": {**case.product.settings.topics, "refunds": refunds}}
            )
        }
    )
    change(case, of=("orders", "pg.public.refunds"))
    for number in (0, 1):
        case.log.order(number, HOUR)
        case.log.add(
            "pg.public.refunds",
            HOUR,
            b"refund %d" % number,
            {"id": number, "day": DAY, "ordered_at": time_of(HOUR)},
        )
    case.rows = [
        {**row(0, 0), "log_topic": "orders"},
        {**row(1, 1), "log_topic": "orders"},
        {**row(0, 0), "log_topic": "pg.public.refunds"},
        {**row(5, 0), "log_topic": "somewhere"},
    ]
    finish(case)
    case.log.add("pg.public.refunds", 100 * HOUR, None)
    report = case.audit()
    assert (of(report, "orders")["rows"], of(report, "orders")["unaccounted"]) == (2, 0)
    found = of(report, "pg.public.refunds")
    assert (found["rows"], found["unaccounted"], found["samples"]) == (1, 1, {"unaccounted": [1]})
    assert not any(p.violations for p in report.partitions)
    assert report.stray_rows == {"orders": 1}


def test_a_topic_with_another_name_in_kafka(tmp_path: Path) -> None:
    """Positions, rejects and rows go by Kafka's name; a quote in it is a character."""
    case = made(tmp_path, COLUMNS)
    dotted = "pg.it's.orders"
    change(case, topic={"topic": dotted}, of=(dotted,))
    for number in (0, 1):
        case.log.add(
            dotted, HOUR, b"%d" % number, {"id": number, "day": DAY, "ordered_at": time_of(HOUR)}
        )
    case.rejects = [reject(case.log.add(dotted, HOUR, b"?"), "undecodable: …", b"?", topic=dotted)]
    case.rows = [row(0, 0), row(1, 1)]
    finish(case)
    case.log.add(dotted, 100 * HOUR, None)
    report = case.audit()
    assert report.ok and report.stray_rows == {}
    assert (of(report, dotted)["rows"], of(report, dotted)["undecodable"]) == (2, 1)


def test_a_reject_of_another_topic_does_not_account_for_a_record(case: Case) -> None:
    case.rejects[1] = {**case.rejects[1], "log_topic": "placed"}
    report = case.audit()
    assert (report.stray_rows, of(report, "orders")["samples"]) == (
        {"rejects": 1},
        {"unaccounted": [5]},
    )


def test_where_no_table_has_the_identity_the_log_tells_duplicates(tmp_path: Path) -> None:
    case = made(tmp_path, {**COLUMNS, "orders": COLUMNS["orders"][1:]})
    for number in (0, 1, 0, 2):
        case.log.order(number, HOUR)
    case.rows = [{"day": DAY, "log_partition": 0, "log_offset": offset} for offset in (0, 1)]
    finish(case)
    found = of(case.audit(), "orders")
    assert (found["rows"], found["duplicates"]) == (2, 1)
    assert (found["samples"], found["violations"]) == ({"unaccounted": [3]}, {})


def test_a_topic_that_no_table_accounts_for_is_refused(case: Case) -> None:
    change(case, of=())
    with pytest.raises(RefusedError) as e:
        case.audit()
    assert e.value.message == "topic orders cannot be accounted for"
    assert e.value.expected == "an output with a row for each of its records: SELECT … FROM placed"


def made(folder: Path, columns: Mapping[str, Sequence[tuple[str, str]]]) -> Case:
    """A case with these tables and an empty log."""
    settings, product = make_settings(folder), make_product(folder, columns=columns)
    catalog = lake.open_catalog(settings)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    return Case(settings, product)


def finish(case: Case) -> None:
    """The clocks of all topics come far."""
    for topic in ("orders", "shops", "colours"):
        case.log.add(topic, 100 * HOUR, None)


# However long the log is


def random_case(folder: Path, records: int, partitions: int = 3) -> Case:
    """Rows, duplicates, filtered, late, garbage, heartbeats, markers, open windows: each in any place."""
    case = made(folder, COLUMNS)
    change(case, where="id >= 0", topic={"keyed_by": ("id",)})
    chance = random.Random(7)
    for partition in range(partitions):
        entries = case.log.partitions.setdefault(("orders", partition), [])
        known: list[int] = []
        for offset in range(records):
            what = chance.choice(
                ["row", "row", "row", "again", "filtered", "late", "garbage", "heartbeat"]
            )
            number = partition * records + offset
            if what == "again" and known:
                number = chance.choice(known)
            number = -1 - number if what == "filtered" else number
            happened = -2 * HOUR if what == "late" else HOUR
            value = None if what == "heartbeat" else b"%s %d %d" % (what.encode(), number, offset)
            entries.append((HOUR, value))
            if value is None:
                continue
            if what != "garbage":
                case.log.records[value] = {
                    "id": number,
                    "day": DAY,
                    "ordered_at": time_of(happened),
                }
            if what in ("late", "garbage"):
                reason = "late: …" if what == "late" else "undecodable: …"
                case.rejects.append({**reject(offset, reason, value), "log_partition": partition})
            elif what == "row" or (what == "again" and not known):
                known.append(number)
                case.rows.append(row(number, offset, partition=partition))
        entries.append((100 * HOUR, None))
    for topic in ("shops", "colours"):
        for number in range(records):
            case.log.add(topic, HOUR, b"%d" % number if number % 3 else None, {"name": "red"})
        case.log.add(topic, 100 * HOUR, None)
    return case


def ends(case: Case) -> dict[int, int]:
    return {
        partition: len(entries)
        for (topic, partition), entries in case.log.partitions.items()
        if topic == "orders"
    }


def test_windows_and_batches_of_any_size_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_case(tmp_path, 60)
    whole = case.audit(orders=ends(case))
    assert whole.ok
    del case.rows[3::20], case.rejects[1::9]
    case.rows.append({**case.rows[5], "log_offset": case.rows[6]["log_offset"]})
    case.log.partitions["orders", 2][10] = case.log.partitions["orders", 0][10]
    report = case.audit(orders=ends(case)).as_dict()
    assert not report["ok"]
    for module, name, size in (
        (accounting, "WINDOW", 7),
        (forward, "READ_THROUGH", 2),
        (places, "_BATCH", 5),
        (spool, "_BATCH", 4),
    ):
        monkeypatch.setattr(module, name, size)
    assert case.audit(orders=ends(case)).as_dict() == report


def test_what_is_held_does_not_grow_with_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's objects, numpy's and Arrow's; DuckDB has a limit of its own."""
    for module, name in (
        (accounting, "WINDOW"),
        (forward, "READ_THROUGH"),
        (places, "_BATCH"),
        (spool, "_BATCH"),
    ):
        monkeypatch.setattr(module, name, 100)
    held = []
    for records in (4_000, 16_000):
        case = random_case(tmp_path / str(records), records, partitions=1)
        meter = Meter(case.log)
        snapshots = case.written()
        covered = {t: {0: len(case.log.partitions[t, 0])} for t in case.product.topics}
        gc.collect()
        gc.freeze()  # or what earlier tests left decides how often Python looks for what nobody refers to any more
        tracemalloc.start()
        try:
            assert audit(case.settings, case.product, AuditSubject(snapshots, covered), meter).ok
        finally:
            tracemalloc.stop()
            gc.unfreeze()
        held.append(meter.most)
    assert held[1] < 2 * held[0], (
        f"bytes held while 4,000 and 16,000 records of each topic were read: {held}"
    )
