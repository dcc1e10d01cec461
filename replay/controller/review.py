"""A working folder beside the release that readers see, and what its replay would need. Changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.table.metadata import TableMetadata

from jobs.product.column_types import Row
from jobs.product.folder import Product
from replay import offsets
from replay.core.model import Attempt, ProductState, Release
from replay.iceberg import lake
from replay.iceberg.table_types import table_type
from replay.offsets import Offsets
from replay.releases.folders import read_release
from replay.releases.plan import Change, Version, compare
from replay.releases.release import (
    archived_code,
    archived_parts,
    code,
    computation_parts,
    fingerprint_of,
    release_folder,
)
from replay.secret import shown as shown_options
from replay.settings import Settings

FILES_FACTOR = 1.5
"""Disk that a replay takes, per byte of the files that readers' tables have: it writes as many rows once more, in the
smaller files of more checkpoints."""
LEAST_BYTES = 256_000_000
"""And besides, however small the tables: metadata of each checkpoint until it expires, logs and scratch of Flink. A
year of flights took 200 MB of these."""


class ReviewedPlatform(Protocol):
    """What a review needs of the platform."""

    @property
    def catalog(self) -> Catalog: ...

    def ends(self, product: Product) -> Offsets:
        """Ends of the topics that grow."""

    def reference_ends(self, product: Product) -> Offsets: ...

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        """Snapshots that readers see (none: no tables yet), and whether these are the empty first ones."""

    def log_changes(self, attempt: Attempt) -> tuple[str, ...]:
        """How the log differs from what the attempt has read of it; empty: it does not."""

    def log_advice(self, product: Product) -> list[str]:
        """What an operator should know of how its topics are kept."""


@dataclass(frozen=True)
class PublishedRelease:
    """What readers see."""

    release: Release
    attempt: Attempt


@dataclass(frozen=True)
class MeasuredReplay:
    """The last replay of a product."""

    attempt: str
    records: int
    seconds: float


@dataclass(frozen=True)
class Disk:
    """A disk, and what a replay would write to it."""

    path: Path
    needed: int
    """Bytes."""
    free: int


@dataclass(frozen=True)
class ReplayEstimate:
    """What a replay would take."""

    records: int
    """In the log now."""
    measured: MeasuredReplay | None
    disks: tuple[Disk, ...]
    """Empty when nothing was measured yet, or when the tables are not on this machine."""

    @property
    def seconds(self) -> float | None:
        """From the last replay's rate; None when there was none."""
        return (
            round(self.records * self.measured.seconds / self.measured.records, 1)
            if self.measured
            else None
        )


@dataclass(frozen=True)
class Review:
    """A folder, reviewed."""

    product: Product
    shown: PublishedRelease | None
    change: Change
    needs: ReplayEstimate
    fingerprint: str = ""
    """What its release would be named by."""


def review(
    settings: Settings, platform: ReviewedPlatform, product: Product, state: ProductState
) -> Review:
    """Compare, and estimate from what the last replay took and what the tables have."""
    now = shown(state)
    reference = platform.reference_ends(product)
    parts = computation_parts(settings, product)
    new = Version(product, _files(product, code(product)), parts, reference)
    tables = _tables(platform.catalog, product.name)
    change = compare(_archived(settings, now.release) if now else None, new, _columns(tables))
    records = offsets.total(platform.ends(product)) + offsets.total(reference)
    return Review(
        product,
        now,
        change,
        ReplayEstimate(records, last_replay(state), disks(settings, tables, state)),
        fingerprint_of(settings, product),
    )


def shown(state: ProductState) -> PublishedRelease | None:
    """The attempt that readers see, and the release whose files count for it."""
    if state.published is None:
        return None
    attempt = state.attempt(state.published.attempt_name)
    return PublishedRelease(state.release(attempt.metadata or attempt.release), attempt)


def last_replay(state: ProductState) -> MeasuredReplay | None:
    """How long the newest undisturbed replay took until it had caught up.

    A position from then may be gone; the oldest one kept then stands for it, with what live traffic added since.
    """
    for a in reversed(state.attempts):
        if (
            a.caught_up_at is None
            or a.submitted_at is None
            or len(a.job_ids) > 1
            or not a.positions
        ):
            continue
        then = [p for p in a.positions if p.at <= a.caught_up_at]
        records = offsets.total((then[-1] if then else a.positions[0]).offsets)
        if records and a.caught_up_at > a.submitted_at:
            return MeasuredReplay(a.name, records, a.caught_up_at - a.submitted_at)
    return None


def disks(
    settings: Settings, tables: Mapping[str, TableMetadata], state: ProductState
) -> tuple[Disk, ...]:
    """What a replay would write, and the room for it; only where tables or checkpoints are local files."""
    now = shown(state)
    if now is None or state.published is None:
        return ()
    wanted: list[tuple[Path, int]] = []
    if warehouse := _local(shown_options(settings.catalog.pyiceberg).get("warehouse", "")):
        size = sum(
            _size(tables[t], snapshot)
            for t, snapshot in state.published.after.items()
            if t in tables
        )
        wanted.append((warehouse, round(size * FILES_FACTOR) + LEAST_BYTES))
    if checkpoints := _local(settings.flink.checkpoints):
        wanted.append(
            (checkpoints, _folder_size(checkpoints / now.attempt.product / now.attempt.name))
        )
    found: dict[int, Disk] = {}
    for path, needed in wanted:
        device = os.stat(there := _existing(path)).st_dev
        before = found.get(device)
        found[device] = Disk(
            before.path if before else path,
            needed + (before.needed if before else 0),
            shutil.disk_usage(there).free,
        )
    return tuple(found.values())


def _archived(settings: Settings, release: Release) -> Version:
    folder = release_folder(settings, release.product, release.fingerprint)
    product = read_release(folder)
    return Version(
        product,
        _files(product, archived_code(folder)),
        archived_parts(folder, product),
        release.reference_offsets,
    )


def _files(product: Product, code: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that people edit: the product's, and Python functions."""
    return {
        **{path.as_posix(): (product.folder / path).read_bytes() for path in product.files},
        **{path: content for path, content in code.items() if path.startswith("udfs/")},
    }


def _tables(catalog: Catalog, product: str) -> dict[str, TableMetadata]:
    return {
        name: lake.read_metadata(catalog, location)
        for name, location in lake.pointers(catalog, product).items()
    }


def _columns(tables: Mapping[str, TableMetadata]) -> dict[str, Row]:
    return {name: table_type(m.schema()) for name, m in tables.items()}


def _size(table: TableMetadata, snapshot_id: int) -> int:
    """Bytes of the files of a snapshot, as its writer counted them."""
    snapshot = table.snapshot_by_id(snapshot_id)
    summary = snapshot.summary if snapshot else None
    return int(summary.additional_properties.get("total-files-size", "0")) if summary else 0


def _folder_size(folder: Path) -> int:
    """Bytes of the files below; a running job adds and deletes some meanwhile."""
    size = 0
    for file in folder.rglob("*"):
        try:
            size += 0 if file.is_dir() else file.stat().st_size
        except FileNotFoundError:
            continue
    return size


def _local(uri: str) -> Path | None:
    """The path of a file: URI; None for one that is elsewhere."""
    if uri.startswith("file:"):
        return Path("/" + uri.removeprefix("file:").lstrip("/"))
    return Path(uri) if uri.startswith("/") else None


def _existing(path: Path) -> Path:
    return path if path.exists() or path == path.parent else _existing(path.parent)
