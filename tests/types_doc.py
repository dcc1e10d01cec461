"""The rows of the table in docs/types.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOC = Path(__file__).parents[1] / "docs" / "types.md"


@dataclass(frozen=True)
class Row:
    """One Avro type, and what becomes of it."""

    avro: Any
    flink: str
    iceberg: str
    duckdb: str


def rows() -> list[Row]:
    found = []
    for line in DOC.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) >= 4 and cells[0].startswith(("`{", '`"', "`[")):
            avro, flink, iceberg, duckdb = cells[:4]
            found.append(
                Row(json.loads(avro.strip("`")), flink.replace("\\`", "`"), iceberg, duckdb)
            )
    return found
