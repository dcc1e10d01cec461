"""A product's folder: what people write in it, and what is known once Flink's planner has read its SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from jobs.product import names, trees
from jobs.product.formats import Format
from jobs.product.model import (
    VIEWS,
    Column,
    Function,
    Model,
    Output,
    OutputSettings,
    RecordKey,
    Resolved,
    Topic,
    Window,
)
from jobs.product.names import did_you_mean
from jobs.product.settings import LagLimit, ProductSettings

WRITERS = ".writers"
"""Behind a topic's name: the folder in schemas/ of what older records were written with."""
TESTS = "tests"
"""Folder of a product with tests of its SQL. They compute no rows, so no release has them."""


class ProductError(Exception):
    """A product's folder is wrong: which file, what was expected, what was found."""

    def __init__(self, file: Path, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file, self.expected, self.found = file, expected, found


class Product(Model):
    """A product's folder, read and validated."""

    folder: Path
    settings: ProductSettings
    contract: dict[str, Any] = Field(default_factory=dict)
    """contract.yaml (Open Data Contract Standard v3.1) as read; empty without one."""
    resolved: Resolved | None = None
    """None: Flink's planner was not asked."""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def topics(self) -> dict[str, Topic]:
        """The input topics by their names in Kafka."""
        return {
            self.settings.kafka_name(name): topic for name, topic in self.settings.topics.items()
        }

    def sql_name(self, kafka_topic: str) -> str:
        """What a topic of Kafka is called in product.yaml and SQL."""
        return next(
            name for name in self.settings.topics if self.settings.kafka_name(name) == kafka_topic
        )

    @property
    def outputs(self) -> dict[str, Output]:
        """The output tables, `rejects` last; ProductError when the planner was not asked."""
        if self.resolved is None:
            raise ProductError(
                self.folder, "SQL that Flink's planner has read", "none: kappa check was not run"
            )
        return self.resolved.outputs

    def identity(self, output: Output) -> tuple[str, ...]:
        """Of rows of one topic: the columns that make two records the same event, if the table has them all."""
        names = {c.name for c in output.columns}
        found = self.topics[output.of[0]].identity if len(output.of) == 1 else ()
        return found if found and names.issuperset(found) else ()

    @property
    def columns(self) -> dict[str, tuple[Column, ...]]:
        """Per output table."""
        return {name: output.columns for name, output in self.outputs.items()}

    @property
    def longest_wait(self) -> float:
        """Seconds on the log's clock that a record may wait for its row."""
        return self.resolved.longest_wait if self.resolved else 0

    @property
    def views_sql(self) -> Path:
        """Views that outputs share; the file may be missing."""
        return self.folder / f"{VIEWS}.sql"

    def select_sql(self, output: str) -> Path:
        """The SELECT of an output."""
        return self.folder / f"{output}.sql"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that defines the product, relative to its folder, sorted."""
        found = (p.relative_to(self.folder) for p in self.folder.rglob("*") if p.is_file())
        return tuple(
            sorted(p for p in found if "__pycache__" not in p.parts and p.parts[0] != TESTS)
        )

    @property
    def schema_files(self) -> tuple[Path, ...]:
        """The schemas by which values and keys are read; bytes and text have none."""
        values = [self.schema_file(t) for t, rule in self.topics.items() if rule.format.suffix]
        keys = [
            self.key_schema_file(topic)
            for topic, rule in self.topics.items()
            if rule.record_key and rule.record_key.format.suffix
        ]
        return (*values, *keys)

    def writer_files(self, name: str) -> tuple[Path, ...]:
        """Schemas that records of a topic were written with, besides the one by which they are read; sorted."""
        if self.settings.topics[name].format is not Format.avro_single_object:
            return ()
        return tuple(sorted((self.folder / "schemas" / f"{name}{WRITERS}").glob("*.avsc")))

    def schema_file(self, kafka_topic: str) -> Path:
        """The schema by which a topic's values are read: an Avro schema or a JSON Schema."""
        name, suffix = self.sql_name(kafka_topic), self.topics[kafka_topic].format.suffix
        return self.folder / "schemas" / f"{name}{suffix}"

    def key_schema_file(self, kafka_topic: str) -> Path:
        """The schema by which the keys of a topic's records are read."""
        name, key = self.sql_name(kafka_topic), self.topics[kafka_topic].record_key
        return self.folder / "schemas" / f"{name}.key{key.format.suffix if key else ''}"


def load_product(folder: Path, resolved: Resolved | None = None) -> Product:
    """Read a product's folder; ProductError names the file and the field that is wrong."""
    folder = folder.absolute()
    _refuse_odd_entries(folder)
    settings_file, contract_file = folder / "product.yaml", folder / "contract.yaml"
    try:
        settings = ProductSettings.model_validate(_read_yaml(settings_file))
    except ValidationError as e:
        first = e.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # of several settings together
            raise ProductError(settings_file, "settings that go together", message) from e
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = tuple(_model_at(first["loc"][:-1]).model_fields)
            meant = did_you_mean(str(first["loc"][-1]), known) or f"one of {', '.join(known)}"
            raise ProductError(settings_file, f"an existing setting ({meant})", where) from e
        raise ProductError(
            settings_file, f"{where}: {message}", repr(first.get("input"))[:200]
        ) from e
    contract = _read_yaml(contract_file) if contract_file.exists() else {}
    product = Product(folder=folder, settings=settings, contract=contract)
    _check_files(product, is_archived=bool(resolved))
    if resolved:
        return with_resolved(product, resolved)
    _check_names(product)
    _check_writers(product)
    return product


def _refuse_odd_entries(folder: Path) -> None:
    """Refuse links and special files: a release would not contain a link's target, and opening a pipe blocks."""
    for entry in trees.entries(folder):
        if entry.odd:
            raise ProductError(
                Path(trees.shown(entry.path)), "a file of its own, with a printable name", entry.odd
            )


def _model_at(path: tuple[int | str, ...]) -> type[Model]:
    """The model of a mapping of product.yaml."""
    within: dict[str, type[Model]] = {
        "topics": Topic,
        "outputs": OutputSettings,
        "functions": Function,
        "lag_limit": LagLimit,
    }
    if "window" in path:
        return Window
    if "record_key" in path:
        return RecordKey
    return within[str(path[0])] if path else ProductSettings


def load_release(folder: Path) -> Product:
    """The product of an archived release, with what the planner said of it when it was built."""
    file = folder / "resolved.json"
    try:
        resolved = Resolved.model_validate_json(file.read_text())
    except (OSError, ValidationError) as e:
        raise ProductError(
            file, "what Flink's planner said of the release", str(e).splitlines()[0]
        ) from e
    return load_product(folder / "product", resolved)


def with_resolved(product: Product, resolved: Resolved) -> Product:
    """The product with its outputs, whose columns have what the contract says of them besides their types."""
    said = {
        str(t.get("name")): {p.get("name"): p for p in t.get("properties") or ()}
        for t in product.contract.get("schema") or ()
    }
    outputs = {
        name: output.model_copy(
            update={
                "columns": tuple(
                    _described(c, said.get(name, {}).get(c.name, {})) for c in output.columns
                )
            }
        )
        for name, output in resolved.outputs.items()
    }
    return product.model_copy(update={"resolved": resolved.model_copy(update={"outputs": outputs})})


def _described(column: Column, said: Mapping[str, Any]) -> Column:
    return column.model_copy(
        update={
            "required": bool(said.get("required", column.required)),
            "description": str(said.get("description", column.description)),
            "classification": str(said.get("classification", column.classification)),
        }
    )


def _check_files(product: Product, *, is_archived: bool) -> None:
    """Require a SELECT for each output and a schema for each topic, and refuse files that are not used.

    The folder of a release may be of before files of such a suffix meant anything.
    """
    settings, folder = product.settings, product.folder
    wanted = [product.select_sql(name) for name in settings.outputs]
    for file in (*wanted, *product.schema_files):
        if not file.is_file():
            raise ProductError(file, "a file", "none")
    for file in (*wanted, *(f for f in [product.views_sql] if f.is_file())):
        try:
            file.read_text()
        except UnicodeDecodeError as e:
            raise ProductError(file, "UTF-8", str(e)) from e
    if not settings.outputs:
        raise ProductError(folder / "product.yaml", "at least one output", "none")
    for file in sorted(folder.glob("*.sql")):
        if file not in (*wanted, product.views_sql):
            raise ProductError(
                file,
                f"the SELECT of an output of product.yaml ({', '.join(settings.outputs)}), or "
                "views.sql",
                "a file that no output uses",
            )
    schemas = set(product.schema_files)
    for file in sorted((folder / "schemas").glob("*")):
        of_now = not is_archived and (
            file.suffix == ".json" or (file.suffix == ".proto" and not _is_imported(file))
        )
        if (of_now or file.suffix == ".avsc") and file not in schemas:
            raise ProductError(
                file,
                f"the schema of a topic of product.yaml ({', '.join(settings.topics)})",
                "a schema that no topic uses",
            )


def _check_writers(product: Product) -> None:
    """Refuse folders of writers' schemas that no topic looks into, and files that are none."""
    of_topics = {
        f"{name}{WRITERS}"
        for name, topic in product.settings.topics.items()
        if topic.format is Format.avro_single_object
    }
    for folder in sorted((product.folder / "schemas").glob(f"*{WRITERS}")):
        if folder.name not in of_topics:
            raise ProductError(
                folder,
                "schemas of a topic of product.yaml with format: avro-single-object"
                + (f" ({', '.join(sorted(of_topics))})" if of_topics else ""),
                "schemas that no topic uses",
            )
        for file in sorted(folder.glob("*")):
            if file.suffix != ".avsc" or not file.is_file():
                raise ProductError(file, "an Avro schema, a file *.avsc", "something else")


def _is_imported(file: Path) -> bool:
    """Whether another schema of Protobuf beside a file imports it."""
    wanted = re.compile(
        rf"""\s*import\s*(public\s|weak\s)?\s*["']([^"']*/)?{re.escape(file.name)}["']"""
    )
    others = (f for f in file.parent.rglob("*.proto") if f != file)
    return any(
        wanted.match(line)
        for other in others
        for line in other.read_text(errors="replace").splitlines()
    )


def _check_names(product: Product) -> None:
    """Check names of files that product.yaml does not list. Releases that were built before keep theirs."""
    for file in sorted((product.folder / "checks").glob("*.sql")):
        if not names.is_check(file.stem):
            expected = "the name of a check, of letters, digits, '.', '_', '-' and spaces"
            raise ProductError(file, expected, names.shown(file.stem))


class _EachOnce(yaml.SafeLoader):
    """YAML whose mappings have each key once: otherwise the first of two values would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        said: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<" and key.value in said:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} occurs twice", key.start_mark
                )
            said.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        data = yaml.load(file.read_text(), _EachOnce)
    except (FileNotFoundError, NotADirectoryError):
        raise ProductError(file, "a file", "none") from None
    except UnicodeDecodeError as e:
        raise ProductError(file, "UTF-8", str(e)) from e
    except yaml.YAMLError as e:
        raise ProductError(file, "YAML", str(e)) from e
    if not isinstance(data, dict):
        raise ProductError(file, "a mapping", type(data).__name__)
    return data
