"""Series of what stands at the moment: of products, of what their readers see, of attempts. Made at each scrape."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from replay.controller.status import AttemptStatus, Inspection, ProductStatus, Readers, status
from replay.controller.watching import Pass
from replay.core.model import Attempt

OF_PRODUCT = ("product",)
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


class MetricFamilies:
    """Families whose samples are made at each scrape."""

    def __init__(self) -> None:
        gauge = GaugeMetricFamily
        self.lease_held = gauge(
            "kappa_lease_held",
            "1: this controller holds the product's lease; it does only while it acts.",
            labels=OF_PRODUCT,
        )
        self.failing = gauge(
            "kappa_product_failing",
            "1: the last pass over the product raised an error.",
            labels=OF_PRODUCT,
        )
        self.last_error = gauge(
            "kappa_last_error_timestamp_seconds",
            "When a pass over the product last raised an error, and its class.",
            labels=(*OF_PRODUCT, "error"),
        )
        self.observed_age = gauge(
            "kappa_product_observed_age_seconds",
            "Seconds since the last pass over the product that succeeded.",
            labels=OF_PRODUCT,
        )
        self.blocked = gauge(
            "kappa_product_blocked",
            "1: publishing has stopped until a person looks.",
            labels=OF_PRODUCT,
        )
        self.waiting = gauge(
            "kappa_product_waiting",
            "1: something is waited for that a person would want to know of.",
            labels=OF_PRODUCT,
        )
        self.published = gauge(
            "kappa_published_info",
            "1, labelled with what readers see.",
            labels=(*_OF_ATTEMPT, "release"),
        )
        self.published_checkpoint = gauge(
            "kappa_published_checkpoint",
            "Number of the checkpoint that readers see.",
            labels=OF_PRODUCT,
        )
        self.published_age = gauge(
            "kappa_published_checkpoint_age_seconds",
            "Seconds since the checkpoint that readers see was first seen complete.",
            labels=OF_PRODUCT,
        )
        self.published_lag_records = gauge(
            "kappa_published_lag_records",
            "Records of the log that are not in what readers see.",
            labels=OF_PRODUCT,
        )
        self.published_lag_seconds = gauge(
            "kappa_published_lag_seconds",
            "How long ago the log ended where readers are; at least, when it is further back than is remembered.",
            labels=OF_PRODUCT,
        )
        self.rejects = gauge(
            "kappa_published_rejects_records",
            "Rows of the table rejects that readers see.",
            labels=OF_PRODUCT,
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
        if found.status.readers:
            self._add_readers(product, found, found.status.readers)
        if found.published_at is not None:
            self.published_age.add_metric([product], max(0.0, now - found.published_at))
        for attempt, said in zip(found.attempts, found.status.attempts, strict=True):
            self._add_attempt(attempt, said, now)
            if attempt.name in found.ends_seen and said.lag_records is not None:
                labels = [product, attempt.name]
                self.lag_records.add_metric(labels, said.lag_records)
                lag_seconds = at_least(said.lag_seconds, attempt, found.at)
                self.lag_seconds.add_metric(labels, lag_seconds)

    def _add_readers(self, product: str, found: LastPass, readers: Readers) -> None:
        self.published.add_metric([product, readers.attempt, readers.release], 1)
        self.published_checkpoint.add_metric([product], readers.checkpoint)
        if readers.attempt in found.ends_seen:
            self.published_lag_records.add_metric([product], readers.lag_records)
            self.published_lag_seconds.add_metric([product], found.published_lag_seconds)
        if found.rejects is not None:
            self.rejects.add_metric([product], found.rejects)

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
