"""Schemas of topics' values in the registry, and how they compare with those of a product's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.product import avro_schema
from jobs.product.avro_schema import Schema, SchemaError
from jobs.product.folder import Product
from replay.avro import compatibility
from replay.avro.inline import inlined
from replay.errors import ConfigError, RefusedError
from replay.kafka import schema_registry, whole_log
from replay.kafka.schema_registry import AVRO, JSON, PROTOBUF
from replay.kafka.whole_log import LogProblem
from replay.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

_REFUSED = (409, 422)


@dataclass(frozen=True)
class Registered:
    """A version of a topic's schema."""

    id: int
    version: int
    text: str
    kind: str = AVRO
    """AVRO, JSON or PROTOBUF, as the registry calls it."""
    imports: tuple[tuple[str, str], ...] = ()
    """Of Protobuf: path and text of each file that it imports."""

    @property
    def is_avro(self) -> bool:
        return self.kind == AVRO


class Kind(StrEnum):
    """How a topic's schema in the folder compares with the registry's."""

    equal = "equal"
    missing = "missing"
    """The registry has none: producers could not have written anything."""
    registry_newer = "registry_newer"
    """Compatible, and without fields that the registry's newest version has."""
    folder_newer = "folder_newer"
    """Compatible, and not registered."""
    incompatible = "incompatible"
    """Some registered version's records could not be read with it: they would be rejects."""


@dataclass(frozen=True)
class Comparison:
    """A topic's schema in the folder beside those in the registry."""

    topic: str
    kind: Kind
    what: str = ""
    next: str = ""
    pullable: bool = False
    """Whether `kappa pull` brings the folder up to the registry's newest version, which reads every record."""

    @property
    def blocking(self) -> bool:
        """Whether a release with this schema must not be deployed."""
        return self.kind in (Kind.missing, Kind.incompatible)

    @property
    def line(self) -> str:
        """For people."""
        return f"schema of {self.topic}: {self.what}; next: {self.next}"

    @property
    def expected(self) -> str:
        """What there should be, for an error."""
        return {
            Kind.missing: f"a schema {schema_registry.subject(self.topic)} in the registry",
            Kind.incompatible: "a schema that reads the records of every registered version",
        }.get(self.kind, "the same schema in the folder and in the registry")


def versions(settings: Settings, topic: str) -> list[Registered]:
    """Every registered version of a topic's schema, the newest last; empty when there is none."""
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    name = schema_registry.subject(topic)
    with schema_registry.asking(settings) as client:
        try:
            numbers = client.get_versions(name)
        except SchemaRegistryError as e:
            if schema_registry.is_unknown(e):
                return []
            raise
        return [_version(settings.registry.url, client, topic, n) for n in sorted(numbers)]


# a version never changes; another one has another number
_known: dict[tuple[str, str, int], Registered] = {}


def _version(registry: str, client: SchemaRegistryClient, topic: str, number: int) -> Registered:
    if (found := _known.get((registry, topic, number))) is None:
        said = client.get_version(schema_registry.subject(topic), number)
        found = _known[registry, topic, number] = refuse_other(topic, _registered(client, said))
    return found


def latest(settings: Settings, topic: str) -> Registered | None:
    """The newest version of a topic's schema, of whatever kind."""
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    with schema_registry.asking(settings) as client:
        try:
            return _registered(client, client.get_latest_version(schema_registry.subject(topic)))
        except SchemaRegistryError as e:
            if schema_registry.is_unknown(e):
                return None
            raise


def _registered(client: SchemaRegistryClient, found: Any) -> Registered:
    schema = found.schema
    kind, text = schema.schema_type or AVRO, str(schema.schema_str)
    if kind == AVRO and schema.references:
        text = inlined(text, schema_registry.referenced(client, schema.references))
    imports = schema_registry.imported(client, schema.references) if kind == PROTOBUF else ()
    return Registered(int(found.schema_id), int(found.version), text, kind, imports)


def refuse_other(topic: str, found: Registered) -> Registered:
    """The schema; RefusedError if it is not Avro."""
    if not found.is_avro:
        raise RefusedError(
            f"the schema of topic {topic} is not one that can be read",
            expected="Avro",
            found=found.kind,
            next="say format: json-confluent in product.yaml, or kappa new … --format json-confluent"
            if found.kind == JSON
            else "say format: protobuf-confluent in product.yaml, or kappa new … --format protobuf-confluent"
            if found.kind == PROTOBUF
            else f"register an Avro schema as {schema_registry.subject(topic)}",
        )
    return found


def is_registered(registered: Sequence[Registered], text: str) -> bool:
    """Whether one of the versions says the same."""
    wanted = avro_schema.parse(text)
    return any(
        compatibility.equal(wanted, avro_schema.parse(r.text, strict=False)) for r in registered
    )


def refuse_incompatible(topic: str, text: str, registered: Sequence[Registered]) -> None:
    """RefusedError when a schema does not read the records of every registered version."""
    schema = avro_schema.parse(text)
    fault = _first_fault(schema, registered, [_parsed(topic, r) for r in registered])
    if fault is not None:
        raise RefusedError(
            f"{schema_registry.subject(topic)} cannot have this schema as its next version",
            expected="a schema that reads the records that are in the log",
            found=fault,
            next="give new fields a default and renamed ones an alias, or write to a new topic",
        )


