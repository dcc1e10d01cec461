"""`kappa deploy`: check, preflight, build, record the attempt; the loop does the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.product import Product
from replay import log, offsets
from replay.act import new_attempt
from replay.decide import Blocked
from replay.errors import ConfigError, ConflictError, KappaError, RefusedError, RetryableError
from replay.flink import Slots, submit_env
from replay.loop import Loop, Pass
from replay.model import Attempt, ProductState, Release, State
from replay.offsets import Offsets
from replay.release import Build, build, find_folder, is_built, next_release
from replay.settings import Settings
from replay.store import Lease
from replay.world import World, read_product


@dataclass(frozen=True)
class Plan:
    """What a deploy writes: perhaps a release, perhaps a new attempt and the ones that it supersedes."""

    attempt: Attempt
    """The one to follow."""
    release: Release | None = None
    """Not recorded yet."""
    changed: tuple[Attempt, ...] = ()
    """To be saved: the new attempt and superseded ones; empty when there is nothing to begin."""


def plan(state: ProductState, release: Release, parallelism: int | None, default_parallelism: int, again: bool,
         now: float, job_id: str) -> Plan:
    """Follow the release's running attempt if there is one, else begin another and supersede other candidates."""
    known = release in state.releases
    running = [a for a in state.live if a.release == release.number and not a.stop and a.state is not State.standby]
    fitting = [a for a in running if parallelism in (None, a.parallelism)]
    if known and fitting and not again:
        return Plan(fitting[-1])
    new = new_attempt(state, release.number, parallelism or default_parallelism, now, job_id)
    superseded = [replace(a, stop=State.aborted, error=f"superseded by {new.name}") for a in state.live
                  if a.state in (State.built, State.replaying, State.caught_up, State.audited) and not a.stop]
    return Plan(new, None if known else release, (*superseded, new))


@dataclass(frozen=True)
class Request:
    """The arguments of `kappa deploy`."""

    name: str
    source: Path | None = None
    parallelism: int | None = None
    again: bool = False


class Deploy:
    """One `kappa deploy`, in steps that a display can name."""

    def __init__(self, settings: Settings, world: World, loop: Loop) -> None:
        self.settings = settings
        self.world = world
        self.loop = loop

    def begin(self, request: Request, job_id: str, say: Callable[[str], None]) -> tuple[Plan, Offsets]:
        """Check and record; the plan, and the ends of the log that are to be published."""
        product = read_product(find_folder(request.name, request.source))
        if product.name != request.name:
            raise ConfigError(f"{product.folder} is another product", expected=f"name: {request.name} in product.yaml",
                              found=f"name: {product.name}",
                              next=f"kappa deploy {product.name} --from {product.folder}")
        slots = self.world.slots()  # the cheapest question first: is the stack up?
        preflight_log(self.settings, product)
        reference = self._reference(product)
        if not is_built(self.settings, product):
            say("checking the SQL with Flink's planner")
            refuse_problems(check(product.folder, self.settings))
        built = build(self.settings, product)
        with self._leased(product.name) as lease:
            state = self.loop.store.load(product.name)
            now = self.loop.now()
            release = next_release(state.releases, product.name, built, reference, now)
            todo = plan(state, release, request.parallelism, product.settings.parallelism, request.again, now, job_id)
            if todo.changed:
                need_slots(slots, todo)
                if todo.release:
                    self.loop.store.add_release(lease, todo.release)
                self.loop.store.save(lease, *todo.changed)
        target = offsets.replaced(self.world.ends(product), release.reference_offsets)
        say(_begun(todo, built, bool(state.attempts)))
        return todo, target

    def _reference(self, product: Product) -> dict[str, dict[int, int]]:
        ends = self.world.reference_ends(product)
        if empty := sorted(t for t, partitions in ends.items() if not any(partitions.values())):
            raise RefusedError(
                f"there is no reference data in {', '.join(empty)}, and a release reads what is there when built",
                expected="records", found="none",
                next=f"kappa load {product.name}")
        return {t: dict(p) for t, p in ends.items()}

    def _leased(self, product: str) -> _Patience:
        return _Patience(self.loop, product)


