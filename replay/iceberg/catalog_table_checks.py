"""Checks of a catalog: namespaces, tables, their properties, refs, and what is left of a table that was dropped."""

from __future__ import annotations

from contextlib import closing, suppress

from pyiceberg.exceptions import ForbiddenError, NoSuchTableError, UnauthorizedError
from pyiceberg.table.refs import SnapshotRefType

from replay.errors import ConfigError, KappaError, RefusedError
from replay.iceberg import lake, table_changes
from replay.iceberg.catalog_ground import BRANCH, ROW, Answer, CheckNamespace, fault


def namespace(at: CheckNamespace) -> Answer:
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
            raise fault(
                "a namespace that was created is not there",
                at.namespace,
                "a new client does not find it",
            )
    return "one was created, and a new client sees it"


def tables(at: CheckNamespace) -> str:
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
        raise fault(
            "a table that was created is not listed",
            table.name()[-1],
            "a new client does not see it",
        )
    seen = at.seen(table)
    if seen.schema().as_struct() != table.schema().as_struct():
        raise fault("columns are not kept", str(table.schema()), str(seen.schema()))
    wanted = {k: v for k, v in table_changes.PROPERTIES.items() if k != "format-version"}
    lost = {k: v for k, v in wanted.items() if seen.properties.get(k) != v}
    if lost:
        raise fault(
            "properties of tables are not kept",
            ", ".join(f"{k}={v}" for k, v in lost.items()),
            ", ".join(f"{k}={seen.properties.get(k)}" for k in lost),
        )
    return "one was created, and a new client sees it with its columns and properties"


def refs(at: CheckNamespace) -> str:
    table, root = at.begin("refs", BRANCH)
    refs = at.seen(table).metadata.refs
    wanted = {lake.GENESIS: SnapshotRefType.TAG, BRANCH: SnapshotRefType.BRANCH}
    found = {
        name: refs[name].snapshot_ref_type
        for name in wanted
        if name in refs and refs[name].snapshot_id == root
    }
    if found != wanted:
        raise fault(
            "tags and branches are not kept",
            f"the tag {lake.GENESIS} and the branch {BRANCH}, just set",
            ", ".join(sorted(refs)) or "neither",
        )
    return "they are kept, and a new client sees them"


def dropped(at: CheckNamespace) -> str:
    table, _ = at.begin("dropped")
    table.append(ROW)
    at.drop(table.name()[-1])
    if table.name()[-1] in at.listed():
        raise fault("a table that was dropped is still listed", "nothing of it", table.name()[-1])
    with suppress(NoSuchTableError):
        at.seen(table)
        raise fault("a table that was dropped is still there", "no such table", table.name()[-1])
    again = at.seen(at.create("dropped"))
    if again.metadata.snapshots or again.metadata.table_uuid == table.metadata.table_uuid:
        raise fault(
            "a table that was dropped comes back under its name",
            "a new, empty table",
            f"{len(again.metadata.snapshots)} snapshots",
        )
    return "a table that was dropped with its files is gone, and its name is free"
