"""Looking at the world: what Flink, the log and the lake say of a product's attempts. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from jobs.product import LagLimit, Product
from replay import offsets
from replay.flink import FlinkDownError, Job
from replay.lake import Checkpoint
from replay.model import Attempt, ProductState, State
from replay.offsets import Offsets


@dataclass(frozen=True)
class Seen:
    """One live attempt, as the world shows it."""

    job: Job | None = None
    """None: Flink answered, and does not know the current job id."""
    committed: Offsets = field(default_factory=dict)
    """Offsets that a checkpoint from `job` on covers at least: read before it."""
    ends: Offsets = field(default_factory=dict)
    """Ends of the topics that grow."""
    reference: Offsets = field(default_factory=dict)
    """Ends of the reference data, fixed in the release."""
    lag_limit: LagLimit = field(default_factory=LagLimit)
    standing_clocks: tuple[str, ...] = ()
    """Operators without a watermark; looked for only when there is a new checkpoint."""
    publishable: tuple[Checkpoint, ...] = ()
    """Checkpoints present in every table of its branch, newest first."""
    retained: Mapping[int, str] = field(default_factory=dict)
    """Checkpoints on disk that it could be resumed from; looked for only when Flink does not know the job."""


@dataclass(frozen=True)
class Observation:
    """A product, as the world shows it."""

    attempts: Mapping[str, Seen] = field(default_factory=dict)
    """Attempt name → what was seen; live attempts only."""
    main: Mapping[str, int] = field(default_factory=dict)
    """Table → snapshot that readers see."""
    main_is_genesis: bool = True
    """Nothing was ever published."""
    unreachable: str = ""
    """Why Flink could not be asked; then nothing is known of the jobs."""


class Eyes(Protocol):
    """What observing needs of the world."""

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        """The model of the attempt's release."""

    def job(self, job_id: str) -> Job | None: ...

    def standing_clocks(self, job_id: str) -> tuple[str, ...]: ...

    def committed(self, group: str, product: Product) -> Offsets: ...

    def ends(self, product: Product) -> Offsets:
        """Ends of the topics that grow: all but reference data."""

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]: ...

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        """Snapshots that readers see (none: no tables yet), and whether these are the empty first ones."""

    def retained(self, attempt: Attempt) -> Mapping[int, str]: ...


def observe(eyes: Eyes, state: ProductState) -> Observation:
    """Look at every live attempt of a product, and at what its readers see."""
    if not state.attempts:
        return Observation()
    main, genesis = eyes.main(eyes.product(state.attempts[-1], state))
    try:
        seen = {a.name: _look(eyes, a, state) for a in state.live}
    except FlinkDownError as e:
        return Observation(main=main, main_is_genesis=genesis, unreachable=str(e))
    return Observation(attempts=seen, main=main, main_is_genesis=genesis)


def _look(eyes: Eyes, attempt: Attempt, state: ProductState) -> Seen:
    product = eyes.product(attempt, state)
    # The order matters: offsets first, the checkpoint after, so that the checkpoint covers at least these offsets.
    committed = eyes.committed(attempt.group, product) if attempt.confirmed else {}
    job = eyes.job(attempt.job_id)
    reference = state.release(attempt.release).reference_offsets
    # A bounded source may end without committing its last offsets; a finished task is in every later checkpoint.
    ended = offsets.only(reference, job.finished_sources) if job else {}
    running = job is not None and not job.ended
    published = state.published
    clocks = eyes.standing_clocks(job.id) if job and running and job.checkpoint > attempt.checkpoint else ()
    wants_publishing = attempt.state in (State.caught_up, State.audited, State.active)
    shown = published.checkpoint if published and published.attempt_name == attempt.name else 0
    newer = job is not None and max(job.checkpoint, attempt.checkpoint) > shown
    return Seen(
        job=job,
        committed=offsets.replaced(committed, ended),
        ends=eyes.ends(product) if running else {},
        reference=reference,
        lag_limit=product.settings.lag_limit,
        standing_clocks=clocks,
        publishable=eyes.publishable(product, attempt) if job is None or (wants_publishing and newer) else (),
        retained=eyes.retained(attempt) if job is None else {},
    )
