"""The controller killed at every boundary of every story: what it finds is carried on to the same end.

A story runs once undisturbed. At each boundary (before and after every write to the store, before, during and after
every effect) the store and the platform are copied as they are: that is all that a killed process leaves. In each copy
another process begins once the dead one's lease has expired, and has to come to the same end.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

import pytest

from replay.cli.remove import carry_out
from replay.controller import intents
from replay.controller.decide import EXPIRY_SECONDS
from replay.controller.deploy import Terms, plan
from replay.controller.loop import LEASE_SECONDS, ControlledPlatform, Loop, WaitForLease
from replay.controller.schedule import FIRST_SECONDS
from replay.core.model import Attempt, Check
from replay.core.observed import FlinkDownError
from replay.core.steps import Submit
from replay.errors import ConflictError, KappaError, RefusedError
from replay.store.leases import StaleLeaseError
from replay.store.steady_clock import SteadyClock
from replay.store.store import Store
from tests.unit.control_platform import (
    CLIENT_SECONDS,
    Clock,
    FakePlatform,
    MortalStore,
    OneProcess,
    Wall,
)
from tests.unit.control_steps import deploy, verify, want
from tests.unit.fake_lake import TABLES, FakeLake
from tests.unit.memory_store import MemoryStore

END = {0: 100, 1: 90}
HOUR = 3600.0
TURNS = 12
"""More than any undisturbed story takes."""


@dataclass
class Scene:
    """All that outlives a process."""

    platform: FakePlatform
    store: MemoryStore

    @classmethod
    def new(cls, *, atomic: bool = True) -> Scene:
        clock = Clock()
        scene = cls(FakePlatform(clock), MemoryStore(Wall(clock)))
        scene.platform.lake.atomic = atomic
        scene.platform.speed = 100
        return scene

    @property
    def clock(self) -> Clock:
        return self.platform.clock

    def copied(self) -> Scene:
        platform = copy.deepcopy(replace(self.platform, die_at=lambda _: False))
        return Scene(platform, self.store.copied(Wall(platform.clock, self.wall.ahead)))

    @property
    def wall(self) -> Wall:
        """The database's clock."""
        return cast(Wall, self.store.now)

    def process(self, holder: str, die_at: Callable[[str], bool] | None = None) -> Loop:
        """With a clock of its own, and perhaps one that may die or freeze at every write of its own."""
        store = cast(Store, MortalStore(self.store, die_at) if die_at else self.store)
        clock = SteadyClock(self.store.seconds(), self.clock)
        return Loop(
            cast(ControlledPlatform, OneProcess(self.platform)), store, clock, holder=holder
        )

    def outcome(self) -> dict[str, Any]:
        """Everything that must not depend on where a process died."""
        state, platform, lake = self.store.load("flights"), self.platform, self.platform.lake
        shown = [lake.snapshots[s] for s in platform.main_now.values()]
        return {
            "attempts": {
                a.name: (
                    a.state,
                    a.stop,
                    a.promote,
                    a.cleaned,
                    len(a.job_ids),
                    a.normal_priority,
                    a.recheck,
                    a.metadata,
                )
                for a in state.attempts
            },
            "published": state.published
            and (state.published.attempt_name, state.published.covered),
            "unfinished": state.unfinished,
            "main": {(s.writer, tuple(s.content.items()), s.whole) for s in shown},
            "one checkpoint": len({s.checkpoint for s in shown}),
            "submissions": sorted(
                Counter(_branch(state.attempts, j) for j in platform.submitted).items()
            ),
            "jobs": sorted(j.branch for j in platform.jobs.values() if j.runs),
            "clusters": sorted(platform.clusters),
            "prioritised": sorted(platform.prioritised),
            "branches": sorted({b for _, b in lake.refs}),
            "groups": sorted(platform.groups),
            "checkpoints": sorted({k.branch for k in platform.kept}),
            "bindings": sorted(platform.bindings),
            "files": sorted({f.split("/")[0] for f in lake.files}),
        }


