"""Doing what was decided: the intent is stored, then the effect, then the outcome. Each part may be repeated."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from jobs.product import Product
from replay import decide as step
from replay.errors import ConflictError, OutcomeUnknownError
from replay.flink import Job, SubmissionRefusedError
from replay.model import KEPT_POSITIONS, Attempt, ProductState, Publication, Release, State
from replay.store import Lease, Store


class Hands(Protocol):
    """What acting needs of the world. Every method may be called again with the same arguments."""

    def product(self, attempt: Attempt, state: ProductState) -> Product: ...

    def job(self, job_id: str) -> Job | None: ...

    def prepare(self, product: Product, attempt: Attempt, release: Release) -> None:
        """Tables, branch and bindings of an attempt."""

    def submit(self, attempt: Attempt, release: Release, keepalive: Callable[[], None]) -> None: ...

    def cancel(self, job_id: str) -> None: ...

    def checks(self, product: Product, snapshots: Mapping[str, int]) -> list[str]:
        """Complaints of the product's own checks about these snapshots."""

    def publish(self, product: Product, after: Mapping[str, int], before: Mapping[str, int]) -> None: ...


@dataclass(frozen=True)
class Context:
    """What acting on one product needs, for as long as the lease holds."""

    hands: Hands
    store: Store
    lease: Lease
    state: ProductState
    now: Callable[[], float]
    keepalive: Callable[[], None]
    """Keeps the lease during a long effect."""
    new_job_id: Callable[[], str] = lambda: uuid.uuid4().hex

    def save(self, *attempts: Attempt) -> None:
        self.store.save(self.lease, *attempts)


def perform(c: Context, what: step.Step) -> None:
    """Perform one step."""
    match what:
        case step.Wait() | step.Blocked():
            pass
        case step.Submit(attempt):
            _submit(c, attempt)
        case step.Confirm(attempt):
            c.save(replace(attempt, confirmed=True, missing_since=None,
                           state=State.replaying if attempt.state is State.built else attempt.state))
        case step.NoteMissing(attempt, missing):
            c.save(replace(attempt, missing_since=c.now() if missing else None))
        case step.Resume(attempt, _, path):
            # Always a new id: with its old one the sink would take its own commits of before for its present work.
            c.save(replace(attempt, job_ids=(*attempt.job_ids, c.new_job_id()), restore=path, confirmed=False,
                           submitted_at=None, missing_since=None))
        case step.StartOver(attempt, error):
            c.save(replace(attempt, state=State.failed, error=error),
                   new_attempt(c.state, attempt.release, attempt.parallelism, c.now(), c.new_job_id()))
        case step.Fail(attempt, error):
            c.save(replace(attempt, state=State.failed, error=error))
        case step.Cancel(attempt):
            c.hands.cancel(attempt.job_id)
        case step.End(attempt):
            assert attempt.stop is not None
            c.save(replace(attempt, state=attempt.stop))
        case step.Record(attempt, position, near, caught_up):
            state = State.caught_up if caught_up and attempt.state is State.replaying else attempt.state
            c.save(replace(attempt, positions=(*attempt.positions, position)[-KEPT_POSITIONS:], near=near, state=state))
        case step.Examine(attempt, checkpoint):
            complaints = c.hands.checks(c.hands.product(attempt, c.state), checkpoint.snapshots)
            if complaints:
                c.save(replace(attempt, stop=State.failed, error="checks failed: " + "; ".join(complaints)))
            else:
                c.save(replace(attempt, state=State.audited, audited_checkpoint=checkpoint.id))
        case step.Publish(attempt, checkpoint, covered, before):
            intent = Publication(
                id=0, product=attempt.product, release=attempt.release, attempt=attempt.number,
                checkpoint=checkpoint.id, before=before,
                after=checkpoint.snapshots, covered=covered, started=c.now())
            _finish_publish(c, c.store.begin_publication(c.lease, intent))
        case step.FinishPublish(publication):
            _finish_publish(c, publication)
        case _:
            assert_never(what)


def new_attempt(state: ProductState, release: int, parallelism: int, now: float, job_id: str) -> Attempt:
    """The next attempt of a release, not submitted yet."""
    number = max((a.number for a in state.attempts if a.release == release), default=0) + 1
    return Attempt(product=state.product, release=release, number=number, created=now, parallelism=parallelism,
                   job_ids=(job_id,))


def _submit(c: Context, attempt: Attempt) -> None:
    release = c.state.release(attempt.release)
    c.hands.prepare(c.hands.product(attempt, c.state), attempt, release)
    attempt = replace(attempt, submitted_at=c.now())
    c.save(attempt)
    try:
        c.hands.submit(attempt, release, c.keepalive)
    except OutcomeUnknownError:
        return  # the next passes ask Flink for the job id
    except SubmissionRefusedError as e:
        if c.hands.job(attempt.job_id) is None:
            c.save(replace(attempt, state=State.failed, error=e.found or e.message))


def _finish_publish(c: Context, publication: Publication) -> None:
    attempt = c.state.attempt(publication.attempt_name)
    try:
        c.hands.publish(c.hands.product(attempt, c.state), publication.after, publication.before)
    except ConflictError:
        c.store.drop_publication(c.lease, publication)
        raise
    changed = [] if attempt.ended else [replace(attempt, state=State.active)]
    # There is no way back to a superseded attempt yet, so its job only costs: it is stopped.
    changed += [replace(a, state=State.standby, stop=State.retired) for a in c.state.attempts
                if a.state is State.active and a.name != attempt.name]
    c.store.finish_publication(c.lease, publication, c.now(), *changed)
