"""How a product stands, from what is remembered and what was seen: pure. replay/cli/look.py looks and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from replay import offsets
from replay.controller import schedule
from replay.core.events import Event, Reason
from replay.core.lag import lag_seconds, records_behind
from replay.core.model import CANDIDATE, Attempt, Check, Position, ProductState, State
from replay.core.observed import Observation, ObservedAttempt
from replay.core.steps import Blocked, Step, Wait, describe
from replay.offsets import Offsets

MOVES = (Reason.switch, Reason.rollback)
VERDICTS = {Reason.verified: True, Reason.differs: False, Reason.not_verified: None}


@dataclass(frozen=True)
class Readers:
    """What readers see."""

    attempt: str
    release: str
    fingerprint: str
    git_commit: str | None
    checkpoint: int
    covered: int
    """Records."""
    lag_records: int
    lag_seconds: float | None
    """How long ago the log ended where readers are; None: longer than is recorded, or Kafka did not answer."""
    changed: str | None
    """When they were last switched over, or taken back."""
    change: str
    """How: switch or rollback."""
    topics: Mapping[str, str]
    """Output → the topic of the attempt that they see."""


@dataclass(frozen=True)
class Progress:
    """How far an attempt that catches up has come."""

    read: int
    total: int
    rate: float | None
    """Records per second between its last two checkpoints."""
    eta_seconds: float | None
    near: int
    """Checkpoints in a row within the lag limits."""
    near_needed: int


@dataclass(frozen=True)
class AttemptStatus:
    """One attempt whose job runs, or should."""

    attempt: str
    role: str
    """A state; 'shadow' for one that is compared only; 'stopping' once it is wanted no more."""
    job: str
    job_status: str
    cluster: str
    """Its own Flink cluster, or 'session'."""
    parallelism: int
    topics: Mapping[str, str]
    """Output → the topic that its rows are also written to."""
    checkpoint: int
    lag_records: int | None
    """Of its newest checkpoint; None: the log's end is not known."""
    lag_seconds: float | None
    restarts: int
    progress: Progress | None
    audited_checkpoint: int | None
    checks: tuple[Check, ...]
    error: str
    foreign_offsets: str
    """What was done to its committed offsets from outside."""
    last_exception: str
    """Root cause of the newest failure of its current job, whether or not that was restarted since."""
    last_exception_at: str | None


@dataclass(frozen=True)
class Ended:
    """An attempt that came to a bad end since readers got what they see."""

    attempt: str
    state: str
    error: str


@dataclass(frozen=True)
class Verification:
    """What the last replay that was compared with what readers saw has found, and when the next is due."""

    attempt: str
    """Empty: none yet."""
    at: str
    equal: bool | None
    """None: nothing could be compared."""
    detail: str
    due: str | None
    """None: not by itself."""
    ours: bool
    """It was of the release that readers see."""


@dataclass(frozen=True)
class ProductStatus:
    """All that `kappa status` says of a product."""

    product: str
    readers: Readers | None
    attempts: tuple[AttemptStatus, ...]
    ended: tuple[Ended, ...]
    waits: str
    """What the controller waits for, or does next."""
    odd: bool
    """A person would want to know of that."""
    blocked: Mapping[str, str] | None
    """Why a person has to look: message, expected, found, next."""
    verification: Verification | None
    """None: never, and not due either."""
    trouble: str
    """Why the platform could not be looked at; the rest is what is remembered then."""
    open_transactions: Mapping[str, int]
    """TOPIC-PARTITION → offsets that are not readable yet, as a transaction there is open: they are no lag."""
    at_once: bool | None = None
    """The catalog tells by one question where all tables are, so that a switch is atomic for readers; None: it was not
    asked."""

    @property
    def stopped(self) -> str:
        """A line for people when publishing waits for one of them; empty: it goes on."""
        return (
            f"publishing has stopped: {self.blocked['message']}; next: {self.blocked['next']}"
            if self.blocked
            else ""
        )


@dataclass(frozen=True)
class Inspection:
    """One look at the platform: an observation, what it asks for, and how far the sources have read."""

    observation: Observation
    step: Step
    read: Mapping[str, Offsets]
    open_transactions: Offsets = field(default_factory=dict)
    """Offsets that are not readable yet."""


def status(
    state: ProductState,
    events: tuple[Event, ...],
    sight: Inspection | None,
    now: float,
    trouble: str = "",
    at_once: bool | None = None,
) -> ProductStatus:
    """Put together; without a sight only what is remembered."""
    seen = sight.observation.attempts if sight else {}
    live = tuple(
        _attempt(state, a, seen.get(a.name), sight.read.get(a.name, {}) if sight else {}, now)
        for a in state.live
    )
    step = sight.step if sight else None
    blocked = (
        {"message": step.message, "expected": step.expected, "found": step.found, "next": step.next}
        if isinstance(step, Blocked)
        else None
    )
    waits = (
        ""
        if step is None or blocked
        else step.reason
        if isinstance(step, Wait)
        else f"next: {describe(step)}"
    )
    held_back = next((s.held_back for s in seen.values() if s.held_back), "")
    if held_back not in waits:
        waits = f"{waits}; {held_back}"
    odd = isinstance(step, Wait) and step.notable
    return ProductStatus(
        state.product,
        _readers(state, events, seen, now),
        live,
        _ended(state),
        waits,
        odd or bool(held_back),
        blocked,
        _verification(state, events, seen),
        trouble,
        {f"{t}-{p}": n for t, p, n in offsets.partitions(sight.open_transactions)} if sight else {},
        at_once,
    )


