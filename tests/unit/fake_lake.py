"""Tables for the controller's tests: snapshots with what they hold, branches, files, and other people's hands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from replay.core.model import Checkpoint
from replay.errors import (
    ConflictError,
    KappaError,
    PartlyPublishedError,
    RefusedError,
    RetryableError,
)

TABLES = ("flights_rows", "flights_hourly")
MAIN, GENESIS = "main", "genesis"

Content = Mapping[int, int]
"""Partition → offset below which every record was read."""


@dataclass(frozen=True)
class Snapshot:
    """One commit to one table."""

    id: int
    table: str
    parent: int | None
    writer: str
    """The attempt whose job wrote it."""
    job: str
    checkpoint: int
    content: Content
    whole: bool
    """All rows below `content` are in it, each once, and all are this attempt's."""

    @property
    def file(self) -> str:
        return f"{self.writer}/{self.table}/{self.id}.parquet"


@dataclass
class FakeLake:
    """Every table of one product. `atomic`: its catalog moves `main` of all tables in one transaction."""

    atomic: bool = True
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    refs: dict[tuple[str, str], int] = field(default_factory=dict)
    """Table, branch or tag → snapshot."""
    newest: int = 0
    files: set[str] = field(default_factory=set)
    moves: list[tuple[dict[str, int], dict[str, int]]] = field(default_factory=list)
    """Every state of `main` that the publisher left behind: before, after."""
    tables: tuple[str, ...] = TABLES

    def ensure_tables(self) -> None:
        for table in self.tables:
            if (table, GENESIS) not in self.refs:
                root = self._add(table, None, GENESIS, "", 0, {}, whole=True)
                self.refs[table, GENESIS] = self.refs[table, MAIN] = root.id

    def _add(
        self,
        table: str,
        parent: int | None,
        writer: str,
        job: str,
        checkpoint: int,
        content: Content,
        *,
        whole: bool,
    ) -> Snapshot:
        self.newest += 1
        new = Snapshot(self.newest, table, parent, writer, job, checkpoint, dict(content), whole)
        self.snapshots[new.id] = new
        if writer != GENESIS:
            self.files.add(new.file)
        return new

    # What a job does

    def commit(
        self, table: str, attempt: str, job: str, checkpoint: int, since: Content, upto: Content
    ) -> None:
        """Append the rows between two positions; a branch that does not exist begins at the head of `main`."""
        parent = self.snapshots[self.refs.get((table, attempt), self.refs[table, MAIN])]
        whole = parent.whole and parent.writer in (attempt, GENESIS) and parent.content == since
        self.refs[table, attempt] = self._add(
            table, parent.id, attempt, job, checkpoint, upto, whole=whole
        ).id

    def line(self, table: str, branch: str) -> Iterator[Snapshot]:
        """The branch's snapshots, newest first, as far back as they were kept."""
        at = self.snapshots.get(self.refs.get((table, branch), 0))
        while at:
            yield at
            at = self.snapshots.get(at.parent or 0)

    # What the controller asks

    def main(self) -> tuple[dict[str, int], bool]:
        if not self.refs:
            return {}, True
        shown = {t: self.refs[t, MAIN] for t in self.tables}
        return shown, all(shown[t] == self.refs[t, GENESIS] for t in self.tables)

    def publishable(
        self, branch: str, jobs: Sequence[str], resumed_from: int | None = None
    ) -> tuple[Checkpoint, ...]:
        """The checkpoints that every table has, newest first; ConflictError when the branch is not all its jobs'."""
        lines = {table: list(self.line(table, branch)) for table in self.tables}
        found = [self._commits(line, branch, jobs, resumed_from) for line in lines.values()]
        kept = {s.id for line in lines.values() for s in line}
        oldest = {table: line[-1].id for table, line in lines.items() if line}
        if lost := [
            s
            for s in self.snapshots.values()
            if s.id not in kept and s.job in jobs and s.table in oldest and s.id > oldest[s.table]
        ]:
            raise ConflictError(f"branch {branch} lost commits", found=f"snapshot {lost[-1].id}")
        common = set(found[0]).intersection(*found[1:])
        return tuple(
            Checkpoint(c, {t: f[c] for t, f in zip(self.tables, found, strict=True)})
            for c in sorted(common, reverse=True)
        )

    def _commits(
        self, line: Sequence[Snapshot], branch: str, jobs: Sequence[str], resumed_from: int | None
    ) -> dict[int, int]:
        """Checkpoint → snapshot, of a table's branch that has nothing but its jobs' commits, one after the other."""
        mine: dict[int, int] = {}
        commits: list[tuple[int, int]] = []
        for s in line:
            if s.job in jobs:
                mine.setdefault(s.checkpoint, s.id)
                commits.append((jobs.index(s.job), s.checkpoint))
            elif s.writer != GENESIS:
                raise ConflictError(
                    f"branch {branch} has other jobs' commits", found=f"snapshot {s.id}"
                )
        late = resumed_from is not None and any(
            of < len(jobs) - 1 and c > resumed_from for of, c in commits
        )
        if late or any(of < before or c <= last for (of, c), (before, last) in pairwise(commits)):
            raise ConflictError(f"branch {branch} has commits of a job beside its successor")
        return mine

    def hold_same_files(self, before: Mapping[str, int], after: Mapping[str, int]) -> bool:
        return all(self._added_nothing(before.get(t), snapshot) for t, snapshot in after.items())

    def _added_nothing(self, before: int | None, after: int) -> bool:
        at = self.snapshots.get(after)
        while at and at.id != before:
            parent = self.snapshots.get(at.parent or 0)
            if parent is None or parent.content != at.content:
                return False
            at = parent
        return at is not None

    def create_branch(self, table: str, branch: str, *, resume: bool) -> None:
        genesis = self.refs[table, GENESIS]
        if self.refs.setdefault((table, branch), genesis) != genesis and not resume:
            raise RefusedError(
                f"branch {branch} is in use", expected="a new branch", found="commits"
            )

    def publish(
        self,
        after: Mapping[str, int],
        before: Mapping[str, int],
        fence: Callable[[], None],
        gate: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Compare and set; table by table where the catalog knows no transaction over tables."""
        while True:
            read = self.main()[0]
            if error := self._refused(read, after, before):
                done = any(read[t] == after[t] != before[t] for t in self.tables)
                raise PartlyPublishedError("published in part") if done else error
            left = [t for t in self.tables if read[t] != after[t]]
            if not left:
                return
            version = self.newest, len(self.moves)
            gate("during publish")
            fence()
            if self.main()[0] != read or (
                self.atomic and version != (self.newest, len(self.moves))
            ):
                continue  # the metadata is not what was read
            for table in left if self.atomic else left[:1]:
                self.refs[table, MAIN] = after[table]
            self.moves.append((read, self.main()[0]))

    def _refused(
        self, read: Mapping[str, int], after: Mapping[str, int], before: Mapping[str, int]
    ) -> KappaError | None:
        found = [self.snapshots.get(snapshot) for snapshot in after.values()]
        if None in found:
            return RefusedError(
                "a snapshot cannot be published", expected="one that the table has", found="none"
            )
        if len({s.checkpoint for s in found if s}) > 1:
            return RefusedError("not of one checkpoint")
        if any(read[t] not in (before[t], after[t]) for t in self.tables):
            return ConflictError("somebody else moved main")
        return None

    # Removing

    def garbage(self, attempt: str, jobs: Collection[str]) -> tuple[str, ...]:
        """Files that only this branch needs, and those that its jobs left without a commit."""
        going = {s.file for t in self.tables for s in self._only_on(t, attempt)}
        return tuple(
            sorted(
                going
                | {f for f in self.files if f.rpartition("/")[2] in {f"{j}.open" for j in jobs}}
            )
        )

    def _only_on(self, table: str, branch: str) -> list[Snapshot]:
        others = {s.id for t, b in self.refs if t == table and b != branch for s in self.line(t, b)}
        return [s for s in self.line(table, branch) if s.id not in others]

    def remove(self, branch: str, files: Collection[str], gate: Callable[[str], None]) -> None:
        for table in self.tables:
            going = self._only_on(table, branch)
            if late := [s for s in going if s.file not in files]:
                raise RetryableError(
                    f"branch {branch} got commits while it was removed", found=f"{late[-1].id}"
                )
            for s in going:
                del self.snapshots[s.id]
            self.refs.pop((table, branch), None)
            gate("during clean")
        needed = {s.file for s in self.snapshots.values()}
        self.files -= {f for f in files if f not in needed}

    def drop(self, keep: bool) -> None:
        """Drop the tables, or all in them but what `main` shows."""
        shown = (
            set(self.refs.values())
            if not keep
            else {i for (_, b), i in self.refs.items() if b in (MAIN, GENESIS)}
        )
        self.refs = {(t, b): i for (t, b), i in self.refs.items() if keep and b in (MAIN, GENESIS)}
        self.snapshots = {i: s for i, s in self.snapshots.items() if keep and i in shown}
        self.files = {s.file for s in self.snapshots.values() if s.writer != GENESIS}

    def expire(self, branch: str, keep_from: int, shown: Collection[int]) -> None:
        """Snapshots below a checkpoint, but for those that a ref names; and what no ref reaches any more."""
        others = {
            s.id for t, b in self.refs if b not in (branch, MAIN, GENESIS) for s in self.line(t, b)
        }
        heads = {*self.refs.values(), *shown, *others}
        reached = {s.id for t, b in self.refs for s in self.line(t, b)}
        old = {
            s.id for t in self.tables for s in self.line(t, branch) if s.checkpoint < keep_from - 1
        }
        for id in [i for i in self.snapshots if (i in old or i not in reached) and i not in heads]:
            self.files.discard(self.snapshots[id].file)
            del self.snapshots[id]
