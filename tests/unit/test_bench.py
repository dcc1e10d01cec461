"""The benchmark's arithmetic: ratios of one run, and the CPU time of a process with all that it started."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from bench import idle, raw
from bench.live_lag import Samples
from bench.measure import Process, process, processes, tree, turns
from bench.results import slower, summarise
from replay.errors import RefusedError


def row(name: str, seconds: float, cpu: float, memory: int = 1000) -> dict[str, object]:
    return {
        "name": name,
        "events": 1_000_000,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory_mb": memory,
    }


@pytest.mark.parametrize(
    ("flags", "uptime", "pages"),
    [
        pytest.param(0x400000, 1000.1, 413, id="a program of its own"),
        pytest.param(
            0x400040, 1000.1, 0, id="its parent's still, a tenth of a second after the fork"
        ),
        pytest.param(0x400040, 1002.0, 413, id="a fork that means to stay one"),
    ],
)
def test_a_child_does_not_show_its_parents_memory(flags: int, uptime: float, pages: int) -> None:
    started = 1000 * os.sysconf("SC_CLK_TCK")
    stat = f"7 (a) b) R 6 7 7 0 -1 {flags} 98 0 0 0 0 0 0 0 20 0 1 0 {started} 3133440 413 18446744073709551615"
    assert process(7, stat, uptime).memory == pages * os.sysconf("SC_PAGESIZE")


def test_ratios_are_to_the_pass_through_of_the_same_run() -> None:
    passed, once = summarise([row("pass_through", 2, 3), row("once", 8, 12)])
    assert (passed["ratio_to_pass_through"], passed["cpu_ratio_to_pass_through"]) == (1, 1)
    assert (once["ratio_to_pass_through"], once["cpu_ratio_to_pass_through"]) == (0.25, 0.25)
    assert (once["events_per_second"], once["events_per_cpu_second"]) == (125_000, 83_333)


def test_several_turns_give_medians_with_their_spread_and_the_highest_memory() -> None:
    turns = [row("pass_through", s, s, m) for s, m in ((2, 900), (3, 1100), (10, 1000))]
    (summary,) = summarise(turns)
    assert (summary["seconds"], summary["spread_seconds"], summary["peak_memory_mb"]) == (
        3,
        8,
        1100,
    )


def test_state_and_tables_are_those_of_the_last_turn() -> None:
    turns = [
        row("once", 8, 12) | {"largest_state_mb": mb, "tables": {"t": {"mb": mb}}} for mb in (3, 2)
    ]
    (summary,) = summarise(turns)
    assert (summary["largest_state_mb"], summary["tables"]) == (2, {"t": {"mb": 2}})


class Log:
    """A consumer of a log with so many records in each partition of topic t, which come in turns."""

    def __init__(self, *records: int) -> None:
        self.records = records
        self.assigned: dict[int, int] = {}
        self.closed = False

    def __call__(self, properties: dict[str, object]) -> Log:
        assert properties["bootstrap.servers"] == "here" and not properties["enable.auto.commit"]
        return self

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert {p.offset for p in partitions} == {OFFSET_BEGINNING}
        self.assigned = {p.partition: 0 for p in partitions}

    def consume(self, count: int, timeout: float) -> list[Record]:
        found = []
        for partition, position in self.assigned.items():
            if position < self.records[partition]:
                found.append(Record(partition, position))
                self.assigned[partition] += 1
        return found

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        for p in partitions:
            del self.assigned[p.partition]

    def close(self) -> None:
        self.closed = True


class Record(NamedTuple):
    number: int
    at: int

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at


def test_a_plain_consumer_reads_each_partition_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(5, 9, 0)
    monkeypatch.setattr(raw, "Consumer", log)
    raw.read({"bootstrap.servers": "here"}, {"t": {0: 5, 1: 3, 2: 0}})
    assert log.assigned == {} and log.closed


def test_a_plain_consumer_gives_up_where_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(2)
    monkeypatch.setattr(raw, "Consumer", log)
    monkeypatch.setattr(raw, "_SILENCE", -1.0)
    with pytest.raises(TimeoutError, match=r"nothing came for .* of \[\('t', 0\)\]"):
        raw.read({"bootstrap.servers": "here"}, {"t": {0: 3}})
    assert log.closed


def test_without_a_pass_through_there_is_no_ratio() -> None:
    (summary,) = summarise([row("once", 8, 12)])
    assert summary["ratio_to_pass_through"] is None


def test_a_process_is_counted_with_all_below_it() -> None:
    of = {p: Process(p, parent, 1.0, 100) for p, parent in ((1, 0), (2, 1), (3, 2), (4, 1), (5, 0))}
    assert sorted(p.pid for p in tree(1, of)) == [1, 2, 3, 4]
    assert tree(6, of) == []


@pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="the kernel's account is read from /proc"
)
def test_a_child_is_found_below_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = tree(os.getpid(), processes())
        assert child.pid in [p.pid for p in found] and found[0].memory > 1_000_000
        child.communicate(b"\n")


def test_idle_shares_are_each_programs_own_and_the_supervisors_without_them() -> None:
    def looked(at: float, taken: float, pids: dict[str, int]) -> idle.Look:
        of = {p: Process(p, parent, taken * p, 0) for p, parent in ((1, 0), (2, 1), (3, 2), (4, 1))}
        return idle.look(pids, of, at)

    pids = {"supervisor": 1, "kafka": 2, "controller": 4}
    before, after = looked(100, 1, pids), looked(200, 2, pids)
    assert idle.rows(before, after) == [
        {"program": "supervisor", "percent": 1.0},
        {"program": "kafka", "percent": 5.0},
        {"program": "controller", "percent": 4.0},
    ]
    with pytest.raises(RefusedError, match="others of controller"):
        idle.rows(before, looked(200, 2, {**pids, "controller": 3}))


@pytest.mark.parametrize(
    ("seconds", "cpu", "named"), [(4, 4, False), (8, 4, False), (4, 8, False), (8, 8, True)]
)
def test_what_got_slower_in_time_and_in_cpu_time_is_named(
    seconds: float, cpu: float, named: bool
) -> None:
    stored = summarise([row("pass_through", 1, 1), row("gold", 4, 4)])
    now = summarise([row("pass_through", 1, 1), row("gold", seconds, cpu), row("new", 9, 9)])
    expected = [
        "gold got slower: ratio_to_pass_through 0.25 → 0.125, cpu_ratio_to_pass_through 0.25 → 0.125"
    ]
    assert slower(now, stored) == (expected if named else [])


def test_lags_without_a_publication() -> None:
    row = Samples([10, 20, 30], {}).row("alone")
    assert row == {
        "readers": "alone",
        "samples": 3,
        "p50_records_behind": 20,
        "p99_records_behind": 30,
        "max_records_behind": 30,
        "publications": 0,
    }
    assert Samples([10], {7: 12.3}).row("alone")["p99_publication_ms"] == 12


@pytest.mark.parametrize(
    ("warm_up", "ran"), [(False, "a b a b"), (True, "a b a b a b")], ids=["cold", "warmed up"]
)
def test_what_warms_up_is_not_measured(warm_up: bool, ran: str) -> None:
    names: list[str] = []

    def run(name: str) -> dict[str, int]:
        names.append(name)
        return {"run": len(names)}

    rows = list(turns(run, ["a", "b"], 2, warm_up))
    assert " ".join(names) == ran
    first = 3 if warm_up else 1
    assert rows == [(turn, {"run": first + 2 * turn + i}) for turn in (0, 1) for i in (0, 1)]
