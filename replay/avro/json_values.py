"""Values between JSON and Avro, exactly: what a schema cannot hold as it is meant is an error, never another value.

| Avro | JSON |
|---|---|
| int, long | a whole number |
| float, double | a number, or "NaN", "Infinity", "-Infinity" |
| string, enum, uuid | a string |
| bytes, fixed, duration | "hex:00ff" or "base64:AP8=" |
| decimal | a number or a string, with no more digits than the schema has: 12.30, "12.30" |
| timestamp-* | ISO 8601 with a zone, "2024-06-03T01:02:03.456Z", or whole units since 1970 (timestamp-millis: ms) |
| local-timestamp-* | ISO 8601 without a zone, or whole units |
| date, time-* | "2024-06-03", "01:02:03.456", or whole units |
| array, map, record | a list, an object, an object |
| union | the value alone where it fits one branch; else Avro's tagged form, {"string": "x"} |

A field that is left out takes its default, or null if its schema allows that.
"""

from __future__ import annotations

import difflib
import io
import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import fastavro

from jobs.product import avro_schema
from jobs.product.avro_schema import MISSING, Schema, SchemaField
from replay.avro.json_scalars import NOT_FINITE, SIMPLE, UnfitError, shorten

_NUMBERS = ("int", "long", "float", "double")


class JsonValueError(ValueError):
    """A JSON value that the schema cannot hold: the field's path, what was expected, what was found."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"{path or 'the value'}: expected {expected}, found {found}")
        self.path, self.expected, self.found = path, expected, found


def parse(text: str) -> Any:
    """JSON with exact decimals; JsonValueError for what is no JSON, or says a key twice."""
    try:
        return json.loads(text, parse_float=Decimal, object_pairs_hook=_object)
    except JsonValueError:
        raise
    except json.JSONDecodeError as e:
        raise JsonValueError("", "JSON", f"{e.msg} at column {e.colno}: {shorten(text)}") from e
    except (ValueError, InvalidOperation, RecursionError) as e:
        raise JsonValueError("", "JSON", f"{type(e).__name__}: {shorten(text)}") from e


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JsonValueError(twice, "each key once", f"{twice!r} twice in one object")
    return found


class AvroValues:
    """The values of one Avro schema."""

    def __init__(self, schema: str) -> None:
        """SchemaError for a text that is no Avro schema."""
        self.schema = avro_schema.parse(schema)
        self._writer: Any = fastavro.parse_schema(json.loads(schema))

    def encode(self, value: Any) -> bytes:
        """Avro's binary form of a JSON value; JsonValueError when the schema cannot hold it."""
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._writer, convert(self.schema, value))
        return body.getvalue()


def convert(schema: Schema, value: Any, path: str = "") -> Any:
    """A JSON value as fastavro writes it: plain integers and bytes, and every union's branch by name."""
    if schema.type == "union":
        return _union(schema, value, path)
    if schema.type == "record":
        return _record(schema, value, path)
    if schema.type == "array" and schema.inner:
        if not isinstance(value, list):
            raise JsonValueError(path, "a list", shorten(value))
        return [convert(schema.inner, v, f"{path}[{i}]") for i, v in enumerate(value)]
    if schema.type == "map" and schema.inner:
        if not isinstance(value, dict):
            raise JsonValueError(path, "an object", shorten(value))
        return {k: convert(schema.inner, v, f"{path}[{k!r}]") for k, v in value.items()}
    try:
        return SIMPLE[schema.logical or schema.type](schema, value)
    except UnfitError as e:
        raise JsonValueError(path, str(e), shorten(value)) from None


