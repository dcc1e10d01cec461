"""A JSON Schema as the Avro schema of the same columns: one model of fields for topics of every format. Pure.

The attribute `json` of an Avro type says how JSON writes what it has no type for, such as a time or a decimal; that of
a field is the property's name, where it is not the column's. A field without `default` must be in every document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jobs.product.avro_schema import SchemaError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNITS = {3: "millis", 6: "micros", 9: "nanos"}
TEXT_TIMES = {
    "date-time": "timestamp",
    "date-time-local": "local-timestamp",
    "date": "date",
    "time-local": "time",
}
"""Formats of texts that are times → the family of Avro's logical types."""
EPOCHS = {"epoch-seconds": 3, "epoch-millis": 3, "epoch-micros": 6, "epoch-nanos": 9}
"""Formats of numbers that are times → digits of a second, unless `x-precision` says otherwise."""
_MAX_DEPTH = 64
_DEFAULT_PRECISION = 6


def avro_text(schema_json: str) -> str:
    """The Avro schema of a JSON Schema; SchemaError for one that no table can be made of."""
    try:
        root = json.loads(schema_json, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as e:
        raise SchemaError("a JSON Schema", f"{type(e).__name__}: {e}") from e
    found, _ = _Reader(root).type(root, "", ())
    if not isinstance(found, dict) or found["type"] != "record":
        raise SchemaError("an object with properties at the top of the schema", _shown(root))
    return json.dumps(found, ensure_ascii=False)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)} occurs twice")
    return found


