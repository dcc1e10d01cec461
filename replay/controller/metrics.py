"""The content of /metrics, counted from what the loop observed and did. No service is queried for it.

Series of products and attempts that are gone go with them: those of an attempt are made of the last pass at each
scrape, and counters of a product are removed once the store no longer names it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from replay.controller.metric_families import LastPass, MetricFamilies, seen_complete, standing
from replay.controller.product_counters import ProductCounters, error_class
from replay.controller.refusals import Refusals
from replay.controller.watching import Pass, Watcher
from replay.core.model import Move
from replay.core.observed import Observation
from replay.core.steps import FinishPublish, Publish, Step


@dataclass(frozen=True)
class Failure:
    """The last pass that raised an error."""

    at: float
    error: str


class Metrics(Watcher, Collector):
    """Counts and remembers for one registry, its own."""

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        holding: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        """`holding`: products whose lease this controller has at the moment."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # no further series for each counter
        self.registry = CollectorRegistry()
        self._now, self.holding = now, holding
        self._standing: dict[str, LastPass] = {}
        self._failures: dict[str, Failure] = {}
        self._failing: set[str] = set()
        self._products: frozenset[str] = frozenset()
        self._refusals = Refusals()
        self._counters = ProductCounters(self.registry)
        self._round = Gauge(
            "kappa_round_duration_seconds",
            "How long the last round over all products took.",
            registry=self.registry,
        )
        self._rounded = Gauge(
            "kappa_last_round_timestamp_seconds",
            "When the last round over all products ended.",
            registry=self.registry,
        )
        self._store = Gauge(
            "kappa_store_up",
            "1: the controller's store answered when it was last asked.",
            registry=self.registry,
        )
        Gauge(
            "kappa_build_info",
            "1, labelled with what runs.",
            ("version", "python"),
            registry=self.registry,
        ).labels(version("kappa"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    # What the service tells

    def listed(self, products: Sequence[str]) -> None:
        self._store.set(1)
        now = frozenset(products)
        for product in self._products - now:
            self._forget(product)
        for product in now - self._products:
            self._counters.begin_at_zero(product)
        self._products = now

    def unlisted(self, error: Exception) -> None:
        self._store.set(0)

    def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
        for why in self._refusals.performed(product, step, seen):
            self._counters.refused.labels(product, why.value).inc()
        if kind := published_kind(step):
            self._counters.publications.labels(product, kind.value).inc()
            self._counters.duration.labels(product).observe(seconds)
        if (seen_at := delayed_since(step)) is not None:
            self._counters.delay.labels(product).observe(max(0.0, self._now() - seen_at))

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        now = self._now()
        self._counters.passes.labels(product).observe(seconds)
        self._failing.discard(product)
        self._standing[product] = standing(done, now)
        if done.lease_missed:
            self._counters.missed.labels(product).inc()
        for why in self._refusals.passed(product, done):
            self._counters.refused.labels(product, why.value).inc()

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        self._counters.passes.labels(product).observe(seconds)
        self._counters.errors.labels(product, error_class(error)).inc()
        for why in self._refusals.raised(error):
            self._counters.refused.labels(product, why.value).inc()
        self._failures[product] = Failure(self._now(), error_class(error))
        self._failing.add(product)

    def rounded(self, seconds: float) -> None:
        self._round.set(seconds)
        self._rounded.set(self._now())

    def _forget(self, product: str) -> None:
        self._counters.forget(product)
        self._standing.pop(product, None)
        self._failures.pop(product, None)
        self._failing.discard(product)
        self._refusals.forget(product)

    # What Prometheus asks

    def describe(self) -> Iterator[Metric]:
        """The families of `collect`, without their samples."""
        yield from MetricFamilies().all

    def collect(self) -> Iterator[Metric]:
        """What stands at the moment."""
        families, now = MetricFamilies(), self._now()
        holding, failing = frozenset(self.holding()), frozenset(self._failing)
        for product in sorted(self._products):
            families.lease_held.add_metric([product], product in holding)
            families.failing.add_metric([product], product in failing)
        for product, failure in sorted(self._failures.items()):
            families.last_error.add_metric([product, failure.error], failure.at)
        for product, found in sorted(self._standing.items()):
            families.add(product, found, now)
        yield from families.all


def published_kind(step: Step) -> Move | None:
    """How a step moved main, if it did."""
    match step:
        case Publish(kind=kind):
            return kind
        case FinishPublish(publication):
            return publication.kind
    return None


def delayed_since(step: Step) -> float | None:
    """When the published checkpoint was first seen; None for a switch or a rollback, which people decide and which
    has no delay."""
    if isinstance(step, Publish) and step.kind is Move.publish:
        return seen_complete(step.attempt, step.checkpoint.id)
    return None
