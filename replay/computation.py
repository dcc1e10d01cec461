"""What of a release decides its rows, file by file: two releases that agree in it need no replay between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.product import Product
from jobs.sql import read_statements

Parts = Mapping[str, bytes]
"""File, as it is called in the product's folder, or below jobs/ and udfs/ → what of it decides rows."""

CODE = ("jobs", "udfs")
DECIDES = ("time_zone", "topics", "lookups", "functions", "flink")
"""Fields of product.yaml, besides which outputs there are, and which records they leave out."""


def parts(product: Product, code: Mapping[str, bytes]) -> Parts:
    """What decides the rows of a product that runs with this Python (path from jobs/ or udfs/ → content).

    Not in it: descriptions, checks, quality rules, policies of deploying, parallelism and checkpoint interval, which
    rows do not depend on, and comments and layout of SQL.
    """
    return {
        **{file.name: _sql(file) for file in _sql_files(product)},
        **{f"schemas/{name}.avsc": _schema(product.schema_file(kafka)) for kafka in product.topics
           if (name := product.sql_name(kafka))},
        "product.yaml": _canonical(settings(product)),
        **{path: content for path, content in code.items() if path.split("/")[0] in CODE and path.endswith(".py")},
    }


def fingerprint(content: Mapping[str, bytes]) -> str:
    """A name for these files and what is in them."""
    digest = hashlib.sha256()
    for path in sorted(content):
        for part in (path.encode(), content[path]):
            digest.update(len(part).to_bytes(8, "big"))  # so that no two lists of files read the same
            digest.update(part)
    return digest.hexdigest()


def settings(product: Product) -> dict[str, Any]:
    """The fields of product.yaml that decide rows."""
    fields = product.settings.model_dump(mode="json", include={"name", *DECIDES})
    laid_out = {name: [output.partition, output.sort] for name, output in product.settings.outputs.items()
                if output.partition or output.sort}
    if laid_out:  # the same rows, in other files: those are written by a replay
        fields["layout"] = laid_out
    return {**fields, "outputs": {name: output.where for name, output in product.settings.outputs.items()}}


def _sql_files(product: Product) -> tuple[Path, ...]:
    views = (product.views_sql,) if product.views_sql.is_file() else ()
    return (*views, *map(product.select_sql, product.settings.outputs))


def _sql(file: Path) -> bytes:
    """The tokens of its statements, without comments and spaces."""
    return _canonical([[token.text for token in statement.tokens] for statement in read_statements(file)])


def _schema(file: Path) -> bytes:
    """The Avro schema without its documentation and layout."""
    text = file.read_text()
    try:
        return _canonical(_undocumented(json.loads(text)))
    except ValueError:
        return text.encode()


def _undocumented(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_undocumented(s) for s in schema]
    if isinstance(schema, dict):
        return {k: _undocumented(v) if k in ("type", "fields", "items", "values") else v for k, v in schema.items()
                if k != "doc"}
    return schema


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
