"""A small product under test while people and machines disturb it: what it shows, and the ways to disturb it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented all the same
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from pyiceberg.table import Table

from jobs.product.folder import Product, load_product
from local import supervise
from replay import offsets
from replay.audit import audit
from replay.cli import look as run_status
from replay.controller.platform import Platform
from replay.controller.status import ProductStatus
from replay.core.model import Attempt, ProductState, Publication, State
from replay.core.observed import FlinkDownError
from replay.iceberg import lake
from replay.kafka import log
from replay.query import query as querying
from replay.store.store import Store
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import (
    BEGIN,
    MINUTE,
    Order,
    Writer,
    another_product,
    write_orders,
)

FOUR_HOURS = 240
"""Minutes"""


class Shop:
    """A copy of orders under another name, with a topic of its own that goes on growing."""

    def __init__(self, stack: RunningStack, folder: Path, name: str) -> None:
        self.stack, self.name = stack, name
        self.folder = another_product(folder, name)
        self.platform, self.store = Platform(stack.settings), Store(stack.settings.store)
        self._writer = Writer(stack, load_product(self.folder))
        self._orders = write_orders(self._writer).rows
        self._minute = 2 * 24 * 60

    def close(self) -> None:
        self.platform.close()
        self.store.close()

    def more(self) -> None:
        """Further orders, and the end of their windows."""
        for _ in range(5):
            self._minute += 1
            order = Order(self._minute)
            self._orders[self._writer.order(order)] = order
        self._minute += FOUR_HOURS
        self._writer.heartbeat(BEGIN + self._minute * MINUTE)

    # What becomes of it

    @property
    def state(self) -> ProductState:
        return self.store.load(self.name)

    @property
    def model(self) -> Product:
        """As the release of its newest attempt has it, with what Flink's planner has said."""
        return self.platform.product(self.state.attempts[-1], self.state)

    @property
    def published(self) -> Publication:
        published = self.state.published
        assert published
        return published

    def attempt(self, name: str) -> Attempt:
        return self.state.attempt(name)

    def status(self) -> ProductStatus:
        """What `kappa status` shows."""
        return run_status.look(self.platform, self.store, self.name)

    def history(self, attempt: str) -> dict[str, str]:
        """What became of an attempt → the last detail of it."""
        return {e.reason: e.detail for e in self.store.events(self.name) if e.attempt == attempt}

    def told(self) -> str:
        """For messages of tests that fail."""
        return "; ".join(
            f"{a.name} {a.state.value} checkpoint {a.checkpoint} {a.error}"
            for a in self.state.attempts
        )

    def wait_state(self, name: str, *states: State, timeout: float = 240) -> Attempt:
        wait_until(
            lambda: self.attempt(name).state in states,
            timeout,
            lambda: f"{name} is {' or '.join(states)}: {self.told()}",
        )
        return self.attempt(name)

    def wait_checkpoint(self, name: str, count: int = 2) -> None:
        """So many more checkpoints of an attempt have been seen."""
        wanted = self.attempt(name).checkpoint + count
        wait_until(
            lambda: self.attempt(name).checkpoint >= wanted,
            120,
            lambda: f"checkpoint {wanted}: {self.told()}",
        )

    def everything_is_right(self) -> None:
        """Readers see every order once, and every record is accounted for."""
        end = {self.name: {0: self._writer.offset}}
        wait_until(
            lambda: offsets.covers(self.published.covered, end),
            180,
            lambda: f"all is shown: {self.told()}",
        )
        shown = self.published
        rows = querying.query(
            self.stack.settings,
            self.name,
            "SELECT log_offset, order_id, epoch_ms(ordered_at) AS "
            "ordered_at, shop, cents FROM order_rows ORDER BY log_offset",
        ).rows
        assert rows == [
            {"log_offset": offset, **order.fields} for offset, order in sorted(self._orders.items())
        ]
        told, counted = (
            querying.query(self.stack.settings, self.name, sql).rows
            for sql in (
                f"SELECT sum({self.name})::BIGINT AS orders, sum(cents)::BIGINT AS cents FROM hourly_orders",
                "SELECT count(*) AS orders, sum(cents)::BIGINT AS cents FROM order_rows",
            )
        )
        assert told == counted
        report = audit.audit(
            self.stack.settings, self.model, audit.AuditSubject(shown.after, shown.covered)
        )
        assert report.ok, report.as_dict()

    # An attempt's traces

    def jobs(self, name: str) -> dict[str, str]:
        """Every job that the attempt's cluster knows → its status."""
        rest = self.attempt(name).rest or self.stack.settings.flink.rest
        found = httpx.get(f"{rest}/jobs/overview", trust_env=False).json()["jobs"]
        return {job["jid"]: job["state"] for job in found}

    def began_afresh(self, name: str) -> None:
        """Branch, consumer group, checkpoints and job are its own: nothing is older than the attempt."""
        attempt = self.attempt(name)
        others = {job for a in self.state.attempts if a.name != name for job in a.job_ids}
        assert others.isdisjoint(attempt.job_ids)
        assert self.jobs(name) == {attempt.job_id: "RUNNING"}
        for table in self.tables():
            refs, snapshot = (
                table.metadata.refs,
                table.metadata.snapshot_by_id(table.metadata.refs[name].snapshot_id),
            )
            while snapshot and snapshot.snapshot_id != refs[lake.GENESIS].snapshot_id:
                assert lake.written_by(snapshot)[0] in attempt.job_ids
                snapshot = table.metadata.snapshot_by_id(snapshot.parent_snapshot_id or -1)
            assert snapshot, "the branch begins at the empty first snapshot"
        assert {folder.name for folder in self.checkpoints(name).iterdir()} == set(attempt.job_ids)

    def is_gone(self, name: str) -> None:
        """Nothing of an ended attempt is left, or soon will be."""
        wait_until(
            lambda: self.attempt(name).cleaned, 120, lambda: f"{name} is cleaned up: {self.told()}"
        )
        attempt = self.attempt(name)
        assert all(name not in table.metadata.refs for table in self.tables())
        assert not self.checkpoints(name).exists()
        assert log.committed_offsets(self.stack.settings, attempt.group, [self.name]) == {
            self.name: {}
        }
        clusters = self.platform.clusters
        assert clusters and attempt.cluster not in clusters.names()
        assert not [
            p
            for p in supervise.orphans(self.stack.layout).values()
            if p.endswith(attempt.full_name)
        ]

    def tables(self) -> list[Table]:
        return list(lake.load_tables(self.platform.catalog, self.name, self.model.outputs).values())

    def checkpoints(self, name: str) -> Path:
        return self.stack.layout.checkpoints / self.name / name

    # Disturbances

    def change_table(self, table: str, change: Callable[[Table], Any]) -> None:
        """Somebody else changes a table."""
        lake.commit(self.platform.catalog, (self.name, table), change)

    def configure_topic(self, key: str, value: str) -> None:
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.name, incremental_configs=[entry])
        admin = log.admin(self.stack.settings)
        admin.incremental_alter_configs([resource])[resource].result(30)

    def cancel(self, name: str) -> None:
        """Cancel an attempt's job as Flink's web page does."""
        attempt = self.attempt(name)
        rest = attempt.rest or self.stack.settings.flink.rest
        httpx.patch(
            f"{rest}/jobs/{attempt.job_id}", params={"mode": "cancel"}, trust_env=False
        ).raise_for_status()

    def submission(self, name: str) -> int:
        """The process group of the `flink run` that submits an attempt's job; 0 while there is none."""
        return next(
            (
                group
                for a in self.state.attempts
                if a.name == name
                for group in _groups_with(a.job_id)
            ),
            0,
        )

    def wait_submission(self, name: str) -> int:
        return wait_until(
            lambda: self.submission(name), 180, lambda: f"{name} is submitted: {self.told()}"
        )

    def wait_accepted(self, name: str) -> None:
        """Return as soon as Flink knows the job: its client takes a moment to end."""
        attempt, deadline = self.attempt(name), time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(FlinkDownError):
                if self.platform.job(attempt):
                    return
        raise AssertionError(f"Flink does not accept {name}")


