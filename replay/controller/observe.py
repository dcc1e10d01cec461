"""Looking at the platform: what Flink, the log and the lake say of a product's attempts. Changes nothing."""

from __future__ import annotations

from dataclasses import replace

from jobs.product.folder import Product
from jobs.product.model import Role, seconds
from replay.controller.look_cache import NOT_ASKED, LookCache, commits_of
from replay.controller.platform_reader import PlatformReader
from replay.core.model import CANDIDATE, Attempt, Move, ProductState, State
from replay.core.observed import FlinkDownError, Job, Observation, ObservedAttempt, Policy
from replay.core.partitions import together
from replay.errors import KappaError
from replay.offsets import Offsets


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


def _ask(platform: PlatformReader, attempt: Attempt, state: ProductState) -> ObservedAttempt:
    """What Flink says of an attempt's job, and where that stood at its newest checkpoint."""
    product = platform.product(attempt, state)
    policy = _policy(product)
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


def _policy(product: Product) -> Policy:
    settings = product.settings
    return Policy(
        settings.lag_limit,
        settings.max_restarts,
        settings.standbys,
        settings.verify,
        seconds(settings.checkpoint_interval),
        seconds(settings.backlog_checkpoint_interval),
        together(product),
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
        commits, tampered = commits_of(platform, product, attempt)
        return replace(seen, publishable=commits, tampered=tampered)
    if seen.unreachable:
        return replace(seen, exit_reason=cache.silence(attempt, now))
    job = seen.job
    running = job is not None and not job.ended
    advanced = _advanced(attempt, job)
    asked = running and _to_readers(attempt, advanced)
    ends = log_ends(product) if running else {}
    wanted = _may_publish(attempt, state, job) or advanced
    rows = cache.rows(attempt, state, seen, now) if wanted else NOT_ASKED
    problems, lost = platform.log_problems(product) if asked else ((), False)
    has_position = running and seen.position is not None
    return replace(
        seen,
        exit_reason=_exit_reason(platform, attempt) if _is_failing(attempt, seen) else "",
        ends=ends,
        reference=state.release(attempt.release).reference_offsets,
        stalled_watermarks=platform.stalled_watermarks(attempt) if has_position else (),
        publishable=rows.commits if wanted else None,
        nothing_new=rows.nothing_new,
        tampered=rows.tampered,
        retained={} if running else platform.retained(attempt),
        comparison=platform.comparison(attempt) if attempt.comparing_at is not None else None,
        log_changes=rows.log_changes,
        log_problems=problems,
        log_lost=lost,
        # Last: the question after the job has made the JobManager fetch metrics, which takes it a moment.
        late_dropped=platform.late_dropped(attempt) if has_position else {},
    )


def _is_failing(attempt: Attempt, seen: ObservedAttempt) -> bool:
    """Whether its job restarts more often than a candidate's may."""
    if seen.job is None or attempt.state not in CANDIDATE:
        return False
    return seen.job.restarts - attempt.restarts > seen.policy.max_restarts


def _exit_reason(platform: PlatformReader, attempt: Attempt) -> str:
    try:
        return platform.exit_reason(attempt)
    except KappaError:
        # The program that runs the cluster fails, or does not support the question. The job's own error is shown.
        return ""


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
