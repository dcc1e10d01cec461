"""Compaction: `flink run -py jobs/maintenance.py --bindings FILE --table NAME … --target-file-size BYTES`.

Runs Iceberg's own maintenance for Flink once over the head of an attempt's branch, and ends. It writes new data files
and commits them to that branch as a 'replace', which changes no row. It deletes nothing: older snapshots keep their
files until they expire. Python only puts the job together, so that the TaskManagers need none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

_GROUP = 8
"""Target files that are written at a time, from one group of small ones; a group is committed by itself."""
_RUN = 16
"""Target files that one run writes per table, at most. It must end while the table's metadata of its beginning is
kept: for 100 commits, which are 500 s for a job with a checkpoint every 5 s."""


def main(arguments: list[str] | None = None) -> None:
    """Build the job and wait for its end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bindings", type=Path, required=True, help="the attempt's: catalog, namespace, branch"
    )
    parser.add_argument(
        "--table", action="append", required=True, help="an output; may be repeated"
    )
    parser.add_argument("--target-file-size", type=int, required=True, help="bytes")
    args = parser.parse_args(arguments)
    # of a release older or newer than this file: only what is needed
    bindings = json.loads(args.bindings.read_text())

    env = environment()
    for table in args.table:
        compact(
            env,
            table_loader(bindings["catalog"], bindings["namespace"], table),
            bindings["branch"],
            args.target_file_size,
        )
    env.execute(f"{bindings['attempt']}-maintenance")


def environment() -> StreamExecutionEnvironment:
    """One slot for all tables. A run that fails has harmed nothing, and the next one does the rest: no restarts."""
    config = Configuration()
    config.set_string("restart-strategy.type", "none")
    config.set_string("parallelism.default", "1")
    return StreamExecutionEnvironment.get_execution_environment(config)


def table_loader(catalog: dict[str, Any], namespace: str, table: str) -> Any:
    """Iceberg's loader of a table, which the operators open on the cluster."""
    jvm = get_gateway().jvm
    iceberg = jvm.org.apache.iceberg
    loader = jvm.kappa.lake.LakeTableFactory.catalog(catalog["name"], catalog["options"])
    return iceberg.flink.TableLoader.fromCatalog(
        loader, iceberg.catalog.TableIdentifier.parse(f"{namespace}.{table}")
    )


def compact(env: StreamExecutionEnvironment, loader: Any, branch: str, target: int) -> None:
    """Add the compaction of one table.

    `TableMaintenance.forTable` would watch `main`, for ever; here one made-up change of the table starts the task, and
    the job ends with it.
    """
    jvm = get_gateway().jvm
    api = jvm.org.apache.iceberg.flink.maintenance.api
    change = (
        jvm.org.apache.iceberg.flink.maintenance.operator.TableChange.builder()
        .commitCount(1)
        .build()
    )
    kind = jvm.org.apache.flink.api.common.typeinfo.TypeInformation.of(change.getClass())
    task = (
        api.RewriteDataFiles.builder()
        .scheduleOnCommitCount(1)
        .branch(branch)
        .targetFileSizeBytes(target)
        .maxFileGroupSizeBytes(_GROUP * target)
        .maxRewriteBytes(_RUN * target)
        .partialProgressEnabled(True)
        .partialProgressMaxCommits(_RUN // _GROUP)
    )
    changes = env._j_stream_execution_environment.fromData([change], kind)
    api.TableMaintenance.forChangeStream(changes, loader).parallelism(1).add(task).append()


if __name__ == "__main__":
    main(sys.argv[1:])
