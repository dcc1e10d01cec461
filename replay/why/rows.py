"""The row of a table that is asked about, and what its table of rejects knows, at the snapshots of an attempt."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from jobs.product.column_types import Atomic, Type, parse
from jobs.product.folder import Product
from jobs.product.model import REJECTS, Output
from jobs.product.names import did_you_mean
from replay.avro.json_values import JsonValueError
from replay.compare.diff import Side
from replay.errors import ConfigError, RefusedError
from replay.kafka import clock, log
from replay.kafka.reading import ConsumedRecord
from replay.query import query
from replay.settings import Settings
from replay.testing import values
from replay.why.records import Place

_NAMED = 3
"""Rows that an error names."""
_BATCH = 1_000
_NUMBERS = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE"})
Row = Mapping[str, Any]


def types(output: Output) -> dict[str, Type]:
    """Column → type."""
    return {c.name: parse(c.type) for c in output.columns}


def key_of(output: Output) -> tuple[str, ...]:
    """The columns that tell its rows apart; empty where nobody knows them."""
    names = [c.name for c in output.columns]
    if output.key and set(output.key) <= set(names):
        return output.key
    return tuple(c for c in ("log_topic", "log_partition", "log_offset") if c in names)


def wanted(product: Product, table: str, said: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE as columns and values; ConfigError for what is none."""
    if table not in product.outputs:
        meant = did_you_mean(table, product.outputs) or f"one of {', '.join(product.outputs)}"
        raise ConfigError(
            f"{product.name} has no table '{table}'",
            expected=meant,
            found=table,
            next=f"kappa why {product.name}.{next(iter(product.outputs))}",
        )
    known = types(product.outputs[table])
    found: dict[str, Any] = {}
    for pair in said:
        column, equals, text = pair.partition("=")
        if not equals or column not in known:
            meant = did_you_mean(column, known) or f"one of {', '.join(known)}"
            raise ConfigError(
                f"'{pair}' names no row of {table}",
                expected=f"COLUMN=VALUE, with a column of {table}: {meant}",
                found=pair,
                next=f'kappa query {product.name} "SELECT * FROM {table} LIMIT 5"',
            )
        try:
            found[column] = _typed(known[column], text, product.settings.time_zone, column)
        except (JsonValueError, InvalidOperation) as e:
            expected = e.expected if isinstance(e, JsonValueError) else "a number"
            raise ConfigError(
                f"'{text}' is no value of {column}",
                expected=f"{known[column]}: {expected}",
                found=text,
                next=f'kappa query {product.name} "SELECT * FROM {table} LIMIT 5"',
            ) from e
    return found


def _typed(type_: Type, text: str, zone: str, column: str) -> Any:
    if text == "NULL":
        return None
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1].replace("''", "'")
    if not isinstance(type_, Atomic):
        raise JsonValueError(column, "a column that is no ROW, ARRAY or MAP", text)
    value: Any = text
    if type_.name in _NUMBERS and text not in ("NaN", "Infinity", "-Infinity"):
        value = Decimal(text)
    elif type_.name == "BOOLEAN":
        value = {"true": True, "false": False}.get(text.lower(), text)
    return values.expected(type_, value, zone, column)


def find(settings: Settings, side: Side, table: str, key: Mapping[str, Any]) -> list[Row]:
    """Up to a few rows with these values."""
    columns = [c.name for c in side.product.outputs[table].columns]
    with query.open_tables(settings, side.product.name, side.snapshots) as connection:
        conditions = [f"{_name(c)} IS NOT DISTINCT FROM ${i}" for i, c in enumerate(key, 1)]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        found = connection.execute(
            f"SELECT {', '.join(map(_name, columns))} FROM {_name(table)} {where} LIMIT {_NAMED}",
            {str(i): value for i, value in enumerate(key.values(), 1)},
        ).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in found]


def one(
    settings: Settings, side: Side, table: str, key: Mapping[str, Any], asked: Sequence[str] = ()
) -> Row | None:
    """The row with these values; None without one, RefusedError that names some of several.

    `asked`: the releases that the command named.
    """
    found = find(settings, side, table, key)
    if len(found) > 1 or not key:
        raise _not_one(side.product, table, key, found, asked)
    return found[0] if found else None