class _Reader:
    """Reads types; what it returns is an Avro type, and whether null is written for it too."""

    def __init__(self, root: Any) -> None:
        self._root, self._records = root, 0

    def type(self, given: Any, path: str, above: tuple[str, ...]) -> tuple[Any, bool]:
        if path.count(".") + path.count("[") + path.count("{") > _MAX_DEPTH:
            raise SchemaError(f"types nested at most {_MAX_DEPTH} deep", f"more{_at(path)}")
        spec, above = self._followed(given, path, above)
        for several in ("anyOf", "oneOf"):
            if several in spec:
                return self._one_of(spec[several], several, path, above)
        kind, nullable = _kind(spec, path)
        match kind:
            case "object":
                return self._object(spec, path, above), nullable
            case "array":
                if not isinstance(spec.get("items"), dict) or "prefixItems" in spec:
                    raise SchemaError(f"items of one type{_at(path)}", _shown(spec))
                items = self._nullable(spec["items"], f"{path}[]", above)
                return {"type": "array", "items": items}, nullable
            case "string":
                return _string(spec, path), nullable
            case "boolean":
                return {"type": "boolean"}, nullable
            case _:
                return _number(kind, spec, path), nullable

    def _nullable(self, spec: Any, path: str, above: tuple[str, ...]) -> Any:
        found, nullable = self.type(spec, path, above)
        return ["null", found] if nullable else found

    def _followed(
        self, spec: Any, path: str, above: tuple[str, ...]
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """What a reference, or an allOf of one, stands for."""
        while isinstance(spec, dict):
            if isinstance(spec.get("allOf"), list) and len(spec["allOf"]) == 1:
                spec = spec["allOf"][0]
            elif "$ref" in spec:
                reference = spec["$ref"]
                if reference in above:
                    raise SchemaError(
                        "types that do not contain themselves: a column has a fixed depth",
                        f"'{reference}' contains itself{_at(path)}",
                    )
                spec, above = self._at(reference, path), (*above, reference)
            else:
                break
        if not isinstance(spec, dict):
            raise SchemaError(f"a type{_at(path)}", _shown(spec))
        if "allOf" in spec:
            raise SchemaError(f"one type{_at(path)}", "allOf of several")
        return spec, above

    def _at(self, reference: Any, path: str) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(f"a $ref within the file, such as #/$defs/Item{_at(path)}", reference)
        found = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise SchemaError(f"a definition of {reference}{_at(path)}", "none")
            found = found[name]
        return found

    def _one_of(self, specs: Any, what: str, path: str, above: tuple[str, ...]) -> tuple[Any, bool]:
        listed = specs if isinstance(specs, list) else []
        others = [s for s in listed if not (isinstance(s, dict) and s.get("type") == "null")]
        if len(others) != 1:
            raise SchemaError(f"one type, and null{_at(path)}", f"{what} of {len(others)} types")
        found, nullable = self.type(others[0], path, above)
        return found, nullable or len(others) < len(listed)

    def _object(self, spec: Mapping[str, Any], path: str, above: tuple[str, ...]) -> dict[str, Any]:
        properties, values = spec.get("properties"), spec.get("additionalProperties")
        if isinstance(properties, dict) and properties:
            return self._record(properties, spec.get("required", []), path, above)
        if isinstance(values, dict):
            return {"type": "map", "values": self._nullable(values, path + "{}", above)}
        raise SchemaError(
            f"an object with properties, or a map: additionalProperties with a type{_at(path)}",
            _shown(spec),
        )

    def _record(
        self, properties: Mapping[str, Any], required: Any, path: str, above: tuple[str, ...]
    ) -> dict[str, Any]:
        if not isinstance(required, list) or not all(isinstance(r, str) for r in required):
            raise SchemaError(f"required: a list of properties{_at(path)}", _shown(required))
        if unknown := [r for r in required if r not in properties]:
            raise SchemaError(f"required properties that are described{_at(path)}", unknown[0])
        self._records += 1
        name = f"object_{self._records}"
        fields: dict[str, dict[str, Any]] = {}
        for given, spec in properties.items():
            field = self._field(given, spec, given in required, path, above)
            if field["name"] in fields:
                raise SchemaError(
                    f"columns of different names{_at(path)}", f"{field['name']} twice"
                )
            fields[field["name"]] = field
        return {"type": "record", "name": name, "fields": list(fields.values())}

    def _field(
        self, given: str, spec: Any, required: bool, path: str, above: tuple[str, ...]
    ) -> dict[str, Any]:
        said = spec if isinstance(spec, dict) else {}
        name = said.get("x-column", given)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SchemaError(
                f'the name of a column (letters, digits and _): "x-column" of property {given!r}{_at(path)}',
                _shown(name),
            )
        found, nullable = self.type(spec, f"{path}.{name}", above)
        field: dict[str, Any] = {"name": name}
        if name != given:
            field["json"] = given
        if isinstance(said.get("description"), str):
            field["doc"] = said["description"]
        field["type"] = ["null", found] if nullable or not required else found
        if not required:
            field["default"] = None
        return field


def _kind(spec: Mapping[str, Any], path: str) -> tuple[str, bool]:
    """The type, and whether null is another."""
    given = spec.get("type")
    if given is None and "properties" in spec:
        given = "object"
    if given is None and isinstance(listed := spec.get("enum"), list):
        texts = [e for e in listed if e is not None]
        if texts and all(isinstance(e, str) for e in texts):
            given = ["string"] + ["null"] * (len(texts) < len(listed))
    kinds = given if isinstance(given, list) else [given]
    others = [k for k in kinds if k != "null"]
    known = ("object", "array", "string", "boolean", "integer", "number")
    if len(others) != 1 or others[0] not in known:
        raise SchemaError(
            f"a type of {', '.join(known)}, and null{_at(path)}",
            _shown(given) if given is not None else "none",
        )
    return str(others[0]), len(others) < len(kinds)


def _string(spec: Mapping[str, Any], path: str) -> dict[str, Any]:
    form, encoding = spec.get("format"), spec.get("contentEncoding")
    if encoding is not None:
        if encoding != "base64":
            raise SchemaError(f"contentEncoding base64{_at(path)}", _shown(encoding))
        return {"type": "bytes"}
    if form == "decimal":
        return _decimal("string", spec, path)
    family = TEXT_TIMES.get(form) if isinstance(form, str) else None
    if family is None:
        return {"type": "string"}
    if family == "date":
        return {"type": "int", "logicalType": "date", "json": form}
    if family == "time":
        return {"type": "int", "logicalType": "time-millis", "json": form}
    unit = _UNITS[_precision(spec, _DEFAULT_PRECISION, path)]
    return {"type": "long", "logicalType": f"{family}-{unit}", "json": form}


def _number(kind: str, spec: Mapping[str, Any], path: str) -> dict[str, Any]:
    form = spec.get("format")
    if form == "decimal":
        return _decimal("number", spec, path)
    if form == "epoch-days":
        return {"type": "int", "logicalType": "date", "json": form}
    if isinstance(form, str) and form in EPOCHS:
        unit = _UNITS[_precision(spec, EPOCHS[form], path)]
        return {"type": "long", "logicalType": f"timestamp-{unit}", "json": form}
    if kind == "number":
        return {"type": "double"}
    return {"type": "int" if form == "int32" else "long"}


def _decimal(written: str, spec: Mapping[str, Any], path: str) -> dict[str, Any]:
    precision, scale = spec.get("x-precision"), spec.get("x-scale", 0)
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision <= 38:
        raise SchemaError(
            f"of a decimal, x-precision up to 38 and x-scale up to that{_at(path)}",
            f"x-precision {_shown(precision)}, x-scale {_shown(scale)}",
        )
    if precision == 0:
        raise SchemaError(f"of a decimal, x-precision of at least 1{_at(path)}", "0")
    return {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": precision,
        "scale": scale,
        "json": written,
    }


def _precision(spec: Mapping[str, Any], otherwise: int, path: str) -> int:
    """Digits of a second."""
    found = spec.get("x-precision", otherwise)
    if type(found) is not int or found not in _UNITS:
        raise SchemaError(f"of a time, x-precision 3, 6 or 9{_at(path)}", _shown(found))
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _at(path: str) -> str:
    return f" in field {path.lstrip('.')}" if path else ""
