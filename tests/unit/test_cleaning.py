"""What an ended attempt leaves is freed, and nothing else, on real Iceberg tables; live branches stay small."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import EqualTo

from jobs.product.folder import Product
from replay.controller import cleaning
from replay.errors import ConflictError, RefusedError, RetryableError
from replay.iceberg import branch_checkpoints, commits, files, lake, table_changes
from replay.kafka import log
from replay.query.duck import connect
from replay.settings import QuerySettings, Settings
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

T = TypeVar("T")
OTHER = "b" * 32
MOMENTS = timedelta(seconds=1)


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    """Two tables; attempts r1-a1 and r2-a1."""
    made = make_product(tmp_path, columns={t: COLUMNS[t] for t in ("orders", "totals")})
    table_changes.ensure(catalog, made)
    for branch in ("r1-a1", "r2-a1"):
        lake.create_branch(catalog, made, branch)
    return made


def write(
    catalog: Catalog, product: Product, branch: str, checkpoint: int, job_id: str = JOB
) -> dict[str, int]:
    """One checkpoint with a row in every table."""
    row = {"id": checkpoint, "amount": float(checkpoint)}
    return {
        t: sink(
            catalog,
            t,
            branch,
            checkpoint,
            [{c: v for c, v in row.items() if (t, c) != ("totals", "id")}],
            job_id=job_id,
        )
        for t in product.outputs
    }


def rows(catalog: Catalog, product: Product) -> dict[tuple[str, int], int]:
    """(table, snapshot) → rows, of every snapshot; DuckDB and pyiceberg read and agree."""
    found = {}
    with connect() as connection:
        for name in product.outputs:
            table = catalog.load_table((product.name, name))
            for s in table.metadata.snapshots:
                count = table.scan(snapshot_id=s.snapshot_id).to_arrow().num_rows
                sql = f"FROM iceberg_scan('{table.metadata_location}', snapshot_from_id => {s.snapshot_id})"
                assert connection.execute(f"SELECT count(*) {sql}").fetchone() == (count,)
                found[name, s.snapshot_id] = count
    return found


def refs(catalog: Catalog, table: str = "orders") -> set[str]:
    return set(catalog.load_table(("shop", table)).metadata.refs)


def tag(catalog: Catalog, table: str, snapshot: int, name: str = "audit") -> None:
    catalog.load_table(("shop", table)).manage_snapshots().create_tag(snapshot, name).commit()


def remove(catalog: Catalog, product: Product, branch: str) -> tuple[str, ...]:
    found = cleaning.garbage(catalog, "shop", product.outputs, branch)
    cleaning.remove(catalog, "shop", product.outputs, branch, found)
    return found


# Branches of ended attempts


def test_a_dropped_branch_frees_exactly_its_files(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    for checkpoint in (1, 2):
        write(catalog, product, "r1-a1", checkpoint)
        shown = write(catalog, product, "r2-a1", checkpoint, OTHER)
    publish(catalog, product, shown)
    before, all_rows = on_disk(tmp_path), rows(catalog, product)
    assert before == needed(catalog, product)

    found = remove(catalog, product, "r1-a1")

    assert len(found) == 2 * 2 * 3  # tables, checkpoints; manifest list, manifest, data file
    assert {f.removeprefix("file://") for f in found} == before - on_disk(tmp_path)
    assert on_disk(tmp_path) == needed(catalog, product)
    assert refs(catalog) == {"main", "genesis", "r2-a1"}
    left = rows(catalog, product)
    assert len(left) == 2 * 3  # genesis and two checkpoints
    assert left.items() <= all_rows.items()


def test_looking_for_garbage_changes_nothing(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    write(catalog, product, "r1-a1", 1)
    before = on_disk(tmp_path), lake.pointers(catalog, "shop")
    cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    assert (on_disk(tmp_path), lake.pointers(catalog, "shop")) == before


def test_what_main_shows_is_kept(catalog: Catalog, product: Product, tmp_path: Path) -> None:
    write(catalog, product, "r1-a1", 1)
    shown = write(catalog, product, "r1-a1", 2)
    publish(catalog, product, shown)
    write(catalog, product, "r1-a1", 3)

    assert len(remove(catalog, product, "r1-a1")) == 2 * 3  # the third checkpoint

    assert lake.published(catalog, product).snapshots == shown
    assert {rows(catalog, product)[item] for item in shown.items()} == {2}
    assert on_disk(tmp_path) == needed(catalog, product)


def test_what_a_person_tagged_is_kept(catalog: Catalog, product: Product, tmp_path: Path) -> None:
    tagged = write(catalog, product, "r1-a1", 1)["orders"]
    write(catalog, product, "r1-a1", 2)
    tag(catalog, "orders", tagged)
    assert len(remove(catalog, product, "r1-a1")) == 3 + 2 * 3
    assert rows(catalog, product)["orders", tagged] == 1
    assert on_disk(tmp_path) == needed(catalog, product)


def test_a_tag_set_after_the_files_were_listed_keeps_them(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    head = write(catalog, product, "r1-a1", 1)
    found = cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    tag(catalog, "orders", head["orders"])
    cleaning.remove(catalog, "shop", product.outputs, "r1-a1", found)
    assert rows(catalog, product)["orders", head["orders"]] == 1
    assert ("totals", head["totals"]) not in rows(catalog, product)
    assert on_disk(tmp_path) == needed(catalog, product)


def before_a_swap(monkeypatch: pytest.MonkeyPatch, act: Callable[[], T], times: int = 1) -> list[T]:
    """Have something happen between reading a table and swapping its pointer, so many times."""
    swap = commits._swap_pointers
    done: list[T] = []

    def patched(*arguments: Any) -> None:
        if len(done) < times:
            done.append(act())
        swap(*arguments)

    monkeypatch.setattr(commits, "_swap_pointers", patched)
    return done


def test_a_tag_set_during_the_commit_keeps_its_snapshot(
    catalog: Catalog, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = write(catalog, product, "r1-a1", 1)["orders"]
    before_a_swap(monkeypatch, lambda: tag(catalog, "orders", head))
    remove(catalog, product, "r1-a1")
    assert rows(catalog, product)["orders", head] == 1
    # what pyiceberg's own refused commits leave
    assert on_disk(tmp_path) == needed(catalog, product) | {
        f for f in on_disk(tmp_path) if f.endswith(".metadata.json")
    }


def test_commits_of_another_job_during_the_removal_are_kept(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(catalog, product, "r1-a1", 1)
    late = before_a_swap(
        monkeypatch, lambda: sink(catalog, "orders", "r2-a1", 1, [{"id": 1}], job_id=OTHER), times=2
    )
    remove(catalog, product, "r1-a1")
    assert len(late) == 2
    assert [rows(catalog, product)["orders", s] for s in late] == [1, 2]
    assert "r1-a1" not in refs(catalog)


def test_a_commit_after_the_files_were_listed_is_not_forgotten(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    write(catalog, product, "r1-a1", 1)
    found = cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    late = sink(catalog, "orders", "r1-a1", 2, [{"id": 2}])
    with pytest.raises(RetryableError) as e:
        cleaning.remove(catalog, "shop", product.outputs, "r1-a1", found)
    assert e.value.as_dict() == {
        "error": "RetryableError",
        "message": "branch r1-a1 of table shop.orders got commits while it was removed",
        "expected": "no commit after the job's end",
        "found": f"snapshot {late}",
        "next": "repeat the command",
    }
    remove(catalog, product, "r1-a1")
    assert on_disk(tmp_path) == needed(catalog, product)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_effect_and_repeated(
    catalog: Catalog, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Every commit and every deletion: each call gets as far as one more, and is killed before or after it."""
    shown = write(catalog, product, "r2-a1", 1, OTHER)
    publish(catalog, product, shown)
    write(catalog, product, "r1-a1", 1)
    found = cleaning.garbage(catalog, "shop", product.outputs, "r1-a1")
    left, kills = [0], 0

    def dying(effect: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any) -> None:
            if not after and not left[0]:
                raise KeyboardInterrupt
            effect(*arguments)
            left[0] -= 1
            if after and left[0] < 0:
                raise KeyboardInterrupt

        return wrapped

    commit = "attempt" if after else "_swap_pointers"
    monkeypatch.setattr(commits, commit, dying(getattr(commits, commit)))
    monkeypatch.setattr(files, "_delete", dying(files._delete))
    monkeypatch.setattr(files, "_THREADS", 1)
    while True:
        left[0] = kills
        try:
            cleaning.remove(catalog, "shop", product.outputs, "r1-a1", found)
            break
        except KeyboardInterrupt:
            kills += 1
    monkeypatch.undo()

    assert kills >= 4
    assert on_disk(tmp_path) - needed(catalog, product) == staged(
        catalog, product, tmp_path, killed=not after
    )
    assert lake.published(catalog, product).snapshots == shown
    assert len(rows(catalog, product)) == 2 * 2


