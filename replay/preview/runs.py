"""A run of a product over records of the log, in the planner's JVM: nothing that readers see is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from jobs.product.folder import Product
from jobs.product.formats import KeyFormat
from replay.errors import KappaError
from replay.flink.local_runs import LocalRuns, scratch
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


def registered(product: Product, records: Records) -> Iterator[bytes]:
    """The values and keys that begin with the id of a schema."""
    for topic, partitions in records.items():
        rule = product.topics[topic]
        keys = rule.record_key is not None and rule.record_key.format is KeyFormat.avro_confluent
        for record in chain.from_iterable(partitions.values()):
            if record.value and rule.format.is_registered:
                yield record.value
            if record.key and keys:
                yield record.key


def run(settings: Settings, product: Product, records: Records) -> Rows:
    """The rows of a resolved product; KappaError if the run fails."""
    schemas = writer_schemas.of(settings, registered(product, records))
    with scratch(settings, "preview") as made:
        flink = LocalRuns(settings, product, made, schemas, SECONDS)
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
