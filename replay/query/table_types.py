"""Types of DuckDB, for tables that there are not yet."""

from __future__ import annotations

from jobs.product.column_types import Array, Atomic, Map, Row, Type

_TYPES = {
    "STRING": "VARCHAR",
    "BOOLEAN": "BOOLEAN",
    "INT": "INTEGER",
    "BIGINT": "BIGINT",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMP_LTZ": "TIMESTAMP WITH TIME ZONE",
    "BYTES": "BLOB",
}


def columns(row: Row) -> dict[str, str]:
    """Column → type, of a table whose columns are these fields, as Iceberg's reader gives them."""
    return {f.name: _type(f.type) for f in row.fields}


def _type(of: Type) -> str:
    match of:
        case Row(fields):
            return f"STRUCT({', '.join(f'{quoted(f.name)} {_type(f.type)}' for f in fields)})"
        case Array(element):
            return f"{_type(element)}[]"
        case Map(key, value):
            return f"MAP({_type(key)}, {_type(value)})"
        case Atomic("DECIMAL", (precision, scale)):
            return f"DECIMAL({precision},{scale})"
        case Atomic(name):
            return _TYPES[name]


def quoted(name: str) -> str:
    """A name in DuckDB's quotes."""
    return '"' + name.replace('"', '""') + '"'
