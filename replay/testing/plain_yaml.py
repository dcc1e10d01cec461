"""YAML as people mean it: the types of YAML 1.2, exact numbers, and texts for times, dates and everything else. Pure.

YAML 1.1, which PyYAML reads, takes `no` for false, `12:30:00` for 45000, and `2013-03-10` for an object of Python's.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml

_NOT_FINITE = {".nan": "NaN", ".inf": "Infinity", "+.inf": "Infinity", "-.inf": "-Infinity"}
_RESOLVERS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}


class _Loader(yaml.SafeLoader):
    """Each key once, no values but plain ones."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        said: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in said:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} occurs twice", key.start_mark
                    )
                said.add(key.value)
        return super().construct_mapping(node, deep)


def _integer(_: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


def _number(_: _Loader, node: yaml.ScalarNode) -> Decimal | str:
    found = _NOT_FINITE.get(node.value.lower())
    return Decimal(node.value) if found is None else found


_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _RESOLVERS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"])
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def load(text: str) -> Any:
    """The document; yaml.YAMLError says what is wrong with it and where."""
    return yaml.load(text, _Loader)
