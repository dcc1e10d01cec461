"""The controller's memory: what is written is read back whole, and only the holder of the lease writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from replay.core.events import Event, Reason
from replay.core.model import (
    Attempt,
    Check,
    Checkpoint,
    Move,
    Position,
    ProductState,
    Publication,
    Release,
    State,
)
from replay.errors import RetryableError
from replay.releases.retention import KEPT_ATTEMPTS, KEPT_EVENTS
from replay.store import tables as store_tables
from replay.store.leases import Lease, LeaseStatements, StaleLeaseError, clock_of
from replay.store.store import KEPT_PUBLICATIONS, Store
from tests.unit.control_platform import Clock
from tests.unit.memory_store import MemoryStore

Databases = Callable[[], str]

RELEASE = Release("flights", 1, "f1", 10.0, {"airlines": {0: 16}}, "abc", "rows")
ATTEMPT = Attempt(
    product="flights",
    release=1,
    number=1,
    created=11.0,
    parallelism=2,
    job_ids=("a", "b"),
    state=State.active,
    submitted_at=12.0,
    confirmed=True,
    restore="file:///c",
    missing_since=13.0,
    positions=(Position(3, {"flights": {0: 5, 1: 6}}, 12.5, {"flights": {0: 7, 1: 7}}),),
    near=2,
    audited_checkpoint=3,
    stop=State.retired,
    error="why",
    tip=Checkpoint(3, {"t": 2}),
    promote=Move.rollback,
    garbage=("f",),
    caught_up_at=12.0,
    checks=(Check("c", True, 1, "1 row", ({"a": 1},)),),
    cluster="c",
    rest="http://c",
    deadline=99.0,
    metadata=2,
)
INTENT = Publication(
    0, "flights", 1, 1, 3, {"t": 1}, {"t": 2}, {"flights": {0: 5, 1: 6}}, 14.0, kind=Move.switch
)


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Store | MemoryStore]:
    """Also the tests' own store, which others rely on, keeps the contract."""
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    sqlite = request.param == "sqlite"
    url = (
        f"sqlite:///{tmp_path / 'store.db'}"
        if sqlite
        else request.getfixturevalue("postgresql").database()
    )
    opened = Store(url, clock)
    yield opened
    opened.close()


def lease(store: Store, holder: str = "me", ttl: float = 10.0) -> Lease:
    got = store.acquire("flights", holder, ttl)
    assert got is not None
    return got


def test_what_is_saved_is_read_back_equal(databases: Databases) -> None:
    url = databases()
    store = Store(url)
    mine = lease(store)
    store.add_release(mine, RELEASE)
    store.save(mine, ATTEMPT)
    intent = store.begin_publication(mine, INTENT)
    again = Store(url)
    state = again.load("flights")
    again.close()
    assert (state.releases, state.attempts, state.unfinished) == ((RELEASE,), (ATTEMPT,), intent)
    assert store.products() == ["flights"]
    store.close()


def test_an_attempt_is_replaced_whole(store: Store) -> None:
    mine = lease(store)
    store.save(mine, ATTEMPT)
    bare = Attempt(
        product="flights", release=1, number=1, created=11.0, parallelism=2, job_ids=("a",)
    )
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


def test_what_readers_saw_at_a_time_is_the_last_publication_finished_by_then(store: Store) -> None:
    mine = lease(store)
    first = store.begin_publication(mine, INTENT)
    store.finish_publication(mine, first, 20.0)
    second = store.begin_publication(mine, replace(INTENT, checkpoint=4, started=25.0))
    store.finish_publication(mine, second, 30.0)
    store.begin_publication(mine, replace(INTENT, checkpoint=5, started=31.0))
    seen = [store.published_at("flights", at) for at in (19.9, 20.0, 29.9, 30.0, 99.0)]
    assert [p and p.checkpoint for p in seen] == [None, INTENT.checkpoint, INTENT.checkpoint, 4, 4]
    assert seen[1] == replace(first, finished=20.0)


