"""The small files of a live job are put together while it goes on: fewer files, the same rows, and nobody is disturbed.

Runs on the home that the story of the flights product leaves, or on an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyiceberg.table.metadata import TableMetadata

from replay import offsets
from replay.iceberg import lake, maintenance
from replay.kafka import log
from replay.query import query
from tests.integration.flights_product import (
    FLIGHTS_A_YEAR,
    KEYS,
    NAME,
    Product,
    Reader,
    loading,
    readers_were_never_deceived,
)
from tests.integration.running import RunningStack, wait_until

pytestmark = pytest.mark.timeout(600)

MB = 2**20


@pytest.fixture(scope="module")
def product(stack: RunningStack) -> Iterator[Product]:
    """The product with an attempt on standby, and a reader that never rests."""
    stack.kappa("load", NAME, "--until", "2014-01-01")
    reader = Reader(stack)
    made = Product(stack, reader)
    if not made.state.active:
        made.deploy()
    if not made.state.standbys:
        made.deploy("--again", "--auto-switch")
    reader.start()
    try:
        yield made
    finally:
        reader.stop()


def test_small_files_are_put_together_beside_the_live_job(product: Product) -> None:
    stack, branch = product.stack, product.active.name
    standby = product.state.standbys[-1].name
    product.reader.only_job = True
    with loading(stack, scale=2):
        wait_until(
            lambda: all(
                maintenance.too_small(s, 128 * MB) for s in sizes(product, branch).values()
            ),
            120,
            "small files in every table",
        )
        before = tables(product)
        answer = stack.kappa.json("maintain", NAME)
        product.wait_published_beyond(product.active.checkpoint, "after the compaction")

    assert (answer["attempt"], answer["target_file_size"], answer["dry_run"]) == (
        branch,
        128 * MB,
        False,
    )
    for table in answer["tables"]:
        assert table["rewritten"] == table["small"] == table["files_before"] >= 5, table
        assert table["larger"] < table["rewritten"], "whatever the job wrote meanwhile"
    for name, metadata in tables(product).items():
        compacted = [
            s for s in compactions(metadata, branch) if s not in compactions(before[name], branch)
        ]
        assert len(compacted) == 1, f"one commit to the live branch of {name}"
        assert compactions(metadata, standby) == compactions(before[name], standby)
        assert not set(compacted) & {entry.snapshot_id for entry in metadata.snapshot_log}, (
            "main never was there"
        )
        compaction = metadata.snapshot_by_id(compacted[0])
        assert compaction
        parent = compaction.parent_snapshot_id
        assert parent and rows(product, name, parent).equals(rows(product, name, compacted[0]))
        assert checksum(product, name, parent) == checksum(product, name, compacted[0])

        shown = [s.snapshot_id for s in lake.ancestors(metadata, lake.MAIN)]
        assert compacted[0] in shown, f"readers have the larger files of {name}"


def test_the_job_goes_on_from_its_checkpoint(product: Product) -> None:
    stack, attempt = product.stack, product.active
    program = f"taskmanager-{attempt.cluster}" if attempt.cluster else "taskmanager"
    newest = attempt.checkpoint
    stack.wait_restarted(program, stack.kill(program))
    product.wait_published_beyond(newest + 1, "after the TaskManager was killed")
    stack.kappa("load", NAME, "--scale", "2", "--until", "2014-03-10")
    ends = log.end_offsets(stack.settings, ["flights", "weather"])
    wait_until(
        lambda: offsets.covers(product.published.covered, ends), 120, "the rest is published"
    )

    assert product.active.name == attempt.name and product.active.job_ids == attempt.job_ids
    assert restarts(product) > 0
    stack.kappa("audit", NAME)
    readers_were_never_deceived(product)


def test_another_attempt_has_the_same_rows(product: Product) -> None:
    """The one on standby was not compacted; its job goes on too."""
    stack, standby = product.stack, product.state.standbys[-1].name
    ends = log.end_offsets(stack.settings, ["flights", "weather"])
    wait_until(
        lambda: any(
            offsets.covers(p.offsets, ends) for p in product.state.attempt(standby).positions
        ),
        120,
        "the attempt on standby has read the log to its end",
    )
    report = stack.kappa.json("diff", NAME, "--new", standby)
    assert report["equal"] and report["not_compared"] == {}, report
    assert report["tables"][0]["same"] > FLIGHTS_A_YEAR, "also what came during the compaction"


def sizes(product: Product, branch: str) -> dict[str, maintenance.Sizes]:
    catalog = lake.open_catalog(product.stack.settings)
    return maintenance.sizes(lake.load_tables(catalog, NAME, KEYS), branch)


def tables(product: Product) -> dict[str, TableMetadata]:
    catalog = lake.open_catalog(product.stack.settings)
    return {name: catalog.load_table((NAME, name)).metadata for name in KEYS}


def compactions(metadata: TableMetadata, branch: str) -> list[int]:
    return [s.snapshot_id for s in lake.ancestors(metadata, branch) if lake.same_rows(s)]


def rows(product: Product, table: str, snapshot: int) -> pa.Table:
    """Every row of a snapshot as pyiceberg reads it, in order of its key."""
    found = (
        lake.open_catalog(product.stack.settings)
        .load_table((NAME, table))
        .scan(snapshot_id=snapshot)
        .to_arrow()
    )
    return found.sort_by([(k, "ascending") for k in KEYS[table]])


def checksum(product: Product, table: str, snapshot: int) -> list[dict[str, Any]]:
    """The same as DuckDB reads it: number of rows, and a sum over all their values."""
    sql = f"SELECT count(*) AS n, sum(hash(t)::HUGEINT) AS sum FROM {table} t"
    return query.query(product.stack.settings, NAME, sql, snapshots={table: snapshot}).rows


def restarts(product: Product) -> int:
    rest = product.active.rest or product.stack.settings.flink.rest
    metrics = httpx.get(
        f"{rest}/jobs/{product.active.job_id}/metrics",
        params={"get": "numRestarts"},
        trust_env=False,
    )
    return int(float(metrics.json()[0]["value"]))
