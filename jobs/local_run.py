"""A product's plan over records in files, in a Flink within the planner's own JVM: `python -m jobs.local_run REQUEST`.

It is the job of a release, but for where it reads and writes: the same SQL, plan, sources and functions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaPackage
from pydantic import BaseModel, ConfigDict
from pyflink.java_gateway import get_gateway
from pyflink.table import TableEnvironment

from jobs import wiring
from jobs.processes import restart_with_environment
from jobs.product.folder import Product, load_release

TOGETHER = 10
"""Runs in one job. Each has operators and threads of its own."""
_LOOK_MILLISECONDS = 500
_CLUSTER = {
    # Ports of the machine's own choice, of this machine alone. With one TaskManager in this JVM nothing else listens.
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "rest.bind-port": "0",
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": "4",
    "taskmanager.memory.managed.size": "64m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
}
_RUN = {
    "parallelism.default": "1",
    "restart-strategy.type": "none",
    # Several runs are one job, and two operators may not have the same name.
    "table.exec.uid.generation": "DISABLED",
    "python.executable": sys.executable,
    "python.client.executable": sys.executable,
}


class Request(BaseModel):
    """What to run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    release: Path
    """A folder as an archived release has it: `product/` and `resolved.json`."""
    runs: tuple[Path, ...]
    """Folders with records, see `jobs.bindings.RECORDS`; their rows come there, too."""
    seconds: float
    """Limit of each job."""
    times: bool = False
    """Instead of the outputs: when each record happened, of topics whose SQL says it. Rows are in TOPIC_times."""


def local_run(request: Request) -> dict[str, Any]:
    """{"errors": […], "stuck": …}: for each run why it failed, empty if it did not; and whether a job goes on though it
    was cancelled, so that this JVM should not be used any more."""
    product = load_release(request.release)
    jobs = Jobs(product, request.seconds, request.times)
    found: dict[Path, str] = {}
    for start in range(0, len(request.runs), TOGETHER):
        some = request.runs[start : start + TOGETHER]
        error = jobs.run(some)
        if error and len(some) > 1:  # whose fault it is shows when each runs alone
            found |= {run: jobs.run([run]) for run in some}
        else:
            found |= dict.fromkeys(some, error)
    return {"errors": [found[run] for run in request.runs], "stuck": jobs.stuck}


class Jobs:
    """Jobs of one product, one after the other."""

    def __init__(self, product: Product, seconds: float, times: bool) -> None:
        self._product, self._seconds, self._times = product, seconds, times
        self.stuck = False

    def run(self, runs: Sequence[Path]) -> str:
        """Run one job; why it failed, empty if it did not."""
        if self.stuck:
            return "it was not run, for another run before it could not be ended"
        try:
            job = self._submit(runs)
        except Exception as e:  # noqa: BLE001 - whatever Flink or the import of a function says is the answer
            return f"{type(e).__name__}: {e}"
        return self._ended(job)

    def _submit(self, runs: Sequence[Path]) -> str:
        job = _java().Job()
        for run in runs:
            env = wiring.environment(self._product)
            for key, value in _RUN.items():
                env.get_config().set(key, value)
            job.add(env._j_tenv, self._plan(env, run))
        return str(job.submit(f"{self._product.name} over files", _map(_CLUSTER)))

    def _plan(self, env: TableEnvironment, run: Path) -> str:
        """Declare what it reads and writes; the compiled plan."""
        if self._times:
            return wiring.plan_of_times(env, self._product, run)
        assert self._product.resolved
        wiring.declare_files(env, self._product, run)
        return self._product.resolved.plan

    def _ended(self, job: str) -> str:
        deadline = time.monotonic() + self._seconds
        error = None
        try:
            while error is None and time.monotonic() < deadline:
                error = _java().outcome(job, _LOOK_MILLISECONDS)
        finally:
            self.stuck = error is None and not _java().cancel(job)
        return f"it did not end within {self._seconds:g} s" if error is None else str(error)


def _java() -> Any:
    """The class of the connector's jar; LookupError where that is missing, in Flink's own words."""
    found = get_gateway().jvm.kappa.local.LocalRuns
    if isinstance(found, JavaPackage):
        raise LookupError("Could not find any factory for identifier 'kappa-log' in the classpath")
    return found


def _map(values: Mapping[str, str]) -> Any:
    found = get_gateway().jvm.java.util.HashMap()
    for key, value in values.items():
        found.put(key, value)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run what a file asks for; the answer is a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m jobs.local_run", description=__doc__)
    parser.add_argument("request", type=Path, help="JSON: release, runs, seconds")
    args = parser.parse_args(arguments)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what a product's modules print when they are imported is no answer
        answer = local_run(Request.model_validate_json(args.request.read_bytes()))
        out.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    restart_with_environment(["-m", "jobs.local_run", *sys.argv[1:]])
    sys.exit(main())
