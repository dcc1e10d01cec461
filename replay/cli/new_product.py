"""A product's folder from the schemas of its topics, and what was guessed on the way. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from jobs.product.avro_schema import Schema, SchemaError, parse
from jobs.product.avro_types import Field, fields
from jobs.product.formats import Format
from jobs.product.model import REJECTS
from replay.cli import proposals
from replay.cli.first_test import FILE, first_test
from replay.cli.reserved_words import RESERVED
from replay.kafka.schemas import pretty

LATENESS = "1h"
EDITOR = "# yaml-language-server: $schema="
"""By this line editors complete product.yaml and point out what is wrong in it."""
SCHEMA = "../product.schema.json"


@dataclass(frozen=True)
class Source:
    """A topic, its schema, and how many partitions it has if that is known."""

    topic: str
    schema: str
    """Of its columns: an Avro schema."""
    partitions: int | None = None
    format: Format = Format.avro_confluent
    file: str = ""
    """The text of the schema's file, if that is not `schema`."""
    guesses: tuple[str, ...] = ()
    """What was guessed to get the schema."""
    message: str = ""
    """Of Protobuf: the message, where the file has several."""
    imports: tuple[tuple[str, str], ...] = ()
    """Of Protobuf: path below schemas/ and text of what the file imports."""


@dataclass(frozen=True)
class Draft:
    """The files of a folder, and what a person should look at."""

    files: Mapping[str, str]
    guesses: tuple[str, ...]


@dataclass(frozen=True)
class _Topic:
    name: str
    """In SQL."""
    kafka: str
    schema: Schema
    columns: tuple[Field, ...]
    role: str = "events"
    time: str = ""
    format: Format = Format.avro_confluent
    message: str = ""
    computed: Mapping[str, str] = field(default_factory=dict)
    shown: bool = False
    """Whether rows have the computed time."""
    identity: str = ""
    unsure: str = ""
    """A column that may be the identity, or may not."""
    key: str = ""
    foreign: str = ""
    """Of a reference: the column of the events that is its key."""


def draft(name: str, sources: Sequence[Source], time: str | None = None) -> Draft:
    """The folder of product `name`; SchemaError for a schema that cannot be a table.

    The first topic has the events that both tables are of. ValueError for a `time` that its schema does not have.
    """
    guesses: list[str] = []
    rows, hourly = f"{name}_rows", f"hourly_{name}"
    taken = {rows, hourly, REJECTS}
    topics: list[_Topic] = []
    for source in sources:
        topic = _topic(source, taken, time, topics[0] if topics else None, guesses)
        taken.add(topic.name.lower())
        topics.append(topic)
    counted, count = _hourly(topics[0], guesses)
    outputs = {rows: _rows(topics[0], [t for t in topics if t.foreign]), hourly: counted}
    for topic in topics[1:]:
        if not topic.foreign:
            outputs[_free(f"{topic.name.lower()}_rows", taken | set(outputs))] = _rows(topic, ())
    parallelism = min(
        (
            s.partitions
            for s, t in zip(sources, topics, strict=True)
            if s.partitions and not t.foreign
        ),
        default=2,
    )
    return Draft(
        {
            "product.yaml": _yaml(name, topics, list(outputs), parallelism),
            **{f"{output}.sql": sql for output, sql in outputs.items()},
            **_schemas(topics, sources),
            **_tests(topics[0], rows, hourly, count),
        },
        tuple(guesses),
    )


def _tests(events: _Topic, rows: str, hourly: str, count: str) -> dict[str, str]:
    """A first test, of Avro; none of JSON, whose documents a schema of columns does not show."""
    if not events.format.is_avro:
        return {}
    text = first_test(events.name, events.schema, rows, events.identity, hourly, count)
    return {FILE: text} if text else {}


def bronze(name: str, source: Source) -> Draft:
    """The folder of a product that has a topic's records as they are, each once, and nothing else."""
    rows = f"{name}_rows"
    schema, columns = parse(source.schema), fields(source.schema)
    sql_name = identifier(source.topic, {rows, REJECTS})
    topic = _Topic(
        sql_name,
        source.topic,
        schema,
        columns,
        time="log_appended",
        format=source.format,
        message=source.message,
    )
    taken = {c.name.lower() for c in columns}
    of_the_log = {"log_appended": "appended", "log_key": "record_key", "log_headers": "headers"}
    selected = [
        *map(_selected, columns),
        *(f"{column} AS {_free(called, taken)}" for column, called in of_the_log.items()),
    ]
    parallelism = min(2, source.partitions or 2)
    sql = f"SELECT {_wrapped(selected)}\nFROM {quoted(sql_name)}\n"
    return Draft(
        {
            "product.yaml": _yaml(name, [topic], [rows], parallelism),
            f"{rows}.sql": sql,
            **_schemas([topic], [source]),
        },
        (
            *source.guesses,
            f"topic {sql_name}: values are read as {source.format.value} (format)",
            f"topic {sql_name}: a record happened when it was appended (time); one that is dated more than {LATENESS} "
            "before one ahead of it is rejected (allowed_lateness)",
        ),
    )


