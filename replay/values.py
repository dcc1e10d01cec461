"""Values of tables, nested ones too, for people and for JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any


def json_value(value: Any) -> Any:
    """The value as JSON has it: bytes in base64, null for NaN and infinities, keys of maps as text."""
    match value:
        case Mapping():
            return {words(k): json_value(v) for k, v in value.items()}
        case list() | tuple():
            return [json_value(v) for v in value]
        case bytes():
            return base64.b64encode(value).decode()
        case float() if not math.isfinite(value):
            return None
    return value


def words(value: Any) -> str:
    """The value on one line: {sku: a, price: 1.50}, [1, 2], null, bytes in hex."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case bytes():
            return value.hex()
        case Mapping():
            return f"{{{', '.join(f'{words(k)}: {words(v)}' for k, v in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(words, value))}]"
    return str(value)


def duration(seconds: float) -> str:
    """A time for people, in its two largest units: 48 s, 7 h 12 min."""
    left = int(seconds + 0.5) if seconds >= 1 else 0
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(p for p in parts if p) or "less than 1 s"


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, NaN equal to NaN at every level."""
    match one, other:
        case Mapping(), Mapping():
            return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
        case (list() | tuple(), list() | tuple()):
            return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or bool(one != one and other != other)
