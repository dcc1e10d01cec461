"""What is not asked at each look at the platform, and for how long an answer holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobs.product.folder import Product
from jobs.product.model import Role
from replay.controller.platform_reader import PlatformReader
from replay.controller.quiet import Clocks, quietest
from replay.core.model import CANDIDATE, Attempt, Checkpoint, Move, ProductState
from replay.core.observed import Job, ObservedAttempt
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
NEVER = float("-inf")
"""When a question was asked that was not asked yet."""


@dataclass(frozen=True)
class Rows:
    """What an attempt's tables said."""

    commits: tuple[Checkpoint, ...]
    """As `Seen.publishable`; the next three as there."""
    tampered: str
    nothing_new: bool
    log_changes: tuple[str, ...]


NOT_ASKED = Rows((), "", False, ())
"""Of tables of which nothing is wanted."""


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
        at, known, rows = self._rows.get(attempt.full_name, (NEVER, (), None))
        # A command that follows an attempt looks, too, and records what it sees. An older answer has none of that: the
        # branch would be taken for one that somebody moved.
        has_tip = rows is not None and (attempt.tip is None or attempt.tip in rows.commits)
        if rows and has_tip and known == of and _is_recent(at, now, SAME_ROWS_SECONDS):
            return rows
        rows = _rows(self._platform, attempt, state, job)
        if rows.nothing_new and rows.commits[0].id >= job.checkpoint and not rows.log_changes:
            kept = list(self._rows.items())
            recent = {n: k for n, k in kept if _is_recent(k[0], now, SAME_ROWS_SECONDS)}
            self._rows = {**recent, attempt.full_name: (now, of, rows)}
        return rows

    def strays(self, state: ProductState, now: float) -> tuple[str, ...]:
        """Cleaned attempts that have a running job or cluster: a late submission, or a cluster that a controller
        without its lease has started. They are looked for at all times, because a process may freeze for days.
        """
        cleaned = [a for a in state.attempts if a.cleaned]
        at, pause = self._swept.get(state.product, (NEVER, STRAYS_SECONDS))
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
        at, pause, reason = self._silent.get(attempt.full_name, (NEVER, SILENT_SECONDS, ""))
        if _is_recent(at, now, pause):
            return reason
        try:
            reason, pause = self._platform.exit_reason(attempt), SILENT_SECONDS
        except KappaError:
            reason, pause = "", UNANSWERED_SECONDS
        kept = list(self._silent.items())
        recent = {name: known for name, known in kept if _is_recent(known[0], now, known[1])}
        self._silent = {**recent, attempt.full_name: (now, pause, reason)}
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
        at, clocks = self._known.get(topics, (NEVER, {}))
        if not _is_recent(at, now, CLOCKS_SECONDS):
            kept = list(self._known.items())
            self._known = {t: k for t, k in kept if _is_recent(k[0], now, CLOCKS_SECONDS)}
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


def _rows(platform: PlatformReader, attempt: Attempt, state: ProductState, job: Job | None) -> Rows:
    product = platform.product(attempt, state)
    commits, tampered = commits_of(platform, product, attempt)
    changes = platform.log_changes(attempt) if job is not None and not job.ended else ()
    return Rows(
        commits, tampered, _shows_the_same(platform, product, attempt, state, commits), changes
    )


def commits_of(
    platform: PlatformReader, product: Product, attempt: Attempt
) -> tuple[tuple[Checkpoint, ...], str]:
    """What every table of its branch has; and what is wrong with the branch, if it has others' commits."""
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
