"""Appending JSON lines to a topic: `kappa topic produce`, apart from its arguments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from jobs.product.formats import Format
from replay.avro.json_lines import AvroRecords, Form, JsonRecords, LineError, Lines
from replay.avro.json_values import JsonValueError
from replay.cli import topic_formats
from replay.cli.interrupt import say as say_interrupted
from replay.errors import ConfigError, RefusedError
from replay.kafka import schema_registry, schemas, topics
from replay.kafka.producing import Appended, Appender, check
from replay.kafka.topics import Topic
from replay.output import Output, View, err, plural, show
from replay.settings import Settings, load_settings


def produce(
    name: str,
    file: str,
    form: Form,
    dry_run: bool,
    output: Output,
    as_json: bool = False,
    written: Format | None = None,
    schema: Path | None = None,
) -> None:
    """Append a file's lines; ConfigError for the first that is no record, once all before it are in the log."""
    given = topic_formats.writer(name, written, schema, as_json)
    settings = load_settings()
    (topic,) = topics.look(settings, [name])
    lines = _lines(settings, topic, form, given)
    with _opened(file) as stream:
        if dry_run:
            done, bad = check(lines.read(stream))
            show(_checked(name, done, bad), output)
            if bad:
                raise typer.Exit(1)
            return
        appender = Appender(settings, name, topic.ends)
        try:
            done = appender.append(lines.read(stream))
        except KeyboardInterrupt:
            say_interrupted(f"interrupted: {_counts(appender.done)} are in the log")
            raise typer.Exit(130) from None
    if done.bad:
        options = _options(form, as_json, written, schema)
        raise _bad_line(name, file, done, done.bad, options)
    show(_appended(name, done, _avro_options(written, schema)), output)


def _lines(
    settings: Settings, topic: Topic, form: Form, given: AvroRecords | JsonRecords | None
) -> Lines:
    name = topic.name
    if form.envelope and (form.key or form.timestamp):
        raise ConfigError(
            "--envelope has the key and the timestamp in each line",
            expected="--envelope, or --key and --timestamp",
            found="both",
            next="leave one out",
        )
    if form.timestamp and topic.dated_by == topics.APPEND_TIME:
        raise RefusedError(
            f"the broker dates the records of {name}",
            expected="a topic with CreateTime",
            found=topics.APPEND_TIME,
            next="leave out --timestamp",
        )
    try:
        return Lines(given or _registered(settings, name), form)
    except JsonValueError as e:
        raise ConfigError(
            f"'{e.path}' cannot be used for --{'key' if e.path == form.key else 'timestamp'}",
            expected=e.expected,
            found=e.found,
            next=f"kappa topic describe {name}",
        ) from e


def _registered(settings: Settings, name: str) -> AvroRecords:
    """What writes records of a topic behind the id of its newest schema."""
    registered = schemas.latest(settings, name)
    if registered is None:
        raise RefusedError(
            f"topic {name} has no schema",
            expected=f"{schema_registry.subject(name)} in the registry, or --json for documents of JSON",
            found="none",
            next=f"kappa topic create {name} --schema FILE.avsc, or kappa topic produce {name} --json",
        )
    schemas.refuse_other(name, registered)
    return AvroRecords(registered.text, schema_registry.header(registered.id))


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        if sys.stdin.isatty():
            err.print("one JSON value a line; an empty line is a heartbeat; Ctrl-D ends it")
        yield sys.stdin.buffer
        return
    if not Path(file).is_file():
        raise ConfigError(
            f"{file} cannot be read",
            expected="a file of JSON lines",
            found="no such file",
            next="name another file, or - for standard input",
        )
    with Path(file).open("rb") as stream:
        yield stream


def _bad_line(name: str, file: str, done: Appended, bad: LineError, options: str) -> ConfigError:
    """What is wrong with a line, what is in the log, and how to go on from there."""
    where = "standard input" if file == "-" else file
    field = f"field {bad.problem.path}" if bad.problem.path else "the line"
    if file == "-":
        again = f"correct it, and send from line {bad.line} on"
    else:
        again = f"edit it, then: tail -n +{bad.line} {file} | kappa topic produce {name}{options}"
    return ConfigError(
        f"line {bad.line} of {where} is no record of {name}: {field}; {_before(done)}",
        expected=bad.problem.expected,
        found=bad.problem.found,
        next=again,
    )


def _options(form: Form, as_json: bool, written: Format | None, schema: Path | None) -> str:
    key = f" --key {form.key}" if form.key else ""
    timestamp = f" --timestamp {form.timestamp}" if form.timestamp else ""
    flags = (" --json" if as_json else "") + (" --envelope" if form.envelope else "")
    return key + timestamp + flags + _avro_options(written, schema)


def _avro_options(written: Format | None, schema: Path | None) -> str:
    return f" --format {written.value} --schema {schema}" if written else ""


def _counts(done: Appended) -> str:
    counted = ((done.records, "record"), (done.heartbeats, "heartbeat"))
    return " and ".join(f"{n:,} {plural(n, word)}" for n, word in counted if n) or "no record"


def _before(done: Appended) -> str:
    return (
        f"{_counts(done)} before it are in the log"
        if done.records + done.heartbeats
        else "nothing was appended"
    )


def _appended(name: str, done: Appended, options: str) -> View:
    data = {
        "topic": name,
        "records": done.records,
        "heartbeats": done.heartbeats,
        "dated_backwards": done.backwards,
        "partitions": [
            {"partition": p, "first": first, "last": last}
            for p, (first, last) in sorted(done.offsets.items())
        ],
    }
    lines = [f"{_counts(done)} appended to {name}"]
    for partition, (first, last) in sorted(done.offsets.items()):
        lines.append(f"  partition {partition}: offsets {first:,} to {last:,}")
    if done.backwards:
        lines.append(
            f"note: {done.backwards:,} {plural(done.backwards, 'record')} dated before one that stands ahead in "
            "the same partition; lateness is judged by the newest date so far"
        )
    lines.append(f"next:  kappa topic peek {name}{options}")
    return View(data, lines)


def _checked(name: str, done: Appended, bad: list[LineError]) -> View:
    data = {
        "topic": name,
        "records": done.records,
        "heartbeats": done.heartbeats,
        "dry_run": True,
        "bad": [
            {
                "line": b.line,
                "field": b.problem.path,
                "expected": b.problem.expected,
                "found": b.problem.found,
            }
            for b in bad
        ],
    }
    verdict = (
        f"{_counts(done)} would be appended to {name}; {len(bad)} bad {plural(len(bad), 'line')}"
    )
    return View(data, [*(str(problem) for problem in bad), verdict])