def _schemas(topics: Sequence[_Topic], sources: Sequence[Source]) -> dict[str, str]:
    """The schemas' files; bytes and text have none."""
    own = {
        f"schemas/{t.name}{t.format.suffix}": s.file or pretty(s.schema)
        for t, s in zip(topics, sources, strict=True)
        if t.format.suffix
    }
    found = dict(own)
    for path, text in (imported for s in sources for imported in s.imports):
        if found.setdefault(f"schemas/{path}", text) != text:
            raise SchemaError(
                "imports that are alike in all topics, and not called as one of them", path
            )
    return found


def _topic(
    source: Source, taken: set[str], time: str | None, events: _Topic | None, guesses: list[str]
) -> _Topic:
    """A topic and what it is: of a further one, what its key is in the `events` of the first."""
    schema, columns = parse(source.schema), fields(source.schema)
    guesses += source.guesses
    name = identifier(source.topic, taken)
    if name != source.topic:
        guesses.append(f"topic {source.topic} is called {name} in SQL")
    identity, unsure = proposals.identity(schema, name)
    key = identity or unsure
    if events and key and (foreign := _foreign(events, name, key, columns)):
        guesses.append(
            f"topic {name} is a reference, read up to its end when a release is built, and {foreign} of "
            f"{events.name} is its {key}; if events are to see its changes as they happen: role: dimension, "
            "with time and allowed_lateness, and an identity for the events"
        )
        return _Topic(
            name,
            source.topic,
            schema,
            columns,
            "reference",
            format=source.format,
            message=source.message,
            key=key,
            foreign=foreign,
        )
    found = proposals.time(schema, columns, None if events else time)
    guesses.append(f"topic {name}: {found.why}")
    guesses.append(
        f"topic {name}: an event that is reported more than {LATENESS} late is rejected (allowed_lateness)"
    )
    if identity:
        guesses.append(
            f"topic {name}: two records of one time with the same {identity} are one event (identity)"
        )
    if events:
        guesses.append(
            f"topic {name}: no column of {events.name} is its key, so it has a table of its own"
        )
    return _Topic(
        name,
        source.topic,
        schema,
        columns,
        format=source.format,
        message=source.message,
        time=found.column,
        computed=found.computed,
        shown=found.shown,
        identity=identity,
        unsure=unsure,
    )


def _foreign(events: _Topic, name: str, key: str, columns: Sequence[Field]) -> str:
    """The column of the events that is probably another topic's key: called like it, and of its type."""
    of_key = next(c.type for c in columns if c.name == key)
    same_type = [c.name for c in events.columns if c.type == of_key]
    wanted = (
        (key, f"{proposals.singular(name)}_{key}", f"{name}_{key}")
        if key.lower() != "id"
        else (f"{proposals.singular(name)}_id", f"{name}_id")
    )
    return next((n for n in wanted if n in same_type), "")


def identifier(topic: str, taken: set[str]) -> str:
    """A name for SQL: of pg.public.orders orders, of user-orders user_orders."""

    def plain(text: str) -> str:
        found = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", text)).strip("_")
        return found if found[:1].isalpha() else f"t_{found}".rstrip("_")

    last, whole = plain(topic.rpartition(".")[2]), plain(topic)
    candidates = [last, whole, *(f"{whole}_{n}" for n in range(2, 100))]
    return next(c for c in candidates if c.lower() not in taken)


def quoted(name: str) -> str:
    """An identifier as a person would write it: in quotes where it must be."""
    return (
        name
        if re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in RESERVED
        else f"`{name}`"
    )


def _yaml(name: str, topics: Sequence[_Topic], outputs: Sequence[str], parallelism: int) -> str:
    lines = [f"{EDITOR}{SCHEMA}", f"name: {_scalar(name)}"]
    if parallelism < 2:
        lines.append(f"parallelism: {parallelism}   # never more than the partitions of the topic")
    lines.append("topics:")
    for topic in topics:
        lines += [f"  {_scalar(topic.name)}:", *(f"    {line}" for line in _topic_lines(topic))]
    lines.append(f"outputs: [{', '.join(outputs)}]")
    return "\n".join(lines) + "\n"


