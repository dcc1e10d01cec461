"""The controller's memory: releases, attempts, the publish journal and one lease per product.

Every write asks for the lease's fencing token in the same transaction, so a controller that lost its lease while it
slept changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from replay import offsets
from replay.errors import ConflictError, RetryableError
from replay.model import ENDED, Attempt, Move, ProductState, Publication, Release

_meta = sa.MetaData()

_leases = sa.Table(
    "leases", _meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
_releases = sa.Table(
    "releases", _meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("git_commit", sa.String),
    sa.Column("computation", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("reference_offsets", sa.JSON, nullable=False),
)
_attempts = sa.Table(
    "attempts", _meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("release", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)
_publications = sa.Table(
    "publications", _meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("product", sa.String, nullable=False, index=True),
    sa.Column("release", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("checkpoint", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("before", sa.JSON, nullable=False),
    sa.Column("after", sa.JSON, nullable=False),
    sa.Column("covered", sa.JSON, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("finished", sa.Float),
)
_events = sa.Table(
    "events", _meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("product", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("attempt", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
)

GIVEN_BACK = 0.0
"""When a lease expired that nobody has."""
KEPT_PUBLICATIONS = 1000
"""An active attempt is published at every checkpoint; of these, so many are kept. Switches and rollbacks all are."""


# Built once: to put a statement together takes longer than SQLite takes to answer it.
_of: sa.BindParameter[str] = sa.bindparam("of")
_RELEASES_OF = sa.select(_releases).where(_releases.c.product == _of).order_by(_releases.c.number)
_ATTEMPTS_OF = sa.select(_attempts.c.body).where(_attempts.c.product == _of)
_CHANGE_ATTEMPT = _attempts.update().where(
    _attempts.c.product == _of, _attempts.c.release == sa.bindparam("r"), _attempts.c.number == sa.bindparam("n"))
# One is finished or dropped before the next begins: these are the last one done, and the one under way if there is.
_NEWEST_PUBLICATIONS_OF = (sa.select(_publications).where(_publications.c.product == _of)
                           .order_by(_publications.c.id.desc()).limit(2))
_FINISH = _publications.update().where(_publications.c.id == sa.bindparam("is"))
_FORGET_UP_TO = _publications.delete().where(
    _publications.c.product == _of, _publications.c.kind == Move.publish.value,
    _publications.c.finished.is_not(None), _publications.c.id <= sa.bindparam("last"))
_LEASE_OF = sa.select(_leases).where(_leases.c.product == _of)
_TOKEN_OF = sa.select(_leases.c.token).where(_leases.c.product == _of).with_for_update()
_CHANGE_LEASE = _leases.update().where(_leases.c.product == _of)
_GIVE_BACK = _leases.update().where(_leases.c.product == _of, _leases.c.token == sa.bindparam("mine"))


class StaleLeaseError(ConflictError):
    """Another controller took over: nothing was written."""


@dataclass(frozen=True)
class Lease:
    """The right to change one product, until it expires or somebody with a higher token has it."""

    product: str
    holder: str
    token: int


@dataclass(frozen=True)
class Event:
    """Something that became of an attempt."""

    product: str
    at: float
    attempt: str
    what: str
    """A state, 'lost', 'resumed', 'disturbed', 'switch', 'rollback', 'checked', 'checks failed', 'verified',
    'not verified' or 'differs'."""
    detail: str = ""


@dataclass(frozen=True)
class _Known:
    """A product's state as of a lease's token, so that it need not be read again.

    It stays what it is until a higher token is taken, as every write is fenced, and so needs a token; but for the
    writes of the token's holder. So it is kept only of a lease that was given back, or is held through this store.
    """

    token: int
    state: ProductState


class Store:
    """Opened once per process; creates its tables when they are missing."""

    def __init__(self, url: str, now: Callable[[], float] = time.time) -> None:
        self._engine = _engine(url)
        self._reading = self._engine.execution_options(**{_HOW: _Begin.read})
        self._hasty = self._engine.execution_options(**{_HOW: _Begin.hasty})
        """For what a power cut may take back, with all that came after: a lease, what is observed again, an outcome."""
        self._now = now
        self._mine: dict[str, int] = {}
        """Product → token that was last taken through this store."""
        self._known: dict[str, _Known] = {}
        with _readable_errors(url):
            _meta.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    # Lease

    def acquire(self, product: str, holder: str, now: float, ttl: float) -> Lease | None:
        """The lease, with a token higher than any before; None while another holder's has not expired."""
        with self._hasty.begin() as c:
            row = c.execute(_LEASE_OF.with_for_update(), {"of": product}).one_or_none()
            if row and row.expires > now and row.holder != holder:
                return None
            lease = Lease(product, holder, row.token + 1 if row else 1)
            values = {**asdict(lease), "expires": now + ttl}
            if row:
                c.execute(_CHANGE_LEASE, {"of": product, **values})
            else:
                c.execute(_leases.insert(), values)
        self._mine[product] = lease.token
        known = self._known.pop(product, None)
        if known and row and known.token == row.token:  # nobody had it in between
            self._known[product] = replace(known, token=lease.token)
        return lease

    def renew(self, lease: Lease, now: float, ttl: float) -> None:
        """Keep the lease; StaleLeaseError when another holder has it by now."""
        with self._fenced(lease, durable=False) as c:
            c.execute(_CHANGE_LEASE, {"of": lease.product, "expires": now + ttl})

    def give_back(self, lease: Lease) -> None:
        """Let another holder have the lease at once; nothing when it is lost already."""
        with self._hasty.begin() as c:
            c.execute(_GIVE_BACK, {"of": lease.product, "mine": lease.token, "expires": GIVEN_BACK})

    # Reading

    def products(self) -> list[str]:
        """Products with at least one release."""
        with self._reading.connect() as c:
            return list(c.scalars(sa.select(_releases.c.product).distinct().order_by(_releases.c.product)))

    def load(self, product: str) -> ProductState:
        """Everything known of a product, at one instant."""
        with self._reading.connect() as c:
            lease = c.execute(_LEASE_OF, {"of": product}).one_or_none()
            known = self._known.get(product)
            if lease and known and known.token == lease.token:
                return known.state
            state = _read(c, product)
        if lease and (lease.expires == GIVEN_BACK or lease.token == self._mine.get(product)):
            self._known[product] = _Known(lease.token, state)
        return state

    def held(self, lease: Lease) -> ProductState:
        """Everything known of a product to the lease's holder: not read again, as only the holder writes.

        Should the lease be lost by now, the next write says so.
        """
        return self._known_to(lease) or self.load(lease.product)

    def events(self, product: str) -> list[Event]:
        """What became of the product's attempts, oldest first."""
        with self._reading.connect() as c:
            rows = c.execute(sa.select(_events).where(_events.c.product == product).order_by(_events.c.id))
            return [Event(r.product, r.at, r.attempt, r.what, r.detail) for r in rows]

    def on_session_cluster(self) -> list[str]:
        """Attempts of all products that share the session cluster."""
        with self._reading.connect() as c:
            bodies = c.execute(sa.select(_attempts.c.body).where(_attempts.c.state.not_in([s.value for s in ENDED])))
            attempts = [Attempt.from_json(body) for body in bodies.scalars()]
        return [a.full_name for a in attempts if not a.cluster]

    # Writing, fenced

    def add_release(self, lease: Lease, release: Release) -> None:
        with self._fenced(lease) as c:
            c.execute(_releases.insert().values(
                product=release.product, number=release.number, fingerprint=release.fingerprint,
                git_commit=release.git_commit, created=release.created, computation=release.computation,
                reference_offsets=offsets.to_json(release.reference_offsets)))
            self._known.pop(lease.product, None)

    def save(self, lease: Lease, *attempts: Attempt, durable: bool = True) -> None:
        """Replace attempts whole, all or none. Not `durable`: a power cut may take it back, a killed process does not.
        """
        with self._fenced(lease, durable=durable) as c:
            self._put(c, lease, attempts)

    def note(self, lease: Lease, event: Event, *attempts: Attempt) -> None:
        """Put an event into the history, unless it is the attempt's newest, with the attempts that it changed."""
        newest = (sa.select(_events.c.what, _events.c.detail).order_by(_events.c.id.desc()).limit(1)
                  .where(_events.c.product == event.product, _events.c.attempt == event.attempt))
        with self._fenced(lease) as c:
            if c.execute(newest).one_or_none() != (event.what, event.detail):
                self._insert(c, event)
            self._put(c, lease, attempts)

    def begin_publication(self, lease: Lease, intent: Publication) -> Publication:
        """Journal an intent; returns it with its id."""
        with self._fenced(lease) as c:
            result = c.execute(_publications.insert().values(
                product=intent.product, release=intent.release, attempt=intent.attempt, checkpoint=intent.checkpoint,
                kind=intent.kind.value, before=dict(intent.before), after=dict(intent.after),
                covered=offsets.to_json(intent.covered), started=intent.started, finished=None))
            key = result.inserted_primary_key
            assert key is not None
            begun = replace(intent, id=int(key[0]))
            self._now_known(lease, lambda state: state.with_publication(begun))
        return begun

    def finish_publication(self, lease: Lease, publication: Publication, now: float, *attempts: Attempt) -> None:
        """Mark an intent done, together with the attempts that it changed. Lost in a power cut, it is done again."""
        with self._fenced(lease, durable=False) as c:
            c.execute(_FINISH, {"is": publication.id, "finished": now})
            self._put(c, lease, attempts)
            if publication.kind is not Move.publish:
                self._note(c, publication.product, publication.attempt_name, publication.kind.value,
                           f"checkpoint {publication.checkpoint}")
            c.execute(_FORGET_UP_TO, {"of": publication.product, "last": publication.id - KEPT_PUBLICATIONS})
            self._now_known(lease, lambda state: state.with_publication(replace(publication, finished=now)))

    def drop_publication(self, lease: Lease, publication: Publication) -> None:
        """Forget an intent that was refused as a whole: `main` did not move."""
        with self._fenced(lease) as c:
            c.execute(_publications.delete().where(_publications.c.id == publication.id))
            self._known.pop(lease.product, None)

    def _put(self, c: sa.Connection, lease: Lease, attempts: Sequence[Attempt]) -> None:
        state = self._known_to(lease) or _read(c, lease.product)
        known = {a.name: a for a in state.attempts}
        for a in attempts:
            before = known.get(a.name)
            if before is None:
                c.execute(_attempts.insert(), {"product": a.product, "release": a.release, "number": a.number,
                                               "state": a.state.value, "body": a.to_json()})
            elif before != a:
                c.execute(_CHANGE_ATTEMPT, {"of": a.product, "r": a.release, "n": a.number,
                                            "state": a.state.value, "body": a.to_json()})
            if before is None or before.state is not a.state:
                self._note(c, a.product, a.name, a.state.value, a.error)
            elif before.job_ids != a.job_ids:
                self._note(c, a.product, a.name, "resumed", f"job {a.job_id} from {a.restore}")
        self._now_known(lease, lambda state: state.with_attempts(*attempts))

    def _known_to(self, lease: Lease) -> ProductState | None:
        known = self._known.get(lease.product)
        return known.state if known and known.token == lease.token else None

    def _now_known(self, lease: Lease, change: Callable[[ProductState], ProductState]) -> None:
        if state := self._known_to(lease):
            self._known[lease.product] = _Known(lease.token, change(state))

    def _note(self, c: sa.Connection, product: str, attempt: str, what: str, detail: str) -> None:
        self._insert(c, Event(product, self._now(), attempt, what, detail))

    def _insert(self, c: sa.Connection, event: Event) -> None:
        c.execute(_events.insert().values(asdict(event)))

    @contextmanager
    def _fenced(self, lease: Lease, *, durable: bool = True) -> Iterator[sa.Connection]:
        try:
            with (self._engine if durable else self._hasty).begin() as c:
                token = c.scalar(_TOKEN_OF, {"of": lease.product})
                if token != lease.token:
                    raise StaleLeaseError(
                        f"another controller took over {lease.product}",
                        expected=f"fencing token {lease.token} of {lease.holder}", found=f"token {token}",
                        next=f"kappa deploy {lease.product}  (shows what the other one does)")
                yield c
        except BaseException:
            self._known.pop(lease.product, None)  # whatever became of it
            raise


