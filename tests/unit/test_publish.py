"""Publishing: all tables or none, nothing lost, nothing mixed, on real Iceberg tables in a SQL catalog."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from jobs.product.folder import Product
from replay import database
from replay.controller import cleaning
from replay.errors import (
    ConfigError,
    ConflictError,
    KappaError,
    OutcomeUnknownError,
    PartlyPublishedError,
    RefusedError,
    RetryableError,
)
from replay.iceberg import branch_checkpoints, commits, lake, pointer, publish, table_changes
from replay.iceberg.commits import Fence, no_fence
from replay.settings import Settings
from replay.storage import StorageError
from tests.unit.lake_tables import JOB, make_product, make_settings, sink, sink_all


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "postgresql":
        (tmp_path / "database").write_text(request.getfixturevalue("postgresql").database())
    return make_settings(tmp_path)


@pytest.fixture
def product(tmp_path: Path, catalog: Catalog) -> Product:
    made = make_product(tmp_path)
    table_changes.ensure(catalog, made)
    lake.create_branch(catalog, made, "r1-a1")
    return made


class NotSql:
    """A catalog without a transaction over tables; it may die after some commits."""

    def __init__(self, catalog: Catalog, dies_after: int | None = None) -> None:
        self.catalog, self.left = catalog, dies_after

    def load_table(self, name: Any) -> Any:
        return self.catalog.load_table(name)

    def commit_table(self, *arguments: Any) -> Any:
        if self.left is not None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
        return self.catalog.commit_table(*arguments)


def move(
    catalog: Catalog | NotSql,
    product: Product,
    after: Mapping[str, int],
    before: Mapping[str, int],
    *,
    fence: Fence = no_fence,
    sleep: Callable[[float], None] = lambda _: None,
) -> None:
    publish.publish(cast(Catalog, catalog), product, after, before, fence=fence, sleep=sleep)


def told(error: KappaError) -> tuple[str, str, str, str]:
    """All of what people read."""
    return error.message, error.expected, error.found, error.next


def heads(catalog: Catalog, product: Product) -> dict[str, int]:
    return dict(lake.published(catalog, product).snapshots)


def test_all_tables_move(catalog: Catalog, product: Product) -> None:
    target = sink_all(catalog, product, "r1-a1", 7)
    move(catalog, product, target, heads(catalog, product))
    assert lake.published(catalog, product) == lake.Published(target, JOB, 7)
    assert (
        catalog.load_table("shop.orders").properties["write.metadata.delete-after-commit.enabled"]
        == "true"
    )


def test_publishing_again_does_nothing(catalog: Catalog, product: Product) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    move(catalog, product, target, genesis)
    before = lake.pointers(catalog, "shop")
    move(catalog, product, target, genesis)
    assert lake.pointers(catalog, "shop") == before


def test_back_to_another_branch(catalog: Catalog, product: Product) -> None:
    lake.create_branch(catalog, product, "r2-a1")
    genesis, one = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    two = sink_all(catalog, product, "r2-a1", 3, job_id="b" * 32)
    move(catalog, product, one, genesis)
    move(catalog, product, two, one)
    move(catalog, product, one, two)
    assert heads(catalog, product) == one


def test_somebody_else_moved_main(catalog: Catalog, product: Product) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    stranger = sink(catalog, "totals", "main", 1, [{"amount": 1.0}])
    with pytest.raises(ConflictError) as e:
        move(catalog, product, target, genesis)
    assert e.value.as_dict() == {
        "error": "ConflictError",
        "message": "somebody else moved main of product shop; nothing was published",
        "expected": f"totals at snapshot {genesis['totals']}",
        "found": f"totals at snapshot {stranger}",
        "next": "find out who did, put main back to the expected snapshots, then: kappa deploy shop",
    }
    assert heads(catalog, product) == {**genesis, "totals": stranger}
    another = sink(catalog, "rejects", "main", 1)
    with pytest.raises(ConflictError) as e:
        move(catalog, product, target, genesis)
    assert (
        e.value.expected
        == f"totals at snapshot {genesis['totals']}, rejects at snapshot {genesis['rejects']}"
    )
    assert e.value.found == f"totals at snapshot {stranger}, rejects at snapshot {another}"


def test_snapshots_of_two_checkpoints_are_refused(catalog: Catalog, product: Product) -> None:
    target = sink_all(catalog, product, "r1-a1", 7)
    target["totals"] = sink(catalog, "totals", "r1-a1", 8)
    with pytest.raises(RefusedError) as e:
        move(catalog, product, target, heads(catalog, product))
    assert told(e.value) == (
        "the snapshots of product shop are not of one checkpoint",
        "the same checkpoint in every table",
        "orders: 7, rejects: 7, totals: 8",
        "",
    )


def test_tables_left_out_are_refused(catalog: Catalog, product: Product) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    together = "all tables of product shop are published together, or none"
    with pytest.raises(RefusedError) as e:
        move(catalog, product, {t: s for t, s in target.items() if t != "totals"}, genesis)
    assert told(e.value) == (
        together,
        "snapshots of orders, rejects, totals",
        "orders, rejects",
        "",
    )
    with pytest.raises(RefusedError) as e:
        move(catalog, product, target, {})
    assert told(e.value) == (together, "expected of orders, rejects, totals", "none", "")


def test_an_unknown_snapshot_is_refused(catalog: Catalog, product: Product) -> None:
    target = {**sink_all(catalog, product, "r1-a1", 7), "totals": 42}
    with pytest.raises(RefusedError) as e:
        move(catalog, product, target, heads(catalog, product))
    assert told(e.value) == (
        "snapshot 42 of table shop.totals cannot be published",
        "a snapshot that the table still has",
        "none: expired, or another table's",
        "kappa deploy shop",
    )


def test_tables_that_are_not_there_are_named(catalog: Catalog, product: Product) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    catalog.drop_table("shop.orders")
    catalog.drop_table("shop.totals")
    with pytest.raises(ConfigError) as e:
        move(catalog, product, target, genesis)
    assert told(e.value) == (
        "product shop has no tables yet",
        "the tables of a deployed product",
        "no table orders, totals",
        "kappa deploy shop",
    )


def test_a_crash_before_the_transaction_leaves_main(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(commits, "_swap_pointers", crash)
        with pytest.raises(KeyboardInterrupt):
            move(catalog, product, target, genesis)
    assert heads(catalog, product) == genesis
    move(catalog, product, target, genesis)
    assert heads(catalog, product) == target


def test_a_commit_between_staging_and_the_transaction_rolls_back_and_is_kept(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    swap = commits._swap_pointers
    late: list[int] = []

    def with_a_commit_before(*arguments: Any) -> None:
        if not late:  # the last table: pointers of the others are swapped first and must go back
            late.append(sink(catalog, list(product.outputs)[-1], "r1-a1", 8))
        swap(*arguments)

    monkeypatch.setattr(commits, "_swap_pointers", with_a_commit_before)
    move(catalog, product, target, genesis)
    assert heads(catalog, product) == target
    assert (
        catalog.load_table(("shop", list(product.outputs)[-1])).metadata.refs["r1-a1"].snapshot_id
        == late[0]
    )


def test_a_lost_answer_is_resolved_by_looking(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    attempt = commits.attempt

    def lose_the_answer(*arguments: Any, **options: Any) -> None:
        attempt(*arguments, **options)
        if lake.published(catalog, product).snapshots == target:
            lost.append(OperationalError("COMMIT", None, Exception("connection reset")))
            if len(lost) == 1:
                raise lost[0]

    lost: list[Exception] = []
    monkeypatch.setattr(commits, "attempt", lose_the_answer)
    move(catalog, product, target, genesis)
    assert heads(catalog, product) == target


def test_a_catalog_that_stays_away_leaves_the_outcome_unknown(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)

    def away(*_: Any) -> None:
        raise OperationalError("SELECT", None, Exception("connection refused"))

    monkeypatch.setattr(Engine, "connect", away)
    with pytest.raises(OutcomeUnknownError) as e:
        move(catalog, product, target, genesis)
    assert told(e.value) == (
        "it is not known whether main of product shop was moved",
        "an answer from the catalog",
        "connection refused",
        "kappa status, then repeat",
    )


def test_a_catalog_that_is_back_makes_the_outcome_known(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer was lost; each look after it sees that nothing was moved."""
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)

    def busy(
        _: Catalog, __: str, changes: Callable[[], Any], number: int, *___: Any, **____: Any
    ) -> None:
        if number == 0:
            raise OperationalError("COMMIT", None, Exception("connection reset"))
        changes()
        raise commits.MovedError("shop.orders got another commit")

    monkeypatch.setattr(commits, "attempt", busy)
    with pytest.raises(RetryableError, match="its tables are busy"):
        move(catalog, product, target, genesis)


