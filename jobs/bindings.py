"""Binds a product's SQL, which names no address and no release, to a log, a catalog and a branch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from py4j.java_gateway import JavaPackage
from pydantic import BaseModel, ConfigDict, Field
from pyflink.common import Configuration
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, StatementSet, TableEnvironment
from pyflink.table.udf import udf
from pyflink.util.java_utils import to_jarray

from jobs.product import Function, Product, Role, seconds
from jobs.sql import Statement, StatementError, read_statements


class Catalog(BaseModel):
    """The Iceberg catalog as Flink names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    options: dict[str, str]


class Bindings(BaseModel):
    """Everything that one attempt adds to a product; the controller writes it, a person may."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    attempt: str
    branch: str
    """Iceberg branch of every output; it must exist (a missing one would be forked from main's rows)."""
    group: str
    """Consumer group: its committed offsets say how far the attempt has come."""
    kafka: dict[str, str]
    """Java client properties, bootstrap.servers among them."""
    registry: str
    catalog: Catalog
    namespace: str
    partitions: dict[str, int] = Field(default_factory=dict)
    """Partitions per topic."""
    reference_offsets: dict[str, dict[int, int]] = Field(default_factory=dict)
    """Where reading a reference topic ends, per partition; fixed with the release so that a replay reads the same."""
    broker_time: tuple[str, ...] = ()
    """Topics whose records the broker dates (message.timestamp.type=LogAppendTime): only of these is it known that
    nothing earlier can come, so that a partition at its end, or an empty one, holds nothing back."""
    parallelism: int
    checkpoint_interval: str
    checkpoint_dir: str
    wider_types: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Table → column → type, where a later release has widened the table: Iceberg's writer does not cast."""


def environment(product: Product) -> TableEnvironment:
    """A streaming table environment with everything that decides a plan, and nothing of an attempt."""
    settings = product.settings
    config = Configuration()
    for key, value in {
        "table.local-time-zone": settings.time_zone,
        # One block per view that several outputs read: without it projections are pushed into each reader's own
        # copy, and the de-duplication runs once per output.
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        # Rows of one event time keep the order of the log through every shuffle of a key.
        "table.exec.mini-batch.enabled": "false",
        "pipeline.object-reuse": "true",
        # A task waits while Python works off a bundle: with two batches in one, both work. Their rows wait in the heap:
        # with ten, collecting garbage costs twice as much. A checkpoint ends a bundle, so no row waits longer than for
        # that, and none longer than a second.
        "python.fn-execution.bundle.size": "20000",
        "python.fn-execution.arrow.batch.size": "10000",
        "python.metric.enabled": "false",
        **settings.flink,
    }.items():
        config.set_string(key, value)
    streaming = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(config).build()
    return TableEnvironment.create(streaming)


def configure_run(env: TableEnvironment, product: Product, bindings: Bindings) -> None:
    """Settings of an attempt: its checkpoints and its parallelism.

    The job has no more subtasks than an event topic has partitions. A subtask without a partition would hold the
    watermark for ever; a source with fewer subtasks than the job hands its records round, and those of one key
    overtake each other, so that another of two repeated events would be kept in every run.
    """
    events = [t for t, topic in product.settings.topics.items() if topic.role is Role.events]
    parallelism = min([bindings.parallelism, *(bindings.partitions[t] for t in events if t in bindings.partitions)])
    backlog = max(bindings.checkpoint_interval, product.settings.backlog_checkpoint_interval, key=seconds)
    config = env.get_config()
    for key, value in {
        "execution.checkpointing.interval": bindings.checkpoint_interval,
        "execution.checkpointing.interval-during-backlog": backlog,
        "execution.checkpointing.dir": bindings.checkpoint_dir,
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "parallelism.default": str(parallelism),
    }.items():
        config.set(key, value)


# How soon a partition that a topic gains is read, from its offset zero. Until then the clocks of the others run on.
_DISCOVERY = "10s"


def source_options(topic: str, product: Product, bindings: Bindings) -> dict[str, str]:
    """Options of one topic's table: where it is read, from offset zero, by whom and how far."""
    options = {
        "topic": topic,
        **{f"properties.{key}": value for key, value in bindings.kafka.items()},
        "properties.group.id": bindings.group,
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        # Not Flink's own connector, which forgets the log's clock in a restart: see jobs/java/src/main/java/kappa/log.
        "connector": "kappa-log",
        "format": "avro-confluent-tolerant",
        "avro-confluent-tolerant.url": bindings.registry,
    }
    rule, partitions = product.settings.topics[topic], bindings.partitions.get(topic, 1)
    if rule.role is Role.reference:
        ends = bindings.reference_offsets.get(topic)
        options["allowed-lateness"] = "0s"
        return {**options, **(end_options(ends) if ends else {"scan.bounded.mode": "latest-offset"})}
    options["allowed-lateness"] = rule.allowed_lateness or "0s"
    options["scan.topic-partition-discovery.interval"] = _DISCOVERY
    if product.settings.max_drift:
        options["scan.watermark.alignment.group"] = product.name
        options["scan.watermark.alignment.max-drift"] = f"{seconds(product.settings.max_drift)} s"
        options["scan.watermark.alignment.update-interval"] = "50 ms"
    if rule.once:
        options["once"] = ";".join(rule.identity)
    if topic in bindings.broker_time:
        options["broker-time"] = "true"
    if rule.role is Role.dimension and partitions < bindings.parallelism:
        # A subtask without a partition would hold the watermark for ever (in a bounded source it just finishes).
        # Records are handed round to the subtasks behind: the safety check asks for versions ordered by a window.
        options["scan.parallelism"] = str(partitions)
    return options


def end_options(ends: Mapping[int, int]) -> dict[str, str]:
    """Options of a topic that is read up to fixed offsets, one per partition."""
    offsets = ";".join(f"partition:{partition},offset:{end}" for partition, end in sorted(ends.items()))
    return {"scan.bounded.mode": "specific-offsets", "scan.bounded.specific-offsets": offsets}


def sink_options(table: str, bindings: Bindings) -> dict[str, str]:
    """Options of one output: an Iceberg table's branch."""
    return {
        "connector": "iceberg",
        "catalog-name": bindings.catalog.name,
        "catalog-database": bindings.namespace,
        "catalog-table": table,
        "branch": bindings.branch,
        **{k: v for k, v in bindings.catalog.options.items() if k != "type"},
    }


def declare(env: TableEnvironment, product: Product, bindings: Bindings | None) -> StatementSet:
    """Declare functions, sources, outputs and views; the statement set of all inserts, not yet started.

    Without bindings (a check) sources and outputs have the same columns and no addresses.
    """
    declare_sources(env, product, bindings or _NOWHERE)
    declare_outputs(env, product, bindings)
    return inserts(env, product)


def declare_sources(env: TableEnvironment, product: Product, bindings: Bindings) -> None:
    """Declare the product's functions, its topics as tables, and the look-ups of those with versions."""
    for name, function in product.settings.functions.items():
        env.create_temporary_system_function(name, _function(function))
    for statement in read_statements(product.sources_sql):
        _run(statement, env.execute_sql)
        if (topic := statement.created_table) is not None:
            set_options(env, topic, source_options(topic, product, bindings))
            if key := product.settings.topics[topic].key:
                _java("Versions").declare(env._j_tenv, topic, to_jarray(get_gateway().jvm.String, key))
    for name, topics in product.settings.lookups.items():
        keys = _list(_list(product.settings.topics[topic].key) for topic in topics.values())
        _java("VersionsOfSeveral").declare(env._j_tenv, name, _list(topics), _list(topics.values()), keys)


def declare_outputs(env: TableEnvironment, product: Product, bindings: Bindings | None) -> None:
    """Declare the outputs as Iceberg tables, without bindings as tables that keep nothing."""
    for table in product.outputs:
        options = sink_options(table, bindings) if bindings else {"connector": "blackhole"}
        wider = bindings.wider_types.get(table, {}) if bindings else {}
        columns = ",\n  ".join(f"`{c.name}` {wider.get(c.name, c.type)}" for c in product.columns[table])
        env.execute_sql(f"CREATE TEMPORARY TABLE `{table}` (\n  {columns}\n) WITH ({_options(options)})")


def inserts(env: TableEnvironment, product: Product, only: Collection[str] | None = None) -> StatementSet:
    """Declare the views; the statement set of all inserts, or of those into some outputs only."""
    found = env.create_statement_set()
    for file in product.output_sql:
        for statement in read_statements(file):
            if (table := statement.inserted_table) is None:
                _run(statement, env.execute_sql)
            elif only is None or table in only:
                _run(statement, found.add_insert_sql)
    return found


def set_options(env: TableEnvironment, table: str, options: dict[str, str]) -> None:
    """Give a declared table further options."""
    env.execute_sql(f"ALTER TABLE `{table}` SET ({_options(options)})")


def _java(name: str) -> Any:
    """A class of the format's jar; LookupError where that is missing, in Flink's own words."""
    found = getattr(get_gateway().jvm.kappa.log, name)
    if isinstance(found, JavaPackage):  # as Py4J takes what is no class
        raise LookupError("Could not find any factory for identifier 'kappa-log' in the classpath")
    return found


def _list(values: Iterable[Any]) -> Any:
    """A java.util.List."""
    found = get_gateway().jvm.java.util.ArrayList()
    for value in values:
        found.add(value)
    return found


# What a check binds to: the plan is the same, and nothing is connected to.
_NOWHERE = Bindings(attempt="check", branch="check", group="check", kafka={"bootstrap.servers": "127.0.0.1:9"},
                    registry="http://127.0.0.1:9", catalog=Catalog(name="check", options={}), namespace="check",
                    parallelism=1, checkpoint_interval="10s", checkpoint_dir="file:///dev/null")


def _run(statement: Statement, call: Callable[[str], Any]) -> None:
    try:
        call(statement.text)
    except Exception as e:
        raise StatementError(statement) from e


def _options(options: dict[str, str]) -> str:
    return ", ".join("'{}' = '{}'".format(k.replace("'", "''"), v.replace("'", "''")) for k, v in options.items())


def _function(function: Function) -> Any:
    """A PyFlink function around plain Python, called with values or, vectorised, with pandas Series."""
    module, _, attribute = function.python.partition(":")
    call: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return udf(call, result_type=function.returns, deterministic=function.deterministic,
               func_type="pandas" if function.vectorised else "general")
