"""The real platform behind `PlatformReader` and `PlatformWriter`: Flink, Kafka and the lake of the settings."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import MappingProxyType

from pyiceberg.catalog import Catalog
from pyiceberg.table.metadata import TableMetadata

from jobs.bindings import READER, VERSION
from jobs.product.folder import Product
from jobs.product.model import REJECTS, Role
from replay.checks import gate
from replay.controller import cleaning, preflight, removal
from replay.controller.compare_process import CompareProcess, command
from replay.controller.quiet import Clocks
from replay.core.log_identity import Identity, continued
from replay.core.model import (
    Attempt,
    Check,
    Checkpoint,
    CheckpointPosition,
    Committed,
    Comparing,
    ProductState,
    Release,
    Tables,
)
from replay.core.observed import Job, SubmissionStatus
from replay.errors import ConfigError
from replay.flink import positions, warm_client
from replay.flink.clusters import Clusters, Started, clusters
from replay.flink.rest import Flink, Slots, retained_checkpoints
from replay.flink.submit import Client, Submission
from replay.flink.warm_client import WarmClient
from replay.iceberg import branch_checkpoints, file_io, lake, publish, table_changes, type_changes
from replay.iceberg.product_types import product_type
from replay.kafka import clients, log, log_marks, output_topics, schemas, whole_log
from replay.offsets import Offsets
from replay.releases import folders, kept_jars, launch, runtime, shared
from replay.releases.archive import verified
from replay.releases.release import bindings_file, lib_folder, release_folder
from replay.secret import referenced
from replay.settings import Settings

LEFT_SECONDS = 30.0
"""How old a list of running clusters may be: each takes a process of the program in `flink.clusters`."""


class Platform:
    """Everything outside of the store. Connects when first asked.

    Several threads may ask, each for another product: clients and catalog are shared, and made for that. What is
    remembered is so by product, attempt or job, and replaced whole.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clusters = clusters(settings)
        """Starts Flink clusters for single attempts; None where all share the session cluster."""
        self._watch = log_marks.Watch(settings)
        self._opening = Lock()
        self._catalog: Catalog | None = None
        self._products: dict[Path, Product] = {}
        self._flinks: dict[str, Flink] = {}
        self._comparisons: dict[str, CompareProcess] = {}
        """Full name of a shadow → the comparison that this process has begun of it."""
        self._dated: dict[tuple[str, ...], tuple[float, list[str]]] = {}
        """Topics → when it was asked which of them the broker dates, and the answer."""
        self._clients: dict[str, Client | WarmClient] = {}
        """Job id → the submission that this process began for it last."""
        self._rejects: dict[str, int | None] = {}
        """Product → rows of `rejects` that readers saw when `main` was last looked at."""
        self._tables: dict[str, dict[str, TableMetadata]] = {}
        """Product → its tables when it was last asked what could be published."""
        self._left: tuple[float, frozenset[str]] = -math.inf, frozenset()
        """When it was last asked of which clusters something is left, and the answer."""
        self.tell: Callable[[str], None] = lambda text: None
        """Told of each part of a step that takes long."""

    def flink(self, attempt: Attempt | None = None) -> Flink:
        """The cluster of an attempt, or the session cluster."""
        rest = attempt.rest if attempt else ""
        with self._opening:
            if rest not in self._flinks:
                self._flinks[rest] = Flink(self.settings, rest=rest)
            return self._flinks[rest]

    def memory(self, rest: str) -> int:
        """Bytes of the TaskManagers of the cluster at this address."""
        with closing(Flink(self.settings, rest=rest)) as flink:
            return flink.memory()

    @property
    def catalog(self) -> Catalog:
        """Opened when it is first asked for, once for all threads."""
        with self._opening:
            if self._catalog is None:
                self._catalog = lake.open_catalog(self.settings)
            return self._catalog

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        """The model of the attempt's release, read once: of the later one that changed no row of it, if there is."""
        release = state.release(attempt.metadata or attempt.release)
        folder = release_folder(self.settings, release.product, release.fingerprint)
        if folder not in self._products:
            self._products[folder] = folders.read_archived(folder, release.fingerprint)
        return self._products[folder]

    # PlatformReader

    def job(self, attempt: Attempt) -> Job | None:
        return self.flink(attempt).job(attempt.job_id)

    def superseded(self, attempt: Attempt) -> tuple[str, ...]:
        here = [job_id for job_id in attempt.job_ids[:-1] if job_id not in attempt.on_session]
        elsewhere = self.flink().not_ended(attempt.on_session) if attempt.on_session else ()
        return *elsewhere, *self.flink(attempt).not_ended(here)

    def submission(self, attempt: Attempt) -> SubmissionStatus:
        client = self._clients.get(attempt.job_id)
        return client.answer() if client else SubmissionStatus()

    def cluster_runs(self, attempt: Attempt) -> bool:
        return (
            not attempt.cluster or self.clusters is None or attempt.cluster in self.clusters.names()
        )

    def strays(self, attempts: Sequence[Attempt]) -> tuple[str, ...]:
        clusters = self._left_of({a.cluster for a in attempts if a.cluster})
        on_session = {a.name: a.on_session if a.cluster else a.job_ids for a in attempts}
        job_ids = [job_id for of in on_session.values() for job_id in of]
        running = set(self.flink().not_ended(job_ids)) if job_ids else set()
        return tuple(
            a.name
            for a in attempts
            if a.cluster in clusters or running.intersection(on_session[a.name])
        )

    def _left_of(self, names: set[str]) -> frozenset[str]:
        """The clusters of which something is left; asked once in a while for all products, unless one of these was."""
        asked, known = self._left
        if self.clusters and names and (time.monotonic() - asked > LEFT_SECONDS or names & known):
            known = self.clusters.names()
            self._left = time.monotonic(), known
        return known

    def exit_reason(self, attempt: Attempt) -> str:
        return self.clusters.why(attempt.cluster) if attempt.cluster and self.clusters else ""

    def stalled_watermarks(self, attempt: Attempt) -> tuple[str, ...]:
        return self.flink(attempt).stalled_watermarks(attempt.job_id)

    def late_dropped(self, attempt: Attempt) -> Mapping[str, int]:
        return self.flink(attempt).late_dropped(attempt.job_id)

    def read_positions(self, attempt: Attempt) -> Offsets:
        """Between checkpoints, for display only."""
        return self.flink(attempt).read_positions(attempt.job_id)

    def open_transactions(self, product: Product) -> Offsets:
        """Offsets that cannot be read yet, by partition: for display only."""
        return log.open_transactions(self.settings, _topics(product, growing=True))

    def slots(self) -> Slots:
        return self.flink().slots()

    def position(self, attempt: Attempt, product: Product) -> CheckpointPosition | None:
        folder = self._checkpoints(attempt.product, attempt.name)
        return positions.newest(
            self.settings, folder, attempt.job_id, product.topics, attempt.checkpoint
        )

    def committed(self, group: str, product: Product) -> Mapping[str, Mapping[int, Committed]]:
        return log.committed_offsets(self.settings, group, list(product.topics))

    def ends(self, product: Product) -> Offsets:
        return log.end_offsets(self.settings, _topics(product, growing=True))

    def clocks(self, product: Product) -> Clocks:
        topics = _topics(product, growing=True)
        dated = self._broker_dated(tuple(topics))
        return log.latest_times(self.settings, [t for t in topics if t not in dated])

    def _broker_dated(self, topics: tuple[str, ...]) -> list[str]:
        """Asked again after a minute, because the setting may change."""
        asked, known = self._dated.get(topics, (-math.inf, []))
        if time.monotonic() - asked > 60:
            known = log.broker_dated(self.settings, topics)
            self._dated[topics] = time.monotonic(), known
        return known

    def reference_ends(self, product: Product) -> Offsets:
        """Ends of the reference topics, to be fixed in a release."""
        topics = _topics(product, growing=False)
        return log.end_offsets(self.settings, topics) if topics else {}

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        tables = self._tables[product.name] = lake.tables_now(self.catalog, product)
        job_ids, resumed_from = attempt.job_ids, attempt.resumed_from
        return tuple(
            branch_checkpoints.publishable(
                self.catalog, product, attempt.name, job_ids, resumed_from, tables
            )
        )

    def same_files(
        self, product: Product, before: Mapping[str, int], after: Mapping[str, int]
    ) -> bool:
        return branch_checkpoints.hold_same_files(self._tables.get(product.name, {}), before, after)

    def main(self, product: Product) -> tuple[Mapping[str, int], bool]:
        locations = lake.pointers(self.catalog, product.name)
        if set(product.outputs) - set(locations):
            return {}, True
        tables = lake.current_metadata(self.catalog, product, locations)
        refs = {
            name: (m.refs.get(lake.MAIN), m.refs.get(lake.GENESIS)) for name, m in tables.items()
        }
        shown = {name: main.snapshot_id for name, (main, _) in refs.items() if main}
        self._rejects[product.name] = (
            lake.rows(tables[REJECTS], shown.get(REJECTS)) if REJECTS in tables else None
        )
        return shown, all(
            main and genesis and main.snapshot_id == genesis.snapshot_id
            for main, genesis in refs.values()
        )

    def rejects(self, product: Product) -> int | None:
        return self._rejects.get(product.name)

    def retained(self, attempt: Attempt) -> Mapping[int, str]:
        return retained_checkpoints(
            self.settings, self._checkpoints(attempt.product, attempt.name), attempt.job_ids
        )

    def comparison(self, attempt: Attempt) -> Comparing | None:
        process = self._comparisons.get(attempt.full_name)
        return process.answer() if process else None

    def log_changes(self, attempt: Attempt) -> tuple[str, ...]:
        return self._watch.changes(attempt.full_name, attempt.log)

    def log_problems(self, product: Product) -> tuple[tuple[str, ...], bool]:
        problems = schemas.log_problems(self.settings, product)
        return tuple(map(str, problems)), any(p.lost for p in problems)

    def log_advice(self, product: Product) -> list[str]:
        """What an operator should know of how its topics are kept."""
        return whole_log.durability_advice(self.settings, product.topics)

    # PlatformWriter

    def start_cluster(self, attempt: Attempt, release: Release) -> Started:
        return self._own_clusters.start(attempt.cluster, self._lib(attempt, self._folder(release)))

    def stop_cluster(self, attempt: Attempt) -> None:
        self._own_clusters.stop(attempt.cluster)
        if flink := self._flinks.pop(attempt.rest, None):
            flink.close()

    def give_priority(self, attempt: Attempt) -> None:
        self._own_clusters.live(attempt.cluster)

    def refuse_taken(self, topics: Iterable[str]) -> None:
        output_topics.refuse_taken(self.settings, topics)

    def prepare(
        self, product: Product, attempt: Attempt, release: Release, fence: Callable[[], None]
    ) -> None:
        resume = attempt.restore is not None
        table_changes.ensure(self.catalog, product, resume=resume)
        lake.create_branch(self.catalog, product, attempt.name, resume=resume, fence=fence)
        # Again: before the branch existed, a controller that had lost its lease might have dropped an unwritten column.
        table_changes.ensure(self.catalog, product, resume=resume)
        bindings = self.bindings(
            product,
            attempt.name,
            attempt.group,
            release.reference_offsets,
            attempt.parallelism,
            attempt.topics,
        )
        read = launch.of_release(self._folder(release))
        fence()
        output_topics.create(self.settings, product, attempt)
        file = bindings_file(self.settings, product.name, attempt.name)
        write_bindings(file, launch.bindings_for(read, bindings))
        shared.keep_bindings(self.settings, product.name, file)

    def other_jars(self, attempt: Attempt, release: Release) -> str:
        return kept_jars.others(self.settings, self._folder(release)) if self.isolates() else ""

    def other_runtime(self, product: Product, attempt: Attempt, release: Release) -> str:
        folder = self._folder(release)
        built, jars = (
            runtime.of_release(folder),
            runtime.jars_of(folder) if attempt.own_jars else None,
        )
        return runtime.differences(built, runtime.of(self.settings, product, jars)) if built else ""

    def log_identity(self, product: Product, attempt: Attempt, positions: Offsets) -> Identity:
        if self.log_changes(attempt):
            return attempt.log
        return continued(
            attempt.log, log_marks.identity(self.settings, list(product.topics), positions)
        )

    def submit(self, attempt: Attempt, release: Release, fence: Callable[[], None]) -> None:
        submission = self._submission(attempt, release)
        own_jars = bool(kept_jars.others(self.settings, submission.release))
        fence()
        self._clients[attempt.job_id] = warm_client.start(
            self.settings, submission, own_jars=own_jars
        )

    def _folder(self, release: Release) -> Path:
        return release_folder(self.settings, release.product, release.fingerprint)

    def _lib(self, attempt: Attempt, folder: Path) -> Path | None:
        return kept_jars.provide(
            self.settings, folder, lib_folder(self.settings, attempt.product, attempt.name)
        )

    def _submission(self, attempt: Attempt, release: Release) -> Submission:
        """What `flink run` gets; RefusedError when the archived release was changed."""
        folder = verified(self._folder(release), release.fingerprint)
        if not shared.has_release(self.settings, release.product, release.fingerprint):
            # built before it was shared
            shared.keep_release(self.settings, release.product, release.fingerprint, folder)
        return Submission(
            job_id=attempt.job_id,
            name=attempt.full_name,
            rest=attempt.rest,
            release=folder,
            launch=launch.of_release(folder),
            lib=self._lib(attempt, folder) if attempt.own_jars else None,
            bindings=fetch_bindings(self.settings, attempt.product, attempt.name),
            restore=attempt.restore,
        )

    def not_ended(self, attempt: Attempt) -> tuple[str, ...]:
        job_ids = attempt.on_session if attempt.cluster else attempt.job_ids
        return self.flink().not_ended(job_ids) if job_ids else ()

    def cancel(self, attempt: Attempt, job_id: str) -> None:
        self.flink(None if job_id in attempt.on_session else attempt).cancel(job_id)

    def checks(self, tables: Tables, shown: Tables | None) -> tuple[Check, ...]:
        return gate.run(self.settings, tables, shown, self.tell)

    def isolates(self) -> bool:
        return self.clusters is not None

    def refuse_replay(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        preflight.refuse_replay(self.settings, self, product, attempt, state)

    def compare(self, attempt: Attempt) -> None:
        if running := self._comparisons.pop(attempt.full_name, None):
            running.kill()
        self._comparisons[attempt.full_name] = CompareProcess(command(attempt))

    def close(self) -> None:
        """End what was begun beside this process and is of no use without it."""
        for process in list(self._comparisons.values()):
            process.kill()
        for flink in list(self._flinks.values()):
            flink.close()
        if self._catalog:
            self._catalog.close()

    def publish(
        self,
        product: Product,
        after: Mapping[str, int],
        before: Mapping[str, int],
        fence: Callable[[], None],
    ) -> None:
        publish.publish(self.catalog, product, after, before, fence=fence)

    def garbage(self, product: Product, attempt: Attempt) -> tuple[str, ...]:
        return cleaning.garbage(
            self.catalog, product.name, product.outputs, attempt.name, attempt.job_ids
        )

    def clean(
        self,
        product: Product,
        attempt: Attempt,
        state: ProductState,
        files: tuple[str, ...],
        fence: Callable[[], None],
    ) -> None:
        for job_id in attempt.job_ids:
            self._clients.pop(job_id, None)
        if comparison := self._comparisons.pop(attempt.full_name, None):
            comparison.kill()
        cleaning.remove(self.catalog, product.name, product.outputs, attempt.name, files)
        output_topics.delete(self.settings, attempt.topics.values())
        cleaning.forget(
            self.settings,
            product.name,
            attempt.name,
            attempt.group,
            self._checkpoints(attempt.product, attempt.name),
        )
        table_changes.drop_columns(self.catalog, product.name, self._written(state), fence)

    def expire(self, product: Product, attempt: Attempt, state: ProductState) -> None:
        assert attempt.tip is not None
        # otherwise the evidence of a branch that was moved from outside might be removed
        self.publishable(product, attempt)
        published = state.published
        cleaning.expire(
            self.catalog,
            product.name,
            product.outputs,
            attempt.name,
            keep_from=min([attempt.tip.id, *self.retained(attempt)]),
            job_ids=attempt.job_ids,
            published=published.after if published else {},
            older_than=datetime.now(UTC) - cleaning.READER_GRACE - cleaning.CLOCK_JUMP,
        )

    def remove(self, state: ProductState, keep_tables: bool, fence: Callable[[], None]) -> None:
        removal.erase(
            self.settings, self.catalog, self.clusters, state, keep_tables=keep_tables, fence=fence
        )

    def _written(self, state: ProductState) -> dict[str, set[type_changes.Path]]:
        """Columns, and fields of them, that a live release writes or that readers may still ask for."""
        shown = state.published.attempt_name if state.published else None
        written: dict[str, set[type_changes.Path]] = {}
        for attempt in state.attempts:
            if not attempt.ended or attempt.name == shown:
                product = self.product(attempt, state)
                for table in product.outputs:
                    written.setdefault(table, set()).update(
                        type_changes.parts(product_type(product, table))
                    )
        return written

    @property
    def _own_clusters(self) -> Clusters:
        if self.clusters is None:
            raise ConfigError(
                "an attempt runs on a Flink cluster of its own, and `flink.clusters` is not configured",
                expected="flink.clusters in config.yaml",
                found="none",
                next="kappa up",
            )
        return self.clusters

    def bindings(
        self,
        product: Product,
        name: str,
        group: str,
        reference_ends: Offsets,
        parallelism: int,
        topics: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, object]:
        """All that one run adds to a product: see jobs/bindings.py. Its name is the branch."""
        s = self.settings
        ends = log.end_offsets(s, list(product.topics))
        return {
            "version": VERSION,
            "reader": READER,
            "attempt": f"{product.name}-{name}",
            "branch": name,
            "group": group,
            "kafka": clients.with_providers(
                referenced(clients.kafka_of_job(s), s.secrets, "kafka")
            ),
            "registry": s.registry.url,
            "registry_options": referenced(
                clients.registry_of_job(s.registry), s.secrets, "registry"
            ),
            "catalog": {
                "name": s.catalog.name,
                "options": file_io.of_flink(
                    referenced(clients.catalog_of_job(s), s.secrets, "catalog")
                ),
            },
            "namespace": product.name,
            "partitions": {topic: len(partitions) for topic, partitions in ends.items()},
            "reference_offsets": {t: dict(p) for t, p in reference_ends.items()},
            "broker_time": log.broker_dated(s, ends),
            "parallelism": parallelism,
            "checkpoint_interval": product.settings.checkpoint_interval,
            "checkpoint_dir": self._checkpoints(product.name, name),
            **output_topics.bound(product, group, topics),
        }

    def _checkpoints(self, product: str, name: str) -> str:
        return f"{self.settings.flink.checkpoints.rstrip('/')}/{product}/{name}"


def write_bindings(file: Path, bindings: Mapping[str, object]) -> None:
    """What a job is bound to, without secrets: it says in which files they are."""
    _write(file, json.dumps(bindings, indent=1).encode() + b"\n")


def fetch_bindings(settings: Settings, product: str, branch: str) -> Path:
    """The file of what a job is bound to, whichever controller wrote it."""
    return shared.fetch_bindings(
        settings, product, bindings_file(settings, product, branch), _write
    )


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".tmp")
    scratch.touch(mode=0o600)
    scratch.write_bytes(content)
    scratch.replace(file)


def _topics(product: Product, *, growing: bool) -> list[str]:
    return [
        name
        for name, topic in product.topics.items()
        if (topic.role is not Role.reference) == growing
    ]
