"""What a person wants of a product's attempts: pure, from what is remembered to what is to be saved.

The controller does the rest: an intent that was saved is carried out, also after the command has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from replay.core.model import Attempt, Move, ProductState, State
from replay.errors import ConfigError, ConflictError, RefusedError


@dataclass(frozen=True)
class Intent:
    """A change to be saved, and what it means; without `changed` it is so already."""

    attempt: Attempt
    sentence: str
    changed: bool = True


def switch(state: ProductState, target: str | None) -> Intent:
    """Show an attempt to readers as soon as its checks pass; by default the candidate, else one on standby that is
    newer than what readers see: the same command again never takes them back."""
    attempt = (
        _find(state, target)
        if target
        else state.candidate or _newest(_beside(state, newer=True)) or state.active
    )
    if attempt is None:
        raise RefusedError(
            f"there is nothing to switch {state.product} to",
            expected="a candidate, or one on standby",
            found="neither",
            next=f"kappa deploy {state.product}",
        )
    _refuse_gone(state, attempt)
    if attempt.state is State.active:
        return Intent(attempt, f"readers see {state.product} {attempt.name} already", changed=False)
    if attempt.shadow:
        raise RefusedError(
            f"{attempt.name} is a shadow, for kappa verify only",
            expected="an attempt for readers",
            found="a shadow",
            next=f"kappa deploy {state.product} --again",
        )
    if attempt.state in (State.built, State.replaying):
        when = "once it has caught up and its checks pass"
    else:
        when = "once its checks pass"
    # What passed its checks may be long ago by now: they run again, on the newest.
    return Intent(
        replace(attempt, promote=Move.switch, error="", audited_checkpoint=None),
        f"{state.product}: {_from(state)} → {attempt.name}, {when}",
    )


def rollback(state: ProductState, target: str | None) -> Intent:
    """Show readers an attempt on standby, wherever it stands; by default the one before what they see: the same
    command again never takes them forward."""
    attempt = _find(state, target) if target else _newest(_beside(state, newer=False))
    if attempt is None and state.active and state.standbys:
        return Intent(
            state.active,
            f"readers see {state.product} {state.active.name} already, and nothing older is on "
            "standby",
            changed=False,
        )
    if attempt is None:
        raise _nothing_to_roll_back_to(state)
    if attempt.state is State.active:
        return Intent(attempt, f"readers see {state.product} {attempt.name} already", changed=False)
    _refuse_gone(state, attempt)
    if attempt.state is not State.standby:
        raise RefusedError(
            f"readers never saw {attempt.name}",
            expected="an attempt on standby",
            found=attempt.state.value,
            next=f"kappa switch {state.product} {attempt.name}",
        )
    return Intent(
        replace(attempt, promote=Move.rollback, error=""),
        f"{state.product}: {_from(state)} → {attempt.name}, at once, at its newest checkpoint",
    )


def abort(state: ProductState, by: str) -> Intent:
    """Give the candidate up, or the shadow; readers are not touched."""
    attempt = state.candidate or state.shadow
    if attempt is None:
        stopping = [a for a in state.attempts if a.stop is State.aborted]
        if not stopping:
            raise RefusedError(
                f"no candidate of {state.product} is under way",
                expected="a candidate",
                found=_standing(state),
                next=f"kappa history {state.product}",
            )
        return Intent(
            stopping[-1], f"{state.product} {stopping[-1].name} was aborted already", changed=False
        )
    return Intent(
        replace(attempt, stop=State.aborted, promote=None, error=f"aborted by {by}"),
        f"{state.product} {attempt.name}: its job, branch and files go; readers keep {_from(state)}",
    )


def retire(state: ProductState, target: str | None) -> Intent:
    """End an attempt on standby and remove what is left of it; by default the oldest."""
    if target is None and not state.standbys:
        raise RefusedError(
            f"no attempt of {state.product} is on standby",
            expected="one on standby",
            found=_standing(state),
            next=f"kappa history {state.product}",
        )
    attempt = _find(state, target) if target else state.standbys[0]
    if attempt.ended or attempt.stop:
        return Intent(
            attempt,
            f"{state.product} {attempt.name} is {(attempt.stop or attempt.state).value} already",
            changed=False,
        )
    if attempt.state is State.active:
        raise RefusedError(
            f"readers see {attempt.name}",
            expected="an attempt on standby",
            found="the active one",
            next=f"kappa switch {state.product}, or kappa rollback {state.product}, first",
        )
    if attempt.state is not State.standby:
        raise RefusedError(
            f"{attempt.name} is not on standby",
            expected="an attempt on standby",
            found=attempt.state.value,
            next=f"kappa abort {state.product}",
        )
    return Intent(
        replace(attempt, stop=State.retired, promote=None),
        f"{state.product} {attempt.name}: its job, branch and files go; there is no rollback to it any more",
    )


def is_shown(wanted: Attempt) -> Callable[[ProductState], bool]:
    """Whether readers see the attempt; ConflictError when they never will."""

    def done(state: ProductState) -> bool:
        now = state.attempt(wanted.name)
        shown = state.published
        if (
            now.state is State.active
            and shown
            and shown.attempt_name == now.name
            and not now.promote
        ):
            return True
        if now.stop or now.ended or not now.promote:
            raise ConflictError(
                f"readers were not switched to {now.name}; they see what they saw before",
                expected="its checks to pass",
                found=now.error or (now.stop or now.state).value,
                next=f"kappa history {state.product}",
            )
        return False

    return done


def is_gone(wanted: Attempt) -> Callable[[ProductState], bool]:
    """Whether nothing of the attempt is left."""
    return lambda state: state.attempt(wanted.name).cleaned


def resolve(state: ProductState, name: str) -> Attempt:
    """An attempt by its name, r2-a1, or the newest of a release, r2."""
    return _find(state, name)


def _find(state: ProductState, name: str) -> Attempt:
    found = [
        a for a in state.attempts if name == a.name or (name == f"r{a.release}" and not a.shadow)
    ]
    if not found:
        raise ConfigError(
            f"{state.product} has no '{name}'",
            expected=", ".join(a.name for a in state.attempts) or "an attempt",
            found=name,
            next=f"kappa history {state.product}",
        )
    living = [a for a in found if not a.ended]
    return (living or found)[-1]


def _beside(state: ProductState, *, newer: bool) -> tuple[Attempt, ...]:
    """Attempts on standby that are newer, or older, than the one that readers see."""
    now = state.attempt(state.published.attempt_name) if state.published else None
    return tuple(a for a in state.standbys if now is None or (a.created > now.created) == newer)


def _newest(attempts: tuple[Attempt, ...]) -> Attempt | None:
    return attempts[-1] if attempts else None


def _refuse_gone(state: ProductState, attempt: Attempt) -> None:
    if attempt.ended or attempt.stop:
        raise RefusedError(
            f"{state.product} {attempt.name} is {(attempt.stop or attempt.state).value}",
            expected="an attempt whose job runs",
            found=attempt.error or "its job was stopped",
            next=_deploy_again(state, attempt),
        )


def _nothing_to_roll_back_to(state: ProductState) -> RefusedError:
    earlier = [
        a
        for a in state.attempts
        if a.ended and (not state.active or a.release != state.active.release)
    ]
    return RefusedError(
        f"there is nothing to roll {state.product} back to",
        expected="an attempt on standby",
        found=_standing(state),
        next=_deploy_again(state, earlier[-1]) if earlier else f"kappa history {state.product}",
    )


def _deploy_again(state: ProductState, attempt: Attempt) -> str:
    fingerprint = state.release(attempt.release).fingerprint
    folder = f"${{KAPPA_HOME:-.kappa}}/releases/{state.product}/{fingerprint}/product"
    return f"kappa deploy {state.product} --from {folder}  (replays {attempt.name}'s release)"


def _from(state: ProductState) -> str:
    return state.active.name if state.active else "nothing"


def _standing(state: ProductState) -> str:
    return ", ".join(f"{a.name} {a.state.value}" for a in state.live) or "no running attempt"
