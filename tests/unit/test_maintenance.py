"""Compaction: what is worth rewriting, what became of it, and what the controller makes of such a commit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from replay.cli import maintain as run_maintain
from replay.controller import cleaning
from replay.controller.platform import Platform
from replay.core.model import Attempt, Release, State
from replay.errors import ConfigError, ConflictError, KappaError, RetryableError
from replay.flink.rest import Flink, Slots
from replay.flink.submit import maintain_command
from replay.iceberg import branch_checkpoints, lake, table_changes
from replay.iceberg.maintenance import Compacted, sentence, size_in_bytes, sizes, too_small
from replay.output import Output
from replay.releases.release import MAINTENANCE, fingerprint_of
from replay.settings import Settings
from replay.store.store import Store
from tests.unit.lake_tables import (
    COLUMNS,
    JOB,
    compact,
    make_product,
    needed,
    on_disk,
    publish,
    sink,
)

MB = 2**20
BRANCH = "r1-a1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("128MB", 128 * MB), ("1 gb", 1024 * MB), ("2048KB", 2 * MB), ("1048576", MB)],
)
def test_sizes_of_files(text: str, expected: int) -> None:
    assert size_in_bytes(text) == expected


@pytest.mark.parametrize("text", ["128", "0MB", "1TB", "MB", "-1MB", "1.5GB"])
def test_what_is_no_size_of_a_file(text: str) -> None:
    with pytest.raises(ConfigError) as e:
        size_in_bytes(text)
    assert (e.value.found, e.value.next) == (text, "--target-file-size 128MB")


@pytest.mark.parametrize(
    ("megabytes", "worth"),
    [
        pytest.param([], 0, id="no files"),
        pytest.param([1, 1, 1, 1], 0, id="few"),
        pytest.param([1, 1, 1, 1, 1], 5, id="as many as Iceberg asks for"),
        pytest.param([90, 90], 2, id="few, but more than a file"),
        pytest.param([96, 128, 500], 0, id="large enough"),
        pytest.param([95, 1, 1, 1, 1, 128], 5, id="a large one stays"),
    ],
)
def test_what_is_worth_rewriting(megabytes: list[int], worth: int) -> None:
    assert (
        len(too_small({f"f{i}": size * MB for i, size in enumerate(megabytes)}, 128 * MB)) == worth
    )


BEFORE = {f"f{i}": MB for i in range(10)}


def compacted(after: dict[str, int], small: frozenset[str] = frozenset(BEFORE)) -> Compacted:
    return Compacted("orders", BEFORE, after, small, larger=1)


@pytest.mark.parametrize(
    ("one", "failed", "said"),
    [
        pytest.param(
            compacted({"new": 9 * MB, "appended": MB}),
            False,
            "10 small files of branch r1-a1 were put together; readers get the larger ones with the next "
            "checkpoint",
            id="all",
        ),
        pytest.param(
            compacted({"new": 4 * MB, **{f"f{i}": MB for i in range(5)}}),
            False,
            "5 small files of branch r1-a1 were put together; 5 are left for another run; readers get the larger "
            "ones with the next checkpoint",
            id="a part",
        ),
        pytest.param(
            compacted(BEFORE),
            True,
            "0 small files of branch r1-a1 were put together; 10 are left for another "
            "run; readers get the larger ones with the next checkpoint",
            id="nothing",
        ),
        pytest.param(
            compacted(BEFORE, frozenset()),
            False,
            "nothing to do: the small files are few",
            id="no need",
        ),
    ],
)
def test_what_became_of_a_table(one: Compacted, failed: bool, said: str) -> None:
    assert (one.failed, sentence([one], BRANCH, dry_run=False)) == (failed, said)


def test_what_is_shown_of_a_table() -> None:
    one = compacted({"new": 8 * MB, "appended": MB // 2})
    assert one.row() == {
        "table": "orders",
        "files": "10 → 2",
        "mean MB": "1.0 → 4.2",
        "MB": "10.0 → 8.5",
        "put together": "10 → 1",
    }
    assert one.row(dry_run=True) == {
        "table": "orders",
        "files": "10",
        "mean MB": "1.0",
        "MB": "10.0",
        "too small": 10,
    }
    assert one.as_dict() == {
        "table": "orders",
        "files_before": 10,
        "files_after": 2,
        "small": 10,
        "rewritten": 10,
        "larger": 1,
        "bytes_before": 10 * MB,
        "bytes_after": 8 * MB + MB // 2,
    }


# The controller's view of a compacted branch, on real tables


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    made = make_product(tmp_path, columns={"orders": COLUMNS["orders"]})
    table_changes.ensure(catalog, made)
    lake.create_branch(catalog, made, BRANCH)
    for checkpoint in (1, 2, 3):
        sink(catalog, "orders", BRANCH, checkpoint, [{"id": checkpoint}])
    return made


def test_a_compaction_is_published_with_the_next_checkpoint(
    catalog: Catalog, product: Product
) -> None:
    newest = branch_checkpoints.publishable(catalog, product, BRANCH, [JOB])[0]
    publish(catalog, product, newest.snapshots)
    compact(catalog, "orders", BRANCH)

    assert branch_checkpoints.publishable(catalog, product, BRANCH, [JOB])[0] == newest, (
        "it is no checkpoint"
    )
    assert lake.published(catalog, product).snapshots == newest.snapshots
    sink(catalog, "orders", BRANCH, 4)
    following = branch_checkpoints.publishable(catalog, product, BRANCH, [JOB])[0]
    publish(catalog, product, following.snapshots)
    table = catalog.load_table("shop.orders")
    tables = lake.tables_now(catalog, product)
    assert not branch_checkpoints.hold_same_files(tables, newest.snapshots, following.snapshots), (
        "it is worth publishing"
    )
    assert (following.id, len(list(table.scan().plan_files()))) == (4, 1)
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]


def test_a_compaction_that_lost_a_row_stops_publishing(catalog: Catalog, product: Product) -> None:
    strange = compact(catalog, "orders", BRANCH, lose=1)
    with pytest.raises(ConflictError) as e:
        branch_checkpoints.publishable(catalog, product, BRANCH, [JOB])
    assert (e.value.message, e.value.found) == (
        "in table orders it has commits that no job made",
        f"snapshot {strange}",
    )


def test_rows_that_somebody_appended_stop_publishing(catalog: Catalog, product: Product) -> None:
    table = catalog.load_table("shop.orders")
    table.append(
        table.scan(snapshot_id=table.metadata.refs[BRANCH].snapshot_id).to_arrow(), branch=BRANCH
    )
    with pytest.raises(ConflictError, match="in table orders it has commits that no job made"):
        branch_checkpoints.publishable(catalog, product, BRANCH, [JOB])


def test_the_small_files_go_with_the_snapshots_that_name_them(
    catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    small = set(sizes(lake.load_tables(catalog, "shop", ["orders"]), BRANCH)["orders"])
    compact(catalog, "orders", BRANCH)
    for checkpoint in (4, 5):
        sink(catalog, "orders", BRANCH, checkpoint)
    shown = branch_checkpoints.publishable(catalog, product, BRANCH, [JOB])[0].snapshots
    publish(catalog, product, shown)

    def expire(keep_from: int) -> int:
        return cleaning.expire(
            catalog,
            "shop",
            ["orders"],
            BRANCH,
            keep_from,
            [JOB],
            shown,
            datetime.now(UTC) + timedelta(days=1),
        )

    assert expire(4) == 2, (
        "the sink's own commit before checkpoint 4 stays, and so does the compaction after it"
    )
    assert expire(5) == 2
    assert on_disk(tmp_path) == needed(catalog, product)
    assert not {f.removeprefix("file://") for f in small} & on_disk(tmp_path)
    table = catalog.load_table("shop.orders")
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]


def test_it_is_no_part_of_a_release(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint_of(settings, product)
    monkeypatch.setattr(
        Path, "read_bytes", lambda p, read=Path.read_bytes: read(p) + b" " * (p == MAINTENANCE)
    )
    assert MAINTENANCE.is_file() and fingerprint_of(settings, product) == before


# The command

ATTEMPT = Attempt("shop", 1, 1, 0.0, 2, (JOB,), State.active)


@pytest.fixture
def platform(settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product is deployed, and no cluster is asked."""
    store = Store(settings.store)
    lease = store.acquire("shop", "test", 1e12)
    assert lease
    store.add_release(lease, Release("shop", 1, "f", 0.0, {}))
    store.save(lease, ATTEMPT)
    store.close()
    monkeypatch.setattr(run_maintain, "load_settings", lambda: settings)
    monkeypatch.setattr(Platform, "product", lambda *_: product)


