"""DuckDB over the product's tables: as published, or at given snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.product import Product
from replay.settings import Settings


@dataclass(frozen=True)
class Result:
    """Rows of a query, with the columns in their order (also when there are no rows)."""

    columns: list[str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class CheckResult:
    """One file of checks/: how many rows it found, and some of them."""

    name: str
    offending: int
    sample: list[dict[str, Any]]


def query(settings: Settings, product: str, sql: str, *, snapshots: Mapping[str, int] | None = None) -> Result:
    """Run a SELECT over the product's tables as published, or at `snapshots` (table → snapshot id)."""
    raise NotImplementedError


def run_checks(settings: Settings, product: Product, snapshots: Mapping[str, int]) -> list[CheckResult]:
    """Run checks/*.sql on exactly these snapshots; each file selects offending rows."""
    raise NotImplementedError
