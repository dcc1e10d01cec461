"""Rows of tables in the order of the log: sorted and spilled by DuckDB, and never held as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from replay.audit.accounting import REJECTED, Offsets
from replay.audit.judging import REASONS, Reject

_BATCH = 1 << 16
_PLACED = "log_partition IS NOT NULL AND log_offset >= 0"


class Places:
    """What a statement gives, whose first columns are partition and offset, by which it is ordered."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, str]
    ) -> None:
        """A cursor of its own: several are read at the same time."""
        self._reader = (
            connection.cursor()
            .execute(f"{sql} ORDER BY 1, 2", dict(parameters))
            .to_arrow_reader(_BATCH)
        )
        self._left: pa.RecordBatch | None = None

    def take(self, partition: int, end: int) -> pa.Table:
        """The next rows of a partition, up to an offset; those of partitions before it are passed over."""
        taken: list[pa.RecordBatch] = []
        while (batch := self._batch()) is not None:
            partitions, offsets = batch.column(0).to_numpy(), batch.column(1).to_numpy()
            first = int(np.searchsorted(partitions, partition))
            last = int(np.searchsorted(partitions, partition, side="right"))
            upto = first + int(np.searchsorted(offsets[first:last], end))
            taken.append(batch.slice(first, upto - first))
            if upto < batch.num_rows:
                self._left = batch.slice(upto)
                break
        return pa.Table.from_batches(taken, self._reader.schema)

    def offsets(self, partition: int, end: int) -> Offsets:
        """The same, without the other columns."""
        return _offsets(self.take(partition, end))

    def _batch(self) -> pa.RecordBatch | None:
        batch, self._left = self._left, None
        return batch if batch is not None else next(self._reader, None)


@dataclass(frozen=True)
class Rejected:
    """Rows of `rejects` in a window of a partition, in the order of their offsets."""

    offsets: Offsets
    reasons: list[str]
    digests: list[bytes]

    @classmethod
    def of(cls, rows: pa.Table) -> Rejected:
        """Columns: partition, offset, reason, digest of the payload."""
        return cls(_offsets(rows), rows.column(2).to_pylist(), rows.column(3).to_pylist())

    def by_reason(self) -> dict[str, list[Offsets]]:
        """Offsets as classes, repeated when there are several rows of one offset."""
        kinds = np.array([REASONS.get(reason, "") for reason in self.reasons], dtype=object)
        return {name: [self.offsets[kinds == name]] for name in REJECTED}

    def groups(self) -> Iterator[tuple[int, list[Reject]]]:
        """Each offset with its rows."""
        at: int | None = None
        rows: list[Reject] = []
        for offset, reason, digest in zip(
            self.offsets.tolist(), self.reasons, self.digests, strict=True
        ):
            if offset != at and at is not None:
                yield at, rows
                rows = []
            at = offset
            rows.append(Reject(reason, digest))
        if at is not None:
            yield at, rows


def _offsets(rows: pa.Table) -> Offsets:
    return np.asarray(rows.column(1).to_numpy(), dtype=np.int64)


def of_rows(table: str, condition: str) -> str:
    """The places of a table of kind rows."""
    return (
        f"SELECT log_partition::INTEGER, log_offset::BIGINT FROM {table} WHERE {_PLACED}{condition}"
    )


def of_rejects(table: str) -> str:
    """The places of what was rejected of `$topic`, why, and of what payload."""
    return (
        "SELECT log_partition::INTEGER, log_offset::BIGINT, split_part(coalesce(reason, ''), ':', 1),"
        f" unhex(sha256(coalesce(payload, ''::BLOB))) FROM {table} WHERE log_topic = $topic AND {_PLACED}"
    )
