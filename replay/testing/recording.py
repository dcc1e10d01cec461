"""Writes what came into a test as what it expects, and leaves every other line of its file as people wrote it. Pure but
for `write`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from jobs.product.folder import Product
from jobs.product.model import REJECTS
from replay.testing import plain_yaml, values
from replay.testing.run import Result

_PLACE = ("log_topic", "log_partition", "log_offset")
"""Where a row's record stands: said of rejects alone, of which it is the key."""
_PLAIN = re.compile(r"[\w./+-][\w./+: -]*[\w./+-]|\w")
Lines = list[str]


def write(product: Product, result: Result) -> None:
    """Every output into a test that expects nothing; else the outputs in which something else came."""
    file = result.case.file
    file.write_text(recorded(product, result, file.read_text()))


def recorded(product: Product, result: Result, text: str) -> str:
    """The text of a test's file with what came in it. ConfigError for a test on one line, in braces."""
    body = _value(yaml.compose(text), result.case.name)
    if body.flow_style:
        raise result.case.wrong(
            "", "given: on a line of its own, where expect: can follow", "a test in braces"
        )
    lines = text.splitlines(keepends=True)
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    indent = body.start_mark.column
    if result.case.body.expect is None:
        written = [" " * indent + "expect:\n", *_outputs(product, result, indent + 2)]
        for key, value in body.value:
            if key.value == "expect":  # without a value
                lines[key.start_mark.line : _end(value, key.start_mark.line)] = written
                return "".join(lines)
        end = _end(body, body.start_mark.line)
        lines[end:end] = written
        return "".join(lines)
    expect = _value(body, "expect")
    if expect.flow_style:
        raise result.case.wrong("expect", "each output on a line of its own", "outputs in braces")
    _replace(product, result, lines, expect)
    return "".join(lines)


def _replace(product: Product, result: Result, lines: Lines, expect: yaml.MappingNode) -> None:
    """The rows of outputs that differ; from the last to the first, so that lines keep their numbers."""
    indent, end = expect.start_mark.column, _end(expect, expect.start_mark.line)
    differ = [d.output for d in result.differences]
    named = {key.value: (key, value) for key, value in expect.value}
    added = [name for name in differ if name not in named]
    lines[end:end] = [line for name in added for line in _output(product, result, name, indent)]
    for name, (key, value) in reversed(named.items()):
        if name in differ:
            start = key.start_mark.line
            lines[start : _end(value, start)] = _output(product, result, name, indent)


def _value(node: Any, name: str) -> Any:
    return next(value for key, value in node.value if key.value == name)


def _end(node: Any, least: int) -> int:
    """The line behind the last one with something of a node: comments and empty lines behind it are not its own."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        return max(int(node.end_mark.line), least) + 1
    inner = [n for of in node.value for n in (of if isinstance(of, tuple) else (of,))]
    return max((_end(n, least) for n in inner), default=least + 1)


def _outputs(product: Product, result: Result, indent: int) -> Lines:
    assert result.rows is not None
    named = [name for name, rows in result.rows.items() if rows or name != REJECTS]
    return [line for name in named for line in _output(product, result, name, indent)]


def _output(product: Product, result: Result, name: str, indent: int) -> Lines:
    """An output and its rows, each on a line, with the columns that the test names, or all."""
    assert result.rows is not None
    rows, expect = result.rows[name], result.case.body.expect or {}
    said = {c for row in expect[name].rows for c in row} if name in expect else set()
    columns = [
        c.name
        for c in product.outputs[name].columns
        if (c.name in said if said else name == REJECTS or c.name not in _PLACE)
    ]
    margin = " " * indent
    if not rows:
        return [f"{margin}{name}: []\n"]
    zone = product.settings.time_zone
    return [f"{margin}{name}:\n", *(f"{margin}  - {_row(row, columns, zone)}\n" for row in rows)]


def _row(row: Mapping[str, Any], columns: Sequence[str], zone: str) -> str:
    return flow({c: values.shown(row[c], zone) for c in columns})


def flow(value: Any) -> str:
    """A plain value on one line, as a test could have it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str() if _PLAIN.fullmatch(value) and _is_plain(value):
            return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    try:
        return bool(plain_yaml.load(f"[{text}]") == [text])
    except yaml.YAMLError:
        return False
