"""The controller's memory: what is written is read back whole, and only the holder of the lease writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from memory_store import MemoryStore

from replay.errors import RetryableError
from replay.model import Attempt, Check, Checkpoint, Move, Position, Publication, Release, State
from replay.store import Lease, StaleLeaseError, Store

RELEASE = Release("flights", 1, "f1", 10.0, {"airlines": {0: 16}}, "abc", "rows")
ATTEMPT = Attempt(
    product="flights", release=1, number=1, created=11.0, parallelism=2, job_ids=("a", "b"), state=State.active,
    submitted_at=12.0, confirmed=True, restore="file:///c", missing_since=13.0,
    positions=(Position(3, {"flights": {0: 5, 1: 6}}, 12.5, {"flights": {0: 7, 1: 7}}),), near=2, audited_checkpoint=3,
    stop=State.retired, error="why", tip=Checkpoint(3, {"t": 2}), promote=Move.rollback, garbage=("f",),
    caught_up_at=12.0, checks=(Check("c", True, 1, "1 row", ({"a": 1},)),), cluster="c", rest="http://c",
    deadline=99.0, metadata=2)
INTENT = Publication(0, "flights", 1, 1, 3, {"t": 1}, {"t": 2}, {"flights": {0: 5, 1: 6}}, 14.0, kind=Move.switch)


@pytest.fixture(params=["database", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store | MemoryStore]:
    """Also the tests' own store, which others rely on, keeps the contract."""
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def lease(store: Store, holder: str = "me", now: float = 0.0, ttl: float = 10.0) -> Lease:
    got = store.acquire("flights", holder, now, ttl)
    assert got is not None
    return got


def test_what_is_saved_is_read_back_equal(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    mine = lease(store)
    store.add_release(mine, RELEASE)
    store.save(mine, ATTEMPT)
    intent = store.begin_publication(mine, INTENT)
    again = Store(f"sqlite:///{tmp_path / 'store.db'}")
    state = again.load("flights")
    again.close()
    store.close()
    assert (state.releases, state.attempts, state.unfinished) == ((RELEASE,), (ATTEMPT,), intent)
    assert store.products() == ["flights"]


def test_an_attempt_is_replaced_whole(store: Store) -> None:
    mine = lease(store)
    store.save(mine, ATTEMPT)
    bare = Attempt(product="flights", release=1, number=1, created=11.0, parallelism=2, job_ids=("a",))
    store.save(mine, bare)
    assert store.load("flights").attempts == (bare,)


def test_finishing_a_publication_changes_its_attempts_with_it(store: Store) -> None:
    mine = lease(store)
    store.save(mine, replace(ATTEMPT, state=State.audited))
    first = store.begin_publication(mine, INTENT)
    store.finish_publication(mine, first, 20.0, ATTEMPT)
    second = store.begin_publication(mine, replace(INTENT, checkpoint=4))
    state = store.load("flights")
    assert state.published == replace(first, finished=20.0)
    assert state.unfinished == second
    assert state.attempts == (ATTEMPT,)


def test_a_dropped_intent_leaves_the_last_publication(store: Store) -> None:
    mine = lease(store)
    first = store.begin_publication(mine, INTENT)
    store.finish_publication(mine, first, 20.0)
    store.drop_publication(mine, store.begin_publication(mine, replace(INTENT, checkpoint=4)))
    state = store.load("flights")
    assert (state.unfinished, state.published) == (None, replace(first, finished=20.0))


def test_only_one_holder_at_a_time(store: Store) -> None:
    lease(store, "one", now=0, ttl=10)
    assert store.acquire("flights", "two", 9.9, 10) is None
    assert store.acquire("weather", "two", 0, 10) is not None
    assert lease(store, "two", now=10).token == 2


def test_a_lease_given_back_is_free_at_once(store: Store) -> None:
    store.give_back(lease(store, "one"))
    assert lease(store, "two").token == 2


def test_giving_back_a_lost_lease_takes_nothing_from_its_successor(store: Store) -> None:
    old = lease(store, "one", now=0, ttl=10)
    lease(store, "two", now=20, ttl=10)
    store.give_back(old)
    assert store.acquire("flights", "three", 21, 10) is None


def test_a_renewed_lease_holds_longer(store: Store) -> None:
    mine = lease(store, "one", now=0, ttl=10)
    store.renew(mine, 9, 10)
    assert store.acquire("flights", "two", 18, 10) is None


@pytest.mark.parametrize("write", [
    pytest.param(lambda s, old: s.save(old, ATTEMPT), id="save"),
    pytest.param(lambda s, old: s.add_release(old, RELEASE), id="release"),
    pytest.param(lambda s, old: s.begin_publication(old, INTENT), id="intent"),
    pytest.param(lambda s, old: s.finish_publication(old, replace(INTENT, id=1), 1.0, ATTEMPT), id="outcome"),
    pytest.param(lambda s, old: s.drop_publication(old, replace(INTENT, id=1)), id="drop"),
    pytest.param(lambda s, old: s.renew(old, 30, 10), id="renew"),
])
def test_a_stale_lease_writes_nothing(store: Store, write: object) -> None:
    old = lease(store, "one", now=0, ttl=10)
    lease(store, "two", now=20, ttl=10)
    before = store.load("flights")
    with pytest.raises(StaleLeaseError) as e:
        write(store, old)  # type: ignore[operator]
    assert str(e.value) == (
        "another controller took over flights\n"
        "  expected: fencing token 1 of one\n"
        "  found:    token 2\n"
        "  next:     kappa deploy flights  (shows what the other one does)")
    assert store.load("flights") == before


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """The same database, as two processes have it."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    opened = Store(url), Store(url)
    yield opened
    for store in opened:
        store.close()


def test_what_another_process_writes_is_seen_at_once(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    ours.give_back(mine)
    assert ours.load("flights").attempts == (ATTEMPT,)
    their = lease(theirs, "they")
    for near in range(3, 6):
        theirs.save(their, replace(ATTEMPT, near=near))
        assert ours.load("flights").attempts == (replace(ATTEMPT, near=near),)
    theirs.add_release(their, RELEASE)
    assert ours.load("flights").releases == (RELEASE,)
    theirs.give_back(their)
    assert ours.load("flights") == theirs.load("flights")


def test_the_holder_of_an_expired_lease_may_still_write_and_is_seen(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    their = lease(theirs, "they", now=0, ttl=10)
    theirs.save(their, ATTEMPT)
    assert ours.load("flights").attempts == (ATTEMPT,)
    theirs.save(their, replace(ATTEMPT, near=7))
    mine = lease(ours, now=20)
    assert ours.load("flights").attempts == (replace(ATTEMPT, near=7),)
    ours.save(mine, replace(ATTEMPT, near=8))
    with pytest.raises(StaleLeaseError):
        theirs.save(their, ATTEMPT)
    assert theirs.load("flights").attempts == (replace(ATTEMPT, near=8),)


def test_after_a_write_that_failed_the_store_reads_again(
        two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = two
    mine = lease(ours)
    ours.save(mine, ATTEMPT)
    with monkeypatch.context() as m:
        m.setattr(sa.Connection, "_commit_impl", lambda c: c.exec_driver_sql("no SQL"))
        with pytest.raises(sa.exc.OperationalError):
            ours.save(mine, replace(ATTEMPT, near=7))
    assert ours.load("flights") == theirs.load("flights")
    assert ours.load("flights").attempts == (ATTEMPT,)


def test_a_store_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match="the controller's store does not answer"):
        Store(f"sqlite:///{tmp_path / 'missing' / 'store.db'}")
