"""Which metrics and labels a PromQL expression names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\S+")
_NAME = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)\b(?!\s*\()")
_OPERATORS = frozenset({"and", "or", "unless", "bool", "inf", "nan"})


@dataclass(frozen=True)
class Named:
    """What an expression asks for."""

    metrics: frozenset[str]
    labels: frozenset[str]


def named(expression: str) -> Named:
    """Metrics, and labels that are matched or grouped by."""
    text = _STRING.sub("''", expression)
    labels = {
        name.strip()
        for group in _GROUPING.findall(text)
        for name in group.split(",")
        if name.strip()
    }
    for _, matchers in _SELECTOR.findall(text):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    text = _RANGE.sub("", _SELECTOR.sub(r"\1", _GROUPING.sub("", text)))
    text = text.replace("''", "")
    return Named(frozenset(_NAME.findall(text)) - _OPERATORS, frozenset(labels))


def expressions(value: object) -> Iterator[str]:
    """All that stand below keys `expr` and `definition` of a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr" and isinstance(inner, str):
                yield inner
            elif key == "definition" and isinstance(inner, str):
                yield inner.removeprefix("label_values(").rpartition(",")[0]
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)
