"""What `kappa deploy` does, apart from its arguments: begin or pick up, follow to the end, show the result."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import typer
from rich.console import RenderableType

from replay import offsets
from replay.cli import interrupt
from replay.cli.from_git import Given
from replay.cli.progress import Meter, Progress, live_lag, long_step, measure
from replay.cli.progress_display import Display, display
from replay.controller import deploy as deploying
from replay.controller.loop import Loop
from replay.controller.platform import Platform
from replay.controller.watching import Pass, Watcher, Watchers
from replay.core.model import Attempt, ProductState, Publication, State
from replay.core.observed import FlinkDownError
from replay.core.steps import Step
from replay.errors import KappaError, OutcomeUnknownError, RetryableError
from replay.offsets import Offsets
from replay.output import Output, View, rows_table, show
from replay.query import query as querying
from replay.settings import Settings, load_settings
from replay.store.store import Store

POLL_SECONDS = 1.0


def deploy(request: deploying.Request, wait: bool, output: Output) -> None:
    """Begin or pick up; with `wait`, follow to the end and show what readers see."""
    settings = load_settings()
    platform, store = Platform(settings), Store(settings.store)
    loop = Loop(platform, store)
    work = deploying.Deploy(settings, platform, loop)
    todo: deploying.Plan | None = None
    try:
        with display(output) as shown:
            todo, target = work.begin(request, uuid.uuid4().hex, shown.say)
            follow = Follow(loop, platform, target, shown)
            done = (
                follow.until(todo.attempt, lambda a, s: deploying.finished(a, s, target))
                if wait
                else todo.attempt
            )
    except KeyboardInterrupt:
        interrupt.say(_detached(request, todo))
        raise typer.Exit(interrupt.EXIT_CODE) from None
    state = store.load(request.name)
    if done.state is State.active:
        show(_published_view(settings, state, done), output)
        if error := found_fault(done):
            raise error
    else:
        show(_waiting_view(done, wait), output)


def _detached(request: deploying.Request, todo: deploying.Plan | None) -> str:
    """What goes on without this command."""
    command = f"kappa deploy {request.name}"
    again = Given(request.source, request.commit).in_hint(command, request.name)
    if todo is None:
        return f"interrupted; if it has begun, it goes on. Begin it or follow it with: {again}"
    return f"detached; {todo.attempt.name} goes on. Follow it again with: {again}"


class Follow(Watcher):
    """Runs passes of the loop over one product and shows them, until an attempt is finished or a person has to act."""

    def __init__(
        self,
        loop: Loop,
        platform: Platform,
        target: Offsets,
        shown: Display,
        sleep: Callable[[float], None] = time.sleep,
        *,
        moving: bool = True,
    ) -> None:
        """`moving`: progress is relative to the log's current end; otherwise to the target."""
        self._loop, self._platform, self._ends, self._shown, self._sleep = (
            loop,
            platform,
            target,
            shown,
            sleep,
        )
        self._moving = moving
        self._meter = Meter()
        self._last: Progress | None = None
        self._step = ""
        self._before = loop.watcher, platform.tell
        loop.watcher = Watchers(loop.watcher, self)
        platform.tell = self._part

    def until(self, attempt: Attempt, finished: Callable[[Attempt, ProductState], bool]) -> Attempt:
        """Follow until `finished` is true; the attempt as it is then, or its successor.

        KappaError, raised by `finished`, when that can never happen. Later passes of the loop are not shown.
        """
        try:
            return self._until(attempt, finished)
        finally:
            self._loop.watcher, self._platform.tell = self._before

    def _until(
        self, attempt: Attempt, finished: Callable[[Attempt, ProductState], bool]
    ) -> Attempt:
        state = self._loop.store.load(attempt.product)
        self._show(attempt, state, None, "")
        while True:
            begun = time.monotonic()
            done, trouble = self._pass(attempt.product)
            try:
                state = self._loop.store.load(attempt.product)
            except (RetryableError, OutcomeUnknownError) as e:  # the store, too, comes back
                done, trouble = None, trouble or _in_a_line(e)
            successor = deploying.follow(attempt, state)
            if successor.name != attempt.name:
                self._shown.say(f"{attempt.name} ended: {state.attempt(attempt.name).error}")
                self._shown.say(
                    f"{successor.name} begins from offset zero; readers see what they saw before"
                )
            attempt = successor
            self._show(attempt, state, done, trouble)
            if finished(attempt, state):
                return attempt
            if trouble or done is None or done.idle:
                self._sleep(max(0.0, POLL_SECONDS - (time.monotonic() - begun)))

    def begins_step(self, product: str, step: Step) -> None:
        """Show a step that takes long: nothing else is shown before its end."""
        self._step = long_step(step)
        if self._step:
            self._show_doing(self._step)

    def _part(self, text: str) -> None:
        if self._step:
            self._show_doing(f"{self._step}: {text}")

    def _show_doing(self, text: str) -> None:
        if self._last:
            self._shown.show(replace(self._last, doing=text))

    def _pass(self, product: str) -> tuple[Pass | None, str]:
        try:
            done = self._loop.run_once(product)
        except (
            RetryableError,
            OutcomeUnknownError,
        ) as e:
            # what is down comes back, and the next look tells
            return None, _in_a_line(e)
        deploying.refuse_blocked(done)
        return done, ""

    def _show(self, attempt: Attempt, state: ProductState, done: Pass | None, trouble: str) -> None:
        seen = done.seen.attempts.get(attempt.name) if done else None
        job = seen.job if seen else None
        if seen and self._moving:
            self._ends = offsets.latest(self._ends, seen.ends)
        if job and job.status != "RUNNING" and job.error:
            trouble = trouble or job.error
        if done and not trouble and done.notable:
            trouble = done.notable
        active = state.active
        live = (
            live_lag(
                active,
                done.seen.attempts.get(active.name) if done else None,
                _published_checkpoint(active, state.published),
            )
            if active
            else None
        )
        self._last = measure(
            attempt,
            self._positions(attempt),
            self._ends,
            {"status": job.status, "restarts": job.restarts} if job else {},
            self._meter,
            _published_checkpoint(attempt, state.published),
            trouble,
            live if active and active.name != attempt.name else None,
            f"{attempt.name} flink run is running" if seen and seen.client.under_way else "",
            state.release(attempt.release).reference_offsets,
        )
        self._shown.show(self._last)

    def _positions(self, attempt: Attempt) -> Offsets:
        try:
            return self._platform.read_positions(attempt) if attempt.confirmed else {}
        except FlinkDownError:
            return {}


