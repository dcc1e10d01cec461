"""Counters and histograms of products: what was published, refused, failed, and how long it took.

They begin at zero with the product, and go with it.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from replay.controller.metric_families import OF_PRODUCT
from replay.controller.refusals import Refusal
from replay.core.model import Move
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


class ProductCounters:
    """Each has a label `product`; some have another."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.publications = Counter(
            "kappa_publications_total",
            "Times that this controller moved main, by kind: publish, switch, rollback.",
            (*OF_PRODUCT, "kind"),
            registry=registry,
        )
        self.delay = Histogram(
            "kappa_publication_delay_seconds",
            "From when a checkpoint was first seen complete to when readers saw it.",
            OF_PRODUCT,
            buckets=DELAYS,
            registry=registry,
        )
        self.duration = Histogram(
            "kappa_publication_duration_seconds",
            "How long moving main of all tables of a product took.",
            OF_PRODUCT,
            buckets=DURATIONS,
            registry=registry,
        )
        self.refused = Counter(
            "kappa_refusals_total",
            "What was kept from Flink or from readers, by why.",
            (*OF_PRODUCT, "why"),
            registry=registry,
        )
        self.errors = Counter(
            "kappa_pass_errors_total",
            "Passes over a product that raised an error, by its class.",
            (*OF_PRODUCT, "error"),
            registry=registry,
        )
        self.passes = Histogram(
            "kappa_pass_duration_seconds",
            "How long a pass over a product took: looking, deciding, acting.",
            OF_PRODUCT,
            buckets=DURATIONS,
            registry=registry,
        )
        self.missed = Counter(
            "kappa_lease_misses_total",
            "Passes that found another controller at work on the product.",
            OF_PRODUCT,
            registry=registry,
        )

    def begin_at_zero(self, product: str) -> None:
        """So that a rate is known from the first one on."""
        for kind in Move:
            self.publications.labels(product, kind.value)
        for why in Refusal:
            self.refused.labels(product, why.value)
        for error in (*(e.__name__ for e in ERRORS), UNEXPECTED):
            self.errors.labels(product, error)
        for metric in (self.delay, self.duration, self.passes, self.missed):
            metric.labels(product)

    def forget(self, product: str) -> None:
        """Remove all series of a product."""
        for metric in (
            self.publications,
            self.delay,
            self.duration,
            self.refused,
            self.errors,
            self.passes,
            self.missed,
        ):
            metric.remove_by_labels({"product": product})


def error_class(error: Exception) -> str:
    """The name of a known class of errors; all others count as one class."""
    return next((known.__name__ for known in ERRORS if isinstance(error, known)), UNEXPECTED)
