"""What Kappa relies on of an Iceberg catalog, as checks that anybody can run against their own.

Each check works on tables of its own, all in one namespace, which is removed at the end. `kappa doctor --catalog` runs
those that are safe beside products that are at work, and tests/catalogs runs all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Thread

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    ForbiddenError,
    NoSuchTableError,
    UnauthorizedError,
)
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
from replay.errors import ConfigError, KappaError, RefusedError
from replay.finding import Finding
from replay.iceberg import commits, lake, rest_commits, table_changes
from replay.iceberg.catalog_ground import CheckNamespace, ground, in_words
from replay.iceberg.commits import Change

READERS_RECIPE = "docs/production.md#reading-several-tables"
_BRANCH = "r1-a1"
_ROW = pa.table({"id": pa.array([1], pa.int64())})
_CONFLICTS = (CommitFailedException, ValueError)
"""A commit was overtaken: as a catalog says, or as PyIceberg finds itself when it applies an update."""
_RACE = 5
"""Commits of each of two clients at the same time."""
_ANOTHER = "choose another catalog in config.yaml, or another version of this one; then: kappa doctor --catalog"

Answer = str | tuple[str, str]
"""What was found; and what that means, if it is something else than what the check expects."""


@dataclass(frozen=True)
class Check:
    """One thing to rely on."""

    name: str
    expected: str
    means: str
    """What follows for products from its being so."""
    run: Callable[[CheckNamespace], Answer]
    """Raises KappaError when the catalog is not as expected."""
    safe: bool = True
    """Beside products that are at work: a few small commits, one after the other."""
    basic: bool = False
    """Without this there is nothing to be learned from the others."""


def examine(reopen: Callable[[], Catalog], namespace: str | None = None) -> list[Finding]:
    """What the safe checks find; whatever happens, what they made is removed."""
    with closing(reopen()) as catalog:
        at = ground(catalog, reopen, namespace)
        try:
            found = list(_findings(at, [c for c in CHECKS if c.safe]))
        except BaseException:
            for left in at.clear():
                if left.error:
                    raise left.error from None
            raise
        return [*found, *at.clear()]


def _findings(at: CheckNamespace, checks: Sequence[Check]) -> Iterator[Finding]:
    for check in checks:
        finding = result(check, at)
        yield finding
        if finding.error and check.basic:
            return


def result(check: Check, at: CheckNamespace) -> Finding:
    """Run one check."""
    try:
        with lake.catalog_errors():
            answer = check.run(at)
    except KappaError as e:
        return Finding(check.name, error=e)
    except Exception as e:  # noqa: BLE001  clients raise anything at answers that they do not understand
        return Finding(check.name, error=_fault(check.name, check.expected, in_words(e)))
    if isinstance(answer, tuple):
        return Finding(check.name, *answer, note=True)
    return Finding(check.name, answer, check.means)


def _fault(name: str, expected: str, found: str) -> RefusedError:
    return RefusedError(
        f"products cannot rely on this Iceberg catalog: {name}",
        expected=expected,
        found=found,
        next=_ANOTHER,
    )


# Namespaces and tables


def _namespace(at: CheckNamespace) -> Answer:
    if at.given:
        if not at.catalog.namespace_exists(at.namespace):
            raise ConfigError(
                "there is no such namespace",
                expected="an existing one, made for these checks",
                found=at.namespace,
                next="create it, or leave out --namespace",
            )
        return (
            f"{at.namespace} is there",
            "it stays, and the checks keep to tables of their own in it",
        )
    try:
        at.make_namespace()
    except (ForbiddenError, UnauthorizedError, RefusedError) as e:
        raise RefusedError(
            "this role may not create namespaces, so nothing else was examined",
            expected="the right to create a namespace for each product, or namespaces that an administrator creates",
            found=e.found if isinstance(e, KappaError) else lake.reason(e),
            next="have a namespace made for these checks, then: kappa doctor --catalog --namespace NAME",
        ) from e
    with closing(at.reopen()) as other:
        if not other.namespace_exists(at.namespace):
            raise _fault(
                "a namespace that was created is not there",
                at.namespace,
                "a new client does not find it",
            )
    return "one was created, and a new client sees it"


def _tables(at: CheckNamespace) -> str:
    try:
        table = at.create("tables")
    except (ForbiddenError, UnauthorizedError) as e:
        raise RefusedError(
            f"this role may not create tables in namespace {at.namespace}",
            expected="the right to create, change and drop tables",
            found=lake.reason(e),
            next="grant it, then: kappa doctor --catalog",
        ) from e
    if table.name()[-1] not in at.listed():
        raise _fault(
            "a table that was created is not listed",
            table.name()[-1],
            "a new client does not see it",
        )
    seen = at.seen(table)
    if seen.schema().as_struct() != table.schema().as_struct():
        raise _fault("columns are not kept", str(table.schema()), str(seen.schema()))
    lost = {
        k: v
        for k, v in table_changes.PROPERTIES.items()
        if k != "format-version" and seen.properties.get(k) != v
    }
    if lost:
        raise _fault(
            "properties of tables are not kept",
            ", ".join(f"{k}={v}" for k, v in lost.items()),
            ", ".join(f"{k}={seen.properties.get(k)}" for k in lost),
        )
    return "one was created, and a new client sees it with its columns and properties"


def _refs(at: CheckNamespace) -> str:
    table, root = at.begin("refs", _BRANCH)
    refs = at.seen(table).metadata.refs
    wanted = {lake.GENESIS: SnapshotRefType.TAG, _BRANCH: SnapshotRefType.BRANCH}
    found = {
        name: refs[name].snapshot_ref_type
        for name in wanted
        if name in refs and refs[name].snapshot_id == root
    }
    if found != wanted:
        raise _fault(
            "tags and branches are not kept",
            f"the tag {lake.GENESIS} and the branch {_BRANCH}, just set",
            ", ".join(sorted(refs)) or "neither",
        )
    return "they are kept, and a new client sees them"


def _dropped(at: CheckNamespace) -> str:
    table, _ = at.begin("dropped")
    table.append(_ROW)
    at.drop(table.name()[-1])
    if table.name()[-1] in at.listed():
        raise _fault("a table that was dropped is still listed", "nothing of it", table.name()[-1])
    with suppress(NoSuchTableError):
        at.seen(table)
        raise _fault("a table that was dropped is still there", "no such table", table.name()[-1])
    again = at.seen(at.create("dropped"))
    if again.metadata.snapshots or again.metadata.table_uuid == table.metadata.table_uuid:
        raise _fault(
            "a table that was dropped comes back under its name",
            "a new, empty table",
            f"{len(again.metadata.snapshots)} snapshots",
        )
    return "a table that was dropped with its files is gone, and its name is free"


# Commits


def _append(at: CheckNamespace) -> str:
    table, root = at.begin("append", _BRANCH)
    table.append(_ROW, branch=_BRANCH)
    seen = at.seen(table)
    refs = {name: ref.snapshot_id for name, ref in seen.metadata.refs.items()}
    if refs[lake.MAIN] != root:
        raise _fault(
            "an append to a branch moved main",
            f"main at snapshot {root}",
            f"snapshot {refs[lake.MAIN]}",
        )
    if refs[_BRANCH] == root or refs[lake.GENESIS] != root:
        raise _fault(
            "an append to a branch did not move the branch alone",
            f"{_BRANCH} at a new snapshot",
            f"{refs}",
        )
    rows = [seen.scan(snapshot_id=refs[name]).to_arrow().num_rows for name in (lake.MAIN, _BRANCH)]
    if rows != [0, 1]:
        raise _fault(
            "rows of a branch cannot be read apart from main",
            "0 rows on main and 1 on the branch",
            f"{rows}",
        )
    return "main stays where it was, and the row is on the branch alone"


def _summaries(at: CheckNamespace) -> str:
    table, _ = at.begin("summaries", _BRANCH)
    wanted = "f" * 32, 7
    _commit(table, _BRANCH, *wanted)
    head = next(lake.ancestors(at.seen(table).metadata, _BRANCH))
    if lake.written_by(head) != wanted:
        raise _fault(
            "properties of snapshots are not kept",
            f"{lake.JOB_ID}={wanted[0]}, {lake.CHECKPOINT_ID}=7",
            str(head.summary),
        )
    return "job and checkpoint stand in the summary of the snapshot"


def _stale(at: CheckNamespace) -> str:
    table, root = at.begin("stale", _BRANCH, "r2-a1")
    one, two = _commit(table, _BRANCH), _commit(table, "r2-a1")
    with closing(at.reopen()) as other:
        stale = other.load_table(table.name())
        first = _to(at.catalog.load_table(table.name()), root, one)
        at.catalog.commit_table(first.table, first.requirements, first.updates)
        late = _to(stale, root, two)
        with suppress(CommitFailedException):
            other.commit_table(late.table, late.requirements, late.updates)
            raise _fault(
                "a commit to a table that has changed since is taken",
                "it is refused: main was moved meanwhile",
                "it was done",
            )
    if (found := _main(at.seen(table))) != one:
        raise _fault(
            "a commit that was refused moved main", f"main at snapshot {one}", f"snapshot {found}"
        )
    return "of two clients that read the same state the second is refused"


def _overtaken(at: CheckNamespace) -> Answer:
    """Two jobs read one state, and commit each to its branch: the numbers of their snapshots are the table's."""
    table, root = at.begin("overtaken", _BRANCH, "r2-a1", **{"commit.retry.num-retries": "0"})
    answer, malformed = "accepted, as if there had been no other commit", ""
    with closing(at.reopen()) as other:
        stale = other.load_table(table.name())
        _commit(table, _BRANCH)
        try:
            _commit(stale, "r2-a1")
        except _CONFLICTS:
            answer = "refused as one to repeat"
        except BadRequestError as e:
            answer, malformed = "refused as malformed (400, not 409)", lake.reason(e)
    if answer.startswith("refused"):
        _commit_until_done(at.catalog, table, "r2-a1")
    refs = at.seen(table).metadata.refs
    if root in (refs[_BRANCH].snapshot_id, refs["r2-a1"].snapshot_id):
        raise _fault(
            "a commit to one branch undoes that to another",
            f"{_BRANCH} and r2-a1 at new snapshots",
            f"{refs}",
        )
    if malformed:
        return f"the second of two is {answer}: {malformed}", (
            "clients repeat only what is answered by 409: where the jobs of two attempts commit at the same moment, "
            "one of them fails and restarts from its last checkpoint"
        )
    return f"the second of two is {answer}"


