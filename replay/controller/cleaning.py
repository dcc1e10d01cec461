"""Freeing what nothing needs any more: branches of ended attempts, old snapshots of live ones.

A file is deleted only after a commit that took away the last snapshot which names it, and only if no snapshot of the
table, as it is then, names it. So readers, jobs and people's tags never miss a file, whatever happens in between.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, zip_longest

from pyiceberg.catalog import Catalog
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    TableRequirement,
    TableUpdate,
)

from replay.errors import RefusedError, RetryableError
from replay.iceberg import commits, files, lake
from replay.iceberg.files import path
from replay.kafka import log
from replay.releases import kept_jars, shared
from replay.releases.release import bindings_file, lib_folder
from replay.settings import Settings

READER_GRACE = timedelta(hours=1)
"""How long a query may go on reading what `main` showed when it began."""

CLOCK_JUMP = timedelta(hours=1)
"""Ages of files and snapshots compare clocks of several machines, each of which may be set forward by so much."""

_UNFINISHED = timedelta(days=1) + CLOCK_JUMP
"""Age from which a file that no commit and no checkpoint names cannot be in use: jobs close and hand over their files
at every checkpoint."""
_COMMITTING = timedelta(hours=1) + CLOCK_JUMP
"""Longer than any commit is retried; a commit writes its files before it succeeds."""

_ATTEMPT = re.compile(r"r\d+-a\d+")  # its branch
# of a data file: partition, task, writer, number
_WRITER = re.compile(r"^\d+-\d+-([0-9a-f-]{36})\b")
# what the sink hands from a checkpoint to its commit
_OF_JOB = re.compile(r"^([0-9a-f]{32})-.*\.avro$")
_OF_COMMIT = re.compile(
    r"^(snap-\d+-.*\.avro|[0-9a-f-]{36}-m\d+\.avro|\d+-[0-9a-f-]{36}\.metadata\.json)$"
)


# Branches of ended attempts


def garbage(
    catalog: Catalog,
    product_name: str,
    tables: Collection[str],
    branch: str,
    job_ids: Collection[str] = (),
) -> tuple[str, ...]:
    """The files of all tables that only this branch needs: manifest lists, manifests, data and delete files.

    Also files that its jobs (they have ended) left without a commit. Changes nothing.
    """
    _check_branch(branch)
    found = lake.load_tables(catalog, product_name, tables)
    return tuple(sorted(chain.from_iterable(_garbage(t, branch, job_ids) for t in found.values())))


def _garbage(table: Table, branch: str, job_ids: Collection[str]) -> set[str]:
    going = _only_on(table.metadata, branch)
    staying = [s for s in table.metadata.snapshots if s.snapshot_id not in going]
    leaving = [s for s in table.metadata.snapshots if s.snapshot_id in going]
    still = _named(table.io, staying)
    gone = _named(table.io, leaving, known=still)
    jobs = {job for s in leaving if (job := lake.written_by(s)[0])} | set(job_ids)
    named = {path(location) for location in still | gone}
    return (gone - still) | _uncommitted(table, named, {_writer(f) for f in gone - still}, jobs)


def _uncommitted(table: Table, named: set[str], writers: set[str], jobs: set[str]) -> set[str]:
    """Files of these writers and jobs that no snapshot names; of anybody, if they are old.

    A job that is cancelled leaves the files that it was writing, and those that it handed to a checkpoint whose
    commit never came.
    """
    data, metadata = (
        files.listed(table.io, f"{table.location()}/{folder}") for folder in ("data", "metadata")
    )
    handed = {f.location: match[1] for f in metadata if (match := _OF_JOB.match(f.name))}
    owner = {
        path(file): job
        for manifest, job in handed.items()
        for file in _of_checkpoint(table.io, manifest)
    }
    newest = files.newest([*data, *metadata])
    left = set()
    for f in data:
        job = owner.get(path(f.location))
        ours = (
            job in jobs
            if job
            else _writer(f.location) in writers or newest - f.changed > _UNFINISHED
        )
        if ours and path(f.location) not in named:
            left.add(f.location)
    return left | {manifest for manifest, job in handed.items() if job in jobs}


def _of_checkpoint(io: FileIO, manifest: str) -> list[str]:
    try:
        return files.files_of(io, manifest)
    except FileNotFoundError:  # committed since it was listed
        return []


def _writer(location: str) -> str:
    match = _WRITER.match(location.rpartition("/")[2])
    return match[1] if match else location


def remove(
    catalog: Catalog,
    product_name: str,
    tables: Collection[str],
    branch: str,
    files: Collection[str],
) -> None:
    """Drop the branch with the snapshots that no other ref reaches, then delete these files as found by `garbage`.

    To be repeated, with the same files, until it has returned once. What has come into use since is kept.
    RetryableError when the branch got commits since: ask `garbage` again.
    """
    _check_branch(branch)
    listed = {path(f) for f in files}

    def drop(table: Table) -> list[commits.Change]:
        metadata = table.metadata
        if branch not in metadata.refs:
            return []
        going = _only_on(metadata, branch)
        if late := [
            s
            for s in metadata.snapshots
            if s.snapshot_id in going and path(s.manifest_list) not in listed
        ]:
            raise RetryableError(
                f"branch {branch} of table {'.'.join(table.name())} got commits while it was removed",
                expected="no commit after the job's end",
                found=f"snapshot {late[-1].snapshot_id}",
                next="repeat the command",
            )
        return [
            _without(table, going, RemoveSnapshotRefUpdate.model_validate({"ref-name": branch}))
        ]

    _each(catalog, product_name, tables, drop)
    if files:
        _delete_unnamed(lake.load_tables(catalog, product_name, tables).values(), files)


def _check_branch(branch: str) -> None:
    if branch in (lake.MAIN, lake.GENESIS):
        raise RefusedError(
            f"{branch} is not a branch of an attempt",
            expected="a branch such as r1-a1",
            found=branch,
        )


def _only_on(metadata: TableMetadata, branch: str) -> set[int]:
    """The snapshots that would be out of reach without this branch."""
    return _reached(metadata, [branch]) - _reached(metadata, metadata.refs.keys() - {branch})


def _delete_unnamed(tables: Iterable[Table], candidates: Collection[str]) -> None:
    """Delete those that no snapshot of these tables names now."""
    wanted = list(tables)
    named = {path(f) for table in wanted for f in _named(table.io, table.metadata.snapshots)}
    if wanted:
        files.delete(wanted[0].io, [f for f in candidates if path(f) not in named])


# Old snapshots of live branches


def expire(
    catalog: Catalog,
    product_name: str,
    tables: Collection[str],
    branch: str,
    keep_from: int,
    job_ids: Collection[str],
    published: Mapping[str, int],
    older_than: datetime,
) -> int:
    """Remove old snapshots of a live branch and the files that only they need; how many snapshots.

    What stays: from the checkpoint before `keep_from` on, which is the oldest one that Flink could restore or that is
    still to be published (the sink looks back from the branch's head for its own last commit, and must find it); what
    `main` has shown since `older_than`, for its readers; heads of branches, and tags; what `published` names; what a
    branch's own retention asks for; what other attempts' branches reach. Also removed are snapshots of any job that no
    ref reaches any more.

    A crash leaves at most files that the next call finds, by their age.
    """
    before = int(older_than.timestamp() * 1000)
    removed: dict[str, tuple[Table, set[int]]] = {}

    def remove_old(table: Table) -> list[commits.Change]:
        name = table.name()[-1]
        going = expirable(table.metadata, branch, keep_from, job_ids, published.get(name), before)
        removed[name] = table, going
        return [_without(table, going)] if going else []

    _each(catalog, product_name, tables, remove_old)
    for table, going in removed.values():
        if going:  # looked for after the commit, that the job's next one does not come in between
            files.delete(table.io, _freed(table, branch, going))
        _sweep(catalog, table)
    return sum(len(going) for _, going in removed.values())


def expirable(
    metadata: TableMetadata,
    branch: str,
    keep_from: int,
    job_ids: Collection[str],
    shown: int | None,
    older_than: int,
) -> set[int]:
    """The snapshots that `expire` removes; `older_than` in milliseconds since the epoch."""
    if branch not in metadata.refs:
        return set()
    line = list(lake.ancestors(metadata, branch))
    recent = [i for i, s in enumerate(line) if _is_from(s, keep_from, job_ids)]
    # Not one at or above the oldest checkpoint that matters: its commit is still to come.
    older = line[max(recent) + 1 :] if recent else []
    before = next((i for i, s in enumerate(older) if not lake.same_rows(s)), len(older))
    old = {s.snapshot_id for s in older[before + 1 :]}
    reached = _reached(metadata, metadata.refs)
    adrift = {
        s.snapshot_id
        for s in metadata.snapshots
        if s.snapshot_id not in reached and lake.written_by(s)[0]
    }
    young = {s.snapshot_id for s in metadata.snapshots if s.timestamp_ms >= older_than}
    # Another attempt's branch that stands on this one's commits was recreated by Iceberg: it stays, to be seen.
    others = _reached(
        metadata, [name for name in metadata.refs if name != branch and _ATTEMPT.fullmatch(name)]
    )
    return (
        (old | adrift)
        - young
        - others
        - _read(metadata, older_than)
        - _retained(metadata)
        - {shown}
    )


def _is_from(snapshot: Snapshot, checkpoint: int, job_ids: Collection[str]) -> bool:
    job, number = lake.written_by(snapshot)
    return job in job_ids and number is not None and number >= checkpoint


def _read(metadata: TableMetadata, since: int) -> set[int]:
    """What `main` has shown since then: also a snapshot that was old when it ceased to be shown."""
    entries = metadata.snapshot_log
    return {
        entry.snapshot_id
        for entry, successor in zip_longest(entries, entries[1:])
        if successor is None or successor.timestamp_ms >= since
    }


def _retained(metadata: TableMetadata) -> set[int]:
    """Heads, and what the refs' own retention settings ask for."""
    kept, now = set(), time.time() * 1000
    for name, ref in metadata.refs.items():
        for i, s in enumerate(lake.ancestors(metadata, name)):
            if i >= (ref.min_snapshots_to_keep or 1) and s.timestamp_ms < now - (
                ref.max_snapshot_age_ms or 0
            ):
                break
            kept.add(s.snapshot_id)
    return kept


def _freed(table: Table, branch: str, going: set[int]) -> set[str]:
    """The files that only these snapshots name, of the table as it was with them."""
    snapshots = table.metadata.snapshots
    leaving = [s for s in snapshots if s.snapshot_id in going]
    staying = [s for s in snapshots if s.snapshot_id not in going]
    line = list(lake.ancestors(table.metadata, branch))
    oldest = max((i for i, s in enumerate(line) if s.snapshot_id in going), default=-1)
    appended = all(s.summary and s.summary.operation is Operation.APPEND for s in line[:oldest])
    if appended and going <= {s.snapshot_id for s in line}:
        # Nothing was taken out of the table since: its data files are all still in the head. Saves reading manifests.
        return ({s.manifest_list for s in leaving} | _manifests(table.io, leaving)) - (
            {s.manifest_list for s in staying} | _manifests(table.io, staying)
        )
    still = _named(table.io, staying)
    return _named(table.io, leaving, known=still) - still


def _sweep(catalog: Catalog, table: Table) -> None:
    """Delete what commits that failed, or a crash before the deletions, left in the table's metadata folder."""
    product_name, name = table.name()
    listed = files.listed(table.io, f"{table.location()}/metadata")
    newest = files.newest(listed)
    left = [
        f.location for f in listed if newest - f.changed > _COMMITTING and _OF_COMMIT.match(f.name)
    ]
    if left and (now := lake.load_tables(catalog, product_name, [name]).get(name)):
        past, snapshots = now.metadata.metadata_log, now.metadata.snapshots
        named = {
            path(f)
            for f in (
                now.metadata_location,
                *(entry.metadata_file for entry in past),
                *(s.manifest_list for s in snapshots),
                *_manifests(now.io, snapshots),
            )
        }
        files.delete(now.io, [f for f in left if path(f) not in named])


# Outside of the tables


def remove_checkpoints(settings: Settings, uri: str) -> None:
    """Delete an ended attempt's checkpoint folder."""
    files.delete_folder(settings, uri)


def forget(
    settings: Settings, product_name: str, branch: str, group: str, checkpoints: str
) -> None:
    """Delete what an ended attempt left outside of the tables: checkpoints, consumer group, bindings, its jars.

    RetryableError while the group still has members: Kafka takes a dead one for alive until its session times out.
    """
    remove_checkpoints(settings, checkpoints)
    log.delete_group(settings, group)
    shared.forget_bindings(settings, product_name, bindings_file(settings, product_name, branch))
    kept_jars.drop(lib_folder(settings, product_name, branch))


# What snapshots reach and name


def _reached(metadata: TableMetadata, refs: Iterable[str]) -> set[int]:
    return {s.snapshot_id for ref in refs for s in lake.ancestors(metadata, ref)}


def _manifests(io: FileIO, snapshots: Iterable[Snapshot]) -> set[str]:
    return {
        m
        for location in {s.manifest_list for s in snapshots}
        for m in files.manifests_of(io, location)
    }


def _named(io: FileIO, snapshots: Sequence[Snapshot], known: Collection[str] = ()) -> set[str]:
    """All files that these snapshots name; manifests among the known are not read again."""
    manifests = _manifests(io, snapshots)
    data = {
        file
        for manifest in manifests
        if manifest not in known
        for file in files.files_of(io, manifest)
    }
    return {s.manifest_list for s in snapshots} | manifests | data


def _without(table: Table, snapshots: Collection[int], *updates: TableUpdate) -> commits.Change:
    """The removal of these snapshots, if no ref has moved since the table was read."""
    requirements: tuple[TableRequirement, ...] = (
        AssertTableUUID(uuid=table.metadata.table_uuid),
        *(
            AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": ref.snapshot_id})
            for name, ref in table.metadata.refs.items()
        ),
    )
    if snapshots:
        updates = (
            *updates,
            RemoveSnapshotsUpdate.model_validate({"snapshot-ids": sorted(snapshots)}),
        )
    return commits.Change(table, requirements, updates)


def _each(
    catalog: Catalog,
    product_name: str,
    tables: Iterable[str],
    change: Callable[[Table], list[commits.Change]],
) -> None:
    """Commit the change of each table that exists: one by one, for it may be made from the newest state only."""
    for name in tables:

        def make(name: str = name) -> list[commits.Change]:
            return [
                c
                for t in lake.load_tables(catalog, product_name, [name]).values()
                for c in change(t)
            ]

        with lake.catalog_errors():
            commits.commit(catalog, product_name, make)
