"""Runs of a product over records in files, in the warm planner's JVM or in one of their own: see `jobs.local_run`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jobs.bindings import RECORDS, ROWS, SCHEMAS
from jobs.processes import RELEASE_ENVIRONMENT
from jobs.product.folder import Product
from replay.errors import KappaError, RetryableError
from replay.flink import planner
from replay.kafka import record_files
from replay.kafka.reading import ConsumedRecord
from replay.settings import Settings

_START_SECONDS = 300.0
"""For what comes before the first job."""
_LEFT_SECONDS = 86_400
"""After which nobody works in a scratch folder any more."""
Records = Mapping[str, Mapping[int, Iterable[ConsumedRecord]]]
"""Per topic, by its name in product.yaml, and partition. Each topic has at least one partition."""


@contextmanager
def scratch(settings: Settings, purpose: str) -> Iterator[Path]:
    """A folder of the home for records of the log, gone with the command; what a killed one left goes a day later."""
    below, prefix = settings.home / "tmp", f"kappa-{purpose}-"
    below.mkdir(parents=True, exist_ok=True)
    for left in below.glob(f"{prefix}*"):
        with suppress(OSError):  # another command was faster
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=below) as made:
        yield Path(made)


class LocalRuns:
    """Runs of a resolved product, each with a folder: records in it, and then rows."""

    def __init__(
        self,
        settings: Settings,
        product: Product,
        scratch: Path,
        schemas: Mapping[int, str | dict[str, str]],
        seconds: float,
        code: Path | None = None,
    ) -> None:
        """`schemas`: those that values were written with, by id; `seconds`: in which a job must end; `code`: the folder
        whose udfs/ has the product's functions, by default where this program has them.

        The product is copied: what is run stays the same while somebody edits it.
        """
        self._code = code
        self._settings, self._release, self._seconds = settings, scratch.resolve(), seconds
        self._schemas = json.dumps(schemas)
        assert product.resolved
        for file in product.files:
            to = self._release / "product" / file
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(product.folder / file, to)
        (self._release / "resolved.json").write_text(product.resolved.model_dump_json())

    def folder(self, name: str, records: Records, shared: Path | None = None) -> Path:
        """Write what a run reads; where. Of topics that `records` leaves out it reads what the run `shared` does."""
        folder = self._release / name
        (folder / RECORDS).mkdir(parents=True)
        (folder / SCHEMAS).write_text(self._schemas)
        for there in (shared / RECORDS).iterdir() if shared else ():
            if there.name not in records:
                (folder / RECORDS / there.name).symlink_to(there)
        for topic, partitions in records.items():
            record_files.write(folder / RECORDS / topic, partitions)
        return folder

    def run(self, runs: Sequence[Path], *, times: bool = False) -> list[str]:
        """For each folder why its run failed, empty if it did not: then it has the rows of every output.

        With `times` rows of the tables TOPIC_times instead: see `jobs.local_run`.
        """
        request = {
            "release": str(self._release),
            "runs": list(map(str, runs)),
            "seconds": self._seconds,
            "times": times,
        }
        limit = _START_SECONDS + self._seconds * (2 * len(runs) + 1)
        try:
            warm = None if self._code else planner.answer(self._settings, {"run": request}, limit)
            answer = json.loads(warm) if warm else self._run_cold(request, limit)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise RetryableError(
                "Flink gave no answer",
                expected=f"one within {limit:.0f} s",
                found="none",
                next="kappa doctor",
            ) from None
        errors: list[str] = answer["errors"]
        return errors

    def _run_cold(self, request: dict[str, Any], seconds: float) -> Any:
        file = self._release / "request.json"
        file.write_text(json.dumps(request))
        scratch = self._settings.home / "tmp"  # as the planner that stays warm has it
        scratch.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            **planner.environment(self._settings),
            **RELEASE_ENVIRONMENT,  # workers, too, take no module from where this command was typed
            "JVM_ARGS": f"-Djava.io.tmpdir={scratch}",
        }
        if self._code:
            env["PYTHONPATH"] = os.pathsep.join([str(self._code), planner.modules_path()])
        result = subprocess.run(
            [sys.executable, "-P", "-m", "jobs.local_run", str(file)],
            capture_output=True,
            text=True,
            env={**env, "KAPPA_PROGRAM": ""},
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
        for line in reversed(result.stdout.splitlines()):
            if line.startswith("{"):
                return json.loads(line)
        raise KappaError(
            "the run did not finish",
            expected="an answer of `python -m jobs.local_run`",
            found=(result.stderr or result.stdout).strip()[-800:],
            next="kappa doctor",
        )


def rows(run: Path, output: str) -> list[dict[str, Any]]:
    """The rows of an output, each value as `Json.java` writes it. KappaError where the run left no file at all."""
    files = sorted((run / ROWS / output).glob("*.jsonl"))
    if not files:
        raise KappaError(
            f"a run left no file of rows for {output}",
            expected=f"{run / ROWS / output}/0.jsonl, empty where there are no rows",
            found="none",
            next="kappa doctor",
        )
    # not splitlines(): texts may have what Python takes for the end of a line
    return [json.loads(line) for file in files for line in file.read_text().split("\n") if line]
