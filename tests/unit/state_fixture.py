"""The state that this program writes, as tests/fixtures/state-N keeps it of every version for test_upgrades.py.

    .venv/bin/python tests/unit/state_fixture.py

writes the next one if the form of anything has changed, and says which versions it is of. What is there is not written
again: it is what people have on their disks.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from shutil import copytree
from typing import Any
from unittest.mock import patch

from jobs import bindings
from replay import settings
from replay.controller.loop import Loop
from replay.controller.platform import Platform
from replay.core import model
from replay.core.model import Check, CheckpointPosition, Committed
from replay.iceberg import lake, table_changes
from replay.kafka import log
from replay.releases import archive
from replay.releases import release as releases
from replay.store import tables as store_tables
from replay.store.store import Store
from tests.unit import products
from tests.unit.control_platform import Clock, DiedError, FakeJob, FakePlatform, Retained
from tests.unit.control_steps import deploy, turn
from tests.unit.fake_lake import Snapshot
from tests.unit.lake_tables import make_product, make_settings, publish, sink_all

FIXTURES = Path(__file__).parents[1] / "fixtures"
STORE, WORLD, RELEASE, BINDINGS, TABLES, VERSIONS = (
    "store.sql",
    "world.json",
    "release.tar.xz",
    "bindings.json",
    "tables.json",
    "versions.json",
)
HOME = Path("/var/lib/kappa")
"""Of whoever wrote the state: it is elsewhere when it is read."""
PYTHON = "/opt/kappa/bin/python"
BOUND = "r1-a1"
JOBS = ("a" * 32, "b" * 32)
"""Ids of the job whose commits are in the tables: it was resumed once."""


def versions() -> dict[str, Any]:
    """Of everything that carries one."""
    return {
        "settings": settings.VERSION,
        "bindings": bindings.VERSION,
        "archive": archive.VERSION,
        "store": store_tables.VERSION,
        "attempt": model.ATTEMPT_VERSION,
        "journal": model.JOURNAL_VERSION,
    }


def newest() -> Path:
    return max(FIXTURES.glob("state-*"), key=number)


def number(fixture: Path) -> int:
    return int(fixture.name.partition("-")[2])


def write(folder: Path) -> None:
    """All of it."""
    folder.mkdir(parents=True)
    (folder / VERSIONS).write_text(_text(versions()))
    _controller(folder)
    _release(folder)
    _tables(folder)


def _text(data: object) -> str:
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


# The controller's memory, and the platform that goes with it


def _controller(folder: Path) -> None:
    """r1 on standby, r2 found faulty, r3 resumed, active and verified by a shadow, r4 replaying on its own cluster.

    And a publication of r3 that was done and not noted, as the controller was killed there.
    """
    clock = Clock()
    platform = FakePlatform(clock)
    ids = iter(f"resumed-{n}" for n in range(9))
    with (
        tempfile.TemporaryDirectory() as home,
        patch("replay.controller.act.uuid.uuid4", lambda: _Named(next(ids))),
        closing(Store(f"sqlite:///{home}/store.db", clock)) as store,
    ):
        loop = Loop(platform, store, clock, holder="controller")
        deploy(loop, platform, deadline=clock() + 10_000)
        turn(loop, platform, clock, 30)
        deploy(loop, platform, release=2)
        platform.complaints = [Check("sums", True, 2, "2 rows", ({"origin": "EWR"},))]
        turn(loop, platform, clock, 40)
        platform.complaints = [Check("late", False, 1, "1 row", ({"origin": "JFK"},))]
        deploy(loop, platform, release=3)
        turn(loop, platform, clock, 40)
        platform.lose_jobs()
        platform.ends_now = {"flights": {0: 300, 1: 290}}
        turn(loop, platform, clock, 60)
        platform.verify = "daily"
        clock.time += 2 * 86_400
        turn(loop, platform, clock, 60)
        deploy(loop, platform, release=4, auto_switch=False, own=True)
        turn(loop, platform, clock, 5)
        platform.ends_now = {"flights": {0: 320, 1: 310}}
        platform.die_at = lambda where: where == "after publish"
        with suppress(DiedError):
            turn(loop, platform, clock, 30)
        platform.die_at = lambda _: False
        assert store.load("flights").unfinished, "the scenario is not what it was"
        (folder / WORLD).write_text(_text(_described(platform)))
        with closing(sqlite3.connect(f"{home}/store.db")) as c:
            (folder / STORE).write_text("\n".join(c.iterdump()) + "\n")


class _Named:
    def __init__(self, hex: str) -> None:
        self.hex = hex


def _described(platform: FakePlatform) -> dict[str, Any]:
    return {
        "time": platform.clock(),
        "ends": platform.ends_now,
        "clusters": sorted(platform.clusters),
        "bindings": sorted(platform.bindings),
        "submitted": platform.submitted,
        "files": sorted(platform.lake.files),
        "snapshots": [asdict(s) for s in platform.lake.snapshots.values()],
        "refs": [
            [table, ref, snapshot] for (table, ref), snapshot in sorted(platform.lake.refs.items())
        ],
        "moves": platform.lake.moves,
        "newest": platform.lake.newest,
        "jobs": {job_id: asdict(job) for job_id, job in platform.jobs.items()},
        "checkpoints": [asdict(k) for k in platform.kept],
        "groups": {
            group: {t: {p: asdict(c) for p, c in of.items()} for t, of in topics.items()}
            for group, topics in platform.groups.items()
        },
    }


def platform_of(fixture: Path) -> FakePlatform:
    """The platform as it was when the state was written."""
    said = _numbered(json.loads((fixture / WORLD).read_text()))
    platform = FakePlatform(Clock(said["time"]), ends_now=said["ends"])
    platform.clusters, platform.bindings, platform.submitted = (
        set(said["clusters"]),
        set(said["bindings"]),
        said["submitted"],
    )
    platform.lake.snapshots = {s["id"]: Snapshot(**s) for s in said["snapshots"]}
    platform.lake.refs = {(table, ref): snapshot for table, ref, snapshot in said["refs"]}
    platform.lake.files, platform.lake.newest = set(said["files"]), said["newest"]
    platform.lake.moves = [(before, after) for before, after in said["moves"]]
    platform.jobs = {
        job_id: FakeJob(
            **{
                **job,
                "position": CheckpointPosition(**job["position"]) if job["position"] else None,
            }
        )
        for job_id, job in said["jobs"].items()
    }
    platform.kept = [Retained(**k) for k in said["checkpoints"]]
    platform.groups = {
        group: {t: {p: Committed(**c) for p, c in of.items()} for t, of in topics.items()}
        for group, topics in said["groups"].items()
    }
    return platform


def _numbered(value: Any) -> Any:
    """Partitions are numbers, which JSON's keys are not."""
    if isinstance(value, list):
        return [_numbered(v) for v in value]
    if isinstance(value, dict):
        return {int(k) if k.isdigit() else k: _numbered(v) for k, v in value.items()}
    return value


