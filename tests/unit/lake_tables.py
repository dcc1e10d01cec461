"""A small product with real Iceberg tables in a SQL catalog; `sink` commits to a branch as Flink's sink does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import _dataframe_to_data_files, schema_to_pyarrow
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _OverwriteFiles
from sqlalchemy.exc import OperationalError

from jobs.product.folder import Product
from jobs.product.model import REJECTS, Column, Output, Resolved
from jobs.product.settings import ProductSettings
from replay.iceberg import lake
from replay.iceberg import publish as publishing
from replay.iceberg.commits import no_fence
from replay.settings import Settings
from tests.object_store import ObjectStore

JOB = "a" * 32

COLUMNS = {
    "orders": (
        ("id", "INT"),
        ("day", "DATE"),
        ("amount", "DOUBLE"),
        ("log_partition", "INT"),
        ("log_offset", "BIGINT"),
    ),
    "totals": (("day", "DATE"), ("amount", "DOUBLE")),
    "rejects": (
        ("log_topic", "STRING"),
        ("log_partition", "INT"),
        ("log_offset", "BIGINT"),
        ("appended", "TIMESTAMP_LTZ(6)"),
        ("reason", "STRING"),
        ("payload", "BYTES"),
    ),
}


def make_settings(
    home: Path, folder: str = "", storage: Mapping[str, str] | None = None
) -> Settings:
    """Settings whose catalog and store are SQLite below `home`, or the database that the file `home/database` names;
    files are there too, or below the URI `folder`."""
    (home / "lake").mkdir(parents=True, exist_ok=True)
    files = folder or f"file://{home}"
    file = home / "database"
    database = file.read_text() if file.exists() else ""
    return Settings.model_validate(
        {
            "home": home,
            "kafka": {"bootstrap.servers": "127.0.0.1:1"},
            "registry": "http://127.0.0.1:1",
            "flink": {
                "rest": "http://127.0.0.1:1",
                "home": home / "flink",
                "checkpoints": f"{files}/checkpoints",
            },
            "catalog": {
                "flink": {},
                "pyiceberg": {
                    "type": "sql",
                    "uri": database or f"sqlite:///{home}/lake/catalog.db",
                    "warehouse": f"{files}/lake/warehouse",
                },
            },
            "storage": dict(storage or {}),
            "store": database or f"sqlite:///{home}/store.db",
            "secrets": home / "secrets",
        }
    )


def make_rest_settings(home: Path, store: ObjectStore) -> Settings:
    """The same with the REST catalog of an object store."""
    made = make_settings(home, storage=store.properties)
    return made.model_copy(
        update={"catalog": made.catalog.model_copy(update={"pyiceberg": store.catalog})}
    )


def make_product(
    folder: Path,
    *,
    columns: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    **outputs: dict[str, Any],
) -> Product:
    """Events `orders`, in SQL `placed`, dimension `shops`, reference `colours`; tables orders, totals, rejects.

    `outputs`: what the planner says of some of them besides their columns.
    """
    columns = columns or COLUMNS
    settings = ProductSettings.model_validate(
        {
            "name": "shop",
            "topics": {
                "placed": {
                    "topic": "orders",
                    "time": "ordered_at",
                    "allowed_lateness": "1h",
                    "identity": ["id", "day"],
                },
                "shops": {"role": "dimension", "time": "opened_at", "allowed_lateness": "10min"},
                "colours": {"role": "reference"},
            },
            "outputs": [name for name in columns if name != REJECTS],
        }
    )
    said: dict[str, dict[str, Any]] = {
        "orders": {"kind": "rows", "of": ("orders",)},
        REJECTS: {"kind": "rejects"},
    }
    return Product(
        folder=folder,
        settings=settings,
        resolved=Resolved(
            longest_wait=60,
            outputs={
                name: Output.model_validate(
                    {
                        "kind": "aggregate",
                        **said.get(name, {}),
                        **outputs.get(name, {}),
                        "select": f"SELECT … {name}",
                        "columns": [Column(name=n, type=y, required=n == "id") for n, y in c],
                    }
                )
                for name, c in columns.items()
            },
        ),
    )


def sink(
    catalog: Catalog,
    table: str,
    branch: str,
    checkpoint: int,
    rows: Sequence[dict[str, Any]] = (),
    *,
    job_id: str = JOB,
    namespace: str = "shop",
) -> int:
    """Append to a branch as Flink's sink does at a checkpoint, again after a conflict; the new snapshot's id."""
    while True:
        loaded = catalog.load_table((namespace, table))
        schema = schema_to_pyarrow(loaded.schema(), include_field_ids=False)
        try:
            loaded.append(
                pa.Table.from_pylist(list(rows), schema=schema),
                branch=branch,
                snapshot_properties={lake.JOB_ID: job_id, lake.CHECKPOINT_ID: str(checkpoint)},
            )
            return loaded.metadata.refs[branch].snapshot_id
        except (CommitFailedException, OperationalError):
            continue


def sink_all(
    catalog: Catalog, product: Product, branch: str, checkpoint: int, *, job_id: str = JOB
) -> dict[str, int]:
    """One checkpoint with no rows in every table."""
    return {
        t: sink(catalog, t, branch, checkpoint, job_id=job_id, namespace=product.name)
        for t in product.outputs
    }


class _Replace(_OverwriteFiles):
    """The commit of a compaction, which pyiceberg cannot make by itself."""

    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006
        return Summary(
            Operation.REPLACE, **super()._summary(snapshot_properties).additional_properties
        )


def compact(catalog: Catalog, table: str, branch: str, *, lose: int = 0) -> int:
    """Put all rows of a branch, but for some to be lost, into one file as Iceberg's compaction does."""
    loaded = catalog.load_table(("shop", table))
    scan = loaded.scan(snapshot_id=loaded.metadata.refs[branch].snapshot_id)
    rows = scan.to_arrow()
    with (
        loaded.transaction() as transaction,
        _Replace(Operation.OVERWRITE, transaction, loaded.io, branch=branch) as update,
    ):
        for task in scan.plan_files():
            update.delete_data_file(task.file)
        for file in _dataframe_to_data_files(loaded.metadata, rows.slice(lose), loaded.io):
            update.append_data_file(file)
    return loaded.metadata.refs[branch].snapshot_id


def publish(catalog: Catalog, product: Product, snapshots: Mapping[str, int]) -> None:
    """Move `main` from wherever it is."""
    publishing.publish(
        catalog, product, snapshots, lake.published(catalog, product).snapshots, fence=no_fence
    )


def on_disk(home: Path) -> set[str]:
    """Every file of the warehouse."""
    return {str(p) for p in (home / "lake" / "warehouse").rglob("*") if p.is_file()}


def needed(catalog: Catalog, product: Product) -> set[str]:
    """Every file that the tables name, as pyiceberg reads them."""
    found = set()
    for name in product.outputs:
        table = catalog.load_table((product.name, name))
        found |= {
            table.metadata_location,
            *(entry.metadata_file for entry in table.metadata.metadata_log),
        }
        for snapshot in table.metadata.snapshots:
            found.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(table.io):
                entries = manifest.fetch_manifest_entry(table.io)
                found |= {manifest.manifest_path, *(e.data_file.file_path for e in entries)}
    return {f.removeprefix("file://") for f in found}