def _groups_with(job_id: str) -> Iterator[int]:
    mark = f"-D$internal.pipeline.job-id={job_id}".encode()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in file.read_bytes().split(b"\0"):
                yield os.getpgid(int(file.parent.name))
        except OSError:  # gone meanwhile
            continue


class Watch:
    """Looks at what readers see for the length of a block, and notes each change."""

    def __init__(self, shop: Shop) -> None:
        self.seen: list[lake.Published] = []
        self._shop, self._ended = shop, threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        catalog = lake.open_catalog(self._shop.stack.settings)
        while not self._ended.wait(0.02):
            now = lake.published(catalog, self._shop.model)
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)

    def only_went_on(self) -> list[str]:
        """Every look showed one checkpoint in all tables, no job's twice; the jobs in the order of their appearance."""
        assert self.seen and all(look.job_id and look.checkpoint for look in self.seen), self.seen
        jobs = list(dict.fromkeys(look.job_id or "" for look in self.seen))
        places = [(jobs.index(look.job_id or ""), look.checkpoint) for look in self.seen]
        assert places == sorted(set(places)), places
        return jobs


def holder(shop: Shop) -> int:
    """The process that may change the product just now; 0 for none."""
    with _reading(shop) as store:
        row = store.execute(
            "SELECT holder FROM leases WHERE product = ? AND expires > ?", (shop.name, time.time())
        ).fetchone()
    return int(row[0].split(":")[1]) if row else 0


def token(shop: Shop) -> int:
    """The fencing number of the last lease."""
    with _reading(shop) as store:
        (found,) = store.execute(
            "SELECT token FROM leases WHERE product = ?", (shop.name,)
        ).fetchone()
        return int(found)


def publishes(shop: Shop) -> bool:
    """Whether a publication is written down and not said to be done."""
    with _reading(shop) as store:
        return bool(
            store.execute(
                "SELECT 1 FROM publications WHERE product = ? AND finished IS NULL", (shop.name,)
            ).fetchone()
        )


def is_locked(shop: Shop) -> bool:
    """Whether somebody has one of the two databases to himself, for longer than a transaction takes."""
    for database in (shop.stack.home / "store.db", shop.stack.layout.lake / "catalog.db"):
        connection = sqlite3.connect(database, timeout=2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
    return False


@contextmanager
def _reading(shop: Shop) -> Iterator[sqlite3.Connection]:
    """The store as it is, without a lock that would be in the way of those who write."""
    connection = sqlite3.connect(f"file:{shop.stack.home / 'store.db'}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()
