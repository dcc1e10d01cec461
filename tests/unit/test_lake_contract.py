"""What the controller may rely on of its tables: one suite for real Iceberg tables and for the fake that tests use.

The real ones are in a SQL catalog, and in one that has no transaction over several tables; on a disk, and in an object
store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from pyiceberg.catalog import Catalog

from replay.controller import cleaning
from replay.errors import ConflictError, PartlyPublishedError, RefusedError, RetryableError
from replay.iceberg import branch_checkpoints, lake, publish, table_changes
from replay.iceberg.commits import no_fence
from replay.settings import Settings
from replay.store.leases import StaleLeaseError
from tests.unit.fake_lake import MAIN, TABLES, FakeLake
from tests.unit.lake_tables import COLUMNS, make_product, make_settings, sink

OLD, NEW = "a" * 32, "b" * 32
Snapshots = Mapping[str, int]


class Lake(Protocol):
    """Tables of one product, in which several attempts write."""

    atomic: bool

    @property
    def tables(self) -> Sequence[str]: ...

    def begin(self, branch: str, *, resume: bool = False) -> None: ...

    def commit(
        self,
        branch: str,
        job: str,
        checkpoint: int,
        tables: Iterable[str] = (),
        *,
        rows: Collection[str] = (),
    ) -> dict[str, int]:
        """What a job does at a checkpoint: a commit to all tables, or to some; a new row in those of `rows`."""

    def set(self, table: str, ref: str, snapshot: int) -> None:
        """Somebody else moves a branch."""

    def drop(self, branch: str) -> None:
        """Somebody else drops a branch."""

    def heads(self, ref: str = MAIN) -> dict[str, int]: ...

    def publishable(
        self, branch: str, jobs: Sequence[str], resumed_from: int | None = None
    ) -> dict[int, Snapshots]: ...

    def same_files(self, before: Snapshots, after: Snapshots) -> bool: ...

    def publish(
        self, after: Snapshots, before: Snapshots, fence: Callable[[], None] = no_fence
    ) -> None: ...

    def garbage(self, branch: str) -> tuple[str, ...]: ...

    def remove(self, branch: str, files: Sequence[str]) -> None: ...


class Fake:
    """tests/unit/fake_lake.py."""

    tables = TABLES

    def __init__(self, *, atomic: bool) -> None:
        self.atomic = atomic
        self.lake = FakeLake(atomic)
        self.lake.ensure_tables()

    def begin(self, branch: str, *, resume: bool = False) -> None:
        for table in self.tables:
            self.lake.create_branch(table, branch, resume=resume)

    def commit(
        self,
        branch: str,
        job: str,
        checkpoint: int,
        tables: Iterable[str] = (),
        *,
        rows: Collection[str] = (),
    ) -> dict[str, int]:
        for table in tables or self.tables:
            since = next(self.lake.line(table, branch)).content
            upto = {0: since.get(0, 0) + (table in rows)}
            self.lake.commit(table, branch, job, checkpoint, since, upto)
        return self.heads(branch)

    def set(self, table: str, ref: str, snapshot: int) -> None:
        self.lake.refs[table, ref] = snapshot

    def drop(self, branch: str) -> None:
        for table in self.tables:
            del self.lake.refs[table, branch]

    def heads(self, ref: str = MAIN) -> dict[str, int]:
        return {t: self.lake.refs[t, ref] for t in self.tables if (t, ref) in self.lake.refs}

    def publishable(
        self, branch: str, jobs: Sequence[str], resumed_from: int | None = None
    ) -> dict[int, Snapshots]:
        return {c.id: c.snapshots for c in self.lake.publishable(branch, jobs, resumed_from)}

    def same_files(self, before: Snapshots, after: Snapshots) -> bool:
        return self.lake.hold_same_files(before, after)

    def publish(
        self, after: Snapshots, before: Snapshots, fence: Callable[[], None] = no_fence
    ) -> None:
        self.lake.publish(after, before, fence)

    def garbage(self, branch: str) -> tuple[str, ...]:
        return self.lake.garbage(branch, ())

    def remove(self, branch: str, files: Sequence[str]) -> None:
        self.lake.remove(branch, files, lambda _: None)


class NoTransactions:
    """A catalog as most are: it commits to one table at a time."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)


