"""What cleaning leaves alone: files and snapshots that look like leftovers, and are not; and what it must not miss."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.io import FileIO

from jobs.product.folder import Product
from replay.controller import cleaning
from replay.iceberg import files, lake, table_changes
from tests.unit.lake_tables import (
    COLUMNS,
    JOB,
    make_product,
    make_settings,
    needed,
    on_disk,
    publish,
    sink,
)
from tests.unit.test_cleaning import (
    OTHER,
    data_file,
    expire,
    hand_over,
    product,
    refs,
    remove,
    tag,
    write,
)

__all__ = ["product"]


def age(written: set[str]) -> None:
    """Written in 1970."""
    for file in written:
        os.utime(file, (0, 0))


def metadata_folder(catalog: Catalog) -> Path:
    return Path(catalog.load_table("shop.orders").location().removeprefix("file://")) / "metadata"


def test_garbage_is_nothing_that_others_have_had_for_long(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    write(catalog, product, "r2-a1", 1, OTHER)
    publish(catalog, product, write(catalog, product, "r2-a1", 2, OTHER))
    theirs = on_disk(tmp_path)
    write(catalog, product, "r1-a1", 1)
    age(theirs)
    found = {
        f.removeprefix("file://")
        for f in cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    }
    assert found and not found & theirs
    before = on_disk(tmp_path)
    remove(catalog, product, "r1-a1")
    assert before - on_disk(tmp_path) == found


def merge_manifests(catalog: Catalog) -> None:
    """From now on, as Flink's sink does once there are many."""
    with catalog.load_table("shop.orders").transaction() as change:
        change.set_properties(
            {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"}
        )


def test_what_a_living_job_writes_is_kept_when_another_attempts_branch_stands_on_its_commits(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """Somebody dropped that branch; its job's next commit made it anew from main, and put the
    files of both jobs into one manifest."""
    merge_manifests(catalog)
    head = write(catalog, product, "r1-a1", 1)["orders"]
    snapshots = catalog.load_table("shop.orders").manage_snapshots()
    snapshots.remove_branch("r2-a1").create_branch(head, "r2-a1").commit()
    sink(catalog, "orders", "r2-a1", 1, [{"id": 2}], job_id=OTHER)
    written = data_file(catalog, "r1-a1")
    half = Path(shutil.copy(written, written.with_name(f"{written.stem}-00002.parquet")))
    assert remove(catalog, product, "r2-a1")
    assert half.exists()
    assert needed(catalog, product) <= on_disk(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "{job}-0a69cf2e-00000-0-7-00001.avro",
            id="handed to a checkpoint by a job that is down for long",
        ),
        pytest.param("20260101_00001_{job}.stats", id="statistics"),
        pytest.param("version-hint.text", id="somebody else's"),
    ],
)
def test_only_what_commits_write_is_a_leftover_of_one(
    catalog: Catalog, product: Product, tmp_path: Path, name: str
) -> None:
    write(catalog, product, "r1-a1", 1)
    file = metadata_folder(catalog) / name.format(job=JOB)
    file.write_bytes(b"Obj")
    age({str(file)})
    expire(catalog, product, keep_from=1)
    assert file.exists()


