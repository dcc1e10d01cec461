"""YAML as people mean it: the types of YAML 1.2, exact numbers, and texts for times, dates and everything else. Pure.

YAML 1.1, which PyYAML reads, takes `no` for false, `12:30:00` for 45000, and `2013-03-10` for an object of Python's.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml

_NOT_FINITE = {".nan": "NaN", ".inf": "Infinity", "+.inf": "Infinity", "-.inf": "-Infinity"}
_LARGEST_EXPONENT = 400
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

    _anchored = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """No alias within what an alias may stand for: a short file could be of any size, or without end."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            if self._anchored:
                mark: Any = event.start_mark
                said = "an alias within what has an anchor"
                raise yaml.composer.ComposerError(None, None, said, mark)
            return super().compose_node(parent, index)
        self._anchored += bool(event.anchor)
        try:
            return super().compose_node(parent, index)
        finally:
            self._anchored -= bool(event.anchor)


def _integer(_: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


def _number(_: _Loader, node: yaml.ScalarNode) -> Decimal | str:
    found = _NOT_FINITE.get(node.value.lower())
    if found is not None:
        return found
    number = Decimal(node.value)
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise yaml.constructor.ConstructorError(
            None, None, "a number beyond those of a double", node.start_mark
        )
    return number


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
    try:
        return yaml.load(text, _Loader)
    except (
        ValueError,
        RecursionError,
    ) as e:  # a number of thousands of digits, brackets without end
        raise yaml.YAMLError(str(e)) from e