class Real:
    """Iceberg tables."""

    tables = ("orders", "totals")

    def __init__(self, folder: Path, *, atomic: bool, settings: Settings | None = None) -> None:
        self.atomic = atomic
        self._sql = lake.open_catalog(settings or make_settings(folder))
        self.catalog = self._sql if atomic else cast(Catalog, NoTransactions(self._sql))
        self.product = make_product(folder, columns={t: COLUMNS[t] for t in self.tables})
        table_changes.ensure(self.catalog, self.product)

    def begin(self, branch: str, *, resume: bool = False) -> None:
        lake.create_branch(self.catalog, self.product, branch, resume=resume)

    def commit(
        self,
        branch: str,
        job: str,
        checkpoint: int,
        tables: Iterable[str] = (),
        *,
        rows: Collection[str] = (),
    ) -> dict[str, int]:
        for table in tables or self.tables:
            sink(
                self._sql,
                table,
                branch,
                checkpoint,
                [{"amount": 1.0}] if table in rows else (),
                job_id=job,
            )
        return self.heads(branch)

    def set(self, table: str, ref: str, snapshot: int) -> None:
        loaded = self._sql.load_table(("shop", table))
        if ref == MAIN:
            loaded.manage_snapshots().set_current_snapshot(snapshot).commit()
        else:
            if ref in loaded.metadata.refs:
                loaded.manage_snapshots().remove_branch(ref).commit()
            loaded.manage_snapshots().create_branch(snapshot, ref).commit()

    def drop(self, branch: str) -> None:
        lake.drop_branch(self._sql, self.product, branch)

    def heads(self, ref: str = MAIN) -> dict[str, int]:
        loaded = {t: self._sql.load_table(("shop", t)).metadata for t in self.tables}
        return {t: m.refs[ref].snapshot_id for t, m in loaded.items() if ref in m.refs}

    def publishable(
        self, branch: str, jobs: Sequence[str], resumed_from: int | None = None
    ) -> dict[int, Snapshots]:
        return {
            c.id: c.snapshots
            for c in branch_checkpoints.publishable(
                self.catalog, self.product, branch, jobs, resumed_from
            )
        }

    def same_files(self, before: Snapshots, after: Snapshots) -> bool:
        return branch_checkpoints.hold_same_files(
            lake.tables_now(self.catalog, self.product), before, after
        )

    def publish(
        self, after: Snapshots, before: Snapshots, fence: Callable[[], None] = no_fence
    ) -> None:
        publish.publish(
            self.catalog, self.product, after, before, fence=fence, sleep=lambda _: None
        )

    def garbage(self, branch: str) -> tuple[str, ...]:
        return cleaning.garbage(self.catalog, "shop", self.tables, branch)

    def remove(self, branch: str, files: Sequence[str]) -> None:
        cleaning.remove(self.catalog, "shop", self.tables, branch, files)


@pytest.fixture(
    params=[
        "fake",
        "fake, table by table",
        "real",
        "real, table by table",
        "on objects",
        "postgresql",
    ]
)
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    atomic, settings = "table by table" not in request.param, None
    if request.param == "on objects":
        settings = request.getfixturevalue("on_objects")
    if request.param == "postgresql":
        (tmp_path / "database").write_text(request.getfixturevalue("postgresql").database())
    made: Lake
    if request.param.startswith("fake"):
        made = Fake(atomic=atomic)
    else:
        made = Real(tmp_path, atomic=atomic, settings=settings)
    made.begin("r1-a1")
    yield made
    if isinstance(made, Real):
        made._sql.close()


def stale() -> None:
    raise StaleLeaseError("another controller took over")


def others(tables: Lake) -> Sequence[str]:
    return tables.tables[1:]


# Branches


def test_a_branch_begins_at_genesis_and_is_taken_again_until_it_has_commits(tables: Lake) -> None:
    tables.begin("r1-a1")
    assert tables.heads("r1-a1") == tables.heads()
    tables.commit("r1-a1", OLD, 1)
    with pytest.raises(RefusedError):
        tables.begin("r1-a1")
    tables.begin("r1-a1", resume=True)


def test_a_checkpoint_that_every_table_has_is_publishable(tables: Lake) -> None:
    one, two = tables.commit("r1-a1", OLD, 1), tables.commit("r1-a1", OLD, 2)
    tables.commit("r1-a1", OLD, 3, others(tables))
    assert tables.publishable("r1-a1", [OLD]) == {2: two, 1: one}


