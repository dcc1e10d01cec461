"""What is particular to SQLite: which writes wait for the disk, how long a lock is waited for, stores in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from replay.core.events import Event, Reason
from replay.errors import RetryableError
from replay.store.leases import Lease
from replay.store.store import Store
from tests.unit.control_platform import Clock
from tests.unit.test_store import ATTEMPT, INTENT, RELEASE, clock, lease

__all__ = ["clock"]

NORMAL, FULL = 1, 2
"""Of `PRAGMA synchronous`: with NORMAL a power cut may take back what was written, with FULL it cannot."""


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}", clock)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("write", "synchronous"),
    [
        pytest.param(lambda s, mine: s.save(mine, ATTEMPT), FULL, id="an attempt"),
        pytest.param(lambda s, mine: s.add_release(mine, RELEASE), FULL, id="a release"),
        pytest.param(
            lambda s, mine: s.note(mine, Event("flights", 1.0, "r1-a1", Reason.lost)),
            FULL,
            id="an event",
        ),
        pytest.param(lambda s, mine: s.begin_publication(mine, INTENT), FULL, id="an intent"),
        pytest.param(
            lambda s, mine: s.drop_publication(mine, replace(INTENT, id=1)),
            FULL,
            id="a refused intent",
        ),
        pytest.param(lambda s, mine: s.remove(mine), FULL, id="a removal"),
        pytest.param(
            lambda s, mine: s.save(mine, ATTEMPT, durable=False),
            NORMAL,
            id="what is observed again",
        ),
        pytest.param(
            lambda s, mine: s.finish_publication(mine, replace(INTENT, id=1), 1.0),
            NORMAL,
            id="an outcome",
        ),
        pytest.param(lambda s, mine: s.acquire("flights", "me", 10), NORMAL, id="a lease"),
        pytest.param(lambda s, mine: s.renew(mine, 10), NORMAL, id="a renewed lease"),
        pytest.param(lambda s, mine: s.give_back(mine), NORMAL, id="a lease given back"),
    ],
)
def test_what_may_not_be_lost_is_on_the_disk_before_anything_else_happens(
    store: Store, write: Callable[[Store, Lease], object], synchronous: int
) -> None:
    mine = lease(store)
    found: list[int] = []

    def listen(c: sa.Connection) -> None:
        found.append(c.exec_driver_sql("PRAGMA synchronous").scalar_one())

    sa.event.listen(store._engine, "commit", listen)
    write(store, mine)
    assert found == [synchronous]


@pytest.mark.parametrize(
    ("chosen", "milliseconds"),
    [
        pytest.param("", 30_000, id="by default"),
        pytest.param("?timeout=7", 7_000, id="chosen in the address"),
    ],
)
def test_how_long_a_lock_of_another_process_is_waited_for(
    tmp_path: Path, chosen: str, milliseconds: int
) -> None:
    with (
        closing(Store(f"sqlite:///{tmp_path / 'store.db'}{chosen}")) as store,
        store._engine.connect() as c,
    ):
        assert c.exec_driver_sql("PRAGMA busy_timeout").scalar() == milliseconds


def test_readers_and_a_writer_are_not_in_each_others_way(store: Store, tmp_path: Path) -> None:
    """As `kappa status` and a controller."""
    mine = lease(store)
    store.save(mine, ATTEMPT)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM attempts")
        assert store.load("flights").attempts == (ATTEMPT,)
        assert [e.reason for e in store.events("flights")] == [Reason.active]
        assert store.on_session_cluster() == store.products() == []
        writer.execute("ROLLBACK")
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM attempts").fetchall()
        store.save(mine, replace(ATTEMPT, near=9))
    assert store.load("flights").attempts == (replace(ATTEMPT, near=9),)


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_store_in_memory_is_one_for_all_threads(address: str) -> None:
    with closing(Store(address)) as store, ThreadPoolExecutor(1) as another:
        another.submit(lambda: store.save(lease(store), ATTEMPT)).result()
        assert store.load("flights").attempts == (ATTEMPT,)


def test_an_error_names_the_store_without_the_parameters_of_its_address(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "store.db"
    with pytest.raises(RetryableError) as e:
        Store(f"sqlite:///{missing}?timeout=7")
    assert e.value.expected == f"an answer from sqlite:///{missing}"


def test_a_closed_store_is_one_file(tmp_path: Path, store: Store) -> None:
    """With all that was written in it, as people copy it."""
    store.save(lease(store), ATTEMPT)
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]