def _moved(at: CheckNamespace) -> str:
    table, root = at.begin("moved", _BRANCH)
    head = _commit(table, _BRANCH)
    for before, after in ((root, head), (head, root)):
        note = SetPropertiesUpdate(updates={"kappa.doctor": str(after)})
        commits.attempt(
            at.catalog,
            at.namespace,
            lambda b=before, a=after, n=note: [  # type: ignore[misc]
                _to(at.catalog.load_table(table.name()), b, a, n)
            ],
            0,
        )
        seen = at.seen(table)
        if _main(seen) != after or seen.metadata.refs[_BRANCH].snapshot_id != head:
            raise _fault(
                "main cannot be moved to the snapshot of a branch",
                f"main at {after}, {_BRANCH} at {head}",
                f"{seen.metadata.refs}",
            )
        if seen.properties.get("kappa.doctor") != str(after):
            raise _fault(
                "a property is not set with main", f"kappa.doctor={after}", f"{seen.properties}"
            )
    return "main moved to a branch's snapshot and back, and a property with it"


def _together(at: CheckNamespace) -> Answer:
    tables = [at.begin(f"together_{n}", _BRANCH) for n in (1, 2)]
    heads = [_commit(table, _BRANCH) for table, _ in tables]
    roots = [root for _, root in tables]
    with suppress(CommitFailedException):
        # The second requires of main what is not so.
        if not _commit_all(
            at,
            [
                _to(t, before, head)
                for (t, _), before, head in zip(tables, [roots[0], heads[1]], heads, strict=True)
            ],
        ):
            return "not offered", (
                "tables are published one by one, also after a crash, and readers may see two "
                f"checkpoints meanwhile: {READERS_RECIPE}"
            )
        raise _fault(
            "a commit of several tables is taken though one of them has changed",
            "it is refused as a whole",
            "it was done",
        )
    if (found := [_main(at.seen(t)) for t, _ in tables]) != roots:
        raise _fault(
            "a commit of several tables is not all or nothing",
            f"main at {roots} after a refusal",
            f"{found}",
        )
    _commit_all(at, [_to(t, root, head) for (t, root), head in zip(tables, heads, strict=True)])
    if (found := [_main(at.seen(t)) for t, _ in tables]) != heads:
        raise _fault(
            "a commit of several tables did not move all of them", f"main at {heads}", f"{found}"
        )
    if lake.reads_at_once(at.catalog):
        return "one transaction moves all tables or none, and one question reads them all"
    return "one request moves all tables or none", (
        f"readers that load one table after the other may still see two checkpoints: {READERS_RECIPE}"
    )


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


