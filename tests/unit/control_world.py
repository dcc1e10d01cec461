"""A world for the controller's tests: one clock, one Flink, one log, one lake, and a way to die anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs.product import LagLimit, Output, Product, ProductSettings, Topic
from replay.errors import ConflictError, OutcomeUnknownError, RefusedError
from replay.flink import FlinkDownError, Job
from replay.model import Attempt, Check, Checkpoint, ProductState, Release
from replay.offsets import Offsets

TABLES = ("flights_rows", "flights_hourly")


class DiedError(BaseException):
    """The controller's process was killed here."""


@dataclass
class Clock:
    """Time that passes only when told."""

    time: float = 1_000.0

    def __call__(self) -> float:
        return self.time


def product(lag: LagLimit | None = None) -> Product:
    """Events in two partitions and one reference topic; two outputs."""
    settings = ProductSettings(
        name="flights",
        topics={"flights": Topic(role="events", allowed_lateness="6h"), "airlines": Topic(role="reference")},
        outputs={TABLES[0]: Output(kind="rows", of="flights"), TABLES[1]: Output(kind="aggregate")},
        lag_limit=lag or LagLimit(records=10, checkpoints=2),
    )
    return Product(folder=Path("/nowhere"), settings=settings, contract={}, columns={})


@dataclass
class FakeJob:
    """A job in the cluster."""

    branch: str
    status: str = "RUNNING"
    checkpoint: int = 0
    base: int = 0
    restarts: int = 0


