"""The ladder: jobs that do ever more of the product's work, made of the product's own SQL and read to the log's end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pyflink.table import Schema, StatementSet, TableDescriptor, TableEnvironment

from bench.results import PASS_THROUGH
from jobs.bindings import (
    Bindings,
    _function,
    configure_run,
    declare_versions,
    environment,
    sink_options,
    source_options,
)
from jobs.product import Product
from jobs.sql import read_statements

HERE = Path(__file__).parent / "rungs"
BLACKHOLE, ICEBERG = "blackhole", "iceberg"


@dataclass(frozen=True)
class Rung:
    """One job of the ladder: a query of bench/rungs into nothing, or some of the product's own outputs."""

    name: str
    query: str = ""
    outputs: tuple[str, ...] = ()
    sink: str = BLACKHOLE
    settings: dict[str, str] = field(default_factory=dict)
    """Flink's, of this job alone."""


def ladder(product: Product) -> tuple[Rung, ...]:
    """From reading to the full product."""
    queries = (PASS_THROUGH, "reject_late", "once", "one_join", "four_joins")
    full = tuple(product.outputs)
    no_joins = tuple(t for t in full if t != "departures")
    return (
        *(Rung(name, query=name) for name in queries),
        Rung("once_rocksdb", query="once", settings={"state.backend.type": "rocksdb"}),
        Rung("silver_without_python", query="silver_without_python"),
        Rung("silver", outputs=("departures",)),
        Rung("gold", outputs=no_joins),
        Rung("product", outputs=full),
        Rung("silver_iceberg", outputs=("departures",), sink=ICEBERG),
        Rung("product_iceberg", outputs=full, sink=ICEBERG),
    )


def build(rung: Rung, product: Product, bindings: Bindings, settings: dict[str, str]) -> StatementSet:
    """The rung's job: as the product has it, but for the sinks, and that it ends at the log's end."""
    env = environment(product)
    configure_run(env, product, bindings)
    # To Flink, a job that reads to an end works off no backlog; a replay does.
    settings = {"execution.checkpointing.interval": product.settings.backlog_checkpoint_interval, **settings}
    for key, value in settings.items():
        env.get_config().set(key, value)
    for name, function in product.settings.functions.items():
        env.create_temporary_system_function(name, _function(function))
    _sinks(env, product, bindings, rung)
    inserts = env.create_statement_set()
    for file in (product.sources_sql, *product.output_sql):
        for statement in read_statements(file):
            if statement.verb != "INSERT":
                env.execute_sql(statement.text)
            elif statement.tokens[2].text.strip("`") in rung.outputs:
                inserts.add_insert_sql(statement.text)
            if (topic := statement.created_table) is not None:
                options = source_options(topic, product, bindings)
                _alter(env, topic, options)
                declare_versions(env, topic, product)  # a dimension's as in a replay, without an end
                options.pop("scan.bounded.specific-offsets", None)
                _alter(env, topic, {**options, "scan.bounded.mode": "latest-offset"})
    if rung.query:
        inserts.add_insert(TableDescriptor.for_connector(BLACKHOLE).build(),
                           env.sql_query((HERE / f"{rung.query}.sql").read_text()))
    return inserts


def _sinks(env: TableEnvironment, product: Product, bindings: Bindings, rung: Rung) -> None:
    for table in rung.outputs:
        schema = Schema.new_builder()
        for column in product.columns[table]:
            schema = schema.column(column.name, column.type)
        sink = TableDescriptor.for_connector(rung.sink).schema(schema.build())
        if rung.sink == ICEBERG:
            for key, value in sink_options(table, bindings).items():
                sink = sink.option(key, value) if key != "connector" else sink
        env.create_temporary_table(table, sink.build())


def _alter(env: TableEnvironment, topic: str, options: dict[str, str]) -> None:
    pairs = ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
    env.execute_sql(f"ALTER TABLE `{topic}` SET ({pairs})")
