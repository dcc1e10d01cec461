"""Creating the product's Iceberg tables, and changing them so that every live release can go on writing to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from itertools import count

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.table.update import AssertTableUUID
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.transforms import IdentityTransform, parse_transform

from jobs.product import column_types
from jobs.product.folder import Product
from jobs.product.layout import Layout
from replay.errors import RefusedError
from replay.iceberg import commits, files, lake
from replay.iceberg.commits import Fence
from replay.iceberg.product_types import layout_of, product_type
from replay.iceberg.table_types import iceberg_schema, table_type, to_iceberg
from replay.iceberg.type_changes import Change, Difference, Path, differences, parts, words

PROPERTIES = {
    "format-version": "2",
    # A snapshot at every checkpoint, also an empty one: else the tables of one job cannot be aligned.
    "flink.max-continuous-empty-commits": "1",
    # The publisher and several jobs commit to one table; with the default of 4 retries a job's commit may fail.
    "commit.retry.num-retries": "20",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.parquet.compression-codec": "zstd",
}


def ensure(catalog: Catalog, product: Product, *, resume: bool = False) -> None:
    """Create what is missing: namespace, tables, the empty snapshot tagged `genesis`; add columns and widen types.

    A partition spec and a sort order are the table's: an attempt that reads the log from its beginning brings those of
    its release. One that goes on from a checkpoint (`resume`) takes the table as it is.
    """
    wanted = {
        table: (iceberg_schema(product, table), layout_of(product, table))
        for table in product.outputs
    }
    with lake.catalog_errors():
        _make_namespace(catalog, product.name)
        existing = lake.pointers(catalog, product.name)
        for name, (schema, laid_out) in wanted.items():
            if name not in existing:
                # asked first: a refused creation leaves its metadata file behind
                with suppress(TableAlreadyExistsError):
                    # Its sort order comes later: pyiceberg could not take it from a table that was made with one.
                    catalog.create_table(
                        (product.name, name),
                        schema,
                        partition_spec=_spec(schema, laid_out),
                        properties={**PROPERTIES, **_writing(laid_out)},
                    )
            lake.commit(catalog, (product.name, name), begin)
            _refuse_forgetful(catalog, product.name, name)
            lake.commit(catalog, (product.name, name), lambda t, s=schema: _expand(t, product, s))  # type: ignore[misc]
            if not resume:
                lake.commit(catalog, (product.name, name), lambda t, w=laid_out: _lay_out(t, w))  # type: ignore[misc]


def _make_namespace(catalog: Catalog, name: str) -> None:
    """Create the namespace unless it exists: a role that may not create namespaces can use an existing one."""
    if not catalog.namespace_exists(name):
        with suppress(NamespaceAlreadyExistsError):
            catalog.create_namespace(name)


def begin(table: Table) -> None:
    """Give a new table its empty first snapshot and the tag; a crash between the two is made good here."""
    if lake.GENESIS in table.metadata.refs:
        return
    current = table.current_snapshot()
    if current is None:
        with table.transaction() as transaction, transaction.update_snapshot().fast_append():
            pass  # not table.append(): that cannot write to buckets, not even no rows
        current = table.current_snapshot()
    assert current is not None
    rows = current.summary.additional_properties.get("total-records") if current.summary else None
    if rows != "0":
        raise RefusedError(
            f"table {'.'.join(table.name())} was not made by kappa and holds rows",
            expected=f"an empty table, or one with the tag {lake.GENESIS}",
            found=f"{rows} rows on main",
            next="name the product or the output differently, or drop that table",
        )
    table.manage_snapshots().create_tag(current.snapshot_id, lake.GENESIS).commit()


def _refuse_forgetful(catalog: Catalog, product: str, table: str) -> None:
    """A catalog may take branches and tags and forget them: then what a job writes to its branch is on `main`."""
    if lake.GENESIS not in catalog.load_table((product, table)).metadata.refs:
        raise RefusedError(
            "this Iceberg catalog does not keep tags and branches",
            found="the tag is gone again",
            expected=f"the tag {lake.GENESIS} in table {product}.{table}, which was just set",
            next="choose another catalog in config.yaml: each attempt writes to a branch of its own",
        )


# Columns


def _expand(table: Table, product: Product, schema: Schema) -> None:
    """Add new columns and fields, and widen types; whatever a running older release could not bear is refused.

    What a later release has added or widened stays: an older one writes NULL there, and its values into the wider type.
    """
    have, wanted = table_type(table.schema()), product_type(product, table.name()[-1])
    found = list(differences(have, wanted))
    taken = {
        f.name.lower(): f.name
        for spec in table.specs().values()
        for f in spec.fields
        if not isinstance(f.transform, IdentityTransform)
    }
    for difference in found:
        _refuse(table, difference, taken)
    docs = {f.name: f.doc for f in schema.fields}
    with table.update_schema() as update:
        for difference in found:
            _apply(update, difference, docs)


def _refuse(table: Table, difference: Difference, partitions: Mapping[str, str]) -> None:
    path = difference.path
    name = f"column {words(path)} of table {'.'.join(table.name())}"
    if (
        difference.breaks
        and difference.old
        and (there := _by_case(table_type(table.schema()), path))
    ):
        raise RefusedError(
            f"{name} differs from {there} only by case, which many readers do not see",
            expected=f"{there}, or a name of its own",
            found=path[-1],
            next="give the column a new name in the SELECT",
        )
    if difference.breaks:
        raise RefusedError(
            f"{name} cannot change its type",
            expected=f"{difference.old}, or a wider type",
            found=str(difference.new),
            next="give the column, or the output, a new name in the SELECT",
        )
    if (
        difference.change is Change.added
        and len(path) == 1
        and (field := partitions.get(path[0].lower()))
    ):
        raise RefusedError(
            f"{name} has the name of a partition of it",
            expected="another name",
            found=f"partition {field}",
            next="give the column a new name in the SELECT",
        )


def _by_case(have: column_types.Row, path: Path) -> str | None:
    """The field of the same parent whose name differs only by case."""
    parent: column_types.Type = have
    for step in path[:-1]:
        match parent:
            case column_types.Row(fields):
                parent = next(f.type for f in fields if f.name == step)
            case column_types.Array(element):
                parent = element
            case column_types.Map(_, value):
                parent = value
    if not isinstance(parent, column_types.Row):
        return None
    return next(
        (
            f.name
            for f in parent.fields
            if f.name.lower() == path[-1].lower() and f.name != path[-1]
        ),
        None,
    )


def _apply(update: UpdateSchema, difference: Difference, docs: Mapping[str, str | None]) -> None:
    match difference.change:
        case Change.added:
            assert difference.new is not None
            doc = docs.get(difference.path[0]) if len(difference.path) == 1 else None
            update.add_column(difference.path, to_iceberg(difference.new, count(1)), doc=doc)
        case Change.widened:
            assert difference.new is not None
            update.update_column(difference.path, to_iceberg(difference.new, count(1)))


def drop_columns(
    catalog: Catalog, product_name: str, written: Mapping[str, Collection[Path]], fence: Fence
) -> Mapping[str, tuple[str, ...]]:
    """Drop the columns and fields of each table that are not written; table → those dropped.

    To be called with all that any live release writes (`type_changes.parts`). `fence` raises when that is no longer
    known; a new attempt makes its branch, so a commit that was prepared before is compared with a table that is gone.
    Iceberg forgets only the name: no file is rewritten, older snapshots still show them, and a column of the same name
    added later begins empty. A column that files are, or were, partitioned or sorted by stays: the table's metadata
    names it for them.
    """
    dropped: dict[str, tuple[str, ...]] = {}

    def drop(name: str) -> list[commits.Change]:
        dropped.pop(name, None)
        table = lake.load_tables(catalog, product_name, [name])[name]
        unwanted = [p for p in parts(table_type(table.schema())) if p not in written[name]]
        laid_out = _laid_out_by(table.metadata)
        going = [p for p in unwanted if p[:-1] not in unwanted and p[0] not in laid_out]
        if not going:
            return []
        dropped[name] = tuple(map(words, going))
        update = table.update_schema()
        for path in going:
            update.delete_column(path)
        updates, requirements = update._commit()
        return [
            commits.Change(
                table, (AssertTableUUID(uuid=table.metadata.table_uuid), *requirements), updates
            )
        ]

    for name in lake.pointers(catalog, product_name).keys() & written.keys():
        with lake.catalog_errors():
            commits.commit(catalog, product_name, partial(drop, name), fence=fence)
    return dropped


def _laid_out_by(metadata: TableMetadata) -> set[str]:
    """Columns that a partition spec or a sort order names, also one that is not in use any more."""
    ids = {f.source_id for spec in metadata.partition_specs for f in spec.fields}
    ids |= {f.source_id for order in metadata.sort_orders for f in order.fields}
    return {f.name for f in metadata.schema().fields if f.field_id in ids}


# Partition spec and sort order


def _spec(schema: Schema, wanted: Layout) -> PartitionSpec:
    return PartitionSpec(
        *(
            PartitionField(
                schema.find_field(f.column).field_id, 1000 + i, parse_transform(f.iceberg), f.name
            )
            for i, f in enumerate(wanted.partition)
        )
    )


def _order(schema: Schema, wanted: Layout) -> SortOrder:
    fields = [
        SortField(
            source_id=schema.find_field(key.column).field_id,
            transform=IdentityTransform(),
            direction=SortDirection.DESC if key.descending else SortDirection.ASC,
            null_order=NullOrder.NULLS_LAST if key.descending else NullOrder.NULLS_FIRST,
        )
        for key in wanted.sort
    ]
    return SortOrder(*fields, order_id=1 if fields else 0)


def _writing(wanted: Layout) -> dict[str, str]:
    """How the job writes: with partitions, a writer has a file open for each one that a checkpoint touches.

    So each partition is one writer's, and a file takes little memory: Parquet sets a page aside for each. With pages of
    the usual 1 MB, 2,000 files did not fit into a heap of 512 MB; with 64 kB they did.
    """
    partitioned = bool(wanted.partition)
    return {
        "write.distribution-mode": "hash" if partitioned else "none",
        "write.parquet.page-size-bytes": str(64 * 1024 if partitioned else 1024 * 1024),
    }


def _lay_out(table: Table, wanted: Layout) -> None:
    """Give the table this partition spec and sort order. Files keep the spec they were written with, and so do jobs."""
    schema = table.schema()
    have = {(f.source_id, str(f.transform)): f.name for f in table.spec().fields}
    spec = {(schema.find_field(f.column).field_id, f.iceberg): f for f in wanted.partition}
    order = _order(schema, wanted)
    if have.keys() == spec.keys() and table.sort_order().fields == order.fields:
        return
    with table.transaction() as transaction:
        if have.keys() != spec.keys():
            with transaction.update_spec() as update:
                for key in have.keys() - spec.keys():
                    update.remove_field(have[key])
                for key, field in spec.items():
                    if key not in have:
                        update.add_field(field.column, parse_transform(field.iceberg), field.name)
            transaction.set_properties(_writing(wanted))
        if table.sort_order().fields != order.fields:
            with transaction.update_sort_order() as sorting:
                for by in wanted.sort:
                    if by.descending:
                        sorting.desc(by.column, IdentityTransform(), NullOrder.NULLS_LAST)
                    else:
                        sorting.asc(by.column, IdentityTransform(), NullOrder.NULLS_FIRST)


def drop_table(catalog: Catalog, identifier: tuple[str, str], location: str) -> None:
    """Drop a table, whose metadata is there, with its files; one that is gone is as it should be."""
    if isinstance(catalog, SqlCatalog):
        if folder := location.rpartition("/metadata/")[0]:
            files.delete_below(load_file_io(catalog.properties, location), folder)
        drop = catalog.drop_table
    else:
        drop = catalog.purge_table
    with suppress(NoSuchTableError):
        drop(identifier)
