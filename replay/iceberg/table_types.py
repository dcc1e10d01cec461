"""Types of columns as Iceberg has them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from types import MappingProxyType

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from jobs.product import column_types
from jobs.product.column_types import Array, Atomic, Map, Row, Type
from jobs.product.folder import Product
from replay.errors import ConfigError
from replay.iceberg.product_types import column_type, product_type

_TYPES: dict[str, IcebergType] = {
    "STRING": StringType(),
    "BOOLEAN": BooleanType(),
    "INT": IntegerType(),
    "BIGINT": LongType(),
    "FLOAT": FloatType(),
    "DOUBLE": DoubleType(),
    "DATE": DateType(),
    "TIME": TimeType(),
    "TIMESTAMP": TimestampType(),
    "TIMESTAMP_LTZ": TimestamptzType(),
    "BYTES": BinaryType(),
}
_ATOMIC = {
    **{iceberg: Atomic(name) for name, iceberg in _TYPES.items()},
    TimestampType(): Atomic("TIMESTAMP", (column_types.MAX_FRACTION,)),
    TimestamptzType(): Atomic("TIMESTAMP_LTZ", (column_types.MAX_FRACTION,)),
    # no table of kappa has one, but a column may have been added by hand
    UUIDType(): Atomic("BINARY", (16,)),
}


def iceberg_type(flink_type: str, where: str = "a column") -> IcebergType:
    """The Iceberg type of a Flink SQL type; ConfigError for one that Iceberg tables of format 2 cannot hold."""
    return to_iceberg(column_type(flink_type, where), count(1))


def iceberg_schema(product: Product, table: str) -> Schema:
    """The table's schema.

    Every column is optional: one null must not stop a job for ever. What the contract requires is checked before a
    switch instead (replay/checks/gate.py).
    """
    row = product_type(product, table)
    docs = {c.name: c.description or None for c in product.columns[table]}
    return schema_of(row, docs)


def schema_of(row: Row, docs: Mapping[str, str | None] = MappingProxyType({})) -> Schema:
    """A schema with the fields of a ROW as its columns."""
    ids = count(1)
    columns = [(next(ids), f) for f in row.fields]
    return Schema(
        *(
            NestedField(i, f.name, to_iceberg(f.type, ids), required=False, doc=docs.get(f.name))
            for i, f in columns
        )
    )


def to_iceberg(found: Type, ids: count[int]) -> IcebergType:
    """The Iceberg type, whose parts get these field ids."""
    match found:
        case Row(fields):
            numbered = [(next(ids), f) for f in fields]
            return StructType(
                *(
                    NestedField(i, f.name, to_iceberg(f.type, ids), required=False)
                    for i, f in numbered
                )
            )
        case Array(element):
            return ListType(next(ids), to_iceberg(element, ids), element_required=False)
        case Map(key, value):
            of_key, of_value = next(ids), next(ids)
            return MapType(
                of_key, to_iceberg(key, ids), of_value, to_iceberg(value, ids), value_required=False
            )
        case Atomic("DECIMAL", (precision, scale)):
            return DecimalType(precision, scale)
        case Atomic(name):
            return _TYPES[name]


def from_iceberg(found: IcebergType) -> Type:
    """The type in the words of Flink's SQL; ConfigError for one that Flink's sink cannot write."""
    match found:
        case StructType():
            return Row(
                tuple(column_types.Field(f.name, from_iceberg(f.field_type)) for f in found.fields)
            )
        case ListType():
            return Array(from_iceberg(found.element_type))
        case MapType():
            return Map(from_iceberg(found.key_type), from_iceberg(found.value_type))
        case DecimalType():
            return Atomic("DECIMAL", (found.precision, found.scale))
        case FixedType():
            return Atomic("BINARY", (len(found),))
    if found not in _ATOMIC:
        raise ConfigError(
            "a table has a column that Flink cannot write",
            expected=", ".join(map(str, _ATOMIC)),
            found=str(found),
            next="drop that column",
        )
    return _ATOMIC[found]


def table_type(schema: Schema) -> Row:
    """A table as one ROW of its columns, in the table's order."""
    return Row(tuple(column_types.Field(f.name, from_iceberg(f.field_type)) for f in schema.fields))
