"""Where checks of a catalog work: a namespace of their own, tables in it, clients that remember nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import ForbiddenError, NoSuchNamespaceError, UnauthorizedError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField

from replay import database
from replay.errors import KappaError, RefusedError, RetryableError
from replay.finding import Finding
from replay.iceberg import files, lake, table_changes

PREFIX = "kappa_doctor_"
"""Of namespaces and tables that checks make."""
BRANCH, OTHER_BRANCH = "r1-a1", "r2-a1"
ROW = pa.table({"id": pa.array([1], pa.int64())})
"""Branches in the tables of checks, and a row to write to them."""
_SCHEMA = Schema(NestedField(1, "id", LongType(), required=False))

_ANOTHER = "choose another catalog in config.yaml, or another version of this one; then: kappa doctor --catalog"

Answer = str | tuple[str, str]
"""What a check found; and what that means, if it is something else than what it expects."""


@dataclass
class CheckNamespace:
    """The namespace that checks work in, and clients of the catalog."""

    catalog: Catalog
    reopen: Callable[[], Catalog]
    """Opens another client, which remembers nothing."""
    namespace: str
    given: bool = False
    """The namespace existed before the checks, and stays."""
    prefix: str = ""
    """Of the names of tables."""
    _touched: bool = False
    """Something may have been made."""
    _folders: set[str] = field(default_factory=set)

    def create(self, name: str, **properties: str) -> Table:
        """A new table, with the properties that products' tables have."""
        self._touched = True
        identifier = self.namespace, f"{self.prefix}{name}"
        table = self.catalog.create_table(
            identifier, _SCHEMA, properties={**table_changes.PROPERTIES, **properties}
        )
        self._folders.add(table.location())
        return table

    def begin(self, name: str, *branches: str, **properties: str) -> tuple[Table, int]:
        """A new table as an attempt finds it, with branches, and its root: an empty snapshot with the tag genesis."""
        table = self.create(name, **properties)
        table_changes.begin(table)
        root = table.metadata.refs[lake.MAIN].snapshot_id
        for branch in branches:
            table.manage_snapshots().create_branch(root, branch).commit()
        return table, root

    def seen(self, table: Table) -> Table:
        """The table as a new client sees it."""
        with closing(self.reopen()) as other:
            return other.load_table(table.name())

    def listed(self) -> set[str]:
        """Names of tables, as a new client sees them."""
        with closing(self.reopen()) as other:
            return {name[-1] for name in other.list_tables(self.namespace)}

    def make_namespace(self) -> None:
        """Create the namespace; it is removed also where the answer was lost."""
        self._touched = True
        try:
            with database.permitted("the Iceberg catalog", "the catalog"):
                self.catalog.create_namespace(self.namespace)
        except (ForbiddenError, UnauthorizedError, RefusedError):
            self._touched = False
            raise

    def drop(self, name: str) -> None:
        """Drop a table with its files."""
        location = (
            lake.pointers(self.catalog, self.namespace)[name]
            if isinstance(self.catalog, SqlCatalog)
            else ""
        )
        table_changes.drop_table(self.catalog, (self.namespace, name), location)

    def clear(self) -> list[Finding]:
        """Remove all tables and the namespace; what could not be removed is an error that names it."""
        if not self._touched:
            return []
        try:
            with lake.catalog_errors():
                self._clear()
        except Exception as e:  # noqa: BLE001  whatever it is, a person has to know what is left
            what = f"tables {self.prefix}… of namespace" if self.given else "namespace"
            return [
                Finding(
                    "removal",
                    error=RetryableError(
                        f"{what} {self.namespace} could not be removed",
                        expected="nothing left of these checks",
                        found=in_words(e),
                        next="drop it by hand",
                    ),
                )
            ]
        return [
            Finding(
                "removal",
                "tables are dropped" if self.given else "tables and namespace are dropped",
                "nothing of these checks is left",
            )
        ]

    def _clear(self) -> None:
        try:
            names = [name[-1] for name in self.catalog.list_tables(self.namespace)]
        except NoSuchNamespaceError:
            return
        for name in names:
            if name.startswith(self.prefix):
                self.drop(name)
        if not self.given:
            self.catalog.drop_namespace(self.namespace)
            self._delete_folders()

    def _delete_folders(self) -> None:
        """On a disk the namespace's folder stays behind, empty."""
        if isinstance(self.catalog, SqlCatalog):
            for folder in {location.rstrip("/").rpartition("/")[0] for location in self._folders}:
                if folder.endswith(self.namespace):
                    files.delete_below(self.catalog._load_file_io(location=folder), folder)


def ground(
    catalog: Catalog, reopen: Callable[[], Catalog], namespace: str | None = None
) -> CheckNamespace:
    """In a new namespace, or in one that is there."""
    name = PREFIX + uuid.uuid4().hex[:12]
    if namespace:
        return CheckNamespace(catalog, reopen, namespace, given=True, prefix=f"{name}_")
    return CheckNamespace(catalog, reopen, name)


def in_words(error: Exception) -> str:
    """What went wrong, on one line."""
    text = error.message if isinstance(error, KappaError) else ""
    return text or f"{type(error).__name__}: {lake.reason(error)}"


def fault(name: str, expected: str, found: str) -> RefusedError:
    """A catalog is not what products rely on."""
    return RefusedError(
        f"products cannot rely on this Iceberg catalog: {name}",
        expected=expected,
        found=found,
        next=_ANOTHER,
    )
