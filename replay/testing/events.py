"""The events of a test as records of the log. Pure.

An event is the value of a record, or an object that says more of it, as `kappa topic peek --output json` prints it:
{value: {…}, key: a, appended: 2013-03-10T03:00, partition: 1, offset: 7, headers: {…}}, with `payload` in the place of
`value` for bytes that are no value, and `times` for a record that comes more than once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs.product.avro_schema import Schema
from jobs.product.folder import Product
from jobs.product.formats import Format
from jobs.product.model import Topic
from jobs.product.names import did_you_mean
from replay.avro import single_object
from replay.avro.json_scalars import bytes_of, shorten
from replay.avro.json_values import AvroValues, JsonValueError, convert
from replay.avro.protobuf_values import ProtobufValues, exact_json
from replay.kafka import schema_registry
from replay.kafka.reading import ConsumedRecord
from replay.testing.clocks import localized
from replay.testing.model import Case

_ENVELOPE = ("value", "payload", "key", "appended", "partition", "offset", "headers", "times")
_BEGINNING = 0
"""When what has no time was appended: a version that is valid from the beginning."""
_INSTANT = Schema("long", logical="timestamp-millis")
_MOST_PARTITIONS = 100
_MOST_TIMES = 1000


@dataclass(frozen=True)
class Event:
    """One record, but for what follows from others."""

    value: bytes | None
    key: bytes | None = None
    happened: int | None = None
    """Its time in milliseconds since the epoch, where that is a field of the schema."""
    appended: int | None = None
    """None: when it happened, and not before the record that it stands behind."""
    partition: int = 0
    offset: int | None = None
    """None: that behind the record before."""
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Encoder:
    """Reads events of a product's topics."""

    def __init__(self, product: Product, schemas: Mapping[str, str]) -> None:
        """`schemas`: the Avro schema of each topic, by its name in product.yaml."""
        self._product = product
        self._values = {name: AvroValues(text) for name, text in schemas.items()}
        formats = {name: topic.format for name, topic in product.settings.topics.items()}
        self._messages = {
            name: ProtobufValues(text, formats[name] is Format.protobuf_confluent)
            for name, text in schemas.items()
            if formats[name].is_protobuf
        }
        self.ids = {name: number for number, name in enumerate(schemas, 1)}
        """The id that each schema has in the records."""

    def events(self, case: Case) -> dict[str, list[Event]]:
        """Per topic; ConfigError names test, event and field of what is wrong."""
        topics = self._product.settings.topics
        for name in case.body.given:
            if name not in topics:
                meant = did_you_mean(name, topics) or f"one of {', '.join(topics)}"
                raise case.wrong(f"given.{name}", f"a topic of product.yaml; {meant}", name)
        return {name: list(self._of(case, name, found)) for name, found in case.body.given.items()}

    def _of(self, case: Case, topic: str, found: tuple[Any, ...]) -> Iterator[Event]:
        for number, said in enumerate(found, 1):
            try:
                yield from self._event(topic, said)
            except JsonValueError as e:
                where = f"event {number} of {topic}" + (f", {e.path}" if e.path else "")
                raise case.wrong(where, e.expected, e.found) from e

    def _event(self, topic: str, said: Any) -> Iterator[Event]:
        if isinstance(said, str) and not self._product.settings.topics[topic].format.suffix:
            said = {"value": said}  # of a topic of text or bytes
        if not isinstance(said, dict):
            raise JsonValueError(
                "", "an object: the value of a record, or {value: …}", shorten(said)
            )
        if not self._is_enveloped(topic, said):
            yield self._with_value(topic, Event(None), said)
            return
        times = _whole(said, "times", 1, _MOST_TIMES)
        partition, offset = _whole(said, "partition", 0, _MOST_PARTITIONS), said.get("offset")
        if offset is not None:
            offset = _whole(said, "offset", 0, 2**62)
        if offset is not None and times > 1:
            raise JsonValueError("times", "no times beside an offset", str(times))
        event = Event(
            None, _key(said), None, self._appended(said), partition, offset, _headers(said)
        )
        if said.get("payload") is not None:
            event = replace(event, value=_text(said, "payload"))
        elif said.get("value") is not None:
            event = self._with_value(topic, event, said["value"])
        yield from [event] * times

    def _is_enveloped(self, topic: str, said: Mapping[str, Any]) -> bool:
        """Whether an event says more than a value. One that might be either, by the fields of the schema, does."""
        if "value" not in said and "payload" not in said:
            return False
        fields = {f.name for f in self._values[topic].schema.fields}
        unknown = [key for key in said if key not in _ENVELOPE]
        if unknown and fields & {"value", "payload"}:
            return False
        for key in unknown:
            meant = did_you_mean(key, _ENVELOPE) or f"one of {', '.join(_ENVELOPE)}"
            raise JsonValueError(key, meant, key)
        if "value" in said and "payload" in said:
            raise JsonValueError("payload", "value or payload", "both")
        return True

    def _with_value(self, topic: str, event: Event, said: Any) -> Event:
        values, written = self._values[topic], self._product.settings.topics[topic].format
        if not (written.is_avro or written.is_protobuf):
            return replace(event, value=self._as_text(topic, said))
        value = localized(values.schema, said, self._product.settings.time_zone)
        if written.is_protobuf:
            return replace(event, value=self._messages[topic].encode(value))
        body = values.encode(value)
        happened = _happened(self._product.settings.topics[topic], convert(values.schema, value))
        return replace(event, value=self._header(topic) + body, happened=happened)

    def _header(self, topic: str) -> bytes:
        """What says in a record which schema it was written with."""
        match self._product.settings.topics[topic].format:
            case Format.avro_confluent:
                return schema_registry.header(self.ids[topic])
            case Format.avro_single_object:
                return single_object.header(self._values[topic].schema)
            case _:
                return b""

    def _as_text(self, topic: str, said: Any) -> bytes:
        """A value of a topic of JSON, text or bytes; its schema is not asked: what does not fit is a reject."""
        written = self._product.settings.topics[topic].format
        if not written.is_json:
            return _text({"value": said}, "value")
        header = bytes(schema_registry.HEADER) if written is Format.json_confluent else b""
        return header + exact_json(said).encode()

    def _appended(self, said: Mapping[str, Any]) -> int | None:
        if said.get("appended") is None:
            return None
        text = localized(_INSTANT, said["appended"], self._product.settings.time_zone, "appended")
        found: int = convert(_INSTANT, text, "appended")
        if found < 0:
            raise JsonValueError("appended", "a time from 1970 on", shorten(said["appended"]))
        return found


