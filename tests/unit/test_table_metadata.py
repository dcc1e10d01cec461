"""Metadata files that are read with the help of the one before are what they are without."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import ValidationError
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil
from pyiceberg.table.update import SetSnapshotRefUpdate
from pyiceberg.types import LongType

from replay.iceberg import commits, lake, table_metadata
from replay.iceberg.commits import Change


@pytest.fixture
def table(catalog: Catalog) -> Table:
    catalog.create_namespace("shop")
    made = catalog.create_table("shop.orders", pa.schema([("n", pa.int64())]))
    made.append(pa.table({"n": [1]}))
    return made


def alone(table: Table) -> TableMetadata:
    return FromInputFile.table_metadata(table.io.new_input(table.metadata_location))


def after(table: Table, before: TableMetadata) -> TableMetadata:
    return table_metadata.read(table.io.new_input(table.metadata_location), before)


def test_every_kind_of_change_is_seen(table: Table) -> None:
    before = alone(table)
    one = before.snapshots[0]
    table.append(pa.table({"n": [2]}))
    found = after(table, before)
    assert found == alone(table)
    assert found.model_dump_json() == alone(table).model_dump_json()
    assert found.snapshots[0] is one
    with table.update_schema() as update:
        update.add_column("m", LongType())
    table.manage_snapshots().create_branch(one.snapshot_id, "r1-a1").commit()
    table.manage_snapshots().set_current_snapshot(snapshot_id=one.snapshot_id).commit()
    assert after(table, before) == after(table, found) == alone(table)
    table.maintenance.expire_snapshots().by_id(found.snapshots[1].snapshot_id).commit()
    assert [s.snapshot_id for s in after(table, found).snapshots] == [one.snapshot_id]
    assert after(table, found) == alone(table)


def test_a_table_that_was_made_again_has_no_snapshots_of_the_one_before(
    catalog: Catalog, table: Table
) -> None:
    before = alone(table)
    catalog.drop_table("shop.orders")
    again = catalog.create_table("shop.orders", pa.schema([("n", pa.int64())]))
    assert after(again, before) == alone(again)
    again.append(pa.table({"n": [7]}))
    found = after(again, before)
    assert found == alone(again)
    assert before.snapshots[0] not in found.snapshots


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        "[]",
        "{}",
        '{"snapshots": 7}',
        '{"snapshots": [7]}',
        '{"snapshots": [{"snapshot-id": [1]}]}',
        '{"snapshots": [{"snapshot-id": 1}]}',
    ],
)
def test_what_is_no_metadata_is_an_error_as_without(text: str, table: Table) -> None:
    with pytest.raises((ValueError, ValidationError)):
        TableMetadataUtil.parse_raw(text)
    with pytest.raises((ValueError, ValidationError)):
        table_metadata.parse(text.encode(), alone(table))


def test_what_was_committed_here_is_not_read_again(
    catalog: Catalog, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = (
        table.manage_snapshots()
        .create_branch(table.metadata.snapshots[0].snapshot_id, "r1-a1")
        ._updates
    )
    commits.commit(
        catalog, "shop", lambda: [Change(catalog.load_table("shop.orders"), (), updates)]
    )
    location = catalog.load_table("shop.orders").metadata_location
    assert Path(location.removeprefix("file://")).exists()
    monkeypatch.setattr(lake, "_read_metadata", lambda *_: pytest.fail("it is known"))
    known = lake.read_metadata(catalog, location)
    assert known == FromInputFile.table_metadata(table.io.new_input(location))
    assert "r1-a1" in known.refs


def test_what_is_left_out_of_a_change_is_in_what_it_makes(catalog: Catalog, table: Table) -> None:
    one = table.metadata.snapshots[0].snapshot_id
    table.append(pa.table({"n": [2]}))
    update = SetSnapshotRefUpdate.model_validate(
        {"ref-name": "main", "snapshot-id": one, "type": "branch"}
    )
    before = catalog.load_table("shop.orders")
    for needs in (None, frozenset({one})):
        staged = commits._stage(
            cast(SqlCatalog, catalog), Change(before, (), (update,), needs)
        ).metadata
        assert staged.snapshots == before.metadata.snapshots
        assert staged.current_snapshot_id == one
        was = [e.snapshot_id for e in before.metadata.snapshot_log]
        assert [e.snapshot_id for e in staged.snapshot_log] == [*was, one]
        assert staged.snapshot_log[:-1] == before.metadata.snapshot_log
