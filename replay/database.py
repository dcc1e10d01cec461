"""PostgreSQL and SQLite as store and catalog ask them: addresses, time-outs, and what their errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from replay.errors import OutcomeUnknownError, RefusedError, RetryableError
from replay.secret import without_user

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30
"""How long a question may take, wait for a lock, or be left open by a process that is frozen or gone."""
LOST = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""Raised by a database that is away, busy or gives up: what it was asked for may be done or not."""
POOL = {"pool_size": 20, "max_overflow": 100}
"""Connections of a process: one for each of its threads, of which some take two."""
_LOCK = 0x6B61707061
"""Of PostgreSQL's advisory locks, the one that is held while tables of store or catalog are made or upgraded."""
_NO_PRIVILEGE = "42501"
_ROLLED_BACK = ("23", "40", "25P")
"""SQLSTATEs that begin so, as the answer to COMMIT, say that nothing was written."""


def with_driver(address: str) -> str:
    """The address by which SQLAlchemy takes the driver that is installed, where the address leaves it open."""
    scheme, found, rest = address.partition("://")
    return (
        f"postgresql+psycopg://{rest}"
        if found and scheme in ("postgres", "postgresql")
        else address
    )


def timed(address: str) -> str:
    """The address with a time-out for everything that could wait for ever, unless it sets its own."""
    address = with_driver(address)
    url = sa.make_url(address)
    if url.get_backend_name() == "sqlite":
        wanted = {"timeout": str(ANSWER_SECONDS)}
    elif url.get_backend_name() == "postgresql" and url.get_driver_name().startswith("psycopg"):
        wanted = _postgresql_options()
    else:
        return address
    missing = {name: value for name, value in wanted.items() if name not in url.query}
    if (chosen := url.query.get("options")) and "options" in wanted:
        missing["options"] = f"{_unless_in(str(chosen), wanted['options'])} {chosen}".strip()
    return (
        url.update_query_dict(missing).render_as_string(hide_password=False) if missing else address
    )


def _postgresql_options() -> dict[str, str]:
    """For libpq. `options` are the session's: by these the server gives up on us.

    Locks of a transaction whose process is frozen, or whose host is lost, are free after `idle_in_transaction_…`; a
    host that is lost while it waits for an answer is noticed by keepalives, on either side.
    """
    milliseconds = 1000 * ANSWER_SECONDS
    session = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        "tcp_user_timeout": milliseconds,
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 4,
    }
    return {
        "connect_timeout": str(CONNECT_SECONDS),
        "application_name": "kappa",
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "4",
        "tcp_user_timeout": str(milliseconds),
    }


def _unless_in(chosen: str, options: str) -> str:
    """The options of the session that the address does not set."""
    return " ".join(
        f"-c {o}"
        for o in options.removeprefix("-c ").split(" -c ")
        if o.partition("=")[0] not in chosen
    )


@contextmanager
def readable_errors(what: str, where: str) -> Iterator[None]:
    """Errors of the database `what` at `where`, as a person reads them: nothing was changed, and it may be repeated."""
    try:
        with permitted(what, where):
            yield
    except LOST as e:
        raise RetryableError(
            f"{what} does not answer",
            expected=f"an answer from {where}",
            found=reason(e),
            next="kappa status",
        ) from e


@contextmanager
def permitted(what: str, where: str) -> Iterator[None]:
    """RefusedError where the role has not the privileges; other errors are left as they are."""
    try:
        yield
    except DBAPIError as e:
        if sqlstate(e) != _NO_PRIVILEGE:
            raise
        raise RefusedError(
            f"{what} does not permit this",
            expected=f"a role with the privileges for it at {where}",
            found=reason(e),
            next="grant what docs/production.md names, then repeat the command",
        ) from e


@contextmanager
def transaction(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """One that is committed at the end; OutcomeUnknownError when the answer to COMMIT is lost."""
    with engine.connect() as c, c.begin() as begun:
        yield c
        try:
            begun.commit()
        except DBAPIError as e:
            c.invalidate()  # SQLAlchemy takes the transaction for ended, and others would get it with the connection
            if (sqlstate(e) or "").startswith(_ROLLED_BACK):
                raise
            raise OutcomeUnknownError(
                f"it is not known whether {what} was written",
                expected="an answer to COMMIT",
                found=reason(e),
                next="kappa status, then repeat",
            ) from e


def lock(c: sa.Connection) -> None:
    """Keep others from making or upgrading tables until the transaction ends; SQLite's write lock does so anyway."""
    if c.dialect.name == "postgresql":
        c.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code; None: of another database, or the connection was lost."""
    return getattr(error.orig, "sqlstate", None)


def reason(error: Exception) -> str:
    """The first line, without the statement, user and password."""
    text = str(getattr(error, "orig", None) or error)
    return without_user(text.strip().partition("\n")[0])
