"""What `kappa pull` does, apart from its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.product import avro_schema
from replay.avro import compatibility
from replay.errors import ConfigError, RefusedError
from replay.kafka import schema_registry, schemas
from replay.kafka.schemas import Comparison, Kind
from replay.output import Output, View, show
from replay.releases.folders import read_product
from replay.releases.release import find_folder
from replay.settings import load_settings


@dataclass(frozen=True)
class Pulled:
    """A schema's file that is to be as the registry has it."""

    topic: str
    file: Path
    version: int
    text: str
    changes: tuple[str, ...]


def pull(name: str, source: Path | None, dry_run: bool, output: Output) -> None:
    """Bring the folder's schemas up to the registry's; RefusedError for one that would not read old records."""
    settings = load_settings()
    product = read_product(find_folder(name, source))
    if product.name != name:
        raise ConfigError(
            "the folder holds another product",
            expected=f"name: {name}",
            found=f"name: {product.name}",
            next=f"kappa pull {product.name} --from {product.folder}",
        )
    pulled: list[Pulled] = []
    left: list[Comparison] = []
    for topic, file in schema_registry.registered_files(product).items():
        registered = schemas.versions(settings, topic)
        text = schemas.read_schema(file)
        found = schemas.compare_one(schemas.pull_command(product), topic, file, text, registered)
        if found.pullable:
            newest = registered[-1]
            changes = compatibility.changes(
                avro_schema.parse(text), avro_schema.parse(newest.text, strict=False)
            )
            pulled.append(
                Pulled(topic, file, newest.version, schemas.pretty(newest.text), tuple(changes))
            )
        elif found.kind is Kind.incompatible:
            raise RefusedError(
                f"the schema of {topic} cannot be pulled: the newest would not read every record",
                expected=found.expected,
                found=found.what,
                next=found.next,
            )
        elif found.kind is not Kind.equal:
            left.append(found)
    if not dry_run:
        for p in pulled:
            p.file.write_text(p.text)
    data = {
        "product": name,
        "dry_run": dry_run,
        "pulled": [
            {
                "topic": p.topic,
                "file": str(p.file),
                "version": p.version,
                "changes": list(p.changes),
            }
            for p in pulled
        ],
        "left": [{**asdict(c), "kind": c.kind.value} for c in left],
    }
    show(View(data, list(_lines(name, source, pulled, left, dry_run))), output)


def _lines(
    name: str, source: Path | None, pulled: list[Pulled], left: list[Comparison], dry_run: bool
) -> Iterator[str]:
    for p in pulled:
        would = "would become" if dry_run else "is now"
        yield f"{_shown(p.file)} {would} version {p.version} of {p.topic}-value"
        for change in p.changes:
            yield f"  {change}"
    for comparison in left:
        yield comparison.line
    if not pulled:
        yield "nothing to pull"
        return
    follow = f" --from {source}" if source else ""
    yield f"next:  kappa check {source or Path('sql') / name}\n       kappa deploy {name}{follow}"


def _shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