def store_of(fixture: Path, file: Path) -> str:
    """The store as a database file; its address."""
    with closing(sqlite3.connect(file)) as c, c:
        c.executescript((fixture / STORE).read_text())
    return f"sqlite:///{file}"


# An archived release and what its job is bound to


def _release(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home, without_broker():
        copytree(products.ORDERS, Path(home) / "sql" / "orders")
        product = products.orders(Path(home) / "sql" / "orders")
        own = make_settings(Path(home))
        with patch.object(sys, "executable", PYTHON):
            built = releases.build(own, product)
        (folder / RELEASE).write_bytes(_packed(built.folder))
        bound = Platform(own.model_copy(update={"home": HOME})).bindings(
            product, BOUND, "kappa-orders-r1-a1", {}, 2
        )
        (folder / BINDINGS).write_text(_text(bound).replace(home, str(HOME)))


@contextmanager
def without_broker() -> Iterator[None]:
    """A log that needs no broker."""
    with (
        patch.object(log, "end_offsets", lambda _, topics: {t: {0: 5} for t in topics}),
        patch.object(log, "broker_dated", lambda *_: []),
    ):
        yield


def _packed(folder: Path) -> bytes:
    """The same archive gives the same bytes."""
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz", preset=9) as tar:
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            member = tarfile.TarInfo(file.relative_to(folder).as_posix())
            member.size, member.mode = file.stat().st_size, 0o444
            tar.addfile(member, BytesIO(file.read_bytes()))
    return packed.getvalue()


def unpacked(fixture: Path, releases: Path) -> tuple[Path, str]:
    """The archived release below a folder of releases, and its fingerprint."""
    with tarfile.open(fixture / RELEASE) as tar:
        manifest = json.loads((tar.extractfile("release.json") or BytesIO()).read())
        folder = releases / manifest["product"] / manifest["fingerprint"]
        tar.extractall(folder, filter="data")
    return folder, manifest["fingerprint"]


# Iceberg tables with the branches of two attempts


def _tables(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        catalog, product = lake.open_catalog(make_settings(Path(home))), make_product(Path(home))
        table_changes.ensure(catalog, product)
        for branch, jobs in (("r1-a1", ("c" * 32,)), ("r2-a1", JOBS)):
            lake.create_branch(catalog, product, branch)
            for checkpoint, job in enumerate((*jobs[:1] * 2, *jobs[1:]), start=1):
                snapshots = sink_all(catalog, product, branch, checkpoint, job_id=job)
            publish(catalog, product, snapshots)
        metadata = {
            name: json.loads(catalog.load_table((product.name, name)).metadata.model_dump_json())
            for name in product.outputs
        }
        (folder / TABLES).write_text(_text(metadata).replace(home, str(HOME)))


# Its form: what an older program, or a newer one, may stumble over

Form = Mapping[str, frozenset[str]]
"""Where something stands → of which types it is."""


def form(fixture: Path) -> Form:
    """Of all of a fixture, whatever its values."""
    with tarfile.open(fixture / RELEASE) as tar:
        names = {name.partition("/")[0] for name in tar.getnames()}
        manifest = json.loads((tar.extractfile("release.json") or BytesIO()).read())
    manifest["files"] = {"any": "digest"}
    tables = json.loads((fixture / TABLES).read_text())
    return _merged(
        [
            *_form(dict.fromkeys(names, ""), "archive"),
            *_form(manifest, "release.json"),
            *_form(json.loads((fixture / BINDINGS).read_text()), "bindings"),
            *(
                part
                for name, said in tables.items()
                for part in _form(_of_table(said), f"tables {name}")
            ),
            *_rows(fixture),
        ]
    )


def _rows(fixture: Path) -> Iterator[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as c:
        c.executescript((fixture / STORE).read_text())
        for (table,) in c.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ):
            columns = [
                (name, kind) for _, name, kind, *_ in c.execute(f"PRAGMA table_info({table})")
            ]
            yield from ((f"store {table}.{name}", kind) for name, kind in columns)
            for row in c.execute(f"SELECT * FROM {table}").fetchall():
                for (name, kind), value in zip(columns, row, strict=True):
                    if kind == "JSON":
                        yield from _form(json.loads(value), f"store {table}.{name}")


def _of_table(metadata: dict[str, Any]) -> dict[str, Any]:
    """What we put into a table's metadata, not what pyiceberg does."""
    summaries = [
        {k: v for k, v in s["summary"].items() if k.startswith("flink.")}
        for s in metadata["snapshots"]
    ]
    refs = {name: ref["type"] for name, ref in metadata["refs"].items()}
    return {"properties": metadata["properties"], "refs": refs, "summaries": summaries}


def _form(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _form(part, f"{at}.{'#' if str(key).isdigit() else key}")
    elif isinstance(value, list):
        if any(isinstance(part, list) for part in value):
            yield from ((f"{at}[]", f"list of {len(part)}") for part in value)
        for part in value:
            yield from _form(part, f"{at}[]")
    else:
        yield at, type(value).__name__


def _merged(parts: Iterable[tuple[str, str]]) -> Form:
    found: dict[str, set[str]] = {}
    for at, kind in parts:
        found.setdefault(at, set()).add(kind)
    return {at: frozenset(kinds - {"NoneType"}) for at, kinds in found.items()}


def departures(now: Path, before: Path) -> list[str]:
    """Where the form is another. What was nowhere more than null may have got a value, and the reverse."""
    new, old = form(now), form(before)
    return sorted(
        [
            *(f"{at} is new" for at in new.keys() - old.keys()),
            *(f"{at} is gone" for at in old.keys() - new.keys()),
            *(
                f"{at} is {_any(new[at])}, was {_any(old[at])}"
                for at in new.keys() & old.keys()
                if new[at] and old[at] and new[at] != old[at]
            ),
        ]
    )


def _any(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))


def main() -> None:
    """Write the next fixture if there is a reason."""
    with tempfile.TemporaryDirectory() as scratch:
        write(made := Path(scratch) / "state")
        before = newest() if FIXTURES.is_dir() and any(FIXTURES.glob("state-*")) else None
        differing = departures(made, before) if before else ["nothing was there"]
        if before and versions() != json.loads((before / VERSIONS).read_text()):
            differing.append("versions")
        if differing:
            target = FIXTURES / f"state-{number(before) + 1 if before else 1}"
            copytree(made, target)
            sys.stdout.write(f"wrote {target}\n")
        sys.stdout.write("".join(f"{line}\n" for line in differing or ["nothing has changed"]))


if __name__ == "__main__":
    main()
