"""The steps that the controller takes, one at a time: what `decide` answers and `perform` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replay import offsets
from replay.core.model import Attempt, Checkpoint, Finding, Move, Position, Publication, State


@dataclass(frozen=True)
class Wait:
    """Nothing to do now."""

    reason: str
    notable: bool = False
    """Something that a person would want to know of."""
    attempt: Attempt | None = field(default=None, compare=False, repr=False)
    """Which one waits, if it is one."""
    news: str = field(default="", compare=False, repr=False)
    """The part of a notable reason that makes it notable; empty: all of it."""


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
class NoteRefused:
    """The job of an attempt that readers depend on was refused; it is handed to Flink again after a while."""

    attempt: Attempt
    error: str


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
    """Ask Flink to end jobs of an attempt: its job, when it is wanted no more, or those that a resumption replaced."""

    attempt: Attempt
    job_ids: tuple[str, ...]


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
    """Remove snapshots of a live branch that are not needed any more."""

    attempt: Attempt


@dataclass(frozen=True)
class Prioritize:
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
class Reclean:
    """Clean an attempt again: a submission, or the start of its cluster, took effect after it was cleaned."""

    attempt: Attempt


@dataclass(frozen=True)
class NoteForeignOffsets:
    """The committed offsets of an attempt's consumer group were changed; empty: they are as the job left them."""

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
class NotePartitions:
    """Topics gained partitions since an attempt began to read them."""

    attempt: Attempt
    counts: Mapping[str, int]
    """Topic → its partitions now."""
    note: str


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


Step = (
    Wait
    | Blocked
    | StartCluster
    | Submit
    | NoteSubmitting
    | NoteRefused
    | Confirm
    | NoteMissing
    | Resume
    | StartOver
    | GiveUp
    | Cancel
    | End
    | Clean
    | Reclean
    | Expire
    | Prioritize
    | Record
    | NoteForeignOffsets
    | NoteLateDropped
    | NotePartitions
    | Examine
    | Recheck
    | Verify
    | Compare
    | NoteComparing
    | Conclude
    | Publish
    | FinishPublish
)


def by_operator(late_dropped: Mapping[str, int]) -> str:
    """Records that operators dropped, for people."""
    return ", ".join(f"{operator}: {count}" for operator, count in sorted(late_dropped.items()))


def describe(step: Step) -> str:
    """A step in a few words: publish r1-a1 checkpoint 5."""
    verb, rest = _verb(step), _particulars(step)
    name = attempt_name(step)
    return " ".join(part for part in (verb, name) if part) + rest


def action(step: Step) -> str:
    """The same without the attempt, in plainer words, for a line that names it: publish checkpoint 5."""
    match step:
        case NoteMissing(missing=missing):
            return "Flink does not know its job" if missing else "Flink knows its job again"
        case End(attempt):
            state = attempt.stop.value if attempt.stop else attempt.state.value
            return f"{state}: {attempt.error}" if attempt.error else state
    return _ACTIONS.get(type(step), _verb(step)) + _particulars(step)


_ACTIONS: dict[type, str] = {
    StartCluster: "started its Flink cluster",
    Submit: "started flink run for its job",
    Confirm: "Flink has its job",
    NoteSubmitting: "flink run is still at work",
    Resume: "resumes from",
    StartOver: "starts over from offset zero",
    GiveUp: "is given up",
    Cancel: "cancelled its job",
    Clean: "removed its branch and files",
    Reclean: "is to be cleaned again, as something of it came later",
    Expire: "expired old snapshots",
    Prioritize: "gave its cluster normal CPU priority",
    Examine: "ran the checks on",
    Recheck: "ran later checks on",
    Verify: "began a replay to verify it",
    Compare: "began to compare it",
    NoteComparing: "still compares it",
    Conclude: "compared",
    NoteForeignOffsets: "committed offsets",
    NoteLateDropped: "late records",
    NotePartitions: "more partitions",
}
"""What the log says of a step that was performed, where its name is not enough."""


def attempt_name(step: Step) -> str:
    """The attempt that a step is about; empty: none."""
    if isinstance(step, FinishPublish):
        return step.publication.attempt_name
    return attempt.name if (attempt := _attempt(step)) else ""


def job_id(step: Step) -> str:
    """The job that a step is about; empty: none."""
    return attempt.job_id if (attempt := _attempt(step)) else ""


def _attempt(step: Step) -> Attempt | None:
    match step:
        case Blocked() | FinishPublish():
            return None
        case Verify(shown):
            return shown
    return step.attempt


def _verb(step: Step) -> str:
    if isinstance(step, Publish) and step.kind is not Move.publish:
        return "switch to" if step.kind is Move.switch else "roll back to"
    name = type(step).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _particulars(step: Step) -> str:
    """Which checkpoint, and why."""
    checkpoint: int | None = None
    why = ""
    match step:
        case Publish(checkpoint=of) | Examine(checkpoint=of):
            checkpoint = of.id
        case Record(position=position):
            checkpoint = position.checkpoint
        case FinishPublish(publication) | Recheck(published=publication):
            checkpoint = publication.checkpoint
        case Resume(checkpoint=number, error=error):
            checkpoint, why = number, error
        case StartOver(error=error) | GiveUp(error=error):
            why = error
        case NoteForeignOffsets(note=note) | NotePartitions(note=note):
            why = note
        case NoteLateDropped():
            why = step.note
        case Conclude(finding=finding):
            why = finding.detail
    return (f" checkpoint {checkpoint}" if checkpoint is not None else "") + (
        f": {why}" if why else ""
    )
