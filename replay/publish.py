"""Moving `main` of all the product's tables to the snapshots of one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.catalog import Catalog

from jobs.product import Product


def publish(catalog: Catalog, product: Product, snapshots: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Move `main` of every table from `expected` to `snapshots` (table name → snapshot id).

    One database transaction for all tables on a SQL catalog; elsewhere table by table, and calling it again with the
    same arguments (the journaled intent) rolls forward. Already there: nothing to do, so a lost answer is resolved by
    calling again. ConflictError: somebody else moved `main`. RetryableError: the catalog stayed busy.
    OutcomeUnknownError: the commit's answer was lost and the catalog does not answer now.
    """
    raise NotImplementedError
