"""Declares a product to Flink: its functions, its topics, its views and its outputs, bound to a log and a branch."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaPackage
from pyflink.common import Configuration
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, StatementSet, TableEnvironment, TableResult
from pyflink.table.udf import udf

from jobs import generate
from jobs.bindings import (
    CHECKPOINT_TIMEOUT,
    TOPIC_CHECKPOINT_TIMEOUT,
    Bindings,
    Catalog,
    file_options,
    lines_options,
    sink_options,
    source_options,
    time_options,
)
from jobs.product import names
from jobs.product.folder import Product, ProductError
from jobs.product.model import Function, Output, seconds
from jobs.product.own_functions import ALLOWED, imported
from jobs.product.sql import Statement, StatementError, quoted, read_statements

NOWHERE = Bindings(
    attempt="check",
    branch="check",
    group="check",
    kafka={"bootstrap.servers": "127.0.0.1:9"},
    registry="http://127.0.0.1:9",
    catalog=Catalog(name="check", options={}),
    namespace="check",
    parallelism=1,
    checkpoint_interval="10s",
    checkpoint_dir="file:///dev/null",
)
"""The bindings of a check, which connects to nothing; the plan is the same as with real ones."""
_WORKER_MODE = "_python_worker_execution_mode"
"""An environment variable of PyFlink."""


def environment(product: Product) -> TableEnvironment:
    """A streaming table environment with every setting that decides a plan, and none of an attempt."""
    settings = product.settings
    # Else PyFlink would offer to run functions in this process, to whoever asks, on every address of the machine.
    os.environ[_WORKER_MODE] = "process"
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
        # A compiled plan names its tables; where they are is said by whoever runs it.
        "table.plan.compile.catalog-objects": "IDENTIFIER",
        "table.plan.restore.catalog-objects": "IDENTIFIER",
        # No OPTIONS hint: where and how a table is read is not the SQL's to say.
        "table.dynamic-table-options.enabled": "false",
        **settings.flink,
    }.items():
        config.set_string(key, value)
    streaming = (
        EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(config).build()
    )
    return TableEnvironment.create(streaming)


def configure_run(env: TableEnvironment, product: Product, bindings: Bindings) -> None:
    """Settings of an attempt: its checkpoints and its parallelism.

    The job has no more subtasks than an event topic has partitions. A subtask without a partition would hold the
    watermark for ever; a source with fewer subtasks than the job hands its records round, and those of one key
    overtake each other, so that another of two repeated events would be kept in every run.
    """
    events = [t for t, topic in product.topics.items() if topic.is_event]
    parallelism = min(
        [
            bindings.parallelism,
            *(bindings.partitions[t] for t in events if t in bindings.partitions),
        ]
    )
    backlog = max(
        bindings.checkpoint_interval, product.settings.backlog_checkpoint_interval, key=seconds
    )
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
        **(_of_transactions(product) if bindings.output_topics else {}),
    }.items():
        config.set(key, value)


def _of_transactions(product: Product) -> dict[str, str]:
    """Settings of a job that writes topics.

    A transaction is committed when the checkpoint behind it is completed. If that one failed, and the next took its
    time, the broker would have aborted what a completed checkpoint counts on; a restart before that loses nothing.
    """
    return {
        "execution.checkpointing.tolerable-failed-checkpoints": "0",
        CHECKPOINT_TIMEOUT: product.settings.flink.get(
            CHECKPOINT_TIMEOUT, TOPIC_CHECKPOINT_TIMEOUT
        ),
    }


def declare_inputs(env: TableEnvironment, product: Product, bindings: Bindings) -> None:
    """Declare the product's functions, its topics as tables, and the look-ups of those with versions."""
    _declare_inputs(env, product, lambda name: source_options(name, product, bindings))


def _declare_inputs(
    env: TableEnvironment, product: Product, options: Callable[[str], Mapping[str, str]]
) -> None:
    settings = product.settings
    taken = (
        {"if", *(found.lower() for found in env.list_functions())}
        if settings.functions
        else frozenset()
    )
    for name, function in settings.functions.items():
        if name.lower() in taken:  # the safety check knows Flink's own by their names
            expected = f"functions.{name}: a name that no function of Flink has"
            raise ProductError(product.folder / "product.yaml", expected, name)
        env.create_temporary_system_function(name, _imported(product, name, function))
    for name, topic in settings.topics.items():
        _run(env, product, generate.source_table(product, name, options(name)))
        _run(env, product, generate.topic_view(product, name))
        if topic.key:
            _java("Versions").declare(
                env._j_tenv, f"{name}_at", names.log_table(name), _list(topic.key)
            )
    for name, topics in settings.lookups.items():
        keys = _list(_list(settings.topics[topic].key) for topic in topics.values())
        tables = _list(names.log_table(topic) for topic in topics.values())
        _java("VersionsOfSeveral").declare(env._j_tenv, f"{name}_at", _list(topics), tables, keys)


