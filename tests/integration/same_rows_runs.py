"""Runs of one product over one log, on a stack: what each comes to, whatever the conditions."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema

import udfs
from jobs import generate
from jobs.bindings import Bindings
from jobs.product.folder import Product
from jobs.product.model import Resolved
from jobs.safety.problem import Problem
from local import flink, jars
from local.connector_jar import TEST, compile_java, files_below, write_jar
from local.layout import java
from replay import offsets
from replay.controller.platform import Platform
from replay.core.observed import FlinkDownError, Job
from replay.flink import positions
from replay.flink.rest import Flink, retained_checkpoints
from replay.kafka import log as kafka
from replay.kafka import schema_registry
from tests.integration.running import RunningStack, wait_until
from tests.integration.same_rows_log import PARTITIONS, SCHEMAS, Log, Record, encoded
from tests.integration.same_rows_product import NAME, kafka_name, write_product
from tests.integration.same_rows_words import Statement

_FUNCTIONS = Path(__file__).with_name("same_rows_functions.py")
_PREFIX = re.compile(r"\bl[0-9a-f]{8}_(c\d+_)?")
"""In front of the topics of one copy of a log."""
_OF_A_KILL = (
    "NoResourceAvailableException",
    "no longer reachable",
    "Connection refused",
    "lost connection",
    "heartbeat of TaskManager",
)
"""Why a job restarts, again and again, until there is another TaskManager."""
SILENCES = 12
"""So often a busy JobManager may not answer within 10 s."""

Rows = dict[str, Counter[str]]
"""Table → row as text → how often."""


@dataclass(frozen=True)
class Conditions:
    """Everything that must not make a difference."""

    name: str
    parallelism: int = 1
    live: bool = False
    """Records are appended while the job runs, in bursts; else it reads a log that is there."""
    kills: int = 0
    """How often the TaskManager is killed, at checkpoints or between them."""
    restores: int = 0
    """How often the job is cancelled, and another one begins at its newest checkpoint."""
    at_once: int = 500
    """max.poll.records: how many records of a partition follow each other before those of the next."""
    seed: int = 0
    """Of bursts and of the order among partitions."""
    flink: Mapping[str, str] = field(default_factory=dict)
    """Settings that decide no row."""

    def __str__(self) -> str:
        said = [
            f"{self.name}: parallelism {self.parallelism}",
            "live" if self.live else "replayed",
            f"{self.at_once} records at once",
        ]
        said += [f"{self.kills} × the TaskManager killed"] if self.kills else []
        said += [f"{self.restores} × restored"] if self.restores else []
        return ", ".join((*said, *(f"{key} = {value}" for key, value in self.flink.items())))


class JobError(AssertionError):
    """A job fails by itself: of a product that the check let in."""


def build_sink(folder: Path) -> Path:
    """The jar of the connector `kept-rows`."""
    needed = jars.read_lock("build")
    jars.ensure(needed, jars.cache_folder(), lambda message: None)
    classes, jar = folder / "classes", folder / "kept-rows.jar"
    compile_java(
        java(), jars.path_of("ecj"), flink.wheel_jars(), [TEST / "java" / "kappa" / "rows"], classes
    )
    service = "META-INF/services/org.apache.flink.table.factories.Factory"
    write_jar(jar, "", [*files_below(classes), (service, b"kappa.rows.KeptRowsFactory\n")])
    return jar


def resolve(product: Product) -> Any:
    """What the planner says. PyFlink is imported late: it warns of itself, and while tests are collected that fails."""
    from jobs.planner.resolve import resolve

    return resolve(product)


# --- the log -----------------------------------------------------------------------------------------------------


class Copy:
    """The log in topics of its own: the same records in each partition, in an order of its own among partitions."""

    def __init__(self, stack: RunningStack, log: Log, prefix: str, *, is_first: bool) -> None:
        self.prefix, self._log = prefix, log
        kafka.create_topics(
            stack.settings, {self.topic(name): count for name, count in PARTITIONS.items()}
        )
        self._ids = _register(stack)
        self._producer = Producer(
            {**stack.settings.kafka, "enable.idempotence": True, "log_level": 0, "linger.ms": 5}
        )
        self._next = dict.fromkeys(log.partitions, 0)
        if not is_first:  # it is read up to fixed offsets, and every copy has the same
            self._next |= {
                key: len(log.partitions[key]) for key in log.partitions if key[0] == "shops"
            }

    def topic(self, name: str) -> str:
        return kafka_name(self.prefix, name)

    @property
    def left(self) -> dict[tuple[str, int], int]:
        """Partition → how many of its records are not appended yet."""
        left = {
            key: len(records) - self._next[key] for key, records in self._log.partitions.items()
        }
        return {key: count for key, count in left.items() if count}

    def append(self, partition: tuple[str, int], count: int) -> None:
        first = self._next[partition]
        for record in self._log.partitions[partition][first : first + count]:
            self._append(partition, record)
        self._next[partition] = first + count

    def _append(self, partition: tuple[str, int], record: Record) -> None:
        name, number = partition
        value = encoded(name, self._ids[name], record.value)
        self._producer.produce(self.topic(name), value, partition=number, timestamp=record.appended)
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def append_all(self, chance: random.Random) -> None:
        """All that is left, in random turns of the partitions."""
        while left := self.left:
            partition = chance.choice(sorted(left))
            self.append(partition, min(left[partition], chance.choice((1, 5, 50, 10_000))))
        self.flush()

    def bursts(self, chance: random.Random, count: int) -> Iterator[None]:
        """The same a burst at a time: some partitions are far ahead of others, or empty for long."""
        total = sum(self.left.values())
        while left := self.left:
            partitions = sorted(left)
            some = len(partitions) if chance.random() < 0.4 else chance.randint(1, len(partitions))
            # First the versions: what looks one up waits for them.
            for partition in sorted(
                chance.sample(partitions, some), key=lambda p: p[0] != "prices"
            ):
                share = chance.random() * 3 * total / count / some
                self.append(partition, min(left[partition], int(share) + 1))
            self.flush()
            yield


def _register(stack: RunningStack) -> dict[str, int]:
    """Schema ids: under subjects of its own, for other tests have topics of the same names."""
    registry = schema_registry.client(stack.settings)
    return {
        name: registry.register_schema(f"same_rows.{name}-value", Schema(json.dumps(text), "AVRO"))
        for name, text in SCHEMAS.items()
    }


@contextmanager
def own_functions(folder: Path) -> Iterator[None]:
    """While it lasts, `udfs` is a copy below this folder, with the functions of the tests as `udfs.same_rows`.

    A product's functions come from there: so do these, for the check, the processes that try them, and Flink.
    """
    copy = folder / "udfs"
    shutil.copytree(Path(udfs.__path__[0]), copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(_FUNCTIONS, copy / "same_rows.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(udfs, "__path__", [str(copy)])
        patch.setattr(udfs, "__file__", str(copy / "__init__.py"))
        patch.setattr(sys, "path", [str(folder), *sys.path])
        yield
    sys.modules.pop("udfs.same_rows", None)


# --- a run -------------------------------------------------------------------------------------------------------


@dataclass
class Laboratory:
    """A stack, the sink, one log in copies, and the figures of what was run."""

    stack: RunningStack
    sink: Path
    folder: Path
    log: Log
    zone: str
    _name: str = field(default_factory=lambda: f"l{uuid.uuid4().hex[:8]}")
    _copies: list[Copy] = field(default_factory=list)
    _resolved: dict[Any, Resolved] = field(default_factory=dict)
    """A release's plan is made once, too; where its topics are is not in it, but for their names in `log_topic`."""

    def whole(self) -> Copy:
        """The log, all of which is there."""
        if not self._copies:
            copy = self.empty()
            copy.append_all(random.Random(0))
        return self._copies[0]

    def empty(self) -> Copy:
        """Another copy, of which only the versions are there that are read up to fixed offsets."""
        is_first = not self._copies
        self._copies.append(
            Copy(self.stack, self.log, f"{self._name}_c{len(self._copies)}_", is_first=is_first)
        )
        return self._copies[-1]

    def admitted(
        self, statements: Mapping[str, Statement]
    ) -> tuple[dict[str, Statement], dict[str, Problem]]:
        """The statements that the check lets in, all of them in one product; and why it refuses the others."""
        good = dict(statements)
        refused: dict[str, Problem] = {}
        while good:
            answer = resolve(self._written(good, {}))
            if not answer.problems:
                self._resolved[tuple(good), ()] = answer.resolved
                break
            by_name = {
                Path(p.file).stem: p for p in reversed(answer.problems) if Path(p.file).stem in good
            }
            if not by_name:  # of a view, or of product.yaml
                alone = {
                    name: resolve(self._written({name: s}, {})).problems for name, s in good.items()
                }
                by_name = {name: found[0] for name, found in alone.items() if found}
            if not by_name:
                raise AssertionError(f"refused together and not alone: {answer.problems}")
            refused |= by_name
            good = {name: s for name, s in good.items() if name not in by_name}
        return good, refused

    def run(self, statements: Mapping[str, Statement], conditions: Conditions) -> Rows:
        """What a job comes to; JobError when it fails by itself."""
        whole = self.whole()  # with the versions that all copies share
        copy = self.empty() if conditions.live else whole
        product = self._written(statements, conditions.flink, copy)
        known = tuple(statements), tuple(conditions.flink.items())
        if known not in self._resolved:
            answer = resolve(product)
            assert answer.resolved, answer.problems
            self._resolved[known] = answer.resolved
        product = product.model_copy(update={"resolved": self._resolved[known]})
        return Run(self, product, conditions, copy).rows()

    def _written(
        self,
        statements: Mapping[str, Statement],
        settings: Mapping[str, str],
        copy: Copy | None = None,
    ) -> Product:
        prefix = (copy or self.whole()).prefix
        return write_product(self.folder / "product", statements, self.zone, prefix, settings)