def _branch(attempts: tuple[Attempt, ...], job_id: str) -> str:
    return next((a.name for a in attempts if job_id in a.job_ids), "of a product that is gone")


def pass_time(scene: Scene, loop: Loop) -> None:
    """Three seconds, a checkpoint of every job, and passes until there is nothing to do."""
    scene.clock.time += 3
    scene.platform.complete_checkpoint()
    for _ in range(9):
        try:
            if loop.run_once("flights").idle:
                return
        except ConflictError:
            raise
        except KappaError:  # as the service: again with the next turn
            return


@dataclass
class Story:
    """What goes before, what somebody does, and whether readers are taken back by it."""

    before: Callable[[Scene], None]
    happens: Callable[[Loop, FakePlatform], Any]
    back: int = 0
    """How often readers are shown an older position."""
    atomic: bool = True
    command: bool = True
    """It is a person's, who gives it again if it did not come to its end."""
    leaves_nothing: bool = False
    """What it begins is cleaned away in the end. A process that is frozen between its look at the lease and the branch
    that it makes then leaves that branch: nothing outside knows its fencing token."""


@dataclass
class Boundary:
    """One place to die at."""

    position: int
    where: str
    left: Scene
    commanded: bool
    """The command had come to its end."""


@dataclass
class Recorder:
    """Copies the scene at every boundary that differs from the one before."""

    scene: Scene
    found: list[Boundary] = field(default_factory=list)
    commanded: bool = False
    passed: int = 0
    _last: str = ""

    def __call__(self, where: str) -> bool:
        self.passed += 1
        now = f"{self.scene.platform!r}{self.scene.store!r}"
        if now != self._last:
            self._last = now
            self.found.append(
                Boundary(
                    self.passed, f"{self.passed}: {where}", self.scene.copied(), self.commanded
                )
            )
        return False


def record(story: Story) -> tuple[dict[str, Any], list[Boundary]]:
    """The undisturbed story's end, and all the places to die at on the way there."""
    scene, loop = begun(story)
    story.happens(loop, scene.platform)
    outcomes = [outcome_after(scene, loop) for _ in range(TURNS)]
    end = outcomes[-1]
    assert all(o == end for o in outcomes[-3:]), "the story has not come to its end"
    assert steps_back(scene) == story.back
    scene, _ = begun(story)
    recorder = Recorder(scene)
    scene.platform.die_at = recorder
    loop = scene.process("first", recorder)
    story.happens(loop, scene.platform)
    recorder.commanded = True
    for _ in range(outcomes.index(end) + 1):
        pass_time(scene, loop)
    return end, recorder.found


class Frostbite:
    """At the nth boundary the process is frozen; it thaws when another one has come to the end of the story."""

    def __init__(self, scene: Scene, at: int, story: Story, end: dict[str, Any]) -> None:
        self.scene, self.at, self.story, self.end = scene, at, story, end
        self.passed, self.where, self.commanded = 0, "", False

    def __call__(self, where: str) -> bool:
        self.passed += 1
        if self.passed == self.at and not (self.story.leaves_nothing and where == "after renew"):
            self.where = f"{self.passed}: {where}"
            self.scene.platform.die_at = lambda _: False
            carry_on(self.scene, self.story, self.end, self.commanded, f"frozen at {self.where}")
        return False


def freeze_at(story: Story, position: int, end: dict[str, Any]) -> str:
    """Where it was frozen, and thawed in vain; nothing when it was not."""
    scene = _stage(story.before, story.atomic).copied()
    frost = Frostbite(scene, position, story, end)
    scene.platform.die_at = frost
    loop = scene.process("first", frost)
    with suppress(StaleLeaseError, RefusedError, FlinkDownError):
        story.happens(loop, scene.platform)
    frost.commanded = True
    for _ in range(TURNS):
        if frost.where:
            break
        pass_time(scene, loop)
    assert scene.outcome() == end, f"frozen at {frost.where}"
    assert steps_back(scene) <= story.back, f"frozen at {frost.where}"
    return frost.where


