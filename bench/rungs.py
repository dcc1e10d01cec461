"""The ladder: jobs that do ever more of the product's work, made of the product's own SQL and read to the log's end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pyflink.table import StatementSet, TableDescriptor

from bench.results import PASS_THROUGH
from jobs import wiring
from jobs.bindings import Bindings, end_options, source_options
from jobs.generate import source_table
from jobs.product.folder import Product
from jobs.product.model import Role
from jobs.product.names import log_table
from jobs.product.sql import quoted

HERE = Path(__file__).parent / "rungs"
BLACKHOLE, ICEBERG = "blackhole", "iceberg"


@dataclass(frozen=True)
class Rung:
    """One job of the ladder: a query of bench/rungs into nothing, or some of the product's own outputs.

    Without either it is no job, but a plain consumer (bench/raw.py).
    """

    name: str
    query: str = ""
    outputs: tuple[str, ...] = ()
    sink: str = BLACKHOLE
    as_they_come: bool = False
    """Records are neither held nor de-duplicated by the source."""
    settings: dict[str, str] = field(default_factory=dict)
    """Flink's, of this job alone."""


def ladder(product: Product) -> tuple[Rung, ...]:
    """From reading to the full product."""
    queries = ("once", "one_join", "four_joins")
    full = tuple(product.outputs)
    aggregates = tuple(t for t in full if t != "departures")
    return (
        Rung("raw_consumer"),
        *(Rung(name, query=name, as_they_come=True) for name in (PASS_THROUGH, "reject_late")),
        *(Rung(name, query=name) for name in queries),
        Rung("silver_without_python", query="silver_without_python"),
        Rung("silver", outputs=("departures",)),
        Rung("no_joins", query="once", outputs=("hourly_departures",)),
        Rung("gold", outputs=aggregates),
        Rung("gold_rocksdb", outputs=aggregates, settings={"state.backend.type": "rocksdb"}),
        Rung("product", outputs=full),
        Rung("silver_iceberg", outputs=("departures",), sink=ICEBERG),
        Rung("product_iceberg", outputs=full, sink=ICEBERG),
    )


def build(
    rung: Rung,
    product: Product,
    bindings: Bindings,
    settings: dict[str, str],
    ends: Mapping[str, Mapping[int, int]],
) -> StatementSet:
    """The rung's job: as the product has it, but for the sinks, and up to `ends`: topic → partition → offset."""
    env = wiring.environment(product)
    wiring.configure_run(env, product, bindings)
    # To Flink, a job that reads to an end works off no backlog; a replay does.
    settings = {
        "execution.checkpointing.interval": product.settings.backlog_checkpoint_interval,
        **settings,
    }
    for key, value in settings.items():
        env.get_config().set(key, value)
    # the look-ups of a dimension as in a replay, without an end
    wiring.declare_inputs(env, product, bindings)
    wiring.declare_views(env, product)
    for name, rule in product.settings.topics.items():
        if rule.role is not Role.reference:
            options = source_options(name, product, bindings) | end_options(
                ends[product.settings.kafka_name(name)]
            )
            if rung.as_they_come:
                options = {
                    key: value for key, value in options.items() if key not in ("once", "max-ahead")
                }
            env.execute_sql(f"DROP TEMPORARY TABLE {quoted(log_table(name))}")
            env.execute_sql(source_table(product, name, options))
    if rung.sink == ICEBERG:
        wiring.declare_outputs(env, product, bindings)
    else:
        wiring.declare_nowhere(env, product.outputs)
    job = wiring.inserts(env, product, only=rung.outputs)
    if rung.query:
        job.add_insert(
            TableDescriptor.for_connector(BLACKHOLE).build(),
            env.sql_query((HERE / f"{rung.query}.sql").read_text()),
        )
    return job
