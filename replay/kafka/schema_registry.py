"""The schema registry: a client of it, what its answers mean, and the schemas of a product's topics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.product.folder import Product
from replay.errors import KappaError, RefusedError, RetryableError
from replay.kafka import clients
from replay.secret import without_user
from replay.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.error import SchemaRegistryError

AVRO = "AVRO"
JSON = "JSON"
PROTOBUF = "PROTOBUF"
HEADER = 5
"""Bytes of Confluent's wire format: a zero, then the schema's id in four."""
_NO_ENTRY = (401, 403)
_NOT_FOUND = 404  # of HTTP, and the first digits of the registry's own codes


def header(schema_id: int) -> bytes:
    """What stands before the values that are written with a schema."""
    return b"\0" + schema_id.to_bytes(HEADER - 1, "big")


def client(settings: Settings) -> SchemaRegistryClient:
    """A client of the schema registry that gives up soon: callers say what to do."""
    from confluent_kafka.schema_registry import SchemaRegistryClient  # here: a quarter of a second

    return SchemaRegistryClient(
        {"timeout": 10, "max.retries": 1, **clients.registry(settings.registry)}
    )


def down(settings: Settings, error: Exception) -> RetryableError:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    if isinstance(error, SchemaRegistryError) and error.http_status_code in _NO_ENTRY:
        return RetryableError(
            "the schema registry does not allow what was asked",
            expected=f"a login at {settings.registry.url} that may do it",
            found=f"HTTP {error.http_status_code}",
            next="see kappa config; fix `registry` in config.yaml, or the user at the registry",
        )
    return RetryableError(
        "the schema registry does not answer",
        expected=settings.registry.url,
        found=without_user(f"{type(error).__name__}: {error}")[:300],
        next="kappa status, then kappa up",
    )


@contextmanager
def asking(settings: Settings) -> Iterator[SchemaRegistryClient]:
    """A client of the registry; whatever its questions raise becomes a RetryableError."""
    with client(settings) as asked:
        try:
            yield asked
        except KappaError:
            raise
        except Exception as e:
            raise down(settings, e) from e


def is_unknown(error: SchemaRegistryError) -> bool:
    """Whether the registry says that it has no such thing: a bare 404 comes from a wrong URL or a proxy."""
    return bool(error.http_status_code == _NOT_FOUND and error.error_code // 100 == _NOT_FOUND)


def referenced(client: SchemaRegistryClient, references: Iterable[Any] | None) -> tuple[str, ...]:
    """The texts of what a schema refers to, each behind what it refers to itself."""
    texts: list[str] = []
    for reference in references or ():
        found = client.get_version(reference.subject, reference.version).schema
        inner = referenced(client, found.references)
        texts += [t for t in (*inner, found.schema_str or "null") if t not in texts]
    return tuple(texts)


def imported(
    client: SchemaRegistryClient, references: Iterable[Any] | None
) -> tuple[tuple[str, str], ...]:
    """Path and text of what a schema of Protobuf imports, and of what that imports."""
    files: dict[str, str] = {}
    for reference in references or ():
        found = client.get_version(reference.subject, reference.version).schema
        files.setdefault(str(reference.name), found.schema_str or "")
        for path, text in imported(client, found.references):
            files.setdefault(path, text)
    return tuple(files.items())


@dataclass(frozen=True)
class WriterSchema:
    """What records were written with."""

    text: str
    kind: str
    """AVRO, JSON or PROTOBUF."""
    others: tuple[str, ...]
    """The texts of what an Avro schema refers to."""
    imports: tuple[tuple[str, str], ...] = ()
    """Path and text of what a schema of Protobuf imports."""


def writer_schema(
    settings: Settings, asked: SchemaRegistryClient, number: int
) -> WriterSchema | None:
    """The schema of an id, None if the registry has none; RetryableError when it does not answer."""
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    try:
        found = asked.get_schema(number)
        kind = found.schema_type or AVRO
        others = referenced(asked, found.references) if kind == AVRO else ()
        imports = imported(asked, found.references) if kind == PROTOBUF else ()
    except SchemaRegistryError as e:
        if is_unknown(e):
            return None
        raise down(settings, e) from e
    except Exception as e:
        # httpx and its kin: the client passes on whatever its transport raises
        raise down(settings, e) from e
    return WriterSchema(found.schema_str or "null", kind, others, imports)


def subject(topic: str) -> str:
    """The registry's name of a topic's values."""
    return f"{topic}-value"


def registered_files(product: Product) -> dict[str, Path]:
    """The schemas of the topics whose records are read by the registry's."""
    return {
        topic: product.schema_file(topic)
        for topic, rule in product.topics.items()
        if rule.format.is_registered
    }


def register(settings: Settings, product: Product) -> dict[str, int]:
    """Register every topic's schema under BACKWARD compatibility; ids per topic. RefusedError when incompatible."""
    from confluent_kafka.schema_registry import Schema
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    ids: dict[str, int] = {}
    with client(settings) as asked:
        for topic, file in registered_files(product).items():
            try:
                ids[topic] = asked.register_schema(subject(topic), Schema(file.read_text(), AVRO))
                asked.set_compatibility(subject_name=subject(topic), level="BACKWARD")
            except SchemaRegistryError as e:
                if e.http_status_code in (409, 422):
                    raise RefusedError(
                        f"{file} cannot be the next version of {subject(topic)}",
                        expected="a change that readers of old records survive (BACKWARD)",
                        found=str(e.error_message)[:400],
                        next="add fields with a default, or write to a new topic",
                    ) from e
                raise down(settings, e) from e
            except Exception as e:
                # httpx and its kin: the client passes on whatever its transport raises
                raise down(settings, e) from e
    return ids
