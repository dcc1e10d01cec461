"""`python -m bench.ladder`: the ladder of jobs on the stack of $KAPPA_HOME, over the log of `kappa load flights`.

Every job reads the same log to its end. Rates are of one run on one machine: compare their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Meter, largest_state, turns, wait_finished
from bench.results import keep, slower, summarise
from bench.rungs import ICEBERG, Rung, build, ladder
from jobs.bindings import Bindings
from jobs.product.folder import Product, load_product
from local import remembered, stack
from replay.controller.platform import Platform
from replay.flink import resolved
from replay.flink.submit import planner_env
from replay.home import kappa_home
from replay.iceberg import lake, table_changes
from replay.kafka import log
from replay.output import Output, print_rows
from replay.query.query import open_tables
from replay.releases import release
from replay.secret import revealed
from replay.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "latest.json"


def main(arguments: list[str] | None = None) -> None:
    """Run rungs, print a table, write the results as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ladder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rungs", nargs="*", help="only these, in this order [default: all]")
    parser.add_argument("--product", type=Path, default=ROOT / "sql" / "flights", help="its folder")
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument(
        "--until",
        type=datetime.fromisoformat,
        metavar="DATE",
        help="read records appended before it, in UTC unless it says otherwise [default: all]",
    )
    parser.add_argument(
        "--repeat", type=int, default=1, help="turns of all rungs; the table has medians"
    )
    parser.add_argument(
        "--warm-up",
        action="store_true",
        help="run each rung once before any is measured: the first to run would pay for cold files and code",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a Flink setting of every job",
    )
    parser.add_argument(
        "--results", type=Path, default=Path(os.environ.get("KAPPA_BENCH_OUT") or RESULTS)
    )
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="results to name what got slower since"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds that one job may take")
    args = parser.parse_args(arguments)

    settings = load_settings()
    product = resolved.resolve(settings, load_product(args.product))
    os.environ.update(planner_env(settings))
    # Workers of their own, as under `flink run`: PyFlink takes this for a local test, and would run its Python in here.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 - PyFlink's own name
    extra = dict(s.split("=", 1) for s in args.set)
    runner = Runner(settings, product, args.parallelism, extra, args.timeout, args.until)
    rungs = {rung.name: rung for rung in ladder(product)}
    rows = []
    names = list(args.rungs or rungs)
    for turn, row in turns(lambda name: runner.run(rungs[name]), names, args.repeat, args.warm_up):
        rows.append(row)
        sys.stderr.write(json.dumps({"turn": turn, **row}) + "\n")
    summary = summarise(rows)
    stored = json.loads(args.compare.read_text())["rows"] if args.compare else []
    keep(args.results, summary, parallelism=args.parallelism, turns=args.repeat)
    print_rows(
        [{SHORT[k]: v for k, v in row.items() if k in SHORT} for row in summary], Output.text
    )
    for sentence in slower(summary, stored):
        sys.stdout.write(sentence + "\n")
    if args.compare and not slower(summary, stored):
        sys.stdout.write(f"nothing got slower since {args.compare}\n")


# As many columns as 80 characters hold; the results have more.
SHORT = {
    "name": "rung",
    "seconds": "s",
    "spread_seconds": "±",
    "cpu_seconds": "CPU s",
    "events_per_second": "events/s",
    "ratio_to_pass_through": "ratio",
    "cpu_ratio_to_pass_through": "of CPU",
}


