"""What `kappa new` does, apart from its arguments."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from jobs.product import json_schema, names
from jobs.product.avro_schema import SchemaError
from jobs.product.formats import Format
from jobs.product.json_columns import avro_text
from replay.cli import sampled
from replay.cli.first_test import FILE
from replay.cli.new_product import SCHEMA, Draft, Source, bronze, draft
from replay.errors import ConfigError, RefusedError
from replay.kafka import schemas, topics
from replay.output import Output, View, show
from replay.settings import Settings, load_settings


def new(
    name: str,
    wanted: Sequence[str],
    files: Sequence[Path],
    time: str | None,
    to: Path | None,
    dry_run: bool,
    output: Output,
    written: Format | None = None,
    raw: bool = False,
) -> None:
    """Write a product's folder, and say what was guessed. RefusedError when the folder exists."""
    if not names.is_name(name) or "__" in name:
        good = (
            re.sub(r"_+", "_", re.sub(r"[^a-z0-9]", "_", name.lower())).strip("_0123456789")[:40]
            or "orders"
        )
        raise ConfigError(
            f"'{name}' is not a valid name of a product",
            expected="small letters, digits and _, and no __",
            found=name,
            next=f"kappa new {good}",
        )
    folder = to or Path("sql") / name
    if folder.exists():
        found = (
            ", ".join(sorted(p.name for p in folder.iterdir())[:5]) if folder.is_dir() else "a file"
        )
        raise RefusedError(
            f"{folder} exists already",
            expected="a folder that does not exist yet",
            found=found,
            next=f"kappa check {folder}, or kappa new {name} --to ANOTHER",
        )
    if raw and len(wanted) > 1:
        raise ConfigError(
            "--raw is of one topic",
            expected="one --topic",
            found=", ".join(wanted),
            next=f"kappa new {name} --topic {wanted[0]} --raw",
        )
    sources: list[Source] = []
    try:
        sources = _sources(name, wanted, files, written, raw)
        drafted = bronze(name, sources[0]) if raw else draft(name, sources, time)
    except SchemaError as e:
        raise ConfigError(
            "the schema cannot be a table",
            expected=e.expected,
            found=e.found,
            next="leave it out in a schema of your own: kappa new … --from-schema FILE",
        ) from e
    except ValueError as e:
        raise ConfigError(
            f"--time {time} does not say when an event of {sources[0].topic} happened",
            expected=str(e),
            found=str(time),
            next=f"kappa topic describe {sources[0].topic}",
        ) from e
    if not dry_run:
        write(folder, drafted)
    data = {
        "product": name,
        "folder": str(folder),
        "files": dict(drafted.files),
        "guesses": list(drafted.guesses),
        "dry_run": dry_run,
    }
    show(View(data, list(_lines(name, folder, to is not None, drafted, dry_run))), output)


def _sources(
    name: str, wanted: Sequence[str], files: Sequence[Path], written: Format | None, raw: bool
) -> list[Source]:
    """What each topic's columns are: by the files given, in their order, then by the registry or by its records."""
    wanted = wanted or [name]
    if len(files) > len(wanted):
        raise ConfigError(
            "there are more schemas than topics",
            expected=f"at most {len(wanted)} --from-schema",
            found=str(len(files)),
            next="name each topic: --topic T --topic U",
        )
    found = [_of_file(topic, file, written) for topic, file in zip(wanted, files, strict=False)]
    if len(files) == len(wanted):
        return found
    settings = load_settings()
    partitions = _partitions(settings, wanted)
    for topic in wanted[len(files) :]:
        chosen = written or (
            sampled.format_of(settings, topic)
            if raw
            else sampled.registered_format(settings, topic)
        )
        if chosen is Format.avro_confluent:
            found.append(Source(topic, _registered(settings, topic)))
        elif chosen.is_avro:
            raise _without_file(topic, chosen)
        else:
            found.append(sampled.source(settings, topic, chosen))
    return [replace(s, partitions=partitions.get(s.topic)) for s in found]


def _without_file(topic: str, written: Format) -> ConfigError:
    return ConfigError(
        f"no registry has the schema of topic {topic}, whose values are {written.value}",
        expected=f"--format {written.value} with --from-schema, the schema that records are written with",
        found="no --from-schema",
        next="kappa new … --from-schema FILE.avsc",
    )


def _of_file(topic: str, file: Path, written: Format | None) -> Source:
    if written is None or written.is_avro:
        return Source(topic, schemas.read_schema(file), format=written or Format.avro_confluent)
    if not written.is_json and not written.is_protobuf:
        raise ConfigError(
            f"a topic of {written.value} has no schema",
            expected="--format json or protobuf with --from-schema",
            found=str(file),
            next="leave out --from-schema",
        )
    what = "message of Protobuf" if written.is_protobuf else "JSON Schema"
    try:
        text = file.read_text()
        if written.is_protobuf:
            return sampled.of_file(topic, written, text)
        return Source(topic, avro_text(text), format=written, file=text)
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"{file} cannot be read",
            expected=f"a file with a {what}",
            found=str(e),
            next="name another file",
        ) from e
    except SchemaError as e:
        raise ConfigError(
            f"{file} is no {what} that a table can be made of",
            expected=e.expected,
            found=e.found,
            next=f"edit {file}",
        ) from e


def _registered(settings: Settings, topic: str) -> str:
    found = schemas.latest(settings, topic)
    if found is None:
        raise ConfigError(
            f"topic {topic} has no schema",
            expected=f"{topic}-value in the registry",
            found="none",
            next=f"kappa topic create {topic} --schema FILE.avsc, or kappa new … --from-schema FILE.avsc, "
            "or kappa new … --format json",
        )
    return schemas.refuse_other(topic, found).text


def _partitions(settings: Settings, wanted: Sequence[str]) -> dict[str, int]:
    there = [t for t in wanted if t in topics.names(settings)]
    return {t.name: t.partitions for t in topics.look(settings, there)}


def write(folder: Path, drafted: Draft) -> None:
    """The folder appears whole or not at all; beside it what editors know product.yaml by."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        whole = Path(scratch) / folder.name
        for name, text in drafted.files.items():
            file = whole / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        whole.rename(folder)
    schema = folder / SCHEMA
    if not schema.exists():
        schema.resolve().write_text(json_schema.text())


def _lines(
    name: str, folder: Path, elsewhere: bool, drafted: Draft, dry_run: bool
) -> Iterator[str]:
    if dry_run:
        for file, text in drafted.files.items():
            yield f"-- {folder / file}\n{text}"
    else:
        yield f"{folder}: {', '.join(drafted.files)}"
    yield "guessed, so look at it:"
    for guess in drafted.guesses:
        yield f"  {guess}"
    source = f" --from {folder}" if elsewhere else ""
    tested = f"       kappa test {folder}\n" if FILE in drafted.files else ""
    yield f"next:  kappa check {folder}\n{tested}       kappa deploy {name}{source}"
