"""What readers see, where the database keeps it apart from what jobs commit to: `deploy/postgresql/roles.sql`.

There a job's role may give a table new metadata, which may say of `main` what it likes. Readers have pointers of their
own, which follow in the transaction of a publication, and only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.io import load_file_io
from pyiceberg.table import StagedTable
from pyiceberg.table.update import SetPropertiesUpdate, TableUpdate
from sqlalchemy.dialects import postgresql

from replay import database
from replay.iceberg import files

KEPT = "1 hour"
"""How long a metadata file is kept that was replaced: a reader may have been told of it just before."""
_MOST = 10_000
"""Files that are deleted behind one publication; the next goes on."""
_PROPERTY = "write.metadata.delete-after-commit.enabled"

_shown = sa.table(
    "iceberg_tables",
    *(sa.column(c.name) for c in IcebergTables.__table__.columns),
    schema="readers",
)
_replaced = sa.table(
    "replaced_metadata",
    *map(sa.column, ("metadata_location", "catalog_name", "table_namespace", "at")),
    schema="readers",
)


def kept_apart(catalog: Catalog) -> bool:
    """Whether readers have pointers of their own; asked each time, because they may get some while the program runs."""
    if not isinstance(catalog, SqlCatalog) or catalog.engine.dialect.name != "postgresql":
        return False
    with catalog.engine.connect() as c:
        return c.scalar(sa.select(sa.func.to_regclass("readers.iceberg_tables"))) is not None


def keeping_metadata(properties: dict[str, str]) -> tuple[TableUpdate, ...]:
    """A job that deletes old metadata files would take away the one that readers see, should it not be published."""
    return (
        ()
        if properties.get(_PROPERTY) == "false"
        else (SetPropertiesUpdate(updates={_PROPERTY: "false"}),)
    )


def show(catalog: SqlCatalog, c: sa.Connection, staged: Sequence[StagedTable]) -> None:
    """Let readers see this metadata, once the transaction is committed."""
    for table in staged:
        namespace, name = table.name()
        row = {
            "catalog_name": catalog.name,
            "table_namespace": namespace,
            "table_name": name,
            "iceberg_type": "TABLE",
            "metadata_location": table.metadata_location,
        }
        insert = postgresql.insert(_shown).values(row)
        c.execute(
            insert.on_conflict_do_update(
                index_elements=["catalog_name", "table_namespace", "table_name"],
                set_={
                    "metadata_location": insert.excluded.metadata_location,
                    "previous_metadata_location": _shown.c.metadata_location,
                },
            )
        )


def tidy(catalog: SqlCatalog, product: str) -> None:
    """Delete metadata files of a product that have not been needed for a while. Failures are retried next time."""
    used = sa.union_all(
        sa.select(_shown.c.metadata_location), sa.select(IcebergTables.metadata_location)
    )
    old = (
        sa.select(_replaced.c.metadata_location)
        .where(
            _replaced.c.catalog_name == catalog.name,
            _replaced.c.table_namespace == product,
            _replaced.c.at < sa.func.clock_timestamp() - sa.cast(KEPT, sa.Interval()),
            _replaced.c.metadata_location.not_in(used),
        )
        .limit(_MOST)
    )
    with suppress(*database.LOST):
        with catalog.engine.connect() as c:
            locations = list(c.scalars(old))
        if not locations:
            return
        files.delete(load_file_io(catalog.properties, locations[0]), locations)
        with catalog.engine.begin() as c:
            c.execute(sa.delete(_replaced).where(_replaced.c.metadata_location.in_(locations)))
