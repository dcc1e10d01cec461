"""The products of docs/pipelines.md: their tests pass, what the page calls refused is, and four of them run."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import Producer

from replay import offsets
from replay.flink import resolved
from replay.kafka import log, schema_registry
from replay.releases.folders import read_product
from replay.settings import Settings
from replay.store.store import Store
from replay.testing import model, run
from tests.integration import pipelines
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs
from tests.refused_statements import Refused, refused

PRODUCTS = Path(__file__).parents[1] / "products"
FOLDERS = sorted(file.parent for file in PRODUCTS.glob("*/product.yaml"))
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def settings(stack: RunningStack) -> Settings:
    return stack.settings


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_it_may_be_deployed_and_its_tests_pass(settings: Settings, folder: Path) -> None:
    product = resolved.resolve(settings, read_product(folder))
    cases = model.read(folder)
    assert cases
    results = run.run(settings, product, cases)
    assert {r.case.name: (r.error, r.differences) for r in results if not r.passed} == {}


@pytest.mark.parametrize("said", refused(), ids=lambda said: str(said.title))
def test_what_is_refused_says_what_to_write_instead(
    settings: Settings, tmp_path: Path, said: Refused
) -> None:
    folder = Path(shutil.copytree(said.file.parent, tmp_path / said.file.parent.name))
    file = folder / said.file.name
    file.write_text(said.text)
    problems = resolved.ask(settings, folder)["problems"]
    assert [(p["construct"], p["instead"]) for p in problems] == list(said.answers)
    assert {p["file"] for p in problems} == {str(file)}


@pytest.fixture(scope="module")
def deployed(stack: RunningStack) -> Iterator[list[pipelines.Made]]:
    """Four products, two at a time: each starts a Flink cluster of its own."""
    logs = [make() for make in pipelines.ALL]

    def deploy(made: pipelines.Made) -> None:
        folder = str(PRODUCTS / made.name)
        stack.kappa("deploy", made.name, "--from", folder, "--timeout", "240")
        wait_until(partial(is_published, stack, made), 120, f"{made.name} is published")

    try:
        for made in logs:
            append(stack, made)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(deploy, logs))
        yield logs
    finally:
        for made in logs:
            stop_jobs(stack, made.name)


def append(stack: RunningStack, made: pipelines.Made) -> None:
    """Its topics with their records; each is dated as it says."""
    product = read_product(PRODUCTS / made.name)
    log.create_topics(stack.settings, made.topics)
    ids = schema_registry.register(stack.settings, product)
    schemas = {
        topic: fastavro.parse_schema(json.loads(product.schema_file(topic).read_text()))
        for topic in ids
    }
    producer = Producer({**stack.settings.kafka, "enable.idempotence": True, "log_level": 0})
    for record in made.records:
        value = record.value
        if isinstance(value, dict):
            body = io.BytesIO()
            fastavro.schemaless_writer(body, schemas[record.topic], value)
            value = b"\0" + ids[record.topic].to_bytes(4, "big") + body.getvalue()
        producer.produce(
            record.topic, value, record.key, partition=record.partition, timestamp=record.at
        )
    assert producer.flush(30) == 0


def test_four_of_them_have_the_rows_that_plain_python_works_out(
    stack: RunningStack, deployed: list[pipelines.Made]
) -> None:
    for made in deployed:
        for query, expected in made.tables.items():
            rows = [tuple(row.values()) for row in stack.kappa.json("query", made.name, query)]
            assert expected
            assert sorted(rows, key=repr) == sorted(expected, key=repr), query


def test_every_record_of_the_four_is_accounted_for(
    stack: RunningStack, deployed: list[pipelines.Made]
) -> None:
    for made in deployed:
        report = stack.kappa.json("audit", made.name)
        events = [p for p in report["partitions"] if "versions" not in p]
        told = {kind: sum(p.get(kind, 0) for p in events) for kind in made.counts}
        assert told == dict(made.counts), made.name
        assert report["ok"] and sum(p.get("unaccounted", 0) for p in report["partitions"]) == 0


def is_published(stack: RunningStack, made: pipelines.Made) -> bool:
    with closing(Store(stack.settings.store)) as store:
        shown = store.load(made.name).published
    return shown is not None and offsets.covers(shown.covered, made.ends)
