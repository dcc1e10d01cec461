"""Looking at the platform: what Flink, the log and the lake say of a product's attempts. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from jobs.product.folder import Product
from jobs.product.model import Role, seconds
from replay.controller.quiet import Clocks, quietest
from replay.core.model import (
    CANDIDATE,
    Attempt,
    Checkpoint,
    CheckpointPosition,
    Committed,
    Comparing,
    Move,
    ProductState,
    State,
)
from replay.core.observed import (
    FlinkDownError,
    Job,
    Observation,
    ObservedAttempt,
    Policy,
    SubmissionStatus,
)
from replay.core.partitions import together
from replay.errors import ConflictError, KappaError
from replay.offsets import Offsets

STRAYS_SECONDS = 60.0
"""How often cleaned attempts are checked for jobs and clusters that run all the same."""
UNANSWERED_SECONDS = 600.0
"""Pause after a service or a program gave no answer: asking may have taken longer than the time between two
observations, and readers wait meanwhile."""
SILENT_SECONDS = 60.0
"""How often the reason is asked for why a cluster does not answer: the answer may take a while."""
CLOCKS_SECONDS = 8.0
"""How often the log's clocks are asked for: with the pause of 2 s between two observations, what results wait for is
known within 10 s."""
SAME_ROWS_SECONDS = 20.0
"""For how long the tables are not asked again while the newest checkpoint has nothing that readers do not see, and no
record was read since. Rows of windows that only the broker's clock closes are seen so much later."""


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


def observe(
    platform: PlatformReader, state: ProductState, now: float, cache: LookCache | None = None
) -> Observation:
    """Look at every live attempt of a product, and at what its readers see.

    `cache`: what is remembered from one look to the next of what results wait for. Who looks but once does not look for
    strays, which takes a program and Flink to answer.
    """
    shown = state.published.attempt_name if state.published else None
    strays = cache.strays(state, now) if cache else ()
    cache = cache or LookCache(platform)
    if not state.live and all(a.cleaned or a.name == shown for a in state.attempts):
        return Observation(strays=strays)
    newest = platform.product((state.live or state.attempts)[-1], state)
    main, genesis = platform.main(newest)
    # Nothing else is worth waiting for; unless it has to wait itself, as main is not where it should be.
    expected = state.published is None or dict(state.published.after) == dict(main)
    urgent = tuple(a for a in state.live if a.promote is Move.rollback and expected)
    # The log's ends come after every job's checkpoint: a checkpoint holds no more than what was in the log then.
    asked = [(a, _ask(platform, a, state)) for a in urgent or state.live]
    ends = _Ends(platform)
    looked = {
        a.name: _look(platform, a, state, cache.added(a, state, seen, now), ends, cache, now)
        for a, seen in asked
    }
    return Observation(looked, main, genesis, platform.rejects(newest), strays)


class _Ends:
    """Ends of topics, asked for once: attempts of a product read the same ones."""

    def __init__(self, platform: PlatformReader) -> None:
        self._platform = platform
        self._known: dict[frozenset[tuple[str, Role]], Offsets] = {}

    def __call__(self, product: Product) -> Offsets:
        topics = frozenset((name, topic.role) for name, topic in product.topics.items())
        if topics not in self._known:
            self._known[topics] = self._platform.ends(product)
        return self._known[topics]


@dataclass(frozen=True)
class Rows:
    """What an attempt's tables said."""

    commits: tuple[Checkpoint, ...]
    """As `Seen.publishable`; the next three as there."""
    tampered: str
    nothing_new: bool
    log_changes: tuple[str, ...]


