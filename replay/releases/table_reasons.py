"""What a change asks for of the tables: which there are, their keys, columns, types, partitions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from jobs.product.column_types import Row
from jobs.product.folder import Product
from jobs.product.model import Output
from replay.iceberg.product_types import column_type, product_type
from replay.iceberg.type_changes import Change as TypeChange
from replay.iceberg.type_changes import differences, words
from replay.releases.reason import Kind, Reason

Tables = Mapping[str, Row]
"""Table → its columns as one ROW, as in the lake: also the columns that a release before left there."""


_REMOVED = "removed: it stays in the table until the last release that writes it is retired"


def of_tables(old: Product, new: Product) -> Iterator[Reason]:
    """Tables: what readers of them could not follow is refused."""
    for name in old.outputs:
        if name not in new.outputs:
            yield Reason(
                Kind.breaking,
                f"table {name}",
                "removed, and its readers would see it stand still for ever",
                f"keep {name}; or write the others as a product of another name",
            )
    for name in new.outputs:
        if name not in old.outputs:
            yield Reason(Kind.replay, f"table {name}", "new, made before the replay")
            continue
        other = _new_output(name, {*old.outputs, *new.outputs})
        yield from _identity(name, old, new, other)
        yield from _columns(name, old, new, other)
        yield from _laid_out(name, old.outputs[name], new.outputs[name])
        yield from _of_topic(name, _topic(old, name), _topic(new, name))
        yield from _key_of_records(name, old, new)


def _identity(table: str, old: Product, new: Product, other: str) -> Iterator[Reason]:
    """What its rows are, and what tells them apart."""
    before, after = old.outputs[table], new.outputs[table]
    if (before.kind, before.of) != (after.kind, after.of):
        yield Reason(
            Kind.breaking,
            f"table {table}",
            f"of another kind: {_kind(before)} → {_kind(after)}",
            f"leave {table} as it was, and {_write_to(other)}",
        )
    was, key = _key(old, before), _key(new, after)
    if was and was != key:
        yield Reason(
            Kind.breaking,
            f"table {table}",
            f"another key: {', '.join(was)} → {', '.join(key) or 'none'}",
            f"leave {table} as it was, and {_write_to(other)}",
        )
    elif was != key:
        # of an output that is a topic, it is the key of the records
        kind = Kind.metadata if _topic(new, table) is None else Kind.replay
        yield Reason(kind, f"table {table}", f"a key: {', '.join(key)}")


def _laid_out(table: str, old: Output, new: Output) -> Iterator[Reason]:
    """Where rows lie: old files stay as they are, so the whole table has it only after a replay."""
    for word, was, is_ in (
        ("partition", old.partition, new.partition),
        ("sort", old.sort, new.sort),
    ):
        if was != is_:
            yield Reason(
                Kind.replay,
                f"table {table}",
                f"{word}: {_listed(was)} → {_listed(is_)}, set before "
                "the replay; jobs that run, and files that are there, keep theirs",
            )


def _topic(product: Product, table: str) -> str | None:
    return product.settings.outputs[table].topic if table in product.settings.outputs else None


def _of_topic(table: str, old: str | None, new: str | None) -> Iterator[Reason]:
    """A topic has the rows of the whole log only after a replay."""
    if old != new:
        yield Reason(
            Kind.replay,
            f"table {table}",
            f"topic: {old or 'none'} → {new or 'none'}; each attempt writes one of its own, from offset zero",
        )


def _key_of_records(table: str, old: Product, new: Product) -> Iterator[Reason]:
    """A release is told by what product.yaml says of the records' key, also where the SQL says it."""
    if not (_topic(old, table) and _topic(new, table)):
        return
    was, said = (p.settings.outputs[table].key for p in (old, new))
    if was != said and _key(old, old.outputs[table]) == _key(new, new.outputs[table]):
        yield Reason(
            Kind.replay,
            f"table {table}",
            "the key of its topic's records: "
            f"{', '.join(was) or 'not said'} → {', '.join(said) or 'not said'}",
        )


def _columns(table: str, old: Product, new: Product, other: str) -> Iterator[Reason]:
    before = {c.name: c.type for c in old.columns[table]}
    after = {c.name: c.type for c in new.columns[table]}
    for name in before:
        where = f"column {table}.{name}"
        if name not in after:
            yield Reason(Kind.replay, where, _REMOVED)
        elif before[name] != after[name]:
            yield from _type_change(
                where,
                before[name],
                after[name],
                f"leave {table}.{name} as it was, and {_write_to(other)}",
            )
    for name in after:
        if name not in before:
            yield Reason(
                Kind.replay,
                f"column {table}.{name}",
                f"new, {after[name]}: added to the table before the replay",
            )


def _type_change(where: str, old: str, new: str, instead: str) -> Iterator[Reason]:
    found = list(differences(column_type(old, where), column_type(new, where)))
    if not found:
        yield Reason(Kind.replay, where, f"{old} → {new}: the same type in the table")
    for part in found:
        at = words((where, *part.path))
        match part.change:
            case TypeChange.added:
                yield Reason(
                    Kind.replay, at, f"new, {part.new}: added to the table before the replay"
                )
            case TypeChange.removed:
                yield Reason(Kind.replay, at, _REMOVED)
            case TypeChange.widened:
                yield Reason(
                    Kind.replay,
                    at,
                    f"{part.old} → {part.new}: widened in the table before the replay",
                )
            case _:
                yield Reason(
                    Kind.breaking,
                    at,
                    f"{part.old} → {part.new}: its readers could not go on",
                    instead,
                )


def left_behind(new: Product, old: Product | None, tables: Tables) -> Iterator[Reason]:
    """Columns that the lake has of another release than the one readers see, of a type that does not fit."""
    for table in new.outputs:
        known = {c.name for c in old.columns.get(table, ())} if old else set()
        for part in differences(tables.get(table, Row(())), product_type(new, table)):
            if part.path[0] in known or not part.breaks:
                continue
            yield Reason(
                Kind.breaking,
                f"column {table}.{words(part.path)}",
                f"the table has it as {part.old}, from another release, and {part.new} does not fit",
                f"give {table}.{words(part.path)} another name, or a type that holds {part.old}",
            )


def _key(product: Product, output: Output) -> tuple[str, ...]:
    """What tells rows apart; empty when it is all columns."""
    return output.key or product.identity(output)


def _kind(output: Output) -> str:
    return f"{output.kind.value} of {', '.join(output.of)}" if output.of else output.kind.value


def _new_output(name: str, taken: set[str]) -> str:
    """departures → departures_2, departures_2 → departures_3."""
    base, number = (m[1], int(m[2])) if (m := re.fullmatch(r"(.+)_(\d+)", name)) else (name, 1)
    while f"{base}_{number}" in taken or number == 1:
        number += 1
    return f"{base}_{number}"


def _write_to(output: str) -> str:
    return f"write the new rows to a new output {output} (product.yaml, {output}.sql)"


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns) or "none"
