"""Upgrades of the controller's store by Alembic, which is imported only when there is something to do.

The caller holds the lock, and one transaction: what fails has changed nothing.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from replay.errors import RefusedError
from replay.store import migrations, tables

_log = logging.getLogger(__name__)


def upgrade(c: sa.Connection, found: str | None) -> None:
    """From `found` (None: of before there were versions) to this program's; on SQLite a copy is made first."""
    before, after = (
        f"version {int(found)}" if found else "no version",
        f"version {int(tables.VERSION)}",
    )
    store = c.engine.url.set(query={}).render_as_string()
    copy = _copy(c, found)
    kept = (
        f"a copy of it as it was is {copy}"
        if copy
        else "it is not copied: a backup of your own is expected"
    )
    _log.warning(
        "upgrading the controller's store %s from %s to %s; %s", store, before, after, kept
    )
    try:
        # A program of before that is at work gets no further: every token it has is an old one. First, as it locks its
        # lease before it writes anything else.
        c.execute(tables.leases.update().values(token=tables.leases.c.token + 1, expires=0.0))
        _migrate(c, found)
    except SQLAlchemyError as e:
        raise RefusedError(
            f"the controller's store {store} could not be upgraded and was not changed",
            expected=f"{before} to become {after}",
            found=str(getattr(e, "orig", None) or e),
            next="use the kappa that wrote it, and report what was found",
        ) from e


def _migrate(c: sa.Connection, found: str | None) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    context = MigrationContext.configure(c, opts={"version_table": tables.version.name})
    if found is None:
        tables.version.create(c)
        c.execute(tables.version.insert().values(version_num=""))
    script = ScriptDirectory(Path(migrations.__file__).parent)
    with Operations.context(context):
        for revision in reversed(list(script.iterate_revisions(tables.VERSION, found or "base"))):
            revision.module.upgrade()
            c.execute(tables.version.update().values(version_num=revision.revision))


def _copy(c: sa.Connection, found: str | None) -> Path | None:
    """A consistent copy beside SQLite's file, whole or not at all; None: in memory, or another database."""
    if c.dialect.name != "sqlite":
        return None
    file = c.exec_driver_sql("PRAGMA database_list").one()[2]
    if not file:
        return None
    store = Path(file)
    copy = store.with_name(f"{store.name}.{f'v{found}' if found else 'unversioned'}.bak")
    scratch = copy.with_suffix(".tmp")
    try:
        scratch.unlink(missing_ok=True)
        scratch.touch(mode=store.stat().st_mode & 0o777)
        # Another connection: it reads what was committed last, while this one's lock keeps others from writing.
        with (
            closing(sqlite3.connect(f"file:{quote(file)}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(scratch)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, for people to move
        _to_disk(scratch)
        scratch.replace(copy)
        _to_disk(store.parent)
    except (OSError, sqlite3.Error) as e:
        scratch.unlink(missing_ok=True)
        raise RefusedError(
            f"{store} is not upgraded, as no copy of it could be made before",
            expected=f"a file {copy}",
            found=str(e),
            next=f"make room below {store.parent}, then repeat the command",
        ) from e
    return copy


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
