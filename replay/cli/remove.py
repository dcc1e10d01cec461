"""What `kappa remove` does, apart from its arguments."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from replay.cli.interrupt import say
from replay.controller import removal
from replay.controller.act import perform
from replay.controller.deploy import refuse_blocked
from replay.controller.loop import LEASE_SECONDS, Loop, WaitForLease, heartbeat
from replay.controller.platform import Platform
from replay.core.model import ProductState
from replay.core.steps import Blocked, Clean
from replay.errors import OutcomeUnknownError, RefusedError, RetryableError
from replay.output import Output, View, err, show, waiting
from replay.settings import load_settings
from replay.store.leases import Lease
from replay.store.store import Store

POLL_SECONDS = 0.2
RETRY_SECONDS = 90.0
"""Longer than Kafka takes a dead consumer for alive."""


def remove(name: str, yes: str | None, keep_tables: bool, dry_run: bool, output: Output) -> None:
    """Ask for the name, then remove the product."""
    settings = load_settings()
    platform, store = Platform(settings), Store(settings.store)
    loop = Loop(platform, store)
    found = removal.remains(settings, platform.catalog, store.load(name))
    if found.nothing:
        raise RefusedError(
            f"there is no product '{name}'",
            expected=", ".join(store.products()) or "a product",
            found="nothing of that name",
            next="kappa status",
        )
    sentence = in_words(name, found, keep_tables=keep_tables)
    if not dry_run:
        _confirm(name, sentence, yes)
    begun = time.monotonic()
    try:
        if not dry_run:
            with waiting("ending its jobs, then removing tables, checkpoints and history"):
                carry_out(loop, name, keep_tables=keep_tables)
    except KeyboardInterrupt:
        say(
            f"interrupted: jobs may still be ending. Go on with: kappa remove {name}"
            f"{' --keep-tables' if keep_tables else ''}",
        )
        raise typer.Exit(130) from None
    seconds = time.monotonic() - begun
    data = {
        "product": name,
        "tables": list(found.tables),
        "tables_kept": keep_tables,
        "releases": found.releases,
        "attempts": found.attempts,
        "topics": list(found.topics),
        "dry_run": dry_run,
        "seconds": round(seconds, 3),
    }
    did = f"would do: {sentence}" if dry_run else f"{name} is removed ({seconds:.1f} s)"
    show(View(data, did), output)


def in_words(name: str, found: removal.Remains, *, keep_tables: bool) -> str:
    """What a removal does to this product."""
    tables = ", ".join(found.tables) or "none"
    what = (
        f"tables kept as they are: {tables}"
        if keep_tables
        else f"tables dropped with their rows: {tables}"
    )
    written = ", ".join(found.topics)
    topics = f"topics of its outputs deleted: {written}; other topics" if written else "topics"
    return (
        f"remove {name} for good: {found.releases} releases, {found.attempts} attempts with their jobs, branches, "
        f"checkpoints, consumer groups and history; {what}; {topics} and sql/{name} stay"
    )


def _confirm(name: str, sentence: str, yes: str | None) -> None:
    if yes is None:
        err.print(sentence)
        yes = typer.prompt("type its name to go on", default="", show_default=False, err=True)
    if yes != name:
        raise RefusedError(
            f"{name} is not removed",
            expected=f"its name, {name}",
            found=yes or "nothing",
            next=f"kappa remove {name} --yes {name}",
        )


def carry_out(
    loop: Loop,
    name: str,
    *,
    keep_tables: bool,
    by: str = "",
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Until nothing is left. The controller ends jobs too, if it runs; what remains then is only done here."""
    patience = _Retries()
    while True:
        with WaitForLease(loop, name) as lease:
            state = _ended(loop, lease, name, keep_tables=keep_tables, by=by or getpass.getuser())
            if removal.is_stopped(state, keep_tables=keep_tables):
                with (
                    heartbeat(lambda: loop.store.renew(lease, LEASE_SECONDS), loop.step_seconds),
                    patience.trying(),
                ):
                    if keep_tables and (shown := removal.last_branch(state)):
                        perform(loop.context(lease, state), Clean(shown))
                        state = loop.store.held(lease)
                    loop.platform.remove(
                        state, keep_tables, lambda: loop.store.renew(lease, LEASE_SECONDS)
                    )
                    loop.store.remove(lease)
                    return
        done = loop.run_once(name)
        if not (isinstance(done.step, Blocked) and not keep_tables):
            refuse_blocked(done)
        if done.idle:
            sleep(POLL_SECONDS)


class _Retries:
    """Retries for a while: Kafka counts a job that has just ended as a member of its group."""

    def __init__(self) -> None:
        self._until: float | None = None

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Ignore a RetryableError or a lost answer within the block, until that has been so for too long."""
        try:
            yield
        except (RetryableError, OutcomeUnknownError):
            self._until = self._until or time.monotonic() + RETRY_SECONDS
            if time.monotonic() > self._until:
                raise


def _ended(loop: Loop, lease: Lease, name: str, *, keep_tables: bool, by: str) -> ProductState:
    """Save that all its attempts are to end. Half a publication is finished first, if anybody is to see it."""
    state = loop.store.load(name)
    if state.unfinished and not keep_tables:
        loop.store.drop_publication(lease, state.unfinished)
    elif state.unfinished:
        return state
    if stopping := removal.ending(state, by):
        loop.store.save(lease, *stopping)
    return loop.store.load(name)