class Run:
    """One job from offset zero to the end of the log, with what befalls it."""

    def __init__(
        self, laboratory: Laboratory, product: Product, conditions: Conditions, copy: Copy
    ) -> None:
        self._stack, self._sink = laboratory.stack, laboratory.sink
        self._product, self._conditions, self._copy = product, conditions, copy
        self._chance = random.Random(conditions.seed)
        self._folder = laboratory.folder / f"run-{uuid.uuid4().hex[:8]}"
        # A JobManager that begins a job of so many operators takes its time to answer.
        patient = httpx.Client(
            base_url=self._stack.settings.flink.rest, timeout=60, trust_env=False
        )
        self._flink = Flink(self._stack.settings, patient)
        self._jobs: list[str] = []
        self._kills = conditions.kills
        self._restores = conditions.restores
        self._growing = [
            product.settings.kafka_name(t) for t in product.settings.topics if t != "shops"
        ]

    def rows(self) -> Rows:
        for table in self._product.outputs:
            (self._folder / "rows" / table).mkdir(parents=True)
        self._submit(None)
        try:
            if self._conditions.live:
                for _ in self._copy.bursts(self._chance, 8):
                    self._wait_a_moment()
                    if self._chance.random() < 0.4:
                        self._disturb()
            while self._kills or self._restores:
                self._wait_a_moment()
                self._disturb()
            self._wait_for_the_end()
            return self._kept()
        finally:
            self._cancel()
            self._flink.close()
            shutil.rmtree(self._folder)

    # The job

    def _bindings(self) -> Bindings:
        platform = Platform(self._stack.settings)
        ends = kafka.end_offsets(self._stack.settings, [self._copy.topic("shops")])
        found = Bindings.model_validate(
            platform.bindings(
                self._product,
                "r1-a1",
                f"kappa-{uuid.uuid4().hex[:8]}",
                ends,
                self._conditions.parallelism,
            )
        )
        return found.model_copy(
            update={
                "kafka": {**found.kafka, "max.poll.records": str(self._conditions.at_once)},
                "checkpoint_dir": self._checkpoints,
            }
        )

    @property
    def _checkpoints(self) -> str:
        return (self._folder / "checkpoints").as_uri()

    def _submit(self, restore: str | None) -> None:
        """As jobs/pipeline.py does, but for the check, which was before, the outputs' connector, and the client, which
        is this process."""
        from jobs import wiring

        product, bindings = self._product, self._bindings()
        env = wiring.environment(product)
        job = uuid.uuid4().hex
        for key, value in {
            "execution.target": "remote",
            "rest.address": str(urlsplit(self._stack.settings.flink.rest).hostname),
            "rest.port": str(urlsplit(self._stack.settings.flink.rest).port),
            "execution.attached": "false",
            "pipeline.name": f"{NAME} {self._conditions.name}",
            "pipeline.jars": self._sink.as_uri(),
            "python.files": udfs.__path__[0].removesuffix("/udfs"),
            "$internal.pipeline.job-id": job,
            **({"execution.state-recovery.path": restore} if restore else {}),
        }.items():
            env.get_config().set(key, value)
        wiring.configure_run(env, product, bindings)
        wiring.declare_inputs(env, product, bindings)
        for table, output in product.outputs.items():
            options = {"connector": "kept-rows", "folder": str(self._folder / "rows" / table)}
            wiring._run(
                env,
                product,
                generate.sink_table(table, {c.name: c.type for c in output.columns}, options),
            )
        assert product.resolved
        wiring.run_plan(env, product.resolved.plan)
        self._jobs.append(job)

    def _alive(self) -> None:
        job = self._job()
        if job and (
            job.ended or (job.restarts > 3 and not any(sign in job.error for sign in _OF_A_KILL))
        ):
            raise JobError(f"the job is {job.status} after {job.restarts} restarts: {job.error}")

    def _cancel(self) -> None:
        if self._jobs:
            self._flink.cancel(self._jobs[-1])
            wait_until(self._has_ended, 60, "the job has ended")

    def _has_ended(self) -> bool:
        job = self._job()
        return job is None or job.ended

    # What befalls it

    def _wait_a_moment(self) -> None:
        """For a further checkpoint, or as long as one mostly takes: a look-up may wait for what is not appended yet."""
        before, deadline = self._checkpoint(), time.monotonic() + 3
        while self._checkpoint() <= before and time.monotonic() < deadline:
            time.sleep(0.5)
        self._alive()

    def _job(self) -> Job | None:
        """The current job; a JobManager that is too busy to answer within 10 s is asked again."""
        for _ in range(SILENCES):
            with suppress(FlinkDownError):
                return self._flink.job(self._jobs[-1])
        return self._flink.job(self._jobs[-1])

    def _checkpoint(self) -> int:
        job = self._job()
        return job.checkpoint if job else 0

    def _disturb(self) -> None:
        if (
            self._restores
            and self._checkpoint()
            and (not self._kills or self._chance.random() < 0.5)
        ):
            self._restores -= 1
            self._restore()
        elif self._kills:
            self._kills -= 1
            time.sleep(self._chance.random())
            killed = self._stack.kill("taskmanager")
            self._stack.wait_restarted("taskmanager", killed)

    def _restore(self) -> None:
        """A job of its own, from the newest checkpoint, as the controller does when a cluster was lost."""
        job = self._jobs[-1]
        self._cancel()
        kept = retained_checkpoints(self._stack.settings, self._checkpoints, (job,))
        self._submit(kept[max(kept)])

    # What it comes to

    def _wait_for_the_end(self) -> None:
        """All is in the tables: two checkpoints cover the log, so the first one's rows are committed."""
        ends = kafka.end_offsets(self._stack.settings, self._growing)
        first = 0

        def covered() -> bool:
            nonlocal first
            reached = positions.newest(
                self._stack.settings, self._checkpoints, self._jobs[-1], self._growing, first
            )
            if reached is None or not offsets.covers(reached.covered, ends):
                self._alive()
                return False
            first, before = reached.checkpoint, first
            return before > 0

        try:
            wait_until(covered, 300, lambda: f"the log is covered: {self._job()}")
        except JobError:
            raise
        except AssertionError as e:
            raise JobError(f"{e}\n{self._cluster()}") from e

    def _cluster(self) -> str:
        """Who has the slots, and what the TaskManager last said."""
        rest = self._stack.settings.flink.rest
        said = [
            httpx.get(f"{rest}/{what}", timeout=60, trust_env=False).text
            for what in ("overview", "jobs/overview")
        ]
        log = (self._stack.layout.logs / "taskmanager.log").read_text(errors="replace").splitlines()
        return "\n".join([*said, *log[-30:]])

    def _kept(self) -> Rows:
        found = {}
        for table in self._product.outputs:
            files = (self._folder / "rows" / table).glob("[!.]*")
            text = _PREFIX.sub("", "".join(file.read_text() for file in files))
            found[table] = Counter(text.splitlines())
        return found
