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

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from replay.controller.refusals import Refusal, Refusals
from replay.controller.status import AttemptStatus, Inspection, ProductStatus, status
from replay.controller.watching import Pass, Watcher
from replay.core.model import Attempt, Move
from replay.core.observed import Observation
from replay.core.steps import FinishPublish, Publish, Step
from replay.errors import (
    ConfigError,
    ConflictError,
    OutcomeUnknownError,
    RefusedError,
    RetryableError,
)

ERRORS = (ConfigError, RefusedError, RetryableError, ConflictError, OutcomeUnknownError)
UNEXPECTED = "unexpected"
DELAYS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: a publication takes a few hundredths, the checks of a large product minutes."""
DURATIONS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

_OF_PRODUCT = ("product",)
_OF_ATTEMPT = ("product", "attempt")


@dataclass(frozen=True)
class LastPass:
    """A product as the last pass over it that succeeded saw it."""

    at: float
    status: ProductStatus
    attempts: tuple[Attempt, ...]
    """The live ones, in the order of `status`."""
    published_at: float | None
    """When the checkpoint that readers see was first seen complete."""
    published_lag_seconds: float
    rejects: int | None
    """Rows of `rejects` that readers see."""
    ends_seen: frozenset[str]
    """Attempts of which it was seen where their log ends: what was true before says nothing of their lag."""


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
        self._publications = Counter(
            "kappa_publications_total",
            "Times that this controller moved main, by kind: publish, switch, rollback.",
            (*_OF_PRODUCT, "kind"),
            registry=self.registry,
        )
        self._delay = Histogram(
            "kappa_publication_delay_seconds",
            "From when a checkpoint was first seen complete to when readers saw it.",
            _OF_PRODUCT,
            buckets=DELAYS,
            registry=self.registry,
        )
        self._duration = Histogram(
            "kappa_publication_duration_seconds",
            "How long moving main of all tables of a product took.",
            _OF_PRODUCT,
            buckets=DURATIONS,
            registry=self.registry,
        )
        self._refused = Counter(
            "kappa_refusals_total",
            "What was kept from Flink or from readers, by why.",
            (*_OF_PRODUCT, "why"),
            registry=self.registry,
        )
        self._errors = Counter(
            "kappa_pass_errors_total",
            "Passes over a product that raised an error, by its class.",
            (*_OF_PRODUCT, "error"),
            registry=self.registry,
        )
        self._passes = Histogram(
            "kappa_pass_duration_seconds",
            "How long a pass over a product took: looking, deciding, acting.",
            _OF_PRODUCT,
            buckets=DURATIONS,
            registry=self.registry,
        )
        self._missed = Counter(
            "kappa_lease_misses_total",
            "Passes that found another controller at work on the product.",
            _OF_PRODUCT,
            registry=self.registry,
        )
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
            self._begin_at_zero(product)
        self._products = now

    def unlisted(self, error: Exception) -> None:
        self._store.set(0)

    def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
        for why in self._refusals.performed(product, step, seen):
            self._refused.labels(product, why.value).inc()
        if kind := published_kind(step):
            self._publications.labels(product, kind.value).inc()
            self._duration.labels(product).observe(seconds)
        if (seen_at := delayed_since(step)) is not None:
            self._delay.labels(product).observe(max(0.0, self._now() - seen_at))

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        now = self._now()
        self._passes.labels(product).observe(seconds)
        self._failing.discard(product)
        self._standing[product] = standing(done, now)
        if done.lease_missed:
            self._missed.labels(product).inc()
        for why in self._refusals.passed(product, done):
            self._refused.labels(product, why.value).inc()

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        self._passes.labels(product).observe(seconds)
        self._errors.labels(product, error_class(error)).inc()
        for why in self._refusals.raised(error):
            self._refused.labels(product, why.value).inc()
        self._failures[product] = Failure(self._now(), error_class(error))
        self._failing.add(product)

    def rounded(self, seconds: float) -> None:
        self._round.set(seconds)
        self._rounded.set(self._now())

    def _begin_at_zero(self, product: str) -> None:
        """So that a rate is known from the first one on."""
        for kind in Move:
            self._publications.labels(product, kind.value)
        for why in Refusal:
            self._refused.labels(product, why.value)
        for error in (*(e.__name__ for e in ERRORS), UNEXPECTED):
            self._errors.labels(product, error)
        for metric in (self._delay, self._duration, self._passes, self._missed):
            metric.labels(product)

    def _forget(self, product: str) -> None:
        for metric in (
            self._publications,
            self._delay,
            self._duration,
            self._refused,
            self._errors,
            self._passes,
            self._missed,
        ):
            metric.remove_by_labels({"product": product})
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


class MetricFamilies:
    """Families whose samples are made at each scrape."""

    def __init__(self) -> None:
        gauge = GaugeMetricFamily
        self.lease_held = gauge(
            "kappa_lease_held",
            "1: this controller holds the product's lease; it does only while it acts.",
            labels=_OF_PRODUCT,
        )
        self.failing = gauge(
            "kappa_product_failing",
            "1: the last pass over the product raised an error.",
            labels=_OF_PRODUCT,
        )
        self.last_error = gauge(
            "kappa_last_error_timestamp_seconds",
            "When a pass over the product last raised an error, and its class.",
            labels=(*_OF_PRODUCT, "error"),
        )
        self.observed_age = gauge(
            "kappa_product_observed_age_seconds",
            "Seconds since the last pass over the product that succeeded.",
            labels=_OF_PRODUCT,
        )
        self.blocked = gauge(
            "kappa_product_blocked",
            "1: publishing has stopped until a person looks.",
            labels=_OF_PRODUCT,
        )
        self.waiting = gauge(
            "kappa_product_waiting",
            "1: something is waited for that a person would want to know of.",
            labels=_OF_PRODUCT,
        )
        self.published = gauge(
            "kappa_published_info",
            "1, labelled with what readers see.",
            labels=(*_OF_ATTEMPT, "release"),
        )
        self.published_checkpoint = gauge(
            "kappa_published_checkpoint",
            "Number of the checkpoint that readers see.",
            labels=_OF_PRODUCT,
        )
        self.published_age = gauge(
            "kappa_published_checkpoint_age_seconds",
            "Seconds since the checkpoint that readers see was first seen complete.",
            labels=_OF_PRODUCT,
        )
        self.published_lag_records = gauge(
            "kappa_published_lag_records",
            "Records of the log that are not in what readers see.",
            labels=_OF_PRODUCT,
        )
        self.published_lag_seconds = gauge(
            "kappa_published_lag_seconds",
            "How long ago the log ended where readers are; at least, when it is further back than is remembered.",
            labels=_OF_PRODUCT,
        )
        self.rejects = gauge(
            "kappa_published_rejects_records",
            "Rows of the table rejects that readers see.",
            labels=_OF_PRODUCT,
        )
        self.attempt = gauge(
            "kappa_attempt_info",
            "1, labelled with an attempt that runs, or should.",
            labels=(*_OF_ATTEMPT, "release", "role", "job_id"),
        )
        self.running = gauge(
            "kappa_attempt_job_running",
            "1: Flink says RUNNING of the attempt's job.",
            labels=_OF_ATTEMPT,
        )
        self.lag_records = gauge(
            "kappa_attempt_lag_records",
            "Records of the log that the attempt's newest checkpoint does not cover.",
            labels=_OF_ATTEMPT,
        )
        self.lag_seconds = gauge(
            "kappa_attempt_lag_seconds",
            "How long ago the log ended where the attempt's newest checkpoint is; at least, when it is further back "
            "than is remembered.",
            labels=_OF_ATTEMPT,
        )
        self.checkpoint_age = gauge(
            "kappa_attempt_checkpoint_age_seconds",
            "Seconds since the attempt's newest checkpoint was first seen complete; since it began, before the first.",
            labels=_OF_ATTEMPT,
        )
        self.restarts = CounterMetricFamily(
            "kappa_attempt_restarts_total",
            "Restarts of the attempt's current job.",
            labels=_OF_ATTEMPT,
        )

    @property
    def all(self) -> list[Metric]:
        return list(vars(self).values())

    def add(self, product: str, found: LastPass, now: float) -> None:
        """The samples of one product."""
        self.observed_age.add_metric([product], max(0.0, now - found.at))
        self.blocked.add_metric([product], found.status.blocked is not None)
        self.waiting.add_metric([product], found.status.odd)
        if readers := found.status.readers:
            self.published.add_metric([product, readers.attempt, readers.release], 1)
            self.published_checkpoint.add_metric([product], readers.checkpoint)
            if readers.attempt in found.ends_seen:
                self.published_lag_records.add_metric([product], readers.lag_records)
                self.published_lag_seconds.add_metric([product], found.published_lag_seconds)
            if found.rejects is not None:
                self.rejects.add_metric([product], found.rejects)
        if found.published_at is not None:
            self.published_age.add_metric([product], max(0.0, now - found.published_at))
        for attempt, said in zip(found.attempts, found.status.attempts, strict=True):
            self._add_attempt(attempt, said, now)
            if attempt.name in found.ends_seen and said.lag_records is not None:
                self.lag_records.add_metric([product, attempt.name], said.lag_records)
                self.lag_seconds.add_metric(
                    [product, attempt.name], at_least(said.lag_seconds, attempt, found.at)
                )

    def _add_attempt(self, attempt: Attempt, said: AttemptStatus, now: float) -> None:
        labels = [attempt.product, attempt.name]
        self.attempt.add_metric([*labels, f"r{attempt.release}", said.role, said.job], 1)
        self.running.add_metric(labels, said.job_status == "RUNNING")
        self.restarts.add_metric(labels, said.restarts)
        newest = attempt.positions[-1].at if attempt.positions else attempt.created
        self.checkpoint_age.add_metric(labels, max(0.0, now - newest))


def standing(done: Pass, now: float) -> LastPass:
    """What `kappa status` would say of what a pass saw."""
    shown = done.state.published
    found = status(done.state, (), Inspection(done.seen, done.step, {}), now)
    ends_seen = frozenset(name for name, seen in done.seen.attempts.items() if seen.ends)
    if shown is None or found.readers is None:
        return LastPass(now, found, done.state.live, None, 0.0, None, ends_seen)
    attempt = done.state.attempt(shown.attempt_name)
    seen_at = seen_complete(attempt, shown.checkpoint)
    return LastPass(
        now,
        found,
        done.state.live,
        shown.started if seen_at is None else seen_at,
        at_least(found.readers.lag_seconds, attempt, now),
        done.seen.rejects,
        ends_seen,
    )


def at_least(lag_seconds: float | None, attempt: Attempt, at: float) -> float:
    """The lag in seconds; when it is longer than is remembered, what is remembered of it."""
    if lag_seconds is not None:
        return lag_seconds
    return max(0.0, at - (attempt.positions[0].at if attempt.positions else attempt.created))


def seen_complete(attempt: Attempt, checkpoint: int) -> float | None:
    """When a checkpoint of an attempt was first seen; None: that is not remembered."""
    return next((p.at for p in attempt.positions if p.checkpoint == checkpoint), None)


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


def error_class(error: Exception) -> str:
    """The name of a known class of errors; all others count as one class."""
    return next((known.__name__ for known in ERRORS if isinstance(error, known)), UNEXPECTED)