def staged(catalog: Catalog, product: Product, home: Path, *, killed: bool) -> set[str]:
    """Metadata files of commits that were killed before they swapped a pointer; `expire` finds them by their age."""
    return (
        {f for f in on_disk(home) - needed(catalog, product) if f.endswith(".metadata.json")}
        if killed
        else set()
    )


def test_removing_again_changes_nothing(catalog: Catalog, product: Product) -> None:
    write(catalog, product, "r1-a1", 1)
    found = remove(catalog, product, "r1-a1")
    before = lake.pointers(catalog, "shop")
    cleaning.remove(catalog, "shop", product.outputs, "r1-a1", found)
    assert lake.pointers(catalog, "shop") == before
    assert cleaning.garbage(catalog, "shop", product.outputs, "r1-a1") == ()


def test_tables_that_were_never_made_have_no_garbage(catalog: Catalog) -> None:
    assert cleaning.garbage(catalog, "shop", ["orders"], "r1-a1") == ()
    cleaning.remove(catalog, "shop", ["orders"], "r1-a1", ())


@pytest.mark.parametrize("branch", ["main", "genesis"])
def test_main_and_genesis_are_never_removed(
    catalog: Catalog, product: Product, branch: str
) -> None:
    for call in (
        lambda: cleaning.garbage(catalog, "shop", product.outputs, branch),
        lambda: cleaning.remove(catalog, "shop", product.outputs, branch, ()),
    ):
        with pytest.raises(RefusedError) as e:
            call()
        assert str(e.value) == (
            f"{branch} is not a branch of an attempt\n"
            "  expected: a branch such as r1-a1\n"
            f"  found:    {branch}"
        )