def _verification(
    state: ProductState, events: tuple[Event, ...], seen: Mapping[str, ObservedAttempt]
) -> Verification | None:
    last = next((e for e in reversed(events) if e.reason in VERDICTS), None)
    active = state.active
    sight = seen.get(active.name) if active else None
    due_at = schedule.due_at(state, sight.policy.verify) if sight else None
    due = instant(due_at) if due_at is not None else None
    if last is None:
        return Verification("", "", None, "", due, ours=True) if due else None
    shown = state.published
    ours = shown is not None and state.attempt(last.attempt).release == shown.release
    return Verification(
        last.attempt, instant(last.at), VERDICTS[last.reason], last.detail, due, ours
    )


def _readers(
    state: ProductState, events: tuple[Event, ...], seen: Mapping[str, ObservedAttempt], now: float
) -> Readers | None:
    shown = state.published
    if shown is None:
        return None
    attempt = state.attempt(shown.attempt_name)
    release = state.release(attempt.metadata or attempt.release)
    sight = seen.get(attempt.name)
    ends = _ends(attempt, sight)
    moved = next((e for e in reversed(events) if e.reason in MOVES), None)
    return Readers(
        attempt=attempt.name,
        release=release.name,
        fingerprint=release.fingerprint,
        git_commit=release.git_commit,
        checkpoint=shown.checkpoint,
        covered=offsets.total(shown.covered),
        lag_records=offsets.lag(shown.covered, ends),
        lag_seconds=_seconds(attempt, shown.covered, ends, now) if sight else None,
        changed=instant(moved.at) if moved else None,
        change=moved.reason.value if moved else "",
        topics=dict(attempt.topics),
    )


def _attempt(
    state: ProductState, a: Attempt, seen: ObservedAttempt | None, read: Offsets, now: float
) -> AttemptStatus:
    covered, ends = a.positions[-1].offsets if a.positions else {}, _ends(a, seen)
    job = seen.job if seen else None
    return AttemptStatus(
        attempt=a.name,
        role=_role(a),
        job=a.job_id,
        job_status=_job_status(a, seen),
        cluster=a.cluster or "session",
        parallelism=a.parallelism,
        topics=dict(a.topics),
        checkpoint=a.checkpoint,
        lag_records=records_behind(covered, ends, state.release(a.release).reference_offsets)
        if ends
        else None,
        lag_seconds=_seconds(a, covered, ends, now) if seen else None,
        restarts=job.restarts if job else a.restarts,
        progress=_progress(state, a, seen, read, ends)
        if a.state in CANDIDATE and not a.stop
        else None,
        audited_checkpoint=a.audited_checkpoint,
        checks=a.checks,
        error=a.error or _refused(a) or _found_fault(a),
        foreign_offsets=a.foreign_offsets,
        last_exception=job.error if job else "",
        last_exception_at=instant(job.failed_at) if job and job.failed_at is not None else None,
    )


def _refused(a: Attempt) -> str:
    return f"its resumption was refused, and is tried again: {a.refused}" if a.refused else ""


def _found_fault(a: Attempt) -> str:
    """Checks that came with a later release, and that would have kept these rows from readers."""
    if a.state is not State.active or not a.found_fault:
        return ""
    return f"checks find fault with what readers see: {a.found_fault}"


def _progress(
    state: ProductState, a: Attempt, seen: ObservedAttempt | None, read: Offsets, ends: Offsets
) -> Progress:
    reference = state.release(a.release).reference_offsets
    wanted = offsets.replaced(ends, reference)
    covered = a.positions[-1].offsets if a.positions else {}
    done = offsets.total(wanted) - offsets.lag(offsets.latest(covered, read), wanted)
    rate = _rate(a.positions)
    left = offsets.total(wanted) - done
    return Progress(
        done,
        offsets.total(wanted),
        rate,
        round(left / rate, 1) if rate else None,
        a.near,
        seen.policy.lag_limit.checkpoints if seen else 0,
    )


def _rate(positions: tuple[Position, ...]) -> float | None:
    if len(positions) < 2 or positions[-1].at <= positions[-2].at:
        return None
    one, other = positions[-2:]
    return round(
        (offsets.total(other.offsets) - offsets.total(one.offsets)) / (other.at - one.at), 1
    )


def _seconds(attempt: Attempt, covered: Offsets, ends: Offsets, now: float) -> float | None:
    """How long ago the log ended there; 0 if it still does."""
    if not covered:
        return None
    lag = lag_seconds((*attempt.positions, Position(attempt.checkpoint, covered, now, ends)))
    return None if lag is None else round(lag, 1)


def _ends(attempt: Attempt, seen: ObservedAttempt | None) -> Offsets:
    """Where the log ends; if Kafka did not answer, where it ended when it was last seen."""
    if seen and seen.ends:
        return seen.ends
    return attempt.positions[-1].ends if attempt.positions else {}


def _role(a: Attempt) -> str:
    if a.stop:
        return "stopping"
    return "shadow" if a.shadow else a.state.value


def _job_status(a: Attempt, seen: ObservedAttempt | None) -> str:
    if seen is None or seen.unreachable:
        return "not asked" if seen is None else "cluster does not answer"
    if seen.job:
        return seen.job.status
    return "unknown to Flink" if a.submitted_at else "not submitted yet"


def _ended(state: ProductState) -> tuple[Ended, ...]:
    shown = state.published
    since = state.attempt(shown.attempt_name).created if shown else 0.0
    return tuple(
        Ended(a.name, a.state.value, a.error)
        for a in state.attempts
        if a.state in (State.failed, State.aborted) and a.created >= since
    )[-3:]


def instant(at: float) -> str:
    """A time for people and programs."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"
