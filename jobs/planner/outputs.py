"""What an output is, of what people wrote and of what the plan says, and what of it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobs.plan.inference import Inferred
from jobs.planner.queries import PLACE, Query
from jobs.product.column_types import is_json, parse
from jobs.product.folder import Product
from jobs.product.model import Kind, Output, OutputSettings
from jobs.safety.problem import Problem


def output_of(product: Product, name: str, query: Query, inferred: Inferred) -> Output:
    said = product.settings.outputs[name]
    kind = said.kind or inferred.kind
    of = said.of or (inferred.topics if kind is Kind.rows else ())
    return Output(
        kind=kind,
        of=tuple(product.settings.kafka_name(t) for t in of),
        where=said.where,
        key=said.key or (inferred.key if kind is Kind.aggregate else ()),
        window=said.window or (inferred.window if kind is Kind.aggregate else None),
        partition=said.partition,
        sort=said.sort,
        columns=query.columns,
        select=query.sql,
    )


def output_problems(
    product: Product, queries: Mapping[str, Query], inferred: Mapping[str, Inferred]
) -> Iterator[Problem]:
    yaml = str(product.folder / "product.yaml")
    for name, query in queries.items():
        said, found, names = (
            product.settings.outputs[name],
            inferred[name],
            {c.name for c in query.columns},
        )
        if unknown := [c for c in said.key if c not in names]:
            yield Problem(
                yaml,
                0,
                f"outputs.{name}.key: {', '.join(unknown)}",
                f"columns of the SELECT: {', '.join(c.name for c in query.columns)}",
            )
        yield from _window_problems(yaml, name, said, query)
        yield from _topic_problems(yaml, name, said, query)
        kind, key = said.kind or found.kind, said.key or found.key
        if said.topic and kind is Kind.aggregate and not key:
            yield Problem(
                yaml,
                0,
                f"outputs.{name}.topic: nothing tells its rows apart, and equal rows would be one event (ce_id)",
                "a key that the SELECT shows, as key in product.yaml; or an output without topic",
            )
        if (said.kind or found.kind) is Kind.rows:
            yield from _row_problems(name, query, found, frozenset(said.of or found.topics))


def _window_problems(yaml: str, name: str, said: OutputSettings, query: Query) -> Iterator[Problem]:
    if said.window is None:
        return
    types = {c.name: c.type for c in query.columns}
    found = types.get(said.window.column, "no column")
    if not found.startswith(("DATE", "TIMESTAMP(")):
        yield Problem(
            yaml,
            0,
            f"outputs.{name}.window.column: {said.window.column} is {found}",
            "a TIMESTAMP or DATE column, where the window begins",
        )


def _topic_problems(yaml: str, name: str, said: OutputSettings, query: Query) -> Iterator[Problem]:
    """What a topic of JSON cannot have."""
    for column in query.columns if said.topic else ():
        if not is_json(parse(column.type)):
            yield Problem(
                yaml,
                0,
                f"outputs.{name}.topic: {column.name} is {column.type}",
                "a MAP with keys of STRING, as the topic's records are JSON; or an output without topic",
            )


def _row_problems(
    name: str, query: Query, found: Inferred, of: frozenset[str]
) -> Iterator[Problem]:
    file, line = str(query.statement.file), query.statement.line
    names = {c.name for c in query.columns}
    place = ("log_topic", *PLACE) if len(of) > 1 else PLACE
    if missing := [c for c in place if c not in names]:
        yield Problem(
            file,
            line,
            f"{name} does not have the positions of its records in the log",
            f"{', '.join(missing)} in the SELECT, and in the views that it reads",
        )
    elif of and found.placed != of:
        yield Problem(
            file,
            line,
            f"{name}: log_partition and log_offset do not identify one record of {', '.join(sorted(of))} for each row",
            "both columns as the topic has them; in a UNION, one branch for each topic with events; or "
            f"outputs.{name}.kind: aggregate in product.yaml",
        )
    if found.filters:
        yield Problem(
            file,
            line,
            f"{name} leaves records out, and the audit would miss them",
            f"outputs.{name}.where in product.yaml, which the audit evaluates again; "
            f"or kind: aggregate, for a table that does not account for records",
        )