def test_a_switch_that_is_kept_is_not_what_readers_saw_after_it(databases: Databases) -> None:
    store = Store(databases())
    mine = lease(store)
    kinds = [Move.switch, *[Move.publish] * (KEPT_PUBLICATIONS + 50)]
    for number, kind in enumerate(kinds, start=1):
        begun = store.begin_publication(mine, replace(INTENT, checkpoint=number, kind=kind))
        store.finish_publication(mine, begun, 10.0 * number)
    assert store.published_at("flights", 405.0) is None
    found = store.published_at("flights", 1005.0)
    assert found and found.checkpoint == 100
    store.close()


def test_what_readers_of_another_product_saw_is_not_what_this_ones_did(
    databases: Databases,
) -> None:
    store = Store(databases())
    other = store.acquire("others", "me", 10.0)
    assert other
    begun = store.begin_publication(other, replace(INTENT, product="others"))
    store.finish_publication(other, begun, 20.0)
    assert store.published_at("flights", 99.0) is None
    assert store.published_at("others", 99.0) == replace(begun, finished=20.0)
    store.close()


def test_only_one_holder_at_a_time(store: Store, clock: Clock) -> None:
    lease(store, "one")
    clock.time = 9.9
    assert store.acquire("flights", "two", 10) is None
    assert store.acquire("weather", "two", 10) is not None
    clock.time = 10
    assert lease(store, "two").token == 2


def test_a_holder_takes_its_own_lease_again(store: Store, clock: Clock) -> None:
    """Which it cannot know of when the answer was lost."""
    first = lease(store, "one")
    again = lease(store, "one")
    assert (first.token, again.token) == (1, 2)
    with pytest.raises(StaleLeaseError):
        store.save(first, ATTEMPT)
    clock.time = 9.9
    assert store.acquire("flights", "two", 10) is None


def test_a_lease_given_back_is_free_at_once(store: Store) -> None:
    store.give_back(lease(store, "one"))
    assert lease(store, "two").token == 2


def test_leases_of_products_with_the_same_token_are_apart(store: Store, clock: Clock) -> None:
    mine, other = lease(store, "one"), store.acquire("weather", "one", 10)
    assert other and other.token == mine.token
    store.give_back(mine)
    assert store.acquire("weather", "two", 10) is None
    clock.time = 9
    store.renew(lease(store, "two"), 10)
    clock.time = 10
    assert store.acquire("weather", "two", 10)
    assert store.acquire("flights", "three", 10) is None


def test_giving_back_a_lost_lease_takes_nothing_from_its_successor(
    store: Store, clock: Clock
) -> None:
    old = lease(store, "one")
    clock.time = 20
    lease(store, "two")
    store.give_back(old)
    clock.time = 21
    assert store.acquire("flights", "three", 10) is None


def test_a_renewed_lease_holds_longer(store: Store, clock: Clock) -> None:
    mine = lease(store, "one")
    clock.time = 9
    store.renew(mine, 10)
    clock.time = 18
    assert store.acquire("flights", "two", 10) is None


def test_a_clock_set_back_does_not_keep_a_dead_holders_lease(store: Store, clock: Clock) -> None:
    clock.time = 3600
    lease(store, "dead")
    clock.time = 1
    assert lease(store, "two").holder == "two"
    assert store.acquire("flights", "three", 10) is None


def test_the_time_does_not_go_back_behind_what_the_history_says(store: Store, clock: Clock) -> None:
    clock.time = 3600
    store.save(lease(store), ATTEMPT)
    clock.time = 1
    assert store.seconds() == 3600
    clock.time = 4000
    assert store.seconds() == 4000


