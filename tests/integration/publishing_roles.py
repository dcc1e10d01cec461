"""The processes of test_publishing.py: two jobs that commit, a publisher, and readers of three kinds.

`python -m tests.integration.publishing_roles ROLE HOME …`; each writes what it did to HOME/ROLE….jsonl and runs until
there is a file HOME/stop. A row of a table carries the release and the checkpoint that wrote it, and there is one row
per checkpoint: what a read has mixed up, or missed, is visible in the rows themselves.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import BadRequestError, CommitFailedException
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import StaticTable
from pyiceberg.table.metadata import TableMetadataV2
from sqlalchemy.exc import OperationalError

from jobs.product.folder import Product
from replay.controller import cleaning
from replay.core.model import Attempt, Checkpoint, Move, Publication, Release, State
from replay.database import timed
from replay.iceberg import branch_checkpoints, lake, pointer
from replay.iceberg.publish import publish
from replay.query import duck, query
from replay.secret import reveal
from replay.settings import Settings
from replay.store.store import Store
from tests.unit.lake_tables import compact, make_product, make_settings

TABLES = ("orders", "totals", "routes", "rejects")
COLUMNS = (("release", "STRING"), ("checkpoint", "BIGINT"), ("position", "BIGINT"))
CONFLICTS = (CommitFailedException, OperationalError, BadRequestError)
"""What a job that commits beside another one may be answered; BadRequestError by SeaweedFS."""
JOBS = {"r1-a1": "1" * 32, "r2-a1": "2" * 32}
POSITION = "position"
FAST, SLOW = 0.02, 0.5
"""Seconds between two checkpoints of the attempt that readers see, and of the one on standby."""
COMPACTED = 20
"""Checkpoints after which a job's rows are rewritten into one file, as a maintenance job does."""
EXPIRED = 50
"""Publishes after which old snapshots are removed."""
GRACE = timedelta(seconds=10)
REST = "rest.json"
"""A file below the home: the catalog that it describes is used instead of one in the database."""
PARENT = os.getppid()


@dataclass(frozen=True)
class Done:
    """One publish."""

    kind: Move
    release: str
    checkpoint: int
    position: int
    started: float
    finished: float
    latency: float
    """Seconds that moving `main` took; started to finished is with the journal."""
    snapshots: int
    """Of all tables together."""


def product_of(home: Path) -> Product:
    return make_product(home, columns=dict.fromkeys(TABLES, COLUMNS))


def settings_of(home: Path) -> Settings:
    """As lake_tables makes them, or with the REST catalog of the file `rest.json`."""
    file = home / REST
    if not file.exists():
        return make_settings(home)
    described = json.loads(file.read_text())
    made = make_settings(home, storage=described["storage"])
    catalog = made.catalog.model_copy(update={"pyiceberg": described["catalog"]})
    return made.model_copy(update={"catalog": catalog})


def ended(home: Path) -> bool:
    """Whether the test is over, or its process gone."""
    return (home / "stop").exists() or os.getppid() != PARENT


def tell(home: Path, role: str, what: object) -> None:
    with (home / f"{role}.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\n")


# A job


