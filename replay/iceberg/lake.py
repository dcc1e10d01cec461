"""The product's Iceberg tables: the catalog, their metadata at one instant, their branches, what `main` shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    OAuthError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    UnauthorizedError,
    ValidationError,
)
from pyiceberg.io import FileIO, InputFile, load_file_io
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot
from requests.exceptions import RequestException

from jobs.product.folder import Product
from replay import database
from replay.errors import ConfigError, KappaError, OutcomeUnknownError, RefusedError, RetryableError
from replay.iceberg import file_io, files, pointer, sql_places, table_metadata
from replay.iceberg.sql_places import ReadableTable
from replay.iceberg.timed_catalog import timed
from replay.secret import revealed, without_user
from replay.settings import Settings
from replay.storage import properties, storage_errors, with_keys

MAIN = "main"
GENESIS = "genesis"
"""Tag of the empty first snapshot that every attempt's branch starts from."""

JOB_ID = "flink.job-id"
CHECKPOINT_ID = "flink.max-committed-checkpoint-id"

Writers = Mapping[int, tuple[str | None, int | None]]
"""Snapshot id → who wrote it, as `written_by` says."""

LOST = (
    RequestException,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
    ConnectionError,
    TimeoutError,
)
"""What a REST catalog's client says when an answer did not come, or tells nothing."""
_REFUSALS = (UnauthorizedError, ForbiddenError, OAuthError, AuthorizationExpiredError)
_COMMIT_ATTEMPTS = 20
# A table's metadata lists every snapshot: reading a thousand takes 5 ms to 25 ms.
_known: WeakKeyDictionary[Catalog, dict[str, tuple[str, TableMetadata]]] = WeakKeyDictionary()
_io: WeakKeyDictionary[Catalog, dict[str, FileIO]] = WeakKeyDictionary()
"""Folder of a table's metadata → what reads its files, with the keys that the catalog lent for them."""
# Asking a thousand for who wrote them takes as long again.
_wrote: WeakKeyDictionary[Catalog, dict[str, Writers]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Published:
    """What `main` shows: one snapshot per table; job id and checkpoint are None at genesis."""

    snapshots: Mapping[str, int]
    job_id: str | None
    checkpoint: int | None


def open_catalog(settings: Settings) -> Catalog:
    """The product's catalog as pyiceberg sees it; RetryableError when it does not answer."""
    chosen = with_keys(properties(settings), revealed(settings.catalog.pyiceberg))
    with catalog_errors():
        catalog = load_catalog(settings.catalog.name, **timed(file_io.of_pyiceberg(chosen)))
        if isinstance(catalog, SqlCatalog) and catalog.engine.dialect.name == "sqlite":
            with catalog.engine.connect() as connection:
                # readers never wait for writers
                connection.execute(sa.text("PRAGMA journal_mode=WAL"))
    return catalog


@contextmanager
def catalog_errors() -> Iterator[None]:
    """Turn a catalog that does not answer, or refuses, into RetryableError; what may be done, OutcomeUnknownError."""
    try:
        with database.readable_errors("the Iceberg catalog", "the catalog"):
            yield
    except CommitStateUnknownException as e:
        raise OutcomeUnknownError(
            "it is not known whether the Iceberg catalog did what it was asked",
            expected="an answer from the catalog",
            found=reason(e),
            next="kappa status, then repeat",
        ) from e
    except _REFUSALS as e:
        raise RetryableError(
            "the Iceberg catalog refuses access",
            expected="a catalog that accepts these credentials",
            found=reason(e),
            next="check catalog.pyiceberg in config.yaml, then repeat",
        ) from e
    except (*LOST, RESTError) as e:
        raise RetryableError(
            "the Iceberg catalog does not answer",
            expected="an answer from the catalog",
            found=reason(e),
            next="kappa status",
        ) from e


def reason(error: Exception) -> str:
    """The first line of what a client said, without user and password."""
    return without_user((str(error).splitlines() or [type(error).__name__])[0])[:300]


def create_branch(
    catalog: Catalog,
    product: Product,
    branch: str,
    *,
    resume: bool = False,
    fence: Callable[[], None] = lambda: None,
) -> None:
    """Create the branch from `genesis` in every table; RefusedError if it holds commits already, unless `resume`.

    `fence` raises when the caller has lost its lease: the branch may have been removed for ever.
    """

    def create(table: Table) -> None:
        fence()
        refs = table.metadata.refs
        genesis = refs[GENESIS].snapshot_id
        if branch not in refs:
            table.manage_snapshots().create_branch(genesis, branch).commit()
        elif refs[branch].snapshot_id != genesis and not resume:
            raise RefusedError(
                f"branch {branch} of table {'.'.join(table.name())} is in use",
                expected="a new branch, or one without commits",
                found=f"commits up to snapshot {refs[branch].snapshot_id}",
                next="choose another branch name",
            )

    for name in product.outputs:
        with catalog_errors():
            commit(catalog, (product.name, name), create)


def drop_branch(catalog: Catalog, product: Product, branch: str) -> None:
    """Remove the branch from every table that has it."""
    if branch in (MAIN, GENESIS):
        raise RefusedError(
            f"{branch} is not a branch of an attempt",
            expected="a branch such as r1-a1",
            found=branch,
        )

    def drop(table: Table) -> None:
        if branch in table.metadata.refs:
            table.manage_snapshots().remove_branch(branch).commit()

    for name in product.outputs:
        with catalog_errors(), suppress(NoSuchTableError):
            commit(catalog, (product.name, name), drop)


def commit(catalog: Catalog, identifier: tuple[str, str], change: Callable[[Table], None]) -> None:
    """Apply a change to the newest state of a table; repeated after a commit in between."""
    for attempt in range(_COMMIT_ATTEMPTS):
        try:
            change(catalog.load_table(identifier))
            return
        except CommitFailedException as e:
            last = e
            time.sleep(min(0.01 * 2**attempt, 0.5))
    raise RetryableError(
        f"table {'.'.join(identifier)} is too busy to commit to",
        expected=f"a commit within {_COMMIT_ATTEMPTS} attempts",
        found=str(last),
        next="repeat the command",
    ) from last


def ancestors(metadata: TableMetadata, ref: str) -> Iterator[Snapshot]:
    """The ref's snapshot and those before it, as far back as they were kept; none when there is no such ref."""
    by_id = {s.snapshot_id: s for s in metadata.snapshots}
    snapshot = by_id.get(metadata.refs[ref].snapshot_id) if ref in metadata.refs else None
    while snapshot is not None:
        yield snapshot
        snapshot = by_id.get(snapshot.parent_snapshot_id or -1)


def writers(catalog: Catalog, metadata: TableMetadata) -> Writers:
    """Of all snapshots of a table at once: to ask one of its summary takes longer than all else that is done with
    it."""
    known = _wrote.setdefault(catalog, {})
    before = known.get(metadata.location) or {}
    found = {s.snapshot_id: before.get(s.snapshot_id) or written_by(s) for s in metadata.snapshots}
    known[metadata.location] = found
    return found


def same_rows(snapshot: Snapshot) -> bool:
    """Whether it only put the rows of its parent into other files: a compaction."""
    summary = snapshot.summary
    return (
        summary is not None
        and summary.operation is Operation.REPLACE
        and summary.get("added-records", "0") == summary.get("deleted-records", "0")
    )


def written_by(snapshot: Snapshot) -> tuple[str | None, int | None]:
    """Job id and checkpoint id that Flink's sink left in the snapshot's summary."""
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    checkpoint = properties.get(CHECKPOINT_ID)
    return properties.get(JOB_ID), int(checkpoint) if checkpoint is not None else None


def tables_now(catalog: Catalog, product: Product) -> dict[str, TableMetadata]:
    """The metadata of the product's tables, all of one instant; none while another controller makes them."""
    at = pointers(catalog, product.name)
    return {} if set(product.outputs) - set(at) else current_metadata(catalog, product, at)


def published(catalog: Catalog, product: Product) -> Published:
    """What `main` shows now."""
    heads: dict[str, Snapshot] = {}
    for name, metadata in current_metadata(catalog, product).items():
        head = metadata.current_snapshot()
        if head is None:
            raise no_tables(product.name, f"table {name} has no snapshot")
        heads[name] = head
    wrote = {written_by(s) for s in heads.values()}
    job_id, checkpoint = wrote.pop() if len(wrote) == 1 else (None, None)
    return Published({name: s.snapshot_id for name, s in heads.items()}, job_id, checkpoint)


def current_metadata(
    catalog: Catalog, product: Product, at: dict[str, str] | None = None
) -> dict[str, TableMetadata]:
    """The metadata of the product's tables, all of one instant; ConfigError when a table does not exist."""
    locations = at or pointers(catalog, product.name)
    if missing := [t for t in product.outputs if t not in locations]:
        raise no_tables(product.name, f"no table {', '.join(missing)}")
    return {name: read_metadata(catalog, locations[name]) for name in product.outputs}


def kept_snapshots(catalog: Catalog, product: str) -> dict[str, frozenset[int]]:
    """Table name → ids of the snapshots that have not expired, of all tables of the product at one instant."""
    return {
        name: frozenset(s.snapshot_id for s in read_metadata(catalog, location).snapshots)
        for name, location in pointers(catalog, product).items()
    }


def read_metadata(catalog: Catalog, location: str) -> TableMetadata:
    """One metadata file; the last one of each table is remembered, for most looks find what the one before found."""
    last, metadata = _known.get(catalog, {}).get(location.rpartition("/")[0], ("", None))
    if metadata is None or last != location:
        lent = _io.get(catalog, {}).get(location.rpartition("/")[0])
        file = file_io.to_read(catalog.properties, location, lent)
        metadata = _read_metadata(file, metadata)
        remember(catalog, location, metadata)
    return metadata


def _read_metadata(file: InputFile, before: TableMetadata | None) -> TableMetadata:
    with storage_errors(file.location):
        try:
            return table_metadata.read(file, before)
        except (ValueError, ValidationError) as e:
            raise files.damaged(file.location, "metadata of Iceberg in JSON", len(file)) from e


def forget(catalog: Catalog, product: str) -> None:
    """Remember nothing of a product that is gone."""
    for remembered in (_known.get(catalog, {}), _wrote.get(catalog, {}), _io.get(catalog, {})):
        for folder in [f for f in list(remembered) if f"/{product}/" in f]:
            remembered.pop(folder, None)


def rows(metadata: TableMetadata, snapshot_id: int | None) -> int | None:
    """How many rows a snapshot has, by the count in its summary; None: there is no count."""
    snapshot = metadata.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
    total = snapshot.summary.get("total-records") if snapshot and snapshot.summary else None
    return int(total) if total is not None else None


def load_tables(catalog: Catalog, product: str, tables: Collection[str]) -> dict[str, Table]:
    """Table name → table, of those that exist, all of one instant."""
    found: dict[str, Table] = {}
    if not isinstance(catalog, SqlCatalog):
        for name in tables:
            with catalog_errors(), suppress(NoSuchTableError):
                found[name] = catalog.load_table((product, name))
        return found
    locations = pointers(catalog, product)
    for name in tables:
        if location := locations.get(name):
            metadata = read_metadata(catalog, location)
            io = load_file_io({**catalog.properties, **metadata.properties}, location)
            found[name] = Table((product, name), metadata, location, io, catalog)
    return found


def pointers(catalog: Catalog, product: str) -> dict[str, str]:
    """Table name → metadata location, of all tables of the product at one instant."""
    return {name: place.location for name, place in places(catalog, product).items()}


def reads_at_once(catalog: Catalog) -> bool:
    """Whether one question tells where all tables of a product are, so that a switch is atomic for readers."""
    return isinstance(catalog, SqlCatalog)


def places(catalog: Catalog, product: str) -> dict[str, ReadableTable]:
    """Table name → where it is, of all tables of the product at one instant.

    One SELECT on a SQL catalog. Elsewhere the tables are asked one by one, and during a publication they may disagree:
    so the first says which snapshots belong together. Such a catalog may lend credentials with each table, and answers
    with the metadata: it is not read again without them.
    """
    with catalog_errors():
        if isinstance(catalog, SqlCatalog):
            with catalog.engine.connect() as connection:
                return sql_places.found(connection, catalog.name, product, catalog.properties)
        try:
            names = catalog.list_tables(product)
        except NoSuchNamespaceError:
            return {}
        pointer_first = sorted((name[-1] for name in names), key=lambda name: name != pointer.TABLE)
        tables = {name: catalog.load_table((product, name)) for name in pointer_first}
    for table in tables.values():
        remember(catalog, table.metadata_location, table.metadata)
        _io.setdefault(catalog, {})[table.metadata_location.rpartition("/")[0]] = table.io
    together = _together({name: table.metadata for name, table in tables.items()})
    return {
        name: ReadableTable(table.metadata_location, table.io.properties, together.get(name))
        for name, table in tables.items()
    }


def _together(tables: Mapping[str, TableMetadata]) -> Mapping[str, int]:
    """The snapshots that belong together, if all of them are still there."""
    found = pointer.read(tables[pointer.TABLE]) if pointer.TABLE in tables else {}
    return (
        found
        if all(t in tables and tables[t].snapshot_by_id(id) for t, id in found.items())
        else {}
    )


def remember(catalog: Catalog, location: str, metadata: TableMetadata) -> None:
    """What a metadata file holds, so that it need not be read: of a table the last one is kept."""
    _known.setdefault(catalog, {})[location.rpartition("/")[0]] = location, metadata


def no_tables(product: str, found: str) -> KappaError:
    """There is nothing to read or publish yet."""
    return ConfigError(
        f"product {product} has no tables yet",
        expected="the tables of a deployed product",
        found=found,
        next=f"kappa deploy {product}",
    )
