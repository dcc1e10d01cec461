"""A small product's folder on disk, as it is or with something changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from jobs.product import Product, load_product

SETTINGS: dict[str, Any] = {
    "name": "tiny", "topics": {"orders": {"role": "events", "allowed_lateness": "1h", "identity": ["a"]}},
    "outputs": {"rows": {"kind": "rows", "of": "orders"}, "sums": {"kind": "aggregate"}},
    "functions": {"f": {"python": "udfs.x:f", "returns": "INT"}}}
CONTRACT: dict[str, Any] = {"schema": [
    {"name": "rows", "properties": [{"name": "a", "physicalType": "INT"}, {"name": "b", "physicalType": "STRING"}]},
    {"name": "sums", "properties": [{"name": "day", "physicalType": "DATE"}, {"name": "n", "physicalType": "BIGINT"}]}]}
SCHEMA: dict[str, Any] = {"type": "record", "name": "Order", "fields": [{"name": "a", "type": "int"}]}
SQL = "INSERT INTO rows (a, b) SELECT a, 'x -- y' FROM orders -- of the shop\n"


def write(folder: Path, *, settings: dict[str, Any] = SETTINGS, contract: dict[str, Any] = CONTRACT,
          schema: dict[str, Any] = SCHEMA, sql: str = SQL) -> Product:
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    (folder / "checks").mkdir(exist_ok=True)
    (folder / "product.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "contract.yaml").write_text(yaml.safe_dump(contract))
    (folder / "schemas" / "orders.avsc").write_text(json.dumps(schema))
    (folder / "sources.sql").write_text("CREATE TABLE orders (a INT)")
    (folder / "rows.sql").write_text(sql)
    (folder / "sums.sql").write_text("INSERT INTO sums (day, n) SELECT day, COUNT(*) FROM orders")
    return load_product(folder)


def changed(base: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(base))
    change(copy)
    return copy
