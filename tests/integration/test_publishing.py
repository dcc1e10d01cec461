"""Hundreds of publishes and switches under load, on SQLite, on PostgreSQL and on a REST catalog.

No reader ever sees a mix, or goes back unless all do.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from replay.core.events import Reason
from replay.core.model import Move
from replay.iceberg import lake, table_changes
from replay.store.store import Store
from tests import postgres_server
from tests.integration.publishing_roles import (
    JOBS,
    REST,
    SLOW,
    TABLES,
    Done,
    product_of,
    settings_of,
)
from tests.integration.running import wait_until
from tests.object_store import ObjectStore

ROOT = Path(__file__).parents[2]
PUBLISHES = {
    "sqlite": int(os.environ.get("KAPPA_PUBLISHES", "300")),
    "postgresql": int(os.environ.get("KAPPA_PUBLISHES", "96")),
    "rest": int(os.environ.get("KAPPA_PUBLISHES", "48")),
}
EVERY = 6
"""One in so many is a switch."""
READERS = ("kappa", "kappa-2", "duckdb", "pyiceberg")
READERS_OF_REST = ("kappa", "kappa-2", "pyiceberg", "pyiceberg-2")
"""Without one that asks the catalog's database itself."""


@contextmanager
def running(home: Path, *roles: tuple[str, ...]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes by name; they are asked to end, and all must end well."""
    started = {}
    try:
        for role, *arguments in roles:
            command = [
                sys.executable,
                "-m",
                "tests.integration.publishing_roles",
                role,
                str(home),
                *arguments,
            ]
            with (home / f"{role}.log").open("ab") as log:
                started[" ".join([role, *arguments])] = subprocess.Popen(
                    command, cwd=ROOT, stderr=log
                )
        yield started
    finally:
        (home / "stop").touch()
        codes = {name: process.wait(60) for name, process in started.items()}
    assert set(codes.values()) == {0}, (
        codes,
        "".join(f.read_text() for f in home.glob("*.log"))[-3000:],
    )


def lines(home: Path, role: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / f"{role}.jsonl").read_text().splitlines()]


def complaints(reads: list[dict[str, Any]], published: list[Done]) -> list[str]:
    """What is wrong with the reads of one reader: every one is judged.

    It saw one release and one checkpoint in all tables, whole; one that was published no earlier than the last one
    before the read began, and no later than it ended; and nothing older than its own read before.
    """
    found, last = [], -1
    for read in reads:
        seen = read["seen"]
        if isinstance(seen, str):
            found.append(seen)
            continue
        states = {
            (tuple(releases), checkpoint, rows, position)
            for releases, checkpoint, rows, position in seen.values()
        }
        oldest = max(last, bisect_left(published, read["begun"], key=lambda p: p.finished) - 1)
        newest = bisect_right(published, read["ended"], key=lambda p: p.started) - 1
        if not seen and oldest < 0:
            continue
        if len(seen) != len(TABLES) or len(states) != 1:
            found.append(f"mixed: {seen}")
            continue
        ((releases, checkpoint, rows, position),) = states
        if len(releases) != 1 or rows != checkpoint:
            found.append(f"not one checkpoint of one release: {seen}")
            continue
        wanted = (releases[0], checkpoint, position)
        at = next(
            (
                i
                for i in range(max(oldest, 0), newest + 1)
                if (published[i].release, published[i].checkpoint, published[i].position) == wanted
            ),
            None,
        )
        if at is None:
            found.append(f"{wanted} is none of publications {oldest} to {newest}")
        else:
            last = at
    return found


def seen(
    release: str, checkpoint: int, **others: tuple[list[str], int, int, int]
) -> dict[str, Any]:
    return {
        **{table: ([release], checkpoint, checkpoint, checkpoint) for table in TABLES},
        **others,
    }


@pytest.mark.parametrize(
    ("reads", "complaint"),
    [
        ([(1.5, seen("r1-a1", 4)), (3.5, seen("r2-a1", 6))], None),
        ([(2.5, seen("r1-a1", 4))], None),  # the next one began already, and is not done
        ([(2.5, seen("r2-a1", 6))], None),
        ([(0.5, {})], None),
        ([(1.5, {})], "mixed"),
        ([(1.5, seen("r1-a1", 4, totals=(["r2-a1"], 4, 4, 4)))], "mixed"),
        ([(1.5, seen("r1-a1", 4, totals=(["r1-a1"], 5, 5, 5)))], "mixed"),
        (
            [(1.5, {table: (["r1-a1", "r2-a1"], 4, 4, 4) for table in TABLES})],
            "not one checkpoint of one release",
        ),
        (
            [(1.5, {table: (["r1-a1"], 4, 3, 4) for table in TABLES})],
            "not one checkpoint of one release",
        ),
        ([(1.5, seen("r1-a1", 3))], "is none of publications"),
        ([(1.5, seen("r2-a1", 6))], "is none of publications"),
        ([(3.5, seen("r1-a1", 4))], "is none of publications"),
        ([(2.4, seen("r2-a1", 6)), (2.5, seen("r1-a1", 4))], "is none of publications"),
        ([(1.5, "IOException: no such file")], "no such file"),
    ],
    ids=[
        "in order",
        "before",
        "after",
        "nothing yet",
        "nothing",
        "two releases",
        "two checkpoints",
        "a table with two",
        "a row is missing",
        "never published",
        "too early",
        "too late",
        "back",
        "failed",
    ],
)
def test_what_is_wrong_with_a_read_is_seen(
    reads: list[tuple[float, Any]], complaint: str | None
) -> None:
    published = [
        Done(Move.switch, "r1-a1", 4, 4, 1.0, 1.2, 0.2, 0),
        Done(Move.switch, "r2-a1", 6, 6, 2.0, 3.0, 1.0, 0),
    ]
    found = complaints([{"begun": at, "ended": at, "seen": what} for at, what in reads], published)
    assert [complaint in text for text in found] == [True] if complaint else not found


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("rest", marks=pytest.mark.soak)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where catalog and store are. PostgreSQL is one as people have it, which waits for the disk.

    Readers ask the REST catalog for one table after the other; beside it the store is SQLite.
    """
    if request.param == "rest":
        store: ObjectStore = request.getfixturevalue("rest_store")
        described = {"catalog": store.catalog, "storage": dict(store.properties)}
        (tmp_path / REST).write_text(json.dumps(described))
    if request.param != "postgresql":
        yield request.param
        return
    if postgres_server.binaries() is None:
        pytest.skip(postgres_server.MISSING)
    with postgres_server.own() as server:
        (tmp_path / "database").write_text(server.database())
        yield request.param


@pytest.mark.timeout(3000)
def test_publishes_and_switches(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publishes = PUBLISHES[database]
    switches = math.ceil(publishes / EVERY)
    settings, product = settings_of(tmp_path), product_of(tmp_path)
    with closing(lake.open_catalog(settings)) as catalog:
        table_changes.ensure(catalog, product)
        for branch in JOBS:
            lake.create_branch(catalog, product, branch)
            (tmp_path / f"pace-{branch}").write_text(str(SLOW))

    readers = READERS_OF_REST if database == "rest" else READERS
    roles = [("job", branch) for branch in JOBS] + [(reader,) for reader in readers]
    with running(tmp_path, *roles, ("publisher", str(publishes), str(EVERY))) as processes:
        wait_until(
            lambda: any(p.poll() is not None for p in processes.values()),
            2700,
            "the publisher is done",
        )

    published = [
        Done(**{**line, "kind": Move(line["kind"])}) for line in lines(tmp_path, "publisher")
    ]
    kinds = Counter(p.kind for p in published)
    assert kinds == {
        Move.publish: publishes - switches,
        Move.switch: switches // 2 + 1,
        Move.rollback: switches - switches // 2 - 1,
    }
    assert all(
        (after.position < before.position) == (after.kind is Move.rollback)
        for before, after in pairwise(published)
    )
    with closing(Store(settings.store)) as store:
        events = Counter(e.reason for e in store.events("shop"))
    assert (events[Reason.switch], events[Reason.rollback]) == (
        kinds[Move.switch],
        kinds[Move.rollback],
    )

    reads = {reader: lines(tmp_path, reader) for reader in readers}
    assert {
        reader: found for reader, r in reads.items() if (found := complaints(r, published))
    } == {}
    assert all(len(r) >= switches for r in reads.values()), {
        reader: len(r) for reader, r in reads.items()
    }

    latencies = statistics.quantiles((p.latency for p in published), n=100, method="inclusive")
    journaled = statistics.quantiles(
        (p.finished - p.started for p in published), n=100, method="inclusive"
    )
    snapshots = [p.snapshots // len(TABLES) for p in published]
    assert any(after < before for before, after in pairwise(snapshots)), "old snapshots do not go"
    with capsys.disabled():
        sys.stderr.write(
            f"\n{database}: {len(published)} publishes, {kinds[Move.switch]} switches,"
            f" {kinds[Move.rollback]} rollbacks in {published[-1].finished - published[0].started:.0f} s"
            f"; main moved in p50 {latencies[49] * 1000:.0f} ms, p99 {latencies[98] * 1000:.0f} ms,"
            f" max {max(p.latency for p in published) * 1000:.0f} ms; with the journal p50"
            f" {journaled[49] * 1000:.0f} ms, p99 {journaled[98] * 1000:.0f} ms"
            f"; snapshots per table up to {max(snapshots)}"
            f"; reads {', '.join(f'{reader} {len(r)}' for reader, r in reads.items())}\n"
        )
