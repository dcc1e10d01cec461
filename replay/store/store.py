"""The controller's memory: releases, attempts, the publish journal and one lease per product.

Every write asks for the lease's fencing token in the same transaction, so a controller that lost its lease while it
slept changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import sqlalchemy as sa
from pydantic import SecretStr

from replay import database
from replay.core import events
from replay.core.events import Event, Reason
from replay.core.model import ENDED, Attempt, Move, ProductState, Publication, Release
from replay.errors import OutcomeUnknownError, RetryableError
from replay.releases.retention import remembered
from replay.secret import reveal
from replay.store import rows, statements
from replay.store.engine import HOW, Begin, connect, reading, without_parameters
from replay.store.known import KnownStates
from replay.store.leases import (
    GIVE_BACK,
    GIVEN_BACK,
    LEASE_OF,
    TOKEN_OF,
    Lease,
    LeaseStatements,
    StaleLeaseError,
    clock_of,
)
from replay.store.steady_clock import SteadyClock
from replay.store.tables import attempts as _attempts
from replay.store.tables import events as _events
from replay.store.tables import leases as _leases
from replay.store.tables import publications as _publications
from replay.store.tables import releases as _releases
from replay.store.version import FOUND, prepare, refuse_changed

STORE = "the controller's store"
KEPT_PUBLICATIONS = 1000
"""An active attempt is published at every checkpoint; of the newest so many, of all products, these are kept."""
KEPT_MOVES = 100 * KEPT_PUBLICATIONS
"""Of the newest so many publications, switches and rollbacks are kept."""


class Store:
    """Opened once per process; creates its tables when they are missing, and upgrades those of older programs."""

    def __init__(self, address: str | SecretStr, now: Callable[[], float] | None = None) -> None:
        """`now` tells the time in the place of the database's clock."""
        url = reveal(address)
        self._engine = connect(url)
        self._where = without_parameters(url)
        self._reading = reading(self._engine)
        self._unsynced = self._engine.execution_options(**{HOW: Begin.unsynced})
        """For writes that may be lost on power failure: a lease, what is observed again, an outcome."""
        dialect = self._engine.dialect
        one_writer = dialect.name == "sqlite"
        self._writing: AbstractContextManager[object] = (
            threading.Lock() if one_writer else nullcontext()
        )
        """SQLite has one write lock, and a thread that waits for it sleeps for up to 0.1 s at a time."""
        self._clock = (
            sa.bindparam("now", callable_=now, type_=sa.Float) if now else clock_of(dialect)
        )
        self._leases = LeaseStatements.by(self._clock, dialect)
        self._known = KnownStates()
        try:
            with self._readable_errors():
                prepare(self._engine, self._reading)
            self.now = now or SteadyClock(self.seconds())
            """The controller's time, of which the store keeps stamps."""
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    # Lease

    def acquire(self, product: str, holder: str, ttl: float) -> Lease | None:
        """The lease, with a token higher than any before; None while another holder's has not expired.

        Whether it has, the database's clock tells: one for all, wherever controllers run. A lease that lasts for longer
        than `ttl` from now on is of a time before that clock was set back, and has expired.
        """
        with self._repeatable(), self._write(self._unsynced) as c:
            asked = {"of": product, "ttl": ttl}
            row = c.execute(self._leases.asked, asked).one_or_none()
            if row is None:
                refuse_changed(c.scalar(FOUND))
                c.execute(self._leases.first, {"of": product})
                row = c.execute(self._leases.asked, asked).one()
            refuse_changed(row.version)
            if row.held and row.holder != holder:
                return None
            lease = Lease(product, holder, row.token + 1)
            c.execute(
                self._leases.taken, {"of": product, "by": holder, "mine": lease.token, "ttl": ttl}
            )
        if isinstance(self.now, SteadyClock):
            self.now.follow(row.now)
        self._known.taken(lease, row.token)
        return lease

    def renew(self, lease: Lease, ttl: float) -> None:
        """Keep the lease; StaleLeaseError when another holder has it by now."""
        with self._repeatable(), self._fenced(lease, durable=False) as c:
            c.execute(self._leases.renewed, {"of": lease.product, "ttl": ttl})

    def give_back(self, lease: Lease) -> None:
        """Let another holder have the lease at once; nothing when it is lost already."""
        with self._repeatable(), self._write(self._unsynced) as c:
            c.execute(GIVE_BACK, {"of": lease.product, "mine": lease.token, "expires": GIVEN_BACK})

    # Reading

    def products(self) -> list[str]:
        """Products with at least one release."""
        with self._read() as c:
            return list(
                c.scalars(sa.select(_releases.c.product).distinct().order_by(_releases.c.product))
            )

    def load(self, product: str) -> ProductState:
        """Everything known of a product, at one instant."""
        with self._read() as c:
            lease = c.execute(LEASE_OF, {"of": product}).one_or_none()
            if lease:
                refuse_changed(lease.version)
                if (known := self._known.of(product, lease.token)) is not None:
                    return known
            state = rows.read(c, product)
        if lease:
            self._known.loaded(product, lease.token, lease.expires, state)
        return state

    def held(self, lease: Lease) -> ProductState:
        """Everything known of a product to the lease's holder: not read again, as only the holder writes.

        Should the lease be lost by now, the next write says so.
        """
        return self._known.of(lease.product, lease.token) or self.load(lease.product)

    def seconds(self) -> float:
        """The database's clock, but not before the newest entry of the history: it may have been set back since."""
        with self._read() as c:
            times = c.execute(
                sa.select(self._clock, statements.NEWEST_EVENT, statements.NEWEST_MOVE)
            ).one()
            return max(float(time or 0.0) for time in times)

    def events(self, product: str) -> list[Event]:
        """What became of the product's attempts, oldest first."""
        with self._read() as c:
            found = c.execute(
                sa.select(_events).where(_events.c.product == product).order_by(_events.c.id)
            )
            return [events.read(r.product, r.at, r.attempt, r.what, r.detail) for r in found]

    def published_at(self, product: str, at: float) -> Publication | None:
        """What readers of the product saw at a time, by the database's clock; None: nothing, or it is not known any
        more, as only the newest publications are kept."""
        of = {"of": product, "at": at, "kept": KEPT_PUBLICATIONS}
        with self._read() as c:
            row = c.execute(statements.PUBLISHED_AT, of).one_or_none()
            return None if row is None else rows.publication(row)

    def on_session_cluster(self) -> list[str]:
        """Attempts of all products that share the session cluster."""
        with self._read() as c:
            bodies = c.execute(
                sa.select(_attempts.c.body).where(
                    _attempts.c.state.not_in([s.value for s in ENDED])
                )
            )
            attempts = [Attempt.from_json(body) for body in bodies.scalars()]
        return [a.full_name for a in attempts if not a.cluster]

    # Writing, fenced

    def add_release(self, lease: Lease, release: Release) -> None:
        with self._fenced(lease) as c:
            c.execute(_releases.insert().values(rows.of_release(release)))
            self._known.forget(lease.product)

    def save(self, lease: Lease, *attempts: Attempt, durable: bool = True) -> None:
        """Replace attempts whole, all or none.

        Not `durable`: it may be lost on power failure, but not when a process is killed.
        """
        with self._fenced(lease, durable=durable) as c:
            self._put(c, lease, attempts)

    def note(self, lease: Lease, event: Event, *attempts: Attempt) -> None:
        """Put an event into the history, unless it is the attempt's newest, with the attempts that it changed."""
        of = {"of": event.product, "attempt": event.attempt}
        with self._fenced(lease) as c:
            newest = c.execute(statements.NEWEST_EVENT_OF, of).one_or_none()
            if newest != (event.reason.value, event.detail):
                self._insert(c, event)
            self._put(c, lease, attempts)

    def begin_publication(self, lease: Lease, intent: Publication) -> Publication:
        """Journal an intent; returns it with its id."""
        with self._fenced(lease) as c:
            result = c.execute(_publications.insert().values(rows.of_intent(intent)))
            key = result.inserted_primary_key
            assert key is not None
            begun = replace(intent, id=int(key[0]))
            self._known.changed(lease, lambda state: state.with_publication(begun))
        return begun

    def finish_publication(
        self, lease: Lease, publication: Publication, now: float, *attempts: Attempt
    ) -> None:
        """Mark an intent done, together with the attempts that it changed. If that is lost on power failure, it is
        done again."""
        with self._fenced(lease, durable=False) as c:
            c.execute(statements.FINISH, {"is": publication.id, "finished": now})
            self._put(c, lease, attempts)
            if publication.kind is not Move.publish:
                self._note(
                    c,
                    publication.product,
                    publication.attempt_name,
                    Reason(publication.kind.value),
                    f"checkpoint {publication.checkpoint}",
                )
            c.execute(
                statements.FORGET_UP_TO,
                {
                    "of": publication.product,
                    "last": publication.id - KEPT_PUBLICATIONS,
                    "last_move": publication.id - KEPT_MOVES,
                },
            )
            self._known.changed(
                lease, lambda state: state.with_publication(replace(publication, finished=now))
            )

    def drop_publication(self, lease: Lease, publication: Publication) -> None:
        """Forget an intent that was refused as a whole: `main` did not move."""
        with self._fenced(lease) as c:
            c.execute(_publications.delete().where(_publications.c.id == publication.id))
            self._known.forget(lease.product)

    def remove(self, lease: Lease) -> None:
        """Forget a product: its lease too. The next one's token is higher all the same, as it begins with the time."""
        with self._fenced(lease) as c:
            for table in (_attempts, _releases, _publications, _events, _leases):
                c.execute(table.delete().where(table.c.product == lease.product))
        self._known.removed(lease.product)

    def _put(self, c: sa.Connection, lease: Lease, attempts: Sequence[Attempt]) -> None:
        state = self._known.of(lease.product, lease.token) or rows.read(c, lease.product)
        known = {a.name: a for a in state.attempts}
        for a in attempts:
            if (before := known.get(a.name)) != a:
                self._write_attempt(c, before, a)
        if all(a.name in known for a in attempts):
            self._known.changed(lease, lambda state: state.with_attempts(*attempts))
        else:
            self._forget(c, state.with_attempts(*attempts))
            self._known.changed(lease, lambda state: remembered(state.with_attempts(*attempts)))

    def _write_attempt(self, c: sa.Connection, before: Attempt | None, after: Attempt) -> None:
        """With what has become of it, for the history."""
        if before is None:
            c.execute(_attempts.insert(), rows.of_attempt(after))
        else:
            key = {"of": after.product, "r": after.release, "n": after.number}
            body = {"state": after.state.value, "body": after.to_json()}
            c.execute(statements.CHANGE_ATTEMPT, {**key, **body})
        if before is None or before.state is not after.state:
            self._note(c, after.product, after.name, Reason(after.state.value), after.error)
        elif before.job_ids != after.job_ids:
            detail = f"job {after.job_id} from {after.restore}"
            self._note(c, after.product, after.name, Reason.resumed, detail)

    def _forget(self, c: sa.Connection, state: ProductState) -> None:
        """Delete what nothing needs any more of a product that got another attempt."""
        kept = remembered(state)
        if kept is state:
            return
        attempts, releases = {a.name for a in kept.attempts}, {r.number for r in kept.releases}
        for a in state.attempts:
            if a.name not in attempts:
                c.execute(
                    statements.FORGET_ATTEMPT, {"of": a.product, "r": a.release, "n": a.number}
                )
        for r in state.releases:
            if r.number not in releases:
                c.execute(statements.FORGET_RELEASE, {"of": r.product, "r": r.number})

    def _note(
        self, c: sa.Connection, product: str, attempt: str, reason: Reason, detail: str
    ) -> None:
        self._insert(c, Event(product, self.now(), attempt, reason, detail))

    def _insert(self, c: sa.Connection, event: Event) -> None:
        c.execute(_events.insert().values(rows.of_event(event)))
        c.execute(statements.FORGET_EVENTS, {"of": event.product})

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        with database.readable_errors(STORE, self._where):
            yield

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """All statements see one instant."""
        with self._readable_errors(), self._reading.connect() as c:
            yield c

    @contextmanager
    def _write(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """RetryableError: nothing was written. OutcomeUnknownError: the answer to COMMIT was lost."""
        with self._writing, self._readable_errors(), database.transaction(engine, STORE) as c:
            yield c

    @contextmanager
    def _repeatable(self) -> Iterator[None]:
        """For leases: to take, renew or give back one twice does no harm, so a lost answer is as none."""
        try:
            yield
        except OutcomeUnknownError as e:
            raise RetryableError(
                f"{STORE} does not answer", expected=e.expected, found=e.found, next=e.next
            ) from e

    @contextmanager
    def _fenced(self, lease: Lease, *, durable: bool = True) -> Iterator[sa.Connection]:
        try:
            with self._write(self._engine if durable else self._unsynced) as c:
                row = c.execute(TOKEN_OF, {"of": lease.product}).one_or_none()
                token = row.token if row else None
                if row is None or token != lease.token:
                    raise StaleLeaseError(
                        f"another controller took over {lease.product}",
                        expected=f"fencing token {lease.token} of {lease.holder}",
                        found=f"token {token}",
                        next=f"kappa deploy {lease.product}  (shows what the other one does)",
                    )
                refuse_changed(row.version)
                yield c
        except BaseException:
            self._known.forget(lease.product)  # whatever became of it
            raise
