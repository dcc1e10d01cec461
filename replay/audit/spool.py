"""Rows that are too many for memory, in a file, until a table of DuckDB is made of them."""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self

import duckdb
import pyarrow as pa

_BATCH = 1 << 14


class Spool:
    """Rows with the same columns, whose types are known once all have been seen: Arrow infers them from the values.

    A column that is NULL in the first rows gets its type from later ones, decimals get the digits of the longest.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._rows: dict[str, list[Any]] = {name: [] for name in columns}
        self._files: list[tuple[IO[bytes], pa.ipc.RecordBatchStreamWriter]] = []
        self._schema: pa.Schema | None = None
        self.count = 0

    def add(self, values: Sequence[Any]) -> None:
        """One row, in the order of the columns."""
        for column, value in zip(self._rows.values(), values, strict=True):
            column.append(value)
        self.count += 1
        if self.count % _BATCH == 0:
            self._flush()

    def batches(self) -> Iterator[pa.Table]:
        """All rows, of one schema."""
        self._flush()
        for file, writer in self._files:
            writer.close()
            file.seek(0)
            with pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    yield pa.Table.from_batches([batch]).cast(self._schema)

    def into(self, connection: duckdb.DuckDBPyConnection, table: str) -> None:
        """Make a temporary table of them."""
        created = False
        for rows in self.batches():
            append(connection, table, rows, create=not created)
            created = True

    def _flush(self) -> None:
        rows = pa.table({name: pa.array(values) for name, values in self._rows.items()})
        for values in self._rows.values():
            values.clear()
        if not rows.num_rows:
            return
        schemas = [rows.schema] if self._schema is None else [self._schema, rows.schema]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        if schema != self._schema:  # the more has been seen, the less it changes
            self._schema = schema
            file = tempfile.TemporaryFile(dir=self._folder, prefix="rows-")  # noqa: SIM115  closed by __exit__
            self._files.append((file, pa.ipc.new_stream(file, schema)))
        self._files[-1][1].write_table(rows.cast(schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for file, writer in self._files:
            writer.close()
            file.close()


def append(
    connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table, *, create: bool
) -> None:
    """Add Arrow rows to a temporary table, or begin it with them."""
    connection.register("rows_to_append", rows)
    try:
        how = f"CREATE OR REPLACE TEMP TABLE {table} AS" if create else f"INSERT INTO {table}"
        connection.execute(f"{how} SELECT * FROM rows_to_append")
    finally:
        connection.unregister("rows_to_append")


def digest(values: Sequence[Any]) -> tuple[int, int]:
    """128 bits of BLAKE2 of some values, as two columns: two of a log do not meet by chance."""
    high, low = struct.unpack(
        "<qq", hashlib.blake2b(repr(values).encode(), digest_size=16).digest()
    )
    return high, low
