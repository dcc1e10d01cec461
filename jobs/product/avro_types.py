"""The columns of a topic, from its Avro schema: the one table of types (docs/types.md shows it)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.product.avro_schema import Schema, SchemaError, parse, recursion, size

__all__ = ["TYPES", "Field", "SchemaError", "fields"]

# Avro type, or logical type where there is one → Flink SQL type. decimal, array, map, record and union: see _type().
TYPES = {
    "null": "STRING",  # always NULL
    "boolean": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "bytes": "BYTES",
    "string": "STRING",
    "fixed": "BYTES",
    "enum": "STRING",
    "date": "DATE",
    "time-millis": "TIME(0)",  # as Flink's SQL calls every TIME; it holds milliseconds, and tables get them
    "time-micros": "BIGINT",  # microseconds since midnight
    "timestamp-millis": "TIMESTAMP_LTZ(3)",
    "timestamp-micros": "TIMESTAMP_LTZ(6)",
    "timestamp-nanos": "TIMESTAMP_LTZ(9)",
    "local-timestamp-millis": "TIMESTAMP(3)",
    "local-timestamp-micros": "TIMESTAMP(6)",
    "local-timestamp-nanos": "TIMESTAMP(9)",
    "uuid": "STRING",
    "duration": "BYTES",
}
MAX_PRECISION = 38
"""Of a DECIMAL, in Flink and in Iceberg."""

MAX_TYPES = 10_000
"""Of a table. Named types that are used several times multiply."""

ENVELOPE = (
    "log_topic",
    "log_partition",
    "log_offset",
    "log_appended",
    "log_key",
    "log_headers",
    "log_clock",
    "log_value",
    "log_error",
)
"""Columns that every topic's table has besides the schema's."""


@dataclass(frozen=True)
class Field:
    """A column of a topic's table."""

    name: str
    type: str
    """Flink SQL type, without NOT NULL."""
    doc: str = ""


def fields(schema_json: str) -> tuple[Field, ...]:
    """The columns of a topic whose reader schema this is; SchemaError when no table can be made of it."""
    schema = parse(schema_json)
    if schema.type != "record":
        raise SchemaError("a record at the top of the schema", schema.short_name)
    if (inner := recursion(schema)) is not None:
        path, name = inner
        raise SchemaError(
            "types that do not contain themselves: a column has a fixed depth",
            f"'{name}' contains itself in field {path}",
        )
    if (types := size(schema)) > MAX_TYPES:
        raise SchemaError(f"at most {MAX_TYPES} types, counted wherever they are used", str(types))
    for field in schema.fields:
        if is_of_the_log(field.name):
            raise SchemaError(
                f"fields that are not called {', '.join(ENVELOPE)}: every topic has such columns",
                f"field {field.name}",
            )
    _check_names(schema, "")
    return tuple(Field(f.name, _type(f.schema, f.name), f.doc) for f in schema.fields)


def is_of_the_log(column: str) -> bool:
    """Whether a topic has a column of this name by itself; log__ is what generated SQL computes with."""
    return column.lower() in ENVELOPE or column.lower().startswith("log__")


def _type(schema: Schema, path: str) -> str:
    if schema.logical == "decimal":
        if schema.precision > MAX_PRECISION:
            raise SchemaError(
                f"decimals of at most {MAX_PRECISION} digits",
                f"decimal({schema.precision}, {schema.scale}) in field {path}",
            )
        return f"DECIMAL({schema.precision}, {schema.scale})"
    if schema.logical:
        return TYPES[schema.logical]
    match schema.type, schema.inner:
        case "array", Schema() as items:
            return f"ARRAY<{_type(items, f'{path}[]')}>"
        case "map", Schema() as values:
            return f"MAP<STRING NOT NULL, {_type(values, path + '{}')}>"
        case "record", _:
            _check_names(schema, path)
            return _row((f.name, _type(f.schema, f"{path}.{f.name}")) for f in schema.fields)
        case "union", _:
            return _union(schema, path)
        case _:
            return TYPES[schema.type]


def _union(schema: Schema, path: str) -> str:
    """Of null and one type that type, else a row of one field per branch, of which at most one is not null."""
    branches = [b for b in schema.branches if b.type != "null"]
    if len(branches) <= 1:
        return _type(branches[0], path) if branches else TYPES["null"]
    _check_case([b.short_name for b in branches], f"branches of the union in field {path}")
    return _row((b.short_name, _type(b, f"{path}<{b.short_name}>")) for b in branches)


def _row(columns: Iterable[tuple[str, str]]) -> str:
    return f"ROW<{', '.join(f'`{name}` {type}' for name, type in columns)}>"


def _check_names(record: Schema, path: str) -> None:
    where = f" of field {path}" if path else ""
    if not record.fields:
        raise SchemaError(
            "records with at least one field: a table cannot hold an empty one",
            f"'{record.name}'{where}",
        )
    _check_case([f.name for f in record.fields], f"fields{where}")


def _check_case(names: list[str], what: str) -> None:
    """DuckDB and Iceberg's readers take names that differ by case only for one."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other is not name:
            raise SchemaError(f"{what} whose names differ by more than case", f"{other} and {name}")
