"""One pass over a product: observe → decide → act, under a lease. `kappa deploy` and `kappa controller` make them."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from replay.controller.act import Context, PlatformWriter, perform
from replay.controller.decide import decide
from replay.controller.look_cache import LookCache
from replay.controller.observe import observe
from replay.controller.platform_reader import PlatformReader
from replay.controller.service_log import logger
from replay.controller.watching import Pass, Watcher
from replay.core.model import Move, ProductState
from replay.core.observed import Observation
from replay.core.steps import (
    Blocked,
    Examine,
    NoteForeignOffsets,
    NoteLateDropped,
    NotePartitions,
    Publish,
    Recheck,
    Record,
    Step,
    Wait,
    attempt_name,
    describe,
    job_id,
)
from replay.errors import KappaError, RetryableError
from replay.store.leases import Lease, StaleLeaseError
from replay.store.store import Store

_log = logger("loop")
LEASE_SECONDS = 20.0
"""How long a controller that died keeps others out; a live one renews it while it works."""
STEP_SECONDS = 1800.0
"""How long a step may take: after that the lease is no longer renewed."""
MOST_STEPS = 100
"""That may follow from one look: a few for each attempt."""
CHECKS = 4
"""Products whose checks run at the same time."""


class ControlledPlatform(PlatformReader, PlatformWriter, Protocol):
    """All of the platform that the loop needs."""


class Loop:
    """One controller: several may run, one acts at a time."""

    def __init__(
        self,
        platform: ControlledPlatform,
        store: Store,
        now: Callable[[], float] | None = None,
        holder: str | None = None,
        *,
        step_seconds: float = STEP_SECONDS,
        checks: int = CHECKS,
    ) -> None:
        self.platform = platform
        self.store = store
        self.now = now or store.now
        self.holder = holder or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.step_seconds = step_seconds
        self._troubled: dict[str, dict[str, None]] = {}
        """Product → attempts whose last step failed, the latest last: the others' come first until it succeeds."""
        self._checking = threading.BoundedSemaphore(checks)
        self.at_work: dict[str, str] = {}
        """Product → what is being done for it."""
        self.watcher = Watcher()
        self._waits = LookCache(platform)
        self.holding: set[str] = set()
        """Products whose lease this controller has at the moment."""

    def run_once(self, product: str) -> Pass:
        """Observe once, without the lease, and act on it; the lease is taken only if the state is still the same."""
        state = self.store.load(product)
        seen = observe(self.platform, state, self.now(), self._waits)
        step = self._decide(state, seen)
        if isinstance(step, Blocked) and self.store.load(product) != state:
            # Another controller has published since the journal was read.
            return Pass(state, seen, Wait("the state changed meanwhile; retrying"))
        if isinstance(step, Wait | Blocked):
            return Pass(state, seen, step)
        try:
            with self.leased(product) as lease:
                if lease is None:
                    return Pass(
                        state, seen, Wait("another controller holds the lease"), lease_missed=True
                    )
                if self.store.held(lease) != state:
                    return Pass(state, seen, Wait("the state changed meanwhile; retrying"))
                return self._follow(lease, state, seen, step)
        except StaleLeaseError:
            return Pass(state, seen, Wait("another controller took over"))

    def _follow(self, lease: Lease, state: ProductState, seen: Observation, step: Step) -> Pass:
        """Act, and continue for as long as the same observation says what is next.

        A new observation may show another checkpoint, which is recorded first: steps that follow after all known
        checkpoints (checks, a switch, cleaning) have to follow from the observation that showed them.
        """
        for _ in range(MOST_STEPS):
            with self._turn(step) as free:
                if not free:
                    return Pass(state, seen, Wait("its checks wait for those of other products"))
                self._act(lease, state, seen, step)
            if (known := still_known(seen, step)) is None:
                return Pass(state, seen, step)
            state, seen = self.store.held(lease), known
            step = self._decide(state, seen)
            if isinstance(step, Wait | Blocked):
                return Pass(state, seen, step)
        return Pass(state, seen, step)

    def _decide(self, state: ProductState, seen: Observation) -> Step:
        return decide(state, seen, self.now(), list(self._troubled.get(state.product, ())))

    def _act(self, lease: Lease, state: ProductState, seen: Observation, step: Step) -> None:
        context = self.context(lease, state)
        beating = (
            nullcontext()
            if isinstance(step, Record)
            else heartbeat(context.keepalive, self.step_seconds)
        )
        self.watcher.begins_step(state.product, step)
        self.at_work[state.product] = describe(step)
        begun = time.monotonic()
        try:
            with beating, self._noting_trouble(state.product, step), _log_fields(step):
                perform(context, step)
        finally:
            self.at_work.pop(state.product, None)
        self.watcher.performed(state.product, step, seen, time.monotonic() - begun)

    @contextmanager
    def _turn(self, step: Step) -> Iterator[bool]:
        """Whether a step may begin now: checks take minutes and memory, so only a few run at a time."""
        if not isinstance(step, Examine | Recheck):
            yield True
            return
        free = self._checking.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._checking.release()

    @contextmanager
    def _noting_trouble(self, product: str, step: Step) -> Iterator[None]:
        attempt = getattr(step, "attempt", None)
        name = attempt.name if attempt else ""
        troubled = self._troubled.setdefault(product, {})
        troubled.pop(name, None)
        troubled[name] = None
        yield
        del troubled[name]

    @contextmanager
    def leased(self, product: str) -> Iterator[Lease | None]:
        """The product's lease for the length of a block, None if another controller has it."""
        lease = self.store.acquire(product, self.holder, LEASE_SECONDS)
        if lease:
            self.holding.add(product)
        try:
            yield lease
        finally:
            if lease:
                self.holding.discard(product)
                self.store.give_back(lease)

    def context(self, lease: Lease, state: ProductState) -> Context:
        """What acting on a product needs, under its lease."""
        return Context(
            platform=self.platform,
            store=self.store,
            lease=lease,
            state=state,
            now=self.now,
            keepalive=lambda: self.store.renew(lease, LEASE_SECONDS),
        )


