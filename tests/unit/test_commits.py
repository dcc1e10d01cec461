"""Commits to one or several tables: compared with all that was read, tidied up behind, given up after a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import StagedTable
from pyiceberg.table.update import AssertTableUUID, SetPropertiesUpdate

from jobs.product.folder import Product
from replay.errors import RetryableError
from replay.iceberg import commits, lake, table_changes
from replay.iceberg.commits import Change, MovedError
from replay.store.leases import StaleLeaseError
from tests.unit.lake_tables import make_product, sink


@pytest.fixture
def product(tmp_path: Path, catalog: SqlCatalog) -> Product:
    made = make_product(tmp_path)
    table_changes.ensure(catalog, made)
    lake.create_branch(catalog, made, "r1-a1")
    return made


def setting(
    catalog: SqlCatalog, *tables: str, needs: frozenset[int] | None = None, **properties: str
) -> Callable[[], Sequence[Change]]:
    """Sets properties of tables as they are when it is asked."""

    def make() -> Sequence[Change]:
        read = [catalog.load_table(("shop", name)) for name in tables]
        update = SetPropertiesUpdate(updates=properties)
        return [
            Change(t, (AssertTableUUID(uuid=t.metadata.table_uuid),), (update,), needs)
            for t in read
        ]

    return make


def properties(catalog: SqlCatalog, *names: str) -> list[str | None]:
    return [catalog.load_table(("shop", name)).properties.get("a") for name in names]


def metadata_files(catalog: SqlCatalog, table: str) -> set[str]:
    folder = Path(
        catalog.load_table(("shop", table)).metadata_location.removeprefix("file://")
    ).parent
    return {f"file://{f}" for f in folder.glob("*.metadata.json")}


def overtaken(*_: Any) -> None:
    raise StaleLeaseError("another controller took over")


def test_several_tables_are_changed_together(catalog: SqlCatalog, product: Product) -> None:
    commits.commit(catalog, "shop", setting(catalog, "orders", "totals", a="1"))
    assert properties(catalog, "orders", "totals", "rejects") == ["1", "1", None]


def test_who_was_slower_reads_the_tables_again(catalog: SqlCatalog, product: Product) -> None:
    slept: list[float] = []
    asked: list[int] = []

    def slower() -> Sequence[Change]:
        made = setting(catalog, "orders", a="1")()
        if len(asked) < 2:
            sink(catalog, "orders", "r1-a1", len(asked) + 1)
        asked.append(1)
        return made

    commits.commit(catalog, "shop", slower, sleep=slept.append)
    assert properties(catalog, "orders") == ["1"]
    assert (len(asked), slept) == (3, [0.005, 0.01])


def test_tables_that_stay_busy_are_given_up(
    catalog: SqlCatalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def busy(*_: Any) -> None:
        raise MovedError("shop.orders got another commit")

    monkeypatch.setattr(commits, "_swap_pointers", busy)
    with pytest.raises(RetryableError) as e:
        commits.commit(
            catalog, "shop", setting(catalog, "orders", a="1"), attempts=9, sleep=slept.append
        )
    assert e.value.as_dict() == {
        "error": "RetryableError",
        "message": "the tables of product shop are too busy to commit to",
        "expected": "a commit within 9 attempts",
        "found": "shop.orders got another commit",
        "next": "repeat the command",
    }
    assert slept == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]


@pytest.mark.parametrize("number", [0, commits._PATIENCE], ids=["beside others", "alone"])
def test_what_was_staged_in_vain_leaves_no_file(
    catalog: SqlCatalog, product: Product, number: int
) -> None:
    before = metadata_files(catalog, "orders")
    with pytest.raises(StaleLeaseError):
        commits.attempt(
            catalog, "shop", setting(catalog, "orders", "totals", a="1"), number, overtaken
        )
    assert metadata_files(catalog, "orders") == before
    assert properties(catalog, "orders", "totals") == [None, None]


def test_what_a_pointer_may_lead_to_is_kept(
    catalog: SqlCatalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the commit was lost: it may have been done."""
    before = metadata_files(catalog, "orders")

    def lost(*_: Any) -> None:
        raise sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))

    monkeypatch.setattr(commits, "_swap_pointers", lost)
    with pytest.raises(sa.exc.OperationalError):
        commits.attempt(catalog, "shop", setting(catalog, "orders", a="1"), 0)
    assert len(metadata_files(catalog, "orders") - before) == 1


@pytest.mark.parametrize("number", [0, commits._PATIENCE], ids=["beside others", "alone"])
def test_a_table_that_got_another_commit_is_named(
    catalog: SqlCatalog, product: Product, number: int
) -> None:
    read = setting(catalog, "orders", a="1")()
    sink(catalog, "orders", "r1-a1", 1)
    before = metadata_files(catalog, "orders")
    with pytest.raises(MovedError, match=r"^shop\.orders got another commit$"):
        commits.attempt(catalog, "shop", lambda: read, number)
    assert metadata_files(catalog, "orders") == before


