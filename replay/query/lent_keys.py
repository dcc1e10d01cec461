"""Keys that a catalog has lent for tables, renewed while the tables are open."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import TIMEOUT_MAX, Event, Thread
from typing import TYPE_CHECKING

from replay.errors import KappaError
from replay.query.sandbox import TableVersion, stores
from replay.storage import renewal

if TYPE_CHECKING:
    import duckdb

_RENEW_AGAIN_SECONDS = 5.0
Schemas = Mapping[str, Mapping[str, TableVersion]]
"""Schema → table → where it is."""


def all_tables(schemas: Schemas) -> list[TableVersion]:
    """Those of all schemas."""
    return [place for tables in schemas.values() for place in tables.values()]


@contextmanager
def renewed(
    connection: duckdb.DuckDBPyConnection, lent: Schemas, ask: Callable[[], Schemas]
) -> Iterator[None]:
    """Within the block, keys that a catalog has lent for the tables are replaced before they expire.

    A statement keeps those with which it began; the next one has the new ones.
    """
    import duckdb

    from replay.query.duck import lend

    over, own = Event(), connection.cursor()

    def until(schemas: Schemas) -> float:
        return min(renewal(place.storage) for place in all_tables(schemas))

    def renew(at: float) -> None:
        while not over.wait(max(0.0, min(at - time.time(), TIMEOUT_MAX))):
            try:
                fresh = ask()
                lend(own, stores(all_tables(fresh)))
                at = until(fresh)
            except (
                KappaError,
                duckdb.Error,
            ):  # whoever reads is told what the store says of the old ones
                at = time.time() + _RENEW_AGAIN_SECONDS

    at = until(lent)
    thread = Thread(target=renew, args=(at,), daemon=True)
    if math.isfinite(at):
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        own.close()
