"""What `kappa switch | rollback | abort | retire` do, apart from their arguments."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable

import typer

from replay import intents, offsets
from replay.deploy import refuse_blocked
from replay.intents import Intent
from replay.loop import Loop, Patience
from replay.model import Attempt, ProductState
from replay.output import Output, out, print_json
from replay.settings import load_settings
from replay.store import Store
from replay.world import World

POLL_SECONDS = 0.2


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


def _carry_out(name: str, wish: Callable[[ProductState], Intent],
               done_when: Callable[[Attempt], Callable[[ProductState], bool]], dry_run: bool,
               output: Output) -> None:
    """Save the intent, and pass over the product until it is carried out; the controller would do so without us."""
    settings = load_settings()
    store = Store(settings.store)
    loop = Loop(World(settings), store)
    begun = time.monotonic()
    if dry_run:
        before = store.load(name)
        intent = wish(before)
    else:
        before, intent = intend(loop, name, wish)

    def say(text: str) -> None:
        if output is Output.text:
            out.print(text, markup=False, soft_wrap=False)

    say(f"would do: {intent.sentence}" if dry_run and intent.changed else intent.sentence)
    try:
        after = before if dry_run or not intent.changed else carry_on(loop, name, done_when(intent.attempt))
    except KeyboardInterrupt:
        say(f"\nleft alone: the controller carries it out. Look with: kappa status {name}")
        raise typer.Exit(130) from None
    _report(intent, before, after, time.monotonic() - begun, dry_run, output)


def intend(loop: Loop, name: str, wish: Callable[[ProductState], Intent]) -> tuple[ProductState, Intent]:
    """Save what is wanted, once no publication is half done: before that nobody can say what readers see."""
    while True:
        with Patience(loop, name) as lease:
            before = loop.store.load(name)
            if not before.unfinished:
                intent = wish(before)
                if intent.changed:
                    loop.store.save(lease, intent.attempt)
                return before, intent
        refuse_blocked(loop.run_once(name))


def carry_on(loop: Loop, name: str, done: Callable[[ProductState], bool],
             sleep: Callable[[float], None] = time.sleep) -> ProductState:
    """Passes over a product until it is so; its state then. ConflictError when a person has to look."""
    while not done(state := loop.store.load(name)):
        step = loop.run_once(name)
        refuse_blocked(step)
        if step.idle:
            sleep(POLL_SECONDS)
    return state


def _report(intent: Intent, before: ProductState, after: ProductState, seconds: float, dry_run: bool,
            output: Output) -> None:
    name = intent.attempt.name
    shown, shown_before = after.published, before.published
    behind = 0
    if shown and shown_before and shown.attempt_name != shown_before.attempt_name:
        behind = offsets.lag(shown.covered, shown_before.covered)
    if output is Output.json:
        print_json({
            "product": after.product, "attempt": name, "did": intent.sentence, "changed": intent.changed,
            "dry_run": dry_run, "state": after.attempt(name).state.value,
            "published": shown.attempt_name if shown else None, "checkpoint": shown.checkpoint if shown else None,
            "records_behind_before": behind, "seconds": round(seconds, 3)})
        return
    if dry_run or not intent.changed:
        return
    gone = f"nothing of {name} is left; " if after.attempt(name).cleaned else ""
    if shown:
        out.print(f"{gone}readers see {after.product} {shown.attempt_name}, checkpoint {shown.checkpoint} "
                  f"({seconds:.1f} s)", markup=False)
    if behind:
        out.print(f"that is {behind:,} records behind what they saw before; its job goes on from there", markup=False)
