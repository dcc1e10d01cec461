"""A product's state as rows of the store's tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from replay import offsets
from replay.core.events import Event
from replay.core.model import JOURNAL_VERSION, Attempt, Move, ProductState, Publication, Release
from replay.store import statements
from replay.versions import refuse_newer


def read(c: sa.Connection, product: str) -> ProductState:
    """Everything known of a product, as one transaction sees it."""
    of = {"of": product}
    releases = c.execute(statements.RELEASES_OF, of).all()
    attempts = c.execute(statements.ATTEMPTS_OF, of).scalars().all()
    newest = c.execute(statements.NEWEST_PUBLICATIONS_OF, of).all()
    shown = newest[:1] if newest and newest[0].finished is not None else newest
    return ProductState(
        product=product,
        releases=tuple(_release(r) for r in releases),
        publications=tuple(publication(p) for p in reversed(shown)),
    ).with_attempts(*map(Attempt.from_json, attempts))


def _release(row: Any) -> Release:
    return Release(
        product=row.product,
        number=row.number,
        fingerprint=row.fingerprint,
        created=row.created,
        reference_offsets=offsets.from_json(row.reference_offsets),
        git_commit=row.git_commit,
        computation=row.computation,
    )


def of_release(release: Release) -> dict[str, Any]:
    """A release as a row."""
    return {
        "product": release.product,
        "number": release.number,
        "fingerprint": release.fingerprint,
        "git_commit": release.git_commit,
        "created": release.created,
        "computation": release.computation,
        "reference_offsets": offsets.to_json(release.reference_offsets),
    }


def of_attempt(attempt: Attempt) -> dict[str, Any]:
    """An attempt as a row."""
    return {
        "product": attempt.product,
        "release": attempt.release,
        "number": attempt.number,
        "state": attempt.state.value,
        "body": attempt.to_json(),
    }


def of_event(event: Event) -> dict[str, Any]:
    """An event as a row, to which the database gives a number."""
    return {
        "product": event.product,
        "at": event.at,
        "attempt": event.attempt,
        "what": event.reason.value,
        "detail": event.detail,
    }


def of_intent(intent: Publication) -> dict[str, Any]:
    """A publication that begins, as a row to which the database gives a number."""
    return {
        "product": intent.product,
        "release": intent.release,
        "attempt": intent.attempt,
        "checkpoint": intent.checkpoint,
        "kind": intent.kind.value,
        "before": dict(intent.before),
        "after": dict(intent.after),
        "covered": offsets.to_json(intent.covered),
        "started": intent.started,
        "finished": None,
        "version": JOURNAL_VERSION,
    }


def publication(row: Any) -> Publication:
    """A row of the journal; RefusedError when a newer version wrote it."""
    refuse_newer(f"publication {row.id} of {row.product}", row.version, JOURNAL_VERSION)
    return Publication(
        id=row.id,
        product=row.product,
        release=row.release,
        attempt=row.attempt,
        checkpoint=row.checkpoint,
        before=row.before,
        after=row.after,
        covered=offsets.from_json(row.covered),
        started=row.started,
        finished=row.finished,
        kind=Move(row.kind),
    )
