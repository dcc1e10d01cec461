"""Statements about releases, attempts, publications and events."""

from __future__ import annotations

import sqlalchemy as sa

from replay.core.model import Move
from replay.releases.retention import KEPT_EVENTS
from replay.store.tables import attempts as _attempts
from replay.store.tables import events as _events
from replay.store.tables import publications as _publications
from replay.store.tables import releases as _releases

# Built once: to put a statement together takes longer than SQLite takes to answer it.
OF: sa.BindParameter[str] = sa.bindparam("of")
RELEASES_OF = sa.select(_releases).where(_releases.c.product == OF).order_by(_releases.c.number)
ATTEMPTS_OF = sa.select(_attempts.c.body).where(_attempts.c.product == OF)
CHANGE_ATTEMPT = _attempts.update().where(
    _attempts.c.product == OF,
    _attempts.c.release == sa.bindparam("r"),
    _attempts.c.number == sa.bindparam("n"),
)
# One is finished or dropped before the next begins: these are the last one done, and the one under way if there is.
NEWEST_PUBLICATIONS_OF = (
    sa.select(_publications)
    .where(_publications.c.product == OF)
    .order_by(_publications.c.id.desc())
    .limit(2)
)
FINISH = _publications.update().where(_publications.c.id == sa.bindparam("is"))
FORGET_UP_TO = _publications.delete().where(
    _publications.c.product == OF,
    _publications.c.finished.is_not(None),
    sa.or_(
        sa.and_(
            _publications.c.kind == Move.publish.value, _publications.c.id <= sa.bindparam("last")
        ),
        _publications.c.id <= sa.bindparam("last_move"),
    ),
)
PUBLISHED_AT = (
    sa.select(_publications)
    .where(
        _publications.c.product == OF,
        _publications.c.finished <= sa.bindparam("at"),
        # An older switch is kept, but not what was published after it.
        _publications.c.id
        > sa.select(sa.func.max(_publications.c.id))
        .where(_publications.c.product == OF)
        .scalar_subquery()
        - sa.bindparam("kept"),
    )
    .order_by(_publications.c.id.desc())
    .limit(1)
)
FORGET_ATTEMPT = _attempts.delete().where(
    _attempts.c.product == OF,
    _attempts.c.release == sa.bindparam("r"),
    _attempts.c.number == sa.bindparam("n"),
)
FORGET_RELEASE = _releases.delete().where(
    _releases.c.product == OF, _releases.c.number == sa.bindparam("r")
)
FORGET_EVENTS = _events.delete().where(
    _events.c.product == OF,
    _events.c.id
    <= (
        sa.select(_events.c.id)
        .where(_events.c.product == OF)
        .order_by(_events.c.id.desc())
        .limit(1)
        .offset(KEPT_EVENTS)
        .scalar_subquery()
    ),
)
NEWEST_EVENT = sa.select(_events.c.at).order_by(_events.c.id.desc()).limit(1).scalar_subquery()
NEWEST_EVENT_OF = (
    sa.select(_events.c.what, _events.c.detail)
    .order_by(_events.c.id.desc())
    .limit(1)
    .where(_events.c.product == OF, _events.c.attempt == sa.bindparam("attempt"))
)
NEWEST_MOVE = (
    sa.select(_publications.c.started)
    .order_by(_publications.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
