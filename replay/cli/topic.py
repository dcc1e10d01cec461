"""What `kappa topic` does, apart from its arguments: topics created, listed, described, their records shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.product import avro_schema
from jobs.product.formats import Format
from replay.avro.compatibility import text as type_text
from replay.cli import topic_formats
from replay.errors import ConfigError
from replay.kafka import reading, records, schema_registry, schemas, tiering, topics, whole_log
from replay.kafka.decoding import Decoder
from replay.kafka.reading import ConsumedRecord
from replay.kafka.schemas import Registered
from replay.kafka.topics import Topic, Wanted
from replay.kafka.whole_log import LogProblem
from replay.output import Output, RowsOutput, View, out, plural, print_json, print_rows, show
from replay.settings import Settings, load_settings


def create(wanted: Wanted, schema: Path | None, dry_run: bool, output: Output) -> None:
    """Create a topic and register its schema, each where it is not so already; say what was done."""
    settings, name = load_settings(), wanted.name
    text = schemas.read_schema(schema) if schema else None
    is_new = topics.missing(settings, wanted)
    before = schemas.versions(settings, name) if text else []
    if text:
        # first: a topic without its schema is of no use
        schemas.refuse_incompatible(name, text, before)
    if is_new and not dry_run:
        topics.create(settings, wanted)
    registered = schemas.register(settings, name, text) if text and not dry_run else None
    is_registered = bool(text) and (
        registered is None or registered.id not in {v.id for v in before}
    )
    if dry_run and text:
        is_registered = not schemas.is_registered(before, text)
    done = {
        "topic": name,
        "created": is_new,
        "registered": is_registered,
        "dry_run": dry_run,
        "schema_id": registered.id if registered else None,
        "version": registered.version if registered else None,
    }
    would, partitions = "would be " if dry_run else "", wanted.partitions or 1
    lines = [
        f"topic {name}: {would + 'created' if is_new else 'exists already'}"
        + (f", with {partitions} {plural(partitions, 'partition')}" if is_new else "")
    ]
    if text:
        version = f", version {registered.version}, id {registered.id}" if registered else ""
        lines.append(
            f"schema {schema_registry.subject(name)}: {would + 'registered' if is_registered else 'registered already'}"
            f"{version}"
        )
    if not dry_run:
        lines.append(
            f"next:  kappa topic produce {name} FILE"
            if text or before
            else f"next:  kappa topic create {name} --schema FILE.avsc, or kappa topic produce {name} FILE --json"
        )
    show(View(done, lines), output)


def list_topics(output: RowsOutput) -> None:
    """A row per topic."""
    settings = load_settings()
    rows = [_row(settings, topic) for topic in topics.look(settings, topics.names(settings))]
    if rows or output is not RowsOutput.text:
        print_rows(rows, output)
    else:
        out.print("there is no topic\nnext:  kappa topic create NAME --schema FILE.avsc")


def _row(settings: Settings, topic: Topic) -> dict[str, Any]:
    registered = schemas.latest(settings, topic.name)
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "offsets": topic.offsets,
        "dated": topic.dated_by,
        "schema": f"version {registered.version}" if registered else None,
        "whole": "no" if _problems(settings, topic) else "yes",
    }


def describe(name: str, output: Output) -> None:
    """All that is known of one topic."""
    settings = load_settings()
    (topic,) = topics.look(settings, [name])
    registered = schemas.latest(settings, name)
    problems = _problems(settings, topic)
    lines = list(_described(topic, problems, registered))
    show(View(_description(topic, problems, registered), lines), output)


def _described(
    topic: Topic, problems: list[LogProblem], registered: Registered | None
) -> Iterator[str]:
    dated = (
        "the broker, when it appends them"
        if topic.dated_by == topics.APPEND_TIME
        else "their producers"
    )
    yield (
        f"topic {topic.name}: {topic.partitions} {plural(topic.partitions, 'partition')}, "
        f"replication {topic.replication}, records are dated by {dated} ({topic.dated_by})"
    )
    if tiering.is_tiered(topic.config):
        yield "  its older segments are in the broker's remote tier"
    for partition, end in sorted(topic.ends.items()):
        yield f"  partition {partition}: offsets {topic.first[partition]:,} to {end:,}"
    for problem in problems:
        yield (
            f"  not whole: expected {problem.expected}, found {problem.found}\n    next: {problem.next}"
        )
    if not registered:
        yield (
            f"no schema {schema_registry.subject(topic.name)} is registered\n"
            f"next:  kappa topic create {topic.name} --schema FILE.avsc"
        )
        return
    kind = "" if registered.is_avro else f", {registered.kind}"
    yield f"schema {schema_registry.subject(topic.name)}: version {registered.version}, id {registered.id}{kind}"
    if not registered.is_avro:
        return
    for field in avro_schema.parse(registered.text, strict=False).fields:
        yield f"  {field.name}: {type_text(field.schema)}"


def _problems(settings: Settings, topic: Topic) -> list[LogProblem]:
    return topic.problems + whole_log.durability_problems(settings, topic.name, topic.copies)


def _description(
    topic: Topic, problems: list[LogProblem], registered: Registered | None
) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "replication": topic.replication,
        "dated": topic.dated_by,
        "config": dict(topic.config),
        "partitions": [
            {"partition": p, "first": topic.first[p], "end": end}
            for p, end in sorted(topic.ends.items())
        ],
        "problems": [{"expected": p.expected, "found": p.found, "next": p.next} for p in problems],
        "schema": {"id": registered.id, "version": registered.version, "schema": registered.text}
        if registered
        else None,
    }


def peek(
    name: str,
    count: int,
    start: str,
    partition: int | None,
    output: Output,
    written: Format | None = None,
    files: Sequence[Path] = (),
) -> None:
    """Print some records and end."""
    read = topic_formats.reader(name, written, files)
    settings = load_settings()
    topic = _chosen(settings, name, partition)
    if start == "end":
        found = reading.newest(settings, name, topic.first, topic.ends, count)
    else:
        starts = {p: _start(topic, p, start) for p in topic.ends}
        found = reading.oldest(
            settings, name, {p: o for p, o in starts.items() if o < topic.ends[p]}, count
        )[:count]
    with _quiet_when_unread():
        _print(settings, found, output, read)
        if not found and output is Output.text:
            out.print(f"topic {name}: no record there\nnext:  kappa topic describe {name}")


def tail(
    name: str,
    count: int,
    partition: int | None,
    output: Output,
    written: Format | None = None,
    files: Sequence[Path] = (),
) -> None:
    """Print the newest records, and each that follows, until Ctrl-C."""
    read = topic_formats.reader(name, written, files)
    settings = load_settings()
    topic = _chosen(settings, name, partition)
    with _quiet_when_unread():
        try:
            # From where `newest` ended: what is appended meanwhile is not passed over.
            shown = [
                s
                for s in reading.newest(settings, name, topic.first, topic.ends, count)
                if s.offset < topic.ends[s.partition]
            ]
            _print(settings, shown, output, read)
            _print(settings, reading.follow(settings, name, topic.ends), output, read)
        except KeyboardInterrupt:
            return


def _chosen(settings: Settings, name: str, partition: int | None) -> Topic:
    """The topic, or one partition of it."""
    (topic,) = topics.look(settings, [name])
    if partition is None:
        return topic
    if partition not in topic.ends:
        raise ConfigError(
            f"topic {name} has no partition {partition}",
            expected=f"0 to {topic.partitions - 1}",
            found=str(partition),
            next=f"kappa topic describe {name}",
        )
    return Topic(
        name,
        topic.replication,
        {partition: topic.first[partition]},
        {partition: topic.ends[partition]},
        topic.config,
    )


def _start(topic: Topic, partition: int, start: str) -> int:
    if start == "beginning":
        return topic.first[partition]
    if not start.isdecimal():
        raise ConfigError(
            "--from is not a place in the log",
            expected="beginning, end or an offset",
            found=start,
            next=f"kappa topic peek {topic.name} --from beginning",
        )
    return max(int(start), topic.first[partition])


def _print(
    settings: Settings,
    found: Iterable[ConsumedRecord],
    output: Output,
    read: topic_formats.Reads | None,
) -> None:
    with Decoder(settings, {}) as decoder:
        for seen in found:
            shown = records.show(decoder, seen, read)
            if output is Output.json:
                print_json(shown.as_dict())
                continue
            for line in shown.lines(out.width):
                out.print(line)


@contextmanager
def _quiet_when_unread() -> Iterator[None]:
    """`kappa topic peek … | head` ends when head does, without a traceback."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
