"""What a Python function returned, held against the declared type: what PyFlink cannot hand on, or would hand on as
another value, is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import partial
from typing import Any, SupportsIndex

from jobs.product.column_types import Array, Atomic, Map, Row, Type

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_CLASSES: dict[str, tuple[type, ...]] = {
    "STRING": (str,), "CHAR": (str,), "VARCHAR": (str,),
    "BYTES": (bytes, bytearray), "BINARY": (bytes, bytearray), "VARBINARY": (bytes, bytearray),
    "TIME": (time,), "TIMESTAMP": (datetime,), "TIMESTAMP_LTZ": (datetime,), "DECIMAL": (Decimal,),
}  # fmt: skip


class ReturnedError(ValueError):
    """A value that the declared type does not have."""


def as_declared(value: Any, declared: Type, *, vectorised: bool = False) -> Any:
    """The value as the column stores it, so that equal columns are equal; ReturnedError if it is of another type.

    `vectorised`: it comes out of Arrow, as `from_pandas` gives it.
    """
    if value is None:
        if not declared.nullable:
            raise ReturnedError(f"NULL, which {declared} is not")
        return None
    inner = partial(as_declared, vectorised=vectorised)
    match declared:
        case Array(element):
            if not isinstance(value, list | tuple):
                raise _wrong(value, declared)
            return [inner(v, element) for v in value]
        case Map(key, of):
            if not isinstance(value, dict):
                raise _wrong(value, declared)
            if None in value:
                raise ReturnedError(f"a key that is NULL, which no {declared} has")
            pairs = [(inner(k, key), inner(v, of)) for k, v in value.items()]
            return dict(sorted(pairs, key=repr))  # a map has no order
        case Row(fields):
            names = [f.name for f in fields]
            values = (_arrow_fields if vectorised else _fields)(value, declared, names)
            return tuple(inner(v, f.type) for v, f in zip(values, fields, strict=True))
        case Atomic():
            return _atomic(value, declared)


def _fields(value: Any, declared: Row, names: list[str]) -> list[Any]:
    """Of a Row, the only thing that PyFlink takes for a ROW; it finds fields with names by their names."""
    if type(value).__name__ != "Row" or not hasattr(value, "get_fields_by_names"):
        raise ReturnedError(f"{_wrong(value, declared)}: return a pyflink.common.Row")
    try:
        found = list(value.get_fields_by_names(names))
    except Exception as e:
        raise ReturnedError(f"a Row of other fields than {declared} has: {e}") from e
    return _counted(found, declared, names)


def _arrow_fields(value: Any, declared: Row, names: list[str]) -> list[Any]:
    found = [value.get(name) for name in names] if isinstance(value, dict) else list(value)
    return _counted(found, declared, names)


def _counted(found: list[Any], declared: Row, names: list[str]) -> list[Any]:
    if len(found) != len(names):
        raise ReturnedError(f"{len(found)} fields where {declared} has {len(names)}")
    return found


def _atomic(value: Any, declared: Atomic) -> Any:  # noqa: C901 - one case for each type
    name = declared.name
    if name in _BITS:
        return _whole(value, declared)
    if name == "BOOLEAN":
        if type(value).__name__ not in ("bool", "bool_"):
            raise _wrong(value, declared)
        return bool(value)
    if name in ("DOUBLE", "FLOAT"):
        return _float(value, declared)
    if name == "DATE":
        if not isinstance(value, date) or isinstance(value, datetime):
            raise _wrong(value, declared)
        return value
    if not isinstance(value, _CLASSES.get(name, ())):
        raise _wrong(value, declared)
    if isinstance(value, Decimal):
        return _decimal(value, declared)
    if isinstance(value, datetime) and name == "TIMESTAMP_LTZ" and value.utcoffset():
        raise ReturnedError(f"{value}, whose clock Flink would take for UTC's")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise ReturnedError(f"{value!r}, which is no Unicode text") from e
        return str(value)
    return bytes(value) if isinstance(value, bytearray) else value


def _whole(value: Any, declared: Atomic) -> int:
    if not isinstance(value, SupportsIndex):  # a float would lose what is behind its point
        raise _wrong(value, declared)
    number, most = value.__index__(), 2 ** (_BITS[declared.name] - 1)
    if not -most <= number < most:
        raise ReturnedError(f"{number}, which is too large for {declared.name}")
    return number


def _float(value: Any, declared: Atomic) -> float:
    if isinstance(value, bool) or not (
        isinstance(value, int | float) or type(value).__module__ == "numpy"
    ):
        raise _wrong(value, declared)
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError) as e:
        raise ReturnedError(f"{value!r:.100}, which is too large for {declared.name}") from e


def _decimal(value: Decimal, declared: Atomic) -> Decimal:
    """A DECIMAL as PyFlink writes it: rounded to the scale."""
    digits, scale = declared.arguments
    try:
        if value.is_finite():
            return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN, Context(prec=digits))
    except InvalidOperation:
        pass
    raise ReturnedError(f"{value}, which {declared} cannot hold")


def _wrong(value: Any, declared: Type) -> ReturnedError:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return ReturnedError(f"a {name} where {declared} is declared")


# --- vectorised --------------------------------------------------------------------------------------------------


_ARROW = {
    "TINYINT": "int8", "SMALLINT": "int16", "INT": "int32", "BIGINT": "int64", "BOOLEAN": "bool_", "FLOAT": "float32",
    "DOUBLE": "float64", "STRING": "utf8", "CHAR": "utf8", "VARCHAR": "utf8", "BYTES": "binary", "VARBINARY": "binary",
    "DATE": "date32",
}  # fmt: skip


def arrow_type(of: Type) -> Any:
    """The type by which PyFlink hands columns to pandas, and takes them back."""
    import pyarrow as pa

    match of:
        case Array(element):
            return pa.list_(arrow_type(element))
        case Map(key, value):
            return pa.map_(arrow_type(key), arrow_type(value))
        case Row(fields):
            return pa.struct([pa.field(f.name, arrow_type(f.type)) for f in fields])
        case Atomic(name, arguments):
            if name in _ARROW:
                return getattr(pa, _ARROW[name])()
            if name == "BINARY":
                return pa.binary(arguments[0] if arguments else 1)
            if name == "DECIMAL":
                return pa.decimal128(*arguments)
            digits = arguments[0] if arguments else (0 if name == "TIME" else 6)
            unit = "s" if digits == 0 else "ms" if digits <= 3 else "us" if digits <= 6 else "ns"
            if name == "TIME":
                return pa.time32(unit) if digits <= 3 else pa.time64(unit)
            return pa.timestamp(unit)


def as_pandas(values: Sequence[Any], of: Type, zone: str) -> Any:
    """A column as PyFlink hands it to a vectorised function: whole numbers become floats where one of them is NULL."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(of, Row):
        columns = [
            as_pandas([None if v is None else v[i] for v in values], f.type, zone).rename(f.name)
            for i, f in enumerate(of.fields)
        ]
        return pd.concat(columns, axis=1)
    if isinstance(of, Map):
        values = [v if v is None else list(v.items()) for v in values]
    series = pa.array(values, arrow_type(of)).to_pandas(date_as_object=True)
    if isinstance(of, Atomic) and of.name == "TIMESTAMP_LTZ":
        return series.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    return series


