"""Doing what was decided: the intent is stored, then the effect, then the outcome. Each part may be repeated."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from jobs.product import names
from jobs.product.folder import Product
from jobs.product.model import seconds
from replay.core import steps as step
from replay.core.events import Event, Reason
from replay.core.log_identity import Identity
from replay.core.model import (
    CANDIDATE,
    KEPT_POSITIONS,
    Attempt,
    Check,
    Checkpoint,
    Finding,
    ProductState,
    Publication,
    Release,
    State,
    Tables,
)
from replay.core.partitions import with_told
from replay.errors import ConflictError, PartlyPublishedError, RefusedError, RetryableError
from replay.flink.clusters import Started
from replay.offsets import Offsets
from replay.store.leases import Lease, StaleLeaseError
from replay.store.store import Store


class PlatformWriter(Protocol):
    """What acting needs of the platform. Every method may be called again with the same arguments."""

    def product(self, attempt: Attempt, state: ProductState) -> Product: ...

    def start_cluster(self, attempt: Attempt, release: Release) -> Started:
        """Start the attempt's own Flink cluster, with its release's jars. RefusedError when there is no room for it, or
        the jars are gone."""

    def stop_cluster(self, attempt: Attempt) -> None: ...

    def give_priority(self, attempt: Attempt) -> None:
        """Let the attempt's own cluster have its full share of the machine."""

    def refuse_taken(self, topics: Iterable[str]) -> None:
        """RefusedError when there is a topic of one of these names."""

    def prepare(
        self, product: Product, attempt: Attempt, release: Release, fence: Callable[[], None]
    ) -> None:
        """Tables, branch, topics and bindings of an attempt; `fence` raises when it may be over by now."""

    def other_jars(self, attempt: Attempt, release: Release) -> str:
        """The jars of the session cluster that differ from those of its release, where a cluster of its own would have
        the release's; empty: none."""

    def other_runtime(self, product: Product, attempt: Attempt, release: Release) -> str:
        """What differs between the runtime and the one that its release was built with; empty: nothing."""

    def log_identity(self, product: Product, attempt: Attempt, positions: Offsets) -> Identity:
        """Ids of the product's topics, and a record below each of the positions; what the attempt has recorded already,
        where the log was replaced meanwhile."""

    def submit(self, attempt: Attempt, release: Release, fence: Callable[[], None]) -> None:
        """Start a client that hands its current job to Flink, unless `fence` raises; its answer is observed."""

    def not_ended(self, attempt: Attempt) -> tuple[str, ...]:
        """Its jobs that run on the session cluster; those of its own cluster went with that."""
        ...

    def cancel(self, attempt: Attempt, job_id: str) -> None:
        """Ask for the end of one of the attempt's jobs."""

    def checks(self, tables: Tables, shown: Tables | None) -> tuple[Check, ...]:
        """What the product's checks say about these tables; `shown` is what readers see of another attempt."""

    def isolates(self) -> bool:
        """Whether an attempt can have a Flink cluster of its own."""

    def refuse_replay(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        """RefusedError when there is no room for an attempt's replay, or the log is not whole."""

    def compare(self, attempt: Attempt) -> None:
        """Begin to compare a shadow with what readers see, beside the loop; the answer is observed."""

    def publish(
        self,
        product: Product,
        after: Mapping[str, int],
        before: Mapping[str, int],
        fence: Callable[[], None],
    ) -> None:
        """Move `main`; `fence` raises when the lease is lost, so that `main` may have moved since it was read."""

    def garbage(self, product: Product, attempt: Attempt) -> tuple[str, ...]:
        """Files that only the attempt's branch needs."""

    def clean(
        self,
        product: Product,
        attempt: Attempt,
        state: ProductState,
        files: tuple[str, ...],
        fence: Callable[[], None],
    ) -> None:
        """Remove branch, files, checkpoints, topics, consumer group and bindings; and columns that no attempt of
        `state` has, unless `fence` raises, as there may be others by now."""

    def remove(self, state: ProductState, keep_tables: bool, fence: Callable[[], None]) -> None:
        """Leave nothing of a product whose jobs have ended, or only its tables."""

    def expire(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        """Remove snapshots of its branch that neither readers nor a resumption need; ConflictError, and none, when the
        branch has not just its jobs' commits."""


@dataclass(frozen=True)
class Context:
    """What acting on one product needs, for as long as the lease holds."""

    platform: PlatformWriter
    store: Store
    lease: Lease
    state: ProductState
    now: Callable[[], float]
    keepalive: Callable[[], None]
    """Keeps the lease during a long effect."""
    new_job_id: Callable[[], str] = lambda: uuid.uuid4().hex

    def save(self, *attempts: Attempt, durable: bool = True) -> None:
        self.store.save(self.lease, *attempts, durable=durable)

    def note(self, reason: Reason, detail: str, attempt: Attempt) -> None:
        """Save an attempt, and put into the history what became of it."""
        self.store.note(
            self.lease, Event(attempt.product, self.now(), attempt.name, reason, detail), attempt
        )


def perform(c: Context, what: step.Step) -> None:  # noqa: C901 - one line for each kind of step
    """Perform one step."""
    match what:
        case step.Wait() | step.Blocked():
            pass
        case step.StartCluster(attempt):
            _start_cluster(c, attempt)
        case step.Submit(attempt):
            _submit(c, attempt)
        case step.NoteRefused(attempt, error):
            _note_refused(c, attempt, error)
        case step.Confirm(attempt):
            _confirm(c, attempt)
        case step.NoteSubmitting(attempt):
            c.save(replace(attempt, submitted_at=c.now()))
        case step.NoteMissing(attempt, missing):
            c.save(replace(attempt, missing_since=c.now() if missing else None))
        case step.Resume():
            _resume(c, what)
        case step.StartOver(attempt, error):
            _start_over(c, attempt, error)
        case step.GiveUp(attempt, state, error):
            c.save(replace(attempt, stop=state, error=error, promote=None))
        case step.Cancel(attempt, job_ids):
            _cancel(c, attempt, job_ids)
        case step.End(attempt):
            _end(c, attempt)
        case step.Clean(attempt):
            _clean(c, attempt)
        case step.Reclean(attempt):
            c.save(replace(attempt, cleaned=False))
        case step.Expire(attempt):
            _expire(c, attempt)
        case step.Prioritize(attempt):
            c.platform.give_priority(attempt)
            c.save(replace(attempt, normal_priority=True))
        case step.Record():
            c.save(_recorded(what, c.now()), durable=False)  # it would be seen again
        case step.NoteForeignOffsets(attempt, note):
            _note_foreign_offsets(c, attempt, note)
        case step.NoteLateDropped():
            _note_late_dropped(c, what)
        case step.NotePartitions(attempt, counts, note):
            c.note(Reason.repartitioned, note, replace(attempt, log=with_told(attempt.log, counts)))
        case step.Examine(attempt, checkpoint):
            _examine(c, attempt, checkpoint)
        case step.Recheck(attempt, published):
            _recheck(c, attempt, published)
        case step.Verify(shown):
            _verify(c, shown)
        case step.Compare(attempt):
            _compare(c, attempt)
        case step.NoteComparing(attempt):
            c.save(replace(attempt, comparing_at=c.now()))
        case step.Conclude(attempt, finding):
            done = replace(attempt, stop=State.retired, error=finding.differences)
            c.note(_verdict(finding), finding.detail, done)
        case step.Publish():
            _finish_publish(c, c.store.begin_publication(c.lease, _intent(what, c.now())))
        case step.FinishPublish(publication):
            _finish_publish(c, publication)
        case _:
            assert_never(what)


def _confirm(c: Context, attempt: Attempt) -> None:
    """Its job has arrived at Flink."""
    state = State.replaying if attempt.state is State.built else attempt.state
    c.save(replace(attempt, confirmed=True, missing_since=None, refused="", state=state))


def _resume(c: Context, what: step.Resume) -> None:
    """Go on from a checkpoint, as a new job.

    Always with a new id: with its old one the sink would take its own earlier commits for its present work.
    """
    attempt = what.attempt
    resumed = replace(
        attempt,
        job_ids=(*attempt.job_ids, c.new_job_id()),
        restore=what.path,
        confirmed=False,
        submitted_at=None,
        missing_since=None,
        restarts=0,
        resumes=attempt.resumes + 1,
        refused="",
    )
    c.note(Reason.lost, what.error, resumed)


def _start_over(c: Context, attempt: Attempt, error: str) -> None:
    """End an attempt, and begin the next one of its release from offset zero."""
    following = new_attempt(
        c.state,
        attempt.release,
        attempt.parallelism,
        c.now(),
        c.new_job_id(),
        own_cluster=bool(attempt.cluster),
        metadata=attempt.metadata,
        auto_switch=attempt.auto_switch or attempt.state is State.active,
        deadline=attempt.deadline if attempt.state in CANDIDATE else None,
    )
    c.save(replace(attempt, stop=State.failed, error=error, promote=None), following)


def _cancel(c: Context, attempt: Attempt, job_ids: Iterable[str]) -> None:
    for job_id in job_ids:
        c.platform.cancel(attempt, job_id)


def _end(c: Context, attempt: Attempt) -> None:
    """Its job is over; its cluster goes, and with it whatever still runs there."""
    assert attempt.stop is not None
    # A job on the session cluster does not go with its cluster, and may have been taken for lost.
    _cancel(c, attempt, attempt.on_session)
    if attempt.cluster:
        c.platform.stop_cluster(attempt)
    c.save(replace(attempt, state=attempt.stop))


def _expire(c: Context, attempt: Attempt) -> None:
    """Remove old snapshots of its branch, and remember which log it has read."""
    product = c.platform.product(attempt, c.state)
    c.platform.expire(product, attempt, c.state)
    positions = attempt.positions[-1].offsets if attempt.positions else {}
    log = c.platform.log_identity(product, attempt, positions)
    c.save(replace(attempt, expired_at=c.now(), log=log))


def _note_foreign_offsets(c: Context, attempt: Attempt, note: str) -> None:
    noted = replace(attempt, foreign_offsets=note)
    if note:
        c.note(Reason.disturbed, note, noted)
    else:
        c.save(noted, durable=False)


def _note_late_dropped(c: Context, what: step.NoteLateDropped) -> None:
    """The history has the first time; later ones only raise the count."""
    noted = replace(what.attempt, late_dropped=what.late_dropped)
    if what.attempt.late_dropped:
        c.save(noted)
    else:
        c.note(Reason.disturbed, what.note, noted)


def _compare(c: Context, attempt: Attempt) -> None:
    begun = replace(attempt, comparing_at=c.now())
    c.save(begun)
    c.platform.compare(begun)


def _intent(what: step.Publish, now: float) -> Publication:
    """The journal's row of a publication that begins."""
    return Publication(
        id=0,
        product=what.attempt.product,
        release=what.attempt.release,
        attempt=what.attempt.number,
        checkpoint=what.checkpoint.id,
        before=what.before,
        after=what.checkpoint.snapshots,
        covered=what.covered,
        started=now,
        kind=what.kind,
    )


def new_attempt(
    state: ProductState,
    release: int,
    parallelism: int,
    now: float,
    job_id: str,
    *,
    own_cluster: bool,
    shadow: bool = False,
    scheduled: bool = False,
    auto_switch: bool = True,
    deadline: float | None = None,
    metadata: int | None = None,
) -> Attempt:
    """The next attempt of a release, not submitted yet."""
    number = max((a.number for a in state.attempts if a.release == release), default=0) + 1
    attempt = Attempt(
        product=state.product,
        release=release,
        number=number,
        created=now,
        parallelism=parallelism,
        job_ids=(job_id,),
        shadow=shadow,
        scheduled=scheduled,
        auto_switch=auto_switch,
        deadline=deadline,
        metadata=metadata,
    )
    return replace(attempt, cluster=attempt.full_name) if own_cluster else attempt


def _start_cluster(c: Context, attempt: Attempt) -> None:
    try:
        started = c.platform.start_cluster(attempt, c.state.release(attempt.release))
    except RefusedError as e:
        if attempt.state in CANDIDATE:
            c.save(_refused(attempt, e))
            return
        _note_refused(c, attempt, _told(e))
        raise
    try:
        c.keepalive()
    except StaleLeaseError:
        if c.store.load(attempt.product).attempt(attempt.name).ended:
            # no other controller will: the attempt had ended before the cluster was started
            c.platform.stop_cluster(attempt)
        raise
    now = replace(
        attempt, rest=started.rest, own_jars=started.own_jars, normal_priority=False, refused=""
    )
    if now != attempt:
        c.save(now)


def _refused(attempt: Attempt, e: RefusedError) -> Attempt:
    return replace(attempt, stop=State.failed, promote=None, error=_told(e))


def _note_refused(c: Context, attempt: Attempt, error: str) -> None:
    """In the history once, however often it is refused: the newest reason stays with the attempt."""
    refused = replace(attempt, refused=error)
    if attempt.refused:
        c.save(refused)
    else:
        c.note(Reason.refused, error, refused)


def _told(e: RefusedError) -> str:
    remedy = f"; next: {e.next}" if e.next else ""
    return f"{e.message}: expected {e.expected}, found {e.found}{remedy}"


def _recorded(what: step.Record, now: float) -> Attempt:
    a = what.attempt
    first = what.caught_up and a.caught_up_at is None
    return replace(
        a,
        positions=(*a.positions, what.position)[-KEPT_POSITIONS:],
        near=what.near,
        restarts=what.restarts,
        committed=a.committed or what.committed,
        resumes=0,
        tip=what.tip,
        caught_up_at=now if first else a.caught_up_at,
        state=State.caught_up if what.caught_up and a.state is State.replaying else a.state,
    )


def _examine(c: Context, attempt: Attempt, checkpoint: Checkpoint) -> None:
    position = attempt.position_of(checkpoint.id)
    assert position is not None, "examined although its position is not known"
    published = c.state.published
    other = published if published and published.attempt_name != attempt.name else None
    tables = Tables(c.platform.product(attempt, c.state), checkpoint.snapshots, position.offsets)
    checks = c.platform.checks(tables, _tables(c, other) if other else None)
    checked = replace(attempt, checks=checks, recheck=False)
    if not checked.found_fault:
        state = State.audited if attempt.state is State.caught_up else attempt.state
        log = c.platform.log_identity(tables.product, attempt, position.offsets)
        c.save(replace(checked, state=state, audited_checkpoint=checkpoint.id, log=log))
        return
    error = f"checks failed: {checked.found_fault}"
    # one on standby stays where it is
    stop = attempt.stop if attempt.state is State.standby else State.failed
    c.save(replace(checked, promote=None, stop=stop, error=error))


def _recheck(c: Context, attempt: Attempt, published: Publication) -> None:
    """Run the checks of a later release on what readers see. Readers keep it, whatever the checks find."""
    checked = replace(
        attempt,
        checks=c.platform.checks(_tables(c, published), None),
        recheck=False,
        audited_checkpoint=published.checkpoint,
    )
    release = f"the checks of r{attempt.metadata or attempt.release} on checkpoint {published.checkpoint}, as published"
    if checked.found_fault:
        c.note(Reason.checks_failed, f"{release}: {checked.found_fault}", checked)
    else:
        c.note(Reason.checked, f"{release}: {len(checked.checks)} passed", checked)


def _tables(c: Context, published: Publication) -> Tables:
    """What readers see."""
    attempt = c.state.attempt(published.attempt_name)
    return Tables(c.platform.product(attempt, c.state), published.after, published.covered)


def _verify(c: Context, shown: Attempt) -> None:
    """Record the shadow; one that there is no room for ends at once, and says why in the history."""
    product = c.platform.product(shown, c.state)
    own = c.platform.isolates() and bool(c.store.on_session_cluster())
    shadow = new_attempt(
        c.state,
        shown.release,
        shown.parallelism,
        c.now(),
        c.new_job_id(),
        own_cluster=own,
        shadow=True,
        scheduled=True,
        deadline=c.now() + seconds(product.settings.deadline),
        metadata=shown.metadata,
    )
    try:
        c.platform.refuse_replay(product, shadow, c.state)
    except RefusedError as e:
        shadow = _refused(shadow, e)
    c.save(shadow)


def _verdict(finding: Finding) -> Reason:
    """What the history calls it."""
    if not finding.equal:
        return Reason.differs
    return Reason.verified if finding.rows else Reason.not_verified


def _clean(c: Context, attempt: Attempt) -> None:
    """Remove what is left of an ended attempt.

    The list of files is stored first, because nothing else names them once the branch is gone. If an earlier cleaning
    was interrupted, there may be more by now: a last commit of the job, or files that a reference of others held.
    RetryableError while a job of the attempt runs, because its submission arrived late.
    """
    if late := c.platform.not_ended(attempt):
        for job_id in late:
            c.platform.cancel(attempt, job_id)
        raise RetryableError(
            f"{attempt.name} is not cleaned yet",
            expected="no job that writes to its branch",
            found=f"{', '.join(late)}, cancelled now",
            next="kappa status",
        )
    if attempt.cluster:
        # a controller that had lost its lease may have started it
        c.platform.stop_cluster(attempt)
    product = c.platform.product(attempt, c.state)
    listed = tuple(sorted({*(attempt.garbage or ()), *c.platform.garbage(product, attempt)}))
    if listed != attempt.garbage:
        attempt = replace(attempt, garbage=listed)
        c.save(attempt)
    c.platform.clean(product, attempt, c.state, listed, c.keepalive)
    c.save(replace(attempt, cleaned=True, garbage=()))


def _submit(c: Context, attempt: Attempt) -> None:
    release, before = c.state.release(attempt.release), attempt
    if attempt.may_move and (differs := c.platform.other_jars(attempt, release)):
        c.note(
            Reason.own_cluster,
            differs,
            replace(attempt, cluster=attempt.full_name, rest="", on_session=attempt.job_ids[:-1]),
        )
        return
    try:
        product = c.platform.product(attempt, c.state)
        if not attempt.topics and (topics := output_topics(product, attempt)):
            # Before it is stored that they are the attempt's: those are deleted with it.
            c.platform.refuse_taken(topics.values())
            attempt = before = replace(attempt, topics=topics)
            c.save(attempt)
        c.platform.prepare(product, attempt, release, c.keepalive)
        attempt = replace(
            attempt,
            submitted_at=c.now(),
            log=attempt.log or c.platform.log_identity(product, attempt, {}),
        )
        if differs := c.platform.other_runtime(product, attempt, release):
            c.note(Reason.other_runtime, differs, attempt)
        else:
            c.save(attempt)
        c.platform.submit(attempt, release, c.keepalive)
    except RefusedError as e:
        if attempt.state in CANDIDATE:
            c.save(_refused(attempt, e))
            return
        # No client was started: the next pass tries again, and says why again.
        _note_refused(c, before, _told(e))
        raise


def output_topics(product: Product, attempt: Attempt) -> dict[str, str]:
    """Output → the topic of its rows, of this attempt alone: one that starts from offset zero writes them all again.

    A shadow is compared by its tables, and nobody reads it.
    """
    if attempt.shadow:
        return {}
    said = {name: output.topic for name, output in product.settings.outputs.items()}
    return {n: names.output_topic(topic, attempt.name) for n, topic in said.items() if topic}


def _finish_publish(c: Context, publication: Publication) -> None:
    attempt = c.state.attempt(publication.attempt_name)
    product = c.platform.product(attempt, c.state)
    try:
        c.platform.publish(product, publication.after, publication.before, c.keepalive)
    except (PartlyPublishedError, StaleLeaseError):
        raise
    except ConflictError:
        # An intent of an earlier pass may have been carried out before somebody else moved main: it stays in the
        # journal.
        if publication != c.state.unfinished:
            c.store.drop_publication(c.lease, publication)
        raise
    except RefusedError:
        c.store.drop_publication(c.lease, publication)
        raise
    shown_at = attempt.shown_at if attempt.state is State.active else c.now()
    shown = replace(attempt, state=State.active, promote=None, error="", shown_at=shown_at)
    changed = [] if attempt.ended else [shown]
    changed += [
        replace(a, state=State.standby, left_at=c.now())
        for a in c.state.attempts
        if a.state is State.active and a.name != attempt.name
    ]
    changed += [
        replace(
            a, stop=State.aborted, promote=None, error=f"readers were switched to {attempt.name}"
        )
        for a in _overtaken(c.state, attempt)
    ]
    c.store.finish_publication(c.lease, publication, c.now(), *changed)


def _overtaken(state: ProductState, shown: Attempt) -> list[Attempt]:
    """Replays of the release that readers have just left: by itself nothing takes them back to it."""
    before = state.published
    if before is None or before.release == shown.release:
        return []
    return [
        a for a in state.live if a.release == before.release and a.state in CANDIDATE and not a.stop
    ]