def test_by_default_the_databases_clock_tells_whatever_the_process_believes(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, url = time.time(), databases()
    monkeypatch.setattr(time, "time", lambda: before - 3600)
    one, two = (Store(url) for _ in range(2))
    lease(one, "one", ttl=1000)
    assert two.acquire("flights", "two", 1000) is None
    assert before - 1 <= one.seconds() <= before + 600
    assert abs(one.now() - two.now()) < 1
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("database", "told"),
    [
        pytest.param("sqlite", "julianday(", id="sqlite"),
        pytest.param("postgresql+psycopg", "clock_timestamp()", id="postgresql"),
    ],
)
def test_a_lease_is_dated_and_judged_in_the_statement_itself(database: str, told: str) -> None:
    dialect = sa.make_url(f"{database}://").get_dialect()()
    leases = LeaseStatements.by(clock_of(dialect), dialect)
    for statement in (leases.asked, leases.first, leases.taken, leases.renewed):
        assert told in str(statement.compile(dialect=dialect))


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s, old: s.save(old, ATTEMPT), id="save"),
        pytest.param(lambda s, old: s.add_release(old, RELEASE), id="release"),
        pytest.param(lambda s, old: s.begin_publication(old, INTENT), id="intent"),
        pytest.param(
            lambda s, old: s.finish_publication(old, replace(INTENT, id=1), 1.0, ATTEMPT),
            id="outcome",
        ),
        pytest.param(lambda s, old: s.drop_publication(old, replace(INTENT, id=1)), id="drop"),
        pytest.param(lambda s, old: s.renew(old, 10), id="renew"),
    ],
)
def test_a_stale_lease_writes_nothing(
    store: Store, clock: Clock, write: Callable[[Store, Lease], object]
) -> None:
    old = lease(store, "one")
    clock.time = 20
    lease(store, "two")
    before = store.load("flights")
    with pytest.raises(StaleLeaseError) as e:
        write(store, old)
    assert str(e.value) == (
        "another controller took over flights\n"
        "  expected: fencing token 1 of one\n"
        "  found:    token 2\n"
        "  next:     kappa deploy flights  (shows what the other one does)"
    )
    assert store.load("flights") == before


def test_the_history_tells_what_became_of_an_attempt(store: Store) -> None:
    mine = lease(store)
    store.add_release(mine, RELEASE)
    store.save(mine, replace(ATTEMPT, state=State.built, error=""))
    store.save(mine, replace(ATTEMPT, state=State.audited, error=""))
    store.save(mine, replace(ATTEMPT, state=State.audited, error="", near=9))
    begun = store.begin_publication(mine, INTENT)
    store.finish_publication(mine, begun, 20.0, replace(ATTEMPT, error=""))
    store.note(
        mine,
        Event("flights", 21.0, "r1-a1", Reason.lost, "the cluster lost its job"),
        replace(ATTEMPT, error="", job_ids=("a", "b", "c")),
    )
    store.save(mine, ATTEMPT, replace(ATTEMPT, number=2, state=State.built))
    assert [(e.attempt, e.reason, e.detail) for e in store.events("flights")] == [
        ("r1-a1", "built", ""),
        ("r1-a1", "audited", ""),
        ("r1-a1", "active", ""),
        ("r1-a1", "switch", "checkpoint 3"),
        ("r1-a1", "lost", "the cluster lost its job"),
        ("r1-a1", "resumed", "job c from file:///c"),
        ("r1-a1", "resumed", "job b from file:///c"),
        ("r1-a2", "built", "why"),
    ]
    assert store.products() == ["flights"]


def test_an_event_that_is_the_newest_already_is_not_noted_again(store: Store) -> None:
    mine = lease(store)
    store.save(mine, ATTEMPT)
    for detail in ("no disk", "no disk", "no jar", "no disk"):
        store.note(
            mine,
            Event("flights", 21.0, "r1-a1", Reason.refused, detail),
            replace(ATTEMPT, refused=detail),
        )
        assert store.load("flights").attempts[0].refused == detail
    store.note(mine, Event("flights", 21.0, "r1-a2", Reason.refused, "no disk"))
    assert [(e.attempt, e.detail) for e in store.events("flights") if e.reason == "refused"] == [
        ("r1-a1", "no disk"),
        ("r1-a1", "no jar"),
        ("r1-a1", "no disk"),
        ("r1-a2", "no disk"),
    ]


def test_attempts_without_a_cluster_of_their_own_share_one(store: Store) -> None:
    mine = lease(store)
    store.save(
        mine,
        ATTEMPT,
        replace(ATTEMPT, number=2, cluster=""),
        replace(ATTEMPT, number=3, cluster="", state=State.failed),
    )
    assert store.on_session_cluster() == ["flights-r1-a2"]
    store.save(mine, replace(ATTEMPT, number=2, cluster="", state=State.retired))
    assert store.on_session_cluster() == []


def test_nothing_is_left_of_a_removed_product(store: Store, clock: Clock) -> None:
    mine = lease(store)
    store.add_release(mine, RELEASE)
    store.save(mine, ATTEMPT)
    store.finish_publication(mine, store.begin_publication(mine, INTENT), 1.0)
    store.remove(mine)
    assert (store.products(), store.events("flights"), store.load("flights")) == (
        [],
        [],
        ProductState("flights"),
    )


