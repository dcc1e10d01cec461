"""Accepted records that no table has a row of: what became of them, decided in DuckDB and not in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from jobs.product.folder import Product
from jobs.product.model import Kind
from replay.audit.accounting import SAMPLE, UNACCOUNTED
from replay.audit.spool import Spool, append, digest
from replay.query import query
from replay.query.sandbox import Sandbox, SandboxError
from replay.settings import QuerySettings

_PLACE = ("part", "off", "settled", "latest")
"""Columns beside the record's own: where it stands, and until when its row may wait, in ms of the watermark."""


@dataclass(frozen=True)
class Found:
    """Records of one partition that are of one class."""

    partition: int
    name: str
    count: int
    samples: list[int]


class LostRecords:
    """Such records of one topic, to be classified when all have been read."""

    def __init__(self, product: Product, topic: str, folder: Path, limits: QuerySettings) -> None:
        self._product, self._topic, self._limits, self._folder = product, topic, limits, folder
        self._identity = product.topics[topic].identity
        self._knowing = knowing(product, topic)
        self._filters = filters(product, topic)
        self._names: tuple[str, ...] = ()
        """Of the record's columns that are needed: of its event, and those that a filter may speak of."""
        self._wanted = {*(self._identity if self._knowing else ())}
        self._spool: Spool | None = None
        self._null: set[str] = set()
        """Columns of which every value is NULL: they have no type."""

    def add(
        self, partition: int, offset: int, until: tuple[int, int], record: Mapping[str, Any]
    ) -> None:
        """One record; `until`: judging.waits_until."""
        if self._spool is None:
            self._names = tuple(
                n
                for n in record
                if n in self._wanted or any(n.lower() in where.lower() for where in self._filters)
            )
            self._spool = Spool(
                self._folder, [*_PLACE, "high", "low", *(f"v{i}" for i in range(len(self._names)))]
            )
        event = (
            digest(event_of(record, self._identity))
            if self._identity and not self._knowing
            else (0, 0)
        )
        self._spool.add(
            (
                partition,
                offset,
                float(until[0]),
                float(until[1]),
                *event,
                *(plain(record[n]) for n in self._names),
            )
        )

    def classified(
        self, connection: duckdb.DuckDBPyConnection, watermark: float, shown: Spool | None
    ) -> Iterator[Found]:
        """Every record in its class; `shown`: digests of the events that have a row, where no table tells them."""
        if self._spool is None:
            return
        self._load(connection, self._spool)
        connection.execute("CREATE OR REPLACE TEMP TABLE again (part INTEGER, off BIGINT)")
        for same in self._same(connection, shown):
            connection.execute(
                f"INSERT INTO again SELECT l.part, l.off FROM lost l SEMI JOIN {same}",
                self._topic_parameter(same),
            )
        for partition, name, count, samples in connection.execute(
            f"""SELECT part, class, count(*), min(off, {SAMPLE}) FROM (
                        SELECT l.part, l.off, CASE WHEN filtered THEN 'filtered'
                            WHEN EXISTS (SELECT 1 FROM again a WHERE a.part = l.part AND a.off = l.off)
                                THEN 'duplicates'
                            WHEN settled > $watermark::DOUBLE THEN 'open_windows'
                            WHEN latest > $watermark::DOUBLE THEN 'may_be_ahead'
                            ELSE '{UNACCOUNTED}' END AS class
                        FROM lost l) GROUP BY ALL""",
            {"watermark": watermark},
        ).fetchall():
            yield Found(partition, name, count, samples)
        for table in ("lost", "again"):
            connection.execute(f"DROP TABLE {table}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._spool is not None:
            self._spool.__exit__(*error)

    @property
    def needs_shown(self) -> bool:
        """Whether only the log tells which events have a row, and anybody asks."""
        return self._spool is not None and bool(self._identity) and not self._knowing

    def _load(self, connection: duckdb.DuckDBPyConnection, spool: Spool) -> None:
        with ExitStack() as stack:
            sandbox: Sandbox | None = None
            first = True
            for rows in spool.batches():
                filtered = pa.nulls(rows.num_rows, pa.bool_()).fill_null(False)
                if self._filters:
                    if sandbox is None:
                        sandbox = Sandbox(self._limits, self._folder)
                        stack.callback(sandbox.close)
                    filtered = self._filtered(sandbox, rows, opened=not first)
                append(connection, "lost", rows.append_column("filtered", filtered), create=first)
                self._null = {f.name for f in rows.schema if pa.types.is_null(f.type)}
                first = False

    def _filtered(self, sandbox: Sandbox, rows: pa.Table, *, opened: bool) -> pa.Array:
        """Of each row, whether no `where` of the topic's tables holds: conditions are what people wrote."""
        columns = {name: rows.column(f"v{i}") for i, name in enumerate(self._names)}
        shown = pa.table({"lost_row": pa.array(range(rows.num_rows), pa.int64()), **columns})
        unwanted = " AND ".join(f"({where}) IS NOT TRUE" for where in self._filters)
        try:
            if opened:
                sandbox.replace({"lost_records": shown})
            else:
                zone = self._product.settings.time_zone  # as Flink has it
                sandbox.open({"lost": {}}, {"lost_records": shown}, zone=zone)
            found = [False] * rows.num_rows
            for (row,) in sandbox.ask(f"SELECT lost_row FROM lost_records WHERE {unwanted}").rows:
                found[row] = True
            return pa.array(found, pa.bool_())
        except SandboxError as e:
            raise query.condition_error(e, self._limits, self._product, self._topic) from e

    def _same(self, connection: duckdb.DuckDBPyConnection, shown: Spool | None) -> Iterator[str]:
        """What the records are joined with to find those whose event has a row, and how."""
        for table in self._knowing:
            same = [
                f'r."{c}" IS NULL'
                if (v := f"v{self._names.index(c)}") in self._null
                else f'r."{c}" IS NOT DISTINCT FROM l.{v}'
                for c in self._identity
            ]
            yield (
                f'"{self._product.name}"."{table}" r ON {" AND ".join(same)}{of_topic(self._product, table)}'
                " AND NOT l.filtered"
            )
        if shown is not None and shown.count:
            shown.into(connection, "shown")
            yield "shown r ON r.high = l.high AND r.low = l.low AND NOT l.filtered"

    def _topic_parameter(self, sql: str) -> dict[str, str]:
        return {"topic": self._topic} if "$topic" in sql else {}


def tables_of(product: Product, topic: str) -> list[str]:
    """The tables with a row for each record of the topic."""
    return [n for n, o in product.outputs.items() if o.kind is Kind.rows and topic in o.of]


def knowing(product: Product, topic: str) -> list[str]:
    """Of these, those that tell the topic's events apart: with every column of its identity."""
    identity = product.topics[topic].identity
    return [
        n
        for n in tables_of(product, topic)
        if identity and {c.name for c in product.outputs[n].columns}.issuperset(identity)
    ]


def filters(product: Product, topic: str) -> list[str]:
    """The conditions of which one has to hold for a record to have a row; none where a table wants every record."""
    conditions = {product.outputs[name].where for name in tables_of(product, topic)}
    return [] if None in conditions else sorted(c for c in conditions if c is not None)


def of_topic(product: Product, table: str) -> str:
    """A condition on the rows of a table of several topics, with the parameter `topic`."""
    return " AND log_topic = $topic" if len(product.outputs[table].of) > 1 else ""


def event_of(record: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    """What makes two records the same event, or of one key, comparable whatever its types."""
    return tuple(repr(plain(record[c])) for c in columns)


def plain(value: Any) -> Any:
    """A decoded value that Arrow takes: instants all in one zone."""
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo else value