def outcome_after(scene: Scene, loop: Loop) -> dict[str, Any]:
    pass_time(scene, loop)
    return scene.outcome()


@cache
def _stage(before: Callable[[Scene], None], atomic: bool) -> Scene:
    scene = Scene.new(atomic=atomic)
    before(scene)
    return scene


def begun(story: Story) -> tuple[Scene, Loop]:
    scene = _stage(story.before, story.atomic).copied()
    return scene, scene.process("first")


def steps_back(scene: Scene) -> int:
    """How often readers of any table were shown less than before."""
    lake = scene.platform.lake
    return sum(
        any(lake_content(lake, old, p) > lake_content(lake, new, p) for p in END)
        for before, after in lake.moves
        for old, new in [(before[TABLES[0]], after[TABLES[0]])]
    )


def lake_content(lake: FakeLake, snapshot: int, partition: int) -> int:
    found = lake.snapshots.get(snapshot)
    return found.content.get(partition, 0) if found else 0


def carry_on(
    scene: Scene, story: Story, end: dict[str, Any], commanded: bool, why: str, hours: int = 0
) -> None:
    """Another process, once the lease has expired; should it not come to the end, so many hours later once more."""
    scene.clock.time += LEASE_SECONDS + 1
    second = scene.process("second")
    if story.command and not commanded:
        with suppress(RefusedError):
            story.happens(second, scene.platform)
    for turn in range(60):
        pass_time(scene, second)
        if scene.outcome() == end:
            break
        scene.clock.time += hours * HOUR if turn == 30 else 0
    else:
        assert scene.outcome() == end, why
    assert steps_back(scene) <= story.back, why


# What goes before


def nothing(_: Scene) -> None:
    pass


def deployed(scene: Scene, release: int = 1, **terms: Any) -> None:
    loop = scene.process("before")
    deploy(loop, scene.platform, release=release, **terms)
    for _ in range(7):
        pass_time(scene, loop)


def two(scene: Scene, **terms: Any) -> None:
    """r1-a1 is on standby, r2-a1 is active."""
    deployed(scene, **terms)
    deployed(scene, 2, **terms)


def waiting(scene: Scene, **terms: Any) -> None:
    """r2-a1 waits for a person beside r1-a1."""
    deployed(scene, **terms)
    deployed(scene, 2, auto_switch=False, **terms)


def replaying(scene: Scene, **terms: Any) -> None:
    """r2-a1 runs beside r1-a1, and no more."""
    deployed(scene, **terms)
    loop = scene.process("before")
    deploy(loop, scene.platform, release=2, **terms)
    while not isinstance(loop.run_once("flights").step, Submit):
        pass
    scene.clock.time += CLIENT_SECONDS
    loop.run_once("flights")


def on_clusters_of_their_own(before: Callable[..., None]) -> Callable[[Scene], None]:
    return lambda scene: before(scene, own=True)


# What happens


def second_release(loop: Loop, platform: FakePlatform) -> None:
    deploy(loop, platform, release=2)


def switch(loop: Loop, _: FakePlatform) -> None:
    want(loop, lambda s: intents.switch(s, None))


def rollback(loop: Loop, _: FakePlatform) -> None:
    want(loop, lambda s: intents.rollback(s, None))


def rollback_while_flink_is_down(loop: Loop, platform: FakePlatform) -> None:
    platform.down = True
    rollback(loop, platform)


def abort(loop: Loop, _: FakePlatform) -> None:
    want(loop, lambda s: intents.abort(s, "me"))


def retire(loop: Loop, _: FakePlatform) -> None:
    want(loop, lambda s: intents.retire(s, "r1-a1"))


def remove(loop: Loop, platform: FakePlatform) -> None:
    removing(loop, platform, keep_tables=False)


def remove_but_tables(loop: Loop, platform: FakePlatform) -> None:
    removing(loop, platform, keep_tables=True)