def register(settings: Settings, topic: str, text: str) -> Registered:
    """Register under BACKWARD compatibility; the version that it is. RefusedError when incompatible."""
    from confluent_kafka.schema_registry import Schema as RegistrySchema
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    name = schema_registry.subject(topic)
    with schema_registry.asking(settings) as client:
        try:
            client.register_schema(name, RegistrySchema(text, AVRO))
        except SchemaRegistryError as e:
            if e.http_status_code not in _REFUSED:
                raise
            raise RefusedError(
                f"{name} cannot have this schema as its next version",
                expected="a change after which the new schema reads old records (BACKWARD)",
                found=str(e.error_message)[:400],
                next="give new fields a default, or write to a new topic",
            ) from e
        client.set_compatibility(subject_name=name, level="BACKWARD")
        return _registered(client, client.lookup_schema(name, RegistrySchema(text, AVRO)))


def read_schema(file: Path) -> str:
    """The text of an Avro schema's file; ConfigError when it is none."""
    try:
        text = file.read_text()
        avro_schema.parse(text)
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"{file} cannot be read",
            expected="a file with an Avro schema",
            found=str(e),
            next="name another file",
        ) from e
    except SchemaError as e:
        raise ConfigError(
            f"{file} is not an Avro schema", expected=e.expected, found=e.found, next=f"edit {file}"
        ) from e
    return text


def compare(settings: Settings, product: Product) -> list[Comparison]:
    """How every topic's schema in the folder compares with the registry's; in the order of product.yaml.

    RetryableError when the registry does not answer.
    """
    found = []
    for topic, file in schema_registry.registered_files(product).items():
        found.append(
            compare_one(
                pull_command(product), topic, file, read_schema(file), versions(settings, topic)
            )
        )
    return found


def log_problems(settings: Settings, product: Product) -> list[LogProblem]:
    """Why a replay from offset zero would miss something: what the broker lacks, and schemas that read no records."""
    problems = whole_log.problems(settings, product)
    absent = {p.topic for p in problems if p.found == "none"}
    return problems + [
        LogProblem(c.topic, c.expected, c.what, c.next)
        for c in compare(settings, product)
        if c.blocking and c.topic not in absent
    ]


def differences(settings: Settings, product: Product) -> list[Comparison]:
    """Schemas that differ and may be deployed all the same."""
    return [c for c in compare(settings, product) if c.kind is not Kind.equal and not c.blocking]


def pull_command(product: Product) -> str:
    """What to type to bring the schemas of the folder up to those of the registry."""
    usual = Path("sql") / product.name
    given = "" if product.folder.resolve() == usual.resolve() else f" --from {product.folder}"
    return f"kappa pull {product.name}{given}"


def compare_one(
    pull: str, topic: str, file: Path, text: str, registered: Sequence[Registered]
) -> Comparison:
    """Pure: one topic's schema in the folder beside its registered versions."""
    if not registered:
        return Comparison(
            topic, Kind.missing, "none", f"kappa topic create {topic} --schema {file}"
        )
    folder, schemas = avro_schema.parse(text), [_parsed(topic, r) for r in registered]
    newest = schemas[-1]
    known = any(compatibility.equal(folder, s) for s in schemas)
    what = compatibility.changes(folder, newest)
    # A schema that was edited here and is not registered is never overwritten.
    ours = not known and any(not change.startswith("+") for change in what)
    fault = _first_fault(folder, registered, schemas)
    if fault is not None:
        cured = not ours and _first_fault(newest, registered, schemas) is None
        follow = (
            pull
            if cured
            else f"give the field a default or an alias in {file.name}, or read a new topic"
        )
        return Comparison(
            topic, Kind.incompatible, f"{file.name} does not read {fault}", follow, cured
        )
    if compatibility.equal(folder, newest):
        return Comparison(topic, Kind.equal)
    if not ours:
        said = f"version {registered[-1].version} has {'; '.join(what) or 'another form'}"
        readable = _first_fault(newest, registered, schemas) is None
        follow = pull if readable else "keep it: the newest version would not read every record"
        return Comparison(topic, Kind.registry_newer, said, follow, readable)
    said = "; ".join(compatibility.changes(newest, folder)) or "another form"
    return Comparison(
        topic,
        Kind.folder_newer,
        f"{file.name} has {said}, not registered",
        f"kappa topic create {topic} --schema {file}",
    )


def _parsed(topic: str, registered: Registered) -> Schema:
    try:
        return avro_schema.parse(registered.text, strict=False)
    except SchemaError as e:
        raise RefusedError(
            f"version {registered.version} of {schema_registry.subject(topic)} is not an Avro schema",
            expected=e.expected,
            found=e.found,
            next="register another one",
        ) from e


def _first_fault(
    reader: Schema, registered: Sequence[Registered], writers: Sequence[Schema]
) -> str | None:
    """Which version's records the schema does not read, and why; the newest first."""
    for version, writer in reversed(list(zip(registered, writers, strict=True))):
        if problems := compatibility.unreadable(reader, writer):
            return f"records of version {version.version}: {'; '.join(problems[:3])}"
    return None


def pretty(text: str) -> str:
    """A schema's text with a line for each field of the record."""
    schema = json.loads(text)
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
    head = {k: v for k, v in schema.items() if k != "fields"}
    begin = ", ".join(
        f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in head.items()
    )
    fields = ",\n".join(f"    {json.dumps(f, ensure_ascii=False)}" for f in schema["fields"])
    return f'{{\n  {begin},\n  "fields": [\n{fields}\n  ]\n}}\n'
