"""Checks of a catalog: commits to branches and to main, one after the other, overtaken, and at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import BadRequestError, CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from replay import database
from replay.iceberg import commits, lake, rest_commits
from replay.iceberg.catalog_ground import BRANCH, OTHER_BRANCH, ROW, Answer, CheckNamespace, fault
from replay.iceberg.commits import Change

READERS_RECIPE = "docs/production.md#reading-several-tables"
CONFLICTS = (CommitFailedException, ValueError)
"""A commit was overtaken: as a catalog says, or as PyIceberg finds itself when it applies an update."""
RACE = 5
"""Commits of each of two clients at the same time."""


def append(at: CheckNamespace) -> str:
    table, root = at.begin("append", BRANCH)
    table.append(ROW, branch=BRANCH)
    seen = at.seen(table)
    refs = {name: ref.snapshot_id for name, ref in seen.metadata.refs.items()}
    if refs[lake.MAIN] != root:
        raise fault(
            "an append to a branch moved main",
            f"main at snapshot {root}",
            f"snapshot {refs[lake.MAIN]}",
        )
    if refs[BRANCH] == root or refs[lake.GENESIS] != root:
        raise fault(
            "an append to a branch did not move the branch alone",
            f"{BRANCH} at a new snapshot",
            f"{refs}",
        )
    rows = [seen.scan(snapshot_id=refs[name]).to_arrow().num_rows for name in (lake.MAIN, BRANCH)]
    if rows != [0, 1]:
        raise fault(
            "rows of a branch cannot be read apart from main",
            "0 rows on main and 1 on the branch",
            f"{rows}",
        )
    return "main stays where it was, and the row is on the branch alone"


def summaries(at: CheckNamespace) -> str:
    table, _ = at.begin("summaries", BRANCH)
    wanted = "f" * 32, 7
    _commit(table, BRANCH, *wanted)
    head = next(lake.ancestors(at.seen(table).metadata, BRANCH))
    if lake.written_by(head) != wanted:
        raise fault(
            "properties of snapshots are not kept",
            f"{lake.JOB_ID}={wanted[0]}, {lake.CHECKPOINT_ID}=7",
            str(head.summary),
        )
    return "job and checkpoint stand in the summary of the snapshot"


def stale(at: CheckNamespace) -> str:
    table, root = at.begin("stale", BRANCH, OTHER_BRANCH)
    one, two = _commit(table, BRANCH), _commit(table, OTHER_BRANCH)
    with closing(at.reopen()) as other:
        before = other.load_table(table.name())
        first = _to(at.catalog.load_table(table.name()), root, one)
        at.catalog.commit_table(first.table, first.requirements, first.updates)
        late = _to(before, root, two)
        with suppress(CommitFailedException):
            other.commit_table(late.table, late.requirements, late.updates)
            raise fault(
                "a commit to a table that has changed since is taken",
                "it is refused: main was moved meanwhile",
                "it was done",
            )
    if (found := _main(at.seen(table))) != one:
        raise fault(
            "a commit that was refused moved main", f"main at snapshot {one}", f"snapshot {found}"
        )
    return "of two clients that read the same state the second is refused"


def overtaken(at: CheckNamespace) -> Answer:
    """Two jobs read one state, and commit each to its branch: the numbers of their snapshots are the table's."""
    table, root = at.begin("overtaken", BRANCH, OTHER_BRANCH, **{"commit.retry.num-retries": "0"})
    answer, malformed = "accepted, as if there had been no other commit", ""
    with closing(at.reopen()) as other:
        stale = other.load_table(table.name())
        _commit(table, BRANCH)
        try:
            _commit(stale, OTHER_BRANCH)
        except CONFLICTS:
            answer = "refused as one to repeat"
        except BadRequestError as e:
            answer, malformed = "refused as malformed (400, not 409)", lake.reason(e)
    if answer.startswith("refused"):
        _commit_until_done(at.catalog, table, OTHER_BRANCH)
    refs = at.seen(table).metadata.refs
    if root in (refs[BRANCH].snapshot_id, refs[OTHER_BRANCH].snapshot_id):
        raise fault(
            "a commit to one branch undoes that to another",
            f"{BRANCH} and {OTHER_BRANCH} at new snapshots",
            f"{refs}",
        )
    if malformed:
        return f"the second of two is {answer}: {malformed}", (
            "clients repeat only what is answered by 409: where the jobs of two attempts commit at the same moment, "
            "one of them fails and restarts from its last checkpoint"
        )
    return f"the second of two is {answer}"