def test_checkpoints_without_a_row_hold_the_files_of_the_one_before(tables: Lake) -> None:
    one = tables.commit("r1-a1", OLD, 1, rows=tables.tables)
    two, three = tables.commit("r1-a1", OLD, 2), tables.commit("r1-a1", OLD, 3)
    four = tables.commit("r1-a1", OLD, 4, rows=others(tables))
    five = tables.commit("r1-a1", OLD, 5)
    assert tables.same_files(one, three)
    assert tables.same_files(two, two)
    assert not tables.same_files(three, four)
    assert not tables.same_files(one, five), "a row came in between"
    assert tables.same_files(four, five)
    assert not tables.same_files(five, four), "it is no later one"
    assert not tables.same_files(tables.heads(), one)


def test_a_resumed_job_goes_on_behind_the_one_before(tables: Lake) -> None:
    tables.commit("r1-a1", OLD, 1)
    tables.commit("r1-a1", OLD, 2)
    tables.commit("r1-a1", NEW, 3)
    assert list(tables.publishable("r1-a1", [OLD, NEW], 2)) == [3, 2, 1]


def commits(*of: tuple[str, int]) -> Callable[[Lake], None]:
    def make(tables: Lake) -> None:
        for job, checkpoint in of:
            tables.commit("r1-a1", job, checkpoint)

    return make


def _moved_back(tables: Lake) -> None:
    first = tables.commit("r1-a1", OLD, 1)
    tables.commit("r1-a1", OLD, 2)
    for table, snapshot in first.items():
        tables.set(table, "r1-a1", snapshot)
    tables.commit("r1-a1", OLD, 3)


def _made_anew(tables: Lake) -> None:
    tables.begin("r2-a1")
    tables.publish(tables.commit("r2-a1", NEW, 1), tables.heads())
    tables.drop("r1-a1")
    for table, snapshot in tables.heads().items():
        tables.set(table, "r1-a1", snapshot)
    tables.commit("r1-a1", OLD, 2)


@pytest.mark.parametrize(
    ("happened", "jobs", "resumed_from"),
    [
        pytest.param(commits((OLD, 1), (NEW, 2)), [OLD], None, id="another job's commit"),
        pytest.param(_moved_back, [OLD], None, id="moved back by a commit"),
        pytest.param(_made_anew, [OLD], None, id="dropped, and recreated from main"),
        pytest.param(
            commits((OLD, 1), (NEW, 2), (OLD, 3)),
            [OLD, NEW],
            None,
            id="the job before, behind its successor",
        ),
        pytest.param(
            commits((OLD, 1), (NEW, 2), (OLD, 2)), [OLD, NEW], 1, id="two commits of one checkpoint"
        ),
        pytest.param(
            commits((OLD, 1), (OLD, 2), (NEW, 2)), [OLD, NEW], 1, id="the job before was first"
        ),
        pytest.param(
            commits((OLD, 1), (OLD, 2)),
            [OLD, NEW],
            1,
            id="the job before, and its successor is still to come",
        ),
        pytest.param(commits((OLD, 2), (OLD, 1)), [OLD], None, id="checkpoints that go back"),
    ],
)
def test_a_branch_with_anything_else_is_refused(
    tables: Lake, happened: Callable[[Lake], None], jobs: list[str], resumed_from: int | None
) -> None:
    happened(tables)
    with pytest.raises(ConflictError):
        tables.publishable("r1-a1", jobs, resumed_from)


# Publishing


def test_all_tables_are_moved_and_moving_them_again_does_nothing(tables: Lake) -> None:
    genesis, one = tables.heads(), tables.commit("r1-a1", OLD, 1)
    tables.publish(one, genesis)
    tables.publish(one, genesis)
    assert tables.heads() == one


def test_the_fence_is_asked_while_nothing_has_been_moved(tables: Lake) -> None:
    genesis, one = tables.heads(), tables.commit("r1-a1", OLD, 1)
    seen = []
    tables.publish(one, genesis, lambda: seen.append(tables.heads()))
    assert seen[0] == genesis
    assert len(seen) == (1 if tables.atomic else len(tables.tables))


def test_a_fence_that_raises_keeps_main_where_it_is(tables: Lake) -> None:
    genesis, one = tables.heads(), tables.commit("r1-a1", OLD, 1)
    with pytest.raises(StaleLeaseError):
        tables.publish(one, genesis, stale)
    assert tables.heads() == genesis
    tables.publish(one, genesis)


