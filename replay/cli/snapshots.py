"""Which snapshots of a product's tables are meant: those of an attempt, at a checkpoint, or what readers saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from jobs.product.folder import Product
from replay.controller.intents import resolve
from replay.core.model import Attempt, Checkpoint, ProductState, Publication
from replay.errors import ConfigError, RefusedError, RetryableError, not_deployed


class SnapshotReader(Protocol):
    """What is asked of the platform."""

    def product(self, attempt: Attempt, state: ProductState) -> Product: ...

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]: ...


@dataclass(frozen=True)
class Snapshots:
    """One checkpoint of one attempt, in all tables."""

    attempt: str
    checkpoint: int
    of: Mapping[str, int]
    """Table → snapshot id."""

    def __str__(self) -> str:
        return f"{self.attempt}, checkpoint {self.checkpoint}"


def of_attempt(
    platform: SnapshotReader, state: ProductState, name: str | None, checkpoint: int | None
) -> Snapshots:
    """Those of an attempt (r2-a1), or of the newest of a release (r2); by default of the attempt that readers see.

    At a checkpoint, or else as readers see the attempt, or else the newest that every table has. ConfigError when there
    is no such attempt, RefusedError when its branch or the checkpoint is gone, RetryableError when it has none yet.
    """
    shown = state.published
    if name is None and shown is None:
        raise not_deployed(state.product)
    attempt = resolve(state, name or (shown.attempt_name if shown else ""))
    if shown and shown.attempt_name == attempt.name and checkpoint in (None, shown.checkpoint):
        return _published(shown)
    found = platform.publishable(platform.product(attempt, state), attempt)
    wanted = [c for c in found if checkpoint in (None, c.id)]
    if wanted:
        return Snapshots(attempt.name, wanted[0].id, wanted[0].snapshots)
    if found:
        raise RefusedError(
            f"checkpoint {checkpoint} of {attempt.name} is not in every table",
            expected=f"one from {found[-1].id} to {found[0].id}, which every table still has",
            found=str(checkpoint),
            next=f'kappa query {state.product} --attempt {attempt.name} "SELECT …"',
        )
    if attempt.ended:
        raise RefusedError(
            f"nothing is left of {attempt.name}",
            expected="an attempt whose branch is there",
            found=attempt.state.value,
            next=f"kappa attempts {state.product}",
        )
    raise RetryableError(
        f"{attempt.name} has no checkpoint yet",
        expected="a checkpoint in every table",
        found="none",
        next="repeat the command in a minute",
    )


def of_time(
    product: str,
    publication: Publication | None,
    at: datetime,
    now: float,
    kept: Mapping[str, Collection[int]],
) -> Snapshots:
    """What readers saw at a time: the publication of then, whose snapshots must still be among those that are `kept`
    (table → snapshot ids). RefusedError when they are not, nothing was published yet, or the time is yet to come."""
    if at.timestamp() > now:
        raise RefusedError(
            f"{at:%Y-%m-%d %H:%M:%SZ} is yet to come",
            expected=f"a time up to {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%SZ}",
            found=f"{at:%Y-%m-%d %H:%M:%SZ}",
            next=f"kappa history {product}",
        )
    if publication is None:
        raise RefusedError(
            f"it is not known what readers of {product} saw at {at:%Y-%m-%d %H:%M:%SZ}",
            expected="a time after the first publication that the store remembers",
            found="none before it",
            next=f"kappa history {product}",
        )
    if gone := sorted(t for t, s in publication.after.items() if s not in kept.get(t, ())):
        raise RefusedError(
            f"what readers of {product} saw at {at:%Y-%m-%d %H:%M:%SZ} is not kept any more",
            expected=f"the snapshots of {publication.attempt_name}, checkpoint {publication.checkpoint}",
            found=f"expired in {', '.join(gone)}",
            next=f"kappa history {product}",
        )
    return _published(publication)


def parse_time(text: str) -> datetime:
    """A time in ISO 8601, in UTC unless it says otherwise; ConfigError for anything else."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            "this is no time",
            expected="ISO 8601, in UTC unless it says otherwise, such as 2026-01-31T12:00:00Z",
            found=text,
            next="kappa query --help",
        ) from None


def _published(publication: Publication) -> Snapshots:
    return Snapshots(publication.attempt_name, publication.checkpoint, publication.after)