def test_who_held_a_removed_product_cannot_write_to_the_next_of_its_name(
    store: Store, clock: Clock
) -> None:
    for _ in range(100):  # several a second
        frozen = lease(store, "frozen")
    clock.time = 20
    store.remove(lease(store, "remover"))
    with pytest.raises(StaleLeaseError):
        store.save(frozen, ATTEMPT)
    for _ in range(2):
        following = lease(store, "next")
        assert following.token > frozen.token
        store.give_back(following)
        store.give_back(frozen)
        with pytest.raises(StaleLeaseError):
            store.save(frozen, ATTEMPT)
    assert store.load("flights").attempts == ()


def test_ended_attempts_and_their_releases_are_forgotten_beyond_a_bound(store: Store) -> None:
    mine = lease(store)
    for number in range(1, KEPT_ATTEMPTS + 6):
        store.add_release(mine, replace(RELEASE, number=number))
        store.save(
            mine,
            replace(
                ATTEMPT,
                release=number,
                metadata=None,
                state=State.retired,
                cleaned=True,
                created=float(number),
            ),
        )
    state = store.load("flights")
    assert state == store.held(mine)
    assert len(state.attempts) == KEPT_ATTEMPTS
    assert [r.number for r in state.releases] == list(range(6, KEPT_ATTEMPTS + 6))


