"""Asks Flink's planner while a person waits: ten seconds where none is warm yet, and once for each content."""

from __future__ import annotations

from contextlib import nullcontext

from jobs.product.folder import Product
from replay.flink import resolved
from replay.output import busy
from replay.settings import Settings

ASKING = "checking the SQL with Flink's planner"


def resolve(settings: Settings | None, product: Product) -> Product:
    """The product with its outputs; says so when the planner has to be asked."""
    is_known = resolved.remembered(settings, product) is not None
    with nullcontext() if is_known else busy(ASKING):
        return resolved.resolve(settings, product)