def none_such(
    settings: Settings, side: Side, table: str, key: Mapping[str, Any], asked: Sequence[str] = ()
) -> RefusedError:
    """What a person is told of a row that is not there: some that differ in one column."""
    like: list[Row] = []
    for column in key:
        like += find(settings, side, table, {c: v for c, v in key.items() if c != column})
    like = like[:_NAMED] or find(settings, side, table, {})
    found = _not_one(side.product, table, key, like, asked)
    zone = side.product.settings.time_zone
    until = clock.local(reached(settings, side), zone)
    if side.product.outputs[table].window and until:
        found.expected += f"; its windows that end by {until:%Y-%m-%d %H:%M:%S} ({zone}) are closed"
    return found


def reached(settings: Settings, side: Side) -> float:
    """How far an attempt has come on the log's clock: ms since the epoch, -inf of one that has read nothing."""
    return clock.at_position(side.product, side.covered, _Log(settings))


class _Log:
    """The log, for its clock."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        for record in log.read_range(self._settings, topic, partition, start, end):
            yield record.offset, record.timestamp, record.value


def _not_one(
    product: Product,
    table: str,
    key: Mapping[str, Any],
    found: Sequence[Row],
    asked: Sequence[str],
) -> RefusedError:
    output = product.outputs[table]
    told = key_of(output) or tuple(c for c, t in types(output).items() if isinstance(t, Atomic))
    zone = product.settings.time_zone
    named = [_said(row, told, zone) for row in found]
    several = found and all(_equal(row[c], v) for row in found for c, v in key.items())
    what = "more than one row" if several else "no row"
    where = f" with {_said(key, tuple(key), zone)}" if key else ""
    next = f"kappa status {product.name}"
    if named and several and set(told) <= set(key):
        next = f'kappa query {product.name} "SELECT * FROM {table} LIMIT 5"'
    elif named:
        releases = "".join(f" --release {name}" for name in asked)
        next = f"kappa why {product.name}.{table} {named[0]}{releases}"
    return RefusedError(
        f"{product.name}.{table} has {what}{where}",
        expected=f"the values of one row that readers see, such as those of its key: {', '.join(told)}",
        found=(f"rows with {'; '.join(named)}" if named else "an empty table"),
        next=next,
    )


def _equal(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _said(row: Row, columns: Sequence[str], zone: str) -> str:
    """As it can be typed."""
    return " ".join(shlex.quote(f"{c}={typable(row[c], zone)}") for c in columns if c in row)


def typable(value: Any, zone: str) -> str:
    """A text that would be taken for another value is put in quotes, as in SQL."""
    if value is None:
        return "NULL"
    text = str(values.shown(value, zone))
    is_quoted = len(text) > 1 and text[0] == text[-1] == "'"
    return "'" + text.replace("'", "''") + "'" if text == "NULL" or is_quoted else text


def rejected(
    settings: Settings, side: Side, topics: Sequence[str], since: int, near: range
) -> Iterator[tuple[Place, ConsumedRecord, str]]:
    """What is rejected of these topics, wherever it stands; with the reason.

    `since`: ms since the epoch, before which only what is ahead of its time matters; `near`: when what nobody can date
    was appended.
    """
    with query.open_tables(settings, side.product.name, side.snapshots) as connection:
        found = connection.execute(
            f"""SELECT log_topic, log_partition, log_offset, epoch_ms(appended), reason, payload FROM {_name(REJECTS)}
                WHERE log_topic IN (SELECT unnest($topics)) AND payload IS NOT NULL
                  AND CASE
                    WHEN starts_with(reason, 'undecodable') OR starts_with(reason, 'no time')
                      THEN epoch_ms(appended) >= $first AND epoch_ms(appended) < $last
                    ELSE epoch_ms(appended) >= $since OR starts_with(reason, 'ahead')
                  END
                ORDER BY 1, 2, 3""",
            {
                "topics": list(topics),
                "since": since,
                "first": near.start,
                "last": near.stop,
            },
        )
        while batch := found.fetchmany(_BATCH):
            for topic, partition, offset, appended, reason, payload in batch:
                record = ConsumedRecord(partition, offset, appended, None, payload)
                yield Place(topic, partition, offset), record, reason


def differing(output: Output, one: Row, other: Row) -> tuple[str, ...]:
    """The columns in which two rows differ, or that one of them has not: another release's."""
    return tuple(
        c
        for c, type_ in types(output).items()
        if c not in one or c not in other or not values.same(type_, one[c], other[c])
    )


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
