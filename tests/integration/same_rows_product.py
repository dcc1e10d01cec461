"""The product whose outputs are made-up statements."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jobs.product.folder import Product, load_product
from tests.integration.same_rows_log import AHEAD, LATENESS, MINUTE, SCHEMAS
from tests.integration.same_rows_words import VIEWS, Statement

NAME = "same"


def write_product(
    folder: Path,
    statements: Mapping[str, Statement],
    zone: str,
    prefix: str,
    settings: Mapping[str, str],
) -> Product:
    """The folder of a product with these outputs, the views and the topics that they use."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "schemas").mkdir(parents=True)
    used = [s.sql for s in statements.values()]
    needed: dict[str, str] = {}
    for name, sql in reversed(VIEWS.items()):
        if any(_mentions(text, name) for text in used):
            needed[name] = sql
            used.append(sql)
    if needed:
        texts = (f"CREATE VIEW {name} AS\n{sql};\n" for name, sql in reversed(needed.items()))
        (folder / "views.sql").write_text("\n".join(texts))
    for name, statement in statements.items():
        (folder / f"{name}.sql").write_text(statement.sql + "\n")
    around = any(_mentions(text, "around_at") for text in used)
    topics = {
        name: rules
        for name, rules in _topics(prefix).items()
        if any(_mentions(text, name) or _mentions(text, f"{name}_at") for text in used)
        or (around and name in ("prices", "shops"))
    }
    for name in topics:
        (folder / "schemas" / f"{name}.avsc").write_text(json.dumps(SCHEMAS[name]))
    functions = {
        name: python
        for name, python in _FUNCTIONS.items()
        if any(_mentions(text, name) for text in used)
    }
    (folder / "product.yaml").write_text(
        yaml.safe_dump(
            {
                "name": NAME,
                "time_zone": zone,
                "topics": topics,
                "functions": functions,
                "lookups": {"around": {"price": "prices", "shop": "shops"}} if around else {},
                "outputs": {name: dict(s.settings) for name, s in statements.items()},
                "flink": dict(settings),
                "checkpoint_interval": "1s",
                "backlog_checkpoint_interval": "1s",
            }
        )
    )
    return load_product(folder)


def _mentions(sql: str, name: str) -> bool:
    return (
        name in sql.replace("(", " ").replace(")", " ").replace(",", " ").replace(".", " ").split()
    )


_FUNCTIONS = {
    "spelled": {
        "python": "udfs.same_rows:spelled",
        "returns": "STRING",
        "deterministic": True,
    },
    "doubled": {
        "python": "udfs.same_rows:doubled",
        "returns": "BIGINT",
        "deterministic": True,
        "vectorised": True,
    },
}


def kafka_name(prefix: str, topic: str) -> str:
    """`LOG_COPY_TOPIC`; all copies of a log have one topic that is read up to fixed offsets."""
    return f"{prefix.partition('_')[0]}_shops" if topic == "shops" else prefix + topic


def _topics(prefix: str) -> dict[str, dict[str, Any]]:
    minutes = {"allowed_lateness": f"{LATENESS // MINUTE}min", "max_ahead": f"{AHEAD // MINUTE}min"}
    events: dict[str, dict[str, Any]] = {
        "readings": {},
        "orders": {"identity": ["id"]},
        "payments": {"identity": ["id"], "once": "topic"},
        "visits": {"identity": ["id"], "keyed_by": ["k"]},
        "clicks": {"keyed_by": ["k"]},
    }
    return {
        **{
            name: {"topic": prefix + name, "time": "ts", **minutes, **rules}
            for name, rules in events.items()
        },
        "prices": {
            "topic": f"{prefix}prices",
            "role": "dimension",
            "key": ["k"],
            "time": "ts",
            **minutes,
        },
        "shops": {"topic": kafka_name(prefix, "shops"), "role": "reference", "key": ["k"]},
    }
