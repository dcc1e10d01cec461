"""The product at the peers' work: on the stack's Flink cluster, into a branch of its Iceberg tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from bench.ladder import Runner
from bench.results import PASS_THROUGH
from bench.rungs import ICEBERG, Rung
from jobs.product.folder import Product
from replay.flink.submit import planner_env
from replay.settings import Settings

TABLE = "hourly_departures"
HOURLY = "Kappa: hourly_departures"
GOLD = "Kappa: hourly_departures, daily_routes, rejects"
LACKS: dict[str, list[str]] = {PASS_THROUGH: [], HOURLY: [], GOLD: []}


class Checked(Runner):
    """A Runner that keeps what the job wrote."""

    written: pa.Table | None = None

    @contextmanager
    def _branch(self, rung: Rung) -> Iterator[str]:
        self.written = None
        with super()._branch(rung) as branch:
            yield branch
            if rung.sink == ICEBERG:
                table = self.platform.catalog.load_table((self.product.name, TABLE))
                self.written = table.scan().use_ref(branch).to_arrow()


def runner(settings: Settings, product: Product, timeout: float) -> Checked:
    """On the stack that is up."""
    os.environ.update(planner_env(settings))
    return Checked(settings, product, 2, {}, timeout)


def rungs(product: Product) -> dict[str, Rung]:
    """Reading alone, the peers' work, and all that the product does without joins."""
    gold = tuple(t for t in product.outputs if t != "departures")
    return {
        PASS_THROUGH: Rung(PASS_THROUGH, query=PASS_THROUGH),
        HOURLY: Rung(HOURLY, outputs=(TABLE,), sink=ICEBERG),
        GOLD: Rung(GOLD, outputs=gold, sink=ICEBERG),
    }