def moved(at: CheckNamespace) -> str:
    table, root = at.begin("moved", BRANCH)
    head = _commit(table, BRANCH)
    for before, after in ((root, head), (head, root)):
        note = SetPropertiesUpdate(updates={"kappa.doctor": str(after)})
        move = partial(_move, at, table, before, after, note)
        commits.attempt(at.catalog, at.namespace, move, 0)
        seen = at.seen(table)
        if _main(seen) != after or seen.metadata.refs[BRANCH].snapshot_id != head:
            raise fault(
                "main cannot be moved to the snapshot of a branch",
                f"main at {after}, {BRANCH} at {head}",
                f"{seen.metadata.refs}",
            )
        if seen.properties.get("kappa.doctor") != str(after):
            raise fault(
                "a property is not set with main", f"kappa.doctor={after}", f"{seen.properties}"
            )
    return "main moved to a branch's snapshot and back, and a property with it"


def _move(
    at: CheckNamespace, table: Table, before: int, after: int, note: TableUpdate
) -> list[Change]:
    """`main` of the newest state of a table from one snapshot to another."""
    return [_to(at.catalog.load_table(table.name()), before, after, note)]


def together(at: CheckNamespace) -> Answer:
    tables = [at.begin(f"together_{n}", BRANCH) for n in (1, 2)]
    heads = [_commit(table, BRANCH) for table, _ in tables]
    roots = [root for _, root in tables]
    moves = [_to(t, root, head) for (t, root), head in zip(tables, heads, strict=True)]
    if not _refuses_as_a_whole(at, [moves[0], _to(tables[1][0], heads[1], heads[1])]):
        return "not offered", (
            "tables are published one by one, also after a crash, and readers may see two "
            f"checkpoints meanwhile: {READERS_RECIPE}"
        )
    if (found := [_main(at.seen(t)) for t, _ in tables]) != roots:
        raise fault(
            "a commit of several tables is not all or nothing",
            f"main at {roots} after a refusal",
            f"{found}",
        )
    _commit_all(at, moves)
    if (found := [_main(at.seen(t)) for t, _ in tables]) != heads:
        raise fault(
            "a commit of several tables did not move all of them", f"main at {heads}", f"{found}"
        )
    if lake.reads_at_once(at.catalog):
        return "one transaction moves all tables or none, and one question reads them all"
    return "one request moves all tables or none", (
        f"readers that load one table after the other may still see two checkpoints: {READERS_RECIPE}"
    )


def _refuses_as_a_whole(at: CheckNamespace, changes: Sequence[Change]) -> bool:
    """Whether changes of which one requires what is not so are refused; False where such a commit is not offered."""
    with suppress(CommitFailedException):
        if not _commit_all(at, changes):
            return False
        raise fault(
            "a commit of several tables is taken though one of them has changed",
            "it is refused as a whole",
            "it was done",
        )
    return True


def _commit_all(at: CheckNamespace, changes: Sequence[Change]) -> bool:
    """In one request; False where the catalog does not offer that, and nothing was changed."""
    if isinstance(at.catalog, SqlCatalog):
        commits.attempt(at.catalog, at.namespace, lambda: changes, 0)
        return True
    return (
        isinstance(at.catalog, RestCatalog)
        and rest_commits.may_offer(at.catalog)
        and rest_commits.commit(at.catalog, changes)
    )