def maintained(capsys: pytest.CaptureFixture[str], *, dry_run: bool = False) -> dict[str, Any]:
    run_maintain.maintain("shop", "128MB", dry_run, Output.json)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.usefixtures("platform")
def test_few_small_files_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_maintain, "run", lambda *_: pytest.fail("nothing is worth a job"))
    answer = maintained(capsys)
    assert [(t["files_before"], t["small"], t["rewritten"]) for t in answer["tables"]] == [
        (3, 0, 0)
    ]


@pytest.mark.usefixtures("platform")
def test_what_was_done_is_read_from_the_tables(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for checkpoint in (4, 5):
        sink(catalog, "orders", BRANCH, checkpoint, [{"id": checkpoint}])
    table = maintained(capsys, dry_run=True)["tables"][0]
    assert (table["files_after"], table["larger"]) == (5, 0)

    monkeypatch.setattr(run_maintain, "run", lambda *_: "no answer")
    with pytest.raises(KappaError) as e:
        maintained(capsys)
    assert str(e.value).splitlines() == [
        "the small files of orders are still there",
        "  expected: larger ones instead",
        "  found:    no answer",
        "  next:     kappa logs taskmanager; then: kappa maintain shop",
    ]

    def run(_: Settings, attempt: Attempt, tables: list[str], target: int) -> str:
        assert (attempt, tables, target) == (ATTEMPT, ["orders"], 128 * MB)
        compact(catalog, "orders", BRANCH)
        sink(catalog, "orders", BRANCH, 6, [{"id": 6}])  # the job goes on
        return "no answer"

    monkeypatch.setattr(run_maintain, "run", run)
    capsys.readouterr()
    answer = maintained(capsys)
    assert (answer["attempt"], answer["target_file_size"]) == (BRANCH, 128 * MB)
    assert [
        (t["files_before"], t["files_after"], t["rewritten"], t["larger"]) for t in answer["tables"]
    ] == [(5, 2, 5, 1)]


def test_a_product_that_was_never_deployed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_maintain, "load_settings", lambda: settings)
    with pytest.raises(ConfigError) as e:
        run_maintain.maintain("shop", "128MB", False, Output.text)
    assert (e.value.message, e.value.next) == (
        "nothing of 'shop' is published",
        "kappa deploy shop",
    )


@pytest.mark.parametrize(
    ("running", "slots", "message"),
    [
        (["c" * 32], Slots(2, 4), "a compaction of shop-r1-a1 is under way"),
        ([], Slots(0, 4), "Flink's session cluster has no task slot left"),
    ],
)
def test_when_a_run_has_to_wait(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    running: list[str],
    slots: Slots,
    message: str,
) -> None:
    monkeypatch.setattr(
        Flink, "running", lambda _, name: running if name == "shop-r1-a1-maintenance" else []
    )
    monkeypatch.setattr(Flink, "slots", lambda _: slots)
    with pytest.raises(RetryableError, match=message):
        run_maintain.run(settings, ATTEMPT, ["orders"], 128 * MB)


def test_the_command_line(settings: Settings) -> None:
    command = maintain_command(settings, Path("/b.json"), ["orders", "totals"], 128 * MB)
    assert command[1:4] == ["run", "-m", "127.0.0.1:1"] and "-d" not in command
    assert command[command.index("-py") + 1 :] == [
        str(MAINTENANCE),
        "--bindings",
        "/b.json",
        "--target-file-size",
        "134217728",
        "--table",
        "orders",
        "--table",
        "totals",
    ]
