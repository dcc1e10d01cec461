"""A small product's folder on disk, as it is or with something changed, and what the planner would say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from jobs import generate
from jobs.product.folder import Product, load_product, with_resolved
from jobs.product.model import REJECTS, Column, Output, Resolved

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "topics": {"orders": {"time": "at", "allowed_lateness": "1h", "identity": ["a"]}},
    "outputs": {"rows": {}, "sums": {}},
    "functions": {"f": {"python": "udfs.x:f", "returns": "INT"}},
}
CONTRACT: dict[str, Any] = {
    "schema": [
        {"name": "rows", "properties": [{"name": "a"}, {"name": "b"}]},
        {"name": "sums", "properties": [{"name": "day"}, {"name": "n"}]},
    ]
}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "a", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
SQL = "SELECT a, 'x -- y' AS b FROM orders -- of the shop\n"
SUMS = (
    "SELECT CAST(window_start AS DATE) AS `day`, COUNT(*) AS n\n"
    "FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '1' DAY)) GROUP BY window_start, window_end\n"
)

Types = Mapping[str, Sequence[tuple[str, str]]]
"""Table → columns with their types."""
COLUMNS: Types = {
    "rows": (("a", "INT"), ("b", "STRING"), ("log_partition", "INT"), ("log_offset", "BIGINT")),
    "sums": (("day", "DATE"), ("n", "BIGINT")),
}


def write(
    folder: Path,
    *,
    settings: dict[str, Any] = SETTINGS,
    contract: dict[str, Any] = CONTRACT,
    schema: dict[str, Any] = SCHEMA,
    sql: str = SQL,
    columns: Types = COLUMNS,
) -> Product:
    """The product with its outputs; `columns` are what the planner says of its SQL."""
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    (folder / "checks").mkdir(exist_ok=True)
    (folder / "product.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "contract.yaml").write_text(yaml.safe_dump(contract))
    for name in settings["topics"]:
        (folder / "schemas" / f"{name}.avsc").write_text(json.dumps(schema))
    for name in settings["outputs"]:
        (folder / f"{name}.sql").write_text(SUMS if name == "sums" else sql)
    return resolved(load_product(folder), columns)


def resolved(product: Product, columns: Types = COLUMNS) -> Product:
    """The product with what the planner would say of it: all outputs but `sums` are rows."""
    outputs = {}
    for name, said in product.settings.outputs.items():
        kind = said.kind or ("aggregate" if name == "sums" else "rows")
        of = said.of or (product.settings.topics if kind == "rows" else ())
        outputs[name] = Output.model_validate(
            {
                **said.model_dump(exclude={"topic"}),
                "kind": kind,
                "of": tuple(map(product.settings.kafka_name, of)),
                "columns": [Column(name=n, type=t) for n, t in columns[name]],
                "select": product.select_sql(name).read_text(),
            }
        )
    return with_resolved(
        product, Resolved(outputs={**outputs, REJECTS: generate.rejects_output(product)})
    )


def changed(base: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(base))
    change(copy)
    return copy
