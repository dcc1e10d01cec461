"""Passes over what a writer wrote and the reader does not want."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobs.product.avro_schema import Schema
from replay.avro.body import Body, FieldPath, Reader

MAX_DEPTH = 200
"""Types may be recursive, and a message may nest them as deep as it is long."""

Skipper = Callable[[Body, int], None]


def skipping(schema: Schema, place: FieldPath) -> Reader:
    """Passes over what the reader does not want: types may be recursive, so their depth is bounded."""
    skip = _skipper(schema, place, {})
    return lambda body: skip(body, 0)


def _skipper(schema: Schema, place: FieldPath, known: dict[Schema, Skipper]) -> Skipper:
    if is_empty(schema):
        # records of empty records may be many: each twice in the next, and so on
        return lambda body, depth: None
    sizes: Mapping[str, int] = {"boolean": 1, "float": 4, "double": 8, "fixed": schema.size}
    if (size := sizes.get(schema.type)) is not None:
        return lambda body, depth: _drop(body.take(size))
    match schema.type:
        case "int" | "long" | "enum":
            return lambda body, depth: _drop(body.int64(place))
        case "bytes" | "string":
            return lambda body, depth: _drop(body.take(body.length(place)))
        case "record":
            return known[schema] if schema in known else _record_skipper(schema, place, known)
        case "union":
            branches = [_skipper(b, place, known) for b in schema.branches]

            def skip_branch(body: Body, depth: int) -> None:
                _check_depth(depth, place)
                branches[body.branch(len(branches), place)](body, depth + 1)

            return skip_branch
        case _:
            return _items_skipper(schema, place, known)


def _record_skipper(schema: Schema, place: FieldPath, known: dict[Schema, Skipper]) -> Skipper:
    fields: list[Skipper] = []

    def skip(body: Body, depth: int) -> None:
        _check_depth(depth, place)
        for field in fields:
            field(body, depth + 1)

    known[schema] = skip  # before its fields: they may be of the same type
    fields += [_skipper(f.schema, place, known) for f in schema.fields]
    return skip


def _items_skipper(schema: Schema, place: FieldPath, known: dict[Schema, Skipper]) -> Skipper:
    assert schema.inner is not None
    item, keys = _skipper(schema.inner, place, known), schema.type == "map"
    empty = not keys and is_empty(schema.inner)

    def skip(body: Body, depth: int) -> None:
        _check_depth(depth, place)
        while count := body.count(empty, place):
            for _ in range(0 if empty else count):
                if keys:
                    body.take(body.length(place))
                item(body, depth + 1)

    return skip


def _drop(value: object) -> None:
    return None


def _check_depth(depth: int, place: FieldPath) -> None:
    if depth > MAX_DEPTH:
        raise place.reject(f"nested deeper than {MAX_DEPTH} levels")


def is_empty(schema: Schema, known: dict[Schema, bool] | None = None) -> bool:
    """Whether values of a type take no bytes."""
    if schema.type != "record":
        return schema.type == "null" or (schema.type == "fixed" and schema.size == 0)
    known = {} if known is None else known
    if schema not in known:
        known[schema] = False  # as long as it is looked at: one that contains itself has no end
        known[schema] = all(is_empty(f.schema, known) for f in schema.fields)
    return known[schema]
