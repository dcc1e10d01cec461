"""What the controller may rely on of Flink and the log: one story for the real ones, for the fake that tests use, and
for what the benchmark makes of it."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import fastavro
import pytest
import yaml
from confluent_kafka import Producer

from bench.simulated import REFERENCE, SimulatedPlatform
from jobs.product.folder import Product
from replay.controller.loop import ControlledPlatform
from replay.controller.platform import Platform
from replay.core.model import Attempt, Position, ProductState, Release, State
from replay.flink import planner, resolved
from replay.flink.submit import Client
from replay.flink.warm_client import WarmClient
from replay.kafka import log, schema_registry
from replay.releases.folders import read_product
from replay.releases.release import build
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import ORDERS
from tests.unit.control_platform import KEPT_CHECKPOINTS, Clock, FakePlatform

T = TypeVar("T")
BEGIN = 1_704_067_200_000


class Side(Protocol):
    """A platform, one attempt of one release in it, and time."""

    product: Product
    release: Release
    attempt: Attempt

    @property
    def platform(self) -> ControlledPlatform: ...

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Let time pass until something is so."""


class Fake:
    """tests/unit/control_platform.py."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.platform = FakePlatform(self.clock)
        self.attempt = Attempt("flights", 1, 1, 0.0, 1, (uuid.uuid4().hex,))
        self.release = Release("flights", 1, "f1", 0.0, self.platform.reference)
        self.product = self.platform.product(self.attempt, ProductState("flights"))

    def until(self, condition: Callable[[], T], what: str) -> T:
        for _ in range(50):
            if value := condition():
                return value
            self.clock.time += 3
            self.platform.complete_checkpoint()
        raise AssertionError(what)


class Benchmarks:
    """bench/simulated.py."""

    def __init__(self) -> None:
        self.platform = SimulatedPlatform()
        self.platform.add("flights")
        self.attempt = Attempt("flights", 1, 1, 0.0, 1, (uuid.uuid4().hex,))
        self.release = Release("flights", 1, "f1", 0.0, REFERENCE)
        self.product = self.platform.product(self.attempt, ProductState("flights"))

    def until(self, condition: Callable[[], T], what: str) -> T:
        for _ in range(50):
            if value := condition():
                return value
            self.platform.tick()
        raise AssertionError(what)


class Real:
    """The embedded stack, with tests/products/orders under another name."""

    def __init__(self, stack: RunningStack, name: str, folder: Path) -> None:
        folder, topic = folder / name, f"{name}_orders"
        (folder / "schemas").mkdir(parents=True)
        settings = yaml.safe_load((ORDERS / "product.yaml").read_text())
        topics = {"orders": {**settings["topics"]["orders"], "topic": topic}}
        (folder / "product.yaml").write_text(
            yaml.safe_dump({**settings, "name": name, "topics": topics})
        )
        for file in ("order_rows.sql", "hourly_orders.sql", "schemas/orders.avsc"):
            (folder / file).write_text((ORDERS / file).read_text())
        self.platform = Platform(stack.settings)
        product = read_product(folder)
        log.create_topics(stack.settings, {topic: 1})
        self._append(
            stack, product, topic, schema_registry.register(stack.settings, product)[topic]
        )
        self.product = resolved.resolve(stack.settings, product)
        built = build(stack.settings, self.product)
        self.release = Release(name, 1, built.fingerprint, 0.0, {}, None, built.computation)
        self.attempt = Attempt(name, 1, 1, 0.0, 1, (uuid.uuid4().hex,))

    @staticmethod
    def _append(stack: RunningStack, product: Product, topic: str, schema_id: int) -> None:
        schema = fastavro.parse_schema(json.loads(product.schema_file(topic).read_text()))
        producer = Producer({**stack.settings.kafka, "enable.idempotence": True, "log_level": 0})
        for number in range(100):
            body, at = io.BytesIO(), BEGIN + number * 60_000
            order = {"order_id": str(number), "ordered_at": at, "shop": "a", "cents": number}
            fastavro.schemaless_writer(body, schema, order)
            producer.produce(
                topic,
                b"\0" + schema_id.to_bytes(4, "big") + body.getvalue(),
                timestamp=at,
            )
        assert producer.flush(30) == 0

    def until(self, condition: Callable[[], T], what: str) -> T:
        return wait_until(condition, 180, what)


@pytest.fixture(params=["fake", "benchmark", "warm", "cold"])
def side(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Side]:
    """What stands in for a platform in tests and benchmarks, and the real one: its jobs submitted by the warm planner,
    or by `flink run`."""
    if request.param in ("fake", "benchmark"):
        yield Fake() if request.param == "fake" else Benchmarks()
        return
    if request.param == "cold":
        monkeypatch.setenv(planner.SWITCH, "cold")
    made = Real(request.getfixturevalue("stack"), request.param, tmp_path)
    try:
        yield made
    finally:
        for job_id in made.platform.flink().running(made.attempt.full_name):
            made.platform.cancel(made.attempt, job_id)
        made.platform.close()


def no_fence() -> None:
    pass


def start(side: Side, attempt: Attempt) -> None:
    side.platform.prepare(side.product, attempt, side.release, no_fence)
    side.platform.submit(attempt, side.release, no_fence)
    if isinstance(side, Real):
        client = side.platform._clients[attempt.job_id]
        assert isinstance(client, WarmClient if side.release.product == "warm" else Client)
    side.until(
        lambda: (job := side.platform.job(attempt)) and job.status == "RUNNING", "the job runs"
    )
    side.until(
        lambda: not side.platform.submission(attempt).under_way, "the client has come to its end"
    )


def newest(side: Side, attempt: Attempt, beyond: int) -> int:
    """The first checkpoint beyond a number that every table has."""

    def look() -> int:
        found = side.platform.publishable(side.product, attempt)
        return found[0].id if found and found[0].id > beyond else 0

    return side.until(look, f"a checkpoint beyond {beyond} is in every table")


@pytest.mark.timeout(600)
def test_a_job_from_its_submission_to_its_end(side: Side) -> None:
    platform, attempt, product = side.platform, side.attempt, side.product

    assert platform.job(attempt) is None
    platform.cancel(attempt, attempt.job_id)  # of what nobody knows: nothing happens

    assert platform.strays([attempt]) == ()
    start(side, attempt)
    assert platform.strays([attempt]) == (attempt.name,)
    identity = platform.log_identity(product, attempt, {})
    assert identity.keys() == set(product.topics)
    attempt = replace(attempt, confirmed=True, state=State.replaying, log=identity)
    assert platform.log_changes(attempt) == ()
    assert platform.submission(attempt).refused == platform.submission(attempt).trouble == ""

    platform.submit(attempt, side.release, no_fence)  # the same again: the cluster has it already
    side.until(
        lambda: not platform.submission(attempt).under_way, "the second client has come to its end"
    )
    assert platform.submission(attempt).refused == ""
    job = platform.job(attempt)
    assert job is not None and not job.ended

    checkpoint = newest(side, attempt, 1)
    reached = side.until(
        lambda: platform.position(attempt, product), "its sources have written their positions"
    )
    assert reached and reached.checkpoint >= 1
    assert reached.covered.keys() == set(product.topics)
    behind = replace(attempt, positions=(Position(10**6, reached.covered, 0.0),))
    assert platform.position(behind, product) is None, "only what is beyond the attempt's own"
    found = platform.publishable(product, attempt)
    assert [c.id for c in found] == sorted((c.id for c in found), reverse=True)
    assert all(c.snapshots.keys() == set(product.outputs) for c in found)
    retained = platform.retained(attempt)
    assert 1 <= len(retained) <= KEPT_CHECKPOINTS
    assert all(
        path.endswith(f"/{attempt.job_id}/chk-{number}") for number, path in retained.items()
    )
    main, genesis = platform.main(product)
    assert genesis and main.keys() == set(product.outputs)

    platform.cancel(attempt, attempt.job_id)
    side.until(
        lambda: (job := platform.job(attempt)) is not None and job.ended, "the job has ended"
    )
    job = platform.job(attempt)
    assert job and job.status == "CANCELED"
    retained = platform.retained(attempt)
    number, path = max(retained.items())
    resumed = replace(attempt, job_ids=(*attempt.job_ids, uuid.uuid4().hex), restore=path)
    assert resumed.resumed_from == number
    start(side, resumed)
    assert platform.superseded(resumed) == ()
    following = newest(side, resumed, max(number, checkpoint))
    assert following > number, "numbers go on"
    assert [c.id for c in platform.publishable(product, resumed)][-1] <= checkpoint, (
        "and so does the branch"
    )

    platform.cancel(resumed, resumed.job_id)
    side.until(lambda: platform.strays([resumed]) == (), "nothing of it runs any more")
    side.until(
        lambda: (job := platform.job(resumed)) is not None and job.ended, "the job has ended"
    )
    ended = replace(resumed, state=State.failed)
    state = ProductState(product.name, (side.release,), (ended,))
    files = platform.garbage(product, ended)
    assert files
    side.until(lambda: _cleaned(platform, product, ended, state), "nothing of it is left")
    assert platform.publishable(product, ended) == ()
    assert platform.retained(ended) == {}
    assert platform.garbage(product, ended) == ()


def _cleaned(
    platform: ControlledPlatform, product: Product, attempt: Attempt, state: ProductState
) -> bool:
    """As the controller does: again when something is still in use, with what is garbage by then."""
    from replay.errors import RetryableError

    try:
        platform.clean(product, attempt, state, platform.garbage(product, attempt), no_fence)
    except RetryableError:
        return False
    return True