def test_who_waits_for_nobody_keeps_others_of_the_product_out(
    catalog: SqlCatalog, product: Product
) -> None:
    """From the look at the tables on."""
    other = sa.create_engine(catalog.engine.url.update_query_dict({"timeout": "0"}))
    refused: list[str] = []

    def look() -> Sequence[Change]:
        try:
            with other.begin() as c:
                c.execute(
                    sa.text("UPDATE iceberg_tables SET metadata_location = metadata_location")
                )
        except sa.exc.OperationalError as e:
            refused.append(str(e.orig))
        return setting(catalog, "orders", a="1")()

    commits.attempt(catalog, "shop", look, commits._PATIENCE - 1)
    assert refused == []
    commits.attempt(catalog, "shop", look, commits._PATIENCE)
    assert refused == ["database is locked"]
    other.dispose()


@pytest.mark.parametrize("number", [0, commits._PATIENCE], ids=["beside others", "alone"])
def test_pointers_of_readers_own_follow_in_the_same_transaction(
    catalog: SqlCatalog, product: Product, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What is tidied up behind them may fail: what is committed is committed."""
    shown: list[Any] = []
    tidied: list[str] = []

    def show(of: SqlCatalog, connection: sa.Connection, staged: Sequence[StagedTable]) -> None:
        assert of is catalog and connection.in_transaction()
        shown.extend((t.name(), t.metadata.properties["a"]) for t in staged)

    def tidy(of: SqlCatalog, name: str) -> None:
        assert of is catalog
        tidied.append(name)
        raise OSError("not now")

    monkeypatch.setattr("replay.iceberg.commits.readers.show", show)
    monkeypatch.setattr("replay.iceberg.commits.readers.tidy", tidy)
    commits.attempt(catalog, "shop", setting(catalog, "orders", "totals", a="1"), number, show=True)
    assert shown == [(("shop", "orders"), "1"), (("shop", "totals"), "1")]
    assert tidied == ["shop"]
    commits.attempt(catalog, "shop", setting(catalog, "orders", a="2"), number)
    assert len(shown) == 2 and len(tidied) == 1, "and only where there are any"


@pytest.mark.parametrize("deletes", ["true", "false"])
def test_old_metadata_goes_where_the_table_says_so(
    catalog: SqlCatalog, product: Product, deletes: str
) -> None:
    keep: dict[str, Any] = {
        "write.metadata.delete-after-commit.enabled": deletes,
        "write.metadata.previous-versions-max": "1",
    }
    commits.commit(catalog, "shop", setting(catalog, "orders", **keep))
    for value in "123":
        commits.commit(catalog, "shop", setting(catalog, "orders", a=value))
    table = catalog.load_table("shop.orders")
    listed = {table.metadata_location, *(e.metadata_file for e in table.metadata.metadata_log)}
    assert len(listed) == 2
    found = metadata_files(catalog, "orders")
    assert (found == listed) if deletes == "true" else (len(found) > len(listed))


@pytest.mark.parametrize("needs", [None, frozenset[int]()], ids=["all snapshots", "none"])
def test_snapshots_that_a_change_does_not_name_stay(
    catalog: SqlCatalog, product: Product, needs: frozenset[int] | None
) -> None:
    for checkpoint in (1, 2):
        sink(catalog, "orders", "main", checkpoint)
    before = catalog.load_table("shop.orders").metadata
    commits.commit(catalog, "shop", setting(catalog, "orders", needs=needs, a="1"))
    after = catalog.load_table("shop.orders").metadata
    assert (after.snapshots, after.snapshot_log, after.refs) == (
        before.snapshots,
        before.snapshot_log,
        before.refs,
    )
    assert len(after.metadata_log) == len(before.metadata_log) + 1


class OneByOne:
    """A catalog as most are: it commits to one table at a time."""

    def __init__(self, catalog: SqlCatalog, refuses: int = 0) -> None:
        self.catalog, self.refuses = catalog, refuses
        self.log: list[str] = []

    def commit_table(self, table: Any, requirements: Any, updates: Any) -> None:
        self.log.append(table.name()[-1])
        if self.refuses:
            self.refuses -= 1
            raise CommitFailedException("Requirement failed")
        self.catalog.commit_table(table, requirements, updates)


def test_elsewhere_tables_follow_one_another_each_behind_the_fence(
    catalog: SqlCatalog, product: Product
) -> None:
    plain = OneByOne(catalog, refuses=1)
    commits.commit(
        cast(Catalog, plain),
        "shop",
        setting(catalog, "orders", "totals", a="1"),
        fence=lambda: plain.log.append("fence"),
        sleep=lambda _: None,
    )
    assert plain.log == ["fence", "orders", "fence", "orders", "fence", "totals"]
    assert properties(catalog, "orders", "totals") == ["1", "1"]