def test_a_file_that_cannot_be_written_is_not_waited_for(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)

    def full(*_: Any, **__: Any) -> None:
        raise StorageError("the disk is full", expected="1 MB", found="none", next="make room")

    slept: list[float] = []
    monkeypatch.setattr(commits, "attempt", full)
    with pytest.raises(StorageError) as e:
        move(catalog, product, target, genesis, sleep=slept.append)
    assert told(e.value) == (
        "main of product shop could not be moved: the disk is full",
        "1 MB",
        "none",
        "make room",
    )
    assert slept == []


def test_tables_that_stay_busy(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)

    def busy(*_: Any) -> None:
        raise commits.MovedError("shop.orders got another commit")

    slept: list[float] = []
    monkeypatch.setattr(commits, "_swap_pointers", busy)
    with pytest.raises(RetryableError) as e:
        move(catalog, product, target, genesis, sleep=slept.append)
    assert told(e.value) == (
        "main of product shop could not be moved: its tables are busy",
        "no other commit during one of 30 attempts",
        "shop.orders got another commit",
        "repeat the command",
    )
    assert slept == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, *[0.5] * 23]
    assert heads(catalog, product) == genesis


def test_jobs_that_commit_all_the_time_cannot_keep_the_publisher_out(
    catalog: SqlCatalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit comes in between whenever it can: until the publisher makes all others wait."""
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    swap = commits._swap_pointers
    late: list[int] = []
    kept_out: list[str] = []
    other = without_waiting(catalog)

    def with_a_commit_before(*arguments: Any) -> None:
        try:
            with other.begin() as c:
                c.execute(
                    sa.update(IcebergTables).values(
                        metadata_location=IcebergTables.metadata_location
                    )
                )
            late.append(sink(catalog, "orders", "r1-a1", 8 + len(late)))
        except OperationalError as e:
            kept_out.append(database.reason(e))
        swap(*arguments)

    monkeypatch.setattr(commits, "_swap_pointers", with_a_commit_before)
    move(catalog, product, target, genesis)
    other.dispose()
    assert heads(catalog, product) == target
    assert len(late) == commits._PATIENCE
    assert kept_out in (["database is locked"], ["canceling statement due to lock timeout"])


def without_waiting(catalog: SqlCatalog) -> Engine:
    """The catalog's database as somebody else has it who does not wait for locks."""
    url = catalog.engine.url
    waits = (
        {"timeout": "0"} if url.get_backend_name() == "sqlite" else {"options": "-c lock_timeout=1"}
    )
    return sa.create_engine(url.update_query_dict(waits))


def test_without_a_transaction_the_rest_is_rolled_forward(
    catalog: Catalog, product: Product
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    with pytest.raises(KeyboardInterrupt):
        move(NotSql(catalog, dies_after=1), product, target, genesis)
    assert heads(catalog, product) == {**genesis, "orders": target["orders"]}
    move(NotSql(catalog), product, target, genesis)
    assert heads(catalog, product) == target


def recipe() -> str:
    """What docs/production.md tells readers of several tables to do."""
    doc = Path(__file__).parents[2] / "docs" / "production.md"
    section = doc.read_text().partition("### Reading several tables\n")[2]
    return section.partition("```python\n")[2].partition("```")[0].replace("flights", "shop")


def by_the_recipe(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, int], dict[str, int]]:
    """The snapshots and the rows of each table that a reader gets who keeps to it."""
    with monkeypatch.context() as patched:
        patched.setattr("pyiceberg.catalog.load_catalog", lambda name: catalog)
        found: dict[str, Any] = {}
        exec(recipe(), found)
    tables = found["tables"]
    return (
        {t: scan.snapshot_id for t, scan in tables.items()},
        {t: scan.to_arrow().num_rows for t, scan in tables.items()},
    )


def with_a_row(catalog: Catalog, checkpoint: int) -> dict[str, int]:
    """A checkpoint with one more row in every table."""
    rows: dict[str, dict[str, Any]] = {
        "orders": {"id": checkpoint},
        "totals": {"amount": 1.0},
        "rejects": {"reason": "none"},
    }
    return {table: sink(catalog, table, "r1-a1", checkpoint, [row]) for table, row in rows.items()}


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_readers_who_begin_with_the_pointer_see_one_checkpoint_until_the_last_table_is_published(
    catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    genesis, one = heads(catalog, product), with_a_row(catalog, 1)
    move(NotSql(catalog), product, one, genesis)
    for checkpoint in (2, 3):
        sink_all(catalog, product, "r1-a1", checkpoint)
    two = with_a_row(catalog, 4)
    with pytest.raises(KeyboardInterrupt):
        move(NotSql(catalog, dies_after), product, two, one)
    assert [t for t, s in heads(catalog, product).items() if s == two[t]] == list(product.outputs)[
        :dies_after
    ]
    assert by_the_recipe(catalog, monkeypatch) == (one, dict.fromkeys(product.outputs, 1))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    # of checkpoint 2
    assert cleaning.expire(catalog, "shop", product.outputs, "r1-a1", 4, [JOB], one, tomorrow) == 3
    assert by_the_recipe(catalog, monkeypatch) == (one, dict.fromkeys(product.outputs, 1))
    move(NotSql(catalog), product, two, one)
    assert by_the_recipe(catalog, monkeypatch) == (two, dict.fromkeys(product.outputs, 2))


def test_a_pointer_is_written_with_main_of_its_table_on_any_catalog(
    catalog: Catalog, product: Product
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    move(catalog, product, target, genesis)
    table = catalog.load_table(("shop", pointer.TABLE))
    assert json.loads(table.properties["kappa.published"]) == {
        "checkpoint": 7,
        "job": JOB,
        "snapshots": target,
    }
    assert "kappa.published" not in catalog.load_table("shop.orders").properties
    assert pointer.read(table.metadata) == target


def test_a_pointer_that_is_missing_is_written_where_all_tables_are_published(
    catalog: Catalog, product: Product
) -> None:
    """As after a publication of an older program."""
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    move(catalog, product, target, genesis)
    with catalog.load_table(("shop", pointer.TABLE)).transaction() as transaction:
        transaction.remove_properties(pointer.PROPERTY)
    move(catalog, product, target, genesis)
    assert pointer.read(catalog.load_table(("shop", pointer.TABLE)).metadata) == target


def test_a_pointer_that_main_has_left_is_not_followed(catalog: Catalog, product: Product) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    move(catalog, product, target, genesis)
    sink(catalog, pointer.TABLE, "main", 1)
    assert pointer.read(catalog.load_table(("shop", pointer.TABLE)).metadata) == {}


@pytest.mark.parametrize(
    "value", ["", "{}", "[]", '{"snapshots": 1}', '{"snapshots": {"rejects": "x"}}']
)
def test_a_pointer_that_cannot_be_read_is_not_followed(
    catalog: Catalog, product: Product, value: str
) -> None:
    table = catalog.load_table(("shop", pointer.TABLE))
    with table.transaction() as transaction:
        transaction.set_properties({pointer.PROPERTY: value})
    assert pointer.read(table.metadata) == {}


def test_a_publication_in_part_names_what_can_be_put_back(
    catalog: Catalog, product: Product
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    with pytest.raises(KeyboardInterrupt):
        move(NotSql(catalog, dies_after=1), product, target, genesis)
    stranger = sink(catalog, "rejects", "main", 1)
    with pytest.raises(PartlyPublishedError) as e:
        move(NotSql(catalog), product, target, genesis)
    assert e.value.as_dict() == {
        "error": "PartlyPublishedError",
        "message": "product shop is published in part: somebody else moved main of product shop",
        "expected": f"rejects at snapshot {genesis['rejects']}",
        "found": f"rejects at snapshot {stranger}",
        "next": "put the others to what is expected, or put back main of orders to snapshot "
        f"{genesis['orders']}; the controller then continues",
    }


def test_a_publication_in_part_that_is_refused_names_all_that_can_be_put_back(
    catalog: Catalog, product: Product
) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    with pytest.raises(KeyboardInterrupt):
        move(NotSql(catalog, dies_after=2), product, target, genesis)
    with pytest.raises(PartlyPublishedError) as e:
        move(NotSql(catalog), product, {**target, "rejects": 42}, genesis)
    assert e.value.message == (
        "product shop is published in part: snapshot 42 of table shop.rejects cannot be published"
    )
    assert e.value.next == (
        "put the others to what is expected, or put back main of orders to snapshot "
        f"{genesis['orders']}, main of totals to snapshot {genesis['totals']}; the controller then "
        "continues"
    )


def test_without_a_transaction_somebody_else_moved_main(catalog: Catalog, product: Product) -> None:
    genesis, target = heads(catalog, product), sink_all(catalog, product, "r1-a1", 7)
    sink(catalog, "rejects", "main", 1)
    with pytest.raises(ConflictError):
        move(NotSql(catalog), product, target, genesis)
    assert catalog.load_table("shop.orders").metadata.refs["main"].snapshot_id == genesis["orders"]


def test_publishing_beside_a_committing_job_loses_and_mixes_nothing(
    catalog: Catalog, product: Product, settings: Settings
) -> None:
    """A job commits checkpoint after checkpoint, the publisher publishes, a reader hammers: three threads."""
    last, seen = 12, []
    done = threading.Event()
    failures: list[Exception] = []

    def thread(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as e:  # noqa: BLE001 - whatever it is, the test must fail with it
                failures.append(e)
                done.set()

        return threading.Thread(target=run)

    def job() -> None:
        with closing(lake.open_catalog(settings)) as own:
            for checkpoint in range(1, last + 1):
                sink_all(own, product, "r1-a1", checkpoint)

    def reader() -> None:
        with closing(lake.open_catalog(settings)) as own:
            while not done.is_set():
                heads = [m.current_snapshot() for m in lake.current_metadata(own, product).values()]
                seen.append({lake.written_by(head)[1] for head in heads if head})

    threads = [thread(job), thread(reader)]
    for t in threads:
        t.start()
    current = lake.published(catalog, product)
    while current.checkpoint != last and not done.is_set():
        for checkpoint in branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB])[:1]:
            move(catalog, product, checkpoint.snapshots, current.snapshots)
        current = lake.published(catalog, product)
    done.set()
    for t in threads:
        t.join(timeout=60)

    assert not failures
    assert [c.id for c in branch_checkpoints.publishable(catalog, product, "r1-a1", [JOB])] == list(
        range(last, 0, -1)
    )
    assert all(len(checkpoints) == 1 for checkpoints in seen)
    assert len({c for checkpoints in seen for c in checkpoints}) > 2
