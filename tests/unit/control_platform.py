"""A platform for the controller's tests: clocks, Flink clusters, one log, one lake, and a way to die anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs.product.folder import Product
from jobs.product.model import Column, Output, OutputSettings, Resolved, Topic
from jobs.product.settings import LagLimit, ProductSettings, Verify
from replay.controller.quiet import Clocks
from replay.core.log_identity import Identity, continued, other_topics
from replay.core.log_identity import Topic as TopicIdentity
from replay.core.model import (
    Attempt,
    Check,
    Checkpoint,
    CheckpointPosition,
    Committed,
    Comparing,
    Finding,
    ProductState,
    Release,
    Tables,
    group_prefix,
)
from replay.core.observed import FlinkDownError, Job, SubmissionStatus
from replay.errors import RefusedError, RetryableError
from replay.flink.clusters import Started
from replay.offsets import Offsets
from tests.unit.fake_lake import TABLES, FakeLake

KEPT_CHECKPOINTS = 3
"""Flink keeps so many of a job."""
CLIENT_SECONDS = 2.0
"""`flink run` takes a while, and goes on when the controller that started it dies."""
SESSION_SECONDS = 10.0
"""How long Kafka takes a dead consumer for alive."""


COMPARE_SECONDS = 5.0

NO_ANSWER = SubmissionStatus(trouble="no answer")


class DiedError(BaseException):
    """The controller's process was killed here."""


@dataclass
class Clock:
    """Time that passes only when told."""

    time: float = 1_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Wall:
    """A machine's clock, which somebody may set forward or back."""

    time: Clock
    ahead: float = 0.0

    def __call__(self) -> float:
        return self.time() + self.ahead


def product(lag: LagLimit | None = None, standbys: int = 1) -> Product:
    """Events in two partitions and one reference topic; two outputs."""
    settings = ProductSettings(
        name="flights",
        topics={
            "flights": Topic(time="happened", allowed_lateness="6h"),
            "airlines": Topic(role="reference"),
        },
        outputs={table: OutputSettings() for table in TABLES},
        lag_limit=lag or LagLimit(records=10, checkpoints=2),
        standbys=standbys,
    )
    column = Column(name="origin", type="STRING")
    return Product(
        folder=Path("/nowhere"),
        settings=settings,
        resolved=Resolved(
            outputs={
                TABLES[0]: Output(
                    kind="rows",
                    of=("flights",),
                    columns=(column,),
                    select="SELECT origin FROM flights",
                ),
                TABLES[1]: Output(
                    kind="aggregate",
                    columns=(column,),
                    select="SELECT DISTINCT origin FROM flights",
                ),
            }
        ),
    )


@dataclass
class FakeJob:
    """A job in a cluster."""

    branch: str
    cluster: str = ""
    """Empty: the session cluster."""
    status: str = "RUNNING"
    checkpoint: int = 0
    """Newest one completed under this job id."""
    number: int = 0
    """Of the last checkpoint, also of the job that it was resumed from."""
    restarts: int = 0
    read: dict[int, int] = field(default_factory=dict)
    """Partition → offset, as of the last checkpoint."""
    position: CheckpointPosition | None = None
    """Of the newest checkpoint of which its sources have written it."""
    committed: dict[str, dict[int, int]] = field(default_factory=dict)
    """Table → up to where its commits have come."""
    product: str = "flights"

    @property
    def runs(self) -> bool:
        return self.status in ("RUNNING", "RESTARTING")

    @property
    def group(self) -> str:
        return group_prefix(self.product) + self.branch


@dataclass(frozen=True)
class Retained:
    """A checkpoint on disk."""

    branch: str
    job: str
    number: int
    read: Mapping[int, int]
    committed: Mapping[str, Mapping[int, int]]

    @property
    def path(self) -> str:
        return f"file:///ck/{self.branch}/{self.job}/chk-{self.number}"


@dataclass(frozen=True)
class Arrival:
    """A submission on its way to a cluster, whoever waits for the answer."""

    at: float
    attempt: Attempt


@dataclass(frozen=True)
class Client:
    """A `flink run` that was started."""

    until: float
    answer: SubmissionStatus


