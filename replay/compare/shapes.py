"""Nested columns of two releases in one shape, so that DuckDB can compare them."""

from __future__ import annotations

from jobs.product.column_types import Array, Atomic, Field, Map, Row, Type


def common(old: Type, new: Type) -> Type:
    """What both have: of a ROW the fields of both."""
    match old, new:
        case Row(), Row():
            before = {f.name: f.type for f in old.fields}
            return Row(
                tuple(
                    Field(f.name, common(before[f.name], f.type))
                    for f in new.fields
                    if f.name in before
                )
            )
        case Array(one), Array(other):
            return Array(common(one, other))
        case Map(_, one), Map(key, other):
            return Map(key, common(one, other))
    return new


def shaped(expression: str, shape: Type, depth: int = 0) -> str:
    """The expression of DuckDB's SQL with only the fields of the shape, and maps in order of their keys.

    For DuckDB two maps are equal if they have their entries in the same order, which SQL says nothing about.
    """
    one = f"x{depth}"
    match shape:
        case Atomic():
            return expression
        case Row(()):
            return f"({expression} IS NOT NULL)"
        case Row(fields):
            parts = (
                f"{_name(f.name)} := {shaped(_field(expression, f.name), f.type, depth)}"
                for f in fields
            )
            found = f"struct_pack({', '.join(parts)})"
        case Array(element):
            inside = shaped(one, element, depth + 1)
            if inside == one:
                return expression
            found = f"list_transform({expression}, lambda {one}: {inside})"
        case Map(_, value):
            entry = f"struct_pack(key := {one}.key, value := {shaped(f'{one}.value', value, depth + 1)})"
            entries = f"list_sort(list_transform(map_entries({expression}), lambda {one}: {entry}))"
            found = f"map_from_entries({entries})"
    return f"CASE WHEN {expression} IS NOT NULL THEN {found} END"


def _field(expression: str, name: str) -> str:
    return "struct_extract({}, '{}')".format(expression, name.replace("'", "''"))


def _name(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
