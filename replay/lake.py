"""The product's Iceberg tables: creating them, their branches, and which checkpoints are whole in all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from jobs.product import Product
from replay.settings import Settings

MAIN = "main"
GENESIS = "genesis"
"""Tag of the empty first snapshot that every attempt's branch starts from."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of one attempt, present in every table of the product."""

    id: int
    snapshots: Mapping[str, int]
    """Table name → the snapshot that the table got at this checkpoint."""


@dataclass(frozen=True)
class Published:
    """What `main` shows: one snapshot per table; job id and checkpoint are None at genesis."""

    snapshots: Mapping[str, int]
    job_id: str | None
    checkpoint: int | None


def open_catalog(settings: Settings) -> Catalog:
    """The product's catalog as pyiceberg sees it; RetryableError when it does not answer."""
    raise NotImplementedError


def ensure_tables(catalog: Catalog, product: Product) -> None:
    """Create what is missing: namespace, tables, the empty snapshot tagged `genesis`; add new nullable columns."""
    raise NotImplementedError


def create_branch(catalog: Catalog, product: Product, branch: str, *, resume: bool = False) -> None:
    """Create the branch from `genesis` in every table; RefusedError if it holds commits already, unless `resume`."""
    raise NotImplementedError


def drop_branch(catalog: Catalog, product: Product, branch: str) -> None:
    """Remove the branch from every table that has it."""
    raise NotImplementedError


def checkpoints(table: Table, branch: str, job_ids: Collection[str]) -> dict[int, int]:
    """Checkpoint id → snapshot id, of the commits of these jobs on the branch."""
    raise NotImplementedError


def publishable(catalog: Catalog, product: Product, branch: str, job_ids: Collection[str]) -> list[Checkpoint]:
    """The checkpoints of these jobs that every table has, newest first."""
    raise NotImplementedError


def published(catalog: Catalog, product: Product) -> Published:
    """What `main` shows now."""
    raise NotImplementedError


def pointers(catalog: Catalog, product: str) -> dict[str, str]:
    """Table name → metadata location, of all tables of the product at one instant (one SELECT on a SQL catalog)."""
    raise NotImplementedError
