"""observe → decide → act, again and again, under a lease: used by `kappa deploy` and by `kappa controller`."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from replay.act import Context, Hands, perform
from replay.decide import decide
from replay.errors import KappaError, RetryableError
from replay.model import Move, ProductState
from replay.observe import Eyes, Observation, observe
from replay.steps import Blocked, Cancel, NoteForeignOffsets, NoteLateDropped, Publish, Record, Step, Wait
from replay.store import Lease, StaleLeaseError, Store

LEASE_SECONDS = 20.0
"""How long a controller that died keeps others out; a live one renews it while it works."""


class WorldLike(Eyes, Hands, Protocol):
    """All of the world that the loop needs."""


@dataclass(frozen=True)
class Pass:
    """What one pass saw and did."""

    state: ProductState
    seen: Observation
    step: Step
    """The last one."""
    before: tuple[Step, ...] = ()
    """Those that came before it, from the same look."""

    @property
    def notable(self) -> str:
        """What a person would want to know of, if anything."""
        return self.step.reason if isinstance(self.step, Wait) and self.step.notable else ""

    @property
    def idle(self) -> bool:
        """Nothing more to do for the moment; Flink takes one over a cancellation."""
        return isinstance(self.step, Wait | Blocked | Cancel)


class Loop:
    """One controller: several may run, one acts at a time."""

    def __init__(self, world: WorldLike, store: Store, now: Callable[[], float] = time.time,
                 holder: str | None = None) -> None:
        self.world = world
        self.store = store
        self.now = now
        self.holder = holder or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._troubled: dict[tuple[str, str], None] = {}
        """Product and attempt whose last step failed, the latest last: the others' come first until it succeeds."""

    def run_once(self, product: str) -> Pass:
        """One look, and what follows from it. Looks without the lease, takes it only to act on what is still so."""
        state = self.store.load(product)
        seen = observe(self.world, state, self.now())
        step = self._decide(state, seen)
        if isinstance(step, Blocked) and self.store.load(product) != state:
            # It was no stranger who moved main, but another controller, since the journal was read.
            return Pass(state, seen, Wait("another controller was faster"))
        if isinstance(step, Wait | Blocked):
            return Pass(state, seen, step)
        done: list[Step] = []
        try:
            with self.leased(product) as lease:
                if lease is None:
                    return Pass(state, seen, Wait("another controller is at work"))
                if self.store.held(lease) != state:
                    return Pass(state, seen, Wait("another controller was faster"))
                last = self._follow(lease, state, seen, step, done)
        except StaleLeaseError:
            last = Wait("another controller took over")
        return Pass(state, seen, last, tuple(done))

    def _follow(self, lease: Lease, state: ProductState, seen: Observation, step: Step, done: list[Step]) -> Step:
        """Act, and go on for as long as the same look tells what is next; the last step, those before it in `done`.

        A new look may show another checkpoint, which comes first: what only comes after all checkpoints that there are
        (checks, a switch, cleaning) has to follow from the look that showed them.
        """
        while True:
            self._act(lease, state, step)
            if (known := still_known(seen, step)) is None:
                return step
            done.append(step)
            state, seen = self.store.held(lease), known
            step = self._decide(state, seen)
            if isinstance(step, Wait | Blocked):
                return step

    def _decide(self, state: ProductState, seen: Observation) -> Step:
        return decide(state, seen, self.now(), [name for of, name in self._troubled if of == state.product])

    def _act(self, lease: Lease, state: ProductState, step: Step) -> None:
        context = self._context(lease, state)
        beating = nullcontext() if isinstance(step, Record) else heartbeat(context.keepalive)
        with beating, self._noting_trouble(state.product, step):
            perform(context, step)

    @contextmanager
    def _noting_trouble(self, product: str, step: Step) -> Iterator[None]:
        attempt = getattr(step, "attempt", None)
        key = (product, attempt.name if attempt else "")
        self._troubled.pop(key, None)
        self._troubled[key] = None
        yield
        del self._troubled[key]

    @contextmanager
    def leased(self, product: str) -> Iterator[Lease | None]:
        """The product's lease for the length of a block, None if somebody else has it."""
        lease = self.store.acquire(product, self.holder, self.now(), LEASE_SECONDS)
        try:
            yield lease
        finally:
            if lease:
                self.store.give_back(lease)

    def _context(self, lease: Lease, state: ProductState) -> Context:
        return Context(hands=self.world, store=self.store, lease=lease, state=state, now=self.now,
                       keepalive=lambda: self.store.renew(lease, self.now(), LEASE_SECONDS))


