"""Readers of values that hold no other values: numbers, texts, bytes, and what logical types make of them."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from decimal import Decimal

from jobs.product.avro_schema import Schema
from replay.avro.body import Body, FieldPath, Reader

PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
_DAY = 86_400
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_EPOCH, _LOCAL_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(1970, 1, 1)
_PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


def leaf(writer: Schema, reader: Schema, place: FieldPath) -> Reader | None:
    """None when the writer's is not the reader's."""
    if writer.type != reader.type and reader.type not in PROMOTIONS.get(writer.type, ()):
        return None
    match reader.type:
        case "null":
            return nothing
        case "boolean":
            return lambda body: body.boolean(place)
        case "int" | "long":
            return _whole(writer, reader, place)
        case "float" | "double" if writer.type in ("int", "long"):
            return _exact(writer, reader.type, place)
        case "float" | "double":
            form = _FLOAT if writer.type == "float" else _DOUBLE
            return lambda body: form.unpack(body.take(form.size))[0]
        case "string":
            return None if writer.logical == "decimal" else lambda body: body.string(place)
        case "bytes" | "fixed":
            return _bytes(writer, reader, place)
        case _:
            return None


def _whole(writer: Schema, reader: Schema, place: FieldPath) -> Reader | None:
    number: Callable[[Body], int] = (
        (lambda body: body.int32(place))
        if writer.type == "int"
        else (lambda body: body.int64(place))
    )
    wanted, unit = reader.logical, writer.logical or reader.logical
    if not wanted:
        return number
    if unit != wanted and not _is_finer(unit, wanted):
        return None
    if wanted == "date":
        return lambda body: dt.date.fromordinal(
            _EPOCH_DAY
            + _within(number(body), _FIRST_DAY, _LAST_DAY, "the years 0001 to 9999", unit, place)
        )
    family, units = _unit(unit)
    if family == "time":
        last = _DAY * units - 1
        if wanted == "time-millis":
            return lambda body: _time(_within(number(body), 0, last, "a day", unit, place))
        factor = _unit(wanted)[1] // units
        return lambda body: _within(number(body), 0, last, "a day", unit, place) * factor
    epoch = _EPOCH if family == "timestamp" else _LOCAL_EPOCH
    first, last = _FIRST_DAY * _DAY * units, (_LAST_DAY + 1) * _DAY * units - 1

    def timestamp(body: Body) -> dt.datetime:
        value = _within(number(body), first, last, "the years 0001 to 9999", unit, place)
        # Python's times have no nanoseconds
        return epoch + dt.timedelta(microseconds=value * 1_000_000 // units)

    return timestamp


def _is_finer(unit: str, other: str) -> bool:
    """Whether values of a unit are exact in another, which is finer."""
    return _unit(unit)[0] == _unit(other)[0] and 0 < _unit(unit)[1] < _unit(other)[1]


def _unit(logical: str) -> tuple[str, int]:
    """('timestamp', 1000) of timestamp-millis."""
    family, _, unit = logical.rpartition("-")
    return family, _PER_SECOND.get(unit, 0)


def _within(value: int, first: int, last: int, what: str, unit: str, place: FieldPath) -> int:
    if not first <= value <= last:
        raise place.reject(f"{unit} {value} is not within {what}")
    return value


def _time(millis: int) -> dt.time:
    seconds, rest = divmod(millis, 1000)
    return dt.time(seconds // 3600, seconds // 60 % 60, seconds % 60, rest * 1000)


def _exact(writer: Schema, real: str, place: FieldPath) -> Reader:
    """A whole number as a float or a double, if that has all of its digits."""
    form = _FLOAT if real == "float" else _DOUBLE

    def read(body: Body) -> float:
        value = body.int32(place) if writer.type == "int" else body.int64(place)
        found: float = form.unpack(form.pack(value))[0]
        if found != value:
            raise place.reject(f"{value} has more digits than a {real}")
        return found

    return read


def _bytes(writer: Schema, reader: Schema, place: FieldPath) -> Reader | None:
    wanted, written, size = reader.logical, writer.logical, reader.size
    if (
        (reader.type == "fixed" and writer.size != size)
        or (wanted and written and wanted != written)
        or (wanted == "decimal" and writer.type == "string")
    ):
        return None
    raw: Callable[[Body], bytes] = (
        (lambda body: body.take(size))
        if reader.type == "fixed"
        else (lambda body: body.take(body.length(place)))
    )
    if wanted == "decimal":
        return _decimal(raw, writer, reader, place)
    if wanted == "uuid":
        return lambda body: _uuid(raw(body))
    return raw


def _decimal(
    raw: Callable[[Body], bytes], writer: Schema, reader: Schema, place: FieldPath
) -> Reader | None:
    """None where the writer's decimals have digits behind the point that the reader's have not."""
    written = writer.scale if writer.logical == "decimal" else reader.scale
    shift, most = (
        10 ** (reader.scale - written) if written <= reader.scale else 0,
        10**reader.precision,
    )
    if not shift:
        return None

    def read(body: Body) -> Decimal:
        unscaled = raw(body)
        number = int.from_bytes(unscaled, "big", signed=True)  # no bytes are zero
        length = (number if number >= 0 else ~number).bit_length() // 8 + 1
        if number and length > 16:
            raise place.reject(
                f"a number of {length} bytes does not fit decimal({reader.precision}, {reader.scale})"
            )
        if abs(number * shift) >= most:
            raise place.reject(
                f"{_scaled(number, written):f} does not fit decimal({reader.precision}, {reader.scale})"
            )
        return _scaled(number * shift, reader.scale)

    return read


def _scaled(number: int, scale: int) -> Decimal:
    """number / 10^scale, with all digits: arithmetic would round to 28."""
    return Decimal((int(number < 0), tuple(int(d) for d in str(abs(number))), -scale))


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def enum(writer: Schema, reader: Schema, place: FieldPath) -> Reader:
    def read(body: Body) -> str:
        index = body.int64(place)
        if not 0 <= index < len(writer.symbols):
            raise place.reject(f"no symbol {index} of the enum {writer.name}")
        symbol = (
            writer.symbols[index]
            if writer.symbols[index] in reader.symbols
            else reader.default_symbol
        )
        if symbol is None:
            raise place.reject(
                f"symbol '{writer.symbols[index]}' is not in the enum {reader.name}, "
                "which has no default"
            )
        return symbol

    return read


def nothing(body: Body) -> None:
    return None


def describe(schema: Schema) -> str:
    """How a type is called in a reason."""
    if schema.logical == "decimal":
        return f"decimal({schema.precision}, {schema.scale})"
    if schema.logical:
        return schema.logical
    if schema.type == "union":
        return " or ".join(describe(b) for b in schema.branches)
    return f"{schema.type} {schema.name}" if schema.name else schema.type