def job(home: Path, branch: str) -> None:
    """Checkpoint after checkpoint, in every table: an append with the summary that Flink's sink leaves."""
    # pyiceberg copies the table's metadata eighteen times per append, deeply: the load would be mostly that.
    TableMetadataV2.__deepcopy__ = lambda self, memo=None: self.__copy__()  # type: ignore[method-assign]
    catalog, product = lake.open_catalog(settings_of(home)), product_of(home)
    rows: list[dict[str, Any]] = []
    while not ended(home):
        checkpoint = len(rows) + 1
        rows.append(
            {"release": branch, "checkpoint": checkpoint, "position": time.monotonic_ns() // 1000}
        )
        for table in product.outputs:
            commit(catalog, table, branch, rows)
        time.sleep(float((home / f"pace-{branch}").read_text() or SLOW))


def commit(catalog: Catalog, name: str, branch: str, rows: list[dict[str, Any]]) -> None:
    properties = {
        lake.JOB_ID: JOBS[branch],
        lake.CHECKPOINT_ID: str(len(rows)),
        POSITION: str(rows[-1]["position"]),
    }
    while True:
        table = catalog.load_table(("shop", name))
        schema = schema_to_pyarrow(table.schema(), include_field_ids=False)
        try:
            table.append(
                pa.Table.from_pylist(rows[-1:], schema=schema),
                branch=branch,
                snapshot_properties=properties,
            )
            break
        except CONFLICTS:
            continue
        except ValueError as e:
            # pyiceberg: the other job was given the sequence number that this one had taken
            if "sequence number" not in str(e):
                raise
    while len(rows) % COMPACTED == 0:
        try:
            compact(catalog, name, branch)
            break
        except CONFLICTS:
            continue
        except ValueError as e:
            if "sequence number" not in str(e):
                raise


# The publisher


class Publisher:
    """Publishes through the journal, as the controller does, and switches back and forth."""

    def __init__(self, home: Path) -> None:
        self.home, self.product = home, product_of(home)
        self.settings = settings_of(home)
        self.catalog, self.store = lake.open_catalog(self.settings), Store(self.settings.store)
        lease = self.store.acquire("shop", "publisher", ttl=600)
        assert lease
        self.lease = lease
        self.attempts = {}
        for number, (branch, job_id) in enumerate(JOBS.items(), start=1):
            self.store.add_release(lease, Release("shop", number, branch, time.time(), {}))
            self.attempts[branch] = Attempt(
                "shop", number, 1, time.time(), 1, (job_id,), State.standby
            )
        self.store.save(lease, *self.attempts.values())
        self.shown, self.position, self.count = "", 0, 0

    def run(self, publishes: int, every: int) -> None:
        """So many publishes; one in `every` goes to the other attempt: forward, back, forward, …"""
        first, second = JOBS
        self.move(Move.switch, first)
        while self.count < publishes:
            if self.count % every:
                self.move(Move.publish, self.shown)
            elif self.shown == first:
                self.move(Move.switch, second)
            else:
                self.move(Move.rollback, first)
            if self.count % EXPIRED == 0:
                self.expire()
        (self.home / "stop").touch()

    def move(self, kind: Move, branch: str) -> None:
        checkpoint, position = self._target(kind, branch)
        before = lake.published(self.catalog, self.product).snapshots
        attempt = self.attempts[branch]
        started = time.monotonic()
        intent = self.store.begin_publication(
            self.lease,
            Publication(
                0,
                "shop",
                attempt.release,
                1,
                checkpoint.id,
                before,
                checkpoint.snapshots,
                {"log": {0: position}},
                time.time(),
                kind=kind,
            ),
        )
        moving = time.monotonic()
        publish(
            self.catalog,
            self.product,
            checkpoint.snapshots,
            before,
            fence=lambda: self.store.renew(self.lease, 600),
        )
        latency = time.monotonic() - moving
        self.store.finish_publication(self.lease, intent, time.time())
        self.shown, self.position, self.count = branch, position, self.count + 1
        if kind is not Move.publish:
            for other in JOBS:
                (self.home / f"pace-{other}").write_text(str(FAST if other == branch else SLOW))
        snapshots = sum(
            len(m.snapshots) for m in lake.current_metadata(self.catalog, self.product).values()
        )
        tell(
            self.home,
            "publisher",
            asdict(
                Done(
                    kind,
                    branch,
                    checkpoint.id,
                    position,
                    started,
                    time.monotonic(),
                    latency,
                    snapshots,
                )
            ),
        )

    def _target(self, kind: Move, branch: str) -> tuple[Checkpoint, int]:
        """The newest checkpoint that is as new as what readers see, or for a rollback one that is older."""
        while not ended(self.home):
            found = branch_checkpoints.publishable(
                self.catalog, self.product, branch, [JOBS[branch]]
            )
            metadata = lake.current_metadata(self.catalog, self.product)[TABLES[0]]
            for checkpoint in found if kind is Move.rollback else found[:1]:
                snapshot = metadata.snapshot_by_id(checkpoint.snapshots[TABLES[0]])
                assert snapshot and snapshot.summary
                position = int(snapshot.summary.additional_properties[POSITION])
                if (
                    (position < self.position)
                    if kind is Move.rollback
                    else position > self.position
                ):
                    return checkpoint, position
            time.sleep(0.01)
        raise SystemExit("told to end")

    def expire(self) -> None:
        published = lake.published(self.catalog, self.product).snapshots
        for branch, job_id in JOBS.items():
            newest = branch_checkpoints.publishable(self.catalog, self.product, branch, [job_id])[
                0
            ].id
            cleaning.expire(
                self.catalog,
                "shop",
                TABLES,
                branch,
                newest - 5,
                [job_id],
                published,
                datetime.now(UTC) - GRACE,
            )


# Readers. Each read: table → its releases, newest checkpoint, rows, position; empty before the first publish.

Read = dict[str, tuple[list[str], int, int, int]]


def read(home: Path, role: str) -> None:
    """Read until the end, as fast as jobs and publisher leave time for it. A second one of a kind is called kind-2."""
    os.nice(10)
    reads: dict[str, Callable[[Path], AbstractContextManager[Callable[[], Read]]]] = {
        "kappa": with_kappa,
        "duckdb": with_duckdb,
        "pyiceberg": with_pyiceberg_on_rest if (home / REST).exists() else with_pyiceberg,
    }
    with reads[role.partition("-")[0]](home) as look:
        while not ended(home):
            begun = time.monotonic()
            try:
                seen: Read | str = look()
            except Exception as e:  # noqa: BLE001 - a read that fails is a finding, whatever it is
                seen = f"{type(e).__name__}: {e}"
            tell(home, role, {"begun": begun, "ended": time.monotonic(), "seen": seen})


def _sql(source: Callable[[str], str]) -> str:
    return " UNION ALL ".join(
        f"SELECT '{t}', list(DISTINCT release), max(checkpoint), count(*), max(position) "
        f"FROM {source(t)}"
        for t in TABLES
    )


def _as_read(rows: list[Any]) -> Read:
    return {
        table: (releases, checkpoint, count, position)
        for table, releases, checkpoint, count, position in rows
        if count
    }


@contextmanager
def with_kappa(home: Path) -> Iterator[Callable[[], Read]]:
    """As `kappa query` reads."""
    settings, sql = settings_of(home), _sql(lambda table: f'"{table}"')

    def look() -> Read:
        with query.open_tables(settings, "shop") as connection:
            return _as_read(connection.execute(sql).fetchall())

    yield look


@contextmanager
def with_duckdb(home: Path) -> Iterator[Callable[[], Read]]:
    """As anybody with DuckDB reads: one SELECT of the pointers, one of the tables."""
    catalog = sa.create_engine(timed(reveal(settings_of(home).catalog.pyiceberg["uri"])))
    with duck.connect() as connection:

        def look() -> Read:
            with catalog.connect() as c:
                rows = c.exec_driver_sql(
                    "SELECT table_name, metadata_location FROM iceberg_tables"
                ).all()
            pointers = dict(map(tuple, rows))
            return _as_read(
                connection.execute(_sql(lambda t: f"iceberg_scan('{pointers[t]}')")).fetchall()
            )

        yield look


@contextmanager
def with_pyiceberg(home: Path) -> Iterator[Callable[[], Read]]:
    """As pyiceberg reads, at one reading of the pointers."""
    catalog = lake.open_catalog(settings_of(home))

    def look() -> Read:
        rows = []
        for name, location in lake.pointers(catalog, "shop").items():
            found = StaticTable.from_metadata(location).scan().to_arrow().to_pydict()
            rows.append(_summary(name, found))
        return _as_read(rows)

    yield look


@contextmanager
def with_pyiceberg_on_rest(home: Path) -> Iterator[Callable[[], Read]]:
    """As docs/production.md tells readers of a catalog that is asked for one table after the other."""
    catalog = lake.open_catalog(settings_of(home))

    def look() -> Read:
        said = catalog.load_table(("shop", pointer.TABLE)).properties.get(pointer.PROPERTY)
        rows = []
        for name, snapshot in (json.loads(said)["snapshots"] if said else {}).items():
            table = catalog.load_table(("shop", name))
            rows.append(_summary(name, table.scan(snapshot_id=snapshot).to_arrow().to_pydict()))
        return _as_read(rows)

    yield look


def _summary(table: str, found: dict[str, list[Any]]) -> tuple[str, list[str], int, int, int]:
    return (
        table,
        sorted(set(found["release"])),
        max(found["checkpoint"], default=0),
        len(found["release"]),
        max(found["position"], default=0),
    )


if __name__ == "__main__":
    at = Path(sys.argv[2])
    match sys.argv[1]:
        case "job":
            job(at, sys.argv[3])
        case "publisher":
            Publisher(at).run(int(sys.argv[3]), int(sys.argv[4]))
        case reader:
            read(at, reader)
