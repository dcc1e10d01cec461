"""Which version a store is of: it is created, upgraded or refused before anything is read of it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, ProgrammingError

from replay import database
from replay.errors import RefusedError
from replay.store import tables
from replay.store.tables import VERSION
from replay.versions import USE_NEWER, refuse_newer

_STORE = "the controller's store"
_NEXT = f"{USE_NEWER}, or put back the copy that was made before the store was upgraded"
FOUND = sa.select(tables.version.c.version_num)


def prepare(writing: sa.Engine, reading: sa.Engine) -> None:
    """Bring a store to this program's version; RefusedError when it is of a newer one. One query if it is there."""
    if _at_a_glance(reading) == VERSION:
        return
    with writing.begin() as c:  # on SQLite it has the write lock from here on
        database.lock(c)
        names = sa.inspect(c).get_table_names()
        found = c.scalar(FOUND) if tables.version.name in names else None
        if found == VERSION:  # another process was at it meanwhile
            return
        if found is None and tables.leases.name not in names:
            tables.meta.create_all(c)
            c.execute(tables.version.insert().values(version_num=VERSION))
            return
        if found is not None:
            refuse_newer(_STORE, _number(found), int(VERSION), next=_NEXT)
        from replay.store.upgrade import upgrade  # with Alembic, which few need

        upgrade(c, found)


def refuse_changed(found: str | None) -> None:
    """RefusedError when a store that is in use has got another version: what is remembered of it may be wrong."""
    if found == VERSION:
        return
    refuse_newer(_STORE, _number(found), int(VERSION), next=_NEXT)
    raise RefusedError(
        "the controller's store was put back while it was in use",
        expected=f"version {int(VERSION)}",
        found=f"version {_number(found)}",
        next="start this program again, which upgrades it",
    )


def _number(found: str | None) -> object:
    return int(found) if found and found.isdigit() else found


def _at_a_glance(engine: sa.Engine) -> str | None:
    try:
        with engine.connect() as c:
            return c.scalar(FOUND)
    except (
        OperationalError,
        ProgrammingError,
    ):
        # most likely there is no such table; else this is met again
        return None
