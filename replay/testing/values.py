"""Values of an output's columns: what a test expects, what came, and whether they are the same. Pure.

A value is None, bool, int, float, Decimal, str, bytes, date, time, datetime (of UTC for TIMESTAMP_LTZ, else without a
zone), a list, or a dict: of a ROW by its fields' names, of a MAP by its keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from jobs.product.column_types import Array, Atomic, Map, Row, Type
from jobs.product.names import did_you_mean
from replay.avro.json_scalars import NOT_FINITE, from_tagged, shorten
from replay.avro.json_values import JsonValueError
from replay.testing import clocks

TOLERANCE = 1e-9
"""Of FLOAT and DOUBLE, relative: a person writes 0.333333333333."""


def found(type_: Type, value: Any) -> Any:
    """A value as the run has written it: see `Json.java`."""
    if value is None:
        return None
    match type_:
        case Array(element):
            return [found(element, v) for v in value]
        case Map(key, inner):
            return {found(key, k): found(inner, v) for k, v in value}
        case Row(fields):
            return {f.name: found(f.type, value[f.name]) for f in fields}
    return _FOUND.get(type_.name, lambda v: v)(value)


def _instant(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # a year that Python does not have
        return text


_FOUND: dict[str, Callable[[Any], Any]] = {
    "FLOAT": float,
    "DOUBLE": float,
    "DECIMAL": Decimal,
    "BYTES": lambda text: bytes.fromhex(text[4:]),
    "DATE": date.fromisoformat,
    "TIME": time.fromisoformat,
    "TIMESTAMP": _instant,
    "TIMESTAMP_LTZ": _instant,
}


def expected(type_: Type, value: Any, zone: str, path: str) -> Any:
    """A value as a test has it; JsonValueError for one that the column cannot have."""
    if value is None:
        return None
    match type_:
        case Array(element):
            if not isinstance(value, list):
                raise JsonValueError(path, "a list", shorten(value))
            return [expected(element, v, zone, f"{path}[{i}]") for i, v in enumerate(value)]
        case Map(key, inner):
            _object(value, path)
            keys = [
                k if isinstance(key, Atomic) and key.name != "STRING" else str(k) for k in value
            ]
            return {
                expected(key, k, zone, path): expected(inner, v, zone, f"{path}[{k!r}]")
                for k, v in zip(keys, value.values(), strict=True)
            }
        case Row(fields):
            types = {f.name: f.type for f in fields}
            return {
                k: expected(_type_of(types, str(k), path), v, zone, f"{path}.{k}")
                for k, v in _object(value, path).items()
            }
    return _atomic(type_, value, zone, path)


def _object(value: Any, path: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise JsonValueError(path, "an object", shorten(value))
    return value


def _type_of(types: Mapping[str, Type], name: str, path: str) -> Type:
    if name not in types:
        meant = did_you_mean(name, types) or f"one of {', '.join(types)}"
        raise JsonValueError(f"{path}.{name}", f"a field of {path}; {meant}", name)
    return types[name]


def _atomic(type_: Atomic, value: Any, zone: str, path: str) -> Any:
    reader, words = _EXPECTED[type_.name]
    try:
        if type_.name == "TIMESTAMP_LTZ" and isinstance(value, str):
            value = clocks.instant(value, zone, path)
        return reader(value)
    except JsonValueError:
        raise
    except (ValueError, TypeError, InvalidOperation):
        raise JsonValueError(path, f"{type_}: {words}", shorten(value)) from None


def _is(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(value)
        return value

    return read


def _whole(value: Any) -> int:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return int(_is(int)(value))


def _float(value: Any) -> float:
    if isinstance(value, str):
        return NOT_FINITE[value] if value in NOT_FINITE else _fail(value)
    return float(_number(value))


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(value)
    found = Decimal(value)
    if not found.is_finite():
        raise ValueError(value)
    return found


def _fail(value: Any) -> Any:
    raise ValueError(value)


def _bytes(value: Any) -> bytes:
    found = from_tagged(value)
    return _fail(value) if found is None else found


def _local(value: Any) -> datetime:
    at = datetime.fromisoformat(_is(str)(value).replace(",", "."))
    return _fail(value) if at.tzinfo else at


def _utc(value: Any) -> datetime:
    at = datetime.fromisoformat(_is(str)(value))
    return at.astimezone(UTC) if at.tzinfo else _fail(value)


_WHOLE = (_whole, "a whole number")
_FLOAT = (_float, 'a number, "NaN", "Infinity" or "-Infinity"')
_EXPECTED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "BOOLEAN": (_is(bool), "true or false"),
    "TINYINT": _WHOLE,
    "SMALLINT": _WHOLE,
    "INT": _WHOLE,
    "BIGINT": _WHOLE,
    "FLOAT": _FLOAT,
    "DOUBLE": _FLOAT,
    "DECIMAL": (_number, 'a number, such as 12.30 or "12.30"'),
    "STRING": (_is(str), "a text; in quotes, what YAML takes for something else"),
    "BYTES": (_bytes, '"hex:00ff" or "base64:AP8="'),
    "DATE": (lambda v: date.fromisoformat(_is(str)(v)), "2024-06-03"),
    "TIME": (lambda v: time.fromisoformat(_is(str)(v)), "01:02:03.456"),
    "TIMESTAMP": (_local, "2024-06-03T01:02:03, without an offset"),
    "TIMESTAMP_LTZ": (_utc, "2024-06-03T01:02:03, by the product's clocks or with an offset"),
}


def same(type_: Type, wanted: Any, came: Any) -> bool:
    """Whether a value is what was expected: of a ROW, in the fields that are said."""
    if wanted is None or came is None:
        return wanted is came
    match type_:
        case Array(element):
            return len(wanted) == len(came) and all(
                same(element, w, c) for w, c in zip(wanted, came, strict=True)
            )
        case Map(_, inner):
            return wanted.keys() == came.keys() and all(
                same(inner, wanted[k], came[k]) for k in wanted
            )
        case Row(fields):
            return all(
                same(f.type, wanted[f.name], came[f.name]) for f in fields if f.name in wanted
            )
    if type_.name == "FLOAT":
        return _close(wanted, came, 1e-6)
    if type_.name == "DOUBLE":
        return _close(wanted, came, TOLERANCE)
    return bool(wanted == came)


def _close(wanted: float, came: float, tolerance: float) -> bool:
    if math.isnan(wanted) or math.isnan(came):
        return math.isnan(wanted) and math.isnan(came)
    return math.isclose(wanted, came, rel_tol=tolerance, abs_tol=0.0)


def shown(value: Any, zone: str) -> Any:
    """A value as a test would have it: of JSON's types."""
    match value:
        case dict():
            return {_shown_key(k, zone): shown(v, zone) for k, v in value.items()}
        case list():
            return [shown(v, zone) for v in value]
        case bytes():
            return f"hex:{value.hex()}"
        case datetime():
            return clocks.shown(value, zone) if value.tzinfo else clocks.trimmed(value.isoformat())
        case date() | time():
            return clocks.trimmed(value.isoformat())
        case Decimal():
            return format(value, "f")
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _shown_key(key: Any, zone: str) -> str | int:
    return key if isinstance(key, str | int) else str(shown(key, zone))