class LookCache:
    """What is not asked at each look: what results wait for, once for all attempts that read the same topics; what
    has come back; and tables that have had nothing new."""

    def __init__(self, platform: PlatformReader) -> None:
        self._platform = platform
        self._known: dict[frozenset[tuple[str, Role]], tuple[float, Clocks]] = {}
        """Topics → when it was asked where their clocks are, and the answer."""
        self._swept: dict[str, tuple[float, float]] = {}
        """Product → when it was looked for strays, and for how long that will do."""
        self._rows: dict[str, tuple[float, tuple[object, ...], Rows]] = {}
        """Attempt whose newest checkpoint has nothing new → when it was asked, what had been read, and the answer."""
        self._silent: dict[str, tuple[float, float, str]] = {}
        """Attempt whose own cluster does not answer → when it was asked why, for how long that will do, the answer."""

    def rows(
        self, attempt: Attempt, state: ProductState, seen: ObservedAttempt, now: float
    ) -> Rows:
        """What its tables say, or said a moment ago if that was nothing that readers do not see, and nothing was read
        since.

        The caller must want them: each question reads the metadata of every table that has changed.
        """
        job = seen.job
        if job is None or job.ended:
            return _rows(self._platform, attempt, state, job)
        of = (job.id, _read_so_far(attempt, seen) or job.checkpoint, state.published)
        at, known, rows = self._rows.get(attempt.full_name, (float("-inf"), (), None))
        # A command that follows an attempt looks, too, and records what it sees. An older answer has none of that: the
        # branch would be taken for one that somebody moved.
        has_tip = rows is not None and (attempt.tip is None or attempt.tip in rows.commits)
        if rows and has_tip and known == of and _is_recent(at, now, SAME_ROWS_SECONDS):
            return rows
        rows = _rows(self._platform, attempt, state, job)
        if rows.nothing_new and rows.commits[0].id >= job.checkpoint and not rows.log_changes:
            recent = {
                name: known
                for name, known in list(self._rows.items())
                if _is_recent(known[0], now, SAME_ROWS_SECONDS)
            }
            self._rows = {**recent, attempt.full_name: (now, of, rows)}
        return rows

    def strays(self, state: ProductState, now: float) -> tuple[str, ...]:
        """Cleaned attempts that have a running job or cluster: a late submission, or a cluster that a controller
        without its lease has started. They are looked for at all times, because a process may freeze for days.
        """
        cleaned = [a for a in state.attempts if a.cleaned]
        at, pause = self._swept.get(state.product, (float("-inf"), STRAYS_SECONDS))
        if not cleaned or _is_recent(at, now, pause):
            return ()
        try:
            found, pause = self._platform.strays(cleaned), STRAYS_SECONDS
        except KappaError:
            # A program for clusters that fails, too: what readers see does not depend on it.
            found, pause = (), UNANSWERED_SECONDS
        self._swept[state.product] = now, pause
        return found

    def silence(self, attempt: Attempt, now: float) -> str:
        """Why the attempt's own cluster does not answer, as far as the program that runs it knows."""
        at, pause, reason = self._silent.get(attempt.full_name, (float("-inf"), SILENT_SECONDS, ""))
        if _is_recent(at, now, pause):
            return reason
        try:
            reason, pause = self._platform.exit_reason(attempt), SILENT_SECONDS
        except KappaError:
            reason, pause = "", UNANSWERED_SECONDS
        self._silent = {
            name: known
            for name, known in list(self._silent.items())
            if _is_recent(known[0], now, known[1])
        }
        self._silent[attempt.full_name] = now, pause, reason
        return reason

    def added(
        self, attempt: Attempt, state: ProductState, seen: ObservedAttempt, now: float
    ) -> ObservedAttempt:
        """What was seen of an attempt, with the partition that its results wait for."""
        if (
            attempt.stop
            or seen.unreachable
            or attempt.promote is Move.rollback
            or not _awaited(attempt, seen.job)
        ):
            return seen
        product = self._platform.product(attempt, state)
        quiet = quietest(product, self._clocks(product, now))
        return replace(seen, held_back=str(quiet)) if quiet else seen

    def _clocks(self, product: Product, now: float) -> Clocks:
        topics = frozenset(
            (product.name + "/" + name, topic.role) for name, topic in product.topics.items()
        )
        at, clocks = self._known.get(topics, (float("-inf"), {}))
        if not _is_recent(at, now, CLOCKS_SECONDS):
            self._known = {
                of: known
                for of, known in list(self._known.items())
                if _is_recent(known[0], now, CLOCKS_SECONDS)
            }
            clocks = self._platform.clocks(product)
            self._known[topics] = now, clocks
        return clocks


def _read_so_far(attempt: Attempt, seen: ObservedAttempt) -> Offsets:
    """Offsets from which on the job's newest checkpoint holds no record; empty if its position is not known."""
    if seen.position:
        return seen.position.read
    newest = attempt.positions[-1] if attempt.positions else None
    same = newest is not None and seen.job is not None and newest.checkpoint == seen.job.checkpoint
    return newest.read if newest and same else {}


def _is_recent(at: float, now: float, seconds: float) -> bool:
    """Whether an answer of so long ago still holds; not one from before the clock was set back."""
    return 0 <= now - at < seconds


def _awaited(attempt: Attempt, job: Job | None) -> bool:
    """Whether there are results to come: of a candidate also before its job is there, as that takes a while."""
    return attempt.state in CANDIDATE if job is None else not job.ended