def data_file(catalog: Catalog, branch: str) -> Path:
    """The first data file of a branch of `orders`."""
    table = catalog.load_table("shop.orders")
    task = next(iter(table.scan(snapshot_id=table.metadata.refs[branch].snapshot_id).plan_files()))
    return Path(task.file.file_path.removeprefix("file://"))


def hand_over(catalog: Catalog, product: Product, job_id: str) -> tuple[Path, Path]:
    """A data file and the manifest in which a job handed it to a checkpoint whose commit never came."""
    lake.create_branch(catalog, product, "lost")
    snapshot = sink(catalog, "orders", "lost", 1, [{"id": 1}])
    table = catalog.load_table("shop.orders")
    data, manifest_list = data_file(catalog, "lost"), table.metadata.snapshot_by_id(snapshot)
    assert manifest_list
    made = Path(manifest_list.manifests(table.io)[0].manifest_path.removeprefix("file://"))
    lake.drop_branch(catalog, product, "lost")
    catalog.load_table("shop.orders").maintenance.expire_snapshots().by_id(snapshot).commit()
    Path(manifest_list.manifest_list.removeprefix("file://")).unlink()
    return data, made.rename(made.with_name(f"{job_id}-0a69cf2e-00000-0-7-00001.avro"))


def test_files_that_a_cancelled_job_did_not_commit(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    write(catalog, product, "r1-a1", 1)
    write(catalog, product, "r2-a1", 1, OTHER)
    mine, others = data_file(catalog, "r1-a1"), data_file(catalog, "r2-a1")
    half = shutil.copy(mine, mine.with_name(f"{mine.stem}-00002.parquet"))
    handed = hand_over(catalog, product, JOB)
    stray = shutil.copy(
        mine, mine.with_name(f"00000-0-{'0' * 8}-0000-0000-0000-{'0' * 12}-00001.parquet")
    )
    os.utime(stray, (0, 0))

    half_of_other = shutil.copy(others, others.with_name(f"{others.stem}-00002.parquet"))
    handed_by_other = hand_over(catalog, product, OTHER)
    os.utime(handed_by_other[0], (0, 0))  # a job that is down for long, and can be resumed
    unknown = shutil.copy(
        mine, mine.with_name(f"00000-0-{'1' * 8}-0000-0000-0000-{'0' * 12}-00001.parquet")
    )

    gone = {half, *handed, stray}
    kept = {half_of_other, *handed_by_other, unknown}
    assert gone <= {Path(f.removeprefix("file://")) for f in remove(catalog, product, "r1-a1")}
    assert on_disk(tmp_path) == needed(catalog, product) | {str(f) for f in kept}


def test_checksums_beside_the_files_go_with_them(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    write(catalog, product, "r1-a1", 1)
    for file in map(Path, needed(catalog, product)):
        file.with_name(f".{file.name}.crc").touch()  # as Hadoop's local file system does
    remove(catalog, product, "r1-a1")
    beside = {str(f.with_name(f".{f.name}.crc")) for f in map(Path, needed(catalog, product))}
    assert {f for f in on_disk(tmp_path) if f.endswith(".crc")} <= beside


# Old snapshots of live branches


def expire(
    catalog: Catalog,
    product: Product,
    keep_from: int,
    *,
    published: Mapping[str, int] | None = None,
    older_than: datetime | None = None,
    job_ids: tuple[str, ...] = (JOB,),
) -> int:
    return cleaning.expire(
        catalog,
        "shop",
        product.outputs,
        "r1-a1",
        keep_from,
        job_ids,
        published or {},
        older_than or datetime.now(UTC) + MOMENTS,
    )


def checkpoints(catalog: Catalog, table: str = "orders", job: str = JOB) -> list[int]:
    """Of a job, those that are on its branch."""
    written = map(
        lake.written_by, lake.ancestors(catalog.load_table(("shop", table)).metadata, "r1-a1")
    )
    return sorted(checkpoint for by, checkpoint in written if by == job and checkpoint is not None)


def test_old_snapshots_go_and_the_writer_goes_on(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    heads = [write(catalog, product, "r1-a1", c) for c in range(1, 8)]
    publish(catalog, product, heads[-1])
    before = on_disk(tmp_path)

    assert expire(catalog, product, keep_from=5) == 2 * 3

    # and the one before the oldest
    assert checkpoints(catalog) == checkpoints(catalog, "totals") == [4, 5, 6, 7]
    freed = before - on_disk(tmp_path)
    assert len(freed) == 2 * 3  # manifest lists; the head has all manifests and data files
    assert all("/snap-" in f for f in freed)
    assert on_disk(tmp_path) == needed(catalog, product)
    assert refs(catalog) == {"main", "genesis", "r1-a1", "r2-a1"}
    head = write(catalog, product, "r1-a1", 8)
    publish(catalog, product, head)
    assert rows(catalog, product)["orders", head["orders"]] == 8
    assert [c.id for c in branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB])] == [
        8,
        7,
        6,
        5,
        4,
    ]


def test_what_a_branch_that_was_made_anew_stands_on_is_kept_so_that_it_is_seen(
    catalog: Catalog, product: Product
) -> None:
    """Somebody drops a branch, and its job's next commit recreates it from main, of another attempt's rows."""
    for checkpoint in range(1, 4):
        publish(catalog, product, write(catalog, product, "r1-a1", checkpoint))
    catalog.load_table("shop.orders").manage_snapshots().remove_branch("r2-a1").commit()
    head = catalog.load_table("shop.orders").metadata.refs["main"].snapshot_id
    catalog.load_table("shop.orders").manage_snapshots().create_branch(head, "r2-a1").commit()
    for table in product.outputs:
        sink(catalog, table, "r2-a1", 1, job_id=OTHER)
    for checkpoint in range(4, 9):
        publish(catalog, product, write(catalog, product, "r1-a1", checkpoint))
    expire(catalog, product, keep_from=8)
    with pytest.raises(ConflictError):
        branch_checkpoints.publishable(catalog, product, "r2-a1", [OTHER])


def test_nothing_is_old_enough_for_a_reader_in_its_grace(
    catalog: Catalog, product: Product
) -> None:
    for checkpoint in range(1, 5):
        write(catalog, product, "r1-a1", checkpoint)
    before = lake.pointers(catalog, "shop")
    assert (
        expire(catalog, product, keep_from=4, older_than=datetime.now(UTC) - cleaning.READER_GRACE)
        == 0
    )
    assert lake.pointers(catalog, "shop") == before


def test_a_reader_has_as_long_as_the_manual_says_and_longer_than_a_query_may_take() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "growth.md").read_text()
    assert "what readers saw within the last hour" in manual
    assert timedelta(seconds=QuerySettings().seconds) < cleaning.READER_GRACE == timedelta(hours=1)