def from_pandas(found: Any, declared: Type, count: int, zone: str) -> list[Any]:
    """A column as PyFlink takes it back from a vectorised function; ReturnedError if PyFlink refuses it."""
    import pandas as pd
    import pyarrow as pa

    if type(found) is not pd.Series and type(found) is not pd.DataFrame:
        raise ReturnedError(
            f"a {type(found).__module__}.{type(found).__name__} where a pandas Series is expected"
            + (", or a DataFrame" if isinstance(declared, Row) else "")
        )
    if len(found) != count:
        raise ReturnedError(f"{len(found)} values for {count} rows")
    if isinstance(declared, Row) != isinstance(found, pd.DataFrame):
        raise ReturnedError(f"a {type(found).__name__} where {declared} is declared")
    try:
        if isinstance(declared, Row) and isinstance(found, pd.DataFrame):
            if len(found.columns) != len(declared.fields):
                raise ReturnedError(
                    f"{len(found.columns)} columns where {declared} has {len(declared.fields)}"
                )
            columns = [
                _column(found.iloc[:, i], f.type, zone) for i, f in enumerate(declared.fields)
            ]
            return list(zip(*columns, strict=True))
        return _column(found, declared, zone)
    except (pa.ArrowException, TypeError, ValueError) as e:
        if isinstance(e, ReturnedError):
            raise
        raise ReturnedError(
            f"{found.dtypes if isinstance(found, pd.Series) else 'columns'} that are no "
            f"{declared}: {str(e).splitlines()[0][:120]}"
        ) from e


def _column(series: Any, declared: Type, zone: str) -> list[Any]:
    import pyarrow as pa

    if (
        isinstance(declared, Atomic)
        and declared.name == "TIMESTAMP_LTZ"
        and getattr(series.dtype, "tz", None)
    ):
        series = series.dt.tz_convert(zone).dt.tz_localize(None)
    values: list[Any] = pa.Array.from_pandas(
        series, mask=series.isnull(), type=arrow_type(declared)
    ).to_pylist()
    if isinstance(declared, Map):
        values = [v if v is None else dict(v) for v in values]
    return values
