"""Leases: the right to change one product, with a fencing token that only grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from replay.errors import ConflictError
from replay.store.tables import leases as _leases
from replay.store.version import FOUND

_of: sa.BindParameter[str] = sa.bindparam("of")
GIVEN_BACK = 0.0
"""When a lease that has no holder expired."""

# With the store's version: a newer program may upgrade it while this one has it open, and must not be misread.
_VERSION = FOUND.scalar_subquery().label("version")
LEASE_OF = sa.select(_leases, _VERSION).where(_leases.c.product == _of)
TOKEN_OF = (
    sa.select(_leases.c.token, _VERSION).where(_leases.c.product == _of).with_for_update(of=_leases)
)
GIVE_BACK = _leases.update().where(
    _leases.c.product == _of, _leases.c.token == sa.bindparam("mine")
)


_CLOCKS: dict[str, sa.ColumnElement[float]] = {
    # Days since noon of 24 November 4714 BC; the epoch's number is exact, and what is left is exact to 0.1 ms.
    "sqlite": (sa.func.julianday("now", type_=sa.Float) - 2440587.5) * 86400.0,
    # Of this moment, not of the transaction's beginning: it may have waited for the row.
    "postgresql": sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float),
}
"""Seconds since the epoch in a statement, by the dialect of the database."""
_ANY_CLOCK: sa.ColumnElement[float] = sa.cast(
    sa.extract("epoch", sa.func.current_timestamp()), sa.Float
)


def clock_of(dialect: sa.Dialect) -> sa.ColumnElement[float]:
    """The database's own clock."""
    return _CLOCKS.get(dialect.name, _ANY_CLOCK)


@dataclass(frozen=True)
class LeaseStatements:
    """Statements about leases, by one clock."""

    asked: sa.Select[Any]
    first: sa.Insert
    taken: sa.Update
    renewed: sa.Update

    @classmethod
    def by(cls, clock: sa.ColumnElement[float], dialect: sa.Dialect) -> LeaseStatements:
        insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        ttl: sa.BindParameter[float] = sa.bindparam("ttl", type_=sa.Float)
        held = sa.and_(_leases.c.expires > clock, _leases.c.expires <= clock + ttl)
        mine = {"holder": sa.bindparam("by"), "token": sa.bindparam("mine"), "expires": clock + ttl}
        return cls(
            asked=sa.select(_leases, _VERSION, held.label("held"), clock.label("now"))
            .where(_leases.c.product == _of)
            .with_for_update(of=_leases),
            # In ms, as one lease is taken at most in each: higher than any that the product had before it was removed.
            # Several may come first at once, and only a row that is there can be locked.
            first=insert(_leases)
            .on_conflict_do_nothing()
            .values(
                product=_of,
                holder="",
                token=sa.cast(1000 * clock, sa.BigInteger),
                expires=GIVEN_BACK,
            ),
            taken=_leases.update().where(_leases.c.product == _of).values(**mine),
            renewed=_leases.update().where(_leases.c.product == _of).values(expires=clock + ttl),
        )


class StaleLeaseError(ConflictError):
    """Another controller took over: nothing was written."""


@dataclass(frozen=True)
class Lease:
    """The right to change one product, until it expires or a holder with a higher token has it."""

    product: str
    holder: str
    token: int