@dataclass
class FakePlatform:
    """Reads the log at `speed` records a partition and checkpoint; each table commits at every checkpoint."""

    clock: Clock
    ends_now: dict[str, dict[int, int]] = field(
        default_factory=lambda: {"flights": {0: 100, 1: 90}}
    )
    arriving: int = 0
    """Records that come to each partition from one checkpoint to the next."""
    reference: dict[str, dict[int, int]] = field(default_factory=lambda: {"airlines": {0: 16}})
    speed: int = 40
    lake: FakeLake = field(default_factory=FakeLake)
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    """Every job id that a cluster accepted."""
    refused_duplicates: list[str] = field(default_factory=list)
    down: bool = False
    """The session cluster does not answer; its jobs go on."""
    kept: list[Retained] = field(default_factory=list)
    groups: dict[str, dict[str, dict[int, Committed]]] = field(default_factory=dict)
    """Group → committed offsets."""
    members_until: dict[str, float] = field(default_factory=dict)
    """Group → until when Kafka takes consumers that were killed for alive."""
    bindings: set[str] = field(default_factory=set)
    passed: list[dict[str, int]] = field(default_factory=list)
    """Snapshots that the checks found nothing in."""
    complaints: list[Check] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong with the log."""
    log_lost: bool = False
    runtime_differs: str = ""
    jars_differ: str = ""
    """What jobs run with that their releases were not built with."""
    topic_ids: dict[str, str] = field(default_factory=lambda: {"flights": "1", "airlines": "1"})
    other_records: list[str] = field(default_factory=list)
    """Where records of the log are others than were read."""
    clusters: set[str] = field(default_factory=set)
    """Clusters that were started for one attempt."""
    silent: set[str] = field(default_factory=set)
    """Of these, those that do not answer."""
    no_room: bool = False
    taken_topics: set[str] = field(default_factory=set)
    """Topics that are there, of somebody else."""
    cleaned: list[str] = field(default_factory=list)
    """Attempts of which nothing is left."""
    expired: list[str] = field(default_factory=list)
    prioritised: set[str] = field(default_factory=set)
    submit_fails: list[SubmissionStatus] = field(default_factory=list)
    """What the next clients say, after all of which nothing arrives."""
    changed_archives: set[str] = field(default_factory=set)
    """Attempts whose release is not what it was built as: no job starts from it."""
    late_submissions: list[tuple[float, float]] = field(default_factory=list)
    """Of the next ones: seconds until the client gives up, and from then on until they arrive."""
    clients: dict[str, Client] = field(default_factory=dict)
    """Job id → what its last client says: only to the process that started it."""
    rejected: int | None = None
    """Rows of `rejects` that readers see."""
    clocks_standing: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    """Operator → records that it dropped as late, in every job."""
    verify: str = "off"
    """As product.yaml says."""
    comparisons: dict[str, float] = field(default_factory=dict)
    """Shadow → when comparing it comes to its end: only to the process that began it."""
    compared: list[str] = field(default_factory=list)
    found: Comparing = field(default_factory=lambda: Comparing(finding=Finding(True, 190, "equal")))
    """What every comparison comes to."""
    clocks_now: dict[str, dict[int, int | None]] = field(default_factory=dict)
    """What the clocks of partitions are, where producers move them."""
    die_at: Callable[[str], bool] = field(default=lambda _: False, repr=False)
    tell: Callable[[str], None] = field(default=lambda _: None, repr=False)
    lag: LagLimit | None = None
    standbys: int = 1

    def _gate(self, where: str) -> None:
        if self.die_at(where):
            raise DiedError(where)

    # What tests look at

    @property
    def main_now(self) -> dict[str, int]:
        return self.lake.main()[0]

    @main_now.setter
    def main_now(self, snapshots: Mapping[str, int]) -> None:
        """Somebody else moves main."""
        self.lake.ensure_tables()
        for table, snapshot in snapshots.items():
            self.lake.refs[table, "main"] = snapshot

    @property
    def genesis(self) -> bool:
        return self.lake.main()[1]

    @property
    def published(self) -> list[dict[str, int]]:
        return [after for _, after in self.lake.moves]

    # The passing of time

    def complete_checkpoint(self) -> None:
        """Every running job reads on, completes a checkpoint and commits it in every table."""
        self.settle()
        self.ends_now = {
            t: {p: end + self.arriving for p, end in of.items()} for t, of in self.ends_now.items()
        }
        for job_id, job in self.jobs.items():
            if job.status == "RUNNING":
                self.checkpoint_of(job_id)

    def checkpoint_of(
        self,
        job_id: str,
        *,
        late: tuple[str, ...] = (),
        commit_offsets: bool = True,
        write_position: bool = True,
    ) -> None:
        """One job's next checkpoint; tables in `late` commit it together with a later one."""
        job = self.jobs[job_id]
        job.read = {
            p: min(end, job.read.get(p, 0) + self.speed)
            for p, end in self.ends_now["flights"].items()
        }
        job.number += 1
        job.checkpoint = job.number
        self.kept.append(Retained(job.branch, job_id, job.number, job.read, dict(job.committed)))
        mine = [k for k in self.kept if k.job == job_id]
        for old in mine[:-KEPT_CHECKPOINTS]:
            self.kept.remove(old)
        # All but flights is read to its end by every checkpoint.
        growing = {t: dict(of) for t, of in self.ends_now.items()} | {"flights": dict(job.read)}
        if write_position:
            read = {**growing, **self.reference}
            job.position = CheckpointPosition(job.number, read, read)
        if commit_offsets:
            by = f"kappa job {job_id} checkpoint {job.number}"
            self.groups[job.group] = {
                t: {p: Committed(offset, by) for p, offset in of.items()}
                for t, of in growing.items()
            }
        for table in self.lake.tables:
            if table not in late:
                self._commit(table, job.branch, job_id, job, job.read)

    def _commit(
        self, table: str, branch: str, job_id: str, job: FakeJob, upto: Mapping[int, int]
    ) -> None:
        self.lake.commit(table, branch, job_id, job.number, job.committed.get(table, {}), upto)
        job.committed[table] = dict(upto)

    def settle(self) -> None:
        """Submissions that were on their way have arrived by now."""
        for arrival in [a for a in self.arrivals if a.at <= self.clock()]:
            self.arrivals.remove(arrival)
            if self._answers(arrival.attempt):
                self._accept(arrival.attempt)

    def lose_jobs(self, cluster: str = "") -> None:
        """The JobManager was killed and is back, knowing nothing."""
        for job_id in [i for i, j in self.jobs.items() if j.cluster == cluster]:
            job = self.jobs.pop(job_id)
            if job.runs:
                self.members_until[job.group] = self.clock() + SESSION_SECONDS

    def lose_cluster(self, cluster: str) -> None:
        """Nobody knows the cluster any more."""
        self.lose_jobs(cluster)
        self.clusters.discard(cluster)
        self.silent.discard(cluster)

    # PlatformReader

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        made = product(self.lag, self.standbys)
        return made.model_copy(
            update={"settings": made.settings.model_copy(update={"verify": Verify(self.verify)})}
        )

    def _answers(self, attempt: Attempt) -> bool:
        if attempt.cluster:
            return attempt.cluster in self.clusters - self.silent
        return not self.down

    def _reach(self, attempt: Attempt) -> None:
        if not self._answers(attempt):
            raise FlinkDownError("Flink's JobManager does not answer")

    def job(self, attempt: Attempt) -> Job | None:
        self.settle()
        self._reach(attempt)
        job_id = attempt.job_id
        job = self.jobs.get(job_id)
        if job is None:
            return None
        return Job(
            job_id,
            job.status,
            checkpoint=job.checkpoint,
            restarts=job.restarts,
            error="boom" if job.status == "FAILED" else "",
        )

    def superseded(self, attempt: Attempt) -> tuple[str, ...]:
        self._reach(attempt)
        where = {
            i: "" if i in attempt.on_session else attempt.cluster for i in attempt.job_ids[:-1]
        }
        if attempt.on_session and self.down:
            raise FlinkDownError("Flink's JobManager does not answer")
        return tuple(
            i
            for i, cluster in where.items()
            if i in self.jobs and self.jobs[i].runs and self.jobs[i].cluster == cluster
        )

    def submission(self, attempt: Attempt) -> SubmissionStatus:
        client = self.clients.get(attempt.job_id)
        if client is None:
            return SubmissionStatus()
        return client.answer if self.clock() >= client.until else SubmissionStatus(under_way=True)

    def cluster_runs(self, attempt: Attempt) -> bool:
        return not attempt.cluster or attempt.cluster in self.clusters

    def strays(self, attempts: Sequence[Attempt]) -> tuple[str, ...]:
        return tuple(a.name for a in attempts if a.cluster in self.clusters or self.not_ended(a))

    def exit_reason(self, attempt: Attempt) -> str:
        return ""

    def stalled_watermarks(self, attempt: Attempt) -> tuple[str, ...]:
        return self.clocks_standing

    def late_dropped(self, attempt: Attempt) -> Mapping[str, int]:
        return dict(self.dropped)

    def comparison(self, attempt: Attempt) -> Comparing | None:
        until = self.comparisons.get(attempt.name)
        return (
            until and (self.found if self.clock() >= until else Comparing(under_way=True))
        ) or None

    def log_changes(self, attempt: Attempt) -> tuple[str, ...]:
        return (
            *other_topics(attempt.log, self.topic_ids),
            *(self.other_records if attempt.log else ()),
        )

    def log_problems(self, product: Product) -> tuple[tuple[str, ...], bool]:
        return tuple(self.problems), self.log_lost

    def position(self, attempt: Attempt, product: Product) -> CheckpointPosition | None:
        found = self.jobs[attempt.job_id].position
        return found if found and found.checkpoint > attempt.checkpoint else None

    def committed(self, group: str, product: Product) -> Mapping[str, Mapping[int, Committed]]:
        return {t: dict(p) for t, p in self.groups.get(group, {}).items()}

    def ends(self, product: Product) -> Offsets:
        return {t: dict(p) for t, p in self.ends_now.items()}

    def clocks(self, product: Product) -> Clocks:
        return self.clocks_now

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        return self.lake.publishable(attempt.name, attempt.job_ids, attempt.resumed_from)

    def same_files(
        self, product: Product, before: Mapping[str, int], after: Mapping[str, int]
    ) -> bool:
        return self.lake.hold_same_files(before, after)

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        return self.lake.main()

    def rejects(self, product: Product) -> int | None:
        return self.rejected

    def retained(self, attempt: Attempt) -> Mapping[int, str]:
        return {k.number: k.path for k in self.kept if k.branch == attempt.name}

    # PlatformWriter

    def start_cluster(self, attempt: Attempt, release: Release) -> Started:
        self._gate("before start_cluster")
        if self.no_room:
            raise RefusedError("no room for another Flink cluster", expected="4 GB", found="1 GB")
        self.clusters.add(attempt.cluster)
        self._gate("after start_cluster")
        return Started(f"http://{attempt.cluster}", own_jars=True)

    def stop_cluster(self, attempt: Attempt) -> None:
        self._gate("before stop_cluster")
        self.lose_cluster(attempt.cluster)
        self.prioritised.discard(attempt.cluster)
        self._gate("after stop_cluster")

    def give_priority(self, attempt: Attempt) -> None:
        self._gate("before give_priority")
        self.prioritised.add(attempt.cluster)
        self._gate("after give_priority")

    def refuse_taken(self, topics: Iterable[str]) -> None:
        if taken := self.taken_topics.intersection(topics):
            raise RefusedError("taken", expected="none", found=", ".join(taken))

    def prepare(
        self, product: Product, attempt: Attempt, release: Release, fence: Callable[[], None]
    ) -> None:
        self._gate("before prepare")
        self.lake.ensure_tables()
        for table in self.lake.tables:
            fence()
            self.lake.create_branch(table, attempt.name, resume=attempt.restore is not None)
            self._gate("during prepare")
        fence()
        self.bindings.add(attempt.name)
        self._gate("after prepare")

    def other_jars(self, attempt: Attempt, release: Release) -> str:
        return self.jars_differ

    def other_runtime(self, product: Product, attempt: Attempt, release: Release) -> str:
        return "" if attempt.own_jars else self.runtime_differs

    def log_identity(self, product: Product, attempt: Attempt, positions: Offsets) -> Identity:
        if self.log_changes(attempt):
            return attempt.log
        return continued(
            attempt.log, {topic: self._topic(topic, id) for topic, id in self.topic_ids.items()}
        )

    def _topic(self, topic: str, id: str) -> TopicIdentity:
        count = len({**self.reference, **self.ends_now}.get(topic, ()))
        return TopicIdentity(id, partitions=count, told=count)

    def submit(self, attempt: Attempt, release: Release, fence: Callable[[], None]) -> None:
        self._gate("before submit")
        if attempt.name in self.changed_archives:
            raise RefusedError(
                "the archived release was changed",
                expected="its files",
                found="others",
                next="restore it from a backup",
            )
        fence()
        patience, late, answer = CLIENT_SECONDS, 0.0, SubmissionStatus()
        if self.submit_fails:
            answer = self.submit_fails.pop(0)
        else:
            if self.late_submissions:
                (patience, late), answer = self.late_submissions.pop(0), NO_ANSWER
            elif not self._answers(attempt):
                answer = NO_ANSWER
            self.arrivals.append(Arrival(self.clock() + patience + late, attempt))
        self.clients[attempt.job_id] = Client(self.clock() + patience, answer)
        self._gate("after submit")

    def _accept(self, attempt: Attempt) -> None:
        job_id = attempt.job_id
        if job_id in self.jobs:
            self.refused_duplicates.append(job_id)
            return
        assert not any(j.branch == attempt.name and j.runs for j in self.jobs.values()), (
            "two writers"
        )
        ran = {s.job for s in self.lake.snapshots.values()} | {k.job for k in self.kept}
        assert job_id not in ran, f"job {job_id} runs a second time"
        job = FakeJob(attempt.name, attempt.cluster, product=attempt.product)
        restored = next((k for k in self.kept if k.path == attempt.restore), None)
        assert restored or not attempt.restore, "restored from a checkpoint that is gone"
        self.jobs[job_id] = job
        self.submitted.append(job_id)
        if restored:
            job.number, job.read = restored.number, dict(restored.read)
            for table in self.lake.tables:
                self._restore(table, restored, job)

    def _restore(self, table: str, restored: Retained, job: FakeJob) -> None:
        """The sink commits what the checkpoint has and the table has not."""
        newest = next(
            (s for s in self.lake.line(table, job.branch) if s.writer == job.branch), None
        )
        if newest is None or newest.checkpoint < restored.number:
            job.committed[table] = dict(
                newest.content if newest else restored.committed.get(table, {})
            )
            self._commit(table, job.branch, restored.job, job, restored.read)
        job.committed[table] = dict(restored.read)

    def not_ended(self, attempt: Attempt) -> tuple[str, ...]:
        job_ids = attempt.on_session if attempt.cluster else attempt.job_ids
        if job_ids:
            self._reach(replace(attempt, cluster=""))
        return tuple(
            i for i in job_ids if i in self.jobs and self.jobs[i].runs and not self.jobs[i].cluster
        )

    def cancel(self, attempt: Attempt, job_id: str) -> None:
        self._gate("before cancel")
        asked = replace(attempt, cluster="") if job_id in attempt.on_session else attempt
        self._reach(asked)
        job = self.jobs.get(job_id)
        if job and job.runs and job.cluster == asked.cluster:
            job.status = "CANCELED"
            self.lake.files.add(f"{job.branch}/{job_id}.open")
        self._gate("after cancel")

    def checks(self, tables: Tables, shown: Tables | None) -> tuple[Check, ...]:
        self._gate("before checks")
        if not self.complaints:
            self.passed.append(dict(tables.snapshots))
        return tuple(self.complaints)

    def isolates(self) -> bool:
        return bool(self.clusters)

    def refuse_replay(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        if self.no_room:
            raise RefusedError(
                "the disk is too small to replay flights", expected="2 GB", found="1 GB"
            )

    def compare(self, attempt: Attempt) -> None:
        self._gate("before compare")
        self.comparisons[attempt.name] = self.clock() + COMPARE_SECONDS
        self.compared.append(attempt.name)
        self._gate("after compare")

    def publish(
        self,
        product: Product,
        after: Mapping[str, int],
        before: Mapping[str, int],
        fence: Callable[[], None],
    ) -> None:
        self._gate("before publish")
        self.lake.publish(after, before, fence, self._gate)
        self._gate("after publish")

    def garbage(self, product: Product, attempt: Attempt) -> tuple[str, ...]:
        return self.lake.garbage(attempt.name, attempt.job_ids)

    def clean(
        self,
        product: Product,
        attempt: Attempt,
        state: ProductState,
        files: tuple[str, ...],
        fence: Callable[[], None],
    ) -> None:
        self._gate("before clean")
        last = self.published[-1].values() if self.published else ()
        shown = {self.lake.snapshots[s].writer for s in last if s in self.lake.snapshots}
        assert attempt.name not in shown or not state.live, f"readers see {attempt.name}"
        assert not any(j.branch == attempt.name and j.runs for j in self.jobs.values()), (
            f"{attempt.name} still writes"
        )
        self.lake.remove(attempt.name, files, self._gate)
        self.kept = [k for k in self.kept if k.branch != attempt.name]
        self._gate("during clean")
        if self.clock() < self.members_until.get(attempt.group, 0.0):
            raise RetryableError(f"consumer group {attempt.group} still has members")
        self.groups.pop(attempt.group, None)
        self.bindings.discard(attempt.name)
        self.cleaned.append(attempt.name)
        fence()
        self._gate("after clean")

    def remove(self, state: ProductState, keep_tables: bool, fence: Callable[[], None]) -> None:
        self._gate("before remove")
        assert not any(j.runs for j in self.jobs.values()), "a job still writes"
        for attempt in state.attempts:
            if self.clock() < self.members_until.get(attempt.group, 0.0):
                raise RetryableError(f"consumer group {attempt.group} still has members")
            fence()
            self.groups.pop(attempt.group, None)
            self.kept = [k for k in self.kept if k.branch != attempt.name]
            self.bindings.discard(attempt.name)
            if attempt.cluster:
                self.lose_cluster(attempt.cluster)
            self._gate("during remove")
        fence()
        self.lake.drop(keep_tables)
        self._gate("after remove")

    def expire(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        self._gate("before expire")
        assert attempt.tip is not None
        self.publishable(product, attempt)
        shown = state.published.after.values() if state.published else ()
        self.lake.expire(attempt.name, min([attempt.tip.id, *self.retained(attempt)]), shown)
        self.expired.append(attempt.name)
        self._gate("after expire")


class OneProcess:
    """The platform as one process has it: clients of `flink run` answer to whom started them."""

    def __init__(self, platform: FakePlatform) -> None:
        self._platform = platform
        self._started: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, name)

    def submit(self, attempt: Attempt, release: Release, fence: Callable[[], None]) -> None:
        self._started.add(attempt.job_id)
        self._platform.submit(attempt, release, fence)

    def compare(self, attempt: Attempt) -> None:
        self._started.add(attempt.name)
        self._platform.compare(attempt)

    def comparison(self, attempt: Attempt) -> Comparing | None:
        return self._platform.comparison(attempt) if attempt.name in self._started else None

    def submission(self, attempt: Attempt) -> SubmissionStatus:
        return (
            self._platform.submission(attempt)
            if attempt.job_id in self._started
            else SubmissionStatus()
        )


class MortalStore:
    """The store as one process has it: it may die just before or just after a write, and writes nothing then."""

    WRITES = (
        "acquire",
        "renew",
        "give_back",
        "add_release",
        "save",
        "note",
        "begin_publication",
        "finish_publication",
        "drop_publication",
        "remove",
    )

    def __init__(self, store: Any, die_at: Callable[[str], bool]) -> None:
        self._store = store
        self._die_at = die_at
        self._dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self.WRITES:
            return method

        def write(*args: Any, **options: Any) -> Any:
            self._gate(f"before {name}")
            result = method(*args, **options)
            self._gate(f"after {name}")
            return result

        return write

    def _gate(self, where: str) -> None:
        if self._dead or self._die_at(where):
            self._dead = True  # a killed process gives no lease back
            raise DiedError(where)


def leftovers(platform: FakePlatform, a: Attempt, *, adrift: bool) -> list[str]:
    """What there is of an attempt in the platform; `adrift`: but for snapshots that somebody took from their branch."""
    lake = platform.lake
    named = {s.file for s in lake.snapshots.values()} if adrift else set()
    return [
        *(f"branch of {t}" for t, b in lake.refs if b == a.name),
        *(f for f in lake.files if f.startswith(f"{a.name}/") and f not in named),
        *(k.path for k in platform.kept if k.branch == a.name),
        *(g for g in platform.groups if g == a.group),
        *(b for b in platform.bindings if b == a.name),
        *(c for c in platform.clusters if c == a.cluster),
        *(i for i, j in platform.jobs.items() if j.branch == a.name and j.runs),
    ]