def _topic_lines(topic: _Topic) -> Iterator[str]:
    if topic.kafka != topic.name:
        yield f"topic: {_scalar(topic.kafka)}"
    if topic.format is not Format.avro_confluent:
        yield f"format: {topic.format.value}"
    if topic.message:
        yield f"message: {_scalar(topic.message)}"
    if topic.role == "reference":
        yield "role: reference   # read up to its end when a release is built"
        yield f"key: [{_scalar(topic.key)}]"
        return
    if topic.computed:
        computed = ", ".join(
            f"{_scalar(n)}: {json.dumps(e, ensure_ascii=False)}" for n, e in topic.computed.items()
        )
        yield f"columns: {{{computed}}}"
    yield f"time: {_scalar(topic.time)}   # when it happened"
    yield f"allowed_lateness: {LATENESS}"
    if topic.identity:
        yield f"identity: [{_scalar(topic.identity)}]   # guessed: two records of one time that share it are one event"
    elif topic.unsure:
        yield f"# identity: [{_scalar(topic.unsure)}]   # if two records of one time that share it are one event"


def _scalar(text: str) -> str:
    """A text that YAML reads as that text, not as a boolean or a number."""
    return (
        text
        if yaml.safe_load(text) == text and ": " not in text
        else json.dumps(text, ensure_ascii=False)
    )


def _rows(topic: _Topic, others: Sequence[_Topic]) -> str:
    """A row per event, with the columns of what is looked up."""
    prefix = "e." if others else ""
    names = [c.name for c in topic.columns] + ([topic.time] if topic.shown else [])
    columns, taken = [_selected(c, prefix) for c in topic.columns], {n.lower() for n in names}
    columns += [prefix + quoted(topic.time)] if topic.shown else []
    joins = []
    for number, other in enumerate(others, 1):
        alias = f"r{number}"
        joins.append(
            f"LEFT JOIN LATERAL TABLE({quoted(f'{other.name}_at')}(e.{quoted(topic.time)}, "
            f"e.{quoted(other.foreign)})) AS {alias} ON TRUE"
        )
        for column in other.columns:
            name = _free(f"{proposals.singular(other.name)}_{column.name}", taken)
            if column.name != other.key:
                taken.add(name.lower())
                columns.append(f"{_expression(column, f'{alias}.')} AS {quoted(name)}")
    source = f"FROM {quoted(topic.name)}" + (" AS e" if others else "")
    return "\n".join([f"SELECT {_wrapped(columns)}", source, *joins]) + "\n"


def _selected(column: Field, prefix: str = "") -> str:
    """A column as a table can have it, under its name."""
    expression = _expression(column, prefix)
    plain = prefix + quoted(column.name)
    return plain if expression == plain else f"{expression} AS {quoted(column.name)}"


def _expression(column: Field, prefix: str) -> str:
    """A time of nanoseconds to the microsecond: no table has more."""
    plain = prefix + quoted(column.name)
    if column.type in ("TIMESTAMP_LTZ(9)", "TIMESTAMP(9)"):
        return f"CAST({plain} AS {column.type.replace('9', '6')})"
    return plain


def _free(name: str, taken: set[str]) -> str:
    return next(
        n for n in (name, *(f"{name}_{i}" for i in range(2, 1000))) if n.lower() not in taken
    )


def _wrapped(names: Sequence[str], width: int = 110) -> str:
    lines, line = [], ""
    for name in names:
        if line and len(line) + len(name) + 2 > width:
            lines.append(line + ",")
            line = name
        else:
            line = f"{line}, {name}" if line else name
    return "\n       ".join([*lines, line])


def _hourly(topic: _Topic, guesses: list[str]) -> tuple[str, str]:
    """The SELECT, and its column that counts events."""
    group = proposals.category(topic.schema, topic.columns)
    sums = proposals.amounts(topic.schema, topic.columns)
    used = {c.lower() for c in (group, *sums) if c}
    hour, count = _free("hour", used), _free("events", used)
    columns = [
        f"window_start AS {quoted(hour)}",
        *([quoted(group)] if group else []),
        f"COUNT(*) AS {quoted(count)}",
        *(f"SUM({expression}) AS {quoted(c)}" for c, expression in sums.items()),
    ]
    said = f"hours are counted by {group}" if group else "no column to count hours by was found"
    guesses.append(said + (f", with sums of {', '.join(sums)}" if sums else ""))
    by = f", {quoted(group)}" if group else ""
    sql = (
        f"SELECT {_wrapped(columns)}\n"
        f"FROM TABLE(TUMBLE(TABLE {quoted(topic.name)}, DESCRIPTOR({quoted(topic.time)}), INTERVAL '1' HOUR))\n"
        f"GROUP BY window_start, window_end{by}\n"
    )
    return sql, count
