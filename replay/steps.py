"""The steps that the controller takes, one at a time: what `decide` answers and `perform` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replay import offsets
from replay.model import Attempt, Checkpoint, Finding, Move, Position, Publication, State


@dataclass(frozen=True)
class Wait:
    """Nothing to do now."""

    reason: str
    notable: bool = False
    """Something that a person would want to know of."""


@dataclass(frozen=True)
class Blocked:
    """A person has to look: the product stops here and says so."""

    message: str
    expected: str
    found: str
    next: str


@dataclass(frozen=True)
class StartCluster:
    """Start the Flink cluster of an attempt, or start it again."""

    attempt: Attempt


@dataclass(frozen=True)
class Submit:
    """Hand the current job id of an attempt to Flink: for the first time, or again after a lost answer."""

    attempt: Attempt


@dataclass(frozen=True)
class NoteSubmitting:
    """The client is still at work: other controllers are not to take its answer for lost."""

    attempt: Attempt


@dataclass(frozen=True)
class Confirm:
    """Flink knows the current job id."""

    attempt: Attempt


@dataclass(frozen=True)
class NoteMissing:
    """Flink does not know a job that ran: since now, or no longer."""

    attempt: Attempt
    missing: bool


@dataclass(frozen=True)
class Resume:
    """Give the attempt a new job id that starts from a retained checkpoint."""

    attempt: Attempt
    checkpoint: int
    path: str
    error: str
    """What became of its job."""


@dataclass(frozen=True)
class StartOver:
    """Give the attempt up and begin another one of the same release from offset zero; readers keep what they see."""

    attempt: Attempt
    error: str


@dataclass(frozen=True)
class GiveUp:
    """The attempt is wanted no more: its job is to be cancelled, and `state` is what it becomes."""

    attempt: Attempt
    state: State
    error: str


@dataclass(frozen=True)
class Cancel:
    """Ask Flink to end the job of an attempt that is wanted no more."""

    attempt: Attempt


@dataclass(frozen=True)
class End:
    """The job of an attempt that is wanted no more is gone, or goes with its cluster: the attempt is over."""

    attempt: Attempt


@dataclass(frozen=True)
class Clean:
    """Remove what an ended attempt left: branch, files, checkpoints, consumer group."""

    attempt: Attempt


@dataclass(frozen=True)
class Expire:
    """Remove snapshots of a live branch that nobody needs any more."""

    attempt: Attempt


@dataclass(frozen=True)
class Favour:
    """Give the cluster of the attempt that readers see its full share of the machine."""

    attempt: Attempt


@dataclass(frozen=True)
class Record:
    """A new position, and with it perhaps the state `caught_up`."""

    attempt: Attempt
    position: Position
    near: int
    restarts: int
    tip: Checkpoint | None
    caught_up: bool
    committed: bool = False
    """Its consumer group has offsets."""


@dataclass(frozen=True)
class NoteForeignOffsets:
    """Somebody changed what the consumer group of an attempt has committed; empty: it is as the job left it again."""

    attempt: Attempt
    note: str


@dataclass(frozen=True)
class NoteLateDropped:
    """Operators of an attempt dropped more records as late than was known."""

    attempt: Attempt
    late_dropped: Mapping[str, int]
    """Operator → records, as remembered from now on."""

    @property
    def note(self) -> str:
        return f"operators dropped records as late: {by_operator(self.late_dropped)}"


@dataclass(frozen=True)
class Examine:
    """Run the product's checks on the snapshots of one checkpoint before readers may see them."""

    attempt: Attempt
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Recheck:
    """Run the checks of a later release, which changed no row, on what readers see already."""

    attempt: Attempt
    published: Publication


@dataclass(frozen=True)
class Verify:
    """Begin the replay of what readers see that is due."""

    shown: Attempt


@dataclass(frozen=True)
class Compare:
    """Begin to compare a shadow that has caught up with what readers see; that goes on beside the loop."""

    attempt: Attempt


@dataclass(frozen=True)
class NoteComparing:
    """The comparison is still at work: other controllers are not to begin another."""

    attempt: Attempt


@dataclass(frozen=True)
class Conclude:
    """Put what a comparison found into the history; the shadow has done its part."""

    attempt: Attempt
    finding: Finding


@dataclass(frozen=True)
class Publish:
    """Move `main` to one checkpoint of an attempt."""

    attempt: Attempt
    checkpoint: Checkpoint
    covered: offsets.Offsets
    before: Mapping[str, int]
    """What readers see until then."""
    kind: Move = Move.publish


@dataclass(frozen=True)
class FinishPublish:
    """Roll an intent of the journal forward."""

    publication: Publication


Step = (Wait | Blocked | StartCluster | Submit | NoteSubmitting | Confirm | NoteMissing | Resume | StartOver | GiveUp
        | Cancel | End | Clean | Expire | Favour | Record | NoteForeignOffsets | NoteLateDropped | Examine | Recheck
        | Verify | Compare | NoteComparing | Conclude | Publish | FinishPublish)


def by_operator(late_dropped: Mapping[str, int]) -> str:
    """Records that operators dropped, for people."""
    return ", ".join(f"{operator}: {count}" for operator, count in sorted(late_dropped.items()))
