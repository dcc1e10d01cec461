"""JSON values of Avro's simple types: (schema, JSON value) → what fastavro writes, or what would fit.

Logical types become the plain integers, bytes and strings that Avro writes for them: none is rounded on its way.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from jobs.product.avro_schema import Schema

_INT, _LONG = 31, 63
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
_DAY = r"(\d{4})-(\d\d)-(\d\d)"
_TIME = r"(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
_DATE = re.compile(_DAY)
_TIME_OF_DAY = re.compile(_TIME)
_TIMESTAMP = re.compile(rf"{_DAY}[T ]{_TIME}\s?(Z|z|[+-]\d\d:?\d\d)?")
_EPOCH = datetime(1970, 1, 1)


class UnfitError(Exception):
    """What a value of a simple type should be."""


def shorten(value: Any, limit: int = 80) -> str:
    """A JSON value as an error shows it."""
    text = (
        str(value)
        if isinstance(value, Decimal)
        else json.dumps(value, default=_number, ensure_ascii=False)
    )
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


def _null(_: Schema, value: Any) -> None:
    if value is not None:
        raise UnfitError("null")


def _boolean(_: Schema, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value


def _whole(value: Any, bits: int, expected: str) -> int:
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and abs(value) < 2**64
        and value == int(value)
    ):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**bits) <= value < 2**bits:
        raise UnfitError(expected)
    return value


def _int(_: Schema, value: Any) -> int:
    return _whole(value, _INT, "int: a whole number of 32 bits")


def _long(_: Schema, value: Any) -> int:
    return _whole(value, _LONG, "long: a whole number of 64 bits")


def _double(_: Schema, value: Any) -> float:
    expected = 'double: a number, "NaN", "Infinity" or "-Infinity"'
    if isinstance(value, str) and value in NOT_FINITE:
        return NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise UnfitError(expected)
    try:
        number = float(value)
    except OverflowError:
        raise UnfitError(expected) from None
    if math.isinf(number) and not isinstance(value, float):
        raise UnfitError(expected)
    return number


def _float(schema: Schema, value: Any) -> float:
    try:
        number = _double(schema, value)
        struct.pack("<f", number)
    except (UnfitError, OverflowError):
        raise UnfitError(
            'float: a number within ±3.4e38, "NaN", "Infinity" or "-Infinity"'
        ) from None
    return number


def _string(_: Schema, value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitError("string")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise UnfitError("string: text that UTF-8 can hold, with no half of a surrogate pair")
    return value


def _bytes(_: Schema, value: Any) -> bytes:
    found = from_tagged(value)
    if found is None:
        raise UnfitError('bytes: "hex:00ff" or "base64:AP8="')
    return found


def _fixed(schema: Schema, value: Any) -> bytes:
    found = from_tagged(value)
    if found is None or len(found) != schema.size:
        raise UnfitError(f'fixed({schema.size}): {schema.size} bytes as "hex:…" or "base64:…"')
    return found


def from_tagged(value: Any) -> bytes | None:
    """The bytes of "hex:…" or "base64:…"; None for anything else."""
    try:
        if isinstance(value, str) and value.startswith("hex:"):
            return bytes.fromhex(value[4:])
        if isinstance(value, str) and value.startswith("base64:"):
            return base64.b64decode(value[7:], validate=True)
    except (ValueError, binascii.Error):
        pass
    return None


def text_or_hex(value: bytes | None) -> str | None:
    """Bytes that are text as they are, others as hex:…; `bytes_of` gives them back."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"hex:{value.hex()}"
    return text if text.isprintable() and from_tagged(text) is None else f"hex:{value.hex()}"


def bytes_of(text: str) -> bytes:
    """The bytes of a text, or those that hex:… and base64:… name."""
    tagged = from_tagged(text)
    return text.encode() if tagged is None else tagged


def _enum(schema: Schema, value: Any) -> str:
    symbols = schema.symbols
    if value not in symbols:
        close = difflib.get_close_matches(value, symbols, 1) if isinstance(value, str) else ()
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UnfitError(f"a symbol of {schema.short_name} ({', '.join(symbols)}){hint}")
    return str(value)


def _uuid(schema: Schema, value: Any) -> str | bytes:
    try:
        found = uuid.UUID(value if isinstance(value, str) and len(value) == 36 else "")
    except ValueError:
        raise UnfitError("uuid: such as 123e4567-e89b-12d3-a456-426614174000") from None
    return found.bytes if schema.type == "fixed" else str(value)


