"""Commits to Iceberg tables, compared with the whole metadata that they were made from: of one table, or of several.

pyiceberg's own commit compares only what its requirements name, with whatever the table has become by then: a tag that
a person sets meanwhile on a snapshot would be removed together with that snapshot. And it knows one table at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.update import TableRequirement, TableUpdate

from replay.errors import KappaError, RetryableError
from replay.iceberg import files, lake, readers

if TYPE_CHECKING:
    from pyiceberg.catalog.rest import RestCatalog

_PATIENCE = 3
"""Attempts to commit before others are kept from committing meanwhile."""


class MovedError(CommitFailedException):
    """A table got another commit between reading it and swapping its pointer: read it again."""


@dataclass(frozen=True)
class Change:
    """What is to become of a table as it was read."""

    table: Table
    requirements: tuple[TableRequirement, ...]
    """For catalogs that cannot compare the whole metadata."""
    updates: tuple[TableUpdate, ...]
    needs: frozenset[int] | None = None
    """The snapshots that the updates name, none of which they remove; None: all. Few are much faster: pyiceberg copies
    each snapshot, and each entry of the log of what `main` was, deeply."""


Fence = Callable[[], None]
"""Raises when its caller has lost its lease and may change nothing any more."""


def no_fence() -> None:
    """For changes that need no lease."""


def commit(
    catalog: Catalog,
    product_name: str,
    make: Callable[[], Sequence[Change]],
    *,
    fence: Fence = no_fence,
    attempts: int = 20,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make the changes from the current state of the tables and commit them; repeated after a conflicting commit."""
    for number in range(attempts):
        try:
            return attempt(catalog, product_name, make, number, fence)
        except CommitFailedException as e:
            last = e
        sleep(min(0.005 * 2**number, 0.5))
    raise RetryableError(
        f"the tables of product {product_name} are too busy to commit to",
        expected=f"a commit within {attempts} attempts",
        found=str(last),
        next="repeat the command",
    ) from last


def attempt(
    catalog: Catalog,
    product_name: str,
    make: Callable[[], Sequence[Change]],
    number: int,
    fence: Fence = no_fence,
    *,
    show: bool = False,
) -> None:
    """Read the tables, stage their changes, commit them: in one transaction on a SQL catalog, in one request to a REST
    catalog that takes several tables, elsewhere one by one.

    CommitFailedException after a conflicting commit. After some attempts (numbered from 0) all others have to wait,
    on a SQL catalog: jobs that commit all the time would otherwise prevent a commit of several tables for ever.

    `fence` is called between reading the tables and the commit. A caller that loses its lease after that finds, on a
    SQL catalog, that a table has changed since it was read; elsewhere only the requirements of the commit protect the
    tables.

    `show`: readers have pointers of their own, which follow in the same transaction.
    """
    if isinstance(catalog, SqlCatalog):
        _in_one_transaction(catalog, product_name, make, number, fence, show=show)
    else:
        _by_requests(catalog, make(), fence)


def _by_requests(catalog: Catalog, changes: Sequence[Change], fence: Fence) -> None:
    from replay.iceberg import rest_commits  # here: a SQL catalog does without pyiceberg's client

    if len(changes) > 1 and rest_commits.may_offer(catalog):
        fence()
        if rest_commits.commit(cast("RestCatalog", catalog), changes):
            return
    for change in changes:
        fence()
        catalog.commit_table(change.table, change.requirements, change.updates)


def _in_one_transaction(
    catalog: SqlCatalog,
    product_name: str,
    make: Callable[[], Sequence[Change]],
    number: int,
    fence: Fence,
    *,
    show: bool,
) -> None:
    staged: list[tuple[Table, StagedTable]] = []

    def swap(connection: sa.Connection) -> None:
        _swap_pointers(catalog, connection, staged)
        if show:
            readers.show(catalog, connection, [new for _, new in staged])

    try:
        if number < _PATIENCE:
            _stage_all(catalog, make(), staged)
            fence()
            with catalog.engine.begin() as connection:
                swap(connection)
        else:
            with _alone(catalog, product_name) as connection:
                _stage_all(catalog, make(), staged)
                fence()
                swap(connection)
    except (MovedError, KappaError):
        # Known to have changed nothing. After any other error a pointer may lead to a staged file: keep it.
        for _, new in staged:
            with suppress(Exception):
                files.delete(new.io, [new.metadata_location])
        raise
    for table, new in staged:
        lake.remember(catalog, new.metadata_location, new.metadata)
        with suppress(Exception):  # tidying only: what is committed is committed
            _delete_old_metadata(table, new)
    if show:
        with suppress(Exception):
            readers.tidy(catalog, product_name)


@contextmanager
def _alone(catalog: SqlCatalog, product_name: str) -> Iterator[sa.Connection]:
    """A transaction during which no other commit to the product's tables is possible; reading is.

    It begins by writing what is there: SQLite then has its one write lock, other databases have locked the rows.
    """
    with catalog.engine.begin() as connection:
        connection.execute(
            sa.update(IcebergTables)
            .where(
                IcebergTables.catalog_name == catalog.name,
                IcebergTables.table_namespace == product_name,
            )
            .values(metadata_location=IcebergTables.metadata_location)
        )
        yield connection


def _stage_all(
    catalog: SqlCatalog, changes: Sequence[Change], staged: list[tuple[Table, StagedTable]]
) -> None:
    for change in changes:
        new = _stage(catalog, change)
        staged.append((change.table, new))
        catalog._write_metadata(new.metadata, new.io, new.metadata_location)


def _stage(catalog: SqlCatalog, change: Change) -> StagedTable:
    table = change.table
    if change.needs is None:
        return catalog._update_and_stage_table(
            table, table.name(), change.requirements, change.updates
        )
    few = [s for s in table.metadata.snapshots if s.snapshot_id in change.needs]
    without = table.metadata.model_copy(update={"snapshots": few, "snapshot_log": []})
    thin = Table(table.name(), without, table.metadata_location, table.io, catalog)
    new = catalog._update_and_stage_table(thin, table.name(), change.requirements, change.updates)
    whole = new.metadata.model_copy(
        update={
            "snapshots": table.metadata.snapshots,
            "snapshot_log": table.metadata.snapshot_log + new.metadata.snapshot_log,
        }
    )
    return StagedTable(table.name(), whole, new.metadata_location, new.io, catalog)


def _swap_pointers(
    catalog: SqlCatalog, connection: sa.Connection, staged: Sequence[tuple[Table, StagedTable]]
) -> None:
    """Every pointer compared with the old one. The first statement writes, so SQLite never has to turn a read lock."""
    for table, new in staged:
        namespace, name = table.name()
        swapped = connection.execute(
            sa.update(IcebergTables)
            .where(
                IcebergTables.catalog_name == catalog.name,
                IcebergTables.table_namespace == namespace,
                IcebergTables.table_name == name,
                IcebergTables.metadata_location == table.metadata_location,
            )
            .values(
                metadata_location=new.metadata_location,
                previous_metadata_location=table.metadata_location,
            )
        )
        if swapped.rowcount != 1:
            raise MovedError(f"{namespace}.{name} got another commit")


def _delete_old_metadata(before: Table, after: StagedTable) -> None:
    if after.metadata.properties.get("write.metadata.delete-after-commit.enabled") == "true":
        kept = {entry.metadata_file for entry in after.metadata.metadata_log}
        files.delete(
            after.io,
            [e.metadata_file for e in before.metadata.metadata_log if e.metadata_file not in kept],
        )