def test_of_a_release_that_is_tried_again_and_again_the_newest_attempts_are_kept(
    store: Store,
) -> None:
    mine = lease(store)
    store.add_release(mine, RELEASE)
    for number in range(1, KEPT_ATTEMPTS + 6):
        store.save(
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
    assert [a.number for a in store.load("flights").attempts] == list(range(6, KEPT_ATTEMPTS + 6))
    assert store.load("flights").releases == (RELEASE,)


def test_first_attempts_of_two_releases_are_apart(store: Store) -> None:
    mine = lease(store)
    first, second = ATTEMPT, replace(ATTEMPT, release=2)
    store.save(mine, first, second)
    store.save(mine, replace(second, near=9))
    assert store.load("flights").attempts == (first, replace(second, near=9))


def test_what_is_noted_of_another_product_is_not_this_ones_newest(databases: Databases) -> None:
    store = Store(databases())
    for product in ("weather", "flights"):
        mine = store.acquire(product, "me", 10)
        assert mine
        store.note(mine, Event(product, 21.0, "r1-a1", Reason.lost, "no cluster"))
        assert [e.detail for e in store.events(product)] == ["no cluster"]
    store.close()


def test_what_is_written_of_a_product_changes_no_other(databases: Databases, clock: Clock) -> None:
    """Whose releases, attempts and publications have the same numbers."""
    url = databases()
    store, another = Store(url, clock), Store(url, clock)

    def weather() -> tuple[ProductState, list[Event]]:
        return another.load("weather"), another.events("weather")

    other = store.acquire("weather", "me", 10)
    assert other
    for number in range(1, 4):
        store.add_release(other, replace(RELEASE, product="weather", number=number))
        store.save(other, replace(ATTEMPT, product="weather", release=number))
    begun = store.begin_publication(other, replace(INTENT, product="weather"))
    store.finish_publication(other, begun, 20.0)
    before = weather()
    mine = lease(store)
    for number in range(1, KEPT_ATTEMPTS + 6):
        store.add_release(mine, replace(RELEASE, number=number))
        ended = replace(ATTEMPT, release=number, metadata=None, cleaned=True, created=float(number))
        store.save(mine, replace(ended, state=State.built))
        store.save(mine, replace(ended, state=State.retired))
    store.finish_publication(mine, store.begin_publication(mine, INTENT), 20.0)
    store.drop_publication(mine, store.begin_publication(mine, INTENT))
    assert weather() == before
    store.remove(mine)
    assert weather() == before
    store.close()
    another.close()


def kept_already(store: Store, mine: Lease, count: int) -> None:
    """So many entries in the history; in a database at once, as a transaction for each takes long."""
    events = [Event("flights", float(n), "r1-a1", Reason.checked, f"{n}") for n in range(count)]
    if isinstance(store, Store):
        with store._engine.begin() as c:
            c.execute(
                store_tables.events.insert(),
                [
                    {
                        "product": e.product,
                        "at": e.at,
                        "attempt": e.attempt,
                        "what": e.reason.value,
                        "detail": e.detail,
                    }
                    for e in events
                ],
            )
        return
    for event in events:
        store.note(mine, event)


def test_of_the_history_the_newest_entries_are_kept(store: Store) -> None:
    mine = lease(store)
    kept_already(store, mine, KEPT_EVENTS)
    for number in range(KEPT_EVENTS, KEPT_EVENTS + 5):
        store.note(mine, Event("flights", float(number), "r1-a1", Reason.checked, f"{number}"))
    events = store.events("flights")
    assert len(events) == KEPT_EVENTS
    assert (events[0].detail, events[-1].detail) == ("5", str(KEPT_EVENTS + 4))


def test_the_history_of_another_product_is_its_own(tmp_path: Path, clock: Clock) -> None:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", clock)
    other = store.acquire("weather", "me", 10)
    assert other
    store.note(other, Event("weather", 0.0, "r1-a1", Reason.checked))
    mine = lease(store)
    for number in range(KEPT_EVENTS + 1):
        store.note(mine, Event("flights", float(number), "r1-a1", Reason.checked, f"{number}"))
    assert len(store.events("weather")) == 1
    store.close()


def test_many_threads_write_to_their_products_at_the_same_time(databases: Databases) -> None:
    threads, url = 16, databases()
    shared = Store(url)

    def work(n: int) -> None:
        product = f"product_{n}"
        for near in range(10):
            mine = shared.acquire(product, "me", 10)
            assert mine
            shared.save(mine, replace(ATTEMPT, product=product, near=near))
            shared.renew(mine, 10)
            shared.give_back(mine)
            assert shared.load(product).attempts[0].near == near

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    shared.close()
    again = Store(url)
    assert {again.load(f"product_{n}").attempts[0].near for n in range(threads)} == {9}
    again.close()


@pytest.fixture
def two(databases: Databases, clock: Clock) -> Iterator[tuple[Store, Store]]:
    """The same database, as two processes have it."""
    url = databases()
    opened = Store(url, clock), Store(url, clock)
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


def test_the_holder_of_an_expired_lease_may_still_write_and_is_seen(
    two: tuple[Store, Store], clock: Clock
) -> None:
    ours, theirs = two
    their = lease(theirs, "they")
    theirs.save(their, ATTEMPT)
    assert ours.load("flights").attempts == (ATTEMPT,)
    theirs.save(their, replace(ATTEMPT, near=7))
    clock.time = 20
    mine = lease(ours)
    assert ours.load("flights").attempts == (replace(ATTEMPT, near=7),)
    ours.save(mine, replace(ATTEMPT, near=8))
    with pytest.raises(StaleLeaseError):
        theirs.save(their, ATTEMPT)
    assert theirs.load("flights").attempts == (replace(ATTEMPT, near=8),)


def test_a_look_sees_one_instant(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    their = lease(theirs, "they")
    theirs.save(their, ATTEMPT)

    def write(*event: Any) -> None:
        if "FROM releases" in event[2] and not theirs.products():
            theirs.add_release(their, RELEASE)
            theirs.save(their, replace(ATTEMPT, near=9))

    sa.event.listen(ours._reading, "before_cursor_execute", write)
    assert ours.load("flights") == ProductState("flights", attempts=(ATTEMPT,))
    assert ours.load("flights") == theirs.load("flights")
    assert ours.load("flights").releases == (RELEASE,)


def test_of_many_that_want_the_first_lease_one_has_it(two: tuple[Store, Store]) -> None:
    many = 8
    together = Barrier(many)

    def take(number: int) -> Lease | None:
        together.wait()
        return two[number % 2].acquire("flights", f"{number}", 1000)

    with ThreadPoolExecutor(many) as pool:
        taken = [got for got in pool.map(take, range(many)) if got]
    assert len(taken) == 1
    two[0].save(taken[0], ATTEMPT)


def test_a_store_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match="the controller's store does not answer"):
        Store(f"sqlite:///{tmp_path / 'missing' / 'store.db'}")