@dataclass
class FakeWorld:
    """Reads the log at `speed` records a partition and checkpoint; each table commits at every checkpoint."""

    clock: Clock
    ends_now: dict[str, dict[int, int]] = field(default_factory=lambda: {"flights": {0: 100, 1: 90}})
    reference: dict[str, dict[int, int]] = field(default_factory=lambda: {"airlines": {0: 16}})
    speed: int = 40
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    """Every job id that the cluster accepted."""
    refused_duplicates: list[str] = field(default_factory=list)
    down: bool = False
    kept: set[tuple[str, int, str]] = field(default_factory=set)
    """Branch, checkpoint, path of what could be resumed from."""
    commits: dict[str, dict[int, Checkpoint]] = field(default_factory=dict)
    """Branch → checkpoint → snapshots; a checkpoint that is committed twice is an error."""
    positions: dict[str, dict[str, dict[int, int]]] = field(default_factory=dict)
    """Group → offsets."""
    main_now: dict[str, int] = field(default_factory=dict)
    genesis: bool = True
    published: list[dict[str, int]] = field(default_factory=list)
    complaints: list[Check] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong with the log."""
    log_lost: bool = False
    clusters: set[str] = field(default_factory=set)
    """Clusters that were started for one attempt."""
    no_room: bool = False
    cleaned: list[str] = field(default_factory=list)
    """Attempts of which nothing is left."""
    expired: list[str] = field(default_factory=list)
    prioritised: list[str] = field(default_factory=list)
    submit_fails: list[Exception] = field(default_factory=list)
    lost_answers: int = 0
    clocks_standing: tuple[str, ...] = ()
    die_at: Callable[[str], bool] = lambda _: False
    lag: LagLimit | None = None

    def _gate(self, where: str) -> None:
        if self.die_at(where):
            raise DiedError(where)

    def _up(self) -> None:
        if self.down:
            raise FlinkDownError("Flink's JobManager does not answer")

    # The passing of time

    def complete_checkpoint(self) -> None:
        """Every running job reads on, completes a checkpoint and commits it in every table."""
        for job_id, job in self.jobs.items():
            if job.status != "RUNNING":
                continue
            group = self.positions.setdefault(f"kappa-flights-{job.branch}", {})
            for topic, partitions in self.ends_now.items():
                read = group.setdefault(topic, {})
                for p, end in partitions.items():
                    read[p] = min(end, read.get(p, 0) + self.speed)
            job.checkpoint = max(job.checkpoint, job.base) + 1
            branch = self.commits.setdefault(job.branch, {})
            assert job.checkpoint not in branch, f"{job.branch} would have checkpoint {job.checkpoint} twice"
            release, number = job.branch[1:].split("-a")
            seed = 1_000_000 * int(release) + 1000 * int(number) + job.checkpoint
            branch[job.checkpoint] = Checkpoint(job.checkpoint, {t: 10 * seed + i for i, t in enumerate(TABLES)})
            self.kept.add((job.branch, job.checkpoint, f"file:///ck/{job.branch}/{job_id}/chk-{job.checkpoint}"))

    def lose_jobs(self) -> None:
        """The JobManager was killed and is back, knowing nothing."""
        self.jobs.clear()

    # Eyes

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        return product(self.lag)

    def _reach(self, attempt: Attempt) -> None:
        self._up()
        if attempt.cluster and attempt.cluster not in self.clusters:
            raise FlinkDownError("Flink's JobManager does not answer")

    def job(self, attempt: Attempt) -> Job | None:
        self._reach(attempt)
        job_id = attempt.job_id
        job = self.jobs.get(job_id)
        if job is None:
            return None
        # Reference data is read to its end by the first checkpoint, and no offset of it is ever committed.
        finished = frozenset(self.reference if job.checkpoint else ())
        return Job(job_id, job.status, checkpoint=job.checkpoint, finished_sources=finished, restarts=job.restarts,
                   error="boom" if job.status == "FAILED" else "")

    def cluster_runs(self, attempt: Attempt) -> bool:
        return not attempt.cluster or attempt.cluster in self.clusters

    def standing_clocks(self, attempt: Attempt) -> tuple[str, ...]:
        return self.clocks_standing

    def log_problems(self, product: Product) -> tuple[tuple[str, ...], bool]:
        return tuple(self.problems), self.log_lost

    def committed(self, group: str, product: Product) -> Offsets:
        return {t: dict(p) for t, p in self.positions.get(group, {}).items()}

    def ends(self, product: Product) -> Offsets:
        return self.ends_now

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        return tuple(c for _, c in sorted(self.commits.get(attempt.name, {}).items(), reverse=True))

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        return dict(self.main_now), self.genesis

    def retained(self, attempt: Attempt) -> Mapping[int, str]:
        return {n: path for branch, n, path in self.kept if branch == attempt.name}

    # Hands

    def start_cluster(self, attempt: Attempt) -> str:
        self._gate("before start_cluster")
        if self.no_room:
            raise RefusedError("no room for another Flink cluster", expected="4 GB", found="1 GB")
        self.clusters.add(attempt.cluster)
        self._gate("after start_cluster")
        return f"http://{attempt.cluster}"

    def stop_cluster(self, attempt: Attempt) -> None:
        self._gate("before stop_cluster")
        self.clusters.discard(attempt.cluster)
        for job in self.jobs.values():
            if job.branch == attempt.name and job.status == "RUNNING":
                job.status = "CANCELED"
        self._gate("after stop_cluster")

    def give_priority(self, attempt: Attempt) -> None:
        self._gate("before give_priority")
        self.prioritised.append(attempt.cluster)

    def prepare(self, product: Product, attempt: Attempt, release: Release) -> None:
        self._gate("before prepare")
        if not self.main_now:
            self.main_now = dict.fromkeys(TABLES, 1)
        if not attempt.restore:
            assert not self.commits.get(attempt.name), "a branch that holds commits must not be written from zero"
        self._gate("after prepare")

    def submit(self, attempt: Attempt, release: Release, keepalive: Callable[[], None]) -> None:
        self._gate("before submit")
        self._reach(attempt)
        if self.submit_fails:
            raise self.submit_fails.pop(0)
        if attempt.job_id in self.jobs:
            self.refused_duplicates.append(attempt.job_id)
            return
        assert not any(j.branch == attempt.name and j.status == "RUNNING" for j in self.jobs.values()), "two writers"
        base = int(attempt.restore.rsplit("-", 1)[1]) if attempt.restore else 0
        self.jobs[attempt.job_id] = FakeJob(attempt.name, base=base)
        self.submitted.append(attempt.job_id)
        keepalive()
        self._gate("after submit")
        if self.lost_answers:
            self.lost_answers -= 1
            raise OutcomeUnknownError("no answer")

    def cancel(self, attempt: Attempt) -> None:
        self._gate("before cancel")
        self._reach(attempt)
        if attempt.job_id in self.jobs:
            self.jobs[attempt.job_id] = replace(self.jobs[attempt.job_id], status="CANCELED")
        self._gate("after cancel")

    def checks(self, product: Product, snapshots: Mapping[str, int]) -> tuple[Check, ...]:
        self._gate("before checks")
        return tuple(self.complaints)

    def publish(self, product: Product, after: Mapping[str, int], before: Mapping[str, int]) -> None:
        self._gate("before publish")
        if self.main_now != dict(after):
            if self.main_now != dict(before):
                raise ConflictError("somebody else moved main")
            self.main_now = dict(after)
            self.genesis = False
            self.published.append(dict(after))
        self._gate("after publish")


    def garbage(self, product: Product, attempt: Attempt) -> tuple[str, ...]:
        return tuple(f"{attempt.name}/{c}.parquet" for c in self.commits.get(attempt.name, {}))

    def clean(self, product: Product, attempt: Attempt, state: ProductState, files: tuple[str, ...]) -> None:
        self._gate("before clean")
        left = self.commits.pop(attempt.name, {})
        shown = [c for c in left.values() if dict(c.snapshots) == self.main_now]
        assert not shown, f"readers see {attempt.name}"
        assert len(files) >= len(left), "files that nobody would delete"
        running = [j for j in self.jobs.values() if j.branch == attempt.name and j.status == "RUNNING"]
        assert not running, f"the job of {attempt.name} still writes"
        self.positions.pop(attempt.group, None)
        self.kept = {k for k in self.kept if k[0] != attempt.name}
        self.cleaned.append(attempt.name)
        self._gate("after clean")

    def expire(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        self._gate("before expire")
        self.expired.append(attempt.name)


class DyingStore:
    """A store whose process dies just before or just after a write."""

    WRITES = ("save", "begin_publication", "finish_publication", "drop_publication")

    def __init__(self, store: Any, die_at: Callable[[str], bool]) -> None:
        self._store = store
        self._die_at = die_at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self.WRITES:
            return method

        def write(*args: Any) -> Any:
            if self._die_at(f"before {name}"):
                raise DiedError(name)
            result = method(*args)
            if self._die_at(f"after {name}"):
                raise DiedError(name)
            return result

        return write
