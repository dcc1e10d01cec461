"""What cleaning leaves alone: files and snapshots that look like leftovers, and are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog

from jobs.product import Product
from replay import cleaning
from tests.unit.lake_tables import JOB, needed, on_disk, publish, sink
from tests.unit.test_cleaning import OTHER, expire, hand_over, product, refs, remove, write

__all__ = ["product"]


def age(files: set[str]) -> None:
    """Written in 1970."""
    for file in files:
        os.utime(file, (0, 0))


def metadata_folder(catalog: Catalog) -> Path:
    return Path(catalog.load_table("shop.orders").location().removeprefix("file://")) / "metadata"


def test_garbage_is_nothing_that_others_have_had_for_long(
        catalog: Catalog, product: Product, tmp_path: Path) -> None:
    write(catalog, product, "r2-a1", 1, OTHER)
    publish(catalog, product, write(catalog, product, "r2-a1", 2, OTHER))
    theirs = on_disk(tmp_path)
    write(catalog, product, "r1-a1", 1)
    age(theirs)
    found = {f.removeprefix("file://") for f in cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")}
    assert found and not found & theirs
    before = on_disk(tmp_path)
    remove(catalog, product, "r1-a1")
    assert before - on_disk(tmp_path) == found


@pytest.mark.parametrize("name", [
    pytest.param("{job}-0a69cf2e-00000-0-7-00001.avro", id="handed to a checkpoint by a job that is down for long"),
    pytest.param("20260101_00001_{job}.stats", id="statistics"),
    pytest.param("version-hint.text", id="somebody else's"),
])
def test_only_what_commits_write_is_a_leftover_of_one(
        catalog: Catalog, product: Product, tmp_path: Path, name: str) -> None:
    write(catalog, product, "r1-a1", 1)
    file = metadata_folder(catalog) / name.format(job=JOB)
    file.write_bytes(b"Obj")
    age({str(file)})
    expire(catalog, product, keep_from=1)
    assert file.exists()


def test_what_is_handed_to_a_checkpoint_stays_while_its_job_lives(
        catalog: Catalog, product: Product, tmp_path: Path) -> None:
    """Though it is old, and its snapshots are expired meanwhile."""
    handed = {str(f) for f in hand_over(catalog, product, JOB)}
    for checkpoint in range(1, 5):
        write(catalog, product, "r1-a1", checkpoint)
    age(handed)
    expire(catalog, product, keep_from=4)
    assert handed <= on_disk(tmp_path)


def test_a_snapshot_of_the_very_moment_is_young(catalog: Catalog, product: Product) -> None:
    second = [write(catalog, product, "r1-a1", c)["orders"] for c in range(1, 5)][1]
    metadata = catalog.load_table("shop.orders").metadata
    snapshot = metadata.snapshot_by_id(second)
    assert snapshot
    moment = snapshot.timestamp_ms
    assert second not in cleaning.expirable(metadata, "r1-a1", 4, [JOB], None, moment)
    assert second in cleaning.expirable(metadata, "r1-a1", 4, [JOB], None, moment + 1)


def test_nothing_is_expired_of_a_branch_that_somebody_dropped(catalog: Catalog, product: Product) -> None:
    """So it can be made again where it was."""
    heads = [write(catalog, product, "r1-a1", c)["orders"] for c in range(1, 4)]
    catalog.load_table("shop.orders").manage_snapshots().remove_branch("r1-a1").commit()
    expire(catalog, product, keep_from=3)
    assert set(heads) <= {s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots}


def test_a_product_of_one_table(catalog: Catalog, product: Product, tmp_path: Path) -> None:
    for checkpoint in range(1, 5):
        sink(catalog, "orders", "r1-a1", checkpoint, [{"id": 1}])
    found = cleaning.garbage(catalog, "shop", ["orders"], "r1-a1")
    before = on_disk(tmp_path)
    cleaning.remove(catalog, "shop", ["orders"], "r1-a1", found)
    assert before - on_disk(tmp_path) == {f.removeprefix("file://") for f in found}
    assert "r1-a1" not in refs(catalog)
    assert on_disk(tmp_path) == needed(catalog, product)
    assert "r1-a1" in refs(catalog, "totals")