def still_known(seen: Observation, step: Step) -> Observation | None:
    """What a look says once a step is done that changed no more of the world than is known; None: look again."""
    match step:
        case Record() | NoteForeignOffsets() | NoteLateDropped():  # that was our own memory
            return seen
        case Publish(checkpoint=shown, kind=Move.publish):
            return replace(seen, main=shown.snapshots, main_is_genesis=False)
    return None


@contextmanager
def heartbeat(beat: Callable[[], None], period: float = LEASE_SECONDS / 4) -> Iterator[None]:
    """Beats from a thread for the length of a block: a check, a cleaning or a cluster's end may outlast the lease.

    A process that is frozen or killed beats no more.
    """
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(period):
            try:
                beat()
            except StaleLeaseError:
                return  # the next write says so
            except (KappaError, SQLAlchemyError):
                continue

    thread = threading.Thread(target=go_on, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Patience:
    """The product's lease, waited for: another controller holds it only while it acts."""

    def __init__(self, loop: Loop, product: str, seconds: float = 60,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._loop, self._product, self._seconds, self._sleep = loop, product, seconds, sleep
        self._held: AbstractContextManager[Lease | None] | None = None

    def __enter__(self) -> Lease:
        deadline = self._loop.now() + self._seconds
        while True:
            self._held = self._loop.leased(self._product)
            if lease := self._held.__enter__():
                return lease
            if self._loop.now() > deadline:
                raise RetryableError(f"another controller is busy with {self._product}",
                                     expected="its lease to be given back", found=f"held for {self._seconds:.0f} s",
                                     next="repeat the command")
            self._sleep(0.05)

    def __exit__(self, *error: Any) -> None:
        assert self._held is not None
        self._held.__exit__(*error)


@dataclass
class Diary:
    """What a service writes about its passes: every step, and every complaint when it changes."""

    write: Callable[[str], None]
    _last: dict[str, str] | None = None

    def step(self, product: str, done: Pass) -> bool:
        """Note a pass; whether it left nothing to do."""
        for step in done.before:
            self.write(f"{product}: {describe(step)}")
        if isinstance(done.step, Blocked):
            self.complaint(product, f"{done.step.message}; expected {done.step.expected}; found {done.step.found}")
            return True
        if isinstance(done.step, Wait):
            self.complaint(product, done.step.reason if done.step.notable else "")
            return True
        self.complaint(product, "")
        self.write(f"{product}: {describe(done.step)}")
        return done.idle

    def complaint(self, product: str, text: str) -> None:
        """Note what is wrong, once; the empty text: nothing is."""
        last = self._last = self._last or {}
        if text and last.get(product) != text:
            self.write(f"{product}: {text}")
        elif not text and last.get(product):
            self.write(f"{product}: well again")
        last[product] = text


MOST_PASSES = 20
"""So many passes in a row over products that have more to do, before the list of products is read again."""


def serve(loop: Loop, diary: Diary, pause: Callable[[], bool]) -> None:
    """Rounds over all products until `pause` says that it is time to end.

    Within a round a product that has more to do gets its next pass after each of the others had theirs: one with a new
    checkpoint at every look would otherwise keep the others waiting for ever.
    """
    while True:
        try:
            products = loop.store.products()
            diary.complaint("store", "")
        except (KappaError, SQLAlchemyError) as e:  # a store that is down comes back
            products = []
            diary.complaint("store", str(e))
        for _ in range(MOST_PASSES):
            products = [product for product in products if not _rests(loop, diary, product)]
            if not products:
                break
        if pause():
            return


def _rests(loop: Loop, diary: Diary, product: str) -> bool:
    """One pass over a product; whether it has nothing more to do for now, or cannot."""
    try:
        return diary.step(product, loop.run_once(product))
    except KappaError as e:
        diary.complaint(product, str(e))
    except Exception as e:  # noqa: BLE001  one product's surprise must not stop the others
        diary.complaint(product, f"{type(e).__name__}: {e}")
    return True


def describe(step: Step) -> str:
    """A step in a few words."""
    name = type(step).__name__
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
    if publication := getattr(step, "publication", None):
        return f"{words} {publication.attempt_name} checkpoint {publication.checkpoint}"
    attempt = getattr(step, "attempt", None)
    text = f"{words} {attempt.name}" if attempt else words
    checkpoint = getattr(step, "checkpoint", None) or getattr(getattr(step, "position", None), "checkpoint", None)
    if checkpoint is not None:
        text += f" checkpoint {getattr(checkpoint, 'id', checkpoint)}"
    if why := getattr(step, "error", "") or getattr(step, "note", ""):
        text += f": {why}"
    return text
