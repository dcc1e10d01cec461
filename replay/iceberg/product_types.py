"""What a product's folder says of its tables: types of columns, partition specs and sort orders. Without pyiceberg."""

from __future__ import annotations

from jobs.product import column_types
from jobs.product.column_types import ColumnTypeError, Row, Type
from jobs.product.folder import Product
from jobs.product.layout import Layout, LayoutError, layout
from replay.errors import ConfigError


def column_type(flink_type: str, where: str = "a column") -> Type:
    """The type of a table's column for a Flink SQL type; ConfigError for one that no table can hold."""
    try:
        return column_types.stored(column_types.parse(flink_type))
    except ColumnTypeError as e:
        raise ConfigError(
            f"{where} has a type that the tables cannot hold",
            expected=e.expected,
            found=e.found,
            next=f"write instead: {e.instead}",
        ) from e


def product_type(product: Product, table: str) -> Row:
    """A product's table as one ROW of the columns that its SELECT gives; ConfigError for names that only case tells
    apart, which most readers do not."""
    columns = product.columns[table]
    fields = tuple(
        column_types.Field(c.name, column_type(c.type, f"{table}.{c.name}")) for c in columns
    )
    try:
        column_types.stored(found := Row(fields))
    except ColumnTypeError as e:
        raise ConfigError(
            f"columns of {table} cannot be told apart",
            expected=e.expected,
            found=e.found,
            next=f"give one of them another name in {table}.sql",
        ) from e
    return found


def layout_of(product: Product, table: str) -> Layout:
    """Partition spec and sort order of an output; ConfigError names the entry of product.yaml that is wrong."""
    output = product.outputs[table]
    try:
        return layout(
            output.partition, output.sort, {c.name: c.type for c in product.columns[table]}
        )
    except LayoutError as e:
        file = product.folder / "product.yaml"
        raise ConfigError(
            f"{file} is wrong at 'outputs.{table}.{e.field}'",
            expected=e.expected,
            found=e.found,
            next=f"fix {file}",
        ) from e