def _log_fields(step: Step) -> AbstractContextManager[object]:
    """What is logged while a step is performed, by whatever library, says of which attempt."""
    return structlog.contextvars.bound_contextvars(**about(step))


def about(step: Step) -> dict[str, str]:
    """Fields of a log line about a step."""
    name, job = attempt_name(step), job_id(step)
    found = {"attempt": name, "release": name.partition("-")[0], "job_id": job}
    return {key: value for key, value in found.items() if value}


def still_known(seen: Observation, step: Step) -> Observation | None:
    """What a look says once a step is done that changed no more of the platform than is known; None: look again."""
    match step:
        case Record() | NoteForeignOffsets() | NoteLateDropped() | NotePartitions():
            # that was our own memory
            return seen
        case Publish(checkpoint=shown, kind=Move.publish):
            return replace(seen, main=shown.snapshots, main_is_genesis=False)
    return None


@contextmanager
def heartbeat(
    beat: Callable[[], None],
    seconds: float,
    period: float = LEASE_SECONDS / 4,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Beats from a thread for the length of a block: a check, a cleaning or a cluster's end may outlast the lease.

    A process that is frozen or killed beats no more. Nor does a block that takes longer than `seconds`: should it hang
    for ever, another controller can take over, and what the block still writes is refused.
    """
    over, until = threading.Event(), now() + seconds

    def go_on() -> None:
        while not over.wait(period) and now() < until:
            try:
                beat()
            except StaleLeaseError:
                return  # the next write says so
            except (KappaError, SQLAlchemyError) as e:
                _log.warning("the lease could not be renewed", error=str(e))

    thread = threading.Thread(target=copy_context().run, args=(go_on,), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class WaitForLease:
    """The product's lease, waited for: another controller holds it only while it acts."""

    def __init__(
        self,
        loop: Loop,
        product: str,
        seconds: float = 60,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._loop, self._product, self._seconds, self._sleep = loop, product, seconds, sleep
        self._held: AbstractContextManager[Lease | None] | None = None

    def __enter__(self) -> Lease:
        deadline = time.monotonic() + self._seconds
        while True:
            self._held = self._loop.leased(self._product)
            if lease := self._held.__enter__():
                return lease
            if time.monotonic() > deadline:
                raise RetryableError(
                    f"another controller is busy with {self._product}",
                    expected="its lease to be given back",
                    found=f"held for {self._seconds:.0f} s",
                    next="repeat the command",
                )
            self._sleep(0.05)

    def __exit__(self, *error: Any) -> None:
        assert self._held is not None
        self._held.__exit__(*error)