def _read(c: sa.Connection, product: str) -> ProductState:
    of = {"of": product}
    releases = c.execute(_RELEASES_OF, of).all()
    attempts = c.execute(_ATTEMPTS_OF, of).scalars().all()
    newest = c.execute(_NEWEST_PUBLICATIONS_OF, of).all()
    shown = newest[:1] if newest and newest[0].finished is not None else newest
    return ProductState(product=product, releases=tuple(_release(r) for r in releases),
                        publications=tuple(_publication(p) for p in reversed(shown)),
                        ).with_attempts(*map(Attempt.from_json, attempts))


def _release(row: Any) -> Release:
    return Release(product=row.product, number=row.number, fingerprint=row.fingerprint, created=row.created,
                   reference_offsets=offsets.from_json(row.reference_offsets), git_commit=row.git_commit,
                   computation=row.computation)


def _publication(row: Any) -> Publication:
    return Publication(id=row.id, product=row.product, release=row.release, attempt=row.attempt,
                       checkpoint=row.checkpoint, before=row.before, after=row.after,
                       covered=offsets.from_json(row.covered), started=row.started, finished=row.finished,
                       kind=Move(row.kind))


_HOW = "kappa_begin"


class _Begin(Enum):
    """How SQLite begins a transaction. An intent must outlive a power cut: the disk is waited for, 1 to 3 ms.

    A transaction that wrote without waiting is on the disk at the latest with the next one that waits.
    """

    # IMMEDIATE: a read turned write would otherwise fail at once as 'locked'.
    write = ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE")
    hasty = ("PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE")
    read = ("BEGIN",)


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late for the read before a write
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA busy_timeout=30000")


def _sqlite_begin(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver
    for statement in connection.get_execution_options().get(_HOW, _Begin.write).value:
        driver.execute(statement)


@contextmanager
def _readable_errors(url: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as e:
        raise RetryableError("the controller's store does not answer", expected=sa.make_url(url).render_as_string(),
                             found=str(e.orig), next="kappa status") from e
