"""What was seen of a product's attempts at one look: what `observe` answers and `decide` is asked with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.product.settings import LagLimit, Verify
from replay.core.model import (
    Attempt,
    Checkpoint,
    CheckpointPosition,
    Committed,
    Comparing,
    ProductState,
)
from replay.errors import RetryableError
from replay.offsets import Offsets

ENDED = frozenset({"FAILED", "CANCELED", "FINISHED"})
"""States from which a job does not come back."""


class FlinkDownError(RetryableError):
    """The JobManager does not answer."""


@dataclass(frozen=True)
class Job:
    """A job as REST tells it."""

    id: str
    status: str
    restarts: int = 0
    checkpoint: int = 0
    """Newest checkpoint completed by this job id, 0 for none."""
    error: str = ""
    """Root cause of the newest failure."""
    failed_at: float | None = None
    """When that was."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True)
class SubmissionStatus:
    """What `flink run` has reported so far. Whether the cluster has the job, only the cluster can tell."""

    under_way: bool = False
    refused: str = ""
    """Why the same submission would fail again."""
    trouble: str = ""
    """Why there is no answer, and none will come."""


@dataclass(frozen=True)
class Policy:
    """What product.yaml says of when to switch and when to give up."""

    lag_limit: LagLimit = field(default_factory=LagLimit)
    max_restarts: int = 5
    standbys: int = 1
    verify: Verify = Verify.off
    checkpoint_seconds: float = 10.0
    """How often a job near the end of the log completes a checkpoint."""
    backlog_checkpoint_seconds: float = 60.0
    """The same of one that works off a backlog."""
    together: Mapping[str, str] = field(default_factory=dict)
    """Topic → what is said of it that holds only while a key's records are in one partition."""


@dataclass(frozen=True)
class ObservedAttempt:
    """One live attempt, as the platform shows it."""

    policy: Policy = field(default_factory=Policy)
    unreachable: str = ""
    """Why its Flink cluster could not be asked; then nothing is known of its job."""
    cluster_gone: bool = False
    """Its own cluster does not exist any more, rather than being silent."""
    exit_reason: str = ""
    """Why a process of its own cluster ended or does not start, if that is known; looked for while the cluster does not
    answer, and once its job restarts too often."""
    job: Job | None = None
    """None: Flink answered, and does not know the current job id."""
    superseded: tuple[str, ...] = ()
    """Jobs that a resumption replaced and that have not ended; looked for while its own is not there, and at each of
    its checkpoints."""
    client: SubmissionStatus = field(default_factory=SubmissionStatus)
    """What the `flink run` of this process has reported, if there is one."""
    position: CheckpointPosition | None = None
    """The position of its newest checkpoint, if it is not remembered already; looked for only when there is one."""
    committed: Mapping[str, Mapping[int, Committed]] = field(default_factory=dict)
    """What its consumer group has committed: for display, nothing depends on it."""
    ends: Offsets = field(default_factory=dict)
    """Readable ends of the unbounded topics."""
    reference: Offsets = field(default_factory=dict)
    """Ends of the reference data, fixed in the release."""
    held_back: str = ""
    """The partition that results wait for, if they wait longer than usual."""
    stalled_watermarks: tuple[str, ...] = ()
    """Operators without a watermark; looked for only when there is a new checkpoint."""
    late_dropped: Mapping[str, int] = field(default_factory=dict)
    """Operator → records that it dropped as late; looked for only when there is a new checkpoint."""
    publishable: tuple[Checkpoint, ...] | None = None
    """Checkpoints present in every table of its branch, newest first; None: not looked for."""
    nothing_new: bool = False
    """The newest of these, of the attempt that readers see, holds the rows that they see."""
    tampered: str = ""
    """What is wrong with its branch: not the commits of its jobs, one after the other."""
    retained: Mapping[int, str] = field(default_factory=dict)
    """Checkpoints on disk that it could be resumed from; looked for only when its job does not run."""
    comparison: Comparing | None = None
    """What comparing it has come to in this process; None: this process does not compare it."""
    log_changes: tuple[str, ...] = ()
    """How the log differs from what it has read of it; looked for when there is something to publish."""
    log_problems: tuple[str, ...] = ()
    """Why the log is not whole any more; looked for only of attempts on their way to readers."""
    log_lost: bool = False
    """Records of the log are gone."""

    @property
    def commits(self) -> tuple[Checkpoint, ...]:
        return self.publishable or ()


@dataclass(frozen=True)
class Observation:
    """A product, as the platform shows it."""

    attempts: Mapping[str, ObservedAttempt] = field(default_factory=dict)
    """Attempt name → what was seen; live attempts only."""
    main: Mapping[str, int] = field(default_factory=dict)
    """Table → snapshot that readers see."""
    main_is_genesis: bool = True
    """Nothing was ever published."""
    rejects: int | None = None
    """Rows of the table `rejects` that readers see; None: not known."""
    strays: tuple[str, ...] = ()
    """Cleaned attempts of which a job or a cluster runs; looked for once a minute."""


@dataclass(frozen=True)
class Case:
    """One attempt in one observation: everything that a decision about it is based on."""

    state: ProductState
    attempt: Attempt
    observation: Observation
    seen: ObservedAttempt
    """What the observation says of this attempt."""
    now: float
    """Seconds since the epoch, by the controller's clock."""
