"""Metadata files of Iceberg, read one after the other.

A file lists every snapshot of its table, and the next one lists them again with one more. A table that commits every 5
seconds and keeps two hours has 1,440 of them, and making objects of these takes four times as long as reading the text.
A snapshot never changes, so those of the file before are taken over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json
from pyiceberg.io import InputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil
from pyiceberg.table.snapshots import Snapshot, SnapshotLogEntry


def read(file: InputFile, before: TableMetadata | None) -> TableMetadata:
    """A metadata file; `before`: an earlier one of the same table. ValueError or ValidationError when it is none."""
    if before is None or file.location.endswith(".gz.metadata.json"):
        return FromInputFile.table_metadata(file)
    with file.open() as stream:
        return parse(stream.read(), before)


def parse(text: bytes, before: TableMetadata) -> TableMetadata:
    """The same as if it was read alone."""
    document = from_json(text)
    try:
        snapshots = list(_snapshots(document["snapshots"], before))
        log = list(_log(document.get("snapshot-log", ()), before))
    except (
        AttributeError,
        KeyError,
        TypeError,
    ):  # no metadata: let that say so which knows what it is
        return TableMetadataUtil.parse_raw(text.decode())
    thin = TableMetadataUtil.parse_raw(
        json.dumps({**document, "snapshots": [], "snapshot-log": []})
    )
    return thin.model_copy(update={"snapshots": snapshots, "snapshot_log": log})


def _snapshots(listed: list[Mapping[str, Any]], before: TableMetadata) -> Iterator[Snapshot]:
    known = {(s.snapshot_id, s.timestamp_ms, s.manifest_list): s for s in before.snapshots}
    for found in listed:
        key = found.get("snapshot-id"), found.get("timestamp-ms"), found.get("manifest-list")
        yield known.get(key) or Snapshot.model_validate(found)  # type: ignore[arg-type]  # whatever the file has


def _log(listed: list[Mapping[str, Any]], before: TableMetadata) -> Iterator[SnapshotLogEntry]:
    known = {(e.snapshot_id, e.timestamp_ms): e for e in before.snapshot_log}
    for found in listed:
        key = found.get("snapshot-id"), found.get("timestamp-ms")
        yield known.get(key) or SnapshotLogEntry.model_validate(found)  # type: ignore[arg-type]
