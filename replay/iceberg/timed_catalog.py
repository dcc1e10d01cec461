"""Catalogs that give up on an answer that does not come, and that many threads may ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import proxy

import sqlalchemy as sa
from pyiceberg.catalog.rest import RestCatalog, TableResponse
from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.typedef import EMPTY_DICT
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from replay import database
from replay.iceberg.durable import DurableFileIO
from replay.storage import with_keys

CONNECT_SECONDS = float(database.CONNECT_SECONDS)
ANSWER_SECONDS = float(database.ANSWER_SECONDS)
"""Between any two bytes of an answer."""
CONNECTIONS = 128
"""Kept open: products are served at the same time."""


class TimedRestCatalog(RestCatalog):
    """pyiceberg's, which would wait for ever, mix lent keys with its own, and use expired ones."""

    def _config_headers(self, session: Session) -> None:
        # The first that is done with a new session: even the catalog's configuration is asked for under a time-out.
        super()._config_headers(session)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _TimedAdapter(pool_connections=8, pool_maxsize=CONNECTIONS))

    def _load_file_io(
        self, properties: Mapping[str, str] = EMPTY_DICT, location: str | None = None
    ) -> FileIO:
        found = super()._load_file_io(dict(properties), location)
        replaced = self.properties.keys() - with_keys(self.properties, properties).keys()
        found.properties = {k: v for k, v in found.properties.items() if k not in replaced}
        return found

    def _response_to_table(
        self, identifier_tuple: tuple[str, ...], table_response: TableResponse
    ) -> Table:
        table = super()._response_to_table(identifier_tuple, table_response)
        catalog = proxy(self)  # what is remembered of a catalog must not keep it
        if isinstance(table.io, DurableFileIO):
            table.io.renew_by(lambda: catalog.load_table(identifier_tuple).io.properties)
        return table


class _TimedAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """With a time-out, unless one is set."""
        if options.get("timeout") is None:
            options["timeout"] = CONNECT_SECONDS, ANSWER_SECONDS
        return super().send(request, *args, **options)


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
        found["py-catalog-impl"] = f"{TimedRestCatalog.__module__}.{TimedRestCatalog.__name__}"
    elif "://" in uri:
        found["uri"] = database.timed(uri)
        if found["uri"].startswith("postgresql+psycopg://"):
            found.pop("type", None)
            found["py-catalog-impl"] = (
                f"{PostgreSQLCatalog.__module__}.{PostgreSQLCatalog.__name__}"
            )
    return found
