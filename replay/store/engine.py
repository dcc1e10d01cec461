"""Connections to the database of the store, and how its transactions begin."""

from __future__ import annotations

from enum import Enum
from typing import Any

import sqlalchemy as sa

from replay import database

HOW = "kappa_begin"
"""Option of an execution whose value is a `Begin`."""


class Begin(Enum):
    """How SQLite begins a transaction.

    An intent must survive a power failure, so `write` waits for the disk, 1 to 3 ms. What `unsynced` wrote is on the
    disk with the next `write`, at the latest.
    """

    # IMMEDIATE: a read turned write would otherwise fail at once as 'locked'.
    write = ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE")
    unsynced = ("PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE")
    read = ("BEGIN",)


def connect(url: str) -> sa.Engine:
    """An engine whose connections are checked, and begin transactions as `HOW` says."""
    engine = sa.create_engine(database.timed(url), **_options(database.with_driver(url)))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def reading(engine: sa.Engine) -> sa.Engine:
    """The same connections, for transactions that only read and see one instant."""
    found = engine.execution_options(**{HOW: Begin.read})
    if engine.dialect.name != "postgresql":
        return found
    # Each statement of READ COMMITTED would see another instant.
    return found.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _options(address: str) -> dict[str, Any]:
    """Each thread of a controller gets a connection, and one that was lost meanwhile is replaced before it is used."""
    url = sa.make_url(address)
    if url.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True, **database.POOL}
    if url.database in (
        None,
        "",
        ":memory:",
    ):  # there is one connection to it, whichever thread asks
        return {"connect_args": {"check_same_thread": False}, "poolclass": sa.StaticPool}
    return database.POOL


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = (
        None  # the driver's own BEGIN comes too late for the read before a write
    )
    connection.execute("PRAGMA journal_mode=WAL")


def _sqlite_begin(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver
    for statement in connection.get_execution_options().get(HOW, Begin.write).value:
        driver.execute(statement)


def without_parameters(url: str) -> str:
    """For people: SQLAlchemy leaves a password out, but not one that is a parameter."""
    return sa.make_url(url).set(query={}).render_as_string()
