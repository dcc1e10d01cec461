"""Commits to Iceberg tables, compared with the whole metadata that they were made from: of one table, or of several.

pyiceberg's own commit compares only what its requirements name, with whatever the table has become by then: a tag that
a person sets meanwhile on a snapshot would be removed together with that snapshot. And it knows one table at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.update import TableRequirement, TableUpdate

from replay import files


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
    """The snapshots that the updates name; None: all. Few are much faster: pyiceberg copies each snapshot deeply."""


def apply(catalog: Catalog, change: Change) -> None:
    """Commit the change of one table; CommitFailedException when somebody else was faster."""
    if isinstance(catalog, SqlCatalog):
        swap(catalog, [change])
    else:
        catalog.commit_table(change.table, change.requirements, change.updates)


def swap(catalog: SqlCatalog, changes: Sequence[Change]) -> None:
    """Stage every table's new metadata, then swap all pointers in one transaction, each compared with the old one."""
    staged: list[tuple[Table, StagedTable]] = []
    for change in changes:
        new = _stage(catalog, change)
        catalog._write_metadata(new.metadata, new.io, new.metadata_location)
        staged.append((change.table, new))
    try:
        _swap_pointers(catalog, [(table, new.metadata_location) for table, new in staged])
    except MovedError:
        # Known to be rolled back. After any other error a pointer may lead to a staged file, now or soon: keep them.
        with contextlib.suppress(Exception):
            for _, new in staged:
                files.delete(new.io, [new.metadata_location])
        raise
    for table, new in staged:
        with contextlib.suppress(Exception):  # tidying only: what is committed is committed
            _delete_old_metadata(table, new)


def _stage(catalog: SqlCatalog, change: Change) -> StagedTable:
    table = change.table
    if change.needs is None:
        return catalog._update_and_stage_table(table, table.name(), change.requirements, change.updates)
    few = [s for s in table.metadata.snapshots if s.snapshot_id in change.needs]
    thin = Table(table.name(), table.metadata.model_copy(update={"snapshots": few}), table.metadata_location, table.io,
                 catalog)
    new = catalog._update_and_stage_table(thin, table.name(), change.requirements, change.updates)
    whole = new.metadata.model_copy(update={"snapshots": table.metadata.snapshots})
    return StagedTable(table.name(), whole, new.metadata_location, new.io, catalog)


def _swap_pointers(catalog: SqlCatalog, pointers: Sequence[tuple[Table, str]]) -> None:
    """The transaction; its first statement writes, so SQLite takes the write lock at once and never deadlocks."""
    with catalog.engine.begin() as connection:
        for table, location in pointers:
            namespace, name = table.name()
            swapped = connection.execute(
                sa.update(IcebergTables)
                .where(IcebergTables.catalog_name == catalog.name, IcebergTables.table_namespace == namespace,
                       IcebergTables.table_name == name, IcebergTables.metadata_location == table.metadata_location)
                .values(metadata_location=location, previous_metadata_location=table.metadata_location))
            if swapped.rowcount != 1:
                raise MovedError(f"{namespace}.{name} got another commit")


def _delete_old_metadata(before: Table, after: StagedTable) -> None:
    if after.metadata.properties.get("write.metadata.delete-after-commit.enabled") == "true":
        kept = {entry.metadata_file for entry in after.metadata.metadata_log}
        files.delete(after.io, [e.metadata_file for e in before.metadata.metadata_log if e.metadata_file not in kept])