def removing(loop: Loop, platform: FakePlatform, *, keep_tables: bool) -> None:
    """Somebody gives the command again until there is no such product."""
    if loop.store.load("flights").releases:
        carry_out(
            loop,
            "flights",
            keep_tables=keep_tables,
            by="me",
            sleep=lambda _: setattr(platform.clock, "time", platform.clock.time + 1),
        )


def third_release(loop: Loop, platform: FakePlatform) -> None:
    deploy(loop, platform, release=3)


def shadow(loop: Loop, _: FakePlatform) -> None:
    verify(loop)


def verification_is_due(_: Loop, platform: FakePlatform) -> None:
    platform.verify = "weekly"
    platform.clock.time += FIRST_SECONDS


def checks_come_later(loop: Loop, _: FakePlatform) -> None:
    """A release that changes no row."""
    with WaitForLease(loop, "flights") as lease:
        state = loop.store.load("flights")
        release = replace(state.releases[0], number=2, fingerprint="f2")
        todo = plan(state, release, Terms(2), loop.now(), "none")
        if todo.release:
            loop.store.add_release(lease, todo.release)
        loop.store.save(lease, *todo.changed)


def lost_jobs(_: Loop, platform: FakePlatform) -> None:
    platform.lose_jobs()


def lost_job_and_checkpoints(_: Loop, platform: FakePlatform) -> None:
    """Of the newest attempt."""
    job = platform.jobs.pop(platform.submitted[-1])
    platform.kept = [k for k in platform.kept if k.branch != job.branch]


def lost_cluster(_: Loop, platform: FakePlatform) -> None:
    platform.lose_cluster("flights-r1-a1")


def failed_candidate(_: Loop, platform: FakePlatform) -> None:
    platform.jobs["job-2-1"].status = "FAILED"


def failing_checks(_: Loop, platform: FakePlatform) -> None:
    platform.complaints = [Check("checks/no_negative_delay.sql", True, 3)]


def dropped_branch(_: Loop, platform: FakePlatform) -> None:
    for table in TABLES:
        del platform.lake.refs[table, "r2-a1"]


def time_goes_by(_: Loop, platform: FakePlatform) -> None:
    platform.clock.time += EXPIRY_SECONDS