def _expired(at: CheckNamespace) -> str:
    table, root = at.begin("expired", _BRANCH, "r2-a1")
    old, head = _commit(table, _BRANCH), _commit(table, _BRANCH)
    adrift = _commit(table, "r2-a1")
    table.manage_snapshots().remove_branch("r2-a1").commit()
    update = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [old, adrift]})
    commits.attempt(
        at.catalog, at.namespace, lambda: [_change(at.catalog.load_table(table.name()), update)], 0
    )
    metadata = at.seen(table).metadata
    left = {s.snapshot_id for s in metadata.snapshots}
    if left != {root, head}:
        raise _fault(
            "snapshots that no ref names are not removed alone",
            f"{old} and {adrift} removed, {root} and {head} kept",
            f"{sorted(left)} kept",
        )
    refs = {name: ref.snapshot_id for name, ref in metadata.refs.items()}
    if refs != {lake.MAIN: root, lake.GENESIS: root, _BRANCH: head}:
        raise _fault(
            "refs go with the snapshots of others",
            f"{lake.MAIN}, {lake.GENESIS} and {_BRANCH}",
            f"{refs}",
        )
    return "snapshots that no ref names go when asked; main, tags and branches keep theirs"


def _raced(at: CheckNamespace) -> str:
    branches = _BRANCH, "r2-a1"
    table, _ = at.begin("raced", *branches, **{"commit.retry.min-wait-ms": "1"})
    errors: list[Exception] = []

    def write(branch: str) -> None:
        try:
            with closing(at.reopen()) as own:
                for checkpoint in range(1, _RACE + 1):
                    _commit_until_done(own, table, branch, checkpoint)
        except Exception as e:  # noqa: BLE001  raised again where the check is
            errors.append(e)

    threads = [Thread(target=write, args=[b]) for b in branches]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    metadata = at.seen(table).metadata
    found = {
        b: {lake.written_by(s)[1] for s in lake.ancestors(metadata, b)} - {None} for b in branches
    }
    if any(numbers != set(range(1, _RACE + 1)) for numbers in found.values()):
        raise _fault("commits of clients at the same time get lost", f"{_RACE} of each", f"{found}")
    return f"{_RACE} commits of each of two clients at the same time are all there"


