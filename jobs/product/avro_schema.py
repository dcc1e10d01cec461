"""Avro schemas, read as the Avro specification says, for the table of a topic's types and for the audit's decoder."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
MAX_DEPTH = 64
"""Types may be nested so deep. What reads them calls itself for each level, and must not exhaust its stack."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# as Avro's Java takes it, and so producers may have registered
_LAX_NAME = re.compile(r"[^\W\d]\w*")
_INT, _LONG = 2**31, 2**63

# Logical type → the Avro types that it annotates. On any other it means nothing, as the specification has it.
_LOGICAL = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "decimal": ("bytes", "fixed"),
    "uuid": ("string", "fixed"),
    "duration": ("fixed",),
}
_FIXED_SIZE = {"uuid": 16, "duration": 12}


class SchemaError(ValueError):
    """A schema that is no Avro, or that no table can be made of."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected, self.found = expected, found


class Missing:
    """The default of a field that has none; None is the default null."""


MISSING: Final = Missing()


@dataclass(eq=False)
class SchemaField:
    """A field of a record."""

    name: str
    schema: Schema
    aliases: tuple[str, ...] = ()
    doc: str = ""
    default: Any = MISSING
    """As JSON has it."""
    json_name: str = ""
    """Of a topic in JSON: what its documents call the field, if that is no name of a column."""


@dataclass(eq=False)
class Schema:
    """One type. Named types that are used twice are one object; a recursive one contains itself."""

    type: str
    name: str = ""
    """Of a record, an enum or a fixed: with its namespace."""
    aliases: tuple[str, ...] = ()
    logical: str = ""
    """A known logical type that is valid here, else nothing."""
    precision: int = 0
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    default_symbol: str | None = None
    fields: tuple[SchemaField, ...] = ()
    inner: Schema | None = None
    """Items of an array, values of a map."""
    branches: tuple[Schema, ...] = ()
    json: str = ""
    """Of a topic in JSON: how its documents write a value, if not as JSON has the type itself."""

    @property
    def short_name(self) -> str:
        """The name without its namespace; of an unnamed type what Avro calls it."""
        return self.name.rpartition(".")[2] or self.type

    @property
    def contained(self) -> Iterator[tuple[str, Schema]]:
        """(step of a path, type) of what is directly within."""
        yield from ((f".{f.name}", f.schema) for f in self.fields)
        if self.inner is not None:
            yield ("[]" if self.type == "array" else "{}", self.inner)
        nullable = len([b for b in self.branches if b.type != "null"]) == 1
        yield from (("" if nullable else f"<{b.short_name}>", b) for b in self.branches)


def parse(schema_json: str, *, referenced: tuple[str, ...] = (), strict: bool = True) -> Schema:
    """The schema of a text, after those it refers to. SchemaError; not strict: defaults are not looked at."""
    parser = _Parser(strict)
    for text in referenced:
        parser.read(text)
    return parser.read(schema_json)


class _Parser:
    def __init__(self, strict: bool) -> None:
        self._strict, self._name = strict, _NAME if strict else _LAX_NAME
        self._named: dict[str, Schema] = {}

    def read(self, text: str) -> Schema:
        try:
            parsed = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as e:
            raise SchemaError("an Avro schema in JSON", f"{type(e).__name__}: {e}") from e
        found = self._type(parsed, "", "", 0)
        if self._strict and recursion(found) is None:  # of which no table is made
            for path, record in _records(found):
                for f in record.fields:
                    if f.default is not MISSING and not fits(f.schema, f.default):
                        raise SchemaError(
                            f"a default of type {f.schema.short_name}{_at(f'{path}.{f.name}')}",
                            json.dumps(f.default),
                        )
        return found

    def _type(self, spec: Any, namespace: str, path: str, depth: int) -> Schema:
        if depth > MAX_DEPTH:
            raise SchemaError(f"types nested at most {MAX_DEPTH} deep", f"more{_at(path)}")
        if isinstance(spec, str):
            return self._reference(spec, namespace, path)
        if isinstance(spec, list):
            return self._union(spec, namespace, path, depth)
        if not isinstance(spec, dict):
            raise SchemaError(f"an Avro type{_at(path)}", json.dumps(spec))
        kind = spec.get("type")
        if kind in PRIMITIVES:
            written = spec.get("json")
            return _logical(Schema(kind, json=written if isinstance(written, str) else ""), spec)
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            if inner not in spec:
                raise SchemaError(f"{inner} of the {kind}{_at(path)}", "none")
            step = "[]" if kind == "array" else "{}"
            return Schema(kind, inner=self._type(spec[inner], namespace, path + step, depth + 1))
        if kind in ("record", "error", "enum", "fixed"):
            return self._define(kind, spec, namespace, path, depth)
        if isinstance(kind, str):
            return self._reference(kind, namespace, path)
        raise SchemaError(f"an Avro type{_at(path)}", json.dumps(kind))

    def _reference(self, name: str, namespace: str, path: str) -> Schema:
        if name in PRIMITIVES:
            return Schema(name)
        for full in (_full(name, namespace), name):
            if full in self._named:
                return self._named[full]
        raise SchemaError(f"an Avro type{_at(path)}", f"'{name}', which nothing defines")

    def _union(self, spec: list[Any], namespace: str, path: str, depth: int) -> Schema:
        branches = tuple(self._type(b, namespace, path, depth + 1) for b in spec)
        names = [b.name or b.type for b in branches]
        if not names or "union" in names or len(set(names)) < len(names):
            raise SchemaError(
                f"a union of types that differ, no union among them{_at(path)}",
                ", ".join(names) or "none",
            )
        return Schema("union", branches=branches)

    def _define(
        self, kind: str, spec: Mapping[str, Any], namespace: str, path: str, depth: int
    ) -> Schema:
        name, given = spec.get("name"), spec.get("namespace")
        if not isinstance(name, str) or not all(
            self._name.fullmatch(part) for part in name.split(".")
        ):
            raise SchemaError(f"a name of the {kind}{_at(path)}", json.dumps(name))
        full = _full(name, given if isinstance(given, str) else namespace)
        space = full.rpartition(".")[0]
        if full in self._named or full in PRIMITIVES:
            raise SchemaError("types of different names", f"'{full}' again{_at(path)}")
        aliases = tuple(_full(a, space) for a in _texts(spec, "aliases", path))
        found = self._named[full] = Schema("record" if kind == "error" else kind, full, aliases)
        if kind == "enum":
            self._symbols(found, spec, path)
        elif kind == "fixed":
            found.size = _number(spec, "size", -1)
            if found.size < 0:
                raise SchemaError(
                    f"a size of the fixed '{full}'{_at(path)}", json.dumps(spec.get("size"))
                )
            _logical(found, spec)
        else:
            found.fields = self._fields(spec, space, path, depth)
        return found

    def _fields(
        self, spec: Mapping[str, Any], namespace: str, path: str, depth: int
    ) -> tuple[SchemaField, ...]:
        given = spec.get("fields")
        if not isinstance(given, list):
            raise SchemaError(f"a list of fields{_at(path)}", json.dumps(given))
        found: dict[str, SchemaField] = {}
        for f in given:
            name = f.get("name") if isinstance(f, dict) else None
            if not isinstance(name, str) or not self._name.fullmatch(name):
                raise SchemaError(f"a field with a name{_at(path)}", json.dumps(name))
            if name in found:
                raise SchemaError("fields of different names", f"'{name}' twice{_at(path)}")
            if "type" not in f:
                raise SchemaError(f"a type of field {path}.{name}".replace(" .", " "), "none")
            schema = self._type(f["type"], namespace, f"{path}.{name}", depth + 1)
            doc, json_name = f.get("doc"), f.get("json")
            found[name] = SchemaField(
                name,
                schema,
                _texts(f, "aliases", f"{path}.{name}"),
                doc if isinstance(doc, str) else "",
                f.get("default", MISSING),
                json_name if isinstance(json_name, str) else "",
            )
        return tuple(found.values())

    def _symbols(self, enum: Schema, spec: Mapping[str, Any], path: str) -> None:
        symbols, default = _texts(spec, "symbols", path), spec.get("default")
        if not all(self._name.fullmatch(s) for s in symbols) or len(set(symbols)) < len(symbols):
            raise SchemaError(
                f"symbols of the enum '{enum.name}' that are names and differ", ", ".join(symbols)
            )
        if default is not None and default not in symbols:
            raise SchemaError(
                f"a default of the enum '{enum.name}' that is one of {', '.join(symbols)}",
                json.dumps(default),
            )
        enum.symbols, enum.default_symbol = symbols, default


def fits(schema: Schema, default: Any) -> bool:  # noqa: C901 - one case for each type
    """Whether a default, as JSON has it, is a value of the type. A union's is of any of its branches."""
    match schema.type:
        case "null":
            return default is None
        case "boolean":
            return isinstance(default, bool)
        case "int" | "long":
            limit = _INT if schema.type == "int" else _LONG
            return (
                isinstance(default, int)
                and not isinstance(default, bool)
                and -limit <= default < limit
            )
        case "float" | "double":
            return (
                isinstance(default, int | float)
                and not isinstance(default, bool)
                and pack_real(schema.type, default) is not None
            )
        case "string":
            return isinstance(default, str)
        case "bytes":
            return isinstance(default, str) and all(ord(c) < 256 for c in default)
        case "fixed":
            return (
                isinstance(default, str)
                and len(default) == schema.size
                and all(ord(c) < 256 for c in default)
            )
        case "enum":
            return default in schema.symbols
        case "array":
            return (
                isinstance(default, list)
                and schema.inner is not None
                and all(fits(schema.inner, d) for d in default)
            )
        case "map":
            return (
                isinstance(default, dict)
                and schema.inner is not None
                and all(fits(schema.inner, d) for d in default.values())
            )
        case "union":
            return any(fits(b, default) for b in schema.branches)
        case _:
            return isinstance(default, dict) and all(
                fits(f.schema, default.get(f.name, f.default)) for f in schema.fields
            )