def _in_a_line(error: KappaError) -> str:
    return str(error).replace("\n", " ")


def _published_checkpoint(attempt: Attempt, published: Publication | None) -> int:
    return published.checkpoint if published and published.attempt_name == attempt.name else 0


def _waiting_view(attempt: Attempt, waited: bool) -> View:
    data = {
        "product": attempt.product,
        "attempt": attempt.name,
        "state": attempt.state.value,
        "checks": _checks(attempt),
    }
    if not waited:
        return View(data, f"next:  kappa status {attempt.product} --watch")
    waits = (
        f"{attempt.product} {attempt.name} has caught up and waits; readers see what they saw before\n"
        f"next:  kappa diff {attempt.product}     what would change\n"
        f"       kappa switch {attempt.product}   show it to readers"
    )
    return View(data, [checked(attempt), waits] if attempt.checks else waits)


def _checks(attempt: Attempt) -> list[dict[str, object]]:
    return [
        {"check": c.name, "blocking": c.blocking, "offending": c.offending, "found": c.message}
        for c in attempt.checks
    ]


def checked(attempt: Attempt) -> str:
    """What the checks found: those that passed in a number, the others by name."""
    bad = [c for c in attempt.checks if c.offending]
    passed = len(attempt.checks) - len(bad)
    return "\n  ".join(
        [
            f"{passed} of {len(attempt.checks)} checks passed on checkpoint {attempt.audited_checkpoint}",
            *(f"{c.name}: {c.found}{'' if c.blocking else ' (a warning)'}" for c in bad),
        ]
    )


def found_fault(shown: Attempt) -> KappaError | None:
    """Why the command fails although readers see the release: checks that came later find fault with its rows."""
    if not shown.found_fault:
        return None
    return KappaError(
        f"checks failed on what readers of {shown.product} see; it stays published",
        expected="0 offending rows",
        found=shown.found_fault,
        next=f"fix the SQL or the check, then: kappa deploy {shown.product}  "
        f"(or kappa rollback {shown.product}; a check named in 'warnings' blocks nothing)",
    )


def _published_view(settings: Settings, state: ProductState, attempt: Attempt) -> View:
    published = state.published
    assert published is not None
    product = Platform(settings).product(attempt, state)
    rows = [
        {"table": table, "rows": _count(settings, product.name, table, published)}
        for table in product.outputs
    ]
    data = {
        "product": product.name,
        "attempt": attempt.name,
        "checkpoint": published.checkpoint,
        "covered": offsets.to_json(published.covered),
        "tables": rows,
        "checks": _checks(attempt),
    }
    title = f"readers see {product.name} {attempt.name}, checkpoint {published.checkpoint}"
    text: list[RenderableType] = [rows_table(rows, title=title)]
    if attempt.checks:
        text.append(checked(attempt))
    text.append(
        f'next:  kappa query {product.name} "SELECT * FROM {next(iter(product.outputs))} LIMIT 5"\n'
        f"       kappa audit {product.name}"
    )
    return View(data, text)


def _count(settings: Settings, product: str, table: str, published: Publication) -> int:
    result = querying.query(
        settings, product, f'SELECT count(*) AS n FROM "{table}"', snapshots=published.after
    )
    return int(result.rows[0]["n"])