def test_what_is_handed_to_a_checkpoint_stays_while_its_job_lives(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
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


def test_nothing_is_expired_of_a_branch_that_somebody_dropped(
    catalog: Catalog, product: Product
) -> None:
    """So it can be made again where it was."""
    heads = [write(catalog, product, "r1-a1", c)["orders"] for c in range(1, 4)]
    catalog.load_table("shop.orders").manage_snapshots().remove_branch("r1-a1").commit()
    expire(catalog, product, keep_from=3)
    assert set(heads) <= {
        s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots
    }


def test_what_a_person_wrote_is_not_expired_with_what_jobs_wrote(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """Also if no ref reaches it any more."""
    for checkpoint in range(1, 5):
        write(catalog, product, "r1-a1", checkpoint)
    table = catalog.load_table("shop.orders")
    head = table.metadata.refs["r1-a1"].snapshot_id
    table.manage_snapshots().create_branch(head, "study").commit()
    table.append(table.scan(snapshot_id=head).to_arrow(), branch="study")
    written = table.metadata.refs["study"].snapshot_id
    table.manage_snapshots().remove_branch("study").commit()
    assert expire(catalog, product, keep_from=4) == 2 * 2
    assert catalog.load_table("shop.orders").scan(snapshot_id=written).to_arrow().num_rows == 2 * 4


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


def test_what_a_job_left_that_died_before_its_first_commit_is_garbage(
    catalog: Catalog, product: Product
) -> None:
    """Of which no snapshot tells; its attempt does."""
    write(catalog, product, "r1-a1", 1)
    handed = {str(f) for f in hand_over(catalog, product, OTHER)}

    def found(*job_ids: str) -> set[str]:
        return {
            files.path(f)
            for f in cleaning.garbage(catalog, "shop", product.outputs, "r1-a1", job_ids)
        }

    assert not found() & handed
    assert handed <= found(OTHER)


def test_what_nobody_is_known_to_write_is_left_for_a_day_and_an_hour(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """A clock may be set forward by an hour while a job writes."""
    write(catalog, product, "r1-a1", 1)
    unknown = {
        hours: data_file(catalog, "r1-a1").with_name(f"00000-0-{hours:036}-00001.parquet")
        for hours in (24, 26)
    }
    for hours, file in unknown.items():
        file.touch()
        moment = time.time() - 3600 * hours - 60
        os.utime(file, (moment, moment))
    remove(catalog, product, "r1-a1")
    assert [file.exists() for file in unknown.values()] == [True, False]


def test_a_manifest_that_is_committed_while_it_is_looked_at_hides_nothing(
    catalog: Catalog, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink deletes what it handed over once its commit has succeeded."""
    write(catalog, product, "r1-a1", 1)
    data, handed = hand_over(catalog, product, OTHER)
    read = files.files_of

    def deleted_before(io: FileIO, manifest: str) -> list[str]:
        if manifest.endswith(handed.name):
            handed.unlink(missing_ok=True)
        return read(io, manifest)

    monkeypatch.setattr(files, "files_of", deleted_before)
    found = {files.path(f) for f in cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")}
    assert len(found) == 2 * 3
    assert str(data) not in found


def test_the_age_up_to_which_a_branch_keeps_its_snapshots_is_heeded(
    catalog: Catalog, product: Product
) -> None:
    heads = [write(catalog, product, "r1-a1", c)["orders"] for c in range(1, 7)]
    snapshots = catalog.load_table("shop.orders").manage_snapshots()
    snapshots.create_branch(heads[2], "study", max_snapshot_age_ms=3_600_000).commit()
    expire(catalog, product, keep_from=6)
    kept = {s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots}
    assert [h in kept for h in heads] == [True, True, True, False, True, True]


def test_a_tag_keeps_its_snapshot_and_not_the_one_before(
    catalog: Catalog, product: Product
) -> None:
    heads = [write(catalog, product, "r1-a1", c)["orders"] for c in range(1, 7)]
    tag(catalog, "orders", heads[2])
    expire(catalog, product, keep_from=6)
    kept = {s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots}
    assert [h in kept for h in heads] == [False, False, True, False, True, True]


def test_a_commit_of_somebody_else_in_the_branch_does_not_hold_back_old_ones(
    catalog: Catalog, product: Product
) -> None:
    heads = [write(catalog, product, "r1-a1", 99, OTHER)["orders"]]
    heads += [write(catalog, product, "r1-a1", c)["orders"] for c in range(1, 5)]
    expire(catalog, product, keep_from=4)
    kept = {s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots}
    assert [h in kept for h in heads] == [False, False, False, True, True]


def test_manifests_that_were_merged_go_with_the_snapshots_that_name_them(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    merge_manifests(catalog)
    for checkpoint in range(1, 7):
        write(catalog, product, "r1-a1", checkpoint)
    named = needed(catalog, product)
    expire(catalog, product, keep_from=6)
    gone = named - needed(catalog, product)
    assert any("-m" in file for file in gone), "manifests are among them"
    assert not gone & on_disk(tmp_path)
    assert needed(catalog, product) <= on_disk(tmp_path)


def test_a_removal_goes_on_when_somebody_dropped_the_tables(
    catalog: Catalog, product: Product
) -> None:
    write(catalog, product, "r1-a1", 1)
    found = cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    for name in product.outputs:
        catalog.drop_table(("shop", name))
    cleaning.remove(catalog, "shop", product.outputs, "r1-a1", found)
    assert cleaning.garbage(catalog, "shop", product.outputs, "r1-a1") == ()


@pytest.fixture
def as_java_spells_it(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog whose tables name their files `file:/a`, as Flink's do, where Python lists them as `file:///a`."""
    with closing(lake.open_catalog(make_settings(tmp_path, f"file:{tmp_path}"))) as opened:
        yield opened


def test_a_file_is_the_same_however_it_is_spelled(
    as_java_spells_it: Catalog, tmp_path: Path
) -> None:
    catalog = as_java_spells_it
    product = make_product(tmp_path, columns={t: COLUMNS[t] for t in ("orders", "totals")})
    table_changes.ensure(catalog, product)
    for branch in ("r1-a1", "r2-a1"):
        lake.create_branch(catalog, product, branch)
    publish(catalog, product, write(catalog, product, "r2-a1", 1, OTHER))
    theirs = on_disk(tmp_path)
    age(theirs)
    for checkpoint in range(1, 5):
        write(catalog, product, "r1-a1", checkpoint)
    expire(catalog, product, keep_from=4)
    assert theirs <= on_disk(tmp_path)

    found = cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    assert not {files.path(f) for f in found} & theirs
    head = catalog.load_table("shop.orders").metadata.refs["r1-a1"].snapshot_id
    tag(catalog, "orders", head)
    cleaning.remove(
        catalog, "shop", product.outputs, "r1-a1", [f"file://{files.path(f)}" for f in found]
    )
    assert catalog.load_table("shop.orders").scan(snapshot_id=head).to_arrow().num_rows == 4
    assert theirs <= on_disk(tmp_path)
