"""What observing needs of the platform: Flink, the log and the lake, all of it only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from jobs.product.folder import Product
from replay.controller.quiet import Clocks
from replay.core.model import (
    Attempt,
    Checkpoint,
    CheckpointPosition,
    Committed,
    Comparing,
    ProductState,
)
from replay.core.observed import Job, SubmissionStatus
from replay.offsets import Offsets


class PlatformReader(Protocol):
    """What observing needs of the platform."""

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        """The model of the attempt's release."""

    def job(self, attempt: Attempt) -> Job | None:
        """Its current job, None if its cluster does not know it; FlinkDownError when the cluster does not answer."""

    def superseded(self, attempt: Attempt) -> tuple[str, ...]:
        """Earlier jobs of the attempt that have not ended: taken for lost, and there again."""

    def submission(self, attempt: Attempt) -> SubmissionStatus:
        """How the submission of its current job stands, if this process started one."""

    def cluster_runs(self, attempt: Attempt) -> bool:
        """Whether its own cluster is known to be running; true on the session cluster."""

    def strays(self, attempts: Sequence[Attempt]) -> tuple[str, ...]:
        """Names of those that have a running job or cluster; KappaError when the session cluster, or the program that
        runs the others, does not answer."""

    def exit_reason(self, attempt: Attempt) -> str:
        """Why a process of its own cluster last came to an end by itself, or does not start; empty: not known.
        KappaError when the program that runs the cluster does not answer, or does not support the question."""

    def stalled_watermarks(self, attempt: Attempt) -> tuple[str, ...]: ...

    def late_dropped(self, attempt: Attempt) -> Mapping[str, int]:
        """Operator → records that it dropped as late since its job was (re)started."""

    def position(self, attempt: Attempt, product: Product) -> CheckpointPosition | None:
        """The position of the newest checkpoint of its current job, None if none is known beyond the attempt's own."""

    def committed(self, group: str, product: Product) -> Mapping[str, Mapping[int, Committed]]: ...

    def ends(self, product: Product) -> Offsets:
        """Readable ends of the unbounded topics: all but reference data."""

    def clocks(self, product: Product) -> Clocks:
        """The clocks of the unbounded topics whose records are dated by producers."""

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        """Checkpoints in every table of its branch; ConflictError when the branch has not just its jobs' commits."""

    def same_files(
        self, product: Product, before: Mapping[str, int], after: Mapping[str, int]
    ) -> bool:
        """Whether from the snapshots `before` to `after`, which `publishable` has just said, no table got or lost a
        file; no service is asked."""

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        """Snapshots that readers see (none: no tables yet), and whether these are the empty first ones."""

    def rejects(self, product: Product) -> int | None:
        """Rows of `rejects` that readers saw when `main` was last read for this product; no service is asked."""

    def retained(self, attempt: Attempt) -> Mapping[int, str]: ...

    def comparison(self, attempt: Attempt) -> Comparing | None:
        """What this process's comparison of a shadow with what readers see has come to, if it has begun one."""

    def log_changes(self, attempt: Attempt) -> tuple[str, ...]:
        """How the log differs from what the attempt has read of it; empty: it does not."""

    def log_problems(self, product: Product) -> tuple[tuple[str, ...], bool]:
        """Why the log is not whole, and whether records are gone."""
