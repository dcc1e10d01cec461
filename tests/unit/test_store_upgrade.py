"""Stores of other versions: older ones are copied and upgraded, newer ones refused, and nobody is in another's way."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from replay.database import with_driver
from replay.errors import RefusedError
from replay.store import migrations
from replay.store import tables as store_tables
from replay.store import upgrade as store_upgrade
from replay.store.leases import Lease, StaleLeaseError
from replay.store.migrations.versions import v0001_tables
from replay.store.store import Store
from tests.unit.test_store import ATTEMPT, INTENT, RELEASE, lease


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def opened(file: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{file}")
    yield store
    store.close()


def unversioned(of: Path | str) -> None:
    """As it was before there were versions, with a release, its attempt and a publication under way."""
    engine = sa.create_engine(with_driver(of) if isinstance(of, str) else f"sqlite:///{of}")
    body = ATTEMPT.to_json()
    del body["version"]
    t = v0001_tables
    with engine.begin() as c:
        if engine.dialect.name == "sqlite":
            c.exec_driver_sql("PRAGMA journal_mode=WAL")
        t._meta.create_all(c)
        c.execute(t._leases.insert().values(product="flights", holder="me", token=7, expires=1e12))
        c.execute(
            t._releases.insert().values(
                product="flights",
                number=1,
                fingerprint="f1",
                git_commit="abc",
                computation="rows",
                created=10.0,
                reference_offsets={"airlines": {"0": 16}},
            )
        )
        c.execute(
            t._attempts.insert().values(
                product="flights", release=1, number=1, state="active", body=body
            )
        )
        c.execute(
            t._publications.insert().values(
                product="flights",
                release=1,
                attempt=1,
                checkpoint=3,
                kind="switch",
                before={"t": 1},
                after={"t": 2},
                covered={"flights": {"0": 5, "1": 6}},
                started=14.0,
            )
        )
    engine.dispose()


def of_version(file: Path, version: str) -> None:
    with closing(sqlite3.connect(file)) as c, c:
        c.execute("UPDATE store_version SET version_num = ?", (version,))


def rows(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as c:
        return list(c.iterdump())


def form(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """Table → its columns and indices, as SQLite tells them."""
    with closing(sqlite3.connect(file)) as c:
        names = [
            name
            for (name,) in c.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
        ]
        return {
            name: [
                *c.execute(f"PRAGMA table_info({name})"),
                *c.execute(f"PRAGMA index_list({name})"),
            ]
            for name in names
        }


def test_a_store_without_a_version_is_upgraded_and_keeps_what_it_has(
    file: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    unversioned(file)
    was = rows(file)
    with closing(Store(f"sqlite:///{file}")) as store:
        state = store.load("flights")
    assert (state.releases, state.attempts, state.unfinished) == (
        (RELEASE,),
        (ATTEMPT,),
        replace(INTENT, id=1),
    )
    copy = file.with_name("store.db.unversioned.bak")
    assert rows(copy) == was
    assert {f.name for f in file.parent.iterdir()} <= {
        file.name,
        copy.name,
        "store.db-wal",
        "store.db-shm",
    }
    assert [r.getMessage() for r in caplog.records] == [
        f"upgrading the controller's store sqlite:///{file} from no version to version 2; a copy of it as it was is "
        f"{copy}"
    ]
    assert capfd.readouterr() == ("", "")


def test_a_copy_is_no_more_readable_than_the_store(file: Path) -> None:
    unversioned(file)
    file.chmod(0o600)
    Store(f"sqlite:///{file}").close()
    assert file.with_name("store.db.unversioned.bak").stat().st_mode & 0o777 == 0o600


def test_the_copy_put_back_is_upgraded_again(file: Path) -> None:
    unversioned(file)
    Store(f"sqlite:///{file}").close()
    file.with_name("store.db.unversioned.bak").replace(file)
    for left in ("store.db-wal", "store.db-shm"):
        file.with_name(left).unlink(missing_ok=True)
    with closing(Store(f"sqlite:///{file}")) as store:
        assert store.load("flights").attempts == (ATTEMPT,)
    assert file.with_name("store.db.unversioned.bak").exists()


def test_an_upgraded_store_has_the_form_of_a_fresh_one(file: Path, tmp_path: Path) -> None:
    unversioned(file)
    Store(f"sqlite:///{file}").close()
    Store(f"sqlite:///{tmp_path / 'fresh.db'}").close()
    assert form(file) == form(tmp_path / "fresh.db")


def test_the_newest_migration_is_the_version_of_the_tables() -> None:
    script = ScriptDirectory(Path(migrations.__file__).parent)
    assert script.get_current_head() == store_tables.VERSION
    numbers = [r.revision for r in reversed(list(script.walk_revisions()))]
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)], "one line, numbered"


def test_opening_a_store_of_this_version_asks_for_the_version_and_the_time(
    opened: Store, file: Path
) -> None:
    asked: list[str] = []
    with closing(sqlite3.connect(file)) as spy:
        assert spy.execute("SELECT version_num FROM store_version").fetchall() == [
            (store_tables.VERSION,)
        ]

    def listen(*event: object) -> None:
        asked.append(str(event[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        Store(f"sqlite:///{file}").close()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)
    first, second = (" ".join(a.split()) for a in asked)
    assert first == "SELECT store_version.version_num FROM store_version"
    assert second.startswith("SELECT (julianday(")


def test_only_an_upgrade_imports_alembic(file: Path) -> None:
    program = (
        "import sys; from replay.store.store import Store;"
        "Store(sys.argv[1]).close(); Store(sys.argv[1]).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program, f"sqlite:///{file}"], check=False).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("version", "message", "found"),
    [
        pytest.param("0003", "is of a newer version of kappa", "version 3", id="newer"),
        pytest.param("e5f1", "has no known version", "version e5f1", id="of somebody else"),
    ],
)
def test_a_store_of_another_program_is_refused(
    file: Path, version: str, message: str, found: str
) -> None:
    Store(f"sqlite:///{file}").close()
    of_version(file, version)
    with pytest.raises(RefusedError) as e:
        Store(f"sqlite:///{file}")
    assert str(e.value) == (
        f"the controller's store {message}\n"
        "  expected: version 1 to 2\n"
        f"  found:    {found}\n"
        "  next:     use the kappa that wrote it, or a newer one, or put back the copy that was made before the store "
        "was upgraded"
    )
    assert [f.name for f in file.parent.iterdir()] == [file.name], (
        "nothing is open, and all is in one file"
    )


def test_a_program_of_before_neither_reads_nor_writes_after_an_upgrade(
    opened: Store, file: Path
) -> None:
    mine = lease(opened)
    opened.save(mine, ATTEMPT)
    of_version(file, "0003")
    with pytest.raises(RefusedError, match="newer version") as e:
        opened.load("flights")
    assert e.value.next == (
        "use the kappa that wrote it, or a newer one, or put back the copy that was made before the "
        "store was upgraded"
    )
    with pytest.raises(RefusedError, match="newer version"):
        opened.save(mine, replace(ATTEMPT, near=9))
    for product in ("flights", "weather"):
        with pytest.raises(RefusedError, match="newer version"):
            opened.acquire(product, "me", 10)


def test_a_lease_of_before_an_upgrade_writes_nothing(file: Path) -> None:
    """The program that has it may be frozen just before it writes."""
    unversioned(file)
    with closing(Store(f"sqlite:///{file}")) as store:
        with pytest.raises(StaleLeaseError):
            store.save(Lease("flights", "me", 7), replace(ATTEMPT, near=9))
        assert store.acquire("flights", "another", 10) == Lease("flights", "another", 9)


def test_a_store_that_was_put_back_while_it_was_in_use_is_refused(
    opened: Store, file: Path
) -> None:
    opened.give_back(lease(opened))
    of_version(file, "0001")
    with pytest.raises(RefusedError) as e:
        opened.load("flights")
    assert str(e.value) == (
        "the controller's store was put back while it was in use\n"
        "  expected: version 2\n"
        "  found:    version 1\n"
        "  next:     start this program again, which upgrades it"
    )


def test_a_store_that_lost_its_version_while_it_was_in_use_is_refused(
    opened: Store, file: Path
) -> None:
    opened.give_back(lease(opened))
    with closing(sqlite3.connect(file)) as c, c:
        c.execute("DELETE FROM store_version")
    for ask in (lambda: opened.load("flights"), lambda: opened.acquire("weather", "me", 10)):
        with pytest.raises(RefusedError, match="the controller's store has no known version"):
            ask()
    with pytest.raises(RefusedError, match="could not be upgraded and was not changed"):
        Store(f"sqlite:///{file}")


def test_a_journal_of_a_newer_version_is_refused(opened: Store, file: Path) -> None:
    mine = lease(opened)
    opened.begin_publication(mine, INTENT)
    opened.give_back(mine)
    with closing(sqlite3.connect(file)) as c, c:
        c.execute("UPDATE publications SET version = 2")
    with closing(Store(f"sqlite:///{file}")) as store, pytest.raises(RefusedError) as e:
        store.load("flights")
    assert e.value.message == "publication 1 of flights is of a newer version of kappa"


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "older"])
def test_many_that_open_a_store_at_once_do_not_fail(
    databases: Callable[[], str], fresh: bool, caplog: pytest.LogCaptureFixture
) -> None:
    url = databases()
    if not fresh:
        unversioned(url)
    many = 8
    together = Barrier(many)

    def one(_: int) -> int:
        together.wait()
        with closing(Store(url)) as store:
            return len(store.load("flights").attempts)

    with ThreadPoolExecutor(many) as pool:
        assert list(pool.map(one, range(many))) == [0 if fresh else 1] * many
    assert len([r for r in caplog.records if r.name == store_upgrade.__name__]) == (
        0 if fresh else 1
    )


def test_an_upgrade_that_fails_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unversioned(file)
    with closing(sqlite3.connect(file)) as c, c:
        c.execute("CREATE TRIGGER no BEFORE UPDATE ON leases BEGIN SELECT RAISE(ABORT, 'no'); END")
    was = rows(file)
    with pytest.raises(RefusedError) as e:
        Store(f"sqlite:///{file}")
    assert str(e.value) == (
        f"the controller's store sqlite:///{file} could not be upgraded and was not changed\n"
        "  expected: no version to become version 2\n"
        "  found:    no\n"
        "  next:     use the kappa that wrote it, and report what was found"
    )
    assert rows(file) == was


def test_without_a_copy_there_is_no_upgrade(file: Path) -> None:
    unversioned(file)
    was = rows(file)
    file.with_name("store.db.unversioned.bak").mkdir()
    with pytest.raises(RefusedError) as e:
        Store(f"sqlite:///{file}")
    assert e.value.message == f"{file} is not upgraded, as no copy of it could be made before"
    assert rows(file) == was
    assert not file.with_name("store.db.unversioned.tmp").exists()


def test_tables_of_no_known_form_are_named(file: Path) -> None:
    unversioned(file)
    with closing(sqlite3.connect(file)) as c, c:
        c.execute("ALTER TABLE releases DROP COLUMN computation")
    was = rows(file)
    with pytest.raises(RefusedError) as e:
        Store(f"sqlite:///{file}")
    assert e.value.message == "the store's table releases has an unknown form"
    assert "computation" in e.value.expected and "computation" not in e.value.found
    assert rows(file) == was


def test_alembic_says_nothing_of_its_own(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    unversioned(file)
    Store(f"sqlite:///{file}").close()
    assert [r.name for r in caplog.records if r.name.startswith("alembic")] == []