def _record(schema: Schema, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JsonValueError(
            path, f"an object with the fields of {schema.short_name}", shorten(value)
        )
    names = [f.name for f in schema.fields]
    for name in value:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            raise JsonValueError(
                _below(path, name),
                f"a field of {schema.short_name} ({', '.join(names)})",
                f"{name!r}" + (f"; did you mean {close[0]}?" if close else ""),
            )
    return {
        f.name: _field(f, value.get(f.name, MISSING), _below(path, f.name)) for f in schema.fields
    }


def _field(field: SchemaField, value: Any, path: str) -> Any:
    if value is not MISSING:
        return convert(field.schema, value, path)
    if field.default is not MISSING:
        return _default(field.schema, field.default)
    if "null" in (field.schema.type, *(b.type for b in field.schema.branches)):
        return convert(field.schema, None, path)
    raise JsonValueError(
        path, describe(field.schema), "no such field; the schema has no default for it"
    )


def _union(schema: Schema, value: Any, path: str) -> Any:
    """The one branch that holds the value, by name; the tagged form where there are none or several."""
    fitting, problems = _fitting(schema, value, path)
    if len(fitting) > 1 and all(name in _NUMBERS for name, _ in fitting):
        # The same number in each: the exact kind first, and a double rather than a float.
        wanted = (
            ("int", "long", "double", "float")
            if isinstance(value, int)
            else ("double", "float", "int", "long")
        )
        fitting = sorted(fitting, key=lambda branch: wanted.index(branch[0]))[:1]
    if len(fitting) == 1:
        return fitting[0]
    for branch in schema.branches:
        for tag in (branch_name(branch), branch.short_name):
            if _is_tagged(schema, value, tag):
                return branch_name(branch), convert(branch, value[tag], _below(path, tag))
    if fitting:
        names = [name for name, _ in fitting]
        raise JsonValueError(
            path,
            f'one branch of the union by name, such as {{"{names[0]}": …}}: '
            f"it fits {' and '.join(names)}",
            shorten(value),
        )
    raise _no_branch(schema, problems, value, path)


def _is_tagged(schema: Schema, value: Any, tag: str) -> bool:
    """Whether an object names this branch, and no other but with null, as a table's row of the branches does."""
    if not isinstance(value, dict) or tag not in value:
        return False
    tags = {name for b in schema.branches for name in (branch_name(b), b.short_name)}
    return all(name == tag or (name in tags and inner is None) for name, inner in value.items())


def _fitting(
    schema: Schema, value: Any, path: str
) -> tuple[list[tuple[str, Any]], list[tuple[Schema, JsonValueError]]]:
    """The branches that hold the value, as (name, value), and why those other than null do not."""
    fitting: list[tuple[str, Any]] = []
    problems: list[tuple[Schema, JsonValueError]] = []
    for branch in schema.branches:
        try:
            fitting.append((branch_name(branch), convert(branch, value, path)))
        except JsonValueError as e:
            if branch.type != "null":
                problems.append((branch, e))
    return fitting, problems


def _no_branch(
    schema: Schema, problems: list[tuple[Schema, JsonValueError]], value: Any, path: str
) -> JsonValueError:
    """The one problem that helps: of the only branch, or of the only record that has the object's fields."""
    if len(problems) == 1:
        _, only = problems[0]
        null = " or null" if only.path == path and len(schema.branches) > 1 else ""
        return JsonValueError(only.path, only.expected + null, only.found)
    meant = [
        e
        for branch, e in problems
        if e.path != path
        and (branch.type != "record" or {f.name for f in branch.fields}.issuperset(value))
    ]
    return meant[0] if len(meant) == 1 else JsonValueError(path, describe(schema), shorten(value))


def branch_name(schema: Schema) -> str:
    """How a union's branch is called: the full name of a named type, else the type."""
    return schema.name or schema.type


def describe(schema: Schema) -> str:
    """A type in a word or two."""
    if schema.type == "union":
        return "one of: " + ", ".join(map(describe, schema.branches))
    return schema.logical or schema.short_name


def _default(schema: Schema, value: Any) -> Any:
    """A default as Avro writes it into a schema: logical types as plain numbers, bytes as Latin-1."""
    if schema.type == "union":
        branch = next(b for b in schema.branches if avro_schema.fits(b, value))
        return branch_name(branch), _default(branch, value)
    if schema.type in ("bytes", "fixed"):
        return value.encode("latin-1")
    if schema.type == "record":
        return {f.name: _default(f.schema, value.get(f.name, f.default)) for f in schema.fields}
    if schema.type == "array" and schema.inner:
        return [_default(schema.inner, v) for v in value]
    if schema.type == "map" and schema.inner:
        return {k: _default(schema.inner, v) for k, v in value.items()}
    return float(value) if schema.type in ("float", "double") else value


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# And back: what fastavro has decoded, as `convert` takes it.


def to_json(value: Any) -> Any:
    """A decoded value as JSON that `convert` would take for the same one."""
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return _trimmed(value.isoformat())
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return next(
            k for k, v in NOT_FINITE.items() if v == value or (math.isnan(v) and math.isnan(value))
        )
    if isinstance(value, bytes):
        return f"hex:{value.hex()}"
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _iso(value: datetime) -> str:
    if value.tzinfo is None:
        return _trimmed(value.isoformat())
    return f"{_trimmed(value.astimezone(UTC).replace(tzinfo=None).isoformat())}Z"


def _trimmed(text: str) -> str:
    """Milliseconds in three digits, not six."""
    return text[:-3] if "." in text and text.endswith("000") else text
