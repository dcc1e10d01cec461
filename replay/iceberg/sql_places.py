"""Where the tables of a SQL catalog are, asked of its database: pyiceberg takes four tenths of a second to import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from replay import database
from replay.secret import revealed
from replay.settings import Settings
from replay.storage import properties, with_keys

TABLES = sa.table(
    "iceberg_tables",
    sa.column("catalog_name"),
    sa.column("table_namespace"),
    sa.column("table_name"),
    sa.column("metadata_location"),
)
"""Iceberg's JDBC catalog, whose tables are the same to Java and to pyiceberg."""


@dataclass(frozen=True)
class ReadableTable:
    """Where a table's metadata is, and what reads the table's files: properties by PyIceberg's names."""

    location: str
    properties: Mapping[str, str] = field(repr=False)
    snapshot: int | None = None
    """What readers are to read, where the tables were not asked at one instant; None: what `main` shows."""


def places(settings: Settings, product: str) -> dict[str, ReadableTable] | None:
    """Table name → where it is, of all tables of the product at one instant.

    None: the catalog is none of SQL, has no tables of its own yet, or only pyiceberg knows it whole. RetryableError
    when it does not answer.
    """
    chosen = with_keys(properties(settings), revealed(settings.catalog.pyiceberg))
    if chosen.get("type") != "sql" or "py-catalog-impl" in chosen or _is_said_elsewhere():
        return None
    engine = sa.create_engine(database.timed(chosen["uri"]), poolclass=sa.NullPool)
    with database.readable_errors("the Iceberg catalog", "the catalog"), engine.connect() as c:
        if not sa.inspect(c).has_table(TABLES.name):
            return None
        return found(c, settings.catalog.name, product, chosen)


def _is_said_elsewhere() -> bool:
    """Whether pyiceberg has a configuration of its own, which it merges with ours."""
    folders = (os.environ.get("PYICEBERG_HOME"), os.path.expanduser("~"), os.getcwd())
    return any(name.startswith("PYICEBERG_CATALOG__") for name in os.environ) or any(
        os.path.exists(os.path.join(folder, ".pyiceberg.yaml")) for folder in folders if folder
    )


def found(
    c: sa.Connection, catalog: str, product: str, of: Mapping[str, str]
) -> dict[str, ReadableTable]:
    """The same of an open connection; `of`: the catalog's properties."""
    rows = sa.select(TABLES.c.table_name, TABLES.c.metadata_location).where(
        TABLES.c.catalog_name == catalog, TABLES.c.table_namespace == product
    )
    return {name: ReadableTable(at, of) for name, at in c.execute(rows) if at}
