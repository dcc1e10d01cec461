"""Whole products for tests without Flink: what its planner said of them is in tests/resolved.

tests/integration/test_products.py asks the planner again, and finds the same.
"""

from __future__ import annotations

from pathlib import Path

from jobs.product.folder import Product, load_product
from jobs.product.model import Resolved

ROOT = Path(__file__).parents[2]
FLIGHTS, ORDERS = ROOT / "sql" / "flights", ROOT / "tests" / "products" / "orders"


def resolved(name: str) -> Resolved:
    """What the planner said of flights or orders."""
    return Resolved.model_validate_json((ROOT / "tests" / "resolved" / f"{name}.json").read_text())


def flights() -> Product:
    """The demo's product."""
    return load_product(FLIGHTS, resolved("flights"))


def orders(folder: Path = ORDERS) -> Product:
    """The small product, or a copy of it whose SQL is the same."""
    return load_product(folder, resolved("orders"))