def _happened(topic: Topic, fields: Mapping[str, Any]) -> int | None:
    found = fields.get(topic.time or "")
    found = found[1] if isinstance(found, tuple) else found  # of a union: branch and value
    return found if isinstance(found, int) else None


def records(case: Case, topic: str, events: list[Event]) -> dict[int, list[ConsumedRecord]]:
    """The records of each partition. ConfigError for offsets that do not ascend.

    A record is appended when its event happened, but never before the one ahead of it: so does a broker.
    """
    found: dict[int, list[ConsumedRecord]] = defaultdict(list)
    found[0] = []
    for number, event in enumerate(events, 1):
        before = found[event.partition][-1] if found[event.partition] else None
        offset = event.offset
        if offset is None:
            offset = before.offset + 1 if before else 0
        if before and offset <= before.offset:
            expected = f"an offset behind {before.offset} in partition {event.partition}"
            raise case.wrong(f"event {number} of {topic}, offset", expected, str(offset))
        appended = event.appended
        if appended is None:
            clock = before.timestamp if before else _BEGINNING
            appended = max(clock, _BEGINNING if event.happened is None else event.happened)
        found[event.partition].append(
            ConsumedRecord(event.partition, offset, appended, event.key, event.value, event.headers)
        )
    return {partition: found[partition] for partition in range(max(found) + 1)}


def _whole(said: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = said.get(name, least)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise JsonValueError(name, f"a whole number from {least} to {most}", shorten(value))
    return value


def _key(said: Mapping[str, Any]) -> bytes | None:
    return None if said.get("key") is None else _text(said, "key")


def _text(said: Mapping[str, Any], name: str) -> bytes:
    if not isinstance(said[name], str):
        raise JsonValueError(name, 'a text, "hex:…" or "base64:…"', shorten(said[name]))
    return bytes_of(said[name])


def _headers(said: Mapping[str, Any]) -> tuple[tuple[str, bytes | None], ...]:
    headers = said.get("headers") or {}
    if isinstance(headers, list):  # pairs, as peek prints them
        headers = dict(headers) if all(isinstance(h, list) and len(h) == 2 for h in headers) else ""
    if not isinstance(headers, dict) or not all(
        isinstance(k, str) and isinstance(v, str | None) for k, v in headers.items()
    ):
        raise JsonValueError("headers", "an object of texts: {source: shop}", shorten(headers))
    return tuple((k, None if v is None else bytes_of(v)) for k, v in headers.items())