def two_shown(tables: Lake) -> tuple[dict[str, int], dict[str, int]]:
    """r1-a1 is shown, and r2-a1 could be."""
    tables.begin("r2-a1")
    one, two = tables.commit("r1-a1", OLD, 7), tables.commit("r2-a1", NEW, 3)
    tables.publish(one, tables.heads())
    return one, two


def test_who_was_overtaken_while_readers_went_on_and_back_changes_nothing(tables: Lake) -> None:
    one, two = two_shown(tables)
    tables.publish(two, one)  # another controller rolls the intent forward
    tables.publish(one, two)  # and a person rolls back
    with pytest.raises(StaleLeaseError):
        tables.publish(two, one, stale)
    assert tables.heads() == one


def test_who_is_overtaken_right_behind_its_fence_has_to_ask_again(tables: Lake) -> None:
    if not tables.atomic:
        pytest.skip("only a catalog that compares the whole metadata can tell")
    one, two = two_shown(tables)
    asked: list[int] = []

    def frozen_behind_it() -> None:
        if asked:
            stale()
        asked.append(1)
        tables.publish(two, one)
        tables.publish(one, two)

    with pytest.raises(StaleLeaseError):
        tables.publish(two, one, frozen_behind_it)
    assert tables.heads() == one


def test_a_table_that_somebody_else_moved_stops_all(tables: Lake) -> None:
    genesis, one = tables.heads(), tables.commit("r1-a1", OLD, 1)
    two = tables.commit("r1-a1", OLD, 2)
    tables.set(tables.tables[-1], MAIN, two[tables.tables[-1]])
    with pytest.raises(ConflictError) as e:
        tables.publish(one, genesis)
    assert not isinstance(e.value, PartlyPublishedError)
    assert tables.heads() == {**genesis, tables.tables[-1]: two[tables.tables[-1]]}


def test_snapshots_that_do_not_belong_together_are_refused(tables: Lake) -> None:
    genesis, one = tables.heads(), tables.commit("r1-a1", OLD, 1)
    two = tables.commit("r1-a1", OLD, 2)
    with pytest.raises(RefusedError):
        tables.publish({**one, tables.tables[-1]: two[tables.tables[-1]]}, genesis)
    with pytest.raises(RefusedError):
        tables.publish({**one, tables.tables[-1]: 42}, genesis)
    assert tables.heads() == genesis


def half(tables: Lake) -> tuple[dict[str, int], dict[str, int]]:
    """The first table shows a checkpoint, as after a crash between two commits."""
    genesis, one = tables.heads(), tables.commit("r1-a1", OLD, 1)
    tables.set(tables.tables[0], MAIN, one[tables.tables[0]])
    return genesis, one


def test_what_was_moved_in_part_is_rolled_forward(tables: Lake) -> None:
    genesis, one = half(tables)
    tables.publish(one, genesis)
    assert tables.heads() == one


def test_what_was_moved_in_part_and_cannot_go_on_says_so(tables: Lake) -> None:
    genesis, one = half(tables)
    last = tables.tables[-1]
    two = tables.commit("r1-a1", OLD, 2)
    tables.set(last, MAIN, two[last])
    with pytest.raises(PartlyPublishedError):
        tables.publish(one, genesis)
    with pytest.raises(PartlyPublishedError):
        tables.publish({**one, last: 42}, genesis)
    assert tables.heads() == {**one, last: two[last]}
    tables.set(last, MAIN, genesis[last])
    tables.publish(one, genesis)
    assert tables.heads() == one


# Removing


def test_what_a_branch_alone_needs_goes_with_it(tables: Lake) -> None:
    one, two = two_shown(tables)
    assert two
    tables.remove("r2-a1", tables.garbage("r2-a1"))
    assert tables.heads("r2-a1") == {}
    assert tables.heads() == one
    assert tables.garbage("r1-a1") == ()


def test_a_commit_that_came_after_the_look_puts_the_removal_off(tables: Lake) -> None:
    tables.commit("r1-a1", OLD, 1)
    files = tables.garbage("r1-a1")
    tables.commit("r1-a1", OLD, 2)
    with pytest.raises(RetryableError):
        tables.remove("r1-a1", files)
    tables.remove("r1-a1", tables.garbage("r1-a1"))
    assert tables.heads("r1-a1") == {}
