"""A run of a product over records of the log, in the planner's JVM: nothing that readers see is touched."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.product.folder import Product
from replay.errors import KappaError
from replay.flink.local_runs import LocalRuns
from replay.flink.rest import root_cause
from replay.kafka import writer_schemas
from replay.kafka.reading import ConsumedRecord
from replay.settings import Settings
from replay.testing.run import rows_of

SECONDS = 300.0
"""In which the job must end."""
Records = Mapping[str, Mapping[int, Sequence[ConsumedRecord]]]
"""Per topic in Kafka and partition, in the order of their offsets; partitions without a record, too."""
Rows = Mapping[str, list[dict[str, Any]]]
"""Per output."""


def run(settings: Settings, product: Product, records: Records) -> Rows:
    """The rows of a resolved product; KappaError if the run fails."""
    values = (
        r.value
        for topic, partitions in records.items()
        for of in partitions.values()
        for r in of
        if r.value and product.topics[topic].format.is_registered
    )
    schemas = writer_schemas.of(settings, values)
    with tempfile.TemporaryDirectory(prefix="kappa-preview-") as scratch:
        flink = LocalRuns(settings, product, Path(scratch), schemas, SECONDS)
        given = {product.sql_name(topic): of for topic, of in records.items()}
        folder = flink.folder("run", given)
        [error] = flink.run([folder])
        if error:
            raise KappaError(
                f"{product.name} failed over a part of the log",
                expected="a job that reads the records to their end",
                found=root_cause(error) or error,
                next=f"kappa check {product.folder}",
            )
        return {name: rows_of(product, name, folder) for name in product.outputs}
