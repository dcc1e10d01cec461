"""The journal of publications has a bound, and keeps what rollbacks, readers and the controller's time need of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from replay.core.model import Move, Publication
from replay.store import tables as store_tables
from replay.store.leases import Lease
from replay.store.store import KEPT_MOVES, KEPT_PUBLICATIONS, Store
from tests.unit.control_platform import Clock
from tests.unit.test_store import ATTEMPT, INTENT, clock, lease

__all__ = ["clock"]
T = store_tables.publications


@pytest.fixture
def url(databases: Callable[[], str]) -> str:
    return databases()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    with closing(Store(url, clock)) as opened:
        yield opened


def done(store: Store, mine: Lease, kind: Move) -> int:
    """A publication from its intent to its end; its id."""
    begun = store.begin_publication(mine, replace(INTENT, product=mine.product, kind=kind))
    store.finish_publication(mine, begun, 20.0)
    return begun.id


def number_on(store: Store, id: int) -> None:
    """Have the next publication this id, as after so many."""
    with store._engine.begin() as c:
        if c.dialect.name == "postgresql":
            c.exec_driver_sql(f"SELECT setval('publications_id_seq', {id}, false)")
            return
        c.execute(
            T.insert().values(
                id=id - 1,
                product="others",
                release=1,
                attempt=1,
                checkpoint=1,
                kind="publish",
                before={},
                after={},
                covered={},
                started=1.0,
                finished=None,
            )
        )


def kept(store: Store, product: str = "flights") -> Sequence[int]:
    with store._engine.connect() as c:
        return c.scalars(sa.select(T.c.id).where(T.c.product == product).order_by(T.c.id)).all()


def test_of_publications_the_newest_are_kept_and_of_moves_more(store: Store) -> None:
    mine = lease(store)
    switched = done(store, mine, Move.switch)
    done(store, mine, Move.publish)
    second = done(store, mine, Move.publish)
    unfinished = store.begin_publication(mine, replace(INTENT, kind=Move.publish)).id

    number_on(store, second + KEPT_PUBLICATIONS - 1)
    before_last = done(store, mine, Move.publish)
    assert kept(store) == [switched, second, unfinished, before_last]
    last = done(store, mine, Move.publish)
    assert kept(store) == [switched, unfinished, before_last, last]

    number_on(store, switched + KEPT_MOVES - 1)
    rolled_back = done(store, mine, Move.rollback)
    assert kept(store) == [switched, unfinished, rolled_back]
    newest = done(store, mine, Move.publish)
    assert kept(store) == [unfinished, rolled_back, newest]


def test_the_bounds_are_those_that_people_read_of() -> None:
    rows = (Path(__file__).parents[2] / "docs" / "growth.md").read_text().splitlines()
    [row] = [row for row in rows if row.startswith("| Journal of publications |")]
    assert re.findall(r"newest ([\d,]+)", row) == [f"{KEPT_PUBLICATIONS:,}", f"{KEPT_MOVES:,}"]


def test_of_what_is_done_only_the_last_is_read_beside_what_is_under_way(
    store: Store, url: str
) -> None:
    """So no more attempts are kept for the journal's sake."""
    mine = lease(store)
    for _ in range(2):
        last = done(store, mine, Move.publish)
    assert [p.id for p in store.load("flights").publications] == [last]
    unfinished = store.begin_publication(mine, INTENT).id
    with closing(Store(url)) as another:
        assert [p.id for p in another.load("flights").publications] == [last, unfinished]


def test_the_last_publication_of_a_product_that_stands_still_is_kept(store: Store) -> None:
    still = store.acquire("weather", "me", 10)
    assert still
    shown = done(store, still, Move.publish)
    number_on(store, shown + KEPT_MOVES + 1)
    done(store, lease(store), Move.publish)
    assert kept(store, "weather") == [shown]
    published = store.load("weather").published
    assert published and published.id == shown


def test_the_time_does_not_go_back_behind_the_newest_publication(
    store: Store, clock: Clock
) -> None:
    """Which is no event of the history, unless readers were switched over."""
    mine = lease(store)
    for started in (3000.0, 3600.0):
        begun = store.begin_publication(mine, replace(INTENT, kind=Move.publish, started=started))
        store.finish_publication(mine, begun, started)
    clock.time = 1
    assert store.seconds() == 3600


def test_the_time_does_not_go_back_behind_the_newest_event(store: Store, clock: Clock) -> None:
    mine = lease(store)
    for at in (3000, 3600):
        clock.time = at
        store.save(mine, replace(ATTEMPT, number=at))
    clock.time = 1
    assert store.seconds() == 3600


def test_a_finished_publication_changes_no_other(store: Store) -> None:
    mine, other = lease(store), store.acquire("weather", "me", 10)
    assert other
    theirs = store.begin_publication(other, replace(INTENT, product="weather"))
    done(store, mine, Move.switch)
    store.drop_publication(mine, store.begin_publication(mine, INTENT))
    store.give_back(other)
    assert store.load("weather").unfinished == theirs


@pytest.mark.parametrize("kind", Move)
def test_only_moves_of_readers_to_another_attempt_are_in_the_history(
    store: Store, kind: Move
) -> None:
    done(store, lease(store), kind)
    told = [] if kind is Move.publish else [("r1-a1", kind.value, "checkpoint 3")]
    assert [(e.attempt, e.reason, e.detail) for e in store.events("flights")] == told


def test_a_publication_is_read_back_as_it_was_written(store: Store) -> None:
    """By a process that did not write it."""
    mine = lease(store)
    written = Publication(
        0,
        "flights",
        2,
        3,
        2**40,
        {"a": 2**60, "b": 1},
        {"a": 2**61, "b": 2},
        {"flights": {0: 2**50}},
        14.5,
        kind=Move.rollback,
    )
    begun = store.begin_publication(mine, written)
    store.finish_publication(mine, begun, 15.5)
    # so that nothing of it is remembered
    store.drop_publication(mine, store.begin_publication(mine, INTENT))
    assert store.load("flights").publications == (replace(written, id=begun.id, finished=15.5),)