def _ask(platform: PlatformReader, attempt: Attempt, state: ProductState) -> ObservedAttempt:
    """What Flink says of an attempt's job, and where that stood at its newest checkpoint."""
    product = platform.product(attempt, state)
    settings = product.settings
    policy = Policy(
        settings.lag_limit,
        settings.max_restarts,
        settings.standbys,
        settings.verify,
        seconds(settings.checkpoint_interval),
        seconds(settings.backlog_checkpoint_interval),
        together(product),
    )
    if attempt.promote is Move.rollback:  # the tables are enough: its job need not even run
        return ObservedAttempt(policy)
    # Before the job: of a client that has come to its end, the job is there.
    client = platform.submission(attempt)
    try:
        job = platform.job(attempt)
        waits = job is None or _advanced(attempt, job) or attempt.stop
        superseded = platform.superseded(attempt) if waits and len(attempt.job_ids) > 1 else ()
    except FlinkDownError as e:
        return ObservedAttempt(
            policy,
            unreachable=str(e),
            cluster_gone=not platform.cluster_runs(attempt),
            client=client,
        )
    if job is None or job.ended or not attempt.confirmed:
        return ObservedAttempt(policy, job=job, client=client, superseded=superseded)
    position = platform.position(attempt, product) if _advanced(attempt, job) else None
    return ObservedAttempt(
        policy,
        job=job,
        client=client,
        superseded=superseded,
        position=position,
        committed=platform.committed(attempt.group, product),
    )


def _advanced(attempt: Attempt, job: Job | None) -> bool:
    return job is not None and job.checkpoint > attempt.checkpoint


def _look(
    platform: PlatformReader,
    attempt: Attempt,
    state: ProductState,
    seen: ObservedAttempt,
    log_ends: _Ends,
    cache: LookCache,
    now: float,
) -> ObservedAttempt:
    """The rest, as far as it matters by what Flink says."""
    product = platform.product(attempt, state)
    if attempt.promote is Move.rollback:
        commits, tampered = _commits(platform, product, attempt)
        return replace(seen, publishable=commits, tampered=tampered)
    if seen.unreachable:
        return replace(seen, exit_reason=cache.silence(attempt, now))
    job = seen.job
    failing = (
        job is not None
        and attempt.state in CANDIDATE
        and job.restarts - attempt.restarts > seen.policy.max_restarts
    )
    running = job is not None and not job.ended
    advanced = _advanced(attempt, job)
    asked = running and _to_readers(attempt, advanced)
    ends = log_ends(product) if running else {}
    rows = (
        cache.rows(attempt, state, seen, now)
        if _may_publish(attempt, state, job) or advanced
        else None
    )
    problems, lost = platform.log_problems(product) if asked else ((), False)
    return replace(
        seen,
        exit_reason=_exit_reason(platform, attempt) if failing else "",
        ends=ends,
        reference=state.release(attempt.release).reference_offsets,
        stalled_watermarks=platform.stalled_watermarks(attempt)
        if running and seen.position
        else (),
        publishable=rows.commits if rows else None,
        nothing_new=rows is not None and rows.nothing_new,
        tampered=rows.tampered if rows else "",
        retained={} if running else platform.retained(attempt),
        comparison=platform.comparison(attempt) if attempt.comparing_at is not None else None,
        log_changes=rows.log_changes if rows else (),
        log_problems=problems,
        log_lost=lost,
        # Last: the question after the job has made the JobManager fetch metrics, which takes it a moment.
        late_dropped=platform.late_dropped(attempt) if running and seen.position else {},
    )


def _exit_reason(platform: PlatformReader, attempt: Attempt) -> str:
    try:
        return platform.exit_reason(attempt)
    except KappaError:
        # The program that runs the cluster fails, or does not support the question. The job's own error is shown.
        return ""


def _rows(platform: PlatformReader, attempt: Attempt, state: ProductState, job: Job | None) -> Rows:
    product = platform.product(attempt, state)
    commits, tampered = _commits(platform, product, attempt)
    changes = platform.log_changes(attempt) if job is not None and not job.ended else ()
    return Rows(
        commits, tampered, _shows_the_same(platform, product, attempt, state, commits), changes
    )


def _commits(
    platform: PlatformReader, product: Product, attempt: Attempt
) -> tuple[tuple[Checkpoint, ...], str]:
    try:
        return platform.publishable(product, attempt), ""
    except ConflictError as e:
        return (), f"{e.message}: {e.found}"


def _shows_the_same(
    platform: PlatformReader,
    product: Product,
    attempt: Attempt,
    state: ProductState,
    commits: tuple[Checkpoint, ...],
) -> bool:
    """Whether readers see all rows of the attempt's newest checkpoint already."""
    shown = state.published
    return (
        shown is not None
        and shown.attempt_name == attempt.name
        and bool(commits)
        and commits[0].id > shown.checkpoint
        and platform.same_files(product, shown.after, commits[0].snapshots)
    )


def _to_readers(attempt: Attempt, advanced: bool) -> bool:
    """Whether the attempt is on its way to readers, and the log worth another look."""
    return attempt.state in (State.caught_up, State.audited) or (
        attempt.state is State.replaying and advanced
    )


def _may_publish(attempt: Attempt, state: ProductState, job: Job | None) -> bool:
    if job is None or job.ended or attempt.promote:
        return True
    published = state.published
    shown = published.checkpoint if published and published.attempt_name == attempt.name else 0
    wanted = attempt.state in (State.caught_up, State.audited, State.active) and not attempt.shadow
    return wanted and max(job.checkpoint, attempt.checkpoint) > shown
