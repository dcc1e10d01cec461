"""The process that a statement of people runs in: `python -m replay.query.query_process`, asked over its stdin.

It has no environment, may read the tables' folders and write nowhere but into its folder for what does not fit into
memory, and ends with its parent. It has no network and no secrets, unless the tables are in an object store: then it
can connect to the ports of that store, with keys that a statement cannot see. Requests and answers are lines of JSON:

    {"schemas": {schema: {table: {"location": …, "snapshot": …}}}, "stores": {folder: options of a secret},
     "arrow": {table: Arrow stream}, "empty": {table: {column: type}}, "zone": …, "folders": […], "spill": folder,
     "threads": …, "memory": bytes, "disk": bytes}
    {"arrow": {table: Arrow stream}}: other rows for such tables
    {"sql": …, "keep": rows or null}   →   {"columns": […]}, a row a line, {"rows": count}; or {"fault": …}
"""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import duckdb

from replay.query import confine, wire
from replay.query.duck import NETWORK_FILES, connect, load_iceberg, names_of, port_of, reach
from replay.query.lean import without
from replay.query.statements import Names, NotReadingError, functions, readable
from replay.query.table_types import quoted

_BATCH = 2_000
_OVERHEAD = 4 << 30
"""Bytes of address space beside DuckDB's memory: its code, Python's, and what threads reserve and never touch."""


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Serve until the requests end."""
    confine.end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    functions()  # read while this package still can be
    # With one thread until it is confined: Linux confines a thread and those that it starts.
    with connect(threads=1, iceberg=False) as connection:
        names: Names = {}
        answer_bytes = 0
        for line in requests:
            request = json.loads(line)
            try:
                if "schemas" in request:
                    answer_bytes = request["memory"]
                    names = _open(connection, request)
                    answers.write(b"{}\n")
                elif "arrow" in request:
                    _load_all(connection, names, request["arrow"])
                    answers.write(b"{}\n")
                else:
                    for part in _answer(
                        connection, names, request["sql"], request["keep"], answer_bytes
                    ):
                        answers.write(part)
            except Exception as e:  # noqa: BLE001  the parent process reports it
                fault = _fault(connection, names, e, request.get("sql", ""))
                answers.write(json.dumps({"fault": fault}).encode() + b"\n")
            answers.flush()


def _open(connection: duckdb.DuckDBPyConnection, request: Mapping[str, Any]) -> Names:
    """Views of the tables as asked for, and from then on nothing else."""
    memory, disk = request["memory"], request["disk"]
    confine.limit(resource.RLIMIT_AS, memory + _OVERHEAD)
    confine.limit(resource.RLIMIT_FSIZE, disk)
    confine.limit(resource.RLIMIT_CORE, 0)
    stores = request["stores"]
    if any(request["schemas"].values()):  # not for rows of the caller alone: it takes memory
        load_iceberg(connection)
    if request["arrow"]:
        import nanoarrow.ipc  # noqa: F401  while the system's libraries can still be read
    authorities = request.get("authorities", "")  # none of an earlier caller
    reach(connection, stores, authorities)
    confine.to_folders(
        read=[
            *request["folders"],
            *(NETWORK_FILES if stores else ()),
            *([authorities] if stores and authorities else ()),
        ],
        write=[request["spill"]],
        connect={port_of(options) for options in stores.values()},
    )
    connection.execute("SET TimeZone = $zone", {"zone": request["zone"]})
    connection.execute(f"SET threads = {request['threads']}")
    connection.execute(f"SET memory_limit = '{memory}B'")
    connection.execute("SET temp_directory = $folder", {"folder": request["spill"]})
    connection.execute(f"SET max_temp_directory_size = '{disk}B'")
    connection.execute("SET allowed_directories = $folders", {"folders": request["folders"]})
    names: dict[str, list[str]] = {}
    for schema, tables in request["schemas"].items():
        names[schema] = sorted([*tables, *request["arrow"], *request["empty"]])
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for table, columns in request["empty"].items():
            typed = ", ".join(f"{quoted(name)} {of}" for name, of in columns.items())
            connection.execute(f'CREATE TABLE "{schema}"."{table}" ({typed})')
        for table, at in sorted(tables.items()):
            snapshot = (
                f", snapshot_from_id => {at['snapshot']}" if at["snapshot"] is not None else ""
            )
            connection.execute(
                f'CREATE VIEW "{schema}"."{table}" AS SELECT * FROM '
                f"iceberg_scan('{at['location']}'{snapshot})"
            )
    _load_all(connection, names, request["arrow"])
    connection.execute(f'USE "{next(iter(names))}"')
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return names


def _load_all(
    connection: duckdb.DuckDBPyConnection, schemas: Iterable[str], arrow: Mapping[str, str]
) -> None:
    for schema in schemas:
        for table, stream in arrow.items():
            _load(connection, schema, table, base64.b64decode(stream))


def _load(connection: duckdb.DuckDBPyConnection, schema: str, table: str, stream: bytes) -> None:
    connection.register("rows_of_caller", _Stream(stream))
    connection.execute(
        f'CREATE OR REPLACE TABLE "{schema}"."{table}" AS SELECT * FROM rows_of_caller'
    )
    connection.unregister("rows_of_caller")


class _Stream:
    """Rows in Arrow's format for streams, as often as DuckDB asks: first for the columns. Without PyArrow, which takes
    more memory than all else here."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        # here: a query of published tables does without, and starts sooner
        from nanoarrow.ipc import (
            InputStream,
        )

        return InputStream.from_readable(self._stream).__arrow_c_stream__(requested_schema)


