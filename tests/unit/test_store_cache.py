"""What a store remembers of a product saves reading it, and is never older than what others wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from replay.core.model import ProductState, State
from replay.errors import OutcomeUnknownError
from replay.releases.retention import KEPT_ATTEMPTS
from replay.store.leases import StaleLeaseError
from replay.store.store import Store
from tests.unit.control_platform import Clock
from tests.unit.test_store import ATTEMPT, INTENT, RELEASE, clock, lease, two

__all__ = ["clock", "two"]


@contextmanager
def reads_of_attempts(store: Store) -> Iterator[list[str]]:
    """The statements that read a product's attempts."""
    found: list[str] = []

    def listen(*event: object) -> None:
        if "FROM attempts" in (statement := " ".join(str(event[2]).split())):
            found.append(statement)

    sa.event.listen(store._engine, "before_cursor_execute", listen)
    yield found
    sa.event.remove(store._engine, "before_cursor_execute", listen)


def test_the_holder_reads_its_product_once(two: tuple[Store, Store]) -> None:
    """However often it writes, and whichever lease it has by now: nobody else had one in between."""
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    with reads_of_attempts(ours) as read:
        ours.load("flights")
        for checkpoint in range(1, 4):
            ours.save(mine, replace(ATTEMPT, near=checkpoint))
            begun = ours.begin_publication(mine, replace(INTENT, checkpoint=checkpoint))
            assert ours.held(mine).unfinished == begun
            ours.finish_publication(mine, begun, 20.0, replace(ATTEMPT, near=checkpoint + 1))
            ours.give_back(mine)
            assert ours.load("flights") == ours.held(mine) == theirs.load("flights")
            mine = lease(ours)
    assert len(read) == 1


def test_a_product_that_nobody_has_is_read_once(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    their = lease(theirs, "they")
    theirs.save(their, ATTEMPT)
    with reads_of_attempts(ours) as read:
        for _ in range(2):
            ours.load("flights")
        assert len(read) == 2  # the holder may write at any time
        theirs.give_back(their)
        for _ in range(2):
            assert ours.load("flights").attempts == (ATTEMPT,)
        assert len(read) == 3


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s, mine: s.save(mine, replace(ATTEMPT, near=7)), id="save"),
        pytest.param(lambda s, mine: s.add_release(mine, RELEASE), id="release"),
        pytest.param(lambda s, mine: s.begin_publication(mine, INTENT), id="intent"),
    ],
)
def test_a_write_whose_outcome_is_not_known_is_looked_up(
    two: tuple[Store, Store],
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Store, object], object],
) -> None:
    ours, _ = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    before = ours.load("flights")
    with monkeypatch.context() as m:
        m.setattr(sa.Connection, "_commit_impl", lambda c: c.exec_driver_sql("no SQL"))
        with pytest.raises(
            OutcomeUnknownError, match="not known whether the controller's store was written"
        ):
            write(ours, mine)
    assert ours.held(mine) == ours.load("flights") == before


def test_what_became_of_a_release_or_an_intent_is_known_to_its_writer(
    two: tuple[Store, Store],
) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    ours.load("flights")
    ours.add_release(mine, RELEASE)
    assert ours.held(mine).releases == (RELEASE,)
    ours.load("flights")
    ours.drop_publication(mine, ours.begin_publication(mine, INTENT))
    assert ours.held(mine).unfinished is None
    assert ours.held(mine) == theirs.load("flights")


def test_another_attempt_is_known_to_its_writer_and_what_it_made_forgotten_is_not(
    two: tuple[Store, Store],
) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.load("flights")
    for number in range(1, KEPT_ATTEMPTS + 4):
        ours.save(
            mine,
            replace(
                ATTEMPT,
                number=number,
                metadata=None,
                state=State.failed,
                cleaned=True,
                created=float(number),
            ),
        )
        assert ours.held(mine).attempts[-1].number == number
    assert ours.held(mine) == theirs.load("flights")
    assert len(ours.held(mine).attempts) == KEPT_ATTEMPTS


def test_a_product_that_another_process_removed_is_forgotten(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    ours.give_back(mine)
    assert ours.load("flights").attempts == (ATTEMPT,)
    theirs.remove(lease(theirs, "they"))
    assert ours.load("flights") == ProductState("flights")


def test_a_product_of_the_same_name_begins_with_nothing_though_the_clock_stood_still(
    two: tuple[Store, Store],
) -> None:
    """So its first lease has the token that the removed one had."""
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    ours.load("flights")
    ours.remove(mine)
    their = lease(theirs, "they")
    assert their.token == mine.token
    assert ours.load("flights") == ProductState("flights")
    theirs.save(their, replace(ATTEMPT, near=7))
    assert ours.load("flights").attempts == (replace(ATTEMPT, near=7),)


@pytest.mark.parametrize("seen", [True, False], ids=["looked at meanwhile", "not looked at"])
def test_who_takes_the_lease_after_another_goes_on_from_what_that_one_wrote(
    two: tuple[Store, Store], seen: bool
) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    assert ours.held(mine).attempts == (ATTEMPT,)
    ours.give_back(mine)
    their = lease(theirs, "they")
    theirs.save(their, replace(ATTEMPT, near=7))
    assert not seen or ours.load("flights").attempts == (replace(ATTEMPT, near=7),)
    theirs.save(their, replace(ATTEMPT, near=8), replace(ATTEMPT, number=2))
    theirs.give_back(their)
    mine = lease(ours)
    assert ours.held(mine).attempts == (replace(ATTEMPT, near=8), replace(ATTEMPT, number=2))
    ours.save(mine, ATTEMPT)
    assert theirs.load("flights").attempts == (ATTEMPT, replace(ATTEMPT, number=2))


def test_a_holder_that_lost_its_lease_learns_what_the_next_one_wrote(
    two: tuple[Store, Store], clock: Clock
) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    assert ours.held(mine).attempts == (ATTEMPT,)
    clock.time = 20
    theirs.save(lease(theirs, "they"), replace(ATTEMPT, near=7))
    with pytest.raises(StaleLeaseError):
        ours.save(mine, replace(ATTEMPT, near=8))
    assert ours.held(mine).attempts == (replace(ATTEMPT, near=7),)