def expired(at: CheckNamespace) -> str:
    table, root = at.begin("expired", BRANCH, OTHER_BRANCH)
    old, head = _commit(table, BRANCH), _commit(table, BRANCH)
    adrift = _commit(table, OTHER_BRANCH)
    table.manage_snapshots().remove_branch(OTHER_BRANCH).commit()
    update = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [old, adrift]})
    commits.attempt(
        at.catalog, at.namespace, lambda: [_change(at.catalog.load_table(table.name()), update)], 0
    )
    metadata = at.seen(table).metadata
    left = {s.snapshot_id for s in metadata.snapshots}
    if left != {root, head}:
        raise fault(
            "snapshots that no ref names are not removed alone",
            f"{old} and {adrift} removed, {root} and {head} kept",
            f"{sorted(left)} kept",
        )
    refs = {name: ref.snapshot_id for name, ref in metadata.refs.items()}
    if refs != {lake.MAIN: root, lake.GENESIS: root, BRANCH: head}:
        raise fault(
            "refs go with the snapshots of others",
            f"{lake.MAIN}, {lake.GENESIS} and {BRANCH}",
            f"{refs}",
        )
    return "snapshots that no ref names go when asked; main, tags and branches keep theirs"


def raced(at: CheckNamespace) -> str:
    branches = BRANCH, OTHER_BRANCH
    table, _ = at.begin("raced", *branches, **{"commit.retry.min-wait-ms": "1"})

    def write(branch: str) -> None:
        with closing(at.reopen()) as own:
            for checkpoint in range(1, RACE + 1):
                _commit_until_done(own, table, branch, checkpoint)

    with ThreadPoolExecutor(len(branches)) as threads:
        list(threads.map(write, branches))  # raises what one of them raised, when both have ended
    metadata = at.seen(table).metadata
    found = {
        b: {lake.written_by(s)[1] for s in lake.ancestors(metadata, b)} - {None} for b in branches
    }
    if any(numbers != set(range(1, RACE + 1)) for numbers in found.values()):
        raise fault("commits of clients at the same time get lost", f"{RACE} of each", f"{found}")
    return f"{RACE} commits of each of two clients at the same time are all there"


def _commit_until_done(
    catalog: Catalog, table: Table, branch: str, checkpoint: int = 1, attempts: int = 50
) -> None:
    for left in reversed(range(attempts)):
        try:
            _commit(catalog.load_table(table.name()), branch, checkpoint=checkpoint)
            return
        except (*CONFLICTS, BadRequestError, *database.LOST):
            if not left:
                raise


def _commit(table: Table, branch: str, job: str = "f" * 32, checkpoint: int = 1) -> int:
    """An empty commit, as a job makes it at each checkpoint; the new snapshot's id."""
    properties = {lake.JOB_ID: job, lake.CHECKPOINT_ID: str(checkpoint)}
    with (
        table.transaction() as transaction,
        transaction.update_snapshot(properties, branch=branch).fast_append(),
    ):
        pass
    return table.metadata.refs[branch].snapshot_id


def _to(table: Table, before: int, after: int, *more: TableUpdate) -> Change:
    """`main` from one snapshot to another."""
    move = SetSnapshotRefUpdate.model_validate(
        {"ref-name": lake.MAIN, "snapshot-id": after, "type": SnapshotRefType.BRANCH}
    )
    known = AssertRefSnapshotId.model_validate({"ref": lake.MAIN, "snapshot-id": before})
    return Change(table, (AssertTableUUID(uuid=table.metadata.table_uuid), known), (move, *more))


def _change(table: Table, update: TableUpdate) -> Change:
    return Change(table, (AssertTableUUID(uuid=table.metadata.table_uuid),), (update,))


def _main(table: Table) -> int:
    return table.metadata.refs[lake.MAIN].snapshot_id