def _decimal(schema: Schema, value: Any) -> bytes:
    precision, scale = schema.precision, schema.scale
    expected = (
        f"decimal({precision}, {scale}): a number of at most {precision - scale} digits before and {scale} "
        f"after the point"
    )
    number: Any = value
    if isinstance(value, str):
        try:
            number = Decimal(value) if value.strip() == value else None
        except InvalidOperation:
            number = None
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise UnfitError(expected)
    unscaled = _unscaled(Decimal(number), precision, scale)
    if unscaled is None:
        raise UnfitError(expected)
    size = schema.size if schema.type == "fixed" else (unscaled.bit_length() + 8) // 8
    try:
        return unscaled.to_bytes(size, "big", signed=True)
    except OverflowError:
        raise UnfitError(f"{expected}, in {size} bytes") from None


def _unscaled(number: Decimal, precision: int, scale: int) -> int | None:
    """number × 10^scale as a whole number of at most `precision` digits; None if it is none."""
    if not number.is_finite():
        return None
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if not any(digits):
        return 0
    text = "".join(map(str, digits)).lstrip("0")
    shift = exponent + scale
    if shift < 0:
        text, rest = text[:shift], text[shift:]
        if rest.strip("0"):
            return None
    elif len(text) + shift > precision:
        return None
    else:
        text += "0" * shift
    return None if len(text) > precision else (-1 if sign else 1) * int(text or "0")


def _date(_: Schema, value: Any) -> int:
    expected = 'date: "2024-06-03" or days since 1970'
    if isinstance(value, str):
        match = _DATE.fullmatch(value)
        if not match:
            raise UnfitError(expected)
        return _day(match.groups(), expected).days
    return _whole(value, _INT, expected)


def _day(parts: Sequence[str], expected: str) -> timedelta:
    try:
        return datetime(*map(int, parts)) - _EPOCH  # type: ignore[arg-type]  # year, month, day
    except ValueError:
        raise UnfitError(expected) from None


def _time(schema: Schema, value: Any) -> int:
    logical = schema.logical
    unit = logical.rpartition("-")[2]
    expected = f'{logical}: "01:02:03{_fraction(unit)}", or {_UNITS[unit]} since midnight'
    if isinstance(value, str):
        match = _TIME_OF_DAY.fullmatch(value)
        if not match:
            raise UnfitError(expected)
        return _of_day(match.groups(), _PER_SECOND[unit], expected)
    number = _whole(value, _LONG, expected)
    if not 0 <= number < 86400 * _PER_SECOND[unit]:
        raise UnfitError(expected)
    return number


def _of_day(parts: Sequence[str | None], per_second: int, expected: str) -> int:
    """Hour, minute, second and fraction in units; a fraction that the unit cannot hold is an error."""
    hour, minute, second = (int(p or 0) for p in parts[:3])
    nanos = int((parts[3] or "").ljust(9, "0"))
    lost = nanos % (10**9 // per_second)
    if hour > 23 or minute > 59 or second > 59 or lost:
        raise UnfitError(expected)
    return (hour * 3600 + minute * 60 + second) * per_second + nanos * per_second // 10**9


def _timestamp(schema: Schema, value: Any) -> int:
    logical = schema.logical
    local, unit = logical.startswith("local-"), logical.rpartition("-")[2]
    example = f"2024-06-03T01:02:03{_fraction(unit)}{'' if local else 'Z'}"
    zone = "without a zone" if local else "with a zone"
    expected = f'{logical}: ISO 8601 {zone}, "{example}", or {_UNITS[unit]} since 1970'
    if not isinstance(value, str):
        return _whole(value, _LONG, expected)
    match = _TIMESTAMP.fullmatch(value)
    if not match or (match[8] is None) is not local:
        raise UnfitError(expected)
    per_second = _PER_SECOND[unit]
    found = _day(match.groups()[:3], expected).days * 86400 * per_second
    found += _of_day(match.groups()[3:7], per_second, expected)
    found -= _offset(match[8]) * per_second
    if not -(2**_LONG) <= found < 2**_LONG:
        raise UnfitError(expected)
    return found


def _offset(zone: str | None) -> int:
    """Seconds east of Greenwich of 'Z', '+02:00', '-0530' or no zone."""
    if zone is None or zone in "Zz":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def _fraction(unit: str) -> str:
    return {"millis": ".456", "micros": ".456789", "nanos": ".456789012"}[unit]


_UNITS = {"millis": "milliseconds", "micros": "microseconds", "nanos": "nanoseconds"}
SIMPLE: Mapping[str, Callable[[Schema, Any], Any]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _float,
    "double": _double,
    "string": _string,
    "bytes": _bytes,
    "fixed": _fixed,
    "enum": _enum,
    "decimal": _decimal,
    "uuid": _uuid,
    "duration": _fixed,
    "date": _date,
    "time-millis": _time,
    "time-micros": _time,
    **{f"{local}timestamp-{unit}": _timestamp for local in ("", "local-") for unit in _PER_SECOND},
}