def test_what_main_showed_until_a_moment_ago_is_kept_for_its_readers(
    catalog: Catalog, product: Product
) -> None:
    heads = [write(catalog, product, "r1-a1", c) for c in range(1, 6)]
    publish(catalog, product, heads[0])
    publish(catalog, product, heads[1])
    time.sleep(0.002)
    moment = datetime.now(UTC)  # all are older; main shows the second, which it ceases to only now
    time.sleep(0.002)
    publish(catalog, product, heads[4])
    assert expire(catalog, product, keep_from=4, older_than=moment) == 2
    kept = {s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots}
    assert heads[0]["orders"] not in kept
    assert heads[1]["orders"] in kept


def test_tags_and_what_is_to_be_published_are_kept(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    heads = [write(catalog, product, "r1-a1", c) for c in range(1, 7)]
    tag(catalog, "orders", heads[0]["orders"])
    published = {"orders": heads[1]["orders"], "totals": heads[1]["totals"]}
    assert expire(catalog, product, keep_from=6, published=published) == 2 + 3
    left = rows(catalog, product)
    assert left["orders", heads[0]["orders"]] == 1
    assert left["totals", published["totals"]] == 2
    assert on_disk(tmp_path) == needed(catalog, product)


def test_a_branchs_own_retention_is_heeded(catalog: Catalog, product: Product) -> None:
    heads = [write(catalog, product, "r1-a1", c) for c in range(1, 7)]
    catalog.load_table("shop.orders").manage_snapshots().create_branch(
        heads[2]["orders"], "study", min_snapshots_to_keep=2
    ).commit()
    expire(catalog, product, keep_from=6)
    kept = {s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots}
    assert [h["orders"] in kept for h in heads] == [False, True, True, False, True, True]


def test_checkpoints_of_the_job_before_a_resume_are_restorable(
    catalog: Catalog, product: Product
) -> None:
    """The old job committed beyond the checkpoint that the new one was resumed from."""
    for job, checkpoint in [(OTHER, 1), (OTHER, 2), (OTHER, 3), (OTHER, 4), (JOB, 3), (JOB, 4)]:
        write(catalog, product, "r1-a1", checkpoint, job)
    assert expire(catalog, product, keep_from=3, job_ids=(OTHER, JOB)) == 2
    assert checkpoints(catalog, job=OTHER) == [2, 3, 4]
    assert checkpoints(catalog) == [3, 4]


def test_a_checkpoint_without_its_commit_yet_ends_nothing(
    catalog: Catalog, product: Product
) -> None:
    for checkpoint in range(1, 5):
        write(catalog, product, "r1-a1", checkpoint)
    assert expire(catalog, product, keep_from=5) == 0


def test_files_that_a_compaction_replaced_are_freed(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    for checkpoint in range(1, 4):
        write(catalog, product, "r1-a1", checkpoint)
    old = data_file(catalog, "r1-a1")
    table = catalog.load_table("shop.orders")
    table.delete(EqualTo(term="id", value=2), branch="r1-a1")
    for checkpoint in range(4, 7):
        write(catalog, product, "r1-a1", checkpoint)
    two = [f for f in on_disk(tmp_path) if f.endswith(".parquet")]
    expire(catalog, product, keep_from=5)
    assert len(two) - len([f for f in on_disk(tmp_path) if f.endswith(".parquet")]) == 1
    assert on_disk(tmp_path) == needed(catalog, product)
    assert old.exists()
    assert set(rows(catalog, product).values()) == {0, 3, 4, 5, 6}


def test_snapshots_that_no_ref_reaches_any_more_go(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """main held on to the last one of an attempt that was removed, and has moved on."""
    ended = write(catalog, product, "r2-a1", 1, OTHER)
    publish(catalog, product, ended)
    remove(catalog, product, "r2-a1")
    publish(catalog, product, write(catalog, product, "r1-a1", 1))
    assert expire(catalog, product, keep_from=1) == 2
    assert ended["orders"] not in {
        s.snapshot_id for s in catalog.load_table("shop.orders").metadata.snapshots
    }
    assert on_disk(tmp_path) == needed(catalog, product)


def test_a_crash_before_the_deletions_is_made_good_later(
    catalog: Catalog, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for checkpoint in range(1, 6):
        write(catalog, product, "r1-a1", checkpoint)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files, "_delete", die)
        with pytest.raises(KeyboardInterrupt):
            expire(catalog, product, keep_from=5)
    left = on_disk(tmp_path) - needed(catalog, product)
    assert len(left) == 2 * 3
    expire(catalog, product, keep_from=5)
    assert on_disk(tmp_path) - needed(catalog, product) == left  # as young as a commit under way
    for file in on_disk(tmp_path):
        os.utime(file, (0, 0))
    for table in product.outputs:
        # that the newest is no older than the rest shows how old these are
        os.utime(files.path(catalog.load_table(("shop", table)).metadata_location))
    expire(catalog, product, keep_from=5)
    assert on_disk(tmp_path) == needed(catalog, product)


def test_what_a_commit_under_way_wrote_survives_a_clock_set_forward_by_an_hour(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """To the controller, whose clock it is, the file of a moment ago is an hour old."""
    write(catalog, product, "r1-a1", 1)
    folder = Path(catalog.load_table("shop.orders").location().removeprefix("file://")) / "metadata"
    young, old = (folder / f"snap-{n}-0-{'0' * 8}-0000-0000-0000-{'0' * 12}.avro" for n in (1, 2))
    for file, minutes in ((young, 61), (old, 121)):
        file.touch()
        moment = time.time() - 60 * minutes
        os.utime(file, (moment, moment))
    expire(catalog, product, keep_from=1)
    assert (young.exists(), old.exists()) == (True, False)


def test_a_commit_while_old_snapshots_go_is_kept(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for checkpoint in range(1, 6):
        write(catalog, product, "r1-a1", checkpoint)
    late = before_a_swap(monkeypatch, lambda: sink(catalog, "orders", "r1-a1", 6, [{"id": 6}]))
    assert expire(catalog, product, keep_from=5) == 2 * 3
    assert rows(catalog, product)["orders", late[0]] == 6


# What is outside of the tables


@pytest.fixture
def attempt_files(tmp_path: Path) -> Path:
    for file in (
        "checkpoints/shop/r1-a1/0af3/chk-7/_metadata",
        "checkpoints/shop/r2-a1/91cc/chk-2/_metadata",
        "attempts/shop/r1-a1.json",
        "attempts/shop/r2-a1.json",
        "attempts/shop/r1-a1.lib/flink.jar",
        "attempts/shop/r2-a1.lib/flink.jar",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def test_what_is_outside_of_the_tables_is_forgotten(
    attempt_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[str] = []
    monkeypatch.setattr(log, "delete_group", lambda _, group: groups.append(group))
    for _ in range(2):
        cleaning.forget(
            make_settings(attempt_files),
            "shop",
            "r1-a1",
            "kappa-shop-r1-a1",
            f"file://{attempt_files}/checkpoints/shop/r1-a1",
        )
    assert groups == ["kappa-shop-r1-a1"] * 2
    assert {str(f.relative_to(attempt_files)) for f in attempt_files.rglob("*") if f.is_file()} == {
        "checkpoints/shop/r2-a1/91cc/chk-2/_metadata",
        "attempts/shop/r2-a1.json",
        "attempts/shop/r2-a1.lib/flink.jar",
    }


def test_a_whole_file_system_is_never_removed(settings: Settings) -> None:
    with pytest.raises(ValueError, match="is a whole file system"):
        cleaning.remove_checkpoints(settings, "file:///")
