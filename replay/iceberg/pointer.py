"""What readers of several tables read first: the snapshots of all tables that belong together.

It is a property of `rejects`, which every product has and which is the last table of a publication, and it is set by
the commit that moves `main` of that table. The snapshots that it names are there before it is, so a reader of the
property, and then of the tables at these snapshots, sees one checkpoint, also while tables are published one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import SetPropertiesUpdate, TableUpdate

from jobs.product.model import REJECTS

TABLE = REJECTS
PROPERTY = "kappa.published"


def text(snapshots: Mapping[str, int], job: str | None, checkpoint: int | None) -> str:
    """The value of the property, for these snapshots (table → snapshot id) of a checkpoint of a job."""
    return json.dumps({"checkpoint": checkpoint, "job": job, "snapshots": dict(snapshots)})


def setting(metadata: TableMetadata, value: str) -> tuple[TableUpdate, ...]:
    """What sets the property, unless it is so already."""
    return (
        ()
        if metadata.properties.get(PROPERTY) == value
        else (SetPropertiesUpdate(updates={PROPERTY: value}),)
    )


def read(metadata: TableMetadata) -> Mapping[str, int]:
    """Table → snapshot id; empty where nothing says it, or something else than a publication moved `main` since."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        found = {
            str(table): int(id)
            for table, id in json.loads(metadata.properties[PROPERTY])["snapshots"].items()
        }
        if found.get(TABLE) == metadata.current_snapshot_id:
            return found
    return {}