class _Patience:
    """The product's lease, waited for: the other controller holds it only while it acts."""

    def __init__(self, loop: Loop, product: str, seconds: float = 60,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._loop, self._product, self._seconds, self._sleep = loop, product, seconds, sleep
        self._held: Any = None

    def __enter__(self) -> Lease:
        deadline = self._loop.now() + self._seconds
        while True:
            self._held = self._loop.leased(self._product)
            lease: Lease | None = self._held.__enter__()
            if lease:
                return lease
            if self._loop.now() > deadline:
                raise RetryableError(f"another controller is busy with {self._product}",
                                     expected="its lease to be given back", found=f"held for {self._seconds:.0f} s",
                                     next=f"kappa deploy {self._product}")
            self._sleep(0.2)

    def __exit__(self, *error: Any) -> None:
        self._held.__exit__(*error)


def follow(attempt: Attempt, state: ProductState) -> Attempt:
    """The attempt as it is now, or the one that took its place when the cluster lost it."""
    now = state.attempt(attempt.name)
    successors = [a for a in state.attempts if a.release == now.release and a.number > now.number]
    return successors[-1] if now.state is State.failed and successors else now


def finished(attempt: Attempt, state: ProductState, target: Offsets) -> bool:
    """Whether readers see the attempt at the target, or raise why they never will."""
    if attempt.state is State.failed:
        raise KappaError(f"{attempt.product} {attempt.name} failed; readers see what they saw before",
                         found=attempt.error, next=f"mend the cause, then: kappa deploy {attempt.product}")
    if attempt.stop or attempt.ended:
        raise ConflictError(f"{attempt.product} {attempt.name} was given up",
                            found=attempt.error or attempt.state.value,
                            next=f"kappa attempts {attempt.product}")
    shown = state.published
    return (attempt.state is State.active and shown is not None and shown.attempt_name == attempt.name
            and offsets.covers(shown.covered, target))


def refuse_blocked(done: Pass) -> None:
    """ConflictError when a person has to look."""
    if isinstance(done.step, Blocked):
        b = done.step
        raise ConflictError(b.message, expected=b.expected, found=b.found, next=b.next)


def check(folder: Path, settings: Settings | None) -> dict[str, Any]:
    """Flink's own planner on a product, in a process of its own: {"ok", "problems", "plan"}."""
    env = {**os.environ, **(submit_env(settings) if settings else {})}
    env.pop("PYTHONPATH", None)
    result = subprocess.run([sys.executable, "-m", "jobs.check", str(folder), "--json"], capture_output=True, text=True,
                            env=env)
    for line in reversed(result.stdout.splitlines()):
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer
    raise KappaError("the check did not finish", expected="an answer of `python -m jobs.check`",
                     found=(result.stderr or result.stdout).strip()[-800:], next="kappa doctor")


def refuse_problems(answer: dict[str, Any]) -> None:
    """RefusedError that lists every construct that must not be deployed."""
    if answer["ok"]:
        return
    lines = [f"{p['file']}:{p['line']}: {p['construct']}\n      write instead: {p['instead']}"
             for p in answer["problems"]]
    raise RefusedError("this product cannot be deployed:\n    " + "\n    ".join(lines),
                       next="mend these, then: kappa check FOLDER")


def preflight_log(settings: Settings, product: Product) -> None:
    """RefusedError when the log is not whole, RetryableError when the broker or the registry is down."""
    if problems := log.check_whole_log(settings, product):
        first = problems[0]
        others = "".join(f"\n    {p}" for p in problems[1:])
        raise RefusedError(f"the log of {product.name} is not whole: topic {first.topic}", expected=first.expected,
                           found=f"{first.found}{others}", next=first.next)


def need_slots(slots: Slots, todo: Plan) -> None:
    """RefusedError when the cluster has no room for the new attempt."""
    freed = sum(a.parallelism for a in todo.changed if a.stop and a.confirmed)
    if slots.free + freed < todo.attempt.parallelism:
        raise RefusedError("Flink has too few free task slots", expected=f"{todo.attempt.parallelism} free slots",
                           found=f"{slots.free} free of {slots.total}",
                           next=f"kappa deploy {todo.attempt.product} --parallelism {max(1, slots.free)}  "
                                "(or cancel a job in Flink's web page)" if slots.free else "kappa status")


def _begun(todo: Plan, built: Build, redeploy: bool) -> str:
    a = todo.attempt
    commit = f", git {built.git_commit[:12]}" if built.git_commit else ""
    what = f"{a.product} {a.name} (release {built.fingerprint[:12]}{commit})"
    if todo.changed:
        return f"{what}: replaying from offset zero, parallelism {a.parallelism}"
    if a.state is State.active:
        return f"{what} is active already: nothing to deploy (--again makes a new attempt)"
    return f"{what} is under way: following it"
