"""What `kappa switch | rollback | abort | retire` do, apart from their arguments."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable

import typer

from replay import offsets
from replay.cli import interrupt
from replay.cli.progress import long_step
from replay.controller import intents
from replay.controller.deploy import refuse_blocked
from replay.controller.intents import Intent
from replay.controller.loop import Loop, WaitForLease
from replay.controller.pass_log import without_numbers
from replay.controller.platform import Platform
from replay.controller.watching import Watcher
from replay.core.model import Attempt, ProductState
from replay.core.steps import Step, Wait
from replay.errors import RetryableError
from replay.output import Output, View, err, out, show, waiting
from replay.settings import load_settings
from replay.store.store import Store

POLL_SECONDS = 0.2
MOST_TRIES = 300
PART_SECONDS = 3.0
WAIT_SECONDS = 3.0


def switch(name: str, target: str | None, dry_run: bool, output: Output) -> None:
    """Show readers another attempt."""
    _carry_out(name, lambda s: intents.switch(s, target), intents.is_shown, dry_run, output)


def rollback(name: str, target: str | None, dry_run: bool, output: Output) -> None:
    """Show readers an attempt on standby at once."""
    _carry_out(name, lambda s: intents.rollback(s, target), intents.is_shown, dry_run, output)


def abort(name: str, dry_run: bool, output: Output) -> None:
    """End the candidate."""
    by = getpass.getuser()
    _carry_out(name, lambda s: intents.abort(s, by), intents.is_gone, dry_run, output)


def retire(name: str, target: str | None, dry_run: bool, output: Output) -> None:
    """End an attempt on standby."""
    _carry_out(name, lambda s: intents.retire(s, target), intents.is_gone, dry_run, output)


def _carry_out(
    name: str,
    wish: Callable[[ProductState], Intent],
    done_when: Callable[[Attempt], Callable[[ProductState], bool]],
    dry_run: bool,
    output: Output,
) -> None:
    """Save the intent, and pass over the product until it is carried out; the controller would do so without us."""
    settings = load_settings()
    store = Store(settings.store)
    platform = Platform(settings)
    loop = Loop(platform, store)
    begun = time.monotonic()

    def say(text: str) -> None:
        if output is Output.text:
            out.print(text, soft_wrap=False)

    loop.watcher = told = StepReporter(say)
    platform.tell = told.part
    if dry_run:
        before = store.load(name)
        intent = wish(before)
    else:
        before, intent = intend(loop, name, wish)
    say(f"would do: {intent.sentence}" if dry_run and intent.changed else intent.sentence)
    try:
        after = before
        if intent.changed and not dry_run:
            with waiting("under way", out if output is Output.text else err):
                after = carry_on(loop, name, done_when(intent.attempt), waits=told.waits)
    except KeyboardInterrupt:
        interrupt.say(
            f"detached: the controller carries it out. See its state with: kappa status {name}"
        )
        raise typer.Exit(130) from None
    show(report(intent, before, after, time.monotonic() - begun, dry_run), output)


class StepReporter(Watcher):
    """Tells of what takes long while a person waits for a command: steps, their parts, and what is waited for."""

    def __init__(
        self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._now = say, now
        self._said_at = now()
        self._waits, self._since, self._is_told = "", now(), False

    def begins_step(self, product: str, step: Step) -> None:
        if words := long_step(step):
            self._tell(words)

    def part(self, text: str) -> None:
        """A part of the step: not of those that follow each other fast."""
        if self._now() - self._said_at >= PART_SECONDS:
            self._tell(text)

    def waits(self, reason: str) -> None:
        """What is waited for, once that takes longer than a moment."""
        kind = without_numbers(reason)
        if kind != self._waits:
            self._waits, self._since, self._is_told = kind, self._now(), False
        elif not self._is_told and self._now() - self._since >= WAIT_SECONDS:
            self._is_told = True
            self._tell(reason)

    def _tell(self, text: str) -> None:
        self._said_at = self._now()
        self._say(f"  {text}")


def intend(
    loop: Loop,
    name: str,
    wish: Callable[[ProductState], Intent],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[ProductState, Intent]:
    """Save the intent once no publication is unfinished: until then it is not certain what readers see."""
    for _ in range(MOST_TRIES):
        with WaitForLease(loop, name) as lease:
            before = loop.store.load(name)
            if not before.unfinished:
                intent = wish(before)
                if intent.changed:
                    loop.store.save(lease, intent.attempt)
                return before, intent
        done = loop.run_once(name)
        refuse_blocked(done)
        if done.idle:
            sleep(POLL_SECONDS)
    raise RetryableError(
        f"a publication of {name} does not finish",
        expected="it to be finished",
        found=f"unfinished after {MOST_TRIES} passes",
        next="kappa status, then repeat the command",
    )


def carry_on(
    loop: Loop,
    name: str,
    done: Callable[[ProductState], bool],
    sleep: Callable[[float], None] = time.sleep,
    waits: Callable[[str], None] = lambda reason: None,
) -> ProductState:
    """Passes over a product until it is so; its state then. ConflictError when a person has to look.

    `waits` is told at each look what is waited for.
    """
    while not done(state := loop.store.load(name)):
        step = loop.run_once(name)
        refuse_blocked(step)
        if isinstance(step.step, Wait):
            waits(step.step.reason)
        if step.idle:
            sleep(POLL_SECONDS)
    return state


def report(
    intent: Intent, before: ProductState, after: ProductState, seconds: float, dry_run: bool
) -> View:
    """What a command did, and what readers see now."""
    shown, shown_before = after.published, before.published
    behind = 0
    if shown and shown_before and shown.attempt_name != shown_before.attempt_name:
        behind = offsets.lag(shown.covered, shown_before.covered)
    attempt = after.attempt(intent.attempt.name)
    data = {
        "product": after.product,
        "attempt": attempt.name,
        "did": intent.sentence,
        "changed": intent.changed,
        "dry_run": dry_run,
        "state": attempt.state.value,
        "published": shown.attempt_name if shown else None,
        "checkpoint": shown.checkpoint if shown else None,
        "records_behind_before": behind,
        "seconds": round(seconds, 3),
    }
    if dry_run or not intent.changed:
        return View(data, [])
    lines = []
    if shown:
        gone = f"nothing of {attempt.name} is left; " if attempt.cleaned else ""
        lines.append(
            f"{gone}readers see {after.product} {shown.attempt_name}, checkpoint {shown.checkpoint} "
            f"({seconds:.1f} s)"
        )
    if behind:
        lines.append(
            f"that is {behind:,} records behind what they saw before; its job goes on from there"
        )
    return View(data, lines)