def _answer(
    connection: duckdb.DuckDBPyConnection, names: Names, sql: str, keep: int | None, at_most: int
) -> Iterator[bytes]:
    cursor = connection.execute(readable(connection, sql, names))
    rows, written = 0, 0
    yield json.dumps({"columns": names_of(cursor)}).encode() + b"\n"
    while batch := cursor.fetchmany(_BATCH):
        for row in batch if keep is None else batch[: max(0, keep - rows)]:
            line = wire.dump(row)
            written += len(line)
            if written > at_most:
                raise _TooLargeError
            yield line
        rows += len(batch)
    yield json.dumps({"rows": rows}).encode() + b"\n"


class _TooLargeError(Exception):
    """An answer that is larger than the parent process accepts."""


def _fault(
    connection: duckdb.DuckDBPyConnection, names: Names, error: Exception, sql: str
) -> dict[str, Any]:
    match error:
        case NotReadingError():
            kind = "name" if error.unknown else "refused"
            return {
                "kind": kind,
                "expected": error.expected,
                "found": error.found,
                "name": error.unknown,
                "table": error.table,
            }
        case _TooLargeError():
            return {"kind": "answer", "found": "a larger one"}
        case duckdb.OutOfMemoryException() | MemoryError():
            return {"kind": "memory", "found": _reason(error)}
        case duckdb.IOException():
            return {"kind": "file", "found": _reason(error)}
        case duckdb.CatalogException() | duckdb.BinderException():
            columns = _mentioned(connection, names, sql)
            return {"kind": "column", "found": _reason(error), "name": "", "columns": columns}
    return {"kind": "sql", "found": _reason(error)}


def _mentioned(
    connection: duckdb.DuckDBPyConnection, names: Names, sql: str
) -> dict[str, list[str]]:
    """The columns of the tables that a statement mentions."""
    found = {}
    for table in next(iter(names.values()), ()):
        if table in sql:
            with contextlib.suppress(duckdb.Error):
                found[table] = [
                    name for name, *_ in connection.execute(f'DESCRIBE "{table}"').fetchall()
                ]
    return found


def _reason(error: Exception) -> str:
    """The message without DuckDB's picture of the statement and its guesses."""
    return (str(error).split("\n\n")[0].splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    with without("pandas", "pyarrow"):
        main(sys.stdin.buffer, sys.stdout.buffer)
