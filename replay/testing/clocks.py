"""Times that people write without an offset, by the clocks of the product's time zone. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from jobs.product.avro_schema import Schema
from jobs.product.zones import zone
from replay.avro.json_values import JsonValueError

_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?([.,]\d{1,9})?")


def localized(schema: Schema, value: Any, zone_name: str, path: str = "") -> Any:
    """The JSON value of a schema with an instant for each time without an offset.

    JsonValueError for one that the clocks show twice or never. What does not fit the schema stays as it is.
    """
    if schema.type == "union":
        if any(b.type == "string" for b in schema.branches):
            return value
        for branch in schema.branches:
            value = localized(branch, value, zone_name, path)
        return value
    if schema.type == "record" and isinstance(value, dict):
        types = {f.name: f.schema for f in schema.fields}
        below = f"{path}." if path else ""
        return {
            k: localized(types[k], v, zone_name, f"{below}{k}") if k in types else v
            for k, v in value.items()
        }
    if schema.inner and isinstance(value, list):
        return [localized(schema.inner, v, zone_name, f"{path}[{i}]") for i, v in enumerate(value)]
    if schema.inner and isinstance(value, dict):
        return {
            k: localized(schema.inner, v, zone_name, f"{path}[{k!r}]") for k, v in value.items()
        }
    if schema.logical.startswith("timestamp-") and isinstance(value, str):
        return instant(value, zone_name, path)
    return value


def instant(text: str, zone_name: str, path: str = "") -> str:
    """A time with a Z, if it has no offset and is a time at all."""
    match = _LOCAL.fullmatch(text.strip())
    if match is None:
        return text
    day, minutes, seconds, fraction = match.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{minutes}{seconds or ':00'}")
    except ValueError:
        return text
    first, second = (local.replace(tzinfo=zone(zone_name), fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        shows = "never" if first.utcoffset() < second.utcoffset() else "twice"  # type: ignore[operator]
        offsets = " or ".join(dict.fromkeys(f"{t:%z}" for t in (first, second)))
        raise JsonValueError(
            path,
            f"a time with an offset ({offsets}): the clocks of {zone_name} show it {shows}",
            text,
        )
    at = first.astimezone(UTC).replace(tzinfo=None)
    return f"{at.isoformat()}{(fraction or '').replace(',', '.')}Z"


def shown(at: datetime, zone_name: str) -> str:
    """An instant by the clocks of a zone, as `instant` reads it back: with an offset where they show it twice."""
    local = at.astimezone(zone(zone_name))
    text = trimmed(local.replace(tzinfo=None).isoformat())
    other = local.replace(fold=1 - local.fold)
    if other.utcoffset() == local.utcoffset():
        return text
    offset = f"{local:%z}"
    return f"{text}{offset[:3]}:{offset[3:5]}"


def trimmed(text: str) -> str:
    """Milliseconds in three digits, not six."""
    return text[:-3] if "." in text and text.endswith("000") else text
