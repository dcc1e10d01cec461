"""Rows that two sides of a comparison may not share, found without holding whole rows in memory.

DuckDB spills what its sorts and hash tables hold, but what it needs at once grows with the width of rows: 800,000 rows
of 24 columns did not fit into 192 MB. So rows are told apart by digests, of which a hash table may hold many; only
those that may differ are taken as they are, and compared in pieces that memory has room for. No hash table is filled
with digests while Parquet is read, which takes a few MB for each column.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import numpy as np
import pyarrow as pa

from replay.query.grouping import grouped

_MOST = 1 / 4
"""When so many of all rows differ, all are candidates: a join would have written all of them to disk too."""
_PIECE_BYTES = 16 << 20
"""Of a piece's rows, as Arrow has them; to match them takes a few times as much."""
_PIECES = 500
"""At most: each is a file that is open."""
_BATCH = 1 << 13
_NESTED = re.compile(r"^(STRUCT|MAP|UNION)\b|\]$")
"""Types of DuckDB that have parts."""


@dataclass(frozen=True)
class Candidates:
    """Temporary table `candidates`: columns c0, c1, …, and side (1: old, -1: new)."""

    connection: duckdb.DuckDBPyConnection
    columns: Sequence[str]
    """c0, c1, …"""
    key: Sequence[str]
    """Of these. Rows of one key are in one piece."""

    def pieces(self, old: str, new: str, rows: int) -> Iterator[None]:
        """Fill the table with one piece after the other, at least with one.

        Of the rows of two statements, so many in all, it gets those that one side has more often, and maybe others.
        Rows that differ have other digests, but for one chance in 2^64: where one column differs, both digests come
        down to the hash of its value. Equal rows may have several (-0.0 is 0.0 for GROUP BY, and another text in a
        list): then all of them are candidates, and cancel out.
        """
        every = ", ".join(self.columns)
        both = f"(SELECT {every}, 1 AS side FROM ({old}) UNION ALL SELECT {every}, -1 AS side FROM ({new}))"
        digests = self._digests(both)
        differing = self._differing(both, digests, rows)
        few = differing <= rows * _MOST
        with ExitStack() as stack:
            pieces = self._sort(
                stack,
                f"""
                SELECT {every}, side, hash({", ".join(self.key)}) AS piece
                FROM (SELECT *, {digests} FROM {both}) {"SEMI JOIN differing USING (high, low)" if few else ""}
                """,
                differing if few else rows,
            )
            self._run("DROP TABLE differing")
            for piece in pieces:
                self._load(piece)
                yield
        self._run("DROP TABLE candidates")

    def _differing(self, both: str, digests: str, rows: int) -> int:
        """Make the table `differing`, of digests that one side has more often; how many there are."""
        self._run(
            "CREATE OR REPLACE TEMP TABLE digests AS"
            f" SELECT {digests}, CAST(side AS TINYINT) AS side FROM {both}"
        )
        count = grouped(
            self.connection,
            "differing",
            "SELECT high, low FROM digests WHERE high % {parts} = {part}"
            " GROUP BY ALL HAVING sum(side) <> 0",
            rows,
        )
        self._run("DROP TABLE digests")
        return count

    def _digests(self, both: str) -> str:
        """The digests of a row. For hash() an empty list is a NULL, [[1], [2]] is [[1, 2]], and a ROW of NULLs is a
        NULL: so of columns with parts their text counts as well."""
        described = self.connection.execute(
            f"DESCRIBE SELECT {', '.join(self.columns)} FROM {both}"
        )
        values = []
        for column, type_, *_ in described.fetchall():
            values += [column, f"CAST({column} AS VARCHAR)"] if _NESTED.search(type_) else [column]
        return f"hash({', '.join(values)}) AS high, hash({', '.join(reversed(values))}) AS low"

    def _sort(self, stack: ExitStack, sql: str, rows: int) -> list[IO[bytes]]:
        """Arrow streams of about so many rows, each of its piece."""
        [(folder,)] = self.connection.execute("SELECT current_setting('temp_directory')").fetchall()
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        files: list[IO[bytes]] = []
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        reader = self.connection.execute(sql).to_arrow_reader(_BATCH)
        for batch in reader:
            if not files:
                size = rows * batch.nbytes / max(1, batch.num_rows)
                files, writers = _streams(
                    stack, folder, reader.schema, math.ceil(size / _PIECE_BYTES)
                )
            for piece, part in _parts(batch, len(files)):
                writers[piece].write_batch(part)
        if not files:
            files, writers = _streams(stack, folder, reader.schema, 1)
        for writer in writers:
            writer.close()
        return files

    def _load(self, piece: IO[bytes]) -> None:
        piece.seek(0)
        with pa.ipc.open_stream(piece) as rows:
            self.connection.register("rows_of_piece", rows)
            self._run(
                "CREATE OR REPLACE TEMP TABLE candidates AS SELECT * EXCLUDE (piece) FROM rows_of_piece"
            )
            self.connection.unregister("rows_of_piece")
        piece.close()

    def _run(self, sql: str) -> None:
        self.connection.execute(sql)


def _streams(
    stack: ExitStack, folder: str, schema: pa.Schema, wanted: int
) -> tuple[list[IO[bytes]], list[pa.ipc.RecordBatchStreamWriter]]:
    files: list[IO[bytes]] = []
    for _ in range(min(max(wanted, 1), _PIECES)):
        file = tempfile.TemporaryFile(dir=folder, prefix="piece-")  # noqa: SIM115  closed by the stack
        files.append(stack.enter_context(file))
    return files, [pa.ipc.new_stream(file, schema) for file in files]


def _parts(batch: pa.RecordBatch, pieces: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """What of some rows belongs into each piece."""
    if pieces == 1:
        yield 0, batch
        return
    numbers = batch.column("piece").to_numpy() % np.uint64(pieces)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(pieces + 1, dtype=np.uint64))
    together = batch.take(pa.array(order))
    for piece in np.flatnonzero(np.diff(bounds)).tolist():
        yield piece, together.slice(bounds[piece], bounds[piece + 1] - bounds[piece])
