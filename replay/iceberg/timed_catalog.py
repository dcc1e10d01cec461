"""Catalogs that give up on an answer that does not come, and that many threads may ask."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable

from replay import database

_REST = "replay.iceberg.timed_rest.TimedRestCatalog"
"""By its name: only those who have such a catalog import pyiceberg's client of it."""


class PostgreSQLCatalog(SqlCatalog):
    """pyiceberg's, for many threads, and for several that make its tables at once."""

    def _init_catalog(self) -> None:
        # The first that is done with a new engine: pyiceberg's has 15 connections, and uses those that were lost.
        self.engine = sa.create_engine(self.properties["uri"], pool_pre_ping=True, **database.POOL)
        try:
            super()._init_catalog()
        except BaseException:
            self.close()
            raise

    def create_tables(self) -> None:
        """Create them once, also when several clients do so at the same time."""
        with self.engine.begin() as c:
            database.lock(c)
            SqlCatalogBaseTable.metadata.create_all(c)


def timed(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties of a catalog, with a time-out for every request unless they set one."""
    found = dict(properties)
    uri, kind = found.get("uri", ""), found.get("type", "")
    if "py-catalog-impl" in found:
        return found
    if kind == "rest" or (not kind and uri.startswith("http")):
        found.pop("type", None)
        found["py-catalog-impl"] = _REST
    elif "://" in uri:
        found["uri"] = database.timed(uri)
        if found["uri"].startswith("postgresql+psycopg://"):
            found.pop("type", None)
            found["py-catalog-impl"] = (
                f"{PostgreSQLCatalog.__module__}.{PostgreSQLCatalog.__name__}"
            )
    return found
