"""The controller over a platform that fails, delays, duplicates and loses: whatever happens, in whatever order.

KAPPA_EXAMPLES=5000 looks at so many histories, each time others; without it a few dozen, always the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replay import offsets
from replay.controller import intents
from replay.controller.job_rules import LOST_ANSWER_SECONDS
from replay.controller.loop import LEASE_SECONDS, ControlledPlatform, Loop
from replay.core.model import Attempt, Check, Committed, Move, ProductState, Publication, State
from replay.core.observed import SubmissionStatus
from replay.core.steps import Blocked
from replay.errors import KappaError
from replay.store.leases import Lease
from replay.store.store import Store
from tests.unit.control_platform import (
    NO_ANSWER,
    Clock,
    DiedError,
    FakePlatform,
    MortalStore,
    OneProcess,
    leftovers,
)
from tests.unit.control_steps import change, deploy, verify, want
from tests.unit.fake_lake import GENESIS, MAIN, TABLES
from tests.unit.memory_store import MemoryStore

EXAMPLES = int(os.environ.get("KAPPA_EXAMPLES", "0"))

pytestmark = pytest.mark.timeout(900)  # dozens of histories are one test

REFUSAL = "ValidationException: no column x"
REFUSALS = (REFUSAL, "the archived release was changed", "no room for another Flink cluster")
NEVER: Callable[[str], bool] = lambda _: False  # noqa: E731


@dataclass
class Journal(MemoryStore):
    """Judges every intent to publish when it is begun."""

    judge: Callable[[Publication, Attempt], None] = lambda *_: None

    def begin_publication(self, lease: Lease, intent: Publication) -> Publication:
        self._fence(lease)
        self.judge(intent, self.attempts[intent.attempt_name])
        return super().begin_publication(lease, intent)


class Controller(RuleBasedStateMachine):
    """Two controllers, people with commands, and people who should not be there."""

    @initialize(
        atomic=st.booleans(),
        own=st.booleans(),
        standbys=st.integers(0, 2),
        speed=st.sampled_from([40, 200]),
        releases=st.integers(0, 2),
        turns=st.sampled_from([0, 12]),
        period=st.sampled_from(["off", "daily"]),
    )
    def begin(
        self,
        atomic: bool,
        own: bool,
        standbys: int,
        speed: int,
        releases: int,
        turns: int,
        period: str,
    ) -> None:
        self.clock = Clock()
        self.platform = FakePlatform(self.clock, standbys=standbys, speed=speed, verify=period)
        self.platform.lake.atomic = atomic
        self.store = Journal(self.clock, judge=self.judge)
        self.own = own
        self.processes = 0
        self.controllers = [self.process(), self.process()]
        self.moved: dict[str, int] | None = None
        self.stolen: dict[str, int] | None = None
        self.meddled = self.troubled = False
        self.wished = {1}
        """Releases that a person asked for since readers last left them."""
        deploy(self.process(), self.platform, own=own)
        for release in range(2, releases + 2):
            self.go_on(12)
            deploy(self.process(), self.platform, release=release, own=own)
            self.wished.add(release)
        self.go_on(turns)

    def process(self, die_at: Callable[[str], bool] = NEVER) -> Loop:
        self.processes += 1
        store = cast(Store, MortalStore(self.store, die_at))
        return Loop(
            cast(ControlledPlatform, OneProcess(self.platform)),
            store,
            self.clock,
            holder=f"p{self.processes}",
        )

    @property
    def state(self) -> ProductState:
        return self.store.load("flights")

    def running(self) -> list[str]:
        """The newest first."""
        return [i for i, j in reversed(self.platform.jobs.items()) if j.status == "RUNNING"]

    # Time, and the log

    @rule(more=st.integers(0, 9))
    def all_goes_well(self, more: int) -> None:
        self.trouble_ends()
        self.go_on(12, more)

    @rule(
        times=st.integers(1, 9),
        more=st.integers(0, 30),
        slow=st.integers(0, 3),
        away=st.sampled_from([0, 0, 4]),
    )
    def go_on(self, times: int, more: int = 0, slow: int = -1, away: int = 0) -> None:
        """The normal course of things; one job completes fewer checkpoints, the controllers are away for a while."""
        for i in range(times):
            self.clock.time += 5
            self.platform.ends_now["flights"][0] += more
            self.platform.settle()
            for n, job in enumerate(self.running()):
                if n != slow or i % 3 == 2:
                    self.platform.checkpoint_of(job)
            if i >= away:
                self.passes(self.controllers[0], 6)

    @rule(seconds=st.sampled_from([1, 6, 25, 61, 700, 2 * 86_400]))
    def wait(self, seconds: float) -> None:
        self.clock.time += seconds
        self.platform.settle()

    @rule(
        which=st.integers(0, 5),
        late=st.sets(st.sampled_from(TABLES)),
        committed=st.booleans(),
        written=st.booleans(),
        more=st.integers(0, 60),
    )
    def checkpoint(
        self, which: int, late: set[str], committed: bool, written: bool, more: int
    ) -> None:
        self.platform.settle()
        self.platform.ends_now["flights"][1] += more
        if jobs := self.running():
            self.platform.checkpoint_of(
                jobs[which % len(jobs)],
                late=tuple(late),
                commit_offsets=committed,
                write_position=written,
            )

    # Controllers

    def passes(self, loop: Loop, times: int) -> None:
        for _ in range(times):
            with suppress(KappaError):
                if loop.run_once("flights").idle:
                    return

    @rule(who=st.integers(0, 1), times=st.integers(1, 6))
    def work(self, who: int, times: int) -> None:
        self.passes(self.controllers[who], times)

    @rule(
        who=st.integers(0, 1),
        at=st.integers(1, 40),
        first=st.sampled_from(["pass", "checkpoint", "order"]),
    )
    def kill(self, who: int, at: int, first: str) -> None:
        """At a boundary of one of its next passes; a new process takes its place."""
        self.happen(first)
        fate = Nth(at)
        loop = self.process(fate)
        self.platform.die_at = fate
        try:
            self.passes(loop, 6)
        except DiedError:
            pass
        finally:
            self.platform.die_at = NEVER
        self.controllers[who] = self.process()

    @rule(
        at=st.integers(1, 40),
        first=st.sampled_from(["pass", "checkpoint", "order"]),
        during=st.lists(
            st.sampled_from(
                ["pass", "checkpoint", "wait", "switch", "rollback", "abort", "retire"]
            ),
            max_size=6,
        ),
    )
    def freeze(self, at: int, first: str, during: list[str]) -> None:
        """At a boundary of one of its next passes, until its lease has expired and others have worked on."""
        self.happen(first)

        def thaw(_: str) -> bool:
            self.platform.die_at = NEVER
            self.clock.time += LEASE_SECONDS + 1
            for what in during:
                self.happen(what)
            return False

        fate = Nth(at, thaw)
        self.platform.die_at = fate
        try:
            self.passes(self.process(fate), 6)
        finally:
            self.platform.die_at = NEVER

    def happen(self, what: str) -> None:
        match what:
            case "pass":
                self.passes(self.controllers[1], 3)
            case "checkpoint":
                self.platform.complete_checkpoint()
            case "wait":
                self.clock.time += LOST_ANSWER_SECONDS + 1
            case "order":
                self.command(self.processes)
            case _:
                self.order(what)

    # People with commands

    @precondition(lambda self: len(self.state.live) > 1)
    @rule(which=st.integers(0, 5))
    def command_again(self, which: int) -> None:
        self.command(which)

    @precondition(lambda self: len(self.state.live) > 1)
    @rule(which=st.integers(0, 5))
    def command(self, which: int) -> None:
        """One that there is something to do for."""
        state = self.state
        some = ["rollback", "retire", "switch"] if state.standbys else []
        some += ["switch", "abort"] if state.candidate or state.shadow else []
        if some:
            self.order(some[which % len(some)])

    def order(self, what: str) -> None:
        wishes: dict[str, Callable[[ProductState], intents.Intent]] = {
            "switch": lambda s: intents.switch(s, None),
            "rollback": lambda s: intents.rollback(s, None),
            "abort": lambda s: intents.abort(s, "me"),
            "retire": lambda s: intents.retire(s, None),
        }

        def ask(loop: Loop) -> None:
            wanted = want(loop, wishes[what]).release
            self.wished |= {wanted} if what in ("switch", "rollback") else set()

        self.in_peace(ask)

    @rule(
        release=st.integers(1, 3),
        auto=st.booleans(),
        again=st.booleans(),
        deadline=st.sampled_from([None, None, 60]),
        submission=st.sampled_from(
            ["", "", "answer lost", "never arrives", "late", "late", "minutes", "refused"]
        ),
    )
    def deploys(
        self, release: int, auto: bool, again: bool, deadline: float | None, submission: str
    ) -> None:
        if auto:
            self.wished.add(release)
        self.in_peace(
            lambda loop: deploy(
                loop,
                self.platform,
                release=release,
                auto_switch=auto,
                again=again,
                own=self.own,
                deadline=deadline and self.clock() + deadline,
            )
        )
        self.next_submission(submission, 40)
        self.passes(self.controllers[0], 3)

    @precondition(lambda self: self.state.published and not self.state.shadow)
    @rule()
    def verifies(self) -> None:
        self.in_peace(verify)

    @precondition(lambda self: self.state.shadow)
    @rule()
    def verification_ends(self) -> None:
        shadow = self.state.shadow
        assert shadow
        self.in_peace(lambda loop: change(loop, shadow.name, stop=State.retired))

    def in_peace(self, act: Callable[[Loop], object]) -> None:
        """A command waits for the lease of somebody who died."""
        self.clock.time += LEASE_SECONDS + 1
        with suppress(KappaError):
            act(self.process())

    # What fails, and people who should not be there

    @rule(
        what=st.sampled_from(
            [
                "down",
                "jobs",
                "silent",
                "cluster",
                "FAILED",
                "CANCELED",
                "RESTARTING",
                "room",
                "checks",
                "clocks",
                "retention",
                "group",
                "offsets",
                "archive",
                "jars",
            ]
        ),
        which=st.integers(0, 5),
    )
    def trouble(self, what: str, which: int) -> None:
        platform = self.platform
        self.troubled = True
        clusters, groups, jobs = sorted(platform.clusters), sorted(platform.groups), self.running()
        match what:
            case "down":
                platform.down = True
            case "jobs":
                platform.lose_jobs(["", *clusters][which % (len(clusters) + 1)])
            case "silent" if clusters:
                platform.silent.add(clusters[which % len(clusters)])
            case "cluster" if clusters:
                platform.lose_cluster(clusters[which % len(clusters)])
            case "FAILED" | "CANCELED" | "RESTARTING" if jobs:
                job = platform.jobs[jobs[which % len(jobs)]]
                job.status = what
                job.restarts += which + 1
            case "room":
                platform.no_room = True
            case "checks":
                platform.complaints = [Check("checks/x.sql", True, 1)]
            case "clocks":
                platform.clocks_standing = ("TemporalJoin",)
            case "retention":
                platform.problems = ["topic flights: retention.ms=1000"]
            case "jars":  # the session cluster was started again, by another kappa
                platform.jars_differ = "kappa-connector.jar 1 → 2"
                platform.lose_jobs()
            case "archive" if live := self.state.live:
                platform.changed_archives.add(live[which % len(live)].name)
            case "group" if groups:
                del platform.groups[groups[which % len(groups)]]
            case "offsets" if groups:  # somebody sets them to the end of the log
                ends = platform.ends_now["flights"]
                platform.groups[groups[which % len(groups)]] = {
                    "flights": {p: Committed(o, "") for p, o in ends.items()}
                }

    @precondition(lambda self: self.troubled)
    @rule()
    def trouble_ends(self) -> None:
        platform = self.platform
        self.troubled = False
        platform.down = platform.no_room = False
        platform.silent, platform.complaints, platform.problems, platform.clocks_standing = (
            set(),
            [],
            [],
            (),
        )
        platform.changed_archives = set()
        for job in platform.jobs.values():
            job.status = "RUNNING" if job.status == "RESTARTING" else job.status

    @rule(
        how=st.sampled_from(["answer lost", "never arrives", "late", "minutes", "refused"]),
        seconds=st.floats(1, LOST_ANSWER_SECONDS - 1),
    )
    def next_submission(self, how: str, seconds: float) -> None:
        platform = self.platform
        match how:
            case "answer lost":
                platform.late_submissions = [(1.0, 0.0)]
            case "never arrives":
                platform.submit_fails = [NO_ANSWER]
            case "refused":
                platform.submit_fails = [SubmissionStatus(refused=REFUSAL)] * 2
            case "late":
                platform.late_submissions = [(0.0, seconds)]
            case "minutes":
                platform.late_submissions = [(200.0, seconds)]

    @precondition(lambda self: self.platform.published and not self.stolen)
    @rule(which=st.integers(0, 30), tables=st.sets(st.sampled_from(TABLES), min_size=1))
    def moves_main(self, which: int, tables: set[str]) -> None:
        lake = self.platform.lake
        self.moved, self.meddled = dict(self.platform.main_now), True
        for table in tables:
            all_of_it = [s.id for s in lake.snapshots.values() if s.table == table]
            lake.refs[table, MAIN] = all_of_it[which % len(all_of_it)]
        self.stolen = dict(self.platform.main_now)

    @precondition(lambda self: self.stolen)
    @rule()
    def puts_main_back(self) -> None:
        if self.platform.main_now == self.stolen and self.moved:
            self.platform.main_now = self.moved
        self.stolen = self.moved = None

    @precondition(lambda self: self.platform.published)
    @rule(which=st.integers(0, 5), tables=st.sets(st.sampled_from(TABLES), min_size=1))
    def drops_a_branch(self, which: int, tables: set[str]) -> None:
        self.meddled = True
        if names := sorted({b for _, b in self.platform.lake.refs} - {MAIN, GENESIS}):
            for table in tables:
                self.platform.lake.refs.pop((table, names[which % len(names)]), None)

    # What must be so at every instant

    def judge(self, publication: Publication, attempt: Attempt) -> None:
        """Invariants 1 to 3 of DESIGN.md, for every publication."""
        lake = self.platform.lake
        after = {t: lake.snapshots[s] for t, s in publication.after.items()}
        content = after[TABLES[0]].content
        why = f"{publication.kind.value} of {attempt.name} checkpoint {publication.checkpoint}"
        assert not attempt.shadow, why
        for s in after.values():
            assert (s.writer, s.checkpoint, s.content, s.whole) == (
                attempt.name,
                publication.checkpoint,
                content,
                True,
            ), why
        assert offsets.covers(
            {"flights": content}, offsets.only(publication.covered, ["flights"])
        ), f"claim of {why}"
        if publication.kind is not Move.rollback:
            before = [lake.snapshots[s].content for s in publication.before.values()]
            assert all(offsets.covers({"": content}, {"": b}) for b in before), (
                f"readers go back with {why}"
            )
        shown = self.state.published
        assert shown is None or dict(publication.before) == dict(shown.after), (
            f"over somebody else's main: {why}"
        )
        if publication.kind is not Move.publish:
            again = shown is not None and attempt.release == shown.release
            assert again or attempt.release in self.wished, f"nobody asked for the {why}"
            if shown and shown.release != attempt.release:
                self.wished.discard(shown.release)
        if publication.kind is Move.switch:
            assert dict(publication.after) in self.platform.passed, f"unchecked: {why}"
            assert attempt.state is State.standby or attempt.near >= 2, f"not near the end: {why}"

    @invariant()
    def main_is_what_the_journal_says(self) -> None:
        state, main = self.state, self.platform.main_now
        if not main or main == self.stolen:
            return
        if state.unfinished:
            assert all(
                s in (state.unfinished.before[t], state.unfinished.after[t])
                for t, s in main.items()
            )
        elif state.published:
            assert main == dict(state.published.after)
        else:
            assert self.platform.genesis

    @invariant()
    def one_is_active_and_nothing_runs_that_should_not(self) -> None:
        state = self.state
        assert sum(a.state is State.active for a in state.attempts) <= 1
        if shown := state.published:
            assert not state.attempt(shown.attempt_name).cleaned
        ended = {a.name for a in state.attempts if a.ended}
        assert not [j.branch for j in self.platform.jobs.values() if j.runs and j.branch in ended]

    @invariant()
    def no_refusal_ends_what_readers_have_seen(self) -> None:
        for a in self.state.attempts:
            assert a.shown_at is None or not a.error.startswith(REFUSALS), (
                f"{a.name} ended: {a.error}"
            )

    @invariant()
    def what_is_cleaned_leaves_nothing(self) -> None:
        for a in self.state.attempts:
            if a.cleaned:
                left = leftovers(self.platform, a, adrift=self.meddled)
                assert not left, f"{a.name} left {left}"

    # In the end

    def teardown(self) -> None:
        """When nothing disturbs it any more it comes to rest: readers at the log's end, nothing left behind."""
        if not hasattr(self, "platform"):
            return
        platform = self.platform
        self.trouble_ends()
        platform.submit_fails, platform.late_submissions = [], []
        self.puts_main_back()
        for _ in range(80):
            self.clock.time += 10
            platform.complete_checkpoint()
            for loop in self.controllers:
                self.passes(loop, 8)
            self.one_is_active_and_nothing_runs_that_should_not()
            if self.at_rest():
                return
        state = self.state
        step = self.controllers[0].run_once("flights").step
        raise AssertionError(
            f"not at rest: {step}; {[(a.name, a.state, a.stop, a.cleaned) for a in state.attempts]}"
        )

    def at_rest(self) -> bool:
        state, platform = self.state, self.platform
        if state.unfinished or isinstance(self.controllers[0].run_once("flights").step, Blocked):
            return False
        shown = state.published.attempt_name if state.published else None
        runs = [j.branch for j in platform.jobs.values() if j.runs]
        settled = (State.active, State.standby, State.audited)
        return (
            all(a.cleaned or a.name == shown for a in state.attempts if a.ended)
            and all(
                a.state in settled or (a.shadow and not a.scheduled and a.state is State.caught_up)
                for a in state.live
            )
            and not any(a.stop or a.promote for a in state.live)
            and all(not a.auto_switch for a in state.live if a.state is State.audited)
            and platform.prioritised
            >= {a.cluster for a in state.live if a.state is State.active and a.cluster}
            and sorted(runs) == sorted(a.name for a in state.live)
            and (
                state.active is None
                or (state.active.name == shown and self.at_the_end(state.published))
            )
        )

    def at_the_end(self, published: Publication | None) -> bool:
        return (
            published is not None
            and dict(published.after) == self.platform.main_now
            and published.covered["flights"] == self.platform.ends_now["flights"]
        )


class Nth:
    """Dies at the nth boundary; or does something else there."""

    def __init__(self, n: int, instead: Callable[[str], bool] = lambda _: True) -> None:
        self.n, self.instead, self.passed, self.dead = n, instead, 0, False

    def __call__(self, where: str) -> bool:
        # Between a look at the lease and what depends on it is no boundary: nothing outside knows our fencing token.
        self.passed += where != "after renew"
        if self.passed == self.n and where != "after renew":
            self.dead = self.instead(where)
        return self.dead


TestController = Controller.TestCase
TestController.settings = settings(
    max_examples=EXAMPLES or 60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
