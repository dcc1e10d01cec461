"""Random histories of two controllers, and a checker of everything that a reader sees in each of them.

At every effect and every write to the store a process may be killed, frozen while others go on, get no answer though
the effect happened, or find the disk full. Clocks are set, clusters and jobs are lost, submissions come late, people
give commands and meddle. Then all of it ends, and the controllers have to come to rest without hands.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from replay.controller import intents
from replay.controller.job_rules import LOST_ANSWER_SECONDS
from replay.controller.loop import LEASE_SECONDS, ControlledPlatform, Loop
from replay.core.model import Attempt, Check, Move, ProductState, State
from replay.core.observed import SubmissionStatus
from replay.core.steps import Blocked
from replay.errors import KappaError, OutcomeUnknownError, RetryableError
from replay.store.steady_clock import SteadyClock
from replay.store.store import Store
from tests.unit.control_platform import (
    Clock,
    DiedError,
    FakeJob,
    FakePlatform,
    OneProcess,
    Wall,
    leftovers,
)
from tests.unit.control_steps import deploy, verify, want
from tests.unit.fake_lake import GENESIS, MAIN, TABLES, FakeLake, Snapshot
from tests.unit.memory_store import MemoryStore

FAULTS = ("killed", "frozen", "no answer")
"""At any boundary; before and in the middle of an effect the disk may be full, too."""
WRITES = (
    "acquire",
    "renew",
    "give_back",
    "add_release",
    "save",
    "note",
    "begin_publication",
    "finish_publication",
    "drop_publication",
)
ACTIONS = 14
"""Of a history, before all disturbance ends."""


class BrokenError(AssertionError):
    """A reader saw, or the controllers did, what must not be."""


class Moves(list[tuple[dict[str, int], dict[str, int]]]):
    """Every move of `main`, told at the instant when readers can see it."""

    def __init__(self, tell: Callable[[dict[str, int], dict[str, int]], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, move: tuple[dict[str, int], dict[str, int]]) -> None:
        super().append(move)
        self._tell(*move)


class Checker:
    """What readers saw so far, and whether it may be."""

    def __init__(self, platform: FakePlatform, store: MemoryStore, seen: Counter[str]) -> None:
        self._platform, self._store, self._seen = platform, store, seen
        self._shown: dict[str, int] = {}
        """By the last move of a controller, or of somebody who meddled."""
        self._attempts: set[str] = set()
        """Whose rows readers have seen."""

    def moved(self, before: dict[str, int], after: dict[str, int]) -> None:
        """A controller moved `main` of some tables: in the middle of it, or to its end."""
        self._seen["moves of main"] += 1
        if self._shown and before != self._shown:
            raise BrokenError(f"main was moved from {before}, and readers saw {self._shown}")
        intent = self._store.load("flights").unfinished
        if intent is None:
            raise BrokenError("main was moved by nobody's intent")
        for table, snapshot in after.items():
            if snapshot not in (intent.before[table], intent.after[table]):
                raise BrokenError(
                    f"main of {table} shows {snapshot}, which is neither end of {intent}"
                )
        if self._platform.lake.atomic and after != dict(intent.after):
            raise BrokenError(f"readers see two checkpoints at once: {after}")
        if intent.kind is not Move.rollback:
            for table in TABLES:
                self._not_back(self._of(before[table]), self._of(after[table]))
        if after == dict(intent.after):
            self._whole(intent.attempt_name, after)
            self._seen[f"moves of kind {intent.kind.value}"] += 1
            if intent.kind is Move.switch and after not in self._platform.passed:
                raise BrokenError(f"readers see {after}, which no check has passed")
            if intent.kind is not Move.switch and intent.attempt_name not in self._attempts:
                raise BrokenError(
                    f"{intent.kind.value} shows {intent.attempt_name} for the first time, unchecked"
                )
            self._attempts.add(intent.attempt_name)
        self._shown = dict(after)

    def meddled(self) -> None:
        """Somebody else moved `main`: from there it goes on."""
        self._shown = dict(self._platform.main_now)

    def look(self) -> None:
        """A reader at any other instant sees what the last move left."""
        now = self._platform.main_now
        if self._shown and now != self._shown:
            raise BrokenError(f"readers see {now}, and the last move left {self._shown}")
        state = self._store.load("flights")
        if sum(a.state is State.active for a in state.attempts) > 1:
            raise BrokenError("two attempts are active")

    def _of(self, snapshot: int) -> Snapshot:
        return self._platform.lake.snapshots[snapshot]

    def _not_back(self, before: Snapshot, after: Snapshot) -> None:
        if any(after.content.get(p, 0) < offset for p, offset in before.content.items()):
            raise BrokenError(
                f"readers of {after.table} go back from {before.content} to {after.content}"
            )

    def _whole(self, attempt: str, shown: dict[str, int]) -> None:
        snapshots = [self._of(s) for s in shown.values()]
        if len({(s.checkpoint, tuple(s.content.items())) for s in snapshots}) > 1:
            raise BrokenError(f"tables of {attempt} show different checkpoints: {snapshots}")
        if strange := [s for s in snapshots if s.writer != attempt or not s.whole]:
            raise BrokenError(
                f"readers of {attempt} see {strange[0]}, which has not each of its rows once"
            )


class Platform(FakePlatform):
    """What is on its way arrives some day, whoever runs by then: a job beside its successor, or one that was lost.

    Both are cancelled as soon as they are seen, and what they have written is found out before it is published.
    """

    seen: Counter[str]

    def _accept(self, attempt: Attempt) -> None:
        if attempt.job_id in self.jobs:
            self.refused_duplicates.append(attempt.job_id)
            return
        restored = next((k for k in self.kept if k.path == attempt.restore), None)
        if attempt.restore and restored is None:
            return  # it fails at once: another job has had that checkpoint removed
        self.seen["submissions that arrived"] += 1
        if any(j.branch == attempt.name and j.runs for j in self.jobs.values()):
            self.seen["two writers for a moment"] += 1
        ran = {s.job for s in self.lake.snapshots.values()} | {k.job for k in self.kept}
        if attempt.job_id in ran:
            self.seen["lost jobs that ran again"] += 1
        job = self.jobs[attempt.job_id] = FakeJob(attempt.name, attempt.cluster)
        self.submitted.append(attempt.job_id)
        if restored:
            job.number, job.read = restored.number, dict(restored.read)
            for table in TABLES:
                self._restore(table, restored, job)


class Faulty:
    """The store as one process has it: at every write something may go wrong."""

    def __init__(self, store: MemoryStore, gate: Callable[[str], None]) -> None:
        self._store, self._gate = store, gate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in WRITES:
            return method

        def write(*args: Any, **options: Any) -> Any:
            self._gate(f"before {name}")
            result = method(*args, **options)
            self._gate(f"after {name}")
            return result

        return write


@dataclass
class Controller:
    """One process, for as long as it lives."""

    loop: Loop
    dead: bool = False


class History:
    """One seed: a platform, two controllers, and what happens."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.seen: Counter[str] = Counter()
        self.clock = Clock()
        self.wall = Wall(self.clock)
        self.store = MemoryStore(self.wall)
        self.platform = Platform(
            self.clock,
            lake=FakeLake(atomic=self.chance.random() < 0.6),
            standbys=self.chance.randint(0, 2),
            speed=self.chance.choice([40, 200]),
            verify=self.chance.choice(["off", "off", "daily"]),
        )
        self.platform.seen = self.seen
        self.checker = Checker(self.platform, self.store, self.seen)
        self.platform.lake.moves = Moves(self.checker.moved)
        self.own = self.chance.random() < 0.4
        self.thread = threading.get_ident()
        self.acting: Controller | None = None
        self.quiet = True
        self.rate = self.chance.choice([0.01, 0.03, 0.08])
        """How often something goes wrong at an effect."""
        self.platform.die_at = self.at_effect
        self.made = 0
        self.controllers = [self.process(), self.process()]
        self.stolen: dict[str, int] | None = None
        self.adrift = False

    def run(self) -> Counter[str]:
        """The whole history; BrokenError when something was seen that must not be."""
        self.deploys(1)
        for _ in range(ACTIONS):
            self.action()()
            self.checker.look()
        self.come_to_rest()
        self.seen["histories"] += 1
        return self.seen

    # Processes, and what goes wrong in them

    def process(self) -> Controller:
        """With a clock that runs a little fast or slow, and begins anywhere."""
        self.made += 1
        begun, rate = self.chance.uniform(0, 1e6), self.chance.uniform(0.98, 1.02)
        clock = SteadyClock(self.store.seconds(), lambda: begun + rate * self.clock())
        process = Controller(cast(Loop, None))
        store = cast(Store, Faulty(self.store, lambda where: self.at_write(process, where)))
        process.loop = Loop(
            cast(ControlledPlatform, OneProcess(self.platform)),
            store,
            clock,
            holder=f"p{self.made}",
        )
        return process

    def at_effect(self, where: str) -> bool:
        """At a boundary of an effect in the platform."""
        self.seen["boundaries"] += 1
        self.checker.look()
        process = self.acting
        if process is None or self.quiet or threading.get_ident() != self.thread:
            return False
        return self.goes_wrong(process, where)

    def at_write(self, process: Controller, where: str) -> None:
        """At a boundary of a write to the store."""
        if threading.get_ident() != self.thread:
            return
        if process.dead:
            raise DiedError(where)
        self.seen["boundaries"] += 1
        if not self.quiet and process is self.acting and self.goes_wrong(process, where):
            raise DiedError(where)

    def goes_wrong(self, process: Controller, where: str) -> bool:
        """Whether the process dies here; or an error, or a pause in which others act."""
        # Between a look at the lease and what depends on it is no boundary: nothing outside knows our fencing token.
        if self.chance.random() > self.rate or where == "after renew":
            return False
        when, _, what = where.partition(" ")
        fault = self.chance.choice(FAULTS if when == "after" else (*FAULTS, "disk full"))
        self.seen[f"{fault} {when}" if fault in ("no answer", "disk full") else fault] += 1
        match fault:
            case "killed":
                process.dead = True
                return True
            case "frozen":
                self.others_go_on(process)
            case "disk full":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "no answer" if when == "after" and what in (*WRITES, "publish"):
                raise OutcomeUnknownError("an answer was lost", expected="an answer", found="none")
            case _:
                raise RetryableError("no answer", expected="an answer", found="none")
        return False

    def others_go_on(self, process: Controller) -> None:
        """Until the lease of the frozen one has expired, or not as long."""
        self.clock.time += self.chance.choice([1, LEASE_SECONDS + 2, LOST_ANSWER_SECONDS + 5])
        self.chance.choice([self.platform.complete_checkpoint, self.platform.settle])()
        quiet = self.quiet
        for _ in range(self.chance.choice([1, 1, 3])):
            self.acting = None
            if self.chance.random() < 0.4:
                self.asks(lambda loop: want(loop, self.wish()))
            if other := next((c for c in self.controllers if c is not process), None):
                self.passes(other, 4)
        self.acting, self.quiet = process, quiet

    def passes(self, process: Controller, times: int) -> None:
        """As the service makes them: whatever is raised, it goes on; a dead process is followed by another one."""
        before, self.acting = self.acting, process
        try:
            for _ in range(times):
                try:
                    if process.loop.run_once("flights").idle:
                        return
                except BrokenError:
                    raise
                except DiedError:
                    self.controllers = [
                        self.process() if c is process else c for c in self.controllers
                    ]
                    return
                except AssertionError:
                    raise
                except Exception:  # noqa: BLE001  as Service does
                    self.seen["passes that failed"] += 1
                    return
        finally:
            self.acting = before

    # What happens

    def action(self) -> Callable[[], object]:
        actions: list[Callable[[], object]] = [
            self.goes_on,
            self.deploys,
            self.commands,
            self.trouble,
            self.trouble_ends,
            self.submission,
            self.clock_jumps,
            self.meddles,
            self.verifies,
            self.late_checkpoint,
        ]
        return self.chance.choices(actions, [30, 12, 14, 14, 10, 10, 6, 5, 3, 8])[0]

    def goes_on(self, times: int = 3) -> None:
        """Time, records, checkpoints, passes of both."""
        self.quiet = False
        for _ in range(times):
            self.clock.time += self.chance.choice([1, 5, 5, 30])
            self.platform.ends_now["flights"][self.chance.randint(0, 1)] += self.chance.choice(
                [0, 0, 9]
            )
            self.platform.complete_checkpoint()
            for process in self.chance.sample(self.controllers, 2):
                self.passes(process, 5)
        self.quiet = True

    def deploys(self, release: int = 0) -> None:
        release = release or self.chance.randint(1, 3)
        deadline = self.clock() + 60 if self.chance.random() < 0.2 else None
        self.asks(
            lambda loop: deploy(
                loop,
                self.platform,
                release=release,
                auto_switch=self.chance.random() < 0.8,
                again=self.chance.random() < 0.3,
                own=self.own,
                deadline=deadline,
            )
        )
        self.goes_on()

    def commands(self) -> None:
        self.asks(lambda loop: want(loop, self.wish()))
        self.goes_on(2)

    def wish(self) -> Callable[[ProductState], intents.Intent]:
        wishes: list[Callable[[ProductState], intents.Intent]] = [
            lambda s: intents.switch(s, None),
            lambda s: intents.rollback(s, None),
            lambda s: intents.abort(s, "me"),
            lambda s: intents.retire(s, None),
        ]
        return self.chance.choices(wishes, [2, 5, 1, 1])[0]

    def verifies(self) -> None:
        self.asks(verify)

    def asks(self, act: Callable[[Loop], object]) -> None:
        """A command waits for the lease of somebody who died; it may be refused, fail or be killed."""
        self.clock.time += LEASE_SECONDS + 1
        self.acting = self.process()
        self.quiet = self.chance.random() < 0.5
        try:
            act(self.acting.loop)
            self.seen["commands"] += 1
        except (KappaError, OSError, DiedError):
            self.seen["commands that failed"] += 1
        finally:
            self.acting, self.quiet = None, True

    def late_checkpoint(self) -> None:
        """One table commits later than the other, or the position is not known yet."""
        if jobs := [i for i, j in self.platform.jobs.items() if j.status == "RUNNING"]:
            self.platform.settle()
            self.platform.checkpoint_of(
                self.chance.choice(jobs),
                late=(self.chance.choice(TABLES),),
                write_position=self.chance.random() < 0.5,
            )

    def submission(self) -> None:
        """What happens to the next one; and a reason for one."""
        seconds = self.chance.uniform(1, LOST_ANSWER_SECONDS - 1)
        how = self.chance.choice(["lost", "never", "late", "minutes", "very late"])
        self.seen[f"submission: {how}"] += 1
        if how == "never":
            self.platform.submit_fails = [SubmissionStatus(trouble="no answer")]
        else:
            self.platform.late_submissions = [
                {
                    "lost": (1.0, 0.0),
                    "late": (0.0, seconds),
                    "minutes": (200.0, seconds),
                    "very late": (0.0, 2 * LOST_ANSWER_SECONDS),
                }[how]
            ]
        if self.chance.random() < 0.5:
            self.platform.lose_jobs(self.chance.choice(["", *sorted(self.platform.clusters)]))
            self.goes_on()
        else:
            self.deploys()

    def trouble(self) -> None:
        platform = self.platform
        jobs = [j for j in platform.jobs.values() if j.status == "RUNNING"]
        clusters = sorted(platform.clusters)
        what = self.chance.choice(
            [
                "down",
                "jobs",
                "cluster",
                "silent",
                "job fails",
                "job restarts",
                "no room",
                "checks",
                "retention",
                "group",
            ]
        )
        self.seen[f"trouble: {what}"] += 1
        match what:
            case "down":
                platform.down = True
            case "jobs":
                platform.lose_jobs(self.chance.choice(["", *clusters]))
            case "cluster" if clusters:
                platform.lose_cluster(self.chance.choice(clusters))
            case "silent" if clusters:
                platform.silent.add(self.chance.choice(clusters))
            case "job fails" if jobs:
                self.chance.choice(jobs).status = self.chance.choice(["FAILED", "CANCELED"])
            case "job restarts" if jobs:
                self.chance.choice(jobs).restarts += self.chance.randint(1, 30)
            case "no room":
                platform.no_room = True
            case "checks":
                platform.complaints = [Check("checks/x.sql", True, 1)]
            case "retention":
                platform.problems = ["topic flights: retention.ms=1000"]
            case "group" if platform.groups:
                del platform.groups[self.chance.choice(sorted(platform.groups))]

    def trouble_ends(self) -> None:
        platform = self.platform
        platform.down = platform.no_room = False
        platform.silent, platform.complaints, platform.problems = set(), [], []

    def clock_jumps(self) -> None:
        """Of the database's machine."""
        self.seen["clock jumps"] += 1
        self.wall.ahead = self.chance.uniform(-3600, 3600)

    def meddles(self) -> None:
        """Somebody moves main and perhaps puts it back, or drops a branch."""
        lake = self.platform.lake
        if not self.platform.published:
            return
        self.seen["meddling"] += 1
        if self.chance.random() < 0.5:
            before = dict(self.platform.main_now)
            table = self.chance.choice(TABLES)
            lake.refs[table, MAIN] = self.chance.choice(
                [s.id for s in lake.snapshots.values() if s.table == table]
            )
            self.checker.meddled()
            moved = dict(self.platform.main_now)
            self.goes_on(1)
            if self.platform.main_now == moved:
                self.platform.main_now = before
                self.checker.meddled()
        elif names := sorted({b for _, b in lake.refs} - {MAIN, GENESIS}):
            self.adrift = True
            lake.refs.pop((self.chance.choice(TABLES), self.chance.choice(names)), None)

    # The end

    def come_to_rest(self) -> None:
        """Nothing disturbs it any more: readers at the log's end, nothing left behind, nobody's hands."""
        self.trouble_ends()
        platform = self.platform
        platform.submit_fails, platform.late_submissions = [], []
        self.wall.ahead = 0.0
        self.quiet = True
        for _ in range(120):
            self.clock.time += 10
            platform.complete_checkpoint()
            for process in self.controllers:
                self.passes(process, 8)
            self.checker.look()
            if self.at_rest():
                return
        state = self.store.load("flights")
        if left := self.left(state):
            raise BrokenError(f"left behind: {left}")
        pass_ = self.controllers[0].loop.run_once("flights")
        raise BrokenError(
            f"not at rest: {pass_.step}; {[(a.name, a.state, a.stop, a.error) for a in state.attempts]}"
        )

    def at_rest(self) -> bool:
        state, platform = self.store.load("flights"), self.platform
        if state.unfinished or isinstance(
            self.controllers[0].loop.run_once("flights").step, Blocked
        ):
            return False
        shown = state.published
        name = shown.attempt_name if shown else None
        settled = (State.active, State.standby, State.audited)
        at_end = (
            shown
            and shown.covered["flights"] == platform.ends_now["flights"]
            and (dict(shown.after) == platform.main_now)
        )
        rests = (
            all(a.cleaned or a.name == name for a in state.attempts if a.ended)
            and all(
                a.state in settled or (a.shadow and not a.scheduled and a.state is State.caught_up)
                for a in state.live
            )
            and not any(a.stop or a.promote for a in state.live)
            and sorted(j.branch for j in platform.jobs.values() if j.runs)
            == sorted(a.name for a in state.live)
            and (state.active is None or (state.active.name == name and bool(at_end)))
        )
        return rests and not self.left(state)

    def left(self, state: ProductState) -> list[str]:
        """What there is of cleaned attempts: what readers saw until a switch goes with what is expired next."""
        return [
            f
            for a in state.attempts
            if a.cleaned
            for f in leftovers(self.platform, a, adrift=self.adrift)
        ]


def run(seed: int) -> Counter[str]:
    """One history, by its seed."""
    try:
        return History(seed).run()
    except AssertionError as e:
        raise BrokenError(f"history {seed}: {e}") from e
