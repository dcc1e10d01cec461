"""Which checkpoints of an attempt are whole in all tables, and whether its branches have what its jobs wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pyiceberg.catalog import Catalog
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from jobs.product.folder import Product
from replay.core.model import Checkpoint
from replay.errors import ConflictError
from replay.iceberg import lake
from replay.iceberg.lake import Writers

_CHANGES = ("added-data-files", "deleted-data-files", "added-delete-files", "removed-delete-files")
"""What a snapshot's summary counts of files that its parent has not, or that it has no more; absent where none is."""


def publishable(
    catalog: Catalog,
    product: Product,
    branch: str,
    job_ids: Sequence[str],
    resumed_from: int | None = None,
    tables: Mapping[str, TableMetadata] | None = None,
) -> list[Checkpoint]:
    """The checkpoints of these jobs (the oldest first) that every table has, newest first.

    `resumed_from` is the checkpoint that the last of them continues from, if there were others; `tables` is a result of
    `tables_now`, which is called if it is not given.

    ConflictError when the branch of a table does not consist of their commits, one after the other: the branch was
    dropped and Iceberg recreated it from the head of `main`, or it was moved or written to from outside, or a job
    continued beside its successor. Compactions in between are allowed.
    """
    tables = lake.tables_now(catalog, product) if tables is None else tables
    if not tables:
        return []
    found: dict[str, dict[int, int]] = {}
    for name, metadata in tables.items():
        line = {s.snapshot_id: s for s in lake.ancestors(metadata, branch)}
        written = _Branch(metadata, line, lake.writers(catalog, metadata), job_ids)
        if branch in metadata.refs:
            _refuse_foreign_commits(name, written, resumed_from)
        found[name] = written.checkpoints()
    common = set.intersection(*(set(f) for f in found.values()))
    return [
        Checkpoint(c, {name: f[c] for name, f in found.items()})
        for c in sorted(common, reverse=True)
    ]


def _refuse_foreign_commits(table: str, branch: _Branch, resumed_from: int | None) -> None:
    """ConflictError unless the branch consists of the commits of its jobs, one job after the other."""
    for what, found in (
        ("has commits of other jobs", branch.of_other_jobs()),
        ("has commits that no job made", branch.of_no_job()),
        ("lost commits of its own job", branch.lost()),
        ("has commits of a job beside its successor", branch.beside_successor(resumed_from)),
    ):
        for snapshot in found:
            raise ConflictError(
                f"in table {table} it {what}", found=f"snapshot {snapshot.snapshot_id}"
            )


@dataclass(frozen=True)
class _Branch:
    """The branch of an attempt in one table, by who wrote its snapshots."""

    metadata: TableMetadata
    line: dict[int, Snapshot]
    """Its snapshots by their ids, newest first."""
    writers: Writers
    """Of all snapshots of the table."""
    job_ids: Sequence[str]
    """The attempt's jobs, the oldest first."""

    def checkpoints(self) -> dict[int, int]:
        """Checkpoint of its jobs → the snapshot in which the table has it."""
        found: dict[int, int] = {}
        for i in self.line:
            job, checkpoint = self.writers[i]
            if job in self.job_ids and checkpoint is not None:
                # walking back: the last commit of a checkpoint wins
                found.setdefault(checkpoint, i)
        return found

    def of_other_jobs(self) -> Iterator[Snapshot]:
        for i, snapshot in self.line.items():
            job, _ = self.writers[i]
            if job and job not in self.job_ids:
                yield snapshot

    def of_no_job(self) -> Iterator[Snapshot]:
        """But for the empty first snapshot, and compactions."""
        refs = self.metadata.refs
        genesis = refs[lake.GENESIS].snapshot_id if lake.GENESIS in refs else None
        for i, snapshot in self.line.items():
            job, _ = self.writers[i]
            if not job and i != genesis and not lake.same_rows(snapshot):
                yield snapshot

    def lost(self) -> Iterator[Snapshot]:
        """Commits of its jobs that the branch has no more."""
        oldest = min((s.sequence_number or 0 for s in self.line.values()), default=0)
        for snapshot in self.metadata.snapshots:
            if snapshot.snapshot_id in self.line or (snapshot.sequence_number or 0) <= oldest:
                continue
            if self.writers[snapshot.snapshot_id][0] in self.job_ids:
                yield snapshot

    def beside_successor(self, resumed_from: int | None) -> Iterator[Snapshot]:
        """A checkpoint is committed once, and a job begins behind the checkpoint that it was resumed from. If the
        numbers do not increase, or an earlier job continued, two jobs have written, and some rows are in the table
        twice.
        """
        commits = list(self._commits())
        for (job_before, checkpoint_before, _), (job, checkpoint, snapshot) in pairwise(commits):
            if job < job_before or checkpoint <= checkpoint_before:
                yield snapshot
        if resumed_from is None:
            return
        for job, checkpoint, snapshot in commits:
            if job < len(self.job_ids) - 1 and checkpoint > resumed_from:
                yield snapshot

    def _commits(self) -> Iterator[tuple[int, int, Snapshot]]:
        """Of its jobs, oldest first: which of them, checkpoint, snapshot."""
        for i, snapshot in reversed(self.line.items()):
            job, checkpoint = self.writers[i]
            if job in self.job_ids:
                yield self.job_ids.index(job), checkpoint or 0, snapshot


def hold_same_files(
    tables: Mapping[str, TableMetadata], before: Mapping[str, int], after: Mapping[str, int]
) -> bool:
    """Whether from the snapshots `before` to `after`, later ones of the same branch, no table got or lost a file."""
    return all(
        name in tables and name in before and _added_nothing(tables[name], before[name], snapshot)
        for name, snapshot in after.items()
    )


def _added_nothing(metadata: TableMetadata, before: int, after: int) -> bool:
    by_id = {s.snapshot_id: s for s in metadata.snapshots}
    at = by_id.get(after)
    while at is not None and at.snapshot_id != before and _is_empty(at):
        at = by_id.get(at.parent_snapshot_id or -1)
    return at is not None and at.snapshot_id == before


def _is_empty(snapshot: Snapshot) -> bool:
    """Whether it has the files of its parent, no more and no fewer."""
    return snapshot.summary is not None and not any(
        int(snapshot.summary.get(c) or 0) for c in _CHANGES
    )
