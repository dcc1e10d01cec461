"""The loop as a service: all products, several at the same time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from replay.controller.loop import Loop
from replay.errors import KappaError, RetryableError

WORKERS = 32
"""Products served at the same time. Most of a pass is waiting for answers."""
MOST_PASSES = 20
"""So many passes in a row over a product that has more to do, before the list of products is read again."""
ROUND_SECONDS = 2.0
"""A round ends after so long for those that are done with it; the others go on."""
ENDING_SECONDS = 10.0
"""How long passes may take to come to an end with the service; a pass that is cut off is carried on by the next one."""


@dataclass
class _ServedProduct:
    """A product in the hands of a worker."""

    since: float
    overdue: bool = False


class Service:
    """A queue of products, and threads that make passes over them, one product never in two threads at once.

    Within a round a product that has more to do gets its next pass after each of the others had theirs: one with a
    new checkpoint at every look would otherwise keep the others waiting for ever. A pass that takes very long keeps
    its thread, and the rounds continue without it. If it takes longer than a step may take, this is logged and
    another thread is started in its place, up to twice the number of workers.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        workers: int = WORKERS,
        round_seconds: float | None = ROUND_SECONDS,
        ending_seconds: float = ENDING_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop, self._now = loop, now
        self._workers, self._round_seconds, self._ending_seconds = (
            workers,
            round_seconds,
            ending_seconds,
        )
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._passes: dict[str, int] = {}
        """Product → passes of this round that are left to it."""
        self._turns: dict[str, _ServedProduct] = {}
        self._threads = 0
        self._idle = 0
        self._over = False

    def serve(self, pause: Callable[[], bool]) -> None:
        """Rounds over all products until `pause` says that it is time to end."""
        try:
            while True:
                begun = self._now()
                self._begin_round(self._products())
                self._end_round()
                self._loop.watcher.rounded(self._now() - begun)
                if pause():
                    return
        finally:
            self._end()

    def _products(self) -> list[str]:
        try:
            products = self._loop.store.products()
        except (KappaError, SQLAlchemyError) as e:  # a store that is down comes back
            self._loop.watcher.unlisted(e)
            return []
        self._loop.watcher.listed(products)
        return products

    def _begin_round(self, products: Iterable[str]) -> None:
        with self._changed:
            self._passes = dict.fromkeys(products, MOST_PASSES)
            waiting = set(self._waiting)
            self._waiting.extend(
                p for p in self._passes if p not in waiting and p not in self._turns
            )
            self._hire()
            self._changed.notify_all()

    def _hire(self) -> None:
        """Threads for what waits, as many as there may be."""
        while self._threads < self._most() and self._idle < len(self._waiting):
            self._threads += 1
            self._idle += 1
            threading.Thread(target=self._work, name="worker", daemon=True).start()

    def _most(self) -> int:
        overdue = sum(turn.overdue for turn in self._turns.values())
        return self._workers + min(overdue, self._workers)

    def _end_round(self) -> None:
        """Wait until there is nothing to do for the moment, or for so long; then tell of what takes too long."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._waiting and not self._turns, self._round_seconds
            )
            late = [
                (p, t)
                for p, t in self._turns.items()
                if not t.overdue and self._now() - t.since > self._loop.step_seconds
            ]
            for _, turn in late:
                turn.overdue = True
            self._hire()
        for product, turn in late:
            self._loop.watcher.failed(product, self._overdue(product), self._now() - turn.since)

    def _overdue(self, product: str) -> RetryableError:
        doing = self._loop.at_work.get(product, "a look at it")
        return RetryableError(
            f"{doing} does not finish",
            found="its lease is not renewed any more",
            expected=f"an end within {self._loop.step_seconds:,.0f} s",
            next="nothing where another controller runs: it takes over; else restart this one, or "
            "raise controller.step_seconds",
        )

    def _work(self) -> None:
        while product := self._next():
            rests = True
            try:
                rests = self._rests(product)
            finally:
                self._done(product, rests=rests)

    def _next(self) -> str | None:
        """The product that has waited longest; None when this thread is to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._over or self._threads > self._most()
            )
            self._idle -= 1
            if self._over or self._threads > self._most():
                self._threads -= 1
                self._changed.notify_all()
                return None
            product = self._waiting.popleft()
            self._turns[product] = _ServedProduct(self._now())
            return product

    def _done(self, product: str, *, rests: bool) -> None:
        with self._changed:
            del self._turns[product]
            self._idle += 1
            left = self._passes.get(product, 0) - 1
            if not rests and left > 0:
                self._passes[product] = left
                self._waiting.append(product)
            self._changed.notify_all()

    def _rests(self, product: str) -> bool:
        """One pass over a product; whether it has nothing more to do for now, or cannot."""
        watcher, begun = self._loop.watcher, self._now()
        watcher.begins(product)
        try:
            done = self._loop.run_once(product)
        except Exception as e:  # noqa: BLE001  one product's surprise must not stop the others
            watcher.failed(product, e, self._now() - begun)
            return True
        watcher.passed(product, done, self._now() - begun)
        return done.idle

    def _end(self) -> None:
        """Begin no more passes, and wait a while for those under way."""
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._threads, self._ending_seconds)


def serve(
    loop: Loop,
    pause: Callable[[], bool],
    *,
    workers: int = WORKERS,
    round_seconds: float | None = ROUND_SECONDS,
) -> None:
    """Serve all products until `pause` says that it is time to end."""
    Service(loop, workers=workers, round_seconds=round_seconds).serve(pause)
