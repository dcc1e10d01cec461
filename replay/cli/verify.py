"""What `kappa verify` does, apart from its arguments: replay what readers see as a shadow, compare, clean up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import typer
from rich.console import RenderableType

from jobs.product.model import seconds
from replay.cli import diff as run_diff
from replay.cli.control import carry_on
from replay.cli.deploy import Follow
from replay.cli.interrupt import say
from replay.cli.progress_display import Display, display
from replay.controller import intents, preflight, verify
from replay.controller.compare import compare
from replay.controller.loop import Loop, WaitForLease
from replay.controller.platform import Platform
from replay.controller.verify import Plan, Terms, Verdict
from replay.core.model import Attempt, State
from replay.errors import KappaError, OutcomeUnknownError, RetryableError
from replay.offsets import Offsets
from replay.output import Output, View, err, show
from replay.settings import Settings, load_settings
from replay.store.store import Store


def run(name: str, parallelism: int | None, dry_run: bool, output: Output) -> None:
    """Replay, compare, clean up; KappaError when a row differs."""
    settings = load_settings()
    platform = Platform(settings)
    work = Verification(settings, platform, Loop(platform, Store(settings.store)))
    if dry_run:
        todo = work.plan(name, parallelism)
        data = {
            "product": name,
            "dry_run": True,
            "would_do": todo.sentence,
            "shadow": todo.shadow.name,
            "parallelism": todo.shadow.parallelism,
        }
        show(View(data, f"would do: {todo.sentence}"), output)
        return
    begun = time.monotonic()
    try:
        with display(output) as shown:
            verdict = work.verdict(name, parallelism, shown)
    except KeyboardInterrupt:
        say(
            f"detached: the shadow keeps running. Follow it again with: kappa verify {name}\n"
            f"or end it: kappa abort {name}",
        )
        raise typer.Exit(130) from None
    show(view(verdict, time.monotonic() - begun), output)
    work.clean(verdict.shadow)
    if error := verdict.error():
        raise error


class Verification:
    """One `kappa verify`, in steps."""

    def __init__(
        self,
        settings: Settings,
        platform: Platform,
        loop: Loop,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings, self.platform, self.loop, self.sleep = settings, platform, loop, sleep
        self.store = loop.store

    def plan(self, name: str, parallelism: int | None) -> Plan:
        """What it would do."""
        state = self.store.load(name)
        own = self.platform.clusters is not None and bool(self.store.on_session_cluster())
        todo = verify.plan(
            state, Terms(parallelism, own_cluster=own), self.loop.now(), uuid.uuid4().hex
        )
        product = self.platform.product(todo.shown, state)
        if not todo.new:
            return todo
        deadline = self.loop.now() + seconds(product.settings.deadline)
        return replace(todo, shadow=replace(todo.shadow, deadline=deadline))

    def verdict(self, name: str, parallelism: int | None, shown: Display) -> Verdict:
        """Begin a verification or continue one, follow it, and compare.

        The shadow is stopped afterwards, and also when nothing can be compared. It is kept when repeating the command
        may succeed later.
        """
        shadow, target = self._begin(name, parallelism, shown)
        try:
            follow = Follow(self.loop, self.platform, target, shown, self.sleep, moving=False)
            follow.until(shadow, verify.comparable(target))
            shown.say(f"comparing {shadow.name} with what readers see")
            verdict = compare(self.settings, self.platform, self.store.load(name), shadow.name)
        except (RetryableError, OutcomeUnknownError):
            raise
        except KappaError as e:
            self._stop(shadow, e.message)
            raise
        if not verdict.rows and (error := verdict.error()):
            raise error
        with WaitForLease(self.loop, name) as lease:
            stopped = verdict.stopped
            now = self.store.load(name).attempt(shadow.name)
            self.store.note(
                lease,
                verdict.event(self.loop.now()),
                replace(now, stop=now.stop or stopped.stop, error=now.error or stopped.error),
            )
        return verdict

    def clean(self, shadow: Attempt) -> None:
        """Pass over the product until nothing is left of the shadow; the controller would do so without us."""
        err.print(f"stopping {shadow.name} and removing its branch and files", style="dim")
        try:
            carry_on(self.loop, shadow.product, intents.is_gone(shadow), self.sleep)
        except KeyboardInterrupt:
            err.print("detached: the controller removes it")
        except KappaError as e:  # what was found stands
            err.print(f"the controller removes it later: {e.message}")

    def _begin(self, name: str, parallelism: int | None, shown: Display) -> tuple[Attempt, Offsets]:
        first = self.plan(name, parallelism)
        if first.new:
            state = self.store.load(name)
            product = self.platform.product(first.shown, state)
            preflight.refuse_replay(self.settings, self.platform, product, first.shadow, state)
        with WaitForLease(self.loop, name) as lease:
            todo = self.plan(name, parallelism)
            published = self.store.load(name).published
            assert published is not None
            if todo.new or todo.shadow.scheduled:
                # one that the schedule began is this command's from now on
                self.store.save(lease, replace(todo.shadow, scheduled=False))
        shown.say(todo.sentence)
        return todo.shadow, published.covered

    def _stop(self, shadow: Attempt, why: str) -> None:
        with WaitForLease(self.loop, shadow.product) as lease:
            now = self.store.load(shadow.product).attempt(shadow.name)
            if not (now.stop or now.ended):
                self.store.save(lease, replace(now, stop=State.aborted, error=why))


def view(verdict: Verdict, took: float) -> View:
    """Both sides, what differs, and whether the rows are equal; `took` is in seconds."""
    shadow, shown = verdict.shadow, verdict.shown
    text: list[RenderableType] = [
        f"{shadow.product}: {shown.name}, checkpoint {verdict.published.checkpoint}, as readers see it, against "
        f"its replay {shadow.name}, checkpoint {verdict.checkpoint}",
        *run_diff.in_text(verdict.report),
    ]
    if not verdict.error():
        text.append(
            f"verified: {verdict.rows:,} rows are equal, {verdict.parallelisms} ({took:.0f} s)"
        )
    return View({**as_dict(verdict), "seconds": round(took, 1)}, text)


def as_dict(verdict: Verdict) -> Mapping[str, Any]:
    """For --output json."""
    return {
        "shown": verdict.shown.name,
        "shown_checkpoint": verdict.published.checkpoint,
        "shown_parallelism": verdict.shown.parallelism,
        "shadow": verdict.shadow.name,
        "shadow_checkpoint": verdict.checkpoint,
        "shadow_parallelism": verdict.shadow.parallelism,
        "rows": verdict.rows,
        **verdict.report.as_dict(),
    }
