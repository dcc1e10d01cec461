"""Avro schemas, evolved ones, and messages of them, drawn by hypothesis: sound, at the edges, and damaged.

A schema is what JSON has. The encoder is of the tests' own, so that it can write what no producer would; what it writes
of a sound value is read back with fastavro.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Schema = Any
Draw = Callable[[st.SearchStrategy[Any]], Any]

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_LONG_TYPES = (
    "time-micros",
    *(
        f"{local}timestamp-{unit}"
        for local in ("", "local-")
        for unit in ("millis", "micros", "nanos")
    ),
)
_LOGICAL: dict[str, tuple[str, ...]] = {
    "int": ("date", "time-millis", "timestamp-millis"),
    "long": (*_LONG_TYPES, "date"),
    "string": ("uuid", "decimal", "json"),
}
_PROMOTED = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_DAY = 86_400
_FIRST, _LAST = -62_135_596_800, 253_402_300_800
_EDGES = sorted(
    {
        0,
        1,
        -1,
        127,
        -128,
        2**24,
        2**24 + 1,
        2**31 - 1,
        2**31,
        -(2**31),
        -(2**31) - 1,
        2**53 + 1,
        2**63 - 1,
        -(2**63),
        -719_162,
        -719_163,
        2_932_896,
        2_932_897,
        _DAY * 1000 - 1,
        _DAY * 1000,
        *(
            edge * unit + off
            for edge in (_FIRST, _LAST, _DAY)
            for unit in (10**3, 10**6)
            for off in (0, -1)
        ),
    }
)
_INT, _LONG = 2**31, 2**63
_TEXTS = ["", "a", "Zürich", "東京", "🚲", "a\0b", "EUR", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"]
_REALS = [
    0.0,
    -0.0,
    1.5,
    -(2.0**-149),
    0.1,
    3.4028234663852886e38,
    float("inf"),
    float("-inf"),
    float("nan"),
]
_RANGES = {
    "date": (-719_162, 2_932_896),
    "time-millis": (0, _DAY * 1000 - 1),
    "time-micros": (0, _DAY * 10**6 - 1),
    **{
        f"{local}timestamp-{unit}": (_FIRST * per_second, _LAST * per_second - 1)
        for local in ("", "local-")
        for unit, per_second in (("millis", 10**3), ("micros", 10**6), ("nanos", 10**9))
    },
}


@dataclass
class Names:
    """Names that are taken, and the named types that can be used again."""

    defined: dict[str, Schema] = field(default_factory=dict)
    count: int = 0

    def new(self) -> str:
        self.count += 1
        return f"T{self.count}"


def record(draw: Draw, names: Names, depth: int = 0) -> Schema:
    name = names.new()
    fields = [
        {"name": f"f{i}", "type": schema(draw, names, depth + 1)}
        for i in range(draw(st.integers(1, 5 if depth == 0 else 3)))
    ]
    for f in fields:
        if draw(st.integers(0, 4)) == 0:
            f["default"] = default(draw, f["type"], names)
    return _define(names, {"type": "record", "name": name, "fields": fields})


def schema(draw: Draw, names: Names, depth: int) -> Schema:
    kinds = ["primitive"] * 4 + ["logical"] * 4 + ["decimal", "fixed", "enum"]
    if depth < 4:
        kinds += ["array", "map", "record", "union", "nullable", "nullable"]
    if names.defined:
        kinds.append("again")
    match draw(st.sampled_from(kinds)):
        case "primitive":
            return draw(st.sampled_from(PRIMITIVES))
        case "logical":
            base = draw(st.sampled_from(sorted(_LOGICAL)))
            return {"type": base, "logicalType": draw(st.sampled_from(_LOGICAL[base]))}
        case "decimal":
            return _decimal(draw, names)
        case "fixed":
            return _fixed(draw, names)
        case "enum":
            return _enum(draw, names)
        case "array":
            return {"type": "array", "items": schema(draw, names, depth + 1)}
        case "map":
            return {"type": "map", "values": schema(draw, names, depth + 1)}
        case "record":
            return record(draw, names, depth)
        case "nullable":
            return _union(["null", schema(draw, names, depth + 1)], draw)
        case "union":
            return _union(
                [schema(draw, names, depth + 1) for _ in range(draw(st.integers(1, 4)))], draw
            )
        case _:
            return draw(st.sampled_from(sorted(names.defined)))


def _union(branches: list[Schema], draw: Draw) -> Schema:
    """Of those of the types that may stand together."""
    found: dict[str, Schema] = {}
    for branch in branches:
        for b in branch if isinstance(branch, list) else [branch]:
            found.setdefault(_branch(b), b)
    if len(found) == 1:
        return next(iter(found.values()))
    # which stay in order: one may use another
    types = [b for name, b in found.items() if name != "null"]
    nullable = ["null"] if "null" in found else []
    return draw(st.sampled_from([[*nullable, *types], [*types, *nullable]]))


def _branch(schema: Schema) -> str:
    return schema if isinstance(schema, str) else str(schema.get("name", schema["type"]))


def _decimal(draw: Draw, names: Names) -> Schema:
    precision = draw(st.sampled_from([1, 2, 4, 9, 18, 19, 38, 39]))
    logical = {
        "logicalType": "decimal",
        "precision": precision,
        "scale": draw(st.integers(0, precision + 1)),
    }
    if draw(st.booleans()):
        return {"type": "bytes", **logical}
    return _define(
        names, {"type": "fixed", "name": names.new(), "size": draw(st.integers(0, 20)), **logical}
    )


def _fixed(draw: Draw, names: Names) -> Schema:
    size = draw(st.sampled_from([0, 1, 4, 12, 16]))
    logical = draw(st.sampled_from([{}, {"logicalType": "uuid"}, {"logicalType": "duration"}]))
    return _define(names, {"type": "fixed", "name": names.new(), "size": size, **logical})


def _enum(draw: Draw, names: Names) -> Schema:
    symbols = draw(st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=4, unique=True))
    more = {"default": draw(st.sampled_from(symbols))} if draw(st.booleans()) else {}
    return _define(names, {"type": "enum", "name": names.new(), "symbols": symbols, **more})


def _define(names: Names, schema: Schema) -> Schema:
    names.defined[schema["name"]] = schema
    return schema


def default(draw: Draw, schema: Schema, names: Names) -> Any:
    """Mostly of the type."""
    schema = names.defined.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, list):
        return default(draw, draw(st.sampled_from(schema)), names)
    match schema if isinstance(schema, str) else schema["type"]:
        case "null":
            return None
        case "boolean":
            return draw(st.booleans())
        case ("int" | "long") as kind:
            limit = _INT if kind == "int" else _LONG
            return draw(st.sampled_from([e for e in _EDGES if -limit <= e < limit]))
        case "float" | "double":
            return draw(st.sampled_from([0, 1, -1.5, 0.1, 2**53 + 1, 1e300]))
        case "string":
            return draw(st.sampled_from(_TEXTS))
        case "bytes":
            return draw(st.sampled_from(["", "\0", "a", "ÿ", "\x01\x02"]))
        case "fixed":
            return draw(st.sampled_from("\0ÿa")) * schema["size"]
        case "enum":
            return draw(st.sampled_from(schema["symbols"]))
        case "array":
            return [default(draw, schema["items"], names) for _ in range(draw(st.integers(0, 2)))]
        case "map":
            return {
                k: default(draw, schema["values"], names)
                for k in draw(st.sampled_from(["", "a", "ab"]))
            }
        case _:
            return {
                f["name"]: default(draw, f["type"], names)
                for f in schema["fields"]
                if "default" not in f or draw(st.booleans())
            }


class Evolution:
    """A reader schema made of a writer's: kept, renamed with and without alias, promoted, extended, cut."""

    def __init__(self, draw: Draw, written: Names) -> None:
        self._draw, self._written = draw, written
        self.names = Names(count=written.count + 100)

    def rarely(self, one_in: int = 6) -> bool:
        return bool(self._draw(st.integers(1, one_in)) == one_in)

    def of(self, schema: Schema, depth: int = 0) -> Schema:
        if isinstance(schema, str) and schema in self._written.defined:
            schema = self._written.defined[schema]
        if isinstance(schema, list):
            return self._union(schema, depth)
        if self.rarely(12):
            return _union(["null", self._same(schema, depth)], self._draw)
        if self.rarely(25):
            found = globals()["schema"](self._draw, self.names, 3)
            return _union(["null", found], self._draw) if self.rarely(2) else found
        return self._same(schema, depth)

    def _same(self, schema: Schema, depth: int) -> Schema:
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(schema, dict) and "name" in schema:
            return self._named(schema, depth)
        if kind == "array":
            return {**schema, "items": self.of(schema["items"], depth + 1)}
        if kind == "map":
            return {**schema, "values": self.of(schema["values"], depth + 1)}
        return self._leaf(schema, kind)

    def _leaf(self, schema: Schema, kind: str) -> Schema:
        if not self.rarely(4):
            return schema
        others: list[Schema] = [
            *_PROMOTED.get(kind, ()),
            kind,
            *({"type": kind, "logicalType": name} for name in _LOGICAL.get(kind, ())),
            *(
                {"type": p, "logicalType": name}
                for p in _PROMOTED.get(kind, ())
                for name in _LOGICAL.get(p, ())
            ),
        ]
        if kind == "bytes":
            precision = self._draw(st.integers(1, 38))
            scale = self._draw(st.integers(0, precision))
            others.append(
                {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
            )
        return self._draw(st.sampled_from(others))

    def _union(self, branches: list[Schema], depth: int) -> Schema:
        kept = [self.of(b, depth + 1) for b in branches if not self.rarely()]
        if self.rarely():
            kept.append(globals()["schema"](self._draw, self.names, 4))
        return _union(kept or ["null"], self._draw)

    def _named(self, schema: Schema, depth: int) -> Schema:
        if schema["name"] in self.names.defined:
            return schema["name"]
        found = dict(schema)
        if self.rarely():
            found["name"] = self.names.new()
            if not self.rarely(3):
                found["aliases"] = [schema["name"]]
        if schema["type"] == "enum":
            symbols = [s for s in schema["symbols"] if not self.rarely()] or ["A"]
            found["symbols"] = self._draw(st.permutations(symbols + ["X"] * self.rarely()))
            if found.get("default") not in found["symbols"]:
                found.pop("default", None)
        elif schema["type"] == "fixed" and self.rarely():
            found["size"] = self._draw(st.integers(0, 16))
        elif schema["type"] == "record":
            found["fields"] = self._fields(schema["fields"], depth)
        return _define(self.names, found)  # now: nothing within is of this type

    def _fields(self, fields: list[Schema], depth: int) -> list[Schema]:
        found = []
        for f in fields:
            if self.rarely(8):
                continue
            made = {**f, "type": self.of(f["type"], depth + 1)}
            made.pop("default", None)
            if self.rarely(3):
                made["default"] = default(self._draw, made["type"], self.names)
            if self.rarely():
                made["name"] = f"g{f['name']}"
                if not self.rarely(3):
                    made["aliases"] = [f["name"], *(["f0"] if self.rarely() else [])]
            found.append(made)
        if self.rarely(3) or not found:
            added = {
                "name": "added",
                "type": globals()["schema"](self._draw, self.names, max(depth, 2)),
            }
            if not self.rarely():
                added["default"] = default(self._draw, added["type"], self.names)
            found.append(added)
        return found if self._draw(st.booleans()) else self._in_order(found)

    def _in_order(self, fields: list[Schema]) -> list[Schema]:
        """The other way round, but that what is defined stays before what uses it."""
        names = [f["name"] for f in fields]
        plain = [f for f in fields if isinstance(f["type"], str) and f["type"] in PRIMITIVES]
        return sorted(fields, key=lambda f: (f not in plain, names.index(f["name"])))


@dataclass(frozen=True)
class Message:
    """A body, and what was written if it is sound."""

    body: bytes
    raw: Any = None
    sound: bool = True


class Messages:
    """Messages of a writer's schema. Drawn by seed: hypothesis would take a tenth of a second for each."""

    def __init__(self, seed: int, schema: Schema, names: Names, *, wild: float = 0.2) -> None:
        """`wild`: how many of the values with a logical type are anywhere, also where there is no such value."""
        self._random, self._schema, self._names, self._wild = (
            random.Random(seed),
            schema,
            names,
            wild,
        )

    def message(self) -> Message:
        body, raw = self._encode(self._schema)
        match self._random.choice(
            ["sound"] * 6 + ["cut", "longer", "changed", "changed", "garbage"]
        ):
            case "sound":
                return Message(body, raw)
            case "cut":
                return Message(body[: self._random.randrange(len(body) or 1)], sound=False)
            case "longer":
                return Message(
                    body + self._random.randbytes(self._random.randint(1, 3)), sound=False
                )
            case "changed" if body:
                at = self._random.randrange(len(body))
                byte = self._random.choice([0, 1, 2, 3, 127, 128, 254, 255])
                return Message(body[:at] + bytes([byte]) + body[at + 1 :], sound=False)
            case _:
                return Message(self._random.randbytes(self._random.randint(0, 40)), sound=False)

    def _encode(self, schema: Schema) -> tuple[bytes, Any]:
        """(bytes, value as fastavro reads it without logical types)."""
        r = self._random
        schema = self._names.defined.get(schema, schema) if isinstance(schema, str) else schema
        if isinstance(schema, list):
            index = r.randrange(len(schema))
            body, raw = self._encode(schema[index])
            return _number(index) + body, raw
        logical = "" if isinstance(schema, str) else schema.get("logicalType", "")
        match schema if isinstance(schema, str) else schema["type"]:
            case "null":
                return b"", None
            case "boolean":
                yes = r.random() < 0.5
                return bytes([yes]), yes
            case ("int" | "long") as kind:
                number = self._whole(_INT if kind == "int" else _LONG, logical)
                return _number(number), number
            case "float":
                anywhere = struct.pack("<I", r.getrandbits(32))
                packed = anywhere if r.random() < 0.3 else struct.pack("<f", r.choice(_REALS))
                return packed, struct.unpack("<f", packed)[0]
            case "double":
                anywhere = struct.pack("<Q", r.getrandbits(64))
                packed = anywhere if r.random() < 0.3 else struct.pack("<d", r.choice(_REALS))
                return packed, struct.unpack("<d", packed)[0]
            case "string":
                text = r.choice(_TEXTS)
                return _sized(text.encode()), text
            case "bytes":
                raw = (
                    self._decimal(schema, None)
                    if logical == "decimal"
                    else r.randbytes(r.randint(0, 8))
                )
                return _sized(raw), raw
            case "fixed":
                size = schema["size"]
                raw = (
                    self._decimal(schema, size)
                    if logical == "decimal" and size
                    else r.randbytes(size)
                )
                return raw, raw
            case "enum":
                index = r.randrange(len(schema["symbols"]))
                return _number(index), schema["symbols"][index]
            case "array":
                items = [self._encode(schema["items"]) for _ in range(r.randint(0, 3))]
                return self._blocks([body for body, _ in items]), [raw for _, raw in items]
            case "map":
                values = {
                    key: self._encode(schema["values"]) for key in r.sample(_TEXTS, r.randint(0, 3))
                }
                return (
                    self._blocks(
                        [_sized(key.encode()) + body for key, (body, _) in values.items()]
                    ),
                    {key: raw for key, (_, raw) in values.items()},
                )
            case _:
                fields = {f["name"]: self._encode(f["type"]) for f in schema["fields"]}
                return b"".join(body for body, _ in fields.values()), {
                    n: raw for n, (_, raw) in fields.items()
                }

    def _whole(self, limit: int, logical: str) -> int:
        first, last = _RANGES.get(logical, (-limit, limit - 1))
        if logical and self._random.random() < self._wild:
            first, last = -limit, limit - 1
        first, last = max(first, -limit), min(last, limit - 1)
        if self._random.random() < 0.5:
            return self._random.choice([e for e in (*_EDGES, first, last) if first <= e <= last])
        return self._random.randint(first, last)

    def _decimal(self, schema: Schema, size: int | None) -> bytes:
        r = self._random
        if r.random() < self._wild:
            return r.randbytes(r.randint(0, 20) if size is None else size)
        most = 10 ** max(1, schema["precision"]) - 1
        if size is not None:
            most = min(most, 2 ** (8 * size - 1) - 1)
        number: int = r.choice([0, 1, -1, most, -most, r.randint(-most, most)])
        return number.to_bytes(size or (abs(number).bit_length()) // 8 + 1, "big", signed=True)

    def _blocks(self, items: list[bytes]) -> bytes:
        """In one block or in one each, with the block's size or without."""
        r = self._random
        blocks = [[item] for item in items] if r.random() < 0.5 else [items] if items else []
        out = b""
        for block in blocks:
            body = b"".join(block)
            sized = _number(-len(block)) + _number(len(body))
            out += (sized if r.random() < 0.5 else _number(len(block))) + body
        return out + b"\0"


def _number(value: int) -> bytes:
    encoded, out = (value << 1) ^ (value >> 63), bytearray()
    while encoded >= 0x80:
        out.append(encoded & 0x7F | 0x80)
        encoded >>= 7
    return bytes([*out, encoded])


def _sized(raw: bytes) -> bytes:
    return _number(len(raw)) + raw


def without_logical_types(schema: Schema) -> Schema:
    if isinstance(schema, list):
        return [without_logical_types(b) for b in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_logical_types(value) if key in ("type", "items", "values", "fields") else value
        for key, value in schema.items()
        if key not in ("logicalType", "precision", "scale")
    }
