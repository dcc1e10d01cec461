"""What of a release decides its rows, part by part: two releases that agree in it need no replay between them."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.plan.compiled import Node, parse_plan
from jobs.product.folder import WRITERS, Product
from jobs.product.formats import Format
from jobs.product.model import Topic
from jobs.product.sql import read_statements
from jobs.product.topic_schemas import key_schema_text, schema_text, writer_texts

Parts = Mapping[str, bytes]
"""Part → what of it decides rows. A part is a file, as it is called in the product's folder or below jobs/ and udfs/;
plan/TABLE, which is what the compiled plan says of a table; or something of the runtime."""

CODE = ("jobs", "udfs")
PLAN = "plan/"
DECIDES = ("time_zone", "topics", "lookups", "functions", "flink")
"""Fields of product.yaml, besides which outputs there are, and which records they leave out."""

_LATER = ("format", "record_key")
"""Settings of a topic that earlier releases do not know: by default they leave the name of a release as it was."""


def parts(product: Product, code: Mapping[str, bytes]) -> Parts:
    """What decides the rows of a product that runs with this Python (path from jobs/ or udfs/ → content).

    Not in it: descriptions, checks, quality rules, policies of deploying, parallelism and checkpoint interval, which
    rows do not depend on; comments and layout; and whatever of the SQL leads to the same plan.
    """
    compiled = product.resolved.plan if product.resolved else ""
    return {
        **(
            plans(compiled) if compiled else {file.name: _sql(file) for file in _sql_files(product)}
        ),
        **_schemas(product),
        "product.yaml": _canonical(settings(product)),
        **{
            path: _python(content)
            for path, content in code.items()
            if path.split("/")[0] in CODE and path.endswith(".py")
        },
    }


def plans(compiled: str) -> Parts:
    """What a compiled plan says of each table: the operators that it is computed by, whatever they are numbered."""
    known: dict[int, str] = {}
    return {f"{PLAN}{sink.table}": _digest(sink, known).encode() for sink in parse_plan(compiled)}


def _digest(node: Node, known: dict[int, str]) -> str:
    if id(node) not in known:
        said = {key: value for key, value in node.body.items() if key not in ("id", "description")}
        inputs = [_digest(before, known) for before in node.inputs]
        known[id(node)] = hashlib.sha256(_canonical([said, inputs])).hexdigest()
    return known[id(node)]


def _python(source: bytes) -> bytes:
    """The syntax of a module, without comments, layout and documentation; of what is no Python the text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if (
                ast.get_docstring(node)
            ):
                node.body = node.body[1:]
    return ast.dump(tree).encode()


def fingerprint(content: Mapping[str, bytes]) -> str:
    """A name for these files and what is in them."""
    digest = hashlib.sha256()
    for path in sorted(content):
        for part in (path.encode(), content[path]):
            # so that no two lists of files read the same
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def settings(product: Product) -> dict[str, Any]:
    """The fields of product.yaml that decide rows."""
    fields = product.settings.model_dump(mode="json", include={"name", *DECIDES})
    for topic in fields["topics"].values():
        del topic["message"]  # of the columns that it decides, schemas/ tells
        for later in _LATER:
            if topic[later] == Topic.model_fields[later].default:
                del topic[later]
    laid_out = {
        name: [output.partition, output.sort]
        for name, output in product.settings.outputs.items()
        if output.partition or output.sort
    }
    if laid_out:  # the same rows, in other files: those are written by a replay
        fields["layout"] = laid_out
    written = {
        name: [output.topic, output.key]
        for name, output in product.settings.outputs.items()
        if output.topic is not None
    }
    if written:  # the same rows, as other records: those are written by a replay
        fields["output_topics"] = written
    return {
        **fields,
        "outputs": {name: output.where for name, output in product.settings.outputs.items()},
    }


def _sql_files(product: Product) -> tuple[Path, ...]:
    views = (product.views_sql,) if product.views_sql.is_file() else ()
    return (*views, *map(product.select_sql, product.settings.outputs))


def _sql(file: Path) -> bytes:
    """The tokens of its statements, without comments and spaces."""
    return _canonical(
        [[token.text for token in statement.tokens] for statement in read_statements(file)]
    )


def _schemas(product: Product) -> dict[str, bytes]:
    """What values and keys are read by."""
    found = {}
    for kafka, topic in product.topics.items():
        name = product.sql_name(kafka)
        if topic.format.suffix:
            schema = json.loads(schema_text(product, name))
            if topic.format.is_protobuf:
                schema = _read_by(schema, topic.format)
            found[f"schemas/{product.schema_file(kafka).name}"] = _canonical(_undocumented(schema))
        if writers := writer_texts(product, name):
            texts = [_undocumented(json.loads(text)) for text in writers]
            found[f"schemas/{name}{WRITERS}"] = _canonical(texts)
        if topic.record_key and topic.record_key.format.suffix:
            key = key_schema_text(product, name) or ""
            found[f"schemas/{product.key_schema_file(kafka).name}"] = _schema(key)
    return found


def _read_by(described: dict[str, Any], written: Format) -> dict[str, Any]:
    """What messages of Protobuf are read by, of a schema that describes them: not how the message is called."""
    names = {"descriptor", "message"} | ({"indexes"} if written is Format.protobuf else set())
    return {k: v for k, v in described.items() if k not in names}


def _schema(text: str) -> bytes:
    """The Avro schema without its documentation and layout."""
    return _canonical(_undocumented(json.loads(text)))


def _undocumented(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_undocumented(s) for s in schema]
    if isinstance(schema, dict):
        return {
            k: _undocumented(v) if k in ("type", "fields", "items", "values") else v
            for k, v in schema.items()
            if k != "doc"
        }
    return schema


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