STORIES = {
    "deploy": Story(nothing, deploy),
    "deploy beside a live release": Story(deployed, second_release),
    "deploy on a cluster of its own": Story(on_clusters_of_their_own(deployed), third_release),
    "deploy retires the standby that is too many": Story(two, third_release),
    "switch": Story(waiting, switch),
    "switch without a transaction over tables": Story(waiting, switch, atomic=False),
    "switch on clusters of their own": Story(on_clusters_of_their_own(waiting), switch),
    "rollback": Story(two, rollback),
    "rollback while Flink is down": Story(two, rollback_while_flink_is_down),
    "rollback without a transaction over tables": Story(two, rollback, atomic=False),
    "rollback on clusters of their own": Story(on_clusters_of_their_own(two), rollback),
    "abort": Story(replaying, abort),
    "abort on a cluster of its own": Story(on_clusters_of_their_own(replaying), abort),
    "abort what waits for a person": Story(waiting, abort),
    "retire": Story(two, retire),
    "retire on a cluster of its own": Story(on_clusters_of_their_own(two), retire),
    "remove": Story(two, remove),
    "remove while a candidate replays": Story(replaying, remove),
    "remove a product on clusters of its own": Story(on_clusters_of_their_own(two), remove),
    "remove all but the tables": Story(two, remove_but_tables),
    "a shadow": Story(deployed, shadow),
    "a shadow of the schedule": Story(
        deployed, verification_is_due, command=False, leaves_nothing=True
    ),
    "a shadow of the schedule on a cluster of its own": Story(
        on_clusters_of_their_own(deployed), verification_is_due, command=False, leaves_nothing=True
    ),
    "new checks of the same rows": Story(deployed, checks_come_later),
    "resume": Story(two, lost_jobs, command=False),
    "resume on a new cluster": Story(
        on_clusters_of_their_own(deployed), lost_cluster, command=False
    ),
    "start over": Story(deployed, lost_job_and_checkpoints, command=False),
    "start the candidate over": Story(replaying, lost_job_and_checkpoints, command=False),
    "a candidate fails": Story(replaying, failed_candidate, command=False),
    "checks fail": Story(replaying, failing_checks, command=False),
    "somebody drops a branch": Story(waiting, dropped_branch, command=False),
    "old snapshots go": Story(deployed, time_goes_by, command=False),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_killed_at_every_boundary_it_comes_to_the_same_end(story: Story) -> None:
    end, boundaries = record(story)
    assert len(boundaries) > 5
    for boundary in boundaries:
        carry_on(boundary.left, story, end, boundary.commanded, f"killed at {boundary.where}")


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_frozen_at_every_boundary_it_changes_nothing_when_it_thaws(story: Story) -> None:
    end, boundaries = record(story)
    for position in range(1, boundaries[-1].position + 1):
        assert freeze_at(story, position, end) or story.leaves_nothing


# Clocks that jump


@dataclass
class Jump:
    """At the nth boundary somebody sets the clock of the database."""

    scene: Scene
    at: int
    seconds: float
    passed: int = 0

    def __call__(self, where: str) -> bool:
        self.passed += 1
        if self.passed == self.at:
            self.scene.wall.ahead = self.seconds
        return False


class Tidied(dict[str, Any]):
    """An outcome, or the same with fewer files that nothing needs."""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, dict)
            and set(other["files"]) <= set(self["files"])
            and {**other, "files": self["files"]} == dict(self)
        )

    __hash__ = None


def jumps(position: int) -> float:
    """Forward and back by turns."""
    return HOUR if position % 2 else -HOUR


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_clock_that_jumps_by_an_hour_anywhere_changes_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the database's nor, if anybody should ask it, the process's own."""
    end, boundaries = record(story)
    for position in range(1, boundaries[-1].position + 1):
        scene = _stage(story.before, story.atomic).copied()
        jump = Jump(scene, position, jumps(position))
        monkeypatch.setattr(
            time, "time", lambda ahead=jump.seconds, wall=scene.wall: wall() - 2 * ahead
        )
        scene.platform.die_at = jump
        loop = scene.process("first", jump)
        story.happens(loop, scene.platform)
        for _ in range(TURNS):
            pass_time(scene, loop)
        assert jump.passed >= position
        assert scene.outcome() == end, f"{jump.seconds:+.0f} s at {position}"
        assert steps_back(scene) == story.back


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_killed_while_the_clock_jumps_by_an_hour_it_comes_to_the_same_end(story: Story) -> None:
    """What is due some time is due an hour later then, and what may go after a while may go already."""
    end, boundaries = record(story)
    for boundary in boundaries:
        scene = boundary.left
        scene.wall.ahead = jumps(boundary.position)
        carry_on(
            scene,
            story,
            Tidied(end),
            boundary.commanded,
            f"killed and set at {boundary.where}",
            hours=1,
        )


def test_a_candidates_deadline_is_a_time_that_passes_whatever_clocks_say() -> None:
    """Half an hour of patience, of which ten minutes have passed."""
    for ahead in (HOUR, -HOUR):
        scene = Scene.new()
        scene.platform.speed = 0
        loop = scene.process("first")
        deploy(loop, scene.platform, deadline=loop.now() + HOUR / 2)
        for minute in range(40):
            scene.clock.time += 60
            scene.wall.ahead = ahead if minute >= 10 else 0.0
            pass_time(scene, loop)
            over = (
                scene.store.load("flights").attempts[0].stop
                or scene.store.load("flights").attempts[0].ended
            )
            assert bool(over) == (scene.clock.time - 1_000.0 > HOUR / 2), (
                f"{ahead:+.0f} s, minute {minute}"
            )
