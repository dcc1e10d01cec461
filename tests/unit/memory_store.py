"""The controller's store without a database: a hundred times faster, and copied in no time.

test_store.py holds it to the same contract as the real one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from replay.core.events import Event, Reason
from replay.core.model import Attempt, Move, ProductState, Publication, Release
from replay.releases.retention import KEPT_EVENTS, remembered
from replay.store.leases import Lease, StaleLeaseError


@dataclass
class MemoryStore:
    """One product's rows, all of them frozen; the leases of any."""

    now: Callable[[], float] = time.time
    leases: dict[str, tuple[Lease, float]] = field(default_factory=dict)
    releases: dict[int, Release] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    journal: dict[int, Publication] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    newest: int = 0

    def copied(self, now: Callable[[], float]) -> MemoryStore:
        return replace(
            self,
            now=now,
            leases=dict(self.leases),
            releases=dict(self.releases),
            attempts=dict(self.attempts),
            journal=dict(self.journal),
            history=list(self.history),
        )

    # Lease

    def acquire(self, product: str, holder: str, ttl: float) -> Lease | None:
        now = self.now()
        before, expires = self.leases.get(product, (Lease(product, holder, int(1000 * now)), 0.0))
        if now < expires <= now + ttl and before.holder != holder:
            return None
        lease = Lease(product, holder, before.token + 1)
        self.leases[product] = lease, now + ttl
        return lease

    def renew(self, lease: Lease, ttl: float) -> None:
        self._fence(lease)
        self.leases[lease.product] = lease, self.now() + ttl

    def give_back(self, lease: Lease) -> None:
        if lease.product in self.leases and self.leases[lease.product][0].token == lease.token:
            self.leases[lease.product] = lease, 0.0

    def _fence(self, lease: Lease) -> None:
        held = self.leases.get(lease.product)
        token = held[0].token if held else None
        if token != lease.token:
            raise StaleLeaseError(
                f"another controller took over {lease.product}",
                expected=f"fencing token {lease.token} of {lease.holder}",
                found=f"token {token}",
                next=f"kappa deploy {lease.product}  (shows what the other one does)",
            )

    # Reading

    def products(self) -> list[str]:
        return sorted({r.product for r in self.releases.values()})

    def load(self, product: str) -> ProductState:
        done = max((i for i, p in self.journal.items() if p.finished is not None), default=0)
        return ProductState(
            product=product,
            releases=tuple(r for _, r in sorted(self.releases.items())),
            attempts=tuple(
                sorted(self.attempts.values(), key=lambda a: (a.created, a.release, a.number))
            ),
            publications=tuple(
                p for i, p in sorted(self.journal.items()) if p.finished is None or i == done
            ),
        )

    def held(self, lease: Lease) -> ProductState:
        return self.load(lease.product)

    def published_at(self, product: str, at: float) -> Publication | None:
        done = [p for p in self.journal.values() if p.finished is not None and p.finished <= at]
        return max(done, key=lambda p: p.id, default=None)

    def on_session_cluster(self) -> list[str]:
        return [a.full_name for a in self.attempts.values() if not a.ended and not a.cluster]

    def seconds(self) -> float:
        stamps = [
            self.now(),
            *(e.at for e in self.history[-1:]),
            *(p.started for p in self.journal.values()),
        ]
        return max(stamps)

    def events(self, product: str) -> list[Event]:
        return list(self.history)

    # Writing, fenced

    def add_release(self, lease: Lease, release: Release) -> None:
        self._fence(lease)
        assert release.number not in self.releases
        self.releases[release.number] = release

    def save(self, lease: Lease, *attempts: Attempt, durable: bool = True) -> None:
        self._fence(lease)
        self._put(attempts)

    def note(self, lease: Lease, event: Event, *attempts: Attempt) -> None:
        self._fence(lease)
        newest = next((e for e in reversed(self.history) if e.attempt == event.attempt), None)
        if newest is None or (newest.reason, newest.detail) != (event.reason, event.detail):
            self.history.append(event)
            del self.history[:-KEPT_EVENTS]
        self._put(attempts)

    def begin_publication(self, lease: Lease, intent: Publication) -> Publication:
        self._fence(lease)
        self.newest += 1
        begun = self.journal[self.newest] = replace(intent, id=self.newest)
        return begun

    def finish_publication(
        self, lease: Lease, publication: Publication, now: float, *attempts: Attempt
    ) -> None:
        self._fence(lease)
        if publication.id in self.journal:
            self.journal[publication.id] = replace(self.journal[publication.id], finished=now)
        self._put(attempts)
        if publication.kind is not Move.publish:
            self._note(
                publication.product,
                publication.attempt_name,
                Reason(publication.kind.value),
                f"checkpoint {publication.checkpoint}",
            )

    def drop_publication(self, lease: Lease, publication: Publication) -> None:
        self._fence(lease)
        self.journal.pop(publication.id, None)

    def remove(self, lease: Lease) -> None:
        self._fence(lease)
        for rows in (self.attempts, self.releases, self.journal, self.history):
            rows.clear()
        del self.leases[lease.product]

    def _put(self, attempts: tuple[Attempt, ...]) -> None:
        known = set(self.attempts)
        for a in attempts:
            before = self.attempts.get(a.name)
            self.attempts[a.name] = a
            if before is None or before.state is not a.state:
                self._note(a.product, a.name, Reason(a.state.value), a.error)
            elif before.job_ids != a.job_ids:
                self._note(a.product, a.name, Reason.resumed, f"job {a.job_id} from {a.restore}")
        if not {a.name for a in attempts} <= known:
            kept = remembered(self.load(attempts[0].product))
            self.attempts = {a.name: a for a in kept.attempts}
            self.releases = {r.number: r for r in kept.releases}

    def _note(self, product: str, attempt: str, reason: Reason, detail: str) -> None:
        self.history.append(Event(product, self.now(), attempt, reason, detail))
        del self.history[:-KEPT_EVENTS]
