"""`kappa deploy`: check, preflight, build, record the attempt; the loop does the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.product.folder import Product
from jobs.product.model import seconds
from jobs.product.settings import Switch
from replay import offsets
from replay.controller.act import new_attempt
from replay.controller.loop import Loop, WaitForLease
from replay.controller.platform import Platform
from replay.controller.preflight import advice, preflight, preflight_log, refuse_shared_topics
from replay.controller.watching import Pass
from replay.core.model import Attempt, ProductState, Release, State, short_commit
from replay.core.steps import Blocked
from replay.errors import ConfigError, ConflictError, KappaError, RefusedError
from replay.flink import resolved
from replay.flink.rest import Slots
from replay.kafka import output_topics, schemas
from replay.offsets import Offsets
from replay.releases import sources
from replay.releases.folders import read_product
from replay.releases.release import Build, build, find_folder, next_release
from replay.releases.retention import sweep
from replay.settings import Settings


@dataclass(frozen=True)
class Request:
    """The arguments of `kappa deploy`."""

    name: str
    source: Path | None = None
    parallelism: int | None = None
    again: bool = False
    auto_switch: bool | None = None
    """None: as product.yaml says."""
    timeout: float | None = None
    """Seconds in which it must catch up; None: as product.yaml says."""
    commit: str | None = None
    """What `source` was written out of; None: it is a folder of the working tree."""


@dataclass(frozen=True)
class Terms:
    """What a new attempt gets, apart from its release."""

    parallelism: int
    asked_parallelism: bool = False
    """A running attempt of another parallelism does not do."""
    again: bool = False
    auto_switch: bool = True
    deadline: float | None = None
    own_cluster: bool = False


@dataclass(frozen=True)
class Plan:
    """What a deploy writes: perhaps a release, perhaps an attempt."""

    attempt: Attempt
    """The one to follow."""
    release: Release | None = None
    """Not recorded yet."""
    changed: tuple[Attempt, ...] = ()
    """To be saved; empty when there is nothing to begin."""

    @property
    def replays(self) -> bool:
        return bool(self.changed) and self.attempt.submitted_at is None


def plan(state: ProductState, release: Release, terms: Terms, now: float, job_id: str) -> Plan:
    """Follow the release's running attempt if there is one; adopt what needs no replay; else begin an attempt.

    RefusedError when another candidate is under way, or the release stands by already.
    """
    known = release in state.releases
    mine = [
        a
        for a in state.live
        if (a.metadata or a.release) == release.number and not a.stop and not a.shadow
    ]
    fitting = [a for a in mine if not terms.asked_parallelism or a.parallelism == terms.parallelism]
    if known and not terms.again:
        if running := [a for a in fitting if a.state is not State.standby]:
            return Plan(running[-1])
        if fitting:
            raise RefusedError(
                f"{fitting[-1].name} has exactly this release, and is on standby",
                expected="a release that is not running yet",
                found=f"{release.name} on standby",
                next=f"kappa switch {state.product} {release.name}  (or: kappa deploy {state.product} "
                "--again)",
            )
    if other := state.candidate:
        raise RefusedError(
            f"a candidate of {state.product} is under way",
            expected="one candidate at a time",
            found=f"{other.name}, {other.state.value}",
            next=f"kappa abort {state.product}",
        )
    active = state.active
    computed = active and not terms.again and not terms.asked_parallelism
    if active and computed and _same_rows(state.release(active.release), release):
        adopted = replace(active, metadata=release.number, recheck=True, checks=())
        return Plan(adopted, None if known else release, (adopted,))
    shadow = state.shadow
    if shadow and not shadow.scheduled:
        raise RefusedError(
            f"{state.product} is being verified",
            expected="one replay of a product at a time",
            found=f"{shadow.name}, a shadow, {shadow.state.value}",
            next=f"kappa verify {state.product}  (follows it; or end it: kappa abort {state.product})",
        )
    new = new_attempt(
        state,
        release.number,
        terms.parallelism,
        now,
        job_id,
        own_cluster=terms.own_cluster,
        auto_switch=terms.auto_switch,
        deadline=terms.deadline,
    )
    ended = [replace(shadow, stop=State.aborted, error="a deploy came first")] if shadow else []
    return Plan(new, None if known else release, (*ended, new))


def _same_rows(one: Release, other: Release) -> bool:
    return one.computation == other.computation and one.reference_offsets == other.reference_offsets


class Deploy:
    """One `kappa deploy`, in steps that a display can name."""

    def __init__(self, settings: Settings, platform: Platform, loop: Loop) -> None:
        self.settings = settings
        self.platform = platform
        self.loop = loop

    def begin(
        self, request: Request, job_id: str, say: Callable[[str], None]
    ) -> tuple[Plan, Offsets]:
        """Check and record; the plan, and the ends of the log that are to be published."""
        product = read_product(find_folder(request.name, request.source))
        if product.name != request.name:
            raise ConfigError(
                f"{product.folder} is another product",
                expected=f"name: {request.name} in product.yaml",
                found=f"name: {product.name}",
                next=f"kappa deploy {product.name} --from {product.folder}",
            )
        slots = self.platform.slots()  # the cheapest question first: is the stack up?
        preflight_log(self.settings, product)
        for difference in schemas.differences(self.settings, product):
            say(difference.line)
        if not resolved.is_resolved(self.settings, product):
            say("checking the SQL with Flink's planner")
        product = resolved.resolve(self.settings, product)
        before = self.loop.store.load(product.name)
        preflight(self.settings, self.platform, product, before)
        output_topics.refuse_short_transactions(self.settings, product.settings)
        refuse_shared_topics(self.settings, self.loop.store, product)
        for line in advice(self.platform, product, before):
            say(line)
        reference = self._reference(product)
        built = build(self.settings, product, request.commit)
        with self._leased(product.name) as lease:
            store = self.loop.store
            state = store.load(product.name)
            now = self.loop.now()
            release = next_release(state.releases, product.name, built, reference, now)
            terms = terms_of(
                request,
                product,
                state,
                now,
                own_cluster=self.platform.clusters is not None and bool(store.on_session_cluster()),
            )
            todo = plan(state, release, terms, now, job_id)
            if todo.changed:
                if todo.replays and not todo.attempt.cluster:
                    need_slots(slots, todo)
                if todo.release:
                    store.add_release(lease, todo.release)
                store.save(lease, *todo.changed)
            sweep(self.settings, store.held(lease), time.time())
        if request.commit is None:
            sources.remember(self.settings, product.name, product.folder)
        target = offsets.replaced(self.platform.ends(product), release.reference_offsets)
        say(begun(todo, built))
        return todo, target

    def _reference(self, product: Product) -> dict[str, dict[int, int]]:
        ends = self.platform.reference_ends(product)
        if empty := sorted(t for t, partitions in ends.items() if not any(partitions.values())):
            raise RefusedError(
                f"there is no reference data in {', '.join(empty)}, and a release reads what is there when built",
                expected="records",
                found="none",
                next=f"put records into {', '.join(empty)}  (the demo's loader does: kappa load flights)",
            )
        return {t: dict(p) for t, p in ends.items()}

    def _leased(self, product: str) -> WaitForLease:
        return WaitForLease(self.loop, product)


def follow(attempt: Attempt, state: ProductState) -> Attempt:
    """The attempt as it is now, or the one that took its place when the cluster lost it."""
    now = state.attempt(attempt.name)
    successors = [
        a
        for a in state.attempts
        if a.release == now.release and a.number > now.number and a.shadow is now.shadow
    ]
    return successors[-1] if State.failed in (now.state, now.stop) and successors else now


def finished(attempt: Attempt, state: ProductState, target: Offsets) -> bool:
    """Whether readers see the attempt at the target, or it waits for a person; or raise why it never will."""
    if State.failed in (attempt.state, attempt.stop):
        raise KappaError(
            f"{attempt.product} {attempt.name} failed; readers see what they saw before",
            found=attempt.error,
            next=f"fix the cause, then: kappa deploy {attempt.product}",
        )
    if attempt.stop or attempt.ended:
        raise ConflictError(
            f"{attempt.product} {attempt.name} was given up",
            found=attempt.error or attempt.state.value,
            next=f"kappa history {attempt.product}",
        )
    if attempt.state is State.audited and not (attempt.auto_switch or attempt.promote):
        return True
    if attempt.recheck:  # what readers see is checked by the new release first
        return False
    shown = state.published
    return (
        attempt.state is State.active
        and shown is not None
        and shown.attempt_name == attempt.name
        and offsets.covers(shown.covered, target)
    )


def refuse_blocked(done: Pass) -> None:
    """ConflictError when a person has to look."""
    if isinstance(done.step, Blocked):
        b = done.step
        raise ConflictError(b.message, expected=b.expected, found=b.found, next=b.next)


def terms_of(
    request: Request, product: Product, state: ProductState, now: float, *, own_cluster: bool
) -> Terms:
    """What the request and product.yaml say of a new attempt; a first release does not wait for `kappa switch`."""
    settings = product.settings
    asked = (
        request.auto_switch if request.auto_switch is not None else settings.switch is Switch.auto
    )
    return Terms(
        parallelism=request.parallelism or settings.parallelism,
        asked_parallelism=request.parallelism is not None,
        again=request.again,
        auto_switch=asked or state.published is None,
        deadline=now + (request.timeout or seconds(settings.deadline)),
        own_cluster=own_cluster,
    )


def need_slots(slots: Slots, todo: Plan) -> None:
    """RefusedError when the session cluster has no room for the new attempt."""
    leaving = sum(a.parallelism for a in todo.changed if a.stop and not a.cluster)
    if slots.free + leaving < todo.attempt.parallelism:
        raise RefusedError(
            "Flink has too few free task slots",
            expected=f"{todo.attempt.parallelism} free slots",
            found=f"{slots.free} free of {slots.total}",
            next=f"kappa deploy {todo.attempt.product} --parallelism {slots.free}  "
            "(or cancel a job in Flink's web page)"
            if slots.free
            else "kappa status",
        )


def begun(todo: Plan, built: Build) -> str:
    """What the deploy does now, in a sentence."""
    a = todo.attempt
    commit = f", git {short_commit(built.git_commit)}" if built.git_commit else ""
    what = f"{a.product} {a.name} (release {built.fingerprint[:12]}{commit})"
    if todo.replays:
        where = ", on a Flink cluster of its own" if a.cluster else ""
        return f"{what}: replaying from offset zero, parallelism {a.parallelism}{where}"
    if todo.changed:
        return (
            f"{what} computes these rows already: r{a.metadata} changes no row, and counts from now on; its checks "
            "run on what readers see"
        )
    if a.state is State.active:
        return f"{what} is active already: nothing to deploy (--again makes a new attempt)"
    return f"{what} is under way: following it"
