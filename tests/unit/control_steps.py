"""What people and time do to the controller's test platform: `kappa deploy`'s record, seconds, checkpoints, passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from replay.cli.control import intend
from replay.controller import verify as verifying
from replay.controller.act import new_attempt
from replay.controller.deploy import Terms, plan
from replay.controller.intents import Intent
from replay.controller.loop import Loop, WaitForLease
from replay.core.model import Attempt, ProductState, Release
from replay.core.steps import Wait
from replay.errors import RefusedError, RetryableError
from tests.unit.control_platform import Clock, FakePlatform


def begin(loop: Loop, platform: FakePlatform, *, release: int = 1, **terms: Any) -> Attempt:
    """What `kappa deploy` records."""
    with loop.leased("flights") as lease:
        assert lease
        state = loop.store.load("flights")
        if release not in [r.number for r in state.releases]:
            loop.store.add_release(
                lease, Release("flights", release, f"f{release}", loop.now(), platform.reference)
            )
        state = loop.store.load("flights")
        attempt = new_attempt(
            state,
            release,
            2,
            loop.now(),
            f"job-{release}-{len(state.attempts)}",
            **{"own_cluster": False, **terms},
        )
        loop.store.save(lease, attempt)
    return attempt


def turn(loop: Loop, platform: FakePlatform, clock: Clock, times: int) -> ProductState:
    """Passes, a second and a checkpoint every third."""
    for i in range(times):
        clock.time += 1
        if i % 3 == 2:
            platform.complete_checkpoint()
        for _ in range(5):
            try:
                if isinstance(loop.run_once("flights").step, Wait):
                    break
            except (RetryableError, RefusedError):
                break
    return loop.store.load("flights")


def want(loop: Loop, wish: Callable[[ProductState], Intent]) -> Attempt:
    """What `kappa switch | rollback | abort | retire` record."""
    return intend(loop, "flights", wish)[1].attempt


def change(loop: Loop, name: str, **fields: Any) -> None:
    """Something else that a command records of an attempt."""
    with loop.leased("flights") as lease:
        assert lease
        loop.store.save(lease, replace(loop.store.load("flights").attempt(name), **fields))


def published_to_the_end(platform: FakePlatform, state: ProductState) -> bool:
    """Whether readers see all of the log, and the journal says so."""
    p = state.published
    return (
        p is not None
        and dict(p.after) == platform.main_now
        and p.covered["flights"] == platform.ends_now["flights"]
    )


def deploy(
    loop: Loop,
    platform: FakePlatform,
    *,
    release: int = 1,
    auto_switch: bool = True,
    own: bool = False,
    again: bool = False,
    deadline: float | None = None,
) -> Attempt:
    """`kappa deploy` from the taking of the lease on."""
    with WaitForLease(loop, "flights") as lease:
        state = loop.store.load("flights")
        known = next((r for r in state.releases if r.number == release), None)
        wanted = known or Release(
            "flights",
            release,
            f"f{release}",
            loop.now(),
            platform.reference,
            computation=f"c{release}",
        )
        terms = Terms(2, again=again, auto_switch=auto_switch, deadline=deadline, own_cluster=own)
        todo = plan(state, wanted, terms, loop.now(), f"job-{release}-{len(state.attempts)}")
        if todo.release:
            loop.store.add_release(lease, todo.release)
        loop.store.save(lease, *todo.changed)
    return todo.attempt


def verify(loop: Loop) -> None:
    """`kappa verify` until it has recorded its shadow."""
    with WaitForLease(loop, "flights") as lease:
        state = loop.store.load("flights")
        todo = verifying.plan(state, verifying.Terms(), loop.now(), f"shadow-{len(state.attempts)}")
        if todo.new:
            loop.store.save(lease, todo.shadow)