def _commit_until_done(
    catalog: Catalog, table: Table, branch: str, checkpoint: int = 1, attempts: int = 50
) -> None:
    for left in reversed(range(attempts)):
        try:
            _commit(catalog.load_table(table.name()), branch, checkpoint=checkpoint)
            return
        except (*_CONFLICTS, BadRequestError, *database.LOST):
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


CHECKS = (
    Check(
        "namespace",
        "a namespace that is kept",
        "each product has one of its own",
        _namespace,
        basic=True,
    ),
    Check(
        "tables",
        "tables that are kept as they were created",
        "each output of a product is one",
        _tables,
        basic=True,
    ),
    Check(
        "branches and tags",
        "branches and tags that are kept",
        "each attempt writes to a branch of its own",
        _refs,
        basic=True,
    ),
    Check(
        "append to a branch",
        "main stays where it is",
        "readers do not see what a replay writes",
        _append,
    ),
    Check(
        "snapshot properties",
        "properties of snapshots are kept",
        "the tables of a job can be compared at one checkpoint",
        _summaries,
    ),
    Check(
        "stale commits",
        "a commit that others have overtaken is refused",
        "controllers, jobs and people cannot overwrite what they have not seen",
        _stale,
    ),
    Check(
        "commits to two branches",
        "both are done, the overtaken one when it is repeated",
        "a replay and the live job write to the same tables at the same time",
        _overtaken,
    ),
    Check(
        "moving main",
        "main is moved to a branch's snapshot",
        "a switch and a rollback only move refs",
        _moved,
    ),
    Check(
        "several tables at once",
        "all tables are moved, or none",
        "readers see one checkpoint of a product, also while it is switched over",
        _together,
    ),
    Check(
        "expired snapshots",
        "snapshots that no ref names are removed, and no others",
        "old snapshots are removed, and what readers and jobs need stays",
        _expired,
    ),
    Check(
        "commits at the same time",
        "none of them is lost",
        "jobs and the controller commit to the same tables",
        _raced,
        safe=False,
    ),
    Check(
        "dropped tables",
        "nothing is left of a table",
        "kappa remove leaves nothing behind",
        _dropped,
    ),
)
"""In the order in which they make sense."""