def pack_real(kind: str, value: float) -> bytes | None:
    """A float or a double in four or eight bytes; None of a number beyond its range."""
    try:
        return (
            struct.pack("<f" if kind == "float" else "<d", value) if math.isfinite(value) else None
        )
    except OverflowError:
        return None


def recursion(schema: Schema) -> tuple[str, str] | None:
    """(path, name) of the first type that contains itself."""
    finite: set[Schema] = set()

    def look(at: Schema, path: str, above: tuple[Schema, ...]) -> tuple[str, str] | None:
        if at in above:
            return path.lstrip("."), at.name
        if at in finite:
            return None
        inner = (*above, at) if at.name else above
        found = next(
            (r for step, s in at.contained if (r := look(s, path + step, inner)) is not None), None
        )
        if found is None:
            finite.add(at)
        return found

    return look(schema, "", ())


def size(schema: Schema) -> int:
    """How many types there are in a schema without recursion, each counted wherever it is used."""
    known: dict[Schema, int] = {}

    def count(at: Schema) -> int:
        if at not in known:
            known[at] = 1 + sum(count(s) for _, s in at.contained)
        return known[at]

    return count(schema)


def _records(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """(path, record) of every record, each once."""
    seen: set[Schema] = set()
    waiting = [("", schema)]
    while waiting:
        path, at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        if at.type == "record":
            yield path, at
        waiting += [(path + step, s) for step, s in at.contained]


def _logical(schema: Schema, spec: Mapping[str, Any]) -> Schema:
    """Sets the logical type, if it is known and valid here; else Avro reads the type below."""
    logical = spec.get("logicalType")
    if not isinstance(logical, str) or schema.type not in _LOGICAL.get(logical, ()):
        return schema
    if schema.type == "fixed" and schema.size != _FIXED_SIZE.get(logical, schema.size):
        return schema
    if logical == "decimal":
        precision, scale = _number(spec, "precision", 0), _number(spec, "scale", 0)
        most = (
            len(str(2 ** (8 * schema.size - 1) - 1)) - 1
            if schema.type == "fixed" and schema.size
            else None
        )
        if (
            precision < 1
            or not 0 <= scale <= precision
            or (schema.type == "fixed" and precision > (most or 0))
        ):
            return schema
        schema.precision, schema.scale = precision, scale
    schema.logical = logical
    return schema


def _texts(spec: Mapping[str, Any], key: str, path: str) -> tuple[str, ...]:
    found = spec.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise SchemaError(f"a list of {key}{_at(path)}", json.dumps(found))
    return tuple(found)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _number(spec: Mapping[str, Any], key: str, otherwise: int) -> int:
    found = spec.get(key, otherwise)
    return found if isinstance(found, int) and not isinstance(found, bool) else -1


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _at(path: str) -> str:
    return f" in field {path.lstrip('.')}" if path else ""