def declare_views(env: TableEnvironment, product: Product) -> None:
    """Declare the product's views; StatementError for what Flink's own parser takes for anything else."""
    for statement in read_statements(product.views_sql) if product.views_sql.is_file() else ():
        try:
            operation = env._j_tenv.getParser().parse(statement.text).get(0)
            if str(operation.getClass().getSimpleName()) != "CreateViewOperation":
                raise ValueError(
                    f"{operation.getClass().getSimpleName()}, and views.sql has views alone"
                )
        except Exception as e:
            raise StatementError(statement) from e
        _execute(env, statement)


def declare_outputs(env: TableEnvironment, product: Product, bindings: Bindings) -> None:
    """Declare the outputs as branches of Iceberg tables."""
    for table, output in product.outputs.items():
        columns = {c.name: c.type for c in output.columns}
        _run(env, product, generate.sink_table(table, columns, sink_options(table, bindings)))


def declare_files(env: TableEnvironment, product: Product, folder: Path) -> None:
    """Declare the product over records in files, its outputs as files: what it reads and writes is in the folder."""
    _declare_inputs(env, product, lambda name: file_options(name, product, NOWHERE, folder))
    for table, output in product.outputs.items():
        columns = {c.name: c.type for c in output.columns}
        _run(env, product, generate.sink_table(table, columns, lines_options(table, folder)))


def plan_of_times(env: TableEnvironment, product: Product, folder: Path) -> str:
    """Declare the topics over records in files; the compiled plan of when each record happened, as the SQL says."""
    _declare_inputs(env, product, lambda name: time_options(name, product, NOWHERE, folder))
    statements = env.create_statement_set()
    for name, topic in product.settings.topics.items():
        if generate.is_reckoned(product, name):
            table = f"{name}_times"
            options = lines_options(table, folder)
            _run(env, product, generate.sink_table(table, generate.TIME_COLUMNS, options))
            statements.add_insert_sql(generate.times(name, topic, table))
    return str(statements._j_statement_set.compilePlan().asJsonString())


def declare_nowhere(env: TableEnvironment, outputs: Mapping[str, Output]) -> None:
    """Declare outputs as tables that keep nothing, in place of those of that name."""
    for table, output in outputs.items():
        env.execute_sql(f"DROP TEMPORARY TABLE IF EXISTS {quoted(table)}")
        env.execute_sql(
            generate.sink_table(
                table, {c.name: c.type for c in output.columns}, {"connector": "blackhole"}
            )
        )


def inserts(
    env: TableEnvironment, product: Product, only: Collection[str] | None = None
) -> StatementSet:
    """The statement set of all inserts, or of those into some outputs only."""
    found = env.create_statement_set()
    for table, output in product.outputs.items():
        if only is None or table in only:
            add_insert(
                found, Statement(product.select_sql(table), 1, generate.insert(table, output), ())
            )
    return found


def add_insert(statements: StatementSet, statement: Statement) -> None:
    """Add an INSERT; StatementError when the planner refuses it."""
    try:
        statements.add_insert_sql(statement.text)
    except Exception as e:
        raise StatementError(statement) from e


def run_plan(env: TableEnvironment, compiled: str) -> TableResult:
    """Submit a job with this compiled plan, whose tables and functions have been declared."""
    env._before_execute()
    return TableResult(_loaded(env, compiled).execute())


def translate(env: TableEnvironment, compiled: str) -> None:
    """Translate a compiled plan into operators without running it; raises Flink's own error if it cannot run."""
    _loaded(env, compiled).explain(
        _api().ExplainFormat.TEXT, get_gateway().new_array(_api().ExplainDetail, 0)
    )


def _loaded(env: TableEnvironment, compiled: str) -> Any:
    return env._j_tenv.loadPlan(_api().PlanReference.fromJsonString(compiled))


def _api() -> Any:
    return get_gateway().jvm.org.apache.flink.table.api


def _run(env: TableEnvironment, product: Product, generated: str) -> None:
    """What was generated from product.yaml and the schemas."""
    _execute(env, Statement(product.folder / "product.yaml", 0, generated, ()))


def _execute(env: TableEnvironment, statement: Statement) -> None:
    try:
        env.execute_sql(statement.text)
    except Exception as e:
        raise StatementError(statement) from e


def _java(name: str) -> Any:
    """A class of the connector's jar; LookupError where that is missing, in Flink's own words."""
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


def _imported(product: Product, name: str, function: Function) -> Any:
    """A PyFlink function around plain Python, called with values or, vectorised, with pandas Series."""
    try:
        call = imported(function.python)
    except Exception as e:
        expected = f"functions.{name}.python: {ALLOWED}"
        raise ProductError(
            product.folder / "product.yaml", expected, f"{function.python}: {e}"
        ) from e
    return udf(
        call,
        result_type=function.returns,
        deterministic=True,
        func_type="pandas" if function.vectorised else "general",
    )
