"""Runs of a release over records of the log, and over some of them: the rows of one output."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs import generate
from jobs.product.folder import Product
from jobs.product.model import REJECTS
from replay.errors import KappaError
from replay.flink.local_runs import LocalRuns, rows
from replay.flink.rest import root_cause
from replay.kafka import writer_schemas
from replay.kafka.reading import ConsumedRecord
from replay.preview import runs
from replay.settings import Settings
from replay.testing.run import rows_of, times_of
from replay.why.records import Place

Rows = list[dict[str, Any]]


class Trials:
    """The records are those of a slice of the log; of topics without events every run reads all of them."""

    def __init__(
        self,
        settings: Settings,
        product: Product,
        output: str,
        records: runs.Records,
        scratch: Path,
        code: Path | None,
    ) -> None:
        self._product, self._output, self._records = product, output, records
        schemas = writer_schemas.of(settings, runs.registered(product, records))
        self._flink = LocalRuns(settings, product, scratch, schemas, runs.SECONDS, code)
        self._events = [t for t, rule in product.topics.items() if rule.is_event]
        self._numbers = itertools.count()
        self._whole = self._folder(records)

    def whole(self) -> tuple[Rows, Rows]:
        """Over the whole slice: the rows of the output, and those of `rejects`."""
        self._run([self._whole])
        return self._rows(self._whole, self._output), self._rows(self._whole, REJECTS)

    def of(self, groups: Sequence[Collection[Place]]) -> list[Rows]:
        """For each group of records the rows of the output over just these."""
        folders = [self._folder(self._only(group), self._whole) for group in groups]
        self._run(folders)
        return [self._rows(folder, self._output) for folder in folders]

    def times(self, records: Mapping[str, Mapping[int, list[ConsumedRecord]]]) -> dict[Place, int]:
        """When records of topics with events happened whose time only SQL says, in ms since the epoch.

        Those without a time are absent.
        """
        reckoned = [topic for topic in records if self.is_reckoned(topic)]
        if not any(of for topic in reckoned for of in records[topic].values()):
            return {}
        folder = self._folder(records, self._whole)
        self._run([folder], times=True)
        return {
            Place(topic, row["log_partition"], row["log_offset"]): at
            for topic in reckoned
            for row, at in times_of(rows(folder, f"{self._product.sql_name(topic)}_times"))
        }

    def is_reckoned(self, topic: str) -> bool:
        """Whether only SQL says when its events happened."""
        return generate.is_reckoned(self._product, self._product.sql_name(topic))

    def _only(self, places: Collection[Place]) -> dict[str, dict[int, list[ConsumedRecord]]]:
        """Of topics with events only these records; partitions without one, too."""
        return {
            topic: {
                p: [r for r in of if Place(topic, p, r.offset) in places]
                for p, of in self._records[topic].items()
            }
            for topic in self._events
        }

    def _folder(
        self,
        records: Mapping[str, Mapping[int, Sequence[ConsumedRecord]]],
        shared: Path | None = None,
    ) -> Path:
        named = {self._product.sql_name(topic): of for topic, of in records.items()}
        return self._flink.folder(f"run-{next(self._numbers)}", named, shared)

    def _rows(self, folder: Path, output: str) -> Rows:
        return rows_of(self._product, output, folder)

    def _run(self, folders: Sequence[Path], *, times: bool = False) -> None:
        for error in self._flink.run(folders, times=times):
            if error:
                raise KappaError(
                    f"{self._product.name} failed over a part of the log",
                    expected="a job that reads the records to their end",
                    found=root_cause(error) or error,
                    next="kappa doctor",
                )