class Runner:
    """Runs rungs one after the other on the stack."""

    def __init__(
        self,
        settings: Settings,
        product: Product,
        parallelism: int,
        extra: dict[str, str],
        timeout: float,
        until: datetime | None = None,
    ) -> None:
        self.settings, self.product, self.parallelism, self.timeout = (
            settings,
            product,
            parallelism,
            timeout,
        )
        self.platform = Platform(settings)
        table_changes.ensure(self.platform.catalog, product)
        rest = settings.flink.rest.removeprefix("http://").split(":")
        self.flink = {
            "execution.target": "remote",
            "rest.address": rest[0],
            "rest.port": rest[1],
            "restart-strategy.type": "none",
            # What `flink run -py` adds: Python for the workers, and Flink's side of the bridge to them.
            "python.executable": sys.executable,
            "python.files": str(release.build(settings, product).folder),
            "pipeline.jars": next(
                (settings.flink.home / "opt").glob("flink-python-*.jar")
            ).as_uri(),
            **extra,
        }
        self.pids = tuple(
            row.pid
            for row in stack.status(remembered.layout_of(kappa_home()))
            if row.pid and row.program in ("jobmanager", "taskmanager")
        )
        self.ends = log.end_offsets(settings, list(product.topics))
        if until:
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            at = log.offsets_at(settings, self.ends, int(until.timestamp() * 1000))
            self.ends = {
                topic: {**partitions, **at[topic]} for topic, partitions in self.ends.items()
            }
        self.events = sum(sum(partitions.values()) for partitions in self.ends.values())

    def run(self, rung: Rung) -> dict[str, Any]:
        """One job from its submission to its end, as a row of the results."""
        if not (rung.query or rung.outputs):
            return {
                "name": rung.name,
                "events": self.events,
                **self._raw(),
                "largest_state_mb": 0.0,
            }
        with self._branch(rung) as branch:
            bindings = Bindings.model_validate(
                self.platform.bindings(
                    self.product, branch, f"kappa-{branch}", {}, self.parallelism
                )
            )
            settings = {**self.flink, "pipeline.name": f"bench {rung.name}", **rung.settings}
            job = build(rung, self.product, bindings, settings, self.ends)
            meter = Meter(self.pids)
            client = job.execute().get_job_client()
            assert client
            job_id = str(client.get_job_id())
            seconds = wait_finished(self.settings.flink.rest, job_id, meter, self.timeout)
            return {
                "name": rung.name,
                "events": self.events,
                "seconds": round(seconds, 2),
                "cpu_seconds": round(meter.sample(), 2),
                "peak_memory_mb": meter.peak >> 20,
                "largest_state_mb": round(
                    largest_state(self.settings.flink.rest, job_id) / 2**20, 1
                ),
                **({"tables": self._written(branch, rung)} if rung.sink == ICEBERG else {}),
            }

    def _raw(self) -> dict[str, Any]:
        asked = {"kafka": revealed(self.settings.kafka), "ends": self.ends}
        done = subprocess.run(
            [sys.executable, "-m", "bench.raw"],
            input=json.dumps(asked),
            text=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            timeout=self.timeout,
        )
        return dict(json.loads(done.stdout))

    def _written(self, branch: str, rung: Rung) -> dict[str, dict[str, Any]]:
        """Per table what the job left behind, and what it takes DuckDB to read all of it, every column."""
        catalog, name = self.platform.catalog, self.product.name
        tables = lake.load_tables(catalog, name, rung.outputs)
        heads = {
            table: snapshot
            for table in rung.outputs
            if (snapshot := tables[table].snapshot_by_name(branch))
        }
        found = {}
        with open_tables(
            self.settings, name, {table: head.snapshot_id for table, head in heads.items()}
        ) as connection:
            for table, head in heads.items():
                began = time.monotonic()
                (row,) = connection.execute(
                    f'SELECT count(h) FROM (SELECT hash(t) AS h FROM "{table}" t)'
                ).fetchall()
                seconds = time.monotonic() - began
                assert head.summary
                files, size = (
                    int(head.summary[key] or 0) for key in ("total-data-files", "total-files-size")
                )
                found[table] = {
                    "rows": row[0],
                    "files": files,
                    "mb": round(size / 2**20, 1),
                    "read_seconds": round(seconds, 2),
                }
        return found

    @contextmanager
    def _branch(self, rung: Rung) -> Iterator[str]:
        """A branch of the product's tables for the length of one job; readers see nothing of it."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        if rung.sink != ICEBERG:
            yield name
            return
        lake.create_branch(self.platform.catalog, self.product, name)
        try:
            yield name
        finally:
            lake.drop_branch(self.platform.catalog, self.product, name)


if __name__ == "__main__":
    main()
