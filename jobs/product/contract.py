"""A data contract (Open Data Contract Standard v3.1) beside the tables that it speaks of. Pure: documents in and out.

A contract need not be there, and need not say everything. What it says of tables, columns, types and keys is compared
with what the SELECTs give, and the other way round: what it leaves out is named, but is nothing wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from jobs.product.column_types import (
    Array,
    Atomic,
    ColumnTypeError,
    Field,
    Map,
    Row,
    Type,
    column_type,
    parse,
    stored,
)

API_VERSION = "v3.1.0"
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """An output as its SELECT makes it."""

    columns: Mapping[str, str]
    """Name → Flink SQL type, in order."""
    key: tuple[str, ...] = ()
    generated: bool = False
    """Made by itself: a contract need not speak of it."""
    added: tuple[str, ...] = ()
    """Columns that it gets by itself: a contract need not speak of them either."""


Tables = Mapping[str, Table]


@dataclass(frozen=True)
class Mismatch:
    """One thing that the contract says otherwise than the SELECT."""

    where: str
    """Table, column or field: hourly_orders.items[].price."""
    expected: str
    found: str
    left_out: bool = False
    """The contract does not speak of it, which it need not."""

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}"


def compare(contract: Document, tables: Tables) -> list[Mismatch]:
    """Whatever the contract says of the tables that is not so, and what it leaves out; none for an empty contract."""
    if not contract:
        return []
    said = _by_name(contract.get("schema"))
    found = list(_twice("schema", contract.get("schema")))
    for name in said:
        if name not in tables:
            found.append(
                Mismatch(
                    name, f"an output: {', '.join(tables)}", "a table that the product has not"
                )
            )
    for name, table in tables.items():
        if name in said:
            found += _compare_table(name, said[name], table)
        elif not table.generated:
            found.append(
                Mismatch(
                    name,
                    "every output of the product",
                    "none of that name in schema",
                    left_out=True,
                )
            )
    return found


def _compare_table(name: str, said: Document, table: Table) -> Iterator[Mismatch]:
    yield from _compare_fields(name, said.get("properties"), _row(table, said), top=True)
    yield from _compare_key(name, _properties(said), table.key)


def _row(table: Table, said: Document) -> Row:
    """The columns that a contract has to speak of."""
    named = _by_name(said.get("properties"))
    return Row(
        tuple(
            Field(column, stored(parse(type_)))
            for column, type_ in table.columns.items()
            if column in named or column not in table.added
        )
    )


def _compare_fields(
    where: str, properties: Any, row: Row, *, top: bool = False
) -> Iterator[Mismatch]:
    yield from _twice(where, properties)
    said = _by_name(properties)
    types = {f.name: f.type for f in row.fields}
    for name, document in said.items():
        if name in types:
            yield from _compare_type(f"{where}.{name}", document, types[name])
            if not top and document.get("required"):
                yield Mismatch(
                    f"{where}.{name}",
                    "required of a column: fields inside of one are not checked",
                    "required: true",
                )
        else:
            near = next((n for n in types if n.lower() == name.lower()), "")
            hint = f", which the SELECT calls {near}" if near else ""
            yield Mismatch(
                f"{where}.{name}",
                f"one of {', '.join(types)}",
                f"a name that the SELECT has not{hint}",
            )
    for name, type_ in types.items():
        if name not in said:
            yield Mismatch(f"{where}.{name}", f"a property for {type_}", "none", left_out=True)


def _compare_type(where: str, document: Document, type_: Type) -> Iterator[Mismatch]:
    if (physical := document.get("physicalType")) is not None:
        try:
            wrong = column_type(str(physical)) != str(type_)
        except ColumnTypeError as e:
            yield Mismatch(f"{where}.physicalType", e.expected, e.found)
        else:
            if wrong:
                yield Mismatch(f"{where}.physicalType", str(type_), str(physical))
    logical = document.get("logicalType")
    if logical is not None and logical not in (names := _logical(type_)):
        yield Mismatch(f"{where}.logicalType", " or ".join(names), str(logical))
    if "properties" in document:
        if isinstance(type_, Row):
            yield from _compare_fields(where, document["properties"], type_)
        else:
            yield Mismatch(f"{where}.properties", f"none: the column is {type_}", "properties")
    if "items" in document:
        if isinstance(type_, Array):
            yield from _compare_type(f"{where}[]", document["items"] or {}, type_.element)
        else:
            yield Mismatch(f"{where}.items", f"none: the column is {type_}", "items")


def _compare_key(
    table: str, properties: Iterable[Document], key: tuple[str, ...]
) -> Iterator[Mismatch]:
    said = [p for p in properties if p.get("primaryKey")]
    if said and {p.get("name") for p in said} != set(key):
        yield Mismatch(
            f"{table}.primaryKey",
            ", ".join(key) or "none: the table has no key",
            ", ".join(str(p.get("name")) for p in said),
        )
    positions = [p["primaryKeyPosition"] for p in said if "primaryKeyPosition" in p]
    if positions and sorted(positions, key=str) != list(range(1, len(said) + 1)):
        yield Mismatch(
            f"{table}.primaryKeyPosition",
            f"1 to {len(said)}, each once",
            ", ".join(map(str, positions)),
        )


def _twice(where: str, entries: Any) -> Iterator[Mismatch]:
    seen: dict[str, str] = {}
    for name in (str(e.get("name")) for e in entries or ()):
        if (other := seen.setdefault(name.lower(), name)) != name:
            yield Mismatch(
                f"{where}.{name}", "names that differ by more than case", f"{other} and {name}"
            )
    names = [str(e.get("name")) for e in entries or ()]
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        yield Mismatch(f"{where}.{name}", "each name once", f"{names.count(name)} of that name")


# v3.1's logical types, the usual one first
_LOGICAL = {
    "STRING": ("string",),
    "BYTES": ("string",),
    "BOOLEAN": ("boolean",),
    "INT": ("integer", "number"),
    "BIGINT": ("integer", "number"),
    "FLOAT": ("number",),
    "DOUBLE": ("number",),
    "DECIMAL": ("number",),
    "DATE": ("date",),
    "TIME": ("time",),
    "TIMESTAMP": ("timestamp",),
    "TIMESTAMP_LTZ": ("timestamp",),
}


def _logical(type_: Type) -> tuple[str, ...]:
    match type_:
        case Atomic(name):
            return _LOGICAL[name]
        case Array():
            return ("array",)
        case Row() | Map():
            return ("object",)


def _by_name(entries: Any) -> dict[str, Any]:
    return {str(e.get("name")): e for e in entries or ()}


def _properties(table: Document) -> list[Document]:
    return list(table.get("properties") or ())


# Writing


def new(name: str, description: str) -> dict[str, Any]:
    """A contract that says nothing yet of any table."""
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"urn:kappa:{name}",
        "name": name,
        "version": "1.0.0",
        "status": "draft",
        "dataProduct": name,
    }
    if description:
        document["description"] = {"purpose": description}
    return document


def update(contract: MutableMapping[str, Any], tables: Tables) -> list[str]:
    """Add tables and columns that the contract lacks and set types that differ, in place; what was done.

    Nothing is taken away, and nothing else is touched: what is in the contract and not in a SELECT is a promise that a
    person has to take back.
    """
    done: list[str] = []
    if contract.get("schema") is None:
        contract["schema"] = []
    said = _by_name(contract["schema"])
    for name, table in tables.items():
        if name in said:
            done += _update_table(name, said[name], table)
        elif not table.generated:
            document: dict[str, Any] = {
                "name": name,
                "logicalType": "object",
                "physicalType": "table",
            }
            contract["schema"].append(document)
            list(_update_table(name, document, table))
            _add_key(document, table.key)
            done.append(f"{name}: new")
    return done


def _update_table(name: str, document: MutableMapping[str, Any], table: Table) -> Iterator[str]:
    if document.get("properties") is None:
        document["properties"] = []
    yield from _update_fields(name, document["properties"], _row(table, document))


def _add_key(document: Document, key: tuple[str, ...]) -> None:
    for p in document["properties"]:
        if p["name"] in key:
            p.update({"primaryKey": True, "primaryKeyPosition": key.index(p["name"]) + 1})


def _update_fields(where: str, properties: Any, row: Row) -> Iterator[str]:
    place = 0
    for field in row.fields:
        names = [str(p.get("name")) for p in properties]
        at = f"{where}.{field.name}"
        if field.name in names:
            place = names.index(field.name)
            yield from _update_type(at, properties[place], field.type)
        else:
            document: dict[str, Any] = {"name": field.name}
            list(_update_type(at, document, field.type))
            properties.insert(place, document)
            yield f"{at}: new, {field.type}"
        place += 1


def _update_type(where: str, document: MutableMapping[str, Any], type_: Type) -> Iterator[str]:
    physical, logical = document.get("physicalType"), _logical(type_)
    if document.get("logicalType") not in logical:
        document["logicalType"] = logical[0]
    if physical is None or not _same(str(physical), type_):
        document["physicalType"] = plain(type_)
        yield f"{where}: {physical or 'no type'} → {plain(type_)}"
    match type_:
        case Row():
            if document.get("properties") is None:
                document["properties"] = []
            yield from _update_fields(where, document["properties"], type_)
        case Array(element):
            if document.get("items") is None:
                document["items"] = {}
            yield from _update_type(f"{where}[]", document["items"], element)


def _same(physical: str, type_: Type) -> bool:
    try:
        return column_type(physical) == str(type_)
    except ColumnTypeError:
        return False


def plain(type_: Type) -> str:
    """A type as people write it: names in quotes only where they need them."""
    match type_:
        case Row(fields):
            inside = ", ".join(
                f"{f.name if f.name.isidentifier() else f'`{f.name}`'} {plain(f.type)}"
                for f in fields
            )
            return f"ROW<{inside}>"
        case Array(element):
            return f"ARRAY<{plain(element)}>"
        case Map(key, value):
            return f"MAP<{plain(key)}, {plain(value)}>"
        case Atomic():
            return str(type_)
